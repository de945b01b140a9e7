//! Fan-out with `refuse = "new"`: how many elements that are not known may appear under one key.
//!
//! **Idea.** An element that is known is free. An unknown one costs one whole charge on a GCRA bucket; when it is admitted it becomes known.
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
//! While it waits, an element's target can change: a part settles, or is forgotten. [`FanOut::consult`] walks from change to change, so the time it tells is exact.
//!
//! **Source.** Counting distinct children of a name: Afek et al., arXiv 1612.02636. Charging only what is new, and the ladder, are ours.
//!
//! **Dropped.** Charging by changed HyperLogLog registers: an element that changes none passes free, and 82 % of a flood does.

use smallvec::{SmallVec, smallvec};

use super::Verdict;
use super::gcra::Gcra;
use super::known::{Known, Sighting};
use crate::key::Key;
use crate::region::{LineId, Region};

/// Most parts of a name on the ladder: the organisational domain and five labels more.
pub const RUNGS: usize = 6;

/// What one check brings under one key.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The key's own bucket.
    pub bucket: Key,
    /// The elements, as the memory knows them.
    pub elements: SmallVec<[Key; 1]>,
    /// Parts of the element's name, the shallowest first.
    pub rungs: SmallVec<[Rung; RUNGS]>,
}

/// A part of a name.
#[derive(Clone, Copy, Debug)]
pub struct Rung {
    /// As the memory knows it.
    pub known: Key,
    /// Its bucket.
    pub bucket: Key,
}

/// What the memory says of an arrival.
#[derive(Clone, Debug)]
pub struct Seen {
    elements: SmallVec<[Option<Sighting>; 1]>,
    rungs: SmallVec<[Option<Sighting>; RUNGS]>,
}

impl Seen {
    /// Nothing seen yet; room for all of it, so that asking allocates nothing.
    pub fn room_for(arrival: &Arrival) -> Self {
        Self { elements: smallvec![None; arrival.elements.len()], rungs: smallvec![None; arrival.rungs.len()] }
    }
}

/// What a fan-out says of an arrival.
#[derive(Clone, Copy, Debug)]
pub struct Consulted {
    /// Whether it fits.
    pub verdict: Verdict,
    /// Elements that are not known.
    pub new: u64,
    /// The rung whose bucket is asked; `None`: the key's own.
    pub rung: Option<usize>,
}

impl Arrival {
    /// What a look-up in the memory touches.
    pub fn lines<'a>(&'a self, memory: &'a Known) -> impl Iterator<Item = LineId> + 'a {
        let keys = self.elements.iter().copied().chain(self.rungs.iter().map(|rung| rung.known));
        keys.flat_map(|key| memory.lines(key))
    }

    /// Asks the memory: of the parts only when an element is new, or when `all` is asked for since time will be looked ahead.
    pub fn consult(&self, memory: &Known, region: &Region, now_us: u64, all: bool, seen: &mut Seen) {
        for (&key, seen) in self.elements.iter().zip(&mut seen.elements) {
            *seen = memory.consult(region, key, now_us);
        }
        if all || seen.elements.iter().any(Option::is_none) {
            for (rung, seen) in self.rungs.iter().zip(&mut seen.rungs) {
                *seen = memory.consult(region, rung.known, now_us);
            }
        }
    }

    /// Makes every element and part known: the arrival was admitted.
    pub fn charge(&self, memory: &Known, region: &mut Region, now_us: u64) {
        for rung in &self.rungs {
            memory.charge(region, rung.known, now_us);
        }
        for &element in &self.elements {
            memory.charge(region, element, now_us);
        }
    }

    fn bucket_of(&self, rung: Option<usize>) -> Key {
        rung.and_then(|index| self.rungs.get(index)).map_or(self.bucket, |rung| rung.bucket)
    }
}

/// A fan-out limit: buckets of its own, a memory that it may share.
#[derive(Clone, Copy, Debug)]
pub struct FanOut {
    memory: Known,
    buckets: Gcra,
    settle_us: Option<u64>,
}

impl FanOut {
    /// Buckets over a memory; with `settle_us` the ladder.
    pub fn new(memory: Known, buckets: Gcra, settle_us: Option<u64>) -> Self {
        Self { memory, buckets, settle_us }
    }

    /// The buckets.
    pub fn buckets(&self) -> &Gcra {
        &self.buckets
    }

    /// Every bucket that a consultation may ask.
    pub fn lines<'a>(&'a self, arrival: &'a Arrival) -> impl Iterator<Item = LineId> + 'a {
        let rungs = if self.settle_us.is_some() { &arrival.rungs[..] } else { &[] };
        let buckets = rungs.iter().map(|rung| rung.bucket).chain([arrival.bucket]);
        buckets.flat_map(|key| self.buckets.lines(key))
    }

    /// Whether what is new fits, and on whose bucket; `reserved` as in [`Gcra::consult`].
    pub fn consult(&self, region: &Region, arrival: &Arrival, seen: &Seen, now_us: u64, reserved: usize) -> Consulted {
        let first = self.consult_at(region, arrival, seen, now_us, reserved);
        let mut at_us = now_us;
        let mut step = first;
        loop {
            let ready_us = step.verdict.earliest_us(at_us);
            let change_us = self.next_change_us(seen, at_us);
            if ready_us == at_us || ready_us < change_us || step.verdict == Verdict::Never {
                let verdict = if ready_us == now_us { Verdict::Fits } else { Verdict::From(ready_us) };
                return Consulted { verdict: if ready_us == u64::MAX { Verdict::Never } else { verdict }, ..first };
            }
            at_us = change_us;
            step = self.consult_at(region, arrival, seen, at_us, reserved);
        }
    }

    /// Charges what is new; `false` when the bucket found no room.
    pub fn charge(&self, region: &mut Region, arrival: &Arrival, consulted: &Consulted, now_us: u64) -> bool {
        consulted.new == 0 || self.buckets.charge(region, arrival.bucket_of(consulted.rung), now_us, consulted.new)
    }

    /// What the bucket holds that `consulted` asked, in ticks.
    pub fn level(&self, region: &Region, arrival: &Arrival, consulted: &Consulted, now_us: u64) -> u64 {
        self.buckets.level(region, arrival.bucket_of(consulted.rung), now_us)
    }

    /// As if it were `at_us` and nothing changed from then on.
    fn consult_at(&self, region: &Region, arrival: &Arrival, seen: &Seen, at_us: u64, reserved: usize) -> Consulted {
        let known = |sighting: &Option<Sighting>| sighting.is_some_and(|s| at_us < self.memory.forgotten_from_us(s));
        let new = seen.elements.iter().filter(|element| !known(element)).count() as u64;
        if new == 0 {
            return Consulted { verdict: Verdict::Fits, new, rung: None };
        }
        let rung = self.settle_us.and_then(|settle_us| {
            let settled = |s: &Option<Sighting>| s.is_some_and(|s| self.memory.settled_from_us(s, settle_us) <= at_us);
            seen.rungs.iter().rposition(|rung| known(rung) && settled(rung))
        });
        let verdict = self.buckets.consult(region, arrival.bucket_of(rung), at_us, new, reserved);
        Consulted { verdict, new, rung }
    }

    /// When a part settles or anything known is forgotten next, after `at_us`; `u64::MAX` when never.
    fn next_change_us(&self, seen: &Seen, at_us: u64) -> u64 {
        let forgotten = seen.elements.iter().chain(&seen.rungs).flatten().map(|&s| self.memory.forgotten_from_us(s));
        let settled = self
            .settle_us
            .into_iter()
            .flat_map(|settle_us| seen.rungs.iter().flatten().map(move |&s| self.memory.settled_from_us(s, settle_us)));
        forgotten.chain(settled).filter(|&us| us > at_us).min().unwrap_or(u64::MAX)
    }
}
