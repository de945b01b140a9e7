//! What a check would look at, in words: every identity, and for every limit the key, how full it is and what it says.
//!
//! It goes the way of a check, charges nothing, and reads everything under one lock. A level is found by asking how
//! much more would fit, so it means the same for every kind of limit. Slow, some microseconds a limit: for people.

use super::Engine;
use super::access::{entry_identity, lets_pass};
use super::finish::key_text;
use super::operators::Blocked;
use super::request::{Found, KeptRoom, Request, Room};
use super::transaction::Purpose;
use crate::decision::Decision;
use crate::envelope::Envelope;
use crate::identity::{Identities, Identity, Part, Source, Sources, Tag, Trust, Value, Values};
use crate::plan::PlannedLimit;
use crate::policy::{Count, FieldValue, Limit, Mode, Rule, Stage, Stages, Verified};
use crate::region::{Now, Region};
use crate::store::Verdict;
use crate::store::access_list::{AccessAction, AccessEntry};
use crate::store::request::Answers;

/// What a check of one envelope would look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The identities that are present: name, values, and how far they are proven, of those that can be.
    pub identities: Vec<(Identity, Vec<String>, Option<Trust>)>,
    /// The limits in file order, one entry for each key.
    pub limits: Vec<Explained>,
    /// How many keys were left out of `limits`, because there were too many.
    pub left_out: usize,
    /// What operators have said of it and limits have blocked of it: it goes before what the limits say.
    pub covering: Vec<Blocked>,
    /// What the check would come to.
    pub decision: Decision,
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
    /// What it found.
    pub found: LimitState,
}

/// What a limit has to do with an envelope.
#[derive(Clone, Debug, PartialEq)]
pub enum LimitState {
    /// It is not asked yet, and why. Then it may refuse.
    NotChecked {
        /// What it needs and is not known, as fields of an envelope; nothing when it runs at another stage.
        missing: Vec<&'static str>,
        /// For people.
        reason: String,
    },
    /// It has nothing to say of this envelope, and why.
    DoesNotApply(String),
    /// A key.
    Key {
        /// As text.
        key: String,
        /// How far it is proven; nothing of a key that has no class.
        trust: Option<Trust>,
        /// How much of [`LimitState::Key::at_once`] is used up.
        used: u64,
        /// As much as fits at once.
        at_once: u64,
        /// How much this envelope adds; of a fan-out, the elements that are not known.
        adds: u64,
        /// Microseconds until it fits; `None`: never.
        wait_us: Option<u64>,
        /// Whether it only says so.
        is_shadow: bool,
    },
}

/// Most keys that an explanation measures: the lock is held no longer for a message to more mailboxes.
const MOST_ROWS: usize = 1_000;

impl Engine {
    /// What a check of `envelope` would look at, and say: read under one lock, so that no part contradicts another.
    pub fn explain(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> Explanation {
        // Every message has a From: where one is known, the header was read.
        let has_author = envelope.headers.is_some_and(|headers| !headers.from.is_empty());
        let is_header_read = stages.map_or(has_author, |stages| stages.contains(Stage::Data));
        let stages = stages.unwrap_or_else(|| Stages::known_of(envelope));

        // Prepared as for a permit: then the in-flight limits are asked even while nothing is in flight.
        let (mut identities, mut kept) = (Identities::default(), KeptRoom::default());
        let room = kept.get_mut();
        self.prepare_check(&mut identities, room, envelope, stages, Purpose::Admit, None, Sources::ALL);
        let Room { request, found } = room;
        let mut rows = Rows::with_room_for(request);
        let inspect =
            |region: &Region, at_us: u64, found: &mut Found| self.measure(request, found, region, at_us, &mut rows);
        let outcome = self.transact_releasing(request, found, now, Purpose::Peek, &[], inspect);
        let decision = self.finish(&identities, room, &outcome, stages, now).0;

        let (identities, request) = (&identities, &room.request);
        let covering = self.covering(identities, request, &rows, outcome.at_us);
        let mut limits = Vec::new();
        for (place, planned) in self.plan.limits[..self.plan.stated].iter().enumerate() {
            let own = rows.measured.iter().filter(|row| usize::from(self.plan.limits[row.limit].of) == place);
            let before = limits.len();
            limits.extend(own.map(|row| self.explained(identities, planned, row, outcome.at_us)));
            if limits.len() == before {
                let found = unasked(identities, planned, envelope, stages, is_header_read);
                limits.push(Explained { found, ..described(planned) });
            }
        }
        let left_out = request.stores.entries.len().saturating_sub(MOST_ROWS);
        let named = self.named_identities(identities);
        let trust = |identity| trust(identities, identity);
        let identities = named.into_iter().map(|(identity, values)| (identity, values, trust(identity))).collect();
        Explanation { identities, limits, left_out, covering, decision }
    }

    /// Measures how full every key is, and reads the access list: under the lock, into room that was taken before it.
    fn measure(&self, request: &Request, found: &mut Found, region: &Region, at_us: u64, rows: &mut Rows) {
        let stores = &request.stores;
        if let Some(query) = &request.access {
            self.read_access(query, region, at_us, &mut rows.entries, &mut rows.blocks);
        }
        found.stores.fill(stores);
        let Answers { entries: answers, sightings, reservations, rows: held } = &mut found.stores;
        reservations.clear();
        for (entry, answer) in stores.entries.iter().zip(answers).take(rows.room) {
            let planned = &self.plan.limits[usize::from(entry.limit)];
            if !found.is_consulted {
                planned.store.consult(region, stores, entry, (at_us, true), sightings, reservations, answer);
            }
            let burst = planned.limit.rule.rate_and_burst().map_or(0, |(_, burst)| burst);
            let (used, adds) = planned.store.usage(region, stores, entry, (sightings, answer), at_us, burst);
            let (limit, nth, part, verdict) = (entry.limit.into(), entry.nth, answer.part, answer.verdict);
            rows.measured.push(Measured { limit, nth, part, used, at_once: burst, adds, verdict });
        }
        let (capacity, wanted) = (&self.plan.in_flight, &stores.in_flight);
        for place in wanted.limits() {
            let Some(limit) = self.plan.capped_by[place] else { continue };
            let verdict = capacity.consult(region, wanted, held, place, at_us);
            let used = capacity.used(region, wanted, held, place);
            let at_once = capacity.limits[place].cap;
            let adds = if capacity.limits[place].bytes { wanted.held.bytes } else { 1 };
            rows.measured.push(Measured { limit: limit.into(), nth: 0, part: None, used, at_once, adds, verdict });
        }
    }

    /// The entries that cover the envelope, in the order of the scopes and without those that allow only what is
    /// proven; then the blocks of limits, in file order.
    fn covering(&self, identities: &Identities<'_>, request: &Request, rows: &Rows, now_us: u64) -> Vec<Blocked> {
        let Some(query) = &request.access else { return Vec::new() };
        let left = |until_us: u64| (until_us < u64::MAX).then(|| until_us - now_us);
        let texts = self.scope_texts(identities, query);
        let entries = rows.entries.iter().zip(texts).filter_map(|(entry, value)| {
            let applies =
                |entry: &AccessEntry| entry.action == AccessAction::Block || lets_pass(*entry, query.sender_trust);
            let entry = entry.filter(applies)?;
            Some(Blocked {
                identity: entry_identity(&entry).to_string(),
                value: Some(value),
                left_us: left(entry.until_us),
                by: None,
                action: entry.action,
            })
        });
        let blocks = query.blocks.iter().zip(&rows.blocks).filter_map(|(block, until_us)| {
            let planned = &self.plan.limits[usize::from(block.limit)];
            Some(Blocked {
                identity: planned.per_name.to_string(),
                value: Some(key_text(identities, planned, block.nth, None)),
                left_us: left((*until_us)?),
                by: Some(planned.name.to_string()),
                action: AccessAction::Block,
            })
        });
        entries.chain(blocks).collect()
    }

    fn explained(
        &self,
        identities: &Identities<'_>,
        stated: &PlannedLimit,
        measured: &Measured,
        at_us: u64,
    ) -> Explained {
        let &Measured { limit, nth, part, used, at_once, adds, verdict } = measured;
        let planned = &self.plan.limits[limit];
        let has_trust = looked_at(&planned.limit).any(|identity| trust(identities, identity).is_some());
        let trust = has_trust.then(|| planned.trust_source.trust(identities.trust(Identity::SenderHost)));
        let wait_us = match verdict {
            Verdict::Fits => Some(0),
            Verdict::From(us) => Some(us.saturating_sub(at_us)),
            Verdict::Never => None,
        };
        let is_shadow = planned.limit.mode == Mode::Shadow || self.mode() == Mode::Shadow;
        let key = key_text(identities, planned, nth, part);
        let found = LimitState::Key { key, trust, used, at_once, adds, wait_us, is_shadow };
        let quota_of = self.plan.quota(limit).map(|quota| quota.of.clone());
        Explained { allows: numbers(&planned.limit), quota_of, found, ..described(stated) }
    }
}

/// How far an identity is proven: nothing of what nobody can prove or claim.
fn trust(identities: &Identities<'_>, identity: Identity) -> Option<Trust> {
    let is_unknown = || identities.value(identity) == Some(Value::Name(Part::Tag(Tag::Unknown)));
    match identity.source() {
        Source::Nothing | Source::Rcpt => None,
        Source::ClientIp if is_unknown() => None,
        _ => Some(identities.trust(identity)),
    }
}

/// What was found about one key.
struct Measured {
    /// Place in the plan.
    limit: usize,
    nth: u32,
    part: Option<u8>,
    used: u64,
    at_once: u64,
    adds: u64,
    verdict: Verdict,
}

/// What is read under the lock for an explanation.
struct Rows {
    measured: Vec<Measured>,
    /// The entry of each scope.
    entries: Vec<Option<AccessEntry>>,
    /// The end of each block.
    blocks: Vec<Option<u64>>,
    /// How many entries of the request are measured.
    room: usize,
}

impl Rows {
    fn with_room_for(request: &Request) -> Self {
        let room = request.stores.entries.len().min(MOST_ROWS);
        let in_flight = request.stores.in_flight.limits().count();
        let (scopes, blocks) = request.access.as_ref().map_or((0, 0), |query| (query.scopes.len(), query.blocks.len()));
        Self {
            measured: Vec::with_capacity(room + in_flight),
            entries: Vec::with_capacity(scopes),
            blocks: Vec::with_capacity(blocks),
            room,
        }
    }
}

fn described(planned: &PlannedLimit) -> Explained {
    let limit = &planned.limit;
    let count = match limit.count {
        Count::Connections => "connections",
        Count::Messages => "messages",
        Count::Recipients => "recipients",
        Count::Bytes => "bytes",
    };
    let counts = match limit.rule {
        Rule::Rate { .. } => count.to_owned(),
        Rule::FanOut { distinct, .. } => format!("new {distinct}"),
        Rule::Distinct { distinct, .. } => format!("different {distinct}"),
        Rule::InFlight { .. } => format!("{count} at once"),
    };
    Explained {
        limit: limit.name.clone(),
        stage: planned.stage,
        identity: planned.per_name.to_string(),
        counts,
        allows: numbers(limit),
        quota_of: None,
        found: LimitState::DoesNotApply(String::new()),
    }
}

/// As a policy writes them.
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
        numbers +=
            &format!("; what lies below a subdomain known for {settle} counts under that, with the same numbers");
    }
    if let Rule::InFlight { share: Some(share), .. } = &limit.rule {
        let crate::policy::Fraction { numerator, denominator } = share.of_free;
        let (per, one) = (names(&share.per), if limit.count == Count::Connections { "connection" } else { "message" });
        numbers += &format!("; one {per} at most {numerator}/{denominator} of what is free, but always one {one}");
    }
    numbers
}

fn names(identities: &[Identity]) -> String {
    identities.iter().map(ToString::to_string).collect::<Vec<_>>().join(" + ")
}

/// Why a limit is not asked.
pub(super) fn unasked(
    identities: &Identities<'_>,
    planned: &PlannedLimit,
    envelope: &Envelope<'_>,
    stages: Stages,
    is_header_read: bool,
) -> LimitState {
    let limit = &planned.limit;
    let mut missing = Vec::new();
    let mut need = |field| {
        if !missing.contains(&field) {
            missing.push(field);
        }
    };
    if planned.stage >= Stage::Mail && envelope.mail_from.is_none() {
        need("mail_from");
    } else if let Some(why) =
        of_the_others(limit.verified, planned.trust_source.trust(identities.trust(Identity::SenderHost)))
    {
        return LimitState::DoesNotApply(why.into());
    }
    if limit.count == Count::Recipients && envelope.rcpt_to.is_empty() {
        need("rcpt_to");
    }
    for identity in looked_at(limit).filter(|identity| identities.values(*identity).is_empty()) {
        match unknown(identity.source(), envelope.mail_from.is_some(), is_header_read) {
            Absent::NotKnown(field) => need(field),
            Absent::NotThere(why) => return LimitState::DoesNotApply(why.into()),
        }
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

/// Why a limit does not look at senders of this class.
fn of_the_others(verified: Verified, class: Trust) -> Option<&'static str> {
    match (verified, class) {
        (Verified::Proven, Trust::Claimed) => Some("only proven senders, and this one is claimed"),
        (Verified::Claimed, Trust::Proven) => Some("only claimed senders, and this one is proven"),
        _ => None,
    }
}

/// Why an identity is absent.
enum Absent {
    /// Its field of the envelope is not known yet.
    NotKnown(&'static str),
    /// There is none, and why.
    NotThere(&'static str),
}

/// What a message may be without is not there once its place in the dialogue is over.
fn unknown(source: Source, knows_sender: bool, is_header_read: bool) -> Absent {
    let of_header = |field, why| if is_header_read { Absent::NotThere(why) } else { Absent::NotKnown(field) };
    match source {
        Source::Nothing | Source::ClientIp => Absent::NotKnown("client_ip"),
        Source::ClientName => Absent::NotThere("the client has no confirmed name"),
        Source::Helo => Absent::NotKnown("helo"),
        Source::AuthUser if knows_sender => Absent::NotThere("the client has not logged in"),
        Source::Sender if knows_sender => Absent::NotThere("the sender is the null sender"),
        Source::AuthUser | Source::Sender => Absent::NotKnown("mail_from"),
        Source::Rcpt => Absent::NotKnown("rcpt_to"),
        Source::From => of_header("header_from", "the message has no From"),
        Source::ReplyTo => of_header("reply_to", "the message has no Reply-To"),
        Source::ListId => of_header("list_id", "the message has no List-Id"),
        Source::Dkim => of_header("dkim", "the message has no verified signature"),
    }
}

/// That all that a fan-out would count is the value that it counts under: that is never new.
fn nothing_new(identities: &Identities<'_>, limit: &Limit) -> Option<String> {
    let distinct = limit.distinct()?;
    let value = identities.elements(distinct).first().map(Value::to_string)?;
    let mut values = limit.per.iter().map(|identity| identities.values(*identity));
    let is_value = |values: Values<'_>| values.iter().any(|of_per| of_per.to_string() == value);
    values.any(is_value).then(|| format!("the {distinct} is {value} itself, not a name under it"))
}

/// What it counts, and per what: without those who share what is free, who may be nameless.
pub(super) fn looked_at(limit: &Limit) -> impl Iterator<Item = Identity> {
    limit.per.iter().copied().chain(limit.distinct())
}
