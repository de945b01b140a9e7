//! Bits in words: a set of at most 64 things, one bit each, and fields of a few bits in a run of words.
//!
//! A set knows only the places of its members. Invariant: no bit from [`Member::COUNT`] on is ever set.

use std::fmt;
use std::marker::PhantomData;

/// A thing that can be in a [`Set`].
pub trait Member: Copy {
    /// How many such things exist: at most 64.
    const COUNT: u32;

    /// Its place among them, from 0; below [`Member::COUNT`].
    fn place(self) -> u32;

    /// The thing at a place.
    fn at(place: u32) -> Self;
}

/// A set of `T`.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Set<T> {
    bits: u64,
    members: PhantomData<fn() -> T>,
}

impl<T> Set<T> {
    /// The set without members.
    pub const EMPTY: Self = Self::of_bits(0);

    const fn of_bits(bits: u64) -> Self {
        Self { bits, members: PhantomData }
    }

    /// The members as bits, by their places.
    pub const fn bits(self) -> u64 {
        self.bits
    }

    /// Whether it has no members.
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// The members of either set.
    pub const fn union(self, other: Self) -> Self {
        Self::of_bits(self.bits | other.bits)
    }

    /// The members of both sets.
    pub const fn intersect(self, other: Self) -> Self {
        Self::of_bits(self.bits & other.bits)
    }

    /// The members that `other` lacks.
    pub const fn minus(self, other: Self) -> Self {
        Self::of_bits(self.bits & !other.bits)
    }

    /// Whether the sets have a member in common.
    pub const fn intersects(self, other: Self) -> bool {
        self.bits & other.bits != 0
    }

    /// How many members it has.
    pub const fn len(self) -> usize {
        self.bits.count_ones() as usize
    }
}

impl<T: Member> Set<T> {
    /// The set of everything that can be a member.
    pub const ALL: Self = Self::of_bits(u64::MAX >> (u64::BITS - T::COUNT));

    /// This set and one more member.
    pub fn with(self, member: T) -> Self {
        Self::of_bits(self.bits | 1 << member.place())
    }

    /// This set except for one member.
    pub fn without(self, member: T) -> Self {
        Self::of_bits(self.bits & !(1 << member.place()))
    }

    /// Adds a member.
    pub fn insert(&mut self, member: T) {
        *self = self.with(member);
    }

    /// Whether `member` is in the set.
    pub fn contains(self, member: T) -> bool {
        self.bits >> member.place() & 1 != 0
    }

    /// The member whose place is the last.
    pub fn last(self) -> Option<T> {
        self.bits.checked_ilog2().map(T::at)
    }

    /// The members in the order of their places.
    #[inline]
    pub fn iter(self) -> impl Iterator<Item = T> + Clone {
        places(self.bits).map(T::at)
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl<T: Member + fmt::Debug> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// The places of the bits that are set, the lowest first.
pub fn places(mut bits: u64) -> impl Iterator<Item = u32> + Clone {
    std::iter::from_fn(move || {
        let set = bits;
        bits &= bits.checked_sub(1)?;
        Some(set.trailing_zeros())
    })
}

/// Reads `bits` bits of `words`, 63 at most, starting at the bit `bit`.
#[inline]
pub fn field(words: &[u64], bit: usize, bits: u32) -> u64 {
    let (word, shift) = (bit / 64, bit as u32 % 64);
    let low = words[word] >> shift;
    let high = if shift + bits > 64 { words[word + 1] << (64 - shift) } else { 0 };
    (low | high) & ((1 << bits) - 1)
}

/// Writes `bits` bits of `words`, 63 at most, starting at the bit `bit`. `value` has no more bits than that.
#[inline]
pub fn set_field(words: &mut [u64], bit: usize, bits: u32, value: u64) {
    let (word, shift, mask) = (bit / 64, bit as u32 % 64, (1 << bits) - 1);
    words[word] = words[word] & !(mask << shift) | value << shift;
    if shift + bits > 64 {
        let done = 64 - shift;
        words[word + 1] = words[word + 1] & !(mask >> done) | value >> done;
    }
}

impl<T: Member> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(members: I) -> Self {
        members.into_iter().fold(Self::EMPTY, Self::with)
    }
}
