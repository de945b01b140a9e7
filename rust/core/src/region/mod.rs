//! All mutable state, in one run of pages: allocated and touched at construction, never grown (P1).
//!
//! The pages are plain words at fixed offsets behind a versioned header, with no pointer inside, so that another
//! process can map them. A region knows no store: it hands out [`Table`]s and lines.
//!
//! * here: the pages and the hints   * `shared`: the lock over them   * `header`: the first page
//! * `table`: runs of pages, and the lines in them

mod header;
mod shared;
mod table;

use std::fmt;
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use self::header::Header;
use crate::key::Key;

pub use header::{COUNTERS, Epoch, NotARegion, Now, OpenPermits};
pub use shared::SharedRegion;
pub use table::{Candidates, KeySlot, LINES, Line, LineId, PAGE_BYTES, Page, SLOTS, Table};

/// Pages whose lines a [`LineId`] can number.
const MAX_PAGES: u32 = (u32::MAX / LINES as u32) - 1;

/// Words of the bitmap of access entry kinds.
pub const KIND_WORDS: usize = 20;

/// The memory, and the hints that threads read without its lock.
pub struct Region {
    pages: Box<[Page]>,
    hints: Arc<Hints>,
}

/// What a check may know before it takes the lock.
#[derive(Debug, Default)]
struct Hints {
    has_access_entries: AtomicBool,
    has_blocks: AtomicBool,
    has_open_permits: AtomicBool,
    /// The kinds of access entries present, as their owner writes them.
    entry_kinds: [AtomicU64; KIND_WORDS],
    /// The keys of access entries, and those that limits have blocked.
    entries: KeyFilter,
    blocks: KeyFilter,
}

/// A set of keys that is read without the lock. It may contain more than was inserted, and never less.
///
/// A Bloom filter of 65,536 bits, two for each key. With 1,000 keys in it, it contains another key with a chance of
/// 0.1 %, and with 10,000 of 7 %.
#[derive(Debug)]
struct KeyFilter(Box<[AtomicU64]>);

impl Default for KeyFilter {
    fn default() -> Self {
        Self((0..1 << 10).map(|_| AtomicU64::new(0)).collect())
    }
}

impl KeyFilter {
    fn bits(Key(key): Key) -> [(usize, u64); 2] {
        [key >> 48, key >> 32 & 0xFFFF].map(|bit| ((bit / 64) as usize, 1 << (bit % 64)))
    }

    #[inline]
    fn may_contain(&self, key: Key) -> bool {
        Self::bits(key).into_iter().all(|(word, bit)| self.0[word].load(Ordering::Relaxed) & bit != 0)
    }

    /// Inserts a key. The caller holds the lock.
    fn insert(&self, key: Key) {
        for (word, bit) in Self::bits(key) {
            self.0[word].fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Replaces the keys by others. The caller holds the lock. A key that is in both is never missing in between.
    fn replace(&self, keys: &mut dyn Iterator<Item = Key>) {
        let mut words = [0; 1 << 10];
        for (word, bit) in keys.flat_map(Self::bits) {
            words[word] |= bit;
        }
        self.0.iter().zip(words).for_each(|(word, bits)| word.store(bits, Ordering::Relaxed));
    }
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
    /// `None` when the machine does not give that much, or lines could not be numbered: 256 GiB.
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
        prefer_huge_pages(pages.spare_capacity_mut());
        pages.resize(next as usize, Page::EMPTY);
        pages[0] = bytemuck::cast(Header::new());
        Some((Self::over(pages.into_boxed_slice()).ok()?, tables))
    }

    /// Takes over pages that a region was written to before.
    ///
    /// # Errors
    /// [`NotARegion`] when the header is not one of this version.
    pub fn over(pages: Box<[Page]>) -> Result<Self, NotARegion> {
        let header: &Header = bytemuck::cast_ref(pages.first().ok_or(NotARegion::Empty)?);
        header.check()?;
        let has_open_permits = AtomicBool::new(header.permits.open > 0);
        // The owner of their table knows whether there are entries, and sets that hint.
        let hints = Hints { has_open_permits, ..Hints::default() };
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
    #[inline]
    pub fn line(&self, id: LineId) -> &Line {
        &self.pages[id.page() as usize].0[id.in_page()]
    }

    /// A line, to be written.
    #[inline]
    pub fn line_mut(&mut self, id: LineId) -> &mut Line {
        &mut self.pages[id.page() as usize].0[id.in_page()]
    }

    /// A key's two candidate lines. Both lie in one page, so that its address is looked up once.
    #[inline]
    pub fn candidates(&self, at: &Candidates) -> [&Line; 2] {
        let [first, second] = at.lines;
        let page = &self.pages[first.page() as usize].0;
        [&page[first.in_page()], &page[second.in_page()]]
    }

    /// The slot that `in_line` finds in the first of a key's candidate lines that has one, and what else it finds.
    #[inline]
    pub fn find<T>(&self, at: &Candidates, in_line: impl Fn(&Line) -> Option<(u8, T)>) -> Option<(KeySlot, T)> {
        let [first, second] = self.candidates(at);
        let found = |line, id| in_line(line).map(|(slot, what)| (KeySlot { line: id, slot, hot: false }, what));
        found(first, at.lines[0]).or_else(|| found(second, at.lines[1]))
    }

    /// A table as plain words, for what has no lines: a sketch, a list.
    #[inline]
    pub fn words(&self, table: &Table) -> &[u64] {
        bytemuck::cast_slice(&self.pages[table.range()])
    }

    /// A table as plain words, to be written.
    #[inline]
    pub fn words_mut(&mut self, table: &Table) -> &mut [u64] {
        bytemuck::cast_slice_mut(&mut self.pages[table.range()])
    }

    /// The lines of one page of a table.
    pub fn page(&self, table: &Table, page: u32) -> &[Line; LINES] {
        &self.pages[table.range()][page as usize].0
    }

    /// Empties a page of a table.
    pub fn clear(&mut self, table: &Table, page: u32) {
        self.pages[table.range()][page as usize] = Page::EMPTY;
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

    #[inline]
    fn header(&self) -> &Header {
        bytemuck::cast_ref(&self.pages[0])
    }

    #[inline]
    fn header_mut(&mut self) -> &mut Header {
        bytemuck::cast_mut(&mut self.pages[0])
    }

    /// What is known of permits, whether or not a limit has tables of them.
    #[inline]
    pub fn permits(&self) -> &OpenPermits {
        &self.header().permits
    }

    /// Changes what is known of permits, and the hint that checks read before the lock.
    pub fn set_permits(&mut self, permits: OpenPermits) {
        self.header_mut().permits = permits;
        self.hints.has_open_permits.store(permits.open > 0, Ordering::Release);
    }

    /// How many times the policy over it was changed.
    pub fn generation(&self) -> u64 {
        self.header().generation
    }

    /// Notes that the policy was changed.
    pub fn set_generation(&mut self, generation: u64) {
        self.header_mut().generation = generation;
    }

    /// Whether every limit decides and lets pass, whatever its own mode.
    #[inline]
    pub fn is_shadow(&self) -> bool {
        self.header().shadow != 0
    }

    /// Makes every limit let pass, or lets each refuse as its own mode says.
    pub fn set_shadow(&mut self, is_shadow: bool) {
        self.header_mut().shadow = is_shadow.into();
    }

    /// Engine time.
    #[inline]
    pub fn epoch(&self) -> Epoch {
        let &Header { last_us, offset_us, .. } = self.header();
        Epoch { last_us, offset_us }
    }

    /// Moves engine time.
    #[inline]
    pub fn set_epoch(&mut self, epoch: Epoch) {
        let header = self.header_mut();
        (header.last_us, header.offset_us) = (epoch.last_us, epoch.offset_us);
    }

    /// Charges of a limit that found no room, since start.
    pub fn untracked(&self, limit: usize) -> u64 {
        self.header().untracked[limit]
    }

    /// Counts a charge of a limit that found no room.
    pub fn count_untracked(&mut self, limit: usize) {
        self.header_mut().untracked[limit] += 1;
    }

    /// Reorders the counters of untracked charges for the next policy: the limit at each place takes the counter that
    /// stood at the place it has in `from`, and starts at zero when it has none.
    pub fn move_untracked(&mut self, from: &[Option<usize>]) {
        let before = self.header().untracked;
        let counter = |place: usize| from.get(place).copied().flatten().map_or(0, |from| before[from]);
        self.header_mut().untracked = std::array::from_fn::<_, COUNTERS, _>(counter);
    }
}

/// Asks the system to back memory that is not yet written with pages of two mebibytes.
///
/// A look-up goes anywhere in a table. The processor keeps the addresses of some thousand pages: with pages of 4 KiB
/// that is six mebibytes, and beyond it nearly every look-up waits for a page walk before it can wait for its lines.
/// The system may ignore the advice; then only speed is lost.
#[cfg(target_os = "linux")]
fn prefer_huge_pages(pages: &mut [MaybeUninit<Page>]) {
    // SAFETY: the range is ours, aligned to pages, and this advice neither reads nor writes nor unmaps it. It pays from
    // some mebibytes on: a hit anywhere in 256 MiB takes 239 ns with it and 295 without (`benches/peers.rs`).
    unsafe { libc::madvise(pages.as_mut_ptr().cast(), size_of_val(pages), libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn prefer_huge_pages(_: &mut [MaybeUninit<Page>]) {}

/// Asks the processor to load the line of a table's word, as [`prefetch`] does.
#[inline]
pub fn prefetch_word(address: usize, table: &Table, word: usize) {
    prefetch_address(address.wrapping_add(table.range().start * size_of::<Page>() + word * size_of::<u64>()));
}

/// Asks the processor to load a key's lines, without waiting for them.
///
/// `address` is [`Region::address`]. The region need not be locked: a prefetch reads nothing, so it cannot race.
/// It pays for a check's many look-ups: eight take 330 ns with it and 371 without in 16 MiB, 467 and 953 in 256 MiB
/// (`benches/gcra.rs`).
#[inline]
pub fn prefetch(address: usize, at: &Candidates) {
    for id in at.lines {
        prefetch_address(address.wrapping_add(id.0 as usize * size_of::<Line>()));
    }
}

#[inline]
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
