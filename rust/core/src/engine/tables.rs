//! How full the tables are: for the operator, not for a decision.

use super::Engine;

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
        let buckets = self.plan.limits.iter().enumerate().map(|(index, planned)| {
            let buckets = planned.store.buckets();
            let table = buckets.table();
            let used = self.shared.sum_pages(table.pages(), pause, |region, page, now| buckets.used(region, page, now));
            let untracked = self.shared.lock().untracked(index);
            TableUse { name: self.table_name(index), bytes: table.bytes(), slots: buckets.slots(), used, untracked }
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
}
