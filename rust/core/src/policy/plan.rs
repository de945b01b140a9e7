//! The compiled plan: what a check has to read, hash and ask, worked out once.
//!
//! Here limits become stores and get their tables. A new kind of limit is one arm of [`compile`] and one file in `store/`.

use std::sync::Arc;

use smallvec::SmallVec;

use super::budget::{Claim, Half, share_out};
use super::held::Holdings;
use super::{Limit, MAX_LIMITS, Policy, Rate, Rule, Stage, Stages};
use crate::error::PolicyError;
use crate::identity::{Identity, Source, Sources};
use crate::region::{COUNTERS, Region, Table};
use crate::reply::Reply;
use crate::store::fan_out::FanOut;
use crate::store::in_flight::Capacity;
use crate::store::known::Known;
use crate::store::pace::Pace;
use crate::store::permits::COUNTS;

/// An element that came back this long after it was first seen is not evicted for one that did not, unless `settle` says otherwise. One hour.
const COMEBACK_US: u64 = 3_600_000_000;

const _: () = assert!(MAX_LIMITS <= COUNTERS);

// A limit has a bit and a word among the permits.
const _: () = assert!(MAX_LIMITS <= COUNTS && COUNTS <= u64::BITS as usize);

/// A policy, compiled.
#[derive(Debug)]
pub struct Plan {
    /// Every identity that a limit needs; each is hashed once a check.
    pub identities: Vec<Needed>,
    /// In file order.
    pub limits: Vec<Planned>,
    /// Memories of known elements.
    pub memories: Vec<Memory>,
    /// What is open: the permits, and the in-flight limits.
    pub capacity: Capacity,
    /// What the tallies of [`Plan::capacity`] count by.
    pub tallied: Vec<Tallied>,
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
    /// What is open at once: the limit's place in [`Capacity::limits`].
    InFlight(usize),
}

/// The keys of a tally.
#[derive(Debug)]
pub struct Tallied {
    /// Its identities, as places in [`Plan::identities`].
    pub per: SmallVec<[usize; 4]>,
    /// Where their class comes from.
    pub standing: Standing,
    /// For people: `client.net/24/48`.
    pub per_name: String,
}

impl Store {
    /// The buckets that it charges.
    pub fn buckets(&self) -> Option<&Pace> {
        match self {
            Self::Rate(buckets) => Some(buckets),
            Self::FanOut { fan_out, .. } => Some(fan_out.buckets()),
            Self::InFlight(_) => None,
        }
    }

    /// The memory that it asks.
    pub fn memory(&self) -> Option<usize> {
        match self {
            Self::Rate(_) | Self::InFlight(_) => None,
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

/// Compiles `policy` into at most `memory_bytes`, with at most `max_open` permits.
///
/// # Errors
/// A budget too small for the policy, a rate that no clock can keep.
pub fn compile(policy: &Policy, memory_bytes: u64, max_open: u32) -> Result<(Plan, Region), PolicyError> {
    let wanted = memories(policy);
    let holdings = Holdings::of(policy, max_open);
    let (region, tables) = allocate(policy, &wanted, &holdings, memory_bytes)?;
    let (held_tables, tables) = tables.split_at(holdings.claims().len());
    let (memory_tables, rate_tables) = tables.split_at(wanted.len());
    let mut rate_tables = rate_tables.iter();
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
    let mut limits = Vec::new();
    let mut in_flight = 0..;
    for limit in &policy.limits {
        let store = match limit.rule.pace().and_then(|pace| Some((pace, rate_tables.next()?))) {
            Some((pace, table)) => store(policy, limit, pace, *table, &wanted, &memories)?,
            None => Store::InFlight(in_flight.next().unwrap_or_default()),
        };
        let per = limit.per.iter().map(|&identity| place(&mut identities, identity)).collect();
        let stage = limit.stage();
        let own = Stages::default().with(stage);
        let asked_at =
            if limit.count == super::Count::Bytes && !limit.is_in_flight() { own.with(Stage::Mail) } else { own };
        limits.push(Planned {
            limit: limit.clone(),
            stage,
            asked_at,
            name: limit.name.as_str().into(),
            per_name: limit.per_name().into(),
            reply: Reply::of(limit, stage),
            per,
            standing: Standing::of(limit.identities()),
            store,
        });
    }
    let tallied = holdings.tallied(|identity| place(&mut identities, identity));
    for planned in &limits {
        // Of what is open there is one count of all, without a key.
        let hashed = planned
            .limit
            .identities()
            .filter(|identity| !(planned.limit.is_in_flight() && *identity == Identity::Global));
        for identity in hashed {
            let at = place(&mut identities, identity);
            identities[at].at = identities[at].at.and(planned.asked_at);
        }
    }
    let sources = Stage::ALL.map(|stage| {
        let run = limits.iter().filter(|planned| planned.asked_at.has(stage));
        run.fold(Sources::default(), |all, planned| planned.sources(all))
    });
    let capacity = holdings.capacity(held_tables);
    Ok((Plan { identities, limits, memories, capacity, tallied, sources }, region))
}

impl Planned {
    fn sources(&self, all: Sources) -> Sources {
        let recipients = (self.limit.count == super::Count::Recipients).then_some(Identity::RcptAddress);
        self.limit.identities().chain(recipients).fold(all, |all, identity| all.with(identity.source()))
    }
}

impl Standing {
    /// Of identities that count together.
    pub(super) fn of(identities: impl Iterator<Item = Identity>) -> Self {
        identities.map(Identity::source).fold(Self::Proven, |weakest, source| match source {
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

/// The region, with what permits need, a table for each memory and then one for each limit that has a rate.
fn allocate(
    policy: &Policy,
    wanted: &[Wanted],
    holdings: &Holdings<'_>,
    memory_bytes: u64,
) -> Result<(Region, Vec<Table>), PolicyError> {
    let memories = wanted.iter().map(|memory| Claim { stated: memory.sharing.memory, weight: 1, half: Half::Memories });
    let rates = policy.limits.iter().filter_map(|limit| {
        let (rate, _) = limit.rule.pace()?;
        let weight = (u128::from(rate.period_us) << 20) / u128::from(rate.amount.max(1));
        let stated = if matches!(limit.rule, Rule::Rate { .. }) { limit.memory } else { None };
        Some(Claim { stated, weight, half: Half::Rates })
    });
    let claims: Vec<Claim> = holdings.claims().iter().copied().chain(memories).chain(rates).collect();
    let pages = share_out(memory_bytes, &claims).map_err(|least| PolicyError {
        file: policy.file.clone(),
        field: Some("memory".into()),
        found: format!("a budget of {memory_bytes} bytes"),
        allowed: format!("at least {least} bytes for the {} tables of this policy{}", claims.len(), holdings.told()),
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
    (rate, burst): (Rate, u64),
    table: Table,
    wanted: &[Wanted],
    memories: &[Memory],
) -> Result<Store, PolicyError> {
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
