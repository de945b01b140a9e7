//! Blocks of 64 registers for keys with many elements: one line each.
//!
//! ```text
//!  word 0     until     ticks: the block is its key's as long as the key's bucket has not drained; 0 when it was never used
//!  word 1     left      2⁶⁴ · q, q being the chance that a fresh element changes a register, mod 2⁶⁴: an empty block holds 0
//!  word 2–7   registers of a HyperLogLog, precision 6
//! ```
//!
//! A key may have any line of the two pages that its fingerprint names; its slot says which, in seven bits. So a block is found without a search,
//! and given away only when the time of its key has passed, which is when the slot expires too: they hold the same time.
//! Giving one away looks at no more than 128 lines. Of the keys that bring a table to 70 % none was without a block in a simulation of half a million; at 80 % 0.03 % are, at 90 % 0.7 %.
//!
//! Knows no buckets. Invariant: `left` is that of the registers.

use crate::key::Key;
use crate::region::{LINES, Line, LineId, Region, Table};
use crate::sketch::hyperloglog::HyperLogLog;
use crate::sketch::hyperloglog::weight;

/// 64 registers in six words: what a line holds beside the other two.
const PRECISION: u32 = 6;

/// The second page of a fingerprint is that of its product with this odd number: 2³² divided by the golden ratio.
const OTHER: u32 = 0x9E37_79B9;

/// Blocks in a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    table: Table,
    shape: HyperLogLog,
}

impl Registers {
    /// Blocks in `table`.
    pub(super) fn new(table: Table) -> Option<Self> {
        Some(Self { table, shape: HyperLogLog::new(PRECISION)? })
    }

    /// The table.
    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// The line of a block.
    #[inline]
    pub(super) fn line(&self, fingerprint: u32, block: u8) -> LineId {
        let page = self.pages(fingerprint)[usize::from(block) / LINES % 2];
        self.table.line_at(page, usize::from(block) % LINES)
    }

    /// The first lines of the two pages that a fingerprint may have blocks in.
    pub(super) fn homes(&self, fingerprint: u32) -> [LineId; 2] {
        self.pages(fingerprint).map(|page| self.table.line_at(page, 0))
    }

    /// A block that is free, in the second page only when the first is full.
    pub(super) fn free(&self, region: &Region, fingerprint: u32, now: u64) -> Option<u8> {
        let start = fingerprint as usize % LINES;
        let blocks = (0..2 * LINES).map(|turn| (turn / LINES * LINES + (start + turn) % LINES) as u8);
        blocks.into_iter().find(|&block| region.line(self.line(fingerprint, block)).stamp <= now)
    }

    /// How many blocks of each page are free, and the first time at which one of the others is, `u64::MAX` when there are none.
    pub(super) fn vacancies(&self, region: &Region, fingerprint: u32, now: u64) -> ([u32; 2], u64) {
        let mut free = [0; 2];
        let mut first = u64::MAX;
        for block in 0..2 * LINES {
            let until = region.line(self.line(fingerprint, block as u8)).stamp;
            if until <= now {
                free[block / LINES] += 1;
            } else {
                first = first.min(until);
            }
        }
        (free, first)
    }

    /// Blocks in use on one page of the table.
    pub(super) fn used(&self, region: &Region, page: u32, now: u64) -> u64 {
        region.page(&self.table, page).iter().filter(|line| line.stamp > now).count() as u64
    }

    /// Adds an element; whether it changed a register.
    #[inline]
    pub(super) fn add(&self, block: &mut Line, element: Key) -> bool {
        let [left, registers @ ..] = &mut block.slots;
        let change = self.shape.add(registers, element);
        if let Some(change) = change {
            *left = left.wrapping_sub(weight(self.shape, change.from)).wrapping_add(weight(self.shape, change.to));
        }
        change.is_some()
    }

    #[inline]
    fn pages(&self, fingerprint: u32) -> [u32; 2] {
        let page = |number: u32| ((u64::from(number) * u64::from(self.table.pages())) >> 32) as u32;
        [page(fingerprint), page(fingerprint.wrapping_mul(OTHER))]
    }
}

/// Forgets every element.
pub(super) fn clear(block: &mut Line) {
    block.slots = Line::default().slots;
}

/// `price` / q, to the nearest integer: what an element has to be charged that changes a register, so that every fresh one is charged `price` on average.
#[inline]
pub(super) fn cost(block: &Line, price: u64) -> u64 {
    let left = if block.slots[0] == 0 { 1 << 64 } else { u128::from(block.slots[0]) };
    u64::try_from(((u128::from(price) << 64) + left / 2) / left).unwrap_or(u64::MAX)
}
