//! Compiles another policy over a region in use. A limit that did not change keeps its table and its counts; a new
//! limit takes pages that another limit has released.
//!
//! ```text
//!  old plan ── what stays ──> between: the limits that are in both policies, where they are
//!  between  ── the rest ────> then:    new limits in free pages, which are emptied while `between` runs
//! ```
//!
//! Permits outlive a policy, so their tables stay: an in-flight limit can be taken out, put back and given other
//! numbers, but a new one needs tables that only a start can make.
//!
//! This module knows no lock. Invariant: a plan's tables never overlap, and a limit that stays has the table that it
//! had.

use std::cmp::Reverse;

use super::memory::{Claim, Draft, FLOOR_PAGES, HEADER_PAGES, SPARE, SeenSetClaim, TableShares};
use super::memory::{held_place, share_out};
use super::{AccessTables, Ask, LimitSet, NO_TABLE, Plan, PlannedIdentity, QuotaIndex, with_places};
use crate::policy::{Limit, Policy, Quota, Rule, Share, Stages};
use crate::region::{PAGE_BYTES, Region, Table};
use crate::store::in_flight::Capacity;
use crate::{error::PolicyError, identity::SuffixList, key::Secret, stats::Layout};

/// One step from a plan to the next.
#[derive(Debug)]
pub struct Step {
    /// The next plan.
    pub plan: Plan,
    /// Its tables that the plan before does not use; they are emptied first.
    pub fresh: Vec<Table>,
    /// For each of its limits the place under the plan before, if it was there.
    pub from: Vec<Option<usize>>,
}

/// The steps from `old` to `policy`, in a region of so many pages: one if nothing is new, else two.
///
/// # Errors
/// A rate, a quota or a block that `compile` refuses too, new limits that do not fit into the free pages, a new
/// in-flight limit, or more identities than the statistics have room for.
pub fn recompile(
    old: &Plan, pages: u32, policy: &Policy, suffixes: &SuffixList, secret: &Secret,
) -> Result<Vec<Step>, PolicyError> {
    super::compile::check_blocks(policy, u64::from(pages) * PAGE_BYTES)?;
    let stays = what_stays(old, policy);
    let builder = PlanBuilder { pages, first: old, suffixes, secret };
    let mut between = builder.build(old, &stays)?;
    let then = builder.build(&between.plan, policy)?;
    if then.fresh.is_empty() {
        return Ok(vec![builder.build(old, policy)?]);
    }
    exempt_pending_quotas(&mut between.plan, &then.plan);
    if then.fresh.contains(&between.plan.stats.table) {
        between.plan.stats.pause();
    }
    Ok(vec![between, then])
}

/// Exempts keys whose quota is pending until it is in place.
fn exempt_pending_quotas(between: &mut Plan, then: &Plan) {
    for (planned, ask) in between.limits[..between.stated].iter_mut().zip(&mut between.asks) {
        let next = then.limits[..then.stated].iter().find(|next| next.name == planned.name);
        let pending = next.into_iter().flat_map(|next| next.quotas.pairs()).map(|(key, _)| (key, NO_TABLE));
        let mut pairs = planned.quotas.pairs();
        pairs.extend(pending.filter(|(key, _)| planned.quotas.rank(*key).is_none()));
        planned.quotas = QuotaIndex::new(&pairs);
        *ask = Ask::of(planned);
    }
}

/// The limits and quotas of `policy` that have a table under `old`.
fn what_stays(old: &Plan, policy: &Policy) -> Policy {
    let stays = |limit: &&Limit| limit.is_in_flight() || place_before(old, limit, None).is_some();
    let mut limits: Vec<Limit> = policy.limits.iter().filter(stays).cloned().collect();
    for limit in &mut limits {
        // How many values share the numbers does not matter: a table that does not fit them all is made anew.
        let is_there = |quota: &Quota| {
            old.limits.iter().enumerate().any(|(place, planned)| {
                *planned.name == *limit.name
                    && old.quota(place).is_some_and(|was| (was.rate, was.burst) == (quota.rate, quota.burst))
            })
        };
        let quotas = std::mem::take(&mut limit.quotas);
        limit.quotas = quotas.into_iter().filter(is_there).collect();
    }
    Policy { limits, ..policy.clone() }
}

/// The place under `old` of a limit, or of a limit with the numbers of a quota, that counts the same in the same way.
fn place_before(old: &Plan, limit: &Limit, quota: Option<&Quota>) -> Option<usize> {
    let numbers = |limit: &Limit| (limit.count, limit.algorithm, limit.when_full, limit.memory);
    let is_same = |place: &usize| {
        let was = &old.limits[*place].limit;
        let is_same_rule = (&was.name, &was.per, &was.rule) == (&limit.name, &limit.per, &limit.rule);
        is_same_rule && numbers(was) == numbers(limit) && old.quota(*place).is_some() == quota.is_some()
    };
    (0..old.limits.len()).find(is_same)
}

/// Builds plans over a region in use.
struct PlanBuilder<'g> {
    pages: u32,
    /// The plan at first. Its seen sets stay, even while no limit asks them.
    first: &'g Plan,
    suffixes: &'g SuffixList,
    secret: &'g Secret,
}

impl PlanBuilder<'_> {
    fn build(&self, old: &Plan, policy: &Policy) -> Result<Step, PolicyError> {
        let mut draft = Draft::of(policy, self.suffixes, self.secret)?;
        let capacity = capacity(old, policy)?;
        let (identities, layout) = identities(old, policy)?;
        draft.identities = identities;
        let from = draft.limits.iter().map(|drafted| place_before(old, &drafted.limit, drafted.quota()));
        let from: Vec<Option<usize>> = from.collect();
        let rated = draft.limits.iter().zip(&from).filter(|(drafted, _)| !drafted.limit.is_in_flight());
        let rates = rated.map(|(_, from)| from.and_then(|from| old.limits[from].table));
        let seen_sets = draft.seen_sets.iter().map(|claim| self.seen_set(claim));
        let had: Vec<_> = seen_sets.chain(rates).collect();
        let (mut seen_sets, mut fresh) = self.fill(&draft, old, &had)?;
        let stats = old.stats.table;
        if layout != old.stats.layout {
            fresh.push(stats);
        }
        let rates = seen_sets.split_off(draft.seen_sets.len());
        let (access, in_flight_limits) = (old.access, old.in_flight_limits.clone());
        let shares = TableShares { access, capacity, in_flight_limits, seen_sets, rates, stats, layout };
        Ok(Step { plan: draft.build(shares)?, fresh, from })
    }

    /// The table of a seen set that the first plan has.
    fn seen_set(&self, claim: &SeenSetClaim) -> Option<Table> {
        let asks = self.first.limits[..self.first.stated].iter().find(|planned| claim.is_of(&planned.limit))?;
        Some(self.first.seen_sets[asks.store.seen_set()?].set.table)
    }

    /// Returns a table for each claim, and the new tables. A claim keeps its old table, or gets free pages.
    fn fill(&self, draft: &Draft, old: &Plan, had: &[Option<Table>]) -> Result<(Vec<Table>, Vec<Table>), PolicyError> {
        let mut free = Region::free(self.pages, &taken(old, had));
        let spare = u64::from(self.pages) * PAGE_BYTES / SPARE;
        let new = draft.claims().zip(had).filter(|(_, had)| had.is_none());
        let new: Vec<Claim> = new.map(|(claim, _)| claim).collect();
        let left: u64 = free.iter().map(Table::bytes).sum();
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
        let mut order: Vec<usize> = (0..new.len()).collect();
        order.sort_by_key(|&place| Reverse(sizes[place]));
        let mut fresh = vec![Table::HEADER; new.len()];
        for place in order {
            let size = sizes[place];
            let runs = || free.iter().enumerate();
            // A table without a stated size is as large as the runs let it be.
            let is_open = !matches!(new[place], Claim::Stated(_));
            let is_enough = |(_, run): &(usize, &Table)| is_open && u64::from(run.pages()) >= FLOOR_PAGES;
            let largest = || runs().max_by_key(|(_, run)| run.pages()).filter(is_enough);
            let smallest = runs().filter(|(_, run)| run.pages() >= size).min_by_key(|(_, run)| run.pages());
            let (run, _) = smallest.or_else(largest).ok_or_else(|| too_little(u64::from(size) * PAGE_BYTES))?;
            let whole = free.swap_remove(run);
            let (table, rest) = whole.split(size).filter(|_| whole.pages() > size).unzip();
            free.extend(rest);
            fresh[place] = table.unwrap_or(whole);
        }
        let mut next = fresh.iter().copied();
        let tables = had.iter().filter_map(|had| had.or_else(|| next.next())).collect();
        Ok((tables, fresh))
    }
}

/// The tables that stay: those of what is in flight, of statistics, of entries and blocks, and those in `had`.
fn taken(old: &Plan, had: &[Option<Table>]) -> Vec<Table> {
    let Capacity { counts, permits, .. } = &old.in_flight;
    let held = counts.iter().map(|counts| counts.table).chain(permits.table);
    let access = old.access.iter().flat_map(|AccessTables { list, blocks }| [list.table, blocks.table]);
    held.chain(access).chain([old.stats.table]).chain(had.iter().flatten().copied()).collect()
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
        let Rule::InFlight { cap, share } = &limit.rule else { continue };
        let place = held_place(&old.in_flight_limits, limit).ok_or_else(|| {
            let found = "a new limit on what is in flight, or one that counts something else than at the start";
            let allowed = "those of the start, with the same name, per, count and share.per; \
                           a restart makes tables for others";
            policy.error(Some(limit), "in_flight", found.into(), allowed.into())
        })?;
        let held = &mut capacity.limits[place];
        held.cap = *cap;
        held.share = held.share.zip(share.as_ref()).map(|((place, _), Share { of_free, .. })| (place, *of_free));
    }
    Ok(capacity)
}
