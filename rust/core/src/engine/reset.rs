//! Clears the rate counters of one value, for an operator who has settled the matter with that sender.
//!
//! It clears only what a limit counts under exactly this value. Known elements, sketches, slots of open transactions
//! and blocks stay: they are shared with other keys, prove something about the value, or have an end of their own.

use super::Engine;
use super::operators::{no_value, parsed};
use crate::error::PolicyError;
use crate::identity::Trust;
use crate::identity::parse_value::parse_value;
use crate::region::Now;
use crate::store::Store;

impl Engine {
    /// Clears the rate counters of `value` in every limit whose `per` is exactly `identity`, and in its quotas, for
    /// proven and claimed senders alike. Returns the number of limits that counted something.
    ///
    /// # Errors
    /// The identity is unknown, or `value` is no value of it.
    pub fn reset(&self, identity: &str, value: &str, now: Now) -> Result<usize, PolicyError> {
        let identity = parsed(identity)?;
        let key = parse_value(identity, value, &self.suffixes, |value| self.secret.key(value));
        let key = key.map_err(|why| no_value(identity, value, why))?;
        let keys = [Trust::Proven, Trust::Claimed].map(|trust| self.secret.with_trust(key, trust));
        let mut cleared = vec![false; self.plan.stated];
        let (mut region, epoch) = self.shared.at(now, false);
        let now_us = epoch.last_us;
        for planned in self.plan.limits.iter().filter(|planned| planned.limit.per == [identity]) {
            for key in keys {
                let region = &mut region;
                cleared[usize::from(planned.of)] |= match &planned.store {
                    Store::Rate(counter) => counter.clear(region, &counter.lines(key), now_us),
                    Store::FanOut(fan_out) => {
                        let counter = fan_out.buckets();
                        counter.clear(region, &counter.lines(key), now_us)
                    }
                    Store::Distinct(buckets) => buckets.clear(region, &buckets.lines(key), now_us),
                    Store::InFlight(_) => false,
                };
            }
        }
        Ok(cleared.into_iter().filter(|cleared| *cleared).count())
    }
}
