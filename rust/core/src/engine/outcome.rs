//! What one check came to under the lock: numbers and places, from which texts are made after it.
//!
//! Knows no text. Invariant: of several refusals it names the one with the longest wait.

use crate::plan::LimitSet;
use crate::store::permits::Token;

/// What a check does when everything fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Consults only; engine time stands still.
    Peek,
    /// Charges every limit.
    Check,
    /// Charges every limit, and holds what is in flight by a permit.
    Admit,
}

/// What came out under the lock.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The caller's time in engine time, µs: waits are counted from there.
    pub reads_us: i64,
    /// Engine time, µs.
    pub at_us: u64,
    /// Why the check is refused; `None` when it is admitted.
    pub refused: Option<Refused>,
    /// Whether the limits were charged: not by a peek, not by a refused check, nor by one that an operator's entry lets through.
    pub is_charged: bool,
    /// Limits in shadow mode that would have refused.
    pub shadow: LimitSet,
    /// Whether no permit was left, under a policy in shadow mode.
    pub is_max_open_shadow: bool,
    /// Whether an operator's entry would have refused, under a policy in shadow mode.
    pub is_entry_shadow: bool,
    /// The permit that holds what is in flight.
    pub token: Option<Token>,
}

/// The refusal with the longest wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What refused.
    pub(super) by: RefusedBy,
    /// Engine time from which everything fits, µs; `u64::MAX` when never.
    pub(super) until_us: u64,
    /// The part of the name whose bucket refused.
    pub(super) part: Option<u8>,
}

/// What refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusedBy {
    /// A limit, by the place of its entry in the request.
    Entry(usize),
    /// An in-flight limit, by its place in [`crate::plan::Plan::limits`].
    InFlight(u16),
    /// The number of permits.
    MaxOpen,
    /// A block by a limit, by its place in the query.
    Block(usize),
    /// A block by an operator.
    AccessEntry,
}

impl Outcome {
    /// Whether any limit in shadow mode, or under a policy in shadow mode, would have refused.
    #[inline]
    pub(super) fn has_shadow(&self) -> bool {
        !self.shadow.is_empty() || self.is_max_open_shadow || self.is_entry_shadow
    }
}
