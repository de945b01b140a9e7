//! One table for any key: what `RateLimiter` offers.
//!
//! The lines of a key are prefetched before the lock. With one thread that gains nothing, since the two lines of one
//! look-up are loaded together anyway (`benches/gcra.rs`: 1 % faster or slower). With several threads, each loads its
//! lines while another holds the lock (`benches/lock.rs`).
//!
//! Knows no mail and no policy. Invariant: a refused hit writes nothing but the time.

use crate::policy::{Algorithm, Rate, WhenFull};
use crate::region::{Now, PAGE_BYTES, Region, SharedRegion, prefetch};
use crate::store::{SlotReservations, Verdict};
use crate::{key::Secret, store::rate_counter::RateCounter};

/// A rate limit over keys of any text.
#[derive(Debug)]
pub struct Limiter {
    secret: Secret,
    counter: RateCounter,
    shared: SharedRegion,
}

/// The result of a hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// Admitted, and charged.
    Allowed,
    /// It would be admitted after so many microseconds.
    Wait(u64),
    /// It costs more than the burst, or than a window holds.
    Never,
}

impl Limiter {
    /// The smallest memory: the header and one page, with a sketch two.
    pub fn least_bytes(when_full: WhenFull) -> u64 {
        let pages = if when_full == WhenFull::Sketch { 2 } else { 1 };
        (1 + pages) * PAGE_BYTES
    }

    /// Allocates the table. Returns `None` when the memory is below [`Self::least_bytes`] or more than the machine has,
    /// or when no clock can keep the rate.
    pub fn new(
        algorithm: Algorithm, rate: Rate, burst: u64, when_full: WhenFull, memory_bytes: u64, secret: Secret,
    ) -> Option<Self> {
        let pages = u32::try_from(memory_bytes / PAGE_BYTES).ok()?.checked_sub(1)?;
        if memory_bytes < Self::least_bytes(when_full) {
            return None;
        }
        let (region, tables) = Region::new(&[pages])?;
        let counter = RateCounter::new(*tables.first()?, algorithm, rate, burst, when_full)?;
        Some(Self { secret, counter, shared: SharedRegion::new(region) })
    }

    /// Charges `cost` to `key` when it fits.
    #[inline]
    pub fn hit(&self, key: &[u8], cost: u64, now: Now) -> Hit {
        self.hit_at(key, cost, now).0
    }

    /// As [`Limiter::hit`], and returns the engine time of the charge in microseconds, for [`Limiter::refund`]. It is
    /// `None` when nothing was counted.
    #[inline]
    pub fn hit_at(&self, key: &[u8], cost: u64, now: Now) -> (Hit, Option<u64>) {
        self.decide(key, cost, now, true)
    }

    /// Takes back what `cost` charged to `key` at the engine time `then_us`, less what has drained since. Returns
    /// whether anything was left to take back. The caller refunds a charge once.
    pub fn refund(&self, key: &[u8], cost: u64, then_us: u64, now: Now) -> bool {
        let at = self.counter.lines(self.secret.text(key));
        let (mut region, epoch) = self.shared.at(now, true);
        let [then, now] = [then_us, epoch.last_us].map(|us| self.counter.ticks_at(us));
        self.counter.refund(&mut region, &at, then, now, cost)
    }

    /// Returns what [`Limiter::hit`] would return, and charges nothing.
    pub fn peek(&self, key: &[u8], cost: u64, now: Now) -> Hit {
        self.decide(key, cost, now, false).0
    }

    #[inline]
    fn decide(&self, key: &[u8], cost: u64, now: Now, charge: bool) -> (Hit, Option<u64>) {
        let at = self.counter.lines(self.secret.text(key));
        prefetch(self.shared.address, &at);
        let (mut region, epoch) = self.shared.at(now, charge);
        let ticks = self.counter.ticks_at(epoch.last_us);
        let (verdict, slot) = self.counter.consult(&region, &at, ticks, cost, &mut SlotReservations::default());
        match verdict {
            Verdict::Fits if !charge => (Hit::Allowed, None),
            Verdict::Fits => {
                let counted = self.counter.charge(&mut region, &at, slot, ticks, cost);
                if !counted {
                    region.header_mut().untracked[0] += 1;
                }
                (Hit::Allowed, counted.then_some(epoch.last_us))
            }
            Verdict::From(us) => (Hit::Wait(us.saturating_add_signed(epoch.reads(now).saturating_neg())), None),
            Verdict::Never => (Hit::Never, None),
        }
    }

    /// Bytes allocated: exact, and constant.
    pub fn memory_bytes(&self) -> u64 {
        self.shared.bytes
    }

    /// Charges that found no room, since start.
    pub fn untracked(&self) -> u64 {
        self.shared.lock().header().untracked[0]
    }

    /// Slots in use, and slots in all. `pause` runs every so many pages.
    pub fn load(&self, pause: &dyn Fn()) -> (u64, u64) {
        let pages = self.counter.table().pages();
        let used = self.shared.sum_pages(pages, pause, |region, page, now| self.counter.used(region, page, now));
        (used, self.counter.slots())
    }
}
