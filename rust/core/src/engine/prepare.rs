//! Step one of a check, before the lock: from identities to keys, from keys to lines, all of them on their way into the cache.
//!
//! ```text
//!  envelope → identities → keys → request:  one entry for each limit and key, one look-up for each seen set and key;  every line is prefetched
//! ```
//!
//! A limit that cannot apply costs nothing: two sets of limits, by stage and by trust, are intersected first. The time taken grows with the recipients of
//! the envelope and with nothing else.

use std::cell::RefCell;

use smallvec::SmallVec;

use super::Engine;
use super::amount::Amounts;
use super::filter::StageFilter;
use super::keys::Keys;
use super::outcome::Purpose;
use super::request::Request;
use crate::envelope::Envelope;
use crate::identity::{Identities, Identity, Trust, Value, Values};
use crate::key::{Key, Secret};
use crate::plan::{LimitSet, NO_TABLE, Plan, PlannedCounts, PlannedLimit, TrustSource};
use crate::policy::{Stages, WhenFull};
use crate::region::{Candidates, prefetch};
use crate::store::Store;
use crate::store::fan_out::{FanOut, MAX_PARTS};
use crate::store::in_flight::{InFlight, Place, WantedKey};
use crate::store::rate_counter::RateCounter;
use crate::store::request::{Entry, Lookup, Part, Question, Request as Stores, Run};

/// The key of an identity that is absent, among those that share what is free: all such senders count together.
const NAMELESS: Key = Key(u64::MAX);

// The store takes as many parts of a name as the identities give.
const _: () = assert!(MAX_PARTS == crate::identity::RUNGS);

impl Engine {
    /// The identities that `stages` need.
    pub fn read<'e>(&self, envelope: &Envelope<'e>, stages: Stages) -> Identities<'e> {
        Identities::read(envelope, &self.suffixes, self.plan.sources(stages))
    }

    /// Fills in what the limits of `stages` ask about an envelope of `size` bytes, and prefetches every line.
    ///
    /// It takes an empty request and does not return one: a request is large, and moving it costs time.
    pub fn prepare(
        &self,
        request: &mut Request,
        identities: &Identities<'_>,
        size: Option<u64>,
        stages: Stages,
        purpose: Purpose,
    ) {
        self.prepare_filtered(request, identities, size, stages, purpose, None);
    }

    /// The request of a step of a session, which asks what `filter` leaves of its stages.
    #[inline(always)]
    pub(super) fn prepare_filtered(
        &self,
        request: &mut Request,
        identities: &Identities<'_>,
        size: Option<u64>,
        stages: Stages,
        purpose: Purpose,
        filter: Option<&StageFilter>,
    ) {
        let plan = &self.plan;
        let needed = filter.map_or(stages, |filter| stages.union(filter.in_flight));
        let may_have_several = filter.is_some() || identities.may_have_several();
        if may_have_several {
            request.keys.fill_several(plan, &self.secret, identities, needed);
        } else {
            request.keys.fill(plan, &self.secret, identities, needed);
        }
        let senders = identities.trust(Identity::SenderHost);
        let preparer = Preparer {
            plan,
            secret: &self.secret,
            address: self.shared.address(),
            identities,
            size,
            stages,
            senders,
            filter,
            keys: &request.keys,
            compared: RefCell::default(),
        };
        let mut limits = plan.applicable.asked_at(stages);
        if let Some(filter) = filter {
            let held_elsewhere = plan.applicable.asked_at(filter.in_flight).intersect(plan.applicable.in_flight());
            limits = limits.union(held_elsewhere).minus(filter.without);
        }
        limits = limits.intersect(plan.applicable.for_trust(senders));
        if purpose != Purpose::Admit && !self.shared.may_have_in_flight() {
            limits = limits.minus(plan.applicable.unless_idle());
        }
        // The same code twice: without the loops over values for the common envelope, which has one value of each identity.
        if may_have_several {
            preparer.fill_several(&mut request.stores, limits);
        } else {
            preparer.fill::<false>(&mut request.stores, limits);
        }
        drop(preparer);
        if let Some(filter) = filter {
            self.count_once(request, stages, filter);
        }
    }
}

/// What a request is made from.
struct Preparer<'e, 't> {
    plan: &'e Plan,
    secret: &'e Secret,
    /// Where the region lies.
    address: usize,
    identities: &'e Identities<'t>,
    size: Option<u64>,
    stages: Stages,
    /// The trust of the sender.
    senders: Trust,
    filter: Option<&'e StageFilter>,
    keys: &'e Keys,
    /// The values of identities that have several and are compared with elements.
    compared: RefCell<SmallVec<[(Identity, Values<'e>); 1]>>,
}

/// A limit that is asked.
#[derive(Clone, Copy)]
struct Asked<'e> {
    place: u16,
    planned: &'e PlannedLimit,
    trust: Trust,
    is_charged: bool,
}

impl<'e> Preparer<'e, '_> {
    #[inline(never)]
    fn fill_several(&self, request: &mut Stores, limits: LimitSet) {
        self.fill::<true>(request, limits);
    }

    /// Asks every limit of a set; `SEVERAL`: an identity may have several values, or a filter is set.
    #[inline(always)]
    fn fill<const SEVERAL: bool>(&self, request: &mut Stores, limits: LimitSet) {
        for place in limits.iter() {
            let planned = &self.plan.limits[usize::from(place)];
            let trust = planned.trust_source.trust(self.senders);
            let asked = Asked { place, planned, trust, is_charged: self.stages.contains(planned.stage) };
            match &planned.store {
                Store::Rate(counter) => self.ask_rate::<SEVERAL>(request, asked, counter),
                Store::FanOut(fan_out) => self.ask_fan_out::<SEVERAL>(request, asked, fan_out),
                Store::Distinct(_) => self.ask_distinct::<SEVERAL>(request, asked),
                Store::InFlight(limit) => self.ask_in_flight::<SEVERAL>(request, *limit),
            }
        }
    }

    /// Whether this message was counted for that recipient's host by an earlier step.
    #[inline]
    fn was_asked(&self, asked: Asked<'_>, nth: usize) -> bool {
        self.filter.is_some_and(|filter| {
            filter.hosts.binary_search(&(nth as u32)).is_ok() && asked.planned.counts_hosts_once()
        })
    }

    #[inline(always)]
    fn ask_rate<const SEVERAL: bool>(&self, request: &mut Stores, asked: Asked<'e>, own: &'e RateCounter) {
        let count = self.keys.count::<SEVERAL>(&asked.planned.per);
        if count == 0 {
            return;
        }
        let Some(amounts) = Amounts::of(asked.planned, self.identities, self.size) else { return };
        asked.reserve(request, count);
        for nth in 0..count {
            if SEVERAL && self.was_asked(asked, nth) {
                continue;
            }
            let key = self.keys.joined::<SEVERAL>(self.secret, &asked.planned.per, nth);
            let (limit, counter) = match self.quota(asked, nth) {
                None => (asked.place, own),
                Some(quota) => match self.store(quota) {
                    Some(Store::Rate(counter)) => (quota, counter),
                    _ => continue,
                },
            };
            let at = self.prefetched(counter.lines(self.secret.with_trust(key, asked.trust)));
            asked.push(request, limit, nth, Question::Rate { at, amount: amounts.get(nth) });
        }
    }

    #[inline(always)]
    fn ask_fan_out<const SEVERAL: bool>(&self, request: &mut Stores, asked: Asked<'e>, own: &'e FanOut) {
        let count = self.keys.count::<SEVERAL>(&asked.planned.per);
        asked.reserve(request, count);
        let seen_set = own.seen_set() as u32;
        // Limits over one seen set come in the same order of values: each goes on from where the last one was found.
        let known = request.lookups.iter().position(|lookup| lookup.seen_set == seen_set);
        let mut next = known.unwrap_or(request.lookups.len());
        for nth in 0..count {
            if known.is_none() {
                next = request.lookups.len();
                self.look_up::<SEVERAL>(request, asked, seen_set, nth);
            }
            let is_this = |lookup: &&Lookup| (lookup.seen_set, lookup.nth) == (seen_set, nth as u32);
            let Some(lookup) = request.lookups.get(next).filter(is_this).copied() else { continue };
            next += 1;
            if SEVERAL && self.was_asked(asked, nth) {
                continue;
            }
            let (limit, fan_out) = match self.quota(asked, nth) {
                None => (asked.place, own),
                Some(quota) => match self.store(quota) {
                    Some(Store::FanOut(fan_out)) => (quota, fan_out),
                    _ => continue,
                },
            };
            fan_out.each_line(request, &lookup, |at| prefetch(self.address, &at));
            asked.push(request, limit, nth, Question::FanOut { lookup: next as u32 - 1 });
        }
    }

    /// The limit's quota for a value that the `nth` key has: of several the first in the file.
    #[inline]
    fn quota(&self, asked: Asked<'_>, nth: usize) -> Option<u16> {
        if asked.planned.quotas.is_empty() { None } else { self.quota_of(asked, nth) }
    }

    fn quota_of(&self, asked: Asked<'_>, nth: usize) -> Option<u16> {
        let quotas = &asked.planned.quotas[..];
        let keys = asked.planned.per.iter().map(|&place| self.keys.nth(place, nth));
        let found = keys.filter_map(|key| quotas.binary_search_by_key(&key, |(key, _)| *key).ok());
        found.map(|place| quotas[place].1).min()
    }

    /// The store of a limit or quota; `None` for a quota that has no table yet.
    fn store(&self, limit: u16) -> Option<&Store> {
        debug_assert!(limit == NO_TABLE || usize::from(limit) < self.plan.limits.len());
        self.plan.limits.get(usize::from(limit)).map(|planned| &planned.store)
    }

    fn ask_distinct<const SEVERAL: bool>(&self, request: &mut Stores, asked: Asked<'_>) {
        let Some(distinct) = asked.planned.distinct else { return };
        let count = self.keys.count::<SEVERAL>(&asked.planned.per);
        // A key may reserve a slot, and a block of registers in either of two pages.
        asked.reserve(request, 3 * count);
        let per = &asked.planned.limit.per;
        for nth in (0..count).filter(|&nth| !(SEVERAL && self.was_asked(asked, nth))) {
            let limit = self.quota(asked, nth).unwrap_or(asked.place);
            let Some(Store::Distinct(store)) = self.store(limit) else { continue };
            let key = self.keys.joined::<SEVERAL>(self.secret, &asked.planned.per, nth);
            let at = self.prefetched(store.lines(self.secret.with_trust(key, asked.trust)));
            let first = request.hashes.len();
            let mut is_present = false;
            self.each_element(distinct.into(), |element, hash| {
                is_present = true;
                if !per.iter().any(|&per| self.is_value(per, nth, element)) {
                    request.hashes.push(self.secret.join(key, hash));
                }
            });
            if is_present {
                let count = (request.hashes.len() - first) as u32;
                asked.push(request, limit, nth, Question::Distinct { at, first: first as u32, count });
            }
        }
    }

    fn ask_in_flight<const SEVERAL: bool>(&self, request: &mut Stores, limit: usize) {
        let InFlight { bytes, count, share, .. } = &self.plan.in_flight.limits[limit];
        if *bytes {
            // A message whose size is not declared is asked for no bytes, and one of no bytes holds none.
            let Some(size) = self.size.filter(|&size| size > 0) else { return };
            request.in_flight.held.bytes = size;
        }
        if let Some(Place { counts, .. }) = count {
            if self.keys.count::<SEVERAL>(&self.plan.count_keys[*counts].per) == 0 {
                return;
            }
            self.want(request, *counts);
        }
        if let Some((Place { counts, .. }, _)) = share {
            self.want(request, *counts);
        }
        request.in_flight.held.limits |= 1 << limit;
    }

    /// Adds the key of some counts, once, and prefetches its row.
    fn want(&self, request: &mut Stores, counts: usize) {
        if request.in_flight.keys.iter().any(|wanted| wanted.counts == counts) {
            return;
        }
        let PlannedCounts { per, trust_source, .. } = &self.plan.count_keys[counts];
        let own = |&place: &u16| self.keys.first(place).unwrap_or(NAMELESS);
        let key = per.split_first().map_or(NAMELESS, |(first, others)| {
            others.iter().map(own).fold(own(first), |joined, key| self.secret.join(joined, key))
        });
        // The keys of some counts have one trust, but for senders, which may have either.
        let key = match trust_source {
            TrustSource::Senders => self.secret.with_trust(key, self.senders),
            TrustSource::Proven | TrustSource::Claimed => key,
        };
        self.plan.in_flight.counts[counts].send_for(self.address, key);
        request.in_flight.keys.push(WantedKey { counts, key });
    }

    /// Adds a look-up in a seen set, unless nothing of it can be new.
    #[inline(always)]
    fn look_up<const SEVERAL: bool>(&self, request: &mut Stores, asked: Asked<'_>, seen_set: u32, nth: usize) {
        let planned = &self.plan.seen_sets[seen_set as usize];
        let key = self.keys.joined::<SEVERAL>(self.secret, &asked.planned.per, nth);
        let first = request.elements.len();
        // An element that is equal to the value of `per` is never new.
        self.each_element(planned.distinct, |element, hash| {
            if !planned.equals.iter().any(|&per| self.is_value(per, nth, element)) {
                request.elements.push(self.prefetched(planned.set.lines(self.secret.join(key, hash))));
            }
        });
        let elements = Run { first: first as u32, count: (request.elements.len() - first) as u32 };
        if elements.count == 0 {
            return;
        }
        let first = request.parts.len();
        if planned.has_ladder {
            let host = self.plan.identities[planned.distinct].identity;
            for part in self.identities.ladder(host, asked.planned.limit.per[0]) {
                let part = self.secret.join(key, self.secret.part(host, part));
                let at = self.prefetched(planned.set.lines(part));
                request.parts.push(Part { at, bucket: self.secret.with_trust(part, asked.trust) });
            }
        }
        let parts = Run { first: first as u32, count: (request.parts.len() - first) as u32 };
        let bucket = self.secret.with_trust(key, asked.trust);
        request.lookups.push(Lookup { seen_set, nth: nth as u32, bucket, elements, parts });
    }

    /// Every value of the identity at that place as an element, with its hash, each once.
    #[inline]
    fn each_element(&self, place: usize, mut add: impl FnMut(&Value<'_>, Key)) {
        let identity = self.plan.identities[place].identity;
        if identity.has_many() {
            // Not the keys of the values: junk is one value there, and as many elements as it has spellings.
            for element in &self.identities.elements(identity) {
                add(element, self.secret.key(identity, element));
            }
        } else if let Some(element) = self.identities.element(identity) {
            let is_raw = element.is_raw();
            add(&element, if is_raw { self.secret.key(identity, &element) } else { self.keys.get(&(place as u16)) });
        }
    }

    /// Whether `element` is the `nth` value of `per`.
    #[inline]
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

    #[inline]
    fn prefetched(&self, at: Candidates) -> Candidates {
        prefetch(self.address, &at);
        at
    }
}

impl Asked<'_> {
    /// Takes room for the slots that `count` keys may reserve, where a key without room is refused.
    #[inline]
    fn reserve(self, request: &mut Stores, count: usize) {
        if self.planned.limit.when_full == WhenFull::Refuse {
            request.reserve(count);
        }
    }

    /// Adds an entry, under the limit itself or a quota of it.
    #[inline]
    fn push(self, request: &mut Stores, limit: u16, nth: usize, question: Question) {
        request.entries.push(Entry { limit, is_charged: self.is_charged, nth: nth as u32, question });
    }
}
