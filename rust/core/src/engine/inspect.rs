//! How full the tables are: for the operator, not for a decision.
//!
//! Knows no keys and no text. Invariant: it writes nothing, and releases the lock between pages. So the counts
//! of two pages may be of different times.

use super::Engine;
use crate::identity::Identity;
use crate::plan::PlannedLimit;
use crate::policy::{Choice, Count, Rate, Rule};
use crate::region::{LINES, Now, Region, Table};
use crate::stats::{Offender, Window};
use crate::store::fan_out::MAX_PARTS;
use crate::store::in_flight::Permits;
use crate::store::in_flight::{InFlight, Place};
use crate::store::rate_counter::RateCounter;
use crate::store::{Store, TableKind, TablePart};

/// How much of one table is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUse {
    /// The limit or its quota, `registers of` or `sketch of` it, `memory of` those that share it, `in flight per` an
    /// identity, `permits`, or `blocks`.
    pub name: String,
    /// Bytes of the table.
    pub bytes: u64,
    /// Slots in all; of a sketch, cells.
    pub slots: u64,
    /// Slots in use at engine time.
    pub used: u64,
    /// Charges that found no room, since start.
    pub untracked: u64,
}

impl Engine {
    /// The use of every table: those of each limit and of each quota, then the sketches, the seen_sets, what is open,
    /// and what is blocked. Checks go on meanwhile; `pause` runs every so many pages.
    pub fn tables(&self, pause: &dyn Fn()) -> Vec<TableUse> {
        let is_sketch = |part: &TablePart| part.kind == TableKind::Sketch;
        let all: Vec<(usize, TablePart)> = self
            .plan
            .limits
            .iter()
            .enumerate()
            .flat_map(|(place, planned)| planned.store.tables().map(move |part| (place, part)))
            .collect();
        let limits = self.plan.limits.iter().enumerate().flat_map(|(place, planned)| match planned.store {
            Store::InFlight(limit) => vec![self.in_flight_under(place, limit, pause)],
            _ => planned
                .store
                .tables()
                .filter(|part| !is_sketch(part))
                .map(|part| self.table_use(place, part, pause))
                .collect(),
        });
        let sketches =
            all.into_iter().filter(|(_, part)| is_sketch(part)).map(|(place, part)| self.table_use(place, part, pause));
        let seen_sets = self.plan.seen_sets.iter().enumerate().map(|(place, planned)| {
            let (set, table) = (planned.set, planned.set.table());
            let used = self.shared.sum_pages(table.pages(), pause, |region, page, now| set.used(region, page, now));
            let stated = self.plan.limits[..self.plan.stated].iter();
            let names: Vec<&str> =
                stated.filter(|limit| limit.store.seen_set() == Some(place)).map(|limit| &*limit.name).collect();
            let name = format!("memory of {}", names.join(", "));
            TableUse { name, bytes: table.bytes(), slots: table.slots(), used, untracked: 0 }
        });
        limits.chain(sketches).chain(seen_sets).chain(self.held()).chain(self.blocks(pause)).collect()
    }

    /// The use of one table of a limit's store. Charges that found no room are reported once, with the slots.
    fn table_use(&self, place: usize, part: TablePart, pause: &dyn Fn()) -> TableUse {
        let store = &self.plan.limits[place].store;
        let used = |region: &Region, page, now| store.used(part.kind, region, page, now);
        let used = self.shared.sum_pages(part.pages, pause, used);
        let name = self.table_name(place);
        let (name, untracked) = match part.kind {
            TableKind::Slots => (name, self.shared.lock().untracked(place)),
            TableKind::Registers => (format!("registers of {name}"), 0),
            TableKind::Sketch => (format!("sketch of {name}"), 0),
        };
        TableUse { name, bytes: part.bytes, slots: part.slots, used, untracked }
    }

    /// The keys that limits have blocked, where one may.
    fn blocks(&self, pause: &dyn Fn()) -> Option<TableUse> {
        let access =
            self.plan.access.filter(|_| self.plan.limits.iter().any(|planned| planned.block_rule.is_some()))?;
        let (blocks, table) = (access.blocks, access.blocks.table());
        let live = |region: &Region, page, now| blocks.live(region, page, now).count() as u64;
        let used = self.shared.sum_pages(table.pages(), pause, live);
        let untracked = access.list.untracked(&self.shared.lock());
        Some(TableUse { name: "blocks".into(), bytes: table.bytes(), slots: blocks.slots(), used, untracked })
    }

    /// `pair-pace`, or `pair-pace, quota of salesforce.com`.
    fn table_name(&self, index: usize) -> String {
        let name = &self.plan.limits[index].name;
        match self.plan.quota(index) {
            Some(quota) => format!("{name}, quota of {}", quota.of),
            None => name.to_string(),
        }
    }

    /// What is open under an in-flight limit: `slots` is its cap, `used` what is held, of a limit per key what the key
    /// holds that holds most. Its counts are in the tables below, so it has no bytes of its own.
    fn in_flight_under(&self, index: usize, limit: usize, pause: &dyn Fn()) -> TableUse {
        let (name, capacity) = (self.table_name(index), &self.plan.in_flight);
        let InFlight { cap, count, .. } = capacity.limits[limit];
        let used = match count {
            None => capacity.permits.count(&self.shared.lock(), limit),
            Some(Place { counts, column }) => {
                let counts = &capacity.counts[counts];
                let mut most = 0;
                self.shared.each_page(counts.table().pages(), pause, |region, page, _| {
                    most = most.max(counts.most(region, page, column));
                });
                most
            }
        };
        TableUse { name, bytes: 0, slots: cap, used, untracked: 0 }
    }

    /// The tables of what is open: keys that hold something, and permits, out of `max_open`.
    fn held(&self) -> Vec<TableUse> {
        let capacity = &self.plan.in_flight;
        let row = |name: String, table: &Table, used| TableUse {
            name,
            bytes: table.bytes(),
            slots: capacity.permits.most(),
            used,
            untracked: 0,
        };
        // Locked for each number alone: names are allocated.
        let counts = capacity.counts.iter().zip(&self.plan.count_keys).map(|(counts, count_keys)| {
            let used = counts.used(&self.shared.lock());
            row(format!("in flight per {}", count_keys.per_name), counts.table(), used)
        });
        let permits = capacity.permits.table().map(|table| {
            let open = Permits::open(&self.shared.lock());
            row("permits".into(), table, open)
        });
        counts.chain(permits).collect()
    }
}

const MINUTE_US: u64 = 60_000_000;
const HOUR_US: u64 = 60 * MINUTE_US;

/// Of a limit that counts bytes: a message of 64 KiB.
const MESSAGE_BYTES: u64 = 65_536;

/// A limit, or a quota of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The limit's name.
    pub limit: String,
    /// The value, of a quota.
    pub quota: Option<String>,
    /// `client.net/24/48 + sender.org`
    pub per: String,
    /// What is counted: `messages`, `bytes`, or the identity of which it counts different values.
    pub counted: String,
    /// The rate, of a limit that has one.
    pub rate: Option<Rate>,
    /// The burst of a bucket, or the cap of what is open; a window has neither.
    pub at_once: Option<u64>,
    /// Bytes of its own: its table, the sketch or the registers beside it.
    pub bytes: u64,
    /// Bytes of the memory of known elements that it asks, which others may share.
    pub memory_bytes: u64,
    /// New keys a minute, each with one message (of 64 KiB where bytes count) or one element, until its table is full;
    /// `None` when it cannot fill.
    pub keys_per_minute: Option<u64>,
    /// How long one key that brings new elements at this rate takes to fill the memory, in microseconds; `None` when it
    /// has none, or elements are forgotten as fast as they come.
    pub memory_full_us: Option<u64>,
    /// What one key gets at most in a minute.
    pub most_in_minute: u64,
    /// The same in an hour.
    pub most_in_hour: u64,
}

impl Engine {
    /// One for each limit, in file order, then one for each quota.
    pub fn forecast(&self) -> Vec<Forecast> {
        let rows = self.plan.limits.iter().enumerate();
        rows.map(|(index, planned)| {
            let quota = self.plan.quota(index);
            self.forecast_of(planned, quota.map(|quota| quota.of.clone()))
        })
        .collect()
    }

    fn forecast_of(&self, planned: &PlannedLimit, quota: Option<String>) -> Forecast {
        let limit = &planned.limit;
        let counted = limit.distinct().map_or_else(|| limit.count.name().to_owned(), |distinct| distinct.to_string());
        let (rate, burst) = limit.rule.rate_and_burst().unzip();
        let is_window = matches!(planned.store.rate_counter(), Some(RateCounter::SlidingWindow(_)));
        let most_in = |time_us: u64| match (rate, burst) {
            (Some(rate), _) if is_window => rate.amount.saturating_mul(time_us.div_ceil(rate.period_us)),
            (Some(rate), Some(burst)) => burst.saturating_add(drained(rate, time_us)),
            _ => self.cap(planned),
        };
        let one = if limit.count == Count::Bytes { MESSAGE_BYTES } else { 1 };
        // A quota of one value and no other part of a key has one key, or one a class; on the ladder one for each part
        // of a name.
        let is_one =
            quota.is_some() && limit.per.len() == 1 && !matches!(limit.rule, Rule::FanOut { settle_us: Some(_), .. });
        let keys_per_minute = match &planned.store {
            Store::InFlight(_) => None,
            _ if is_one => None,
            Store::Distinct(distinct) => Some(carried(distinct.table(), distinct.slots(), distinct.occupied_us())),
            Store::Rate(_) | Store::FanOut(_) => planned
                .store
                .rate_counter()
                .map(|buckets| carried(buckets.table(), buckets.slots(), buckets.occupied_us(one))),
        };
        Forecast {
            limit: limit.name.clone(),
            quota,
            per: limit.per_name(),
            counted,
            rate,
            at_once: burst.filter(|_| !is_window).or_else(|| limit.is_in_flight().then(|| self.cap(planned))),
            bytes: planned.store.tables().map(|part| part.bytes).sum(),
            memory_bytes: planned.store.seen_set().map_or(0, |place| self.plan.seen_sets[place].set.table().bytes()),
            keys_per_minute,
            memory_full_us: rate.and_then(|rate| self.memory_full_us(planned, rate)),
            most_in_minute: most_in(MINUTE_US),
            most_in_hour: most_in(HOUR_US),
        }
    }

    fn cap(&self, planned: &PlannedLimit) -> u64 {
        match planned.store {
            Store::InFlight(limit) => self.plan.in_flight.limits[limit].cap,
            _ => 0,
        }
    }

    fn memory_full_us(&self, planned: &PlannedLimit, rate: Rate) -> Option<u64> {
        let seen_set = &self.plan.seen_sets[planned.store.seen_set()?];
        // With the ladder a new host brings the parts of its name, all but the first of them new each time.
        let slots_a_name = if seen_set.has_ladder { MAX_PARTS as u64 } else { 1 };
        let table = seen_set.set.table();
        let names = part_in_use(table, table.slots()) / slots_a_name;
        let full_us = u128::from(names) * u128::from(rate.period_us) / u128::from(rate.amount);
        let full_us = u64::try_from(full_us).unwrap_or(u64::MAX);
        (full_us < seen_set.set.remember_us()).then_some(full_us)
    }
}

/// What drains at `rate` in a time.
fn drained(rate: Rate, time_us: u64) -> u64 {
    let amount = u128::from(rate.amount) * u128::from(time_us) / u128::from(rate.period_us);
    u64::try_from(amount).unwrap_or(u64::MAX)
}

/// New keys a minute of which each occupies a slot for so long.
fn carried(table: &Table, slots: u64, occupied_us: u64) -> u64 {
    let keys = u128::from(part_in_use(table, slots)) * u128::from(MINUTE_US) / u128::from(occupied_us.max(1));
    u64::try_from(keys).unwrap_or(u64::MAX)
}

/// Slots in use when one new key in a hundred finds no room in its two lines. Measured: with fewer slots to a line,
/// lines differ more.
fn part_in_use(table: &Table, slots: u64) -> u64 {
    let lines = u64::from(table.pages()) * LINES as u64;
    slots
        * match slots / lines.max(1) {
            ..=2 => 33,
            3 => 45,
            4 => 55,
            _ => 70,
        }
        / 100
}

impl Engine {
    /// Identities whose values are counted and named: those that a limit needs.
    pub fn observed(&self) -> impl Iterator<Item = Identity> + '_ {
        self.places().map(|(_, identity)| identity)
    }

    /// With their places: one that only a policy before needed has a place still.
    fn places(&self) -> impl Iterator<Item = (usize, Identity)> + '_ {
        let is_needed =
            |identity| self.plan.limits.iter().any(|planned| planned.limit.identities().any(|own| own == identity));
        let all = self.plan.identities.iter().map(|needed| needed.identity).enumerate();
        all.filter(move |(_, identity)| is_needed(*identity))
    }

    /// How many different values `identity` had; `None` when no limit needs it.
    pub fn distinct(&self, identity: Identity, window: Window, now: Now) -> Option<f64> {
        let (stats, place) = (&self.plan.stats, self.place(identity)?);
        let mut gathered = stats.registers();
        {
            let (region, epoch) = self.shared.at(now, false);
            stats.gather(&region, place, window, epoch.last_us, &mut gathered);
        }
        Some(stats.estimate(&gathered))
    }

    /// The values of `identity` that came near a limit, who sent most first; `None` when no limit needs it.
    pub fn top(&self, identity: Identity, now: Now) -> Option<Vec<Offender>> {
        let (stats, place) = (&self.plan.stats, self.place(identity)?);
        let mut copied = stats.snapshot();
        {
            let (region, epoch) = self.shared.at(now, false);
            stats.copy(&region, place, epoch.last_us, &mut copied);
        }
        Some(stats.offenders(place, &copied))
    }

    fn place(&self, identity: Identity) -> Option<usize> {
        self.places().find(|(_, observed)| *observed == identity).map(|(place, _)| place)
    }
}
