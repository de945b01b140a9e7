//! What one check asks of the region, and room for the answers.
//!
//! The room is taken before the lock, so that nothing under it allocates. Knows no text and no keys: only where lines are.

use smallvec::SmallVec;

use crate::region::Candidates;
use crate::store::fan_out::{Arrival, Consulted};
use crate::store::in_flight::Wanted;
use crate::store::{Promised, Verdict};

/// All that one check asks.
#[derive(Debug, Default)]
pub struct Request {
    pub(super) entries: SmallVec<[Entry; 10]>,
    pub(super) visits: SmallVec<[Visit; 3]>,
    /// Slots that keys of the limit at hand were promised.
    pub(super) promised: Promised,
    /// What in-flight limits are asked.
    pub(super) wanted: Wanted,
}

/// One limit asked about one key.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its index in [`crate::policy::plan::Plan::limits`].
    pub limit: u16,
    /// Charged when admitted; else only consulted.
    pub charged: bool,
    /// Which value of the identity that has several.
    pub nth: u32,
    /// What is asked.
    pub ask: Ask,
    /// What was answered.
    pub answer: Consulted,
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Rate { at: Candidates, amount: u64 },
    FanOut { visit: u32 },
}

/// One arrival at one memory; limits that share the memory share it.
#[derive(Debug)]
pub(super) struct Visit {
    /// The memory's index in [`crate::policy::plan::Plan::memories`].
    pub memory: usize,
    /// Which value of `per`.
    pub nth: usize,
    pub arrival: Arrival,
}

/// Before it is asked.
pub(super) const UNASKED: Consulted = Consulted { verdict: Verdict::Fits, spot: None, new: 0, rung: None };
