//! Fan-out with `refuse = "new"`: how many elements that are not known may appear under one key.
//!
//! **Idea.** A known element is free. An unknown element costs one charge on a rate counter of either algorithm, here
//! called its bucket. Once admitted, it is known. No estimator is involved, so a sender has none to manipulate.
//!
//! **The ladder.** With `settle`, the bucket belongs to the closest part of the element's name that has settled, or to
//! the key itself when there is no such part. A part settles when it was admitted again at least `settle` after it was
//! first admitted, and a sixth of `settle` has passed since then. A flood of fresh names below one tenant is charged to
//! that tenant, and a flood below one organisation to the organisation, at any depth. A part that is admitted during
//! the flood has no bucket, and neither has a name that somebody used once to prepare the flood.
//!
//! **Tiers.** With `new_to`, elements are remembered under another key than that of the bucket. So a client may bring
//! fewer elements that are new to its network than the network may, and none of what another client of it has brought
//! costs anything. Both limits share the look-up; each has buckets of its own.
//!
//! While an element waits, its target can change: a part settles, or is forgotten. [`FanOut::consult`] steps from
//! change to change, so the wait that it returns is exact. The forget times of the elements are sorted, so a step takes
//! one binary search.
//!
//! ```text
//!  look up:  what the seen set knows of every element and part, once for all limits that share it
//!  consult:  new ← elements that are not known
//!            target ← closest part that has settled, else the key
//!            fits when new = 0, or the bucket of target has room for new, or `readmit` has passed since the note
//!  charge:   new on the bucket of target
//!            then, once for all limits that share the seen set, every element and every part becomes known
//! ```
//!
//! **When.** A limit may charge an element again with its second admission, or with each message until it has returned
//! ([`Charge`]). Then an element counts as new from an earlier time on than the one at which it is forgotten; all else
//! is the same. A limit that counts recipients charges the price once for each. Its look-up may be *fresh*: the element
//! became known at an earlier step of the same transaction, and still counts as new.
//!
//! **Warm-up.** A limit with `warm_up` charges nothing for that long after the region's first check, while its elements
//! become known. Without it, a limit that charges until elements return would refuse ordinary mail after a cold start.
//!
//! **Readmission.** A limit with `readmit` notes an element that it refuses, and admits it without a charge when it
//! comes back at least `readmit` after its first refusal. So a server that keeps a message and tries again, as all mail
//! servers do (RFC 5321 §4.5.4), waits once, however full the bucket is; a sender that never tries again does not pass.
//! A note lies in the seen set ([`SeenSet::note`]), and only a refused check writes it.
//!
//! **Cost.** A known element takes one look-up in the seen set. An unknown one takes a bucket as well. The ladder takes
//! one look-up for each part of the name, at most six, and notes take one for each unknown element. The bucket of a key
//! and those of the parts share one table.
//! **Bound.** Exact, except when a full seen set evicts an element early, and when two elements share a fingerprint.
//!
//! **Source.** Counting distinct children of a name: Afek et al., arXiv 1612.02636. Charging only what is new, and the
//! ladder, are ours.
//!
//! **Dropped.** A part that settles by being known for `settle`: 250 names that were each used once, an hour before,
//! then admit 13.5 % of a flood below them; with this rule 0.9 %.
//! **Dropped.** Charging an element once more only when it comes back after an hour: of a flood from hosts that were
//! each used once in the last hour, 38 % passed; with the second admission charged, 6.4 %.
//! **Dropped.** Notes of a sender's organisation with each recipient: a flood that tries again does so for the same
//! recipient, so that costs it nothing more, and the limit could refuse only at RCPT.
//! **Dropped.** Charging by changed HyperLogLog registers: an element that changes none passes free, and 82 % of a
//! flood does.

use super::params::Charge;
use super::rate_counter::RateCounter;
use super::request::{Answer, FoundElement, LookedUp, Lookup, Sightings, SlotReservations, StoreRequest, Verdict};
use super::seen_set::{SeenSet, Sighting};
use crate::key::Key;
use crate::region::{Candidates, Region};

/// Most parts of a name on the ladder: the organisational domain and five labels more.
pub const MAX_PARTS: usize = 6;

/// Asks a seen set about every element and part of one look-up, and adds the answers to `found`. The caller passes the
/// look-ups in the order of the request.
#[inline(always)]
pub fn look_up(
    (set, again): (&SeenSet, &ChargedAgain), region: &Region, request: &StoreRequest, lookup: &Lookup, now_us: u64,
    found: &mut Sightings,
) {
    let sighting = set.consult(region, &lookup.element, now_us);
    let is_new = sighting.is_none() || lookup.is_fresh;
    let is_charged_again =
        again.is_possible() && sighting.is_some_and(|sighting| again.is_now(set, region, sighting, now_us));
    // A note is older than the admission that it led to, so it is forgotten first: a known element needs none.
    let noted_units = if is_new { set.noted_units(region, &lookup.element, now_us) } else { None };
    let element = FoundElement { new: is_new.into(), is_charged_again, sighting, noted_units, forgotten: 0 };
    found.may_charge_any |= is_new | is_charged_again;
    found.lookups.push(element);
    if lookup.others.count + lookup.parts.count > 0 {
        look_up_all(set, region, request, lookup, now_us, found);
    }
}

/// Asks about all other elements and the parts.
#[inline(never)]
fn look_up_all(
    set: &SeenSet, region: &Region, request: &StoreRequest, lookup: &Lookup, now_us: u64, found: &mut Sightings,
) {
    let Sightings { lookups, may_charge_any, others, forgotten_us, parts } = found;
    for part in lookup.parts.of(&request.parts) {
        parts.push(set.consult(region, &part.at, now_us));
    }
    let Some(element) = lookups.last_mut().filter(|_| lookup.others.count > 0) else { return };
    let first = forgotten_us.len();
    let known = element.sighting.filter(|_| element.new == 0);
    forgotten_us.push(known.map_or(0, |sighting| set.forgotten_from_us(sighting)));
    for at in lookup.others.of(&request.others) {
        let sighting = set.consult(region, at, now_us);
        others.push(sighting);
        forgotten_us.push(sighting.map_or(0, |sighting| set.forgotten_from_us(sighting)));
        element.new += u32::from(sighting.is_none());
    }
    forgotten_us[first..].sort_unstable();
    element.forgotten = first as u32;
    *may_charge_any |= element.new > 0;
}

/// Makes every element and part of one look-up known, after the check was admitted.
#[inline(always)]
pub fn make_known(
    set: &SeenSet, region: &mut Region, request: &StoreRequest, (lookup, element): (&Lookup, &FoundElement),
    found: &Sightings, now_us: u64,
) {
    if lookup.others.count + lookup.parts.count > 0 {
        for (part, sighting) in lookup.parts.of(&request.parts).iter().zip(lookup.parts.of(&found.parts)) {
            set.charge(region, &part.at, *sighting, lookup.is_proven, now_us);
        }
        for (at, sighting) in lookup.others.of(&request.others).iter().zip(lookup.others.of(&found.others)) {
            set.charge(region, at, *sighting, lookup.is_proven, now_us);
        }
    }
    set.charge(region, &lookup.element, element.sighting, lookup.is_proven, now_us);
}

/// When the limits over a seen set charge a known element again. A look-up finds out whether one of them does so now:
/// most known elements are charged by none, and then a check asks no fan-out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChargedAgain {
    /// Whether one charges the second admission of an element.
    pub at_second: bool,
    /// The shortest warm-up of those that charge an element until it returns; `None` without such a limit.
    pub until_return_after_us: Option<u64>,
}

impl ChargedAgain {
    /// Adds the times at which one more limit charges.
    pub fn insert(&mut self, charge: Charge, warm_up_us: u64) {
        match charge {
            Charge::Once => {}
            Charge::Twice => self.at_second = true,
            Charge::UntilReturn => {
                let shortest_us = self.until_return_after_us.map_or(warm_up_us, |us| us.min(warm_up_us));
                self.until_return_after_us = Some(shortest_us);
            }
        }
    }

    /// Whether any limit charges a known element again.
    pub fn is_possible(&self) -> bool {
        self.at_second || self.until_return_after_us.is_some()
    }

    /// Whether a limit may charge a known element now.
    fn is_now(&self, set: &SeenSet, region: &Region, sighting: Sighting, now_us: u64) -> bool {
        let until_return = || self.until_return_after_us.is_some_and(|us| has_warmed_up(region, us, now_us));
        let is_second = || !set.was_admitted_again(sighting) && set.again_from_us(sighting) <= now_us;
        self.at_second && is_second() || !set.has_returned(sighting) && until_return()
    }
}

/// Whether so long has passed since the region's first check.
fn has_warmed_up(region: &Region, warm_up_us: u64, at_us: u64) -> bool {
    warm_up_us == 0 || at_us >= region.header().began_us.saturating_add(warm_up_us)
}

/// A fan-out limit: its own buckets, and a seen set that it may share with other limits.
#[derive(Clone, Copy, Debug)]
pub struct FanOut {
    seen_set: SeenSet,
    /// Place of the seen set in the plan.
    pub place: u32,
    /// The buckets.
    pub buckets: RateCounter,
    /// When it charges.
    pub timing: Timing,
}

/// When a fan-out charges, and the times that decide it, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long after its first admission a part of a name may return; a fan-out without it has no ladder.
    pub settle_us: Option<u64>,
    /// When an element is charged.
    pub charge: Charge,
    /// For how long after the first check nothing is charged.
    pub warm_up_us: u64,
    /// How long after its first refusal an element is let through, if at all.
    pub readmit_us: Option<u64>,
}

impl FanOut {
    /// Makes a fan-out with the seen set at `place` in the plan.
    pub fn new(seen_set: SeenSet, place: usize, buckets: RateCounter, timing: Timing) -> Self {
        Self { seen_set, place: place as u32, buckets, timing }
    }

    /// Whether it may charge an element of this look-up now.
    #[inline]
    pub fn may_charge(&self, element: &FoundElement) -> bool {
        element.new > 0 || element.is_charged_again && self.timing.charge != Charge::Once
    }

    /// Whether it may begin to charge the element of a look-up later, though nothing is forgotten until then. This is
    /// asked of each limit: those that share the seen set charge at different times.
    #[inline]
    pub fn may_begin(&self, element: &FoundElement) -> bool {
        self.timing.warm_up_us > 0 || element.new == 0 && self.timing.charge != Charge::Once
    }

    /// Returns the lines of the bucket that was asked: the bucket of a part of the name, or of the key itself.
    pub fn bucket_lines(&self, asked: LookedUp<'_>, part: Option<u8>) -> Candidates {
        let part = part.and_then(|place| asked.parts.get(usize::from(place)));
        self.buckets.lines(part.map_or(asked.bucket, |part| part.bucket))
    }

    /// Tells whether the new elements fit, each at the price of `times`, and in which bucket. Not inlined, because most
    /// checks bring nothing new.
    #[inline(never)]
    pub fn consult(
        &self, region: &Region, asked: LookedUp<'_>, times: u32, at_us: u64, reserved: &mut SlotReservations,
    ) -> Answer {
        // A limit that charges an element again has one element.
        let charged_us = [asked.sighting.map_or(0, |sighting| self.charged_from_us(sighting))];
        let charged_us = if asked.forgotten_us.is_empty() { &charged_us } else { asked.forgotten_us };
        let asked = LookedUp { forgotten_us: charged_us, ..asked };
        let first = self.consult_at(region, asked, times, at_us, reserved);
        let (mut from_us, mut verdict) = (at_us, first.verdict);
        // Each turn goes to the next change of the target, until the target has room before the change after that.
        while let Verdict::From(ready_us) = verdict {
            let change_us = self.next_change_us(asked, from_us);
            if ready_us < change_us {
                break;
            }
            from_us = change_us;
            verdict = match self.consult_at(region, asked, times, from_us, reserved).verdict {
                Verdict::Fits => return Answer { verdict: Verdict::From(from_us), ..first },
                later => later,
            };
        }
        Answer { verdict, ..first }
    }

    /// Answers for the look-up at `place`, under this bucket; the caller has written its lines into `answer`. `is_now`
    /// is that of [`super::Store::consult`].
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "as of `Store::consult`, which calls it")]
    pub fn answer(
        &self, region: &Region, request: &StoreRequest, (place, bucket, times): (u32, Key, u32),
        (at_us, is_now): (u64, bool), sightings: &Sightings, reserved: &mut SlotReservations, answer: &mut Answer,
    ) {
        // During the warm-up nothing is charged.
        if !has_warmed_up(region, self.timing.warm_up_us, at_us) {
            return;
        }
        let lookup = &request.lookups[place as usize];
        let has_more = lookup.others.count + lookup.parts.count > 0;
        if is_now && !has_more {
            // One element, and its name has no parts: the bucket is that of the key. What is charged now is charged at
            // any later time too, so the wait is that of the bucket.
            if self.is_charged_now(&sightings.lookups[place as usize], at_us) {
                let bucket = answer.bucket;
                self.buckets.consult_at(region, &bucket, (at_us, times.into()), reserved, answer);
                answer.new = times;
            }
        } else {
            let asked = request.looked_up(place, bucket, sightings);
            *answer = self.consult(region, asked, times, at_us, reserved);
        }
        if answer.verdict != Verdict::Fits && self.timing.readmit_us.is_some() {
            let noted_units = sightings.lookups[place as usize].noted_units;
            // A refusal now makes a note; one that is only foreseen makes none.
            let noted_units =
                if is_now { noted_units.or_else(|| Some(self.seen_set.units(at_us))) } else { noted_units };
            self.readmit(answer, noted_units, at_us);
        }
    }

    /// Whether the only element of a look-up is charged now. It is new, or a limit over its seen set charges it again.
    #[inline(always)]
    fn is_charged_now(&self, element: &FoundElement, at_us: u64) -> bool {
        element.new > 0 || element.sighting.is_some_and(|sighting| self.charged_from_us(sighting) <= at_us)
    }

    /// Lets a refused element through at `at_us` if it was noted long enough before, or shortens its wait to that time.
    #[cold]
    fn readmit(&self, answer: &mut Answer, noted_units: Option<u64>, at_us: u64) {
        let (Some(readmit_us), Some(noted_units)) = (self.timing.readmit_us, noted_units) else { return };
        let from_us = self.seen_set.passed_from_us(noted_units, readmit_us);
        if at_us >= self.seen_set.forgotten_after_us(noted_units) {
            return;
        }
        if from_us <= at_us {
            *answer = Answer::FITS;
        } else if answer.verdict.earliest_us(at_us) > from_us {
            answer.verdict = Verdict::From(from_us);
        }
    }

    /// The time from which a known element is charged again, unless it is admitted before.
    pub fn charged_from_us(&self, sighting: Sighting) -> u64 {
        let forgotten_us = self.seen_set.forgotten_from_us(sighting);
        match self.timing.charge {
            Charge::Twice if !self.seen_set.was_admitted_again(sighting) => {
                forgotten_us.min(self.seen_set.again_from_us(sighting))
            }
            Charge::UntilReturn if !self.seen_set.has_returned(sighting) => 0,
            Charge::Once | Charge::Twice | Charge::UntilReturn => forgotten_us,
        }
    }

    /// Answers for the time `at_us`, as if no element or part were forgotten or settled after it.
    fn consult_at(
        &self, region: &Region, asked: LookedUp<'_>, times: u32, at_us: u64, reserved: &mut SlotReservations,
    ) -> Answer {
        let new = asked.forgotten_us.partition_point(|&forgotten_us| forgotten_us <= at_us) as u32;
        let is_warm = has_warmed_up(region, self.timing.warm_up_us, at_us);
        let new = if is_warm { new.saturating_mul(times) } else { 0 };
        if new == 0 {
            return Answer::FITS;
        }
        let part = self.timing.settle_us.and_then(|settle_us| {
            let owns = |sighting: &Sighting| {
                at_us < self.seen_set.forgotten_from_us(*sighting)
                    && self.seen_set.settled_from_us(*sighting, settle_us) <= at_us
            };
            let mut parts = asked.known_parts.iter();
            parts.rposition(|sighting| sighting.as_ref().is_some_and(owns)).map(|place| place as u8)
        });
        let bucket = self.bucket_lines(asked, part);
        let now = self.buckets.ticks_at(at_us);
        let (verdict, slot) = self.buckets.consult(region, &bucket, now, new.into(), reserved);
        Answer { verdict, slot, now, bucket, new, part }
    }

    /// Returns the next time after `at_us` at which a part settles, or an element or part is forgotten; `u64::MAX` when
    /// there is none.
    fn next_change_us(&self, asked: LookedUp<'_>, at_us: u64) -> u64 {
        let next = asked.forgotten_us.partition_point(|&us| us <= at_us);
        let next_element = asked.forgotten_us.get(next).copied();
        let changes_of_part = |sighting: &Sighting| {
            let settled_us = self.timing.settle_us.map(|settle_us| self.seen_set.settled_from_us(*sighting, settle_us));
            [Some(self.seen_set.forgotten_from_us(*sighting)), settled_us]
        };
        let changes = asked.known_parts.iter().flatten().flat_map(changes_of_part).flatten().chain(next_element);
        changes.filter(|&us| us > at_us).min().unwrap_or(u64::MAX)
    }
}
