//! What operators say of a name or a network: blocked, or let through whatever the limits say. A list of fixed size whose fullness is an error.
//!
//! **Idea.** An entry covers all that lies below it: every address of a network, every host below a domain. So nothing is compared entry by entry: the
//! head keeps which lengths of prefix and which numbers of labels there are entries of, and a check looks up one key for each of those that its own
//! address and names have. Keys are sorted, so a look-up is a binary search, and a list that is full costs no more than one that is not.
//!
//! ```text
//!  head      entries ┊ untracked blocks ┊ latest end of a limit's block ┊ latest end of an entry ┊ marks
//!  index     most × (key ┊ until µs ┊ row, kind …), sorted by key
//!  rows      most × 29 words of text; a row stays where it is while its entry moves
//! ```
//!
//! It knows no mail and no spelling: keys and text come in. **Bound.** Exact but for 64 bits that agree. **Cost.** log₂ of the entries a look-up;
//! an operator's change moves up to 24 KiB. An entry that has ended is taken for none, and goes when room is needed.

use bytemuck::{Pod, Zeroable};

use super::access_entry::{Entry, EntryKinds, WORDS};
use crate::key::Key;
use crate::region::{PAGE_BYTES, Region, Table};

/// Entries at most.
pub const MOST: usize = 1024;

/// Octets of text: what is longer is refused, since an entry that nobody can read cannot be taken back.
pub const TEXT_BYTES: usize = 8 * TEXT;

/// Words of text.
const TEXT: usize = 29;

const HEAD: usize = size_of::<Head>() / size_of::<u64>();

#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
struct Head {
    entries: u64,
    untracked: u64,
    blocked_until_us: u64,
    listed_until_us: u64,
    marks: EntryKinds,
}

/// The list.
#[derive(Clone, Copy, Debug)]
pub struct AccessList {
    table: Table,
    most: usize,
}

impl AccessList {
    /// Bytes for `most` entries.
    pub fn bytes(most: usize) -> u64 {
        ((HEAD + most * (WORDS + TEXT)) as u64 * 8).next_multiple_of(PAGE_BYTES)
    }

    /// As many entries as fit into `table`.
    pub fn new(table: Table) -> Self {
        let words = (table.bytes() / 8) as usize;
        Self { table, most: ((words - HEAD) / (WORDS + TEXT)).min(MOST) }
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Most entries.
    pub fn most(&self) -> usize {
        self.most
    }

    /// Of what there are entries.
    pub fn marks(&self, region: &Region) -> EntryKinds {
        self.head(region).marks
    }

    /// Whether nothing of the list holds at `now_us`, nor any limit's block.
    pub fn is_over(&self, region: &Region, now_us: u64) -> bool {
        let head = self.head(region);
        head.listed_until_us.max(head.blocked_until_us) <= now_us
    }

    /// Notes a limit's block: until when, or, without a time, that there was no room for it.
    pub fn note_block(&self, region: &mut Region, until_us: Option<u64>) {
        let head = self.head_mut(region);
        match until_us {
            Some(until_us) => head.blocked_until_us = head.blocked_until_us.max(until_us),
            None => head.untracked += 1,
        }
    }

    /// Limits' blocks for which there was no room, since start.
    pub fn untracked(&self, region: &Region) -> u64 {
        self.head(region).untracked
    }

    /// The entry of a key that holds at `now_us`.
    pub fn get(&self, region: &Region, key: Key, now_us: u64) -> Option<Entry> {
        let at = self.search(region, key).ok()?;
        Some(self.entry(region, at).0).filter(|entry| entry.holds(now_us))
    }

    /// Puts an entry in, in place of one of the same key. Whether there was room; those that have ended make some.
    pub fn put(&self, region: &mut Region, entry: Entry, text: &[u64; TEXT], now_us: u64) -> bool {
        let at = match self.search(region, entry.key) {
            Ok(at) => at,
            Err(_) => {
                if self.count(region) == self.most {
                    self.drop_ended(region, now_us);
                }
                let Some(at) = self.open(region, entry.key) else { return false };
                at
            }
        };
        let row = self.entry(region, at).1;
        let index = self.index_mut(region);
        index[at * WORDS..(at + 1) * WORDS].copy_from_slice(&entry.packed(row));
        let place = self.text_at(row);
        region.words_mut(&self.table)[place..place + TEXT].copy_from_slice(text);
        self.mark(region);
        true
    }

    /// Takes the entry of a key out: what it was.
    pub fn take(&self, region: &mut Region, key: Key) -> Option<Entry> {
        let at = self.search(region, key).ok()?;
        let (entry, _) = self.entry(region, at);
        self.close(region, at);
        self.mark(region);
        Some(entry)
    }

    /// Every entry, with its text: for who has room for [`AccessList::most`] of them.
    pub fn each(&self, region: &Region, mut then: impl FnMut(Entry, &[u64])) {
        for at in 0..self.count(region) {
            let (entry, row) = self.entry(region, at);
            let place = self.text_at(row);
            then(entry, &region.words(&self.table)[place..place + TEXT]);
        }
    }

    /// Makes room for a key: its place in the index, with a row that nobody has.
    fn open(&self, region: &mut Region, key: Key) -> Option<usize> {
        let count = self.count(region);
        let at = self.search(region, key).unwrap_or_else(|at| at);
        if count == self.most {
            return None;
        }
        // Behind the last entry stand the rows that are free, once they were used.
        let spare = self.index(region)[count * WORDS + WORDS - 1];
        let row = if spare & FREED != 0 { spare & 0xFFFF } else { count as u64 };
        let index = self.index_mut(region);
        index.copy_within(at * WORDS..count * WORDS, (at + 1) * WORDS);
        index[at * WORDS..(at + 1) * WORDS].copy_from_slice(&[key.0, 0, row]);
        self.head_mut(region).entries += 1;
        Some(at)
    }

    /// Takes a place out of the index; its row stands behind the last one from then on.
    fn close(&self, region: &mut Region, at: usize) {
        let (count, row) = (self.count(region), self.entry(region, at).1);
        let index = self.index_mut(region);
        index.copy_within((at + 1) * WORDS..count * WORDS, at * WORDS);
        index[(count - 1) * WORDS..count * WORDS].copy_from_slice(&[0, 0, row | FREED]);
        self.head_mut(region).entries -= 1;
    }

    fn drop_ended(&self, region: &mut Region, now_us: u64) {
        for at in (0..self.count(region)).rev() {
            if !self.entry(region, at).0.holds(now_us) {
                self.close(region, at);
            }
        }
    }

    /// Writes down anew of what there are entries.
    fn mark(&self, region: &mut Region) {
        let (mut marks, mut listed_until_us) = (EntryKinds::default(), 0);
        for at in 0..self.count(region) {
            let (entry, _) = self.entry(region, at);
            marks.add(entry.mark);
            listed_until_us = entry.until_us.max(listed_until_us);
        }
        let head = self.head_mut(region);
        (head.marks, head.listed_until_us) = (marks, listed_until_us);
    }

    fn search(&self, region: &Region, key: Key) -> Result<usize, usize> {
        let index = self.index(region);
        let (mut low, mut high) = (0, self.count(region));
        while low < high {
            let middle = usize::midpoint(low, high);
            match index[middle * WORDS].cmp(&key.0) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }

    fn entry(&self, region: &Region, at: usize) -> (Entry, u64) {
        let index = self.index(region);
        Entry::unpacked([index[at * WORDS], index[at * WORDS + 1], index[at * WORDS + 2]])
    }

    fn count(&self, region: &Region) -> usize {
        (self.head(region).entries as usize).min(self.most)
    }

    fn head<'r>(&self, region: &'r Region) -> &'r Head {
        bytemuck::from_bytes(bytemuck::cast_slice(&region.words(&self.table)[..HEAD]))
    }

    fn head_mut<'r>(&self, region: &'r mut Region) -> &'r mut Head {
        bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(&mut region.words_mut(&self.table)[..HEAD]))
    }

    fn index<'r>(&self, region: &'r Region) -> &'r [u64] {
        &region.words(&self.table)[HEAD..HEAD + self.most * WORDS]
    }

    fn index_mut<'r>(&self, region: &'r mut Region) -> &'r mut [u64] {
        &mut region.words_mut(&self.table)[HEAD..HEAD + self.most * WORDS]
    }

    fn text_at(&self, row: u64) -> usize {
        HEAD + self.most * WORDS + row as usize * TEXT
    }
}

/// Of a place behind the last entry: its row was used before, and is free.
const FREED: u64 = 1 << 63;

/// Text as a row keeps it; nothing when it is too long. The unused octets are zero, which no text of an identity holds.
pub fn packed(text: &str) -> Option<[u64; TEXT]> {
    let mut words = [0; TEXT];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(words)
}

/// What [`packed`] gave, as text.
pub fn unpacked(words: &[u64]) -> String {
    let bytes: &[u8] = bytemuck::cast_slice(words);
    let end = bytes.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
