//! One envelope, all its limits, one answer.
//!
//! ```text
//!  prepare  no lock    envelope → identities → keys → request; every line is prefetched
//!  transact the lock   consult everything; charge everything if all agree, else nothing
//!  finish   no lock    outcome → decision, and names for the senders near a limit
//! ```
//!
//! Check, peek, admit, the steps of a session and explain take these three steps in this order; refund takes the first.
//! The engine knows the order of things; it knows no algorithm and no mail syntax.
//!
//! * `keys`, `amount`, `request`: what `prepare` fills in   * `outcome`, `receipt`: what `transact` and `finish` return
//! * `access`: operators' entries and limits' blocks, in all three steps   * `filter`, `session`: one SMTP connection
//!   * `permits`: release
//! * `operators`: block, allow   * `reset`: clear the counters of one value   * `learn`: known elements from elsewhere
//!   * `reloadable`: another policy while checks go on   * `limiter`: one table
//! * For people: `explain` (`unasked`: why a limit was not asked), `tables`, `forecast`, `offenders`

mod access;
mod explain;
mod finish;
mod inspect;
mod learn;
mod limiter;
mod operators;
mod prepare;
mod refund;
mod reload;
mod request;
mod reset;
mod session;
#[cfg(test)]
mod tests;
mod transaction;

use std::sync::Arc;

pub use crate::plan::LimitSet;
pub use explain::{Explained, Explanation, LimitState};
pub use inspect::{Forecast, TableUse};
pub use learn::Lesson;
pub use limiter::{Hit, Limiter};
pub use operators::{BlockError, Blocked};
pub use refund::Receipt;
pub use reload::{Live, NotReloaded};
pub use request::{Found, Request};
pub use session::{Session, Step};
pub use transaction::{Outcome, Purpose};

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

    /// Every identity of `envelope` that is present, as text: those without parameters, and those that the policy
    /// names.
    pub fn identities(&self, envelope: &Envelope<'_>) -> Vec<(Identity, Vec<String>)> {
        self.named_identities(&Identities::read(envelope, &self.suffixes, Sources::ALL))
    }

    fn named_identities(&self, identities: &Identities<'_>) -> Vec<(Identity, Vec<String>)> {
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
