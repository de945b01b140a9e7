//! What operators say: block, allow, and take it back. Read as a sender's text is, so that spelling does not matter.
//!
//! One entry a name: the last word counts. Text is kept for who asks what is listed; a limit's blocks have none, so
//! their values are those that observation has a name for.

use std::collections::HashMap;

use super::Engine;
use super::access::{can_be_claimed, entry_identity, scope_key};
use crate::error::PolicyError;
use crate::identity::parse_value::{NotAValue, parse_value};
use crate::identity::scope::{NoScope, Scope, scope};
use crate::identity::{Identity, Source, UnknownIdentity, Value};
use crate::key::Key;
use crate::plan::AccessTables;
use crate::region::{Now, Region};
use crate::store::access_list::{AccessAction, AccessEntry, EntryKind};
use crate::store::access_list::{TEXT_BYTES, pack_text, unpack_text};
use crate::store::blocks::Block;

/// Longest time that is one: 366 days. For longer there is for good.
const LONGEST_US: u64 = 366 * 86_400 * 1_000_000;

/// Why an operator's word is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockError {
    /// It says nothing that could be obeyed.
    Wrong(Box<PolicyError>),
    /// There is room for so many entries, and all are taken.
    Full(usize),
}

/// What is blocked, or let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// `client.net`, or of a limit's block its identities: `client.net + rcpt.address`.
    pub identity: String,
    /// The value; of a limit's block, when its name is known.
    pub value: Option<String>,
    /// For how long from now, µs; `None`: for good.
    pub left_us: Option<u64>,
    /// The limit; `None`: an operator.
    pub by: Option<String>,
    /// What is said.
    pub action: AccessAction,
}

impl From<PolicyError> for BlockError {
    fn from(error: PolicyError) -> Self {
        Self::Wrong(Box::new(error))
    }
}

impl Engine {
    /// Takes an operator's word about a value, in place of one that was said before; for so many microseconds, or for
    /// good.
    ///
    /// # Errors
    /// [`BlockError`]; then nothing is changed.
    pub fn say(
        &self,
        identity: &str,
        value: &str,
        action: AccessAction,
        us: Option<u64>,
        now: Now,
    ) -> Result<(), BlockError> {
        let access = self.plan.access.ok_or(BlockError::Full(0))?;
        if us.is_some_and(|us| !(1..=LONGEST_US).contains(&us)) {
            let found = format!("{} s", us.unwrap_or_default() as f64 / 1e6);
            return Err(wrong(
                "seconds",
                found,
                "more than 0 and at most 31622400 (366 days), or None: for good".into(),
            )
            .into());
        }
        let identity = parsed(identity)?;
        let is_mailbox = identity.source() == Source::Rcpt;
        if action != AccessAction::Block && is_mailbox {
            let allowed =
                "an identity of who sends: one mailbox among the recipients would carry the others past every limit"
                    .into();
            return Err(wrong("identity", format!("{:?}", identity.to_string()), allowed).into());
        }
        let (key, mark, text) = self.read_scope(identity, value)?;
        let unproven = identity.source().is_mere_claim() || matches!(mark, EntryKind::Whole(_)) && is_tag(identity);
        if action == AccessAction::Allow && can_be_claimed(identity) && unproven {
            let allowed = "what can be proven, or unverified=True: nobody ever proves this".into();
            return Err(wrong("value", format!("{value:?}"), allowed).into());
        }
        let Some(text) = pack_text(&text) else {
            let allowed = format!("a value of at most {TEXT_BYTES} octets");
            return Err(wrong("value", format!("one of {} octets", text.len()), allowed).into());
        };
        let (mut region, epoch) = self.shared.at(now, false);
        let until_us = us.map_or(u64::MAX, |us| epoch.last_us.saturating_add(us));
        let entry = AccessEntry { key, until_us, action, kind: mark, identity: identity.code() };
        if !access.list.put(&mut region, entry, &text, epoch.last_us) {
            return Err(BlockError::Full(access.list.most()));
        }
        self.shared.set_entry_kinds(&bytemuck::cast(access.list.kinds(&region)));
        Ok(())
    }

    /// Takes back what an operator said of a value, and lifts the blocks of limits whose key it is. Whether anything of
    /// it held.
    ///
    /// # Errors
    /// A text that is no value.
    pub fn unblock(&self, identity: &str, value: &str, now: Now) -> Result<bool, PolicyError> {
        let Some(access) = self.plan.access else { return Ok(false) };
        let identities: Vec<Identity> = identity.split(" + ").map(parsed).collect::<Result<_, _>>()?;
        let by_limits = self.keys_of_limits(&identities, value);
        let listed = match identities[..] {
            [identity] => match self.read_scope(identity, value) {
                Ok((key, ..)) => Some(key),
                Err(_) if !by_limits.is_empty() => None,
                Err(error) => return Err(error),
            },
            _ if by_limits.is_empty() => {
                let allowed = "one identity, or those of a limit that blocks, with as many values".into();
                return Err(wrong("identity", format!("{identity:?}"), allowed));
            }
            _ => None,
        };
        let (mut region, epoch) = self.shared.at(now, false);
        let now_us = epoch.last_us;
        let taken = listed.and_then(|key| access.list.take(&mut region, key));
        if taken.is_some() {
            self.shared.set_entry_kinds(&bytemuck::cast(access.list.kinds(&region)));
        }
        let mut any = taken.is_some_and(|entry| entry.holds(now_us));
        for key in by_limits {
            any |= access.blocks.lift(&mut region, key, now_us);
        }
        Ok(any)
    }

    /// All that holds: operators' entries in the order of what is blocked and what is let through, then the blocks of
    /// limits. `pause` runs every so many pages.
    pub fn blocked(&self, now: Now, pause: &dyn Fn()) -> Vec<Blocked> {
        let Some(access) = self.plan.access else { return Vec::new() };
        let mut list: Vec<(AccessEntry, [u64; TEXT_BYTES / 8])> = Vec::with_capacity(access.list.most());
        let now_us = {
            let (region, epoch) = self.shared.at(now, false);
            access.list.each(&region, |entry, text| {
                let mut copied = [0; TEXT_BYTES / 8];
                copied.copy_from_slice(text);
                list.push((entry, copied));
            });
            epoch.last_us
        };
        let left = |until_us: u64| (until_us < u64::MAX).then(|| until_us - now_us);
        let held = list.iter().filter(|(entry, _)| entry.holds(now_us));
        let mut all: Vec<Blocked> = held
            .map(|(entry, text)| Blocked {
                identity: entry_identity(entry).to_string(),
                value: Some(unpack_text(text)),
                left_us: left(entry.until_us),
                by: None,
                action: entry.action,
            })
            .collect();
        all.sort_by(|a, b| (a.action as u8, &a.identity, &a.value).cmp(&(b.action as u8, &b.identity, &b.value)));
        let names = self.names_of_blocks(now);
        let blocks = self.live_blocks(access, now_us, pause).into_iter();
        let mut by_limits: Vec<Blocked> =
            blocks.filter_map(|block| self.as_blocked(&block, left(block.until_us), &names)).collect();
        by_limits.sort_by(|a, b| (&a.by, &a.value, a.left_us).cmp(&(&b.by, &b.value, b.left_us)));
        all.extend(by_limits);
        all
    }

    fn live_blocks(&self, access: AccessTables, now_us: u64, pause: &dyn Fn()) -> Vec<Block> {
        // Room for a page, taken before the lock.
        let (mut all, mut page_of): (Vec<Block>, Vec<Block>) = (Vec::new(), Vec::with_capacity(256));
        for page in 0..access.blocks.table().pages() {
            if page % 64 == 63 {
                pause();
            }
            page_of.clear();
            {
                let region: &Region = &self.shared.lock();
                page_of.extend(access.blocks.live(region, page, now_us));
            }
            all.extend_from_slice(&page_of);
        }
        all
    }

    /// A limit's block as an operator reads it; `None` when the policy no longer has the limit, since the block then
    /// refuses nothing.
    fn as_blocked(&self, block: &Block, left_us: Option<u64>, names: &HashMap<Key, String>) -> Option<Blocked> {
        let mut stated = self.plan.limits[..self.plan.stated].iter();
        let planned = stated.find(|planned| planned.block_rule.is_some_and(|own| own.by() == block.by))?;
        let (identity, by) = (planned.per_name.to_string(), Some(planned.name.to_string()));
        Some(Blocked { identity, value: names.get(&block.key).cloned(), left_us, by, action: AccessAction::Block })
    }

    /// The names that observation has, by the keys that limits block them under.
    fn names_of_blocks(&self, now: Now) -> HashMap<Key, String> {
        let mut names = HashMap::new();
        for planned in &self.plan.limits[..self.plan.stated] {
            let (Some(block_rule), [identity]) = (planned.block_rule, &planned.limit.per[..]) else { continue };
            for offender in self.top(*identity, now).unwrap_or_default() {
                let key = parse_value(*identity, &offender.value, &self.suffixes, |value| self.secret.key(value));
                if let Ok(key) = key {
                    names.insert(self.block_key(block_rule.key, std::iter::once(key)), offender.value);
                }
            }
        }
        names
    }

    /// The keys of limits' blocks of these values.
    fn keys_of_limits(&self, identities: &[Identity], value: &str) -> Vec<Key> {
        let values: Vec<&str> = if identities.len() == 1 { vec![value] } else { value.split(" + ").collect() };
        if values.len() != identities.len() {
            return Vec::new();
        }
        let parts = identities.iter().zip(values).map(|(identity, value)| {
            parse_value(*identity, value, &self.suffixes, |value: &Value<'_>| self.secret.key(value)).ok()
        });
        let Some(parts) = parts.collect::<Option<Vec<Key>>>() else { return Vec::new() };
        let block_rule = self.plan.limits[..self.plan.stated].iter().filter(|planned| planned.limit.per == identities);
        let keys = block_rule.filter_map(|planned| planned.block_rule);
        keys.map(|block_rule| self.block_key(block_rule.key, parts.iter().copied())).collect()
    }

    fn read_scope(&self, identity: Identity, text: &str) -> Result<(Key, EntryKind, String), PolicyError> {
        let read = scope(identity, text, &self.suffixes, |scope, text| {
            let mark = match scope {
                Scope::Network(address, length) if address.is_ipv4() => EntryKind::V4(length),
                Scope::Network(_, length) => EntryKind::V6(length),
                Scope::Below(family, name) => EntryKind::Labels(family as u8, Scope::labels(name) as u8),
                Scope::Whole(kind, _) => EntryKind::Whole(kind as u8),
            };
            (scope_key(&self.secret, &scope), mark, text)
        });
        let found = || format!("{text:?}");
        read.map_err(|none| match none {
            NoScope::Identity => wrong(
                "identity",
                format!("{:?}", identity.to_string()),
                "one of client.*, helo.*, auth.user, sender.*, rcpt.*, from.*, reply_to.*, list.id or dkim.org".into(),
            ),
            NoScope::Value => wrong("value", found(), format!("a value of {identity}{}", example(identity))),
            NoScope::Is(other) => wrong("value", found(), format!("{other:?}, the {identity} that it has")),
            NoScope::Broad => wrong(
                "value",
                found(),
                "a domain that somebody registered, or a network of at least /8 (IPv6: /16): this is too broad".into(),
            ),
        })
    }
}

fn example(identity: Identity) -> &'static str {
    match identity {
        Identity::ClientNet(_) => ", as \"203.0.113.0/24\"",
        Identity::ClientIp => ", as \"203.0.113.9\"",
        Identity::ListId => ", as \"news.example.com\"",
        Identity::ReplyToOrg | Identity::DkimOrg => ", as \"example.com\"",
        _ if identity.is_name() && identity.source() != Source::AuthUser => {
            ", as \"example.com\"; it covers every host below"
        }
        _ => "",
    }
}

/// The error for a text that is no value of `identity`.
pub(super) fn no_value(identity: Identity, text: &str, why: NotAValue) -> PolicyError {
    let allowed = match why {
        NotAValue::Never => format!("a value of {identity}{}", example(identity)),
        NotAValue::Is(other) => format!("{other:?}, the {identity} that it has"),
    };
    wrong("value", format!("{text:?}"), allowed)
}

/// Whether what is not covered by its parts can only be a tag.
fn is_tag(identity: Identity) -> bool {
    matches!(identity, Identity::SenderOrg(0) | Identity::SenderRegistered)
}

pub(super) fn parsed(identity: &str) -> Result<Identity, PolicyError> {
    identity.parse().map_err(|unknown: UnknownIdentity| PolicyError {
        suggestion: unknown.nearest.map(str::to_owned),
        ..wrong("identity", format!("{identity:?}"), format!("one of {}", Identity::NAMES.join(", ")))
    })
}

fn wrong(field: &str, found: String, allowed: String) -> PolicyError {
    PolicyError { field: Some(field.into()), found, allowed, ..PolicyError::default() }
}
