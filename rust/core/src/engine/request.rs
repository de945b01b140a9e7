//! What one check asks of the region, and room for the answers.
//!
//! The room is taken before the lock, so that nothing under it allocates. Knows no text: only where lines are, and the hashes of elements that are not looked up.

use smallvec::SmallVec;

use super::marked::AskedMarks;
use crate::key::Key;
use crate::region::Candidates;
use crate::stats::IdentityKey;
use crate::store::fan_out::{Arrival, Consulted};
use crate::store::in_flight::Wanted;
use crate::store::{SlotReservations, Verdict};
use crate::time::Ticks;

/// All that one check asks.
#[derive(Debug, Default)]
pub struct Request {
    pub(super) entries: SmallVec<[Entry; 10]>,
    pub(super) visits: SmallVec<[Visit; 3]>,
    /// Elements of fan-outs that refuse all, each joined with its key.
    pub(super) elements: SmallVec<[Key; 2]>,
    /// Slots that keys of the limit at hand were promised.
    pub(super) promised: SlotReservations,
    /// What in-flight limits are asked.
    pub(super) wanted: Wanted,
    /// Every value that the check brings, for observation: in order of its identity's place, then of the values.
    pub(super) seen: SmallVec<[IdentityKey; 8]>,
    /// The same with what an earlier step has shown already, when something was left out.
    pub(super) known: Vec<IdentityKey>,
    /// Whether an entry is hot.
    pub(super) is_hot: bool,
    /// Whether an entry blocks.
    pub(super) blocks: bool,
    /// What is asked of entries and blocks, while there are any.
    pub(super) marks: Option<Box<AskedMarks>>,
}

impl Request {
    /// Every value that the check brings.
    pub(super) fn values<'r>(seen: &'r [IdentityKey], known: &'r [IdentityKey]) -> &'r [IdentityKey] {
        if known.is_empty() { seen } else { known }
    }
}

/// Of `seen`, the `nth` value of an identity, or its only one; `None` when it is absent.
pub(super) fn value_of(seen: &[IdentityKey], place: usize, nth: u32) -> Option<IdentityKey> {
    let first = seen.partition_point(|seen| seen.place < place);
    let at = |index: usize| seen.get(index).copied().filter(|seen| seen.place == place);
    at(first + nth as usize).or_else(|| at(first))
}

/// One limit asked about one key.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its index in [`crate::plan::Plan::limits`].
    pub limit: u16,
    /// Charged when admitted; else only consulted.
    pub charged: bool,
    /// Which value of the identity that has several.
    pub nth: u32,
    /// What is asked.
    pub ask: Ask,
    /// What was answered.
    pub answer: Consulted,
    /// Whether its key is near its limit, or was refused: a value of it is to get a name.
    pub hot: bool,
    /// Whether its key is to be blocked when the check is refused.
    pub blocks: bool,
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Rate {
        at: Candidates,
        amount: u64,
    },
    FanOut {
        visit: u32,
    },
    /// `count` of [`Request::elements`].
    Distinct {
        at: Candidates,
        first: u32,
        count: u32,
    },
}

/// One arrival at one memory; limits that share the memory share it.
#[derive(Debug)]
pub(super) struct Visit {
    /// The memory's index in [`crate::plan::Plan::memories`].
    pub memory: usize,
    /// Which value of `per`.
    pub nth: usize,
    pub arrival: Arrival,
}

impl Ask {
    /// Its part of [`Request::elements`].
    #[inline]
    pub(super) fn of(elements: &[Key], first: u32, count: u32) -> &[Key] {
        let first = first as usize;
        elements.get(first..first + count as usize).unwrap_or_default()
    }
}

/// Before it is asked.
pub(super) const UNASKED: Consulted =
    Consulted { verdict: Verdict::Fits, spot: None, at: Ticks(0), new: 0, rung: None };
