//! How full the tables are: for the operator, not for a decision.

use super::Engine;
use crate::region::{PAGE_BYTES, Region};

/// How much of one table is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableUse {
    /// The limit, `sketch of` it, or `memory of` those that share it.
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
    /// The use of every table: the buckets of each limit, then the sketches, then the memories. Checks go on meanwhile; `pause` runs every so many pages.
    pub fn tables(&self, pause: &dyn Fn()) -> Vec<TableUse> {
        let buckets = self.plan.limits.iter().enumerate().map(|(index, planned)| {
            let buckets = planned.store.buckets();
            let table = buckets.table();
            let used = self.shared.sum_pages(table.pages(), pause, |region, page, now| buckets.used(region, page, now));
            let untracked = self.shared.lock().untracked(index);
            TableUse { name: planned.limit.name.clone(), bytes: table.bytes(), slots: buckets.slots(), used, untracked }
        });
        let sketches = self.plan.limits.iter().filter_map(|planned| {
            let buckets = planned.store.buckets();
            let (pages, slots) = buckets.sketch()?;
            let cells = |region: &Region, page, now| buckets.sketch_used(region, page, now);
            let used = self.shared.sum_pages(pages, pause, cells);
            let (name, bytes) = (format!("sketch of {}", planned.name), u64::from(pages) * PAGE_BYTES);
            Some(TableUse { name, bytes, slots, used, untracked: 0 })
        });
        let memories = self.plan.memories.iter().enumerate().map(|(index, memory)| {
            let (known, table) = (memory.known, memory.known.table());
            let used = self.shared.sum_pages(table.pages(), pause, |region, page, now| known.used(region, page, now));
            let owners = self.plan.limits.iter().filter(|planned| planned.store.memory() == Some(index));
            let names: Vec<&str> = owners.map(|planned| &*planned.name).collect();
            let name = format!("memory of {}", names.join(", "));
            TableUse { name, bytes: table.bytes(), slots: table.slots(), used, untracked: 0 }
        });
        buckets.chain(sketches).chain(memories).collect()
    }
}
