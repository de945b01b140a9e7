//! The order of things, and what is done under the lock.
//!
//! ```text
//!  identities ← text;  request ← keys;  prefetch;  lock
//!    now ← engine time
//!    consult every entry: reads only
//!    all fit?  charge every entry, then let every memory know     else nothing is written but the time
//!  unlock;  answer
//! ```

use std::cell::OnceCell;

use super::Engine;
use super::asker::Asker;
use super::keys::Keys;
use super::request::{Ask, Request, Visit};
use crate::decision::{Decision, Refusal};
use crate::envelope::Envelope;
use crate::identity::{Identities, Value};
use crate::policy::Stages;
use crate::policy::plan::Store;
use crate::region::{Now, Region};
use crate::store::Verdict;
use crate::store::fan_out::Consulted;

/// What came out under the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// What the caller's time reads in engine time, µs: waits are told from there.
    pub reads_us: i64,
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
    rung: Option<u8>,
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

    /// Fills in what the limits of `stages` ask, and sends for every line: all that is done before the lock.
    ///
    /// It takes an empty request and does not return one: a request is large, and is not to be moved.
    pub fn ask(&self, request: &mut Request, identities: &Identities<'_>, size: Option<u64>, stages: Stages) {
        let (plan, secret, address) = (&self.plan, &self.secret, self.shared.address());
        let keys = Keys::of(plan, secret, identities, stages);
        let keys = keys.hashed();
        Asker { plan, secret, address, identities, size, stages, keys, rcpt_hosts: OnceCell::new() }.ask(request);
    }

    /// Takes the lock, consults and charges. Calls nothing but stores while it holds the lock.
    pub fn settle(&self, request: &mut Request, now: Now, charge: bool) -> Settled {
        let (mut region, epoch) = self.shared.at(now, charge);
        let at_us = epoch.last_us;
        for Visit { memory, arrival, .. } in &mut request.visits {
            arrival.consult(&self.plan.memories[*memory].known, &region, at_us);
        }
        let refused = self.consult(request, &region, at_us).map(|refused| self.look_ahead(request, &region, refused));
        if charge && refused.is_none() {
            self.charge(request, &mut region, at_us);
        }
        Settled { reads_us: epoch.reads(now), refused }
    }

    fn decide(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now, charge: bool) -> Decision {
        let stages = stages.unwrap_or_else(|| Stages::known_of(envelope));
        let identities = self.read(envelope, stages);
        let mut request = Request::default();
        self.ask(&mut request, &identities, envelope.size, stages);
        let settled = self.settle(&mut request, now, charge);
        let refusal =
            settled.refused.map(|refused| Box::new(self.explain(&identities, &request, settled.reads_us, refused)));
        Decision { refusal }
    }

    /// Asks every entry, keeps the answers, and returns the longest wait; of equals the first in file order.
    fn consult(&self, request: &mut Request, region: &Region, at_us: u64) -> Option<Refused> {
        let Request { entries, visits, promised } = request;
        let mut worst: Option<Refused> = None;
        let mut table = None;
        for (index, entry) in entries.iter_mut().enumerate() {
            if table.replace(entry.limit) != Some(entry.limit) {
                promised.clear();
            }
            entry.answer = match (&self.plan.limits[usize::from(entry.limit)].store, entry.ask) {
                (Store::Rate(buckets), Ask::Rate { at, amount }) => {
                    let (verdict, spot) = buckets.consult(region, &at, at_us, amount, promised);
                    Consulted { verdict, spot, new: 0, rung: None }
                }
                (Store::FanOut { fan_out, .. }, Ask::FanOut { visit }) => {
                    fan_out.consult(region, &visits[visit as usize].arrival, at_us, promised)
                }
                _ => continue,
            };
            let Consulted { verdict, rung, .. } = entry.answer;
            let until_us = verdict.earliest_us(at_us);
            if verdict != Verdict::Fits && worst.is_none_or(|worst| until_us > worst.until_us) {
                worst = Some(Refused { entry: index, until_us, rung });
            }
        }
        worst
    }

    /// The time from which everything fits at once: what fits now need not fit then, since a known element may be forgotten by that time (P10).
    ///
    /// Each turn goes to a later time at which an element was forgotten, a part settled or a bucket drained; there are finitely many, nearly always none.
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
        for entry in request.entries.iter().filter(|entry| entry.charged) {
            let tracked = match (&self.plan.limits[usize::from(entry.limit)].store, entry.ask) {
                (Store::Rate(buckets), Ask::Rate { at, amount }) => {
                    buckets.charge(region, &at, entry.answer.spot, at_us, amount)
                }
                (Store::FanOut { fan_out, .. }, Ask::FanOut { visit }) => {
                    fan_out.charge(region, &request.visits[visit as usize].arrival, &entry.answer, at_us)
                }
                _ => true,
            };
            if !tracked {
                region.count_untracked(entry.limit.into());
            }
        }
        for Visit { memory, arrival, .. } in &request.visits {
            arrival.charge(&self.plan.memories[*memory].known, region, at_us);
        }
    }

    /// Whom it concerns and what to tell them: text again, after the lock.
    fn explain(&self, identities: &Identities<'_>, request: &Request, reads_us: i64, refused: Refused) -> Refusal {
        let entry = &request.entries[refused.entry];
        let planned = &self.plan.limits[usize::from(entry.limit)];
        let part = refused.rung.zip(planned.limit.distinct()).and_then(|(rung, distinct)| {
            identities.ladder(distinct, planned.limit.per[0]).get(usize::from(rung)).map(|part| (*part).to_owned())
        });
        let key = part.unwrap_or_else(|| {
            let values = planned.limit.per.iter().map(|&identity| {
                let values = identities.values(identity);
                values.get(entry.nth as usize).or(values.first()).map(Value::to_string).unwrap_or_default()
            });
            values.collect::<Vec<_>>().join(" + ")
        });
        let wait_us =
            (refused.until_us < u64::MAX).then(|| refused.until_us.saturating_add_signed(reads_us.saturating_neg()));
        let (limit, identity) = (planned.name.clone(), planned.per_name.clone());
        Refusal { limit, identity, key, wait_us, kind: planned.reply }
    }
}
