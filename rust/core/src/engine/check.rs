//! The order of things, and what is done under the lock.
//!
//! ```text
//!  identities ← text;  request ← keys;  prefetch;  lock
//!    now ← engine time
//!    consult every entry: reads only
//!    all fit?  charge every entry, then let every memory know     else no limit is charged, and those that block note the key
//!    what passed and what did not is observed
//!  unlock;  answer
//! ```

use std::cell::RefCell;
use std::sync::Arc;

use super::Engine;
use super::aim::Aim;
use super::asker::Asker;
use super::charge::Charge;
use super::keys::Keys;
use super::marked::{answer_to_blocked, blocked_by};
use super::open::{max_open, no_permit};
use super::request::{Ask, Entry, Request, Visit};
use super::set::LimitSet;
use super::settled::{By, Refused, Settled};
use super::terms::Terms;
use crate::decision::{Decision, Refusal};
use crate::envelope::Envelope;
use crate::identity::{Identities, Identity, Value};
use crate::plan::{Planned, Store};
use crate::policy::unstated::{BLOCKED, MAX_OPEN};
use crate::policy::{Action, Mode, Stage, Stages, WhenFull};
use crate::region::{Now, Region};
use crate::reply::{Answer, Reply};
use crate::store::Verdict;
use crate::store::fan_out::Consulted;
use crate::store::permits::Token;
use crate::time::Ticks;

impl Engine {
    /// Consults every limit of `stages` and, when all agree, charges every one of them. `None`: every stage of which something is known.
    pub fn check(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> Decision {
        self.decide(envelope, stages, now, Aim::Charge).0
    }

    /// The same, but charges nothing and moves no time.
    pub fn peek(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> Decision {
        self.decide(envelope, stages, now, Aim::Look).0
    }

    /// The identities that `stages` need.
    pub fn read<'e>(&self, envelope: &Envelope<'e>, stages: Stages) -> Identities<'e> {
        Identities::read(envelope, &self.suffixes, self.plan.sources(stages))
    }

    /// Fills in what the limits of `stages` ask, and sends for every line: all that is done before the lock.
    ///
    /// It takes an empty request and does not return one: a request is large, and is not to be moved.
    pub fn ask(&self, request: &mut Request, identities: &Identities<'_>, size: Option<u64>, stages: Stages) {
        self.ask_on(request, identities, size, stages, None);
    }

    /// The same, on terms of a dialogue's.
    #[inline]
    pub(super) fn ask_on(
        &self,
        request: &mut Request,
        identities: &Identities<'_>,
        size: Option<u64>,
        stages: Stages,
        terms: Option<&Terms>,
    ) {
        let (plan, secret, address) = (&self.plan, &self.secret, self.shared.address());
        let mut keys = Keys::default();
        keys.add(plan, secret, identities, terms.map_or(stages, |terms| stages.union(terms.in_flight)));
        let hashed = keys.hashed();
        Asker { plan, secret, address, identities, size, stages, terms, keys: hashed, compared: RefCell::default() }
            .ask(request);
        request.seen.extend_from_slice(hashed.seen);
        if let Some(terms) = terms {
            if terms.late {
                request.known = request.seen.to_vec();
            }
            self.see_once(&mut request.seen, stages, terms);
        }
    }

    /// Takes the lock, consults, and when everything fits does what the aim is. Calls nothing but stores while it holds the lock.
    pub fn settle(&self, request: &mut Request, now: Now, aim: Aim) -> (Settled, Option<Token>) {
        self.settle_after(&[], request, now, aim)
    }

    /// The same, once what `over` hold is let go of, in one step.
    #[inline]
    pub(super) fn settle_after(
        &self,
        over: &[Token],
        request: &mut Request,
        now: Now,
        aim: Aim,
    ) -> (Settled, Option<Token>) {
        let (mut region, epoch) = self.shared.at(now, aim != Aim::Look);
        for token in over {
            self.plan.capacity.release(&mut region, token);
        }
        let at_us = epoch.last_us;
        for Visit { memory, arrival, .. } in &mut request.visits {
            arrival.consult(&self.plan.memories[*memory].known, &region, at_us);
        }
        let is_exempt = request.marks.is_some() && self.find_marked(request, &region, at_us);
        let (mut refused, mut shadow) = (None, LimitSet::default());
        let mut listed = false;
        if !is_exempt {
            (refused, shadow) = self.consult(request, &region, at_us, at_us);
            refused = refused.map(|refused| self.look_ahead(request, &region, refused, at_us));
            listed = request.marks.is_some() && region.is_shadow() && self.shadow_marked(request, at_us, &mut shadow);
        }
        refused = self.consult_capacity(request, &region, at_us, refused, &mut shadow);
        let has_permit = aim != Aim::Hold || self.plan.capacity.permits.has_room(&region);
        let crowded = !has_permit && region.is_shadow();
        if !has_permit && !crowded {
            refused = Some(no_permit(refused, at_us));
        }
        let charged = aim != Aim::Look && refused.is_none() && !is_exempt;
        let mut token = None;
        if aim != Aim::Look {
            if charged {
                self.charge(request, &mut region, at_us, shadow);
            }
            if refused.is_none() {
                if aim == Aim::Hold && !crowded {
                    token = Some(self.plan.capacity.hold(&mut region, &request.wanted));
                }
            } else if request.blocks {
                self.block_refused(request, &mut region, at_us);
            }
            self.plan.observer.note(&mut region, &request.seen, refused.is_none(), at_us);
            if request.is_hot {
                self.leave_out_the_named(request, &region);
            }
            if request.marks.is_some() {
                self.forget_marks(&region, at_us);
            }
        }
        (Settled { reads_us: epoch.reads(now), at_us, refused, charged, shadow, crowded, listed }, token)
    }

    /// A check with its `aim`; and what it charged, for who may want it back. A token when it holds.
    pub fn decide(
        &self,
        envelope: &Envelope<'_>,
        stages: Option<Stages>,
        now: Now,
        aim: Aim,
    ) -> (Decision, Charge, Option<Token>) {
        self.decide_and(envelope, stages, now, aim, |_, _| ())
    }

    /// The same, and shows what was read of the envelope to who counts beside: to read it again takes a fifth of a check.
    #[inline(always)]
    pub fn decide_and(
        &self,
        envelope: &Envelope<'_>,
        stages: Option<Stages>,
        now: Now,
        aim: Aim,
        see: impl FnOnce(&Decision, &Identities<'_>),
    ) -> (Decision, Charge, Option<Token>) {
        let stages = stages.unwrap_or_else(|| Stages::known_of(envelope));
        let marks = self.marks(stages);
        let mut identities = Identities::default();
        identities.fill(envelope, &self.suffixes, self.sources(stages, marks));
        let mut request = Request::default();
        self.ask(&mut request, &identities, envelope.size, stages);
        if let Some((marks, _)) = marks {
            self.ask_marked(&mut request, &identities, marks, stages);
        }
        let (settled, token) = self.settle(&mut request, now, aim);
        let (decision, charge) = self.answer(&identities, &request, &settled, stages, now, aim);
        see(&decision, &identities);
        (decision, charge, token)
    }

    /// What is told and noted of what was settled: after the lock.
    #[inline]
    pub(super) fn answer(
        &self,
        identities: &Identities<'_>,
        request: &Request,
        settled: &Settled,
        stages: Stages,
        now: Now,
        aim: Aim,
    ) -> (Decision, Charge) {
        if aim != Aim::Look && request.is_hot {
            self.name_the_hot(identities, request, settled.refused.is_none(), now);
        }
        let charge = if !settled.charged {
            Charge::default()
        } else {
            Charge {
                at_us: settled.at_us,
                stages,
                generation: self.generation(),
                stated: matches!(now, Now::Stated(_)),
                terms: None,
            }
        };
        let refusal = settled
            .refused
            .map(|refused| Box::new(self.refusal(identities, request, settled.reads_us, refused, stages)));
        let is_plain = settled.shadow.is_empty() && !settled.crowded && !settled.listed;
        let shadow = if is_plain { Box::default() } else { self.names(settled) };
        (Decision { refusal, shadow }, charge)
    }

    /// Of the limits that would have refused.
    #[cold]
    fn names(&self, settled: &Settled) -> Box<[Arc<str>]> {
        let shadow = settled.shadow.iter().map(|limit| self.plan.limits[usize::from(limit)].name.clone());
        let unstated = [(settled.crowded, MAX_OPEN), (settled.listed, BLOCKED)];
        let unstated = unstated.into_iter().filter(|(would, _)| *would).map(|(_, name)| name.into());
        unstated.chain(shadow).collect()
    }

    /// Asks every entry, keeps the answers, and returns the longest wait, of equals the first in file order; and who would refuse if it might.
    ///
    /// At `now_us` a limit that blocks is told to last as long as its block will.
    pub(super) fn consult(
        &self,
        request: &mut Request,
        region: &Region,
        at_us: u64,
        now_us: u64,
    ) -> (Option<Refused>, LimitSet) {
        let Request { entries, visits, elements, promised, is_hot, blocks, marks, seen, known, .. } = request;
        let marks = marks.as_ref().filter(|_| !region.is_shadow());
        let mut worst = marks.and_then(|marks| self.consult_marked(marks, at_us));
        let mut shadow = LimitSet::default();
        promised.clear();
        for (index, entry) in entries.iter_mut().enumerate() {
            let planned = &self.plan.limits[usize::from(entry.limit)];
            entry.answer = match (&planned.store, entry.ask) {
                (Store::Rate(buckets), Ask::Rate { at, amount }) => {
                    let now = buckets.ticks_at(at_us);
                    let (verdict, spot) = buckets.consult(region, &at, now, amount, promised);
                    Consulted { verdict, spot, at: now, new: 0, rung: None }
                }
                (Store::FanOut { fan_out, .. }, Ask::FanOut { visit }) => {
                    fan_out.consult(region, &visits[visit as usize].arrival, at_us, promised)
                }
                (Store::Distinct { buckets, .. }, Ask::Distinct { at, first, count }) => {
                    let elements = Ask::of(elements, first, count);
                    let (verdict, spot) = buckets.consult(region, &at, at_us, elements, promised);
                    Consulted { verdict, spot, at: Ticks::default(), new: 0, rung: None }
                }
                _ => continue,
            };
            let Consulted { verdict, spot, rung, .. } = entry.answer;
            if spot.is_some_and(|spot| spot.hot) || verdict != Verdict::Fits {
                // A fresh key that finds no room has done nothing itself.
                let without_room = planned.limit.when_full == WhenFull::Refuse && spot.is_none();
                entry.hot |= verdict == Verdict::Never || !without_room;
                *is_hot |= entry.hot;
            }
            if verdict == Verdict::Fits {
                continue;
            }
            if planned.limit.mode == Mode::Shadow || region.is_shadow() {
                shadow.insert(planned.of);
                continue;
            }
            let mut until_us = verdict.earliest_us(at_us);
            let is_blocked = || marks.is_some_and(|marks| marks.has_blocked(planned.of, entry.nth));
            let is_new = || at_us == now_us && !is_blocked();
            if let Some(blocking) = planned.blocking.filter(|_| is_new()) {
                (entry.blocks, *blocks) = (true, true);
                if self.can_block(blocking, planned, Request::values(seen, known), entry.nth, region, at_us) {
                    until_us = until_us.max(at_us.saturating_add(blocking.us));
                }
            }
            if worst.is_none_or(|worst| until_us > worst.until_us) {
                worst = Some(Refused { by: By::Entry(index), until_us, rung });
            }
        }
        (worst, shadow)
    }

    /// The time from which everything fits at once: what fits now need not fit then, since a known element may be forgotten by that time (P10).
    ///
    /// Each turn goes to a later time at which an element was forgotten, a part settled or a bucket drained; there are finitely many, nearly always none.
    fn look_ahead(&self, request: &mut Request, region: &Region, mut refused: Refused, now_us: u64) -> Refused {
        while refused.until_us < u64::MAX {
            match self.consult(request, region, refused.until_us, now_us) {
                (Some(later), _) => refused = later,
                (None, _) => break,
            }
        }
        refused
    }

    /// Charges every limit but those of `shadow`, and makes known what any of the others has admitted.
    fn charge(&self, request: &Request, region: &mut Region, at_us: u64, shadow: LimitSet) {
        let admits =
            |entry: &Entry| shadow.is_empty() || !shadow.contains(self.plan.limits[usize::from(entry.limit)].of);
        for entry in request.entries.iter().filter(|entry| entry.charged && admits(entry)) {
            let tracked = match (&self.plan.limits[usize::from(entry.limit)].store, entry.ask) {
                (Store::Rate(buckets), Ask::Rate { at, amount }) => {
                    buckets.charge(region, &at, entry.answer.spot, entry.answer.at, amount)
                }
                (Store::FanOut { fan_out, .. }, Ask::FanOut { visit }) => {
                    fan_out.charge(region, &request.visits[visit as usize].arrival, &entry.answer)
                }
                (Store::Distinct { buckets, .. }, Ask::Distinct { at, first, count }) => {
                    let elements = Ask::of(&request.elements, first, count);
                    buckets.charge(region, &at, entry.answer.spot, at_us, elements)
                }
                _ => true,
            };
            if !tracked {
                region.count_untracked(entry.limit.into());
            }
        }
        for (index, Visit { memory, arrival, .. }) in request.visits.iter().enumerate() {
            let over_it = |entry: &&Entry| matches!(entry.ask, Ask::FanOut { visit } if visit as usize == index);
            if shadow.is_empty() || request.entries.iter().filter(over_it).any(admits) {
                arrival.charge(&self.plan.memories[*memory].known, region, at_us);
            }
        }
    }

    /// Whom it concerns and what to tell them: text again, after the lock.
    fn refusal(
        &self,
        identities: &Identities<'_>,
        request: &Request,
        reads_us: i64,
        refused: Refused,
        stages: Stages,
    ) -> Refusal {
        let wait_us =
            (refused.until_us < u64::MAX).then(|| refused.until_us.saturating_add_signed(reads_us.saturating_neg()));
        let (limit, nth) = match refused.by {
            By::Entry(entry) => (request.entries[entry].limit, request.entries[entry].nth),
            By::Cap(limit) => (limit, 0),
            By::MaxOpen => return max_open(wait_us, stages),
            By::Blocked(place) => blocked_by(request, place),
            By::Listed => return self.explain_listed(identities, request, wait_us, stages),
        };
        let planned = &self.plan.limits[usize::from(limit)];
        let is_blocked = matches!(refused.by, By::Blocked(_));
        let (kind, answer) = if is_blocked { answer_to_blocked(planned, stages) } else { answer(planned, stages) };
        let key = key_text(identities, planned, nth, refused.rung);
        let (limit, identity) = (planned.name.clone(), planned.per_name.clone());
        Refusal { limit, identity, key, wait_us, kind, answer }
    }
}

/// The key as people read it: the part of the name whose bucket was asked, else the values of the limit's identities.
pub(super) fn key_text(identities: &Identities<'_>, planned: &Planned, nth: u32, rung: Option<u8>) -> String {
    let part = rung.zip(planned.limit.distinct()).and_then(|(rung, distinct)| {
        identities.ladder(distinct, planned.limit.per[0]).get(usize::from(rung)).map(|part| (*part).to_owned())
    });
    part.unwrap_or_else(|| {
        let text = |&identity: &Identity| {
            let values = identities.values(identity);
            values.get(nth as usize).or(values.first()).map(Value::to_string).unwrap_or_default()
        };
        match &planned.limit.per[..] {
            [identity] => text(identity),
            per => per.iter().map(text).collect::<Vec<_>>().join(" + "),
        }
    })
}

/// What a limit that refuses answers: of bytes at MAIL already, where a SIZE is declared.
fn answer(planned: &Planned, stages: Stages) -> (Reply, Answer) {
    let stage = if stages.contains(planned.stage) { planned.stage } else { Stage::Mail };
    let rejects_at = (planned.limit.action == Action::Reject).then_some(stage);
    (planned.reply, Answer { rejects_at, template: planned.template.clone() })
}
