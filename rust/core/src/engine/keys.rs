//! The keys of an envelope's identities, of no class yet: each identity hashed once a check, and only those that it needs.

use smallvec::SmallVec;

use crate::identity::{Identities, UseValue, Value};
use crate::key::{Head, Key, Secret};
use crate::plan::Plan;
use crate::policy::Stages;
use crate::stats::IdentityKey;

/// Keys by the index of their identity in [`Plan::identities`].
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// In order of the index.
    pub(super) seen: SmallVec<[IdentityKey; 8]>,
    spans: SmallVec<[Span; 16]>,
}

/// The same, to be asked: slices, so that no look asks anew where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed<'k> {
    pub(super) seen: &'k [IdentityKey],
    spans: &'k [Span],
}

/// A part of [`Keys::seen`]; empty when the identity is absent or not needed.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    count: u32,
}

/// Hashes the value of an identity.
struct Hash<'k> {
    secret: &'k Secret,
    head: Head,
}

impl<'s> UseValue<'s, Key> for Hash<'_> {
    #[inline(always)]
    fn make(self, value: Value<'s>) -> Key {
        self.secret.key_behind(self.head, &value)
    }
}

impl Keys {
    /// Hashes what the limits of `stages` need, into what is empty: filled in where it lies, not to be moved.
    #[inline]
    pub(super) fn add(&mut self, plan: &Plan, secret: &Secret, identities: &Identities<'_>, stages: Stages) {
        self.spans = SmallVec::from_elem(Span { start: 0, count: 0 }, plan.identities.len());
        for ((place, needed), span) in plan.identities.iter().enumerate().zip(&mut self.spans) {
            if !needed.at.intersects(stages) {
                continue;
            }
            let start = self.seen.len() as u32;
            if identities.has_several(needed.identity) {
                let seen = |value| IdentityKey { place, key: secret.key(needed.identity, value) };
                self.seen.extend(identities.values(needed.identity).iter().map(seen));
                *span = Span { start, count: self.seen.len() as u32 - start };
            } else if let Some(key) = identities.map_value(needed.identity, Hash { secret, head: needed.head }) {
                self.seen.push(IdentityKey { place, key });
                *span = Span { start, count: 1 };
            }
        }
    }

    /// For asking.
    pub(super) fn hashed(&self) -> Hashed<'_> {
        Hashed { seen: &self.seen, spans: &self.spans }
    }
}

impl Hashed<'_> {
    /// How many keys a composite has: at most one of its identities has several values; an absent one makes it none.
    #[inline]
    pub(super) fn count(self, per: &[usize]) -> usize {
        let count = |&identity: &usize| self.spans[identity].count as usize;
        match per {
            [identity] => count(identity),
            _ => per.iter().map(count).product(),
        }
    }

    /// A key of a composite: of the `nth` value, where one of its identities has several.
    #[inline(always)]
    pub(super) fn joined(self, secret: &Secret, per: &[usize], nth: usize) -> Key {
        let get = |&identity: &usize| self.get(identity, nth);
        match per {
            [identity] => get(identity),
            [first, others @ ..] => others.iter().fold(get(first), |joined, other| secret.join(joined, get(other))),
            [] => Key(0),
        }
    }

    /// The key of an identity that has one value at most.
    #[inline]
    pub(super) fn first(self, identity: usize) -> Option<Key> {
        let Span { start, count } = self.spans[identity];
        (count > 0).then(|| self.seen[start as usize].key)
    }

    /// The key of the `nth` value of an identity that is present; of its only value, whatever `nth` says.
    #[inline]
    pub(super) fn get(self, identity: usize, nth: usize) -> Key {
        let Span { start, count } = self.spans[identity];
        self.seen[start as usize + nth.min(count.saturating_sub(1) as usize)].key
    }
}
