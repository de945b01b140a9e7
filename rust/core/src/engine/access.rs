//! What a check asks of the access list: operators' entries and limits' blocks. It asks only while there are any.
//!
//! ```text
//!  any there? no → nothing of this is done
//!  prepare    kinds ← the kinds of entries present
//!             a key for each scope of the envelope of these kinds, a key for each key that a limit may have blocked
//!  ── lock ──
//!  blocked?   by an operator: refused until no entry blocks, and then the other two questions decide
//!  allowed?   the in-flight limits are consulted, and no other; nothing is charged, and `admit` holds a permit
//!  blocked?   by a limit: the end of the block is one more wait, and the longest wait is reported
//! ```
//!
//! An entry holds from the stage at which its identity is known, and a limit's block from the stage at which all of its
//! key is known: a network that was blocked for its messages is refused at connect. An operator's block beats every
//! `allow`, and an `allow` beats the block of a limit. Entries of the policy and entries made at run time count alike,
//! but of two for the same scope the one made at run time is in force.

use std::net::IpAddr;

use smallvec::SmallVec;

use super::Engine;
use super::request::{AccessQuery, BlockQuery, Found, Request};
use super::transaction::{Outcome, Refused, RefusedBy};
use crate::bitset::places;
use crate::decision::{Refusal, Reply, ReplySettings};
use crate::identity::parse_value::{FAMILIES, Kinds, Scope, WHOLE, each_scope};
use crate::identity::{Identities, Identity, Source, Sources, Trust, Value};
use crate::key::{Key, Secret, mask, part_mask};
use crate::plan::{AccessTables, BlockRule, LimitSet, PlannedLimit};
use crate::policy::{Stage, Stages, reserved::BLOCKED};
use crate::region::{Hints, KIND_WORDS, Region, prefetch};
use crate::store::access_list::{self, AccessAction, AccessEntry, EntryKinds};
use crate::store::blocks::Block;

// `EntryKinds` fills the words of the hint, and has a bit for each family and for each whole value.
const _: () = assert!(size_of::<EntryKinds>() == 8 * KIND_WORDS && matches!(FAMILIES[SENDERS], Identity::SenderHost));
const _: () = assert!(FAMILIES.len() <= access_list::FAMILIES && WHOLE.len() <= u64::BITS as usize);

/// The kinds of entries present whose identity is known at `stage`, and the sources that must be read to look them up.
fn kinds_at(hints: &Hints, stage: Stage) -> (Kinds, Sources) {
    let wide = |word: usize| u128::from(hints.entry_kinds(word + 1)) << 64 | u128::from(hints.entry_kinds(word));
    // The words of `EntryKinds`. A prefix has at least one bit; bit 0 of the IPv6 lengths stands for 128.
    let (v4, v6) = (hints.entry_kinds(0) >> 1, wide(2).rotate_right(1));
    let mut kinds = Kinds { v4, v6, ..Kinds::default() };
    let mut sources = if v4 != 0 || v6 != 0 { Sources::EMPTY.with(Source::ClientIp) } else { Sources::EMPTY };
    for (family, host) in FAMILIES.into_iter().enumerate() {
        let word = 4 + 2 * family;
        if hints.entry_kinds(word) | hints.entry_kinds(word + 1) != 0 && host.stage() <= stage {
            (kinds.labels[family], kinds.families) = (wide(word), kinds.families | 1 << family);
            sources.insert(host.source());
        }
    }
    for place in places(hints.entry_kinds(1)) {
        if WHOLE[place as usize].stage() <= stage {
            kinds.whole |= 1 << place;
            sources.insert(WHOLE[place as usize].source());
        }
    }
    (kinds, sources)
}

/// The place of senders in [`FAMILIES`].
const SENDERS: usize = 2;

/// The key of what a scope covers.
pub(super) fn scope_key(secret: &Secret, scope: &Scope<'_>) -> Key {
    match scope {
        Scope::Network(address, length) => secret.key(Identity::ClientIp, &Value::Network(*address, *length)),
        Scope::Below(family, name) => secret.part(FAMILIES[*family], name),
        Scope::Whole(kind, value) => secret.key(WHOLE[*kind], value),
    }
}

impl Engine {
    /// The kinds of entries that may hold at these stages, and the sources that must be read of an envelope to look up
    /// entries and blocks. Returns `None` while there are neither.
    pub(super) fn access_kinds(&self, stages: Stages) -> Option<(Kinds, Sources)> {
        if self.shared.hints.has_access_entries.get() { self.access_kinds_now(stages) } else { None }
    }

    #[inline(never)]
    fn access_kinds_now(&self, stages: Stages) -> Option<(Kinds, Sources)> {
        // An identity stays known, so the latest stage decides.
        let (Some(_), Some(stage)) = (self.plan.access, stages.last()) else { return None };
        let (kinds, mut sources) = kinds_at(&self.shared.hints, stage);
        if self.shared.hints.has_blocks.get() {
            let blocking = self.blocking_limits().filter(|(.., rule)| rule.from <= stage);
            sources = blocking.flat_map(|(_, planned, _)| planned.limit.sources()).fold(sources, Sources::with);
        }
        Some((kinds, sources))
    }

    /// The stated limits that block: their places and block rules.
    pub(super) fn blocking_limits(&self) -> impl Iterator<Item = (u16, &PlannedLimit, BlockRule)> {
        let stated = (0..).zip(&self.plan.limits[..self.plan.stated]);
        stated.filter_map(|(place, planned)| Some((place, planned, planned.block_rule?)))
    }

    /// Works out the keys of scopes and blocks. The query stays absent unless one of them may have an entry or a block;
    /// then the lines of blocks are prefetched.
    #[inline(never)]
    pub(super) fn prepare_access(
        &self, request: &mut Request, identities: &Identities<'_>, kinds: &Kinds, stages: Stages,
    ) {
        let (Some(access), Some(stage)) = (self.plan.access, stages.last()) else { return };
        request.is_access_checked = true;
        let mut may_have_entry = false;
        each_scope(identities, kinds, |scope| {
            may_have_entry |= self.shared.hints.entries.may_contain(self.scope_key(request, identities, &scope));
        });
        let mut scopes = SmallVec::new();
        if may_have_entry {
            each_scope(identities, kinds, |scope| scopes.push(scope_key(&self.secret, &scope)));
        }
        let mut blocks = SmallVec::new();
        if self.shared.hints.has_blocks.get() {
            self.prepare_blocks(request, identities, access, stage, &mut blocks);
        }
        if !scopes.is_empty() || !blocks.is_empty() {
            request.access = Some(Box::new(AccessQuery { kinds: *kinds, scopes, blocks }));
        }
    }

    /// The key of what a scope covers. The client's network and the sender's organisation were nearly always hashed for
    /// a limit, and then only the mask of the key differs.
    #[inline(always)]
    fn scope_key(&self, request: &Request, identities: &Identities<'_>, scope: &Scope<'_>) -> Key {
        let hashed = match scope {
            Scope::Network(IpAddr::V4(_), length) => {
                self.plan.client_net.filter(|(v4, _)| v4 == length).map(|(_, place)| (place, mask(Identity::ClientIp)))
            }
            Scope::Below(SENDERS, name) if identities.has_org(name) => {
                self.plan.sender_org.map(|place| (place, part_mask(Identity::SenderHost)))
            }
            _ => None,
        };
        let hash = hashed.and_then(|(place, mask)| {
            Some(request.keys.first(place)?.0 ^ self.plan.identities[usize::from(place)].mask ^ mask)
        });
        hash.map_or_else(|| scope_key(&self.secret, scope), Key)
    }

    /// Works out the keys that limits may have blocked.
    fn prepare_blocks(
        &self, request: &Request, identities: &Identities<'_>, access: AccessTables, stage: Stage,
        into: &mut SmallVec<[BlockQuery; 4]>,
    ) {
        let mut add = |limit, nth, key| {
            if self.shared.hints.blocks.may_contain(key) {
                let at = access.blocks.table.candidates(key);
                prefetch(self.shared.address, &at);
                into.push(BlockQuery { limit, nth, key, at });
            }
        };
        for limit in
            self.plan.applicable.blocking.intersect(self.plan.applicable.for_sender(request.sender_kind)).iter()
        {
            let planned = &self.plan.limits[usize::from(limit)];
            let Some(rule) = planned.block_rule.filter(|rule| rule.from <= stage) else { continue };
            if !planned.may_block(request.sender_trust) {
                continue;
            }
            // The keys of a limit that is not asked at these stages are not in the request.
            let is_known =
                !identities.may_have_several() && planned.per.iter().all(|&place| request.keys.first(place).is_some());
            if is_known {
                add(limit, 0, self.block_key(rule.key, planned.per.iter().map(|place| request.keys.get(place))));
                continue;
            }
            let per = planned.limit.per.iter();
            let values: SmallVec<[_; 4]> = per.map(|&identity| (identity, identities.values(identity))).collect();
            let count: usize = values.iter().map(|(_, values)| values.len()).product();
            for nth in 0..count {
                let keys = values.iter().filter_map(|(identity, values)| {
                    Some(self.secret.key(*identity, values.get(nth).or(values.first())?))
                });
                add(limit, nth as u32, self.block_key(rule.key, keys));
            }
        }
    }

    /// The key of a limit's block. It has no trust, because every part of it is proven.
    pub(super) fn block_key(&self, of: Key, parts: impl Iterator<Item = Key>) -> Key {
        parts.fold(of, |joined, key| self.secret.join(joined, key))
    }

    /// Looks up entries and blocks. Returns whether the limits are left out: when an entry lets the check through, now
    /// or as soon as no other entry blocks it. Then only operators' blocks, the in-flight limits and the number of
    /// permits can refuse it.
    #[cold]
    pub(super) fn consult_access(
        &self, request: &Request, region: &Region, found: &mut Found, outcome: &mut Outcome,
    ) -> bool {
        let (Some(access), Some(query)) = (self.plan.access, &request.access) else { return false };
        let at_us = outcome.at_us;
        for block in &query.blocks {
            found.access.blocks.push(access.blocks.until_us(region, &block.at, block.key, at_us));
        }
        found.access.entry = self.blocking_entry(request, region, at_us);
        let mut free_us = at_us;
        while let Some((_, entry)) = self.blocking_entry(request, region, free_us) {
            free_us = entry.until_us;
        }
        let is_let_through = self.is_let_through(request, region, free_us);
        if is_let_through && found.access.entry.is_some() {
            outcome.is_entry_shadow = region.is_shadow();
            if !outcome.is_entry_shadow {
                outcome.refuse(Refused { by: RefusedBy::AccessEntry, until_us: free_us, part: None });
            }
        }
        is_let_through
    }

    /// The operator's entry that blocks at `at_us`, and the place of its scope: of several the one that ends last.
    fn blocking_entry(&self, request: &Request, region: &Region, at_us: u64) -> Option<(usize, AccessEntry)> {
        let (access, query) = (self.plan.access?, request.access.as_ref()?);
        let entries = query.scopes.iter().enumerate();
        let entries = entries.filter_map(|(place, key)| Some((place, access.list.get(region, *key, at_us)?)));
        let blocking = entries.filter(|(_, entry)| entry.action == AccessAction::Block);
        blocking.reduce(|last, next| if next.1.until_us > last.1.until_us { next } else { last })
    }

    /// Whether an operator's entry lets the check through at `at_us`, if none blocks it then.
    fn is_let_through(&self, request: &Request, region: &Region, at_us: u64) -> bool {
        let (Some(access), Some(query)) = (self.plan.access, &request.access) else { return false };
        let mut entries = query.scopes.iter().filter_map(|key| access.list.get(region, *key, at_us));
        entries.any(|entry| lets_pass(entry, request.sender_trust))
    }

    /// The longest of the blocks that hold at `at_us`. Of equal ones an operator's comes before a limit's, then the
    /// first in file order.
    #[cold]
    pub(super) fn longest_block(
        &self, request: &Request, region: &Region, found: &Found, at_us: u64,
    ) -> Option<Refused> {
        let refused = |by, until_us| (until_us > at_us).then_some(Refused { by, until_us, part: None });
        let entry = self.blocking_entry(request, region, at_us);
        let entry = entry.and_then(|(_, entry)| refused(RefusedBy::AccessEntry, entry.until_us));
        let blocks = found.access.blocks.iter().enumerate();
        let blocks = blocks.filter_map(|(place, until_us)| refused(RefusedBy::Block(place), (*until_us)?));
        entry.into_iter().chain(blocks).reduce(|worst, next| if next.until_us > worst.until_us { next } else { worst })
    }

    /// Under a policy in shadow mode: adds the limits whose blocks would refuse to `shadow`, and returns whether an
    /// operator's entry would.
    #[cold]
    pub(super) fn shadow_access(&self, request: &Request, found: &Found, at_us: u64, shadow: &mut LimitSet) -> bool {
        let Some(query) = &request.access else { return false };
        let blocks = query.blocks.iter().zip(&found.access.blocks);
        let in_force = blocks.filter(|(_, until_us)| until_us.is_some_and(|us| us > at_us));
        *shadow = shadow.union(in_force.map(|(block, _)| block.limit).collect());
        found.access.entry.is_some_and(|(_, entry)| entry.holds(at_us))
    }

    /// Whether a limit has blocked this key already. Then a refusal does not extend the block.
    #[cold]
    pub(super) fn is_blocked(&self, request: &Request, found: &Found, limit: u16, nth: u32) -> bool {
        let Some(query) = &request.access else { return false };
        let mut blocks = query.blocks.iter().zip(&found.access.blocks);
        blocks.any(|(block, until_us)| (block.limit, block.nth) == (limit, nth) && until_us.is_some())
    }

    /// Blocks the keys of `entries`, which limits that block have refused. They are places in the request.
    #[cold]
    pub(super) fn block_refused(&self, request: &Request, entries: &[u32], region: &mut Region, at_us: u64) {
        let Some(access) = self.plan.access else { return };
        for &place in entries {
            let entry = &request.stores.entries[place as usize];
            let by = &self.plan.limits[usize::from(self.plan.limits[usize::from(entry.limit)].of)];
            let Some(rule) = by.block_rule else { continue };
            let key = self.key_to_block(rule, by, request, entry.nth);
            let until_us = at_us.saturating_add(rule.us);
            let block = Block { key, until_us, by: rule.by() };
            let has_room = access.blocks.set(region, &access.blocks.table.candidates(key), block, at_us);
            access.list.note_block(region, has_room.then_some(until_us));
            self.shared.hints.note_block(key);
        }
    }

    /// Reports whether the block table has room for this key. Without room no block is stored, and the refusal lasts
    /// only as long as the limit's own wait.
    #[cold]
    pub(super) fn can_block(
        &self, rule: BlockRule, by: &PlannedLimit, request: &Request, nth: u32, region: &Region, at_us: u64,
    ) -> bool {
        let key = self.key_to_block(rule, by, request, nth);
        self.plan
            .access
            .is_some_and(|access| access.blocks.has_room(region, &access.blocks.table.candidates(key), key, at_us))
    }

    fn key_to_block(&self, rule: BlockRule, by: &PlannedLimit, request: &Request, nth: u32) -> Key {
        let parts = by.per.iter().filter(|place| request.keys.first(**place).is_some());
        self.block_key(rule.key, parts.map(|&place| request.keys.nth(place, nth as usize)))
    }

    /// Clears the hints that there are entries, or blocks, when none of them holds any more.
    #[inline(never)]
    pub(super) fn forget_access(&self, region: &Region, at_us: u64) {
        let Some(access) = self.plan.access else { return };
        let head = access.list.head(region);
        if self.shared.hints.has_blocks.get() && head.blocked_until_us <= at_us {
            self.shared.hints.forget_blocks();
        }
        if head.listed_until_us.max(head.blocked_until_us) <= at_us {
            self.shared.hints.forget_access();
        }
    }

    /// The refusal by an operator's entry.
    pub(super) fn refusal_by_entry(
        &self, identities: &Identities<'_>, request: &Request, found: &Found, wait_us: Option<u64>, stages: Stages,
    ) -> Refusal {
        let (mut key, mut identity) = (String::new(), Identity::Global);
        if let Some((query, (place, entry))) = request.access.as_ref().zip(found.access.entry) {
            identity = entry_identity(&entry);
            let mut at = 0;
            each_scope(identities, &query.kinds, |scope| {
                if at == place {
                    key = scope.to_string();
                }
                at += 1;
            });
        }
        let stage = earliest(stages, identity.stage());
        let settings = ReplySettings { rejects_at: wait_us.is_none().then_some(stage), ..ReplySettings::default() };
        let kind = Reply::blocked(stage, identity.source() == Source::Rcpt);
        Refusal { limit: BLOCKED.into(), identity: identity.to_string().into(), key, wait_us, stage, kind, settings }
    }
}

/// The first of some stages that is not before `from`.
pub(super) fn earliest(stages: Stages, from: Stage) -> Stage {
    Stage::ALL.into_iter().find(|&stage| stage >= from && stages.contains(stage)).unwrap_or(from)
}

/// The limit that blocked, and the place of the blocked value among several.
pub(super) fn blocked_by(request: &Request, place: usize) -> (u16, u32) {
    let block = request.access.as_ref().and_then(|query| query.blocks.get(place));
    block.map(|block| (block.limit, block.nth)).unwrap_or_default()
}

/// The reply to a key that a limit has blocked. It may come at an earlier stage than the limit's own, where the
/// operator's reply does not fit.
pub(super) fn reply_to_blocked(planned: &PlannedLimit, stage: Stage) -> (Reply, ReplySettings) {
    let template = planned.limit.reply.clone().filter(|template| template.suits(stage <= Stage::Helo));
    let mailbox = planned.limit.per.iter().any(|identity| identity.source() == Source::Rcpt);
    (Reply::blocked(stage, mailbox), ReplySettings { template, ..ReplySettings::default() })
}

/// Whether an entry lets a sender of this trust pass.
pub(super) fn lets_pass(entry: AccessEntry, trust: Trust) -> bool {
    match entry.action {
        AccessAction::AllowUnverified => true,
        AccessAction::Allow => !can_be_claimed(entry_identity(&entry)) || trust == Trust::Proven,
        AccessAction::Block => false,
    }
}

/// Whether anybody can write this identity into a message.
pub(super) fn can_be_claimed(identity: Identity) -> bool {
    identity.source() == Source::Sender || identity.source().is_mere_claim()
}

/// The identity that an operator named in an entry.
pub(super) fn entry_identity(entry: &AccessEntry) -> Identity {
    Identity::from_code(entry.identity).unwrap_or(Identity::Global)
}
