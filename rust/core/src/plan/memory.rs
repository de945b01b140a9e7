//! Shares the memory out among tables, in this order: the page of counters, operators' entries and limits' blocks, what
//! is in flight, the seen sets, every limit, every quota, and the statistics.
//!
//! A stated size is taken as it is. Of the rest, half goes to the seen sets, and half to the tables of rates in
//! proportion to how long one message occupies a slot. No table without a stated size is below [`FLOOR_PAGES`].
//!
//! Each kind of key in flight has counts of its own, and each permit a record. Limits that look at the same key share
//! its counts, each with its own column, so that a check of all of them takes one look-up. There is a row for every
//! key that all permits together can hold.
//!
//! This module knows no keys and no counts. Invariant: counters, entries and blocks come first, and their size depends
//! on the memory only, so they outlive a policy.

use super::{AccessTables, PlannedIdentity, TrustSource, with_places};
use crate::policy::{Count, Limit, Policy, Quota, Rule, write_bytes, write_size};
use crate::region::{PAGE_BYTES, Region, Table};
use crate::store::in_flight::{Capacity, Columns, InFlight, Permits, Place, Tier};
use crate::store::{
    access_list::AccessList, access_list::MOST, blocks::Blocks, fan_out::ChargedAgain, key_counts::KeyCounts,
};
use crate::{error::PolicyError, identity::Identity, identity::Trust, key::Key, key::Secret, stats::Layout};

/// The smallest table: 64 KiB.
pub(super) const FLOOR_PAGES: u64 = 65_536 / PAGE_BYTES;

/// Pages of the region that no table gets: the header.
pub(super) const HEADER_PAGES: u64 = 1;

/// The weight of a fan-out that refuses the whole key, as a multiple of a bucket's weight. Its slot takes 14 bytes, and
/// a slot of a bucket takes 8. Three eighths of its memory go to registers.
const DISTINCT_WEIGHT: u128 = 4;

/// One part in this many of the memory stays free, if the tables leave it. A limit or a quota that a reload brings
/// finds room there, without a restart.
pub(super) const SPARE: u64 = 32;

/// The least memory that every limit may state: two of its tables have a page each.
const LEAST_STATED: u64 = 2 * PAGE_BYTES;

/// Parts of the memory: in 16 MiB there is room for 1024 entries and 12,288 blocks.
const ENTRIES_PART: u64 = 56;
const BLOCKS_PART: u64 = 64;

/// The least memory with entries and blocks: each has a page.
pub(super) const LEAST_WITH_ACCESS: u64 = BLOCKS_PART * PAGE_BYTES;

/// A policy whose quotas and seen sets are known, before they have tables.
pub(super) struct Draft<'p> {
    pub(super) policy: &'p Policy,
    pub(super) secret: &'p Secret,
    /// The limits of the policy, then the quotas, each as a limit with other numbers.
    pub(super) limits: Vec<DraftLimit>,
    /// For each limit of the policy the keys of values that have quotas, in the order of the file, and the places of
    /// these quotas in `limits`.
    pub(super) quotas: Vec<Vec<(Key, u16)>>,
    pub(super) seen_sets: Vec<SeenSetClaim>,
    /// The identities that have a place already, even if no limit needs them.
    pub(super) identities: Vec<PlannedIdentity>,
}

/// A limit or a quota, before it has a table.
pub(super) struct DraftLimit {
    /// The place of its limit in the policy.
    pub(super) of: usize,
    /// The limit; for a quota, a copy with the numbers of the quota.
    pub(super) limit: Limit,
    /// How many values have the numbers of a quota; 0 for a limit.
    pub(super) values: usize,
}

/// A seen set, before it has a table.
pub(super) struct SeenSetClaim {
    pub(super) per: Vec<Identity>,
    pub(super) distinct: Identity,
    pub(super) remember_us: u64,
    memory: Option<u64>,
    /// The longest `settle` of the limits that share the seen set; a limit that has one takes the ladder.
    pub(super) settle_us: Option<u64>,
    /// When the limits charge a known element again.
    pub(super) charged_again: ChargedAgain,
    /// Whether one of the limits readmits what it refused.
    pub(super) has_notes: bool,
}

/// The tables of a plan.
pub(super) struct TableShares {
    pub(super) access: Option<AccessTables>,
    /// What is in flight, over its tables.
    pub(super) capacity: Capacity,
    /// The limits of the capacity, as they were when it was made.
    pub(super) in_flight_limits: Vec<Limit>,
    pub(super) seen_sets: Vec<Table>,
    /// Tables of limits that have a rate, fan-outs included, then tables of quotas.
    pub(super) rates: Vec<Table>,
    pub(super) stats: Table,
    /// The layout of the statistics.
    pub(super) layout: Layout,
}

/// A claim to one table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Claim {
    /// This many bytes.
    Stated(u64),
    /// An equal share of the half that belongs to seen sets.
    SeenSet,
    /// A share of the half that belongs to rates, in proportion to this weight.
    Rate(u128),
}

impl Draft<'_> {
    /// The claims of the seen sets, then of the limits that have a rate, then of the quotas.
    pub(super) fn claims(&self) -> impl Iterator<Item = Claim> {
        let seen_sets = self.seen_sets.iter().map(|claim| claim.memory.map_or(Claim::SeenSet, Claim::Stated));
        seen_sets.chain(self.limits.iter().filter_map(DraftLimit::claim))
    }
}

impl DraftLimit {
    /// The quota, if this is one.
    pub(super) fn quota(&self) -> Option<&Quota> {
        self.limit.quotas.first().filter(|_| self.values > 0)
    }

    /// The claim of a limit or a quota that has a rate.
    fn claim(&self) -> Option<Claim> {
        let limit = &self.limit;
        let (rate, _) = limit.rule.rate_and_burst()?;
        let occupied = (u128::from(rate.period_us) << 20) / u128::from(rate.amount.max(1));
        let (weight, stated) = match limit.rule {
            Rule::Distinct { .. } => (occupied * DISTINCT_WEIGHT, limit.memory),
            // One value has a bucket for each trust. With the ladder it has as many as its name has parts.
            Rule::FanOut { settle_us: None, .. } if self.quota().is_some() && limit.per.len() == 1 => {
                (occupied, Some(group_bytes(limit, self.values)))
            }
            // The memory that a fan-out states is that of its seen set.
            Rule::FanOut { .. } => (occupied, None),
            _ => (occupied, limit.memory),
        };
        Some(stated.map_or(Claim::Rate(weight), Claim::Stated))
    }
}

impl SeenSetClaim {
    /// The seen sets that the fan-outs need, each once.
    pub(super) fn all<'l>(limits: impl IntoIterator<Item = &'l Limit>) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for limit in limits {
            let Rule::FanOut { distinct, remember_us, settle_us, charge, warm_up_us, readmit_us, .. } = limit.rule
            else {
                continue;
            };
            let (mut charged_again, has_notes) = (ChargedAgain::default(), readmit_us.is_some());
            charged_again.insert(charge, warm_up_us);
            let (per, memory) = (limit.remembered_per().to_vec(), limit.memory);
            match all.iter_mut().find(|claim| claim.is_of(limit)) {
                Some(claim) => {
                    claim.settle_us = claim.settle_us.max(settle_us);
                    claim.charged_again.insert(charge, warm_up_us);
                    claim.has_notes |= has_notes;
                }
                None => all.push(Self { per, distinct, remember_us, memory, settle_us, charged_again, has_notes }),
            }
        }
        all
    }

    /// Whether the limit asks this seen set: limits that agree in these fields share one.
    pub(super) fn is_of(&self, limit: &Limit) -> bool {
        matches!(limit.rule, Rule::FanOut { distinct, remember_us, .. }
            if (&self.per[..], self.distinct, self.remember_us, self.memory)
                == (limit.remembered_per(), distinct, remember_us, limit.memory))
    }
}

/// Keys for a page of buckets: a fourth of its slots is used, and hardly ever does a key find both of its lines full.
/// Windows have fewer slots; many of them share the memory as the keys of a limit do.
const KEYS_OF_A_PAGE: u64 = 112;

/// The bytes of a table for the buckets of so many values of a limit per one identity.
pub(super) fn group_bytes(limit: &Limit, values: usize) -> u64 {
    keys_of(limit, values).div_ceil(KEYS_OF_A_PAGE).max(1) * PAGE_BYTES
}

/// The keys of so many values: one for each trust, where the sender has one.
pub(super) fn keys_of(limit: &Limit, values: usize) -> u64 {
    let trusts = if TrustSource::of(limit.identities()) == TrustSource::Senders { Trust::ALL.len() } else { 1 };
    (values * trusts) as u64
}

/// Pages for each claim, in order, out of `memory_bytes`. The error is the number of bytes that would be enough.
pub(super) fn share_out(memory_bytes: u64, claims: &[Claim]) -> Result<Vec<u32>, u64> {
    let (mut stated_pages, mut seen_sets, mut weights) = (HEADER_PAGES, 0, Vec::new());
    for claim in claims {
        match *claim {
            Claim::Stated(bytes) => stated_pages = stated_pages.saturating_add(pages(bytes)),
            Claim::SeenSet => seen_sets += 1,
            Claim::Rate(weight) => weights.push(weight),
        }
    }
    let (seen_set_floor, rate_floor) = (seen_sets * FLOOR_PAGES, weights.len() as u64 * FLOOR_PAGES);
    let least = stated_pages.saturating_add(seen_set_floor + rate_floor);
    if memory_bytes / PAGE_BYTES < least {
        return Err(least.saturating_mul(PAGE_BYTES));
    }
    let rest = memory_bytes / PAGE_BYTES - stated_pages;
    let half = match (seen_set_floor, rate_floor) {
        (0, _) => 0,
        (_, 0) => rest,
        _ => (rest / 2).clamp(seen_set_floor, rest - rate_floor),
    };
    let rate_pages = by_weight(rest - half, weights);
    let pages = claims.iter().map(|claim| match *claim {
        Claim::Stated(bytes) => pages(bytes),
        Claim::SeenSet => half / seen_sets,
        Claim::Rate(weight) => rate_pages(weight),
    });
    Ok(pages.map(|pages| u32::try_from(pages).unwrap_or(u32::MAX)).collect())
}

/// The pages of a table with a stated size.
fn pages(bytes: u64) -> u64 {
    (bytes / PAGE_BYTES).max(1)
}

/// Shares `pages` in proportion to weights, with no share below the floor. Returns the share of a weight.
fn by_weight(mut pages: u64, mut weights: Vec<u128>) -> impl Fn(u128) -> u64 {
    weights.sort_unstable();
    let mut sum: u128 = weights.iter().sum();
    // The lightest get the floor, as long as their share of the rest is below it.
    for light in weights {
        if u128::from(pages) * light >= u128::from(FLOOR_PAGES) * sum {
            break;
        }
        pages -= FLOOR_PAGES;
        sum -= light;
    }
    move |weight| {
        let share = (u128::from(pages) * weight).checked_div(sum).unwrap_or(0);
        u64::try_from(share).unwrap_or(u64::MAX).max(FLOOR_PAGES)
    }
}

/// The region and its tables. The statistics get the largest layout for which the other tables leave room.
pub(super) fn allocate(draft: &Draft, max_open: u32, memory_bytes: u64) -> Result<(Region, TableShares), PolicyError> {
    let (policy, max_open) = (draft.policy, u64::from(max_open));
    let in_flight_limits: Vec<Limit> = policy.limits.iter().filter(|limit| limit.is_in_flight()).cloned().collect();
    let (limits, counts) = in_flight(&in_flight_limits);
    // A table for each of the counts, then one for the permits, if there is a limit to hold anything under.
    let count_bytes = counts.iter().map(|(_, columns)| KeyCounts::bytes(max_open, *columns));
    let permit_bytes = (!limits.is_empty()).then(|| Permits::bytes(max_open, counts.len()));
    let held: Vec<u64> = count_bytes.chain(permit_bytes).collect();
    let access = access_bytes(memory_bytes);
    let exact = [PAGE_BYTES].iter().chain(access.iter().flatten()).chain(&held).copied().map(Claim::Stated);
    let claims: Vec<Claim> = exact.chain(draft.claims()).collect();
    let layouts = Layout::choices(memory_bytes, with_places(Vec::new(), policy).len());
    let mut choices = layouts.flat_map(|layout| [(layout, memory_bytes / SPARE), (layout, 0)]);
    let mut least = 0;
    let fitting = choices.find_map(|(layout, spare)| {
        let spare = (spare >= PAGE_BYTES).then_some(Claim::Stated(spare));
        let all = claims.iter().copied().chain(spare).chain([Claim::Stated(layout.bytes())]);
        let pages = share_out(memory_bytes, &all.collect::<Vec<_>>());
        pages.map_err(|bytes| least = bytes).ok().map(|pages| (layout, pages))
    });
    let budget = format!("a budget of {}", write_bytes(memory_bytes));
    let Some((layout, pages)) = fitting else {
        let (taken, least) = (least, with_access(least, memory_bytes));
        if let Some(error) = too_large(draft, memory_bytes, taken, least) {
            return Err(error);
        }
        let need = match held.iter().sum() {
            0u64 => String::new(),
            bytes => {
                let bytes = write_bytes(bytes);
                format!(", {bytes} of them for what at most {max_open} permits hold (`max_open`)")
            }
        };
        let (least, tables) = (write_bytes(least), claims.len());
        let allowed = format!("at least {least} for the {tables} tables of this policy{need}");
        return Err(policy.error(None, "memory", budget, allowed));
    };
    let most = "as much as this machine gives, and less than 256 GiB".into();
    let (region, tables) = Region::new(&pages).ok_or_else(|| policy.error(None, "memory", budget, most))?;
    // The tables are in the order of the claims. The spare belongs to no table of the plan.
    let stats = tables[pages.len() - 1];
    debug_assert_eq!(tables[0], Table::COUNTERS);
    let (access, tables) = tables[1..claims.len()].split_at(access.map_or(0, |bytes| bytes.len()));
    let access = match *access {
        [entries, blocks] => Some(AccessTables { list: AccessList::new(entries), blocks: Blocks::new(blocks) }),
        _ => None,
    };
    let (held, tables) = tables.split_at(held.len());
    let (seen_sets, rates) = tables.split_at(draft.seen_sets.len());
    let permits = Permits::new(max_open, held.get(counts.len()).copied(), counts.len());
    let counts = counts.iter().zip(held).map(|((_, columns), table)| KeyCounts::new(*table, max_open, *columns));
    let capacity = Capacity { permits, limits, counts: counts.collect() };
    let (seen_sets, rates) = (seen_sets.to_vec(), rates.to_vec());
    Ok((region, TableShares { access, capacity, in_flight_limits, seen_sets, rates, stats, layout }))
}

/// The error for the limit that states most of the memory, if all tables would fit when it stated less. All tables
/// together take `taken` bytes of this memory, and `least` bytes would be enough for them.
fn too_large(draft: &Draft, memory_bytes: u64, taken: u64, least: u64) -> Option<PolicyError> {
    let limits = draft.policy.limits.iter();
    let (stated, limit) = limits.filter_map(|limit| Some((limit.memory?, limit))).max_by_key(|(bytes, _)| *bytes)?;
    let others = taken.saturating_sub(pages(stated).saturating_mul(PAGE_BYTES));
    let room = memory_bytes.checked_sub(others)? / PAGE_BYTES * PAGE_BYTES;
    let found = format!("{:?} in a guard of {}", write_size(stated), write_bytes(memory_bytes));
    let allowed = format!("at most {:?} here, or a guard of at least {}", write_size(room), write_bytes(least));
    (room >= LEAST_STATED).then(|| draft.policy.error(Some(limit), "memory", found, allowed))
}

/// Bytes of operators' entries and of limits' blocks; `None` if the memory is too small for them.
fn access_bytes(memory_bytes: u64) -> Option<[u64; 2]> {
    let (entries, blocks) = (memory_bytes / ENTRIES_PART, memory_bytes / BLOCKS_PART);
    (memory_bytes >= LEAST_WITH_ACCESS).then(|| [entries.min(AccessList::bytes(MOST)), blocks])
}

/// Returns the total memory that is needed. `least` bytes cover everything, but with an access list and blocks as large
/// as in `memory_bytes`; these grow with the memory.
fn with_access(least: u64, memory_bytes: u64) -> u64 {
    let bytes = |memory_bytes| access_bytes(memory_bytes).into_iter().flatten().map(pages).sum::<u64>() * PAGE_BYTES;
    let others = least.saturating_sub(bytes(memory_bytes));
    let mut enough = others;
    // They take a thirtieth of the memory, so the loop ends soon.
    while enough < others.saturating_add(bytes(enough)) {
        enough = others.saturating_add(bytes(enough));
    }
    enough
}

/// The identities of the keys of some counts, and how many columns the counts have.
pub(super) type Counted = (Vec<Identity>, usize);

/// What in-flight limits check, and the counts that they need.
pub(super) fn in_flight(limits: &[Limit]) -> (Vec<InFlight>, Vec<Counted>) {
    let mut counts: Vec<Counted> = Vec::new();
    let mut place = |per: Vec<Identity>| {
        let place = counts.iter().position(|(other, _)| *other == per).unwrap_or(counts.len());
        if place == counts.len() {
            counts.push((per, 0));
        }
        counts[place].1 += 1;
        Place { counts: place, column: counts[place].1 - 1 }
    };
    let mut columns = |per: Vec<Identity>, has_neighbours: bool| {
        let held = place(per.clone());
        Columns { held, neighbours: has_neighbours.then(|| place(per)) }
    };
    let mut checked = Vec::new();
    for limit in limits {
        let Rule::InFlight { cap, share, reserve, .. } = &limit.rule else { continue };
        // `global` is in every key, so it distinguishes none.
        let per: Vec<Identity> = limit.per.iter().copied().filter(|per| *per != Identity::Global).collect();
        let tiers = share.iter().enumerate().map(|(nth, tier)| {
            // A network around another identity of the key distinguishes none either. Without it, more keys are alike,
            // and limits with the same key share its counts.
            let is_needed = |per: &&Identity| !tier.per.iter().any(|tier| per.surrounds(*tier));
            let key = per.iter().filter(is_needed).chain(&tier.per).copied().collect();
            // The first tier says who is a neighbour, and the others bound what neighbours hold.
            Tier { own: columns(key, nth > 0), part: tier.of_free }
        });
        let (tiers, bytes) = (tiers.collect(), limit.count == Count::Bytes);
        let count = (!per.is_empty()).then(|| columns(per, share.len() > 1));
        let (first, largest) = (limit.rule.first(limit.count), limit.rule.largest(limit.count));
        checked.push(InFlight { cap: *cap, bytes, count, tiers, reserve: *reserve, first, largest });
    }
    (checked, counts)
}

/// The place of the in-flight limit that counts what `limit` counts.
pub(super) fn held_place(in_flight_limits: &[Limit], limit: &Limit) -> Option<usize> {
    let keys = |limit: &Limit| -> Vec<Vec<Identity>> { limit.tiers().iter().map(|tier| tier.per.clone()).collect() };
    in_flight_limits.iter().position(|held| {
        (&held.name, &held.per, held.count) == (&limit.name, &limit.per, limit.count) && keys(held) == keys(limit)
    })
}
