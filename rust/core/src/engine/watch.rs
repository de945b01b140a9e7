//! What a check leaves to observation: names for what is near a limit, and answers for who asks.
//!
//! A name is text, so it is made after the decision's lock, and taken down under a second, short one. That happens only when a value that is
//! near a limit has no name yet.

use smallvec::SmallVec;

use super::Engine;
use super::request::{Request, value_of};
use crate::identity::{Identities, Identity};
use crate::region::{Now, Region};
use crate::stats::{Name, Newcomer, Offender, Window};

/// Most names that one check may bring: a message to a thousand mailboxes must not hold the lock for as many. The next one brings more.
const MOST_NAMES: usize = 16;

impl Engine {
    /// Identities whose values are counted and named: those that a limit needs.
    pub fn observed(&self) -> impl Iterator<Item = Identity> + '_ {
        self.places().map(|(_, identity)| identity)
    }

    /// With their places: one that only a policy before needed has a place still.
    fn places(&self) -> impl Iterator<Item = (usize, Identity)> + '_ {
        let is_needed =
            |identity| self.plan.limits.iter().any(|planned| planned.limit.identities().any(|own| own == identity));
        let all = self.plan.identities.iter().map(|needed| needed.identity).enumerate();
        all.filter(move |(_, identity)| is_needed(*identity))
    }

    /// How many different values `identity` had; `None` when no limit needs it.
    pub fn distinct(&self, identity: Identity, window: Window, now: Now) -> Option<f64> {
        let (observer, place) = (&self.plan.observer, self.place(identity)?);
        let mut gathered = observer.registers();
        {
            let (region, epoch) = self.shared.at(now, false);
            observer.gather(&region, place, window, epoch.last_us, &mut gathered);
        }
        Some(observer.estimate(&gathered))
    }

    /// The values of `identity` that came near a limit, who sent most first; `None` when no limit needs it.
    pub fn top(&self, identity: Identity, now: Now) -> Option<Vec<Offender>> {
        let (observer, place) = (&self.plan.observer, self.place(identity)?);
        let mut copied = observer.snapshot();
        {
            let (region, epoch) = self.shared.at(now, false);
            observer.copy(&region, place, epoch.last_us, &mut copied);
        }
        Some(observer.offenders(place, &copied))
    }

    fn place(&self, identity: Identity) -> Option<usize> {
        self.places().find(|(_, observed)| *observed == identity).map(|(place, _)| place)
    }

    /// Cools entries of which every value has a name. Still under the lock.
    #[cold]
    pub(super) fn leave_out_the_named(&self, request: &mut Request, region: &Region) {
        let Request { entries, seen, is_hot, .. } = request;
        *is_hot = false;
        for entry in entries.iter_mut().filter(|entry| entry.hot) {
            let mut places = self.plan.limits[usize::from(entry.limit)].per.iter();
            entry.hot = places.any(|&place| {
                value_of(seen, place, entry.nth).is_some_and(|value| !self.plan.observer.is_named(region, &value))
            });
            *is_hot |= entry.hot;
        }
    }

    /// Gives names to the values of hot entries: all parts of a composite, each under its own identity.
    #[cold]
    pub(super) fn name_the_hot(&self, identities: &Identities<'_>, request: &Request, admitted: bool, now: Now) {
        let (Now::Clock(since_us) | Now::Stated(since_us)) = now;
        let mut newcomers: SmallVec<[Newcomer; 4]> = SmallVec::new();
        for entry in request.entries.iter().filter(|entry| entry.hot) {
            let planned = &self.plan.limits[usize::from(entry.limit)];
            for (&place, &identity) in planned.per.iter().zip(&planned.limit.per) {
                let Some(seen) = value_of(&request.seen, place, entry.nth) else { continue };
                if newcomers.len() == MOST_NAMES || newcomers.iter().any(|newcomer| newcomer.seen == seen) {
                    continue;
                }
                let values = identities.values(identity);
                if let Some(value) = values.get(entry.nth as usize).or(values.first()) {
                    newcomers.push(Newcomer { seen, name: Name::of(&value.to_string()), since_us });
                }
            }
        }
        self.plan.observer.enter(&mut self.shared.lock(), &newcomers, &request.seen, admitted);
    }
}
