//! What only the inside can see: that a refused check leaves every line as it was (P5).

use std::sync::Arc;

use proptest::prelude::*;

use super::Engine;
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
"#;

fn engine() -> Engine {
    let policy = Policy::parse("test.toml", POLICY).expect("a right policy");
    let list = "// ===BEGIN ICANN DOMAINS===\ncom\n// ===END ICANN DOMAINS===\n";
    let suffixes = Arc::new(SuffixList::parse(list, &[]).expect("a right list"));
    Engine::new(&policy, 1 << 20, suffixes, Secret::new([1; 16])).expect("enough memory")
}

/// Every line that a limit counts in: all but what observation counts, which may move.
fn lines(engine: &Engine) -> Vec<[Line; LINES]> {
    let mut tables = engine.shared.lock().tables();
    tables.truncate(tables.len() - engine.plan.observer.table().pages() as usize);
    tables
}

proptest! {
    #[test]
    fn a_refused_check_writes_nothing_but_the_time_and_what_is_observed(
        steps in prop::collection::vec((0i64..2_000_000, 0u8..2, 0u8..6, prop::collection::vec(0u8..3, 0..4)), 1..120),
    ) {
        let engine = engine();
        let mut now = 0;
        for (pause, net, host, mailboxes) in steps {
            now += pause;
            let (ip, sender) = (format!("192.0.{net}.1"), format!("a@h{host}.t{}.ex.com", host % 2));
            let mailboxes: Vec<String> = mailboxes.iter().map(|mailbox| format!("m{mailbox}@box.com")).collect();
            let recipients: Vec<&[u8]> = mailboxes.iter().map(String::as_bytes).collect();
            let envelope = Envelope {
                client_ip: Some(ip.as_bytes()), mail_from: Some(sender.as_bytes()), rcpt_to: &recipients, ..Envelope::default()
            };
            let before = lines(&engine);
            let peeked = engine.peek(&envelope, None, Now::Stated(now));
            prop_assert!(lines(&engine) == before, "a peek wrote");
            let decision = engine.check(&envelope, None, Now::Stated(now));
            prop_assert_eq!(&peeked, &decision);
            let changed = lines(&engine) != before;
            prop_assert_eq!(changed, decision.allowed(), "{:?}", decision);
        }
    }
}
