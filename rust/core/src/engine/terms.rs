//! What of its stages a check asks, when that is not all of them: the limits that were not asked before.
//!
//! Knows no connection: who makes the terms has kept what was asked. Invariant: on no terms everything is asked.

use smallvec::SmallVec;

use super::Engine;
use super::request::{Entry, Request};
use super::set::LimitSet;
use crate::identity::Source;
use crate::plan::{Needed, Planned};
use crate::policy::{Stage, Stages};
use crate::stats::IdentityKey;

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

impl Engine {
    /// Whether a limit counts messages by the hosts that they go to.
    pub(super) fn counts_hosts_once(&self) -> bool {
        self.plan.limits.iter().any(Planned::counts_hosts_once)
    }

    /// The limits of a stage that hold nothing.
    pub(super) fn rates_at(&self, stage: Stage) -> LimitSet {
        let mut rates = LimitSet::default();
        for planned in self.plan.limits.iter().filter(|planned| planned.stage == stage) {
            if !planned.limit.is_in_flight() {
                rates.insert(planned.of);
            }
        }
        rates
    }

    /// The limits that a request asks.
    pub(super) fn asked_by(&self, request: &Request) -> LimitSet {
        let mut asked = LimitSet::default();
        for Entry { limit, .. } in &request.entries {
            asked.insert(self.plan.limits[usize::from(*limit)].of);
        }
        for nth in request.wanted.limits() {
            self.plan.capped[nth].into_iter().for_each(|limit| asked.insert(limit));
        }
        asked
    }

    /// Leaves out of what is observed what an earlier step has shown already.
    pub(super) fn see_once(&self, seen: &mut SmallVec<[IdentityKey; 8]>, stages: Stages, terms: &Terms) {
        let is_news = |needed: &Needed| {
            needed.at.intersects(stages) && (!terms.late || needed.identity.source() == Source::ClientName)
        };
        seen.retain(|seen| is_news(&self.plan.identities[seen.place]));
    }
}
