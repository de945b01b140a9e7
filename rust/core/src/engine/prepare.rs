//! Step one of a check, before the lock: from identities to keys, from keys to lines, all of them on their way into the
//! cache.
//!
//! ```text
//!  envelope → identities → keys → request:  one look-up for each seen set and key, one entry for each limit and key;
//!                                           every line is prefetched
//! ```
//!
//! Rates that count the same key are asked together, and so are fan-outs over the same seen set: each key is made once.
//! A limit that cannot apply costs nothing. Sets of limits by stage, trust, size and absent identities leave it out
//! first. The time grows with the recipients of the envelope and the length of its texts. All else has a bound: limits,
//! header values, parts of a name, and kinds of entries.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::Engine;
use super::request::{Keys, Request, Room, StageFilter};
use super::transaction::Purpose;
use crate::envelope::Envelope;
use crate::identity::{Identities, Identity, Source, Sources, Trust, Value};
use crate::key::{Key, Secret};
use crate::plan::{
    Applicable, Ask, AskKind, LimitSet, Places, Plan, PlannedCounts, PlannedIdentity, PlannedSeenSet, RateKey,
    TrustSource, quota_bit,
};
use crate::policy::{Count, Stage, Stages};
use crate::region::{Candidates, Spot, Table, prefetch};
use crate::store::fan_out::MAX_PARTS;
use crate::store::in_flight::{Columns, InFlight, Place, WantedKey};
use crate::store::request::{Entry, Lookup, NamePart, Question, Run, StoreRequest};

/// The key that an in-flight limit uses for an absent identity. All senders without it share one count.
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
        &self, request: &mut Request, identities: &Identities<'_>, size: Option<u64>, stages: Stages, purpose: Purpose,
    ) {
        self.prepare_filtered(request, identities, size, stages, purpose, None);
    }

    /// Reads the envelope and fills in a request with all that a check asks. `more` lists sources to read that no limit
    /// needs.
    #[inline(never)]
    #[expect(clippy::too_many_arguments, reason = "each of the three callers states all of them")]
    pub(super) fn prepare_check<'e>(
        &self, identities: &mut Identities<'e>, room: &mut Room, envelope: &Envelope<'e>, stages: Stages,
        purpose: Purpose, filter: Option<&StageFilter>, more: Sources,
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

    /// Fills in the request of any check. A step of a session passes a `filter`, which leaves limits out and adds
    /// in-flight limits of other stages.
    #[inline(always)]
    pub(super) fn prepare_filtered(
        &self, request: &mut Request, identities: &Identities<'_>, size: Option<u64>, stages: Stages, purpose: Purpose,
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
        (request.sender_trust, request.sender_kind) = (senders, identities.sender_kind());
        request.last_stage = stages.last().unwrap_or_default();
        let mut preparer = Preparer {
            plan,
            secret: &self.secret,
            address: self.shared.address,
            identities,
            size,
            charged: plan.applicable.charged_at(stages),
            senders,
            is_sender_plain: identities.is_sender_plain(),
            filter,
            keys: &request.keys,
            stores: &mut request.stores,
        };
        let mut limits = plan.applicable.asked_at(stages);
        if let Some(filter) = filter {
            let held_elsewhere = plan.applicable.asked_at(filter.in_flight).intersect(plan.applicable.in_flight);
            limits = limits.union(held_elsewhere).minus(filter.without);
        }
        limits = limits.intersect(plan.applicable.for_sender(request.sender_kind)).minus(preparer.keys.ruled_out);
        if size.is_none() {
            limits = limits.minus(plan.applicable.sized);
        }
        if purpose != Purpose::Admit {
            let hints = &self.shared.hints;
            if !hints.has_open_permits.get() {
                limits = limits.minus(plan.applicable.unless_idle);
            }
            if !hints.has_reports.get() {
                limits = limits.minus(plan.applicable.on_reports);
            }
        }
        // One generic function, compiled twice: the common envelope has one value of each identity, and needs no loops
        // over values.
        if may_have_several {
            preparer.fill_several(limits);
            request.is_step = filter.is_some();
            request.has_too_many_recipients =
                stages.contains(Stage::Rcpt) && self.has_too_many_recipients(identities, filter);
        } else {
            preparer.fill::<false>(limits);
        }
        if let Some(filter) = filter {
            self.count_once(request, stages, filter);
        }
    }

    fn has_too_many_recipients(&self, identities: &Identities<'_>, filter: Option<&StageFilter>) -> bool {
        let most = self.max_recipients.saturating_sub(filter.map_or(0, |filter| filter.accepted));
        // Duplicates count once, and they are looked for only when there are enough with them.
        identities.recipients() > most && identities.values(Identity::RcptAddress).len() > most
    }
}

/// Fills in what the stores are asked.
struct Preparer<'e, 't> {
    plan: &'e Plan,
    secret: &'e Secret,
    /// Where the region lies.
    address: usize,
    identities: &'e Identities<'t>,
    size: Option<u64>,
    /// The limits that are charged if the check is admitted.
    charged: LimitSet,
    /// The trust of the sender.
    senders: Trust,
    /// Whether the text of the sender has a normal form.
    is_sender_plain: bool,
    filter: Option<&'e StageFilter>,
    keys: &'e Keys,
    stores: &'e mut StoreRequest,
}

impl<'e> Preparer<'e, '_> {
    #[inline(never)]
    fn fill_several(&mut self, limits: LimitSet) {
        self.fill::<true>(limits);
    }

    /// Asks every limit of a set; `SEVERAL`: an identity may have several values, or a filter is set.
    #[inline(always)]
    fn fill<const SEVERAL: bool>(&mut self, limits: LimitSet) {
        let Applicable { rates, fan_outs, .. } = self.plan.applicable;
        // The look-ups come first, as they do under the lock: so every line has about as long to arrive.
        for (seen_set, planned) in (0..).zip(&self.plan.seen_sets) {
            let over_it = limits.intersect(planned.limits);
            if !over_it.is_empty() {
                self.ask_fan_outs::<SEVERAL>(seen_set, planned, over_it);
            }
        }
        for place in limits.minus(rates).minus(fan_outs).iter() {
            match self.plan.asks[usize::from(place)].kind {
                AskKind::Rate | AskKind::FanOut { .. } => {}
                AskKind::Distinct => self.ask_distinct(place),
                AskKind::InFlight(limit) => self.ask_in_flight(limit.into()),
            }
        }
        self.stores.fan_outs = self.stores.entries.len();
        for key in &self.plan.rate_keys {
            let with_it = limits.intersect(key.limits);
            if !with_it.is_empty() {
                self.ask_rates::<SEVERAL>(key, with_it);
            }
        }
    }

    /// Whether an earlier step counted this message for the host of that recipient.
    fn was_asked(&self, place: u16, nth: usize) -> bool {
        let Some(filter) = self.filter else { return false };
        let is_counted = filter.hosts.binary_search(&(nth as u32)).is_ok();
        is_counted && self.plan.limits[usize::from(place)].counts_hosts_once()
    }

    /// Adds an entry for each value of a key and each of the limits `with_it`.
    #[inline(always)]
    fn ask_rates<const SEVERAL: bool>(&mut self, rate_key: &RateKey, with_it: LimitSet) {
        let RateKey { per, trust_source, quota_bits, .. } = rate_key;
        let count = self.keys.count::<SEVERAL>(per);
        let mut recipients = SmallVec::new();
        if SEVERAL {
            self.reserve(with_it, count);
            recipients = self.recipients(per, with_it, count);
        }
        for nth in 0..count {
            let Some(key) = self.keys.joined::<SEVERAL>(self.secret, per, nth) else { continue };
            let may_have_quota = quota_bits & quota_bit(key) != 0;
            let spot = Spot::of(self.secret.with_trust(key, trust_source.trust(self.senders)));
            for place in with_it.iter() {
                if SEVERAL && self.was_asked(place, nth) {
                    continue;
                }
                let ask = &self.plan.asks[usize::from(place)];
                let amount = if ask.count == Count::Recipients {
                    // With at most one recipient, each key counts 0 or 1.
                    if SEVERAL {
                        recipients.get(nth).copied().unwrap_or_default()
                    } else {
                        self.identities.recipients() as u64
                    }
                } else if ask.count == Count::Bytes {
                    // A limit on bytes is asked only if there is a size.
                    self.size.unwrap_or_default()
                } else {
                    1
                };
                let (limit, table) =
                    if may_have_quota { self.limit_of::<SEVERAL>(place, ask, nth) } else { (place, ask.table) };
                let at = self.prefetched(table.candidates_at(&spot));
                self.push(place, limit, nth, Question::Rate { at, amount });
            }
        }
    }

    /// Adds room for reservations of `count` keys of each of these limits.
    #[inline(never)]
    fn reserve(&mut self, limits: LimitSet, count: usize) {
        let refusing = limits.iter().filter(|&place| self.plan.asks[usize::from(place)].refuses_when_full).count();
        (0..refusing).for_each(|_| self.stores.reserve(count));
    }

    /// How many different recipients there are.
    #[inline(always)]
    fn count_recipients<const SEVERAL: bool>(&self) -> u32 {
        let count =
            if SEVERAL { self.identities.values(Identity::RcptAddress).len() } else { self.identities.recipients() };
        count.try_into().unwrap_or(u32::MAX)
    }

    /// How many recipients each of the `count` values of a key counts, duplicates once: one for an address, as many as
    /// there are at a host, all of them for anything else. Empty when none of the limits `with_it` counts recipients.
    #[inline(never)]
    fn recipients(&self, per: &Places, with_it: LimitSet, count: usize) -> SmallVec<[u64; 4]> {
        if !with_it.iter().any(|place| self.plan.asks[usize::from(place)].count == Count::Recipients) {
            return SmallVec::new();
        }
        let has = |identity| per.iter().any(|&place| self.plan.identities[usize::from(place)].identity == identity);
        let all = || self.identities.values(Identity::RcptAddress);
        let is_by_address = has(Identity::RcptAddress);
        if is_by_address || !has(Identity::RcptHost) {
            return SmallVec::from_elem(if is_by_address { 1 } else { all().len() as u64 }, count);
        }
        let mut at_host: HashMap<Value<'_>, u64> = HashMap::with_capacity(self.identities.recipients());
        for recipient in all() {
            let host = if let Value::Address(_, host) = recipient { Value::Name(host) } else { recipient };
            *at_host.entry(host).or_default() += 1;
        }
        let hosts = self.identities.values(Identity::RcptHost);
        hosts.iter().map(|host| at_host.get(host).copied().unwrap_or_default()).collect()
    }

    /// Adds the look-ups in a seen set, and an entry for each of them and each of the limits `over_it`.
    #[inline(always)]
    fn ask_fan_outs<const SEVERAL: bool>(&mut self, seen_set: u32, planned: &PlannedSeenSet, over_it: LimitSet) {
        let count = self.keys.count::<SEVERAL>(&planned.per);
        if SEVERAL {
            self.reserve(over_it, count);
        }
        let recipients = self.count_recipients::<SEVERAL>();
        for nth in 0..count {
            let lookup = self.stores.lookups.len() as u32;
            let Some(of_set) = self.look_up::<SEVERAL>(seen_set, planned, nth) else { continue };
            for place in over_it.iter() {
                let ask = &self.plan.asks[usize::from(place)];
                let bucket = match ask.kind {
                    AskKind::FanOut { is_apart: true } => {
                        let Some(key) = self.keys.joined::<SEVERAL>(self.secret, &ask.per, nth) else { continue };
                        self.secret.with_trust(key, ask.trust_source.trust(self.senders))
                    }
                    _ => of_set,
                };
                if SEVERAL && self.was_asked(place, nth) {
                    continue;
                }
                let times = if ask.count == Count::Recipients { recipients } else { 1 };
                let (limit, _) = self.limit_of::<SEVERAL>(place, ask, nth);
                self.push(place, limit, nth, Question::FanOut { lookup, bucket, times });
            }
        }
    }

    #[inline(never)]
    fn ask_distinct(&mut self, place: u16) {
        let (planned, ask) = (&self.plan.limits[usize::from(place)], &self.plan.asks[usize::from(place)]);
        let Some(distinct) = planned.distinct else { return };
        self.stores.has_distinct = true;
        let (count, trust) = (self.keys.count::<true>(&ask.per), ask.trust_source.trust(self.senders));
        if ask.refuses_when_full {
            // A key may reserve a slot, and a block of registers in either of two pages.
            self.stores.reserve(3 * count);
        }
        for nth in 0..count {
            if self.was_asked(place, nth) {
                continue;
            }
            let Some(key) = self.keys.joined::<true>(self.secret, &ask.per, nth) else { continue };
            let (limit, table) = self.limit_of::<true>(place, ask, nth);
            let at = self.prefetched(table.candidates(self.secret.with_trust(key, trust)));
            let first = self.stores.hashes.len();
            let elements = self.elements(distinct.into());
            for &hash in &elements {
                // Keys without their masks are equal when two identities have the same value. An element with the value
                // of one of `per` does not count.
                let value = hash.0 ^ self.plan.identities[usize::from(distinct)].mask;
                let is_value =
                    |&per: &u16| self.keys.nth(per, nth).0 ^ self.plan.identities[usize::from(per)].mask == value;
                if !planned.per.iter().any(is_value) {
                    self.stores.hashes.push(self.secret.join(key, hash));
                }
            }
            if !elements.is_empty() {
                let elements = run(first, self.stores.hashes.len());
                self.push(place, limit, nth, Question::Distinct { at, elements });
            }
        }
    }

    /// Returns the limit that counts the `nth` key, and its table. If a value of the key has a quota, that is the
    /// quota; if several have one, the first in the file.
    #[inline(always)]
    fn limit_of<const SEVERAL: bool>(&self, place: u16, ask: &Ask, nth: usize) -> (u16, Table) {
        let key = |place: &u16| self.keys.nth_of::<SEVERAL>(*place, nth);
        if ask.quota_bits != 0 && ask.per.iter().any(|per| ask.may_have_quota(key(per))) {
            return self.quota_of(place, ask, nth);
        }
        (place, ask.table)
    }

    #[inline(never)]
    fn quota_of(&self, place: u16, ask: &Ask, nth: usize) -> (u16, Table) {
        let quotas = &self.plan.limits[usize::from(place)].quotas;
        let first = ask.per.iter().filter_map(|&place| quotas.rank(self.keys.nth(place, nth))).min();
        match first.and_then(|rank| quotas.place(rank)) {
            None => (place, ask.table),
            Some(quota) => (quota, self.plan.asks[usize::from(quota)].table),
        }
    }

    #[inline(never)]
    fn ask_in_flight(&mut self, limit: usize) {
        let InFlight { bytes, count, tiers, .. } = &self.plan.in_flight.limits[limit];
        if *bytes {
            // A message without a declared size, or with a size of 0, holds no bytes.
            let Some(size) = self.size.filter(|&size| size > 0) else { return };
            self.stores.in_flight.held.bytes = size;
        }
        if let Some(Columns { held: Place { counts, .. }, .. }) = count {
            let per = &self.plan.count_keys[*counts].per;
            if per.iter().any(|&place| self.keys.first(place).is_none()) {
                return;
            }
            self.want(*counts);
        }
        for tier in tiers {
            self.want(tier.own.held.counts);
        }
        self.stores.in_flight.held.limits |= 1 << limit;
    }

    /// Adds the key of some counts, once, and prefetches its row.
    fn want(&mut self, counts: usize) {
        if self.stores.in_flight.keys.iter().any(|wanted| wanted.counts == counts) {
            return;
        }
        let PlannedCounts { per, trust_source, .. } = &self.plan.count_keys[counts];
        let own = |&place: &u16| self.keys.first(place).unwrap_or(NAMELESS);
        let key = per.split_first().map_or(NAMELESS, |(first, others)| {
            others.iter().map(own).fold(own(first), |joined, key| self.secret.join(joined, key))
        });
        // Counts per `sender.*` keep proven and claimed keys apart. All others have a fixed trust.
        let key = match trust_source {
            TrustSource::Senders => self.secret.with_trust(key, self.senders),
            TrustSource::Proven | TrustSource::Claimed => key,
        };
        self.plan.in_flight.counts[counts].send_for(self.address, key);
        self.stores.in_flight.keys.push(WantedKey { counts, key });
    }

    /// Adds a look-up in a seen set, unless no element can be new. Returns the bucket of its key.
    #[inline(always)]
    fn look_up<const SEVERAL: bool>(&mut self, seen_set: u32, planned: &PlannedSeenSet, nth: usize) -> Option<Key> {
        let key = self.keys.joined::<SEVERAL>(self.secret, &planned.per, nth)?;
        if planned.is_under_mailbox && self.has_own_organisation(planned, nth) {
            return None;
        }
        let first = self.stores.others.len();
        let element = if !SEVERAL && self.is_element(planned.source) {
            // An element with the same value as `per` is never new. Then the two keys differ only by their masks.
            let hash = self.keys.get(&(planned.distinct as u16));
            let is_new = !planned.equals.iter().any(|(per, between)| self.keys.get(per).0 ^ between == hash.0);
            is_new.then(|| self.prefetched(planned.set.table.candidates(self.secret.join(key, hash))))
        } else {
            self.add_elements(planned, key, nth)
        };
        let element = element?;
        let others = run(first, self.stores.others.len());
        let trust = planned.trust_source.trust(self.senders);
        let first = self.stores.parts.len();
        if planned.has_ladder && self.identities.may_have_parts(self.plan.identities[planned.distinct].identity) {
            self.add_parts(trust, planned, key);
        }
        let parts = run(first, self.stores.parts.len());
        let is_fresh = self.filter.is_some_and(|filter| filter.fresh.contains(&element));
        self.stores.lookups.push(Lookup {
            seen_set,
            element,
            others,
            parts,
            is_fresh,
            is_proven: trust != Trust::Claimed,
        });
        Some(self.secret.with_trust(key, trust))
    }

    /// Whether the value of each identity of this source is its element too, so that its key serves for both. The
    /// elements of text without a normal form are its bytes; networks have none.
    #[inline(always)]
    fn is_element(&self, source: Source) -> bool {
        source == Source::ClientIp || source == Source::Sender && self.is_sender_plain
    }

    /// Whether the sender of this message brings nothing new to the `nth` mailbox.
    fn has_own_organisation(&self, planned: &PlannedSeenSet, nth: usize) -> bool {
        let per = self.plan.identities[usize::from(*planned.per.parts().0)].identity;
        self.identities.is_bounce() || self.identities.is_aligned(per, nth as u32)
    }

    /// Adds every element of the look-up but the first, which it returns. An element that is equal to the value of
    /// `per` is never new, and is left out.
    #[inline(never)]
    fn add_elements(&mut self, planned: &PlannedSeenSet, key: Key, nth: usize) -> Option<Candidates> {
        let mut element = None;
        for hash in self.elements(planned.distinct) {
            if !planned.equals.iter().any(|&(per, between)| self.keys.nth(per, nth).0 ^ between == hash.0) {
                let at = self.prefetched(planned.set.table.candidates(self.secret.join(key, hash)));
                match element {
                    None => element = Some(at),
                    Some(_) => self.stores.others.push(at),
                }
            }
        }
        element
    }

    /// Adds the parts of the element's name between the value of `per` and the whole host.
    #[inline(never)]
    fn add_parts(&mut self, trust: Trust, planned: &PlannedSeenSet, key: Key) {
        let [host, per] =
            [planned.distinct, usize::from(*planned.per.parts().0)].map(|place| self.plan.identities[place].identity);
        for part in self.identities.ladder(host, per) {
            let part = self.secret.join(key, self.secret.part(host, part));
            let at = self.prefetched(planned.set.table.candidates(part));
            self.stores.parts.push(NamePart { at, bucket: self.secret.with_trust(part, trust) });
        }
    }

    /// Returns the keys of the identity's elements, without duplicates. They differ from the keys of values for text
    /// without a normal form: its value is a tag, its elements are the raw bytes.
    fn elements(&self, place: usize) -> SmallVec<[Key; 4]> {
        let PlannedIdentity { identity, mask, .. } = self.plan.identities[place];
        let elements = self.identities.elements(identity);
        elements.iter().map(|element| self.secret.masked(mask, element)).collect()
    }

    fn prefetched(&self, at: Candidates) -> Candidates {
        prefetch(self.address, &at);
        at
    }

    /// Adds an entry of the limit at `place`; `limit` is that place, or the place of a quota.
    #[inline(always)]
    fn push(&mut self, place: u16, limit: u16, nth: usize, question: Question) {
        let is_charged = self.charged.contains(place);
        self.stores.entries.push(Entry { limit, is_charged, nth: nth as u32, question });
    }
}

/// The run of an array from `first` up to `end`.
fn run(first: usize, end: usize) -> Run {
    Run { first: first as u32, count: (end - first) as u32 }
}
