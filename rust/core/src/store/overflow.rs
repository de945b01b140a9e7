//! A sketch beside a limit's table, for the keys that find no slot in it (`when_full = "sketch"`): nobody ever gets more than the limit.
//!
//! **Idea.** A Count-Min with conservative update in a part of the limit's own share of the memory. It never counts too low, so a key that it judges
//! never gets more than its limit, whatever others send (P4); it counts too high when cells are crowded, so such a key may be refused early:
//! "no collateral" (P3) holds for keys with a slot only. Who has a slot is judged by the slot alone.
//!
//! ```text
//!  consult:  the key has a slot → that;   else → the lowest of its cells, one a row
//!  charge:   a slot of its own          → there
//!            else estimate ← sketch;  weight ← estimate + price
//!              a free slot              → takes it, with estimate and price: nothing that it sent is forgotten
//!              weight > lightest slot   → the sketch takes over what that slot holds (each cell ← max), the key takes the slot
//!              else                     → each of its cells ← max(cell, weight)
//! ```
//!
//! **Slots pass to the heavy.** A slot is worth most to a key that is near its limit: there a crowded cell would refuse it. So the lightest slot of
//! the key's lines passes to a key that weighs more, and unique keys share the sketch, where each has the whole limit as margin.
//! A slot knows its key by page and fingerprint only: the cells are found from these.
//!
//! **Never too low.** What is told of a key is at least what it sent: a slot begins with the estimate, and a slot that passes on leaves in the sketch all that it held.
//! A slot that has expired held only what no longer counts, and what its key sent without a slot since is in the sketch.
//!
//! **Time.** A refused key is told when its estimate has room, if nothing else is charged to its cells; a window's sketch has wider panes than its table,
//! so a key that moves may wait for up to one of those more.
//!
//! **Cells.** Narrow ones behind the stamp of a line, as many as fit: `arrivals` draws those of buckets, `panes` those of windows.
//! The first line of all says until when anything counts; before a table first overflows, a look-up reads no cell.
//!
//! **Cost.** Two lines of the table; of a key without a slot one line a row more, and as many again when a slot passes on. **Size.** [`Split`].
//!
//! **Bound.** Of a key: what it sent ≤ what is told of it. Above that by e · N / width but for e^(−depth) of the keys, N being what has no slot and still counts; with
//! conservative update far less. Never above the limit, which is all that a cell is raised to.
//!
//! **Source.** Cormode and Muthukrishnan 2005; Estan and Varghese 2002 (conservative update); Roy, Khan, Alonso 2016 (exact slots before a sketch).
//!
//! **Figures.** Messages refused of senders that send at most half of their limit, %, in the last but one column the flood of 10 and in the last of 30 million unique keys
//! a minute to a mebibyte (`BENCH=short cargo run --release -p throttle-core --example flood -- splits`, an eighth of everything). At 3 million every one of them
//! refuses none; buckets refuse none at 10 million either.
//!
//! ```text
//!                 sketch, 16ths of the share:       4        8       12       14
//!  windows, 10 M   2 rows, 4 panes              44.40    25.79     5.50     0.011
//!                  3 rows, 4 panes              47.36    34.43    19.14    10.81
//!  buckets, 30 M   2 rows, cells of 24 bits     31.20    25.85    17.65     9.12
//!                  3 rows, cells of 24 bits     37.18    32.71    30.39    26.76
//!
//!  windows, 10 M, 8/16, 2 rows:   2 panes 4.4   3 panes 14.4   4 panes 25.8   6 panes 32.7
//!                                 slots never pass 32.6        only to twice, four times the weight 31.3, 30.6
//!  buckets, 30 M, 8/16, 2 rows:   cells of 24 bits 25.8, of 20 18.4      slots never pass 49.7     only to four times the weight 49.3
//!
//!  as built:   windows 14/16, 2 rows, 3 panes: 0 at 10 M, 48 at 30 M     buckets 14/16, 2 rows, 17 bits: 0 at 30 M, 36 at 60 M
//! ```
//!
//! Three panes and not two: a sender without a slot then passes at 3/4 of its limit, not at 2/3.
//!
//! **Dropped.** A third row: its cells are missing in the other two, and what a third look would mend, heavy keys on both cells, is in the table.
//! Cells of 64 bits: 8 a line, where 26 fit. Table and sketch alike: a slot is eight to thirty cells.

pub mod arrivals;
pub mod panes;

use crate::key::Key;
use crate::region::{Candidates, Line, LineId, Region, SLOTS, Table};
use crate::sketch::count_min::CountMin;

/// Bits of a line behind its stamp.
const LINE_BITS: u32 = 64 * SLOTS as u32;

/// How a limit's share of memory is divided, and how it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Parts of 16 of the pages that the sketch gets; one page at least.
    pub sketch_16ths: u32,
    /// Rows.
    pub depth: usize,
    /// Into how many panes at least a window is cut in the sketch.
    pub panes: u32,
    /// Bits that an arrival time is coarser by, at most: as far as a charge is still 64 of its grains.
    pub grain: u32,
    /// A slot passes to a key that weighs more than so many times as much; 0: never.
    pub outweigh: u64,
}

impl Split {
    /// For buckets.
    pub const GCRA: Self = Self { sketch_16ths: 14, depth: 2, panes: 1, grain: 7, outweigh: 1 };

    /// For windows.
    pub const WINDOW: Self = Self { sketch_16ths: 14, depth: 2, panes: 3, grain: 0, outweigh: 1 };

    /// The table, and the pages behind it for the sketch. `None` of a single page.
    pub(super) fn of(self, table: Table) -> Option<(Table, Table)> {
        let pages = table.pages();
        let wanted = (u64::from(pages) * u64::from(self.sketch_16ths) / 16) as u32;
        table.split_off(wanted.clamp(1, pages.saturating_sub(1).max(1)))
    }

    /// Whether a slot of this weight passes to a key of that.
    #[inline]
    pub(super) fn passes(self, slot: u64, key: u64) -> bool {
        self.outweigh > 0 && key > slot.saturating_mul(self.outweigh)
    }
}

/// Narrow cells in lines: where a key's are.
#[derive(Clone, Copy, Debug)]
struct Grid {
    table: Table,
    shape: CountMin,
    cell_bits: u32,
    per_line: usize,
}

/// A cell: its line, and its first bit behind the stamp.
#[derive(Clone, Copy, Debug)]
struct Cell {
    line: LineId,
    bit: u32,
}

impl Grid {
    fn new(table: Table, cell_bits: u32, depth: usize) -> Option<Self> {
        let per_line = (LINE_BITS / cell_bits) as usize;
        // The first line says until when anything counts.
        let cells = (table.lines() - 1) * per_line;
        Some(Self { table, shape: CountMin::new(cells / depth, depth)?, cell_bits, per_line })
    }

    /// The cells of the key with this fingerprint in this page of the limit's table: all that a slot knows of its key.
    #[inline]
    fn cells(&self, page: u32, fingerprint: u32) -> impl Iterator<Item = Cell> + use<> {
        let (table, per_line, bits) = (self.table, self.per_line, self.cell_bits);
        self.shape.positions(mixed(page, fingerprint)).map(move |position| Cell {
            line: table.line(1 + position / per_line),
            bit: (position % per_line) as u32 * bits,
        })
    }

    /// Whether nothing counts any more: most of the time, and then no cell need be read.
    #[inline]
    fn is_empty(&self, region: &Region, now: u64) -> bool {
        region.line(self.table.line(0)).stamp <= now
    }

    /// From now on something counts until then.
    fn lives_until(&self, region: &mut Region, until: u64) {
        let header = region.line_mut(self.table.line(0));
        header.stamp = header.stamp.max(until);
    }

    fn cells_in_all(&self) -> u64 {
        (self.shape.width() * self.shape.depth()) as u64
    }

    /// First bits of the cells of each line of a page of the sketch.
    fn page<'r>(&'r self, region: &'r Region, page: u32) -> impl Iterator<Item = (&'r Line, u32)> {
        let first = page as usize * crate::region::LINES;
        region
            .page(&self.table, page)
            .iter()
            .enumerate()
            .filter(move |(nth, _)| first + nth > 0)
            .flat_map(move |(_, line)| (0..self.per_line as u32).map(move |cell| (line, cell * self.cell_bits)))
    }
}

/// The finaliser of SplitMix64: page and fingerprint are few bits, and each has to reach every row.
#[inline]
fn mixed(page: u32, fingerprint: u32) -> Key {
    let number = u64::from(page) << 32 | u64::from(fingerprint);
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    Key(b ^ b >> 31)
}

/// The page of a key's candidates.
#[inline]
fn page_of(at: &Candidates) -> u32 {
    at.lines[0].page()
}

/// `bits` bits of a line from `bit` on.
#[inline]
fn field(line: &Line, bit: u32, bits: u32) -> u64 {
    let (word, shift) = ((bit / 64) as usize, bit % 64);
    let low = line.slots[word] >> shift;
    let high = if shift + bits > 64 { line.slots[word + 1] << (64 - shift) } else { 0 };
    (low | high) & lowest(bits)
}

#[inline]
fn set_field(line: &mut Line, bit: u32, bits: u32, value: u64) {
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
