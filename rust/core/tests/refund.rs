//! Charges that are given back: never more than the limit for anybody (P4), exactly what is left of them,
//! and nothing twice.

mod guard;
mod oracle;

use guard::{MIB, engine, list, message};
use oracle::{Bucket, Buckets, Windows};
use proptest::prelude::*;
use throttle_core::engine::{Engine, Live, Purpose, Receipt};
use throttle_core::envelope::Envelope;
use throttle_core::policy::Policy;
use throttle_core::region::Now;

/// A tick of these limits is the least part that a bucket can be ahead by.
const PERIOD_US: u64 = 10_000_000;

fn policy(algorithm: &str, when_full: &str) -> String {
    format!(
        r#"
        [[limit]]
        name = "pace"
        per = "client.ip"
        rate = "5 kB/10 seconds"
        algorithm = "{algorithm}"
        when_full = "{when_full}"
        "#
    )
}

fn charge(engine: &Engine, ip: u8, cost: u64, now_us: u64) -> Option<Receipt> {
    let ip = format!("192.0.2.{ip}");
    let envelope = Envelope { size: Some(cost), ..message(&ip, "a@b.com") };
    let (decision, charge, _) = engine.decide(&envelope, None, stated(now_us), Purpose::Check);
    decision.allowed().then_some(charge)
}

fn refund(engine: &Engine, ip: u8, cost: u64, charge: &Receipt, now_us: u64) -> bool {
    let ip = format!("192.0.2.{ip}");
    let envelope = Envelope { size: Some(cost), ..message(&ip, "a@b.com") };
    engine.refund(&envelope, charge, &[], stated(now_us))
}

fn stated(us: u64) -> Now {
    Now::Stated(i64::try_from(us).expect("a time of this age"))
}

#[derive(Clone, Copy)]
struct Event {
    ip: u8,
    cost: u64,
    at_us: u64,
}

/// What the charges that stand come to, as buckets: whether one more keeps the limit, to a tick.
fn keeps_bucket(standing: &[Event], one: Event) -> bool {
    let bucket = Bucket { amount: 5000, period_us: PERIOD_US.into(), burst: 5000 };
    let mut buckets = Buckets::new(bucket);
    for event in standing.iter().filter(|event| event.ip == one.ip) {
        buckets.charge(event.ip, event.at_us, event.cost);
    }
    // The parts of a bucket are microseconds here: a tick is one or two of them, and a bucket that was empty may be
    // ahead by one.
    let tick = u128::from(PERIOD_US / 5000) * bucket.amount / 1000;
    let level = buckets.level(&one.ip, one.at_us) + u128::from(one.cost) * bucket.period_us;
    level <= bucket.burst * bucket.period_us + tick
}

fn keeps_window(standing: &[Event], one: Event) -> bool {
    let mut windows = Windows::new(PERIOD_US);
    for event in standing {
        windows.charge(event.ip, event.at_us, event.cost);
    }
    windows.counted(&one.ip, one.at_us) + one.cost <= 5000
}

proptest! {
    #[test]
    fn whatever_is_given_back_what_stands_keeps_the_limit(
        gcra in any::<bool>(), sketch in any::<bool>(),
        steps in prop::collection::vec((0u64..3_000_000, 0u8..3, 1u64..2500, 0usize..40, any::<bool>()), 1..150),
    ) {
        let engine = engine(
            &policy(if gcra { "gcra" } else { "sliding-window" }, if sketch { "sketch" } else { "refuse" }), MIB,
        );
        let (mut standing, mut charges): (Vec<Event>, Vec<Receipt>) = (Vec::new(), Vec::new());
        let mut now = 1_000_000_000;
        for (pause, ip, cost, which, gives_back) in steps {
            now += pause;
            if gives_back && !standing.is_empty() {
                let which = which % standing.len();
                let Event { ip, cost, .. } = standing.remove(which);
                refund(&engine, ip, cost, &charges.remove(which), now);
                continue;
            }
            let one = Event { ip, cost, at_us: now };
            if let Some(charge) = charge(&engine, ip, cost, now) {
                let keeps = if gcra { keeps_bucket(&standing, one) } else { keeps_window(&standing, one) };
                prop_assert!(keeps, "admitted what the charges that stand have no room for");
                standing.push(one);
                charges.push(charge);
            }
        }
    }

    /// In a table of one page, where slots expire and go to other keys.
    #[test]
    fn a_key_without_a_slot_or_in_one_that_was_anothers_gives_nothing_back_that_is_not_its_own(
        gcra in any::<bool>(),
        steps in prop::collection::vec((0u64..4_000_000, 0u8..=255, 0usize..400, any::<bool>()), 200..600),
    ) {
        let text = policy(if gcra { "gcra" } else { "sliding-window" }, "refuse")
            .replace("when_full", "memory = \"4 KiB\"\nwhen_full");
        let engine = engine(&text, MIB);
        let (mut standing, mut charges): (Vec<Event>, Vec<Receipt>) = (Vec::new(), Vec::new());
        let mut now = 1_000_000_000;
        for (pause, ip, which, gives_back) in steps {
            now += pause / 20;
            if gives_back && !standing.is_empty() {
                let which = which % standing.len();
                let Event { ip, cost, .. } = standing.remove(which);
                refund(&engine, ip, cost, &charges.remove(which), now);
            } else if let Some(charge) = charge(&engine, ip, 2000, now) {
                let one = Event { ip, cost: 2000, at_us: now };
                let keeps = if gcra { keeps_bucket(&standing, one) } else { keeps_window(&standing, one) };
                prop_assert!(keeps, "admitted what the charges that stand have no room for");
                standing.push(one);
                charges.push(charge);
            }
        }
    }

    #[test]
    fn what_is_given_back_at_once_is_there_again_and_all_of_it(
        gcra in any::<bool>(), before in 0u64..2500, cost in 1u64..2500, pause in 0u64..5_000_000,
    ) {
        let engine = engine(&policy(if gcra { "gcra" } else { "sliding-window" }, "refuse"), MIB);
        let start = 1_000_000_000;
        if before > 0 {
            prop_assert!(charge(&engine, 1, before, start).is_some());
        }
        let now = start + pause;
        let made = charge(&engine, 1, cost, now).expect("room for both");
        prop_assert!(refund(&engine, 1, cost, &made, now));
        // As much as there would be had it never been: a second engine that was not asked says how much.
        let other = self::engine(&policy(if gcra { "gcra" } else { "sliding-window" }, "refuse"), MIB);
        if before > 0 {
            prop_assert!(charge(&other, 1, before, start).is_some());
        }
        for left in (1..=5000u64).rev().step_by(7) {
            let [mine, theirs] = [&engine, &other].map(|engine| charge(engine, 1, left, now).is_some());
            prop_assert_eq!(mine, theirs, "{} of 5000", left);
            if mine {
                break;
            }
        }
    }
}

#[test]
fn the_price_less_what_has_drained_since() {
    let engine = engine(&policy("gcra", "refuse"), MIB);
    let start = 1_000_000_000;
    let first = charge(&engine, 1, 3000, start).expect("room");
    assert!(charge(&engine, 1, 2000, start).is_some());
    // Two seconds drain 1000, of the whole as of what is given back: 2000 of 3000 are left to give, and 2000 remain.
    let now = start + 2_000_000;
    assert!(refund(&engine, 1, 3000, &first, now));
    assert!(charge(&engine, 1, 3001, now).is_none());
    assert!(charge(&engine, 1, 3000, now).is_some());
}

#[test]
fn when_all_of_it_has_drained_there_is_nothing_to_give() {
    let engine = engine(&policy("gcra", "refuse"), MIB);
    let start = 1_000_000_000;
    let made = charge(&engine, 1, 1000, start).expect("room");
    assert!(charge(&engine, 1, 4000, start).is_some());
    assert!(!refund(&engine, 1, 1000, &made, start + 2_000_000));
    assert!(!refund(&engine, 2, 1000, &made, start), "a key that has nothing");
}

#[test]
fn a_window_takes_it_out_of_the_pane_that_was_charged_while_that_counts() {
    let engine = engine(&policy("sliding-window", "refuse"), MIB);
    let start = 1_000_000_000;
    let made = charge(&engine, 1, 3000, start).expect("room");
    let later = start + 9_000_000;
    assert!(charge(&engine, 1, 2000, later).is_some());
    assert!(refund(&engine, 1, 3000, &made, later));
    assert!(charge(&engine, 1, 3001, later).is_none());
    let second = charge(&engine, 1, 3000, later).expect("what was given back");
    assert!(!refund(&engine, 1, 3000, &second, later + 30_000_000), "it counts no more");
}

#[test]
fn what_charged_nothing_gives_nothing_back() {
    let engine = engine(&policy("gcra", "refuse"), MIB);
    let envelope = Envelope { size: Some(1000), ..message("192.0.2.1", "a@b.com") };
    assert!(charge(&engine, 1, 4000, 1_000_000_000).is_some());
    let now = stated(1_000_000_000);
    let (_, looked, _) = engine.decide(&envelope, None, now, Purpose::Peek);
    assert!(!engine.refund(&envelope, &looked, &[], now));
    let large = Envelope { size: Some(2000), ..envelope };
    let (refused, charge, _) = engine.decide(&large, None, now, Purpose::Check);
    assert!(!refused.allowed());
    assert!(!engine.refund(&large, &charge, &[], now));
}

#[test]
fn after_a_change_of_policy_only_a_key_that_paid_gets_anything_back() {
    let pace = "[[limit]]\nname = 'pace'\nper = ['client.net', 'sender.org']\nrate = '5/day'\n";
    let quota = |value: &str, rate: u32| format!("[limit.quota.'{value}']\nrate = '{rate}/day'\n");
    let [net, org, same] = [quota("192.0.2.0/24", 6), quota("b.com", 5), quota("192.0.2.0/24", 5)];
    let proven = "verified = 'proven'\n";
    let cases = [
        ("nothing but a line", pace.into(), format!("# moved\n{pace}"), 4, true),
        ("another limit", pace.into(), format!("{}{pace}", pace.replace("pace", "first").replace("5/", "9/")), 4, true),
        ("a quota that went", format!("{pace}{org}"), pace.into(), 5, false),
        ("a quota that came", pace.into(), format!("{pace}{org}"), 5, false),
        ("the same quota", format!("{pace}{org}"), format!("# moved\n{pace}{org}"), 4, true),
        ("a quota that came before", format!("{pace}{org}"), format!("{pace}{net}{org}"), 6, false),
        ("quotas in another order", format!("{pace}{org}{net}"), format!("{pace}{net}{org}"), 6, false),
        // The values share a table, in which the pair has its count; but then another value has the quota.
        ("a value with the same numbers", format!("{pace}{org}"), format!("{pace}{same}{org}"), 4, false),
        ("a class that was left out", format!("{pace}{proven}"), pace.into(), 5, false),
        ("an organisation that is another", pace.into(), format!("suffixes.extra = ['b.com']\n{pace}"), 5, false),
    ];
    for (what, first, next, left, gives) in cases {
        let live = Live::new(engine(&first, 16 * MIB));
        let sender = message("192.0.2.1", "a@tenant.b.com");
        let (decision, charge, _) = live.engine().decide(&sender, None, stated(1_000_000), Purpose::Check);
        assert!(decision.allowed());
        let policy = Policy::parse("next.toml", &next).expect("a right policy");
        live.reload(&policy, list(&policy.extra_suffixes), &|| ()).expect("it fits");
        let admitted = || (0..20).filter(|_| live.engine().check(&sender, None, stated(1_000_000)).allowed()).count();
        assert_eq!(admitted(), left, "{what}");
        assert_eq!(live.engine().refund(&sender, &charge, &[], stated(1_000_000)), gives, "{what}");
        assert_eq!(admitted(), usize::from(gives), "{what}");
    }
}
