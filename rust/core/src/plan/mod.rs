//! A compiled policy: what a check reads, hashes and asks, worked out once, over tables in one region.
//!
//! ```text
//!  Policy ── compile ──> limits and quotas, each to have a table ── memory ──> Region + tables ── compile ──> Plan
//!  Plan + Policy ── reload ──> the next Plan over the same region
//! ```
//!
//! * this file: the plan itself. Sets of limits leave out what cannot apply to an envelope, before any limit is read
//! * `compile`: limits and quotas to stores   * `memory`: the size of each table
//! * `quota_index`: the values that have quotas   * `reload`: another policy over a region in use
//!
//! This module knows no envelope and no TOML.

mod compile;
mod memory;
mod quota_index;
mod reload;

use std::{array, collections::HashMap, sync::Arc};

use smallvec::SmallVec;

use crate::bitset::{Member, Set};
use crate::identity::{Identity, SenderKind, Source, Sources, Trust};
use crate::key::{Key, mask};
use crate::policy::{Count, Limit, MAX_LIMITS, Policy, Quota, Rate, Report, Stage, Stages, Verified, WhenFull};
use crate::region::{REPORTS, SLOTS_OF_LIMITS, STAGES, Table};
use crate::store::fan_out::ChargedAgain;
use crate::store::{Store, access_list::AccessList, blocks::Blocks, in_flight::Capacity, seen_set::SeenSet};
use crate::{decision::Reply, policy::reserved, stats::Stats};

pub use compile::compile;
pub use quota_index::QuotaIndex;
use quota_index::is_in_filter;
pub use reload::{Step, recompile};

/// A compiled policy.
#[derive(Debug)]
pub struct Plan {
    /// Every identity that a limit needs. A check hashes each once.
    pub identities: Vec<PlannedIdentity>,
    /// The place of `sender.org` in `identities`.
    pub sender_org: Option<u16>,
    /// The IPv4 prefix and the place of the first network of clients in `identities`.
    pub client_net: Option<(u8, u16)>,
    /// The stated limits in file order, then their quotas, a table for all values of a limit with equal numbers.
    pub limits: Vec<PlannedLimit>,
    /// What `prepare` needs of each of `limits`.
    pub asks: Vec<Ask>,
    /// How many of `limits` the policy states.
    pub stated: usize,
    /// The sets of the stated limits that apply to an envelope.
    pub applicable: Applicable,
    /// The seen sets.
    pub seen_sets: Vec<PlannedSeenSet>,
    /// The keys of the stated limits that are rates. A check makes each key once, for all of its limits.
    pub rate_keys: Vec<RateKey>,
    /// Distinct counts and offenders.
    pub stats: Stats,
    /// What is in flight: the permits, and the in-flight limits.
    pub in_flight: Capacity,
    /// The limits of [`Plan::in_flight`], as they were when it was made.
    pub in_flight_limits: Vec<Limit>,
    /// The place in `limits` of each limit of [`Plan::in_flight`]; `None` if the policy no longer has the limit.
    pub capped_by: Vec<Option<u16>>,
    /// Operators' entries and limits' blocks; `None` if the memory is too small for them.
    pub access: Option<AccessTables>,
    /// The address of a page that explains refusals.
    pub help_url: Option<Arc<str>>,
    /// The keys of each of the counts of [`Plan::in_flight`].
    pub count_keys: Vec<PlannedCounts>,
}

/// An identity that a limit needs.
#[derive(Clone, Copy, Debug)]
pub struct PlannedIdentity {
    /// The identity.
    pub identity: Identity,
    /// The source of the identity.
    pub source: Source,
    /// What its keys are masked with.
    pub mask: u64,
    /// An identity before it that nearly always has the same value, so that one hash serves both: its place, and how
    /// the masks of the two differ.
    pub twin: Option<(u16, u64)>,
    /// The stages at which it is needed.
    pub at: Stages,
    /// The limits that are not asked if the identity is absent. In-flight limits are not among them: all senders that
    /// lack an identity of a `share` hold one share together.
    pub needed_by: LimitSet,
}

/// A limit with its store.
#[derive(Debug)]
pub struct PlannedLimit {
    /// The limit of the policy, without its quotas. For a quota, a copy with its numbers, and the first of its values.
    pub limit: Limit,
    /// How many values share the table of a quota; 0 for a stated limit.
    pub values: usize,
    /// The stage at which the limit runs.
    pub stage: Stage,
    /// The stages at which it is asked: its own, for bytes MAIL too, where a SIZE is declared (RFC 1870 §6.1), and for
    /// reports of unknown recipients RCPT too.
    pub asked_at: Stages,
    /// The name, shared with refusals.
    pub name: Arc<str>,
    /// The key of its name, for notices.
    pub name_key: Key,
    /// Its slot among the counters; a quota has that of its limit.
    pub slot: u16,
    /// The identities by name, `client.net/24/48 + sender.org`, shared with refusals.
    pub per_name: Arc<str>,
    /// The kind of reply to a refusal.
    pub reply: Reply,
    /// How a refusal blocks the key.
    pub block_rule: Option<BlockRule>,
    /// The identities of the key, as places in [`Plan::identities`].
    pub per: Places,
    /// The place in [`Plan::identities`] of the identity whose elements a fan-out counts.
    pub distinct: Option<u16>,
    /// Where the trust of its keys comes from.
    pub trust_source: TrustSource,
    /// Where it counts.
    pub store: Store,
    /// The table of its store; an in-flight limit has none of its own.
    pub table: Option<Table>,
    /// The generation of the policy since which it charges the same envelopes to the same keys. A receipt from an
    /// earlier generation is not refunded here.
    pub since: u64,
    /// Its own place in [`Plan::limits`]; for a quota, the place of its limit.
    pub of: u16,
    /// Its quotas: the keys of named values, without trust, and the places in [`Plan::limits`].
    pub quotas: QuotaIndex,
}

/// What `prepare` needs of a limit, in one cache line: a check reads it for every limit that applies.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Ask {
    /// The identities of the key.
    pub per: Places,
    /// The table of its counters.
    pub table: Table,
    /// The kind of its store.
    pub kind: AskKind,
    /// Where the trust of its keys comes from.
    pub trust_source: TrustSource,
    /// What one check counts as.
    pub count: Count,
    /// A bit for each key that has a quota, by the lowest bits of the key: with few quotas, nearly all other keys need
    /// no search.
    pub quota_bits: u64,
    /// With many quotas, a filter of their keys in more bits; empty with few.
    pub quota_filter: Box<[u64]>,
    /// Whether a key without room in the table is refused.
    pub refuses_when_full: bool,
}

const _: () = assert!(size_of::<Ask>() == 64);

/// The kind of a store, with what `prepare` needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskKind {
    /// A rate.
    Rate,
    /// A fan-out that refuses new elements.
    FanOut {
        /// Whether its own key is not that of the seen set.
        is_apart: bool,
    },
    /// A fan-out that refuses the whole key.
    Distinct,
    /// An in-flight limit, by its place in [`Plan::in_flight`].
    InFlight(u8),
}

const _: () = assert!(size_of::<Ask>() == 64);

impl Ask {
    /// What `prepare` needs of a planned limit.
    pub(super) fn of(planned: &PlannedLimit) -> Self {
        let PlannedLimit { limit, per, trust_source, store, .. } = planned;
        let (per, trust_source, count) = (*per, *trust_source, limit.count);
        let table = store.slots_table().copied().unwrap_or(Table::HEADER);
        let kind = match store {
            Store::Rate(_) => AskKind::Rate,
            Store::FanOut(_) => AskKind::FanOut { is_apart: !limit.new_to().is_empty() },
            Store::Distinct(_) => AskKind::Distinct,
            Store::InFlight(place) => AskKind::InFlight(*place as u8),
        };
        let (quota_bits, refuses_when_full) = (quota_bits(&planned.quotas), limit.when_full == WhenFull::Refuse);
        let quota_filter = planned.quotas.filter();
        Self { per, table, kind, trust_source, count, quota_bits, quota_filter, refuses_when_full }
    }

    /// Whether a key may have a quota: nearly always `false` for one that has none.
    #[inline(always)]
    pub fn may_have_quota(&self, key: Key) -> bool {
        self.quota_bits & quota_bit(key) != 0 && (self.quota_filter.is_empty() || is_in_filter(&self.quota_filter, key))
    }
}

/// The bit of a key in [`Ask::quota_bits`].
pub fn quota_bit(key: Key) -> u64 {
    1 << (key.0 % 64)
}

/// [`Ask::quota_bits`] of a limit's quotas.
fn quota_bits(quotas: &QuotaIndex) -> u64 {
    quotas.pairs().iter().fold(0, |bits, (key, _)| bits | quota_bit(*key))
}

/// The places of a composite in [`Plan::identities`]: at least one and at most [`MOST_PARTS`]. They are stored inline,
/// since a check reads them for each limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    count: u8,
    places: [u16; MOST_PARTS],
}

/// The most identities of a composite: those of `per` and those of its `share`.
pub const MOST_PARTS: usize = 8;

impl Places {
    /// The first place and the others.
    #[inline(always)]
    pub fn parts(&self) -> (&u16, &[u16]) {
        let [first, others @ ..] = &self.places;
        // Most composites are one identity.
        let others = if self.count <= 1 { &[] } else { &others[..usize::from(self.count - 1).min(MOST_PARTS - 1)] };
        (first, others)
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
    /// There are more than [`MOST_PARTS`]. A policy has at most four identities in `per`, and four in its `share`.
    fn from_iter<I: IntoIterator<Item = u16>>(all: I) -> Self {
        let mut places = Self { count: 0, places: [0; MOST_PARTS] };
        for place in all {
            places.places[usize::from(places.count)] = place;
            places.count += 1;
        }
        places
    }
}

/// Sets of the stated limits by stages and by the kind of sender, so that a check finds the limits that apply with one
/// intersection.
#[derive(Clone, Debug)]
pub struct Applicable {
    /// The limits that are asked, for each set of stages.
    asked_at: [LimitSet; STAGE_SETS],
    /// The limits that an admitted check charges, for each set of stages.
    charged_at: [LimitSet; STAGE_SETS],
    /// What the limits read of an envelope, for each set of stages.
    sources: [Sources; STAGE_SETS],
    /// The limits that count messages of senders of each kind, in the order of [`SenderKind::ALL`].
    for_sender: [LimitSet; SenderKind::ALL.len()],
    /// The limits that are rates.
    pub rates: LimitSet,
    /// The fan-outs that refuse what is new.
    pub fan_outs: LimitSet,
    /// The limits that block.
    pub blocking: LimitSet,
    /// The limits that count bytes: a check of an envelope without a size need not ask them.
    pub sized: LimitSet,
    /// In-flight limits on connections and messages. A check that takes no permit skips them while no permit is open.
    pub unless_idle: LimitSet,
    /// The in-flight limits.
    pub in_flight: LimitSet,
    /// The limits that count reports. A check that takes no permit skips them until the server reports something.
    pub on_reports: LimitSet,
    /// The limits that count each report.
    reported: [LimitSet; Report::ALL.len()],
}

const STAGE_SETS: usize = 1 << Stage::ALL.len();

/// A set of the stated limits, by their place in the policy. A quota counts as its limit.
pub type LimitSet = Set<u16>;

impl Member for u16 {
    const COUNT: u32 = MAX_LIMITS as u32;

    fn place(self) -> u32 {
        self.into()
    }

    fn at(place: u32) -> Self {
        place as Self
    }
}

/// Tables that no limit owns. They stay where they are when the policy changes.
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
    /// The time of a block, in microseconds.
    pub us: u64,
    /// The hash of the limit's name and identities. Joined with the key of the values it is the key of a block, which
    /// stays the same under every policy that has the limit.
    pub key: Key,
    /// The first stage at which all of the key is known.
    pub from: Stage,
}

impl BlockRule {
    /// The limit that blocks, as 32 bits of the hash.
    pub fn by(&self) -> u32 {
        self.key.0 as u32
    }
}

/// Where the trust of a limit's keys comes from; keys of different trust never share a counter. If any identity of the
/// limit is the sender's, its keys have the sender's trust, even together with an identity that is always a claim,
/// such as a Reply-To. So claimed senders cannot use up the bucket of proven ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustSource {
    /// Its identities cannot be claimed.
    Proven,
    /// One of them is always a mere claim, and none is the sender's.
    Claimed,
    /// The sender's: all of `sender.*` have the same trust.
    Senders,
}

/// The keys of one of the counts of what is in flight.
#[derive(Debug)]
pub struct PlannedCounts {
    /// The identities, as places in [`Plan::identities`].
    pub per: Places,
    /// Where the trust of the keys comes from.
    pub trust_source: TrustSource,
    /// The identities by name: `client.net/24/48`.
    pub per_name: String,
}

/// The key that some rates have in common: they count per the same identities.
#[derive(Debug)]
pub struct RateKey {
    /// The identities, as places in [`Plan::identities`].
    pub per: Places,
    /// Where the trust of the key comes from.
    pub trust_source: TrustSource,
    /// The stated limits that count it.
    pub limits: LimitSet,
    /// The bits of all their quotas, as of [`Ask::quota_bits`]: a key without such a bit has no quota in any of them.
    /// All bits, if a part of a composite may have a quota.
    pub quota_bits: u64,
}

impl RateKey {
    /// The keys of the rates among the stated limits, in the order of the file.
    pub(super) fn all(limits: &[PlannedLimit]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for planned in limits.iter().filter(|planned| matches!(planned.store, Store::Rate(_))) {
            let PlannedLimit { per, trust_source, of, .. } = *planned;
            let known = all.iter().position(|key| key.per == per);
            let place = known.unwrap_or_else(|| {
                all.push(Self { per, trust_source, limits: LimitSet::EMPTY, quota_bits: 0 });
                all.len() - 1
            });
            all[place].limits.insert(of);
            let bits = quota_bits(&planned.quotas);
            all[place].quota_bits |= if bits != 0 && per.len() > 1 { u64::MAX } else { bits };
        }
        all
    }
}

/// A seen set and the identity of its elements.
#[derive(Debug)]
pub struct PlannedSeenSet {
    /// The seen set.
    pub set: SeenSet,
    /// The stated limits that look it up.
    pub limits: LimitSet,
    /// The pages of the elements and of the notes together.
    pub whole: Table,
    /// The identities of the key under which it remembers, as places in [`Plan::identities`].
    pub per: Places,
    /// Where the trust of the elements and of the key comes from.
    pub trust_source: TrustSource,
    /// The place of the element's identity in [`Plan::identities`].
    pub distinct: usize,
    /// The source of that identity.
    pub source: Source,
    /// The identities of `per` that are names, as the element's is: the place of each, and how the masks of the two
    /// differ. An element with the same value is never new.
    pub equals: SmallVec<[(u16, u64); 2]>,
    /// Whether the parts of names are remembered too, since a limit over it has `settle`.
    pub has_ladder: bool,
    /// When the limits over it charge a known element again.
    pub charged_again: ChargedAgain,
    /// Whether it remembers the sender's organisation under a mailbox of the header. For a mailbox, its own
    /// organisation is never new.
    pub is_under_mailbox: bool,
}

impl Applicable {
    /// The sets of the stated limits. `counts_recipients` states whether the policy bounds the recipients of a
    /// transaction.
    pub(super) fn new(limits: &[PlannedLimit], counts_recipients: bool) -> Self {
        let set = |is_in: &dyn Fn(&PlannedLimit) -> bool| {
            (0..).zip(limits).filter(|(_, limit)| is_in(limit)).map(|(place, _)| place).collect::<LimitSet>()
        };
        let is_asked = |limit: &PlannedLimit, stages: usize| limit.asked_at.bits() as usize & stages != 0;
        let is_charged = |limit: &PlannedLimit, stages: usize| {
            stages & 1 << limit.stage as usize != 0 && limit.limit.count != Count::Reports
        };
        let sources = |stages: usize| {
            let asked = limits.iter().filter(|limit| is_asked(limit, stages)).map(|planned| &planned.limit);
            let counted = counts_recipients && stages & 1 << Stage::Rcpt as usize != 0;
            asked.flat_map(Limit::sources).chain(counted.then_some(Source::Rcpt)).collect()
        };
        Self {
            asked_at: array::from_fn(|stages| set(&|limit| is_asked(limit, stages))),
            charged_at: array::from_fn(|stages| set(&|limit| is_charged(limit, stages))),
            sources: array::from_fn(sources),
            for_sender: SenderKind::ALL.map(|sender| set(&|limit| looks_at(limit.limit.verified, sender))),
            rates: set(&|limit| matches!(limit.store, Store::Rate(_))),
            fan_outs: set(&|limit| matches!(limit.store, Store::FanOut(_))),
            blocking: set(&|limit| limit.block_rule.is_some()),
            sized: set(&|limit| limit.limit.count == Count::Bytes),
            unless_idle: set(&|limit| limit.limit.is_in_flight() && limit.limit.count != Count::Bytes),
            in_flight: set(&|limit| limit.limit.is_in_flight()),
            on_reports: set(&|limit| limit.limit.count == Count::Reports),
            reported: Report::ALL.map(|report| set(&|limit| limit.limit.reports.contains(report))),
        }
    }

    /// The limits that are asked at `stages`.
    pub fn asked_at(&self, stages: Stages) -> LimitSet {
        self.asked_at[stages.bits() as usize % STAGE_SETS]
    }

    /// The limits that an admitted check of `stages` charges: at their own stage, and those on reports never.
    pub fn charged_at(&self, stages: Stages) -> LimitSet {
        self.charged_at[stages.bits() as usize % STAGE_SETS]
    }

    /// The limits that count this report.
    pub fn reported(&self, report: Report) -> LimitSet {
        self.reported[report as usize]
    }

    /// The limits that count messages of senders of this kind.
    pub fn for_sender(&self, sender: SenderKind) -> LimitSet {
        self.for_sender[sender as usize]
    }
}

impl Plan {
    /// What the limits of `stages` read of an envelope.
    pub fn sources(&self, stages: Stages) -> Sources {
        self.applicable.sources[stages.bits() as usize % STAGE_SETS]
    }

    /// The first of the values that share the quota at this place of [`Plan::limits`]; `None` at the place of a stated
    /// limit.
    pub fn quota(&self, place: usize) -> Option<&Quota> {
        self.limits[place].limit.quotas.first().filter(|_| place >= self.stated)
    }

    /// The values of the quota at this place: `salesforce.com`, or `salesforce.com and 2 more`.
    pub fn quota_name(&self, place: usize) -> Option<String> {
        let more = self.limits[place].values.saturating_sub(1);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        self.quota(place).map(|quota| quota.of.clone() + &more)
    }

    /// Bytes of the indexes of quotas. They lie outside the region.
    pub fn quota_bytes(&self) -> u64 {
        let filters = self.asks.iter().map(|ask| size_of_val(&*ask.quota_filter) as u64);
        self.limits.iter().map(|planned| planned.quotas.bytes()).chain(filters).sum()
    }

    /// The generation since which each limit has charged the same envelopes to the same keys, if `self` follows `old`.
    /// A refund of an earlier charge is ignored, since the key may not have paid it. `from` gives the places under
    /// `old`, `next` is the generation of `self`, and `is_same_list` states whether the suffix list stayed the same.
    pub(crate) fn since(&self, from: &[Option<usize>], old: &Plan, next: u64, is_same_list: bool) -> Vec<u64> {
        let stated = |plan: &Self, place: usize| usize::from(plan.limits[place].of);
        // A limit has as many places as quotas with different numbers, and these are all alike or none is.
        let mut known: HashMap<(usize, usize), bool> = HashMap::new();
        let mut charges_alike = |place: usize, from: usize| {
            let (is, was) = (stated(self, place), stated(old, from));
            *known.entry((is, was)).or_insert_with(|| {
                self.limits[is].limit.verified == old.limits[was].limit.verified && self.numbers(is) == old.numbers(was)
            })
        };
        let since = |(place, from): (usize, &Option<usize>)| match *from {
            Some(from) if is_same_list && charges_alike(place, from) => old.limits[from].since,
            _ => next,
        };
        from.iter().enumerate().map(since).collect()
    }

    /// The keys of a limit's quotas and their numbers, in the order of the file.
    fn numbers(&self, limit: usize) -> Vec<(Key, Option<(Rate, u64)>)> {
        let rule = |place: u16| self.limits.get(usize::from(place)).and_then(|quota| quota.limit.rule.rate_and_burst());
        self.limits[limit].quotas.pairs().into_iter().map(|(key, place)| (key, rule(place))).collect()
    }
}

impl PlannedLimit {
    /// Whether the limit may block the key of a message whose sender has this trust: a client's name alone is not
    /// enough to block its owner. Elements of a fan-out are not part of the key.
    pub fn may_block(&self, sender: Trust) -> bool {
        self.limit.per.iter().all(|identity| identity.source().trust(sender) == Trust::Proven)
    }

    /// Whether a message counts once for a recipient's host, however many mailboxes it goes to there.
    pub fn counts_hosts_once(&self) -> bool {
        let Limit { per, count, .. } = &self.limit;
        self.stage == Stage::Rcpt && *count != Count::Recipients && per.contains(&Identity::RcptHost)
    }
}

impl TrustSource {
    /// The trust of a key, if the sender has the trust `senders`.
    pub fn trust(self, senders: Trust) -> Trust {
        match self {
            Self::Proven => Trust::Proven,
            Self::Claimed => Trust::Claimed,
            Self::Senders => senders,
        }
    }

    /// The trust source of keys that these identities make together.
    pub(super) fn of(identities: impl Iterator<Item = Identity>) -> Self {
        identities.map(Identity::source).fold(Self::Proven, |so_far, source| match source {
            Source::Sender => Self::Senders,
            claim if claim.is_mere_claim() && so_far == Self::Proven => Self::Claimed,
            _ => so_far,
        })
    }
}

/// Whether a limit with this `verified` counts messages of senders of this kind.
pub fn looks_at(verified: Verified, sender: SenderKind) -> bool {
    match verified {
        Verified::Any => true,
        Verified::Proven => sender == SenderKind::Proven,
        Verified::Claimed => sender != SenderKind::Proven,
        Verified::Unproven => sender == SenderKind::Unproven,
    }
}

/// Gives each limit a counter slot: the one that a limit of its name has in `old`, or else a free one. Returns those
/// that `old` does not use.
fn give_slots(plan: &mut Plan, old: Option<&Plan>) -> Vec<u16> {
    let old = old.map_or(&[][..], |old| &old.limits[..old.stated]);
    let stated = &plan.limits[..plan.stated];
    let stays: Vec<_> =
        stated.iter().map(|new| old.iter().find(|was| was.name == new.name).map(|was| was.slot)).collect();
    let is_free = |slot: &u16| !stays.contains(&Some(*slot));
    let mut free = (reserved::ALL.len() as u16..SLOTS_OF_LIMITS as u16).filter(is_free);
    // There are as many slots as a policy may have limits, so a free one is left for each.
    let slots: Vec<u16> = stays.iter().map(|slot| slot.or_else(|| free.next()).unwrap_or_default()).collect();
    for planned in &mut plan.limits {
        planned.slot = slots[usize::from(planned.of)];
    }
    stays.iter().zip(slots).filter(|(stays, _)| stays.is_none()).map(|(_, slot)| slot).collect()
}

const _: () = assert!(reserved::ALL.len() + MAX_LIMITS == SLOTS_OF_LIMITS);
const _: () = assert!(Stage::ALL.len() == STAGES && Report::ALL.len() == REPORTS);

/// The place of an identity among those that are hashed; a new one is added.
fn place(identities: &mut Vec<PlannedIdentity>, identity: Identity) -> u16 {
    let known = identities.iter().position(|known| known.identity == identity);
    let place = known.unwrap_or_else(|| {
        let twin = identities.iter().position(|known| are_twins(known.identity, identity));
        let twin = twin.map(|place| (place as u16, identities[place].mask ^ mask(identity)));
        let (source, mask) = (identity.source(), mask(identity));
        let (at, needed_by) = (Stages::default(), LimitSet::EMPTY);
        identities.push(PlannedIdentity { identity, source, mask, twin, at, needed_by });
        identities.len() - 1
    });
    // A policy has at most 64 limits of a few identities each.
    place as u16
}

/// Whether the two identities have the same value when the client's address is one of IPv4, or when the sender's
/// organisation is what one has to register.
fn are_twins(first: Identity, second: Identity) -> bool {
    let v4_prefix = |identity| match identity {
        Identity::ClientNet(prefixes) => Some(prefixes.v4),
        Identity::ClientIp => Some(32),
        _ => None,
    };
    let is_owner = |identity| matches!(identity, Identity::SenderOrg(0) | Identity::SenderRegistered);
    v4_prefix(first).is_some_and(|prefix| v4_prefix(second) == Some(prefix)) || is_owner(first) && is_owner(second)
}

/// The identities `known`, and after them those that only the limits of `policy` need.
fn with_places(mut known: Vec<PlannedIdentity>, policy: &Policy) -> Vec<PlannedIdentity> {
    for identity in policy.limits.iter().flat_map(Limit::identities) {
        place(&mut known, identity);
    }
    known
}
