//! Compiles another policy over a region in use. A limit that did not change keeps its table and its counts; a new or
//! changed limit takes pages that no table of the old plan has, or else pages of limits that are gone.
//!
//! ```text
//!  old plan ── idle:  emptied while the old plan decides ── used:  emptied while no check runs ──> new plan
//! ```
//!
//! The old plan decides until the new one is ready, so a limit is never switched off. A changed limit begins with an
//! empty table: a key gets at most one burst more.
//!
//! Permits outlive a policy, so their tables stay: an in-flight limit can be taken out, put back and given other
//! numbers, but a new one needs tables that only a start can make.
//!
//! This module knows no lock. Invariant: a plan's tables never overlap, and a limit that stays has the table that it
//! had.
//!
//! **Dropped.** A plan without the changed limits that decides while their tables are emptied: with eight busy threads
//! at 256 MiB these limits were off for 8 s.

use std::cmp::Reverse;

use super::compile::check_blocks;
use super::memory::{Claim, Draft, DraftLimit, FLOOR_PAGES, HEADER_PAGES, SPARE, SeenSetClaim, TableShares};
use super::memory::{held_place, share_out};
use super::{AccessTables, LimitSet, Plan, PlannedIdentity, give_slots, with_places};
use crate::policy::{Limit, Policy, Quota, Rule, Stages};
use crate::region::{PAGE_BYTES, Region, Table};
use crate::store::in_flight::Capacity;
use crate::{error::PolicyError, identity::SuffixList, key::Secret, stats::Layout};

/// The step from a plan to the next.
#[derive(Debug)]
pub struct Step {
    /// The next plan.
    pub plan: Plan,
    /// Its new tables in pages that the plan before does not use. They are emptied while that plan decides.
    pub idle: Vec<Table>,
    /// Its new tables in pages that the plan before uses. They are emptied when that plan has decided its last check.
    pub used: Vec<Table>,
    /// For each of its limits the place under the plan before, if it was there.
    pub from: Vec<Option<usize>>,
    /// The counter slots of its limits that the plan before does not have.
    pub new_slots: Vec<u16>,
}

/// The step from `old` to `policy`, in a region of so many pages.
///
/// # Errors
/// A rate, a quota or a block that `compile` refuses too, new limits that do not fit into the free pages, a new
/// in-flight limit, or more identities than the statistics have room for.
pub fn recompile(
    old: &Plan, pages: u32, policy: &Policy, suffixes: &SuffixList, secret: &Secret,
) -> Result<Step, PolicyError> {
    check_blocks(policy, u64::from(pages) * PAGE_BYTES)?;
    let mut draft = Draft::of(policy, suffixes, secret)?;
    let capacity = capacity(old, policy)?;
    let (identities, layout) = identities(old, policy)?;
    draft.identities = identities;
    let from: Vec<Option<usize>> = draft.limits.iter().map(|drafted| stays_at(old, policy, drafted)).collect();
    let rated = draft.limits.iter().zip(&from).filter(|(drafted, _)| !drafted.limit.is_in_flight());
    let rates = rated.map(|(_, from)| from.and_then(|from| old.limits[from].table));
    let had: Vec<_> = draft.seen_sets.iter().map(|claim| seen_set(old, claim)).chain(rates).collect();
    let fresh = new_tables(&draft, old, pages, &had)?;
    let mut next = fresh.iter().copied();
    let mut seen_sets: Vec<Table> = had.iter().filter_map(|had| had.or_else(|| next.next())).collect();
    let rates = seen_sets.split_off(draft.seen_sets.len());
    let before = in_use(old);
    let is_used = |table: &Table| before.iter().any(|other| other.overlaps(table));
    let (mut used, idle): (Vec<_>, Vec<_>) = fresh.into_iter().partition(is_used);
    let stats = old.stats.table;
    used.extend((layout != old.stats.layout).then_some(stats));
    let (access, in_flight_limits) = (old.access, old.in_flight_limits.clone());
    let shares = TableShares { access, capacity, in_flight_limits, seen_sets, rates, stats, layout };
    let mut plan = draft.build(shares)?;
    let new_slots = give_slots(&mut plan, Some(old));
    Ok(Step { plan, idle, used, from, new_slots })
}

/// The place under `old` of a limit or quota that counts on. A quota begins anew with its limit.
fn stays_at(old: &Plan, policy: &Policy, drafted: &DraftLimit) -> Option<usize> {
    let quota = drafted.quota();
    if quota.is_some() {
        place_before(old, &policy.limits[drafted.of], None)?;
    }
    place_before(old, &drafted.limit, quota)
}

/// The place under `old` of a limit, or of a limit with the numbers of a quota, that counts the same in the same way.
fn place_before(old: &Plan, limit: &Limit, quota: Option<&Quota>) -> Option<usize> {
    let numbers = |limit: &Limit| (limit.count, limit.reports, limit.algorithm, limit.when_full, limit.memory);
    let is_same = |place: &usize| {
        let was = &old.limits[*place].limit;
        let is_same_rule = (&was.name, &was.per, &was.rule) == (&limit.name, &limit.per, &limit.rule);
        is_same_rule && numbers(was) == numbers(limit) && old.quota(*place).is_some() == quota.is_some()
    };
    (0..old.limits.len()).find(is_same)
}

/// The table of a seen set that the old plan has.
fn seen_set(old: &Plan, claim: &SeenSetClaim) -> Option<Table> {
    let asks = old.limits[..old.stated].iter().find(|planned| claim.is_of(&planned.limit))?;
    let planned = &old.seen_sets[asks.store.seen_set()?];
    // Notes take half of the table. A set that gets or loses them starts with an empty table.
    (planned.set.notes().is_some() == claim.has_notes).then_some(planned.whole)
}

/// A table for each claim that had none.
fn new_tables(draft: &Draft, old: &Plan, pages: u32, had: &[Option<Table>]) -> Result<Vec<Table>, PolicyError> {
    let staying = taken(old, had);
    let spare = u64::from(pages) * PAGE_BYTES / SPARE;
    let new = draft.claims().zip(had).filter(|(_, had)| had.is_none());
    let new: Vec<Claim> = new.map(|(claim, _)| claim).collect();
    let left: u64 = Region::free(pages, &staying).iter().map(Table::bytes).sum();
    let too_little = |least: u64| {
        let found = format!("{} new tables, which need {least} bytes", new.len());
        let left = format!("{left} bytes, which the limits that are gone have left");
        draft.policy.error(None, "memory", found, left + "; a restart divides the memory again")
    };
    let header = HEADER_PAGES * PAGE_BYTES;
    // The spare is kept for the next change. It is used only when the new tables do not fit without it.
    let shared = share_out((left + header).saturating_sub(spare), &new);
    let shared = shared.or_else(|least| share_out(least.min(left + header), &new));
    let sizes = shared.map_err(|least| too_little(least - header))?;
    let claims: Vec<(Claim, u32)> = new.iter().copied().zip(sizes).collect();
    // A table in idle pages may leave too little for the next one; then all of them go where there is most room.
    let placed = place(pages, &claims, &staying, Some(&in_use(old)));
    let placed = placed.or_else(|_| place(pages, &claims, &staying, None));
    placed.map_err(|size| too_little(u64::from(size) * PAGE_BYTES))
}

/// Finds pages for claims of so many pages, the largest first: in the smallest run of pages that has room, of those
/// that are not in `used` if possible. The error is the size of a claim that no run has room for.
fn place(pages: u32, claims: &[(Claim, u32)], staying: &[Table], used: Option<&[Table]>) -> Result<Vec<Table>, u32> {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_by_key(|&nth| Reverse(claims[nth].1));
    let (mut taken, mut placed) = (staying.to_vec(), vec![Table::HEADER; claims.len()]);
    for nth in order {
        let (claim, size) = claims[nth];
        let smallest = |taken: &[Table]| {
            Region::free(pages, taken).into_iter().filter(|run| run.pages() >= size).min_by_key(Table::pages)
        };
        let idle = used.and_then(|used| smallest(&[&taken[..], used].concat()));
        // A table without a stated size is as large as the runs let it be.
        let is_enough = |run: &Table| !matches!(claim, Claim::Stated(_)) && u64::from(run.pages()) >= FLOOR_PAGES;
        let largest = || Region::free(pages, &taken).into_iter().max_by_key(Table::pages).filter(is_enough);
        let table = match idle {
            // The end of the run: what is left of it stays next to the tables before, which may leave room for more.
            Some(run) if run.pages() > size => run.split(run.pages() - size).map_or(run, |(_, last)| last),
            Some(run) => run,
            None => {
                let run = smallest(&taken).or_else(largest).ok_or(size)?;
                run.split(size).filter(|_| run.pages() > size).map_or(run, |(first, _)| first)
            }
        };
        taken.push(table);
        placed[nth] = table;
    }
    Ok(placed)
}

/// Every table of a plan.
fn in_use(plan: &Plan) -> Vec<Table> {
    let seen_sets = plan.seen_sets.iter().map(|planned| planned.whole);
    let limits = plan.limits.iter().filter_map(|planned| planned.table);
    taken(plan, &seen_sets.chain(limits).map(Some).collect::<Vec<_>>())
}

/// The tables that stay: the counters, those of what is in flight, of statistics, of entries and blocks, and those in
/// `had`.
fn taken(old: &Plan, had: &[Option<Table>]) -> Vec<Table> {
    let Capacity { counts, permits, .. } = &old.in_flight;
    let held = counts.iter().map(|counts| counts.table).chain(permits.table);
    let access = old.access.iter().flat_map(|AccessTables { list, blocks }| [list.table, blocks.table]);
    held.chain(access).chain([old.stats.table, Table::COUNTERS]).chain(had.iter().flatten().copied()).collect()
}

/// The identities with the places that they have, and the layout of the statistics for them. If there are more
/// identities than the layout has room for, the places and the layout are made again.
fn identities(old: &Plan, policy: &Policy) -> Result<(Vec<PlannedIdentity>, Layout), PolicyError> {
    let layout = old.stats.layout;
    let unasked =
        |known: &PlannedIdentity| PlannedIdentity { at: Stages::default(), needed_by: LimitSet::EMPTY, ..*known };
    let all = with_places(old.identities.iter().map(unasked).collect(), policy);
    if all.len() <= layout.identities {
        return Ok((all, layout));
    }
    let all = with_places(Vec::new(), policy);
    let table = old.stats.table.bytes();
    let layouts = Layout::choices(u64::MAX, all.len()).find(|layout| layout.bytes() <= table);
    let found = format!("limits on {} identities", all.len());
    let most = layout.identities;
    let allowed = || format!("on at most {most} in this memory; a restart makes room for more");
    layouts.map(|layout| (all, layout)).ok_or_else(|| policy.error(None, "limit", found, allowed()))
}

/// What is in flight, with the numbers of `policy`, over the tables that there are.
fn capacity(old: &Plan, policy: &Policy) -> Result<Capacity, PolicyError> {
    let mut capacity = old.in_flight.clone();
    for limit in &policy.limits {
        let Rule::InFlight { cap, share, reserve, .. } = &limit.rule else { continue };
        let place = held_place(&old.in_flight_limits, limit).ok_or_else(|| {
            let found = "a new limit on what is in flight, or one that counts something else than at the start";
            let allowed = "those of the start, with the same name, per, count and share.per; \
                           a restart makes tables for others";
            policy.error(Some(limit), "in_flight", found.into(), allowed.into())
        })?;
        let held = &mut capacity.limits[place];
        (held.cap, held.reserve) = (*cap, *reserve);
        (held.first, held.largest) = (limit.rule.first(limit.count), limit.rule.largest(limit.count));
        held.tiers.iter_mut().zip(share).for_each(|(held, tier)| held.part = tier.of_free);
    }
    Ok(capacity)
}
