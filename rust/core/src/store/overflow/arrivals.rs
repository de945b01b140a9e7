//! Arrival times of buckets without a slot. The lowest of a key's cells is the time at which its bucket will have
//! drained, or a later one.
//!
//! ```text
//!  line   stamp │ cells of 24 bits less the grain
//!                 a cell: the arrival time as a distance from the stamp, in grains, rounded up; zero is none
//! ```
//!
//! The stamp stands still while distances fit, so a line is shifted once while half a burst drains, and not at each
//! write.

use super::grid::{Cell, Grid, Split, field, page_of, set_field};
use crate::region::{Candidates, Line, Region, Table};

/// Bits of the highest level of a bucket, in ticks.
const LEVEL_BITS: u32 = 23;

/// A line is shifted to a new stamp when its stamp lies so far back.
const STALE: u64 = 1 << (LEVEL_BITS - 1);

/// The sketch of one limit.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Arrivals {
    grid: Grid,
    grain: u32,
    bits: u32,
    split: Split,
}

impl Arrivals {
    pub(in crate::store) fn new(table: Table, split: Split) -> Option<Self> {
        let bits = LEVEL_BITS + 1 - split.grain;
        Some(Self { grid: Grid::new(table, bits, split.depth)?, grain: split.grain, bits, split })
    }

    /// How the memory is divided.
    pub(in crate::store) fn split(&self) -> Split {
        self.split
    }

    /// Pages, and cells in all.
    pub(in crate::store) fn size(&self) -> (u32, u64) {
        self.grid.size()
    }

    /// Cells of a page that count at `now`.
    pub(in crate::store) fn used(&self, region: &Region, page: u32, now: u64) -> u64 {
        self.grid.page(region, page).filter(|(line, bit)| self.level_in(line, *bit, now) > 0).count() as u64
    }

    /// The level of a key in ticks, never too low.
    #[inline]
    pub(in crate::store) fn level(&self, region: &Region, at: &Candidates, now: u64) -> u64 {
        if self.grid.is_empty(region, now) {
            return 0;
        }
        let cells = self.grid.cells(page_of(at), at.fingerprint);
        cells.map(|Cell { line, bit }| self.level_in(region.line(line), bit, now)).min().unwrap_or(0)
    }

    /// Makes the level of the key with this fingerprint in this page of the limit's table at least `level`.
    pub(in crate::store) fn raise(&self, region: &mut Region, page: u32, fingerprint: u32, now: u64, level: u64) {
        for Cell { line, bit } in self.grid.cells(page, fingerprint) {
            let line = region.line_mut(line);
            if now.saturating_sub(line.stamp) >= STALE {
                self.restamp(line, now);
            }
            let distance = (now - line.stamp + level).div_ceil(1 << self.grain);
            if distance > field(line, bit, self.bits) {
                set_field(line, bit, self.bits, distance);
            }
        }
        self.grid.lives_until(region, now + level + (1 << self.grain));
    }

    #[inline]
    fn level_in(&self, line: &Line, bit: u32, now: u64) -> u64 {
        let distance = field(line, bit, self.bits) << self.grain;
        distance.saturating_sub(now.saturating_sub(line.stamp))
    }

    /// Moves a line to a new stamp, and shifts its distances by whole grains.
    fn restamp(&self, line: &mut Line, now: u64) {
        let by = (now - line.stamp) >> self.grain;
        for cell in 0..self.grid.per_line as u32 {
            let bit = cell * self.bits;
            set_field(line, bit, self.bits, field(line, bit, self.bits).saturating_sub(by));
        }
        line.stamp += by << self.grain;
    }
}
