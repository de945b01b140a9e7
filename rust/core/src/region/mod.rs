//! All mutable state, in one run of pages: allocated and touched at construction, never grown (P1).
//!
//! The pages are plain words at fixed offsets behind a versioned header, with no pointer inside, so that another
//! process can map them. A region knows no store: it provides [`Table`]s and lines.
//!
//! * here: the pages   * `header`: the first page   * `counters`: the second page of a guard   * `shared`: the lock
//! * `hints`: facts that are read without it   * `table`: runs of pages, and the lines in them

mod counters;
mod header;
mod hints;
mod shared;
mod table;

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;

use self::header::Header;

pub use counters::{Counters, DECISIONS, DURATION_BOUNDS_NS, Durations, REPORTS, SLOTS_OF_LIMITS, STAGES};
pub use header::{COUNTERS, Epoch, NotARegion, Now, OpenPermits};
pub use hints::{Hints, KIND_WORDS};
pub use shared::SharedRegion;
pub use table::{Candidates, KeySlot, LINES, Line, LineId, PAGE_BYTES, Page, SLOTS, Spot, Table};

/// Pages whose lines a [`LineId`] can number.
const MAX_PAGES: u32 = (u32::MAX / LINES as u32) - 1;

/// The memory, and the hints that threads read without its lock.
pub struct Region {
    pages: Box<[Page]>,
    hints: Arc<Hints>,
}

impl fmt::Debug for Region {
    /// Prints its size, not its megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("pages", &self.pages.len()).finish()
    }
}

impl Region {
    /// Allocates a region with one table for each entry of `table_pages`, each of at least one page, behind the header.
    ///
    /// Returns `None` when the allocation fails, or when there would be too many lines to number them (256 GiB). It
    /// writes every page, so that no page fault happens later.
    pub fn new(table_pages: &[u32]) -> Option<(Self, Vec<Table>)> {
        let mut next = 1u32;
        let mut tables = Vec::with_capacity(table_pages.len());
        for &pages in table_pages {
            let table = Table::new(next, pages.max(1));
            next = next.checked_add(table.pages()).filter(|&pages| pages <= MAX_PAGES)?;
            tables.push(table);
        }
        let mut pages = Vec::new();
        pages.try_reserve_exact(next as usize).ok()?;
        prefer_huge_pages(pages.spare_capacity_mut());
        pages.resize(next as usize, Page::EMPTY);
        pages[0] = bytemuck::cast(Header::new());
        let region = Self::over(pages.into_boxed_slice()).ok()?;
        region.hints.has_reports.set(false);
        Some((region, tables))
    }

    /// Takes over pages that a region was written to before.
    ///
    /// # Errors
    /// [`NotARegion`] when the header is not one of this version.
    pub fn over(pages: Box<[Page]>) -> Result<Self, NotARegion> {
        let header: &Header = bytemuck::cast_ref(pages.first().ok_or(NotARegion::Empty)?);
        header.check()?;
        // A region does not know the tables of entries and blocks, so their owner sets the hints about them.
        let hints = Hints::default();
        hints.has_open_permits.set(header.permits.open > 0);
        hints.has_reports.set(true);
        Ok(Self { pages, hints: Arc::new(hints) })
    }

    /// The pages, for [`Region::over`].
    pub fn into_pages(self) -> Box<[Page]> {
        self.pages
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES
    }

    /// The address of the first page, for [`prefetch`] before the lock. It never changes.
    pub fn address(&self) -> usize {
        self.pages.as_ptr() as usize
    }

    /// A line.
    pub fn line(&self, id: LineId) -> &Line {
        &self.lines()[id.0 as usize]
    }

    /// A line, for writing.
    pub fn line_mut(&mut self, id: LineId) -> &mut Line {
        let lines: &mut [Line] = bytemuck::cast_slice_mut(&mut self.pages);
        &mut lines[id.0 as usize]
    }

    /// The lines of all pages.
    fn lines(&self) -> &[Line] {
        bytemuck::cast_slice(&self.pages)
    }

    /// A key's two candidate lines.
    pub fn candidates(&self, at: &Candidates) -> [&Line; 2] {
        at.lines.map(|id| self.line(id))
    }

    /// Slots of a key's two lines that have its fingerprint, as [`Line::matching`] returns them.
    #[inline(always)]
    pub fn matching(&self, at: &Candidates) -> u32 {
        Line::matching(self.candidates(at), at.fingerprint)
    }

    /// Calls `read` for the slots in `matching`, which [`Region::matching`] has returned, and returns the first in
    /// which it finds something, with what it finds.
    #[inline(always)]
    pub fn find_matching<T>(
        &self, at: &Candidates, matching: u32, read: impl Fn(&Line, u64) -> Option<T>,
    ) -> Option<(KeySlot, T)> {
        let mut bits = matching;
        while bits != 0 {
            let (which, slot) = (bits.trailing_zeros() as usize / 8 % 2, bits.trailing_zeros() as usize % 8);
            let (id, line) = (at.lines[which], self.line(at.lines[which]));
            if let Some(found) = read(line, line.slots[slot]) {
                return Some((KeySlot { line: id, slot: slot as u8, hot: false }, found));
            }
            bits &= bits - 1;
        }
        None
    }

    /// Calls `in_line` for the candidate lines of a key, and returns the first slot that it finds, with its other
    /// result.
    pub fn find<T>(&self, at: &Candidates, in_line: impl Fn(&Line) -> Option<(u8, T)>) -> Option<(KeySlot, T)> {
        let [first, second] = self.candidates(at);
        let found = |line, id| in_line(line).map(|(slot, what)| (KeySlot { line: id, slot, hot: false }, what));
        found(first, at.lines[0]).or_else(|| found(second, at.lines[1]))
    }

    /// A table as plain words, for data without lines, such as the access list.
    pub fn words(&self, table: &Table) -> &[u64] {
        bytemuck::cast_slice(&self.pages[table.range()])
    }

    /// A table as plain words, for writing.
    pub fn words_mut(&mut self, table: &Table) -> &mut [u64] {
        bytemuck::cast_slice_mut(&mut self.pages[table.range()])
    }

    /// The lines of one page of a table.
    pub fn page(&self, table: &Table, page: u32) -> &[Line; LINES] {
        &self.pages[table.range()][page as usize].0
    }

    /// Empties up to `count` pages of a table from `page` on.
    pub fn clear(&mut self, table: &Table, page: u32, count: u32) {
        let pages = &mut self.pages[table.range()];
        let end = pages.len().min((page + count) as usize);
        pages[page as usize..end].fill(Page::EMPTY);
    }

    /// The runs of pages that no table in `taken` has, each as a table. The header is never free.
    pub fn free(pages: u32, taken: &[Table]) -> Vec<Table> {
        let mut taken: Vec<_> = taken.iter().map(Table::range).collect();
        taken.sort_unstable_by_key(|range| range.start);
        let (mut free, mut next, end) = (Vec::new(), 1, pages as usize);
        for (start, after) in taken.into_iter().map(|range| (range.start, range.end)).chain([(end, end)]) {
            if start > next {
                free.push(Table::new(next as u32, (start - next) as u32));
            }
            next = next.max(after);
        }
        free
    }

    /// The first page.
    pub fn header(&self) -> &Header {
        bytemuck::cast_ref(&self.pages[0])
    }

    /// The first page, for writing.
    pub fn header_mut(&mut self) -> &mut Header {
        bytemuck::cast_mut(&mut self.pages[0])
    }

    /// The page of [`Table::COUNTERS`]: a guard has that table, and a rate limiter has not.
    pub fn counters(&self) -> &Counters {
        bytemuck::cast_ref(&self.pages[1])
    }

    /// [`Region::counters`], for writing.
    pub fn counters_mut(&mut self) -> &mut Counters {
        bytemuck::cast_mut(&mut self.pages[1])
    }

    /// The state of the permits, which exists even when no limit has a table for them.
    pub fn permits(&self) -> &OpenPermits {
        &self.header().permits
    }

    /// Changes the state of the permits, and the hint that checks read before the lock.
    pub fn set_permits(&mut self, permits: OpenPermits) {
        self.header_mut().permits = permits;
        self.hints.has_open_permits.set(permits.open > 0);
    }

    /// Counts a report of this kind, and changes the hint that checks read before the lock.
    pub fn count_report(&mut self, kind: usize) {
        self.counters_mut().reports[kind] += 1;
        self.hints.has_reports.set(true);
    }

    /// Whether all limits are in shadow mode, regardless of their own modes.
    pub fn is_shadow(&self) -> bool {
        self.header().shadow != 0
    }
}

/// Asks the system to back memory that is not yet written with pages of two mebibytes.
///
/// A look-up goes anywhere in a table. The TLB of a processor holds the addresses of some thousand pages: with pages of
/// 4 KiB that is six mebibytes. In a larger table nearly every look-up first waits for a page walk and then for its
/// lines. The system may ignore the advice; then only speed is lost.
#[cfg(target_os = "linux")]
fn prefer_huge_pages(pages: &mut [MaybeUninit<Page>]) {
    // SAFETY: the range is ours, aligned to pages, and this advice neither reads nor writes nor unmaps it. It helps
    // from some mebibytes on: a hit anywhere in 256 MiB takes 239 ns with it and 295 without (`benches/peers.rs`).
    unsafe { libc::madvise(pages.as_mut_ptr().cast(), size_of_val(pages), libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn prefer_huge_pages(_: &mut [MaybeUninit<Page>]) {}

/// Asks the processor to load the line of a table's word, as [`prefetch`] does.
pub fn prefetch_word(address: usize, table: &Table, word: usize) {
    prefetch_address(address.wrapping_add(table.range().start * size_of::<Page>() + word * size_of::<u64>()));
}

/// Asks the processor to load a key's lines, without waiting for them.
///
/// `address` is [`Region::address`]. The region need not be locked: a prefetch reads nothing, so it cannot race.
/// It helps a check with many look-ups: eight take 330 ns with it and 371 without in 16 MiB, 467 and 953 in 256 MiB
/// (`benches/gcra.rs`).
pub fn prefetch(address: usize, at: &Candidates) {
    for id in at.lines {
        prefetch_address(address.wrapping_add(id.0 as usize * size_of::<Line>()));
    }
}

fn prefetch_address(address: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: PREFETCHT0 is a hint; it neither faults nor reads, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address as *const i8) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
