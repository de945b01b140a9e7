//! The commands of operators: block and allow values and take that back, list what is blocked, clear the counters of a
//! value, and start from elements that another run has learned.
//!
//! Text is read as a sender's text is, so spelling does not matter, and each key is the one that a check makes. An
//! entry of the access list keeps its text for the listing. A block by a limit has no text, so only values that
//! statistics have a name for are listed with it.
//!
//! Knows no file. Nothing is allocated in the region (P1): what does not fit is refused or left out.

use std::collections::HashMap;

use super::Engine;
use super::access::{can_be_claimed, entry_identity, scope_key};
use crate::identity::parse_value::{NotAValue, Scope, count_labels, parse_scope, parse_value, parts_of_host};
use crate::identity::{Identity, Source, SuffixList, Trust, UnknownIdentity, Value};
use crate::plan::{AccessTables, PlannedLimit};
use crate::store::access_list::{AccessAction, AccessEntry, EntryKind, PackedText, TEXT_BYTES, pack_text, unpack_text};
use crate::{
    error::PolicyError, key::Key, key::Secret, region::Now, store::Store, store::blocks::Block,
    store::seen_set::Learned,
};

/// Longest time that an entry may state: 366 days. A longer entry has no end.
const LONGEST_US: u64 = 366 * 86_400 * 1_000_000;

/// Why an operator's entry is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// An argument is wrong.
    Wrong(Box<PolicyError>),
    /// There is room for so many entries, and all are taken.
    Full(usize),
}

/// What is blocked, or let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The identity of an operator's entry, `client.net`, or those of a limit's block, `client.net + rcpt.address`.
    pub identity: String,
    /// The value. A limit's block has one when its name is known.
    pub value: Option<String>,
    /// For how long from now, µs; `None`: for good.
    pub left_us: Option<u64>,
    /// The limit that blocks; `None`: an operator, at run time or in the policy.
    pub by: Option<String>,
    /// What happens to the value.
    pub action: AccessAction,
    /// Whether it is an entry of the policy.
    pub is_of_policy: bool,
    /// The remark of an entry of the policy.
    pub comment: Option<String>,
}

/// An element that was admitted elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Lesson<'a> {
    /// A value of each identity of `per`.
    pub per: &'a [&'a str],
    /// What appeared under it.
    pub element: &'a str,
    /// When it was admitted first, in microseconds since the Unix epoch.
    pub first_us: i64,
    /// When it was admitted last.
    pub last_us: i64,
}

impl Blocked {
    /// What an operator's entry covers.
    pub(super) fn by_operator(entry: &AccessEntry, value: String, now_us: u64) -> Self {
        let (identity, left_us) = (entry_identity(entry).to_string(), left_us(entry.until_us, now_us));
        let (action, is_of_policy) = (entry.action, entry.is_of_policy);
        Self { identity, value: Some(value), left_us, by: None, action, is_of_policy, comment: None }
    }

    /// What a limit has blocked.
    pub(super) fn by_limit(planned: &PlannedLimit, value: Option<String>, until_us: u64, now_us: u64) -> Self {
        let (identity, by) = (planned.per_name.to_string(), Some(planned.name.to_string()));
        let (left_us, action) = (left_us(until_us, now_us), AccessAction::Block);
        Self { identity, value, left_us, by, action, is_of_policy: false, comment: None }
    }
}

/// The time until `until_us`; `None` when that is never.
fn left_us(until_us: u64, now_us: u64) -> Option<u64> {
    (until_us < u64::MAX).then(|| until_us - now_us)
}

impl From<PolicyError> for BlockError {
    fn from(error: PolicyError) -> Self {
        Self::Wrong(Box::new(error))
    }
}

impl Engine {
    /// Enters into the access list what happens to a value, for so many microseconds or for good. The entry replaces an
    /// earlier one of the same value.
    ///
    /// # Errors
    /// [`BlockError`]; then nothing is changed.
    pub fn say(
        &self, identity: &str, value: &str, action: AccessAction, us: Option<u64>, now: Now,
    ) -> Result<(), BlockError> {
        let access = self.plan.access.ok_or(BlockError::Full(0))?;
        if let Some(us) = us.filter(|us| !(1..=LONGEST_US).contains(us)) {
            let found = format!("{} s", us as f64 / 1e6);
            let allowed = "more than 0 and at most 31622400 (366 days), or None: for good";
            return Err(wrong("seconds", found, allowed).into());
        }
        let (mut entry, text) = access_entry(parsed(identity)?, value, action, &self.suffixes, &self.secret)?;
        // Engine time moves to now, as in a check: the clock may step back before the next check, and the entry must
        // not last longer for that.
        let (mut region, epoch) = self.shared.at(now, true);
        entry.until_us = us.map_or(u64::MAX, |us| epoch.last_us.saturating_add(us));
        if !access.list.put(&mut region, entry, &text, epoch.last_us) {
            return Err(BlockError::Full(access.list.most));
        }
        self.shared.hints.entries.insert(entry.key);
        self.shared.hints.set_entry_kinds(&bytemuck::cast(access.list.head(&region).kinds));
        Ok(())
    }

    /// Removes the operator's entries of a value, and the blocks of limits whose key is this value. Returns whether any
    /// of them was in force. An entry of the policy is there again after a reload.
    ///
    /// # Errors
    /// The identity is unknown, or `value` is no value of it.
    pub fn unblock(&self, identity: &str, value: &str, now: Now) -> Result<bool, PolicyError> {
        let Some(access) = self.plan.access else { return Ok(false) };
        let identities: Vec<Identity> = identity.split(" + ").map(parsed).collect::<Result<_, _>>()?;
        let by_limits = self.keys_of_limits(&identities, value);
        let listed = match identities[..] {
            [identity] => read_scope(identity, value, &self.suffixes, &self.secret).map(|(key, ..)| Some(key)),
            _ => {
                let allowed = "one identity, or those of a limit that blocks, with as many values";
                Err(wrong("identity", format!("{identity:?}"), allowed))
            }
        };
        // A key that a limit blocks need not be one that an entry can have.
        let listed = if by_limits.is_empty() { listed? } else { listed.unwrap_or_default() };
        let (mut region, epoch) = self.shared.at(now, false);
        let now_us = epoch.last_us;
        let taken = listed.and_then(|key| access.list.take(&mut region, key, now_us));
        if taken.is_some() {
            self.renew_entry_hints(access, &region);
        }
        let mut any = taken == Some(true);
        for key in by_limits {
            any |= access.blocks.lift(&mut region, key, now_us);
        }
        Ok(any)
    }

    /// Everything in force: operators' entries, first those that block and then those that allow, and after them the
    /// blocks of limits. `pause` runs every so many pages.
    pub fn blocked(&self, now: Now, pause: &dyn Fn()) -> Vec<Blocked> {
        let Some(access) = self.plan.access else { return Vec::new() };
        let mut list: Vec<(AccessEntry, [u64; TEXT_BYTES / 8])> = Vec::with_capacity(access.list.most);
        let (region, epoch) = self.shared.at(now, false);
        access.list.each(&region, |entry, text| list.push((entry, text.try_into().unwrap_or_default())));
        drop(region);
        let now_us = epoch.last_us;
        // Of two entries of a key the first is in force.
        let mut last = None;
        let mut is_in_force = |entry: &AccessEntry| entry.holds(now_us) && last.replace(entry.key) != Some(entry.key);
        let held = list.iter().filter(|(entry, _)| is_in_force(entry));
        let by_operators = held.map(|(entry, text)| Blocked {
            comment: self.comments.get(&entry.key).filter(|_| entry.is_of_policy).cloned(),
            ..Blocked::by_operator(entry, unpack_text(text), now_us)
        });
        let names = self.names_of_blocks(now);
        let blocks = self.live_blocks(access, now_us, pause).into_iter();
        let by_limits = blocks.filter_map(|Block { key, until_us, by }| {
            // When the policy no longer has the limit, its block refuses nothing.
            let planned = self.blocking_limits().find(|(.., rule)| rule.by() == by)?.1;
            Some(Blocked::by_limit(planned, names.get(&key).cloned(), until_us, now_us))
        });
        let mut all: Vec<Blocked> = by_operators.chain(by_limits).collect();
        let order =
            |one: &Blocked| (one.by.clone(), one.action as u8, one.identity.clone(), one.value.clone(), one.left_us);
        // An operator's entry has no limit, so it comes before the blocks by limits.
        all.sort_by_cached_key(order);
        all
    }

    /// The blocks of limits that are in force. They are read a page at a time, into room that is taken before the lock.
    fn live_blocks(&self, access: AccessTables, now_us: u64, pause: &dyn Fn()) -> Vec<Block> {
        let (mut all, mut in_page): (Vec<Block>, Vec<Block>) = (Vec::new(), Vec::with_capacity(256));
        for page in 0..access.blocks.table.pages() {
            if page % 64 == 63 {
                pause();
            }
            in_page.extend(access.blocks.live(&self.shared.lock(), page, now_us));
            all.append(&mut in_page);
        }
        all
    }

    /// The names that statistics have, by the keys that limits block them under.
    fn names_of_blocks(&self, now: Now) -> HashMap<Key, String> {
        let mut names = HashMap::new();
        for (_, planned, rule) in self.blocking_limits() {
            let [identity] = planned.limit.per[..] else { continue };
            for offender in self.top(identity, now).unwrap_or_default() {
                if let Ok(key) = self.key_of(identity, &offender.value) {
                    names.insert(self.block_key(rule.key, std::iter::once(key)), offender.value);
                }
            }
        }
        names
    }

    /// The keys under which limits per `identities` block these values.
    fn keys_of_limits(&self, identities: &[Identity], value: &str) -> Vec<Key> {
        let values: Vec<&str> = if identities.len() == 1 { vec![value] } else { value.split(" + ").collect() };
        if values.len() != identities.len() {
            return Vec::new();
        }
        let parts = identities.iter().zip(values).map(|(identity, value)| self.key_of(*identity, value));
        let Ok(parts) = parts.collect::<Result<Vec<Key>, _>>() else { return Vec::new() };
        let blocking = self.blocking_limits().filter(|(_, planned, _)| planned.limit.per == identities);
        blocking.map(|(.., rule)| self.block_key(rule.key, parts.iter().copied())).collect()
    }

    /// The key of a value, without trust.
    fn key_of(&self, identity: Identity, value: &str) -> Result<Key, NotAValue> {
        parse_value(identity, value, &self.suffixes, |value| self.secret.key(identity, value))
    }

    /// Clears the rate counters of `value` in every limit whose `per` is exactly `identity`, and in its quotas, for
    /// proven and claimed senders alike. Returns the number of limits that counted something.
    ///
    /// Known elements, sketches, what is in flight, and blocks stay: they are shared with other keys, prove something
    /// about the value, or end by themselves.
    ///
    /// # Errors
    /// The identity is unknown, or `value` is no value of it.
    pub fn reset(&self, identity: &str, value: &str, now: Now) -> Result<usize, PolicyError> {
        let identity = parsed(identity)?;
        let key = self.key_of(identity, value).map_err(|why| no_value(identity, value, why))?;
        let keys = Trust::ALL.map(|trust| self.secret.with_trust(key, trust));
        let mut cleared = vec![false; self.plan.stated];
        let (mut region, epoch) = self.shared.at(now, false);
        let now_us = epoch.last_us;
        for planned in self.plan.limits.iter().filter(|planned| planned.limit.per == [identity]) {
            for key in keys {
                cleared[usize::from(planned.of)] |= match (planned.store.rate_counter(), &planned.store) {
                    (Some(counter), _) => counter.clear(&mut region, &counter.lines(key), now_us),
                    (None, Store::Distinct(buckets)) => {
                        buckets.clear(&mut region, &buckets.table.candidates(key), now_us)
                    }
                    (None, _) => false,
                };
            }
        }
        Ok(cleared.into_iter().filter(|cleared| *cleared).count())
    }

    /// The seen sets that remember values of `distinct` under `per`: none when no limit needs one, several when limits
    /// with another `remember` or `memory` have seen sets of their own.
    pub fn seen_sets(&self, per: &[Identity], distinct: Identity) -> Vec<usize> {
        let element = |place: usize| self.plan.identities[self.plan.seen_sets[place].distinct].identity;
        let all = 0..self.plan.seen_sets.len();
        all.filter(|&place| element(place) == distinct && self.per_of(place) == per).collect()
    }

    /// Makes an element known in a seen set, and with the ladder also the parts of its name.
    ///
    /// # Errors
    /// [`NotAValue`] when no check could bring the element.
    pub fn learn(&self, seen_set: usize, lesson: &Lesson<'_>, now: Now) -> Result<Learned, NotAValue> {
        let (per, planned) = (self.per_of(seen_set), &self.plan.seen_sets[seen_set]);
        let distinct = self.plan.identities[planned.distinct].identity;
        if per.len() != lesson.per.len() {
            return Err(NotAValue::Never);
        }
        let parts = per.iter().zip(lesson.per).map(|(identity, text)| match identity {
            Identity::Global => Ok(self.secret.key(*identity, &Value::Global)),
            _ => self.key_of(*identity, text),
        });
        let parts: Vec<Key> = parts.collect::<Result<_, _>>()?;
        let under = parts.into_iter().reduce(|under, key| self.secret.join(under, key)).ok_or(NotAValue::Never)?;
        let mut keys = vec![self.secret.join(under, self.key_of(distinct, lesson.element)?)];
        if let (true, Some(&per)) = (planned.has_ladder, per.first()) {
            let add = |part: &str| keys.push(self.secret.join(under, self.secret.part(distinct, part)));
            parts_of_host(distinct, per, lesson.element, &self.suffixes, add);
        }
        let [first_us, last_us] = [lesson.first_us, lesson.last_us].map(|us| us.max(0).unsigned_abs());
        let (mut region, epoch) = self.shared.at(now, true);
        let mut outcome = Learned::Kept;
        // The element comes first. Its result is returned, unless a part of its name has a worse one.
        for key in keys {
            let at = planned.set.table.candidates(key);
            let learned = planned.set.learn(&mut region, &at, first_us, last_us, epoch.last_us);
            outcome = if outcome == Learned::Kept { learned } else { outcome };
        }
        Ok(outcome)
    }

    /// The identities under which a seen set remembers elements.
    fn per_of(&self, seen_set: usize) -> &[Identity] {
        let over_it = self.plan.limits.iter().find(|planned| planned.store.seen_set() == Some(seen_set));
        over_it.map_or(&[], |planned| planned.limit.remembered_per())
    }
}

/// An operator's entry without an end, and its text.
///
/// # Errors
/// The identity cannot have such an entry, or `value` is no value of it.
pub(super) fn access_entry(
    identity: Identity, value: &str, action: AccessAction, suffixes: &SuffixList, secret: &Secret,
) -> Result<(AccessEntry, PackedText), PolicyError> {
    if action != AccessAction::Block && identity.source() == Source::Rcpt {
        let allowed =
            "an identity of who sends: one mailbox among the recipients would carry the others past every limit";
        return Err(wrong("identity", format!("{:?}", identity.to_string()), allowed));
    }
    let (key, kind, text) = read_scope(identity, value, suffixes, secret)?;
    // A whole value of these two can only be a tag, which nobody owns.
    let is_tag =
        matches!(kind, EntryKind::Whole(_)) && matches!(identity, Identity::SenderOrg(0) | Identity::SenderRegistered);
    let unproven = identity.source().is_mere_claim() || is_tag;
    if action == AccessAction::Allow && can_be_claimed(identity) && unproven {
        let allowed = "what can be proven, or unverified=True: nobody ever proves this";
        return Err(wrong("value", format!("{value:?}"), allowed));
    }
    let Some(text) = pack_text(&text) else {
        let allowed = format!("a value of at most {TEXT_BYTES} octets");
        return Err(wrong("value", format!("one of {} octets", text.len()), &allowed));
    };
    let (until_us, is_of_policy) = (u64::MAX, false);
    Ok((AccessEntry { key, until_us, action, kind, identity: identity.code(), is_of_policy }, text))
}

/// The key, the kind and the normal text of what an entry of this value covers.
fn read_scope(
    identity: Identity, text: &str, suffixes: &SuffixList, secret: &Secret,
) -> Result<(Key, EntryKind, String), PolicyError> {
    let read = parse_scope(identity, text, suffixes, |scope, text| {
        let kind = match scope {
            Scope::Network(address, length) if address.is_ipv4() => EntryKind::V4(length),
            Scope::Network(_, length) => EntryKind::V6(length),
            Scope::Below(family, name) => EntryKind::Labels(family as u8, count_labels(name) as u8),
            Scope::Whole(place, _) => EntryKind::Whole(place as u8),
        };
        (scope_key(secret, &scope), kind, text)
    });
    read.map_err(|why| no_value(identity, text, why))
}

/// The error for a text that names no value of `identity`, or no scope.
fn no_value(identity: Identity, text: &str, why: NotAValue) -> PolicyError {
    let example = match identity {
        Identity::ClientNet(_) => ", as \"203.0.113.0/24\"",
        Identity::ClientIp => ", as \"203.0.113.9\"",
        Identity::ListId => ", as \"news.example.com\"",
        Identity::ReplyToOrg | Identity::ReplyToMailbox | Identity::DkimOrg => ", as \"example.com\"",
        _ if identity.is_name() && identity.source() != Source::AuthUser => {
            ", as \"example.com\"; it covers every host below"
        }
        _ => "",
    };
    let allowed = match why {
        NotAValue::Never => format!("a value of {identity}{example}"),
        NotAValue::Is(other) => format!("{other:?}, the {identity} that it has"),
        NotAValue::NoEntry => {
            let allowed =
                "one of client.*, helo.*, auth.user, sender.*, rcpt.*, from.*, reply_to.*, list.id or dkim.org";
            return wrong("identity", format!("{:?}", identity.to_string()), allowed);
        }
        NotAValue::Broad => {
            "a domain that somebody registered, or a network of at least /8 (IPv6: /16): this is too broad".into()
        }
    };
    wrong("value", format!("{text:?}"), &allowed)
}

fn parsed(identity: &str) -> Result<Identity, PolicyError> {
    identity.parse().map_err(|unknown: UnknownIdentity| PolicyError {
        suggestion: unknown.nearest.map(str::to_owned),
        ..wrong("identity", format!("{identity:?}"), &format!("one of {}", Identity::NAMES.join(", ")))
    })
}

fn wrong(field: &str, found: String, allowed: &str) -> PolicyError {
    PolicyError { field: Some(field.into()), found, allowed: allowed.into(), ..PolicyError::default() }
}
