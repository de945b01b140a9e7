//! P10 over whole policies: a retry at the time told passes, one a microsecond before does not,
//! when nothing else is charged meanwhile.
//!
//! Memories are short here, so that elements settle and are forgotten while a message waits.

mod guard;

use guard::{MIB, check, engine, message};
use proptest::prelude::*;
use throttle_core::region::Now;

const HOSTS: [&str; 8] =
    ["ex.com", "a.ex.com", "b.ex.com", "x.t1.ex.com", "y.t1.ex.com", "z.u.t1.ex.com", "p.github.io", "q.r.p.github.io"];

/// When a fan-out charges an element.
fn charges() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("once"), Just("twice"), Just("until-return")]
}

fn policies() -> impl Strategy<Value = String> {
    let amount = 1u64..4;
    (
        amount.clone(),
        amount.clone(),
        amount,
        1u64..200,
        1u64..100,
        1u64..400,
        any::<bool>(),
        any::<[bool; 2]>(),
        [charges(), charges()],
        (prop_oneof![Just(""), Just("warm_up = \"90 seconds\"")], prop::option::of(1u64..20)),
    )
        .prop_map(
            |(
                pair,
                ladder,
                fresh,
                period,
                settle,
                remember,
                refuse,
                [pair_slides, ladder_slides],
                [fresh_charge, net_charge],
                (warm_up, readmit),
            )| {
                let slides = "algorithm = \"sliding-window\"";
                let pair_how = if pair_slides { slides } else { "burst = 2" };
                let ladder_how = if ladder_slides { slides } else { "" };
                let remember = remember.max(settle);
                // Beyond four, registers count.
                let all_burst = pair * 2;
                // Only a limit that charges once has notes.
                let readmit = readmit.filter(|_| net_charge == "once");
                let readmit = readmit.map_or(String::new(), |after| format!("readmit = \"{after} seconds\""));
                let full = if refuse { "refuse" } else { "admit" };
                format!(
                    r#"
[[limit]]
name = "pair"
per = ["client.net", "sender.org"]
rate = "{pair}/{period} seconds"
{pair_how}
when_full = "{full}"

[[limit]]
name = "ladder"
per = "sender.registered"
distinct = "sender.host"
rate = "{ladder}/{period} seconds"
{ladder_how}
remember = "{remember} seconds"
settle = "{settle} seconds"
when_full = "{full}"

[[limit]]
name = "fresh"
per = "sender.registered"
distinct = "sender.host"
rate = "{fresh}/100 seconds"
remember = "{remember} seconds"
charge = "{fresh_charge}"

[[limit]]
name = "net"
per = "client.net"
distinct = "sender.org"
rate = "1/70 seconds"
remember = "50 seconds"
charge = "{net_charge}"
{warm_up}
{readmit}

[[limit]]
name = "all"
per = ["client.net", "sender.registered"]
distinct = "sender.host"
refuse = "all"
rate = "{fresh}/{period} seconds"
burst = {all_burst}
when_full = "{full}"
"#
                )
            },
        )
}

proptest! {
    #[test]
    fn a_retry_passes_at_the_time_told_and_not_a_microsecond_before(
        policy in policies(),
        start in prop_oneof![Just(0u64), Just(1_637_889_600_000_000)],
        steps in prop::collection::vec((0u64..60_000_000, 0usize..HOSTS.len(), 0u8..3), 1..80),
    ) {
        let engine = engine(&policy, 4 * MIB);
        let mut now = start;
        for (pause, host, net) in steps {
            now += pause;
            let (ip, sender) = (format!("192.0.{net}.1"), format!("a@{}", HOSTS[host]));
            let envelope = message(&ip, &sender);
            let Some(refusal) = check(&engine, &envelope, now).refusal else { continue };
            let wait = refusal.wait_us.expect("every one of these passes some day");
            prop_assert!(wait > 0);
            let peek = |at: u64| engine.peek(&envelope, None, Now::Stated(at as i64));
            let early = peek(now + wait - 1).refusal;
            prop_assert!(early.is_some(), "passes before the time told: {refusal:?} at {now}");
            prop_assert_eq!(early.and_then(|early| early.wait_us), Some(1));
            prop_assert!(
                peek(now + wait).allowed(), "refused at the time told: {refusal:?} {:?} at {now}", peek(now + wait),
            );
        }
    }
}
