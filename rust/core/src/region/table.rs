//! A table is a run of pages; a page has 64 lines; a line is a stamp and seven slots.
//!
//! ```text
//!  line   word 0     stamp   time of the last write, in ticks of the table's clock, 64 bits
//!         words 1–7  slots   the data of a store for a key; zero is free
//! ```
//!
//! Slots hold times of few bits, or counts by pane. They are read as distances from the stamp. These never wrap: each
//! write zeroes the expired slots, and a line reads as empty when its stamp is older than the longest life of a slot.
//!
//! A key has two candidate lines. Both lie in one page, so a look-up costs one entry of the TLB and two cache lines.
//! The upper half of the key chooses page and lines, the lower half is the fingerprint: they share no bit.

use bytemuck::{Pod, Zeroable};

use crate::key::Key;

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
    /// The time of the last write, in the table's ticks.
    pub stamp: u64,
    /// The data of the store; zero is free.
    pub slots: [u64; SLOTS],
}

/// A line by its number in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LineId(pub(super) u32);

impl LineId {
    /// Its number in the region.
    pub fn number(self) -> u64 {
        self.0.into()
    }
}

/// The slot in which a key was found. While the lock is held, a key does not move to another slot, but another key of
/// the check may take its slot. The fingerprint in the slot shows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySlot {
    /// The line.
    pub line: LineId,
    /// The slot in it.
    pub slot: u8,
    /// Whether the consulted charge does not fit, or leaves the key above half of its limit. It is `false` for a free
    /// slot.
    pub hot: bool,
}

impl LineId {
    /// The page that the line lies in.
    pub fn page(self) -> u32 {
        self.0 / LINES as u32
    }
}

impl Line {
    /// Slots of two lines whose upper half is `fingerprint`, as bits: those of the second line from bit 8 on.
    ///
    /// It has no branch: comparing all of them costs less than one branch that is mispredicted. Most keys have no slot
    /// in either line, and for those one test of the bits is all.
    #[inline(always)]
    pub fn matching([first, second]: [&Self; 2], fingerprint: u32) -> u32 {
        upper_equal([first.words(), second.words()], fingerprint) >> 1 & 0x7F7F
    }

    /// Slots that are not empty and whose lower half is a time more than `gap` after the stamp, as bits.
    pub fn later(&self, gap: u32) -> u32 {
        later(self.words(), self.stamp as u32, gap) >> 1
    }

    /// Zeroes every slot whose time is not more than `gap` after the stamp, and stamps the line.
    pub fn keep_later(&mut self, gap: u32, stamp: u64) {
        let since = self.stamp as u32;
        keep_later(bytemuck::cast_mut(self), since, gap);
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

/// A run of pages of the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    first_page: u32,
    pages: u32,
}

/// The two lines that a key may be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidates {
    /// Two different lines of one page.
    pub lines: [LineId; 2],
    /// The part of the key that a slot keeps; never zero, so that a used slot never reads as free.
    pub fingerprint: u32,
}

/// Where a key lies in any table: its lines in a page, and the number that chooses the page.
#[derive(Clone, Copy, Debug)]
pub struct Spot {
    high: u64,
    lines: [u32; 2],
    fingerprint: u32,
}

impl Spot {
    /// The spot of a key.
    #[inline(always)]
    pub fn of(key: Key) -> Self {
        let high = key.0 >> 32;
        let first = (high % LINES as u64) as u32;
        let step = 1 + ((high / LINES as u64) % (LINES as u64 - 1)) as u32;
        Self { high, lines: [first, (first + step) % LINES as u32], fingerprint: (key.0 as u32).max(1) }
    }
}

impl Candidates {
    /// A placeholder for the lines of no key.
    pub const NONE: Self = Self { lines: [LineId(0); 2], fingerprint: 0 };
}

impl Table {
    /// The page of the header, which is no table. It is a placeholder for a limit without a table.
    pub const HEADER: Self = Self { first_page: 0, pages: 1 };

    /// The page of a guard's counters: its first table, which no reload moves.
    pub const COUNTERS: Self = Self { first_page: 1, pages: 1 };

    /// A table of `pages` pages from `first_page` on; it has at least one.
    pub(super) fn new(first_page: u32, pages: u32) -> Self {
        debug_assert!(pages > 0);
        Self { first_page, pages }
    }

    /// The key's candidates. It touches no memory.
    pub fn candidates(&self, key: Key) -> Candidates {
        self.candidates_at(&Spot::of(key))
    }

    /// [`Table::candidates`] of a key whose spot is known: for a key that several tables are asked about.
    #[inline(always)]
    pub fn candidates_at(&self, spot: &Spot) -> Candidates {
        let page = self.first_page + ((spot.high * u64::from(self.pages)) >> 32) as u32;
        let lines = spot.lines.map(|line| LineId(page * LINES as u32 + line));
        Candidates { lines, fingerprint: spot.fingerprint }
    }

    /// Whether a line belongs to this table.
    pub fn has(&self, line: LineId) -> bool {
        (self.first_page..self.first_page + self.pages).contains(&line.page())
    }

    /// Whether the two have a page in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (own, others) = (self.range(), other.range());
        own.start < others.end && others.start < own.end
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

    /// Divides it into its first `pages` pages and the rest. Each part gets at least one page. `None` when it has a
    /// single page.
    pub fn split(self, pages: u32) -> Option<(Self, Self)> {
        let first = pages.min(self.pages.checked_sub(1)?).max(1);
        let rest = self.pages.checked_sub(first).filter(|&rest| rest > 0)?;
        Some((Self::new(self.first_page, first), Self::new(self.first_page + first, rest)))
    }

    /// Its pages in the region.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.first_page as usize..(self.first_page + self.pages) as usize
    }

    /// A line by its number, which is below [`Table::lines`].
    pub fn line(&self, number: usize) -> LineId {
        LineId(self.first_page * LINES as u32 + number as u32)
    }

    /// Lines in all.
    pub fn lines(&self) -> usize {
        self.pages as usize * LINES
    }
}

/// A line as words, to compare the halves of all words at once. Bit i of a result stands for word i; the stamp is word
/// 0.
///
/// Eight words are four registers of SSE2, which every x86-64 has. Other processors use a plain loop. Seven slots
/// compared one by one take 35 instructions, or 60 where a time is compared, because the compiler does not vectorise
/// the loop. Compared at once they take 15, or 25.
type Words = [u64; 8];

#[cfg(target_arch = "x86_64")]
use at_once::{keep_later, later, upper_equal};
#[cfg(not(target_arch = "x86_64"))]
use one_by_one::{keep_later, later, upper_equal};

#[cfg(target_arch = "x86_64")]
mod at_once {
    // Newer compilers know that these intrinsics are safe here.
    #![allow(unused_unsafe)]

    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_and_si128, _mm_andnot_si128, _mm_castps_si128, _mm_castsi128_ps, _mm_cmpeq_epi32,
        _mm_cmpgt_epi32, _mm_movemask_epi8, _mm_packs_epi16, _mm_packs_epi32, _mm_set1_epi32, _mm_setzero_si128,
        _mm_shuffle_ps, _mm_unpackhi_epi32, _mm_unpacklo_epi32,
    };

    use crate::region::table::Words;

    const LOWER: i32 = 0b10_00_10_00;
    const UPPER: i32 = 0b11_01_11_01;

    /// One half of four words.
    fn half<const WHICH: i32>(first: __m128i, second: __m128i) -> __m128i {
        // SAFETY: SSE2 is part of x86-64; no memory is touched.
        unsafe { _mm_castps_si128(_mm_shuffle_ps::<WHICH>(_mm_castsi128_ps(first), _mm_castsi128_ps(second))) }
    }

    /// A bit for each lane that is all ones.
    fn bits(low: __m128i, high: __m128i) -> u32 {
        // SAFETY: as above.
        unsafe {
            let lanes = _mm_packs_epi32(low, high);
            _mm_movemask_epi8(_mm_packs_epi16(lanes, lanes)) as u32 & 0xFF
        }
    }

    /// Lanes whose lower half, less `since`, is above `gap`.
    fn four(from: [__m128i; 2], since: u32, gap: u32) -> __m128i {
        // Unsigned numbers, moved so that they compare as signed ones.
        let (moved, bound) = (since.wrapping_neg() ^ 1 << 31, (gap ^ 1 << 31) as i32);
        let lower = half::<LOWER>(from[0], from[1]);
        // SAFETY: as above.
        unsafe { _mm_cmpgt_epi32(_mm_add_epi32(lower, _mm_set1_epi32(moved as i32)), _mm_set1_epi32(bound)) }
    }

    /// Words whose upper half is `wanted`: those of the second line from bit 8 on.
    #[inline(always)]
    pub(super) fn upper_equal(lines: [&Words; 2], wanted: u32) -> u32 {
        // SAFETY: as above.
        unsafe {
            let wanted = _mm_set1_epi32(wanted as i32);
            let [first, second] = lines.map(|words| {
                let [a, b, c, d]: [__m128i; 4] = bytemuck::cast(*words);
                let low = _mm_cmpeq_epi32(half::<UPPER>(a, b), wanted);
                _mm_packs_epi32(low, _mm_cmpeq_epi32(half::<UPPER>(c, d), wanted))
            });
            _mm_movemask_epi8(_mm_packs_epi16(first, second)) as u32
        }
    }

    /// Words whose lower half, less `since`, is above `gap`, and whose upper half is not zero.
    pub(super) fn later(words: &Words, since: u32, gap: u32) -> u32 {
        let [a, b, c, d]: [__m128i; 4] = bytemuck::cast(*words);
        let used = |first, second| {
            // SAFETY: as above.
            unsafe {
                let empty = _mm_cmpeq_epi32(half::<UPPER>(first, second), _mm_setzero_si128());
                _mm_andnot_si128(empty, four([first, second], since, gap))
            }
        };
        bits(used(a, b), used(c, d))
    }

    /// Zeroes all words whose lower half, less `since`, is not above `gap`.
    pub(super) fn keep_later(words: &mut Words, since: u32, gap: u32) {
        let [a, b, c, d]: [__m128i; 4] = bytemuck::cast(*words);
        let (first, second) = (four([a, b], since, gap), four([c, d], since, gap));
        // SAFETY: as above.
        let kept = unsafe {
            [
                _mm_and_si128(a, _mm_unpacklo_epi32(first, first)),
                _mm_and_si128(b, _mm_unpackhi_epi32(first, first)),
                _mm_and_si128(c, _mm_unpacklo_epi32(second, second)),
                _mm_and_si128(d, _mm_unpackhi_epi32(second, second)),
            ]
        };
        *words = bytemuck::cast(kept);
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod one_by_one {
    use crate::region::table::Words;

    fn bits(words: &Words, is: impl Fn(u64) -> bool) -> u32 {
        words.iter().enumerate().fold(0, |bits, (place, &word)| bits | u32::from(is(word)) << place)
    }

    fn is_later(word: u64, since: u32, gap: u32) -> bool {
        (word as u32).wrapping_sub(since) > gap
    }

    pub(super) fn upper_equal(lines: [&Words; 2], wanted: u32) -> u32 {
        let [first, second] = lines.map(|words| bits(words, |word| (word >> 32) as u32 == wanted));
        first | second << 8
    }

    pub(super) fn later(words: &Words, since: u32, gap: u32) -> u32 {
        bits(words, |word| word >> 32 != 0 && is_later(word, since, gap))
    }

    pub(super) fn keep_later(words: &mut Words, since: u32, gap: u32) {
        for word in words {
            *word = if is_later(*word, since, gap) { *word } else { 0 };
        }
    }
}
