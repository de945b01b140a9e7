//! What one check asks: filled in before the lock, and only read under it.
//!
//! A request holds keys, line addresses and amounts, and no text. A thread keeps the room of its last check for the
//! next one, so that the common check allocates nothing.

use std::cell::Cell;

use smallvec::SmallVec;

use crate::identity::parse_value::Kinds;
use crate::identity::{Identities, Identity, SenderKind, Source, Trust, Value};
use crate::key::{Key, Secret};
use crate::plan::{LimitSet, Places, Plan, PlannedIdentity};
use crate::policy::{Stage, Stages};
use crate::region::Candidates;
use crate::stats::IdentityKey;
use crate::store::access_list::AccessEntry;
use crate::store::request::{Answer, Answers, Held, Run, StoreRequest};

/// All that one check asks.
#[derive(Debug, Default)]
pub struct Request {
    pub(super) keys: Keys,
    /// What the stores are asked.
    pub(super) stores: StoreRequest,
    /// The trust of the sender.
    pub(super) sender_trust: Trust,
    /// The kind of sender, for `verified`.
    pub(super) sender_kind: SenderKind,
    /// The last stage that the check asks.
    pub(super) last_stage: Stage,
    /// Whether the transaction would have more recipients than the policy allows.
    pub(super) has_too_many_recipients: bool,
    /// Whether this is a step of a session.
    pub(super) is_step: bool,
    /// What statistics count, where a step of a session counts less than all of `keys`.
    pub(super) counted: Option<Vec<IdentityKey>>,
    /// What operators' entries and limits' blocks are asked, where one of them may hold.
    pub(super) access: Option<Box<AccessQuery>>,
    /// Whether there were entries or blocks when the request was prepared.
    pub(super) is_access_checked: bool,
}

impl Request {
    /// Every value that statistics count.
    pub(super) fn counted(&self) -> &[IdentityKey] {
        match &self.counted {
            None => &self.keys.values,
            Some(counted) => counted,
        }
    }
}

/// What a step of a session leaves out, or asks in addition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StageFilter {
    /// Limits that were asked before.
    pub(super) without: LimitSet,
    /// Recipients' hosts, by their place among those of the envelope, for which the message was counted before.
    pub(super) hosts: SmallVec<[u32; 4]>,
    /// How many recipients of the transaction were accepted before.
    pub(super) accepted: usize,
    /// Elements that became known at an earlier step of the transaction, and still count as new.
    pub(super) fresh: SmallVec<[Candidates; 2]>,
    /// Stages whose in-flight limits are consulted too.
    pub(super) in_flight: Stages,
    /// Whether only the client's name is new: statistics count nothing else again.
    pub(super) is_late: bool,
    /// Whether the permits that an earlier step took stay held.
    pub(super) keeps_permits: bool,
    /// Whether an earlier step of this stage was counted by statistics.
    pub(super) is_counted: bool,
}

/// What one check asks of entries and blocks.
#[derive(Debug)]
pub(super) struct AccessQuery {
    pub(super) kinds: Kinds,
    /// A key for each scope of the envelope of these kinds, if any of them may have an entry; else empty.
    pub(super) scopes: SmallVec<[Key; 8]>,
    /// Keys that a limit may have blocked.
    pub(super) blocks: SmallVec<[BlockQuery; 4]>,
}

/// A key that a limit may have blocked.
#[derive(Debug)]
pub(super) struct BlockQuery {
    /// The limit's place in the plan.
    pub(super) limit: u16,
    /// Which value, of an identity that has several.
    pub(super) nth: u32,
    pub(super) key: Key,
    pub(super) at: Candidates,
}

/// The answer of the access list.
#[derive(Debug, Default)]
pub(super) struct AccessAnswer {
    /// The entry that blocks the longest, and its place among the scopes.
    pub(super) entry: Option<(usize, AccessEntry)>,
    /// For each [`AccessQuery::blocks`], until when the key is blocked.
    pub(super) blocks: SmallVec<[Option<u64>; 4]>,
}

/// Room for all that is found out under the lock, taken before it.
#[derive(Debug, Default)]
pub struct Found {
    /// What the stores answer.
    pub(super) stores: Answers,
    /// What the access list answers.
    pub(super) access: AccessAnswer,
    /// For how many entries, and for how many look-ups, there is room.
    room: usize,
    /// How many slots the request may reserve.
    reservations: usize,
    /// What a permit will hold.
    pub(super) held: Held,
    /// Whether all limits were consulted. If an operator's entry lets the check through, only the in-flight limits
    /// were.
    pub(super) is_consulted: bool,
    /// Entries near their limit, or above it: places in the request.
    pub(super) near_limit: Vec<u32>,
    /// Entries of limits that block their key when the check is refused: places in the request.
    pub(super) blocking: Vec<u32>,
    /// Entries of limits that note their element when the check is refused: places in the request.
    pub(super) noting: Vec<u32>,
    /// Whether anything refuses but limits that note their element. Under a policy in shadow mode, whether it would.
    pub(super) is_refused_otherwise: bool,
    /// Those of `near_limit` that have a value without a name.
    pub(super) unnamed: Vec<u32>,
}

/// The room of one check: its request and what is found out.
#[derive(Debug, Default)]
pub(super) struct Room {
    pub(super) request: Request,
    pub(super) found: Found,
}

/// Entries that a kept room has space for, at most: a check with more recipients frees its room (P1).
const MOST_KEPT: usize = 256;

thread_local! {
    static KEPT: Cell<Option<Box<Room>>> = const { Cell::new(None) };
}

impl Room {
    /// The empty room that this thread has kept, or a new one.
    pub(super) fn kept() -> Box<Self> {
        KEPT.take().unwrap_or_default()
    }

    /// Empties the room and keeps it for the thread's next check.
    pub(super) fn keep(mut self: Box<Self>) {
        let Self { request, found } = &mut *self;
        if request.stores.entries.capacity() > MOST_KEPT || request.keys.values.len() > MOST_KEPT {
            return;
        }
        request.keys.clear();
        request.stores.clear();
        request.counted = None;
        request.access = None;
        request.is_access_checked = false;
        (request.has_too_many_recipients, request.is_step) = (false, false);
        found.stores.clear();
        found.access = AccessAnswer::default();
        found.held = Held::default();
        found.near_limit.clear();
        found.blocking.clear();
        found.noting.clear();
        found.is_refused_otherwise = false;
        found.unnamed.clear();
        KEPT.set(Some(self));
    }
}

impl Found {
    /// Takes all the room that `request` needs.
    pub(super) fn take_room_for(&mut self, request: &Request) {
        let stores = &request.stores;
        let is_more = !stores.others.is_empty() || !stores.parts.is_empty() || !stores.in_flight.keys.is_empty();
        let needed = stores.entries.len().max(stores.lookups.len());
        if needed > self.room || is_more || stores.reservations + self.reservations > 0 || request.access.is_some() {
            self.take_more_room_for(request, needed);
        }
        self.stores.entries.resize(stores.entries.len() - stores.fan_outs, Answer::FITS);
    }

    #[inline(never)]
    fn take_more_room_for(&mut self, request: &Request, needed: usize) {
        self.room = needed.max(self.room);
        self.reservations = request.stores.reservations;
        self.stores.take_room_for(&request.stores, needed);
        self.blocking.reserve(needed);
        self.noting.reserve(needed);
        self.near_limit.reserve(needed);
        self.unnamed.reserve(needed);
        if let Some(access) = &request.access {
            self.access.blocks.reserve(access.blocks.len());
        }
    }
}

/// Keys by the place of their identity in [`Plan::identities`].
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// Every value that the check brings: in the order of the places, then of the values.
    pub(super) values: Vec<IdentityKey>,
    /// The key of the first value at each place; [`ABSENT`] when the identity is absent or not needed.
    first: Vec<Key>,
    /// Limits that cannot apply because an identity is absent. Only `fill` sets it.
    pub(super) ruled_out: LimitSet,
    /// The run of `values` at each place, when any identity may have several values; else empty.
    spans: Vec<Run>,
}

/// The key of the first value of an identity. Nearly all values have one of three shapes, which are hashed from where
/// they are: no value is made of them.
#[inline(always)]
fn key_of(needed: &PlannedIdentity, secret: &Secret, identities: &Identities<'_>) -> Option<Key> {
    let PlannedIdentity { identity, source, mask, .. } = *needed;
    let usual = match source {
        Source::Sender => identities.sender_name(identity).map(|name| secret.name_key(mask, name)),
        Source::ClientIp => {
            identities.client_v4(identity).map(|(network, prefix)| secret.v4_key(mask, network, prefix))
        }
        Source::Nothing => identities.has_global().then(|| secret.masked(mask, &Value::Global)),
        Source::Rcpt if identity == Identity::RcptAddress => {
            identities.first_recipient().map(|(local, host)| secret.address_key(mask, local, host))
        }
        _ => None,
    };
    usual.or_else(|| Some(secret.key(identity, &identities.value(identity)?)))
}

/// The key of an identity that is absent. [`Secret::key`] never returns it. A key that `fill` makes by XOR equals it
/// with a chance of 2⁻⁶⁴; then limits on what is in flight take the identity for absent.
const ABSENT: Key = Key(0);

impl Keys {
    pub(super) fn clear(&mut self) {
        self.values.clear();
        self.first.clear();
        self.spans.clear();
        self.ruled_out = LimitSet::EMPTY;
    }

    /// Hashes what the limits of `stages` need, of an envelope in which no identity has several values; `self` is empty
    /// before.
    #[inline(always)]
    pub(super) fn fill(&mut self, plan: &Plan, secret: &Secret, identities: &Identities<'_>, stages: Stages) {
        let Self { values, first, ruled_out, .. } = self;
        values.reserve(plan.identities.len());
        first.resize(plan.identities.len(), ABSENT);
        let (is_v4, is_org_registered) = (identities.has_client_v4(), identities.is_org_registered());
        for (place, needed) in plan.identities.iter().enumerate() {
            if !needed.at.intersects(stages) {
                continue;
            }
            let twin = needed.twin.and_then(|(twin, between)| {
                let has_same_value = if needed.source == Source::ClientIp { is_v4 } else { is_org_registered };
                let key = first[usize::from(twin)];
                (has_same_value && key != ABSENT).then_some(Key(key.0 ^ between))
            });
            let key = twin.or_else(|| key_of(needed, secret, identities));
            match key {
                Some(key) => {
                    values.push(IdentityKey { place, key });
                    first[place] = key;
                }
                None => *ruled_out = ruled_out.union(needed.needed_by),
            }
        }
    }

    /// Hashes what the limits of `stages` need, of any envelope; `self` is empty before.
    #[inline(never)]
    pub(super) fn fill_several(&mut self, plan: &Plan, secret: &Secret, identities: &Identities<'_>, stages: Stages) {
        for (place, needed) in plan.identities.iter().enumerate() {
            let first = self.values.len();
            if needed.at.intersects(stages) {
                let keyed = |value| IdentityKey { place, key: secret.masked(needed.mask, value) };
                self.values.extend(identities.values(needed.identity).iter().map(keyed));
            }
            self.first.push(self.values.get(first).map_or(ABSENT, |value| value.key));
            self.spans.push(Run { first: first as u32, count: (self.values.len() - first) as u32 });
        }
    }

    /// How many keys a composite may have: at most one of its identities has several values.
    #[inline(always)]
    pub(super) fn count<const SEVERAL: bool>(&self, per: &Places) -> usize {
        if !SEVERAL || self.spans.is_empty() {
            return 1;
        }
        per.iter().map(|place| self.spans[usize::from(*place)].count as usize).product()
    }

    /// The key of a composite, with the `nth` value of the identity that has several; `None` when one of them is
    /// absent. `fill` has ruled out the limits for which one is, so without `SEVERAL` none is.
    #[inline(always)]
    pub(super) fn joined<const SEVERAL: bool>(&self, secret: &Secret, per: &Places, nth: usize) -> Option<Key> {
        let (first, others) = per.parts();
        if !SEVERAL {
            return Some(others.iter().fold(self.get(first), |joined, other| secret.join(joined, self.get(other))));
        }
        let mut joined = self.nth(*first, nth);
        let mut is_absent = joined == ABSENT;
        for other in others {
            let other = self.nth(*other, nth);
            is_absent |= other == ABSENT;
            joined = secret.join(joined, other);
        }
        (!is_absent).then_some(joined)
    }

    /// The key of the first value of an identity, or [`ABSENT`].
    #[inline(always)]
    pub(super) fn get(&self, place: &u16) -> Key {
        self.first.get(usize::from(*place)).copied().unwrap_or(ABSENT)
    }

    /// [`Keys::nth`], of an envelope that has one value of each identity unless it has `SEVERAL`.
    #[inline(always)]
    pub(super) fn nth_of<const SEVERAL: bool>(&self, place: u16, nth: usize) -> Key {
        if SEVERAL { self.nth(place, nth) } else { self.get(&place) }
    }

    /// The key of the first value of an identity; `None` when it is absent or not needed.
    pub(super) fn first(&self, place: u16) -> Option<Key> {
        Some(self.get(&place)).filter(|key| *key != ABSENT)
    }

    /// The key of the `nth` value of an identity, or of its only value; [`ABSENT`] when there is none.
    pub(super) fn nth(&self, place: u16, nth: usize) -> Key {
        let Some(span) = self.spans.get(usize::from(place)) else { return self.get(&place) };
        let values = span.of(&self.values);
        values.get(nth).or(values.last()).map_or(ABSENT, |value| value.key)
    }
}
