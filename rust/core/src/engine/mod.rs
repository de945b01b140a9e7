//! One envelope, all its limits, one answer.
//!
//! [`Engine`] knows the order of things and takes the one lock; it knows no algorithm and no mail syntax.

mod amount;
mod asker;
mod check;
mod keys;
mod limiter;
mod request;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use check::Settled;
pub use limiter::{Hit, Limiter};
pub use request::Request;

use crate::error::PolicyError;
use crate::identity::SuffixList;
use crate::key::Secret;
use crate::policy::plan::{Plan, compile};
use crate::policy::{Policy, Stage};
use crate::region::Region;

/// A compiled policy over its memory.
///
/// # Synchronisation
/// One mutex around the region. What lies outside of it is immutable. Under it stand only reads and writes of lines that were prefetched before;
/// nothing allocates, calls out or panics there.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    secret: Secret,
    suffixes: Arc<SuffixList>,
    region: Mutex<Region>,
    /// Where the region lies, for prefetching before the lock.
    address: usize,
    bytes: u64,
}

/// How one limit's tables are filled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The limit, or `memory of` it for its known elements.
    pub name: String,
    /// Bytes of the table.
    pub bytes: u64,
    /// Slots in all, and in use at engine time.
    pub slots: u64,
    /// Slots that are in use.
    pub used: u64,
    /// Charges that found no room, since start.
    pub untracked: u64,
}

impl Engine {
    /// Allocates and touches everything that will ever be needed.
    ///
    /// # Errors
    /// [`PolicyError`] when the policy does not fit into `memory_bytes`.
    pub fn new(
        policy: &Policy,
        memory_bytes: u64,
        suffixes: Arc<SuffixList>,
        secret: Secret,
    ) -> Result<Self, PolicyError> {
        let (plan, region) = compile(policy, memory_bytes)?;
        let (address, bytes) = (region.address(), region.bytes());
        Ok(Self { plan, secret, suffixes, region: Mutex::new(region), address, bytes })
    }

    /// Bytes of all counters: exact, and constant.
    pub fn memory_bytes(&self) -> u64 {
        self.bytes
    }

    /// The compiled policy.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The suffix list.
    pub fn suffixes(&self) -> &SuffixList {
        &self.suffixes
    }

    /// How full each table is. Reads page by page, with the lock released between pages, so checks go on.
    pub fn fill(&self) -> Vec<Fill> {
        let mut fills = Vec::new();
        for (index, planned) in self.plan.limits.iter().enumerate() {
            let buckets = planned.store.buckets();
            let used =
                (0..buckets.table().pages()).map(|page| self.peep(|region, now| buckets.used(region, page, now))).sum();
            let untracked = self.lock().untracked(index);
            let (bytes, slots) = (buckets.table().bytes(), buckets.table().slots());
            fills.push(Fill { name: planned.limit.name.clone(), bytes, slots, used, untracked });
        }
        for (index, memory) in self.plan.memories.iter().enumerate() {
            let known = memory.known;
            let used =
                (0..known.table().pages()).map(|page| self.peep(|region, now| known.used(region, page, now))).sum();
            let owners = self.plan.limits.iter().filter(|planned| planned.store.memory() == Some(index));
            let names: Vec<&str> = owners.map(|planned| planned.limit.name.as_str()).collect();
            let (bytes, slots) = (known.table().bytes(), known.table().slots());
            fills.push(Fill { name: format!("memory of {}", names.join(", ")), bytes, slots, used, untracked: 0 });
        }
        fills
    }

    /// Looks at the region at engine time.
    fn peep<T>(&self, look: impl FnOnce(&Region, u64) -> T) -> T {
        let region = self.lock();
        let now = region.epoch().last_us;
        look(&region, now)
    }

    fn lock(&self) -> MutexGuard<'_, Region> {
        // Nothing under the lock panics; should it ever, the lines are plain words and stay usable.
        self.region.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The stages of which something is known of `envelope`: what a check runs that names none.
    pub fn known_stages(envelope: &crate::envelope::Envelope<'_>) -> crate::policy::Stages {
        let known = crate::policy::Stages::default().with(Stage::Connect).with(Stage::Helo);
        if envelope.mail_from.is_none() {
            return known;
        }
        let known = known.with(Stage::Mail);
        let known = if envelope.rcpt_to.is_empty() { known } else { known.with(Stage::Rcpt) };
        if envelope.size.is_none() { known } else { known.with(Stage::Data) }
    }
}
