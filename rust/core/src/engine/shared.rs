//! What threads share: the region behind its one lock, and what never changes of it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::region::{Epoch, Now, Region, Table};

/// Pages that are looked at without a pause: some tenths of a millisecond.
const PAGES_AT_ONCE: u32 = 256;

/// A region that several threads use.
///
/// # Synchronisation
/// One mutex, and nothing outside of it changes but a flag, which is written under it. Under it stand reads and writes of lines; nothing allocates, calls out or panics there.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    region: Arc<Mutex<Region>>,
    address: usize,
    bytes: u64,
    /// Of the policy whose tables are meant.
    generation: u64,
    /// Whether operators' entries or limits' blocks may hold: what spares everybody else from looking.
    has_marks: Arc<AtomicBool>,
    /// Whether anything may be in flight.
    has_in_flight: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn new(region: Region) -> Self {
        let (address, bytes, generation) = (region.address(), region.bytes(), region.generation());
        let region = Arc::new(Mutex::new(region));
        Self { address, bytes, generation, region, has_marks: Arc::default(), has_in_flight: Arc::default() }
    }

    /// The same region under the next policy, from now on; `from` is for [`Region::move_untracked`].
    pub(super) fn succeed(&self, from: &[Option<usize>]) -> Self {
        let generation = self.generation + 1;
        let mut region = self.lock();
        region.set_generation(generation);
        region.move_untracked(from);
        Self { generation, ..self.clone() }
    }

    /// How often the policy was changed before this one.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether entries or blocks may hold. Read before the lock: who reads it a moment too early decides as if he had come a moment earlier.
    #[inline]
    pub(super) fn has_marks(&self) -> bool {
        self.has_marks.load(Ordering::Acquire)
    }

    /// Says whether they may. Under the lock, so that nobody says so of what another has just changed.
    pub(super) fn set_marks(&self, whether: bool) {
        self.has_marks.store(whether, Ordering::Release);
    }

    /// Whether anything may be in flight. A stale read orders this check before the permit that was taken, or after the one that was released.
    #[inline]
    pub(super) fn may_have_in_flight(&self) -> bool {
        self.has_in_flight.load(Ordering::Acquire)
    }

    /// Notes whether any permit is open. Under the lock, after a permit was taken or released.
    pub(super) fn note_in_flight(&self, region: &Region) {
        self.has_in_flight.store(crate::store::permits::Permits::open(region) > 0, Ordering::Release);
    }

    /// Where it lies, for prefetching before the lock.
    pub(super) fn address(&self) -> usize {
        self.address
    }

    /// Bytes allocated: exact, and constant.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Region> {
        // Nothing under the lock panics; should it ever, the lines are plain words and stay usable.
        self.region.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The region and engine time at `now`; it moves when something may be charged, and does not for a look.
    pub(super) fn at(&self, now: Now, moves: bool) -> (MutexGuard<'_, Region>, Epoch) {
        let mut region = self.lock();
        let epoch = region.epoch().at(now);
        if moves {
            region.set_epoch(epoch);
        }
        (region, epoch)
    }

    /// A sum over the pages of a table, as [`Shared::each_page`] comes by them.
    pub(super) fn sum_pages(&self, pages: u32, pause: &dyn Fn(), used: impl Fn(&Region, u32, u64) -> u64) -> u64 {
        let mut sum = 0;
        self.each_page(pages, pause, |region, page, now| sum += used(region, page, now));
        sum
    }

    /// Looks at every page of a table, at engine time. The lock is released between pages, and every so many of them `pause` runs.
    /// When the policy is changed meanwhile the rest is left out: it may be another limit's.
    pub(super) fn each_page(&self, pages: u32, pause: &dyn Fn(), mut look: impl FnMut(&Region, u32, u64)) {
        for page in 0..pages {
            if page % PAGES_AT_ONCE == PAGES_AT_ONCE - 1 {
                pause();
            }
            let region = self.lock();
            if region.generation() != self.generation {
                return;
            }
            look(&region, page, region.epoch().last_us);
        }
    }

    /// Empties a table that nobody uses, a page at a time. `false` when the policy was changed meanwhile: it may be used then.
    pub(super) fn clear(&self, table: &Table, pause: &dyn Fn()) -> bool {
        (0..table.pages()).all(|page| {
            if page % PAGES_AT_ONCE == PAGES_AT_ONCE - 1 {
                pause();
            }
            let mut region = self.lock();
            let is_ours = region.generation() == self.generation;
            if is_ours {
                region.clear(table, page);
            }
            is_ours
        })
    }
}
