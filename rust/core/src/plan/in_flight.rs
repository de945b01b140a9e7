//! What in-flight limits need of the region: a tally for each kind of key that they count by, and a record for each
//! permit.
//!
//! Limits that look at the same key share a tally, each with a column of its own: then a check of all of them takes one
//! look-up.
//!
//! Knows no region: it says how much is needed, and is given tables. Invariant: there is a row for every key that all
//! permits together can hold.

use smallvec::SmallVec;

use super::budget::{Claim, Half};
use crate::identity::Identity;
use crate::policy::{Count, Limit, Policy, Rule, Share};
use crate::region::Table;
use crate::store::in_flight::Permits;
use crate::store::in_flight::{Capacity, InFlight, Place};
use crate::store::key_counts::KeyCounts;

/// The tables that permits need, before they are there.
pub(super) struct InFlightTables<'p> {
    max_open: u64,
    limits: Vec<InFlight>,
    counts: Vec<Counted<'p>>,
    claims: Vec<Claim>,
}

/// What a tally counts by, and how many counts it keeps a key.
struct Counted<'p> {
    per: SmallVec<[&'p Identity; 4]>,
    columns: usize,
}

impl<'p> InFlightTables<'p> {
    pub(super) fn of(policy: &'p Policy, max_open: u32) -> Self {
        let max_open = u64::from(max_open);
        let mut all = Self { max_open, limits: Vec::new(), counts: Vec::new(), claims: Vec::new() };
        for limit in &policy.limits {
            if let Rule::InFlight { cap, share } = &limit.rule {
                all.add(limit, *cap, share.as_ref());
            }
        }
        let records = (!all.limits.is_empty()).then(|| Permits::bytes(max_open, all.counts.len()));
        let counts = all.counts.iter().map(|tally| KeyCounts::bytes(max_open, tally.columns));
        let exact = |bytes| Claim { stated: Some(bytes), weight: 0, half: Half::Rates };
        all.claims = counts.chain(records).map(exact).collect();
        all
    }

    fn add(&mut self, limit: &'p Limit, cap: u64, share: Option<&'p Share>) {
        // `global` is in every key: it tells none apart.
        let telling = |per: &'p [Identity]| per.iter().filter(|identity| **identity != Identity::Global);
        let per: SmallVec<[_; 4]> = telling(&limit.per).collect();
        let share = share.map(|share| (self.place(per.iter().copied().chain(&share.per).collect()), share.of_free));
        let count = (!per.is_empty()).then(|| self.place(per));
        self.limits.push(InFlight { cap, bytes: limit.count == Count::Bytes, count, share });
    }

    /// A column in the tally of these identities.
    fn place(&mut self, per: SmallVec<[&'p Identity; 4]>) -> Place {
        let tally = self.counts.iter().position(|tally| tally.per == per).unwrap_or_else(|| {
            self.counts.push(Counted { per, columns: 0 });
            self.counts.len() - 1
        });
        self.counts[tally].columns += 1;
        Place { counts: tally, column: self.counts[tally].columns - 1 }
    }

    /// Exactly what is needed: a table for each tally, then one for the records, where there is a limit to hold
    /// anything under.
    pub(super) fn claims(&self) -> &[Claim] {
        &self.claims
    }

    /// What the in-flight limits need, for the error about too little memory.
    pub(super) fn stated_need(&self) -> String {
        let bytes: u64 = self.claims.iter().filter_map(|claim| claim.stated).sum();
        if bytes == 0 {
            return String::new();
        }
        format!(", {bytes} of them for what at most {} permits hold (`max_open`)", self.max_open)
    }

    /// What each tally counts by.
    pub(super) fn count_keys(&self) -> Vec<Vec<Identity>> {
        self.counts.iter().map(|tally| tally.per.iter().map(|identity| **identity).collect()).collect()
    }

    /// Of each in-flight limit its place in the capacity: that of the file.
    pub(super) fn places(&self) -> Vec<usize> {
        (0..self.limits.len()).collect()
    }

    /// In the tables that were claimed.
    pub(super) fn capacity(self, tables: &[Table]) -> Capacity {
        let counts = self.counts.iter().zip(tables);
        let counts = counts.map(|(tally, table)| KeyCounts::new(*table, self.max_open, tally.columns)).collect();
        let permits = Permits::new(self.max_open, tables.get(self.counts.len()).copied(), self.counts.len());
        Capacity { permits, limits: self.limits, counts }
    }
}
