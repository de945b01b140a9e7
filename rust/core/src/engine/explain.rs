//! What a check would look at, in words: every identity, and of every limit the key, how full it is and what it says.
//!
//! It asks as a check asks and charges nothing. A level is found by asking how much more would fit: so it means the same of every kind of limit, and
//! no store has to tell it. Slow, some microseconds a limit: for people.

use super::Engine;
use super::aim::Aim;
use super::check::key_text;
use super::marked::earliest;
use super::operators::Blocked;
use super::request::{Ask, Entry, Request};
use super::unasked::{looked_at, unasked};
use crate::decision::{Decision, Refusal};
use crate::envelope::Envelope;
use crate::identity::{Identities, Identity, Part, Source, Sources, Tag, Trust, Value};
use crate::plan::{Planned, Store};
use crate::policy::limit::stage_of;
use crate::policy::{Count, FieldValue, Limit, Mode, Rule, Stage, Stages};
use crate::region::{Now, Region};
use crate::reply::Reply;
use crate::store::Verdict;
use crate::store::rate_counter::RateCounter;

/// What a check of one envelope would look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The identities that are present: name, values, and how far they are proven, of those that can be.
    pub identities: Vec<(Identity, Vec<String>, Option<Trust>)>,
    /// The limits in file order, one entry for each key.
    pub limits: Vec<Explained>,
    /// What operators have said of it and limits have blocked of it: it goes before what the limits say.
    pub covering: Vec<Blocked>,
    /// What the check would come to.
    pub decision: Decision,
    /// The stage at which it would be refused.
    pub refused_at: Option<Stage>,
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
    pub found: Found,
}

/// What a limit has to do with an envelope.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
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
        class: Option<Trust>,
        /// How much of [`Found::Key::at_once`] is used up.
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

impl Engine {
    /// What [`Engine::check`] would look at, and say.
    pub fn explain(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> Explanation {
        // Every message has a From: where one is known, the header was read.
        let has_author = envelope.headers.is_some_and(|headers| !headers.from.is_empty());
        let is_header_read = stages.map_or(has_author, |stages| stages.has(Stage::Data));
        let stages = stages.unwrap_or_else(|| Stages::known_of(envelope));
        let all = Identities::read(envelope, &self.suffixes, Sources::ALL);
        let identities = self.identities(envelope).into_iter();
        let identities = identities.map(|(identity, values)| (identity, values, class(&all, identity))).collect();
        let decision = self.decide(envelope, Some(stages), now, Aim::Look).0;
        let refused_at = decision.refusal.as_ref().map(|refusal| self.told_at(refusal, stages));
        let covering = self.covering(envelope, stages, now);

        let read = self.read(envelope, stages);
        let mut request = Request::default();
        self.ask(&mut request, &read, envelope.size, stages);
        let asked = self.measure(&mut request, now);
        let mut limits = Vec::new();
        for (place, planned) in self.plan.limits[..self.plan.stated].iter().enumerate() {
            let own = asked.iter().filter(|measured| usize::from(self.plan.limits[measured.limit].of) == place);
            let before = limits.len();
            limits.extend(own.map(|measured| self.explained(&read, planned, measured)));
            if limits.len() == before {
                let found = unasked(&all, planned, envelope, stages, is_header_read);
                limits.push(Explained { found, ..described(planned) });
            }
        }
        Explanation { identities, limits, covering, decision, refused_at }
    }

    /// Asks every limit how much more it would let through.
    fn measure(&self, request: &mut Request, now: Now) -> Vec<Measured> {
        let mut measured = Vec::with_capacity(request.entries.len() + self.plan.capacity.limits.len());
        let (region, epoch) = self.shared.at(now, false);
        let at_us = epoch.last_us;
        for visit in &mut request.visits {
            visit.arrival.consult(&self.plan.memories[visit.memory].known, &region, at_us);
        }
        self.consult(request, &region, at_us, at_us);
        for entry in &request.entries {
            measured.push(self.measured(request, entry, &region, at_us));
        }
        let capacity = &self.plan.capacity;
        capacity.find(&region, &mut request.wanted);
        for nth in request.wanted.limits() {
            let Some(limit) = self.plan.capped[nth] else { continue };
            let verdict = capacity.consult(&region, &request.wanted, nth, at_us);
            let (used, at_once) = (capacity.used(&region, &request.wanted, nth), capacity.limits[nth].cap);
            let adds = if capacity.limits[nth].bytes { request.wanted.held.bytes } else { 1 };
            measured.push(Measured { limit: limit.into(), nth: 0, rung: None, used, at_once, adds, verdict, at_us });
        }
        measured
    }

    fn measured(&self, request: &Request, entry: &Entry, region: &Region, at_us: u64) -> Measured {
        let planned = &self.plan.limits[usize::from(entry.limit)];
        let answer = entry.answer;
        let burst = planned.limit.rule.rate_and_burst().map_or(0, |(_, burst)| burst);
        let (used, adds) = match (&planned.store, entry.ask) {
            (Store::Rate(buckets), Ask::Rate { at, amount }) => {
                (burst - fitting(burst, |amount| fits(buckets, region, &at, at_us, amount)), amount)
            }
            (Store::FanOut { fan_out, .. }, Ask::FanOut { visit }) => {
                let buckets = fan_out.buckets();
                let at = buckets.lines(request.visits[visit as usize].arrival.bucket_of(answer.rung));
                (burst - fitting(burst, |amount| fits(buckets, region, &at, at_us, amount)), answer.new.into())
            }
            (Store::Distinct { buckets, .. }, Ask::Distinct { at, count, .. }) => {
                (buckets.level(region, &at, at_us), count.into())
            }
            _ => (0, 0),
        };
        let (limit, nth, rung, verdict) = (entry.limit.into(), entry.nth, answer.rung, answer.verdict);
        Measured { limit, nth, rung, used, at_once: burst, adds, verdict, at_us }
    }

    fn explained(&self, identities: &Identities<'_>, stated: &Planned, measured: &Measured) -> Explained {
        let &Measured { limit, nth, rung, used, at_once, adds, verdict, at_us } = measured;
        let planned = &self.plan.limits[limit];
        let has_class = looked_at(&planned.limit).any(|identity| class(identities, identity).is_some());
        let class = has_class.then(|| planned.class(identities));
        let wait_us = match verdict {
            Verdict::Fits => Some(0),
            Verdict::From(us) => Some(us.saturating_sub(at_us)),
            Verdict::Never => None,
        };
        let is_shadow = planned.limit.mode == Mode::Shadow || self.mode() == Mode::Shadow;
        let key = key_text(identities, planned, nth, rung);
        let found = Found::Key { key, class, used, at_once, adds, wait_us, is_shadow };
        let quota_of = self.plan.quota(limit).map(|quota| quota.of.clone());
        Explained { allows: numbers(&planned.limit), quota_of, found, ..described(stated) }
    }

    /// The stage at which a refusal is told: of a limit its own, of bytes also MAIL, where a SIZE is declared; of a block the first that knows the key.
    fn told_at(&self, refusal: &Refusal, stages: Stages) -> Stage {
        use Reply::{Blocked, BlockedClosing, BlockedMailbox};
        let planned = self.plan.limits[..self.plan.stated].iter().find(|planned| planned.name == refusal.limit);
        let Some(planned) = planned else {
            return earliest(stages, refusal.identity.parse().map_or(Stage::Connect, stage_of));
        };
        match planned.blocking {
            Some(blocking) if matches!(refusal.kind, BlockedClosing | Blocked | BlockedMailbox) => {
                earliest(stages, blocking.from)
            }
            _ if stages.has(planned.stage) => planned.stage,
            _ => Stage::Mail,
        }
    }
}

/// How far an identity is proven: nothing of what nobody can prove or claim.
fn class(identities: &Identities<'_>, identity: Identity) -> Option<Trust> {
    let is_unknown = || identities.value(identity) == Some(Value::Name(Part::Tag(Tag::Unknown)));
    match identity.source() {
        Source::Nothing | Source::Rcpt => None,
        Source::ClientIp if is_unknown() => None,
        _ => Some(identities.class(identity)),
    }
}

/// What was found about one key.
struct Measured {
    /// Place in the plan.
    limit: usize,
    nth: u32,
    rung: Option<u8>,
    used: u64,
    at_once: u64,
    adds: u64,
    verdict: Verdict,
    at_us: u64,
}

fn fits(buckets: &RateCounter, region: &Region, at: &crate::region::Candidates, at_us: u64, amount: u64) -> bool {
    let promised = &mut crate::store::SlotReservations::default();
    buckets.consult(region, at, buckets.ticks_at(at_us), amount, promised).0 == Verdict::Fits
}

/// The largest amount up to `most` that fits, when less fits wherever more does.
fn fitting(most: u64, fits: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = high - (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

fn described(planned: &Planned) -> Explained {
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
        found: Found::DoesNotApply(String::new()),
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
