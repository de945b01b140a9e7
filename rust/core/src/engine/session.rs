//! One SMTP connection: the limits that it has yet to ask, what it was charged, and what it holds. Also the receipt of
//! a charge, and `refund`.
//!
//! **Idea.** A step is a check of one stage, with the part of the envelope that is known by then. The session only
//! makes sure that each limit is asked once:
//!
//! ```text
//!  connection    asked before the first step, and again when the client's name comes late: then only the limits that
//!                could not be asked before
//!  HELO          asked once for each name; the connection is held under its latest name
//!  MAIL          begins a transaction, and ends an open one; a refusal of MAIL also refuses the RCPTs and the data
//!                that a client sends without waiting for the reply (RFC 2920)
//!  RCPT          asked only about recipients that are new in the transaction; a message counts once for each host
//!  header        asks the limits on what the header says, before the size is known; a refusal ends the transaction
//!  data          asks what is left, and ends the transaction, whatever the answer: the step that consults the actual
//!                size releases its permits
//! ```
//!
//! **Repeats.** A server that is asked the same question twice passes on a name of the transaction, such as Postfix's
//! `instance`. A step that was answered for that name before returns the same answer and charges nothing
//! ([`Session::repeated`]). Recipients need no name: an accepted one is never charged again. A refused step charged
//! nothing, so it is simply asked again.
//!
//! **Without permits.** A server that does not learn when a client is gone must hold nothing for it
//! ([`Session::without_permits`]): no in-flight limit is asked.
//!
//! A session stores no text: the caller keeps the envelope and passes all of it to each step. It stores keys: of at
//! most [`MOST_HELO_NAMES`] HELO names, and, until the transaction ends, of the accepted recipients.
//!
//! **Invariant.** A session holds only what one of its steps was admitted with. [`Session::close`] releases all of it,
//! and after that nothing is held or charged. A client can send commands in any order, so each order has an answer.
//!
//! **Refund.** A receipt states when the check was and which stages it ran. The caller still has the envelope when it
//! wants the charge back, so the keys are worked out again, in the same way as for the check.
//!
//! ```text
//!  refund, for each key that was charged:  its bucket − max(0, price − ticks since)
//!                                          or its pane − price, while that pane counts
//! ```
//!
//! A refund never returns too much. Of two buckets that differ by one charge of p ticks, the fuller one is ahead by p
//! at first and by p − e or more after e ticks: the gap closes only while the emptier one is empty. So what is left
//! stays at least what it would be without the charge, whatever was charged or refunded in between. A pane loses what
//! was counted in it. A sketch is not lowered, for its cells belong to many keys; elements that were seen stay seen,
//! and their charge stays with them.

use std::collections::HashSet;
use std::sync::Arc;

use smallvec::SmallVec;

use super::request::{Request, Room, StageFilter};
use super::{Engine, transaction::Purpose};
use crate::decision::{Decision, Refusal, Reply};
use crate::diagnosis::samples::SampledMessage;
use crate::identity::{Identities, Identity, Source, Sources};
use crate::plan::{LimitSet, PlannedIdentity, PlannedLimit};
use crate::policy::{Stage, Stages, reserved::OUT_OF_ORDER};
use crate::region::{Candidates, Now};
use crate::store::in_flight::Token;
use crate::{envelope::Envelope, key::Key};

/// HELO names that are remembered. Any further name is charged each time that it is used.
const MOST_HELO_NAMES: usize = 8;

/// Stages at which something can be held: connect, HELO and MAIL.
const HOLDING: usize = Stage::Mail as usize + 1;

/// An SMTP connection.
#[derive(Debug, Default)]
pub struct Session {
    /// The generation of the policy whose limits are in `asked`.
    generation: Option<u64>,
    /// Whether it holds nothing in flight.
    is_without_permits: bool,
    is_closed: bool,
    in_transaction: bool,
    /// Stages that ran in this connection and transaction.
    done: Stages,
    /// Stages to be asked again before the next step, because the client's name has become known since they ran.
    again: Stages,
    /// Limits that were asked, by stage.
    asked: [LimitSet; Stage::ALL.len()],
    /// The permits held, by the stage that took them.
    held: [SmallVec<[Token; 1]>; HOLDING],
    /// HELO names; the latest one is `helo_name`.
    helo_names: SmallVec<[Key; 1]>,
    helo_name: Option<Key>,
    /// The refusal of MAIL, which holds until the next MAIL or the end of the transaction.
    refused: Option<Decision>,
    declared: Option<u64>,
    recipients: HashSet<Key>,
    hosts: HashSet<Key>,
    /// Elements that a fan-out charged in this transaction: for its recipients they still count as new.
    fresh: SmallVec<[Candidates; 2]>,
    /// The message of the transaction, for samples.
    message: Option<SampledMessage>,
    /// Engine time of the last check.
    at_us: u64,
    /// The name of the open transaction, if the server gave it one.
    transaction_name: Option<Key>,
    /// The name of the named transaction that ended last, and the answer to its data.
    ended: Option<(Key, Decision)>,
}

/// What a step returns. The default is the answer to a step that asks nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The answer.
    pub decision: Decision,
    /// The receipt of its charge. For a RCPT, the charge is that of an envelope with `new_recipients` as its
    /// recipients.
    pub receipt: Receipt,
    /// The places of the recipients of a RCPT that were new in the transaction, each once.
    pub new_recipients: SmallVec<[usize; 1]>,
}

/// What `refund` needs in addition to the envelope. The default is the receipt of a check that charged nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Engine time, µs.
    pub(super) at_us: u64,
    /// The stages that ran; none when nothing was charged.
    pub(super) stages: Stages,
    /// The generation of the policy.
    pub(super) generation: u64,
    /// Whether the caller stated the time.
    pub(super) is_stated: bool,
    /// What a step of a session left out.
    pub(super) filter: Option<Box<StageFilter>>,
}

impl Step {
    fn without_receipt(decision: Decision) -> Self {
        Self { decision, ..Self::default() }
    }

    /// The answer to a step for which there is no transaction, or no connection.
    fn out_of_order(engine: &Engine, stage: Stage) -> Self {
        engine.count_out_of_order();
        let refusal = Refusal::unstated(OUT_OF_ORDER, None, stage, Reply::OutOfOrder);
        Self::without_receipt(Decision { refusal: Some(Box::new(refusal)), ..Decision::default() })
    }

    /// This step, with the shadow refusals of the step that had to run before it.
    fn after(mut self, before: Self, engine: &Engine) -> Self {
        if !before.decision.shadow.is_empty() {
            let mut all = [before.decision.shadow, self.decision.shadow].concat();
            // A refusal that is not of the policy has no place there, and comes first.
            let place = |limit: &Arc<str>| engine.plan.limits.iter().position(|planned| planned.name == *limit);
            all.sort_by(|a, b| (place(a), a).cmp(&(place(b), b)));
            all.dedup();
            self.decision.shadow = all.into();
        }
        self
    }
}

impl Session {
    /// A session that holds nothing in flight. In-flight limits are not asked.
    pub fn without_permits() -> Self {
        Self { is_without_permits: true, ..Self::default() }
    }

    /// The answer to MAIL or the data of this transaction, if it was given before and still holds.
    pub fn repeated(&self, engine: &Engine, stage: Stage, transaction: &[u8]) -> Option<Step> {
        let key = engine.secret.text(transaction);
        match (&self.ended, stage) {
            (Some((ended, answer)), Stage::Data) if *ended == key => Some(Step::without_receipt(answer.clone())),
            (Some((ended, _)), Stage::Mail) if *ended == key => Some(Step::default()),
            (_, Stage::Mail) if self.in_transaction && self.transaction_name == Some(key) => Some(Step::default()),
            _ => None,
        }
    }

    /// Whether this is the name of another transaction than the one that MAIL began or tried to begin.
    pub fn is_other(&self, engine: &Engine, transaction: &[u8]) -> bool {
        self.transaction_name != Some(engine.secret.text(transaction))
    }

    /// Names the transaction that the last MAIL began or tried to begin.
    pub fn name_transaction(&mut self, engine: &Engine, transaction: &[u8]) {
        self.transaction_name = Some(engine.secret.text(transaction));
    }

    /// The connection is open: `known` contains the client. A repeated call asks nothing, unless the client's name has
    /// become known since.
    pub fn connect(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Step {
        self.follow(engine);
        if self.is_closed {
            return Step::out_of_order(engine, Stage::Connect);
        }
        let is_first = !self.done.contains(Stage::Connect);
        let caught_up = self.catch_up(engine, known, now);
        if let Err(refused) = &caught_up {
            engine.sample(known, &refused.decision, self.at_us);
        }
        match caught_up {
            Ok(step) if is_first => step,
            Ok(step) | Err(step) => Step::without_receipt(step.decision),
        }
    }

    /// HELO or EHLO, whose argument `known` contains. It ends a transaction, as RSET does (RFC 5321 §4.1.4).
    pub fn helo(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Step {
        self.follow(engine);
        self.reset(engine);
        if self.is_closed {
            return Step::out_of_order(engine, Stage::Helo);
        }
        let name = engine.keys_of(known, Identity::HeloHost).first().copied();
        if self.done.contains(Stage::Helo) && self.helo_name == name {
            return self.connect(engine, known, now);
        }
        let is_known = name.is_some_and(|name| self.helo_names.contains(&name));
        (self.done, self.again) = (self.done.without(Stage::Helo), self.again.without(Stage::Helo));
        // A HELO name is charged once, but the connection is held under it each time.
        let applicable = &engine.plan.applicable;
        let rates = applicable.asked_at(Stages::default().with(Stage::Helo)).minus(applicable.in_flight);
        let without = if is_known { rates } else { LimitSet::default() };
        let filter = StageFilter { without, ..StageFilter::default() };
        let step = self.step(engine, known, Stage::Helo, now, filter);
        if step.decision.allowed() {
            self.helo_name = name;
            self.helo_names.extend(name.filter(|_| !is_known && self.helo_names.len() < MOST_HELO_NAMES));
        } else {
            engine.sample(known, &step.decision, self.at_us);
        }
        step
    }

    /// MAIL: a transaction begins when it is admitted, and one that was open ends. `known` contains the sender and the
    /// declared SIZE.
    pub fn mail(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Step {
        self.follow(engine);
        self.reset(engine);
        if self.is_closed {
            return Step::out_of_order(engine, Stage::Mail);
        }
        let step = self.step(engine, known, Stage::Mail, now, StageFilter::default());
        self.message = engine.sample(known, &step.decision, self.at_us);
        self.in_transaction = step.decision.allowed();
        if self.in_transaction {
            self.declared = known.size;
        } else {
            self.refused = Some(step.decision.clone());
        }
        step
    }

    /// RCPT, of one recipient or of several: all of `rcpt_to` or none. `known` contains the recipients that were
    /// accepted before when [`Session::is_behind`].
    pub fn rcpt(&mut self, engine: &Engine, known: &Envelope<'_>, rcpt_to: &[&[u8]], now: Now) -> Step {
        self.follow(engine);
        if !self.in_transaction {
            return self.without_transaction(engine, Stage::Rcpt);
        }
        let before = match self.catch_up(engine, known, now) {
            Ok(before) => before,
            Err(refused) => {
                engine.sample_more(&mut self.message, known, &refused.decision);
                return refused;
            }
        };
        let (mut keys, mut new_recipients) = (HashSet::new(), SmallVec::<[usize; 1]>::new());
        for (index, recipient) in rcpt_to.iter().enumerate() {
            let one = Envelope { rcpt_to: &[recipient], ..Envelope::default() };
            let key = engine.keys_of(&one, Identity::RcptAddress).first().copied();
            if key.is_some_and(|key| !self.recipients.contains(&key) && keys.insert(key)) {
                new_recipients.push(index);
            }
        }
        if new_recipients.is_empty() {
            return Step::default().after(before, engine);
        }
        let recipients: SmallVec<[&[u8]; 4]> = new_recipients.iter().map(|&index| rcpt_to[index]).collect();
        let envelope = Envelope { rcpt_to: &recipients, ..*known };
        let counts_hosts = engine.plan.limits.iter().any(PlannedLimit::counts_hosts_once);
        let hosts = if counts_hosts { engine.keys_of(&envelope, Identity::RcptHost) } else { SmallVec::new() };
        let counted = (0..).zip(&hosts).filter(|(_, host)| self.hosts.contains(host)).map(|(nth, _)| nth).collect();
        let (fresh, accepted) = (self.fresh.clone(), self.recipients.len());
        let filter = StageFilter { hosts: counted, fresh, accepted, ..StageFilter::default() };
        let step = self.run(engine, &envelope, Stage::Rcpt, now, filter).after(before, engine);
        engine.sample_more(&mut self.message, &envelope, &step.decision);
        if !step.decision.allowed() {
            return step;
        }
        self.recipients.extend(keys);
        self.hosts.extend(hosts);
        Step { new_recipients, ..step }
    }

    /// The end of the header, which `known` contains. A refusal is that of the whole message, and ends the transaction.
    pub fn headers(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Step {
        self.follow(engine);
        if !self.in_transaction {
            return self.without_transaction(engine, Stage::Data);
        }
        // The size is not known yet.
        let known = Envelope { size: None, ..*known };
        let filter = StageFilter { keeps_permits: true, ..self.filter_of_data() };
        let step = self.step(engine, &known, Stage::Data, now, filter);
        engine.sample_more(&mut self.message, &known, &step.decision);
        if !step.decision.allowed() {
            let name = self.transaction_name;
            self.reset(engine);
            (self.refused, self.transaction_name) = (Some(step.decision.clone()), name);
        }
        step
    }

    /// The filter of the data step: it leaves out the limits that the header step asked.
    fn filter_of_data(&self) -> StageFilter {
        let is_counted = self.done.contains(Stage::Data);
        let without = if is_counted { self.asked[Stage::Data as usize] } else { LimitSet::default() };
        StageFilter { without, is_counted, ..StageFilter::default() }
    }

    /// The end of the data: `known` contains the headers, the accepted recipients and the actual size. The transaction
    /// is over, whatever the answer.
    pub fn data(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Step {
        let step = self.data_unless_refused(engine, known, now);
        if self.in_transaction {
            self.end(engine, step.decision.clone());
        }
        step
    }

    /// [`Session::data`], after which a refused transaction is not over: the step can be asked again, as any other.
    pub fn data_unless_refused(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Step {
        self.follow(engine);
        if !self.in_transaction {
            return self.without_transaction(engine, Stage::Data);
        }
        // The step releases what was held for the declared size, and consults the actual size.
        let is_declared = known.size == self.declared;
        let in_flight = if is_declared { Stages::default() } else { Stages::default().with(Stage::Mail) };
        let filter = StageFilter { in_flight, ..self.filter_of_data() };
        let step = self.step(engine, known, Stage::Data, now, filter);
        engine.sample_more(&mut self.message, known, &step.decision);
        if step.decision.allowed() {
            self.end(engine, step.decision.clone());
        }
        step
    }

    /// Ends the transaction with the answer to its data.
    fn end(&mut self, engine: &Engine, answer: Decision) {
        let name = self.transaction_name;
        self.reset(engine);
        if let Some(name) = name {
            self.ended = Some((name, answer));
        }
    }

    /// RSET: releases what the transaction holds. Its charges stay.
    pub fn reset(&mut self, engine: &Engine) {
        self.release_stage(engine, Stage::Mail);
        self.in_transaction = false;
        self.refused = None;
        self.message = None;
        self.transaction_name = None;
        self.declared = None;
        self.recipients = HashSet::new();
        self.hosts = HashSet::new();
        self.fresh = SmallVec::new();
        for stage in [Stage::Mail, Stage::Rcpt, Stage::Data] {
            self.done = self.done.without(stage);
            self.again = self.again.without(stage);
            self.asked[stage as usize] = LimitSet::default();
        }
    }

    /// QUIT, or a lost connection: releases everything. Later calls do nothing.
    pub fn close(&mut self, engine: &Engine) {
        self.reset(engine);
        self.release_stage(engine, Stage::Helo);
        self.release_stage(engine, Stage::Connect);
        self.is_closed = true;
    }

    /// Notes that the client's name has become known. The next step asks the limits that could not be asked without it.
    pub fn client_name_came(&mut self) {
        self.again = self.done;
    }

    /// Whether stages that have passed must be asked before the next step.
    pub fn is_behind(&self) -> bool {
        !self.owed().is_empty()
    }

    /// The stages to be asked before the next step: those to be asked again, and connect until it was admitted.
    fn owed(&self) -> Stages {
        if self.done.contains(Stage::Connect) { self.again } else { self.again.with(Stage::Connect) }
    }

    /// The state in words.
    pub fn state(&self) -> &'static str {
        match (self.is_closed, self.in_transaction) {
            (true, _) => "closed",
            (false, false) => "open",
            (false, true) => "in a transaction",
        }
    }

    /// Takes note of a change of policy. The limits of stages that have passed wait for the next transaction or
    /// connection.
    fn follow(&mut self, engine: &Engine) {
        let generation = engine.generation();
        if self.generation.replace(generation).is_some_and(|before| before != generation) {
            for stage in self.done.iter() {
                self.asked[stage as usize] = LimitSet::ALL;
            }
        }
    }

    /// The answer to a step without a transaction: the refusal of MAIL, or that there was no MAIL.
    fn without_transaction(&self, engine: &Engine, stage: Stage) -> Step {
        self.refused.clone().map_or_else(|| Step::out_of_order(engine, stage), Step::without_receipt)
    }

    /// Asks the stages that are owed. Returns the receipt of connect with the shadow refusals of all of them, or the
    /// first refusal.
    fn catch_up(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Result<Step, Step> {
        let mut all = Step::default();
        for stage in self.owed().iter() {
            let is_late = self.done.contains(stage);
            let without = if is_late { self.asked[stage as usize] } else { LimitSet::default() };
            let step = self.run(engine, known, stage, now, StageFilter { without, is_late, ..StageFilter::default() });
            if !step.decision.allowed() {
                return Err(step);
            }
            self.again = self.again.without(stage);
            let receipt = if stage == Stage::Connect { step.receipt.clone() } else { std::mem::take(&mut all.receipt) };
            all = Step { receipt, ..step.after(all, engine) };
        }
        Ok(all)
    }

    /// Asks the stages that are owed, then this one.
    fn step(&mut self, engine: &Engine, known: &Envelope<'_>, stage: Stage, now: Now, filter: StageFilter) -> Step {
        match self.catch_up(engine, known, now) {
            Ok(before) => self.run(engine, known, stage, now, filter).after(before, engine),
            Err(refused) => refused,
        }
    }

    /// Checks a stage. Its permit replaces the one that the stage held before; a late check takes one in addition.
    fn run(
        &mut self, engine: &Engine, envelope: &Envelope<'_>, stage: Stage, now: Now, mut filter: StageFilter,
    ) -> Step {
        let stages = Stages::default().with(stage);
        if self.is_without_permits {
            filter.without = filter.without.union(engine.plan.applicable.in_flight);
        }
        let replaces = !filter.is_late && !filter.keeps_permits && stage != Stage::Rcpt;
        let held = &mut self.held[stage.min(Stage::Mail) as usize];
        let released = if replaces { std::mem::take(held) } else { SmallVec::new() };
        let takes_permit = matches!(stage, Stage::Connect | Stage::Mail) && !filter.is_late && !self.is_without_permits;
        let mut room = Room::kept();
        let mut identities = Identities::default();
        // Prepared as for a permit: then the in-flight limits are asked even while nothing is in flight.
        let (filtered, more) = (Some(&filter), Sources::default());
        engine.prepare_check(&mut identities, &mut room, envelope, stages, Purpose::Admit, filtered, more);
        let holds = takes_permit || stage <= Stage::Mail && room.request.stores.in_flight.held.limits != 0;
        let purpose = if holds { Purpose::Admit } else { Purpose::Check };
        let (request, found) = (&room.request, &mut room.found);
        let mut outcome = engine.transact_releasing(request, found, now, purpose, &released, |_, _, _| ());
        let token = outcome.token.take();
        self.at_us = outcome.at_us;
        let (decision, mut receipt) = engine.finish(&identities, &room, &outcome, stages, now);
        if let Some(token) = token {
            self.held[stage as usize].push(token);
        }
        if decision.allowed() {
            self.done = self.done.with(stage);
            let before = if replaces { LimitSet::default() } else { self.asked[stage as usize] };
            let (plan, stores) = (&engine.plan, &room.request.stores);
            let counted = stores.entries.iter().map(|entry| plan.limits[usize::from(entry.limit)].of);
            let asked = counted.chain(stores.in_flight.held.places().filter_map(|place| plan.capped_by[place]));
            self.asked[stage as usize] = before.union(filter.without).union(asked.collect());
            if matches!(stage, Stage::Mail | Stage::Rcpt) {
                self.note_fresh(&room);
            }
            receipt.filter = (filter != StageFilter::default()).then(|| Box::new(filter));
        }
        room.keep();
        Step { decision, receipt, ..Step::default() }
    }

    /// Keeps the elements that were new at this step.
    fn note_fresh(&mut self, room: &Room) {
        let found = &room.found.stores.sightings.lookups;
        for (lookup, _) in room.request.stores.lookups.iter().zip(found).filter(|(_, found)| found.new > 0) {
            if !self.fresh.contains(&lookup.element) {
                self.fresh.push(lookup.element);
            }
        }
    }

    fn release_stage(&mut self, engine: &Engine, stage: Stage) {
        for token in std::mem::take(&mut self.held[stage as usize]) {
            engine.release(token);
        }
    }
}

impl Engine {
    /// Gives back what the check of `receipt` charged to rates for `envelope`, less what has drained since. Returns
    /// whether anything was left to give back.
    ///
    /// `shadow` names the limits that would have refused and so were not charged. The caller uses a receipt once.
    pub fn refund(&self, envelope: &Envelope<'_>, receipt: &Receipt, shadow: &[Arc<str>], now: Now) -> bool {
        let identities = self.read(envelope, receipt.stages);
        let mut request = Request::default();
        let filter = receipt.filter.as_deref();
        self.prepare_filtered(&mut request, &identities, envelope.size, receipt.stages, Purpose::Check, filter);
        let in_shadow = self.plan.limits.iter().filter(|planned| shadow.contains(&planned.name));
        let uncharged: LimitSet = in_shadow.map(|planned| planned.of).collect();
        // A filter names limits by their places, and a change of policy can give a place to another limit.
        let is_same_policy = receipt.generation == self.generation();
        let charges_as_then = |since| is_same_policy || filter.is_none() && since <= receipt.generation;
        // A stated time has no relation to the clock, so the refund is as late as the latest stated time.
        let now = if receipt.is_stated && matches!(now, Now::Clock(_)) { Now::Stated(i64::MIN) } else { now };
        let (mut region, epoch) = self.shared.at(now, true);
        let mut has_given = false;
        for entry in request.stores.entries.iter().filter(|entry| entry.is_charged) {
            let planned = &self.plan.limits[usize::from(entry.limit)];
            if !uncharged.contains(planned.of) && charges_as_then(planned.since) {
                has_given |= planned.store.refund(&mut region, entry, receipt.at_us, epoch.last_us);
            }
        }
        has_given
    }

    /// The keys of the values of an identity, without trust.
    fn keys_of(&self, envelope: &Envelope<'_>, identity: Identity) -> SmallVec<[Key; 1]> {
        let identities = Identities::read(envelope, &self.suffixes, Sources::default().with(identity.source()));
        identities.values(identity).iter().map(|value| self.secret.key(identity, value)).collect()
    }

    /// Leaves out of statistics what an earlier step has counted already.
    pub(super) fn count_once(&self, request: &mut Request, stages: Stages, filter: &StageFilter) {
        let is_new = |needed: &PlannedIdentity| {
            let is_again = filter.is_late || filter.is_counted;
            needed.at.intersects(stages) && (!is_again || needed.identity.source() == Source::ClientName)
        };
        let values = request.keys.values.iter().copied();
        request.counted = Some(values.filter(|value| is_new(&self.plan.identities[value.place])).collect());
    }
}
