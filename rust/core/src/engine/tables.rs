//! How full the tables are: for the operator, not for a decision.

use super::Engine;
use crate::policy::plan::Store;
use crate::region::{LINES, Region};

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
    /// The use of every table: the buckets of each limit and of each quota, then the memories. Checks go on meanwhile; `pause` runs every so many pages.
    pub fn tables(&self, pause: &dyn Fn()) -> Vec<TableUse> {
        let buckets = self.plan.limits.iter().enumerate().flat_map(|(index, planned)| {
            let Some(buckets) = planned.store.buckets() else { return self.distinct_tables(index, pause) };
            let table = buckets.table();
            let used = self.shared.sum_pages(table.pages(), pause, |region, page, now| buckets.used(region, page, now));
            let untracked = self.shared.lock().untracked(index);
            let name = self.table_name(index);
            vec![TableUse { name, bytes: table.bytes(), slots: buckets.slots(), used, untracked }]
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
        buckets.chain(memories).collect()
    }

    /// `pair-pace`, or `pair-pace, quota of salesforce.com`.
    fn table_name(&self, index: usize) -> String {
        let own = &self.plan.limits[usize::from(self.plan.limits[index].of)];
        let quota =
            own.quotas.iter().find(|(_, place)| usize::from(*place) == index).and(index.checked_sub(self.plan.stated));
        let named = self.plan.limits[..self.plan.stated].iter().flat_map(|planned| &planned.limit.quotas);
        match quota.and_then(|nth| named.clone().nth(nth)) {
            Some(quota) => format!("{}, quota of {}", own.name, quota.of),
            None => own.name.to_string(),
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
}
