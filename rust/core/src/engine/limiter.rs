//! One table for any key: what `RateLimiter` offers.
//!
//! Nothing is prefetched: of one look-up the two lines are waited for together anyway (`benches/gcra.rs`: 1 % for it or against it).

use std::sync::{Mutex, PoisonError};

use crate::key::Secret;
use crate::policy::{Algorithm, Rate, WhenFull};
use crate::region::{Now, PAGE_BYTES, Region};
use crate::store::Verdict;
use crate::store::pace::Pace;

/// A rate limit over keys of any text.
#[derive(Debug)]
pub struct Limiter {
    secret: Secret,
    pace: Pace,
    region: Mutex<Region>,
    bytes: u64,
}

/// What a hit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// Admitted, and charged.
    Allowed,
    /// It would pass after so many microseconds.
    Wait(u64),
    /// It costs more than the burst, or than a window holds.
    Never,
}

impl Limiter {
    /// The smallest memory: the header and one page.
    pub const LEAST_BYTES: u64 = 2 * PAGE_BYTES;

    /// `None` when the memory is below [`Self::LEAST_BYTES`] or no clock can keep the rate.
    pub fn new(
        algorithm: Algorithm,
        rate: Rate,
        burst: u64,
        when_full: WhenFull,
        memory_bytes: u64,
        secret: Secret,
    ) -> Option<Self> {
        let pages = u32::try_from(memory_bytes / PAGE_BYTES).ok()?.checked_sub(1).filter(|&pages| pages > 0)?;
        let (region, tables) = Region::new(&[pages]);
        let pace = Pace::new(*tables.first()?, algorithm, rate, burst, when_full)?;
        let bytes = region.bytes();
        Some(Self { secret, pace, region: Mutex::new(region), bytes })
    }

    /// Charges `cost` to `key` when it fits.
    #[inline]
    pub fn hit(&self, key: &[u8], cost: u64, now: Now) -> Hit {
        self.decide(key, cost, now, true)
    }

    /// The same, but charges nothing.
    pub fn peek(&self, key: &[u8], cost: u64, now: Now) -> Hit {
        self.decide(key, cost, now, false)
    }

    #[inline]
    fn decide(&self, key: &[u8], cost: u64, now: Now, charge: bool) -> Hit {
        let at = self.pace.lines(self.secret.text(key));
        let mut region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = region.epoch().at(now);
        if charge {
            region.set_epoch(epoch);
        }
        let (verdict, spot) = self.pace.consult(&region, &at, epoch.last_us, cost, 0);
        match verdict {
            Verdict::Fits => {
                if charge && !self.pace.charge(&mut region, &at, spot, epoch.last_us, cost) {
                    region.count_untracked(0);
                }
                Hit::Allowed
            }
            Verdict::From(us) => Hit::Wait(us.saturating_add_signed(epoch.reads(now).saturating_neg())),
            Verdict::Never => Hit::Never,
        }
    }

    /// Bytes allocated: exact, and constant.
    pub fn memory_bytes(&self) -> u64 {
        self.bytes
    }

    /// Charges that found no room, since start.
    pub fn untracked(&self) -> u64 {
        self.region.lock().unwrap_or_else(PoisonError::into_inner).untracked(0)
    }

    /// Slots in use, and slots in all. Page by page, with the lock released between.
    pub fn load(&self) -> (u64, u64) {
        let used = (0..self.pace.table().pages()).map(|page| {
            let region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
            self.pace.used(&region, page, region.epoch().last_us)
        });
        (used.sum(), self.pace.slots())
    }
}
