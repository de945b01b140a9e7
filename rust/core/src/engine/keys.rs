//! The keys of an envelope's identities, of no class yet: each identity hashed once a check, and only those that it needs.

use smallvec::SmallVec;

use crate::identity::Identities;
use crate::key::{Key, Secret};
use crate::observe::Seen;
use crate::policy::Stages;
use crate::policy::plan::Plan;

/// Keys by the index of their identity in [`Plan::identities`].
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: SmallVec<[Key; 16]>,
    spans: SmallVec<[Span; 16]>,
}

/// The same, to be asked: slices, so that no look asks anew where they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hashed<'k> {
    keys: &'k [Key],
    spans: &'k [Span],
}

/// A part of [`Keys::keys`]; empty when the identity is absent or not needed.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    count: u32,
}

impl Keys {
    /// Hashes what the limits of `stages` need.
    pub(super) fn of(plan: &Plan, secret: &Secret, identities: &Identities<'_>, stages: Stages) -> Self {
        let mut all = Self::default();
        for needed in &plan.identities {
            let start = all.keys.len();
            if needed.at.meets(stages) {
                if needed.identity.has_many() {
                    let values = identities.values(needed.identity);
                    all.keys.extend(values.iter().map(|value| secret.key(needed.identity, value)));
                } else if let Some(value) = identities.value(needed.identity) {
                    all.keys.push(secret.key(needed.identity, &value));
                }
            }
            all.spans.push(Span { start: start as u32, count: (all.keys.len() - start) as u32 });
        }
        all
    }

    /// Adds every key with the place of its identity, in order.
    #[inline]
    pub(super) fn add_to(&self, seen: &mut SmallVec<[Seen; 8]>) {
        seen.reserve(self.keys.len());
        for (place, &Span { start, count }) in self.spans.iter().enumerate() {
            for at in start..start + count {
                seen.push(Seen { place, key: self.keys[at as usize] });
            }
        }
    }

    /// For asking.
    pub(super) fn hashed(&self) -> Hashed<'_> {
        Hashed { keys: &self.keys, spans: &self.spans }
    }
}

impl Hashed<'_> {
    /// How many keys a composite has: at most one of its identities has several values; an absent one makes it none.
    #[inline]
    pub(super) fn count(self, per: &[usize]) -> usize {
        per.iter().map(|&identity| self.spans[identity].count as usize).product()
    }

    /// A key of a composite: of the `nth` value, where one of its identities has several.
    #[inline]
    pub(super) fn joined(self, secret: &Secret, per: &[usize], nth: usize) -> Key {
        let mut keys = per.iter().map(|&identity| self.get(identity, nth));
        let first = keys.next().unwrap_or(Key(0));
        keys.fold(first, |joined, key| secret.join(joined, key))
    }

    /// The key of an identity that has one value at most.
    #[inline]
    pub(super) fn first(self, identity: usize) -> Option<Key> {
        let Span { start, count } = self.spans[identity];
        (count > 0).then(|| self.keys[start as usize])
    }

    /// The key of the `nth` value of an identity that is present; of its only value, whatever `nth` says.
    #[inline]
    pub(super) fn get(self, identity: usize, nth: usize) -> Key {
        let Span { start, count } = self.spans[identity];
        self.keys[start as usize + nth.min(count.saturating_sub(1) as usize)]
    }
}
