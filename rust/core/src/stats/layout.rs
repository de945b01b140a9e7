//! Where things lie in the one table that all of observation shares, and how large it is.
//!
//! ```text
//!  word 0     until: engine time at which the current pane ends, µs
//!  word 1     pane:  number of the current pane since engine time 0
//!  word 2     row:   word at which the current pane's row begins
//!  word 3     names: slots of names in use, over all identities
//!  word 8     5 rows of 15 s           [ I · m registers, a byte each ┊ I · K tallies of two words ]
//!             5 rows of 15 min         [ I · m registers, a byte each ]
//!             I indices of 4 K bytes   slot + 1 of a key; 0 is nothing
//!             I · K keys               of the names; 0 is free
//!             I · K names              24 words: since ┊ text, 15 words ┊ HyperLogLog, 6 ┊ martingale, 2
//! ```
//!
//! I identities, m registers each, K names each. All of zeros is empty. A row is one piece for all identities, so that a pane is merged and cleared in
//! one pass.

use std::ops::Range;

use crate::region::PAGE_BYTES;
use crate::sketch::hyperloglog::HyperLogLog;

/// Rows of a window, the current one among them.
pub(super) const ROWS: u64 = 5;

/// Words of a tally.
pub(super) const TALLY: usize = 2;

/// Words of a name's text.
pub(super) const TEXT: usize = 15;

/// Words of a name: since, text, registers, martingale.
pub(super) const NAME: usize = 1 + TEXT + 6 + 2;

/// Words of the head.
const HEAD: usize = 8;

/// Places in an index for each name: a quarter full, so that a key that has none is told by one look at three in four.
pub(super) const SPREAD: usize = 4;

/// Sizes to choose from: registers as a power of two, names.
///
/// 2¹¹ registers err by 2.3 %, which nobody who looks at a count minds; ten rows of them are 20 KiB an identity, and a turn of the pane takes 60 ns of each.
/// 2¹² would err by 1.6 % and cost twice. With K names, one that sends more than a K-th of what all the tracked send keeps its slot;
/// 64 names are more than anybody reads, and one octet holds the number of a slot.
const SIZES: [(u32, usize); 5] = [(11, 64), (10, 64), (10, 32), (8, 16), (6, 8)];

/// Observation takes at most this part of the memory, where that is possible at all.
const PART: u64 = 16;

/// Sizes and places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub(super) identities: usize,
    pub(super) shape: HyperLogLog,
    pub(super) names: usize,
}

impl Layout {
    /// Those that take no more than a sixteenth of `memory_bytes`, the largest first, and in the end the smallest, whatever it takes.
    pub fn choices(memory_bytes: u64, identities: usize) -> impl Iterator<Item = Self> {
        let [.., smallest] = SIZES;
        let layout = move |(precision, names)| {
            let shape = HyperLogLog::new(precision).unwrap_or(HyperLogLog::SMALL);
            Self { identities, shape, names }
        };
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
        (8 * self.slots(self.identities).start as u64).div_ceil(PAGE_BYTES) * PAGE_BYTES
    }

    /// Words of the registers of one row.
    pub(super) fn registers(&self) -> usize {
        self.identities * self.shape.registers() / 8
    }

    fn row(&self) -> usize {
        self.registers() + self.identities * self.names * TALLY
    }

    /// The row of a pane of 15 s.
    pub(super) fn minute(&self, pane: u64) -> Range<usize> {
        let start = HEAD + (pane % ROWS) as usize * self.row();
        start..start + self.row()
    }

    /// The row of a pane of 15 min.
    pub(super) fn hour(&self, pane: u64) -> Range<usize> {
        let start = HEAD + ROWS as usize * self.row() + (pane % ROWS) as usize * self.registers();
        start..start + self.registers()
    }

    /// A name's tally, in the row that begins at `row`.
    #[inline]
    pub(super) fn tally(&self, row: usize, name: usize) -> usize {
        row + self.registers() + name * TALLY
    }

    /// Words of all indices.
    #[inline]
    pub(super) fn index(&self) -> Range<usize> {
        let start = HEAD + ROWS as usize * (self.row() + self.registers());
        start..start + self.identities * self.names * SPREAD / 8
    }

    /// The keys of an identity's names.
    #[inline]
    pub(super) fn keys(&self, place: usize) -> Range<usize> {
        let start = self.index().end + place * self.names;
        start..start + self.names
    }

    /// The names of an identity.
    #[inline]
    pub(super) fn slots(&self, place: usize) -> Range<usize> {
        let start = self.keys(self.identities).start + place * self.names * NAME;
        start..start + self.names * NAME
    }
}
