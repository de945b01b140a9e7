//! What another run has learned: known elements that this engine starts from.
//!
//! They come as text, so that neither the secret nor the size of the memory need be the same. Each takes the way of a
//! quota's value and of a check's element, so the keys are the very ones that a check makes. Knows no file. Nothing is
//! allocated in the region (P1): what does not fit stays out.

use super::Engine;
use crate::identity::Identity;
use crate::identity::parse_value::{NotAValue, parse_value, parts_of_host};
use crate::key::Key;
use crate::region::Now;
use crate::store::seen_set::Learned;

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

impl Engine {
    /// The seen_sets of what `distinct` brings under `per`: none when no limit needs it, several when limits remember
    /// it apart.
    pub fn seen_sets(&self, per: &[Identity], distinct: Identity) -> Vec<usize> {
        let is_over = |memory: usize| {
            let needed = self.plan.seen_sets[memory].distinct;
            self.plan.identities[needed].identity == distinct && self.per_of(memory) == per
        };
        (0..self.plan.seen_sets.len()).filter(|&memory| is_over(memory)).collect()
    }

    /// Makes the element known in a memory, and with the ladder the parts of its name.
    ///
    /// # Errors
    /// [`NotAValue`] when no check could bring it.
    pub fn learn(&self, memory: usize, lesson: &Lesson<'_>, now: Now) -> Result<Learned, NotAValue> {
        let (per, memory) = (self.per_of(memory), &self.plan.seen_sets[memory]);
        let distinct = self.plan.identities[memory.distinct].identity;
        if per.len() != lesson.per.len() {
            return Err(NotAValue::Never);
        }
        let key_of = |identity, text: &str| parse_value(identity, text, &self.suffixes, |value| self.secret.key(value));
        let mut under: Option<Key> = None;
        for (&identity, text) in per.iter().zip(lesson.per) {
            let key = key_of(identity, text)?;
            under = Some(under.map_or(key, |under| self.secret.join(under, key)));
        }
        let under = under.ok_or(NotAValue::Never)?;
        let element = key_of(distinct, lesson.element)?;
        let mut keys = vec![self.secret.join(under, element)];
        if let (true, Some(&per)) = (memory.has_ladder, per.first()) {
            let add = |part: &str| keys.push(self.secret.join(under, self.secret.part(distinct, part)));
            parts_of_host(distinct, per, lesson.element, &self.suffixes, add);
        }
        let [first_us, last_us] = [lesson.first_us, lesson.last_us].map(|us| us.max(0).unsigned_abs());
        let (mut region, epoch) = self.shared.at(now, true);
        let mut outcome = Learned::Kept;
        // The element comes first. Its result is returned, unless a part of its name has a worse one.
        for key in keys {
            let at = memory.set.lines(key);
            let learned = memory.set.learn(&mut region, &at, first_us, last_us, epoch.last_us);
            outcome = if outcome == Learned::Kept { learned } else { outcome };
        }
        Ok(outcome)
    }

    /// What a memory remembers elements under.
    fn per_of(&self, memory: usize) -> &[Identity] {
        let over_it = self.plan.limits.iter().find(|planned| planned.store.seen_set() == Some(memory));
        over_it.map_or(&[], |planned| &planned.limit.per)
    }
}
