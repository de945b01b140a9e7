//! What statistics say about an identity: how many distinct values it had, and which of them came near a limit.

use super::Engine;
use crate::identity::Identity;
use crate::region::Now;
use crate::stats::{Offender, Window};

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
        let (stats, place) = (&self.plan.stats, self.place(identity)?);
        let mut gathered = stats.registers();
        {
            let (region, epoch) = self.shared.at(now, false);
            stats.gather(&region, place, window, epoch.last_us, &mut gathered);
        }
        Some(stats.estimate(&gathered))
    }

    /// The values of `identity` that came near a limit, who sent most first; `None` when no limit needs it.
    pub fn top(&self, identity: Identity, now: Now) -> Option<Vec<Offender>> {
        let (stats, place) = (&self.plan.stats, self.place(identity)?);
        let mut copied = stats.snapshot();
        {
            let (region, epoch) = self.shared.at(now, false);
            stats.copy(&region, place, epoch.last_us, &mut copied);
        }
        Some(stats.offenders(place, &copied))
    }

    fn place(&self, identity: Identity) -> Option<usize> {
        self.places().find(|(_, observed)| *observed == identity).map(|(place, _)| place)
    }
}
