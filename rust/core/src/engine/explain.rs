//! What a check would look at, in words: every identity, and of every limit the key, how full it is and what it says.
//!
//! It asks as a check asks and charges nothing. A level is found by asking how much more would fit: so it means the same of every kind of limit, and
//! no store has to tell it. Slow, some microseconds a limit: for people.

use super::Engine;
use super::aim::Aim;
use super::check::key_text;
use super::operators::Blocked;
use super::request::{Ask, Entry, Request};
use crate::decision::Decision;
use crate::envelope::Envelope;
use crate::identity::{Class, Identities, Identity, Sources};
use crate::policy::plan::{Planned, Store};
use crate::policy::{Count, Mode, Rule, Stage, Stages, Verified};
use crate::region::{Now, Region};
use crate::store::Verdict;
use crate::store::pace::Pace;

/// What a check of one envelope would look at.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The identities that are present: name, values, and how far they are proven.
    pub identities: Vec<(Identity, Vec<String>, Class)>,
    /// The limits in file order, one entry for each key.
    pub limits: Vec<Explained>,
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
    pub quota: String,
    /// The value that has these numbers by a quota of its own.
    pub quota_of: Option<String>,
    /// What it found.
    pub found: Found,
}

/// What a limit has to do with an envelope.
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    /// Nothing, and why.
    Skipped(String),
    /// A key.
    Key {
        /// As text.
        key: String,
        /// How far it is proven; what has no class counts as proven.
        class: Class,
        /// How much of [`Found::Key::most`] is used up.
        level: u64,
        /// As much as fits at once.
        most: u64,
        /// How much of it this envelope takes; of a fan-out, the elements that are not known.
        takes: u64,
        /// Microseconds until it fits; `None`: never.
        wait_us: Option<u64>,
        /// Whether it only says so.
        is_shadow: bool,
    },
}

impl Engine {
    /// What [`Engine::check`] would look at, and say.
    pub fn explain(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> Explanation {
        let stages = stages.unwrap_or_else(|| Stages::known_of(envelope));
        let all = Identities::read(envelope, &self.suffixes, Sources::ALL);
        let identities = self.identities(envelope).into_iter();
        let identities = identities.map(|(identity, values)| (identity, values, all.class(identity))).collect();
        let decision = self.decide(envelope, Some(stages), now, Aim::Look).0;
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
                let found = Found::Skipped(self.reason(&all, planned, envelope, stages));
                limits.push(Explained { found, ..described(planned) });
            }
        }
        Explanation { identities, limits, covering, decision }
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
            let (level, most) = (capacity.used(&region, &request.wanted, nth), capacity.limits[nth].cap);
            let takes = if capacity.limits[nth].bytes { request.wanted.held.bytes } else { 1 };
            measured.push(Measured { limit: limit.into(), nth: 0, rung: None, level, most, takes, verdict, at_us });
        }
        measured
    }

    fn measured(&self, request: &Request, entry: &Entry, region: &Region, at_us: u64) -> Measured {
        let planned = &self.plan.limits[usize::from(entry.limit)];
        let answer = entry.answer;
        let burst = planned.limit.rule.pace().map_or(0, |(_, burst)| burst);
        let (level, takes) = match (&planned.store, entry.ask) {
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
        Measured { limit, nth, rung, level, most: burst, takes, verdict, at_us }
    }

    fn explained(&self, identities: &Identities<'_>, stated: &Planned, measured: &Measured) -> Explained {
        let &Measured { limit, nth, rung, level, most, takes, verdict, at_us } = measured;
        let planned = &self.plan.limits[limit];
        let class = planned.class(identities);
        let wait_us = match verdict {
            Verdict::Fits => Some(0),
            Verdict::From(us) => Some(us.saturating_sub(at_us)),
            Verdict::Never => None,
        };
        let is_shadow = planned.limit.mode == Mode::Shadow || self.mode() == Mode::Shadow;
        let key = key_text(identities, planned, nth, rung);
        let found = Found::Key { key, class, level, most, takes, wait_us, is_shadow };
        let quota_of = self.plan.quota(limit).map(|quota| quota.of.clone());
        Explained { quota: numbers(planned), quota_of, found, ..described(stated) }
    }

    /// Why a limit has nothing to do with an envelope.
    fn reason(
        &self,
        identities: &Identities<'_>,
        planned: &Planned,
        envelope: &Envelope<'_>,
        stages: Stages,
    ) -> String {
        if !planned.asked_at.meets(stages) {
            return format!("runs at {}, which is not yet", planned.stage.name());
        }
        let missing = planned.limit.identities().find(|identity| identities.values(*identity).is_empty());
        if let Some(missing) = missing {
            return format!("there is no {missing}");
        }
        if planned.limit.count == Count::Bytes && envelope.size.is_none_or(|size| size == 0) {
            return "the size is not known".into();
        }
        match planned.limit.verified {
            Verified::Proven => "only proven senders, and this one is claimed".into(),
            Verified::Claimed => "only claimed senders, and this one is proven".into(),
            Verified::Any => "nothing that it counts".into(),
        }
    }
}

/// What was found about one key.
struct Measured {
    /// Place in the plan.
    limit: usize,
    nth: u32,
    rung: Option<u8>,
    level: u64,
    most: u64,
    takes: u64,
    verdict: Verdict,
    at_us: u64,
}

fn fits(buckets: &Pace, region: &Region, at: &crate::region::Candidates, at_us: u64, amount: u64) -> bool {
    let promised = &mut crate::store::Promised::default();
    buckets.consult(region, at, buckets.moment(at_us), amount, promised).0 == Verdict::Fits
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
        quota: numbers(planned),
        quota_of: None,
        found: Found::Skipped(String::new()),
    }
}

fn numbers(planned: &Planned) -> String {
    match &planned.limit.rule {
        Rule::InFlight { cap, share } => {
            let share = share.as_ref().map(|share| {
                let part = share.of_free;
                format!(", of what is free {}/{}", part.numerator, part.denominator)
            });
            format!("{cap}{}", share.unwrap_or_default())
        }
        rule => rule.pace().map_or_else(String::new, |(rate, burst)| {
            if burst == rate.amount { rate.to_string() } else { format!("{rate}, burst {burst}") }
        }),
    }
}
