//! The keys of an envelope's identities, of no class yet: each identity hashed once a check, and only those that it needs.

use smallvec::SmallVec;

use crate::identity::Identities;
use crate::key::{Key, Secret};
use crate::policy::Stages;
use crate::policy::plan::Plan;

/// Keys by the place of their identity in [`Plan::identities`].
#[derive(Debug, Default)]
pub(super) struct Keys {
    keys: SmallVec<[Key; 16]>,
    spans: SmallVec<[Span; 16]>,
}

/// A part of [`Keys::keys`]; empty when the identity is absent or not needed.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    count: u32,
}

impl Keys {
    /// Hashes what the limits of `stages` need.
    pub(super) fn hash(&mut self, plan: &Plan, secret: &Secret, identities: &Identities<'_>, stages: Stages) {
        for needed in &plan.identities {
            let start = self.keys.len();
            if needed.at.meets(stages) {
                if needed.identity.has_many() {
                    let values = identities.values(needed.identity);
                    self.keys.extend(values.iter().map(|value| secret.key(needed.identity, value)));
                } else if let Some(value) = identities.value(needed.identity) {
                    self.keys.push(secret.key(needed.identity, &value));
                }
            }
            self.spans.push(Span { start: start as u32, count: (self.keys.len() - start) as u32 });
        }
    }

    /// How many keys a composite has: at most one of its identities has several values; an absent one makes it none.
    #[inline]
    pub(super) fn count(&self, per: &[usize]) -> usize {
        per.iter().map(|&place| self.spans[place].count as usize).product()
    }

    /// A key of a composite. Where one identity has several values, `value` says which.
    #[inline]
    pub(super) fn joined(&self, secret: &Secret, per: &[usize], value: usize) -> Key {
        let mut keys = per.iter().map(|&place| self.get(place, value));
        let first = keys.next().unwrap_or(Key(0));
        keys.fold(first, |joined, key| secret.join(joined, key))
    }

    /// The key of one value of an identity that is present; of its only value, whatever `value` says.
    #[inline]
    pub(super) fn get(&self, place: usize, value: usize) -> Key {
        let Span { start, count } = self.spans[place];
        self.keys[start as usize + value.min(count.saturating_sub(1) as usize)]
    }
}
