//! What is open at once: connections, messages, bytes. Exact, in memory fixed by the number of permits.
//!
//! **Idea.** A cap alone is a switch in the attacker's hand: twenty networks that hold a hundred idle messages each
//! close a server of two thousand. So a cap may have a share: one key holds at most a part of what is *still free*, and
//! always one. Who holds much leaves less for itself, never nothing for others: with a part of 1/a, n keys that take
//! all they can leave (a/(a + 1))ⁿ of the cap free when they take it one after another, and a/(a + n) when they take
//! turns. Twenty of a tenth each leave at least a seventh.
//!
//! ```text
//!  consult(amount):  free ← cap − held
//!                    never when amount > cap; not now when amount > free
//!                    not now when the sharer holds something and (its own + amount) > part · free
//!  hold(amount):     held + amount, the sharer's own + amount, and a record of it in the permit
//!  release(token):   the record's amounts back, once
//! ```
//!
//! Only what was held is ever released: a check consults and holds nothing, a refused permit has no record. Nothing is
//! released by time. A sharer's count is one under each key of the limit. A message without the sharer's identity
//! shares with all such: having no name is no way around. Nothing is known of a message whose size is not declared, so
//! it is asked for no bytes.
//!
//! **Cost.** A word where a limit has one key in all (`global`); else a probe of a [`KeyCounts`], one for all limits
//! that look at the same key. **Size.** A record a permit, and 3/2 rows a permit in each tally. **Bound.** Exact; parts
//! are compared without division.
//!
//! **Source.** Choudhury and Hahne, Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, 1998.
//!
//! **Dropped.** Static caps a key: figures in `tests/adversarial/test_held_slots.py`. Counters that decay or time out:
//! a slow server would forget what it really holds, and one that never forgets needs no clock. Estimates: a Count-Min
//! of what is held is shared by everybody whom it confuses.

use super::key_counts::{KeyCounts, Row};
use super::params::Fraction;
use super::permits::{Held, Permits, Token};
use super::request::Verdict;
use crate::region::Region;

pub use super::request::{Wanted, WantedKey};

/// The wait that a refusal reports, one second: a holder may release at any time, so the real wait is unknown.
pub const HINT_US: u64 = 1_000_000;

/// One limit.
#[derive(Clone, Copy, Debug)]
pub struct InFlight {
    /// Most at once, of one key.
    pub cap: u64,
    /// Whether it counts bytes; else one a permit.
    pub bytes: bool,
    /// Where it counts; `None`: there is one key in all.
    pub count: Option<Place>,
    /// Where the sharer's own stands, and its part.
    pub share: Option<(Place, Fraction)>,
}

/// A column of the counts of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The counts, by their place in [`Capacity::counts`].
    pub counts: usize,
    /// The column.
    pub column: usize,
}

/// All in-flight limits of a guard, their counts and its permits.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// The permits.
    pub permits: Permits,
    /// The limits, in file order.
    pub limits: Vec<InFlight>,
    /// Counts by key.
    pub counts: Vec<KeyCounts>,
}

impl InFlight {
    /// The columns that it counts in.
    fn places(&self) -> impl Iterator<Item = Place> + use<> {
        self.count.into_iter().chain(self.share.map(|(place, _)| place))
    }
}

impl Capacity {
    /// Finds the row of each wanted key: the only step that takes a look-up.
    #[inline]
    pub fn find(&self, region: &Region, wanted: &Wanted, rows: &mut Vec<Option<Row>>) {
        let is_nothing_open = Permits::open(region) == 0;
        for WantedKey { counts, key } in &wanted.keys {
            rows.push(if is_nothing_open { None } else { self.counts[*counts].find(region, *key) });
        }
    }

    /// Whether one limit has room for what is wanted, whose rows were found.
    #[inline]
    pub fn consult(
        &self,
        region: &Region,
        wanted: &Wanted,
        rows: &[Option<Row>],
        limit: usize,
        now_us: u64,
    ) -> Verdict {
        let InFlight { cap, share, .. } = self.limits[limit];
        let amount = self.amount(&wanted.held, limit);
        if amount > cap {
            return Verdict::Never;
        }
        // Nothing is held, so all of it is free, and a sharer that holds nothing may have one.
        if Permits::open(region) == 0 {
            return Verdict::Fits;
        }
        let free = cap.saturating_sub(self.used(region, wanted, rows, limit));
        let fits = amount <= free
            && share.is_none_or(|(place, part)| {
                let own = self.held(region, wanted, rows, place);
                // Amounts are at most 2⁵⁰ each, a part has at most ten bits.
                own == 0 || (own + amount) * part.denominator <= free * part.numerator
            });
        if fits { Verdict::Fits } else { Verdict::From(now_us + HINT_US) }
    }

    /// How much is held under one limit by the key that is wanted, whose rows were found.
    #[inline]
    pub fn used(&self, region: &Region, wanted: &Wanted, rows: &[Option<Row>], limit: usize) -> u64 {
        match self.limits[limit].count {
            Some(place) => self.held(region, wanted, rows, place),
            None => self.permits.count(region, limit),
        }
    }

    /// Holds what is wanted under `limits`, when there is room for a permit and each of them was consulted and fits.
    pub fn hold(&self, region: &mut Region, wanted: &Wanted, limits: u64) -> Token {
        let held = Held { limits, ..wanted.held };
        for limit in held.places() {
            let amount = self.amount(&held, limit);
            if self.limits[limit].count.is_none() {
                self.permits.set_count(region, limit, self.permits.count(region, limit) + amount);
            }
            for Place { counts, column } in self.limits[limit].places() {
                if let Some(key) = wanted.key(counts) {
                    self.counts[counts].add(region, key, column, amount);
                }
            }
        }
        self.permits.take(region, &held, wanted.keys.iter().map(|wanted| (wanted.counts, wanted.key)))
    }

    /// Releases what the permit of `token` holds; whether it held anything: a token from before a fork holds nothing.
    pub fn release(&self, region: &mut Region, token: &Token) -> bool {
        let Some(held) = self.permits.held(region, token) else { return false };
        for limit in held.places() {
            let amount = self.amount(&held, limit);
            if self.limits[limit].count.is_none() {
                let count = self.permits.count(region, limit);
                debug_assert!(count >= amount, "more is released than was held");
                self.permits.set_count(region, limit, count.saturating_sub(amount));
            }
            for Place { counts, column } in self.limits[limit].places() {
                let key = self.permits.key(region, token, counts);
                self.counts[counts].take(region, key, column, amount);
            }
        }
        self.permits.give_back(region, token);
        true
    }

    /// Starts with nothing held in the process of this `generation`, unless it has done so before.
    pub fn begin(&self, region: &mut Region, generation: u64) {
        if self.permits.begin(region, generation) {
            for counts in &self.counts {
                counts.clear(region);
            }
        }
    }

    #[inline]
    fn held(&self, region: &Region, wanted: &Wanted, rows: &[Option<Row>], Place { counts, column }: Place) -> u64 {
        let row = wanted.keys.iter().zip(rows).find(|(wanted, _)| wanted.counts == counts);
        self.counts[counts].held(region, row.and_then(|(_, row)| *row), column)
    }

    fn amount(&self, held: &Held, limit: usize) -> u64 {
        if self.limits[limit].bytes { held.bytes } else { 1 }
    }
}
