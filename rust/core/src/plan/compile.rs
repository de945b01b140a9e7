//! Limits to stores: the plan, over a region that it fits into.
//!
//! A new kind of limit is one arm of [`store`] and one file in `store/`. Knows no TOML, nor how memory is shared out:
//! that is `allocate`.

use std::sync::Arc;

use super::in_flight::InFlightTables;
use super::memory::{LEAST_WITH_ACCESS, SeenSetClaim, TableShares, allocate, seen_set_key};
use super::quotas::{MAX_QUOTAS, PlannedQuota, quotas};
use super::{
    Applicable, Ask, BlockRule, Places, Plan, PlannedCounts, PlannedIdentity, PlannedLimit, PlannedSeenSet,
    TrustSource, place,
};
use crate::error::PolicyError;
use crate::identity::{Identity, Source, SuffixList};
use crate::key::Secret;
use crate::policy::joined_name;
use crate::policy::{Count, Limit, MAX_LIMITS, Mode, Policy, Rate, Rule, Stage, Stages};
use crate::region::{COUNTERS, Region, Table};
use crate::reply::Reply;
use crate::stats::Stats;
use crate::store::Store;
use crate::store::distinct::Distinct;
use crate::store::fan_out::FanOut;
use crate::store::in_flight::COUNTS;
use crate::store::in_flight::Capacity;
use crate::store::rate_counter::RateCounter;
use crate::store::seen_set::SeenSet;

/// An element that came back this long after it was first seen is not evicted for one that did not, unless `settle`
/// says otherwise. One hour.
const COMEBACK_US: u64 = 3_600_000_000;

/// Different elements at once, at most: then a charge is a whole tick.
const MOST_DISTINCT: u64 = 1 << 23;

const _: () = assert!(MAX_LIMITS + MAX_QUOTAS <= COUNTERS);

// A limit has a bit and a word among the permits.
const _: () = assert!(MAX_LIMITS <= COUNTS && COUNTS <= u64::BITS as usize);

/// Compiles `policy` into at most `memory_bytes`, with at most `max_open` permits.
///
/// # Errors
/// A budget too small for the policy, a rate that no clock can keep, a quota for a value that nothing can have.
pub fn compile(
    policy: &Policy,
    memory_bytes: u64,
    max_open: u32,
    suffixes: &SuffixList,
    secret: &Secret,
) -> Result<(Plan, Region), PolicyError> {
    let blocks = policy.limits.iter().find(|limit| limit.action.block_us().is_some());
    if let Some(limit) = blocks.filter(|_| memory_bytes < LEAST_WITH_ACCESS) {
        return Err(no_room_for_blocks(policy, limit, memory_bytes));
    }
    let quotas = quotas(policy, suffixes, secret)?;
    let in_flight = InFlightTables::of(policy, max_open);
    let wanted = SeenSetClaim::of(&policy.limits);
    let (region, held, shares) = allocate(policy, &wanted, &quotas, &in_flight, memory_bytes)?;
    let places = in_flight.places();
    let limits = policy.limits.iter().filter(|limit| limit.is_in_flight()).cloned().collect();
    let open = InFlightPlan {
        count_keys: in_flight.count_keys(),
        capacity: in_flight.capacity(&held),
        places,
        in_flight_limits: limits,
    };
    Ok((build(policy, &quotas, &wanted, shares, open, Vec::new(), secret)?, region))
}

/// What is open, before its identities have places.
pub(super) struct InFlightPlan {
    /// What each tally counts by.
    pub(super) count_keys: Vec<Vec<Identity>>,
    pub(super) capacity: Capacity,
    /// Of each in-flight limit of the policy its place in the capacity.
    pub(super) places: Vec<usize>,
    /// The limits of the capacity, as they were when it was made.
    pub(super) in_flight_limits: Vec<Limit>,
}

/// The plan, in tables that are there. `identities` have a place already, whether or not a limit needs them still.
pub(super) fn build(
    policy: &Policy,
    quotas: &[PlannedQuota],
    wanted: &[SeenSetClaim],
    shares: TableShares,
    open: InFlightPlan,
    mut identities: Vec<PlannedIdentity>,
    secret: &Secret,
) -> Result<Plan, PolicyError> {
    let TableShares { layout, access, seen_sets: seen_set_tables, rate_tables, observed } = shares;
    let InFlightPlan { count_keys, capacity, places, in_flight_limits } = open;
    let mut seen_sets = Vec::new();
    for (wanted, table) in wanted.iter().zip(seen_set_tables) {
        seen_sets.push(seen_set(policy, wanted, table, &mut identities)?);
    }
    let (mut limits, mut rate_tables, mut places): (Vec<PlannedLimit>, _, _) =
        (Vec::new(), rate_tables.into_iter(), places.into_iter());
    let stated = policy.limits.iter().enumerate();
    for (of, limit) in stated.chain(quotas.iter().map(|quota| (quota.of, &quota.limit))) {
        let per = limit.per.iter().map(|&identity| place(&mut identities, identity)).collect();
        let rated = limit.rule.rate_and_burst().and_then(|rate| Some((rate, rate_tables.next()?)));
        let table = rated.map(|(_, table)| table);
        let store = match rated {
            Some((rate, table)) => store(policy, limit, rate, table, wanted, &seen_sets)?,
            None => Store::InFlight(places.next().unwrap_or_default()),
        };
        let distinct = limit.distinct().map(|identity| place(&mut identities, identity));
        limits.push(PlannedLimit { table, distinct, ..planned(limit, of as u16, per, store, secret) });
    }
    for (place, quota) in (policy.limits.len()..).zip(quotas) {
        limits[quota.of].quotas.extend(quota.keys.iter().map(|key| (*key, place as u16)));
    }
    for planned in &mut limits {
        planned.quotas.sort_unstable_by_key(|(key, _)| *key);
    }
    let count_keys = count_keys.iter().map(|per| counts(&mut identities, per)).collect();
    ask_at(&mut identities, &limits);
    let stats = Stats::new(observed, layout, elements(&identities, &limits));
    let (stated, capped_by) = (policy.limits.len(), capped_by(&limits, capacity.limits.len()));
    let applicable = Applicable::new(&limits[..stated]);
    let asks = limits.iter().map(Ask::of).collect();
    Ok(Plan {
        identities,
        limits,
        asks,
        stated,
        applicable,
        seen_sets,
        stats,
        in_flight: capacity,
        in_flight_limits,
        capped_by,
        access,
        count_keys,
    })
}

/// What counts of what is in flight count by.
fn counts(identities: &mut Vec<PlannedIdentity>, per: &[Identity]) -> PlannedCounts {
    PlannedCounts {
        per: per.iter().map(|&identity| place(identities, identity)).collect(),
        trust_source: TrustSource::of(per.iter().copied()),
        per_name: joined_name(per),
    }
}

/// A limit with its store; its quotas are found when all are planned.
fn planned(limit: &Limit, of: u16, per: Places, store: Store, secret: &Secret) -> PlannedLimit {
    let stage = limit.stage();
    let own = Stages::default().with(stage);
    let is_declared = limit.count == Count::Bytes && !limit.is_in_flight();
    PlannedLimit {
        limit: limit.clone(),
        stage,
        asked_at: if is_declared { own.with(Stage::Mail) } else { own },
        name: limit.name.as_str().into(),
        per_name: limit.per_name().into(),
        reply: reply_of(limit, stage),
        template: limit.reply.clone().map(Arc::new),
        block_rule: block_rule(limit, secret),
        per,
        trust_source: TrustSource::of(limit.identities()),
        store,
        distinct: None,
        table: None,
        since: 0,
        of,
        quotas: Vec::new(),
    }
}

/// The kind of reply for a refusal by `limit`, which runs at `stage`.
fn reply_of(limit: &Limit, stage: Stage) -> Reply {
    let mailbox = limit.per.iter().any(|identity| identity.source() == Source::Rcpt);
    // A limit of the whole server is capacity, except a limit of recipients: the client can send fewer at once.
    let is_global = limit.per.iter().all(|identity| *identity == Identity::Global);
    let is_capacity = limit.is_in_flight() || is_global && limit.count != Count::Recipients;
    match stage {
        Stage::Connect | Stage::Helo if limit.is_in_flight() => Reply::Crowded,
        Stage::Connect | Stage::Helo => Reply::Closing,
        _ if matches!(limit.rule, Rule::Distinct { .. }) => Reply::Spread,
        _ if limit.is_fan_out() => Reply::Flood,
        _ if is_capacity && limit.count == Count::Bytes => Reply::Buffer,
        _ if is_capacity => Reply::Capacity,
        Stage::Rcpt if mailbox => Reply::Mailbox,
        Stage::Rcpt => Reply::Recipients,
        _ if limit.count == Count::Bytes => Reply::Octets,
        _ => Reply::TooFast,
    }
}

/// What a limit blocks by: in shadow mode it blocks nothing.
fn block_rule(limit: &Limit, secret: &Secret) -> Option<BlockRule> {
    let us = limit.action.block_us().filter(|_| limit.mode == Mode::Enforce)?;
    let named = format!("{} per {}", limit.name, limit.per_name());
    let from = limit.per.iter().map(|identity| identity.stage()).max().unwrap_or(Stage::Connect);
    Some(BlockRule { us, key: secret.text(named.as_bytes()), from })
}

/// For each of so many limits of the capacity its place among all, if it is there still.
fn capped_by(limits: &[PlannedLimit], count: usize) -> Vec<Option<u16>> {
    let mut capped_by = vec![None; count];
    for planned in limits {
        if let Store::InFlight(place) = planned.store {
            capped_by[place] = Some(planned.of);
        }
    }
    capped_by
}

/// When each identity is hashed.
fn ask_at(identities: &mut Vec<PlannedIdentity>, limits: &[PlannedLimit]) {
    for planned in limits {
        // Of what is open there is one count of all, without a key.
        let is_hashed = |identity: &Identity| !(planned.limit.is_in_flight() && *identity == Identity::Global);
        for identity in planned.limit.identities().filter(is_hashed) {
            let at = usize::from(place(identities, identity));
            if !planned.limit.is_in_flight() {
                identities[at].needed_by.insert(planned.of);
            }
            identities[at].at = identities[at].at.union(planned.asked_at);
        }
    }
}

/// For each identity the place of what the first fan-out per it alone counts.
fn elements(identities: &[PlannedIdentity], limits: &[PlannedLimit]) -> Box<[Option<usize>]> {
    let of = |place| {
        let mut fan_outs = limits.iter().filter(|planned| planned.per[..] == [place as u16]);
        let distinct = fan_outs.find_map(|planned| planned.limit.distinct())?;
        identities.iter().position(|needed| needed.identity == distinct)
    };
    (0..identities.len()).map(of).collect()
}

fn seen_set(
    policy: &Policy,
    wanted: &SeenSetClaim,
    table: Table,
    identities: &mut Vec<PlannedIdentity>,
) -> Result<PlannedSeenSet, PolicyError> {
    let SeenSetClaim { seen_set_key, settle_us } = wanted;
    let comeback_us = settle_us.unwrap_or(COMEBACK_US.min(seen_set_key.remember_us / 2));
    let set = SeenSet::new(table, seen_set_key.remember_us, comeback_us);
    let set = set.ok_or_else(|| too_fine(policy, None, "remember"))?;
    let distinct = place(identities, seen_set_key.distinct).into();
    let is_equal = |per: &&Identity| per.is_name() && seen_set_key.distinct.is_name();
    let equals = seen_set_key.per.iter().filter(is_equal).map(|&per| self::place(identities, per)).collect();
    let is_of_sender = seen_set_key.distinct.source() == Source::Sender;
    Ok(PlannedSeenSet { set, distinct, is_of_sender, equals, has_ladder: settle_us.is_some() })
}

fn store(
    policy: &Policy,
    limit: &Limit,
    (rate, burst): (Rate, u64),
    table: Table,
    wanted: &[SeenSetClaim],
    seen_sets: &[PlannedSeenSet],
) -> Result<Store, PolicyError> {
    if let Rule::Distinct { .. } = limit.rule {
        let buckets = Distinct::new(table, rate, burst, limit.when_full);
        return Ok(Store::Distinct(buckets.ok_or_else(|| too_many(policy, limit, rate, burst))?));
    }
    let buckets = RateCounter::new(table, limit.algorithm, rate, burst, limit.when_full);
    let buckets = buckets.ok_or_else(|| too_fine(policy, Some(limit), "rate"))?;
    let Some((seen_set_key, settle_us)) = seen_set_key(limit) else { return Ok(Store::Rate(buckets)) };
    let place = wanted.iter().position(|claim| claim.seen_set_key == seen_set_key).unwrap_or_default();
    Ok(Store::FanOut(FanOut::new(seen_sets[place].set, place, buckets, settle_us)))
}

fn no_room_for_blocks(policy: &Policy, limit: &Limit, memory_bytes: u64) -> PolicyError {
    let found = format!("{:?} in {memory_bytes} bytes of memory", limit.action.text());
    wrong(policy, Some(limit), "action", found, format!("blocks in at least {LEAST_WITH_ACCESS} bytes"))
}

fn too_many(policy: &Policy, limit: &Limit, rate: Rate, burst: u64) -> PolicyError {
    let field = if burst > MOST_DISTINCT { "burst" } else { "rate" };
    let found = format!("{} different elements, {burst} at once", rate.amount);
    let allowed = format!("at most {MOST_DISTINCT} at once, and eight million a second, beside refuse = \"all\"");
    wrong(policy, Some(limit), field, found, allowed)
}

fn too_fine(policy: &Policy, limit: Option<&Limit>, field: &str) -> PolicyError {
    let found = "more than a clock of microseconds can keep".into();
    let allowed = "at most eight million a second, with a burst of at least 1/8,000,000 of a second's amount".into();
    wrong(policy, limit, field, found, allowed)
}

fn wrong(policy: &Policy, limit: Option<&Limit>, field: &str, found: String, allowed: String) -> PolicyError {
    PolicyError {
        file: limit.and_then(|limit| limit.file.as_ref()).unwrap_or(&policy.file).clone(),
        line: limit.and_then(|limit| limit.line),
        limit: limit.map(|limit| limit.name.clone()),
        field: Some(field.into()),
        found,
        allowed,
        ..PolicyError::default()
    }
}
