#![allow(dead_code, reason = "each test binary uses a part")]
//! The obvious oracles that every store runs against: a few lines each, unbounded memory, exact fractions.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use throttle_core::key::Key;

/// A bucket that drains at L per W and holds B, in exact fractions: a count of 1 is `period_us` parts,
/// a microsecond drains `amount` of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    pub(crate) amount: u128,
    pub(crate) period_us: u128,
    pub(crate) burst: u128,
}

/// Buckets by key.
pub(crate) struct Buckets<K> {
    pub(crate) bucket: Bucket,
    /// (full until, in parts of a microsecond: µs · amount)
    drained_at: HashMap<K, u128>,
}

impl<K: Eq + Hash> Buckets<K> {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self { bucket, drained_at: HashMap::new() }
    }

    /// Parts in the bucket of `key` at `now_us`.
    pub(crate) fn level(&self, key: &K, now_us: u64) -> u128 {
        let now = u128::from(now_us) * self.bucket.amount;
        self.drained_at.get(key).map_or(0, |at| at.saturating_sub(now))
    }

    /// Whether `cost` fits.
    pub(crate) fn fits(&self, key: &K, now_us: u64, cost: u64) -> bool {
        self.level(key, now_us) + u128::from(cost) * self.bucket.period_us <= self.bucket.burst * self.bucket.period_us
    }

    /// Charges `cost`, whether it fits or not.
    pub(crate) fn charge(&mut self, key: K, now_us: u64, cost: u64) {
        let level = self.level(&key, now_us) + u128::from(cost) * self.bucket.period_us;
        self.drained_at.insert(key, u128::from(now_us) * self.bucket.amount + level);
    }

    /// Charges one, at most until the bucket is full.
    pub(crate) fn charge_up_to_full(&mut self, key: K, now_us: u64) {
        let Bucket { period_us, burst, amount } = self.bucket;
        let level = (self.level(&key, now_us) + period_us).min(burst * period_us);
        self.drained_at.insert(key, u128::from(now_us) * amount + level);
    }

    /// The first microsecond from `now_us` on at which `cost` fits.
    pub(crate) fn fits_from(&self, key: &K, now_us: u64, cost: u64) -> u64 {
        let Bucket { period_us, burst, amount } = self.bucket;
        let level = self.level(key, now_us) + u128::from(cost) * period_us;
        now_us + level.saturating_sub(burst * period_us).div_ceil(amount) as u64
    }
}

/// Buckets that only fresh elements fill; what came under a key is forgotten when its bucket has drained.
pub(crate) struct Sets<K> {
    pub(crate) buckets: Buckets<K>,
    seen: HashMap<K, HashSet<u64>>,
}

impl<K: Eq + Hash + Copy> Sets<K> {
    pub(crate) fn new(bucket: Bucket) -> Self {
        Self { buckets: Buckets::new(bucket), seen: HashMap::new() }
    }

    /// Whether a message with so many elements fits, whatever they are.
    pub(crate) fn fits(&self, key: &K, now_us: u64, elements: &[u64]) -> bool {
        self.buckets.fits(key, now_us, (elements.len() as u64).max(1))
    }

    /// Charges what is fresh; how much that is.
    pub(crate) fn charge(&mut self, key: K, now_us: u64, elements: &[u64]) -> u64 {
        let seen = self.seen.entry(key).or_default();
        if self.buckets.level(&key, now_us) == 0 {
            seen.clear();
        }
        let fresh = elements.iter().filter(|&&element| seen.insert(element)).count() as u64;
        self.buckets.charge(key, now_us, fresh);
        fresh
    }
}

/// Trailing windows by key: a list of everything that was charged.
///
/// A window is half-open: an event at a counts in [a, a + W).
pub(crate) struct Windows<K> {
    pub(crate) period_us: u64,
    events: HashMap<K, Vec<(u64, u64)>>,
}

impl<K: Eq + Hash> Windows<K> {
    pub(crate) fn new(period_us: u64) -> Self {
        Self { period_us, events: HashMap::new() }
    }

    /// How much of `key` counts at `now_us`. The largest of any time is that of an event,
    /// since between them nothing is added.
    pub(crate) fn counted(&self, key: &K, now_us: u64) -> u64 {
        let events = self.events.get(key).into_iter().flatten();
        events.filter(|(at, _)| *at <= now_us && now_us - *at < self.period_us).map(|(_, cost)| cost).sum()
    }

    /// Charges `cost`, whether it fits or not.
    pub(crate) fn charge(&mut self, key: K, now_us: u64, cost: u64) {
        self.events.entry(key).or_default().push((now_us, cost));
    }
}

/// Well-mixed keys: tables expect hashes.
pub(crate) fn key(number: u64) -> Key {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    Key((mixed ^ mixed >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9))
}
