//! What one check came to under the lock: numbers and places, which words are made of later.
//!
//! Knows no text. Invariant: of what refuses, it names the one whose wait is the longest.

use super::set::LimitSet;

/// What came out under the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What the caller's time reads in engine time, µs: waits are told from there.
    pub reads_us: i64,
    /// Engine time, µs.
    pub at_us: u64,
    /// Why not.
    pub refused: Option<Refused>,
    /// Whether the limits were charged: not for a look, not when it is refused, nor when an operator lets it pass.
    pub charged: bool,
    /// Limits in shadow mode that would have refused.
    pub shadow: LimitSet,
    /// Whether there was no permit left, under a policy in shadow mode.
    pub crowded: bool,
    /// Whether an operator's block would have refused, under a policy in shadow mode.
    pub listed: bool,
}

/// The entry whose wait is the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What refused.
    pub(super) by: By,
    /// Engine time from which everything fits, µs; `u64::MAX` when never.
    pub(super) until_us: u64,
    /// The part of the name whose bucket refused.
    pub(super) rung: Option<u8>,
}

/// What refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// Place in the request's entries.
    Entry(usize),
    /// An in-flight limit, by its index in [`crate::plan::Plan::limits`].
    Cap(u16),
    /// The number of permits.
    MaxOpen,
    /// A block by a limit, by its place among those that were asked.
    Blocked(usize),
    /// A block by an operator.
    Listed,
}
