//! A compiled policy: what a check reads, hashes and asks, worked out once, over tables in one region.
//!
//! ```text
//!  Policy ── compile ──> limits and quotas, each to have a table ── memory ──> Region + tables ── compile ──> Plan
//!  Plan + Policy ── reload ──> the next Plan over the same region
//! ```
//!
//! * this file: the plan itself. Sets of limits leave out what cannot apply to an envelope, before any limit is read
//! * `compile`: limits and quotas to stores   * `memory`: the size of each table
//! * `reload`: another policy over a region in use
//!
//! This module knows no envelope and no TOML.

mod compile;
mod memory;
mod reload;

use std::{array, sync::Arc};

use smallvec::SmallVec;

use crate::bitset::{Member, Set};
use crate::identity::{Identity, Source, Sources, Trust};
use crate::key::{Head, Key};
use crate::policy::{Count, Limit, MAX_LIMITS, Policy, Quota, Stage, Stages, Template, Verified, WhenFull};
use crate::store::{Store, access_list::AccessList, blocks::Blocks, in_flight::Capacity, seen_set::SeenSet};
use crate::{region::Table, reply::Reply, stats::Stats};

pub use compile::compile;
pub use reload::{Step, recompile};

/// A policy, compiled.
#[derive(Debug)]
pub struct Plan {
    /// Every identity that a limit needs; each is hashed once a check.
    pub identities: Vec<PlannedIdentity>,
    /// In file order; after them, each with a table of its own, their quotas.
    pub limits: Vec<PlannedLimit>,
    /// What `prepare` needs of each of `limits`.
    pub asks: Vec<Ask>,
    /// How many of `limits` the policy states.
    pub stated: usize,
    /// Which of the stated limits apply when.
    pub applicable: Applicable,
    /// Seen sets of known elements.
    pub seen_sets: Vec<PlannedSeenSet>,
    /// Distinct counts and offenders.
    pub stats: Stats,
    /// What is in flight: the permits, and the in-flight limits.
    pub in_flight: Capacity,
    /// The limits of [`Plan::in_flight`], as they were when it was made.
    pub in_flight_limits: Vec<Limit>,
    /// The place in `limits` of each limit of [`Plan::in_flight`]; `None` when the policy has it no more.
    pub capped_by: Vec<Option<u16>>,
    /// Operators' entries and limits' blocks; absent where the memory is too small for them.
    pub access: Option<AccessTables>,
    /// What the counts of [`Plan::in_flight`] count by.
    pub count_keys: Vec<PlannedCounts>,
}

/// An identity that a limit needs.
#[derive(Clone, Copy, Debug)]
pub struct PlannedIdentity {
    /// The identity.
    pub identity: Identity,
    /// What its values are hashed after.
    pub head: Head,
    /// The stages at which it is needed.
    pub at: Stages,
    /// The limits that are not asked when it is absent: in-flight limits may share it with senders that lack it.
    pub needed_by: LimitSet,
}

/// A limit with its store.
#[derive(Debug)]
pub struct PlannedLimit {
    /// As the operator wrote it.
    pub limit: Limit,
    /// The stage at which it runs.
    pub stage: Stage,
    /// The stages at which it is asked: its own, and for bytes MAIL too, where a SIZE is declared (RFC 1870 §6.1).
    pub asked_at: Stages,
    /// Its name, shared with refusals.
    pub name: Arc<str>,
    /// `client.net/24/48 + sender.org`, shared with refusals.
    pub per_name: Arc<str>,
    /// The kind of reply that a refusal gets.
    pub reply: Reply,
    /// The operator's own reply.
    pub template: Option<Arc<Template>>,
    /// How a refusal blocks the key.
    pub block_rule: Option<BlockRule>,
    /// Its identities, as places in [`Plan::identities`].
    pub per: Places,
    /// Place of what a fan-out counts in [`Plan::identities`].
    pub distinct: Option<u16>,
    /// Where its trust comes from.
    pub trust_source: TrustSource,
    /// Where it counts.
    pub store: Store,
    /// The pages that its store got; an in-flight limit has none of its own.
    pub table: Option<Table>,
    /// The generation of the policy since which it has counted what it counts.
    pub since: u64,
    /// Its own place in [`Plan::limits`]; for a quota, the place of its limit.
    pub of: u16,
    /// Its quotas by key: the key of the named value, without trust, and the place in [`Plan::limits`], or
    /// [`NO_TABLE`].
    pub quotas: Vec<(Key, u16)>,
}

/// What `prepare` needs of a limit, in one cache line: a check reads it for every limit that applies.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Ask {
    /// Its identities.
    pub per: Places,
    /// The table of its counters.
    pub table: Table,
    /// What its store is asked.
    pub kind: AskKind,
    /// Where its trust comes from.
    pub trust_source: TrustSource,
    /// The stage at which it is charged.
    pub stage: Stage,
    /// What one check counts as.
    pub count: Count,
    /// Whether any value has a quota.
    pub has_quotas: bool,
    /// Whether a key without room in the table is refused.
    pub refuses_when_full: bool,
}

/// What a store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskKind {
    /// A rate.
    Rate,
    /// A fan-out that refuses what is new: the place of its seen set, and whether the buckets of parts are asked.
    FanOut {
        /// Place in [`Plan::seen_sets`].
        seen_set: u8,
        /// Whether it has the ladder.
        has_ladder: bool,
    },
    /// A fan-out that refuses the whole key.
    Distinct,
    /// What is in flight: the place among the in-flight limits.
    InFlight(u8),
}

impl Ask {
    /// What `prepare` needs of a planned limit.
    pub(super) fn of(planned: &PlannedLimit) -> Self {
        let PlannedLimit { limit, per, trust_source, stage, store, .. } = planned;
        let (per, trust_source, stage, count) = (*per, *trust_source, *stage, limit.count);
        let table = store.slots_table().copied().unwrap_or(Table::HEADER);
        let kind = match store {
            Store::Rate(_) => AskKind::Rate,
            Store::FanOut(store) => {
                AskKind::FanOut { seen_set: store.seen_set() as u8, has_ladder: store.has_ladder() }
            }
            Store::Distinct(_) => AskKind::Distinct,
            Store::InFlight(place) => AskKind::InFlight(*place as u8),
        };
        let (has_quotas, refuses_when_full) = (!planned.quotas.is_empty(), limit.when_full == WhenFull::Refuse);
        Self { per, table, kind, trust_source, stage, count, has_quotas, refuses_when_full }
    }
}

/// The places of a composite in [`Plan::identities`]: at least one and at most [`MOST_PARTS`], beside each other and
/// not elsewhere, since a check reads them for each limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    count: u8,
    places: [u16; MOST_PARTS],
}

/// Identities of a composite with those that share it, at most.
pub const MOST_PARTS: usize = 8;

impl Places {
    /// The first place and the others.
    #[inline(always)]
    pub fn parts(&self) -> (&u16, &[u16]) {
        (&self.places[0], &self.places[1..usize::from(self.count).clamp(1, MOST_PARTS)])
    }
}

impl std::ops::Deref for Places {
    type Target = [u16];

    #[inline(always)]
    fn deref(&self) -> &[u16] {
        &self.places[..usize::from(self.count).min(MOST_PARTS)]
    }
}

impl FromIterator<u16> for Places {
    /// # Panics
    /// When there are more than [`MOST_PARTS`]; a policy has at most four identities in `per`, and four that share.
    fn from_iter<I: IntoIterator<Item = u16>>(all: I) -> Self {
        let mut places = Self { count: 0, places: [0; MOST_PARTS] };
        for place in all {
            places.places[usize::from(places.count)] = place;
            places.count += 1;
        }
        places
    }
}

/// The place of a quota that has no table yet. Until it has one, keys of that quota are exempt.
pub const NO_TABLE: u16 = u16::MAX;

/// Which of the stated limits apply when: sets by stages and by trust, so that a check intersects two words.
#[derive(Clone, Debug)]
pub struct Applicable {
    /// The limits that are asked, for each set of stages.
    asked_at: [LimitSet; STAGE_SETS],
    /// What the limits read of an envelope, for each set of stages.
    sources: [Sources; STAGE_SETS],
    /// The limits that look at senders of each trust, claimed first.
    for_trust: [LimitSet; 2],
    /// The in-flight limits that do not count bytes: while nothing is in flight, a check that holds nothing need not
    /// ask them.
    pub unless_idle: LimitSet,
    /// The in-flight limits.
    pub in_flight: LimitSet,
}

const STAGE_SETS: usize = 1 << Stage::ALL.len();

const _: () = assert!(MAX_LIMITS <= u64::BITS as usize);

/// A set of the stated limits, by their place in the policy. A quota counts as the limit that it belongs to.
pub type LimitSet = Set<u16>;

impl Member for u16 {
    const COUNT: u32 = MAX_LIMITS as u32;

    #[inline]
    fn place(self) -> u32 {
        self.into()
    }

    #[inline]
    fn at(place: u32) -> Self {
        place as Self
    }
}

/// Tables that no limit owns: they stay where they are under every policy.
#[derive(Clone, Copy, Debug)]
pub struct AccessTables {
    /// Operators' entries.
    pub list: AccessList,
    /// Limits' blocks.
    pub blocks: Blocks,
}

/// How a limit blocks.
#[derive(Clone, Copy, Debug)]
pub struct BlockRule {
    /// For how long, in microseconds.
    pub us: u64,
    /// The key of its name and its identities. Joined with the key of the values it names a block, under this policy
    /// and the next that has the limit.
    pub key: Key,
    /// The first stage at which all of the key is known.
    pub from: Stage,
}

impl BlockRule {
    /// The limit that blocks, in few bits.
    pub fn by(&self) -> u32 {
        self.key.0 as u32
    }
}

/// Where the trust of a limit's keys comes from: the weakest of its identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustSource {
    /// All of them are proven, or cannot be claimed.
    Proven,
    /// One of them is always a mere claim.
    Claimed,
    /// The sender's: all of `sender.*` have the same trust.
    Senders,
}

/// The keys of counts of what is in flight.
#[derive(Debug)]
pub struct PlannedCounts {
    /// Its identities, as places in [`Plan::identities`].
    pub per: Places,
    /// Where their trust comes from.
    pub trust_source: TrustSource,
    /// The identities by name: `client.net/24/48`.
    pub per_name: String,
}

/// A seen set and what it holds.
#[derive(Debug)]
pub struct PlannedSeenSet {
    /// The table.
    pub set: SeenSet,
    /// Place of the element's identity in [`Plan::identities`].
    pub distinct: usize,
    /// Identities of `per` whose value an element may be equal to: then it is never new.
    pub equals: SmallVec<[Identity; 1]>,
    /// Whether parts of names are remembered too: a limit over it has `settle`.
    pub has_ladder: bool,
}

impl Applicable {
    /// Works out the sets of `limits`, the stated ones.
    pub(super) fn new(limits: &[PlannedLimit]) -> Self {
        let set = |is_in: &dyn Fn(&PlannedLimit) -> bool| {
            (0..).zip(limits).filter(|(_, limit)| is_in(limit)).fold(LimitSet::EMPTY, |set, (place, _)| set.with(place))
        };
        let is_asked = |limit: &PlannedLimit, stages: usize| limit.asked_at.bits() as usize & stages != 0;
        let recipients = |limit: &Limit| (limit.count == Count::Recipients).then_some(Identity::RcptAddress);
        let sources = |stages: usize| {
            let asked = limits.iter().filter(|limit| is_asked(limit, stages)).map(|planned| &planned.limit);
            let identities = asked.flat_map(|limit| limit.identities().chain(recipients(limit)));
            identities.fold(Sources::default(), |all, identity| all.with(identity.source()))
        };
        Self {
            asked_at: array::from_fn(|stages| set(&|limit| is_asked(limit, stages))),
            sources: array::from_fn(sources),
            for_trust: [Trust::Claimed, Trust::Proven]
                .map(|senders| set(&|limit| looks_at(limit.limit.verified, limit.trust_source.trust(senders)))),
            unless_idle: set(&|limit| limit.limit.is_in_flight() && limit.limit.count != Count::Bytes),
            in_flight: set(&|limit| limit.limit.is_in_flight()),
        }
    }

    /// The limits that are asked at `stages`.
    #[inline]
    pub fn asked_at(&self, stages: Stages) -> LimitSet {
        self.asked_at[stages.bits() as usize % STAGE_SETS]
    }

    /// The limits that look at senders of this trust.
    #[inline]
    pub fn for_trust(&self, senders: Trust) -> LimitSet {
        self.for_trust[usize::from(senders == Trust::Proven)]
    }
}

impl Plan {
    /// What the limits of `stages` read of an envelope.
    #[inline]
    pub fn sources(&self, stages: Stages) -> Sources {
        self.applicable.sources[stages.bits() as usize % STAGE_SETS]
    }

    /// The quota that the limit at this place is; `None` for a limit that the policy states.
    pub fn quota(&self, place: usize) -> Option<&Quota> {
        self.limits[place].limit.quotas.first().filter(|_| place >= self.stated)
    }

    /// The generation since which each limit has charged the same envelopes to the same keys, when `self` follows
    /// `old`: an earlier charge is not given back to a key that did not pay it. `from` gives the places under `old`.
    pub(crate) fn since(&self, from: &[Option<usize>], old: &Plan, next: u64, is_same_list: bool) -> Vec<u64> {
        let stated = |plan: &Self, place: usize| usize::from(plan.limits[place].of);
        let charges_alike = |place: usize, from: usize| {
            let (is, was) = (&self.limits[stated(self, place)].limit, &old.limits[stated(old, from)].limit);
            let is_same_quotas = is.quotas.iter().map(Quota::numbers).eq(was.quotas.iter().map(Quota::numbers));
            is.verified == was.verified && is_same_quotas
        };
        let since = |(place, from): (usize, &Option<usize>)| match *from {
            Some(from) if is_same_list && charges_alike(place, from) => old.limits[from].since,
            _ => next,
        };
        from.iter().enumerate().map(since).collect()
    }
}

impl PlannedLimit {
    /// Whether a message counts once for a recipient's host, however many mailboxes it goes to there.
    pub fn counts_hosts_once(&self) -> bool {
        let Limit { per, count, .. } = &self.limit;
        self.stage == Stage::Rcpt && *count != Count::Recipients && per.contains(&Identity::RcptHost)
    }
}

impl TrustSource {
    /// The trust of a key, where senders have this one.
    #[inline]
    pub fn trust(self, senders: Trust) -> Trust {
        match self {
            Self::Proven => Trust::Proven,
            Self::Claimed => Trust::Claimed,
            Self::Senders => senders,
        }
    }

    /// The source of identities that count together.
    pub(super) fn of(identities: impl Iterator<Item = Identity>) -> Self {
        identities.map(Identity::source).fold(Self::Proven, |weakest, source| match source {
            claimed if claimed.is_mere_claim() => Self::Claimed,
            Source::Sender if weakest == Self::Proven => Self::Senders,
            _ => weakest,
        })
    }
}

/// Whether a limit with this `verified` looks at keys of this trust.
pub fn looks_at(verified: Verified, trust: Trust) -> bool {
    match verified {
        Verified::Any => true,
        Verified::Proven => trust == Trust::Proven,
        Verified::Claimed => trust == Trust::Claimed,
    }
}

/// The place of an identity among those that are hashed; a new one is added.
fn place(identities: &mut Vec<PlannedIdentity>, identity: Identity) -> u16 {
    let known = identities.iter().position(|known| known.identity == identity);
    let place = known.unwrap_or_else(|| {
        let (at, needed_by) = (Stages::default(), LimitSet::EMPTY);
        identities.push(PlannedIdentity { identity, head: Head::of(identity), at, needed_by });
        identities.len() - 1
    });
    // A policy has at most 64 limits of a few identities each.
    place as u16
}

/// The identities `known`, and after them those that only the limits of `policy` need.
fn with_places(mut known: Vec<PlannedIdentity>, policy: &Policy) -> Vec<PlannedIdentity> {
    for identity in policy.limits.iter().flat_map(Limit::identities) {
        place(&mut known, identity);
    }
    known
}
