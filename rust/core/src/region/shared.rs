//! A region that threads share: the one lock, the facts about the region that never change, and the hints that a check
//! reads before it takes the lock.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Epoch, Hints, KIND_WORDS, Now, Region, Table};
use crate::key::Key;

/// Pages that a walk over a table looks at before it pauses: some tenths of a millisecond.
const PAGES_AT_ONCE: u32 = 256;

/// A region that several threads use.
///
/// # Synchronisation
/// One mutex guards all pages. Under it only lines are read and written: nothing allocates, calls out or panics there.
///
/// Hints may be read without it: whether access entries or blocks may exist, of which kinds, and whether a permit may
/// be open. They are written under the lock, and a check reads them once, before it. A check that reads an old value
/// orders itself before the update, as if its thread had come a moment earlier; nothing that it skipped was in force
/// then. `Release` and `Acquire` ensure that a thread that knows of an update sees its hint as well.
#[derive(Clone, Debug)]
pub struct SharedRegion {
    region: Arc<Mutex<Region>>,
    hints: Arc<Hints>,
    address: usize,
    bytes: u64,
    /// The generation of the policy whose tables are meant.
    generation: u64,
}

impl SharedRegion {
    /// Puts a region behind its lock.
    pub fn new(region: Region) -> Self {
        let (address, bytes, generation) = (region.address(), region.bytes(), region.generation());
        let (hints, region) = (Arc::clone(&region.hints), Arc::new(Mutex::new(region)));
        Self { region, hints, address, bytes, generation }
    }

    /// Passes the memory to the next policy; `from` is an argument of [`Region::move_untracked`].
    #[must_use]
    pub fn for_next_generation(&self, from: &[Option<usize>]) -> Self {
        let generation = self.generation + 1;
        let mut region = self.lock();
        region.set_generation(generation);
        region.move_untracked(from);
        Self { generation, ..self.clone() }
    }

    /// How many times the policy was changed before this one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether operators' entries or limits' blocks may exist: when not, no check looks for them.
    #[inline]
    pub fn has_access_entries(&self) -> bool {
        self.hints.has_access_entries.load(Ordering::Acquire)
    }

    /// Whether limits' blocks may exist.
    #[inline]
    pub fn has_blocks(&self) -> bool {
        self.hints.has_blocks.load(Ordering::Acquire)
    }

    /// Whether an operator's entry of this key may exist: nearly always `false` when none does.
    #[inline]
    pub fn may_have_entry(&self, key: Key) -> bool {
        self.hints.entries.may_contain(key)
    }

    /// Whether a limit may have blocked this key: nearly always `false` when none has.
    #[inline]
    pub fn may_have_block(&self, key: Key) -> bool {
        self.hints.blocks.may_contain(key)
    }

    /// Notes that a limit has blocked a key. The caller holds the lock, here and below, so that no thread overwrites
    /// what another has just found out.
    pub fn note_block(&self, key: Key) {
        self.hints.blocks.insert(key);
        self.hints.has_blocks.store(true, Ordering::Release);
        self.hints.has_access_entries.store(true, Ordering::Release);
    }

    /// Notes that no limit's block is in force.
    pub fn forget_blocks(&self) {
        self.hints.has_blocks.store(false, Ordering::Release);
        self.hints.blocks.replace(&mut std::iter::empty());
    }

    /// Notes that no operator's entry and no limit's block is in force.
    pub fn forget_access(&self) {
        self.hints.has_access_entries.store(false, Ordering::Release);
        self.hints.entries.replace(&mut std::iter::empty());
    }

    /// Notes the key of a new entry.
    pub fn note_entry(&self, key: Key) {
        self.hints.entries.insert(key);
    }

    /// Notes the keys of all entries there are.
    pub fn set_entries(&self, keys: &mut dyn Iterator<Item = Key>) {
        self.hints.entries.replace(keys);
    }

    /// Which kinds of access entries may be present. An entry has one kind, so one bit decides whether a check looks
    /// for it: a read that meets an update half way orders the check before or after each entry, as any stale read
    /// does.
    #[inline]
    pub fn entry_kinds(&self, word: usize) -> u64 {
        self.hints.entry_kinds[word].load(Ordering::Relaxed)
    }

    /// Sets what [`SharedRegion::entry_kinds`] returns, and that there are entries. The caller holds the lock.
    pub fn set_entry_kinds(&self, kinds: &[u64; KIND_WORDS]) {
        for (word, kind) in self.hints.entry_kinds.iter().zip(kinds) {
            word.store(*kind, Ordering::Relaxed);
        }
        self.hints.has_access_entries.store(true, Ordering::Release);
    }

    /// Whether a permit may be open: when not, in-flight limits count nothing.
    #[inline]
    pub fn may_have_in_flight(&self) -> bool {
        self.hints.has_open_permits.load(Ordering::Acquire)
    }

    /// The address of the first page, for prefetching before the lock.
    #[inline]
    pub fn address(&self) -> usize {
        self.address
    }

    /// Bytes allocated: exact, and constant.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes the lock.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Region> {
        // Nothing under the lock panics; should it ever, the lines are plain words and stay usable.
        self.region.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the lock, and reads engine time at `now`. Engine time moves there when `moves`, as for all that may
    /// charge.
    pub fn at(&self, now: Now, moves: bool) -> (MutexGuard<'_, Region>, Epoch) {
        let mut region = self.lock();
        let epoch = region.epoch().at(now);
        if moves {
            region.set_epoch(epoch);
        }
        (region, epoch)
    }

    /// Sums `used(region, page, now_us)` over the pages of a table, with the pauses of [`SharedRegion::each_page`].
    pub fn sum_pages(&self, pages: u32, pause: &dyn Fn(), used: impl Fn(&Region, u32, u64) -> u64) -> u64 {
        let mut sum = 0;
        self.each_page(pages, pause, |region, page, now| sum += used(region, page, now));
        sum
    }

    /// Looks at every page of a table, at engine time.
    ///
    /// The lock is released between pages, and `pause` runs after every 256 of them. The walk ends early, and this
    /// returns `false`, when the policy is changed meanwhile, because the pages may then be another limit's.
    pub fn each_page(&self, pages: u32, pause: &dyn Fn(), mut look: impl FnMut(&mut Region, u32, u64)) -> bool {
        (0..pages).all(|page| {
            if page % PAGES_AT_ONCE == PAGES_AT_ONCE - 1 {
                pause();
            }
            let mut region = self.lock();
            let is_ours = region.generation() == self.generation;
            if is_ours {
                let now_us = region.epoch().last_us;
                look(&mut region, page, now_us);
            }
            is_ours
        })
    }

    /// Empties a table that nothing uses, a page at a time. Returns `false` when the policy was changed meanwhile: then
    /// the table may be in use.
    pub fn clear(&self, table: &Table, pause: &dyn Fn()) -> bool {
        self.each_page(table.pages(), pause, |region, page, _| region.clear(table, page))
    }
}
