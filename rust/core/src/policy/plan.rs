//! The compiled plan: what a check has to read, hash and ask, worked out once.
//!
//! Here limits become stores and get their tables. A new kind of limit is one arm of [`compile`] and one file in `store/`.

use std::sync::Arc;

use smallvec::SmallVec;

use super::budget::{Claim, Half, share_out};
use super::named::{MAX_QUOTAS, Named, quotas};
use super::{Limit, MAX_LIMITS, Policy, Rule, Stage, Stages};
use crate::error::PolicyError;
use crate::identity::{Identity, Source, Sources, SuffixList};
use crate::key::{Key, Secret};
use crate::observe::{Layout, Observer};
use crate::region::{COUNTERS, Region, Table};
use crate::reply::Reply;
use crate::store::distinct::Distinct;
use crate::store::fan_out::FanOut;
use crate::store::known::Known;
use crate::store::pace::Pace;

/// An element that came back this long after it was first seen is not evicted for one that did not, unless `settle` says otherwise. One hour.
const COMEBACK_US: u64 = 3_600_000_000;

/// Different elements at once, at most: then a charge is a whole tick.
const MOST_DISTINCT: u64 = 1 << 23;

/// A key of a fan-out that refuses all takes 14 bytes where one of a bucket takes 8, and its table is half of the share.
const DISTINCT_WEIGHT: u128 = 4;

const _: () = assert!(MAX_LIMITS + MAX_QUOTAS <= COUNTERS);

/// A policy, compiled.
#[derive(Debug)]
pub struct Plan {
    /// Every identity that a limit needs; each is hashed once a check.
    pub identities: Vec<Needed>,
    /// In file order; behind them, each with a table of its own, their quotas.
    pub limits: Vec<Planned>,
    /// How many of `limits` the policy states.
    pub stated: usize,
    /// Memories of known elements.
    pub memories: Vec<Memory>,
    /// What may never refuse.
    pub observer: Observer,
    sources: [Sources; Stage::ALL.len()],
}

/// An identity that a limit needs.
#[derive(Clone, Copy, Debug)]
pub struct Needed {
    /// Which.
    pub identity: Identity,
    /// At which stages.
    pub at: Stages,
}

/// A limit with its store.
#[derive(Debug)]
pub struct Planned {
    /// As the operator wrote it.
    pub limit: Limit,
    /// When it runs.
    pub stage: Stage,
    /// The stages at which it is asked: its own, and for bytes MAIL too, where a SIZE is declared (RFC 1870 §6.1).
    pub asked_at: Stages,
    /// Its name, shared with refusals.
    pub name: Arc<str>,
    /// `client.net/24/48 + sender.org`, likewise.
    pub per_name: Arc<str>,
    /// What a refusal by it is answered with.
    pub reply: Reply,
    /// Its identities, as places in [`Plan::identities`].
    pub per: SmallVec<[usize; 4]>,
    /// Where its class comes from.
    pub standing: Standing,
    /// Where it counts.
    pub store: Store,
    /// Its own place in [`Plan::limits`]; of a quota, that of its limit.
    pub of: u16,
    /// Its quotas: the key of the named value, of no class, and the place in [`Plan::limits`]. By key.
    pub quotas: Vec<(Key, u16)>,
}

/// Where the class of a limit's keys comes from: that of the weakest of its identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// All of them are proven, or have no class.
    Proven,
    /// One of them is always a mere claim.
    Claimed,
    /// The sender's: one class for all of `sender.*`.
    Senders,
}

/// Where a limit counts.
#[derive(Clone, Copy, Debug)]
pub enum Store {
    /// Buckets or windows.
    Rate(Pace),
    /// Buckets over a memory.
    FanOut {
        /// The limit.
        fan_out: FanOut,
        /// Place of the memory in [`Plan::memories`].
        memory: usize,
    },
    /// Buckets that only fresh elements fill.
    Distinct {
        /// The limit.
        buckets: Distinct,
        /// Place of the element's identity in [`Plan::identities`].
        distinct: usize,
    },
}

impl Store {
    /// The buckets that it charges for every message or every element that is new; `None` where there are none such.
    pub fn buckets(&self) -> Option<&Pace> {
        match self {
            Self::Rate(buckets) => Some(buckets),
            Self::FanOut { fan_out, .. } => Some(fan_out.buckets()),
            Self::Distinct { .. } => None,
        }
    }

    /// The memory that it asks.
    pub fn memory(&self) -> Option<usize> {
        match self {
            Self::Rate(_) | Self::Distinct { .. } => None,
            Self::FanOut { memory, .. } => Some(*memory),
        }
    }
}

/// A memory and what it holds.
#[derive(Debug)]
pub struct Memory {
    /// The table.
    pub known: Known,
    /// Place of the element's identity in [`Plan::identities`].
    pub distinct: usize,
    /// Identities of `per` whose value an element may be equal to: then it is never new.
    pub equals: SmallVec<[Identity; 1]>,
    /// Whether parts of names are remembered too: a limit over it has `settle`.
    pub ladder: bool,
}

/// Limits that agree in these share a memory.
#[derive(PartialEq)]
struct Sharing {
    per: Vec<Identity>,
    distinct: Identity,
    remember_us: u64,
    memory: Option<u64>,
}

/// A memory before it has a table.
struct Wanted {
    sharing: Sharing,
    settle_us: Option<u64>,
}

impl Plan {
    /// What of an envelope the limits of `stages` read.
    #[inline]
    pub fn sources(&self, stages: Stages) -> Sources {
        let run = Stage::ALL.into_iter().zip(self.sources).filter(|(stage, _)| stages.has(*stage));
        run.fold(Sources::default(), |all, (_, sources)| all.and(sources))
    }
}

/// Compiles `policy` into at most `memory_bytes`.
///
/// # Errors
/// A budget too small for the policy, a rate that no clock can keep.
pub fn compile(
    policy: &Policy,
    memory_bytes: u64,
    suffixes: &SuffixList,
    secret: &Secret,
) -> Result<(Plan, Region), PolicyError> {
    let wanted = memories(policy);
    let quotas = quotas(policy, suffixes, secret)?;
    let (layout, region, tables) = allocate_with(policy, &wanted, &quotas, memory_bytes)?;
    let (memory_tables, rate_tables) = tables.split_at(wanted.len());
    let mut identities = Vec::new();
    let mut memories = Vec::new();
    for (memory, table) in wanted.iter().zip(memory_tables) {
        let Wanted { sharing, settle_us } = memory;
        let comeback_us = settle_us.unwrap_or(COMEBACK_US.min(sharing.remember_us / 2));
        let known = Known::new(*table, sharing.remember_us, comeback_us);
        let known = known.ok_or_else(|| too_fine(policy, None, "remember"))?;
        let distinct = place(&mut identities, sharing.distinct);
        let names = sharing.per.iter().copied().filter(|per| per.is_name() && sharing.distinct.is_name());
        memories.push(Memory { known, distinct, equals: names.collect(), ladder: settle_us.is_some() });
    }
    let mut limits: Vec<Planned> = Vec::new();
    let own = policy.limits.iter().enumerate();
    let all = own.chain(quotas.iter().map(|quota| (quota.of, &quota.limit)));
    for ((of, limit), table) in all.zip(rate_tables) {
        let store = match limit.rule {
            Rule::Distinct { distinct, rate, burst } => {
                let buckets = Distinct::new(*table, rate, burst, limit.when_full);
                let buckets = buckets.ok_or_else(|| too_many(policy, limit, rate, burst))?;
                Store::Distinct { buckets, distinct: place(&mut identities, distinct) }
            }
            _ => store(policy, limit, *table, &wanted, &memories)?,
        };
        let per = limit.per.iter().map(|&identity| place(&mut identities, identity)).collect();
        let stage = limit.stage();
        let own = Stages::default().with(stage);
        let asked_at = if limit.count == super::Count::Bytes { own.with(Stage::Mail) } else { own };
        limits.push(Planned {
            limit: limit.clone(),
            stage,
            asked_at,
            name: limit.name.as_str().into(),
            per_name: limit.per_name().into(),
            reply: Reply::of(limit, stage),
            per,
            standing: Standing::of(limit),
            store,
            of: of as u16,
            quotas: Vec::new(),
        });
    }
    for (place, quota) in (policy.limits.len()..).zip(&quotas) {
        limits[quota.of].quotas.extend(quota.keys.iter().map(|key| (*key, place as u16)));
    }
    for planned in &mut limits {
        planned.quotas.sort_unstable_by_key(|(key, _)| *key);
    }
    for planned in &limits {
        let hashed = planned.limit.per.iter().copied().chain(planned.limit.distinct());
        for identity in hashed {
            let at = place(&mut identities, identity);
            identities[at].at = identities[at].at.and(planned.asked_at);
        }
    }
    let sources = Stage::ALL.map(|stage| {
        let run = limits.iter().filter(|planned| planned.asked_at.has(stage));
        run.fold(Sources::default(), |all, planned| planned.sources(all))
    });
    // The last claim, so the last table.
    let table = tables[tables.len() - 1];
    let observer = Observer::new(table, layout, elements(&identities, &limits));
    Ok((Plan { identities, limits, stated: policy.limits.len(), memories, observer, sources }, region))
}

/// How many identities the limits need.
fn observed(policy: &Policy) -> usize {
    let mut identities = Vec::new();
    for identity in policy.limits.iter().flat_map(|limit| limit.per.iter().copied().chain(limit.distinct())) {
        place(&mut identities, identity);
    }
    identities.len()
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

impl Planned {
    fn sources(&self, all: Sources) -> Sources {
        let recipients = (self.limit.count == super::Count::Recipients).then_some(Identity::RcptAddress);
        let needed = self.limit.per.iter().copied().chain(self.limit.distinct()).chain(recipients);
        needed.fold(all, |all, identity| all.with(identity.source()))
    }
}

impl Standing {
    fn of(limit: &Limit) -> Self {
        let sources = limit.per.iter().copied().chain(limit.distinct()).map(Identity::source);
        sources.fold(Self::Proven, |weakest, source| match source {
            Source::Helo => Self::Claimed,
            Source::Sender if weakest == Self::Proven => Self::Senders,
            _ => weakest,
        })
    }
}

/// The memories that the fan-outs want, each once.
fn memories(policy: &Policy) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for limit in &policy.limits {
        let Some((sharing, settle_us)) = sharing(limit) else { continue };
        match wanted.iter_mut().find(|memory| memory.sharing == sharing) {
            Some(memory) => memory.settle_us = memory.settle_us.max(settle_us),
            None => wanted.push(Wanted { sharing, settle_us }),
        }
    }
    wanted
}

fn sharing(limit: &Limit) -> Option<(Sharing, Option<u64>)> {
    let Rule::FanOut { distinct, remember_us, settle_us, .. } = limit.rule else { return None };
    Some((Sharing { per: limit.per.clone(), distinct, remember_us, memory: limit.memory }, settle_us))
}

/// The region, with the largest layout of observation that the tables leave room for.
fn allocate_with(
    policy: &Policy,
    wanted: &[Wanted],
    quotas: &[Named],
    memory_bytes: u64,
) -> Result<(Layout, Region, Vec<Table>), PolicyError> {
    let mut error = PolicyError::default();
    for layout in Layout::choices(memory_bytes, observed(policy)) {
        match allocate(policy, wanted, quotas, layout, memory_bytes) {
            Ok((region, tables)) => return Ok((layout, region, tables)),
            Err(too_little) => error = too_little,
        }
    }
    Err(error)
}

/// The region, with a table for each memory, then one for each limit and each quota, then that of observation.
fn allocate(
    policy: &Policy,
    wanted: &[Wanted],
    quotas: &[Named],
    layout: Layout,
    memory_bytes: u64,
) -> Result<(Region, Vec<Table>), PolicyError> {
    let memories = wanted.iter().map(|memory| Claim { stated: memory.sharing.memory, weight: 1, half: Half::Memories });
    let rates = policy.limits.iter().chain(quotas.iter().map(|quota| &quota.limit)).map(|limit| {
        let (Rule::Rate { rate, .. } | Rule::FanOut { rate, .. } | Rule::Distinct { rate, .. }) = limit.rule;
        let weight = (u128::from(rate.period_us) << 20) / u128::from(rate.amount.max(1));
        let weight = if matches!(limit.rule, Rule::Distinct { .. }) { weight * DISTINCT_WEIGHT } else { weight };
        let stated = if matches!(limit.rule, Rule::Rate { .. } | Rule::Distinct { .. }) { limit.memory } else { None };
        Claim { stated, weight, half: Half::Rates }
    });
    let observation = Claim { stated: Some(layout.bytes()), weight: 0, half: Half::Rates };
    let claims: Vec<Claim> = memories.chain(rates).chain([observation]).collect();
    let pages = share_out(memory_bytes, &claims).map_err(|least| PolicyError {
        file: policy.file.clone(),
        field: Some("memory".into()),
        found: format!("a budget of {memory_bytes} bytes"),
        allowed: format!("at least {least} bytes for the {} tables of this policy", claims.len() - 1),
        ..PolicyError::default()
    })?;
    Region::new(&pages).ok_or_else(|| PolicyError {
        file: policy.file.clone(),
        field: Some("memory".into()),
        found: format!("a budget of {memory_bytes} bytes"),
        allowed: "as much as this machine gives, and less than 256 GiB".into(),
        ..PolicyError::default()
    })
}

fn store(
    policy: &Policy,
    limit: &Limit,
    table: Table,
    wanted: &[Wanted],
    memories: &[Memory],
) -> Result<Store, PolicyError> {
    let (Rule::Rate { rate, burst } | Rule::FanOut { rate, burst, .. } | Rule::Distinct { rate, burst, .. }) =
        limit.rule;
    let buckets = Pace::new(table, limit.algorithm, rate, burst, limit.when_full);
    let buckets = buckets.ok_or_else(|| too_fine(policy, Some(limit), "rate"))?;
    let Some((sharing, settle_us)) = sharing(limit) else { return Ok(Store::Rate(buckets)) };
    let memory = wanted.iter().position(|memory| memory.sharing == sharing).unwrap_or_default();
    Ok(Store::FanOut { fan_out: FanOut::new(memories[memory].known, buckets, settle_us), memory })
}

fn place(identities: &mut Vec<Needed>, identity: Identity) -> usize {
    identities.iter().position(|known| known.identity == identity).unwrap_or_else(|| {
        identities.push(Needed { identity, at: Stages::default() });
        identities.len() - 1
    })
}

fn too_many(policy: &Policy, limit: &Limit, rate: super::Rate, burst: u64) -> PolicyError {
    PolicyError {
        field: Some(if burst > MOST_DISTINCT { "burst" } else { "rate" }.into()),
        found: format!("{} different elements, {burst} at once", rate.amount),
        allowed: format!("at most {MOST_DISTINCT} at once, and eight million a second, beside refuse = \"all\""),
        ..too_fine(policy, Some(limit), "rate")
    }
}

fn too_fine(policy: &Policy, limit: Option<&Limit>, field: &str) -> PolicyError {
    PolicyError {
        file: policy.file.clone(),
        line: limit.and_then(|limit| limit.line),
        limit: limit.map(|limit| limit.name.clone()),
        field: Some(field.into()),
        found: "more than a clock of microseconds can keep".into(),
        allowed: "at most eight million a second, with a burst of at least 1/8,000,000 of a second's amount".into(),
        ..PolicyError::default()
    }
}
