//! How much each key holds: exact counts, for as many keys as permits can name.
//!
//! **Idea.** Open addressing with linear probing. A row has a whole key and a column for each count under such keys, so
//! limits with the same key share a probe and a cache line. A row exists while one of its columns is not zero. Removing
//! a row shifts back the rows that were pushed behind it, so there are no tombstones, no sweep and no clock.
//!
//! ```text
//!  row    key ≠ 0, 64 bits │ column 0 │ column 1 │ …      2, 4, 8 … words
//!         the first row of the table holds the number of rows in use
//!
//!  find(key):      from ⌊key · rows / 2⁶⁴⌋ on until the key or a free row
//!  remove(hole):   for each row behind the hole until a free one: when its home is not behind the hole,
//!                  it moves into the hole, and its place becomes the hole
//! ```
//!
//! **Size.** A permit names one key, so `most` permits fill at most two thirds of ⌈3/2 · `most`⌉ rows: the table cannot
//! fill up. **Cost.** A probe reads little more than one row while few are used; at two thirds, 2 rows on average for a
//! key that is there and 5 for one that is not. **Bound.** Exact, unless the 64 bits of two keys agree.
//!
//! **Source.** Knuth, The Art of Computer Programming 3, §6.4, algorithms L and R.
//!
//! **Dropped.** Lines with fingerprints, as rates have them: a full line would have to refuse a key that is within
//! every cap, or admit it uncounted. Cuckoo hashing and Robin Hood: they shorten the longest probe of tables that are
//! fuller than this one ever is. Twice as many rows as permits: a third more memory for probes half as long, and only
//! in a table that ten thousand networks fill at once.

use crate::key::Key;
use crate::region::{PAGE_BYTES, Region, Table, prefetch_word};

/// Counts by key.
#[derive(Clone, Copy, Debug)]
pub struct KeyCounts {
    /// Its rows.
    pub table: Table,
    rows: u64,
    /// Words of a row, as a power of two.
    shift: u32,
}

/// The row of a key: the place of its first word. It is valid until the next row is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row(usize);

impl KeyCounts {
    /// Bytes for `most` keys with `columns` counts each.
    pub fn bytes(most: u64, columns: usize) -> u64 {
        ((1 + rows(most)) << (shift(columns) + 3)).next_multiple_of(PAGE_BYTES)
    }

    /// Counts in `table`, which has [`KeyCounts::bytes`].
    pub fn new(table: Table, most: u64, columns: usize) -> Self {
        debug_assert!(table.bytes() >= Self::bytes(most, columns));
        Self { table, rows: rows(most), shift: shift(columns) }
    }

    /// Prefetches the line where `key` most likely is.
    pub fn send_for(&self, address: usize, key: Key) {
        prefetch_word(address, &self.table, self.place(self.home(stored(key))));
    }

    /// The row of `key`; it has one while it holds anything.
    pub fn find(&self, region: &Region, key: Key) -> Option<Row> {
        let words = region.words(&self.table);
        // While no key holds anything, the key's line need not be read.
        if words[0] == 0 {
            return None;
        }
        let place = self.probe(words, stored(key));
        (words[place] != 0).then_some(Row(place))
    }

    /// The count in a column; zero when there is no row.
    pub fn held(&self, region: &Region, row: Option<Row>, column: usize) -> u64 {
        row.map_or(0, |Row(place)| region.words(&self.table)[place + 1 + column])
    }

    /// Adds to a column.
    pub fn add(&self, region: &mut Region, key: Key, column: usize, amount: u64) {
        let words = region.words_mut(&self.table);
        let place = self.probe(words, stored(key));
        if words[place] == 0 {
            words[place] = stored(key);
            words[0] += 1;
        }
        words[place + 1 + column] += amount;
    }

    /// Takes from a column what was added to it, and removes a row in which nothing is left.
    pub fn take(&self, region: &mut Region, key: Key, column: usize, amount: u64) {
        let words = region.words_mut(&self.table);
        let place = self.probe(words, stored(key));
        debug_assert!(words[place] != 0 && words[place + 1 + column] >= amount, "more is released than was held");
        if words[place] == 0 {
            return;
        }
        let counts = place + 1..place + (1 << self.shift);
        words[place + 1 + column] = words[place + 1 + column].saturating_sub(amount);
        if words[counts].iter().all(|&count| count == 0) {
            self.remove(words, place);
            words[0] -= 1;
        }
    }

    /// Rows in use.
    pub fn used(&self, region: &Region) -> u64 {
        region.words(&self.table)[0]
    }

    /// The most that one key holds in a column, among the rows that begin on a page of the table.
    pub fn most(&self, region: &Region, page: u32, column: usize) -> u64 {
        let words_of_page = PAGE_BYTES as usize / size_of::<u64>();
        let from = (page as usize * words_of_page).max(self.place(0));
        let to = ((page as usize + 1) * words_of_page).min(self.place(self.rows));
        let places = (from..to).step_by(1 << self.shift);
        places.map(|place| region.words(&self.table)[place + 1 + column]).max().unwrap_or(0)
    }

    /// Removes all rows.
    pub fn clear(&self, region: &mut Region) {
        region.words_mut(&self.table).fill(0);
    }

    fn home(&self, stored: u64) -> u64 {
        ((u128::from(stored) * u128::from(self.rows)) >> 64) as u64
    }

    /// The first word of a row; the first row of the table belongs to no key.
    fn place(&self, row: u64) -> usize {
        ((row + 1) << self.shift) as usize
    }

    fn next(&self, place: usize) -> usize {
        let next = place + (1 << self.shift);
        if next == self.place(self.rows) { self.place(0) } else { next }
    }

    /// Returns the row of the key, or the free row where it would be. At least a third of the rows are free.
    fn probe(&self, words: &[u64], stored: u64) -> usize {
        let mut place = self.place(self.home(stored));
        for _ in 0..self.rows {
            if words[place] == stored || words[place] == 0 {
                break;
            }
            place = self.next(place);
        }
        place
    }

    /// Words from the row at `from` to the row at `to`, around the end.
    fn distance(&self, from: usize, to: usize) -> usize {
        let around = if to < from { self.place(self.rows) - self.place(0) } else { 0 };
        to + around - from
    }

    fn remove(&self, words: &mut [u64], mut hole: usize) {
        let width = 1 << self.shift;
        let mut place = self.next(hole);
        for _ in 0..self.rows {
            if words[place] == 0 {
                break;
            }
            let home = self.place(self.home(words[place]));
            if self.distance(home, place) >= self.distance(hole, place) {
                words.copy_within(place..place + width, hole);
                hole = place;
            }
            place = self.next(place);
        }
        words[hole..hole + width].fill(0);
    }
}

/// The form in which a row keeps a key: never zero, which marks a free row.
fn stored(key: Key) -> u64 {
    key.0.max(1)
}

fn rows(most: u64) -> u64 {
    most + most.div_ceil(2).max(1)
}

fn shift(columns: usize) -> u32 {
    (columns + 1).next_power_of_two().trailing_zeros()
}
