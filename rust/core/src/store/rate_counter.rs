//! The counters of a rate limit, of either algorithm.
//!
//! GCRA and the sliding window have the same methods, so a caller need not know which of them it holds.

use super::gcra::{Gcra, GcraRate};
use super::params::{Algorithm, Rate, WhenFull};
use super::reservations::SlotReservations;
use super::sliding_window::SlidingWindow;
use super::verdict::Verdict;
use crate::key::Key;
use crate::region::{Candidates, FoundSlot, Region, Table};
use crate::time::Ticks;

/// The counters of one limit.
///
/// Its tag is a byte: left to the compiler it is as wide as the alignment, sixteen of them, which every match would
/// compare.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum RateCounter {
    /// Buckets.
    Gcra(Gcra),
    /// Sliding windows.
    SlidingWindow(SlidingWindow),
}

impl RateCounter {
    /// Counters in `table`; a sliding window has no `burst`. `None` when no clock of this crate can keep the rate.
    pub fn new(table: Table, algorithm: Algorithm, rate: Rate, burst: u64, when_full: WhenFull) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Gcra => Self::Gcra(Gcra::new(table, GcraRate::new(rate, burst)?, when_full)),
            Algorithm::SlidingWindow => Self::SlidingWindow(SlidingWindow::new(table, rate, when_full)?),
        })
    }

    /// The table.
    pub fn table(&self) -> &Table {
        match self {
            Self::Gcra(buckets) => buckets.table(),
            Self::SlidingWindow(windows) => windows.table(),
        }
    }

    /// Keys that it has room for.
    pub fn slots(&self) -> u64 {
        match self {
            Self::Gcra(buckets) => buckets.table().slots(),
            Self::SlidingWindow(windows) => windows.slots(),
        }
    }

    /// How long one charge of `amount` on a new key occupies a slot, on average, in microseconds.
    pub fn occupied_us(&self, amount: u64) -> u64 {
        match self {
            Self::Gcra(buckets) => buckets.quota().occupied_us(amount),
            Self::SlidingWindow(windows) => windows.occupied_us(),
        }
    }

    /// Pages and cells of the sketch beside the table, where there is one.
    pub fn sketch(&self) -> Option<(u32, u64)> {
        match self {
            Self::Gcra(buckets) => buckets.sketch(),
            Self::SlidingWindow(windows) => windows.sketch(),
        }
    }

    /// Cells in use on one page of the sketch.
    pub fn sketch_used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        match self {
            Self::Gcra(buckets) => buckets.sketch_used(region, page, now_us),
            Self::SlidingWindow(windows) => windows.sketch_used(region, page, now_us),
        }
    }

    /// Slots in use on one page of the table.
    pub fn used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        match self {
            Self::Gcra(buckets) => buckets.used(region, page, now_us),
            Self::SlidingWindow(windows) => windows.used(region, page, now_us),
        }
    }

    /// Where `key` may be: what a look-up touches.
    #[inline]
    pub fn lines(&self, key: Key) -> Candidates {
        match self {
            Self::Gcra(buckets) => buckets.lines(key),
            Self::SlidingWindow(windows) => windows.lines(key),
        }
    }

    /// As [`Gcra::ticks_at`] and [`SlidingWindow::ticks_at`].
    #[inline]
    pub fn ticks_at(&self, now_us: u64) -> Ticks {
        match self {
            Self::Gcra(buckets) => buckets.ticks_at(now_us),
            Self::SlidingWindow(windows) => windows.ticks_at(now_us),
        }
    }

    /// As [`Gcra::consult`] and [`SlidingWindow::consult`].
    #[inline]
    pub fn consult(
        &self,
        region: &Region,
        at: &Candidates,
        now: Ticks,
        amount: u64,
        promised: &mut SlotReservations,
    ) -> (Verdict, Option<FoundSlot>) {
        match self {
            Self::Gcra(buckets) => buckets.consult(region, at, now, amount, promised),
            Self::SlidingWindow(windows) => windows.consult(region, at, now, amount, promised),
        }
    }

    /// As [`Gcra::charge`] and [`SlidingWindow::charge`].
    #[inline]
    pub fn charge(
        &self,
        region: &mut Region,
        at: &Candidates,
        spot: Option<FoundSlot>,
        now: Ticks,
        amount: u64,
    ) -> bool {
        match self {
            Self::Gcra(buckets) => buckets.charge(region, at, spot, now, amount),
            Self::SlidingWindow(windows) => windows.charge(region, at, spot, now, amount),
        }
    }

    /// Empties the key's counter. Returns whether it counted anything; a sketch keeps what it knows of the key.
    pub fn clear(&self, region: &mut Region, at: &Candidates, now_us: u64) -> bool {
        let now = self.ticks_at(now_us);
        match self {
            Self::Gcra(buckets) => buckets.clear(region, at, now),
            Self::SlidingWindow(windows) => windows.clear(region, at, now),
        }
    }

    /// As [`Gcra::refund`] and [`SlidingWindow::refund`].
    pub fn refund(&self, region: &mut Region, at: &Candidates, then: Ticks, now: Ticks, amount: u64) -> bool {
        match self {
            Self::Gcra(buckets) => buckets.refund(region, at, then, now, amount),
            Self::SlidingWindow(windows) => windows.refund(region, at, then, now, amount),
        }
    }
}
