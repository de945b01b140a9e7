//! A line of four slots. Each is a bucket and the elements of its key: a small set of the first few, or the place of
//! their registers.
//!
//! ```text
//!  word 0     stamp                              ticks; the times of the slots are read as distances from it
//!  word 1–4   until, bits 16–23 ┊ held           one word a slot
//!  word 5–6   fingerprint ≠ 0, 32 bits           two to a word
//!  word 7     until, bits 0–15                   four to a word
//!
//!  held       55 ──── 42 41 ──── 28 27 ──── 14 13 ───── 0
//!             hash 3     hash 2     hash 1     hash 0       hash ≠ 0; 0 is "no more"
//!             cost, 24 bits ┊ 10 free ┊ block, 7 bits ┊ 0   with registers: hash 0 is none
//! ```
//!
//! A hash is the first fourteen bits of the element's: six choose a register, eight are the beginning of its run. So
//! a key that gets registers takes its elements along. Only that a run went on after eight zeros is lost, once in
//! 256. Two elements of a key are taken for one with a chance of 2⁻¹⁴: then four of 16,384 are free. With fourteen
//! bits a slot has 14 bytes, and a line of four slots is full to the bit.
//!
//! It knows neither prices nor registers. Invariant: a slot whose time has passed reads as empty, whatever it contains.

use crate::key::Key;
use crate::region::Line;

/// Slots of a line.
pub(super) const SLOTS: usize = 4;

/// Elements that a slot holds.
pub(super) const FEW: usize = 4;

/// The longest distance of a time from the stamp, in ticks.
pub(super) const LONGEST: u64 = (1 << UNTIL_BITS) - 1;

const UNTIL_BITS: u32 = 24;
const UNTIL_LOW_BITS: u32 = 16;
const HELD_BITS: u32 = 56;
const HASH_BITS: u32 = 14;
const HASH: u64 = (1 << HASH_BITS) - 1;
const BLOCK_BITS: u32 = 7;
const COST_SHIFT: u32 = 32;

/// The elements of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// The elements themselves.
    Few(Few),
    /// Too many for a slot: registers hold them.
    Many(Many),
}

/// A small set: up to [`FEW`] hashes, the first in the low bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Few(u64);

/// Where the registers of a key are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Many {
    /// Which block, of those that the fingerprint may have.
    pub block: u8,
    /// What an element that changes a register costs, in ticks.
    pub cost: u32,
}

/// What happened to an element that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// It was in the set already.
    Seen,
    /// It is in the set now.
    New,
    /// The set has no room for it.
    Full,
}

impl Few {
    /// Adds `element`.
    #[inline]
    pub(super) fn add(&mut self, element: Key) -> Added {
        let hash = (element.0 >> (64 - HASH_BITS)).max(1);
        for place in 0..FEW {
            let shift = place as u32 * HASH_BITS;
            match self.0 >> shift & HASH {
                0 => {
                    self.0 |= hash << shift;
                    return Added::New;
                }
                held if held == hash => return Added::Seen,
                _ => {}
            }
        }
        Added::Full
    }

    /// The elements, as far as their hashes tell. The bits that are not held are ones, which end a run.
    pub(super) fn elements(self) -> impl Iterator<Item = Key> {
        let held = (0..FEW).map(move |place| self.0 >> (place as u32 * HASH_BITS) & HASH);
        held.take_while(|&hash| hash != 0).map(|hash| Key(hash << (64 - HASH_BITS) | u64::MAX >> HASH_BITS))
    }
}

impl Held {
    fn of(word: u64) -> Self {
        if word == 0 || word & HASH != 0 {
            return Self::Few(Few(word));
        }
        let block = (word >> HASH_BITS) as u8 & ((1 << BLOCK_BITS) - 1);
        Self::Many(Many { block, cost: (word >> COST_SHIFT) as u32 })
    }

    fn word(self) -> u64 {
        match self {
            Self::Few(few) => few.0,
            Self::Many(Many { block, cost }) => u64::from(block) << HASH_BITS | u64::from(cost) << COST_SHIFT,
        }
    }
}

/// What a slot holds.
#[inline]
pub(super) fn held(line: &Line, slot: usize) -> Held {
    Held::of(line.slots[slot] & ((1 << HELD_BITS) - 1))
}

/// The slot's fingerprint; zero when it was never used.
#[inline]
pub(super) fn fingerprint(line: &Line, slot: usize) -> u32 {
    (line.slots[SLOTS + slot / 2] >> (slot % 2 * 32)) as u32
}

/// Ticks until the slot's bucket has drained; zero when it has.
#[inline]
pub(super) fn level(line: &Line, slot: usize, now: u64) -> u64 {
    distance(line, slot).saturating_sub(now.saturating_sub(line.stamp))
}

/// Writes a slot, at the stamp of the line: a level of at most [`LONGEST`].
#[inline]
pub(super) fn put(line: &mut Line, slot: usize, fingerprint: u32, level: u64, held: Held) {
    let until = line.stamp.wrapping_add(level) & LONGEST;
    line.slots[slot] = until >> UNTIL_LOW_BITS << HELD_BITS | held.word();
    set(&mut line.slots[SLOTS + slot / 2], slot % 2 * 32, 32, fingerprint.into());
    set(&mut line.slots[SLOTS + 2], slot * UNTIL_LOW_BITS as usize, UNTIL_LOW_BITS, until);
}

/// Zeroes what has expired, and stamps the line.
#[inline]
pub(super) fn restamp(line: &mut Line, now: u64) {
    let gap = now.saturating_sub(line.stamp);
    for slot in 0..SLOTS {
        if distance(line, slot) <= gap {
            line.slots[slot] = 0;
            set(&mut line.slots[SLOTS + slot / 2], slot % 2 * 32, 32, 0);
        }
    }
    line.stamp = now;
}

/// Ticks from the stamp to the time of a slot.
#[inline]
fn distance(line: &Line, slot: usize) -> u64 {
    if fingerprint(line, slot) == 0 {
        return 0;
    }
    let low = line.slots[SLOTS + 2] >> (slot * UNTIL_LOW_BITS as usize) & ((1 << UNTIL_LOW_BITS) - 1);
    let until = line.slots[slot] >> HELD_BITS << UNTIL_LOW_BITS | low;
    until.wrapping_sub(line.stamp) & LONGEST
}

/// Sets `bits` bits of a word.
#[inline]
fn set(word: &mut u64, shift: usize, bits: u32, value: u64) {
    let mask = ((1 << bits) - 1) << shift;
    *word = *word & !mask | value << shift & mask;
}
