//! How full the tables are: for the operator, not for a decision.
//!
//! Knows no keys and no text. Invariant: it writes nothing, and lets go of the lock between pages; so the counts are not of one moment.

use super::Engine;
use crate::region::{Region, Table};
use crate::store::in_flight::{InFlight, Place};
use crate::store::permits::Permits;
use crate::store::{Store, TableKind, TablePart};

/// How much of one table is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUse {
    /// The limit or its quota, `registers of` or `sketch of` it, `memory of` those that share it, `in flight per` an identity, `permits`, or `blocks`.
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
    /// The use of every table: those of each limit and of each quota, then the sketches, the seen_sets, what is open, and what is blocked. Checks go on meanwhile; `pause` runs every so many pages.
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

    /// The use of one table of a limit's store. Charges that found no room are told once, with the slots.
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

    /// What is open under an in-flight limit: `slots` is its cap, `used` what is held, of a limit per key what the key holds that holds most.
    /// Its counts are in the tables below, so it has no bytes of its own.
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
