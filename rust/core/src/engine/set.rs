//! Limits of a policy, as bits: there are at most sixty-four.
//!
//! Knows no limit but by its place. Invariant: a quota stands for its limit, so the bits are those of the policy's own limits.

use crate::policy::MAX_LIMITS;

const _: () = assert!(MAX_LIMITS <= u64::BITS as usize);

/// A set of limits, by their place in the policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitSet(u64);

impl LimitSet {
    /// All that a policy can have.
    pub const ALL: Self = Self(u64::MAX);

    /// The set as bits, by place of the limit.
    #[inline]
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether none is in it.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `limit` is in it.
    #[inline]
    pub fn has(self, limit: u16) -> bool {
        self.0 >> limit & 1 != 0
    }

    /// Puts `limit` in.
    #[inline]
    pub fn insert(&mut self, limit: u16) {
        self.0 |= 1 << limit;
    }

    /// Both sets.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those in it, in file order.
    pub fn iter(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let first = left.trailing_zeros() as usize;
            left &= left.checked_sub(1)?;
            Some(first)
        })
    }
}
