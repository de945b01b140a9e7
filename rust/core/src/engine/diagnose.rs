//! The samples of messages that `diagnose` compares: which steps of a check or a session are messages, and what a later
//! step adds to one.
//!
//! ```text
//!  a check                                  one message
//!  a session   MAIL                         one message; RCPT, the header and the data add to it
//!              connect or HELO, refused     one message
//! ```
//!
//! `peek` and `explain` are no messages. Invariant: samples are touched without the region's lock.

use std::sync::Arc;

use super::Engine;
use crate::decision::Decision;
use crate::diagnosis::finding::Diagnosis;
use crate::diagnosis::samples::{SampledMessage, Samples, Snapshot};
use crate::diagnosis::surge::diagnose;
use crate::envelope::Envelope;
use crate::identity::parse_value::{parse_scope, parse_value};
use crate::identity::{Identity, Source};
use crate::region::Now;

impl Engine {
    /// This engine, with samples of its messages from now on.
    pub fn sampling(self) -> Self {
        let samples = Some(Arc::new(Samples::new(&self.secret)));
        Self { samples, ..self }
    }

    /// Bytes of the samples, outside [`Engine::memory_bytes`]; zero without them.
    pub fn sample_bytes(&self) -> u64 {
        if self.samples.is_some() { Samples::bytes() } else { 0 }
    }

    /// Counts a message, and keeps it if it is sampled. Without samples it does nothing.
    #[inline(always)]
    pub(super) fn sample(&self, envelope: &Envelope<'_>, decision: &Decision, at_us: u64) -> Option<SampledMessage> {
        let samples = self.samples.as_deref()?;
        Some(samples.message(envelope, refused(decision), at_us))
    }

    /// Adds a later step to a message.
    #[inline(always)]
    pub(super) fn sample_more(
        &self, message: &mut Option<SampledMessage>, envelope: &Envelope<'_>, decision: &Decision,
    ) {
        if let (Some(samples), Some(message)) = (&self.samples, message) {
            samples.more(message, envelope, refused(decision));
        }
    }

    /// A copy of the samples with the engine time at `now`, for [`Engine::diagnose`]; `None` without samples.
    pub fn samples(&self, now: Now) -> Option<(Snapshot, u64)> {
        let now_us = self.shared.at(now, false).1.last_us;
        self.samples.as_ref().map(|samples| (samples.panes(), now_us))
    }

    /// Compares the last minutes with the hour before them. It takes no lock.
    pub fn diagnose(&self, (samples, now_us): &(Snapshot, u64)) -> Diagnosis {
        let typed = |identity: Identity, value: &str| {
            // A tag stands for many values. Some names are read as others when they are typed: `<joe@example.com`.
            let is_tag = value.bytes().all(|byte| byte.is_ascii_uppercase());
            let is_network = identity.source() == Source::ClientIp;
            let is_value = parse_value(identity, value, &self.suffixes, |typed| typed.to_string() == value);
            let is_scope = parse_scope(identity, value, &self.suffixes, |_, typed| is_network || typed == value);
            let is_scope = is_scope.unwrap_or(false);
            // A block of a recipient would refuse the mail of the flood's victim.
            let can_block = is_scope && identity.source() != Source::Rcpt;
            (!is_tag && (is_value.unwrap_or(false) || is_network && is_scope), can_block)
        };
        diagnose(samples, *now_us, &self.suffixes, typed)
    }
}

/// The limit that refused a check, or would have in shadow mode: a policy that is only watched is diagnosed, too.
fn refused(decision: &Decision) -> Option<&Arc<str>> {
    decision.refusal.as_deref().map(|refusal| &refusal.limit).or_else(|| decision.shadow.first())
}
