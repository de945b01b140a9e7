//! Step one of a check, before the lock: from identities to keys, from keys to lines, all of them on their way into the
//! cache.
//!
//! ```text
//!  envelope → identities → keys → request:  one entry for each limit and key, one look-up for each seen set and key;
//!                                           every line is prefetched
//! ```
//!
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
    Applicable, Ask, AskKind, LimitSet, Plan, PlannedCounts, PlannedIdentity, PlannedSeenSet, TrustSource,
};
use crate::policy::{Count, Stage, Stages};
use crate::region::{Candidates, Table, prefetch};
use crate::store::fan_out::MAX_PARTS;
use crate::store::in_flight::{Columns, InFlight, Place, WantedKey};
use crate::store::request::{Entry, Lookup, NamePart, Question, Request as Stores, Run};

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
            filter,
            keys: &request.keys,
            request: &mut request.stores,
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
        // The same code twice: without the loops over values for the common envelope, which has one value of each
        // identity.
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
}

impl Engine {
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
    filter: Option<&'e StageFilter>,
    keys: &'e Keys,
    request: &'e mut Stores,
}

/// A limit that is asked.
#[derive(Clone, Copy)]
struct Asked<'e> {
    /// Its place in the plan.
    place: u16,
    ask: &'e Ask,
    /// The trust of its keys.
    trust: Trust,
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
            let asked = self.asked(place);
            match asked.ask.kind {
                AskKind::Rate | AskKind::FanOut { .. } => {}
                AskKind::Distinct => self.ask_distinct(asked),
                AskKind::InFlight(limit) => self.ask_in_flight(limit.into()),
            }
        }
        self.request.fan_outs = self.request.entries.len();
        for place in limits.intersect(rates).iter() {
            self.ask_rate::<SEVERAL>(self.asked(place));
        }
    }

    #[inline(always)]
    fn asked(&self, place: u16) -> Asked<'e> {
        let ask = &self.plan.asks[usize::from(place)];
        Asked { place, ask, trust: ask.trust_source.trust(self.senders) }
    }

    /// Whether an earlier step counted this message for the host of that recipient.
    fn was_asked(&self, place: u16, nth: usize) -> bool {
        let Some(filter) = self.filter else { return false };
        let is_counted = filter.hosts.binary_search(&(nth as u32)).is_ok();
        is_counted && self.plan.limits[usize::from(place)].counts_hosts_once()
    }

    /// Calls `add` with the limit or quota, the value's number, the key without trust and its lines, for each key of
    /// the limit. `slots` is the most free slots that one key may reserve.
    #[inline(always)]
    fn each_key<const SEVERAL: bool>(
        &mut self, asked: Asked<'_>, slots: usize, mut add: impl FnMut(&mut Self, u16, usize, Key, Candidates),
    ) {
        let Asked { place, ask, trust } = asked;
        let count = self.keys.count::<SEVERAL>(&ask.per);
        if SEVERAL && ask.refuses_when_full {
            self.request.reserve(slots * count);
        }
        for nth in 0..count {
            if SEVERAL && self.was_asked(place, nth) {
                continue;
            }
            let Some(key) = self.keys.joined::<SEVERAL>(self.secret, &ask.per, nth) else { continue };
            let (limit, table) = self.limit_of::<SEVERAL>(place, ask, nth);
            let at = self.prefetched(table.candidates(self.secret.with_trust(key, trust)));
            add(self, limit, nth, key, at);
        }
    }

    #[inline(always)]
    fn ask_rate<const SEVERAL: bool>(&mut self, asked: Asked<'_>) {
        let (amount, amounts) = match asked.ask.count {
            Count::Connections | Count::Messages | Count::Reports => (1, None),
            Count::Bytes => match self.size {
                Some(size) => (size, None),
                None => return,
            },
            // With at most one recipient, each key counts 0 or 1.
            Count::Recipients if !SEVERAL => (self.identities.recipients() as u64, None),
            Count::Recipients => (0, Some(self.recipients(asked))),
        };
        self.each_key::<SEVERAL>(asked, 1, |this, limit, nth, _, at| {
            let amount = amounts.as_ref().map_or(amount, |amounts| amounts.get(nth).copied().unwrap_or_default());
            this.push(asked.place, limit, nth, Question::Rate { at, amount });
        });
    }

    /// How many different recipients there are.
    #[inline(always)]
    fn count_recipients<const SEVERAL: bool>(&self) -> u32 {
        let count =
            if SEVERAL { self.identities.values(Identity::RcptAddress).len() } else { self.identities.recipients() };
        count.try_into().unwrap_or(u32::MAX)
    }

    /// How many recipients each key of a limit counts, duplicates once: one for an address, as many as there are at a
    /// host, all of them for anything else.
    #[inline(never)]
    fn recipients(&self, asked: Asked<'_>) -> SmallVec<[u64; 4]> {
        let per = &self.plan.limits[usize::from(asked.place)].limit.per;
        let all = || self.identities.values(Identity::RcptAddress);
        let is_by_address = per.contains(&Identity::RcptAddress);
        if is_by_address || !per.contains(&Identity::RcptHost) {
            let amount = if is_by_address { 1 } else { all().len() as u64 };
            return SmallVec::from_elem(amount, self.keys.count::<true>(&asked.ask.per));
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
        let first = self.request.lookups.len();
        let count = self.keys.count::<SEVERAL>(&planned.per);
        for nth in 0..count {
            self.look_up::<SEVERAL>(seen_set, planned, nth);
        }
        let end = self.request.lookups.len();
        for place in over_it.iter() {
            let ask = &self.plan.asks[usize::from(place)];
            if SEVERAL && ask.refuses_when_full {
                self.request.reserve(count);
            }
            let times = if ask.count == Count::Recipients { self.count_recipients::<SEVERAL>() } else { 1 };
            for lookup in first..end {
                self.ask_fan_out::<SEVERAL>(place, ask, lookup, times);
            }
        }
    }

    /// Adds the entry of a limit for one look-up in its seen set.
    #[inline(always)]
    fn ask_fan_out<const SEVERAL: bool>(&mut self, place: u16, ask: &Ask, lookup: usize, times: u32) {
        let Lookup { nth, mut bucket, .. } = self.request.lookups[lookup];
        let nth = nth as usize;
        if let AskKind::FanOut { is_apart: true } = ask.kind {
            let Some(key) = self.keys.joined::<SEVERAL>(self.secret, &ask.per, nth) else { return };
            bucket = self.secret.with_trust(key, ask.trust_source.trust(self.senders));
        }
        if SEVERAL && self.was_asked(place, nth) {
            return;
        }
        let (limit, _) = self.limit_of::<SEVERAL>(place, ask, nth);
        self.push(place, limit, nth, Question::FanOut { lookup: lookup as u32, bucket, times });
    }

    #[inline(never)]
    fn ask_distinct(&mut self, asked: Asked<'_>) {
        let planned = &self.plan.limits[usize::from(asked.place)];
        let Some(distinct) = planned.distinct else { return };
        self.request.has_distinct = true;
        // A key may reserve a slot, and a block of registers in either of two pages.
        self.each_key::<true>(asked, 3, |this, limit, nth, key, at| {
            let first = this.request.hashes.len();
            let elements = this.elements(distinct.into());
            for &hash in &elements {
                // Keys without their masks are equal when two identities have the same value. An element with the value
                // of one of `per` does not count.
                let value = hash.0 ^ this.plan.identities[usize::from(distinct)].mask;
                let is_value =
                    |&per: &u16| this.keys.nth(per, nth).0 ^ this.plan.identities[usize::from(per)].mask == value;
                if !planned.per.iter().any(is_value) {
                    this.request.hashes.push(this.secret.join(key, hash));
                }
            }
            if !elements.is_empty() {
                let elements = run(first, this.request.hashes.len());
                this.push(asked.place, limit, nth, Question::Distinct { at, elements });
            }
        });
    }

    /// Returns the limit that counts the `nth` key, and its table. If a value of the key has a quota, that is the
    /// quota; if several have one, the first in the file.
    #[inline(always)]
    fn limit_of<const SEVERAL: bool>(&self, place: u16, ask: &Ask, nth: usize) -> (u16, Table) {
        let key = |place: &u16| if SEVERAL { self.keys.nth(*place, nth) } else { self.keys.get(place) };
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
            self.request.in_flight.held.bytes = size;
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
        self.request.in_flight.held.limits |= 1 << limit;
    }

    /// Adds the key of some counts, once, and prefetches its row.
    fn want(&mut self, counts: usize) {
        if self.request.in_flight.keys.iter().any(|wanted| wanted.counts == counts) {
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
        self.request.in_flight.keys.push(WantedKey { counts, key });
    }

    /// Adds a look-up in a seen set, unless no element can be new.
    #[inline(always)]
    fn look_up<const SEVERAL: bool>(&mut self, seen_set: u32, planned: &PlannedSeenSet, nth: usize) {
        let Some(key) = self.keys.joined::<SEVERAL>(self.secret, &planned.per, nth) else { return };
        if planned.is_under_mailbox && self.has_own_organisation(planned, nth) {
            return;
        }
        let first = self.request.others.len();
        let element = if !SEVERAL && self.is_element(planned.source) {
            // An element with the same value as `per` is never new. Then the two keys differ only by their masks.
            let hash = self.keys.get(&(planned.distinct as u16));
            let is_new = !planned.equals.iter().any(|(per, between)| self.keys.get(per).0 ^ between == hash.0);
            is_new.then(|| self.prefetched(planned.set.table.candidates(self.secret.join(key, hash))))
        } else {
            self.add_elements(planned, key, nth)
        };
        let Some(element) = element else { return };
        let others = run(first, self.request.others.len());
        let trust = planned.trust_source.trust(self.senders);
        let first = self.request.parts.len();
        if planned.has_ladder && self.identities.may_have_parts(self.plan.identities[planned.distinct].identity) {
            self.add_parts(trust, planned, key);
        }
        let parts = run(first, self.request.parts.len());
        let bucket = self.secret.with_trust(key, trust);
        let is_fresh = self.filter.is_some_and(|filter| filter.fresh.contains(&element));
        self.request.lookups.push(Lookup {
            seen_set,
            nth: nth as u32,
            bucket,
            element,
            others,
            parts,
            is_fresh,
            is_proven: trust != Trust::Claimed,
        });
    }

    /// Whether the value of each identity of this source is its element too, so that its key serves for both. The
    /// elements of text without a normal form are its bytes; networks have none.
    #[inline(always)]
    fn is_element(&self, source: Source) -> bool {
        source == Source::ClientIp || source == Source::Sender && self.identities.is_sender_plain()
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
                    Some(_) => self.request.others.push(at),
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
            self.request.parts.push(NamePart { at, bucket: self.secret.with_trust(part, trust) });
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
        self.request.entries.push(Entry { limit, is_charged, nth: nth as u32, question });
    }
}

/// The run of an array from `first` up to `end`.
fn run(first: usize, end: usize) -> Run {
    Run { first: first as u32, count: (end - first) as u32 }
}
