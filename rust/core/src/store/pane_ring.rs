//! Pane rings: counts by pane, packed into the slots of a line.
//!
//! This module knows no clock and no limit: a pane is a number, and the line's stamp is the newest pane of its slots.
//!
//! ```text
//!  the line's seven words as 14 halves of 32 bits:
//!    three slots of 4 halves, two halves unused:   F r r r   F r r r   F r r r   - -
//!    two slots of 7 halves:                        F r r r r r r   F r r r r r r
//!
//!  F  fingerprint ≠ 0
//!  r… the ring, 96 or 192 bits:  … │ stamp − 2 │ stamp − 1 │ stamp     one count a pane, the newest in the low bits
//! ```
//!
//! All rings of a line begin at its stamp, so no slot keeps a time. A new stamp shifts the rings, and the panes that
//! are shifted out have expired.

use crate::region::{Line, SLOTS};

/// Most panes of a ring: with more, a window gains little and a sum takes longer.
const MOST_PANES: u32 = 16;

/// Fewest panes of a ring: a window of four panes, and the one that is being filled.
const LEAST_PANES: u32 = 5;

/// Halves of a slot behind its fingerprint.
const NARROW: usize = 3;
const WIDE: usize = 6;

/// The largest count that a ring can hold: five panes of 38 bits.
pub const LARGEST: u64 = (1 << 38) - 1;

/// The layout of the slots of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Halves of a ring.
    halves: usize,
    /// Bits of a pane.
    bits: u32,
    /// Panes of a ring.
    pub panes: u32,
}

/// A ring, unpacked from its slot: at most 192 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PaneRing {
    low: u128,
    high: u64,
}

impl Shape {
    /// The shape for counts up to `most`, which is at most [`LARGEST`]: the narrow ring if five panes fit, else the
    /// wide one.
    pub fn new(most: u64) -> Self {
        let bits = (u64::BITS - most.min(LARGEST).leading_zeros()).max(1);
        let panes = |halves: usize| (32 * halves as u32 / bits).min(MOST_PANES);
        let halves = if panes(NARROW) >= LEAST_PANES { NARROW } else { WIDE };
        Self { halves, bits, panes: panes(halves) }
    }

    /// Slots of a line.
    pub fn slots(&self) -> usize {
        2 * SLOTS / (1 + self.halves)
    }

    /// Bits of the newest `panes` of a ring.
    pub fn bits_of(&self, panes: u64) -> u32 {
        self.bits * panes as u32
    }

    /// A slot's fingerprint; zero when the slot was never used.
    pub fn fingerprint(&self, line: &Line, slot: usize) -> u32 {
        half(line, slot * (1 + self.halves))
    }

    /// A slot's ring.
    pub fn ring(&self, line: &Line, slot: usize) -> PaneRing {
        let first = slot * (1 + self.halves) + 1;
        let three = |first| (0..NARROW).fold(0, |all, n| all | u128::from(half(line, first + n)) << (32 * n));
        if self.halves == NARROW {
            return PaneRing { low: three(first), high: 0 };
        }
        let upper = three(first + NARROW);
        PaneRing { low: three(first) | upper << 96, high: (upper >> 32) as u64 }
    }

    /// Writes a slot.
    pub fn put(&self, line: &mut Line, slot: usize, fingerprint: u32, ring: PaneRing) {
        let first = slot * (1 + self.halves);
        set_half(line, first, fingerprint);
        for n in 0..self.halves.min(4) {
            set_half(line, first + 1 + n, (ring.low >> (32 * n)) as u32);
        }
        for n in 4..self.halves {
            set_half(line, first + 1 + n, (ring.high >> (32 * (n - 4))) as u32);
        }
    }

    /// How many of the newest panes together hold no more than `room`.
    pub fn within(&self, mut ring: PaneRing, room: u64) -> u32 {
        let mask = (1 << self.bits) - 1;
        let mut sum = 0;
        for pane in 0..self.panes {
            if ring == PaneRing::default() {
                break;
            }
            sum += ring.low as u64 & mask;
            if sum > room {
                return pane;
            }
            ring = PaneRing {
                low: ring.low >> self.bits | u128::from(ring.high) << (u128::BITS - self.bits),
                high: ring.high >> self.bits,
            };
        }
        self.panes
    }

    /// The count of one pane; the newest is pane 0.
    pub fn count(&self, ring: PaneRing, pane: u32) -> u64 {
        let by = self.bits * pane;
        let low = ring.low.checked_shr(by).unwrap_or(0);
        let carried = match by {
            0 => 0,
            1..128 => u128::from(ring.high) << (128 - by),
            _ => u128::from(ring.high) >> (by - 128),
        };
        ((low | carried) & lowest(self.bits)) as u64
    }

    /// The ring as it is `by` panes later. `by` is below the number of its panes.
    pub fn later(&self, ring: PaneRing, by: u64) -> PaneRing {
        let all = self.bits * self.panes;
        let PaneRing { low, high } = ring.shifted(self.bits * by as u32);
        PaneRing { low: low & lowest(all), high: high & lowest(all.saturating_sub(128)) as u64 }
    }

    /// The ring with `amount` more in its newest pane. A count within the limit fits in a pane. A larger one saturates
    /// at the pane's largest count and does not overflow into the next pane.
    pub fn with(&self, ring: PaneRing, amount: u64) -> PaneRing {
        let newest = ring.low & lowest(self.bits);
        let room = lowest(self.bits) - newest;
        PaneRing { low: ring.low + u128::from(amount).min(room), ..ring }
    }

    /// The ring with `amount` less in one pane, at most what it holds there; the newest is pane 0.
    pub fn without(&self, ring: PaneRing, pane: u32, amount: u64) -> PaneRing {
        let amount = u128::from(amount.min(self.count(ring, pane)));
        // The amount lies within the pane, so nothing is borrowed from its neighbours; the pane may span both words.
        let taken = PaneRing { low: amount, high: 0 }.shifted(self.bits * pane);
        let (low, borrowed) = ring.low.overflowing_sub(taken.low);
        PaneRing { low, high: ring.high.wrapping_sub(taken.high).wrapping_sub(borrowed.into()) }
    }
}

impl PaneRing {
    /// The ring shifted towards older panes by so many bits.
    fn shifted(self, by: u32) -> Self {
        let carried = match by {
            0 => 0,
            1..128 => (self.low >> (128 - by)) as u64,
            _ => (self.low << (by - 128)) as u64,
        };
        let low = self.low.checked_shl(by).unwrap_or(0);
        Self { low, high: self.high.checked_shl(by).unwrap_or(0) | carried }
    }

    /// Whether any of its lowest `bits` bits is set.
    pub fn counts_below(self, bits: u32) -> bool {
        let zeros = if self.low == 0 { 128 + self.high.trailing_zeros() } else { self.low.trailing_zeros() };
        zeros < bits
    }
}

/// A mask of `bits` bits, 128 at most.
fn lowest(bits: u32) -> u128 {
    1u128.checked_shl(bits).map_or(u128::MAX, |bit| bit - 1)
}

fn half(line: &Line, index: usize) -> u32 {
    (line.slots[index / 2] >> (32 * (index % 2))) as u32
}

fn set_half(line: &mut Line, index: usize, half: u32) {
    let (word, at) = (&mut line.slots[index / 2], 32 * (index % 2));
    *word = *word & !(u64::from(u32::MAX) << at) | u64::from(half) << at;
}
