//! The access list: entries of operators that block mail, or let it pass regardless of the limits. Its size is fixed,
//! and adding to a full list is an error that the operator sees.
//!
//! **Idea.** An entry covers everything below it: every address of a network, every host below a domain. Entries are
//! not compared one by one. The head keeps the prefix lengths and label counts that entries have. A check cuts its
//! address and its names to these lengths, and looks up one key for each. Keys are sorted, so a look-up is a binary
//! search, and a full list costs little more than a short one.
//!
//! ```text
//!  head      entries ┊ untracked blocks ┊ latest end of a limit's block ┊ latest end of an entry ┊ entry kinds
//!  index     most × (key ┊ until µs ┊ row, action, kind, identity, origin), sorted by key and origin
//!  rows      most × 29 words of text; a row keeps its place while its entry moves
//! ```
//!
//! A key has two entries at most: one that was made at run time, and one of the policy. While the first is in force,
//! the second is not.
//!
//! It knows no mail and no spelling: the caller passes keys and text. An expired entry is ignored, and is removed when
//! room is needed. **Cost.** log₂ of the number of entries for each look-up; an operator's change moves up to 24 KiB.
//! **Bound.** Exact, unless the 64 bits of two keys agree.

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::key::Key;
use crate::region::{KIND_WORDS, PAGE_BYTES, Region, Table};

/// Words of an entry.
const WORDS: usize = 3;

/// Families of names whose trailing parts can be listed: client, HELO, sender, recipient, From, and room for others.
pub const FAMILIES: usize = 8;

/// Bitmap of the entry kinds present, so that no check looks up anything else.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct EntryKinds {
    /// Prefix lengths of IPv4, 0 to 32.
    pub v4: u64,
    /// Kinds of values that are looked up as a whole.
    pub whole: u64,
    /// Prefix lengths of IPv6, 1 to 127. Bit 0 stands for 128, because a prefix of 0 is never listed.
    pub v6: [u64; 2],
    /// Label counts of each family, 1 to 127.
    pub labels: [[u64; 2]; FAMILIES],
}

/// The kind of values that an entry covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// An IPv4 network of this prefix length.
    V4(u8),
    /// An IPv6 network of this prefix length.
    V6(u8),
    /// Names of a family that share their last labels: the family, and how many labels.
    Labels(u8, u8),
    /// A whole value of this kind.
    Whole(u8),
}

/// The consequence for mail that an entry covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessAction {
    /// It is refused.
    Block,
    /// It passes, when its identity is proven.
    Allow,
    /// It passes, proven or not.
    AllowUnverified,
}

/// An operator's entry, without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessEntry {
    /// The key of what it covers.
    pub key: Key,
    /// Engine time at which it ends, µs; `u64::MAX` when it never ends.
    pub until_us: u64,
    /// The consequence for mail that it covers.
    pub action: AccessAction,
    /// The kind of values that it covers.
    pub kind: EntryKind,
    /// The identity, in the caller's own code of three bytes.
    pub identity: u32,
    /// Whether the policy states it, and not the operator at run time.
    pub is_of_policy: bool,
}

/// The text of an entry, packed into words.
pub type PackedText = [u64; TEXT];

impl EntryKinds {
    fn add(&mut self, kind: EntryKind) {
        let bit = kind.bit();
        bytemuck::cast_mut::<_, [u64; KIND_WORDS]>(self)[bit / 64] |= 1 << (bit % 64);
    }

    /// Whether there is an entry of this kind.
    pub fn has(&self, kind: EntryKind) -> bool {
        let bit = kind.bit();
        bytemuck::cast_ref::<_, [u64; KIND_WORDS]>(self)[bit / 64] >> (bit % 64) & 1 != 0
    }
}

impl EntryKind {
    /// Its bit in [`EntryKinds`].
    fn bit(self) -> usize {
        match self {
            Self::V4(length) => usize::from(length.min(63)),
            Self::Whole(kind) => 64 + usize::from(kind & 63),
            Self::V6(length) => 128 + usize::from(length & 127),
            Self::Labels(family, labels) => 256 + 128 * (usize::from(family) % FAMILIES) + usize::from(labels & 127),
        }
    }

    fn packed(self) -> u64 {
        let [kind, first, second] = match self {
            Self::V4(length) => [0, length, 0],
            Self::V6(length) => [1, length, 0],
            Self::Labels(family, labels) => [2, family, labels],
            Self::Whole(whole) => [3, whole, 0],
        };
        u64::from(kind) << 16 | u64::from(first) << 8 | u64::from(second)
    }

    fn unpacked(word: u64) -> Self {
        let [second, first, kind, ..] = word.to_le_bytes();
        match kind {
            0 => Self::V4(first),
            1 => Self::V6(first),
            2 => Self::Labels(first, second),
            _ => Self::Whole(first),
        }
    }
}

impl AccessEntry {
    /// Packs the entry into words. The last one holds the row in bits 0–15, then two bits of the action, then the kind,
    /// the identity and the origin.
    fn packed(&self, row: u64) -> [u64; WORDS] {
        let last =
            row | (self.action as u64) << 16 | self.kind.packed() << 18 | u64::from(self.identity & 0xFF_FFFF) << 37;
        [self.key.0, self.until_us, last | if self.is_of_policy { OF_POLICY } else { 0 }]
    }

    /// Unpacks an entry and its row.
    fn unpacked([key, until_us, last]: [u64; WORDS]) -> (Self, u64) {
        let action = match last >> 16 & 3 {
            0 => AccessAction::Block,
            1 => AccessAction::Allow,
            _ => AccessAction::AllowUnverified,
        };
        let (kind, identity) = (EntryKind::unpacked(last >> 18 & 0x7_FFFF), (last >> 37) as u32 & 0xFF_FFFF);
        let is_of_policy = last & OF_POLICY != 0;
        (Self { key: Key(key), until_us, action, kind, identity, is_of_policy }, last & 0xFFFF)
    }

    /// Whether it is in force at `now_us`.
    pub fn holds(&self, now_us: u64) -> bool {
        self.until_us > now_us
    }
}

/// Most entries.
pub const MOST: usize = 1024;

/// Most bytes of an entry's text. A longer text is refused, not cut: the operator needs all of it to remove the entry.
pub const TEXT_BYTES: usize = 8 * TEXT;

/// Words of text.
const TEXT: usize = 29;

const HEAD: usize = size_of::<Head>() / size_of::<u64>();

/// Marks an entry of the policy.
const OF_POLICY: u64 = 1 << 61;

/// Marks a free place behind the last entry that keeps the row of a removed entry.
const FREED: u64 = 1 << 63;

/// A summary of all entries of the list, and of all blocks by limits.
#[repr(C)]
#[derive(Clone, Copy, Default, Pod, Zeroable)]
pub struct Head {
    entries: u64,
    /// Blocks by limits that found no room, since start.
    pub untracked: u64,
    /// The end of the last block by a limit, µs.
    pub blocked_until_us: u64,
    /// The end of the last entry, µs.
    pub listed_until_us: u64,
    /// The entry kinds present.
    pub kinds: EntryKinds,
}

/// The access list.
#[derive(Clone, Copy, Debug)]
pub struct AccessList {
    /// Its memory.
    pub table: Table,
    /// Most entries.
    pub most: usize,
}

impl AccessList {
    /// Bytes for `most` entries.
    pub fn bytes(most: usize) -> u64 {
        ((HEAD + most * (WORDS + TEXT)) as u64 * 8).next_multiple_of(PAGE_BYTES)
    }

    /// A list of as many entries as fit into `table`.
    pub fn new(table: Table) -> Self {
        let words = (table.bytes() / 8) as usize;
        Self { table, most: ((words - HEAD) / (WORDS + TEXT)).min(MOST) }
    }

    /// Notes until when a limit has blocked a key, or with `None` that there was no room for a block.
    pub fn note_block(&self, region: &mut Region, until_us: Option<u64>) {
        let head = self.head_mut(region);
        match until_us {
            Some(until_us) => head.blocked_until_us = head.blocked_until_us.max(until_us),
            None => head.untracked += 1,
        }
    }

    /// The entry of a key that is in force at `now_us`.
    pub fn get(&self, region: &Region, key: Key, now_us: u64) -> Option<AccessEntry> {
        let first = self.first(region, key);
        let mut own =
            (first..self.count(region)).map(|at| self.entry(region, at).0).take_while(|entry| entry.key == key);
        own.find(|entry| entry.holds(now_us))
    }

    /// Adds an entry, or replaces the one of the same key and origin. Entries that have ended make room for it; it
    /// returns `false` when there is still none.
    pub fn put(&self, region: &mut Region, entry: AccessEntry, text: &PackedText, now_us: u64) -> bool {
        let own = self.search(region, entry.key, entry.is_of_policy).ok();
        if own.is_none() && self.count(region) == self.most {
            self.drop_ended(region, now_us);
        }
        let Some(at) = own.or_else(|| self.open(region, entry.key, entry.is_of_policy)) else { return false };
        self.write(region, at, entry, text);
        self.renew_head(region);
        true
    }

    /// Replaces the entries of the policy. Returns whether there were any or are any now. The error is the number of
    /// entries for which there is room in addition to those made at run time; then nothing is changed.
    pub fn replace_policy(
        &self, region: &mut Region, entries: &[(AccessEntry, PackedText)], now_us: u64,
    ) -> Result<bool, usize> {
        self.drop_ended(region, now_us);
        let all = 0..self.count(region);
        let room = self.most - all.filter(|&at| !self.entry(region, at).0.is_of_policy).count();
        if entries.len() > room {
            return Err(room);
        }
        let mut is_changed = !entries.is_empty();
        for at in (0..self.count(region)).rev() {
            if self.entry(region, at).0.is_of_policy {
                self.close(region, at);
                is_changed = true;
            }
        }
        for (entry, text) in entries {
            if let Some(at) = self.open(region, entry.key, true) {
                self.write(region, at, *entry, text);
            }
        }
        self.renew_head(region);
        Ok(is_changed)
    }

    /// Removes the entries of a key. Returns whether one of them was in force at `now_us`; `None` if there was none.
    pub fn take(&self, region: &mut Region, key: Key, now_us: u64) -> Option<bool> {
        let mut taken = None;
        while let Ok(at) = self.search(region, key, false).or_else(|_| self.search(region, key, true)) {
            taken = Some(taken == Some(true) || self.entry(region, at).0.holds(now_us));
            self.close(region, at);
        }
        self.renew_head(region);
        taken
    }

    /// Calls `then` with every entry and its text, at most [`AccessList::most`] times.
    pub fn each(&self, region: &Region, mut then: impl FnMut(AccessEntry, &[u64])) {
        for at in 0..self.count(region) {
            let (entry, row) = self.entry(region, at);
            then(entry, &region.words(&self.table)[self.text_of(row)]);
        }
    }

    /// The keys of all entries.
    pub fn keys<'r>(&self, region: &'r Region) -> impl Iterator<Item = Key> + use<'r> {
        self.index(region).iter().take(self.count(region)).map(|row| Key(row[0]))
    }

    fn write(&self, region: &mut Region, at: usize, entry: AccessEntry, text: &PackedText) {
        let row = self.entry(region, at).1;
        self.index_mut(region)[at] = entry.packed(row);
        region.words_mut(&self.table)[self.text_of(row)].copy_from_slice(text);
    }

    /// Makes room for a key: returns its place in the index, with a row that no other entry has; `None` when full.
    fn open(&self, region: &mut Region, key: Key, is_of_policy: bool) -> Option<usize> {
        let count = self.count(region);
        let at = self.search(region, key, is_of_policy).unwrap_or_else(|at| at);
        let index = self.index_mut(region);
        // The places behind the last entry keep the rows of removed entries, which are free.
        let [.., spare] = *index.get(count)?;
        let row = if spare & FREED != 0 { spare & 0xFFFF } else { count as u64 };
        index[at..=count].rotate_right(1);
        index[at] = [key.0, 0, row];
        self.head_mut(region).entries += 1;
        Some(at)
    }

    /// Removes a place from the index, and keeps its row behind the last entry.
    fn close(&self, region: &mut Region, at: usize) {
        let (count, row) = (self.count(region), self.entry(region, at).1);
        let index = self.index_mut(region);
        index[at..count].rotate_left(1);
        index[count - 1] = [0, 0, row | FREED];
        self.head_mut(region).entries -= 1;
    }

    fn drop_ended(&self, region: &mut Region, now_us: u64) {
        for at in (0..self.count(region)).rev() {
            if !self.entry(region, at).0.holds(now_us) {
                self.close(region, at);
            }
        }
    }

    /// Recomputes the head from all entries.
    fn renew_head(&self, region: &mut Region) {
        let (mut kinds, mut listed_until_us) = (EntryKinds::default(), 0);
        for at in 0..self.count(region) {
            let (entry, _) = self.entry(region, at);
            kinds.add(entry.kind);
            listed_until_us = entry.until_us.max(listed_until_us);
        }
        let head = self.head_mut(region);
        (head.kinds, head.listed_until_us) = (kinds, listed_until_us);
    }

    /// The place of an entry, or where it would be.
    fn search(&self, region: &Region, key: Key, is_of_policy: bool) -> Result<usize, usize> {
        let place = |[key, _, last]: &[u64; WORDS]| (*key, last & OF_POLICY != 0);
        self.index(region)[..self.count(region)].binary_search_by_key(&(key.0, is_of_policy), place)
    }

    /// The place of the first entry of a key or of a later one.
    fn first(&self, region: &Region, key: Key) -> usize {
        self.index(region)[..self.count(region)].partition_point(|[other, ..]| *other < key.0)
    }

    fn entry(&self, region: &Region, at: usize) -> (AccessEntry, u64) {
        AccessEntry::unpacked(self.index(region)[at])
    }

    fn count(&self, region: &Region) -> usize {
        (self.head(region).entries as usize).min(self.most)
    }

    /// The head of the list.
    pub fn head<'r>(&self, region: &'r Region) -> &'r Head {
        bytemuck::from_bytes(bytemuck::cast_slice(&region.words(&self.table)[..HEAD]))
    }

    fn head_mut<'r>(&self, region: &'r mut Region) -> &'r mut Head {
        bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(&mut region.words_mut(&self.table)[..HEAD]))
    }

    fn index<'r>(&self, region: &'r Region) -> &'r [[u64; WORDS]] {
        bytemuck::cast_slice(&region.words(&self.table)[HEAD..HEAD + self.most * WORDS])
    }

    fn index_mut<'r>(&self, region: &'r mut Region) -> &'r mut [[u64; WORDS]] {
        bytemuck::cast_slice_mut(&mut region.words_mut(&self.table)[HEAD..HEAD + self.most * WORDS])
    }

    /// Returns the words of a row's text.
    fn text_of(&self, row: u64) -> Range<usize> {
        let first = HEAD + self.most * WORDS + row as usize * TEXT;
        first..first + TEXT
    }
}

/// Packs a text into the words of a row; `None` when it is too long. Unused bytes are zero. No value of an identity
/// contains a zero byte.
pub fn pack_text(text: &str) -> Option<PackedText> {
    let mut words = [0; TEXT];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    bytes.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(words)
}

/// The text of a row.
pub fn unpack_text(words: &[u64]) -> String {
    let bytes: &[u8] = bytemuck::cast_slice(words);
    let end = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}
