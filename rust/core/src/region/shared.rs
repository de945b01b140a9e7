//! A region that threads share: the one lock, the facts about the region that never change, and its hints.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::hints::Hints;
use super::{Epoch, Now, Region, Table};

/// Pages that a walk over a table visits between two pauses: some tenths of a millisecond.
const PAGES_AT_ONCE: u32 = 256;

/// Pages that are emptied under one hold of the lock: some microseconds. With a hold for each page, eight busy threads
/// made a reload wait at every page.
const CLEARED_AT_ONCE: u32 = 16;

/// Pages that are emptied between two pauses: about a millisecond.
const CLEARED_TO_A_PAUSE: u32 = 2048;

/// A region that several threads use.
///
/// # Synchronisation
/// One mutex guards all pages. The code under it reads and writes pages. It includes closures of the engine, such as
/// `look` of [`SharedRegion::each_page`]. They are written not to allocate, wait, panic or call Python; `pause` runs
/// without the lock.
#[derive(Clone, Debug)]
pub struct SharedRegion {
    region: Arc<Mutex<Region>>,
    /// The facts that are read without the lock.
    pub hints: Arc<Hints>,
    /// The address of the first page, for prefetching before the lock.
    pub address: usize,
    /// Bytes allocated: exact, and constant.
    pub bytes: u64,
    /// The generation of the policy that this handle belongs to: how many times the policy was changed before.
    pub generation: u64,
}

impl SharedRegion {
    /// Puts a region behind its lock.
    pub fn new(region: Region) -> Self {
        let (address, bytes, generation) = (region.address(), region.bytes(), region.header().generation);
        let (hints, region) = (Arc::clone(&region.hints), Arc::new(Mutex::new(region)));
        Self { region, hints, address, bytes, generation }
    }

    /// Passes the memory to the next policy. For each place of a limit, `from` has the place that the limit had in the
    /// policy before. The limit keeps its counter of untracked charges; a limit without such a place starts at zero.
    ///
    /// Under the same hold of the lock it empties `used`, tables in pages that the policy before has used until now,
    /// and the counter slots in `new_slots`.
    pub fn for_next_generation(&self, from: &[Option<usize>], used: &[Table], new_slots: &[u16]) -> Self {
        let generation = self.generation + 1;
        let mut region = self.lock();
        for table in used {
            region.words_mut(table).fill(0);
        }
        region.counters_mut().clear(new_slots);
        let header = region.header_mut();
        let before = header.untracked;
        let counter = |place: usize| from.get(place).copied().flatten().map_or(0, |from| before[from]);
        header.untracked = std::array::from_fn(counter);
        header.generation = generation;
        Self { generation, ..self.clone() }
    }

    /// Takes the lock.
    pub fn lock(&self) -> MutexGuard<'_, Region> {
        // Nothing under the lock should panic. If something does, the pages are plain words and stay usable.
        self.region.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock and returns engine time at `now`. `moves` states whether engine time advances to `now`. A peek
    /// passes `false`.
    pub fn at(&self, now: Now, moves: bool) -> (MutexGuard<'_, Region>, Epoch) {
        let mut region = self.lock();
        let epoch = region.header().epoch.at(now);
        if moves {
            region.header_mut().epoch = epoch;
        }
        (region, epoch)
    }

    /// Sums `used(region, page, now_us)` over the pages of a table, with the pauses of [`SharedRegion::each_page`].
    pub fn sum_pages(&self, pages: u32, pause: &dyn Fn(), used: impl Fn(&Region, u32, u64) -> u64) -> u64 {
        let mut sum = 0;
        self.each_page(pages, pause, |region, page, now| sum += used(region, page, now));
        sum
    }

    /// Calls `look` for every page of a table, with the last engine time.
    ///
    /// The lock is released between pages, and `pause` runs once for every 256 of them. When the policy changes
    /// meanwhile, the walk ends early and returns `false`, because the pages may then belong to another limit.
    pub fn each_page(&self, pages: u32, pause: &dyn Fn(), mut look: impl FnMut(&mut Region, u32, u64)) -> bool {
        (0..pages).all(|page| {
            if page % PAGES_AT_ONCE == PAGES_AT_ONCE - 1 {
                pause();
            }
            let mut region = self.lock();
            let is_ours = region.header().generation == self.generation;
            if is_ours {
                let now_us = region.header().epoch.last_us;
                look(&mut region, page, now_us);
            }
            is_ours
        })
    }

    /// Empties a table that nothing uses, some pages at a time; `pause` runs between them. Returns `false` when the
    /// policy was changed meanwhile: then the table may be in use.
    pub fn clear(&self, table: &Table, pause: &dyn Fn()) -> bool {
        (0..table.pages()).step_by(CLEARED_AT_ONCE as usize).all(|page| {
            if page % CLEARED_TO_A_PAUSE == CLEARED_TO_A_PAUSE - CLEARED_AT_ONCE {
                pause();
            }
            let mut region = self.lock();
            let is_ours = region.header().generation == self.generation;
            if is_ours {
                region.clear(table, page, CLEARED_AT_ONCE);
            }
            is_ours
        })
    }
}
