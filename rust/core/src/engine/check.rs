//! The one place that takes the lock and knows the order of things.
//!
//! ```text
//!  identities ← text;  request ← keys;  prefetch;  lock
//!    now ← engine time
//!    consult every entry: reads only
//!    all fit?  charge every entry, then let every memory know     else nothing is written but the time
//!  unlock;  answer
//! ```

use super::Engine;
use super::request::{Ask, Request, Visit};
use crate::decision::{Decision, Refusal};
use crate::envelope::Envelope;
use crate::identity::{Identities, Value};
use crate::policy::Stages;
use crate::policy::plan::Store;
use crate::region::{Now, Region};
use crate::reply::Reply;
use crate::store::Verdict;
use crate::store::fan_out::Consulted;

/// What came out under the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Engine time of the check, µs.
    pub at_us: u64,
    /// Why not.
    pub refused: Option<Refused>,
}

/// The entry whose wait is the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Place in the request's entries.
    entry: usize,
    /// Engine time from which everything fits, µs; `u64::MAX` when never.
    until_us: u64,
    /// The part of the name whose bucket refused.
    rung: Option<usize>,
}

impl Engine {
    /// Consults every limit of `stages` and, when all agree, charges every one of them. `None`: every stage of which something is known.
    pub fn check(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> Decision {
        self.decide(envelope, stages, now, true)
    }

    /// The same, but charges nothing and moves no time.
    pub fn peek(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> Decision {
        self.decide(envelope, stages, now, false)
    }

    /// The identities that `stages` need.
    pub fn read<'e>(&self, envelope: &Envelope<'e>, stages: Stages) -> Identities<'e> {
        Identities::read(envelope, &self.suffixes, self.plan.sources(stages))
    }

    /// What the limits of `stages` ask: everything before the lock but the prefetch.
    pub fn request(&self, identities: &Identities<'_>, size: Option<u64>, stages: Stages) -> Request {
        Request::new(&self.plan, &self.secret, identities, size, stages)
    }

    /// Prefetches, takes the lock, consults and charges. Calls nothing but stores while it holds the lock.
    pub fn settle(&self, request: &mut Request, now: Now, charge: bool) -> Settled {
        request.prefetch(&self.plan, self.address);
        let mut region = self.lock();
        let epoch = region.epoch().at(now);
        let at_us = epoch.last_us;
        if charge {
            region.set_epoch(epoch);
        }
        self.look(request, &region, at_us, false);
        let refused = self.consult(request, &region, at_us).map(|refused| {
            self.look(request, &region, at_us, true);
            self.look_ahead(request, &region, refused)
        });
        if charge && refused.is_none() {
            self.charge(request, &mut region, at_us);
        }
        Settled { at_us, refused }
    }

    fn decide(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now, charge: bool) -> Decision {
        let stages = stages.unwrap_or_else(|| Self::known_stages(envelope));
        let identities = self.read(envelope, stages);
        let mut request = self.request(&identities, envelope.size, stages);
        let settled = self.settle(&mut request, now, charge);
        let refusal =
            settled.refused.map(|refused| Box::new(self.explain(&identities, &request, settled.at_us, refused)));
        Decision { refusal }
    }

    /// Asks the memories.
    fn look(&self, request: &mut Request, region: &Region, at_us: u64, all: bool) {
        for Visit { memory, arrival, seen, .. } in &mut request.arrivals {
            arrival.consult(&self.plan.memories[*memory].known, region, at_us, all, seen);
        }
    }

    /// Asks every entry, keeps the answers, and returns the longest wait; of equals the first in file order.
    fn consult(&self, request: &mut Request, region: &Region, at_us: u64) -> Option<Refused> {
        let mut worst: Option<Refused> = None;
        for (index, (entry, answer)) in request.entries.iter().zip(&mut request.answers).enumerate() {
            *answer = match (&self.plan.limits[entry.limit].store, entry.ask) {
                (Store::Rate(buckets), Ask::Rate { key, amount }) => {
                    let verdict = buckets.consult(region, key, at_us, amount, entry.reserved);
                    Consulted { verdict, new: 0, rung: None }
                }
                (Store::FanOut { fan_out, .. }, Ask::FanOut { arrival }) => {
                    let visit = &request.arrivals[arrival];
                    fan_out.consult(region, &visit.arrival, &visit.seen, at_us, entry.reserved)
                }
                _ => continue,
            };
            let until_us = answer.verdict.earliest_us(at_us);
            if answer.verdict != Verdict::Fits && worst.is_none_or(|worst| until_us > worst.until_us) {
                worst = Some(Refused { entry: index, until_us, rung: answer.rung });
            }
        }
        worst
    }

    /// The time from which everything fits at once: what fits now need not fit then, since a known element may be forgotten by that time (P10).
    fn look_ahead(&self, request: &mut Request, region: &Region, mut refused: Refused) -> Refused {
        while refused.until_us < u64::MAX {
            match self.consult(request, region, refused.until_us) {
                Some(later) => refused = later,
                None => break,
            }
        }
        refused
    }

    fn charge(&self, request: &Request, region: &mut Region, at_us: u64) {
        for (entry, answer) in request.entries.iter().zip(&request.answers).filter(|(entry, _)| entry.charged) {
            let tracked = match (&self.plan.limits[entry.limit].store, entry.ask) {
                (Store::Rate(buckets), Ask::Rate { key, amount }) => buckets.charge(region, key, at_us, amount),
                (Store::FanOut { fan_out, .. }, Ask::FanOut { arrival }) => {
                    fan_out.charge(region, &request.arrivals[arrival].arrival, answer, at_us)
                }
                _ => true,
            };
            if !tracked {
                region.count_untracked(entry.limit);
            }
        }
        for Visit { memory, arrival, .. } in &request.arrivals {
            arrival.charge(&self.plan.memories[*memory].known, region, at_us);
        }
    }

    /// Whom it concerns and what to tell them: text again, after the lock.
    fn explain(&self, identities: &Identities<'_>, request: &Request, at_us: u64, refused: Refused) -> Refusal {
        let entry = &request.entries[refused.entry];
        let planned = &self.plan.limits[entry.limit];
        let part = refused.rung.zip(planned.limit.distinct()).and_then(|(rung, distinct)| {
            identities.ladder(distinct, planned.limit.per[0]).get(rung).map(|part| (*part).to_owned())
        });
        let key = part.unwrap_or_else(|| {
            let values = planned.limit.per.iter().map(|&identity| {
                let values = identities.values(identity);
                values.get(entry.value).or(values.first()).map(Value::to_string).unwrap_or_default()
            });
            values.collect::<Vec<_>>().join(" + ")
        });
        let wait_us = (refused.until_us < u64::MAX).then(|| refused.until_us - at_us);
        let reply = Reply::of(&planned.limit, planned.stage).text(&key, wait_us);
        Refusal { limit: planned.limit.name.clone(), identity: planned.per_name.clone(), key, wait_us, reply }
    }
}
