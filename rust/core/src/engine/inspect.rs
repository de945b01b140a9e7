//! What the engine shows its operator: how full each table is, what each limit can hold, and the statistics.
//!
//! Knows no keys and no text. Invariant: it writes nothing, and releases the lock between pages. So the counts of two
//! pages may be of different times.

use std::sync::Arc;

use super::{Engine, Live};
use crate::policy::{Choice, Count, Limit, Rate, Rule};
use crate::region::{LINES, Now, Region, Table};
use crate::stats::{Offender, Snapshot, Window};
use crate::store::in_flight::{Columns, InFlight, Permits, Place};
use crate::store::{Store, TableKind, TablePart};
use crate::{identity::Identity, plan::PlannedLimit, store::fan_out::MAX_PARTS, store::rate_counter::RateCounter};

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

/// How full the tables of the stated limits are, and what is open under them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loads {
    /// Limit, `keys` or `memory`, and the part in use.
    pub tables: Vec<(Arc<str>, &'static str, f64)>,
    /// Limit, what the key holds that holds most, and the cap.
    pub in_flight: Vec<(Arc<str>, u64, u64)>,
}

/// Pages of a table that [`Engine::loads`] looks at: 16 of 64 lines give the load to some per cent.
const LOAD_PAGES: u32 = 16;

const MINUTE_US: u64 = 60_000_000;
const HOUR_US: u64 = 60 * MINUTE_US;

/// The size of a message in the forecast of a limit that counts bytes: 64 KiB.
const MESSAGE_BYTES: u64 = 65_536;

/// What one limit, or a quota of it, can hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forecast {
    /// The limit's name.
    pub limit: String,
    /// The value, of a quota.
    pub quota: Option<String>,
    /// `client.net/24/48 + sender.org`
    pub per: String,
    /// What is counted: `messages`, `bytes`, or the identity whose different values are counted.
    pub counted: String,
    /// The rate, of a limit that has one.
    pub rate: Option<Rate>,
    /// The burst of a bucket, or the cap of what is in flight; a window has neither.
    pub at_once: Option<u64>,
    /// Bytes of its own: its table, and its sketch or registers.
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
    /// What one key gets at most in an hour.
    pub most_in_hour: u64,
}

impl TableUse {
    /// The use of a table that counts no untracked charges.
    fn new(name: String, table: &Table, slots: u64, used: u64) -> Self {
        Self { name, bytes: table.bytes(), slots, used, untracked: 0 }
    }
}

impl Live {
    /// [`Engine::tables`], without holding up a change of policy.
    pub fn tables(&self, pause: &dyn Fn()) -> Vec<TableUse> {
        let engine = Arc::clone(&self.engine());
        engine.tables(pause)
    }
}

impl Engine {
    /// The use of every table: those of each limit and of each quota, then the sketches, the seen sets, what is in
    /// flight, and what is blocked. Checks can run at the same time; `pause` runs every so many pages.
    pub fn tables(&self, pause: &dyn Fn()) -> Vec<TableUse> {
        let (mut all, mut sketches) = (Vec::new(), Vec::new());
        for (place, planned) in self.plan.limits.iter().enumerate() {
            if let Store::InFlight(limit) = planned.store {
                all.push(self.in_flight_under(place, limit, pause));
            }
            for part in planned.store.tables() {
                let rows = if part.kind == TableKind::Sketch { &mut sketches } else { &mut all };
                rows.push(self.table_use(place, part, pause));
            }
        }
        all.append(&mut sketches);
        let elements = self.plan.seen_sets.iter().enumerate().map(|(place, one)| (place, one, "memory", one.set.table));
        let notes = self.plan.seen_sets.iter().enumerate();
        let notes = notes.filter_map(|(place, one)| Some((place, one, "notes", *one.set.notes()?)));
        all.extend(elements.chain(notes).map(|(place, planned, what, table)| {
            let used = |region: &Region, page, now| planned.set.used_of(&table, region, page, now);
            let used = self.shared.sum_pages(table.pages(), pause, used);
            let stated = self.plan.limits[..self.plan.stated].iter();
            let over_it = stated.filter(|limit| limit.store.seen_set() == Some(place));
            let names: Vec<&str> = over_it.map(|limit| &*limit.name).collect();
            TableUse::new(format!("{what} of {}", names.join(", ")), &table, table.slots(), used)
        }));
        // The lock is taken for each number alone, because names are allocated.
        let (in_flight, most) = (&self.plan.in_flight, self.plan.in_flight.permits.most);
        all.extend(in_flight.counts.iter().zip(&self.plan.count_keys).map(|(counts, keys)| {
            let used = counts.used(&self.shared.lock());
            TableUse::new(format!("in flight per {}", keys.per_name), &counts.table, most, used)
        }));
        all.extend(in_flight.permits.table.as_ref().map(|table| {
            let open = Permits::open(&self.shared.lock());
            TableUse::new("permits".into(), table, most, open)
        }));
        all.extend(self.plan.access.filter(|_| self.blocking_limits().next().is_some()).map(|access| {
            let (blocks, table) = (access.blocks, &access.blocks.table);
            let live = |region: &Region, page, now| blocks.live(region, page, now).count() as u64;
            let used = self.shared.sum_pages(table.pages(), pause, live);
            let untracked = access.list.head(&self.shared.lock()).untracked;
            TableUse { untracked, ..TableUse::new("blocks".into(), table, blocks.slots(), used) }
        }));
        all
    }

    /// The use of one table of a limit's store. Charges that found no room are reported once, with the slots.
    fn table_use(&self, place: usize, part: TablePart, pause: &dyn Fn()) -> TableUse {
        let store = &self.plan.limits[place].store;
        let used = |region: &Region, page, now| store.used(part.kind, region, page, now);
        let used = self.shared.sum_pages(part.pages, pause, used);
        let name = self.table_name(place);
        let (name, untracked) = match part.kind {
            TableKind::Slots => (name, self.shared.lock().header().untracked[place]),
            TableKind::Registers => (format!("registers of {name}"), 0),
            TableKind::Sketch => (format!("sketch of {name}"), 0),
        };
        TableUse { name, bytes: part.bytes, slots: part.slots, used, untracked }
    }

    /// How full the tables are, from some pages of each, so that a scrape is short whatever the memory is.
    pub fn loads(&self) -> Loads {
        let mut loads = Loads::default();
        for (place, planned) in self.plan.limits[..self.plan.stated].iter().enumerate() {
            let name = &planned.name;
            if let Store::InFlight(limit) = planned.store {
                let TableUse { used, slots, .. } = self.in_flight_under(place, limit, &|| ());
                loads.in_flight.push((Arc::clone(name), used, slots));
            }
            for part in planned.store.tables().filter(|part| part.kind == TableKind::Slots) {
                let used = |region: &Region, page, now| planned.store.used(part.kind, region, page, now);
                loads.tables.push((Arc::clone(name), "keys", self.load(part.pages, part.slots, used)));
            }
            if let Some(memory) = planned.store.seen_set() {
                let set = &self.plan.seen_sets[memory].set;
                let used = |region: &Region, page, now| set.used_of(&set.table, region, page, now);
                loads.tables.push((Arc::clone(name), "memory", self.load(set.table.pages(), set.table.slots(), used)));
            }
        }
        loads
    }

    /// The part of a table that is in use, from pages at equal distances.
    fn load(&self, pages: u32, slots: u64, used: impl Fn(&Region, u32, u64) -> u64) -> f64 {
        let step = pages.div_ceil(LOAD_PAGES).max(1);
        let (mut sum, mut seen) = (0, 0);
        for page in (0..pages).step_by(step as usize) {
            let region = self.shared.lock();
            let now_us = region.header().epoch.last_us;
            sum += used(&region, page, now_us);
            seen += 1;
        }
        let slots_seen = slots as f64 * f64::from(seen) / f64::from(pages.max(1));
        if slots_seen > 0.0 { sum as f64 / slots_seen } else { 0.0 }
    }

    /// The limits that the policy states, in file order.
    pub fn stated_limits(&self) -> Vec<&Limit> {
        self.plan.limits[..self.plan.stated].iter().map(|planned| &planned.limit).collect()
    }

    /// A hash of a text, for labels that must not show it.
    pub fn tag(&self, text: &str) -> u32 {
        self.secret.text(text.as_bytes()).0 as u32
    }

    /// `pair-pace`, or `pair-pace, quota of salesforce.com`.
    fn table_name(&self, index: usize) -> String {
        let name = &self.plan.limits[index].name;
        match self.plan.quota_name(index) {
            Some(values) => format!("{name}, quota of {values}"),
            None => name.to_string(),
        }
    }

    /// The use of an in-flight limit. `slots` is its cap. `used` is what is held: by the key that holds most, or in all
    /// when the limit has a single key (`global`). The counts are in tables of their own, so the limit has no bytes.
    fn in_flight_under(&self, index: usize, limit: usize, pause: &dyn Fn()) -> TableUse {
        let (name, capacity) = (self.table_name(index), &self.plan.in_flight);
        let InFlight { cap, count, .. } = capacity.limits[limit].clone();
        let used = match count {
            None => capacity.permits.count(&self.shared.lock(), limit),
            Some(Columns { held: Place { counts, column }, .. }) => {
                let (counts, mut most) = (&capacity.counts[counts], 0);
                let look = |region: &mut Region, page, _| most = most.max(counts.most(region, page, column));
                self.shared.each_page(counts.table.pages(), pause, look);
                most
            }
        };
        TableUse { name, bytes: 0, slots: cap, used, untracked: 0 }
    }

    /// The forecast of each limit, in file order, then that of each quota.
    pub fn forecast(&self) -> Vec<Forecast> {
        let limits = self.plan.limits.iter().enumerate();
        limits.map(|(place, planned)| self.forecast_of(planned, self.plan.quota_name(place))).collect()
    }

    fn forecast_of(&self, planned: &PlannedLimit, quota: Option<String>) -> Forecast {
        let (limit, store) = (&planned.limit, &planned.store);
        let counted = limit.distinct().map_or_else(|| limit.count.name().to_owned(), |distinct| distinct.to_string());
        let (rate, burst) = limit.rule.rate_and_burst().unzip();
        let cap = match store {
            Store::InFlight(limit) => Some(self.plan.in_flight.limits[*limit].cap),
            _ => None,
        };
        let is_window = matches!(store.rate_counter(), Some(RateCounter::SlidingWindow(_)));
        let most_in = |time_us: u64| match (rate, burst) {
            (Some(rate), _) if is_window => rate.amount.saturating_mul(time_us.div_ceil(rate.period_us)),
            (Some(rate), Some(burst)) => burst.saturating_add(scaled(rate.amount, time_us, rate.period_us)),
            _ => cap.unwrap_or_default(),
        };
        let one = if limit.count == Count::Bytes { MESSAGE_BYTES } else { 1 };
        // The quota of one value has one key for each trust, unless other identities are part of the key or the ladder
        // adds the parts of a name.
        let has_ladder = matches!(limit.rule, Rule::FanOut { settle_us: Some(_), .. });
        let is_exact = planned.values == 1 || limit.memory.is_some() && matches!(limit.rule, Rule::Rate { .. });
        let is_one = quota.is_some() && limit.per.len() == 1 && !has_ladder && is_exact;
        let keys_per_minute = match (store, store.rate_counter()) {
            (Store::Distinct(distinct), _) => {
                Some(carried(&distinct.table, distinct.slots(), distinct.quota.occupied_us(1)))
            }
            (_, counter) => counter.map(|counter| carried(counter.table(), counter.slots(), counter.occupied_us(one))),
        };
        Forecast {
            limit: limit.name.clone(),
            quota,
            per: limit.per_name(),
            counted,
            rate,
            at_once: if is_window { None } else { burst.or(cap) },
            bytes: store.tables().map(|part| part.bytes).sum(),
            memory_bytes: store.seen_set().map_or(0, |place| self.plan.seen_sets[place].whole.bytes()),
            keys_per_minute: keys_per_minute.filter(|_| !is_one),
            memory_full_us: rate.and_then(|rate| self.memory_full_us(planned, rate)),
            most_in_minute: most_in(MINUTE_US),
            most_in_hour: most_in(HOUR_US),
        }
    }

    /// How long one key that brings new elements at `rate` takes to fill the seen set of a limit.
    fn memory_full_us(&self, planned: &PlannedLimit, rate: Rate) -> Option<u64> {
        let seen_set = &self.plan.seen_sets[planned.store.seen_set()?];
        // With the ladder a new host brings the parts of its name. All of them but the first are new each time.
        let slots_a_name = if seen_set.has_ladder { MAX_PARTS as u64 } else { 1 };
        let table = &seen_set.set.table;
        let names = part_in_use(table, table.slots()) / slots_a_name;
        let full_us = scaled(names, rate.period_us, rate.amount);
        (full_us < seen_set.set.remember_us()).then_some(full_us)
    }

    /// Identities whose values statistics count and name: those that a limit needs.
    pub fn observed(&self) -> impl Iterator<Item = Identity> + '_ {
        // An identity that only an earlier policy needed keeps its place in the plan.
        let is_needed =
            |identity| self.plan.limits.iter().any(|planned| planned.limit.identities().any(|own| own == identity));
        self.plan.identities.iter().map(|planned| planned.identity).filter(move |identity| is_needed(*identity))
    }

    /// How many different values `identity` had; `None` when no limit needs it.
    pub fn distinct(&self, identity: Identity, window: Window, now: Now) -> Option<f64> {
        let (stats, place) = (&self.plan.stats, self.place(identity)?);
        let mut gathered = stats.registers();
        let (region, epoch) = self.shared.at(now, false);
        stats.gather(&region, place, window, epoch.last_us, &mut gathered);
        drop(region);
        Some(stats.estimate(&gathered))
    }

    /// The values of `identity` that came near a limit, the busiest first; `None` when no limit needs it.
    pub fn top(&self, identity: Identity, now: Now) -> Option<Vec<Offender>> {
        let (stats, place) = (&self.plan.stats, self.place(identity)?);
        let mut copied = Snapshot::new(&stats.layout);
        let (region, epoch) = self.shared.at(now, false);
        stats.copy(&region, place, epoch.last_us, &mut copied);
        drop(region);
        Some(stats.offenders(place, &copied))
    }

    /// The place in the plan of an identity that a limit needs.
    fn place(&self, identity: Identity) -> Option<usize> {
        self.observed().find(|observed| *observed == identity)?;
        self.plan.identities.iter().position(|planned| planned.identity == identity)
    }
}

/// New keys a minute that a table has room for, when each occupies a slot for so long.
fn carried(table: &Table, slots: u64, occupied_us: u64) -> u64 {
    scaled(part_in_use(table, slots), MINUTE_US, occupied_us.max(1))
}

/// `amount` × `time_us` / `period_us`, rounded down.
fn scaled(amount: u64, time_us: u64, period_us: u64) -> u64 {
    let scaled = u128::from(amount) * u128::from(time_us) / u128::from(period_us);
    u64::try_from(scaled).unwrap_or(u64::MAX)
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
