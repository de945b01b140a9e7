//! Limits on what is open at once: connections, messages, bytes. Exact, in memory fixed by the number of permits.
//!
//! **Idea.** With only a cap, a few networks can fill the server: twenty networks with a hundred idle messages each
//! fill a cap of two thousand. So a cap may have a share: one key, the *sharer*, holds at most a part of what is *still
//! free*. The more a key holds, the less it may add, so a few keys leave room for others. With a part of 1/a, n keys
//! that take all they can leave (a/(a + 1))ⁿ of the cap free when they take it one after another, and a/(a + n) when
//! they take turns. Twenty keys with a part of a tenth leave at least a seventh.
//!
//! **Tiers.** A client may own a network, and a network may be one of many of one owner. So a share may have several
//! tiers, such as a client, its /48 and its /29, and each bounds its own key. Every part is one of the *whole* that is
//! free, not of the tier above: then each bound is read by itself, and an IPv4 network, which is the same key in two
//! tiers, is not bounded by the product of both. The price: a few clients of a network, as many as its part is larger
//! than theirs, use up its part, where parts of parts would leave them ever less.
//!
//! **Always one.** A hundred keys leave next to nothing of any part. So a key that holds nothing may take one, or of
//! bytes at most `first`, whatever its part is; and `reserve` is kept for this. It does not count as free for any part.
//! A tier under which something is held still bounds it: an owner of a million networks has one such right, not a
//! million.
//!
//! **Neighbours.** So a few clients of a block that take all its part would shut out all others of the block: three
//! rented hosts, a hoster's whole /29. A *neighbour* is a key of the first tier that holds nothing, in a block that has
//! no more room. A quarter of the reserve is for the `first` of neighbours. The larger tiers share it like the cap: the
//! neighbours in a block hold at most its part of what is *left of that quarter*. So the owner of a block, who has as
//! many empty keys as it likes, gets a fifth of the quarter by them, and all blocks together never touch the rest of
//! the reserve. What neighbours hold is taken from the reserve, so it makes no part of others smaller.
//!
//! ```text
//!  consult(amount):  free ← cap − held;  left ← reserve / 4 − held by neighbours
//!                    shared ← free − (reserve − held by neighbours)
//!                    never when amount > largest: more than passes when nothing is held
//!                    not now when amount > free
//!                    fits when in every tier own = 0 and amount ≤ first, or own + amount ≤ part · shared
//!                    fits as a neighbour's when own = 0 in the first tier, amount ≤ first,
//!                         and in every other tier (own of neighbours) + amount ≤ part · left
//!  hold(amount):     held + amount, own + amount in each tier, and a record of it in the permit;
//!                    a neighbour's amount is counted as one of neighbours, too
//!  release(token):   the record's amounts back, once
//! ```
//!
//! Only a permit holds anything, and only its release returns it: a check without a permit holds nothing, and no permit
//! expires by time. Each key of the limit has its own count for each sharer. Messages without the sharer's identity
//! share one count, so that a sender cannot avoid the share by having no name. A message without a declared size counts
//! no bytes.
//!
//! **Permits.** There are at most `max_open` records, and a list of the free ones. A permit is released once, by its
//! token. A record keeps the serial number of its permit, no number is used twice, and a token with another number
//! releases nothing. A token from before [`Permits::begin`] releases nothing either: a forked child does not own what
//! its parent holds.
//!
//! ```text
//!  region's header   [`OpenPermits`]: how many are open, serial numbers, the list of free records
//!  table             for limits that have a single key, a word a limit: what is held, then what neighbours hold;
//!                    then the records
//!  record            serial, 0 when free │ limits that it is held under, as bits │ those where it is a neighbour's
//!                    │ bytes │ a key for each key counts
//!                    a free one: 0 │ next free record
//! ```
//!
//! A policy without in-flight limits has no records: permits are only counted.
//!
//! **Cost.** One cache line to take a permit, one to release it. One word for a limit with a single key (`global`);
//! else a probe of a [`KeyCounts`], which all limits with that key share. **Size.** A record for each permit, and 3/2
//! rows for each permit in each of the key counts. **Bound.** Exact; parts are compared without division.
//!
//! **Source.** Choudhury and Hahne, Dynamic Queue Length Thresholds for Shared-Memory Packet Switches, 1998. Serial
//! numbers against a token that is shown twice: generational indices.
//!
//! **Dropped.** A fixed cap for each key: figures in `tests/adversarial/test_held_slots.py`. Counters that decay or
//! time out: a slow server would forget what it really holds, and a counter that never forgets needs no clock.
//! Estimates: keys that share the cells of a Count-Min would share what they hold. Amounts that are kept only in the
//! permit itself: after a process has ended, nothing could release what it held. For neighbours, a part of all that is
//! free with a smaller reserve and no counts of their own: as soon as others hold a little more, it is used up.

use super::key_counts::{KeyCounts, Row};
use super::params::Fraction;
use super::request::Verdict;
use crate::key::Key;
use crate::region::{OpenPermits, PAGE_BYTES, Region, Table};

pub use super::request::{Held, Wanted, WantedKey};

/// The part of a reserve that is for neighbours, as a divisor.
const NEIGHBOURS_PART: u64 = 4;

/// The wait that a refusal reports, one second: a holder may release at any time, so the real wait is unknown.
pub const HINT_US: u64 = 1_000_000;

/// One limit.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// Most at once, of one key.
    pub cap: u64,
    /// Whether it counts bytes; if not, it counts one for each permit.
    pub bytes: bool,
    /// The columns that it counts in; `None` when the limit has a single key (`global`).
    pub count: Option<Columns>,
    /// The tiers of the share, the smallest first.
    pub tiers: Box<[Tier]>,
    /// How much is kept for sharers that hold nothing.
    pub reserve: u64,
    /// The most that a sharer which holds nothing may take whatever its part is.
    pub first: u64,
    /// The most that one check may bring when nothing is held.
    pub largest: u64,
}

/// A tier of a share.
#[derive(Clone, Copy, Debug)]
pub struct Tier {
    /// The columns of the sharer's own counts.
    pub own: Columns,
    /// The part of what is free that one sharer may hold.
    pub part: Fraction,
}

/// Where one key is counted.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// All that it holds.
    pub held: Place,
    /// What neighbours hold of it; `None` where there can be none.
    pub neighbours: Option<Place>,
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
    /// The columns that a permit is counted in: those for neighbours only when it is a neighbour's.
    fn places(&self, is_neighbour: bool) -> impl Iterator<Item = Place> + use<'_> {
        let all = self.count.into_iter().chain(self.tiers.iter().map(|tier| tier.own));
        all.flat_map(move |columns| [Some(columns.held), columns.neighbours.filter(|_| is_neighbour)]).flatten()
    }
}

/// Whether one limit has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomFound {
    /// The answer.
    pub verdict: Verdict,
    /// Whether there is room only because the sharer is a neighbour.
    pub is_neighbour: bool,
}

impl Capacity {
    /// Finds the row of each wanted key. Only this step probes the tables.
    pub fn find(&self, region: &Region, wanted: &Wanted, rows: &mut Vec<Option<Row>>) {
        let is_nothing_open = Permits::open(region) == 0;
        for WantedKey { counts, key } in &wanted.keys {
            rows.push(if is_nothing_open { None } else { self.counts[*counts].find(region, *key) });
        }
    }

    /// Whether one limit has room for what is wanted, whose rows were found.
    pub fn consult(
        &self, region: &Region, wanted: &Wanted, rows: &[Option<Row>], limit: usize, at_us: u64,
    ) -> RoomFound {
        let InFlight { cap, count, ref tiers, reserve, first, largest, .. } = self.limits[limit];
        let amount = self.amount(&wanted.held, limit);
        let room = |verdict| RoomFound { verdict, is_neighbour: false };
        if amount > largest {
            return room(Verdict::Never);
        }
        // No permit is open, so all of the cap is free.
        if Permits::open(region) == 0 {
            return room(Verdict::Fits);
        }
        let full = room(Verdict::From(at_us + HINT_US));
        let held = |place| self.held(region, wanted, rows, place);
        let free = cap.saturating_sub(self.used(region, wanted, rows, limit));
        if amount > free {
            return full;
        }
        let neighbours = match count {
            Some(columns) => columns.neighbours.map_or(0, held),
            None => self.permits.count(region, NEIGHBOURS + limit),
        };
        let shared = free.saturating_sub(reserve.saturating_sub(neighbours));
        // Amounts are at most 2⁵⁰ each, and the numbers of a part have at most ten bits: nothing overflows.
        let within = |own, part: Fraction, whole| (own + amount) * part.denominator <= whole * part.numerator;
        let is_first = |own| own == 0 && amount <= first;
        let fits = |tier: &Tier| {
            let own = held(tier.own.held);
            is_first(own) || within(own, tier.part, shared)
        };
        if tiers.iter().all(fits) {
            return room(Verdict::Fits);
        }
        let left = (reserve / NEIGHBOURS_PART).saturating_sub(neighbours);
        let has_room = |tier: &Tier| tier.own.neighbours.is_none_or(|place| within(held(place), tier.part, left));
        let is_neighbour =
            tiers.first().is_some_and(|tier| is_first(held(tier.own.held))) && tiers.iter().all(has_room);
        if is_neighbour { RoomFound { verdict: Verdict::Fits, is_neighbour } } else { full }
    }

    /// How much is held under one limit by the key that is wanted, whose rows were found.
    pub fn used(&self, region: &Region, wanted: &Wanted, rows: &[Option<Row>], limit: usize) -> u64 {
        match self.limits[limit].count {
            Some(columns) => self.held(region, wanted, rows, columns.held),
            None => self.permits.count(region, limit),
        }
    }

    /// Holds `held` under the keys that are wanted and returns the token. The caller has checked that there is room for
    /// a permit.
    pub fn hold(&self, region: &mut Region, wanted: &Wanted, held: &Held) -> Token {
        for limit in held.places() {
            let amount = self.amount(held, limit);
            for count in self.single_counts(held, limit) {
                self.permits.set_count(region, count, self.permits.count(region, count) + amount);
            }
            for Place { counts, column } in self.limits[limit].places(held.is_neighbour(limit)) {
                if let Some(key) = wanted.key(counts) {
                    self.counts[counts].add(region, key, column, amount);
                }
            }
        }
        self.permits.take(region, held, wanted.keys.iter().map(|wanted| (wanted.counts, wanted.key)))
    }

    /// Releases what the permit of `token` holds. Returns whether it held anything: a token from before a fork holds
    /// nothing.
    pub fn release(&self, region: &mut Region, token: &Token) -> bool {
        let Some(held) = self.permits.held(region, token) else { return false };
        for limit in held.places() {
            let amount = self.amount(&held, limit);
            for count in self.single_counts(&held, limit) {
                let of_all = self.permits.count(region, count);
                debug_assert!(of_all >= amount, "more is released than was held");
                self.permits.set_count(region, count, of_all.saturating_sub(amount));
            }
            for Place { counts, column } in self.limits[limit].places(held.is_neighbour(limit)) {
                let key = self.permits.key(region, token, counts);
                self.counts[counts].take(region, key, column, amount);
            }
        }
        self.permits.give_back(region, token);
        true
    }

    /// Starts the process of this `generation` with nothing held, unless that process has started already.
    pub fn begin(&self, region: &mut Region, generation: u64) {
        if self.permits.begin(region, generation) {
            for counts in &self.counts {
                counts.clear(region);
            }
        }
    }

    /// The counts of a limit that has a single key, by their place in [`Permits::count`]; of another limit none.
    fn single_counts(&self, held: &Held, limit: usize) -> impl Iterator<Item = usize> + use<> {
        let counts =
            if held.is_neighbour(limit) { [Some(limit), Some(NEIGHBOURS + limit)] } else { [Some(limit), None] };
        let is_single = self.limits[limit].count.is_none();
        counts.into_iter().flatten().filter(move |_| is_single)
    }

    fn held(&self, region: &Region, wanted: &Wanted, rows: &[Option<Row>], Place { counts, column }: Place) -> u64 {
        let row = wanted.keys.iter().zip(rows).find(|(wanted, _)| wanted.counts == counts);
        self.counts[counts].held(region, row.and_then(|(_, row)| *row), column)
    }

    fn amount(&self, held: &Held, limit: usize) -> u64 {
        if self.limits[limit].bytes { held.bytes } else { 1 }
    }
}

/// Words for what is held: one for every limit that a policy can have.
pub const COUNTS: usize = 64;

/// The first word for what neighbours hold: as many follow.
const NEIGHBOURS: usize = COUNTS;

/// Words before the records.
const BEFORE_RECORDS: usize = 2 * COUNTS;

/// Words of a record before its keys.
const HEAD: usize = 4;

/// The right to release what a permit holds, once.
#[must_use = "what it holds stays held until it is released"]
#[derive(Debug, PartialEq, Eq)]
pub struct Token {
    serial: u64,
    record: u32,
}

/// The permits of one engine.
#[derive(Clone, Copy, Debug)]
pub struct Permits {
    /// Most permits at once.
    pub most: u64,
    /// The records; `None` when no limit counts what is in flight.
    pub table: Option<Table>,
    keys: usize,
}

impl Permits {
    /// Bytes of a table for `most` permits with `keys` keys each.
    pub fn bytes(most: u64, keys: usize) -> u64 {
        ((BEFORE_RECORDS as u64 + most * (HEAD + keys) as u64) * 8).next_multiple_of(PAGE_BYTES)
    }

    /// At most `most` permits at once, with records in `table`, which has [`Permits::bytes`].
    pub fn new(most: u64, table: Option<Table>, keys: usize) -> Self {
        debug_assert!(table.is_none_or(|table| table.bytes() >= Self::bytes(most, keys)));
        Self { most, table, keys }
    }

    /// How many permits are open.
    pub fn open(region: &Region) -> u64 {
        region.permits().open
    }

    /// Whether one more permit can be taken.
    pub fn has_room(&self, region: &Region) -> bool {
        Self::open(region) < self.most
    }

    /// A count of a limit that has a single key (`global`): at the limit's own place what is held.
    pub fn count(&self, region: &Region, place: usize) -> u64 {
        self.table.as_ref().map_or(0, |table| region.words(table)[place])
    }

    /// Changes a count of a limit that has a single key.
    fn set_count(&self, region: &mut Region, place: usize, count: u64) {
        if let Some(table) = &self.table {
            region.words_mut(table)[place] = count;
        }
    }

    /// Takes a permit; the caller has checked [`Permits::has_room`]. `keys` are the keys that hold something, each with
    /// its place among the key counts.
    pub fn take(&self, region: &mut Region, held: &Held, keys: impl Iterator<Item = (usize, Key)>) -> Token {
        let mut known = *region.permits();
        known.open += 1;
        known.last_serial += 1;
        let serial = known.last_serial;
        let mut record = 0;
        if let Some(table) = &self.table {
            let words = region.words_mut(table);
            if known.first_free > 0 {
                record = known.first_free - 1;
                known.first_free = words[self.place(record) + 1];
            } else {
                record = known.ever_used;
                known.ever_used += 1;
            }
            let place = self.place(record);
            words[place..place + HEAD].copy_from_slice(&[serial, held.limits, held.neighbours, held.bytes]);
            for (nth, key) in keys {
                words[place + HEAD + nth] = key.0;
            }
        }
        region.set_permits(known);
        Token { serial, record: u32::try_from(record).unwrap_or(u32::MAX) }
    }

    /// What the permit of `token` holds; `None` when it was released, or taken before [`Permits::begin`].
    pub fn held(&self, region: &Region, token: &Token) -> Option<Held> {
        if token.serial <= region.permits().void_up_to {
            return None;
        }
        let Some(table) = &self.table else { return Some(Held::default()) };
        let words = region.words(table).get(self.place(token.record.into())..)?;
        (words.first() == Some(&token.serial)).then(|| Held { limits: words[1], neighbours: words[2], bytes: words[3] })
    }

    /// The key under which the permit of `token` holds something, in the key counts at place `nth`.
    pub fn key(&self, region: &Region, token: &Token, nth: usize) -> Key {
        let place = self.place(token.record.into()) + HEAD + nth;
        Key(self.table.as_ref().map_or(0, |table| region.words(table)[place]))
    }

    /// Frees the record of `token`; the caller has checked [`Permits::held`].
    pub fn give_back(&self, region: &mut Region, token: &Token) {
        let mut known = *region.permits();
        known.open = known.open.saturating_sub(1);
        if let Some(table) = &self.table {
            let place = self.place(token.record.into());
            region.words_mut(table)[place..place + 2].copy_from_slice(&[0, known.first_free]);
            known.first_free = u64::from(token.record) + 1;
        }
        region.set_permits(known);
    }

    /// Starts the process of this `generation` without permits: every earlier token is void. Returns `false`, and does
    /// nothing, when that process has started already.
    pub fn begin(&self, region: &mut Region, generation: u64) -> bool {
        let known = *region.permits();
        if known.generation == generation {
            return false;
        }
        let last_serial = known.last_serial;
        region.set_permits(OpenPermits { generation, last_serial, void_up_to: last_serial, ..OpenPermits::default() });
        if let Some(table) = &self.table {
            region.words_mut(table).fill(0);
        }
        true
    }

    fn place(&self, record: u64) -> usize {
        BEFORE_RECORDS + record as usize * (HEAD + self.keys)
    }
}
