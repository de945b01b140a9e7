//! What one check will ask, worked out before the lock: every identity hashed once, every line named and on its way into the cache.

use smallvec::SmallVec;

use super::keys::Keys;
use crate::identity::{Class, Identities, Identity, Part, Value};
use crate::key::{Key, Secret};
use crate::policy::plan::{Plan, Planned, Standing, Store};
use crate::policy::{Count, Stages, Verified, WhenFull};
use crate::region::{Candidates, prefetch};
use crate::store::Verdict;
use crate::store::fan_out::{Arrival, Consulted, Element, Rung};

/// What one check will ask of the region, and room for the answers.
///
/// The room is taken here, so that nothing under the lock allocates.
#[derive(Debug, Default)]
pub struct Request {
    pub(super) entries: SmallVec<[Entry; 10]>,
    pub(super) visits: SmallVec<[Visit; 3]>,
}

/// One limit asked about one key.
#[derive(Debug)]
pub(super) struct Entry {
    /// Place in [`Plan::limits`].
    pub limit: u16,
    /// Other keys of this request that may take a free slot of the same lines.
    pub reserved: u16,
    /// Which value of the identity that has several.
    pub value: u32,
    /// What is asked.
    pub ask: Ask,
    /// Charged when admitted; else only consulted.
    pub charged: bool,
    /// What was answered.
    pub answer: Consulted,
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Rate { at: Candidates, amount: u64 },
    FanOut { visit: u32 },
}

/// One arrival at one memory.
#[derive(Debug)]
pub(super) struct Visit {
    /// Place in [`Plan::memories`].
    pub memory: usize,
    /// Which value of `per`.
    pub value: usize,
    pub arrival: Arrival,
}

const UNASKED: Consulted = Consulted { verdict: Verdict::Fits, spot: None, new: 0, rung: None };

/// What a [`Request`] is made from.
pub(super) struct Maker<'e> {
    pub plan: &'e Plan,
    pub secret: &'e Secret,
    /// Where the region lies.
    pub address: usize,
}

impl Maker<'_> {
    /// What the limits of `stages` ask about `identities` and a message of `size` octets.
    pub(super) fn ask(&self, request: &mut Request, identities: &Identities<'_>, size: Option<u64>, stages: Stages) {
        let mut keys = Keys::default();
        keys.hash(self.plan, self.secret, identities, stages);
        for (limit, planned) in self.plan.limits.iter().enumerate() {
            if !planned.asked_at().meets(stages) {
                continue;
            }
            let charged = stages.has(planned.stage);
            let class = class(planned, identities);
            if !looks_at(planned.limit.verified, class) {
                continue;
            }
            for value in 0..keys.count(&planned.per) {
                let key = keys.joined(self.secret, &planned.per, value);
                let ask = match &planned.store {
                    Store::Rate(buckets) => {
                        let Some(amount) = amount(planned, identities, size, value) else { continue };
                        let at = buckets.lines(self.secret.classed(key, class));
                        prefetch(self.address, &at);
                        Ask::Rate { at, amount }
                    }
                    Store::FanOut { fan_out, memory } => {
                        let shared = request.visits.iter().position(|visit| visit.is_of(*memory, value));
                        let visit = shared.unwrap_or(request.visits.len());
                        if shared.is_none() && !self.visit(request, &keys, identities, planned, class, key, value) {
                            continue;
                        }
                        for at in fan_out.lines(&request.visits[visit].arrival) {
                            prefetch(self.address, &at);
                        }
                        Ask::FanOut { visit: visit as u32 }
                    }
                };
                let reserved = reserved(request, limit, planned, ask);
                request.entries.push(Entry {
                    limit: limit as u16,
                    reserved,
                    value: value as u32,
                    ask,
                    charged,
                    answer: UNASKED,
                });
            }
        }
    }

    /// Adds an arrival at the memory of `planned` under `key`; `false` when nothing of it can be new.
    ///
    /// It is filled in where it stands: it is too large to be moved about.
    #[allow(clippy::too_many_arguments)]
    fn visit(
        &self,
        request: &mut Request,
        keys: &Keys,
        identities: &Identities<'_>,
        planned: &Planned,
        class: Class,
        key: Key,
        value: usize,
    ) -> bool {
        let Store::FanOut { memory: place, .. } = planned.store else { return false };
        let memory = &self.plan.memories[place];
        let look_up = |key| {
            let at = memory.known.lines(key);
            prefetch(self.address, &at);
            at
        };
        request.visits.push(Visit { memory: place, value, arrival: Arrival::at(self.secret.classed(key, class)) });
        let Some(Visit { arrival, .. }) = request.visits.last_mut() else { return false };
        let identity = self.plan.identities[memory.distinct].identity;
        let is_value_of = |per: Identity, element: &Value<'_>| match per.has_many() {
            true => identities.values(per).get(value) == Some(element),
            false => identities.value(per).as_ref() == Some(element),
        };
        let mut see = |place: usize, element: &Value<'_>| {
            // What is equal to a value of `per` is never new.
            if memory.equals.iter().any(|&per| is_value_of(per, element)) {
                return;
            }
            // Junk counts by its raw bytes here, and by its tag where it is a value.
            let own =
                if element.is_raw() { self.secret.key(identity, element) } else { keys.get(memory.distinct, place) };
            arrival.elements.push(Element { at: look_up(self.secret.join(key, own)), seen: None });
        };
        if identity.has_many() {
            identities.elements(identity).iter().enumerate().for_each(|(place, element)| see(place, element));
        } else if let Some(element) = identities.element(identity) {
            see(0, &element);
        }
        if arrival.elements.is_empty() {
            request.visits.pop();
            return false;
        }
        if memory.ladder {
            for part in identities.ladder(identity, planned.limit.per[0]) {
                let part = self.secret.join(key, self.secret.part(identity, part));
                arrival.rungs.push(Rung { at: look_up(part), bucket: self.secret.classed(part, class), seen: None });
            }
        }
        true
    }
}

impl Visit {
    /// Whether a limit over the same memory made it already, for the same key.
    fn is_of(&self, memory: usize, value: usize) -> bool {
        self.memory == memory && self.value == value
    }
}

/// The class of a composite is that of its weakest part; of a fan-out, the weaker of `per` and `distinct`.
fn class(planned: &Planned, identities: &Identities<'_>) -> Class {
    match planned.standing {
        Standing::Proven => Class::Proven,
        Standing::Claimed => Class::Claimed,
        Standing::Senders => identities.class(Identity::SenderHost),
    }
}

fn looks_at(verified: Verified, class: Class) -> bool {
    match verified {
        Verified::Any => true,
        Verified::Proven => class == Class::Proven,
        Verified::Claimed => class == Class::Claimed,
    }
}

/// What one check counts as; `None` when that is not known yet.
fn amount(planned: &Planned, identities: &Identities<'_>, size: Option<u64>, value: usize) -> Option<u64> {
    match planned.limit.count {
        Count::Connections | Count::Messages => Some(1),
        Count::Recipients => Some(recipients(planned, identities, value)),
        Count::Bytes => size,
    }
}

/// Recipients that count for this key, duplicates once.
fn recipients(planned: &Planned, identities: &Identities<'_>, value: usize) -> u64 {
    let per = &planned.limit.per;
    if per.contains(&Identity::RcptAddress) {
        return 1;
    }
    let all = identities.values(Identity::RcptAddress);
    let hosts = identities.values(Identity::RcptHost);
    let at = |host: &Part<'_>| all.iter().filter(|rcpt| matches!(rcpt, Value::Address(_, at) if at == host)).count();
    match hosts.get(value) {
        Some(Value::Name(host)) if per.contains(&Identity::RcptHost) => at(host) as u64,
        _ => all.len() as u64,
    }
}

/// Keys of the same limit before this one that share a line with it; asked only where being without room refuses.
fn reserved(request: &Request, limit: usize, planned: &Planned, ask: Ask) -> u16 {
    if planned.limit.when_full == WhenFull::Admit {
        return 0;
    }
    let lines = |ask: Ask| match ask {
        Ask::Rate { at, .. } => at.lines,
        Ask::FanOut { visit } => planned.store.buckets().lines(request.visits[visit as usize].arrival.bucket).lines,
    };
    let own = lines(ask);
    let earlier = request.entries.iter().filter(|entry| usize::from(entry.limit) == limit);
    let sharing = earlier.filter(|entry| lines(entry.ask).iter().any(|line| own.contains(line))).count();
    sharing.min(usize::from(u16::MAX)) as u16
}
