//! Step one of a check, before the lock: from identities to keys, from keys to lines, all of them on their way into the
//! cache.
//!
//! ```text
//!  envelope → identities → keys → request:  one entry for each limit and key, one look-up for each seen set and key;
//!                                           every line is prefetched
//! ```
//!
//! A limit that cannot apply costs nothing: two sets of limits, by stage and by trust, are intersected first. The time
//! taken grows with the recipients of the envelope and with nothing else.

use std::collections::HashMap;

use super::Engine;
use super::request::{Keys, Request, Room, StageFilter};
use super::transaction::Purpose;
use crate::envelope::Envelope;
use crate::identity::{Identities, Identity, Part, Sources, Trust, Value};
use crate::key::{Key, Secret};
use crate::plan::{Ask, AskKind, LimitSet, NO_TABLE, Plan, PlannedCounts, TrustSource, quota_bit};
use crate::policy::{Count, Stages};
use crate::region::{Candidates, Table, prefetch};
use crate::store::fan_out::MAX_PARTS;
use crate::store::in_flight::{InFlight, Place, WantedKey};
use crate::store::request::Request as Stores;
use crate::store::request::{Entry, Lookup, NamePart, Question, Run};

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

    /// Reads the envelope and fills in a request with all that a check asks. `more` says what is read beyond what the
    /// limits need.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined into three callers, each of which states all of them")]
    pub(super) fn prepare_check<'e>(
        &self,
        identities: &mut Identities<'e>,
        room: &mut Room,
        envelope: &Envelope<'e>,
        stages: Stages,
        purpose: Purpose,
        filter: Option<&StageFilter>,
        more: Sources,
    ) {
        let needed = filter.map_or(stages, |filter| stages.union(filter.in_flight));
        let mut sources = self.plan.sources(needed).union(more);
        let access = self.access_kinds(stages);
        if let Some((_, access)) = &access {
            sources = sources.union(*access);
        }
        identities.fill(envelope, &self.suffixes, sources);
        let Room { request, found } = room;
        self.prepare_filtered(request, identities, envelope.size, stages, purpose, filter);
        if let Some((kinds, _)) = &access {
            self.prepare_access(request, identities, kinds, stages);
        }
        found.take_room_for(request);
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
            address: self.shared.address,
            identities,
            size,
            stages,
            senders,
            filter,
            keys: &request.keys,
        };
        let mut limits = plan.applicable.asked_at(stages);
        if let Some(filter) = filter {
            let held_elsewhere = plan.applicable.asked_at(filter.in_flight).intersect(plan.applicable.in_flight);
            limits = limits.union(held_elsewhere).minus(filter.without);
        }
        limits = limits.intersect(plan.applicable.for_trust(senders)).minus(request.keys.ruled_out());
        if size.is_none() {
            limits = limits.minus(plan.applicable.sized);
        }
        if purpose != Purpose::Admit && !self.shared.hints.has_open_permits.get() {
            limits = limits.minus(plan.applicable.unless_idle);
        }
        // The same code twice: without the loops over values for the common envelope, which has one value of each
        // identity.
        if may_have_several {
            preparer.fill_several(&mut request.stores, limits);
        } else {
            preparer.fill::<false>(&mut request.stores, limits);
        }
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
}

impl<'e> Preparer<'e, '_> {
    #[inline(never)]
    fn fill_several(&self, request: &mut Stores, limits: LimitSet) {
        self.fill::<true>(request, limits);
    }

    /// Asks every limit of a set; `SEVERAL`: an identity may have several values, or a filter is set.
    #[inline(always)]
    fn fill<const SEVERAL: bool>(&self, request: &mut Stores, limits: LimitSet) {
        // The look-ups come first, as they do under the lock: so every line has about as long to arrive.
        let rates = self.plan.applicable.rates;
        let mut looked_up = 0u64;
        for place in limits.minus(rates).iter() {
            let ask = &self.plan.asks[usize::from(place)];
            let trust = ask.trust_source.trust(self.senders);
            match ask.kind {
                AskKind::Rate => {}
                AskKind::FanOut { seen_set } => {
                    let is_known = looked_up >> seen_set & 1 != 0;
                    looked_up |= 1 << seen_set;
                    self.ask_fan_out::<SEVERAL>(request, place, ask, trust, (seen_set.into(), is_known));
                }
                AskKind::Distinct => self.ask_distinct::<SEVERAL>(request, place, ask, trust),
                AskKind::InFlight(limit) => self.ask_in_flight::<SEVERAL>(request, limit.into()),
            }
        }
        request.fan_outs = request.entries.len();
        for place in limits.intersect(rates).iter() {
            let ask = &self.plan.asks[usize::from(place)];
            self.ask_rate::<SEVERAL>(request, place, ask, ask.trust_source.trust(self.senders));
        }
    }

    /// Whether this message was counted for that recipient's host by an earlier step.
    #[inline]
    fn was_asked(&self, place: u16, nth: usize) -> bool {
        let Some(filter) = self.filter else { return false };
        let counts_once = || self.plan.limits[usize::from(place)].counts_hosts_once();
        filter.hosts.binary_search(&(nth as u32)).is_ok() && counts_once()
    }

    #[inline(always)]
    fn ask_rate<const SEVERAL: bool>(&self, request: &mut Stores, place: u16, ask: &Ask, trust: Trust) {
        let (amount, amounts) = match ask.count {
            Count::Connections | Count::Messages => (1, None),
            Count::Bytes => match self.size {
                Some(size) => (size, None),
                None => return,
            },
            // Of one recipient there is one at most, whatever the key.
            Count::Recipients if !SEVERAL => (self.identities.recipients() as u64, None),
            Count::Recipients => {
                (0, Some(recipients(&self.plan.limits[usize::from(place)].limit.per, self.identities)))
            }
        };
        let count = self.keys.count::<SEVERAL>(&ask.per);
        if SEVERAL && ask.refuses_when_full {
            request.reserve(count);
        }
        for nth in 0..count {
            if SEVERAL && self.was_asked(place, nth) {
                continue;
            }
            let Some(key) = self.keys.joined::<SEVERAL>(self.secret, &ask.per, nth) else { continue };
            let Some((limit, table)) = self.limit_of::<SEVERAL>(place, ask, nth) else { continue };
            let at = self.prefetched(table.candidates(self.secret.with_trust(key, trust)));
            self.push(
                request,
                limit,
                ask,
                nth,
                Question::Rate { at, amount: amounts.as_ref().map_or(amount, |amounts| amounts.get(nth)) },
            );
        }
    }

    /// Adds an entry for each look-up in the limit's seen set, and the look-ups unless another limit has added them.
    #[inline(always)]
    fn ask_fan_out<const SEVERAL: bool>(
        &self,
        request: &mut Stores,
        place: u16,
        ask: &Ask,
        trust: Trust,
        (seen_set, is_known): (u32, bool),
    ) {
        let count = self.keys.count::<SEVERAL>(&ask.per);
        if SEVERAL && ask.refuses_when_full {
            request.reserve(count);
        }
        let mut next = request.lookups.len();
        if is_known {
            next = request.lookups.iter().position(|lookup| lookup.seen_set == seen_set).unwrap_or(next);
        } else {
            for nth in 0..count {
                self.look_up::<SEVERAL>(request, ask, trust, seen_set, nth);
            }
        }
        while let Some(&Lookup { nth, .. }) = request.lookups.get(next).filter(|lookup| lookup.seen_set == seen_set) {
            next += 1;
            let nth = nth as usize;
            if SEVERAL && self.was_asked(place, nth) {
                continue;
            }
            if let Some((limit, _)) = self.limit_of::<SEVERAL>(place, ask, nth) {
                self.push(request, limit, ask, nth, Question::FanOut { lookup: next as u32 - 1 });
            }
        }
    }

    #[inline(always)]
    fn ask_distinct<const SEVERAL: bool>(&self, request: &mut Stores, place: u16, ask: &Ask, trust: Trust) {
        self.ask_distinct_of(request, place, ask, trust, self.keys.count::<SEVERAL>(&ask.per));
    }

    #[inline(never)]
    fn ask_distinct_of(&self, request: &mut Stores, place: u16, ask: &Ask, trust: Trust, count: usize) {
        let planned = &self.plan.limits[usize::from(place)];
        let Some(distinct) = planned.distinct else { return };
        request.has_distinct = true;
        if ask.refuses_when_full {
            // A key may reserve a slot, and a block of registers in either of two pages.
            request.reserve(3 * count);
        }
        for nth in (0..count).filter(|&nth| !self.was_asked(place, nth)) {
            let Some(key) = self.keys.joined::<true>(self.secret, &ask.per, nth) else { continue };
            let Some((limit, table)) = self.limit_of::<true>(place, ask, nth) else { continue };
            let at = self.prefetched(table.candidates(self.secret.with_trust(key, trust)));
            let first = request.hashes.len();
            let mut is_present = false;
            self.each_element(distinct.into(), |hash| {
                is_present = true;
                if !planned.per.iter().any(|&per| self.keys.nth(per, nth) == hash) {
                    request.hashes.push(self.secret.join(key, hash));
                }
            });
            if is_present {
                let elements = Run { first: first as u32, count: (request.hashes.len() - first) as u32 };
                self.push(request, limit, ask, nth, Question::Distinct { at, elements });
            }
        }
    }

    /// The limit that counts the `nth` key and its table: a quota for one of its values, of several the first in the
    /// file, or the limit itself. `None` when the quota has no table yet.
    #[inline(always)]
    fn limit_of<const SEVERAL: bool>(&self, place: u16, ask: &Ask, nth: usize) -> Option<(u16, Table)> {
        let key = |place: &u16| if SEVERAL { self.keys.nth(*place, nth) } else { self.keys.get(place) };
        if ask.quota_bits != 0 && ask.per.iter().any(|per| ask.quota_bits & quota_bit(key(per)) != 0) {
            return self.quota_of(place, ask, nth);
        }
        Some((place, ask.table))
    }

    #[inline(never)]
    fn quota_of(&self, place: u16, ask: &Ask, nth: usize) -> Option<(u16, Table)> {
        let quotas = &self.plan.limits[usize::from(place)].quotas[..];
        let keys = ask.per.iter().map(|&place| self.keys.nth(place, nth));
        let found = keys.filter_map(|key| quotas.binary_search_by_key(&key, |(key, _)| *key).ok());
        match found.map(|found| quotas[found].1).min() {
            None => Some((place, ask.table)),
            Some(NO_TABLE) => None,
            Some(quota) => Some((quota, self.plan.asks[usize::from(quota)].table)),
        }
    }

    #[inline(never)]
    fn ask_in_flight<const SEVERAL: bool>(&self, request: &mut Stores, limit: usize) {
        let InFlight { bytes, count, share, .. } = &self.plan.in_flight.limits[limit];
        if *bytes {
            // A message whose size is not declared is asked for no bytes, and one of no bytes holds none.
            let Some(size) = self.size.filter(|&size| size > 0) else { return };
            request.in_flight.held.bytes = size;
        }
        if let Some(Place { counts, .. }) = count {
            let per = &self.plan.count_keys[*counts].per;
            if per.iter().any(|&place| self.keys.first(place).is_none()) {
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
    fn look_up<const SEVERAL: bool>(&self, request: &mut Stores, ask: &Ask, trust: Trust, seen_set: u32, nth: usize) {
        let planned = &self.plan.seen_sets[seen_set as usize];
        let Some(key) = self.keys.joined::<SEVERAL>(self.secret, &ask.per, nth) else { return };
        let identity = self.plan.identities[planned.distinct].identity;
        let first = request.others.len();
        let mut element = None;
        if !SEVERAL && planned.is_of_sender && self.identities.is_sender_plain() {
            // An element that is equal to the value of `per` is never new.
            let hash = self.keys.get(&(planned.distinct as u16));
            if planned.equals.iter().any(|per| self.keys.get(per) == hash) {
                return;
            }
            element = Some(self.prefetched(planned.set.table.candidates(self.secret.join(key, hash))));
        } else {
            self.add_elements(request, &mut element, seen_set, key, nth);
        }
        let Some(element) = element else { return };
        let others = Run { first: first as u32, count: (request.others.len() - first) as u32 };
        let first = request.parts.len();
        if planned.has_ladder && self.identities.may_have_parts(identity) {
            self.add_parts(request, ask, trust, seen_set, key);
        }
        let parts = Run { first: first as u32, count: (request.parts.len() - first) as u32 };
        let bucket = self.secret.with_trust(key, trust);
        request.lookups.push(Lookup { seen_set, nth: nth as u32, bucket, element, others, parts });
    }

    /// Adds every value of the element's identity. An element that is equal to the value of `per` is never new.
    #[inline(never)]
    fn add_elements(
        &self,
        request: &mut Stores,
        element: &mut Option<Candidates>,
        seen_set: u32,
        key: Key,
        nth: usize,
    ) {
        let planned = &self.plan.seen_sets[seen_set as usize];
        self.each_element(planned.distinct, |hash| {
            if !planned.equals.iter().any(|&per| self.keys.nth(per, nth) == hash) {
                let at = self.prefetched(planned.set.table.candidates(self.secret.join(key, hash)));
                match element {
                    None => *element = Some(at),
                    Some(_) => request.others.push(at),
                }
            }
        });
    }

    /// Adds the parts of the element's name between the value of `per` and the whole host.
    #[inline(never)]
    fn add_parts(&self, request: &mut Stores, ask: &Ask, trust: Trust, seen_set: u32, key: Key) {
        let planned = &self.plan.seen_sets[seen_set as usize];
        let [host, per] =
            [planned.distinct, usize::from(*ask.per.parts().0)].map(|place| self.plan.identities[place].identity);
        for part in self.identities.ladder(host, per) {
            let part = self.secret.join(key, self.secret.part(host, part));
            let at = self.prefetched(planned.set.table.candidates(part));
            request.parts.push(NamePart { at, bucket: self.secret.with_trust(part, trust) });
        }
    }

    /// The key of every value of the identity at that place as an element, each once.
    ///
    /// These are not the keys of the values: junk is one value, and as many elements as it has spellings.
    fn each_element(&self, place: usize, mut add: impl FnMut(Key)) {
        for element in &self.identities.elements(self.plan.identities[place].identity) {
            add(self.secret.key(element));
        }
    }

    #[inline]
    fn prefetched(&self, at: Candidates) -> Candidates {
        prefetch(self.address, &at);
        at
    }

    /// Adds an entry, under the limit itself or a quota of it.
    #[inline(always)]
    fn push(&self, request: &mut Stores, limit: u16, ask: &Ask, nth: usize, question: Question) {
        let is_charged = self.stages.contains(ask.stage);
        request.entries.push(Entry { limit, is_charged, nth: nth as u32, question });
    }
}

/// An amount for each value of the identity that has several.
pub(super) enum Amounts {
    /// One amount for all.
    Same(u64),
    /// One for each.
    Each(Vec<u64>),
}

impl Amounts {
    #[inline]
    pub(super) fn get(&self, nth: usize) -> u64 {
        match self {
            Self::Same(amount) => *amount,
            Self::Each(amounts) => amounts.get(nth).copied().unwrap_or(0),
        }
    }
}

/// Recipients, duplicates once: one for each address, as many as there are at each host, all of them for anything else.
pub(super) fn recipients(per: &[Identity], identities: &Identities<'_>) -> Amounts {
    if per.contains(&Identity::RcptAddress) {
        return Amounts::Same(1);
    }
    let all = identities.values(Identity::RcptAddress);
    if !per.contains(&Identity::RcptHost) {
        return Amounts::Same(all.len() as u64);
    }
    let mut at_host: HashMap<&Part<'_>, u64> = HashMap::with_capacity(all.len());
    let mut elsewhere = 0;
    for recipient in &all {
        match recipient {
            Value::Address(_, host) => *at_host.entry(host).or_default() += 1,
            _ => elsewhere += 1,
        }
    }
    let amount = |host: &Value<'_>| match host {
        Value::Name(host) => at_host.get(host).copied().unwrap_or(elsewhere),
        _ => elsewhere,
    };
    Amounts::Each(identities.values(Identity::RcptHost).iter().map(amount).collect())
}
