//! Where the cells of a sketch are: narrow cells behind the stamps of its lines.

use crate::key::Key;
use crate::region::{Candidates, LINES, Line, LineId, Region, SLOTS, Table};
use crate::sketch::count_min::CountMin;

/// Bits of a line behind its stamp.
const LINE_BITS: u32 = 64 * SLOTS as u32;

/// How a limit's share of memory is divided, and how it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// The sketch gets so many sixteenths of the pages, and one page at least.
    pub sketch_16ths: u32,
    /// Rows.
    pub depth: usize,
    /// Into how many panes at least a window is cut in the sketch.
    pub panes: u32,
    /// An arrival time is coarser by at most so many bits: as far as a charge is still 64 of its grains.
    pub grain: u32,
    /// A slot passes to a key that weighs more than so many times as much; 0 for never.
    pub outweigh: u64,
}

impl Split {
    /// For buckets.
    pub const GCRA: Self = Self { sketch_16ths: 14, depth: 2, panes: 1, grain: 7, outweigh: 1 };

    /// For windows.
    pub const WINDOW: Self = Self { sketch_16ths: 14, depth: 2, panes: 3, grain: 0, outweigh: 1 };

    /// Divides `table` into the slots and the sketch behind them. `None` when it has a single page.
    pub(in crate::store) fn of(self, table: Table) -> Option<(Table, Table)> {
        let pages = table.pages();
        let wanted = (u64::from(pages) * u64::from(self.sketch_16ths) / 16) as u32;
        table.split(pages - wanted.clamp(1, pages.saturating_sub(1).max(1)))
    }

    /// Whether a slot of weight `slot` passes to a key of weight `key`.
    #[inline]
    pub(in crate::store) fn passes(self, slot: u64, key: u64) -> bool {
        self.outweigh > 0 && key > slot.saturating_mul(self.outweigh)
    }
}

/// Narrow cells in lines.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    table: Table,
    shape: CountMin,
    /// Bits of a cell.
    pub cell_bits: u32,
    /// Cells of a line.
    pub per_line: usize,
}

/// A cell: its line, and its first bit behind the stamp.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    pub line: LineId,
    pub bit: u32,
}

impl Grid {
    pub(super) fn new(table: Table, cell_bits: u32, depth: usize) -> Option<Self> {
        let per_line = (LINE_BITS / cell_bits) as usize;
        // The first line says until when anything counts.
        let cells = (table.lines() - 1) * per_line;
        Some(Self { table, shape: CountMin::new(cells / depth, depth)?, cell_bits, per_line })
    }

    /// The cells of the key with this fingerprint in this page of the limit's table. A slot knows no more of its key.
    #[inline]
    pub(super) fn cells(&self, page: u32, fingerprint: u32) -> impl Iterator<Item = Cell> + use<> {
        let (table, per_line, bits) = (self.table, self.per_line, self.cell_bits);
        self.shape.positions(mixed(page, fingerprint)).map(move |position| Cell {
            line: table.line(1 + position / per_line),
            bit: (position % per_line) as u32 * bits,
        })
    }

    /// Whether nothing counts any more. That is so most of the time, and then no cell need be read.
    #[inline]
    pub(super) fn is_empty(&self, region: &Region, now: u64) -> bool {
        region.line(self.table.line(0)).stamp <= now
    }

    /// Notes that something counts until then.
    pub(super) fn lives_until(&self, region: &mut Region, until: u64) {
        let header = region.line_mut(self.table.line(0));
        header.stamp = header.stamp.max(until);
    }

    /// Pages, and cells in all.
    pub(super) fn size(&self) -> (u32, u64) {
        (self.table.pages(), (self.shape.width() * self.shape.depth()) as u64)
    }

    /// The cells of one page of the sketch: each line with the first bit of each of its cells.
    pub(super) fn page<'r>(&'r self, region: &'r Region, page: u32) -> impl Iterator<Item = (&'r Line, u32)> {
        let first = page as usize * LINES;
        region
            .page(&self.table, page)
            .iter()
            .enumerate()
            .filter(move |(nth, _)| first + nth > 0)
            .flat_map(move |(_, line)| (0..self.per_line as u32).map(move |cell| (line, cell * self.cell_bits)))
    }
}

/// The finaliser of SplitMix64: page and fingerprint are few bits, and each of them has to reach every row.
#[inline]
fn mixed(page: u32, fingerprint: u32) -> Key {
    let number = u64::from(page) << 32 | u64::from(fingerprint);
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    Key(b ^ b >> 31)
}

/// The page of a key's candidates.
#[inline]
pub(super) fn page_of(at: &Candidates) -> u32 {
    at.lines[0].page()
}

/// Reads `bits` bits of a line from `bit` on.
#[inline]
pub(super) fn field(line: &Line, bit: u32, bits: u32) -> u64 {
    let (word, shift) = ((bit / 64) as usize, bit % 64);
    let low = line.slots[word] >> shift;
    let high = if shift + bits > 64 { line.slots[word + 1] << (64 - shift) } else { 0 };
    (low | high) & lowest(bits)
}

/// Writes `bits` bits of a line from `bit` on.
#[inline]
pub(super) fn set_field(line: &mut Line, bit: u32, bits: u32, value: u64) {
    let (word, shift) = ((bit / 64) as usize, bit % 64);
    line.slots[word] = line.slots[word] & !(lowest(bits) << shift) | value << shift;
    if shift + bits > 64 {
        let done = 64 - shift;
        line.slots[word + 1] = line.slots[word + 1] & !(lowest(bits) >> done) | value >> done;
    }
}

#[inline]
fn lowest(bits: u32) -> u64 {
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_of_a_line_hold_what_was_put_and_leave_the_others(
            bits in 1u32..=63, puts in prop::collection::vec((any::<u32>(), any::<u64>()), 1..80),
        ) {
            let count = LINE_BITS / bits;
            let mut line = Line::default();
            let mut list = vec![0; count as usize];
            for (at, value) in puts {
                let (at, value) = (at % count, value & lowest(bits));
                set_field(&mut line, at * bits, bits, value);
                list[at as usize] = value;
                let read: Vec<u64> = (0..count).map(|at| field(&line, at * bits, bits)).collect();
                prop_assert_eq!(&read, &list);
            }
            prop_assert_eq!(line.stamp, 0);
        }
    }
}
