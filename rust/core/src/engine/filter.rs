//! The part of its stages that a step of a session asks: the limits that were not asked before.
//!
//! Knows no session: the session keeps what was asked. Invariant: without a filter everything is asked.

use smallvec::SmallVec;

use super::Engine;
use super::request::Request;
use crate::identity::Source;
use crate::plan::LimitSet;
use crate::plan::{PlannedIdentity, PlannedLimit};
use crate::policy::{Stage, Stages};

/// What a step of a session leaves out, or asks in addition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StageFilter {
    /// Limits that were asked before.
    pub(super) without: LimitSet,
    /// Recipients' hosts, by their place among those of the envelope, for which the message was counted before.
    pub(super) hosts: SmallVec<[u32; 4]>,
    /// Stages whose in-flight limits are consulted too.
    pub(super) in_flight: Stages,
    /// Whether only the client's name is new: statistics count nothing else again.
    pub(super) is_late: bool,
}

impl Engine {
    /// Whether any limit counts messages by the hosts that they go to.
    pub(super) fn counts_hosts_once(&self) -> bool {
        self.plan.limits.iter().any(PlannedLimit::counts_hosts_once)
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
        for entry in &request.stores.entries {
            asked.insert(self.plan.limits[usize::from(entry.limit)].of);
        }
        for place in request.stores.in_flight.limits() {
            self.plan.capped_by[place].into_iter().for_each(|limit| asked.insert(limit));
        }
        asked
    }

    /// Leaves out of statistics what an earlier step has counted already.
    pub(super) fn count_once(&self, request: &mut Request, stages: Stages, filter: &StageFilter) {
        let is_new = |needed: &PlannedIdentity| {
            needed.at.intersects(stages) && (!filter.is_late || needed.identity.source() == Source::ClientName)
        };
        let values = request.keys.values().iter().copied();
        request.counted = Some(values.filter(|value| is_new(&self.plan.identities[value.place])).collect());
    }
}
