//! What each limit gets of the memory, and what that is worth: for the operator, before there is any mail.
//!
//! Knows no counts: everything here follows from the plan. **A table is full** when one new key in a hundred finds no room; so much of its slots is then in
//! use, by the slots of a line: 0.7 of seven, 0.55 of four, 0.45 of three, 0.33 of two ([`part_in_use`], checked by `tests/forecast.rs`).

use super::Engine;
use crate::plan::PlannedLimit;
use crate::policy::{Count, Rate, Rule};
use crate::region::{LINES, Table};
use crate::store::Store;
use crate::store::fan_out::MAX_PARTS;
use crate::store::rate_counter::RateCounter;

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
    /// New keys a minute, each with one message (of 64 KiB where bytes count) or one element, until its table is full; `None` when it cannot fill.
    pub keys_per_minute: Option<u64>,
    /// How long one key that brings new elements at this rate takes to fill the memory, in microseconds; `None` when it has none, or elements are forgotten as
    /// fast as they come.
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
        // A quota of one value and no other part of a key has one key, or one a class; on the ladder one for each part of a name.
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

/// Slots in use when one new key in a hundred finds no room in its two lines. Measured: with fewer slots to a line, lines differ more.
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
