//! Works out what a check asks: from identities to keys, from keys to lines, which are sent for at once. All of it before the lock.
//!
//! It takes time in proportion to the recipients of the envelope, and to nothing else that grows.

use std::cell::RefCell;

use smallvec::SmallVec;

use super::amount::Amounts;
use super::keys::Hashed;
use super::request::{Ask, Entry, Request, UNASKED, Visit};
use super::terms::Terms;
use crate::identity::{Identities, Identity, Trust, Value, Values};
use crate::key::{Key, Secret};
use crate::plan::{Plan, Planned, Store, Tallied, TrustSource};
use crate::policy::{Stages, Verified, WhenFull};
use crate::region::{Candidates, prefetch};
use crate::store::fan_out::{Arrival, Element, FanOut, RUNGS, Rung};
use crate::store::in_flight::{InFlight, Place, Wanted, Wanting};
use crate::store::rate_counter::RateCounter;

/// What stands for an identity that is absent, among those that share what is free: all such count together.
const NAMELESS: Key = Key(u64::MAX);

// The store takes as many parts of a name as the identities give.
const _: () = assert!(RUNGS == crate::identity::RUNGS);

/// What a request is made from.
pub(super) struct Asker<'e, 't> {
    pub plan: &'e Plan,
    pub secret: &'e Secret,
    /// Where the region lies.
    pub address: usize,
    pub identities: &'e Identities<'t>,
    pub size: Option<u64>,
    pub stages: Stages,
    /// What of them is asked, when it is not all.
    pub terms: Option<&'e Terms>,
    /// Of `identities`, for `stages`.
    pub keys: Hashed<'e>,
    /// The values of identities that have several, of those whose elements are compared with them.
    pub compared: RefCell<SmallVec<[(Identity, Values<'e>); 1]>>,
}

/// A limit that is asked.
#[derive(Clone, Copy)]
struct Asked<'e> {
    index: u16,
    planned: &'e Planned,
    class: Trust,
    charged: bool,
}

impl<'e> Asker<'e, '_> {
    /// What the limits ask.
    pub(super) fn ask(&self, request: &mut Request) {
        let senders = self.identities.trust(Identity::SenderHost);
        for (index, planned) in self.plan.limits[..self.plan.stated].iter().enumerate() {
            if !planned.asked_at.intersects(self.stages) && !self.asks_too(planned) || self.leaves_out(planned) {
                continue;
            }
            let class = planned.standing.class(senders);
            if !looks_at(planned.limit.verified, class) {
                continue;
            }
            let asked = Asked { index: index as u16, planned, class, charged: self.stages.contains(planned.stage) };
            match &planned.store {
                Store::Rate(buckets) => self.ask_rate(request, asked, buckets),
                Store::FanOut { fan_out, memory } => self.ask_fan_out(request, asked, fan_out, *memory),
                Store::Distinct { distinct, .. } => self.ask_distinct(request, asked, *distinct),
                Store::InFlight(limit) => self.ask_in_flight(&mut request.wanted, *limit),
            }
        }
    }

    /// Whether a limit is asked before or after its stage, on the terms of a dialogue.
    #[inline]
    fn asks_too(&self, planned: &Planned) -> bool {
        self.terms.is_some_and(|terms| planned.limit.is_in_flight() && planned.asked_at.intersects(terms.in_flight))
    }

    #[inline]
    fn leaves_out(&self, planned: &Planned) -> bool {
        self.terms.is_some_and(|terms| terms.without.contains(planned.of))
    }

    /// Whether this message was counted for that recipient's host already.
    #[inline]
    fn was_asked(&self, asked: Asked<'_>, nth: usize) -> bool {
        self.terms
            .is_some_and(|terms| terms.hosts.binary_search(&(nth as u32)).is_ok() && asked.planned.counts_hosts_once())
    }

    fn ask_rate(&self, request: &mut Request, asked: Asked<'e>, own: &'e RateCounter) {
        let count = self.keys.count(&asked.planned.per);
        let Some(amounts) = Amounts::of(asked.planned, self.identities, self.size) else { return };
        asked.expect(request, count);
        for nth in (0..count).filter(|&nth| !self.was_asked(asked, nth)) {
            let (limit, buckets) = match self.quota(asked, nth) {
                None => (asked.index, own),
                Some(quota) => match self.store(quota) {
                    Some(Store::Rate(buckets)) => (quota, buckets),
                    _ => continue,
                },
            };
            let key = self.keys.joined(self.secret, &asked.planned.per, nth);
            let at = self.sent_for(buckets.lines(self.secret.with_trust(key, asked.class)));
            asked.push(request, limit, nth, Ask::Rate { at, amount: amounts.get(nth) });
        }
    }

    fn ask_fan_out(&self, request: &mut Request, asked: Asked<'e>, own: &'e FanOut, memory: usize) {
        let count = self.keys.count(&asked.planned.per);
        asked.expect(request, count);
        // Limits over one memory come in the same order of values: each goes on from where the last one was found.
        let mut from = request.visits.iter().position(|visit| visit.memory == memory).unwrap_or(request.visits.len());
        let is_first = from == request.visits.len();
        for nth in 0..count {
            if is_first {
                from = request.visits.len();
                self.visit(request, asked, memory, nth);
            }
            let Some(visit) = request.visits.get(from).filter(|visit| (visit.memory, visit.nth) == (memory, nth))
            else {
                continue;
            };
            from += 1;
            if self.was_asked(asked, nth) {
                continue;
            }
            let (limit, fan_out) = match self.quota(asked, nth) {
                None => (asked.index, own),
                Some(quota) => match self.store(quota) {
                    Some(Store::FanOut { fan_out, .. }) => (quota, fan_out),
                    _ => continue,
                },
            };
            for at in fan_out.lines(&visit.arrival) {
                self.sent_for(at);
            }
            asked.push(request, limit, nth, Ask::FanOut { visit: from as u32 - 1 });
        }
    }

    /// The limit's quota for a value that the `nth` key has: of several the first in the file.
    #[inline]
    fn quota(&self, asked: Asked<'_>, nth: usize) -> Option<u16> {
        if asked.planned.quotas.is_empty() { None } else { self.quota_of(asked, nth) }
    }

    fn quota_of(&self, asked: Asked<'_>, nth: usize) -> Option<u16> {
        let quotas = &asked.planned.quotas[..];
        let keys = asked.planned.per.iter().map(|&identity| self.keys.get(identity, nth));
        let found = keys.filter_map(|key| quotas.binary_search_by_key(&key, |(key, _)| *key).ok());
        found.map(|place| quotas[place].1).min()
    }

    /// Nothing of a quota that has no table yet.
    fn store(&self, limit: u16) -> Option<&Store> {
        self.plan.limits.get(usize::from(limit)).map(|planned| &planned.store)
    }

    fn ask_distinct(&self, request: &mut Request, asked: Asked<'_>, distinct: usize) {
        let count = self.keys.count(&asked.planned.per);
        // A key may be promised a slot, and a block in either of two pages.
        asked.expect(request, 3 * count);
        let per = &asked.planned.limit.per;
        for nth in (0..count).filter(|&nth| !self.was_asked(asked, nth)) {
            let limit = self.quota(asked, nth).unwrap_or(asked.index);
            let Some(Store::Distinct { buckets, .. }) = self.store(limit) else { continue };
            let key = self.keys.joined(self.secret, &asked.planned.per, nth);
            let at = self.sent_for(buckets.lines(self.secret.with_trust(key, asked.class)));
            let first = request.elements.len();
            let mut is_present = false;
            self.each_element(distinct, |element, hashed| {
                is_present = true;
                if !per.iter().any(|&per| self.is_value(per, nth, element)) {
                    request.elements.push(self.secret.join(key, hashed));
                }
            });
            if is_present {
                let count = (request.elements.len() - first) as u32;
                asked.push(request, limit, nth, Ask::Distinct { at, first: first as u32, count });
            }
        }
    }

    fn ask_in_flight(&self, wanted: &mut Wanted, limit: usize) {
        let InFlight { bytes, count, share, .. } = &self.plan.capacity.limits[limit];
        if *bytes {
            // Nothing is known of a size that was not declared, and nothing of no size is held.
            let Some(size) = self.size.filter(|&size| size > 0) else { return };
            wanted.held.bytes = size;
        }
        if let Some(Place { tally, .. }) = count {
            if self.keys.count(&self.plan.tallied[*tally].per) == 0 {
                return;
            }
            self.want(wanted, *tally);
        }
        if let Some((Place { tally, .. }, _)) = share {
            self.want(wanted, *tally);
        }
        wanted.held.limits |= 1 << limit;
    }

    /// Adds the key of a tally, once, and sends for its row.
    fn want(&self, wanted: &mut Wanted, tally: usize) {
        if wanted.keys.iter().any(|wanting| wanting.tally == tally) {
            return;
        }
        let Tallied { per, standing, .. } = &self.plan.tallied[tally];
        let own = |&identity: &usize| self.keys.first(identity).unwrap_or(NAMELESS);
        let key = per.split_first().map_or(NAMELESS, |(first, others)| {
            others.iter().map(own).fold(own(first), |joined, key| self.secret.join(joined, key))
        });
        // A tally's keys have one class each, but for senders, which may be of either.
        let key = match standing {
            TrustSource::Senders => self.secret.with_trust(key, self.identities.trust(Identity::SenderHost)),
            TrustSource::Proven | TrustSource::Claimed => key,
        };
        self.plan.capacity.tallies[tally].send_for(self.address, key);
        wanted.keys.push(Wanting { tally, key, row: None });
    }

    /// Adds an arrival at a memory, unless nothing of it can be new. It is filled in where it stands: it is too large to be moved about.
    fn visit(&self, request: &mut Request, asked: Asked<'_>, memory: usize, nth: usize) {
        let key = self.keys.joined(self.secret, &asked.planned.per, nth);
        let bucket = self.secret.with_trust(key, asked.class);
        request.visits.push(Visit { memory, nth, arrival: Arrival::at(bucket) });
        if let Some(Visit { arrival, .. }) = request.visits.last_mut() {
            self.add_elements(arrival, memory, key, nth);
            if arrival.elements.is_empty() {
                request.visits.pop();
            } else {
                self.add_rungs(arrival, asked, memory, key);
            }
        }
    }

    /// What may be new under `key`. An element that is equal to the value of `per` never is.
    fn add_elements(&self, arrival: &mut Arrival, memory: usize, key: Key, nth: usize) {
        let memory = &self.plan.memories[memory];
        self.each_element(memory.distinct, |element, hashed| {
            if !memory.equals.iter().any(|&per| self.is_value(per, nth, element)) {
                let at = self.sent_for(memory.known.lines(self.secret.join(key, hashed)));
                arrival.elements.push(Element { at, seen: None });
            }
        });
    }

    /// Every value of the identity at that place as an element, with its hash, each once.
    fn each_element(&self, place: usize, mut add: impl FnMut(&Value<'_>, Key)) {
        let identity = self.plan.identities[place].identity;
        if identity.has_many() {
            // Not the keys of the values: junk is one value there, and as many elements as it has spellings.
            for element in &self.identities.elements(identity) {
                add(element, self.secret.key(identity, element));
            }
        } else if let Some(element) = self.identities.element(identity) {
            let own = if element.is_raw() { self.secret.key(identity, &element) } else { self.keys.get(place, 0) };
            add(&element, own);
        }
    }

    /// Whether `element` is the `nth` value of `per`.
    fn is_value(&self, per: Identity, nth: usize, element: &Value<'_>) -> bool {
        if !per.has_many() {
            return self.identities.value(per).as_ref() == Some(element);
        }
        let mut compared = self.compared.borrow_mut();
        let place = compared.iter().position(|(identity, _)| *identity == per).unwrap_or_else(|| {
            compared.push((per, self.identities.values(per)));
            compared.len() - 1
        });
        compared[place].1.get(nth) == Some(element)
    }

    /// The parts of the element's name, where a limit over the memory has the ladder.
    fn add_rungs(&self, arrival: &mut Arrival, asked: Asked<'_>, memory: usize, key: Key) {
        let memory = &self.plan.memories[memory];
        if !memory.ladder {
            return;
        }
        let host = self.plan.identities[memory.distinct].identity;
        for part in self.identities.ladder(host, asked.planned.limit.per[0]) {
            let part = self.secret.join(key, self.secret.part(host, part));
            let at = self.sent_for(memory.known.lines(part));
            arrival.rungs.push(Rung { at, bucket: self.secret.with_trust(part, asked.class), seen: None });
        }
    }

    #[inline]
    fn sent_for(&self, at: Candidates) -> Candidates {
        prefetch(self.address, &at);
        at
    }
}

impl Asked<'_> {
    /// Makes room for what `count` keys may be promised, where being without room refuses.
    fn expect(self, request: &mut Request, count: usize) {
        if self.planned.limit.when_full == WhenFull::Refuse {
            request.promised.expect(count);
        }
    }

    /// Under the limit itself or a quota of it.
    fn push(self, request: &mut Request, limit: u16, nth: usize, ask: Ask) {
        let charged = self.charged;
        request.entries.push(Entry {
            limit,
            charged,
            nth: nth as u32,
            ask,
            answer: UNASKED,
            hot: false,
            blocks: false,
        });
    }
}

pub(super) fn looks_at(verified: Verified, class: Trust) -> bool {
    match verified {
        Verified::Any => true,
        Verified::Proven => class == Trust::Proven,
        Verified::Claimed => class == Trust::Claimed,
    }
}
