#![allow(dead_code, reason = "each test binary uses a part")]
//! Short ways to an engine and to envelopes.

use std::sync::Arc;

use throttle_core::decision::Decision;
use throttle_core::engine::Engine;
use throttle_core::envelope::Envelope;
use throttle_core::identity::SuffixList;
use throttle_core::key::Secret;
use throttle_core::policy::Policy;
use throttle_core::region::Now;

/// A few rules of both sections: what the names in these tests need.
const SUFFIXES: &str = "
// ===BEGIN ICANN DOMAINS===
com
net
org
uk
co.uk
io
// ===END ICANN DOMAINS===
// ===BEGIN PRIVATE DOMAINS===
github.io
// ===END PRIVATE DOMAINS===
";

pub(crate) const MIB: u64 = 1 << 20;

/// An engine with the hash secret of nobody.
pub(crate) fn engine(policy: &str, memory_bytes: u64) -> Engine {
    with_max_open(policy, memory_bytes, Engine::MAX_OPEN)
}

/// The same, with so many permits.
pub(crate) fn with_max_open(policy: &str, memory_bytes: u64, max_open: u32) -> Engine {
    let policy = Policy::parse("test.toml", policy).expect("a right policy");
    Engine::with_max_open(&policy, memory_bytes, list(&policy.extra_suffixes), Secret::new([7; 16]), max_open)
        .expect("enough memory")
}

/// The list, with suffixes of a policy.
pub(crate) fn list(extra: &[String]) -> Arc<SuffixList> {
    Arc::new(SuffixList::parse(SUFFIXES, extra).expect("a right list"))
}

/// A message at MAIL.
pub(crate) fn message<'a>(client_ip: &'a str, mail_from: &'a str) -> Envelope<'a> {
    Envelope { client_ip: Some(client_ip.as_bytes()), mail_from: Some(mail_from.as_bytes()), ..Envelope::default() }
}

/// A check of all that is known, at a stated time.
pub(crate) fn check(engine: &Engine, envelope: &Envelope<'_>, now_us: u64) -> Decision {
    engine.check(envelope, None, Now::Stated(i64::try_from(now_us).expect("a time of this age")))
}
