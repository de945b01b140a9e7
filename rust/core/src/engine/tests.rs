//! What only the inside can see: that a refused check leaves every line as it was (P5).

use std::sync::Arc;

use proptest::prelude::*;

use super::Engine;
use crate::decision::Decision;
use crate::envelope::Envelope;
use crate::identity::SuffixList;
use crate::key::Secret;
use crate::policy::Policy;
use crate::region::{LINES, Line, Now};

const POLICY: &str = r#"
[[limit]]
name = "net"
per = "client.net"
rate = "3/second"

[[limit]]
name = "hosts"
per = "sender.registered"
distinct = "sender.host"
rate = "2/10 seconds"
settle = "5 seconds"

[[limit]]
name = "org"
per = "sender.org"
rate = "2/second"
algorithm = "sliding-window"
when_full = "refuse"

[[limit]]
name = "rcpt"
per = ["client.net", "rcpt.address"]
count = "recipients"
rate = "2/second"

[[limit]]
name = "all-hosts"
per = "client.net"
distinct = "sender.host"
refuse = "all"
rate = "8/30 seconds"

[[limit]]
name = "all-mailboxes"
per = ["client.net", "sender.org"]
distinct = "rcpt.address"
refuse = "all"
rate = "4/second"
when_full = "refuse"

[[limit]]
name = "open"
per = "global"
in_flight = 4
share = { per = "client.net", of_free = "1/2" }

[[limit]]
name = "blocks"
per = "client.net"
rate = "5/2 seconds"
action = "block 1 second"

[[limit]]
name = "net-bytes"
per = ["client.net", "sender.host"]
in_flight = "2 kB"
"#;

fn engine() -> Engine {
    let policy = Policy::parse("test.toml", POLICY).expect("a right policy");
    let list = "// ===BEGIN ICANN DOMAINS===\ncom\n// ===END ICANN DOMAINS===\n";
    let suffixes = Arc::new(SuffixList::parse(list, &[]).expect("a right list"));
    Engine::with_max_open(&policy, 1 << 20, suffixes, Secret::new([1; 16]), 3).expect("enough memory")
}

/// Every line that a limit counts in: all but what observation counts, which may move, and blocks, which a refusal may
/// write.
fn lines(engine: &Engine) -> Vec<[Line; LINES]> {
    let mut tables = engine.shared.lock().tables();
    tables.drain(..marked_pages(engine));
    tables.truncate(tables.len() - engine.plan.stats.table().pages() as usize);
    tables
}

fn marked_pages(engine: &Engine) -> usize {
    let access = engine.plan.access.expect("memory for blocks");
    (access.list.table().pages() + access.blocks.table().pages()) as usize
}

/// What operators and limits have blocked.
fn access(engine: &Engine) -> Vec<[Line; LINES]> {
    let mut tables = engine.shared.lock().tables();
    tables.truncate(marked_pages(engine));
    tables
}

proptest! {
    #[test]
    fn a_refused_check_writes_nothing_but_the_time_and_what_is_observed(
        steps in prop::collection::vec(
            (0i64..2_000_000, 0u8..2, 0u8..6, prop::collection::vec(0u8..3, 0..4), 0u64..1500, 0u8..4),
            1..120,
        ),
    ) {
        let engine = engine();
        let mut now = 0;
        let mut open = Vec::new();
        for (pause, net, host, mailboxes, size, what) in steps {
            now += pause;
            if what == 3 && !open.is_empty() {
                let token = open.swap_remove(usize::from(host) % open.len());
                prop_assert!(engine.release(token), "it held");
            }
            let (ip, sender) = (format!("192.0.{net}.1"), format!("a@h{host}.t{}.ex.com", host % 2));
            let mailboxes: Vec<String> = mailboxes.iter().map(|mailbox| format!("m{mailbox}@box.com")).collect();
            let recipients: Vec<&[u8]> = mailboxes.iter().map(String::as_bytes).collect();
            let envelope = Envelope {
                client_ip: Some(ip.as_bytes()),
                mail_from: Some(sender.as_bytes()),
                rcpt_to: &recipients,
                size: Some(size),
                ..Envelope::default()
            };
            let written = || {
                let lines = lines(&engine);
                (lines, *engine.shared.lock().permits())
            };
            let (before, blocked) = (written(), access(&engine));
            let peeked = engine.peek(&envelope, None, Now::Stated(now));
            prop_assert!(written() == before && access(&engine) == blocked, "a peek wrote");
            let decision = if what == 0 {
                engine.check(&envelope, None, Now::Stated(now))
            } else {
                let (decision, token) = engine.admit(&envelope, None, Now::Stated(now));
                prop_assert_eq!(token.is_some(), decision.allowed());
                open.extend(token);
                decision
            };
            let limit = |decision: &Decision| decision.refusal.as_ref().map(|refusal| refusal.limit.to_string());
            let is_full = |decision: &Decision| limit(decision).is_some_and(|limit| limit == "max-open");
            prop_assert!(peeked == decision || is_full(&decision), "{:?} {:?}", peeked, decision);
            let changed = written() != before;
            prop_assert_eq!(changed, decision.allowed(), "{:?}", decision);
            prop_assert!(!decision.allowed() || access(&engine) == blocked, "what passes blocks nobody");
        }
    }
}
