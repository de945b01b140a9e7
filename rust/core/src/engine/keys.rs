//! The keys of an envelope's identities, without trust: each identity is hashed once a check, and only those that its stages need.

use smallvec::SmallVec;

use crate::identity::{Identities, UseValue, Value};
use crate::key::{Head, Key, Secret};
use crate::plan::{Places, Plan};
use crate::policy::Stages;
use crate::stats::IdentityKey;

/// Keys by the place of their identity in [`Plan::identities`].
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// In the order of the places, then of the values.
    values: SmallVec<[IdentityKey; 10]>,
    /// A run of `values` for each place; empty when the identity is absent or not needed.
    spans: SmallVec<[Span; 12]>,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    first: u32,
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
    /// Hashes what the limits of `stages` need; `self` is empty before.
    #[inline(always)]
    pub(super) fn fill(&mut self, plan: &Plan, secret: &Secret, identities: &Identities<'_>, stages: Stages) {
        self.spans.reserve(plan.identities.len());
        for (place, needed) in plan.identities.iter().enumerate() {
            let first = self.values.len() as u32;
            if needed.at.intersects(stages) {
                if identities.has_several(needed.identity) {
                    let keyed = |value| IdentityKey { place, key: secret.key(needed.identity, value) };
                    self.values.extend(identities.values(needed.identity).iter().map(keyed));
                } else if let Some(key) = identities.map_value(needed.identity, Hash { secret, head: needed.head }) {
                    self.values.push(IdentityKey { place, key });
                }
            }
            self.spans.push(Span { first, count: self.values.len() as u32 - first });
        }
    }

    /// Every value that the check brings, in the order of the places.
    #[inline]
    pub(super) fn values(&self) -> &[IdentityKey] {
        &self.values
    }

    #[inline]
    fn span(&self, place: u16) -> Span {
        self.spans.get(usize::from(place)).copied().unwrap_or(Span { first: 0, count: 0 })
    }

    /// How many keys a composite has: at most one of its identities has several values; an absent one makes it none.
    #[inline]
    pub(super) fn count(&self, per: &Places) -> usize {
        match per[..] {
            [place] => self.span(place).count as usize,
            _ => per.iter().map(|&place| self.span(place).count as usize).product(),
        }
    }

    /// The key of a composite: with the `nth` value of the identity that has several.
    #[inline]
    pub(super) fn joined(&self, secret: &Secret, per: &Places, nth: usize) -> Key {
        match per[..] {
            [place] => self.get(place, nth),
            [first, second] => secret.join(self.get(first, nth), self.get(second, nth)),
            [first, ref others @ ..] => {
                others.iter().fold(self.get(first, nth), |joined, &other| secret.join(joined, self.get(other, nth)))
            }
            [] => Key(0),
        }
    }

    /// The key of the `nth` value of an identity, or of its only value; zero when it is absent.
    #[inline]
    pub(super) fn get(&self, place: u16, nth: usize) -> Key {
        self.value(place, nth).map_or(Key(0), |value| value.key)
    }

    /// The `nth` value of an identity, or its only one; `None` when it is absent or not needed.
    #[inline]
    pub(super) fn value(&self, place: u16, nth: usize) -> Option<IdentityKey> {
        let Span { first, count } = self.span(place);
        let nth = (nth as u32).min(count.checked_sub(1)?);
        self.values.get((first + nth) as usize).copied()
    }
}
