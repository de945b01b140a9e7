//! Receipts, and giving charges back.
//!
//! A receipt says when the check was and which stages it ran. The envelope is at hand when somebody wants the charge
//! back, so the keys are worked out again then, the same way as for the check.
//!
//! ```text
//!  refund, for each key that was charged:  its bucket − max(0, price − ticks since)
//!                                          or its pane − price, while that pane counts
//! ```
//!
//! **Never too much.** Of two buckets that differ by one charge of p ticks, the fuller one is ahead by p at first and
//! by p − e or more after e ticks: the gap closes only while the emptier one is empty. So what is left stays at least
//! what it would be without the charge, whatever was charged or given back between. A pane loses what was counted in
//! it. A sketch is not lowered, for its cells belong to many keys; elements that were seen stay seen, and their charge
//! stays with them.

use std::sync::Arc;

use super::Engine;
use super::request::{Request, StageFilter};
use super::transaction::Purpose;
use crate::envelope::Envelope;
use crate::plan::LimitSet;
use crate::policy::Stages;
use crate::region::Now;

/// What `refund` needs beside the envelope. The default is the receipt of a check that charged nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Engine time, µs.
    pub(super) at_us: u64,
    /// The stages that ran; none when nothing was charged.
    pub(super) stages: Stages,
    /// The generation of the policy.
    pub(super) generation: u64,
    /// Whether the caller stated the time.
    pub(super) is_stated: bool,
    /// What a step of a session left out.
    pub(super) filter: Option<Box<StageFilter>>,
}

impl Engine {
    /// Gives back what the check of `receipt` charged to rates for `envelope`, less what has drained since; whether
    /// anything was left to give.
    ///
    /// `shadow` names the limits that would have refused and so were not charged. The caller uses a receipt once.
    pub fn refund(&self, envelope: &Envelope<'_>, receipt: &Receipt, shadow: &[Arc<str>], now: Now) -> bool {
        let identities = self.read(envelope, receipt.stages);
        let mut request = Request::default();
        let filter = receipt.filter.as_deref();
        self.prepare_filtered(&mut request, &identities, envelope.size, receipt.stages, Purpose::Check, filter);
        let uncharged = self.limits_named(shadow);
        // A stated time says nothing about the clock: the refund is as late as the latest time that anybody has stated.
        let now = if receipt.is_stated && matches!(now, Now::Clock(_)) { Now::Stated(i64::MIN) } else { now };
        let (mut region, epoch) = self.shared.at(now, true);
        let mut has_given = false;
        for entry in request.stores.entries.iter().filter(|entry| entry.is_charged) {
            let planned = &self.plan.limits[usize::from(entry.limit)];
            if !uncharged.contains(planned.of) && self.charges_as_then(entry.limit, receipt) {
                has_given |= planned.store.refund(&mut region, entry, receipt.at_us, epoch.last_us);
            }
        }
        has_given
    }

    /// Whether a limit charges as it did when `receipt` was made. After a change of policy a filter names other limits
    /// than then.
    fn charges_as_then(&self, limit: u16, receipt: &Receipt) -> bool {
        let is_of_this_policy = receipt.generation == self.generation();
        is_of_this_policy
            || receipt.filter.is_none() && self.plan.limits[usize::from(limit)].since <= receipt.generation
    }

    fn limits_named(&self, names: &[Arc<str>]) -> LimitSet {
        let mut set = LimitSet::default();
        for planned in self.plan.limits.iter().filter(|planned| names.contains(&planned.name)) {
            set.insert(planned.of);
        }
        set
    }
}
