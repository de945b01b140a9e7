//! Step two of a check: everything that happens under the lock. Only names are entered later, under a second and
//! short lock.
//!
//! ```text
//!  now ← engine time;  release what a session gives up
//!  look up the seen sets, then the access list: from here to the charge, reads only
//!  consult the in-flight limits and the number of permits
//!  consult the rates, and the fan-outs if an element may be new; neither if an entry lets the check through
//!  all fit?  charge the entries, then make the elements known; hold what is in flight
//!  else      charge no limit; the limits that block keep their keys; those that readmit note their elements, if
//!            nothing else refuses
//!  statistics count the check, admitted or refused
//! ```
//!
//! Consulting writes nothing but answers, into room that was taken before the lock. So all or nothing (P5) needs no
//! undo. Nothing here allocates, panics or calls anything but stores.

use super::Engine;
use super::request::{Found, Request};
use crate::key::Key;
use crate::plan::{LimitSet, PlannedLimit};
use crate::policy::{Mode, WhenFull};
use crate::region::{Now, Region, Spot, prefetch};
use crate::stats::value_of;
use crate::store::fan_out::{look_up, make_known};
use crate::store::in_flight::{HINT_US, RoomFound, Token};
use crate::store::request::{Answer, Answers, Entry, Question, Sightings, StoreRequest};
use crate::store::{Store, Verdict};

impl Engine {
    /// Permits at once, unless stated: more than the connections and the messages together that `inbound` lets be in
    /// flight, since its limits have shares and this number has none.
    pub const MAX_OPEN: u32 = 10_000;

    /// Most permits that can be stated.
    pub const MAX_OPEN_MOST: u32 = 1 << 24;

    /// Releases what a permit holds; `false` when [`Engine::begin`] came between and it holds nothing.
    #[expect(clippy::needless_pass_by_value, reason = "a token is good for one release")]
    pub fn release(&self, token: Token) -> bool {
        self.plan.in_flight.release(&mut self.shared.lock(), &token)
    }

    /// Starts the process of this `generation` with nothing held: every earlier token is void. Does nothing when that
    /// process has started already.
    ///
    /// The generation of a process is the number of forks that led to it: the first process has 0, and a forked child
    /// has one more than its parent. What the parent holds is not the child's.
    pub fn begin(&self, generation: u64) {
        self.plan.in_flight.begin(&mut self.shared.lock(), generation);
    }

    /// Takes the lock, consults, and when everything fits does what `purpose` states.
    pub fn transact(&self, request: &Request, found: &mut Found, now: Now, purpose: Purpose) -> Outcome {
        found.take_room_for(request);
        self.transact_releasing(request, found, now, purpose, &[], |_, _, _| ())
    }

    /// Takes the lock and releases `released` first; `inspect` runs last under the lock, on what was consulted, for
    /// `explain`.
    #[inline(always)]
    pub(super) fn transact_releasing(
        &self, request: &Request, found: &mut Found, now: Now, purpose: Purpose, released: &[Token],
        inspect: impl FnOnce(&Region, u64, &mut Found),
    ) -> Outcome {
        let is_peek = purpose == Purpose::Peek;
        let (mut region, epoch) = self.shared.at(now, !is_peek);
        for token in released {
            self.plan.in_flight.release(&mut region, token);
        }
        if !is_peek && region.header().began_us == 0 {
            region.header_mut().began_us = epoch.last_us.max(1);
        }
        let mut outcome = Outcome { reads_us: epoch.reads(now), at_us: epoch.last_us, is_peek, ..Outcome::default() };
        self.consult(request, &region, purpose, found, &mut outcome);
        if !is_peek {
            self.record(request, &mut region, purpose, found, &mut outcome);
        }
        inspect(&region, outcome.at_us, found);
        outcome
    }

    /// Consults everything: reads only. The outcome states what `record` is to do.
    #[inline(always)]
    fn consult(&self, request: &Request, region: &Region, purpose: Purpose, found: &mut Found, outcome: &mut Outcome) {
        let at_us = outcome.at_us;
        for lookup in &request.stores.lookups {
            let planned = &self.plan.seen_sets[lookup.seen_set as usize];
            let seen_set = (&planned.set, &planned.charged_again);
            look_up(seen_set, region, &request.stores, lookup, at_us, &mut found.stores.sightings);
        }
        let is_let_through = request.access.is_some() && self.consult_access(request, region, found, outcome);
        found.is_consulted = !is_let_through;
        if request.stores.in_flight.held.limits != 0 {
            self.consult_in_flight(request, region, found, outcome);
        }
        if purpose == Purpose::Admit && !self.plan.in_flight.permits.has_room(region) {
            found.is_refused_otherwise = true;
            outcome.is_max_open_shadow = region.is_shadow();
            if !outcome.is_max_open_shadow {
                let until_us = at_us + HINT_US;
                outcome.refuse(Refused { by: RefusedBy::MaxOpen, until_us, part: None });
            }
        }
        if request.has_too_many_recipients {
            found.is_refused_otherwise = true;
            outcome.is_max_recipients_shadow = region.is_shadow();
            if !outcome.is_max_recipients_shadow {
                // The rest fits into the next transaction of a session. An envelope with all of them never fits.
                let until_us = if request.is_step { at_us + HINT_US } else { u64::MAX };
                outcome.refuse(Refused { by: RefusedBy::MaxRecipients, until_us, part: None });
            }
        }
        if !is_let_through {
            self.consult_limits(request, region, found, outcome);
        }
        outcome.is_charged = purpose != Purpose::Peek && outcome.refused.is_none() && !is_let_through;
    }

    /// Finds the buckets of the keys under which something may be charged, and prefetches them. Here and not in
    /// `prepare`, since most checks bring nothing new: fetching those lines for them took 5 % of a check.
    #[inline(never)]
    fn prefetch_buckets(&self, stores: &StoreRequest, sightings: &Sightings, answers: &mut [Answer]) {
        // Limits over one seen set mostly have the same key, one behind the other.
        let (mut of, mut spot) = (Key(0), Spot::of(Key(0)));
        for (entry, answer) in stores.entries[..stores.fan_outs].iter().zip(answers) {
            let Question::FanOut { lookup, bucket, .. } = entry.question else { continue };
            let Store::FanOut(fan_out) = &self.plan.limits[usize::from(entry.limit)].store else { continue };
            if fan_out.may_charge(&sightings.lookups[lookup as usize]) {
                if bucket != of {
                    (of, spot) = (bucket, Spot::of(bucket));
                }
                answer.bucket = fan_out.buckets.table().candidates_at(&spot);
                prefetch(self.shared.address, &answer.bucket);
            }
        }
    }

    /// Consults every limit but the in-flight ones, and merges what the access list has answered. While no element is
    /// new, and the request has no fan-out that refuses the whole key, only the rates are consulted.
    #[inline(always)]
    fn consult_limits(&self, request: &Request, region: &Region, found: &mut Found, outcome: &mut Outcome) {
        let mut all_fit = true;
        let stores = &request.stores;
        let Answers { entries: answers, sightings, reservations, .. } = &mut found.stores;
        let (fan_outs, rates) = stores.entries.split_at(stores.fan_outs);
        if sightings.may_charge_any || stores.has_distinct {
            answers.resize(stores.entries.len(), Answer::FITS);
            self.prefetch_buckets(stores, sightings, answers);
            for (place, (entry, answer)) in (0..).zip(fan_outs.iter().zip(&mut *answers)) {
                let (store, at) = (&self.plan.limits[usize::from(entry.limit)].store, (outcome.at_us, true));
                match (store, &entry.question) {
                    (Store::FanOut(fan_out), &Question::FanOut { lookup, bucket, times }) => {
                        if fan_out.may_charge(&sightings.lookups[lookup as usize]) {
                            let asked = (lookup, bucket, times);
                            fan_out.answer(region, stores, asked, at, sightings, reservations, answer);
                        }
                    }
                    _ => store.consult(region, stores, entry, at, sightings, reservations, answer),
                }
                if answer.is_near_limit() {
                    all_fit &= answer.fits();
                    found.near_limit.push(place);
                }
            }
        }
        // Nearly all that a check consults are rates. Their loop tests for no other kind, and calls nothing as a rule.
        let first = answers.len() - rates.len();
        for (place, (entry, answer)) in (fan_outs.len() as u32..).zip(rates.iter().zip(&mut answers[first..])) {
            let Store::Rate(counter) = &self.plan.limits[usize::from(entry.limit)].store else { continue };
            let Question::Rate { at, amount } = &entry.question else { continue };
            counter.consult_at(region, at, (outcome.at_us, *amount), reservations, answer);
            if answer.is_near_limit() {
                all_fit &= answer.fits();
                found.near_limit.push(place);
            }
        }
        if !all_fit || request.access.is_some() {
            self.find_refusal(request, region, found, outcome, all_fit);
        }
    }

    /// Finds which limit or block refuses, and until when.
    #[inline(never)]
    fn find_refusal(
        &self, request: &Request, region: &Region, found: &mut Found, outcome: &mut Outcome, all_fit: bool,
    ) {
        if request.access.is_some() {
            self.add_access(request, region, found, outcome);
        }
        if !all_fit {
            self.decide_notes(request, region, found, outcome.at_us);
            self.collect_refusals(request, region, found, outcome);
        }
        if let Some(refused) = outcome.refused {
            outcome.refused = Some(self.until_all_fits(request, region, found, refused));
        }
    }

    /// Decides which elements this check notes, or would note. A note is for a message that only limits with `readmit`
    /// refuse: otherwise a sender that another limit holds back anyway could displace the notes of all others.
    fn decide_notes(&self, request: &Request, region: &Region, found: &mut Found, at_us: u64) {
        let first = found.stores.first_place(&request.stores);
        for &place in &found.near_limit {
            let answer = &found.stores.entries[place as usize - first];
            let planned = &self.plan.limits[usize::from(request.stores.entries[place as usize].limit)];
            if answer.fits() {
                continue;
            }
            if matches!(&planned.store, Store::FanOut(fan_out) if fan_out.timing.readmit_us.is_some()) {
                found.noting.push(place);
            } else {
                found.is_refused_otherwise |= planned.limit.mode == Mode::Enforce;
            }
        }
        if found.noting.is_empty() {
            return;
        }
        if found.is_refused_otherwise {
            self.do_without_notes(request, region, found, at_us);
            return;
        }
        for &place in &found.noting {
            if let Question::FanOut { lookup, .. } = request.stores.entries[place as usize].question {
                let seen_set = &self.plan.seen_sets[request.stores.lookups[lookup as usize].seen_set as usize].set;
                found.stores.sightings.lookups[lookup as usize].noted_units.get_or_insert(seen_set.units(at_us));
            }
        }
    }

    /// Asks the limits that would note their elements again, and notes none: their answers counted on a note.
    #[cold]
    fn do_without_notes(&self, request: &Request, region: &Region, found: &mut Found, at_us: u64) {
        let first = found.stores.first_place(&request.stores);
        let Answers { entries: answers, sightings, reservations, .. } = &mut found.stores;
        // A wait may be too early when keys compete for a slot. `until_all_fits` corrects it.
        reservations.clear();
        for place in found.noting.drain(..) {
            let (entry, answer) = (&request.stores.entries[place as usize], &mut answers[place as usize - first]);
            *answer = Answer::FITS;
            let store = &self.plan.limits[usize::from(entry.limit)].store;
            let without_note = (at_us, false);
            store.consult(region, &request.stores, entry, without_note, sightings, reservations, answer);
        }
    }

    /// Collects what the refusing limits ask for: the longest wait, of equal waits the first in file order; the limits
    /// in shadow mode that would refuse; the keys to block.
    fn collect_refusals(&self, request: &Request, region: &Region, found: &mut Found, outcome: &mut Outcome) {
        let at_us = outcome.at_us;
        for (place, entry, answer) in found.stores.consulted(&request.stores) {
            if answer.verdict == Verdict::Fits {
                continue;
            }
            let planned = &self.plan.limits[usize::from(entry.limit)];
            if planned.limit.mode == Mode::Shadow || region.is_shadow() {
                outcome.shadow.insert(planned.of);
                continue;
            }
            let mut until_us = answer.verdict.earliest_us(at_us);
            if let Some(rule) = planned.block_rule.filter(|_| planned.may_block(request.sender_trust)) {
                if !self.is_blocked(request, found, planned.of, entry.nth) {
                    found.blocking.push(place as u32);
                    if self.can_block(rule, planned, request, entry.nth, region, at_us) {
                        until_us = until_us.max(at_us.saturating_add(rule.us));
                    }
                }
            }
            let by = RefusedBy::Entry { place, of: planned.of };
            outcome.refusing.insert(planned.of);
            outcome.refuse(Refused { by, until_us, part: answer.part });
        }
    }

    /// Adds the answer of the access list.
    #[cold]
    fn add_access(&self, request: &Request, region: &Region, found: &mut Found, outcome: &mut Outcome) {
        let block = self.longest_block(request, region, found, outcome.at_us);
        found.is_refused_otherwise |= block.is_some();
        if region.is_shadow() {
            outcome.is_entry_shadow = self.shadow_access(request, found, outcome.at_us, &mut outcome.shadow);
        } else if let Some(block) = block {
            outcome.refuse(block);
        }
    }

    /// Finds the time from which all limits that enforce fit together. A limit that fits now can refuse later, because
    /// a known element is forgotten (P10).
    ///
    /// Each iteration moves to the next time at which an element is forgotten, a part is settled, a note has waited
    /// long enough or is forgotten, a bucket has drained, or a block ends. Their number is finite.
    fn until_all_fits(&self, request: &Request, region: &Region, found: &mut Found, mut refused: Refused) -> Refused {
        let is_shadow = region.is_shadow();
        while refused.until_us < u64::MAX {
            let at_us = refused.until_us;
            let mut later = if is_shadow { None } else { self.longest_block(request, region, found, at_us) };
            let first = found.stores.first_place(&request.stores);
            let Answers { entries: answers, sightings, reservations, .. } = &mut found.stores;
            reservations.clear();
            for (place, entry) in request.stores.entries.iter().enumerate() {
                let answer = place.checked_sub(first).map_or(&Answer::FITS, |place| &answers[place]);
                // Counts only fall, so a rate that fits continues to fit, unless keys of this check compete for free
                // slots.
                if place >= request.stores.fan_outs && answer.fits() && request.stores.reservations == 0 {
                    continue;
                }
                let planned = &self.plan.limits[usize::from(entry.limit)];
                if planned.store.fits_still(&request.stores, entry, answer, sightings, at_us) {
                    continue;
                }
                // The entry that set this time fits then by definition, so it is not consulted again. That does not
                // hold for the time of a block, or when keys of this check compete for slots.
                let by = RefusedBy::Entry { place, of: planned.of };
                let is_its_own = refused.by == by && planned.block_rule.is_none();
                if is_its_own && request.stores.reservations == 0 {
                    continue;
                }
                let mut answer = Answer::FITS;
                let at = (at_us, false);
                planned.store.consult(region, &request.stores, entry, at, sightings, reservations, &mut answer);
                let enforces = planned.limit.mode == Mode::Enforce && !is_shadow;
                if answer.verdict != Verdict::Fits && enforces {
                    let until_us = answer.verdict.earliest_us(at_us);
                    let next = Refused { by, until_us, part: answer.part };
                    later = Some(later.map_or(next, |later| later.or_longer(next)));
                }
            }
            match later {
                Some(later) => refused = later,
                None => break,
            }
        }
        refused
    }

    /// Consults the in-flight limits. Those in shadow mode that do not fit are not held; of the others the longest wait
    /// counts, of equal waits the first in file order.
    #[inline(never)]
    fn consult_in_flight(&self, request: &Request, region: &Region, found: &mut Found, outcome: &mut Outcome) {
        let (capacity, wanted) = (&self.plan.in_flight, &request.stores.in_flight);
        capacity.find(region, wanted, &mut found.stores.rows);
        found.held = wanted.held.clone();
        for place in wanted.held.places() {
            let RoomFound { verdict, is_neighbour } =
                capacity.consult(region, wanted, &found.stores.rows, place, outcome.at_us);
            found.held.neighbours |= u64::from(is_neighbour) << place;
            let Some(limit) = self.plan.capped_by[place].filter(|_| verdict != Verdict::Fits) else { continue };
            let is_enforced = self.plan.limits[usize::from(limit)].limit.mode == Mode::Enforce;
            found.is_refused_otherwise |= is_enforced;
            if !is_enforced || region.is_shadow() {
                outcome.shadow.insert(limit);
                found.held.limits &= !(1 << place);
            } else {
                let until_us = verdict.earliest_us(outcome.at_us);
                outcome.refusing.insert(limit);
                outcome.refuse(Refused { by: RefusedBy::InFlight(limit), until_us, part: None });
            }
        }
    }

    /// Writes the outcome: charges and a permit when it is admitted, blocks when it is refused, and
    /// statistics.
    #[inline(always)]
    fn record(
        &self, request: &Request, region: &mut Region, purpose: Purpose, found: &mut Found, outcome: &mut Outcome,
    ) {
        let at_us = outcome.at_us;
        if outcome.is_charged {
            self.charge(request, region, found, at_us, outcome.shadow);
        }
        self.count_check(request, region, purpose, found, outcome);
        // Also in shadow mode, so that a limit counts there what it would refuse.
        if !found.noting.is_empty() {
            self.note_refused(request, &found.noting, region, at_us);
        }
        if outcome.refused.is_some() {
            if !found.blocking.is_empty() {
                self.block_refused(request, &found.blocking, region, at_us);
            }
        } else if purpose == Purpose::Admit && !outcome.is_max_open_shadow {
            outcome.token = Some(self.plan.in_flight.hold(region, &request.stores.in_flight, &found.held));
        }
        let new = |place, element, nth| self.new_elements(request, &found.stores.sightings, (place, element), nth);
        self.plan.stats.note(region, request.counted(), new, outcome.refused.is_none(), at_us);
        if !found.near_limit.is_empty() {
            self.find_unnamed(request, region, found);
        }
        if request.is_access_checked {
            self.forget_access(region, at_us);
        }
    }

    /// How many elements of the fan-outs per the identity at `place` alone, whose elements are those at `element`, were
    /// new: for the nth value of that identity.
    #[inline(never)]
    pub(super) fn new_elements(
        &self, request: &Request, sightings: &Sightings, (place, element): (usize, usize), nth: u32,
    ) -> u32 {
        let is_of_it = |entry: &&Entry| {
            let PlannedLimit { per, distinct, .. } = &self.plan.limits[usize::from(entry.limit)];
            *distinct == Some(element as u16) && per[..] == [place as u16] && entry.nth == nth
        };
        let entries = request.stores.entries[..request.stores.fan_outs].iter().filter(is_of_it);
        let new = entries.filter_map(|entry| match entry.question {
            Question::FanOut { lookup, .. } => Some(sightings.lookups[lookup as usize].new),
            _ => None,
        });
        new.max().unwrap_or(0)
    }

    /// Notes the elements that limits with `readmit` have refused.
    #[cold]
    fn note_refused(&self, request: &Request, noting: &[u32], region: &mut Region, at_us: u64) {
        for &place in noting {
            if let Question::FanOut { lookup, .. } = request.stores.entries[place as usize].question {
                let lookup = &request.stores.lookups[lookup as usize];
                self.plan.seen_sets[lookup.seen_set as usize].set.note(region, &lookup.element, at_us);
            }
        }
    }

    /// Charges the entries that these stages charge, except those of limits in `shadow`. Makes known the elements that
    /// at least one other limit has admitted.
    #[inline(always)]
    fn charge(&self, request: &Request, region: &mut Region, found: &Found, at_us: u64, shadow: LimitSet) {
        let admits = |planned: &PlannedLimit| shadow.is_empty() || !shadow.contains(planned.of);
        let sightings = &found.stores.sightings;
        for (_, entry, answer) in found.stores.consulted(&request.stores) {
            let planned = &self.plan.limits[usize::from(entry.limit)];
            if entry.is_charged && admits(planned) {
                let is_tracked = planned.store.charge(region, &request.stores, entry, answer, at_us);
                if !is_tracked {
                    self.count_untracked(region, entry.limit);
                }
            }
        }
        for (place, (lookup, element)) in request.stores.lookups.iter().zip(&sightings.lookups).enumerate() {
            if shadow.is_empty() || self.is_admitted(request, place as u32, admits) {
                let seen_set = &self.plan.seen_sets[lookup.seen_set as usize].set;
                make_known(seen_set, region, &request.stores, (lookup, element), sightings, at_us);
            }
        }
    }

    /// Whether any limit that is not in shadow mode has admitted a look-up.
    #[cold]
    fn is_admitted(&self, request: &Request, place: u32, admits: impl Fn(&PlannedLimit) -> bool) -> bool {
        let is_over_it = |entry: &&Entry| matches!(entry.question, Question::FanOut { lookup, .. } if lookup == place);
        let mut entries = request.stores.entries.iter().filter(is_over_it);
        entries.any(|entry| admits(&self.plan.limits[usize::from(entry.limit)]))
    }

    /// Finds which of the entries near their limit, or above it, have a value without a name.
    #[cold]
    fn find_unnamed(&self, request: &Request, region: &Region, found: &mut Found) {
        let first = found.stores.first_place(&request.stores);
        for &place in &found.near_limit {
            let (entry, answer) =
                (&request.stores.entries[place as usize], &found.stores.entries[place as usize - first]);
            let planned = &self.plan.limits[usize::from(entry.limit)];
            // A new key that was refused only because the table is full is no offender, so it gets no name.
            let is_without_room = planned.limit.when_full == WhenFull::Refuse && answer.slot.is_none();
            let is_unnamed = |&place: &u16| {
                let value = value_of(request.counted(), place.into(), entry.nth);
                value.is_some_and(|value| !self.plan.stats.is_named(region, &value))
            };
            let may_have_name = answer.verdict == Verdict::Never || !is_without_room;
            if may_have_name && planned.per.iter().any(is_unnamed) {
                found.unnamed.push(place);
            }
        }
    }
}

/// What a check does when everything fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Consults only; engine time stands still.
    Peek,
    /// Charges the limits, except those in shadow mode that would refuse, and except entries that another stage
    /// charges. When an operator's entry lets the check through, nothing is charged.
    Check,
    /// Charges like [`Purpose::Check`], and holds what is in flight by a permit.
    Admit,
}

/// What came out under the lock.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The caller's time in engine time, µs: waits are counted from there.
    pub reads_us: i64,
    /// Engine time, µs.
    pub at_us: u64,
    /// Whether nothing was to be written.
    pub is_peek: bool,
    /// Why the check is refused; `None` when it is admitted.
    pub refused: Option<Refused>,
    /// Whether the limits were charged: not by a peek, not by a refused check, nor by one that an operator's entry lets
    /// through.
    pub is_charged: bool,
    /// Limits that refused by their counts. Blocks are not among them.
    pub refusing: LimitSet,
    /// Limits in shadow mode that would have refused.
    pub shadow: LimitSet,
    /// Whether no permit was left, under a policy in shadow mode.
    pub is_max_open_shadow: bool,
    /// Whether there were too many recipients, under a policy in shadow mode.
    pub is_max_recipients_shadow: bool,
    /// Whether an operator's entry would have refused, under a policy in shadow mode.
    pub is_entry_shadow: bool,
    /// The permit that holds what is in flight.
    pub token: Option<Token>,
}

/// The refusal with the longest wait; of equal waits the first in the order of [`Refused::order`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What refused.
    pub(super) by: RefusedBy,
    /// Engine time from which everything fits, µs; `u64::MAX` when never. For an in-flight limit and for the permits it
    /// is a hint, because a holder may release at any time.
    pub(super) until_us: u64,
    /// The part of the name whose bucket refused.
    pub(super) part: Option<u8>,
}

/// What refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusedBy {
    /// A limit.
    Entry {
        /// The place of its entry in the request.
        place: usize,
        /// The place of the limit in the file.
        of: u16,
    },
    /// An in-flight limit, by its place in [`crate::plan::Plan::limits`].
    InFlight(u16),
    /// The number of permits.
    MaxOpen,
    /// The number of recipients of the transaction.
    MaxRecipients,
    /// A block by a limit, by its place in the query.
    Block(usize),
    /// A block by an operator.
    AccessEntry,
}

impl Refused {
    /// The order of refusals with equal waits: permits and recipients, then entries and blocks, then limits as in the
    /// file.
    fn order(&self) -> (u8, u16) {
        match self.by {
            RefusedBy::MaxOpen | RefusedBy::MaxRecipients => (0, 0),
            RefusedBy::Block(_) | RefusedBy::AccessEntry => (1, 0),
            RefusedBy::Entry { of, .. } | RefusedBy::InFlight(of) => (2, of),
        }
    }

    /// Returns the one of the two that is reported: the longer wait, and of equal waits the first in order. The orders
    /// are crossed in the comparison, because of equal waits the smaller order wins.
    fn or_longer(self, next: Self) -> Self {
        let is_longer = (next.until_us, self.order()) > (self.until_us, next.order());
        if is_longer { next } else { self }
    }
}

impl Outcome {
    /// Whether a refusal that is not of the policy was let pass, under a policy in shadow mode.
    pub(super) fn has_built_in_shadow(&self) -> bool {
        self.is_max_open_shadow || self.is_max_recipients_shadow || self.is_entry_shadow
    }

    /// Adds a refusal. The longest wait counts.
    pub(super) fn refuse(&mut self, next: Refused) {
        self.refused = Some(self.refused.map_or(next, |worst| worst.or_longer(next)));
    }
}
