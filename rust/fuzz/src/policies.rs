//! Policy files: what is refused says where in one line; what is read prints as itself, and holds what it says when it
//! is run.

use std::sync::Arc;

use throttle_core::engine::Engine;
use throttle_core::envelope::{Envelope, Headers, Spf};
use throttle_core::error::PolicyError;
use throttle_core::identity::SuffixList;
use throttle_core::key::Secret;
use throttle_core::policy::{Limit, MAX_LIMITS, Policy, PolicyEntry, Quota};
use throttle_core::region::Now;

use crate::reading::LIST;

const FILE: &str = "policy.toml";

/// Enough for a dozen limits, and little to touch.
const MEMORY: u64 = 1 << 20;

/// Octets of a sentence for an operator: it lists all identities at worst.
const LONGEST_SENTENCE: usize = 1_000;

/// Checks after which a limit that did not refuse is left alone.
const CHECKS: usize = 40;

/// Engine time of the first check, µs.
const START_US: i64 = 1_000_000_000_000;

/// The text of a policy file.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match Policy::parse(FILE, &text) {
        Err(error) => check_error(&error, &text),
        Ok(policy) => {
            check_policy(&policy);
            run(&policy, &text);
        }
    }
}

/// One line that names the file, and a line of it.
fn check_error(error: &PolicyError, text: &str) {
    let sentence = error.to_string();
    assert!(sentence.starts_with(FILE), "{sentence:?}");
    assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
    assert!(sentence.len() <= LONGEST_SENTENCE, "{} octets: {sentence:?}", sentence.len());
    assert!(!error.found.is_empty() && !error.allowed.is_empty(), "{sentence:?}");
    let lines = text.split('\n').count();
    assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{lines} lines: {sentence:?}");
    assert!(error.field.is_some() || error.column.is_some() || error.limit.is_some() || error.line.is_none());
}

/// What is printed reads as the same, once for all.
fn check_policy(policy: &Policy) {
    assert!((1..=MAX_LIMITS).contains(&policy.limits.len()));
    let printed = policy.to_toml();
    let again = Policy::parse(FILE, &printed).unwrap_or_else(|error| panic!("{error}\nin:\n{printed}"));
    assert_eq!(bare(&again), bare(policy), "\n{printed}");
    // But for the remark that the numbers are multiplied already.
    assert!(printed.ends_with(&again.to_toml()), "{printed}");
    for limit in &policy.limits {
        let fields: Vec<_> = limit.to_fields().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        assert_eq!(Limit::from_fields(&fields).as_ref(), Ok(&without_lines(limit)));
    }
}

/// What printing does not keep: places, and the scale that is in the numbers already.
fn bare(policy: &Policy) -> Policy {
    let limits = policy.limits.iter().map(without_lines).collect();
    let entries = policy.entries.iter().map(|entry| PolicyEntry { line: None, ..entry.clone() }).collect();
    Policy { scale_millionths: 1_000_000, limits, entries, ..policy.clone() }
}

fn without_lines(limit: &Limit) -> Limit {
    let quotas = limit.quotas.iter().map(|quota| Quota { line: None, ..quota.clone() }).collect();
    Limit { line: None, quotas, ..limit.clone() }
}

/// It fits into its memory or says why not; and a refusal's wait is exact (P10), whatever the limit.
fn run(policy: &Policy, text: &str) {
    let Ok(suffixes) = SuffixList::parse(LIST, &policy.extra_suffixes) else {
        panic!("suffixes that a policy may have: {:?}", policy.extra_suffixes);
    };
    let secret = Secret::new(*b"sixteen octets!!");
    let engine = match Engine::with_max_open(policy, MEMORY, Arc::new(suffixes), secret, 100) {
        Ok(engine) => engine,
        Err(error) => return check_too_big(&error, text),
    };
    assert!(engine.memory_bytes() <= MEMORY, "{} bytes", engine.memory_bytes());
    for n in 0..CHECKS {
        let host = format!("joe@h{n}.tenant.example.com");
        let rcpt_to: [&[u8]; 2] = [b"in@box.com", host.as_bytes()];
        let joe: [&[u8]; 1] = [b"joe@example.com"];
        let headers =
            Headers { from: &joe, reply_to: &joe, list_id: Some(b"<a.example.com>"), dkim: &[b"example.com"] };
        let envelope = Envelope {
            client_ip: Some(b"198.51.100.7"),
            client_name: Some(b"mx.example.com"),
            helo: Some(b"mx.example.com"),
            mail_from: Some(host.as_bytes()),
            rcpt_to: &rcpt_to,
            auth_user: Some(b"joe"),
            spf: Some(Spf::Pass),
            size: Some(10_000),
            headers: Some(&headers),
        };
        let Some(refusal) = engine.check(&envelope, None, Now::Stated(START_US)).refusal else { continue };
        let reply = refusal.reply();
        assert!(reply.len() <= 510 && reply.bytes().all(|octet| (0x20..0x7f).contains(&octet)), "{reply:?}");
        let limit = policy.limits.iter().find(|limit| *limit.name == *refusal.limit);
        let exact = limit.is_some_and(|limit| !limit.is_in_flight());
        if let (Some(wait_us), true) = (refusal.wait_us, exact) {
            let passes = |wait_us: u64| {
                let now = Now::Stated(START_US.saturating_add_unsigned(wait_us));
                engine.peek(&envelope, None, now).allowed()
            };
            assert!(wait_us > 0 && !passes(wait_us - 1), "{} refuses for less than {wait_us} µs", refusal.limit);
            assert!(passes(wait_us), "{} refuses for more than {wait_us} µs", refusal.limit);
        }
        return;
    }
}

fn check_too_big(error: &PolicyError, text: &str) {
    let sentence = error.to_string();
    assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
    let lines = text.split('\n').count();
    assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{lines} lines: {sentence:?}");
}
