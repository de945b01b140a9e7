//! One SMTP connection: which limits it has still to ask, what it was charged, and what it holds.
//!
//! **Idea.** A step is a check of one stage, on what is known by then. The session only adds what makes each limit run
//! once:
//!
//! ```text
//!  connection    asked before the first step, and again when the client's name comes late: then only what could not
//!                be asked before
//!  HELO          once a name; the connection's slot under a name is that of the name it goes by
//!  MAIL          begins a transaction, and ends one that was open; its refusal is also that of the RCPTs and the data
//!                behind it (RFC 2920)
//!  RCPT          only recipients that the transaction has not got; a message counts once for each of their hosts
//!  data          ends the transaction, whatever the answer: the step that consults the actual size releases its slots
//! ```
//!
//! It stores no text: the caller keeps the envelope and hands over all of it at each step. It stores keys: of at most
//! [`NAMES`] HELO names, and, until the transaction ends, of the accepted recipients.
//!
//! **Invariant.** What it holds was admitted in a step of its own. [`Session::close`] releases all of it; after that
//! nothing is held or charged. A client can bring about any order of steps, so any order has an answer.

use std::collections::HashSet;

use smallvec::SmallVec;

use super::Engine;
use super::refund::Receipt;
use super::request::{KeptRoom, Request, StageFilter};
use super::transaction::Purpose;
use crate::decision::{Decision, Refusal};
use crate::envelope::Envelope;
use crate::identity::{Identities, Identity, Source, Sources};
use crate::key::Key;
use crate::plan::{LimitSet, PlannedIdentity, PlannedLimit};
use crate::policy::reserved::OUT_OF_ORDER;
use crate::policy::{Stage, Stages};
use crate::region::Now;
use crate::reply::Reply;
use crate::store::in_flight::Token;

/// HELO names that are remembered; one more is charged each time that it comes.
const NAMES: usize = 8;

/// Stages at which something can be held: connect, HELO and MAIL.
const HOLDING: usize = Stage::Mail as usize + 1;

/// An SMTP connection.
#[derive(Debug)]
pub struct Session {
    /// Of the policy whose limits are meant.
    generation: Option<u64>,
    is_open: bool,
    in_transaction: bool,
    /// Stages that ran in this connection and transaction.
    done: Stages,
    /// Stages to be asked before the next step: connect at first, and those that were done before the client's name was
    /// known.
    owed: Stages,
    /// Limits that were asked, by stage.
    asked: [LimitSet; Stage::ALL.len()],
    /// By stage.
    held: [SmallVec<[Token; 1]>; HOLDING],
    /// HELO names; the last one said is `name`.
    names: SmallVec<[Key; 1]>,
    name: Option<Key>,
    /// MAIL's refusal: it stands until there is another MAIL, or none.
    refused: Option<Decision>,
    declared: Option<u64>,
    recipients: HashSet<Key>,
    hosts: HashSet<Key>,
}

/// What a step comes to.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// The answer.
    pub decision: Decision,
    /// What it charged, of the envelope with `fresh` as its recipients where it is a RCPT.
    pub receipt: Receipt,
    /// Of the recipients that were asked about those that the transaction has not got, each once, by their place.
    pub fresh: SmallVec<[usize; 1]>,
}

impl Step {
    fn without_receipt(decision: Decision) -> Self {
        Self { decision, receipt: Receipt::default(), fresh: SmallVec::new() }
    }

    /// This step, with the shadow refusals of the step that was owed before it.
    fn after(mut self, owed: Self, engine: &Engine) -> Self {
        if !owed.decision.shadow.is_empty() {
            let mut all = [owed.decision.shadow, self.decision.shadow].concat();
            all.sort_by(|a, b| (engine.place_of(a), a).cmp(&(engine.place_of(b), b)));
            all.dedup();
            self.decision.shadow = all.into();
        }
        self
    }

    fn nothing() -> Self {
        Self::without_receipt(Decision { refusal: None, shadow: Box::default() })
    }
}

impl Default for Session {
    fn default() -> Self {
        let owed = Stages::default().with(Stage::Connect);
        Self {
            generation: None,
            is_open: true,
            in_transaction: false,
            done: Stages::default(),
            owed,
            asked: Default::default(),
            held: Default::default(),
            names: SmallVec::new(),
            name: None,
            refused: None,
            declared: None,
            recipients: HashSet::new(),
            hosts: HashSet::new(),
        }
    }
}

impl Session {
    /// The connection is there: `known` tells the client. Again: nothing, unless the client's name has come since.
    pub fn connect(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Step {
        self.follow(engine);
        if !self.is_open {
            return Step::without_receipt(out_of_order(Stage::Connect));
        }
        let is_first = !self.done.contains(Stage::Connect);
        match self.catch_up(engine, known, now) {
            Ok(Step { receipt, decision, .. }) if is_first => Step { receipt, ..Step::without_receipt(decision) },
            Ok(Step { decision, .. }) => Step::without_receipt(decision),
            Err(refused) => Step::without_receipt(refused),
        }
    }

    /// HELO or EHLO, whose argument `known` tells. It ends a transaction, as RSET does (RFC 5321 §4.1.4).
    pub fn helo(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Step {
        self.follow(engine);
        self.reset(engine);
        if !self.is_open {
            return Step::without_receipt(out_of_order(Stage::Helo));
        }
        let name = engine.key_of(known, Identity::HeloHost);
        if self.done.contains(Stage::Helo) && self.name == name {
            return self.connect(engine, known, now);
        }
        let is_known = name.is_some_and(|name| self.names.contains(&name));
        (self.done, self.owed) = (self.done.without(Stage::Helo), self.owed.without(Stage::Helo));
        let owed = match self.catch_up(engine, known, now) {
            Ok(owed) => owed,
            Err(refused) => return Step::without_receipt(refused),
        };
        // Charged once a name; what a name holds is held anew.
        let without = if is_known { engine.rates_at(Stage::Helo) } else { LimitSet::default() };
        let step = self.run(engine, known, Stage::Helo, now, StageFilter { without, ..StageFilter::default() });
        if step.decision.allowed() {
            self.name = name;
            if let Some(name) = name.filter(|_| !is_known && self.names.len() < NAMES) {
                self.names.push(name);
            }
        }
        step.after(owed, engine)
    }

    /// MAIL: a transaction begins when it is admitted, and one that was open ends. `known` tells the sender and the
    /// declared SIZE.
    pub fn mail(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Step {
        self.follow(engine);
        self.reset(engine);
        if !self.is_open {
            return Step::without_receipt(out_of_order(Stage::Mail));
        }
        let step = match self.catch_up(engine, known, now) {
            Ok(owed) => self.run(engine, known, Stage::Mail, now, StageFilter::default()).after(owed, engine),
            Err(refused) => Step::without_receipt(refused),
        };
        self.in_transaction = step.decision.allowed();
        if self.in_transaction {
            self.declared = known.size;
        } else {
            self.refused = Some(step.decision.clone());
        }
        step
    }

    /// RCPT, of one recipient or of several: all of `asked` or none. `known` tells those that were accepted before when
    /// [`Session::is_behind`].
    pub fn rcpt(&mut self, engine: &Engine, known: &Envelope<'_>, asked: &[&[u8]], now: Now) -> Step {
        self.follow(engine);
        if !self.in_transaction {
            return Step::without_receipt(self.standing(Stage::Rcpt));
        }
        let owed = match self.catch_up(engine, known, now) {
            Ok(owed) => owed,
            Err(refused) => return Step::without_receipt(refused),
        };
        let mut keys: SmallVec<[Key; 1]> = SmallVec::new();
        let mut fresh: SmallVec<[usize; 1]> = SmallVec::new();
        let mut seen = HashSet::new();
        for (index, recipient) in asked.iter().enumerate() {
            let one = Envelope { rcpt_to: &[recipient], ..Envelope::default() };
            let Some(key) = engine.key_of(&one, Identity::RcptAddress) else { continue };
            if !self.recipients.contains(&key) && seen.insert(key) {
                keys.push(key);
                fresh.push(index);
            }
        }
        if fresh.is_empty() {
            return Step::nothing().after(owed, engine);
        }
        let recipients: SmallVec<[&[u8]; 4]> = fresh.iter().map(|&index| asked[index]).collect();
        let envelope = Envelope { rcpt_to: &recipients, ..*known };
        let hosts = if engine.counts_hosts_once() { engine.keys_of(&envelope, Identity::RcptHost) } else { Vec::new() };
        let was_asked = (0..).zip(&hosts).filter(|(_, host)| self.hosts.contains(host)).map(|(nth, _)| nth).collect();
        let step =
            self.run(engine, &envelope, Stage::Rcpt, now, StageFilter { hosts: was_asked, ..StageFilter::default() });
        let step = step.after(owed, engine);
        if !step.decision.allowed() {
            return step;
        }
        self.recipients.extend(keys);
        self.hosts.extend(hosts);
        Step { fresh, ..step }
    }

    /// The end of the data: `known` tells the headers, the accepted recipients and the actual size. The transaction is
    /// over, whatever the answer.
    pub fn data(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Step {
        self.follow(engine);
        if !self.in_transaction {
            return Step::without_receipt(self.standing(Stage::Data));
        }
        let step = match self.catch_up(engine, known, now) {
            Ok(owed) => {
                // The step releases what was held for the declared size, and consults the actual size.
                let is_declared = known.size == self.declared;
                let in_flight = if is_declared { Stages::default() } else { Stages::default().with(Stage::Mail) };
                self.run(engine, known, Stage::Data, now, StageFilter { in_flight, ..StageFilter::default() })
                    .after(owed, engine)
            }
            Err(refused) => Step::without_receipt(refused),
        };
        self.reset(engine);
        step
    }

    /// RSET: releases what the transaction holds. What it was charged stays charged.
    pub fn reset(&mut self, engine: &Engine) {
        self.release_stage(engine, Stage::Mail);
        self.in_transaction = false;
        self.refused = None;
        self.declared = None;
        self.recipients = HashSet::new();
        self.hosts = HashSet::new();
        for stage in [Stage::Mail, Stage::Rcpt, Stage::Data] {
            self.done = self.done.without(stage);
            self.owed = self.owed.without(stage);
            self.asked[stage as usize] = LimitSet::default();
        }
    }

    /// QUIT, or a lost connection: releases everything. Later calls do nothing.
    pub fn close(&mut self, engine: &Engine) {
        self.reset(engine);
        self.release_stage(engine, Stage::Helo);
        self.release_stage(engine, Stage::Connect);
        self.is_open = false;
    }

    /// The client's name has become known: limits that could not be asked without it are asked with the next step.
    pub fn name_came(&mut self) {
        self.owed = self.owed.union(self.done);
    }

    /// Whether something is to be asked again of what was known before.
    pub fn is_behind(&self) -> bool {
        !self.owed.is_empty()
    }

    /// For people.
    pub fn state(&self) -> &'static str {
        match (self.is_open, self.in_transaction) {
            (false, _) => "closed",
            (true, false) => "open",
            (true, true) => "in a transaction",
        }
    }

    /// When the policy was changed since the last step: limits of stages that have passed are for the next transaction,
    /// or the next connection.
    fn follow(&mut self, engine: &Engine) {
        let generation = engine.generation();
        if self.generation.replace(generation).is_some_and(|before| before != generation) {
            for stage in self.done.iter() {
                self.asked[stage as usize] = LimitSet::ALL;
            }
        }
    }

    /// Why nothing can go on: MAIL was refused, or there was none.
    fn standing(&self, stage: Stage) -> Decision {
        self.refused.clone().unwrap_or_else(|| out_of_order(stage))
    }

    /// Asks what is owed, stage by stage; what was charged at connect, and who would have refused anything of it.
    fn catch_up(&mut self, engine: &Engine, known: &Envelope<'_>, now: Now) -> Result<Step, Decision> {
        let mut all = Step::nothing();
        let owed = self.owed;
        for stage in owed.iter() {
            let late = self.done.contains(stage);
            let without = if late { self.asked[stage as usize] } else { LimitSet::default() };
            let step =
                self.run(engine, known, stage, now, StageFilter { without, is_late: late, ..StageFilter::default() });
            if !step.decision.allowed() {
                return Err(step.decision);
            }
            self.owed = self.owed.without(stage);
            if stage == Stage::Connect {
                all.receipt = step.receipt.clone();
            }
            all = Step { receipt: std::mem::take(&mut all.receipt), ..step.after(all, engine) };
        }
        Ok(all)
    }

    /// Checks a stage. What it holds replaces what the stage held before; a late check holds something in addition.
    fn run(&mut self, engine: &Engine, envelope: &Envelope<'_>, stage: Stage, now: Now, filter: StageFilter) -> Step {
        let stages = Stages::default().with(stage);
        let released = match stage {
            _ if filter.is_late => SmallVec::new(),
            Stage::Data => std::mem::take(&mut self.held[Stage::Mail as usize]),
            Stage::Rcpt => SmallVec::new(),
            _ => std::mem::take(&mut self.held[stage as usize]),
        };
        let is_slot = matches!(stage, Stage::Connect | Stage::Mail) && !filter.is_late;
        let may_hold = stage <= Stage::Mail;
        let (mut identities, mut kept) = (Identities::default(), KeptRoom::default());
        let room = kept.get_mut();
        // Prepared as for a permit: then the in-flight limits are asked even while nothing is in flight.
        let (filtered, more) = (Some(&filter), Sources::default());
        engine.prepare_check(&mut identities, room, envelope, stages, Purpose::Admit, filtered, more);
        let holds = is_slot || may_hold && room.request.stores.in_flight.held.limits != 0;
        let purpose = if holds { Purpose::Admit } else { Purpose::Check };
        let (request, found) = (&room.request, &mut room.found);
        let mut outcome = engine.transact_releasing(request, found, now, purpose, &released, |_, _, _| ());
        let token = outcome.token.take();
        let (decision, mut receipt) = engine.finish(&identities, room, &outcome, stages, now);
        if let Some(token) = token {
            self.held[stage as usize].push(token);
        }
        if decision.allowed() {
            self.done = self.done.with(stage);
            let is_first = !filter.is_late && stage != Stage::Rcpt;
            let before = if is_first { LimitSet::default() } else { self.asked[stage as usize] };
            self.asked[stage as usize] = before.union(filter.without).union(engine.asked_by(&room.request));
            receipt.filter = (filter != StageFilter::default()).then(|| Box::new(filter));
        }
        Step { decision, receipt, fresh: SmallVec::new() }
    }

    fn release_stage(&mut self, engine: &Engine, stage: Stage) {
        for token in std::mem::take(&mut self.held[stage as usize]) {
            engine.release(token);
        }
    }
}

impl Engine {
    /// The key of the one value of an identity, of no class.
    fn key_of(&self, envelope: &Envelope<'_>, identity: Identity) -> Option<Key> {
        self.keys_of(envelope, identity).into_iter().next()
    }

    /// The place of a limit in the policy; `None` for a refusal that is not of the policy, which comes first.
    fn place_of(&self, limit: &str) -> Option<usize> {
        self.plan.limits.iter().position(|planned| &*planned.name == limit)
    }

    fn keys_of(&self, envelope: &Envelope<'_>, identity: Identity) -> Vec<Key> {
        let wanted = Sources::default().with(identity.source());
        let identities = Identities::read(envelope, &self.suffixes, wanted);
        identities.values(identity).iter().map(|value| self.secret.key(identity, value)).collect()
    }
}

/// The answer to a step for which there is no transaction, or no connection.
fn out_of_order(stage: Stage) -> Decision {
    let refusal = Refusal::unstated(OUT_OF_ORDER, None, stage, Reply::OutOfOrder);
    Decision { refusal: Some(Box::new(refusal)), shadow: Box::default() }
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
