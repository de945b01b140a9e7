//! Who gets which table of the region, in this order: operators' entries and limits' blocks, what is open, the memories, every limit, every quota, and
//! what only observes.
//!
//! Knows no keys and no counts. Invariant: entries and blocks come first and are as large as the memory says, whatever the policy, so they outlive it.

use super::budget::{Claim, Half, share_out};
use super::compile::place;
use super::holdings::Holdings;
use super::plan::AccessTables;
use super::quotas::Named;
use crate::error::PolicyError;
use crate::identity::Identity;
use crate::policy::{Limit, Policy, Rule};
use crate::region::{PAGE_BYTES, Region, Table};
use crate::stats::Layout;
use crate::store::access_list::{self, AccessList};
use crate::store::blocks::Blocks;

/// A key of a fan-out that refuses all takes 14 bytes where one of a bucket takes 8, and its table is half of the share.
const DISTINCT_WEIGHT: u128 = 4;

/// This part of the memory is nobody's, where the tables leave it: a limit or a quota that a change of policy brings finds room there, without a restart.
pub(super) const SPARE: u64 = 32;

/// Parts of the memory: in 16 MiB there is room for 1024 entries and 12,288 blocks.
const LISTED_PART: u64 = 56;
const BLOCKS_PART: u64 = 64;

/// So that each has a page.
pub(super) const LEAST_MARKED: u64 = BLOCKS_PART * PAGE_BYTES;

/// A memory before it has a table.
pub(super) struct Wanted {
    pub(super) sharing: Sharing,
    /// The longest of those that share it: then a limit over it has the ladder.
    pub(super) settle_us: Option<u64>,
}

/// Limits that agree in these share a memory.
#[derive(PartialEq)]
pub(super) struct Sharing {
    pub(super) per: Vec<Identity>,
    pub(super) distinct: Identity,
    pub(super) remember_us: u64,
    memory: Option<u64>,
}

/// Who has which table, in order.
pub(super) struct Shares {
    pub(super) layout: Layout,
    /// Of operators' entries and limits' blocks: first in the region, and as large as the memory says, so that they outlive a policy.
    pub(super) marked: Option<AccessTables>,
    pub(super) memories: Vec<Table>,
    /// Of limits that have a rate, then of quotas.
    pub(super) paces: Vec<Table>,
    /// Of what may never refuse.
    pub(super) observed: Table,
}

impl Wanted {
    /// The memories that the fan-outs want, each once.
    pub(super) fn of<'l>(limits: impl IntoIterator<Item = &'l Limit>) -> Vec<Self> {
        let mut wanted: Vec<Self> = Vec::new();
        for limit in limits {
            let Some((sharing, settle_us)) = sharing(limit) else { continue };
            match wanted.iter_mut().find(|memory| memory.sharing == sharing) {
                Some(memory) => memory.settle_us = memory.settle_us.max(settle_us),
                None => wanted.push(Self { sharing, settle_us }),
            }
        }
        wanted
    }
}

/// Which memory a limit asks, and its `settle`.
pub(super) fn sharing(limit: &Limit) -> Option<(Sharing, Option<u64>)> {
    let Rule::FanOut { distinct, remember_us, settle_us, .. } = limit.rule else { return None };
    Some((Sharing { per: limit.per.clone(), distinct, remember_us, memory: limit.memory }, settle_us))
}

/// The region, its tables of what is open, and those of all else, with the largest layout of observation that they leave room for.
pub(super) fn allocate(
    policy: &Policy,
    wanted: &[Wanted],
    quotas: &[Named],
    holdings: &Holdings<'_>,
    memory_bytes: u64,
) -> Result<(Region, Vec<Table>, Shares), PolicyError> {
    let marked = marked(memory_bytes);
    let exactly = |bytes| Claim { stated: Some(bytes), weight: 0, half: Half::Rates };
    let first = marked.iter().flatten().map(|&bytes| exactly(bytes)).chain(holdings.claims().iter().copied());
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
                error = too_little(policy, memory_bytes, least, claims.len(), holdings);
                continue;
            }
        };
        let (region, mut tables) = Region::new(&pages).ok_or_else(|| too_much(policy, memory_bytes))?;
        // In the order of the claims; the spare stays nobody's.
        let Some(observed) = tables.pop() else { continue };
        tables.truncate(claims.len());
        let marks = tables.drain(..marked.map_or(0, |marked| marked.len())).collect::<Vec<_>>();
        let marked = match marks[..] {
            [listed, blocks] => Some(AccessTables { listed: AccessList::new(listed), blocks: Blocks::new(blocks) }),
            _ => None,
        };
        let paces = tables.split_off(holdings.claims().len() + wanted.len());
        let memories = tables.split_off(holdings.claims().len());
        return Ok((region, tables, Shares { layout, marked, memories, paces, observed }));
    }
    Err(error)
}

/// The claims of the memories, then of the limits that have a rate, then of the quotas.
pub(super) fn claims<'c>(
    policy: &'c Policy,
    wanted: &'c [Wanted],
    quotas: &'c [Named],
) -> impl Iterator<Item = Claim> + 'c {
    let memories = wanted.iter().map(|memory| Claim { stated: memory.sharing.memory, weight: 1, half: Half::Memories });
    let paced = policy.limits.iter().filter_map(pace);
    memories.chain(paced).chain(quotas.iter().filter_map(|quota| quota_pace(&quota.limit)))
}

/// Bytes of operators' entries and of limits' blocks. A guard that is smaller than that has neither.
fn marked(memory_bytes: u64) -> Option<[u64; 2]> {
    let (listed, blocks) = (memory_bytes / LISTED_PART, memory_bytes / BLOCKS_PART);
    (memory_bytes >= LEAST_MARKED).then(|| [listed.min(AccessList::bytes(access_list::MOST)), blocks])
}

/// What would do in all, where `least` would but for the tables of blocks, which grow with it.
fn with_marked(least: u64, memory_bytes: u64) -> u64 {
    let bytes = |memory_bytes| -> u64 {
        let pages = marked(memory_bytes).into_iter().flatten().map(|bytes| (bytes / PAGE_BYTES).max(1));
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

/// The claim of a quota: as of a limit, but for a fan-out under one value. It has two buckets, one a class; with the ladder as many as its value has parts.
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

fn too_little(policy: &Policy, bytes: u64, least: u64, tables: usize, holdings: &Holdings<'_>) -> PolicyError {
    PolicyError {
        file: policy.file.clone(),
        field: Some("memory".into()),
        found: format!("a budget of {bytes} bytes"),
        allowed: format!("at least {least} bytes for the {tables} tables of this policy{}", holdings.told()),
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
