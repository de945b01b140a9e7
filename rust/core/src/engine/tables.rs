//! How full the tables are: for the operator, not for a decision.
//!
//! Knows no keys and no text. Invariant: it writes nothing, and lets go of the lock between pages; so the counts are not of one moment.

use super::Engine;
use crate::plan::Store;
use crate::region::{LINES, PAGE_BYTES, Region, Table};
use crate::store::in_flight::{InFlight, Place};
use crate::store::permits::Permits;

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
    /// The use of every table: those of each limit and of each quota, then the sketches, the memories, what is open, and what is blocked. Checks go on meanwhile; `pause` runs every so many pages.
    pub fn tables(&self, pause: &dyn Fn()) -> Vec<TableUse> {
        let buckets = self.plan.limits.iter().enumerate().flat_map(|(index, planned)| {
            let buckets = match &planned.store {
                Store::Rate(buckets) => buckets,
                Store::FanOut { fan_out, .. } => fan_out.buckets(),
                Store::Distinct { .. } => return self.distinct_tables(index, pause),
                Store::InFlight(limit) => return vec![self.open_under(index, *limit, pause)],
            };
            let table = buckets.table();
            let used = self.shared.sum_pages(table.pages(), pause, |region, page, now| buckets.used(region, page, now));
            let untracked = self.shared.lock().untracked(index);
            let name = self.table_name(index);
            vec![TableUse { name, bytes: table.bytes(), slots: buckets.slots(), used, untracked }]
        });
        let sketches = self.plan.limits.iter().enumerate().filter_map(|(index, planned)| {
            let buckets = planned.store.buckets()?;
            let (pages, slots) = buckets.sketch()?;
            let cells = |region: &Region, page, now| buckets.sketch_used(region, page, now);
            let used = self.shared.sum_pages(pages, pause, cells);
            let (name, bytes) = (format!("sketch of {}", self.table_name(index)), u64::from(pages) * PAGE_BYTES);
            Some(TableUse { name, bytes, slots, used, untracked: 0 })
        });
        let memories = self.plan.memories.iter().enumerate().map(|(index, memory)| {
            let (known, table) = (memory.known, memory.known.table());
            let used = self.shared.sum_pages(table.pages(), pause, |region, page, now| known.used(region, page, now));
            let owners =
                self.plan.limits[..self.plan.stated].iter().filter(|planned| planned.store.memory() == Some(index));
            let names: Vec<&str> = owners.map(|planned| &*planned.name).collect();
            let name = format!("memory of {}", names.join(", "));
            TableUse { name, bytes: table.bytes(), slots: table.slots(), used, untracked: 0 }
        });
        buckets.chain(sketches).chain(memories).chain(self.held()).chain(self.blocks(pause)).collect()
    }

    /// The keys that limits have blocked, where one may.
    fn blocks(&self, pause: &dyn Fn()) -> Option<TableUse> {
        let marked = self.plan.marked.filter(|_| self.plan.limits.iter().any(|planned| planned.blocking.is_some()))?;
        let (blocks, table) = (marked.blocks, marked.blocks.table());
        let live = |region: &Region, page, now| blocks.live(region, page, now).count() as u64;
        let used = self.shared.sum_pages(table.pages(), pause, live);
        let untracked = marked.listed.untracked(&self.shared.lock());
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

    /// The two tables of a fan-out that refuses all.
    fn distinct_tables(&self, index: usize, pause: &dyn Fn()) -> Vec<TableUse> {
        let planned = &self.plan.limits[index];
        let Store::Distinct { buckets, .. } = &planned.store else { return Vec::new() };
        let (table, blocks) = (buckets.table(), buckets.blocks());
        let used = self.shared.sum_pages(table.pages(), pause, |region, page, now| buckets.used(region, page, now));
        let blocks_used = |region: &Region, page, now| buckets.blocks_used(region, page, now);
        let blocks_used = self.shared.sum_pages(blocks.pages(), pause, blocks_used);
        let untracked = self.shared.lock().untracked(index);
        let name = self.table_name(index);
        let registers = format!("registers of {name}");
        let block_count = u64::from(blocks.pages()) * LINES as u64;
        vec![
            TableUse { name, bytes: table.bytes(), slots: buckets.slots(), used, untracked },
            TableUse { name: registers, bytes: blocks.bytes(), slots: block_count, used: blocks_used, untracked: 0 },
        ]
    }

    /// What is open under an in-flight limit: `slots` is its cap, `used` what is held, of a limit per key what the key holds that holds most.
    /// Its counts are in the tables below, so it has no bytes of its own.
    fn open_under(&self, index: usize, limit: usize, pause: &dyn Fn()) -> TableUse {
        let (name, capacity) = (self.table_name(index), &self.plan.capacity);
        let InFlight { cap, count, .. } = capacity.limits[limit];
        let used = match count {
            None => capacity.permits.count(&self.shared.lock(), limit),
            Some(Place { tally, column }) => {
                let tally = &capacity.tallies[tally];
                let mut most = 0;
                self.shared.each_page(tally.table().pages(), pause, |region, page, _| {
                    most = most.max(tally.most(region, page, column));
                });
                most
            }
        };
        TableUse { name, bytes: 0, slots: cap, used, untracked: 0 }
    }

    /// The tables of what is open: keys that hold something, and permits, out of `max_open`.
    fn held(&self) -> Vec<TableUse> {
        let capacity = &self.plan.capacity;
        let row = |name: String, table: &Table, used| TableUse {
            name,
            bytes: table.bytes(),
            slots: capacity.permits.most(),
            used,
            untracked: 0,
        };
        // Locked for each number alone: names are allocated.
        let tallies = capacity.tallies.iter().zip(&self.plan.tallied).map(|(tally, tallied)| {
            let used = tally.used(&self.shared.lock());
            row(format!("in flight per {}", tallied.per_name), tally.table(), used)
        });
        let permits = capacity.permits.table().map(|table| {
            let open = Permits::open(&self.shared.lock());
            row("permits".into(), table, open)
        });
        tallies.chain(permits).collect()
    }
}
