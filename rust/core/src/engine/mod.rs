//! One envelope, all its limits, one answer.
//!
//! [`Engine`] knows the order of things; it knows no algorithm and no mail syntax.

mod aim;
mod amount;
mod asker;
mod check;
mod keys;
mod learn;
mod limiter;
mod open;
mod request;
mod set;
mod shared;
mod tables;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

pub use aim::Aim;
pub use check::{Refused, Settled};
pub use learn::Lesson;
pub use limiter::{Hit, Limiter};
pub use request::Request;
pub use set::LimitSet;
pub use tables::TableUse;

use shared::Shared;

use crate::envelope::Envelope;
use crate::error::PolicyError;
use crate::identity::{Identities, Identity, Sources, SuffixList};
use crate::key::Secret;
use crate::policy::plan::Plan;
use crate::policy::{Policy, compile};

/// A compiled policy over its memory. May be shared between threads.
#[derive(Debug)]
pub struct Engine {
    plan: Plan,
    secret: Secret,
    suffixes: Arc<SuffixList>,
    shared: Shared,
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
        Ok(Self { plan, secret, suffixes, shared: Shared::new(region) })
    }

    /// Bytes of all counters: exact, and constant.
    pub fn memory_bytes(&self) -> u64 {
        self.shared.bytes()
    }

    /// Every identity of `envelope` that is present, as text: those without parameters, and those that the policy names.
    pub fn identities(&self, envelope: &Envelope<'_>) -> Vec<(Identity, Vec<String>)> {
        let identities = Identities::read(envelope, &self.suffixes, Sources::ALL);
        let mut named = identities.named();
        for needed in &self.plan.identities {
            let texts: Vec<String> = identities.values(needed.identity).iter().map(ToString::to_string).collect();
            if !texts.is_empty() && !named.iter().any(|(identity, _)| *identity == needed.identity) {
                named.push((needed.identity, texts));
            }
        }
        named
    }
}
