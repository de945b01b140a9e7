//! The numbers and choices that a store is built from.
//!
//! This module knows no policy and no text: `policy` reads and prints these types.

/// An amount per period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The amount, in the unit that the limit counts.
    pub amount: u64,
    /// The period, in microseconds.
    pub period_us: u64,
    /// Whether the amount was written with a unit of size (`GiB`); the limit then counts bytes.
    pub sized: bool,
}

/// The algorithm of a rate counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// A bucket that drains: it admits `burst` at once, then the rate.
    Gcra,
    /// A window that never admits more than the amount in any period; it has no `burst`.
    SlidingWindow,
}

/// What happens to a key for which a table has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// The key is admitted and not counted, so no innocent sender is refused.
    Admit,
    /// The key is counted in a sketch that never counts too low: no key gets more than its limit, and during a flood
    /// some keys get less.
    Sketch,
    /// The key is refused, so no key gets more than its limit.
    Refuse,
}

/// When a fan-out charges an element. An element has *returned* when it was admitted again at least an hour (or
/// `settle`) after it was first admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// When it is new.
    Once,
    /// When it is new, and with its second admission, unless that is in the same unit of the seen set's clock. So many
    /// names, each used once to prepare a flood, are charged again in the flood.
    Twice,
    /// With every message, until it has returned.
    UntilReturn,
}

/// A part of a whole, such as `1/10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    /// At least one.
    pub numerator: u64,
    /// At least the numerator, and at most [`Fraction::MAX_DENOMINATOR`].
    pub denominator: u64,
}

impl Fraction {
    /// The largest denominator: a fraction of the largest amount (2⁵⁰) is then computed in 64 bits.
    pub const MAX_DENOMINATOR: u64 = 1000;
}
