//! A check in words: the identities of an envelope and, for every limit, the key, how full it is and what it answers.
//!
//! It takes the path of a check, charges nothing, and reads everything under one lock. How full a key is comes from how
//! much more would fit, so it means the same for every kind of limit. It takes as long as some checks of the same
//! envelope, and of many recipients it lists only a part: people read the answer.

use std::collections::HashMap;
use std::sync::Arc;

use super::request::{Found, Request, Room};
use super::transaction::{Outcome, Purpose};
use super::{Engine, Live, access::lets_pass, finish::key_text_of, operators::Blocked};
use crate::identity::parse_value::each_scope;
use crate::identity::{Identities, Identity, Part, SenderKind, Source, Sources, Tag, Trust, Value, Values};
use crate::plan::{PlannedIdentity, PlannedLimit, looks_at};
use crate::policy::Verified;
use crate::policy::joined_name;
use crate::policy::{Choice, Count, FieldValue, Fraction, Limit, MAX_LIMITS, Mode, Report, Rule, Share, Stage, Stages};
use crate::region::{Now, Region};
use crate::store::access_list::{AccessAction, AccessEntry};
use crate::{decision::Decision, envelope::Envelope, store::Verdict, store::request::Answers};

/// What a check of one envelope would look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The identities that are present.
    pub identities: Vec<ExplainedIdentity>,
    /// The limits in file order, one entry for each key, up to a hundred of each limit.
    pub limits: Vec<Explained>,
    /// How many keys were left out of `limits` and of `covering`, because there were too many.
    pub left_out: usize,
    /// The operators' entries and the blocks by limits that cover it. They take precedence over the limits.
    pub covering: Vec<Blocked>,
    /// The decision of the check.
    pub decision: Decision,
}

/// An identity that is present.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainedIdentity {
    /// The identity.
    pub identity: Identity,
    /// Its values, up to a hundred.
    pub values: Vec<String>,
    /// How many values were left out.
    pub left_out: usize,
    /// How far it is proven; `None` if nobody can prove or claim it.
    pub trust: Option<Trust>,
}

/// One limit and one key.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// Its name.
    pub limit: String,
    /// When it runs.
    pub stage: Stage,
    /// What it counts per.
    pub identity: String,
    /// What it counts: `messages`, `new sender.host`.
    pub counts: String,
    /// Its numbers: `600/minute, burst 6000`.
    pub allows: String,
    /// The value that has these numbers by a quota of its own.
    pub quota_of: Option<String>,
    /// The state of the key, or why there is none.
    pub found: LimitState,
}

/// How a limit applies to an envelope.
#[derive(Clone, Debug, PartialEq)]
pub enum LimitState {
    /// It is not asked yet, and why. It may refuse later.
    NotChecked {
        /// The fields of an envelope that it needs and that are not known; none when it runs at another stage.
        missing: Vec<&'static str>,
        /// For people.
        reason: String,
    },
    /// It counts nothing of this envelope, and why.
    DoesNotApply(String),
    /// A key.
    Key {
        /// As text.
        key: String,
        /// How far it is proven; `None` for a key that nobody can prove or claim.
        trust: Option<Trust>,
        /// How much of [`LimitState::Key::at_once`] is used up.
        used: u64,
        /// As much as fits at once.
        at_once: u64,
        /// How much this envelope adds; of a fan-out, the elements that are not known.
        adds: u64,
        /// Microseconds until it fits; `None`: never.
        wait_us: Option<u64>,
        /// Whether the limit is in shadow mode, and lets pass what it would refuse.
        is_shadow: bool,
    },
}

/// Most keys that an explanation lists of a limit, most values of an identity, and most entries that cover it. A
/// message may have any number of recipients: nobody reads all of them, and the lock must not be held for so many.
const MOST_ROWS: usize = 100;

/// An explanation in the making.
struct Explaining<'e, 'i> {
    engine: &'e Engine,
    envelope: &'i Envelope<'i>,
    /// The stages that are asked.
    stages: Stages,
    /// Whether the header of the message was read.
    is_header_read: bool,
    identities: Identities<'i>,
    room: Box<Room>,
    rows: Rows,
    outcome: Outcome,
}

impl Live {
    /// [`Engine::explain`], without holding up a change of policy. `hold` runs a section that takes a lock: a binding
    /// whose locks must not be held without its interpreter takes the interpreter there.
    pub fn explain(
        &self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now, hold: &dyn Fn(&mut dyn FnMut()),
    ) -> Explanation {
        // Once more only for each change of policy that came between.
        loop {
            let mut engine = None;
            hold(&mut || engine = Some(Arc::clone(&self.engine())));
            let Some(engine) = engine else { continue };
            let mut explaining = Explaining::new(&engine, envelope, stages);
            let mut is_current = false;
            hold(&mut || {
                let current = self.engine();
                is_current = Arc::ptr_eq(&current, &engine);
                if is_current {
                    explaining.consult(now);
                }
            });
            if is_current {
                return explaining.finish(now);
            }
        }
    }
}

impl Engine {
    /// What a check of `envelope` would look at and answer. It is read under one lock, so no part contradicts another.
    pub fn explain(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> Explanation {
        let mut explaining = Explaining::new(self, envelope, stages);
        explaining.consult(now);
        explaining.finish(now)
    }
}

impl<'e, 'i> Explaining<'e, 'i> {
    /// Reads the envelope, and takes all room that the lock needs.
    fn new(engine: &'e Engine, envelope: &'i Envelope<'i>, stages: Option<Stages>) -> Self {
        // Every message has a From, so the header was read when one is known.
        let has_author = envelope.headers.is_some_and(|headers| !headers.from.is_empty());
        let is_header_read = stages.map_or(has_author, |stages| stages.contains(Stage::Data));
        let stages = stages.unwrap_or_else(|| Stages::known_of(envelope));

        // Prepared as for a permit: then the in-flight limits are asked even while nothing is in flight.
        let mut room = Room::kept();
        let mut identities = Identities::default();
        engine.prepare_check(&mut identities, &mut room, envelope, stages, Purpose::Admit, None, Sources::ALL);
        let Request { stores, access, .. } = &room.request;
        let most = stores.entries.len().min(MOST_ROWS * engine.plan.stated) + stores.in_flight.held.places().count();
        let rows = Rows {
            measured: Vec::with_capacity(most),
            entries: Vec::with_capacity(access.as_ref().map_or(0, |query| query.scopes.len())),
            is_shadow: false,
        };
        let outcome = Outcome::default();
        Self { engine, envelope, stages, is_header_read, identities, room, rows, outcome }
    }

    /// Takes the lock and consults everything.
    fn consult(&mut self, now: Now) {
        let (engine, rows, Room { request, found }) = (self.engine, &mut self.rows, &mut *self.room);
        let inspect = |region: &Region, at_us: u64, found: &mut Found| {
            engine.measure(request, found, region, at_us, rows);
        };
        self.outcome = engine.transact_releasing(request, found, now, Purpose::Peek, &[], inspect);
    }

    /// Puts into words what was found.
    fn finish(self, now: Now) -> Explanation {
        let Self { engine, envelope, stages, is_header_read, identities, room, rows, outcome } = self;
        let (decision, _) = engine.finish(&identities, &room, &outcome, stages, now);
        // Each identity once: of recipients, reading the values takes as long as there are recipients.
        let read = |planned: &PlannedIdentity| (planned.identity, identities.values(planned.identity));
        let values: HashMap<Identity, Values<'_>> = engine.plan.identities.iter().map(read).collect();
        let of = |identity: Identity| values.get(&identity).map(|all| &all[..]).unwrap_or_default();
        let key_text =
            |planned: &PlannedLimit, nth: u32, part: Option<u8>| key_text_of(&identities, planned, nth, part, of);

        let mut covering = engine.covering(&identities, &room, &rows, outcome.at_us, &key_text);
        let mut left_out = room.request.stores.entries.len() - rows.measured.iter().filter(|row| row.is_entry).count();
        left_out += covering.len().saturating_sub(MOST_ROWS);
        covering.truncate(MOST_ROWS);
        let mut limits = Vec::new();
        for (place, planned) in engine.plan.limits[..engine.plan.stated].iter().enumerate() {
            let own = rows.measured.iter().filter(|row| usize::from(engine.plan.limits[row.limit].of) == place);
            let before = limits.len();
            limits.extend(own.map(|row| engine.explained(&identities, row, &outcome, rows.is_shadow, &key_text)));
            if limits.len() == before {
                limits.push(described(planned, unasked(&identities, planned, envelope, stages, is_header_read)));
            }
        }
        let named = engine.named_identities(&identities).into_iter().map(|(identity, mut values)| {
            let left_out = values.len().saturating_sub(MOST_ROWS);
            values.truncate(MOST_ROWS);
            ExplainedIdentity { identity, values, left_out, trust: trust(&identities, identity) }
        });
        let named = named.collect();
        room.keep();
        Explanation { identities: named, limits, left_out, covering, decision }
    }
}

impl Engine {
    /// Measures how full every key is, and reads the access list: under the lock, into room that was taken before it.
    fn measure(&self, request: &Request, found: &mut Found, region: &Region, at_us: u64, rows: &mut Rows) {
        let stores = &request.stores;
        if let (Some(access), Some(query)) = (self.plan.access, &request.access) {
            rows.entries.extend(query.scopes.iter().map(|key| access.list.get(region, *key, at_us)));
        }
        rows.is_shadow = region.is_shadow();
        found.stores.fill(stores);
        let Answers { entries: answers, sightings, reservations, rows: held } = &mut found.stores;
        reservations.clear();
        let mut listed = [0; MAX_LIMITS];
        for (entry, answer) in stores.entries.iter().zip(answers) {
            let planned = &self.plan.limits[usize::from(entry.limit)];
            let listed = &mut listed[usize::from(planned.of)];
            if *listed == MOST_ROWS {
                continue;
            }
            *listed += 1;
            if !found.is_consulted {
                planned.store.consult(region, stores, entry, (at_us, true), sightings, reservations, answer);
            }
            let burst = planned.limit.rule.rate_and_burst().map_or(0, |(_, burst)| burst);
            let (used, adds) = planned.store.usage(region, stores, entry, (sightings, answer), at_us, burst);
            // A check asks whether there is room for one more report, and adds none.
            let adds = if planned.limit.count == Count::Reports { 0 } else { adds };
            let (limit, nth, part, verdict) = (entry.limit.into(), entry.nth, answer.part, answer.verdict);
            let at_once = burst;
            rows.measured.push(Measured { limit, nth, part, used, at_once, adds, verdict, is_entry: true });
        }
        let (capacity, wanted) = (&self.plan.in_flight, &stores.in_flight);
        for place in wanted.held.places() {
            let Some(limit) = self.plan.capped_by[place] else { continue };
            let verdict = capacity.consult(region, wanted, held, place, at_us).verdict;
            let used = capacity.used(region, wanted, held, place);
            let at_once = capacity.limits[place].cap;
            let adds = if capacity.limits[place].bytes { wanted.held.bytes } else { 1 };
            let (limit, nth, part) = (limit.into(), 0, None);
            rows.measured.push(Measured { limit, nth, part, used, at_once, adds, verdict, is_entry: false });
        }
    }

    /// The entries that cover the envelope, in the order of the scopes and without those that allow only what is
    /// proven; then the blocks of limits, in file order.
    fn covering(
        &self, identities: &Identities<'_>, room: &Room, rows: &Rows, now_us: u64, key_text: &KeyText<'_>,
    ) -> Vec<Blocked> {
        let Some(query) = &room.request.access else { return Vec::new() };
        let mut texts = Vec::with_capacity(query.scopes.len());
        each_scope(identities, &query.kinds, |scope| texts.push(scope.to_string()));
        let entries = rows.entries.iter().zip(texts).filter_map(|(entry, value)| {
            let entry = (*entry)?;
            let applies = entry.action == AccessAction::Block || lets_pass(entry, room.request.sender_trust);
            applies.then(|| Blocked::by_operator(&entry, value, now_us))
        });
        let blocks = query.blocks.iter().zip(&room.found.access.blocks).filter_map(|(block, until_us)| {
            let planned = &self.plan.limits[usize::from(block.limit)];
            let until_us = (*until_us)?;
            Some(Blocked::by_limit(planned, Some(key_text(planned, block.nth, None)), until_us, now_us))
        });
        entries.chain(blocks).collect()
    }

    /// One key of a limit, or of a quota of it.
    fn explained(
        &self, identities: &Identities<'_>, measured: &Measured, outcome: &Outcome, is_shadow: bool,
        key_text: &KeyText<'_>,
    ) -> Explained {
        let &Measured { limit, nth, part, used, at_once, adds, verdict, is_entry: _ } = measured;
        let planned = &self.plan.limits[limit];
        let stated = &self.plan.limits[usize::from(planned.of)];
        let has_trust = looked_at(&planned.limit).any(|identity| trust(identities, identity).is_some());
        let trust = has_trust.then(|| planned.trust_source.trust(identities.trust(Identity::SenderHost)));
        let wait_us = match verdict {
            Verdict::Fits => Some(0),
            Verdict::From(us) => Some(us.saturating_sub(outcome.at_us)),
            Verdict::Never => None,
        };
        let is_shadow = planned.limit.mode == Mode::Shadow || is_shadow;
        let key = key_text(planned, nth, part);
        let found = LimitState::Key { key, trust, used, at_once, adds, wait_us, is_shadow };
        let quota_of = self.plan.quota(limit).and_then(|_| self.quota_value(identities, stated, nth));
        Explained { allows: numbers(&planned.limit), quota_of, ..described(stated, found) }
    }
}

impl Engine {
    /// The value of the `nth` key of a limit that has a quota.
    fn quota_value(&self, identities: &Identities<'_>, stated: &PlannedLimit, nth: u32) -> Option<String> {
        let values = stated.limit.per.iter().filter_map(|identity| {
            let values = identities.values(*identity);
            let value = values.get(nth as usize).or(values.first())?;
            Some((stated.quotas.rank(self.secret.key(*identity, value))?, value.to_string()))
        });
        values.min().map(|(_, value)| value)
    }
}

/// How far an identity is proven; `None` for one that nobody can prove or claim.
fn trust(identities: &Identities<'_>, identity: Identity) -> Option<Trust> {
    match identity.source() {
        Source::Nothing | Source::Rcpt => None,
        Source::ClientIp if identities.value(identity) == Some(Value::Name(Part::Tag(Tag::Unknown))) => None,
        _ => Some(identities.trust(identity)),
    }
}

/// What was measured of one key.
struct Measured {
    /// Place in the plan.
    limit: usize,
    nth: u32,
    part: Option<u8>,
    used: u64,
    at_once: u64,
    adds: u64,
    verdict: Verdict,
    /// Whether it is an entry of the request; else it is an in-flight limit.
    is_entry: bool,
}

/// The key of a limit as text: of the values with this number, or the part of the name whose bucket was asked.
type KeyText<'k> = dyn Fn(&PlannedLimit, u32, Option<u8>) -> String + 'k;

/// What is read under the lock.
struct Rows {
    measured: Vec<Measured>,
    /// The entry of each scope.
    entries: Vec<Option<AccessEntry>>,
    /// Whether all limits were in shadow mode.
    is_shadow: bool,
}

fn described(planned: &PlannedLimit, found: LimitState) -> Explained {
    let limit = &planned.limit;
    let counts = match limit.rule {
        Rule::Rate { .. } if limit.count == Count::Reports => {
            let reports: Vec<&str> = limit.reports.iter().map(Report::name).collect();
            format!("reports of {}", reports.join(", "))
        }
        Rule::Rate { .. } => limit.count.name().to_owned(),
        Rule::FanOut { distinct, .. } => format!("new {distinct}"),
        Rule::Distinct { distinct, .. } => format!("different {distinct}"),
        Rule::InFlight { .. } => format!("{} at once", limit.count.name()),
    };
    let (stage, identity) = (planned.stage, planned.per_name.to_string());
    Explained { limit: limit.name.clone(), stage, identity, counts, allows: numbers(limit), quota_of: None, found }
}

/// The numbers of a limit, as a policy writes them.
fn numbers(limit: &Limit) -> String {
    let fields = limit.to_fields();
    let text = |name| match fields.iter().find(|(field, _)| *field == name) {
        Some((_, FieldValue::Text(text))) => Some(text.clone()),
        other => other.map(|(_, value)| value.to_string()),
    };
    let mut numbers = text("rate").or_else(|| text("in_flight")).unwrap_or_default();
    if let Some(burst) = text("burst") {
        numbers += &format!(", burst {burst}");
    }
    if let Some(settle) = text("settle") {
        numbers += &format!(
            "; what lies below a subdomain that came back after {settle} counts under that, with the same numbers"
        );
    }
    if let Some(readmit) = text("readmit") {
        numbers += &format!("; what was refused passes when it comes back {readmit} after the first refusal");
    }
    if let Some(warm_up) = text("warm_up") {
        numbers += &format!("; in the first {warm_up} after the start it only learns");
    }
    let Rule::InFlight { share, reserve, .. } = &limit.rule else { return numbers };
    for Share { per, of_free: Fraction { numerator, denominator } } in share {
        numbers += &format!("; one {} at most {numerator}/{denominator} of what is free", joined_name(per));
    }
    if !share.is_empty() {
        numbers += &match limit.count {
            Count::Bytes => {
                let first = text("first").unwrap_or_else(|| format!("{} bytes", limit.rule.first(limit.count)));
                format!(", but always one message of {first}")
            }
            Count::Connections => ", but always one connection".to_owned(),
            _ => ", but always one message".to_owned(),
        };
    }
    if *reserve > 0 {
        numbers += &format!("; {} kept for that", text("reserve").unwrap_or_default());
    }
    numbers
}

/// Why a limit is not asked.
fn unasked(
    identities: &Identities<'_>, planned: &PlannedLimit, envelope: &Envelope<'_>, stages: Stages, is_header_read: bool,
) -> LimitState {
    let (limit, knows_sender) = (&planned.limit, envelope.mail_from.is_some());
    let mut missing = Vec::new();
    let mut need = |field| {
        if !missing.contains(&field) {
            missing.push(field);
        }
    };
    if planned.stage >= Stage::Mail && !knows_sender {
        need("mail_from");
    } else if !looks_at(limit.verified, identities.sender_kind()) {
        if limit.verified == Verified::Unproven && identities.sender_kind() == SenderKind::Unchecked {
            return LimitState::DoesNotApply("only senders that SPF was checked for, and there is no verdict".into());
        }
        let (counted, sender) = (limit.verified.name(), identities.trust(Identity::SenderHost).name());
        return LimitState::DoesNotApply(format!("only {counted} senders, and this one is {sender}"));
    }
    if limit.count == Count::Recipients && envelope.rcpt_to.is_empty() {
        need("rcpt_to");
    }
    for identity in looked_at(limit).filter(|identity| identities.values(*identity).is_empty()) {
        // The field that may still come, or why there is none once its place in the dialogue is over.
        let (field, why, is_over) = match identity.source() {
            Source::Nothing | Source::ClientIp => ("client_ip", "", false),
            Source::ClientName => ("client_name", "the client has no confirmed name", true),
            Source::Helo => ("helo", "", false),
            Source::AuthUser => ("mail_from", "the client has not logged in", knows_sender),
            Source::Sender => ("mail_from", "the sender is the null sender", knows_sender),
            Source::Rcpt => ("rcpt_to", "", false),
            Source::From => ("header_from", "the message has no From", is_header_read),
            Source::ReplyTo => ("reply_to", "the message has no Reply-To", is_header_read),
            Source::Reply => ("header_from", "the message has neither Reply-To nor From", is_header_read),
            Source::ListId => ("list_id", "the message has no List-Id", is_header_read),
            Source::Dkim => ("dkim", "the message has no verified signature", is_header_read),
        };
        if is_over {
            return LimitState::DoesNotApply(why.into());
        }
        need(field);
    }
    if limit.count == Count::Bytes && envelope.size.is_none() {
        need("size");
    }
    if !missing.is_empty() {
        return LimitState::NotChecked { reason: format!("not known: {}", missing.join(", ")), missing };
    }
    if !planned.asked_at.intersects(stages) {
        return LimitState::NotChecked { missing, reason: format!("runs at {}", planned.stage.name()) };
    }
    LimitState::DoesNotApply(if limit.count == Count::Bytes {
        "a size of 0 takes nothing".into()
    } else {
        nothing_new(identities, limit).unwrap_or_else(|| "it counts nothing of this message".into())
    })
}

/// The reason when the only element of a fan-out is the value that it counts under, or that value's organisation, which
/// are never new.
fn nothing_new(identities: &Identities<'_>, limit: &Limit) -> Option<String> {
    let distinct = limit.distinct()?;
    if limit.per.iter().any(|per| per.is_header_mailbox()) && distinct == Identity::SenderOrg(0) {
        return Some("the sender is of the mailbox's own organisation, or there is none".into());
    }
    let element = identities.elements(distinct).first().map(Value::to_string)?;
    let mut values = limit.per.iter().flat_map(|per| identities.values(*per));
    let is_value = values.any(|value| value.to_string() == element);
    is_value.then(|| format!("the {distinct} is {element} itself, not a name under it"))
}

/// What a limit counts per, and what it counts. The identities that share what is free are left out, because they may
/// be absent.
fn looked_at(limit: &Limit) -> impl Iterator<Item = Identity> {
    limit.per.iter().copied().chain(limit.distinct())
}
