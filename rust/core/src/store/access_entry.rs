//! An operator's entry in three words, and of what there are entries.
//!
//! Knows no list and no text: what is covered is a key already. Invariant: an entry comes out of its words as it went in.

use bytemuck::{Pod, Zeroable};

use crate::key::Key;

/// Words of an entry.
pub(super) const WORDS: usize = 3;

/// Names of which trailing parts are listed: client, HELO, sender, recipient, and room for others.
pub const FAMILIES: usize = 8;

/// Of what there are entries, so that nothing else is looked up. A bit each.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct EntryKinds {
    /// Lengths of prefix of IPv4, 0 to 32.
    pub v4: u64,
    /// Kinds of values that are looked up whole.
    pub whole: u64,
    /// Lengths of prefix of IPv6, 0 to 127; 128 has the first bit, which no length else has: a prefix of 0 is none.
    pub v6: [u64; 2],
    /// Numbers of labels, 1 to 127.
    pub labels: [[u64; 2]; FAMILIES],
}

/// What an entry is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A network of IPv4.
    V4(u8),
    /// A network of IPv6.
    V6(u8),
    /// So many labels of a family's names.
    Labels(u8, u8),
    /// A whole value of a kind.
    Whole(u8),
}

/// What an operator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessAction {
    /// Refused.
    Block,
    /// Let through, when it is proven.
    Allow,
    /// Let through, proven or not.
    AllowUnverified,
}

/// An entry but for its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Of what it covers.
    pub key: Key,
    /// Engine time from which it is over, µs; `u64::MAX`: it is for good.
    pub until_us: u64,
    /// What is said.
    pub word: AccessAction,
    /// What it is of.
    pub mark: EntryKind,
    /// The identity, in its holder's own code of three octets.
    pub identity: u32,
}

impl EntryKinds {
    pub(super) fn add(&mut self, mark: EntryKind) {
        let set = |bits: &mut [u64; 2], bit: u8| bits[usize::from(bit >> 6 & 1)] |= 1 << (bit & 63);
        match mark {
            EntryKind::V4(length) => self.v4 |= 1 << length.min(63),
            EntryKind::V6(length) => set(&mut self.v6, length & 127),
            EntryKind::Labels(family, labels) => set(&mut self.labels[usize::from(family) % FAMILIES], labels & 127),
            EntryKind::Whole(kind) => self.whole |= 1 << (kind & 63),
        }
    }

    /// Whether there is an entry of this kind.
    pub fn has(&self, mark: EntryKind) -> bool {
        let mut one = Self::default();
        one.add(mark);
        let [all, one]: [&[u64]; 2] =
            [bytemuck::cast_slice(std::slice::from_ref(self)), bytemuck::cast_slice(std::slice::from_ref(&one))];
        all.iter().zip(one).any(|(all, one)| all & one != 0)
    }
}

impl EntryKind {
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

impl Entry {
    /// Row in bits 0–15, then two of the word, then mark and identity.
    pub(super) fn packed(&self, row: u64) -> [u64; WORDS] {
        let word = match self.word {
            AccessAction::Block => 0,
            AccessAction::Allow => 1,
            AccessAction::AllowUnverified => 2,
        };
        let last = row | word << 16 | self.mark.packed() << 18 | u64::from(self.identity & 0xFF_FFFF) << 37;
        [self.key.0, self.until_us, last]
    }

    pub(super) fn unpacked([key, until_us, last]: [u64; WORDS]) -> (Self, u64) {
        let word = match last >> 16 & 3 {
            0 => AccessAction::Block,
            1 => AccessAction::Allow,
            _ => AccessAction::AllowUnverified,
        };
        let (mark, identity) = (EntryKind::unpacked(last >> 18 & 0x7_FFFF), (last >> 37) as u32 & 0xFF_FFFF);
        (Self { key: Key(key), until_us, word, mark, identity }, last & 0xFFFF)
    }

    /// Whether it holds at `now_us`.
    pub fn holds(&self, now_us: u64) -> bool {
        self.until_us > now_us
    }
}
