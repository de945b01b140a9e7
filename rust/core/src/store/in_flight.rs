//! What is open at once: connections, messages, bytes. Exact, in memory fixed by the number of permits.
//!
//! **Idea.** A cap alone is a switch in the attacker's hand: twenty networks that hold a hundred idle messages each close a server of two thousand.
//! So a cap may have a share: one key holds at most a part of what is *still free*, and always one. Who holds much leaves less for
//! itself, never nothing for others: with a part of 1/a, n keys that take all they can leave (a/(a + 1))ⁿ of the cap free when they take it one
//! after another, and a/(a + n) when they take turns. Twenty of a tenth each leave at least a seventh.
//!
//! ```text
//!  consult(amount):  free ← cap − held
//!                    never when amount > cap; not now when amount > free
//!                    not now when the sharer holds something and (its own + amount) > part · free
//!  hold(amount):     held + amount, the sharer's own + amount, and a record of it in the permit
//!  release(token):   the record's amounts back, once
//! ```
//!
//! Only what was held is ever released: a check consults and holds nothing, a refused permit has no record. Nothing is released by time.
//! A sharer's count is one under each key of the limit. A message without the sharer's identity shares with all such: having no name is no way around.
//! Nothing is known of a message whose size is not declared, so it is asked for no bytes.
//!
//! **Cost.** A word where a limit has one key in all (`global`); else a probe of a [`KeyCounts`], one for all limits that look at the same key.
//! **Size.** A record a permit, and 3/2 rows a permit in each tally. **Bound.** Exact; parts are compared without division.
//!
//! **Source.** Choudhury and Hahne, Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, 1998.
//!
//! **Dropped.** Static caps a key: figures in `tests/adversarial/test_held_slots.py`. Counters that decay or time out: a slow server would forget
//! what it really holds, and one that never forgets needs no clock. Estimates: a Count-Min of what is held is shared by everybody whom it confuses.

use smallvec::SmallVec;

use super::Verdict;
use super::key_counts::{KeyCounts, Row};
use super::params::Fraction;
use super::permits::{Held, Permits, Token};
use crate::key::Key;
use crate::region::Region;

/// When to ask again is not known: whoever holds it may let go at any time. One second.
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

/// A column of a tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tally, by its place in [`Capacity::tallies`].
    pub tally: usize,
    /// The column.
    pub column: usize,
}

/// What one check or one permit asks of all of them.
#[derive(Debug, Default)]
pub struct Wanted {
    /// The limits that are asked, by their place in [`Capacity::limits`]; and the size of the message.
    pub held: Held,
    /// A key for each tally that they need.
    pub keys: SmallVec<[Wanting; 2]>,
}

/// A key, and its row once it was looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanting {
    /// The tally.
    pub tally: usize,
    /// The key.
    pub key: Key,
    /// Its row.
    pub row: Option<Row>,
}

/// All in-flight limits of a guard, their counts and its permits.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// The permits.
    pub permits: Permits,
    /// The limits, in file order.
    pub limits: Vec<InFlight>,
    /// Counts by key.
    pub tallies: Vec<KeyCounts>,
}

impl Wanted {
    /// The row of the key in a tally.
    #[inline]
    fn row(&self, tally: usize) -> Option<Row> {
        self.keys.iter().find(|wanting| wanting.tally == tally)?.row
    }

    fn key(&self, tally: usize) -> Option<Key> {
        self.keys.iter().find(|wanting| wanting.tally == tally).map(|wanting| wanting.key)
    }

    /// Holds nothing under this limit.
    pub fn leave_out(&mut self, limit: usize) {
        self.held.limits &= !(1 << limit);
    }

    /// The places of the limits that are asked.
    #[inline]
    pub fn limits(&self) -> impl Iterator<Item = usize> + use<> {
        bits(self.held.limits)
    }
}

impl Capacity {
    /// Finds the row of each key: the only thing that takes a look-up.
    #[inline]
    pub fn find(&self, region: &Region, wanted: &mut Wanted) {
        if Permits::open(region) == 0 {
            return;
        }
        for wanting in &mut wanted.keys {
            wanting.row = self.tallies[wanting.tally].find(region, wanting.key);
        }
    }

    /// Whether one limit has room for what is wanted, whose rows were found.
    #[inline]
    pub fn consult(&self, region: &Region, wanted: &Wanted, limit: usize, now_us: u64) -> Verdict {
        let &InFlight { cap, bytes, ref count, ref share } = &self.limits[limit];
        let amount = if bytes { wanted.held.bytes } else { 1 };
        if amount > cap {
            return Verdict::Never;
        }
        // Nothing is held, so all of it is free, and who holds nothing may have one.
        if Permits::open(region) == 0 {
            return Verdict::Fits;
        }
        let held = match count {
            Some(place) => self.held(region, wanted, *place),
            None => self.permits.count(region, limit),
        };
        let free = cap.saturating_sub(held);
        let fits = amount <= free
            && share.as_ref().is_none_or(|(place, part)| {
                let own = self.held(region, wanted, *place);
                // Amounts are at most 2⁵⁰ each, a part has at most ten bits.
                own == 0 || (own + amount) * part.denominator <= free * part.numerator
            });
        if fits { Verdict::Fits } else { Verdict::From(now_us + HINT_US) }
    }

    /// How much is held under one limit by the key that is wanted, whose rows were found.
    pub fn used(&self, region: &Region, wanted: &Wanted, limit: usize) -> u64 {
        match self.limits[limit].count {
            Some(place) => self.held(region, wanted, place),
            None => self.permits.count(region, limit),
        }
    }

    /// Holds all that is wanted, when there is room for a permit and every limit was consulted and fits.
    pub fn hold(&self, region: &mut Region, wanted: &Wanted) -> Token {
        for limit in wanted.limits() {
            let amount = self.amount(&wanted.held, limit);
            let InFlight { count, share, .. } = self.limits[limit];
            if count.is_none() {
                if let Some(count) = self.permits.count_mut(region, limit) {
                    *count += amount;
                }
            }
            for Place { tally, column } in count.into_iter().chain(share.map(|(place, _)| place)) {
                if let Some(key) = wanted.key(tally) {
                    self.tallies[tally].add(region, key, column, amount);
                }
            }
        }
        self.permits.take(region, &wanted.held, wanted.keys.iter().map(|wanting| (wanting.tally, wanting.key)))
    }

    /// Releases what the permit of `token` holds. Whether it held anything: it did not when it is of before a fork.
    pub fn release(&self, region: &mut Region, token: &Token) -> bool {
        let Some(held) = self.permits.held(region, token) else { return false };
        for limit in bits(held.limits) {
            let amount = self.amount(&held, limit);
            let InFlight { count, share, .. } = self.limits[limit];
            if count.is_none() {
                if let Some(count) = self.permits.count_mut(region, limit) {
                    debug_assert!(*count >= amount, "more is released than was held");
                    *count = count.saturating_sub(amount);
                }
            }
            for Place { tally, column } in count.into_iter().chain(share.map(|(place, _)| place)) {
                let key = self.permits.key(region, token, tally);
                self.tallies[tally].take(region, key, column, amount);
            }
        }
        self.permits.give_back(region, token);
        true
    }

    /// Begins anew in the process of this `generation`, unless it has: nothing is held.
    pub fn begin(&self, region: &mut Region, generation: u64) {
        if self.permits.begin(region, generation) {
            for tally in &self.tallies {
                tally.clear(region);
            }
        }
    }

    #[inline]
    fn held(&self, region: &Region, wanted: &Wanted, Place { tally, column }: Place) -> u64 {
        self.tallies[tally].held(region, wanted.row(tally), column)
    }

    fn amount(&self, held: &Held, limit: usize) -> u64 {
        if self.limits[limit].bytes { held.bytes } else { 1 }
    }
}

/// The places of the bits that are set.
#[inline]
fn bits(mut left: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (left != 0).then(|| left.trailing_zeros() as usize);
        left &= left.wrapping_sub(1);
        lowest
    })
}
