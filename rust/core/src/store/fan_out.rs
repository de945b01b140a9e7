//! Fan-out with `refuse = "new"`: how many elements that are not known may appear under one key.
//!
//! **Idea.** An element that is known is free. An unknown one costs one whole charge on a bucket, of either algorithm; when it is admitted it becomes known.
//! No estimator is involved, so there is nothing that a sender could drive up or hold down.
//!
//! **The ladder.** With `settle`, the bucket is that of the closest part of the element's name that has been known for `settle`, at worst the key itself.
//! A flood of fresh names below one tenant is charged to that tenant, below one organisation to the organisation, whatever the depth, and a part
//! admitted during the flood owns no bucket until it has settled.
//!
//! ```text
//!  consult:  new ← elements that are not known
//!            target ← closest part known since `settle`, else the key
//!            fits when new = 0 or target's bucket has room for new
//!  charge:   new on target's bucket;  then, once for all limits that share the memory, every element and every part becomes known
//! ```
//!
//! While it waits, an element's target can change: a part settles, or is forgotten. [`FanOut::consult`] walks from change to change, so the time it tells is exact;
//! elements stand in the order in which they are forgotten, so a step takes a search and not a look at all of them.
//!
//! **Cost.** Of a known element one look-up in the memory; of an unknown one a bucket more; with the ladder one look-up a part of the name, at most six. A limit's
//! own bucket and those of the parts share one table. **Bound.** Exact, but for what `known` forgets early when it is full and for a fingerprint that two share.
//!
//! **Source.** Counting distinct children of a name: Afek et al., arXiv 1612.02636. Charging only what is new, and the ladder, are ours.
//!
//! **Dropped.** Charging by changed HyperLogLog registers: an element that changes none passes free, and 82 % of a flood does.

use smallvec::SmallVec;

use super::rate_counter::RateCounter;
use super::seen_set::{SeenSet, Sighting};
use super::{SlotReservations, Verdict};
use crate::key::Key;
use crate::region::{Candidates, FoundSlot, Region};
use crate::time::Ticks;

/// Most parts of a name on the ladder: the organisational domain and five labels more.
pub const RUNGS: usize = 6;

/// So many parts nearly all names have at most; of more the arrival keeps a list elsewhere, and stays small where there is none: it is moved about.
const USUAL_RUNGS: usize = 2;

/// What one check brings under one key, and what the memory says of it.
///
/// The answers stand beside the questions, so that asking allocates nothing.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The key's own bucket.
    pub bucket: Key,
    /// The elements.
    pub elements: SmallVec<[Element; 1]>,
    /// Parts of the element's name, the shallowest first.
    pub rungs: SmallVec<[Rung; USUAL_RUNGS]>,
}

/// An element.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    /// Where the memory may have it.
    pub at: Candidates,
    /// What the memory said.
    pub seen: Option<Sighting>,
}

/// A part of a name.
#[derive(Clone, Copy, Debug)]
pub struct Rung {
    /// Where the memory may have it.
    pub at: Candidates,
    /// Its bucket.
    pub bucket: Key,
    /// What the memory said.
    pub seen: Option<Sighting>,
}

/// What a fan-out says of an arrival.
#[derive(Clone, Copy, Debug)]
pub struct Consulted {
    /// Whether it fits.
    pub verdict: Verdict,
    /// Where the bucket has its slot.
    pub spot: Option<FoundSlot>,
    /// When it was asked, in ticks of its table.
    pub at: Ticks,
    /// Elements that are not known.
    pub new: u32,
    /// The rung whose bucket is asked; `None`: the key's own.
    pub rung: Option<u8>,
}

impl Arrival {
    /// Nothing yet, under the key of `bucket`.
    pub fn at(bucket: Key) -> Self {
        Self { bucket, elements: SmallVec::new(), rungs: SmallVec::new() }
    }

    /// Asks the memory. Elements then stand in the order in which they are forgotten, those first that are not known at all.
    pub fn consult(&mut self, memory: &SeenSet, region: &Region, now_us: u64) {
        for element in &mut self.elements {
            element.seen = memory.consult(region, &element.at, now_us);
        }
        if self.elements.len() > 1 {
            self.elements.sort_unstable_by_key(|element| element.seen.map(Sighting::last));
        }
        for rung in &mut self.rungs {
            rung.seen = memory.consult(region, &rung.at, now_us);
        }
    }

    /// Makes every element and part known: the arrival was admitted.
    pub fn charge(&self, memory: &SeenSet, region: &mut Region, now_us: u64) {
        for rung in &self.rungs {
            memory.charge(region, &rung.at, rung.seen, now_us);
        }
        for element in &self.elements {
            memory.charge(region, &element.at, element.seen, now_us);
        }
    }

    /// Which bucket is asked: of a part of the name, or the key's own.
    pub fn bucket_of(&self, rung: Option<u8>) -> Key {
        rung.and_then(|index| self.rungs.get(usize::from(index))).map_or(self.bucket, |rung| rung.bucket)
    }
}

/// A fan-out limit: buckets of its own, a memory that it may share.
#[derive(Clone, Copy, Debug)]
pub struct FanOut {
    memory: SeenSet,
    buckets: RateCounter,
    settle_us: Option<u64>,
}

impl FanOut {
    /// Buckets over a memory; with `settle_us` the ladder.
    pub fn new(memory: SeenSet, buckets: RateCounter, settle_us: Option<u64>) -> Self {
        Self { memory, buckets, settle_us }
    }

    /// The buckets.
    pub fn buckets(&self) -> &RateCounter {
        &self.buckets
    }

    /// Every bucket that a consultation may ask.
    pub fn lines<'a>(&'a self, arrival: &'a Arrival) -> impl Iterator<Item = Candidates> + 'a {
        let rungs = if self.settle_us.is_some() { &arrival.rungs[..] } else { &[] };
        rungs.iter().map(|rung| rung.bucket).chain([arrival.bucket]).map(|key| self.buckets.lines(key))
    }

    /// Whether what is new fits, and on whose bucket; `promised` as in [`RateCounter::consult`].
    pub fn consult(
        &self,
        region: &Region,
        arrival: &Arrival,
        now_us: u64,
        promised: &mut SlotReservations,
    ) -> Consulted {
        let first = self.consult_at(region, arrival, now_us, promised);
        let (mut at_us, mut verdict) = (now_us, first.verdict);
        // From change to change, until the bucket then asked has room before the next one.
        while let Verdict::From(ready_us) = verdict {
            let change_us = self.next_change_us(arrival, at_us);
            if ready_us < change_us {
                break;
            }
            at_us = change_us;
            verdict = match self.consult_at(region, arrival, at_us, promised).verdict {
                Verdict::Fits => return Consulted { verdict: Verdict::From(at_us), ..first },
                later => later,
            };
        }
        Consulted { verdict, ..first }
    }

    /// Charges what is new; `false` when the bucket found no room.
    pub fn charge(&self, region: &mut Region, arrival: &Arrival, consulted: &Consulted) -> bool {
        let Consulted { spot, at: now, new, rung, .. } = *consulted;
        if new == 0 {
            return true;
        }
        let at = self.buckets.lines(arrival.bucket_of(rung));
        self.buckets.charge(region, &at, spot, now, new.into())
    }

    /// As if it were `at_us` and nothing changed from then on.
    fn consult_at(&self, region: &Region, arrival: &Arrival, at_us: u64, promised: &mut SlotReservations) -> Consulted {
        let known = |seen: Option<Sighting>| seen.is_some_and(|seen| at_us < self.memory.forgotten_from_us(seen));
        let new = arrival.elements.partition_point(|element| !known(element.seen)) as u32;
        if new == 0 {
            return Consulted { verdict: Verdict::Fits, spot: None, at: Ticks::default(), new, rung: None };
        }
        let rung = self.settle_us.and_then(|settle_us| {
            let settled = |seen: Sighting| self.memory.settled_from_us(seen, settle_us) <= at_us;
            let settled = arrival.rungs.iter().rposition(|rung| known(rung.seen) && rung.seen.is_some_and(settled));
            settled.map(|index| index as u8)
        });
        let at = self.buckets.lines(arrival.bucket_of(rung));
        let now = self.buckets.ticks_at(at_us);
        let (verdict, spot) = self.buckets.consult(region, &at, now, new.into(), promised);
        Consulted { verdict, spot, at: now, new, rung }
    }

    /// When a part settles or anything known is forgotten next, after `at_us`; `u64::MAX` when never.
    fn next_change_us(&self, arrival: &Arrival, at_us: u64) -> u64 {
        let forgotten_us = |seen| self.memory.forgotten_from_us(seen);
        let is_gone = |element: &Element| element.seen.is_none_or(|seen| forgotten_us(seen) <= at_us);
        let next = arrival.elements.get(arrival.elements.partition_point(is_gone)).and_then(|element| element.seen);
        let parts = arrival.rungs.iter().filter_map(|rung| rung.seen);
        let forgotten = parts.clone().chain(next).map(forgotten_us);
        let settled = self
            .settle_us
            .into_iter()
            .flat_map(|settle_us| parts.clone().map(move |seen| self.memory.settled_from_us(seen, settle_us)));
        forgotten.chain(settled).filter(|&us| us > at_us).min().unwrap_or(u64::MAX)
    }
}
