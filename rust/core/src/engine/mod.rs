//! One envelope, all its limits, one answer.
//!
//! [`Engine`] knows the order of things; it knows no algorithm and no mail syntax.
//!
//! ```text
//!  envelope ── identities ── keys ── asker ──> request ──[ lock: check ]──> settled ── decision, charge
//!                                   marked ────┘           open, marked, observation
//! ```
//!
//! * `check`: the way of one envelope; [`Aim`] is what it is for, `terms` what of its stages it asks   * `keys`, `asker`, `amount`, `request`: what it asks
//! * `open`: permits   * `charge`: a charge back   * `dialogue`: the checks of one SMTP connection   * `limiter`: one table without a policy
//! * `marked`: what operators and limits have blocked, as a check sees it; `operators`: the same as operators say and read it
//! * `live`: another policy while checks go on   * `learn`: known elements from elsewhere
//! * For people: `explain` an envelope (`unasked`: why not), `tables` in use, `forecast` of a policy, `watch`: the busiest and how many

mod aim;
mod amount;
mod asker;
mod charge;
mod check;
mod covering;
mod dialogue;
mod explain;
mod forecast;
mod keys;
mod learn;
mod limiter;
mod live;
mod marked;
mod open;
mod operators;
mod request;
mod set;
mod settled;
mod tables;
mod terms;
#[cfg(test)]
mod tests;
mod unasked;
mod watch;

use std::sync::Arc;

pub use aim::Aim;
pub use charge::Charge;
pub use dialogue::{Dialogue, Step};
pub use explain::{Explained, Explanation, Found};
pub use forecast::Forecast;
pub use learn::Lesson;
pub use limiter::{Hit, Limiter};
pub use live::{Live, NotReloaded};
pub use operators::{BlockError, Blocked};
pub use request::Request;
pub use set::LimitSet;
pub use settled::{Refused, Settled};
pub use tables::TableUse;

use crate::envelope::Envelope;
use crate::error::PolicyError;
use crate::identity::{Identities, Identity, Sources, SuffixList};
use crate::key::Secret;
use crate::plan::Plan;
use crate::plan::compile;
use crate::policy::{Mode, Policy};
use crate::region::SharedRegion;

/// A compiled policy over its memory. May be shared between threads.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    secret: Secret,
    suffixes: Arc<SuffixList>,
    /// What the policy says of its own mode; [`Engine::mode`] is what holds.
    stated_mode: Mode,
    shared: SharedRegion,
}

impl Engine {
    /// Allocates and touches everything that will ever be needed.
    ///
    /// # Errors
    /// [`PolicyError`] when the policy does not fit into `memory_bytes`.
    pub fn new(
        policy: &Policy,
        memory_bytes: u64,
        suffixes: Arc<SuffixList>,
        secret: Secret,
    ) -> Result<Self, PolicyError> {
        Self::with_max_open(policy, memory_bytes, suffixes, secret, Self::MAX_OPEN)
    }

    /// The same, with at most `max_open` permits at once, at least one.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn with_max_open(
        policy: &Policy,
        memory_bytes: u64,
        suffixes: Arc<SuffixList>,
        secret: Secret,
        max_open: u32,
    ) -> Result<Self, PolicyError> {
        let max_open = max_open.clamp(1, Self::MAX_OPEN_MOST);
        let (plan, region) = compile(policy, memory_bytes, max_open, &suffixes, &secret)?;
        let engine = Self { plan, secret, suffixes, stated_mode: policy.mode, shared: SharedRegion::new(region) };
        engine.set_mode(policy.mode);
        Ok(engine)
    }

    /// How often the policy was changed before this one.
    pub(super) fn generation(&self) -> u64 {
        self.shared.generation()
    }

    /// Whether limits refuse: `Mode::Shadow` has every one decide and let pass, whatever its own mode.
    pub fn mode(&self) -> Mode {
        if self.shared.lock().is_shadow() { Mode::Shadow } else { Mode::Enforce }
    }

    /// Changes [`Engine::mode`], for this policy and those that follow.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.lock().set_shadow(mode == Mode::Shadow);
    }

    /// Bytes of all counters: exact, and constant.
    pub fn memory_bytes(&self) -> u64 {
        self.shared.bytes()
    }

    /// Every identity of `envelope` that is present, as text: those without parameters, and those that the policy names.
    pub fn identities(&self, envelope: &Envelope<'_>) -> Vec<(Identity, Vec<String>)> {
        let identities = Identities::read(envelope, &self.suffixes, Sources::ALL);
        let mut named = identities.named();
        for identity in self.observed() {
            let texts: Vec<String> = identities.values(identity).iter().map(ToString::to_string).collect();
            if !texts.is_empty() && !named.iter().any(|(known, _)| *known == identity) {
                named.push((identity, texts));
            }
        }
        named
    }
}
