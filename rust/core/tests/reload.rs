//! Another policy while checks go on: what did not change keeps its counts, whatever else comes and goes.

mod guard;

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use guard::{MIB, check, engine, list, message};
use proptest::prelude::*;
use throttle_core::engine::{Live, NotReloaded};
use throttle_core::envelope::Envelope;
use throttle_core::error::PolicyError;
use throttle_core::key::Secret;
use throttle_core::plan::{self, recompile};
use throttle_core::policy::{Mode, Policy, Stage, Stages};
use throttle_core::region::Now;
use throttle_core::stats::Window;

const NOW_US: u64 = 1_000_000_000;

const STAYS: &str = "
[[limit]]
name = 'stays'
per = 'client.net'
rate = '1000/day'
when_full = 'refuse'
";

const HOSTS: &str = "
[[limit]]
name = 'hosts'
per = 'sender.registered'
distinct = 'sender.host'
rate = '5/hour'
settle = '1 hour'
";

fn live(policy: &str) -> Live {
    Live::new(engine(policy, 16 * MIB))
}

fn reload(live: &Live, text: &str) -> Result<(), NotReloaded> {
    let policy = Policy::parse("next.toml", text).expect("a right policy");
    live.reload(&policy, list(&policy.extra_suffixes), &|| ())
}

/// How many of so many checks pass, at one moment.
fn passed(live: &Live, envelope: &Envelope<'_>, checks: usize) -> usize {
    (0..checks).filter(|_| check(&live.engine(), envelope, NOW_US).allowed()).count()
}

fn pace(name: &str, per: &str, rate: &str) -> String {
    format!("\n[[limit]]\nname = '{name}'\nper = '{per}'\nrate = '{rate}'\n")
}

fn wrong(result: Result<(), NotReloaded>) -> PolicyError {
    match result {
        Err(NotReloaded::Wrong(error)) => error,
        other => panic!("a policy that cannot be had: {other:?}"),
    }
}

#[test]
fn under_two_threads_of_checks_an_unchanged_limit_admits_its_number_exactly() {
    let live = live(&format!("{STAYS}{}", pace("goes", "sender.org", "1000000/second")));
    let envelope = message("198.51.100.7", "joe@example.com");
    let (admitted, changes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let change = |change: usize| {
        let other = match change % 4 {
            0 => pace("new", "sender.host", "1000000/second"),
            1 => HOSTS.replace("5/hour", "1000000/hour"),
            2 => String::new(),
            _ => pace("goes", "sender.org", &format!("{}/second", 1_000_000 + change)),
        };
        let next = if change % 3 == 0 { format!("{other}{STAYS}") } else { format!("{STAYS}{other}") };
        reload(&live, &next)
    };
    std::thread::scope(|scope| {
        let checkers = [(); 2].map(|()| {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    // Five checks of each thread to a change, so that checks that still pass meet every kind of change.
                    while changes.load(Ordering::Relaxed) < 100
                        && admitted.load(Ordering::Relaxed) > 10 * changes.load(Ordering::Relaxed)
                    {
                        std::thread::yield_now();
                    }
                    if check(&live.engine(), &envelope, NOW_US).allowed() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        });
        let results: Vec<_> = (0..200)
            .map(|n| {
                changes.fetch_add(1, Ordering::Relaxed);
                change(n)
            })
            .collect();
        for checker in checkers {
            checker.join().expect("no check panics");
        }
        let wrong = results.into_iter().find_map(Result::err);
        assert_eq!(wrong, None);
    });
    assert_eq!(admitted.load(Ordering::Relaxed), 1000);
}

#[test]
fn a_change_that_is_overtaken_leaves_the_mode_and_the_limits_of_the_one_that_holds() {
    let live = live(&format!("{STAYS}{}", pace("goes", "client.net", "9/day")));
    // Its pages are idle from now on, so a new limit is emptied in them while checks go on.
    reload(&live, STAYS).expect("it fits");
    let next = Policy::parse("next.toml", &format!("mode = 'shadow'\n{STAYS}{}", pace("new", "sender.org", "9/day")));
    let overtaking = format!("mode = 'shadow'\n{STAYS}");
    let came_between = Cell::new(false);
    let pause = || {
        if !came_between.replace(true) {
            assert_eq!(reload(&live, &overtaking), Ok(()));
        }
    };
    assert_eq!(live.reload(&next.expect("a right policy"), list(&[]), &pause), Err(NotReloaded::Overtaken));
    assert!(came_between.get(), "a table so large that there is a pause");
    assert_eq!(live.engine().mode(), Mode::Shadow);
    assert!(live.engine().tables(&|| ()).iter().all(|table| table.name != "new"));
}

#[test]
fn a_changed_limit_begins_anew_and_the_others_do_not() {
    let live = live(&format!("{}{}", pace("net", "client.net", "3/day"), pace("org", "sender.org", "5/day")));
    let envelope = message("198.51.100.7", "joe@example.com");
    assert_eq!(passed(&live, &envelope, 10), 3);
    let next = format!("{}{}", pace("org", "sender.org", "5/day"), pace("net", "client.net", "4/day"));
    reload(&live, &next).expect("it fits");
    assert_eq!(passed(&live, &envelope, 10), 2, "three of five were charged to the organisation before");
}

#[test]
fn what_only_says_otherwise_keeps_its_counts() {
    let live = live(&pace("net", "client.net", "3/day"));
    let envelope = message("198.51.100.7", "joe@example.com");
    assert_eq!(passed(&live, &envelope, 10), 3);
    let shadow = pace("net", "client.net", "3/day") + "mode = 'shadow'\n";
    reload(&live, &shadow).expect("it fits");
    let decision = check(&live.engine(), &envelope, NOW_US);
    assert!(decision.allowed());
    assert_eq!(&*decision.shadow, &["net".into()]);
    reload(&live, &pace("net", "client.net", "3/day")).expect("it fits");
    assert_eq!(passed(&live, &envelope, 10), 0);
}

#[test]
fn hosts_stay_known_when_only_the_rate_of_new_ones_changes() {
    let live = live(HOSTS);
    let hosts: Vec<String> = (0..20).map(|n| format!("joe@host{n}.example.com")).collect();
    let count = |live: &Live| hosts.iter().map(|host| passed(live, &message("198.51.100.7", host), 1)).sum::<usize>();
    assert_eq!(count(&live), 5);
    reload(&live, &HOSTS.replace("5/hour", "7/hour")).expect("it fits");
    assert_eq!(count(&live), 5 + 7, "those that were known, and seven new ones");
}

#[test]
fn a_quota_that_stays_keeps_its_counts_and_a_new_one_has_none() {
    let quota = |value: &str, rate: &str| format!("[limit.quota.'{value}']\nrate = '{rate}'\n");
    let net = pace("org", "sender.org", "1/day");
    let live = live(&format!("{net}{}", quota("example.com", "3/day")));
    let (quoted, other) = (message("198.51.100.7", "joe@example.com"), message("198.51.100.7", "joe@example.net"));
    assert_eq!((passed(&live, &quoted, 9), passed(&live, &other, 9)), (3, 1));
    reload(&live, &format!("{net}{}{}", quota("example.net", "4/day"), quota("example.com", "3/day")))
        .expect("it fits");
    assert_eq!((passed(&live, &quoted, 9), passed(&live, &other, 9)), (0, 4));
}

/// A policy that has released more than the half of the memory, and a policy whose new limit takes that.
fn released() -> (Live, &'static str) {
    let large = |name: &str, rate: &str| pace(name, "sender.org", rate);
    let live = live(&format!("{STAYS}{}", large("gone", "9/day")));
    reload(&live, STAYS).expect("it fits");
    (live, "[[limit]]\nname = 'large'\nper = 'client.org'\nrate = '9/day'\n")
}

#[test]
fn what_changes_keeps_its_numbers_and_its_names_until_the_new_table_is_ready() {
    let (live, large) = released();
    let quota = |rate: &str| format!("[limit.quota.'example.com']\nrate = '{rate}'\n");
    let small = |rate: &str| pace("org", "sender.org", rate) + "memory = '64 KiB'\n";
    reload(&live, &format!("{STAYS}{}{}", small("1/day"), quota("3/day"))).expect("it fits");
    let (quoted, other) = (message("198.51.100.7", "joe@example.com"), message("198.51.100.7", "joe@example.net"));
    assert_eq!((passed(&live, &quoted, 2), passed(&live, &other, 2)), (2, 1));

    let next = format!("{STAYS}{}{}{large}", small("2/day"), quota("4/day"));
    let policy = Policy::parse("next.toml", &next).expect("a right policy");
    let pauses = AtomicUsize::new(0);
    let pause = || {
        let first = pauses.fetch_add(1, Ordering::Relaxed) == 0;
        assert_eq!((passed(&live, &quoted, 9), passed(&live, &other, 9)), (usize::from(first), 0));
        let top = live.engine().top("sender.org".parse().expect("an identity"), Now::Stated(NOW_US as i64));
        assert!(top.is_some_and(|names| names.iter().any(|name| name.value == "example.net")));
    };
    live.reload(&policy, list(&[]), &pause).expect("it fits");
    assert!(pauses.load(Ordering::Relaxed) > 0, "the table is large enough to be emptied in parts");
    assert_eq!((passed(&live, &quoted, 9), passed(&live, &other, 9)), (4, 2));
}

/// Under a held flood a changed limit gives one burst more: whether its new table lies in idle pages or in its own.
#[test]
fn eight_threads_of_a_held_flood_get_one_burst_more_and_no_message_beyond() {
    for memory in ["memory = '64 KiB'\n", ""] {
        let changed = |burst: usize| pace("org", "sender.org", "1/day") + &format!("burst = {burst}\n{memory}");
        let policy = |burst: usize| format!("{}{}", changed(burst), STAYS.replace("1000", "1000000"));
        let live = live(&policy(100));
        let envelope = message("198.51.100.7", "joe@example.com");
        assert_eq!(passed(&live, &envelope, 200), 100);
        let (admitted, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        admitted.fetch_add(passed(&live, &envelope, 20), Ordering::Relaxed);
                    }
                });
            }
            let mut expected = 0;
            for burst in (101..=120).rev() {
                reload(&live, &policy(burst)).expect("it fits");
                // The flood has all of the burst before the next change.
                expected += burst;
                while admitted.load(Ordering::Relaxed) < expected {
                    std::thread::yield_now();
                }
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(admitted.into_inner(), (101..=120).sum(), "{memory}");
    }
}

#[test]
fn a_small_limit_that_changes_takes_idle_pages_and_a_large_one_its_own() {
    let text = |small: &str, large: &str| {
        let (small, large) = (pace("small", "client.ip", small), pace("large", "sender.org", large));
        format!("{STAYS}{small}memory = '64 KiB'\n{large}")
    };
    let policy = |small, large| Policy::parse("next.toml", &text(small, large)).expect("a right policy");
    let engine = engine(&text("9/day", "9/day"), 16 * MIB);
    let (plan, secret) = (engine.parts().0, Secret::new([7; 16]));
    let step = |small, large| recompile(plan, 4096, &policy(small, large), &list(&[]), &secret).expect("it fits");
    let counts = |step: plan::Step| (step.idle.len(), step.used.len());
    assert_eq!(counts(step("9/day", "9/day")), (0, 0));
    assert_eq!(counts(step("8/day", "9/day")), (1, 0));
    assert_eq!(counts(step("9/day", "8/day")), (0, 1));
    assert_eq!(counts(step("8/day", "8/day")), (1, 1));
}

#[test]
fn a_hundred_changes_leave_every_table_its_size() {
    let sizes = |live: &Live| {
        let mut all: Vec<_> = live.engine().tables(&|| ()).into_iter().map(|table| (table.name, table.bytes)).collect();
        all.sort_unstable();
        all
    };
    let text = |small: usize, large: usize| {
        let limits = [
            pace("small", "client.ip", &format!("{}/day", 9 + small)),
            pace("large", "sender.org", &format!("{}/day", 9 + large)),
        ];
        format!("{STAYS}{}memory = '64 KiB'\n{}{HOSTS}memory = '1 MiB'\n", limits[0], limits[1])
    };
    let live = live(&text(0, 0));
    reload(&live, &text(1, 1)).expect("it fits");
    let before = sizes(&live);
    for change in 0..100 {
        reload(&live, &text(change % 2, change / 2 % 3)).expect("it fits");
    }
    reload(&live, &text(1, 1)).expect("it fits");
    assert_eq!(sizes(&live), before);
}

#[test]
fn what_does_not_fit_into_what_was_let_go_says_so_and_changes_nothing() {
    let live = live(&format!("{STAYS}memory = '15 MiB'\n"));
    let envelope = message("198.51.100.7", "joe@example.com");
    assert_eq!(passed(&live, &envelope, 10), 10);
    let error = wrong(reload(
        &live,
        &format!("{STAYS}memory = '15 MiB'\n{}memory = '1 MiB'\n", pace("new", "sender.org", "1/day")),
    ));
    assert_eq!((error.file.as_str(), error.field.as_deref()), ("next.toml", Some("memory")));
    assert!(error.found.contains("1 new table") && error.found.contains("1048576 bytes"), "{error}");
    assert!(error.allowed.contains("restart"), "{error}");
    assert_eq!(passed(&live, &envelope, 1000), 990);
}

#[test]
fn permits_outlive_the_policy_and_their_limits_get_other_numbers() {
    let open = |cap: u32| format!("\n[[limit]]\nname = 'open'\nper = 'client.net'\nin_flight = {cap}\n");
    let live = live(&format!("{STAYS}{}", open(2)));
    let envelope = message("198.51.100.7", "joe@example.com");
    let admit =
        || live.engine().admit(&envelope, Some(Stages::default().with(Stage::Mail)), Now::Stated(NOW_US as i64)).1;
    let (first, second) = (admit().expect("the first"), admit().expect("the second"));
    assert!(admit().is_none());
    reload(&live, &format!("{}{STAYS}{}", pace("new", "sender.org", "9/day"), open(3))).expect("another number");
    let third = admit().expect("the third");
    assert!(admit().is_none());
    reload(&live, STAYS).expect("taken out");
    let fourth = admit().expect("nothing holds it back");
    reload(&live, &format!("{STAYS}{}", open(3))).expect("put back");
    assert!(admit().is_none(), "three of before are open still");
    for token in [first, second, third, fourth] {
        assert!(live.engine().release(token));
    }
    let again: Vec<_> = (0..4).map(|_| admit()).collect();
    assert_eq!(again.iter().flatten().count(), 3, "released to the last");

    let other = "\n[[limit]]\nname = 'other'\nper = 'client.ip'\nin_flight = 3\n";
    let error = wrong(reload(&live, &format!("{STAYS}{other}")));
    assert_eq!((error.limit.as_deref(), error.field.as_deref()), (Some("other"), Some("in_flight")));
    assert!(error.allowed.contains("restart"), "{error}");
}

#[test]
fn who_was_counted_is_counted_still_and_a_new_identity_from_now_on() {
    let live = live(&pace("net", "client.net", "1000/day"));
    let nets: Vec<String> = (0..50).map(|n| format!("198.51.{n}.7")).collect();
    let send = || nets.iter().map(|net| passed(&live, &message(net, "joe@example.com"), 1)).sum::<usize>();
    send();
    // An estimate, to tens: with fewer registers it is another.
    const FIFTY: Option<f64> = Some(5.0);
    let distinct = |identity: &str| {
        let engine = live.engine();
        engine
            .distinct(identity.parse().expect("an identity"), Window::Minute, Now::Stated(NOW_US as i64))
            .map(|count| (count / 10.0).round())
    };
    assert_eq!((distinct("client.net"), distinct("sender.org")), (FIFTY, None));
    // As many identities as before: their places stay.
    reload(&live, &pace("net", "client.net", "999/day")).expect("it fits");
    assert_eq!(distinct("client.net"), FIFTY);
    // One more than it has room for: observation begins anew.
    reload(&live, &format!("{}{}", pace("org", "sender.org", "1000/day"), pace("net", "client.net", "999/day")))
        .expect("it fits");
    assert_eq!((distinct("client.net"), distinct("sender.org")), (Some(0.0), Some(0.0)));
    send();
    assert_eq!((distinct("client.net"), distinct("sender.org")), (FIFTY, Some(0.0)));
    reload(&live, &pace("org", "sender.org", "1000/day")).expect("it fits");
    assert_eq!((distinct("client.net"), distinct("sender.org")), (None, Some(0.0)), "nobody needs networks any more");
}

#[test]
fn charges_without_room_are_counted_on_under_the_limit_that_they_were_of() {
    let small = pace("small", "sender.address", "1/day") + "memory = '4 KiB'\n";
    let live = live(&format!("{STAYS}{small}"));
    for n in 0..2000 {
        passed(&live, &message(&format!("203.0.{}.{}", n / 250, n % 250), &format!("joe{n}@example.com")), 1);
    }
    let untracked = |name: &str| live.tables(&|| ()).iter().find(|row| row.name == name).map(|row| row.untracked);
    let before = untracked("small").expect("a row");
    assert!(before > 1000, "{before}");
    reload(&live, &format!("{small}{STAYS}")).expect("it fits");
    assert_eq!((untracked("small"), untracked("stays")), (Some(before), Some(0)));
}

/// A limit by its number, of one of three rates.
fn numbered(number: usize, rate: usize) -> String {
    let per = ["client.net", "sender.org", "sender.host", "sender.address", "client.ip", "helo.host"][number % 6];
    match number % 4 {
        3 => format!(
            "\n[[limit]]\nname = 'l{number}'\nper = 'client.net'\ndistinct = 'sender.host'\nrate = '{}/hour'\n\
            remember = '{} hours'\n",
            rate + 2,
            number + 1
        ),
        _ => pace(&format!("l{number}"), per, &format!("{}/hour", rate + 2)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However policies follow each other: a limit that two of them in a row have in common counts on,
    /// and every other begins empty.
    #[test]
    fn a_limit_admits_what_it_has_left_whatever_came_and_went(
        policies in prop::collection::vec(prop::collection::btree_map(0usize..9, 0usize..3, 1..7), 2..6),
    ) {
        let text = |limits: &std::collections::BTreeMap<usize, usize>| {
            limits.iter().map(|(&number, &rate)| numbered(number, rate)).collect::<String>()
        };
        let live = Live::new(engine(&text(&policies[0]), 8 * MIB));
        let envelope = Envelope { helo: Some(b"mx.example.net"), ..message("198.51.100.7", "joe@mx.example.com") };
        let mut left: std::collections::BTreeMap<usize, (usize, usize)> = Default::default();
        for (turn, limits) in policies.iter().enumerate() {
            if turn > 0 {
                let next = Policy::parse("next.toml", &text(limits)).expect("a right policy");
                if live.reload(&next, list(&next.extra_suffixes), &|| ()).is_err() {
                    continue;
                }
            }
            // A fan-out is charged for a host that its memory does not know; once it was admitted under all of them,
            // it is known to all.
            left = limits.iter().map(|(&number, &rate)| {
                let had = left.get(&number).filter(|(was, _)| *was == rate).map(|(_, left)| *left);
                (number, (rate, had.unwrap_or(rate + 2)))
            }).collect();
            let paced: Vec<usize> =
                left.iter().filter(|(number, _)| *number % 4 != 3).map(|(_, (_, left))| *left).collect();
            let room = paced.iter().copied().min();
            let expected = room.unwrap_or(2).min(2);
            let admitted = passed(&live, &envelope, 2);
            prop_assert_eq!(admitted, expected, "turn {} of {:?}", turn, policies);
            for (number, (_, left)) in &mut left {
                if number % 4 != 3 {
                    *left -= admitted;
                }
            }
        }
    }
}

/// A block needs a table, which a small memory does not have: at start and later the answer is the same.
#[test]
fn a_policy_that_blocks_needs_memory_for_blocks_after_a_reload_too() {
    let live = Live::new(engine(&pace("a", "client.ip", "3/minute"), MIB / 8));
    let blocks = pace("a", "client.ip", "3/minute") + "action = 'block 1 hour'\n";
    let error = wrong(reload(&live, &blocks));
    assert_eq!((error.limit.as_deref(), error.field.as_deref()), (Some("a"), Some("action")));
    assert!(error.allowed.contains("262144 bytes"), "{error}");
}
