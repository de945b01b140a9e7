//! What one check will ask, worked out before the lock: every identity hashed once, every line named and on its way into the cache.

use smallvec::SmallVec;

use crate::identity::{Class, Identities, Identity, Part, Value};
use crate::key::{Key, Secret};
use crate::policy::plan::{Memory, Plan, Planned, Standing, Store};
use crate::policy::{Count, Stages, Verified, WhenFull};
use crate::region::{Candidates, prefetch};
use crate::store::Verdict;
use crate::store::fan_out::{Arrival, Consulted, Element, FanOut, Rung};

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
#[derive(Clone, Copy)]
pub(super) struct Maker<'e> {
    pub plan: &'e Plan,
    pub secret: &'e Secret,
    /// Where the region lies.
    pub address: usize,
}

/// The keys of each identity of the plan, of no class yet.
struct Hashed<'i, 't> {
    maker: Maker<'i>,
    identities: &'i Identities<'t>,
    keys: SmallVec<[Key; 16]>,
    /// Where in `keys` those of an identity stand; `None` until they are asked for.
    spans: SmallVec<[Option<Span>; 16]>,
}

/// A part of [`Hashed::keys`].
#[derive(Clone, Copy)]
struct Span {
    start: u32,
    count: u32,
}

impl Span {
    /// The key of one value; where there is one key only, that one.
    fn place(self, value: usize) -> usize {
        self.start as usize + value.min(self.count.saturating_sub(1) as usize)
    }
}

impl Maker<'_> {
    /// What the limits of `stages` ask about `identities` and a message of `size` octets.
    pub(super) fn ask(&self, request: &mut Request, identities: &Identities<'_>, size: Option<u64>, stages: Stages) {
        let spans = SmallVec::from_elem(None, self.plan.identities.len());
        let mut hashed = Hashed { maker: *self, identities, keys: SmallVec::new(), spans };
        for (limit, planned) in self.plan.limits.iter().enumerate() {
            let charged = stages.has(planned.stage);
            if !charged && !planned.is_consulted_at(stages) {
                continue;
            }
            let class = class(planned, identities);
            if !looks_at(planned.limit.verified, class) {
                continue;
            }
            let Some((first, count)) = hashed.first(planned) else { continue };
            for value in 0..count {
                let key = if value == 0 { first } else { hashed.key(planned, value) };
                let ask = match &planned.store {
                    Store::Rate(buckets) => {
                        let Some(amount) = amount(planned, identities, size, value) else { continue };
                        let at = buckets.lines(self.secret.classed(key, class));
                        prefetch(self.address, &at);
                        Ask::Rate { at, amount }
                    }
                    Store::FanOut { fan_out, memory } => {
                        let Some(visit) = hashed.visit(request, planned, class, key, value, *memory) else { continue };
                        self.prefetch_buckets(fan_out, &request.visits[visit].arrival);
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

    fn prefetch_buckets(&self, fan_out: &FanOut, arrival: &Arrival) {
        for at in fan_out.lines(arrival) {
            prefetch(self.address, &at);
        }
    }
}

impl Hashed<'_, '_> {
    /// The first key of `per`, of no class yet, and how many there are: at most one of its identities has several values.
    fn first(&mut self, planned: &Planned) -> Option<(Key, usize)> {
        let mut joined = None;
        let mut count = 1;
        for &place in &planned.per {
            let span = self.span(place);
            let key = *self.keys.get(span.start as usize).filter(|_| span.count > 0)?;
            count *= span.count as usize;
            joined = Some(joined.map_or(key, |joined| self.maker.secret.join(joined, key)));
        }
        joined.map(|key| (key, count))
    }

    /// Another key of `per`.
    fn key(&self, planned: &Planned, value: usize) -> Key {
        let mut keys = planned.per.iter().map(|&place| {
            let span = self.spans[place].unwrap_or(Span { start: 0, count: 0 });
            self.keys[span.place(value)]
        });
        let first = keys.next().unwrap_or(Key(0));
        keys.fold(first, |joined, key| self.maker.secret.join(joined, key))
    }

    /// Hashes an identity when it is first asked for.
    fn span(&mut self, place: usize) -> Span {
        if let Some(span) = self.spans[place] {
            return span;
        }
        let identity = self.maker.plan.identities[place];
        let start = self.keys.len();
        for value in &self.identities.values(identity) {
            self.keys.push(self.maker.secret.key(identity, value));
        }
        let span = Span { start: start as u32, count: (self.keys.len() - start) as u32 };
        self.spans[place] = Some(span);
        span
    }

    /// An arrival at the memory: the one that another limit made already, when they share it. None when nothing in it can be new.
    fn visit(
        &mut self,
        request: &mut Request,
        planned: &Planned,
        class: Class,
        key: Key,
        value: usize,
        memory: usize,
    ) -> Option<usize> {
        let same = |visit: &Visit| visit.memory == memory && visit.value == value;
        if let Some(visit) = request.visits.iter().position(same) {
            return Some(visit);
        }
        let (secret, address) = (self.maker.secret, self.maker.address);
        let plan = self.maker.plan;
        let Memory { known, distinct, ladder, .. } = &plan.memories[memory];
        let elements = self.elements(&plan.memories[memory], key);
        if elements.is_empty() {
            return None;
        }
        let looked_up = |key| {
            let at = known.lines(key);
            prefetch(address, &at);
            at
        };
        let elements = elements.into_iter().map(|key| Element { at: looked_up(key), seen: None }).collect();
        let mut rungs = SmallVec::new();
        if *ladder {
            let host = plan.identities[*distinct];
            for part in self.identities.ladder(host, planned.limit.per[0]) {
                let part = secret.join(key, secret.part(host, part));
                rungs.push(Rung { at: looked_up(part), bucket: secret.classed(part, class), seen: None });
            }
        }
        let arrival = Arrival { bucket: secret.classed(key, class), elements, rungs };
        request.visits.push(Visit { memory, value, arrival });
        Some(request.visits.len() - 1)
    }

    /// The elements as a memory knows them under `key`, of no class. One that is equal to a value of `per` is never new.
    fn elements(&mut self, memory: &Memory, key: Key) -> SmallVec<[Key; 1]> {
        let identity = self.maker.plan.identities[memory.distinct];
        let span = self.span(memory.distinct);
        let mut keys = SmallVec::new();
        for (value, element) in self.identities.elements(identity).iter().enumerate() {
            if memory.equals.iter().any(|&per| self.identities.values(per).contains(element)) {
                continue;
            }
            // Junk counts by its raw bytes here, and by its tag where it is a value.
            let own =
                if element.is_raw() { self.maker.secret.key(identity, element) } else { self.keys[span.place(value)] };
            keys.push(self.maker.secret.join(key, own));
        }
        keys
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
