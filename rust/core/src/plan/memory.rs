//! Who gets which table of the region, in this order: operators' entries and limits' blocks, what is open, the
//! seen_sets, every limit, every quota, and what only observes.
//!
//! Knows no keys and no counts. Invariant: entries and blocks come first and are as large as the memory says, whatever
//! the policy, so they outlive it.

use super::budget::{Claim, Half, share_out};
use super::in_flight::InFlightTables;
use super::quotas::PlannedQuota;
use super::{AccessTables, place};
use crate::error::PolicyError;
use crate::identity::Identity;
use crate::policy::{Limit, Policy, Rule};
use crate::region::{PAGE_BYTES, Region, Table};
use crate::stats::Layout;
use crate::store::access_list::{self, AccessList};
use crate::store::blocks::Blocks;

/// A key of a fan-out that refuses all takes 14 bytes where one of a bucket takes 8, and its table is half of the
/// share.
const DISTINCT_WEIGHT: u128 = 4;

/// This part of the memory is nobody's, where the tables leave it: a limit or a quota that a change of policy brings
/// finds room there, without a restart.
pub(super) const SPARE: u64 = 32;

/// Parts of the memory: in 16 MiB there is room for 1024 entries and 12,288 blocks.
const LISTED_PART: u64 = 56;
const BLOCKS_PART: u64 = 64;

/// So that each has a page.
pub(super) const LEAST_WITH_ACCESS: u64 = BLOCKS_PART * PAGE_BYTES;

/// A memory before it has a table.
pub(super) struct SeenSetClaim {
    pub(super) seen_set_key: SeenSetKey,
    /// The longest of those that share it: then a limit over it has the ladder.
    pub(super) settle_us: Option<u64>,
}

/// Limits that agree in these share a memory.
#[derive(PartialEq)]
pub(super) struct SeenSetKey {
    pub(super) per: Vec<Identity>,
    pub(super) distinct: Identity,
    pub(super) remember_us: u64,
    memory: Option<u64>,
}

/// Who has which table, in order.
pub(super) struct TableShares {
    pub(super) layout: Layout,
    /// Of operators' entries and limits' blocks: first in the region, and as large as the memory says, so that they
    /// outlive a policy.
    pub(super) access: Option<AccessTables>,
    pub(super) seen_sets: Vec<Table>,
    /// Of limits that have a rate, then of quotas.
    pub(super) rate_tables: Vec<Table>,
    /// Of what may never refuse.
    pub(super) observed: Table,
}

impl SeenSetClaim {
    /// The seen_sets that the fan-outs want, each once.
    pub(super) fn of<'l>(limits: impl IntoIterator<Item = &'l Limit>) -> Vec<Self> {
        let mut wanted: Vec<Self> = Vec::new();
        for limit in limits {
            let Some((seen_set_key, settle_us)) = seen_set_key(limit) else { continue };
            match wanted.iter_mut().find(|memory| memory.seen_set_key == seen_set_key) {
                Some(memory) => memory.settle_us = memory.settle_us.max(settle_us),
                None => wanted.push(Self { seen_set_key, settle_us }),
            }
        }
        wanted
    }
}

/// Which memory a limit asks, and its `settle`.
pub(super) fn seen_set_key(limit: &Limit) -> Option<(SeenSetKey, Option<u64>)> {
    let Rule::FanOut { distinct, remember_us, settle_us, .. } = limit.rule else { return None };
    Some((SeenSetKey { per: limit.per.clone(), distinct, remember_us, memory: limit.memory }, settle_us))
}

/// The region, its tables of what is open, and those of all else, with the largest layout of observation that they
/// leave room for.
pub(super) fn allocate(
    policy: &Policy,
    wanted: &[SeenSetClaim],
    quotas: &[PlannedQuota],
    in_flight: &InFlightTables<'_>,
    memory_bytes: u64,
) -> Result<(Region, Vec<Table>, TableShares), PolicyError> {
    let access = access(memory_bytes);
    let exactly = |bytes| Claim { stated: Some(bytes), weight: 0, half: Half::Rates };
    let first = access.iter().flatten().map(|&bytes| exactly(bytes)).chain(in_flight.claims().iter().copied());
    let claims: Vec<Claim> = first.chain(claims(policy, wanted, quotas)).collect();
    let mut error = PolicyError::default();
    let with_spare = |layout: Layout| [(layout, memory_bytes / SPARE), (layout, 0)];
    for (layout, spare) in Layout::choices(memory_bytes, observed(policy)).flat_map(with_spare) {
        let others = [exactly(spare), exactly(layout.bytes())];
        let others = if spare < PAGE_BYTES { &others[1..] } else { &others };
        let shared = share_out(memory_bytes, &[&claims[..], others].concat());
        let pages = match shared {
            Ok(pages) => pages,
            Err(least) => {
                let least = with_marked(least, memory_bytes);
                error = too_little(policy, memory_bytes, least, claims.len(), in_flight);
                continue;
            }
        };
        let (region, mut tables) = Region::new(&pages).ok_or_else(|| too_much(policy, memory_bytes))?;
        // In the order of the claims; the spare stays nobody's.
        let Some(observed) = tables.pop() else { continue };
        tables.truncate(claims.len());
        let marks = tables.drain(..access.map_or(0, |access| access.len())).collect::<Vec<_>>();
        let access = match marks[..] {
            [listed, blocks] => Some(AccessTables { list: AccessList::new(listed), blocks: Blocks::new(blocks) }),
            _ => None,
        };
        let rate_tables = tables.split_off(in_flight.claims().len() + wanted.len());
        let seen_sets = tables.split_off(in_flight.claims().len());
        return Ok((region, tables, TableShares { layout, access, seen_sets, rate_tables, observed }));
    }
    Err(error)
}

/// The claims of the seen_sets, then of the limits that have a rate, then of the quotas.
pub(super) fn claims<'c>(
    policy: &'c Policy,
    wanted: &'c [SeenSetClaim],
    quotas: &'c [PlannedQuota],
) -> impl Iterator<Item = Claim> + 'c {
    let seen_sets =
        wanted.iter().map(|memory| Claim { stated: memory.seen_set_key.memory, weight: 1, half: Half::Memories });
    let rated = policy.limits.iter().filter_map(pace);
    seen_sets.chain(rated).chain(quotas.iter().filter_map(|quota| quota_pace(&quota.limit)))
}

/// Bytes of operators' entries and of limits' blocks. A guard that is smaller than that has neither.
fn access(memory_bytes: u64) -> Option<[u64; 2]> {
    let (listed, blocks) = (memory_bytes / LISTED_PART, memory_bytes / BLOCKS_PART);
    (memory_bytes >= LEAST_WITH_ACCESS).then(|| [listed.min(AccessList::bytes(access_list::MOST)), blocks])
}

/// What would do in all, where `least` would but for the tables of blocks, which grow with it.
fn with_marked(least: u64, memory_bytes: u64) -> u64 {
    let bytes = |memory_bytes| -> u64 {
        let pages = access(memory_bytes).into_iter().flatten().map(|bytes| (bytes / PAGE_BYTES).max(1));
        pages.sum::<u64>() * PAGE_BYTES
    };
    let others = least.saturating_sub(bytes(memory_bytes));
    let mut enough = others;
    // They take a thirtieth, so it ends soon.
    while enough < others.saturating_add(bytes(enough)) {
        enough = others.saturating_add(bytes(enough));
    }
    enough
}

/// The claim of a limit that has a rate.
fn pace(limit: &Limit) -> Option<Claim> {
    let (rate, _) = limit.rule.rate_and_burst()?;
    let occupied = (u128::from(rate.period_us) << 20) / u128::from(rate.amount.max(1));
    let (weight, stated) = match limit.rule {
        Rule::Distinct { .. } => (occupied * DISTINCT_WEIGHT, limit.memory),
        // What it states is for its memory.
        Rule::FanOut { .. } => (occupied, None),
        _ => (occupied, limit.memory),
    };
    Some(Claim { stated, weight, half: Half::Rates })
}

/// The claim of a quota: as of a limit, but for a fan-out under one value. It has two buckets, one a class; with the
/// ladder as many as its value has parts.
fn quota_pace(limit: &Limit) -> Option<Claim> {
    let is_one = matches!(limit.rule, Rule::FanOut { settle_us: None, .. }) && limit.per.len() == 1;
    let claim = pace(limit)?;
    Some(if is_one { Claim { stated: Some(PAGE_BYTES), ..claim } } else { claim })
}

/// How many identities the limits need.
fn observed(policy: &Policy) -> usize {
    let mut identities = Vec::new();
    for identity in policy.limits.iter().flat_map(Limit::identities) {
        place(&mut identities, identity);
    }
    identities.len()
}

fn too_little(policy: &Policy, bytes: u64, least: u64, tables: usize, in_flight: &InFlightTables<'_>) -> PolicyError {
    PolicyError {
        file: policy.file.clone(),
        field: Some("memory".into()),
        found: format!("a budget of {bytes} bytes"),
        allowed: format!("at least {least} bytes for the {tables} tables of this policy{}", in_flight.stated_need()),
        ..PolicyError::default()
    }
}

fn too_much(policy: &Policy, bytes: u64) -> PolicyError {
    PolicyError {
        file: policy.file.clone(),
        field: Some("memory".into()),
        found: format!("a budget of {bytes} bytes"),
        allowed: "as much as this machine gives, and less than 256 GiB".into(),
        ..PolicyError::default()
    }
}
