//! Hints: facts about the region that a check reads before it takes the lock.
//!
//! Hints are written under the lock, and a check reads them before it takes the lock. A stale read orders this check
//! before the update, which is correct because the update was not in force yet.
//!
//! # Synchronisation
//! Only flags use `Release` and `Acquire`; filters and kinds are `Relaxed`. A flag is set after the filter and the
//! kinds of the same update, so a check that sees the flag change sees these as well. When the flag was set already, a
//! check may miss a new kind or a new bit of a filter. That is a stale read like any other. A thread that has held the
//! lock since the update sees all of it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::key::Key;

/// Words of the bitmap of access entry kinds.
pub const KIND_WORDS: usize = 20;

/// The hints of one region.
#[derive(Debug, Default)]
pub struct Hints {
    /// Whether operators' entries or limits' blocks may exist: when not, no check looks for them.
    pub has_access_entries: Flag,
    /// Whether limits' blocks may exist.
    pub has_blocks: Flag,
    /// Whether a permit may be open: when not, in-flight limits count nothing.
    pub has_open_permits: Flag,
    /// Whether the server may have reported anything: when not, limits on reports count nothing.
    pub has_reports: Flag,
    /// The kinds of access entries present, as their owner writes them.
    entry_kinds: [AtomicU64; KIND_WORDS],
    /// The keys of operators' entries.
    pub entries: KeyFilter,
    /// The keys that limits have blocked.
    pub blocks: KeyFilter,
}

impl Hints {
    /// Notes that a limit has blocked a key. The caller holds the lock, as for every method here that writes, so no
    /// thread overwrites the update of another one.
    pub fn note_block(&self, key: Key) {
        self.blocks.insert(key);
        self.has_blocks.set(true);
        self.has_access_entries.set(true);
    }

    /// Notes that no limit's block is in force: clears the flag and the filter of blocks.
    pub fn forget_blocks(&self) {
        self.has_blocks.set(false);
        self.blocks.replace(&mut [].into_iter());
    }

    /// Notes that no operator's entry and no limit's block is in force. It clears the common flag and the filter of
    /// entries only. The caller clears the blocks first, with [`Hints::forget_blocks`]. The kinds stay: a kind without
    /// an entry only costs a look-up in the filter.
    pub fn forget_access(&self) {
        self.has_access_entries.set(false);
        self.entries.replace(&mut [].into_iter());
    }

    /// Returns a word of the kinds of access entries that may be present. An entry has one kind, so one bit decides
    /// whether a check looks for it. A read during an update therefore orders the check before or after each entry.
    pub fn entry_kinds(&self, word: usize) -> u64 {
        self.entry_kinds[word].load(Ordering::Relaxed)
    }

    /// Sets what [`Hints::entry_kinds`] returns, and that there are entries. The caller holds the lock.
    pub fn set_entry_kinds(&self, kinds: &[u64; KIND_WORDS]) {
        for (word, kind) in self.entry_kinds.iter().zip(kinds) {
            word.store(*kind, Ordering::Relaxed);
        }
        self.has_access_entries.set(true);
    }
}

/// A truth value that is read without the lock.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Reads it.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Writes it. The caller holds the lock.
    pub(super) fn set(&self, is_set: bool) {
        self.0.store(is_set, Ordering::Release);
    }
}

/// Words of a [`KeyFilter`].
const FILTER_WORDS: usize = 1 << 10;

/// A set of keys that is read without the lock. It may contain more than was inserted, and never less.
///
/// A Bloom filter of 65,536 bits, two for each key. With 1,000 keys in it, it contains another key with a chance of
/// 0.1 %, and with 10,000 of 7 %.
#[derive(Debug)]
pub struct KeyFilter(Box<[AtomicU64]>);

impl Default for KeyFilter {
    fn default() -> Self {
        Self((0..FILTER_WORDS).map(|_| AtomicU64::new(0)).collect())
    }
}

impl KeyFilter {
    fn bits(Key(key): Key) -> [(usize, u64); 2] {
        [key >> 48, key >> 32 & 0xFFFF].map(|bit| ((bit / 64) as usize, 1 << (bit % 64)))
    }

    /// Whether the filter may contain a key: nearly always `false` while it is empty.
    pub fn may_contain(&self, key: Key) -> bool {
        Self::bits(key).into_iter().all(|(word, bit)| self.0[word].load(Ordering::Relaxed) & bit != 0)
    }

    /// Inserts a key. The caller holds the lock.
    pub fn insert(&self, key: Key) {
        for (word, bit) in Self::bits(key) {
            self.0[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Replaces the keys by others. The caller holds the lock. A key that is in both is never missing in between.
    pub fn replace(&self, keys: &mut dyn Iterator<Item = Key>) {
        let mut words = [0; FILTER_WORDS];
        for (word, bit) in keys.flat_map(Self::bits) {
            words[word] |= bit;
        }
        self.0.iter().zip(words).for_each(|(word, bits)| word.store(bits, Ordering::Relaxed));
    }
}
