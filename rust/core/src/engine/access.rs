//! What a check asks of the access list: operators' entries and limits' blocks. It asks only while there are any.
//!
//! ```text
//!  any there? no → nothing of this is done
//!  prepare    kinds ← the kinds of entries present
//!             a key for each scope of the envelope of these kinds, a key for each key that a limit may have blocked
//!  ── lock ──
//!  allowed?   every limit is skipped but those on what is in flight, and only those are charged
//!  blocked?   the end of the block is one more wait, and the longest wait is reported
//! ```
//!
//! An entry holds from the stage at which its identity is known, and a limit's block from the stage at which all of its
//! key is known: a network that was blocked for its messages is refused at connect. An operator's `allow` beats every
//! block.

use smallvec::SmallVec;

use super::Engine;
use super::request::{AccessQuery, BlockQuery, Found, KindsAt, Request};
use super::transaction::{Refused, RefusedBy};
use crate::decision::Refusal;
use crate::identity::scope::{self, FAMILIES, Kinds, Scope, WHOLE};
use crate::identity::{Identities, Identity, Source, Sources, Trust, Value};
use crate::key::{Key, Secret};
use crate::plan::LimitSet;
use crate::plan::{AccessTables, BlockRule, PlannedLimit, looks_at};
use crate::policy::reserved::BLOCKED;
use crate::policy::{Stage, Stages};
use crate::region::{KIND_WORDS, Region, prefetch};
use crate::reply::{Answer, Reply};
use crate::store::access_list::{self, AccessAction, AccessEntry, EntryKind, EntryKinds};
use crate::store::blocks::Block;

// `EntryKinds` has a bit for each.
const _: () = assert!(size_of::<EntryKinds>() == 8 * KIND_WORDS);
const _: () = assert!(FAMILIES.len() <= access_list::FAMILIES && WHOLE.len() <= u64::BITS as usize);

impl KindsAt {
    /// Leaves out the kinds whose identity is not known at `stage`.
    fn new(kinds: EntryKinds, stage: Stage) -> Self {
        let EntryKinds { v4, mut whole, v6, labels } = kinds;
        let mut known = [[0; 2]; FAMILIES.len()];
        for (family, identity) in FAMILIES.into_iter().enumerate() {
            if labels[family] != [0; 2] && identity.stage() <= stage {
                known[family] = labels[family];
            }
        }
        let mut left = whole;
        while left != 0 {
            let kind = left.trailing_zeros() as usize;
            left &= left - 1;
            if WHOLE[kind].stage() > stage {
                whole &= !(1 << kind);
            }
        }
        Self(Kinds { v4, v6, labels: known, whole })
    }

    /// What must be read of an envelope to look these kinds up.
    fn sources(&self) -> Sources {
        let Kinds { v4, v6, labels, whole } = &self.0;
        let families = FAMILIES.into_iter().zip(labels).filter(|(_, labels)| **labels != [0; 2]);
        let whole = WHOLE.into_iter().enumerate().filter(|(kind, _)| whole >> kind & 1 != 0).map(|(_, whole)| whole);
        let identities = families.map(|(family, _)| family).chain(whole);
        let all = identities.fold(Sources::default(), |all, identity| all.with(identity.source()));
        if *v4 != 0 || *v6 != [0; 2] { all.with(Identity::ClientIp.source()) } else { all }
    }
}

/// The key of what a scope covers.
pub(super) fn scope_key(secret: &Secret, scope: &Scope<'_>) -> Key {
    match scope {
        Scope::Network(address, length) => secret.scoped(Identity::ClientIp, &Value::Network(*address, *length)),
        Scope::Below(family, name) => secret.part(FAMILIES[*family], name),
        Scope::Whole(kind, value) => secret.scoped(WHOLE[*kind], value),
    }
}

/// The latest of some stages: what is known by then is known.
fn latest(stages: Stages) -> Option<Stage> {
    Stage::ALL.into_iter().rev().find(|stage| stages.contains(*stage))
}

impl Engine {
    /// The kinds of entries that may hold at these stages, and what must be read of an envelope to look up entries and
    /// blocks; `None` while there are neither.
    #[inline]
    pub(super) fn access_kinds(&self, stages: Stages) -> Option<(KindsAt, Sources)> {
        if self.shared.has_access_entries() { self.access_kinds_now(stages) } else { None }
    }

    #[cold]
    fn access_kinds_now(&self, stages: Stages) -> Option<(KindsAt, Sources)> {
        let stage = latest(stages)?;
        self.plan.access?;
        let kinds = KindsAt::new(bytemuck::cast(self.shared.entry_kinds()), stage);
        let sources = self.blocking(stage).fold(kinds.sources(), |all, (_, planned)| {
            planned.limit.identities().fold(all, |all, identity| all.with(identity.source()))
        });
        Some((kinds, sources))
    }

    /// The limits that may have blocked what is known at `stage`.
    fn blocking(&self, stage: Stage) -> impl Iterator<Item = (u16, &PlannedLimit)> {
        let stated = (0..).zip(&self.plan.limits[..self.plan.stated]);
        stated.filter(move |(_, planned)| planned.block_rule.is_some_and(|rule| rule.from <= stage))
    }

    /// Works out the keys, and prefetches the lines of blocks.
    #[cold]
    pub(super) fn prepare_access(
        &self,
        request: &mut Request,
        identities: &Identities<'_>,
        kinds: KindsAt,
        stages: Stages,
    ) {
        let (Some(access), Some(stage)) = (self.plan.access, latest(stages)) else { return };
        let mut scopes = SmallVec::new();
        scope::each(identities, &kinds.0, |scope| scopes.push(scope_key(&self.secret, &scope)));
        let sender_trust = identities.trust(Identity::SenderHost);
        let mut blocks = SmallVec::new();
        for (limit, planned) in self.blocking(stage) {
            if looks_at(planned.limit.verified, planned.trust_source.trust(sender_trust)) {
                self.each_blocked_key(access, limit, planned, identities, &mut blocks);
            }
        }
        request.access = Some(Box::new(AccessQuery { kinds, scopes, sender_trust, blocks }));
    }

    fn each_blocked_key(
        &self,
        access: AccessTables,
        limit: u16,
        planned: &PlannedLimit,
        identities: &Identities<'_>,
        into: &mut SmallVec<[BlockQuery; 4]>,
    ) {
        let Some(rule) = planned.block_rule else { return };
        let values: SmallVec<[_; 4]> = planned.limit.per.iter().map(|&identity| identities.values(identity)).collect();
        let count: usize = values.iter().map(|values| values.len()).product();
        for nth in 0..count {
            let keys = values.iter().filter_map(|values| Some(self.secret.key(values.get(nth).or(values.first())?)));
            let key = self.block_key(rule.key, keys);
            let at = access.blocks.lines(key);
            prefetch(self.shared.address(), &at);
            into.push(BlockQuery { limit, nth: nth as u32, key, at });
        }
    }

    /// The key of a limit's block: without trust, since every part of it is proven.
    pub(super) fn block_key(&self, of: Key, parts: impl Iterator<Item = Key>) -> Key {
        parts.fold(of, |joined, key| self.secret.join(joined, key))
    }

    /// Looks entries and blocks up; whether an entry lets the check through whatever the limits say.
    #[cold]
    pub(super) fn consult_access(&self, request: &Request, region: &Region, at_us: u64, found: &mut Found) -> bool {
        let (Some(access), Some(query)) = (self.plan.access, &request.access) else { return false };
        for block in &query.blocks {
            found.access.blocks.push(access.blocks.until_us(region, &block.at, block.key, at_us));
        }
        for (place, key) in query.scopes.iter().enumerate() {
            let Some(entry) = access.list.get(region, *key, at_us) else { continue };
            match entry.action {
                AccessAction::AllowUnverified | AccessAction::Allow if lets_pass(entry, query.sender_trust) => {
                    return true;
                }
                AccessAction::AllowUnverified | AccessAction::Allow => {}
                AccessAction::Block
                    if found.access.entry.is_none_or(|(_, longest)| entry.until_us > longest.until_us) =>
                {
                    found.access.entry = Some((place, entry));
                }
                AccessAction::Block => {}
            }
        }
        false
    }

    /// What operators' entries and limits' blocks say of each scope and key, for people: entries with their place among
    /// the scopes, and the ends of blocks. The room is taken before the lock.
    pub(super) fn read_access(
        &self,
        query: &AccessQuery,
        region: &Region,
        at_us: u64,
        entries: &mut Vec<Option<AccessEntry>>,
        blocks: &mut Vec<Option<u64>>,
    ) {
        let Some(access) = self.plan.access else { return };
        entries.extend(query.scopes.iter().map(|key| access.list.get(region, *key, at_us)));
        blocks.extend(query.blocks.iter().map(|block| access.blocks.until_us(region, &block.at, block.key, at_us)));
    }

    /// The longest of the blocks that still hold at `at_us`: of equal ones an operator's before a limit's, then the
    /// first in file order.
    #[cold]
    pub(super) fn longest_block(&self, found: &Found, at_us: u64) -> Option<Refused> {
        let entry = found.access.entry.filter(|(_, entry)| entry.holds(at_us));
        let mut worst =
            entry.map(|(_, entry)| Refused { by: RefusedBy::AccessEntry, until_us: entry.until_us, part: None });
        for (place, until_us) in found.access.blocks.iter().enumerate() {
            let Some(until_us) = until_us.filter(|&until_us| until_us > at_us) else { continue };
            if worst.is_none_or(|worst| until_us > worst.until_us) {
                worst = Some(Refused { by: RefusedBy::Block(place), until_us, part: None });
            }
        }
        worst
    }

    /// Under a policy in shadow mode: adds the limits whose blocks would refuse; whether an operator's entry would.
    #[cold]
    pub(super) fn shadow_access(&self, request: &Request, found: &Found, at_us: u64, shadow: &mut LimitSet) -> bool {
        let Some(query) = &request.access else { return false };
        for (block, until_us) in query.blocks.iter().zip(&found.access.blocks) {
            if until_us.is_some_and(|us| us > at_us) {
                shadow.insert(block.limit);
            }
        }
        found.access.entry.is_some_and(|(_, entry)| entry.holds(at_us))
    }

    /// Whether a limit has blocked this key already: then a refusal does not extend the block.
    #[cold]
    pub(super) fn is_blocked(&self, request: &Request, found: &Found, limit: u16, nth: u32) -> bool {
        let Some(query) = &request.access else { return false };
        let mut blocks = query.blocks.iter().zip(&found.access.blocks);
        blocks.any(|(block, until_us)| (block.limit, block.nth) == (limit, nth) && until_us.is_some())
    }

    /// Blocks every key that a limit which blocks has refused: those of `entries`, by their place in the request.
    #[cold]
    pub(super) fn block_refused(&self, request: &Request, entries: &[u32], region: &mut Region, at_us: u64) {
        let Some(access) = self.plan.access else { return };
        for &place in entries {
            let entry = &request.stores.entries[place as usize];
            let by = self.stated(entry.limit);
            let Some(rule) = by.block_rule else { continue };
            let key = self.key_to_block(rule, by, request, entry.nth);
            let until_us = at_us.saturating_add(rule.us);
            let block = Block { key, until_us, by: rule.by() };
            let has_room = access.blocks.set(region, &access.blocks.lines(key), block, at_us);
            access.list.note_block(region, has_room.then_some(until_us));
        }
        self.shared.set_has_access_entries(true);
    }

    /// Whether a refusal finds room for its block: else the limit refuses by itself, for as long as it does.
    #[cold]
    pub(super) fn can_block(
        &self,
        rule: BlockRule,
        by: &PlannedLimit,
        request: &Request,
        nth: u32,
        region: &Region,
        at_us: u64,
    ) -> bool {
        let key = self.key_to_block(rule, by, request, nth);
        let has_room = |blocks: &crate::store::blocks::Blocks| blocks.has_room(region, &blocks.lines(key), key, at_us);
        self.plan.access.is_some_and(|access| has_room(&access.blocks))
    }

    fn key_to_block(&self, rule: BlockRule, by: &PlannedLimit, request: &Request, nth: u32) -> Key {
        let parts = by.per.iter().filter(|place| request.keys.first(**place).is_some());
        self.block_key(rule.key, parts.map(|&place| request.keys.nth(place, nth as usize)))
    }

    /// The limit at this place, or that of the quota there.
    pub(super) fn stated(&self, limit: u16) -> &PlannedLimit {
        &self.plan.limits[usize::from(self.plan.limits[usize::from(limit)].of)]
    }

    /// Takes the flag down when no entry and no block holds any more.
    #[cold]
    pub(super) fn forget_access(&self, region: &Region, at_us: u64) {
        if self.plan.access.is_none_or(|access| access.list.has_ended(region, at_us)) {
            self.shared.set_has_access_entries(false);
        }
    }

    /// The refusal by an operator's entry.
    pub(super) fn refusal_by_entry(
        &self,
        identities: &Identities<'_>,
        request: &Request,
        found: &Found,
        wait_us: Option<u64>,
        stages: Stages,
    ) -> Refusal {
        let (mut key, mut identity) = (String::new(), Identity::Global);
        if let Some((query, (place, entry))) = request.access.as_ref().zip(found.access.entry) {
            identity = entry_identity(&entry);
            let mut at = 0;
            scope::each(identities, &query.kinds.0, |scope| {
                if at == place {
                    key = scope.to_string();
                }
                at += 1;
            });
        }
        let stage = earliest(stages, identity.stage());
        let answer = Answer { rejects_at: wait_us.is_none().then_some(stage), template: None };
        let kind = Reply::blocked(stage, identity.source() == Source::Rcpt);
        Refusal { limit: BLOCKED.into(), identity: identity.to_string().into(), key, wait_us, stage, kind, answer }
    }

    /// The texts of the scopes of an envelope, in the order of [`AccessQuery::scopes`].
    pub(super) fn scope_texts(&self, identities: &Identities<'_>, query: &AccessQuery) -> Vec<String> {
        let mut texts = Vec::with_capacity(query.scopes.len());
        scope::each(identities, &query.kinds.0, |scope| texts.push(scope.to_string()));
        texts
    }
}

/// The first of some stages that is not before `from`.
pub(super) fn earliest(stages: Stages, from: Stage) -> Stage {
    Stage::ALL.into_iter().find(|&stage| stage >= from && stages.contains(stage)).unwrap_or(from)
}

/// Which limit blocked, and for which value of several.
pub(super) fn blocked_by(request: &Request, place: usize) -> (u16, u32) {
    let block = request.access.as_ref().and_then(|query| query.blocks.get(place));
    block.map(|block| (block.limit, block.nth)).unwrap_or_default()
}

/// The reply to a key that a limit has blocked. It may be given at an earlier stage than the limit's own, where the
/// operator's reply does not fit.
pub(super) fn answer_to_blocked(planned: &PlannedLimit, stage: Stage) -> (Reply, Answer) {
    let template = planned.template.clone().filter(|template| template.suits(stage <= Stage::Helo));
    let mailbox = planned.limit.per.iter().any(|identity| identity.source() == Source::Rcpt);
    (Reply::blocked(stage, mailbox), Answer { rejects_at: None, template })
}

/// Whether an entry lets a sender of this trust pass.
pub(super) fn lets_pass(entry: AccessEntry, trust: Trust) -> bool {
    match entry.action {
        AccessAction::AllowUnverified => true,
        AccessAction::Allow => !is_of_sender(entry.kind) || trust == Trust::Proven,
        AccessAction::Block => false,
    }
}

/// Whether an entry names a sender, which may be claimed.
fn is_of_sender(mark: EntryKind) -> bool {
    let identity = match mark {
        EntryKind::V4(_) | EntryKind::V6(_) => return false,
        EntryKind::Labels(family, _) => FAMILIES.get(usize::from(family)),
        EntryKind::Whole(kind) => WHOLE.get(usize::from(kind)),
    };
    identity.is_some_and(|identity| can_be_claimed(*identity))
}

/// Whether anybody can write this identity into a message.
pub(super) fn can_be_claimed(identity: Identity) -> bool {
    identity.source() == Source::Sender || identity.source().is_mere_claim()
}

/// The identity that an operator named in an entry.
pub(super) fn entry_identity(entry: &AccessEntry) -> Identity {
    Identity::from_code(entry.identity).unwrap_or(Identity::Global)
}
