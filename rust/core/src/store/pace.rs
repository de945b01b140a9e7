//! How fast a key may go: the store of a limit's algorithm.
//!
//! The two do the same three things, so whoever holds a pace need not know which it is.

use super::gcra::Gcra;
use super::quota::Quota;
use super::window::Window;
use super::{Promised, Verdict};
use crate::key::Key;
use crate::policy::{Algorithm, Rate, WhenFull};
use crate::region::{Candidates, Region, Spot, Table};
use crate::time::Moment;

/// The counters of one limit.
///
/// Its tag is an octet: left to the compiler it is as wide as the alignment, sixteen of them, which every match would compare.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Pace {
    /// Buckets.
    Gcra(Gcra),
    /// Sliding windows.
    Window(Window),
}

impl Pace {
    /// Counters in `table`; a sliding window has no `burst`. `None` when no clock of this crate can keep the rate.
    pub fn new(table: Table, algorithm: Algorithm, rate: Rate, burst: u64, when_full: WhenFull) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Gcra => Self::Gcra(Gcra::new(table, Quota::new(rate, burst)?, when_full)),
            Algorithm::SlidingWindow => Self::Window(Window::new(table, rate, when_full)?),
        })
    }

    /// The table.
    pub fn table(&self) -> &Table {
        match self {
            Self::Gcra(buckets) => buckets.table(),
            Self::Window(windows) => windows.table(),
        }
    }

    /// Keys that it has room for.
    pub fn slots(&self) -> u64 {
        match self {
            Self::Gcra(buckets) => buckets.table().slots(),
            Self::Window(windows) => windows.slots(),
        }
    }

    /// How long one charge of `amount` on a new key occupies a slot, on average, in microseconds.
    pub fn occupied_us(&self, amount: u64) -> u64 {
        match self {
            Self::Gcra(buckets) => buckets.quota().occupied_us(amount),
            Self::Window(windows) => windows.occupied_us(),
        }
    }

    /// Pages and cells of the sketch beside the table, where there is one.
    pub fn sketch(&self) -> Option<(u32, u64)> {
        match self {
            Self::Gcra(buckets) => buckets.sketch(),
            Self::Window(windows) => windows.sketch(),
        }
    }

    /// Cells in use on one page of the sketch.
    pub fn sketch_used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        match self {
            Self::Gcra(buckets) => buckets.sketch_used(region, page, now_us),
            Self::Window(windows) => windows.sketch_used(region, page, now_us),
        }
    }

    /// Slots in use on one page of the table.
    pub fn used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        match self {
            Self::Gcra(buckets) => buckets.used(region, page, now_us),
            Self::Window(windows) => windows.used(region, page, now_us),
        }
    }

    /// Where `key` may be: what a look-up touches.
    #[inline]
    pub fn lines(&self, key: Key) -> Candidates {
        match self {
            Self::Gcra(buckets) => buckets.lines(key),
            Self::Window(windows) => windows.lines(key),
        }
    }

    /// As [`Gcra::moment`] and [`Window::moment`].
    #[inline]
    pub fn moment(&self, now_us: u64) -> Moment {
        match self {
            Self::Gcra(buckets) => buckets.moment(now_us),
            Self::Window(windows) => windows.moment(now_us),
        }
    }

    /// As [`Gcra::consult`] and [`Window::consult`].
    #[inline]
    pub fn consult(
        &self,
        region: &Region,
        at: &Candidates,
        now: Moment,
        amount: u64,
        promised: &mut Promised,
    ) -> (Verdict, Option<Spot>) {
        match self {
            Self::Gcra(buckets) => buckets.consult(region, at, now, amount, promised),
            Self::Window(windows) => windows.consult(region, at, now, amount, promised),
        }
    }

    /// As [`Gcra::charge`] and [`Window::charge`].
    #[inline]
    pub fn charge(&self, region: &mut Region, at: &Candidates, spot: Option<Spot>, now: Moment, amount: u64) -> bool {
        match self {
            Self::Gcra(buckets) => buckets.charge(region, at, spot, now, amount),
            Self::Window(windows) => windows.charge(region, at, spot, now, amount),
        }
    }

    /// As [`Gcra::refund`] and [`Window::refund`].
    pub fn refund(&self, region: &mut Region, at: &Candidates, then: Moment, now: Moment, amount: u64) -> bool {
        match self {
            Self::Gcra(buckets) => buckets.refund(region, at, then, now, amount),
            Self::Window(windows) => windows.refund(region, at, then, now, amount),
        }
    }
}
