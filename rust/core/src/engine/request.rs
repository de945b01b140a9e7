//! What one check will ask, worked out before the lock: every identity hashed once, every line named.

use smallvec::SmallVec;

use crate::identity::{Class, Identities, Identity, Part, Value};
use crate::key::{Key, Secret};
use crate::policy::plan::{Plan, Planned, Store};
use crate::policy::{Count, Stage, Stages, Verified, WhenFull};
use crate::region::prefetch;
use crate::store::fan_out::{Arrival, Consulted, Rung, Seen};

/// What one check will ask of the region, and room for the answers.
///
/// The room is taken here, so that nothing under the lock allocates.
#[derive(Debug, Default)]
pub struct Request {
    pub(super) entries: SmallVec<[Entry; 12]>,
    pub(super) arrivals: SmallVec<[Visit; 4]>,
    pub(super) answers: SmallVec<[Consulted; 12]>,
}

/// One limit asked about one key.
#[derive(Debug)]
pub(super) struct Entry {
    /// Place in [`Plan::limits`].
    pub limit: usize,
    /// Which value of the identity that has several.
    pub value: usize,
    /// What is asked.
    pub ask: Ask,
    /// Other keys of this request that may take a free slot of the same lines.
    pub reserved: usize,
    /// Charged when admitted; else only consulted.
    pub charged: bool,
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    Rate { key: Key, amount: u64 },
    FanOut { arrival: usize },
}

/// One arrival at one memory.
#[derive(Debug)]
pub(super) struct Visit {
    /// Place in [`Plan::memories`].
    pub memory: usize,
    /// Which value of `per`.
    pub value: usize,
    pub arrival: Arrival,
    pub seen: Seen,
}

/// The hashed values of one identity.
struct Hashed<'i> {
    values: SmallVec<[Value<'i>; 1]>,
    keys: SmallVec<[Key; 1]>,
}

/// Builds a [`Request`].
struct Builder<'i, 't> {
    plan: &'i Plan,
    secret: &'i Secret,
    identities: &'i Identities<'t>,
    size: Option<u64>,
    hashed: SmallVec<[Option<Hashed<'i>>; 12]>,
    request: Request,
}

impl Request {
    /// What the limits of `stages` ask about `identities` and a message of `size` octets.
    pub(super) fn new(
        plan: &Plan,
        secret: &Secret,
        identities: &Identities<'_>,
        size: Option<u64>,
        stages: Stages,
    ) -> Self {
        let hashed = plan.identities.iter().map(|_| None).collect();
        let mut builder = Builder { plan, secret, identities, size, hashed, request: Self::default() };
        for (index, planned) in plan.limits.iter().enumerate() {
            let charged = stages.has(planned.stage);
            let consulted =
                charged || Stage::ALL.into_iter().any(|stage| stages.has(stage) && planned.is_consulted_at(stage));
            if consulted {
                builder.add(index, planned, charged);
            }
        }
        let mut request = builder.request;
        let unasked = Consulted { verdict: crate::store::Verdict::Fits, new: 0, rung: None };
        request.answers.resize(request.entries.len(), unasked);
        request
    }

    /// Asks the processor for every line that the check can touch.
    pub(super) fn prefetch(&self, plan: &Plan, address: usize) {
        for visit in &self.arrivals {
            for line in visit.arrival.lines(&plan.memories[visit.memory].known) {
                prefetch(address, line);
            }
        }
        for entry in &self.entries {
            match (&plan.limits[entry.limit].store, entry.ask) {
                (Store::Rate(buckets), Ask::Rate { key, .. }) => {
                    for line in buckets.lines(key) {
                        prefetch(address, line);
                    }
                }
                (Store::FanOut { fan_out, .. }, Ask::FanOut { arrival }) => {
                    for line in fan_out.lines(&self.arrivals[arrival].arrival) {
                        prefetch(address, line);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'i> Builder<'i, '_> {
    fn add(&mut self, limit: usize, planned: &'i Planned, charged: bool) {
        let class = self.class(planned);
        let looked_at = match planned.limit.verified {
            Verified::Any => true,
            Verified::Proven => class == Class::Proven,
            Verified::Claimed => class == Class::Claimed,
        };
        if !looked_at {
            return;
        }
        for &place in &planned.per {
            self.hash(place);
        }
        let values = planned.per.iter().map(|&place| self.keys(place).len());
        // At most one of them has several; an absent one makes the product zero.
        let count: usize = values.product();
        for value in 0..count {
            let key = self.key(planned, value);
            let ask = match planned.store {
                Store::Rate(_) => self.rate(planned, class, key, value),
                Store::FanOut { memory, .. } => self.fan_out(planned, class, key, value, memory),
            };
            if let Some(ask) = ask {
                let reserved = self.reserved(limit, planned, ask);
                self.request.entries.push(Entry { limit, value, ask, reserved, charged });
            }
        }
    }

    /// The class of a composite is that of its weakest part; of a fan-out, the weaker of `per` and `distinct`.
    fn class(&self, planned: &Planned) -> Class {
        let mut parts = planned.limit.per.iter().copied().chain(planned.limit.distinct());
        if parts.all(|identity| self.identities.class(identity) == Class::Proven) {
            Class::Proven
        } else {
            Class::Claimed
        }
    }

    /// The key of `per`, of no class yet.
    fn key(&self, planned: &Planned, value: usize) -> Key {
        let pick = |place: usize| {
            let keys = self.keys(place);
            keys[value.min(keys.len() - 1)]
        };
        let mut keys = planned.per.iter().map(|&place| pick(place));
        let first = keys.next().unwrap_or(Key(0));
        keys.fold(first, |key, next| self.secret.join(key, next))
    }

    fn rate(&self, planned: &Planned, class: Class, key: Key, value: usize) -> Option<Ask> {
        let amount = match planned.limit.count {
            Count::Connections | Count::Messages => 1,
            Count::Recipients => self.recipients(planned, value),
            Count::Bytes => self.size?,
        };
        Some(Ask::Rate { key: self.secret.classed(key, class), amount })
    }

    /// Recipients that count for this key, duplicates once.
    fn recipients(&self, planned: &Planned, value: usize) -> u64 {
        let per = &planned.limit.per;
        if per.contains(&Identity::RcptAddress) {
            return 1;
        }
        let all = self.identities.values(Identity::RcptAddress);
        let hosts = self.identities.values(Identity::RcptHost);
        let at =
            |host: &Part<'_>| all.iter().filter(|rcpt| matches!(rcpt, Value::Address(_, at) if at == host)).count();
        match hosts.get(value) {
            Some(Value::Name(host)) if per.contains(&Identity::RcptHost) => at(host) as u64,
            _ => all.len() as u64,
        }
    }

    /// An arrival at the memory; the one that another limit made already, when they share it.
    fn fan_out(&mut self, planned: &Planned, class: Class, key: Key, value: usize, memory: usize) -> Option<Ask> {
        let same = |visit: &Visit| visit.memory == memory && visit.value == value;
        if let Some(arrival) = self.request.arrivals.iter().position(same) {
            return Some(Ask::FanOut { arrival });
        }
        let distinct = self.plan.memories[memory].distinct;
        self.hash(distinct);
        let elements = self.elements(planned, distinct, key);
        if elements.is_empty() {
            return None;
        }
        let mut rungs = SmallVec::new();
        if self.plan.memories[memory].ladder {
            let host = self.plan.identities[distinct];
            for part in self.identities.ladder(host, planned.limit.per[0]) {
                let known = self.secret.join(key, self.secret.part(host, part));
                rungs.push(Rung { known, bucket: self.secret.classed(known, class) });
            }
        }
        let arrival = Arrival { bucket: self.secret.classed(key, class), elements, rungs };
        let seen = Seen::room_for(&arrival);
        self.request.arrivals.push(Visit { memory, value, arrival, seen });
        Some(Ask::FanOut { arrival: self.request.arrivals.len() - 1 })
    }

    /// The elements as a memory knows them under `key`, of no class. One that is equal to a value of `per` is never new.
    fn elements(&self, planned: &Planned, distinct: usize, key: Key) -> SmallVec<[Key; 1]> {
        let identity = self.plan.identities[distinct];
        let is_per = |element: &Value<'_>| planned.per.iter().any(|&place| self.values(place).contains(element));
        let elements = self.identities.elements(identity);
        let keys = elements.iter().zip(self.values(distinct)).zip(self.keys(distinct)).filter_map(
            |((element, value), &hashed)| {
                let own = if element == value { hashed } else { self.secret.key(identity, element) };
                (!is_per(element)).then(|| self.secret.join(key, own))
            },
        );
        keys.collect()
    }

    /// Keys of the same limit before this one that share a line with it; only where being without room refuses.
    fn reserved(&self, limit: usize, planned: &Planned, ask: Ask) -> usize {
        if planned.limit.when_full == WhenFull::Admit {
            return 0;
        }
        let buckets = planned.store.buckets();
        let lines = |ask: Ask| match ask {
            Ask::Rate { key, .. } => buckets.lines(key),
            Ask::FanOut { arrival } => buckets.lines(self.request.arrivals[arrival].arrival.bucket),
        };
        let own = lines(ask);
        let earlier = self.request.entries.iter().filter(|entry| entry.limit == limit);
        earlier.filter(|entry| lines(entry.ask).iter().any(|line| own.contains(line))).count()
    }

    fn hash(&mut self, place: usize) {
        if self.hashed[place].is_none() {
            let identity = self.plan.identities[place];
            let values = self.identities.values(identity);
            let keys = values.iter().map(|value| self.secret.key(identity, value)).collect();
            self.hashed[place] = Some(Hashed { values, keys });
        }
    }

    fn keys(&self, place: usize) -> &[Key] {
        self.hashed[place].as_ref().map_or(&[], |hashed| &hashed.keys)
    }

    fn values(&self, place: usize) -> &[Value<'i>] {
        self.hashed[place].as_ref().map_or(&[], |hashed| &hashed.values)
    }
}
