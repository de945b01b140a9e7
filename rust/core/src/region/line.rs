//! The line: a stamp and seven slots, the shape in which memory is handed out to whoever counts by key.
//!
//! ```text
//!  word 0   stamp    time of the last write, in ticks of the table's clock, 64 bits
//!  word 1–7 slots    what a store keeps of a key; zero is free
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

impl Line {
    /// Slots whose upper half is `fingerprint`, as bits. Without a branch: comparing all costs less than a branch that is mispredicted.
    #[inline]
    pub fn matching(&self, fingerprint: u32) -> u32 {
        simd::named(self.words(), fingerprint) >> 1
    }

    /// Slots that are not empty and whose lower half is a time more than `gap` after the stamp, as bits.
    #[inline]
    pub fn later(&self, gap: u32) -> u32 {
        simd::later(self.words(), self.stamp as u32, gap) >> 1
    }

    /// Zeroes every slot whose time is none of those, and stamps the line.
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
pub(super) struct Page(pub(super) [Line; LINES]);

impl Page {
    /// A page in which every slot is free.
    pub(super) const EMPTY: Self = Self([Line { stamp: 0, slots: [0; SLOTS] }; LINES]);
}
