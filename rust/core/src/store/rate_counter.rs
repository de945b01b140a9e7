//! The counters of a rate limit, of either algorithm.
//!
//! GCRA and the sliding window have the same methods, so a caller need not know which algorithm a limit uses.

use super::gcra::{Gcra, GcraRate};
use super::params::{Algorithm, Rate, WhenFull};
use super::request::{Answer, SlotReservations, Verdict};
use super::sliding_window::SlidingWindow;
use crate::key::Key;
use crate::region::{Candidates, KeySlot, Region, Table};
use crate::time::Ticks;

/// The counters of one limit.
///
/// The tag is a byte. The compiler would make it as wide as the alignment, which is sixteen bytes, and every match
/// would compare all of them.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum RateCounter {
    /// Buckets.
    Gcra(Gcra),
    /// Sliding windows.
    SlidingWindow(SlidingWindow),
}

/// Calls the same method of either algorithm.
macro_rules! either {
    ($self:ident, $counter:ident => $call:expr) => {
        match $self {
            RateCounter::Gcra($counter) => $call,
            RateCounter::SlidingWindow($counter) => $call,
        }
    };
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
        either!(self, counter => &counter.table)
    }

    /// Slots in all: the number of keys that the table has room for.
    pub fn slots(&self) -> u64 {
        match self {
            Self::Gcra(buckets) => buckets.table.slots(),
            Self::SlidingWindow(windows) => windows.slots(),
        }
    }

    /// How long one charge of `amount` on a new key occupies a slot, on average, in microseconds.
    pub fn occupied_us(&self, amount: u64) -> u64 {
        match self {
            Self::Gcra(buckets) => buckets.quota.occupied_us(amount),
            Self::SlidingWindow(windows) => windows.occupied_us(),
        }
    }

    /// Pages and cells of the sketch next to the table, when there is one.
    pub fn sketch(&self) -> Option<(u32, u64)> {
        either!(self, counter => counter.sketch.as_ref().map(|sketch| sketch.grid.size()))
    }

    /// Cells in use on one page of the sketch.
    pub fn sketch_used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        let Ticks(now) = self.ticks_at(now_us);
        either!(self, counter => counter.sketch.as_ref().map_or(0, |sketch| sketch.used(region, page, now)))
    }

    /// Slots in use on one page of the table.
    pub fn used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        either!(self, counter => counter.used(region, page, now_us))
    }

    /// The lines that `key` may be in: all that a look-up touches.
    #[inline]
    pub fn lines(&self, key: Key) -> Candidates {
        self.table().candidates(key)
    }

    /// Converts engine time: see [`Gcra::ticks_at`] and [`SlidingWindow::ticks_at`].
    #[inline]
    pub fn ticks_at(&self, now_us: u64) -> Ticks {
        either!(self, counter => counter.ticks_at(now_us))
    }

    /// Tells whether a charge fits: see [`Gcra::consult`] and [`SlidingWindow::consult`].
    #[inline]
    pub fn consult(
        &self, region: &Region, at: &Candidates, now: Ticks, amount: u64, reserved: &mut SlotReservations,
    ) -> (Verdict, Option<KeySlot>) {
        either!(self, counter => counter.consult(region, at, now, amount, reserved))
    }

    /// Writes into `answer`, which is [`Answer::FITS`], what [`RateCounter::consult`] returns at `at_us`. The algorithm
    /// is looked at once.
    #[inline(always)]
    pub fn consult_at(
        &self, region: &Region, at: &Candidates, (at_us, amount): (u64, u64), reserved: &mut SlotReservations,
        answer: &mut Answer,
    ) {
        match self {
            Self::Gcra(buckets) => {
                answer.now = buckets.ticks_at(at_us);
                buckets.consult_into(region, at, answer.now, amount, reserved, answer);
            }
            Self::SlidingWindow(windows) => {
                answer.now = windows.ticks_at(at_us);
                (answer.verdict, answer.slot) = windows.consult(region, at, answer.now, amount, reserved);
            }
        }
    }

    /// Charges a key: see [`Gcra::charge`] and [`SlidingWindow::charge`].
    #[inline]
    pub fn charge(&self, region: &mut Region, at: &Candidates, slot: Option<KeySlot>, now: Ticks, amount: u64) -> bool {
        either!(self, counter => counter.charge(region, at, slot, now, amount))
    }

    /// Charges one, whether it fits or not. What does not fit is lost: it fills a bucket to the brim, and a window
    /// without room for one is full already. So a counter never holds more than its limit, and the wait for the next
    /// one is what it is after a charge that just fitted. Returns `false` when the key found no room in the table and
    /// is not counted.
    pub fn charge_up_to_full(&self, region: &mut Region, at: &Candidates, now_us: u64) -> bool {
        let now = self.ticks_at(now_us);
        let (verdict, slot) = self.consult(region, at, now, 1, &mut SlotReservations::default());
        match self {
            Self::SlidingWindow(windows) if verdict != Verdict::Fits => slot.is_some() || windows.sketch.is_some(),
            _ => self.charge(region, at, slot, now, 1),
        }
    }

    /// Empties the key's slot. Returns whether it counted anything. The cells of a sketch stay as they are.
    pub fn clear(&self, region: &mut Region, at: &Candidates, now_us: u64) -> bool {
        let now = self.ticks_at(now_us);
        either!(self, counter => counter.clear(region, at, now))
    }

    /// Takes a charge back: see [`Gcra::refund`] and [`SlidingWindow::refund`].
    pub fn refund(&self, region: &mut Region, at: &Candidates, then: Ticks, now: Ticks, amount: u64) -> bool {
        either!(self, counter => counter.refund(region, at, then, now, amount))
    }
}
