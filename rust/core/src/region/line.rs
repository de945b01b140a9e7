//! The line: a stamp and seven slots. A page has 64 lines, and the region is a run of pages.
//!
//! ```text
//!  word 0     stamp   time of the last write, in ticks of the table's clock, 64 bits
//!  words 1–7  slots   what a store keeps of a key; zero is free
//! ```
//!
//! Slots hold times of 32 or 16 bits, or counts by pane. They are read as distances from the stamp, so they never wrap:
//! each write zeroes what has expired, and a line whose stamp is older than any slot can live reads as empty.

use bytemuck::{Pod, Zeroable};

use super::simd::{self, Words};

/// Slots of a line.
pub const SLOTS: usize = 7;

/// Lines of a page: 4 KiB, one entry of the TLB.
pub const LINES: usize = 64;

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;

/// One cache line.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Line {
    /// When the line was last written, in the table's ticks.
    pub stamp: u64,
    /// What the store put there; zero is free.
    pub slots: [u64; SLOTS],
}

/// A line by its number in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LineId(pub(super) u32);

/// A slot that a key was found in. While the lock is held a slot does not move; its fingerprint tells whether another
/// key took it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundSlot {
    /// The line.
    pub line: LineId,
    /// The slot in it.
    pub slot: u8,
    /// Whether the charge that was asked about leaves the key above half of its limit, or does not fit; of a free slot,
    /// never.
    pub hot: bool,
}

impl LineId {
    /// The page that the line lies in.
    #[inline]
    pub fn page(self) -> u32 {
        self.0 / LINES as u32
    }

    /// Its place in the page.
    #[inline]
    pub(super) fn in_page(self) -> usize {
        self.0 as usize % LINES
    }
}

impl Line {
    /// Slots whose upper half is `fingerprint`, as bits.
    ///
    /// It has no branch: comparing all of them costs less than one branch that is mispredicted.
    #[inline]
    pub fn matching(&self, fingerprint: u32) -> u32 {
        simd::upper_equal(self.words(), fingerprint) >> 1
    }

    /// Slots that are not empty and whose lower half is a time more than `gap` after the stamp, as bits.
    #[inline]
    pub fn later(&self, gap: u32) -> u32 {
        simd::later(self.words(), self.stamp as u32, gap) >> 1
    }

    /// Zeroes every slot whose time is not more than `gap` after the stamp, and stamps the line.
    #[inline]
    pub fn keep_later(&mut self, gap: u32, stamp: u64) {
        let since = self.stamp as u32;
        simd::keep_later(bytemuck::cast_mut(self), since, gap);
        self.stamp = stamp;
    }

    fn words(&self) -> &Words {
        bytemuck::cast_ref(self)
    }
}

/// The unit of allocation.
#[repr(C, align(4096))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Page(pub(super) [Line; LINES]);

impl Page {
    /// A page in which every slot is free.
    pub(super) const EMPTY: Self = Self([Line { stamp: 0, slots: [0; SLOTS] }; LINES]);
}
