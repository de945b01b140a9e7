//! Fan-out with `refuse = "new"`: how many elements that are not known may appear under one key.
//!
//! **Idea.** A known element is free. An unknown element costs one charge on a rate counter of either algorithm, here
//! called its bucket. Once admitted, it is known. No estimator is involved, so a sender has none to manipulate.
//!
//! **The ladder.** With `settle`, the bucket belongs to the closest part of the element's name that has been known for
//! `settle`, or to the key itself when there is no such part. A flood of fresh names below one tenant is charged to
//! that tenant, and a flood below one organisation to the organisation, at any depth. A part that is admitted during
//! the flood has no bucket until it has settled.
//!
//! ```text
//!  look up:  what the seen set knows of every element and part, once for all limits that share it
//!  consult:  new ← elements that are not known
//!            target ← closest part known since `settle`, else the key
//!            fits when new = 0 or the bucket of target has room for new
//!  charge:   new on the bucket of target
//!            then, once for all limits that share the seen set, every element and every part becomes known
//! ```
//!
//! While an element waits, its target can change: a part settles, or is forgotten. [`FanOut::consult`] steps from
//! change to change, so the wait that it returns is exact. The forget times of the elements are sorted, so a step takes
//! one binary search.
//!
//! **Cost.** A known element takes one look-up in the seen set. An unknown one takes a bucket as well. The ladder takes
//! one look-up for each part of the name, at most six. The bucket of a key and those of the parts share one table.
//! **Bound.** Exact, except when a full seen set evicts an element early, and when two elements share a fingerprint.
//!
//! **Source.** Counting distinct children of a name: Afek et al., arXiv 1612.02636. Charging only what is new, and the
//! ladder, are ours.
//!
//! **Dropped.** Charging by changed HyperLogLog registers: an element that changes none passes free, and 82 % of a
//! flood does.

use super::rate_counter::RateCounter;
use super::request::{Answer, FoundElement, LookedUp, Lookup, Request, Sightings, SlotReservations, Verdict};
use super::seen_set::{SeenSet, Sighting};
use crate::region::{Candidates, Region};

/// Most parts of a name on the ladder: the organisational domain and five labels more.
pub const MAX_PARTS: usize = 6;

/// Asks a seen set about every element and part of one look-up, and adds the answers to `found`. The caller passes the
/// look-ups in the order of the request.
#[inline(always)]
pub fn look_up(set: &SeenSet, region: &Region, request: &Request, lookup: &Lookup, now_us: u64, found: &mut Sightings) {
    let sighting = set.consult(region, &lookup.element, now_us);
    let forgotten_us = sighting.map_or(0, |sighting| set.forgotten_from_us(sighting));
    let element = FoundElement { new: sighting.is_none().into(), sighting, forgotten_us };
    found.is_any_new |= sighting.is_none();
    found.lookups.push(element);
    if lookup.others.count + lookup.parts.count > 0 {
        look_up_all(set, region, request, lookup, now_us, found);
    }
}

/// Asks about all other elements and the parts.
#[inline(never)]
fn look_up_all(set: &SeenSet, region: &Region, request: &Request, lookup: &Lookup, now_us: u64, found: &mut Sightings) {
    let Sightings { lookups, is_any_new, others, forgotten_us, parts } = found;
    for part in lookup.parts.of(&request.parts) {
        parts.push(set.consult(region, &part.at, now_us));
    }
    let Some(element) = lookups.last_mut().filter(|_| lookup.others.count > 0) else { return };
    let first = forgotten_us.len();
    forgotten_us.push(element.forgotten_us);
    for at in lookup.others.of(&request.others) {
        let sighting = set.consult(region, at, now_us);
        others.push(sighting);
        forgotten_us.push(sighting.map_or(0, |sighting| set.forgotten_from_us(sighting)));
        element.new += u32::from(sighting.is_none());
    }
    forgotten_us[first..].sort_unstable();
    element.forgotten_us = first as u64;
    *is_any_new |= element.new > 0;
}

/// Makes every element and part of one look-up known, after the check was admitted.
#[inline(always)]
pub fn make_known(
    set: &SeenSet, region: &mut Region, request: &Request, (lookup, element): (&Lookup, &FoundElement),
    found: &Sightings, now_us: u64,
) {
    if lookup.others.count + lookup.parts.count > 0 {
        for (part, sighting) in lookup.parts.of(&request.parts).iter().zip(lookup.parts.of(&found.parts)) {
            set.charge(region, &part.at, *sighting, now_us);
        }
        for (at, sighting) in lookup.others.of(&request.others).iter().zip(lookup.others.of(&found.others)) {
            set.charge(region, at, *sighting, now_us);
        }
    }
    set.charge(region, &lookup.element, element.sighting, now_us);
}

/// A fan-out limit: its own buckets, and a seen set that it may share with other limits.
#[derive(Clone, Copy, Debug)]
pub struct FanOut {
    seen_set: SeenSet,
    /// Place of the seen set in the plan.
    pub place: u32,
    /// The buckets.
    pub buckets: RateCounter,
    settle_us: Option<u64>,
}

impl FanOut {
    /// Makes a fan-out with the seen set at `place` in the plan. With `settle_us` it has the ladder.
    pub fn new(seen_set: SeenSet, place: usize, buckets: RateCounter, settle_us: Option<u64>) -> Self {
        Self { seen_set, place: place as u32, buckets, settle_us }
    }

    /// Returns the lines of the bucket that was asked: the bucket of a part of the name, or of the key itself.
    pub fn bucket_lines(&self, asked: LookedUp<'_>, part: Option<u8>) -> Candidates {
        let part = part.and_then(|place| asked.parts.get(usize::from(place)));
        self.buckets.lines(part.map_or(asked.bucket, |part| part.bucket))
    }

    /// Tells whether the new elements fit, and in which bucket. Not inlined, because most checks bring nothing new.
    #[inline(never)]
    pub fn consult(&self, region: &Region, asked: LookedUp<'_>, at_us: u64, reserved: &mut SlotReservations) -> Answer {
        let first = self.consult_at(region, asked, at_us, reserved);
        let (mut from_us, mut verdict) = (at_us, first.verdict);
        // Each turn goes to the next change of the target, until the target has room before the change after that.
        while let Verdict::From(ready_us) = verdict {
            let change_us = self.next_change_us(asked, from_us);
            if ready_us < change_us {
                break;
            }
            from_us = change_us;
            verdict = match self.consult_at(region, asked, from_us, reserved).verdict {
                Verdict::Fits => return Answer { verdict: Verdict::From(from_us), ..first },
                later => later,
            };
        }
        Answer { verdict, ..first }
    }

    /// Charges the new elements; returns `false` when the bucket found no room and the charge is not counted.
    #[inline(never)]
    pub fn charge(&self, region: &mut Region, request: &Request, lookup: &Lookup, answer: &Answer) -> bool {
        let part = answer.part.and_then(|part| lookup.parts.of(&request.parts).get(usize::from(part)));
        let at = self.buckets.lines(part.map_or(lookup.bucket, |part| part.bucket));
        self.buckets.charge(region, &at, answer.slot, answer.now, answer.new.into())
    }

    /// Answers for the time `at_us`, as if no element or part were forgotten or settled after it.
    fn consult_at(&self, region: &Region, asked: LookedUp<'_>, at_us: u64, reserved: &mut SlotReservations) -> Answer {
        let new = asked.forgotten_us.partition_point(|&forgotten_us| forgotten_us <= at_us) as u32;
        if new == 0 {
            return Answer::FITS;
        }
        let part = self.settle_us.and_then(|settle_us| {
            let owns = |sighting: &Sighting| {
                at_us < self.seen_set.forgotten_from_us(*sighting)
                    && self.seen_set.settled_from_us(*sighting, settle_us) <= at_us
            };
            let mut parts = asked.known_parts.iter();
            parts.rposition(|sighting| sighting.as_ref().is_some_and(owns)).map(|place| place as u8)
        });
        let at = self.bucket_lines(asked, part);
        let now = self.buckets.ticks_at(at_us);
        let (verdict, slot) = self.buckets.consult(region, &at, now, new.into(), reserved);
        Answer { verdict, slot, now, new, part }
    }

    /// Returns the next time after `at_us` at which a part settles, or an element or part is forgotten; `u64::MAX` when
    /// there is none.
    fn next_change_us(&self, asked: LookedUp<'_>, at_us: u64) -> u64 {
        let next = asked.forgotten_us.partition_point(|&us| us <= at_us);
        let next_element = asked.forgotten_us.get(next).copied();
        let changes_of_part = |sighting: &Sighting| {
            let settled_us = self.settle_us.map(|settle_us| self.seen_set.settled_from_us(*sighting, settle_us));
            [Some(self.seen_set.forgotten_from_us(*sighting)), settled_us]
        };
        let changes = asked.known_parts.iter().flatten().flat_map(changes_of_part).flatten().chain(next_element);
        changes.filter(|&us| us > at_us).min().unwrap_or(u64::MAX)
    }
}
