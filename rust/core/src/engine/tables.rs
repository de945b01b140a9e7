//! How full the tables are: for the operator, not for a decision.

use std::cell::Cell;

use super::Engine;
use crate::policy::plan::Store;
use crate::region::Table;
use crate::store::in_flight::{InFlight, Place};
use crate::store::permits::Permits;

/// How much of one table is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUse {
    /// The limit, or `memory of` those that share it.
    pub name: String,
    /// Bytes of the table.
    pub bytes: u64,
    /// Slots in all.
    pub slots: u64,
    /// Slots in use at engine time.
    pub used: u64,
    /// Charges that found no room, since start.
    pub untracked: u64,
}

impl Engine {
    /// The use of every table: the buckets of each limit, then the memories. Checks go on meanwhile; `pause` runs every so many pages.
    pub fn tables(&self, pause: &dyn Fn()) -> Vec<TableUse> {
        let buckets = self.plan.limits.iter().enumerate().map(|(index, planned)| {
            let Some(buckets) = planned.store.buckets() else { return self.open_under(index, pause) };
            let table = buckets.table();
            let used = self.shared.sum_pages(table.pages(), pause, |region, page, now| buckets.used(region, page, now));
            let untracked = self.shared.lock().untracked(index);
            TableUse { name: planned.limit.name.clone(), bytes: table.bytes(), slots: buckets.slots(), used, untracked }
        });
        let memories = self.plan.memories.iter().enumerate().map(|(index, memory)| {
            let (known, table) = (memory.known, memory.known.table());
            let used = self.shared.sum_pages(table.pages(), pause, |region, page, now| known.used(region, page, now));
            let owners = self.plan.limits.iter().filter(|planned| planned.store.memory() == Some(index));
            let names: Vec<&str> = owners.map(|planned| &*planned.name).collect();
            let name = format!("memory of {}", names.join(", "));
            TableUse { name, bytes: table.bytes(), slots: table.slots(), used, untracked: 0 }
        });
        buckets.chain(memories).chain(self.held()).collect()
    }

    /// What is open under an in-flight limit: `slots` is its cap, `used` what is held, of a limit per key what the key holds that holds most.
    /// Its counts are in the tables below, so it has no bytes of its own.
    fn open_under(&self, index: usize, pause: &dyn Fn()) -> TableUse {
        let planned = &self.plan.limits[index];
        let (name, capacity) = (planned.limit.name.clone(), &self.plan.capacity);
        let Store::InFlight(limit) = planned.store else {
            return TableUse { name, bytes: 0, slots: 0, used: 0, untracked: 0 };
        };
        let InFlight { cap, count, .. } = capacity.limits[limit];
        let used = match count {
            None => capacity.permits.count(&self.shared.lock(), limit),
            Some(Place { tally, column }) => {
                let tally = &capacity.tallies[tally];
                let most = Cell::new(0);
                self.shared.sum_pages(tally.table().pages(), pause, |region, page, _| {
                    most.set(most.get().max(tally.most(region, page, column)));
                    0
                });
                most.get()
            }
        };
        TableUse { name, bytes: 0, slots: cap, used, untracked: 0 }
    }

    /// The tables of what is open: keys that hold something, and permits, out of `max_open`.
    fn held(&self) -> Vec<TableUse> {
        let capacity = &self.plan.capacity;
        let region = self.shared.lock();
        let row = |name: String, table: &Table, used| TableUse {
            name,
            bytes: table.bytes(),
            slots: capacity.permits.most(),
            used,
            untracked: 0,
        };
        let tallies = capacity.tallies.iter().zip(&self.plan.tallied).map(|(tally, tallied)| {
            row(format!("in flight per {}", tallied.per_name), tally.table(), tally.used(&region))
        });
        let permits = capacity.permits.table().map(|table| row("permits".into(), table, Permits::open(&region)));
        tallies.chain(permits).collect()
    }
}
