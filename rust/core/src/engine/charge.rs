//! What was charged, and giving it back.
//!
//! A check writes no receipt: it tells when it was and at which stages. The envelope is at hand when somebody wants the charge back, so keys are
//! worked out again then, by the same way as for the check.
//!
//! ```text
//!  refund:  for each key that was charged: its bucket − max(0, price − ticks since), or its pane − price while that pane counts
//! ```
//!
//! **Never too much.** Of two buckets that differ by one charge of p ticks, the fuller one is ahead by p at first and by p − e or more after e ticks: the
//! gap closes only while the emptier one is empty. So what is left stays at least what it would be without the charge, whatever was charged or given back
//! between. A pane loses what was counted in it. A sketch is not lowered, for its cells are not one key's; what elements were seen stays seen, and
//! their charge stays with them.

use std::sync::Arc;

use super::Engine;
use super::request::{Ask, Request};
use super::set::LimitSet;
use super::terms::Terms;
use crate::envelope::Envelope;
use crate::plan::Store;
use crate::policy::Stages;
use crate::region::Now;

/// What a decision charged: all that giving it back needs beside the envelope. Of what charged nothing, the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Charge {
    /// Engine time, µs.
    pub(super) at_us: u64,
    /// The stages that ran; none when nothing was charged.
    pub(super) stages: Stages,
    /// The policy under which it was made.
    pub(super) generation: u64,
    /// Whether the caller said what time it was.
    pub(super) stated: bool,
    /// What of the stages was asked, when it was not all.
    pub(super) terms: Option<Box<Terms>>,
}

impl Engine {
    /// Gives back what `charge` took of rates for `envelope`, less what has drained since; never more than that. Whether anything was left to give.
    ///
    /// `shadow` are the limits that would have refused and so were not charged. Whoever asks sees to it that it is asked once.
    pub fn refund(&self, envelope: &Envelope<'_>, charge: &Charge, shadow: &[Arc<str>], now: Now) -> bool {
        let identities = self.read(envelope, charge.stages);
        let mut request = Request::default();
        self.ask_on(&mut request, &identities, envelope.size, charge.stages, charge.terms.as_deref());
        let uncharged = self.named(shadow);
        // A time that was stated says nothing of what the clock reads: it is as late as anybody has said.
        let now = if charge.stated && matches!(now, Now::Clock(_)) { Now::Stated(i64::MIN) } else { now };
        let (mut region, epoch) = self.shared.at(now, true);
        let mut gave = false;
        for entry in request.entries.iter().filter(|entry| entry.charged) {
            let planned = &self.plan.limits[usize::from(entry.limit)];
            if uncharged.contains(planned.of) || !self.counts_as_then(entry.limit, charge) {
                continue;
            }
            if let (Store::Rate(buckets), Ask::Rate { at, amount }) = (&planned.store, entry.ask) {
                let [then, now] = [charge.at_us, epoch.last_us].map(|us| buckets.ticks_at(us));
                gave |= buckets.refund(&mut region, &at, then, now, amount);
            }
        }
        gave
    }

    /// Whether a limit counts as it did when `charge` was made. After a change of policy, terms name other limits than then.
    fn counts_as_then(&self, limit: u16, charge: &Charge) -> bool {
        let is_of_this_policy = charge.generation == self.generation();
        is_of_this_policy || charge.terms.is_none() && self.plan.limits[usize::from(limit)].since <= charge.generation
    }

    fn named(&self, names: &[Arc<str>]) -> LimitSet {
        let mut set = LimitSet::default();
        for planned in self.plan.limits.iter().filter(|planned| names.contains(&planned.name)) {
            set.insert(planned.of);
        }
        set
    }
}
