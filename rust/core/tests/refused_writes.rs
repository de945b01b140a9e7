//! A refused check leaves every line of memory as it was (P5), but for engine time, statistics, the block of a limit
//! that blocks, the note of a limit that readmits, and counters for metrics. Compares the memory word by word.

mod guard;

use guard::{MIB, with_max_open};
use proptest::prelude::*;
use throttle_core::decision::Decision;
use throttle_core::engine::Engine;
use throttle_core::envelope::Envelope;
use throttle_core::region::{Now, PAGE_BYTES, Region, Table};

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
name = "all-new"
per = "global"
distinct = "sender.host"
rate = "6/20 seconds"
remember = "30 seconds"
readmit = "5 seconds"

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

/// The tables of operators' entries and of blocks, and those that limits count in. Statistics are left out, because
/// they may change.
fn tables(engine: &Engine) -> [Vec<Table>; 2] {
    let (plan, _) = engine.parts();
    let access = plan.access.expect("memory for blocks");
    let notes = plan.seen_sets.iter().filter_map(|planned| planned.set.notes().copied());
    let others = [access.list.table, access.blocks.table, plan.stats.table, Table::COUNTERS]
        .into_iter()
        .chain(notes)
        .collect::<Vec<_>>();
    let counted = Region::free((engine.memory_bytes() / PAGE_BYTES) as u32, &others);
    [others[..2].to_vec(), counted]
}

fn copied(engine: &Engine, tables: &[Table]) -> Vec<u64> {
    let region = engine.parts().1.lock();
    tables.iter().map(|table| region.words(table)).collect::<Vec<_>>().concat()
}

fn is_as_before(engine: &Engine, tables: &[Table], before: &[u64]) -> bool {
    let region = engine.parts().1.lock();
    let mut rest = before;
    tables.iter().all(|table| {
        let (own, others) = rest.split_at(region.words(table).len());
        rest = others;
        own == region.words(table)
    })
}

proptest! {
    #[test]
    fn a_refused_check_writes_nothing_but_the_time_and_what_is_observed(
        steps in prop::collection::vec(
            (0i64..2_000_000, 0u8..2, 0u8..6, prop::collection::vec(0u8..3, 0..4), 0u64..1500, 0u8..4),
            1..120,
        ),
    ) {
        let engine = with_max_open(POLICY, MIB, 3);
        let [access, counted] = tables(&engine);
        let permits = || *engine.parts().1.lock().permits();
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
            let (blocked, before, held) = (copied(&engine, &access), copied(&engine, &counted), permits());
            let is_blocked_as_before = || is_as_before(&engine, &access, &blocked);
            let is_counted_as_before = || is_as_before(&engine, &counted, &before) && permits() == held;
            let peeked = engine.peek(&envelope, None, Now::Stated(now));
            prop_assert!(is_counted_as_before() && is_blocked_as_before(), "a peek wrote");
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
            prop_assert_eq!(!is_counted_as_before(), decision.allowed(), "{:?}", decision);
            prop_assert!(!decision.allowed() || is_blocked_as_before(), "what passes blocks nobody");
        }
    }
}
