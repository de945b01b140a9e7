//! What of its stages a check asks, when that is not all of them.

use smallvec::SmallVec;

use super::set::LimitSet;
use crate::policy::Stages;

/// Terms of one step of a dialogue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// Limits that are not asked: they were.
    pub(super) without: LimitSet,
    /// Recipients' hosts, by their place among those of the envelope, whose limits on messages are not asked: they were.
    pub(super) hosts: SmallVec<[u32; 4]>,
    /// Stages of which what is in flight is consulted too.
    pub(super) in_flight: Stages,
    /// Whether only the client's name is news: nothing else is observed again.
    pub(super) late: bool,
}
