//! A sketch next to a limit's table, for the keys that find no slot in it (`when_full = "sketch"`): no key ever gets
//! more than its limit.
//!
//! **Idea.** A Count-Min with conservative update in a part of the limit's own share of the memory. It never counts
//! too low, so a key that it judges never gets more than its limit, whatever others send (P4). It counts too high
//! when cells are crowded, so such a key may be refused early: "no collateral" (P3) holds for keys with a slot only.
//! For a key with a slot, only the slot decides.
//!
//! ```text
//!  consult:  the key has a slot         → the slot decides
//!            else                       → the lowest of its cells, one in each row
//!  charge:   the key has a slot         → charge the slot
//!            else estimate ← sketch;  weight ← estimate + price
//!              a free slot              → the key takes it, with estimate and price: nothing that it sent is forgotten
//!              weight > lightest slot   → what that slot holds moves to the sketch (each cell ← max)
//!                                         and the key takes the slot
//!              else                     → each of its cells ← max(cell, weight)
//! ```
//!
//! **Slots pass to the heavy.** A slot is worth most to a key that is near its limit, because a crowded cell would
//! refuse it there. So the lightest slot of the key's lines passes to a key that weighs more. Keys that are seen once
//! share the sketch, where each of them is far below its limit. A slot knows only the page and the fingerprint of its
//! key, so the cells are found from these.
//!
//! **Never too low.** The estimate of a key is at least what it sent: a slot begins with the estimate, and a slot that
//! passes to another key leaves all that it held in the sketch. An expired slot held only what no longer counts, and
//! what its key sent without a slot since then is in the sketch.
//!
//! **Time.** The wait of a refused key ends when its estimate has room, if nothing else is charged to its cells. Panes
//! of a window's sketch are at least as wide as those of its table. A key that moves into the sketch may wait up to one
//! sketch pane longer.
//!
//! **Cells.** As many narrow cells as fit lie behind the stamp of each line. The stamp of the first line is the time
//! until which anything counts; before the table first overflows, a look-up reads no cell.
//!
//! ```text
//!  line of buckets   stamp │ cells of 24 bits less the grain
//!                            a cell: the arrival time as a distance from the stamp, in grains, rounded up; 0 is none
//!  line of windows   stamp: the newest pane │ cells of P counts of log₂(L + 1) bits
//!                                             the count of pane q stands at q mod P
//! ```
//!
//! **Cost.** Two lines of the table; for a key without a slot one line more for each row, and as many again when a slot
//! passes to another key. **Size.** [`Split`].
//!
//! **Bound.** What a key sent ≤ its estimate. The estimate is higher by at most e · N / width for all but e^(−depth) of
//! the keys, where N is all that was charged without a slot and still counts; with conservative update by far less.
//!
//! **Source.** Cormode and Muthukrishnan 2005; Estan and Varghese 2002 (conservative update); Roy, Khan, Alonso 2016
//! (exact slots before a sketch).
//!
//! **Figures.** Messages refused of senders that send at most half of their limit, in per cent, under a flood of 10
//! or 30 million unique keys a minute to a mebibyte (`BENCH=short cargo run --release -p throttle-core --example
//! flood -- splits`, an eighth of everything). At 3 million every variant refuses none; buckets refuse none at 10
//! million either.
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
//!  buckets, 30 M, 8/16, 2 rows:   cells of 24 bits 25.8, of 20 18.4
//!                                 slots never pass 49.7        only to four times the weight 49.3
//!
//!  as built:   windows 14/16, 2 rows, 3 panes: 0 at 10 M, 48 at 30 M
//!              buckets 14/16, 2 rows, 17 bits: 0 at 30 M, 36 at 60 M
//! ```
//!
//! Three panes and not two: a sender without a slot then passes at 3/4 of its limit, not at 2/3.
//!
//! **Dropped.** A third row: its cells are missing in the other two, and the heavy keys that it would help are in the
//! table already. Cells of 64 bits: 8 a line, where 26 fit. As many slots as cells: a slot takes the room of eight to
//! thirty cells.

use crate::bitset::{field, set_field};
use crate::key::Key;
use crate::region::{Line, LineId, Region, SLOTS, Table};
use crate::sketch::count_min::CountMin;

/// Bits of a line behind its stamp.
const LINE_BITS: usize = 64 * SLOTS;

/// The division of a limit's memory into slots and a sketch, and the parameters of the sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// Sixteenths of the pages that the sketch gets; it gets at least one page.
    pub sketch_16ths: u32,
    /// Rows.
    pub depth: usize,
    /// The fewest panes of a window in the sketch.
    pub panes: u32,
    /// The most bits that an arrival time drops. It drops fewer where one unit would otherwise cost less than 64
    /// grains.
    pub grain: u32,
    /// A slot passes to a key that weighs more than this many times as much; 0 means never.
    pub outweigh: u64,
}

impl Split {
    /// For buckets.
    pub const GCRA: Self = Self { sketch_16ths: 14, depth: 2, panes: 1, grain: 7, outweigh: 1 };

    /// For windows.
    pub const WINDOW: Self = Self { sketch_16ths: 14, depth: 2, panes: 3, grain: 0, outweigh: 1 };

    /// Divides `table` into the slots and the sketch behind them. `None` when it has a single page.
    pub(super) fn of(self, table: Table) -> Option<(Table, Table)> {
        let pages = table.pages();
        let wanted = (u64::from(pages) * u64::from(self.sketch_16ths) / 16) as u32;
        table.split(pages - wanted.clamp(1, pages.saturating_sub(1).max(1)))
    }
}

/// The cells of a sketch, in the lines of its table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    table: Table,
    shape: CountMin,
    cell_bits: usize,
    cells_per_line: usize,
    split: Split,
}

impl Grid {
    fn new(table: Table, split: Split, cell_bits: u32) -> Option<Self> {
        let cells_per_line = LINE_BITS / cell_bits as usize;
        // The first line holds the time until which anything counts.
        let cells = (table.lines() - 1) * cells_per_line;
        let shape = CountMin::new(cells / split.depth, split.depth)?;
        Some(Self { table, shape, cell_bits: cell_bits as usize, cells_per_line, split })
    }

    /// The cells of a key, each as its line and its first bit behind the stamp.
    fn cells(&self, key: Key) -> impl Iterator<Item = (LineId, usize)> + use<> {
        let Self { table, cell_bits, cells_per_line, .. } = *self;
        let cell = move |at| (table.line(1 + at / cells_per_line), at % cells_per_line * cell_bits);
        self.shape.positions(key).map(cell)
    }

    /// Whether nothing in the sketch counts at `now`. This is true most of the time, and then no cell is read.
    fn is_empty(&self, region: &Region, now: u64) -> bool {
        region.line(self.table.line(0)).stamp <= now
    }

    /// Records that something counts until `until`.
    fn lives_until(&self, region: &mut Region, until: u64) {
        let header = region.line_mut(self.table.line(0));
        header.stamp = header.stamp.max(until);
    }

    /// The first bits of the cells of a line.
    fn bits(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.cells_per_line * self.cell_bits).step_by(self.cell_bits)
    }

    /// How many cells of one page of the sketch pass a test of their line and first bit.
    fn count(&self, region: &Region, page: u32, passes: impl Fn(&Line, usize) -> bool) -> u64 {
        let header = usize::from(page == 0);
        let lines = region.page(&self.table, page).iter().skip(header);
        lines.map(|line| self.bits().filter(|&bit| passes(line, bit)).count() as u64).sum()
    }

    /// Pages, and cells in all.
    pub(super) fn size(&self) -> (u32, u64) {
        (self.table.pages(), (self.shape.width * self.shape.depth) as u64)
    }

    /// Whether a slot of weight `slot` passes to a key of weight `key`.
    pub(super) fn passes(&self, slot: u64, key: u64) -> bool {
        self.split.outweigh > 0 && key > slot.saturating_mul(self.split.outweigh)
    }
}

/// Makes a field of a line at least `value`.
fn raise_field(line: &mut Line, bit: usize, bits: u32, value: u64) {
    if value > field(&line.slots, bit, bits) {
        set_field(&mut line.slots, bit, bits, value);
    }
}

/// Returns the key that a sketch counts: a hash of the page and the fingerprint, because a slot keeps only these.
///
/// It is the finaliser of SplitMix64, so that every bit of page and fingerprint affects every row.
pub(super) fn sketch_key(line: LineId, fingerprint: u32) -> Key {
    let number = u64::from(line.page()) << 32 | u64::from(fingerprint);
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    Key(b ^ b >> 31)
}

/// Bits of the highest level of a bucket, in ticks.
const LEVEL_BITS: u32 = 23;

/// The age of a stamp in ticks at which a line of arrival times gets a new stamp. Until then distances fit, so a line
/// is shifted at most once while half of the largest burst drains, and not at each write.
const STALE: u64 = 1 << (LEVEL_BITS - 1);

/// Arrival times of buckets without a slot. The lowest of a key's cells is the time at which its bucket will have
/// drained, or a later one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrivals {
    pub grid: Grid,
    grain: u32,
    bits: u32,
}

impl Arrivals {
    pub(super) fn new(table: Table, split: Split) -> Option<Self> {
        let bits = LEVEL_BITS + 1 - split.grain;
        Some(Self { grid: Grid::new(table, split, bits)?, grain: split.grain, bits })
    }

    /// Cells of a page that count at `now`.
    pub(super) fn used(&self, region: &Region, page: u32, now: u64) -> u64 {
        self.grid.count(region, page, |line, bit| self.level_in(line, bit, now) > 0)
    }

    /// The level of a key in ticks, never too low.
    pub(super) fn level(&self, region: &Region, key: Key, now: u64) -> u64 {
        if self.grid.is_empty(region, now) {
            return 0;
        }
        self.grid.cells(key).map(|(line, bit)| self.level_in(region.line(line), bit, now)).min().unwrap_or(0)
    }

    /// Makes the level of a key at least `level`.
    pub(super) fn raise(&self, region: &mut Region, key: Key, now: u64, level: u64) {
        for (line, bit) in self.grid.cells(key) {
            let line = region.line_mut(line);
            if now.saturating_sub(line.stamp) >= STALE {
                self.restamp(line, now);
            }
            let distance = (now - line.stamp + level).div_ceil(1 << self.grain);
            raise_field(line, bit, self.bits, distance);
        }
        self.grid.lives_until(region, now + level + (1 << self.grain));
    }

    fn level_in(&self, line: &Line, bit: usize, now: u64) -> u64 {
        let distance = field(&line.slots, bit, self.bits) << self.grain;
        distance.saturating_sub(now.saturating_sub(line.stamp))
    }

    /// Moves a line to a new stamp, and shifts its distances by whole grains.
    fn restamp(&self, line: &mut Line, now: u64) {
        let by = (now - line.stamp) >> self.grain;
        for bit in self.grid.bits() {
            let distance = field(&line.slots, bit, self.bits).saturating_sub(by);
            set_field(&mut line.slots, bit, self.bits, distance);
        }
        line.stamp += by << self.grain;
    }
}

/// The amounts that one key sent in each pane, the newest first.
pub(super) type Counts = [u64; MOST_PANES];

/// Most panes of a cell.
const MOST_PANES: usize = 16;

/// Counts by pane of windows without a slot. In each pane, the lowest of a key's cells is what it sent there, or more.
/// Times are panes of the limit's table.
///
/// A pane of the sketch is one or more whole panes of the table. So a count that moves between table and sketch,
/// however often, stays in the sketch pane in which it was charged. When it moves to the table, it is put at the end of
/// that sketch pane, where it counts longest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Panes {
    pub grid: Grid,
    /// Bits of a count.
    bits: u32,
    /// Panes of a cell.
    panes: u32,
    /// Panes of the table in one pane of the sketch.
    wide: u64,
    /// The panes of the table after which a count expires.
    life: u64,
}

impl Panes {
    /// Makes a sketch for counts of `bits` bits, for a table with rings of `life` panes.
    pub(super) fn new(table: Table, split: Split, bits: u32, life: u32) -> Option<Self> {
        let wide = ((life - 1) / split.panes).max(1);
        let panes = (life + wide - 2) / wide + 1;
        Some(Self { grid: Grid::new(table, split, bits * panes)?, bits, panes, wide: wide.into(), life: life.into() })
    }

    /// Cells of a page that count at `now`.
    pub(super) fn used(&self, region: &Region, page: u32, now: u64) -> u64 {
        let ages = self.ages(now);
        self.grid.count(region, page, |line, bit| (0..ages).any(|age| self.count(line, bit, now, age) > 0))
    }

    /// Returns an estimate of what a key sent in each pane that has not expired at `now`, never too low.
    pub(super) fn counts(&self, region: &Region, key: Key, now: u64) -> Counts {
        let mut counts = Counts::default();
        if self.grid.is_empty(region, now) {
            return counts;
        }
        let ages = self.ages(now);
        counts[..ages].fill(u64::MAX);
        for (line, bit) in self.grid.cells(key) {
            let line = region.line(line);
            for (age, count) in counts[..ages].iter_mut().enumerate() {
                *count = (*count).min(self.count(line, bit, now, age));
            }
        }
        counts
    }

    /// Makes the counts of a key at least `counts`. Each fits its bits.
    pub(super) fn raise(&self, region: &mut Region, key: Key, now: u64, counts: &Counts) {
        let newest = now / self.wide;
        for (line, bit) in self.grid.cells(key) {
            let line = region.line_mut(line);
            if line.stamp < newest {
                self.restamp(line, newest);
            }
            for (age, &count) in counts[..self.ages(now)].iter().enumerate() {
                let at = bit + self.place(newest - age as u64);
                raise_field(line, at, self.bits, count);
            }
        }
        self.grid.lives_until(region, self.last(now, 0) + self.life);
    }

    /// The last pane of the table that lies in the pane of this age.
    pub(super) fn last(&self, now: u64, age: usize) -> u64 {
        (now / self.wide - age as u64) * self.wide + self.wide - 1
    }

    /// The age of the pane in which `pane` of the table lies.
    pub(super) fn age(&self, now: u64, pane: u64) -> usize {
        (now / self.wide - pane / self.wide) as usize
    }

    /// Returns the first pane of the table at which all counts together are at most `room`; `None` when they already
    /// are.
    pub(super) fn fits_from(&self, counts: &Counts, now: u64, room: u64) -> Option<u64> {
        let mut sum = 0u64;
        let over = counts[..self.ages(now)].iter().position(|&count| {
            sum = sum.saturating_add(count);
            sum > room
        });
        over.map(|age| self.last(now, age) + self.life)
    }

    /// How many panes, counted from the newest, have not expired.
    fn ages(&self, now: u64) -> usize {
        let first = (now + 1).saturating_sub(self.life) / self.wide;
        (now / self.wide - first + 1) as usize
    }

    fn count(&self, line: &Line, bit: usize, now: u64, age: usize) -> u64 {
        let pane = now / self.wide - age as u64;
        let kept = pane <= line.stamp && line.stamp - pane < u64::from(self.panes);
        if kept { field(&line.slots, bit + self.place(pane), self.bits) } else { 0 }
    }

    fn place(&self, pane: u64) -> usize {
        (pane % u64::from(self.panes)) as usize * self.bits as usize
    }

    /// Stamps a line, and zeroes the counts whose places the new panes take.
    fn restamp(&self, line: &mut Line, newest: u64) {
        for pane in newest.saturating_sub(u64::from(self.panes) - 1).max(line.stamp + 1)..=newest {
            for bit in self.grid.bits() {
                set_field(&mut line.slots, bit + self.place(pane), self.bits, 0);
            }
        }
        line.stamp = newest;
    }
}
