//! What is open: permits, and the limits on what they hold.
//!
//! A check consults these limits and holds nothing; a permit is a check that holds, in the same step under the lock.
//! Charges of rates stay when a permit is released: what was sent was sent.
//!
//! Knows no connection and no time at which anything is let go of by itself. Invariant: what a token holds was admitted in the step that gave it.

use super::Engine;
use super::aim::Aim;
use super::request::Request;
use super::set::LimitSet;
use super::settled::{By, Refused};
use crate::decision::{Decision, Refusal};
use crate::envelope::Envelope;
use crate::policy::unstated::MAX_OPEN;
use crate::policy::{Mode, Stage, Stages};
use crate::region::{Now, Region};
use crate::reply::Reply;
use crate::store::Verdict;
use crate::store::in_flight::HINT_US;
use crate::store::permits::Token;

impl Engine {
    /// Permits at once, unless stated: five times what `inbound` lets be open of messages, so that connections beside them have room too.
    pub const MAX_OPEN: u32 = 10_000;

    /// Most that can be stated.
    pub const MAX_OPEN_MOST: u32 = 1 << 24;

    /// As [`Engine::check`]; when it is allowed, what in-flight limits of `stages` count is held in the same step, until the token is released.
    ///
    /// A refused one holds nothing and has no token.
    pub fn admit(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> (Decision, Option<Token>) {
        let (decision, _, token) = self.decide(envelope, stages, now, Aim::Hold);
        (decision, token)
    }

    /// Lets go of what a permit holds. Whether it held: not when [`Engine::begin`] came between.
    #[expect(clippy::needless_pass_by_value, reason = "a token is good for one release")]
    pub fn release(&self, token: Token) -> bool {
        self.plan.capacity.release(&mut self.shared.lock(), &token)
    }

    /// Begins anew in the process of this `generation`, unless it has: nothing is held, and every token given before is void.
    ///
    /// A process begins as generation 0. Who forks counts on, in the child: what the parent holds is not the child's.
    pub fn begin(&self, generation: u64) {
        self.plan.capacity.begin(&mut self.shared.lock(), generation);
    }

    /// Consults the in-flight limits, and leaves those in shadow mode out that do not fit; the longer wait of theirs and of `refused`, of equals the first in file order.
    #[inline]
    pub(super) fn consult_capacity(
        &self,
        request: &mut Request,
        region: &Region,
        at_us: u64,
        refused: Option<Refused>,
        shadow: &mut LimitSet,
    ) -> Option<Refused> {
        let capacity = &self.plan.capacity;
        let mut worst = refused;
        if request.wanted.held.limits != 0 {
            capacity.find(region, &mut request.wanted);
            for nth in request.wanted.limits() {
                let verdict = capacity.consult(region, &request.wanted, nth, at_us);
                if verdict != Verdict::Fits {
                    let Some(limit) = self.plan.capped[nth] else { continue };
                    if self.plan.limits[usize::from(limit)].limit.mode == Mode::Shadow || region.is_shadow() {
                        shadow.insert(limit);
                        request.wanted.leave_out(nth);
                    } else {
                        worst = Some(self.longer(request, worst, limit, verdict.earliest_us(at_us)));
                    }
                }
            }
        }
        worst
    }

    #[cold]
    fn longer(&self, request: &Request, worst: Option<Refused>, limit: u16, until_us: u64) -> Refused {
        let place = |refused: &Refused| match refused.by {
            By::Entry(entry) => self.plan.limits[usize::from(request.entries[entry].limit)].of,
            By::Cap(limit) => limit,
            By::MaxOpen | By::Blocked(_) | By::Listed => 0,
        };
        let is_longer = |worst: &Refused| (worst.until_us, limit) > (until_us, place(worst));
        worst.filter(is_longer).unwrap_or(Refused { by: By::Cap(limit), until_us, rung: None })
    }
}

/// One permit too many: it comes before all that refuse no longer than it does.
#[cold]
pub(super) fn no_permit(worst: Option<Refused>, at_us: u64) -> Refused {
    let until_us = at_us + HINT_US;
    worst.filter(|worst| worst.until_us > until_us).unwrap_or(Refused { by: By::MaxOpen, until_us, rung: None })
}

/// The refusal of one permit too many.
pub(super) fn max_open(wait_us: Option<u64>, stages: Stages) -> Refusal {
    let is_late = [Stage::Mail, Stage::Rcpt, Stage::Data].into_iter().any(|stage| stages.contains(stage));
    let kind = if is_late { Reply::Capacity } else { Reply::Crowded };
    Refusal::unstated(MAX_OPEN, wait_us, kind)
}
