//! A table: a run of pages, and the two candidate lines that a key has in it.
//!
//! Both candidates lie in one page, so a look-up costs one entry of the TLB and two cache lines.
//! The upper half of the key chooses page and lines, the lower half is the fingerprint: they share no bit.

use super::line::{LINES, LineId, PAGE_BYTES, SLOTS};
use crate::key::Key;

/// A run of pages of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    first_page: u32,
    pages: u32,
}

/// The two lines that a key may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// Two lines of one page; never the same.
    pub lines: [LineId; 2],
    /// What a slot keeps of the key; never zero, so that a used slot never reads as free.
    pub fingerprint: u32,
}

impl Table {
    /// The page of the header, which is no table: it stands where a limit has none.
    pub const HEADER: Self = Self { first_page: 0, pages: 1 };

    /// A table of `pages` pages from `first_page` on; it has at least one.
    pub(super) fn new(first_page: u32, pages: u32) -> Self {
        debug_assert!(pages > 0);
        Self { first_page, pages }
    }

    /// The key's candidates. It touches no memory.
    #[inline]
    pub fn candidates(&self, key: Key) -> Candidates {
        let high = key.0 >> 32;
        let page = self.first_page + ((high * u64::from(self.pages)) >> 32) as u32;
        let first = (high % LINES as u64) as u32;
        let step = 1 + ((high / LINES as u64) % (LINES as u64 - 1)) as u32;
        let line = |index: u32| LineId(page * LINES as u32 + index % LINES as u32);
        Candidates { lines: [line(first), line(first + step)], fingerprint: (key.0 as u32).max(1) }
    }

    /// Whether a line belongs to this table.
    pub fn has(&self, line: LineId) -> bool {
        (self.first_page..self.first_page + self.pages).contains(&line.page())
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> u64 {
        u64::from(self.pages) * PAGE_BYTES
    }

    /// Slots in all.
    pub fn slots(&self) -> u64 {
        u64::from(self.pages) * (LINES * SLOTS) as u64
    }

    /// Pages in all.
    pub fn pages(&self) -> u32 {
        self.pages
    }

    /// Divides it into its first `pages` pages and the rest, or as near to that as leaves one page for each. `None`
    /// when it has a single page.
    pub fn split(self, pages: u32) -> Option<(Self, Self)> {
        let first = pages.min(self.pages.checked_sub(1)?).max(1);
        let rest = self.pages.checked_sub(first).filter(|&rest| rest > 0)?;
        Some((Self::new(self.first_page, first), Self::new(self.first_page + first, rest)))
    }

    /// A line by its place: `page` is below [`Table::pages`], `index` below [`LINES`].
    #[inline]
    pub fn line_at(&self, page: u32, index: usize) -> LineId {
        LineId((self.first_page + page) * LINES as u32 + index as u32)
    }

    /// Its pages in the region.
    #[inline]
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.first_page as usize..(self.first_page + self.pages) as usize
    }

    /// A line by its number, which is below [`Table::lines`].
    #[inline]
    pub fn line(&self, number: usize) -> LineId {
        LineId(self.first_page * LINES as u32 + number as u32)
    }

    /// Lines in all.
    pub fn lines(&self) -> usize {
        self.pages as usize * LINES
    }
}
