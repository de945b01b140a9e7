#![allow(dead_code, reason = "each benchmark uses a part")]
//! Senders in turn, nearly all admitted by `inbound`, and an engine that has met each of them once.
//!
//! The same as `benches/traffic.py`. It measures nothing. Invariant: a sender comes back only after all the others have
//! sent.

use std::sync::Arc;

use throttle_core::engine::Engine;
use throttle_core::envelope::Envelope;
use throttle_core::identity::SuffixList;
use throttle_core::key::Secret;
use throttle_core::policy::{Policy, Stage, Stages};
use throttle_core::region::Now;

/// The text of a policy and the name of its file.
#[derive(Clone, Copy)]
pub(crate) struct PolicyFile(&'static str, &'static str);

/// The first built-in policy, which never changes, so that the figures of two versions compare.
pub(crate) const INBOUND_1: PolicyFile =
    PolicyFile("inbound-1.toml", include_str!("../../../../benches/inbound-1.toml"));

/// The built-in policy of today.
pub(crate) const INBOUND: PolicyFile =
    PolicyFile("inbound.toml", include_str!("../../../../python/throttle/policies/inbound.toml"));

/// A few rules of both sections, for when `SUFFIX_LIST` names no file.
const RULES: &str = include_str!("../../tests/data/suffixes.dat");

/// Microseconds from one message to the next: a sender comes back after 500 s.
pub(crate) const PACE_US: i64 = 500;

/// 2020-09-13.
pub(crate) const START_US: i64 = 1_600_000_000_000_000;

pub(crate) const RECIPIENT: [&[u8]; 1] = [b"in@box.com"];

/// Who sends, as text.
pub(crate) struct Senders(Vec<[String; 3]>);

impl Senders {
    /// 28,000 networks (/24), each with organisations of its own; only a few senders when nothing is measured.
    pub(crate) fn new() -> Self {
        let count = if super::side_by_side::is_measuring() { 1_000_000 } else { 1_000 };
        Self::numbered(0..count)
    }

    /// Those of these numbers.
    pub(crate) fn numbered(numbers: std::ops::Range<usize>) -> Self {
        Self(numbers.map(sender).collect())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// What a policy server knows at RCPT, of the sender whose turn it is.
    pub(crate) fn envelope(&self, turn: usize) -> Envelope<'_> {
        let [client_ip, helo, mail_from] = &self.0[turn % self.0.len()];
        Envelope {
            client_ip: Some(client_ip.as_bytes()),
            helo: Some(helo.as_bytes()),
            mail_from: Some(mail_from.as_bytes()),
            rcpt_to: &RECIPIENT,
            ..Envelope::default()
        }
    }
}

fn sender(number: usize) -> [String; 3] {
    let (network, organisation, host) = (number % 4_000, number / 3, number % 3);
    [
        format!("{}.{}.{}.{}", 20 + network / 250, network % 250, number % 7, 1 + number / 4_000 % 200),
        format!("mx{host}.org{organisation}.com"),
        format!("user{}@mx{host}.org{organisation}.com", number % 11),
    ]
}

/// The time of a turn.
pub(crate) fn at(turn: usize) -> Now {
    Now::Stated(START_US + turn as i64 * PACE_US)
}

/// An engine for `inbound-1.toml` that every sender has passed once.
pub(crate) fn warm(memory_bytes: u64, senders: &Senders) -> Engine {
    warm_under(INBOUND_1, "", memory_bytes, senders)
}

/// An engine for a policy and more limits that every sender has passed once.
///
/// # Panics
/// When not nearly all were admitted: then something else would be measured.
pub(crate) fn warm_under(policy: PolicyFile, more: &str, memory_bytes: u64, senders: &Senders) -> Engine {
    let list = std::env::var("SUFFIX_LIST")
        .map_or_else(|_| RULES.to_owned(), |path| std::fs::read_to_string(path).expect("SUFFIX_LIST names a file"));
    let PolicyFile(name, text) = policy;
    let policy = Policy::parse(name, &format!("{text}\n{more}")).expect("a right policy");
    let suffixes = SuffixList::parse(&list, &policy.extra_suffixes).expect("a sound list");
    let engine = Engine::new(&policy, memory_bytes, Arc::new(suffixes), Secret::new(*b"sixteen octets!!"))
        .expect("enough memory");
    let admitted = (0..senders.count()).filter(|&turn| engine.check(&senders.envelope(turn), None, at(turn)).allowed());
    assert!(admitted.count() * 100 >= senders.count() * 95, "at least 95 % are admitted");
    engine
}

/// Connect to RCPT: what such an envelope is asked at.
pub(crate) fn stages() -> Stages {
    [Stage::Connect, Stage::Helo, Stage::Mail, Stage::Rcpt].into_iter().fold(Stages::default(), Stages::with)
}
