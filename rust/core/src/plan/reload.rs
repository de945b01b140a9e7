//! Compiles another policy over a region in use. A limit that did not change keeps its table and its counts; a new
//! limit takes pages that another limit has released.
//!
//! ```text
//!  old plan ── what stays ──> between: the limits that are in both policies, where they are
//!  between  ── the rest ────> then:    new limits in the pages that nobody has, to be emptied while `between` runs
//! ```
//!
//! Permits outlive a policy, so their tables stay: an in-flight limit can be taken out, put back and given other
//! numbers, but a new one needs tables that only a start can make.
//!
//! Knows no lock. Invariant: a plan's tables never overlap, and a limit that stays has the very table that it had.

use super::budget::{Claim, FLOOR_PAGES, HEADER_PAGES, share_out};
use super::compile::{InFlightPlan, build};
use super::memory::{SPARE, SeenSetClaim, TableShares, claims};
use super::quotas::{PlannedQuota, quotas, with_quota};
use super::{AccessTables, LimitSet, NO_TABLE, Plan, PlannedIdentity, PlannedLimit, place};
use crate::error::PolicyError;
use crate::identity::SuffixList;
use crate::key::{Key, Secret};
use crate::policy::Share;
use crate::policy::{Limit, Policy, Rule, Stages};
use crate::region::{PAGE_BYTES, Region, Table};
use crate::stats::Layout;
use crate::store::in_flight::Capacity;

/// One step from a plan to the next.
#[derive(Debug)]
pub struct Step {
    /// The next plan.
    pub plan: Plan,
    /// Its tables that nobody has under the plan before: to be emptied first.
    pub fresh: Vec<Table>,
    /// Of each of its limits the place under the plan before, if it was there.
    pub from: Vec<Option<usize>>,
}

/// The steps from `old` to `policy`, in a region of so many pages: one when nothing is new, else two.
///
/// # Errors
/// What `compile` says of a policy, and one that does not fit into what the limits that were taken out have left.
pub fn recompile(
    old: &Plan,
    pages: u32,
    policy: &Policy,
    suffixes: &SuffixList,
    secret: &Secret,
) -> Result<Vec<Step>, PolicyError> {
    let stays = what_stays(old, policy);
    let builder = PlanBuilder { pages, seen_sets: seen_sets(old), suffixes, secret };
    let mut between = builder.build(old, &stays)?;
    let then = builder.build(&between.plan, policy)?;
    if then.fresh.is_empty() {
        return Ok(vec![builder.build(old, policy)?]);
    }
    leave_out_quotas_to_come(&mut between.plan, &then.plan);
    if then.fresh.contains(between.plan.stats.table()) {
        between.plan.stats.pause();
    }
    Ok(vec![between, then])
}

/// Exempts keys whose quota is pending until it is in place.
fn leave_out_quotas_to_come(between: &mut Plan, then: &Plan) {
    for (planned, ask) in between.limits[..between.stated].iter_mut().zip(&mut between.asks) {
        let next = then.limits[..then.stated].iter().find(|next| next.name == planned.name);
        let to_come = next.into_iter().flat_map(|next| &next.quotas).map(|(key, _)| *key);
        let own: Vec<Key> = planned.quotas.iter().map(|(key, _)| *key).collect();
        planned.quotas.extend(to_come.filter(|key| !own.contains(key)).map(|key| (key, NO_TABLE)));
        planned.quotas.sort_unstable_by_key(|(key, _)| *key);
        ask.quota_bits = super::quota_bits(&planned.quotas);
    }
}

/// The limits and quotas of `policy` that have a table under `old`.
fn what_stays(old: &Plan, policy: &Policy) -> Policy {
    let stays = |limit: &&Limit| limit.is_in_flight() || limit_before(old, limit).is_some();
    let mut limits: Vec<Limit> = policy.limits.iter().filter(stays).cloned().collect();
    for limit in &mut limits {
        let whole = limit.clone();
        limit.quotas.retain(|quota| quota_before(old, &with_quota(&whole, quota)).is_some());
    }
    Policy { limits, ..policy.clone() }
}

/// The place under `old` of a limit that counts the same in the same way.
fn limit_before(old: &Plan, limit: &Limit) -> Option<usize> {
    old.limits[..old.stated].iter().position(|planned| counts_the_same(&planned.limit, limit))
}

/// The same of a limit with the numbers of one quota.
fn quota_before(old: &Plan, limit: &Limit) -> Option<usize> {
    let of = |limit: &Limit| limit.quotas.first().map(|quota| quota.of.clone());
    let is_same = |planned: &PlannedLimit| of(&planned.limit) == of(limit) && counts_the_same(&planned.limit, limit);
    old.limits[old.stated..].iter().position(is_same).map(|place| old.stated + place)
}

fn counts_the_same(was: &Limit, is: &Limit) -> bool {
    let counted = |limit: &Limit| (limit.count, limit.algorithm, limit.when_full, limit.memory);
    (&was.name, &was.per, &was.rule, counted(was)) == (&is.name, &is.per, &is.rule, counted(is))
}

/// The seen_sets of a plan, each with its table.
fn seen_sets(plan: &Plan) -> Vec<(SeenSetClaim, Table)> {
    let wanted = SeenSetClaim::of(plan.limits[..plan.stated].iter().map(|planned| &planned.limit));
    wanted.into_iter().zip(&plan.seen_sets).map(|(wanted, memory)| (wanted, *memory.set.table())).collect()
}

/// What plans are laid on.
struct PlanBuilder<'g> {
    pages: u32,
    /// What is remembered stays, even while no limit asks it.
    seen_sets: Vec<(SeenSetClaim, Table)>,
    suffixes: &'g SuffixList,
    secret: &'g Secret,
}

impl PlanBuilder<'_> {
    fn build(&self, old: &Plan, policy: &Policy) -> Result<Step, PolicyError> {
        let quotas = quotas(policy, self.suffixes, self.secret)?;
        let wanted = SeenSetClaim::of(&policy.limits);
        let open = open(old, policy)?;
        let (identities, layout) = observation(old, policy)?;
        let stated = policy.limits.iter().map(|limit| (limit, limit_before(old, limit)));
        let named = quotas.iter().map(|quota| (&quota.limit, quota_before(old, &quota.limit)));
        let from: Vec<_> = stated.chain(named).collect();
        let rated = from.iter().filter(|(limit, _)| limit.rule.rate_and_burst().is_some());
        let rated = rated.map(|(_, from)| from.and_then(|from| old.limits[from].table));
        let had: Vec<_> = wanted.iter().map(|wanted| self.memory(wanted)).chain(rated).collect();
        let free = Region::free(self.pages, &taken(old, &had));
        let (mut tables, mut fresh) =
            fill(policy, &wanted, &quotas, &had, free, u64::from(self.pages) * PAGE_BYTES / SPARE)?;
        let observed = *old.stats.table();
        if layout != *old.stats.layout() {
            fresh.push(observed);
        }
        let from = from.iter().map(|(_, from)| *from).collect();
        let rate_tables = tables.split_off(wanted.len());
        let shares = TableShares { layout, access: old.access, seen_sets: tables, rate_tables, observed };
        Ok(Step { plan: build(policy, &quotas, &wanted, shares, open, identities, self.secret)?, fresh, from })
    }

    fn memory(&self, wanted: &SeenSetClaim) -> Option<Table> {
        self.seen_sets.iter().find(|(was, _)| was.seen_set_key == wanted.seen_set_key).map(|(_, table)| *table)
    }
}

/// The tables that stay: of what is open, of what is observed, and those that a limit had and has.
fn taken(old: &Plan, had: &[Option<Table>]) -> Vec<Table> {
    let Capacity { counts, permits, .. } = &old.in_flight;
    let held = counts.iter().map(|tally| *tally.table()).chain(permits.table().copied());
    let access = old.access.iter().flat_map(|AccessTables { list, blocks }| [*list.table(), *blocks.table()]);
    held.chain(access).chain([*old.stats.table()]).chain(had.iter().flatten().copied()).collect()
}

/// A table for each claim: that which it had, else one of the free runs. And those that are new.
fn fill(
    policy: &Policy,
    wanted: &[SeenSetClaim],
    quotas: &[PlannedQuota],
    had: &[Option<Table>],
    mut free: Vec<Table>,
    spare: u64,
) -> Result<(Vec<Table>, Vec<Table>), PolicyError> {
    let new = claims(policy, wanted, quotas).zip(had).filter(|(_, had)| had.is_none());
    let new: Vec<Claim> = new.map(|(claim, _)| claim).collect();
    let left: u64 = free.iter().map(Table::bytes).sum();
    let too_little = |least: u64| PolicyError {
        file: policy.file.clone(),
        field: Some("memory".into()),
        found: format!("{} new tables, which need {least} bytes", new.len()),
        allowed: format!(
            "{left} bytes, which the limits that are gone have left; a restart shares the memory out anew"
        ),
        ..PolicyError::default()
    };
    let header = HEADER_PAGES * PAGE_BYTES;
    // The spare is not shared out: who needs it takes what is needed, so that there is some for the next change.
    let shared = share_out((left + header).saturating_sub(spare), &new);
    let sizes = shared.or_else(|least| {
        let fits = least <= left + header;
        share_out(if fits { least } else { left + header }, &new).map_err(|least| too_little(least - header))
    })?;
    let mut order: Vec<usize> = (0..new.len()).collect();
    order.sort_by_key(|&place| std::cmp::Reverse(sizes[place]));
    let mut fresh = vec![None; new.len()];
    for place in order {
        let size = sizes[place];
        let fits = free.iter().enumerate().filter(|(_, run)| run.pages() >= size);
        let largest = || {
            // A share that nobody stated is as large as the runs let it be.
            let is_open = new[place].stated.is_none();
            let run = free.iter().enumerate().max_by_key(|(_, run)| run.pages());
            run.filter(|(_, run)| is_open && u64::from(run.pages()) >= FLOOR_PAGES)
        };
        let run = fits.min_by_key(|(_, run)| run.pages()).or_else(largest).map(|(run, _)| run);
        let run = run.ok_or_else(|| too_little(u64::from(size) * PAGE_BYTES))?;
        let whole = free.swap_remove(run);
        let table = match whole.split(size) {
            Some((table, rest)) if whole.pages() > size => {
                free.push(rest);
                table
            }
            _ => whole,
        };
        fresh[place] = Some(table);
    }
    let fresh: Vec<Table> = fresh.into_iter().flatten().collect();
    let mut next = fresh.iter().copied();
    let tables = had.iter().filter_map(|had| had.or_else(|| next.next())).collect();
    Ok((tables, fresh))
}

/// The identities with the places that they have, and the layout of observation for them; both anew when there are more
/// than it has room for.
fn observation(old: &Plan, policy: &Policy) -> Result<(Vec<PlannedIdentity>, Layout), PolicyError> {
    let layout = *old.stats.layout();
    let unasked =
        |needed: &PlannedIdentity| PlannedIdentity { at: Stages::default(), needed_by: LimitSet::EMPTY, ..*needed };
    let mut identities: Vec<PlannedIdentity> = old.identities.iter().map(unasked).collect();
    let all = || policy.limits.iter().flat_map(Limit::identities);
    for identity in all() {
        place(&mut identities, identity);
    }
    if layout.has_room_for(identities.len()) {
        return Ok((identities, layout));
    }
    let mut anew = Vec::new();
    for identity in all() {
        place(&mut anew, identity);
    }
    let table = old.stats.table().bytes();
    match Layout::choices(u64::MAX, anew.len()).find(|layout| layout.bytes() <= table) {
        Some(layout) => Ok((anew, layout)),
        None => Err(PolicyError {
            file: policy.file.clone(),
            field: Some("limit".into()),
            found: format!("limits on {} identities", anew.len()),
            allowed: format!("on at most {} in this memory; a restart makes room for more", layout.identities()),
            ..PolicyError::default()
        }),
    }
}

/// What is open, with the numbers of `policy`, in the tables that there are.
fn open(old: &Plan, policy: &Policy) -> Result<InFlightPlan, PolicyError> {
    let mut capacity = old.in_flight.clone();
    let mut places = Vec::new();
    for limit in &policy.limits {
        let Rule::InFlight { cap, share } = &limit.rule else { continue };
        let found = old.in_flight_limits.iter().position(|held| holds_the_same(held, limit));
        let at = found.ok_or_else(|| PolicyError {
            file: limit.file.as_ref().unwrap_or(&policy.file).clone(),
            line: limit.line,
            limit: Some(limit.name.clone()),
            field: Some("in_flight".into()),
            found: "a new limit on what is in flight, or one that counts something else than at the start".into(),
            allowed:
                "those of the start, with the same name, per, count and share.per; a restart makes tables for others"
                    .into(),
            ..PolicyError::default()
        })?;
        let held = &mut capacity.limits[at];
        held.cap = *cap;
        held.share = held.share.zip(share.as_ref()).map(|((place, _), Share { of_free, .. })| (place, *of_free));
        places.push(at);
    }
    let count_keys = old.count_keys.iter().map(|count_keys| {
        let identity = |&place: &u16| old.identities[usize::from(place)].identity;
        count_keys.per.iter().map(identity).collect()
    });
    Ok(InFlightPlan {
        count_keys: count_keys.collect(),
        capacity,
        places,
        in_flight_limits: old.in_flight_limits.clone(),
    })
}

/// Whether the counts of one are those of the other.
fn holds_the_same(held: &Limit, limit: &Limit) -> bool {
    (&held.name, &held.per, held.count, held.shared_per()) == (&limit.name, &limit.per, limit.count, limit.shared_per())
}
