//! What a check asks of operators' entries and of limits' blocks. It is asked only while there are any.
//!
//! ```text
//!  flag set?  no → nothing of this is done
//!  marks ← of what there are entries;  one key for each mark that the envelope has, one for each key that a limit may have blocked
//!  ── lock ──
//!  allowed?   everything but what is open lets it pass, and nothing but what is open is charged
//!  blocked?   the end of the block is one more wait, and the longest is told
//! ```
//!
//! An entry holds from the stage on at which its identity is known, and a limit's block from the stage on at which all of its key is: a network that
//! was blocked for its messages is refused at connect. An operator's word to let pass is above every block.

use smallvec::SmallVec;

use super::Engine;
use super::asker::looks_at;
use super::request::{Entry, Request, value_of};
use super::set::LimitSet;
use super::settled::{By, Refused};
use crate::decision::Refusal;
use crate::identity::kind::DEFAULT_PREFIXES;
use crate::identity::scope::{self, FAMILIES, Scope, WHOLE, Wanted};
use crate::identity::{Identities, Identity, Prefixes, Source, Sources, Trust, Value};
use crate::key::{Key, Secret};
use crate::plan::{AccessTables, Blocking, Planned};
use crate::policy::limit::stage_of;
use crate::policy::unstated::BLOCKED;
use crate::policy::{Stage, Stages};
use crate::region::{Candidates, Region, prefetch};
use crate::reply::{Answer, Reply};
use crate::stats::IdentityKey;
use crate::store::access_entry::{self, AccessAction, Entry as Listing, EntryKind, EntryKinds};
use crate::store::blocks::Block;

/// What one check asks of both.
#[derive(Debug)]
pub(super) struct AskedMarks {
    pub(super) marks: Holding,
    /// A key for each scope of the envelope of which there may be an entry.
    pub(super) scopes: SmallVec<[Key; 8]>,
    /// How far the sender is proven.
    pub(super) class: Trust,
    /// The entry that blocks the longest, and its place among the scopes.
    listed: Option<(usize, Listing)>,
    /// Keys that a limit may have blocked.
    pub blocked: SmallVec<[AskedBlock; 4]>,
}

impl AskedMarks {
    /// Whether a limit has blocked this key already: then the refusal blocks no longer.
    pub(super) fn has_blocked(&self, limit: u16, nth: u32) -> bool {
        self.blocked.iter().any(|blocked| (blocked.limit, blocked.nth) == (limit, nth) && blocked.until_us.is_some())
    }
}

/// A key that a limit may have blocked.
#[derive(Debug)]
pub(super) struct AskedBlock {
    /// The limit's place in the plan.
    pub(super) limit: u16,
    /// Which value of the identity that has several.
    pub(super) nth: u32,
    pub(super) key: Key,
    pub(super) at: Candidates,
    /// Until when it is.
    pub(super) until_us: Option<u64>,
}

// EntryKinds have a bit for each.
const _: () = assert!(FAMILIES.len() <= access_entry::FAMILIES && WHOLE.len() <= u64::BITS as usize);

/// Of what there are entries that hold at this stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    marks: EntryKinds,
    stage: Stage,
}

impl Wanted for Holding {
    fn network(&self, v4: bool, length: u8) -> bool {
        self.marks.has(if v4 { EntryKind::V4(length) } else { EntryKind::V6(length) })
    }

    fn labels(&self, family: usize, labels: usize) -> bool {
        let known = u8::try_from(labels).is_ok_and(|labels| self.marks.has(EntryKind::Labels(family as u8, labels)));
        known && stage_of(FAMILIES[family]) <= self.stage
    }

    fn whole(&self, kind: usize) -> bool {
        self.marks.has(EntryKind::Whole(kind as u8)) && stage_of(WHOLE[kind]) <= self.stage
    }
}

impl Holding {
    fn sources(&self) -> Sources {
        let families =
            FAMILIES.into_iter().enumerate().filter(|(family, _)| (1..=127).any(|labels| self.labels(*family, labels)));
        let whole = WHOLE.into_iter().enumerate().filter(|(kind, _)| self.whole(*kind));
        let all = families.chain(whole).fold(Sources::default(), |all, (_, identity)| all.with(identity.source()));
        if self.marks.v4 != 0 || self.marks.v6 != [0; 2] { all.with(Identity::ClientIp.source()) } else { all }
    }
}

/// The key of what a scope covers.
pub(super) fn scope_key(secret: &Secret, scope: &Scope<'_>) -> Key {
    match scope {
        Scope::Network(address, length) => secret.key(Identity::ClientIp, &Value::Network(*address, *length)),
        Scope::Below(family, name) => secret.part(FAMILIES[*family], name),
        Scope::Whole(kind, value) => secret.key(WHOLE[*kind], value),
    }
}

/// The latest of some stages: what is known by then is known.
fn latest(stages: Stages) -> Option<Stage> {
    Stage::ALL.into_iter().rev().find(|stage| stages.has(*stage))
}

impl Engine {
    /// What entries and blocks need of an envelope at these stages, while there are any; and of what there are entries.
    #[inline]
    pub(super) fn marks(&self, stages: Stages) -> Option<(EntryKinds, Sources)> {
        if self.shared.has_access_entries() { self.marks_now(stages) } else { None }
    }

    /// What the limits of `stages` read of an envelope, and the marks.
    #[inline]
    pub(super) fn sources(&self, stages: Stages, marks: Option<(EntryKinds, Sources)>) -> Sources {
        let sources = self.plan.sources(stages);
        marks.map_or(sources, |(_, more)| sources.and(more))
    }

    #[cold]
    fn marks_now(&self, stages: Stages) -> Option<(EntryKinds, Sources)> {
        let (marked, stage) = (self.plan.marked?, latest(stages)?);
        let marks = marked.listed.marks(&self.shared.lock());
        let sources = self.blocking(stage).fold(Holding { marks, stage }.sources(), |all, (_, planned)| {
            planned.limit.identities().fold(all, |all, identity| all.with(identity.source()))
        });
        Some((marks, sources))
    }

    /// The limits that may have blocked what is known at `stage`.
    fn blocking(&self, stage: Stage) -> impl Iterator<Item = (u16, &Planned)> {
        let stated = (0..).zip(&self.plan.limits[..self.plan.stated]);
        stated.filter(move |(_, planned)| planned.blocking.is_some_and(|blocking| blocking.from <= stage))
    }

    /// Works out the keys, and sends for the lines of blocks.
    #[cold]
    pub(super) fn ask_marked(
        &self,
        request: &mut Request,
        identities: &Identities<'_>,
        marks: EntryKinds,
        stages: Stages,
    ) {
        let (Some(marked), Some(stage)) = (self.plan.marked, latest(stages)) else { return };
        let marks = Holding { marks, stage };
        let mut scopes = SmallVec::new();
        scope::each(identities, &marks, |scope| scopes.push(scope_key(&self.secret, &scope)));
        let class = identities.class(Identity::SenderHost);
        let mut blocked = SmallVec::new();
        for (limit, planned) in self.blocking(stage) {
            if looks_at(planned.limit.verified, planned.class(identities)) {
                self.each_blocked(marked, limit, planned, identities, &mut blocked);
            }
        }
        request.marks = Some(Box::new(AskedMarks { marks, scopes, class, listed: None, blocked }));
    }

    fn each_blocked(
        &self,
        marked: AccessTables,
        limit: u16,
        planned: &Planned,
        identities: &Identities<'_>,
        into: &mut SmallVec<[AskedBlock; 4]>,
    ) {
        let Some(blocking) = planned.blocking else { return };
        let values: SmallVec<[_; 4]> =
            planned.limit.per.iter().map(|&identity| (identity, identities.values(identity))).collect();
        let count: usize = values.iter().map(|(_, values)| values.len()).product();
        for nth in 0..count {
            let keys = values
                .iter()
                .filter_map(|(identity, values)| Some(self.secret.key(*identity, values.get(nth).or(values.first())?)));
            let key = self.block_key(blocking.key, keys);
            let at = marked.blocks.lines(key);
            prefetch(self.shared.address(), &at);
            into.push(AskedBlock { limit, nth: nth as u32, key, at, until_us: None });
        }
    }

    /// The key of a limit's block: of no class, since every part of it is proven.
    pub(super) fn block_key(&self, of: Key, parts: impl Iterator<Item = Key>) -> Key {
        parts.fold(of, |joined, key| self.secret.join(joined, key))
    }

    /// Looks at the region for what was asked. Whether the check is let through whatever the limits say.
    #[cold]
    pub(super) fn find_marked(&self, request: &mut Request, region: &Region, at_us: u64) -> bool {
        let (Some(marked), Some(asked)) = (self.plan.marked, &mut request.marks) else { return false };
        for blocked in &mut asked.blocked {
            blocked.until_us = marked.blocks.until_us(region, &blocked.at, blocked.key, at_us);
        }
        for (place, key) in asked.scopes.iter().enumerate() {
            let Some(entry) = marked.listed.get(region, *key, at_us) else { continue };
            match entry.word {
                AccessAction::AllowUnverified | AccessAction::Allow if lets_pass(entry, asked.class) => return true,
                AccessAction::AllowUnverified | AccessAction::Allow => {}
                AccessAction::Block if asked.listed.is_none_or(|(_, longest)| entry.until_us > longest.until_us) => {
                    asked.listed = Some((place, entry));
                }
                AccessAction::Block => {}
            }
        }
        false
    }

    /// The longest of the blocks that still live at `at_us`, an operator's before a limit's, of these the first in file order.
    #[cold]
    pub(super) fn consult_marked(&self, asked: &AskedMarks, at_us: u64) -> Option<Refused> {
        let listed = asked.listed.filter(|(_, entry)| entry.holds(at_us));
        let mut worst = listed.map(|(_, entry)| Refused { by: By::Listed, until_us: entry.until_us, rung: None });
        for (place, blocked) in asked.blocked.iter().enumerate() {
            let Some(until_us) = blocked.until_us.filter(|&until_us| until_us > at_us) else { continue };
            if worst.is_none_or(|worst| until_us > worst.until_us) {
                worst = Some(Refused { by: By::Blocked(place), until_us, rung: None });
            }
        }
        worst
    }

    /// Under a policy in shadow mode: the limits whose blocks would refuse; and whether an operator's would.
    #[cold]
    pub(super) fn shadow_marked(&self, request: &Request, at_us: u64, shadow: &mut LimitSet) -> bool {
        let Some(asked) = &request.marks else { return false };
        for blocked in asked.blocked.iter().filter(|blocked| blocked.until_us.is_some_and(|us| us > at_us)) {
            shadow.insert(blocked.limit);
        }
        asked.listed.is_some_and(|(_, entry)| entry.holds(at_us))
    }

    /// Blocks every key that a limit which blocks has refused.
    #[cold]
    pub(super) fn block_refused(&self, request: &Request, region: &mut Region, at_us: u64) {
        let Some(marked) = self.plan.marked else { return };
        for entry in request.entries.iter().filter(|entry| entry.blocks) {
            let Some((by, blocking)) = self.blocks_by(entry) else { continue };
            let key = self.key_to_block(blocking, by, Request::values(&request.seen, &request.known), entry.nth);
            let until_us = at_us.saturating_add(blocking.us);
            let block = Block { key, until_us, by: blocking.by() };
            let has_room = marked.blocks.set(region, &marked.blocks.lines(key), block, at_us);
            marked.listed.note_block(region, has_room.then_some(until_us));
        }
        self.shared.set_has_access_entries(true);
    }

    /// Whether a refusal finds room for its block: else the limit refuses by itself, and so long it is told.
    #[cold]
    pub(super) fn can_block(
        &self,
        blocking: Blocking,
        by: &Planned,
        seen: &[IdentityKey],
        nth: u32,
        region: &Region,
        at_us: u64,
    ) -> bool {
        let key = self.key_to_block(blocking, by, seen, nth);
        self.plan
            .marked
            .is_some_and(|AccessTables { blocks, .. }| blocks.has_room(region, &blocks.lines(key), key, at_us))
    }

    fn key_to_block(&self, blocking: Blocking, by: &Planned, seen: &[IdentityKey], nth: u32) -> Key {
        self.block_key(blocking.key, by.per.iter().filter_map(|&place| Some(value_of(seen, place, nth)?.key)))
    }

    fn blocks_by(&self, entry: &Entry) -> Option<(&Planned, Blocking)> {
        let planned = &self.plan.limits[usize::from(self.plan.limits[usize::from(entry.limit)].of)];
        Some((planned, planned.blocking?))
    }

    /// Takes the flag down when nothing is listed or blocked any more.
    pub(super) fn forget_marks(&self, region: &Region, at_us: u64) {
        if self.plan.marked.is_none_or(|marked| marked.listed.is_over(region, at_us)) {
            self.shared.set_has_access_entries(false);
        }
    }

    /// The words for an operator's block.
    pub(super) fn explain_listed(
        &self,
        identities: &Identities<'_>,
        request: &Request,
        wait_us: Option<u64>,
        stages: Stages,
    ) -> Refusal {
        let (mut key, mut identity) = (String::new(), Identity::Global);
        if let Some((asked, (place, entry))) = request.marks.as_ref().and_then(|asked| Some((asked, asked.listed?))) {
            identity = identity_of(entry.identity);
            let mut at = 0;
            scope::each(identities, &asked.marks, |scope| {
                if at == place {
                    key = scope.to_string();
                }
                at += 1;
            });
        }
        let stage = earliest(stages, stage_of(identity));
        let answer = Answer { rejects_at: wait_us.is_none().then_some(stage), template: None };
        let kind = Reply::blocked(stage, identity.source() == Source::Rcpt);
        Refusal { limit: BLOCKED.into(), identity: identity.to_string().into(), key, wait_us, kind, answer }
    }
}

/// The first of some stages that is not before `from`.
pub(super) fn earliest(stages: Stages, from: Stage) -> Stage {
    Stage::ALL.into_iter().find(|&stage| stage >= from && stages.has(stage)).unwrap_or(from)
}

/// Which limit blocked, and for which value of several.
pub(super) fn blocked_by(request: &Request, place: usize) -> (u16, u32) {
    let blocked = request.marks.as_ref().and_then(|asked| asked.blocked.get(place));
    blocked.map(|blocked| (blocked.limit, blocked.nth)).unwrap_or_default()
}

/// What a limit whose block stands answers. It may be told at an earlier stage than the limit's own, where the operator's words do not do.
pub(super) fn answer_to_blocked(planned: &Planned, stages: Stages) -> (Reply, Answer) {
    let stage = earliest(stages, planned.blocking.map_or(planned.stage, |blocking| blocking.from));
    let template = planned.template.clone().filter(|template| template.suits(stage <= Stage::Helo));
    let mailbox = planned.limit.per.iter().any(|identity| identity.source() == Source::Rcpt);
    (Reply::blocked(stage, mailbox), Answer { rejects_at: None, template })
}

/// Whether an entry lets a sender of that class pass.
pub(super) fn lets_pass(entry: Listing, class: Trust) -> bool {
    match entry.word {
        AccessAction::AllowUnverified => true,
        AccessAction::Allow => !is_of_sender(entry.mark) || class == Trust::Proven,
        AccessAction::Block => false,
    }
}

/// Whether an entry is of a name of who sends, which may be claimed.
fn is_of_sender(mark: EntryKind) -> bool {
    let identity = match mark {
        EntryKind::V4(_) | EntryKind::V6(_) => return false,
        EntryKind::Labels(family, _) => FAMILIES.get(usize::from(family)),
        EntryKind::Whole(kind) => WHOLE.get(usize::from(kind)),
    };
    identity.is_some_and(|identity| can_be_claimed(*identity))
}

/// Whether anybody can write it into a message.
pub(super) fn can_be_claimed(identity: Identity) -> bool {
    identity.source() == Source::Sender || identity.source().is_mere_claim()
}

/// An identity in three octets: its place among the plain ones, and its parameters.
pub(super) fn code_of(identity: Identity) -> u32 {
    let (plain, first, second) = match identity {
        Identity::ClientNet(prefixes) => (Identity::ClientNet(DEFAULT_PREFIXES), prefixes.v4, prefixes.v6),
        Identity::SenderOrg(labels) => (Identity::SenderOrg(0), labels, 0),
        other => (other, 0, 0),
    };
    let place = Identity::PLAIN.iter().position(|other| *other == plain).unwrap_or_default();
    u32::from_le_bytes([second, first, place as u8, 0])
}

/// What [`code_of`] gave.
pub(super) fn identity_of(code: u32) -> Identity {
    let [second, first, place, _] = code.to_le_bytes();
    match Identity::PLAIN.get(usize::from(place)) {
        Some(Identity::ClientNet(_)) => Identity::ClientNet(Prefixes { v4: first, v6: second }),
        Some(Identity::SenderOrg(_)) => Identity::SenderOrg(first),
        Some(plain) => *plain,
        None => Identity::Global,
    }
}
