//! The compiled plan: what a check has to read, hash and ask, worked out once. `compile` makes it.
//!
//! Knows no budget and no file.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::identity::{Identities, Identity, Source, Sources, Trust};
use crate::key::{Head, Key};
use crate::policy::{Count, Limit, Quota, Stage, Stages, Template};
use crate::region::Table;
use crate::reply::Reply;
use crate::stats::Stats;
use crate::store::access_list::AccessList;
use crate::store::blocks::Blocks;
use crate::store::distinct::Distinct;
use crate::store::fan_out::FanOut;
use crate::store::in_flight::Capacity;
use crate::store::rate_counter::RateCounter;
use crate::store::seen_set::SeenSet;

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
    pub observer: Stats,
    /// What is open: the permits, and the in-flight limits.
    pub capacity: Capacity,
    /// The limits of [`Plan::capacity`], as they were when it was made.
    pub held: Vec<Limit>,
    /// Of each limit of [`Plan::capacity`] its place in `limits`; nothing when it was taken out since the permits have their tables.
    pub capped: Vec<Option<u16>>,
    /// Operators' entries and limits' blocks; absent where the memory is too small for them.
    pub marked: Option<AccessTables>,
    /// What the tallies of [`Plan::capacity`] count by.
    pub tallied: Vec<Tallied>,
    pub(super) sources: [Sources; Stage::ALL.len()],
}

/// An identity that a limit needs.
#[derive(Clone, Copy, Debug)]
pub struct Needed {
    /// Which.
    pub identity: Identity,
    /// What its values are hashed behind.
    pub head: Head,
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
    /// The operator's own words for it.
    pub template: Option<Arc<Template>>,
    /// That a refusal blocks the key.
    pub blocking: Option<Blocking>,
    /// Its identities, as places in [`Plan::identities`].
    pub per: Box<[usize]>,
    /// Where its class comes from.
    pub standing: TrustSource,
    /// Where it counts.
    pub store: Store,
    /// The run of pages that its store got; an in-flight limit has none of its own.
    pub table: Option<Table>,
    /// The policy, by how many came before it, with which it began to count what it counts.
    pub since: u64,
    /// Its own place in [`Plan::limits`]; of a quota, that of its limit.
    pub of: u16,
    /// Its quotas: the key of the named value, of no class, and the place in [`Plan::limits`], or [`NO_TABLE`]. By key.
    pub quotas: Vec<(Key, u16)>,
}

/// In place of a quota's: it will have a table soon, and until then nobody counts its keys.
pub const NO_TABLE: u16 = u16::MAX;

/// Tables that no limit owns: they stay where they are whatever the policy.
#[derive(Clone, Copy, Debug)]
pub struct AccessTables {
    /// What operators say.
    pub listed: AccessList,
    /// What limits have blocked.
    pub blocks: Blocks,
}

/// How a limit blocks.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    /// For how long, in microseconds.
    pub us: u64,
    /// Of its name and its identities: what is joined with it is blocked by this limit, in this policy and in the next that has it.
    pub key: Key,
    /// From when on all of the key is known.
    pub from: Stage,
}

impl Blocking {
    /// Whose block it is, in few bits.
    pub fn by(&self) -> u32 {
        self.key.0 as u32
    }
}

/// Where the class of a limit's keys comes from: that of the weakest of its identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustSource {
    /// All of them are proven, or have no class.
    Proven,
    /// One of them is always a mere claim.
    Claimed,
    /// The sender's: one class for all of `sender.*`.
    Senders,
}

/// Where a limit counts. Its tag is an octet, as that of [`RateCounter`].
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Store {
    /// Buckets or windows.
    Rate(RateCounter),
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
    /// What is open at once: the limit's place in [`Capacity::limits`].
    InFlight(usize),
}

/// The keys of a tally.
#[derive(Debug)]
pub struct Tallied {
    /// Its identities, as places in [`Plan::identities`].
    pub per: Box<[usize]>,
    /// Where their class comes from.
    pub standing: TrustSource,
    /// For people: `client.net/24/48`.
    pub per_name: String,
}

impl Store {
    /// The buckets that it charges for every message or every element that is new; `None` where there are none such.
    pub fn buckets(&self) -> Option<&RateCounter> {
        match self {
            Self::Rate(buckets) => Some(buckets),
            Self::FanOut { fan_out, .. } => Some(fan_out.buckets()),
            Self::Distinct { .. } | Self::InFlight(_) => None,
        }
    }

    /// The memory that it asks.
    pub fn memory(&self) -> Option<usize> {
        match self {
            Self::Rate(_) | Self::Distinct { .. } | Self::InFlight(_) => None,
            Self::FanOut { memory, .. } => Some(*memory),
        }
    }
}

/// A memory and what it holds.
#[derive(Debug)]
pub struct Memory {
    /// The table.
    pub known: SeenSet,
    /// Place of the element's identity in [`Plan::identities`].
    pub distinct: usize,
    /// Identities of `per` whose value an element may be equal to: then it is never new.
    pub equals: SmallVec<[Identity; 1]>,
    /// Whether parts of names are remembered too: a limit over it has `settle`.
    pub ladder: bool,
}

impl Plan {
    /// What of an envelope the limits of `stages` read.
    #[inline]
    pub fn sources(&self, stages: Stages) -> Sources {
        stages.iter().fold(Sources::default(), |all, stage| all.union(self.sources[stage as usize]))
    }

    /// The quota that the limit at this place is; nothing when the policy states it as a limit.
    pub fn quota(&self, place: usize) -> Option<&Quota> {
        self.limits[place].limit.quotas.first().filter(|_| place >= self.stated)
    }
}

impl Plan {
    /// Of each limit the policy since which it charges the same envelopes to the same keys, when `next` follows `old`: what it charged before is not
    /// to be given back to a key that did not pay. `from` tells the places under `old`.
    pub(crate) fn since(&self, from: &[Option<usize>], old: &Plan, next: u64, is_same_list: bool) -> Vec<u64> {
        let stated = |plan: &Self, place: usize| usize::from(plan.limits[place].of);
        let charges_alike = |place: usize, from: usize| {
            let (is, was) = (&self.limits[stated(self, place)].limit, &old.limits[stated(old, from)].limit);
            let is_same_quotas = is.quotas.iter().map(Quota::numbers).eq(was.quotas.iter().map(Quota::numbers));
            is.verified == was.verified && is_same_quotas
        };
        let places = from.iter().enumerate();
        let of = |(place, from): (usize, &Option<usize>)| {
            let from = from.filter(|&from| is_same_list && charges_alike(place, from));
            from.map_or(next, |from| old.limits[from].since)
        };
        places.map(of).collect()
    }
}

impl Planned {
    /// Whether a message counts once for a recipient's host, however many of its mailboxes it goes to.
    pub fn counts_hosts_once(&self) -> bool {
        self.limit.per.contains(&Identity::RcptHost)
            && self.stage == Stage::Rcpt
            && self.limit.count != Count::Recipients
    }

    /// The class of a composite is that of its weakest part; of a fan-out, the weaker of `per` and `distinct`.
    #[inline]
    pub fn class(&self, identities: &Identities<'_>) -> Trust {
        self.standing.class(identities.trust(Identity::SenderHost))
    }

    pub(super) fn sources(&self, all: Sources) -> Sources {
        let recipients = (self.limit.count == Count::Recipients).then_some(Identity::RcptAddress);
        self.limit.identities().chain(recipients).fold(all, |all, identity| all.with(identity.source()))
    }
}

impl TrustSource {
    /// The class, where `senders` have this one.
    #[inline]
    pub fn class(self, senders: Trust) -> Trust {
        match self {
            Self::Proven => Trust::Proven,
            Self::Claimed => Trust::Claimed,
            Self::Senders => senders,
        }
    }

    /// Of identities that count together.
    pub(super) fn of(identities: impl Iterator<Item = Identity>) -> Self {
        identities.map(Identity::source).fold(Self::Proven, |weakest, source| match source {
            claimed if claimed.is_mere_claim() => Self::Claimed,
            Source::Sender if weakest == Self::Proven => Self::Senders,
            _ => weakest,
        })
    }
}
