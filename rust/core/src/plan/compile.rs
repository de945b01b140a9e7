//! Limits to stores: the plan, over a region that it fits into.
//!
//! A new kind of limit is one arm of [`store`] and one file in `store/`. Knows no TOML, nor how memory is shared out: that is `allocate`.

use std::sync::Arc;

use super::holdings::Holdings;
use super::memory::{LEAST_MARKED, Shares, Wanted, allocate, sharing};
use super::plan::{Blocking, Memory, Needed, Plan, Planned, Store, Tallied, TrustSource};
use super::quotas::{MAX_QUOTAS, Named, quotas};
use crate::error::PolicyError;
use crate::identity::{Identity, Source, SuffixList};
use crate::key::{Head, Secret};
use crate::policy::limit::{joined_name, stage_of};
use crate::policy::{Count, Limit, MAX_LIMITS, Mode, Policy, Rate, Rule, Stage, Stages};
use crate::region::{COUNTERS, Region, Table};
use crate::reply::Reply;
use crate::stats::Stats;
use crate::store::distinct::Distinct;
use crate::store::fan_out::FanOut;
use crate::store::in_flight::Capacity;
use crate::store::permits::COUNTS;
use crate::store::rate_counter::RateCounter;
use crate::store::seen_set::SeenSet;

/// An element that came back this long after it was first seen is not evicted for one that did not, unless `settle` says otherwise. One hour.
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
    if let Some(limit) = blocks.filter(|_| memory_bytes < LEAST_MARKED) {
        return Err(no_room_for_blocks(policy, limit, memory_bytes));
    }
    let quotas = quotas(policy, suffixes, secret)?;
    let holdings = Holdings::of(policy, max_open);
    let wanted = Wanted::of(&policy.limits);
    let (region, held, shares) = allocate(policy, &wanted, &quotas, &holdings, memory_bytes)?;
    let places = holdings.places();
    let limits = policy.limits.iter().filter(|limit| limit.is_in_flight()).cloned().collect();
    let open = Open { tallied: holdings.tallied(), capacity: holdings.capacity(&held), places, held: limits };
    Ok((draw(policy, &quotas, &wanted, shares, open, Vec::new(), secret)?, region))
}

/// What is open, before its identities have places.
pub(super) struct Open {
    /// What each tally counts by.
    pub(super) tallied: Vec<Vec<Identity>>,
    pub(super) capacity: Capacity,
    /// Of each in-flight limit of the policy its place in the capacity.
    pub(super) places: Vec<usize>,
    /// The limits of the capacity, as they were when it was made.
    pub(super) held: Vec<Limit>,
}

/// The plan, in tables that are there. `identities` have a place already, whether or not a limit needs them still.
pub(super) fn draw(
    policy: &Policy,
    quotas: &[Named],
    wanted: &[Wanted],
    shares: Shares,
    open: Open,
    mut identities: Vec<Needed>,
    secret: &Secret,
) -> Result<Plan, PolicyError> {
    let Shares { layout, marked, memories: memory_tables, paces, observed } = shares;
    let Open { tallied, capacity, places, held } = open;
    let mut memories = Vec::new();
    for (wanted, table) in wanted.iter().zip(memory_tables) {
        memories.push(memory(policy, wanted, table, &mut identities)?);
    }
    let (mut limits, mut paces, mut places): (Vec<Planned>, _, _) = (Vec::new(), paces.into_iter(), places.into_iter());
    let stated = policy.limits.iter().enumerate();
    for (of, limit) in stated.chain(quotas.iter().map(|quota| (quota.of, &quota.limit))) {
        let per = limit.per.iter().map(|&identity| place(&mut identities, identity)).collect();
        let paced = limit.rule.rate_and_burst().and_then(|pace| Some((pace, paces.next()?)));
        let table = paced.map(|(_, table)| table);
        let store = match paced {
            Some((pace, table)) => store(policy, limit, pace, table, wanted, &memories, &mut identities)?,
            None => Store::InFlight(places.next().unwrap_or_default()),
        };
        limits.push(Planned { table, ..planned(limit, of as u16, per, store, secret) });
    }
    for (place, quota) in (policy.limits.len()..).zip(quotas) {
        limits[quota.of].quotas.extend(quota.keys.iter().map(|key| (*key, place as u16)));
    }
    for planned in &mut limits {
        planned.quotas.sort_unstable_by_key(|(key, _)| *key);
    }
    let tallied = tallied.iter().map(|per| tally(&mut identities, per)).collect();
    ask_at(&mut identities, &limits);
    let sources = Stage::ALL.map(|stage| {
        let run = limits.iter().filter(|planned| planned.asked_at.has(stage));
        run.fold(Default::default(), |all, planned| planned.sources(all))
    });
    let observer = Stats::new(observed, layout, elements(&identities, &limits));
    let (stated, capped) = (policy.limits.len(), capped(&limits, capacity.limits.len()));
    Ok(Plan { identities, limits, stated, memories, observer, capacity, held, capped, marked, tallied, sources })
}

/// What a tally counts by.
fn tally(identities: &mut Vec<Needed>, per: &[Identity]) -> Tallied {
    Tallied {
        per: per.iter().map(|&identity| place(identities, identity)).collect(),
        standing: TrustSource::of(per.iter().copied()),
        per_name: joined_name(per),
    }
}

/// A limit with its store; its quotas are found when all are planned.
fn planned(limit: &Limit, of: u16, per: Box<[usize]>, store: Store, secret: &Secret) -> Planned {
    let stage = limit.stage();
    let own = Stages::default().with(stage);
    let is_declared = limit.count == Count::Bytes && !limit.is_in_flight();
    Planned {
        limit: limit.clone(),
        stage,
        asked_at: if is_declared { own.with(Stage::Mail) } else { own },
        name: limit.name.as_str().into(),
        per_name: limit.per_name().into(),
        reply: reply_of(limit, stage),
        template: limit.reply.clone().map(Arc::new),
        blocking: blocking(limit, secret),
        per,
        standing: TrustSource::of(limit.identities()),
        store,
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
fn blocking(limit: &Limit, secret: &Secret) -> Option<Blocking> {
    let us = limit.action.block_us().filter(|_| limit.mode == Mode::Enforce)?;
    let named = format!("{} per {}", limit.name, limit.per_name());
    let from = limit.per.iter().map(|identity| stage_of(*identity)).max().unwrap_or(Stage::Connect);
    Some(Blocking { us, key: secret.text(named.as_bytes()), from })
}

/// For each of so many limits of the capacity its place among all, if it is there still.
fn capped(limits: &[Planned], count: usize) -> Vec<Option<u16>> {
    let mut capped = vec![None; count];
    for planned in limits {
        if let Store::InFlight(place) = planned.store {
            capped[place] = Some(planned.of);
        }
    }
    capped
}

/// When each identity is hashed.
fn ask_at(identities: &mut Vec<Needed>, limits: &[Planned]) {
    for planned in limits {
        // Of what is open there is one count of all, without a key.
        let is_hashed = |identity: &Identity| !(planned.limit.is_in_flight() && *identity == Identity::Global);
        for identity in planned.limit.identities().filter(is_hashed) {
            let at = place(identities, identity);
            identities[at].at = identities[at].at.and(planned.asked_at);
        }
    }
}

/// For each identity the place of what the first fan-out per it alone counts.
fn elements(identities: &[Needed], limits: &[Planned]) -> Box<[Option<usize>]> {
    let of = |place| {
        let mut fan_outs = limits.iter().filter(|planned| planned.per[..] == [place]);
        let distinct = fan_outs.find_map(|planned| planned.limit.distinct())?;
        identities.iter().position(|needed| needed.identity == distinct)
    };
    (0..identities.len()).map(of).collect()
}

fn memory(policy: &Policy, wanted: &Wanted, table: Table, identities: &mut Vec<Needed>) -> Result<Memory, PolicyError> {
    let Wanted { sharing, settle_us } = wanted;
    let comeback_us = settle_us.unwrap_or(COMEBACK_US.min(sharing.remember_us / 2));
    let known = SeenSet::new(table, sharing.remember_us, comeback_us);
    let known = known.ok_or_else(|| too_fine(policy, None, "remember"))?;
    let distinct = place(identities, sharing.distinct);
    let equals = sharing.per.iter().copied().filter(|per| per.is_name() && sharing.distinct.is_name()).collect();
    Ok(Memory { known, distinct, equals, ladder: settle_us.is_some() })
}

fn store(
    policy: &Policy,
    limit: &Limit,
    (rate, burst): (Rate, u64),
    table: Table,
    wanted: &[Wanted],
    memories: &[Memory],
    identities: &mut Vec<Needed>,
) -> Result<Store, PolicyError> {
    if let Rule::Distinct { distinct, .. } = limit.rule {
        let buckets = Distinct::new(table, rate, burst, limit.when_full);
        let buckets = buckets.ok_or_else(|| too_many(policy, limit, rate, burst))?;
        return Ok(Store::Distinct { buckets, distinct: place(identities, distinct) });
    }
    let buckets = RateCounter::new(table, limit.algorithm, rate, burst, limit.when_full);
    let buckets = buckets.ok_or_else(|| too_fine(policy, Some(limit), "rate"))?;
    let Some((sharing, settle_us)) = sharing(limit) else { return Ok(Store::Rate(buckets)) };
    let memory = wanted.iter().position(|memory| memory.sharing == sharing).unwrap_or_default();
    Ok(Store::FanOut { fan_out: FanOut::new(memories[memory].known, buckets, settle_us), memory })
}

pub(super) fn place(identities: &mut Vec<Needed>, identity: Identity) -> usize {
    identities.iter().position(|known| known.identity == identity).unwrap_or_else(|| {
        identities.push(Needed { identity, head: Head::of(identity), at: Stages::default() });
        identities.len() - 1
    })
}

fn no_room_for_blocks(policy: &Policy, limit: &Limit, memory_bytes: u64) -> PolicyError {
    let found = format!("{:?} in {memory_bytes} bytes of memory", limit.action.text());
    wrong(policy, Some(limit), "action", found, format!("blocks in at least {LEAST_MARKED} bytes"))
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
