//! Panes of windows without a slot. Pane by pane, the lowest of a key's cells is what it sent in that pane, or more.
//!
//! ```text
//!  line   stamp: the newest pane │ cells of P counts of log₂(L + 1) bits; the count of pane q stands at q mod P
//! ```
//!
//! A pane is as long as a few panes of the table, and begins with one of them. So a count that moves between table and
//! sketch, however often, stays in the pane in which it was charged. In the table it then stands at that pane's end,
//! where it counts longest.

use super::grid::{Cell, Grid, Split, field, page_of, set_field};
use crate::region::{Candidates, Line, Region, Table};

/// Most panes of a cell.
pub(in crate::store) const MOST: usize = 16;

/// What one key sent, pane by pane, the newest first.
pub(in crate::store) type Counts = [u64; MOST];

/// The sketch of one limit. Times are panes of the limit's table.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Panes {
    grid: Grid,
    split: Split,
    /// Bits of a count.
    bits: u32,
    /// Panes of a cell.
    panes: u32,
    /// Panes of the table in one pane of the sketch.
    wide: u64,
    /// A pane has expired after so many panes of the table.
    life: u64,
}

impl Panes {
    /// A sketch for counts of `bits` bits, beside pane rings of `life` panes.
    pub(in crate::store) fn new(table: Table, split: Split, bits: u32, life: u32) -> Option<Self> {
        let wide = ((life - 1) / split.panes).max(1);
        let panes = (life + wide - 2) / wide + 1;
        let grid = Grid::new(table, bits * panes, split.depth)?;
        Some(Self { grid, split, bits, panes, wide: wide.into(), life: life.into() })
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
        let counts = |(line, bit): &(&Line, u32)| (0..self.ages(now)).any(|age| self.count(line, *bit, now, age) > 0);
        self.grid.page(region, page).filter(counts).count() as u64
    }

    /// What a key sent in each pane that has not expired at `now`, never too low.
    #[inline]
    pub(in crate::store) fn counts(&self, region: &Region, at: &Candidates, now: u64) -> Counts {
        let mut counts = Counts::default();
        if self.grid.is_empty(region, now) {
            return counts;
        }
        let ages = self.ages(now);
        counts[..ages].fill(u64::MAX);
        for Cell { line, bit } in self.grid.cells(page_of(at), at.fingerprint) {
            let line = region.line(line);
            for (age, count) in counts[..ages].iter_mut().enumerate() {
                *count = (*count).min(self.count(line, bit, now, age));
            }
        }
        counts
    }

    /// Makes the counts of the key with this fingerprint in this page of the limit's table at least `counts`. Each fits
    /// its bits.
    pub(in crate::store) fn raise(&self, region: &mut Region, page: u32, fingerprint: u32, now: u64, counts: &Counts) {
        let newest = now / self.wide;
        for Cell { line, bit } in self.grid.cells(page, fingerprint) {
            let line = region.line_mut(line);
            if line.stamp < newest {
                self.restamp(line, newest);
            }
            for (age, &count) in counts[..self.ages(now)].iter().enumerate() {
                let at = bit + self.place(newest - age as u64);
                if count > field(line, at, self.bits) {
                    set_field(line, at, self.bits, count);
                }
            }
        }
        self.grid.lives_until(region, self.last(now, 0) + self.life);
    }

    /// The last pane of the table that lies in the pane of this age.
    #[inline]
    pub(in crate::store) fn last(&self, now: u64, age: usize) -> u64 {
        (now / self.wide - age as u64) * self.wide + self.wide - 1
    }

    /// The age of the pane in which `pane` of the table lies.
    #[inline]
    pub(in crate::store) fn age(&self, now: u64, pane: u64) -> usize {
        (now / self.wide - pane / self.wide) as usize
    }

    /// The pane of the table from which on all counts together are no more than `room`; `None` when they are now.
    pub(in crate::store) fn fits_from(&self, counts: &Counts, now: u64, room: u64) -> Option<u64> {
        let mut sum = 0u64;
        let over = counts[..self.ages(now)].iter().position(|&count| {
            sum = sum.saturating_add(count);
            sum > room
        });
        over.map(|age| self.last(now, age) + self.life)
    }

    /// How many panes, counted from the newest, have not expired.
    #[inline]
    fn ages(&self, now: u64) -> usize {
        let first = (now + 1).saturating_sub(self.life) / self.wide;
        (now / self.wide - first + 1) as usize
    }

    #[inline]
    fn count(&self, line: &Line, bit: u32, now: u64, age: usize) -> u64 {
        let pane = now / self.wide - age as u64;
        let kept = pane <= line.stamp && line.stamp - pane < u64::from(self.panes);
        if kept { field(line, bit + self.place(pane), self.bits) } else { 0 }
    }

    #[inline]
    fn place(&self, pane: u64) -> u32 {
        (pane % u64::from(self.panes)) as u32 * self.bits
    }

    /// Stamps a line, and zeroes the counts whose places the new panes take.
    fn restamp(&self, line: &mut Line, newest: u64) {
        for pane in newest.saturating_sub(u64::from(self.panes) - 1).max(line.stamp + 1)..=newest {
            for cell in 0..self.grid.per_line as u32 {
                set_field(line, cell * self.grid.cell_bits + self.place(pane), self.bits, 0);
            }
        }
        line.stamp = newest;
    }
}
