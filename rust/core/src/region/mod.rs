//! All mutable state, in one run of pages: allocated and touched at construction, never grown (P1).
//!
//! Plain words at fixed offsets, no pointer inside, a versioned header: so it can be mapped into another process.
//! Knows no store: it hands out [`Table`]s and lines.

mod header;
mod huge;
mod line;
mod simd;
mod table;

use std::fmt;

pub use header::{Epoch, Now};
pub use line::{LINES, Line, PAGE_BYTES, SLOTS};
pub use table::{Candidates, Table};

use line::Page;

/// Limits that the header has counters for: a slot each, between its first line and its last.
pub const COUNTERS: usize = (LINES - 2) * SLOTS;

/// Pages whose lines a [`LineId`] can number.
const MAX_PAGES: u32 = (u32::MAX / LINES as u32) - 1;

/// A line by its number in the region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LineId(u32);

impl LineId {
    /// The page that it lies in.
    #[inline]
    pub fn page(self) -> u32 {
        self.0 / LINES as u32
    }
}

/// Where a key was found. While the lock is held a slot is not moved; whether it was given to another key, its fingerprint tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundSlot {
    /// The line.
    pub line: LineId,
    /// The slot in it.
    pub slot: u8,
    /// Whether the charge that was asked about leaves the key above half of its limit, or does not fit; of a free slot, never.
    pub hot: bool,
}

/// The memory itself.
pub struct Region {
    pages: Box<[Page]>,
}

impl fmt::Debug for Region {
    /// Its size, not its megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("pages", &self.pages.len()).finish()
    }
}

impl Region {
    /// A region with one table for each entry of `table_pages`, each of at least one page, behind the header.
    /// `None` when the machine does not give that much, or lines could not be numbered: 256 GiB.
    ///
    /// Writing every page now is the point: no page fault is left for later.
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
        huge::prefer(pages.spare_capacity_mut());
        pages.resize(next as usize, Page::EMPTY);
        let mut region = Self { pages: pages.into_boxed_slice() };
        let header = &mut region.pages[0].0[0];
        header.stamp = header::MAGIC;
        header.slots[0] = header::VERSION;
        Some((region, tables))
    }

    /// Bytes allocated.
    pub fn bytes(&self) -> u64 {
        self.pages.len() as u64 * PAGE_BYTES
    }

    /// Where it lies: for [`prefetch`], before the lock. It never moves.
    pub fn address(&self) -> usize {
        self.pages.as_ptr() as usize
    }

    /// A line.
    #[inline]
    pub fn line(&self, id: LineId) -> &Line {
        &bytemuck::cast_slice::<Page, Line>(&self.pages)[id.0 as usize]
    }

    /// A line, to be written.
    #[inline]
    pub fn line_mut(&mut self, id: LineId) -> &mut Line {
        &mut bytemuck::cast_slice_mut::<Page, Line>(&mut self.pages)[id.0 as usize]
    }

    /// A table as plain words, for what has no lines: a sketch, a list.
    #[inline]
    pub fn words(&self, table: &Table) -> &[u64] {
        bytemuck::cast_slice(&self.pages[table.range()])
    }

    /// The same, to be written.
    #[inline]
    pub fn words_mut(&mut self, table: &Table) -> &mut [u64] {
        bytemuck::cast_slice_mut(&mut self.pages[table.range()])
    }

    /// The header's last line: what is known of permits, whether or not a limit has tables of them.
    #[inline]
    pub fn permits(&self) -> &[u64; SLOTS] {
        &self.pages[0].0[LINES - 1].slots
    }

    /// The same, to be written.
    #[inline]
    pub fn permits_mut(&mut self) -> &mut [u64; SLOTS] {
        &mut self.pages[0].0[LINES - 1].slots
    }

    fn page(&self, page: u32) -> &[Line; LINES] {
        &self.pages[page as usize].0
    }

    /// Every page but the header.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<[Line; LINES]> {
        self.pages[1..].iter().map(|page| page.0).collect()
    }

    /// How often the policy over it was changed.
    pub fn generation(&self) -> u64 {
        self.pages[0].0[0].slots[3]
    }

    /// One more change.
    pub fn set_generation(&mut self, generation: u64) {
        self.pages[0].0[0].slots[3] = generation;
    }

    /// Whether every limit decides and lets pass, whatever its own mode.
    #[inline]
    pub fn is_shadow(&self) -> bool {
        self.pages[0].0[0].slots[4] != 0
    }

    /// Has every limit refuse as its own mode says, or none.
    pub fn set_shadow(&mut self, is_shadow: bool) {
        self.pages[0].0[0].slots[4] = is_shadow.into();
    }

    /// Engine time.
    #[inline]
    pub fn epoch(&self) -> Epoch {
        let header = &self.pages[0].0[0];
        Epoch { last_us: header.slots[1], offset_us: header.slots[2] as i64 }
    }

    /// Moves engine time.
    #[inline]
    pub fn set_epoch(&mut self, epoch: Epoch) {
        let header = &mut self.pages[0].0[0];
        header.slots[1] = epoch.last_us;
        header.slots[2] = epoch.offset_us as u64;
    }

    /// Charges of a limit that found no room, since start.
    pub fn untracked(&self, limit: usize) -> u64 {
        self.pages[0].0[1 + limit / SLOTS].slots[limit % SLOTS]
    }

    /// Takes the counters of untracked charges along: of each limit that which stood at the place it has in `from`, or none.
    pub fn move_untracked(&mut self, from: &[Option<usize>]) {
        let mut before = [0; COUNTERS];
        for (place, count) in before.iter_mut().enumerate() {
            *count = self.untracked(place);
        }
        for place in 0..COUNTERS {
            let count = from.get(place).copied().flatten().map_or(0, |from| before[from]);
            self.pages[0].0[1 + place / SLOTS].slots[place % SLOTS] = count;
        }
    }

    /// Empties a page of a table.
    pub fn clear(&mut self, table: &Table, page: u32) {
        self.pages[table.range().start + page as usize] = Page::EMPTY;
    }

    /// The pages between those that are taken, each run as a table; the header is always taken.
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

    /// Counts one more.
    pub fn count_untracked(&mut self, limit: usize) {
        self.pages[0].0[1 + limit / SLOTS].slots[limit % SLOTS] += 1;
    }
}

/// Asks the processor to load the line of a table's word, as [`prefetch`] does.
#[inline]
pub fn prefetch_word(address: usize, table: &Table, word: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let at = address.wrapping_add(table.range().start * size_of::<Page>() + word * size_of::<u64>());
        // SAFETY: as in `prefetch`.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at as *const i8) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (address, table, word);
}

/// Asks the processor to load a key's lines, without waiting for them.
///
/// `address` is [`Region::address`]; reads nothing, so it may race with a writer, and the region need not be locked.
#[inline]
pub fn prefetch(address: usize, at: &Candidates) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        for id in at.lines {
            let line = address.wrapping_add(id.0 as usize * size_of::<Line>());
            // SAFETY: PREFETCHT0 is a hint; it neither faults nor reads, whatever the address.
            // It pays for a check's many look-ups: eight take 330 ns with it and 371 without in 16 MiB, 467 and 953 in 256 (`benches/gcra.rs`).
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line as *const i8) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (address, at);
}
