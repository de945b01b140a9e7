//! The layout of the one table that all statistics share, and its size.
//!
//! ```text
//!  word 0     until: engine time at which the current pane ends, µs
//!  word 1     pane:  number of the current pane since engine time 0
//!  word 2     row:   word at which the current pane's row begins
//!  word 3     names: slots of names in use, over all identities
//!  word 8     5 rows of 15 s           [ I · m registers, a byte each ┊ I · K counts of two words ]
//!             5 rows of 15 min         [ I · m registers, a byte each ]
//!             I indices of 4 K bytes   slot + 1 of a key; 0 is nothing
//!             I · K keys               of the names; 0 is free
//!             I · K names              24 words: since ┊ text, 15 words ┊ HyperLogLog, 6 ┊ martingale, 2
//! ```
//!
//! There are I identities, with m registers and K names each. A table of zeros is empty. A row is one piece for all
//! identities, so that a pane is merged and cleared in one pass.

use std::ops::Range;

use crate::key::Key;
use crate::region::PAGE_BYTES;
use crate::sketch::hyperloglog::HyperLogLog;

/// Rows of a window, the current one among them.
pub(super) const ROWS: u64 = 5;

/// Words of a name's counts in one row.
pub(super) const COUNTS: usize = 2;

/// Words of a name's text.
pub(super) const TEXT: usize = 15;

/// Words of a name: since, text, registers, martingale.
pub(super) const NAME: usize = 1 + TEXT + 6 + 2;

/// Words of the head.
const HEAD: usize = 8;

/// Places in an index for each name: a quarter is used, so that for three keys in four that have no name one look is
/// enough.
const SPREAD: usize = 4;

/// Sizes to choose from: registers as a power of two, names.
///
/// 2¹¹ registers err by 2.3 %, which is good enough for a count that people read. Ten rows of them are 20 KiB an
/// identity, and a turn of the pane takes 60 ns of each; 2¹² would err by 1.6 % and cost twice. With K names, one that
/// sends more than a K-th of what all the tracked send keeps its slot. 64 names are more than anybody reads, and one
/// byte holds the number of a slot.
const SIZES: [(u32, usize); 5] = [(11, 64), (10, 64), (10, 32), (8, 16), (6, 8)];

/// Statistics take at most this part of the memory, where that is possible at all.
const PART: u64 = 16;

/// A value that a check brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityKey {
    /// The place of its identity in the plan.
    pub place: usize,
    /// The hash of the value, without trust.
    pub key: Key,
}

/// The `nth` value of the identity at that place, or its only one; `None` when it is absent. `values` are in the order
/// of the places.
pub fn value_of(values: &[IdentityKey], place: usize, nth: u32) -> Option<IdentityKey> {
    let first = values.partition_point(|value| value.place < place);
    let at = |index: usize| values.get(index).copied().filter(|value| value.place == place);
    at(first + nth as usize).or_else(|| at(first))
}

/// Sizes, and where each part of the table begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(super) identities: usize,
    pub(super) shape: HyperLogLog,
    pub(super) names: usize,
    /// Words of the registers of one row.
    pub(super) registers: usize,
    /// Words of a row of 15 s.
    row: usize,
    /// First word of the indices, of the keys and of the names.
    index: usize,
    keys: usize,
    slots: usize,
}

impl Layout {
    fn new(identities: usize, precision: u32, names: usize) -> Self {
        let shape = HyperLogLog::new(precision).unwrap_or(HyperLogLog::SMALL);
        let registers = identities * shape.registers() / 8;
        let row = registers + identities * names * COUNTS;
        let index = HEAD + ROWS as usize * (row + registers);
        let keys = index + identities * names * SPREAD / 8;
        Self { identities, shape, names, registers, row, index, keys, slots: keys + identities * names }
    }

    /// The layouts that take no more than a sixteenth of `memory_bytes`, the largest first, and at the end the smallest
    /// one, whatever it takes.
    pub fn choices(memory_bytes: u64, identities: usize) -> impl Iterator<Item = Self> {
        let [.., smallest] = SIZES;
        let layout = move |(precision, names)| Self::new(identities, precision, names);
        let fits = move |layout: &Self| layout.bytes() <= memory_bytes / PART;
        SIZES.into_iter().map(layout).filter(fits).chain([layout(smallest)])
    }

    /// Whether so many identities have a place.
    pub fn has_room_for(&self, identities: usize) -> bool {
        identities <= self.identities
    }

    /// How many identities have a place.
    pub fn identities(&self) -> usize {
        self.identities
    }

    /// Bytes of whole pages.
    pub fn bytes(&self) -> u64 {
        (8 * self.name(self.identities, 0) as u64).div_ceil(PAGE_BYTES) * PAGE_BYTES
    }

    /// The row of a pane of 15 s.
    pub(super) fn minute(&self, pane: u64) -> Range<usize> {
        let start = HEAD + (pane % ROWS) as usize * self.row;
        start..start + self.row
    }

    /// The row of a pane of 15 min.
    pub(super) fn hour(&self, pane: u64) -> Range<usize> {
        let start = HEAD + ROWS as usize * self.row + (pane % ROWS) as usize * self.registers;
        start..start + self.registers
    }

    /// The first word of a name's counts, in the row that begins at `row`.
    #[inline]
    pub(super) fn counts(&self, row: usize, place: usize, slot: usize) -> usize {
        row + self.registers + (place * self.names + slot) * COUNTS
    }

    /// The bytes of an identity's index.
    #[inline]
    pub(super) fn index(&self, place: usize) -> Range<usize> {
        let start = 8 * self.index + place * self.index_size();
        start..start + self.index_size()
    }

    /// Bytes of an identity's index: a power of two.
    #[inline]
    pub(super) fn index_size(&self) -> usize {
        self.names * SPREAD
    }

    /// The keys of an identity's names.
    #[inline]
    pub(super) fn keys(&self, place: usize) -> Range<usize> {
        let start = self.keys + place * self.names;
        start..start + self.names
    }

    /// The first word of a name.
    #[inline]
    pub(super) fn name(&self, place: usize, slot: usize) -> usize {
        self.slots + (place * self.names + slot) * NAME
    }
}
