//! The second page of a guard's region: what its checks came to, for metrics.
//!
//! [`Counters`] defines the place of every word. Each number only grows, and is written under the lock that a check
//! holds anyway. A limit has a *slot*: it keeps the slot, and with it its counts, on every reload that keeps its name.
//!
//! This module knows no stage, no limit and no report: it has a place for each.

use bytemuck::{Pod, Zeroable};

use super::PAGE_BYTES;

/// Stages that a check may ask last.
pub const STAGES: usize = 5;

/// Decisions: admitted, refused, and admitted although something in shadow mode would have refused.
pub const DECISIONS: usize = 3;

/// Kinds of reports.
pub const REPORTS: usize = 4;

/// Slots: one for each limit of a policy, behind one for each built-in refusal.
pub const SLOTS_OF_LIMITS: usize = 68;

/// The upper bounds of the durations of sampled checks, in nanoseconds, both ends included. What is longer counts in a
/// last bucket without a bound.
pub const DURATION_BOUNDS_NS: [u64; 11] =
    [1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000];

const RESERVED: usize = PAGE_BYTES as usize / size_of::<u64>()
    - STAGES * DECISIONS
    - REPORTS
    - (DURATION_BOUNDS_NS.len() + 2)
    - 3 * SLOTS_OF_LIMITS
    - 1;

/// All words of the page.
#[repr(C, align(4096))]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub struct Counters {
    /// Checks by the last stage that they asked, and by decision. Each check counts once.
    pub checks: [[u64; DECISIONS]; STAGES],
    /// What the server reported, by kind.
    pub reports: [u64; REPORTS],
    /// The durations of sampled checks.
    pub durations: Durations,
    /// Checks that each slot refused.
    pub refused: [u64; SLOTS_OF_LIMITS],
    /// Checks that each slot would have refused in enforce mode.
    pub shadow: [u64; SLOTS_OF_LIMITS],
    /// Charges of each slot that found no room.
    pub untracked: [u64; SLOTS_OF_LIMITS],
    /// Known elements and notes that were forgotten early, because new ones needed their slots.
    pub evictions: u64,
    _reserved: [u64; RESERVED],
}

const _: () = assert!(size_of::<Counters>() as u64 == PAGE_BYTES);

/// A histogram of durations.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Durations {
    /// How many samples lie in each bucket and in no lower one; the last bucket has no bound.
    pub buckets: [u64; DURATION_BOUNDS_NS.len() + 1],
    /// The sum of all samples, in nanoseconds.
    pub sum_ns: u64,
}

impl Durations {
    /// Counts a sample.
    pub fn note(&mut self, ns: u64) {
        self.buckets[DURATION_BOUNDS_NS.partition_point(|bound| *bound < ns)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
    }
}

impl Counters {
    /// Empties the slots of limits that are new.
    pub(super) fn clear(&mut self, slots: &[u16]) {
        for slot in slots.iter().copied().map(usize::from) {
            (self.refused[slot], self.shadow[slot], self.untracked[slot]) = (0, 0, 0);
        }
    }
}
