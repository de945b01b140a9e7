//! The values of a limit that have quotas: an index from keys to the places of the quotas' tables.
//!
//! **Idea.** Open addressing in twice as many slots as there are keys, or more. A filter with sixteen bits for each key
//! spares the search to fifteen of sixteen keys without a quota. Keys are hashes under a secret, so nobody can choose
//! values that meet in a slot.
//!
//! **Cost.** A check takes 33 instructions more for a limit with 99,000 quotas than for one without any. The index
//! takes 34 to 70 bytes for a key. It lies outside the region, since its size depends on the policy; it is made when
//! the policy is read, and no message changes it.
//!
//! **Dropped.** The index without a filter: it took 107 instructions in place of 33.

use crate::key::Key;

/// The keys with quotas, each with the place of its quota's table in [`Plan::limits`](super::Plan::limits).
#[derive(Clone, Debug, Default)]
pub struct QuotaIndex {
    /// A power of two of slots, or none.
    slots: Box<[Slot]>,
    /// The place of each key, in the order of the file.
    places: Vec<u16>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    key: u64,
    /// The place of the key in `places`, or [`EMPTY`].
    rank: u32,
}

const EMPTY: u32 = u32::MAX;

/// So few keys leave most of 64 bits empty.
const FEW: usize = 8;

/// The word and the bit of a key in a filter, which has a power of two of words.
#[inline(always)]
fn filter_bit(words: &[u64], key: u64) -> (usize, u64) {
    ((key >> 12) as usize & (words.len() - 1), 1 << (key >> 6 & 63))
}

/// Whether a filter that is not empty may contain a key.
#[inline(always)]
pub(super) fn is_in_filter(words: &[u64], Key(key): Key) -> bool {
    let (word, bit) = filter_bit(words, key);
    words[word] & bit != 0
}

impl QuotaIndex {
    /// The index of these keys, which are different and in the order of the file.
    pub(super) fn new(pairs: &[(Key, u16)]) -> Self {
        let empty = Slot { key: 0, rank: EMPTY };
        let capacity = if pairs.is_empty() { 0 } else { (2 * pairs.len()).next_power_of_two() };
        let mut slots = vec![empty; capacity].into_boxed_slice();
        for (rank, (Key(key), _)) in (0..).zip(pairs) {
            let mut at = Self::home(*key);
            while slots[at % capacity].rank != EMPTY {
                at += 1;
            }
            slots[at % capacity] = Slot { key: *key, rank };
        }
        Self { slots, places: pairs.iter().map(|(_, place)| *place).collect() }
    }

    /// Where the search for a key begins. The lowest bits are those of [`quota_bit`](super::quota_bit).
    fn home(key: u64) -> usize {
        (key >> 6) as usize
    }

    /// The rank of a key that has a quota: of several, the lowest is the first in the file.
    pub fn rank(&self, Key(key): Key) -> Option<u32> {
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = Self::home(key);
        loop {
            let slot = self.slots.get(at & mask)?;
            if slot.rank == EMPTY {
                return None;
            }
            if slot.key == key {
                return Some(slot.rank);
            }
            at += 1;
        }
    }

    /// The place of the table for the key of this rank.
    pub fn place(&self, rank: u32) -> Option<u16> {
        self.places.get(rank as usize).copied()
    }

    /// The bits of the keys, sixteen for each, so that hardly any other key needs a search; empty for few keys, for
    /// which [`quota_bits`](super::quota_bits) is enough.
    pub(super) fn filter(&self) -> Box<[u64]> {
        if self.places.len() <= FEW {
            return Box::default();
        }
        let mut words = vec![0; (self.places.len() / 4).next_power_of_two()].into_boxed_slice();
        for slot in self.slots.iter().filter(|slot| slot.rank != EMPTY) {
            let (word, bit) = filter_bit(&words, slot.key);
            words[word] |= bit;
        }
        words
    }

    /// All keys and places, in the order of the file.
    pub fn pairs(&self) -> Vec<(Key, u16)> {
        let mut pairs: Vec<(Key, u16)> = self.places.iter().map(|place| (Key(0), *place)).collect();
        for slot in self.slots.iter().filter(|slot| slot.rank != EMPTY) {
            pairs[slot.rank as usize].0 = Key(slot.key);
        }
        pairs
    }

    /// Bytes of the index.
    pub fn bytes(&self) -> u64 {
        (size_of_val(&*self.slots) + size_of_val(&self.places[..])) as u64
    }
}
