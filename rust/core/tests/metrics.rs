//! Metrics: each check counts once, each limit that refuses counts, and a reload keeps the counts of limits that stay.

mod guard;

use std::collections::BTreeMap;
use std::thread;

use guard::{MIB, list, message, with_max_open};
use proptest::prelude::*;
use throttle_core::engine::{Counted, Engine, LimitState, Live, Metrics};
use throttle_core::envelope::Envelope;
use throttle_core::policy::{Mode, Policy, Report, Stage, Stages};
use throttle_core::region::Now;

const POLICY: &str = r#"
max_recipients = 100

[[limit]]
name = "net"
per = "client.net"
rate = "3/second"

[[limit]]
name = "org"
per = "sender.org"
rate = "2/second"

[limit.quota]
"t1.com" = { rate = "1/2 seconds" }

[[limit]]
name = "hosts"
per = "sender.registered"
distinct = "sender.host"
rate = "1/10 seconds"
mode = "shadow"

[[limit]]
name = "blocks"
per = "client.net"
rate = "4/2 seconds"
action = "block 1 second"

[[limit]]
name = "open"
per = "client.net"
in_flight = 2
"#;

type Counts = BTreeMap<String, [u64; 2]>;

/// What the limits and the built-in refusals refused, by name.
fn refusals(metrics: &Metrics) -> Counts {
    metrics.limits.iter().map(|limit| (limit.name.to_string(), [limit.refused, limit.shadow])).collect()
}

fn checks(metrics: &Metrics, counted: Counted) -> u64 {
    metrics.checks.iter().map(|stage| stage[counted as usize]).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn counts_are_those_of_a_model_that_asks_explain_before_each_check(
        steps in prop::collection::vec((0i64..700_000, 0u8..2, 0u8..3, 0u8..4, 0u8..8), 1..80),
    ) {
        let engine = with_max_open(POLICY, MIB, 3);
        let (mut now, mut open) = (0, Vec::new());
        let (mut expected, mut decisions) = (Counts::new(), [[0; 3]; Stage::ALL.len()]);
        for (pause, net, host, recipients, what) in steps {
            now += pause;
            match what {
                4 if !open.is_empty() => prop_assert!(engine.release(open.swap_remove(0)), "it held"),
                5 => engine.set_mode(if net == 0 { Mode::Shadow } else { Mode::Enforce }),
                _ => {}
            }
            let (ip, sender) = (format!("192.0.{net}.1"), format!("a@h{host}.t{}.com", host % 2));
            let mailboxes: Vec<String> = (0..101).map(|number| format!("m{number}@box.com")).collect();
            let mailboxes: Vec<&[u8]> = mailboxes.iter().map(String::as_bytes).collect();
            let rcpt_to = &mailboxes[..if recipients == 3 { 101 } else { recipients.into() }];
            let envelope = Envelope { rcpt_to, ..message(&ip, &sender) };
            let stage = if recipients == 0 { Stage::Mail } else { Stage::Rcpt };
            let (is_shadow, at) = (engine.mode() == Mode::Shadow, Now::Stated(now));
            let before = engine.metrics();
            let told = engine.explain(&envelope, None, at);
            engine.peek(&envelope, None, at);
            prop_assert_eq!(&engine.metrics(), &before, "a peek or an explanation counted");
            let mut names = BTreeMap::new();
            for row in &told.limits {
                if let LimitState::Key { wait_us, is_shadow, .. } = row.found {
                    if wait_us != Some(0) {
                        names.insert(row.limit.clone(), is_shadow);
                    }
                }
            }
            for block in told.covering.iter().filter_map(|covering| covering.by.as_ref()) {
                names.insert(block.to_string(), is_shadow);
            }
            if recipients == 3 {
                names.insert("max-recipients".into(), is_shadow);
            }
            let decision = if what % 2 == 0 {
                engine.check(&envelope, None, at)
            } else {
                if open.len() == 3 {
                    names.insert("max-open".into(), is_shadow);
                }
                let (decision, token) = engine.admit(&envelope, None, at);
                open.extend(token);
                decision
            };
            let counted = match (&decision.refusal, names.is_empty()) {
                (Some(_), _) => Counted::Refused,
                (None, false) => Counted::Shadow,
                (None, true) => Counted::Admitted,
            };
            decisions[stage as usize][counted as usize] += 1;
            for (name, in_shadow) in names {
                expected.entry(name).or_default()[usize::from(in_shadow)] += 1;
            }
            let metrics = engine.metrics();
            prop_assert_eq!(metrics.checks, decisions);
            let counted: Counts = refusals(&metrics).into_iter().filter(|(_, counts)| *counts != [0, 0]).collect();
            prop_assert_eq!(&counted, &expected, "{:?}", told);
        }
    }

    #[test]
    fn a_reload_keeps_the_counts_of_limits_that_stay_in_any_order(
        orders in prop::collection::vec(orders(), 1..8),
    ) {
        let live = Live::new(with_max_open(&policy(&[0, 1, 2]), 4 * MIB, 3));
        let mut expected: BTreeMap<String, u64> = (0..3).map(|limit| (name(limit), 0)).collect();
        for (round, order) in (0..).zip(orders) {
            let sender = format!("a{round}@b.com");
            (0..10).for_each(|_| drop(live.engine().check(&message("192.0.2.1", &sender), None, Now::Stated(round))));
            expected.iter_mut().for_each(|(limit, count)| *count += 10 - amount(limit));
            prop_assert_eq!(&stated(&live.engine().metrics()), &expected);
            let next = Policy::parse("next.toml", &policy(&order)).expect("a right policy");
            live.reload(&next, list(&[]), &|| ()).expect("it fits");
            let kept = |name: String| (name.clone(), expected.get(&name).copied().unwrap_or(0));
            expected = order.iter().map(|&limit| kept(name(limit))).collect();
            prop_assert_eq!(&stated(&live.engine().metrics()), &expected, "a new limit begins at zero");
        }
    }
}

/// Some limits, in any order.
fn orders() -> impl Strategy<Value = Vec<u64>> {
    prop::sample::subsequence((0u64..6).collect::<Vec<_>>(), 1..6).prop_shuffle()
}

/// What the stated limits would have refused.
fn stated(metrics: &Metrics) -> BTreeMap<String, u64> {
    let stated = metrics.limits.iter().filter(|limit| limit.is_stated);
    stated.map(|limit| (limit.name.to_string(), limit.shadow)).collect()
}

fn name(limit: u64) -> String {
    format!("l{limit}")
}

/// How many messages of a sender the limit of this name lets pass.
fn amount(name: &str) -> u64 {
    name[1..].parse::<u64>().expect("a number") + 1
}

/// Limits of these numbers, in this order, in shadow mode: each counts what it would refuse, whatever the others do.
fn policy(order: &[u64]) -> String {
    let limit = |&limit: &u64| {
        let name = name(limit);
        format!(
            "[[limit]]\nname = '{name}'\nper = 'sender.address'\nrate = '{}/day'\nmemory = '64 KiB'\nmode = 'shadow'\n",
            amount(&name)
        )
    };
    order.iter().map(limit).collect()
}

#[test]
fn decisions_add_up_to_checks_over_threads_and_reloads() {
    let enforcing = |order: &[u64]| policy(order).replacen("mode = 'shadow'", "", 1);
    let live = Live::new(with_max_open(&enforcing(&[0, 1, 2]), 4 * MIB, 3));
    const EACH: u64 = 5_000;
    let (mut refused, mut admitted) = (0, 0);
    thread::scope(|scope| {
        let work = |thread: u64| {
            let live = &live;
            scope.spawn(move || {
                let mut refused = 0;
                for number in 0..EACH {
                    let sender = format!("a{}@b.com", number % 64);
                    let envelope = message("192.0.2.1", &sender);
                    let at = Now::Stated((number * 100_000 + thread) as i64);
                    let stages = Some(Stages::default().with(Stage::ALL[(number % 5) as usize]));
                    refused += u64::from(!live.engine().check(&envelope, stages, at).allowed());
                }
                refused
            })
        };
        let threads: Vec<_> = (0..4).map(work).collect();
        for order in [&[2, 0][..], &[0, 1, 2], &[5, 2], &[2]].into_iter().cycle().take(40) {
            let next = Policy::parse("next.toml", &enforcing(order)).expect("a right policy");
            live.reload(&next, list(&[]), &|| ()).expect("it fits");
        }
        for thread in threads {
            let one = thread.join().expect("no panic");
            (refused, admitted) = (refused + one, admitted + EACH - one);
        }
    });
    let metrics = live.engine().metrics();
    let [is_refused, is_admitted, is_shadow] =
        [Counted::Refused, Counted::Admitted, Counted::Shadow].map(|counted| checks(&metrics, counted));
    assert!(refused > 0 && admitted > 0);
    assert_eq!((is_refused, is_admitted + is_shadow), (refused, admitted));
    for stage in metrics.checks {
        assert_eq!(stage.iter().sum::<u64>(), 4 * EACH / 5, "each stage was asked as often");
    }
}

#[test]
fn reports_untracked_charges_and_steps_out_of_order_are_counted() {
    let small = "[[limit]]\nname = 'small'\nper = 'sender.address'\nrate = '1/day'\nmemory = '4 KiB'\n";
    let engine = guard::engine(small, MIB);
    let envelope = message("192.0.2.1", "a@b.com");
    for (times, report) in (1..).zip(Report::ALL) {
        (0..times).for_each(|_| engine.report(&envelope, report, Now::Stated(1)));
    }
    assert_eq!(engine.metrics().reports, [1, 2, 3, 4]);
    let senders: Vec<String> = (0..2_000).map(|number| format!("a{number}@b.com")).collect();
    for sender in &senders {
        assert!(engine.check(&message("192.0.2.1", sender), None, Now::Stated(2)).allowed());
    }
    let metrics = engine.metrics();
    let small = metrics.limits.iter().find(|limit| &*limit.name == "small").expect("a limit");
    let table = engine.tables(&|| ()).into_iter().find(|table| table.name == "small").expect("a table");
    assert_eq!((small.untracked, small.untracked + table.used), (table.untracked, 2_000));
    let mut session = throttle_core::engine::Session::default();
    assert!(!session.data(&engine, &envelope, Now::Stated(3)).decision.allowed());
    let after = engine.metrics();
    assert_eq!(refusals(&after)["out-of-order"], [1, 0]);
    assert_eq!(after.checks, metrics.checks, "a step out of order asks nothing");
}

#[test]
fn each_element_that_a_new_one_displaces_is_an_eviction() {
    let small = "[[limit]]\nname = 'hosts'\nper = 'sender.org'\ndistinct = 'sender.host'\nrate = '100000/day'\n\
                 memory = '64 KiB'\n";
    let engine = guard::engine(small, MIB);
    let hosts = 40_000;
    for host in 0..hosts {
        let sender = format!("a@h{host}.b.com");
        assert!(engine.check(&message("192.0.2.1", &sender), None, Now::Stated(1)).allowed());
    }
    let tables = engine.tables(&|| ());
    let memory = tables.iter().find(|table| table.name.starts_with("memory of")).expect("a memory");
    assert!(memory.used < hosts / 2, "it is too small for all of them");
    assert_eq!(engine.metrics().evictions, hosts - memory.used);
}

#[test]
fn an_operators_block_counts_as_one_and_an_entry_that_lets_through_beats_it() {
    use throttle_core::store::access_list::AccessAction;
    let engine: Engine = guard::engine(POLICY, MIB);
    let at = Now::Stated(1_000_000);
    let put = |value: &str, action| engine.say("sender.org", value, action, None, at).expect("an entry");
    put("t0.com", AccessAction::Block);
    let blocked = message("192.0.2.1", "a@t0.com");
    (0..3).for_each(|_| assert!(!engine.check(&blocked, None, at).allowed()));
    assert_eq!(refusals(&engine.metrics())["blocked"], [3, 0]);
    engine.set_mode(Mode::Shadow);
    assert!(engine.check(&blocked, None, at).allowed());
    assert_eq!(refusals(&engine.metrics())["blocked"], [3, 1]);
    assert_eq!(engine.metrics().checks[Stage::Mail as usize], [0, 3, 1]);
}

#[test]
fn durations_lie_in_the_bucket_of_their_bound() {
    let engine = guard::engine(POLICY, MIB);
    [1, 1_000, 1_001, 2_000_000_000].into_iter().for_each(|ns| engine.note_duration(ns));
    let durations = engine.metrics().durations;
    assert_eq!((durations.buckets[0], durations.buckets[1], durations.buckets[11]), (2, 1, 1));
    assert_eq!((durations.sum_ns, durations.buckets.iter().sum::<u64>()), (2_000_002_002, 4));
}
