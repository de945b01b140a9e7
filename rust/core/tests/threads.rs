//! P5 with real threads: whatever the interleaving, exactly the limit is admitted.

mod guard;

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use guard::{MIB, check, engine, message, with_max_open};
use throttle_core::engine::Engine;
use throttle_core::region::Now;

const POLICY: &str = r#"
[[limit]]
name = "org"
per = "sender.org"
rate = "1000/day"

[[limit]]
name = "pair"
per = ["client.net", "sender.org"]
rate = "700/day"

[[limit]]
name = "new"
per = "sender.registered"
distinct = "sender.host"
rate = "500/day"
"#;

/// Admitted messages out of `threads` × `each`, all at the same moment, each thread with names of its own when `fresh`.
fn hammer(threads: u64, each: u64, fresh: bool) -> u64 {
    let engine = engine(POLICY, 4 * MIB);
    let admitted = AtomicU64::new(0);
    let start = Barrier::new(usize::try_from(threads).expect("a few threads"));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (engine, admitted, start) = (&engine, &admitted, &start);
            scope.spawn(move || {
                start.wait();
                for number in 0..each {
                    let sender = if fresh { format!("a@h{thread}-{number}.ex.com") } else { "a@ex.com".into() };
                    if check(engine, &message("192.0.2.1", &sender), 1_000_000).allowed() {
                        admitted.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    admitted.into_inner()
}

#[test]
fn two_threads_with_one_key_admit_exactly_the_tightest_limit() {
    for _ in 0..20 {
        assert_eq!(hammer(2, 2_000, false), 700);
    }
}

#[test]
fn sixteen_threads_with_fresh_hosts_admit_exactly_the_fan_out() {
    for _ in 0..5 {
        assert_eq!(hammer(16, 300, true), 500);
    }
}

const CAPS: &str = r#"
[[limit]]
name = "all"
per = "global"
in_flight = 7

[[limit]]
name = "net"
per = "client.net"
in_flight = 4
"#;

/// Admits and releases with one key or with a key each; what was open at once by the threads' own count,
/// and what is left by the guard's.
fn hold(threads: u64, each: u64, max_open: u32, keys: u64) -> (u64, u64) {
    let engine: Engine = with_max_open(CAPS, MIB, max_open);
    let (open, most) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Barrier::new(usize::try_from(threads).expect("a few threads"));
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (engine, open, most, start) = (&engine, &open, &most, &start);
            scope.spawn(move || {
                start.wait();
                let mut held = Vec::new();
                for number in 0..each {
                    let ip = format!("192.0.{}.1", (thread + number) % keys);
                    if let Some(token) = engine.admit(&message(&ip, "a@ex.com"), None, Now::Stated(1)).1 {
                        // Counted after it was admitted and until before it is released: never more than the guard's
                        // own.
                        most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        held.push(token);
                    }
                    // One thread alone can reach every cap.
                    if held.len() > 7 || number % 3 == 0 {
                        if let Some(token) = held.pop() {
                            open.fetch_sub(1, Ordering::SeqCst);
                            assert!(engine.release(token));
                        }
                    }
                }
                for token in held {
                    open.fetch_sub(1, Ordering::SeqCst);
                    assert!(engine.release(token));
                }
            });
        }
    });
    let left = engine.tables(&|| ()).iter().map(|table| table.used).sum();
    (most.into_inner(), left)
}

#[test]
fn threads_that_hold_and_release_never_hold_more_than_the_cap_and_leave_nothing() {
    for _ in 0..10 {
        assert_eq!(hold(2, 5_000, 100, 1), (4, 0), "the net's");
        assert_eq!(hold(2, 5_000, 100, 5), (7, 0), "all");
        assert_eq!(hold(2, 5_000, 6, 5), (6, 0), "the permits'");
    }
    assert_eq!(hold(16, 1_000, 100, 5), (7, 0));
}

const TIERS: &str = r#"
[[limit]]
name = "all"
per = "global"
in_flight = 46
reserve = 16
share = [
    { per = "client.net", of_free = "1/3" },
    { per = "client.net/23/48", of_free = "1/2" },
]
"#;

/// Of 30 shared slots one network alone gets 7, for 8 > (30 − 7) / 3, and the two of one owner 10, for 11 > (30 − 10) /
/// 2. Six networks together get no more each, all of them no more than the cap, and each its first. Of the other 16
/// slots four are for neighbours.
#[test]
fn threads_keep_every_tier_of_a_share_and_leave_nothing() {
    const NETS: usize = 6;
    let count = |counts: &[AtomicU64], place: usize, most: u64| {
        let now = counts[place].fetch_add(1, Ordering::SeqCst) + 1;
        assert!(now <= most, "{now} of {most}");
    };
    for threads in [2, 16] {
        let engine: Engine = with_max_open(TIERS, MIB, 100);
        let [nets, owners, all] =
            [NETS, NETS / 2, 1].map(|places| Vec::from_iter((0..places).map(|_| AtomicU64::new(0))));
        let admitted = AtomicU64::new(0);
        let start = Barrier::new(threads);
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let (engine, nets, owners, all, admitted, start) = (&engine, &nets, &owners, &all, &admitted, &start);
                scope.spawn(move || {
                    start.wait();
                    let mut held = Vec::new();
                    let release = |(net, token)| {
                        for (counts, place) in [(nets, net), (owners, net / 2), (all, 0)] {
                            counts[place].fetch_sub(1, Ordering::SeqCst);
                        }
                        assert!(engine.release(token));
                    };
                    for number in 0..3_000 {
                        let net = (thread + number) % NETS;
                        let ip = format!("192.0.{net}.1");
                        if let Some(token) = engine.admit(&message(&ip, "a@ex.com"), None, Now::Stated(1)).1 {
                            count(nets, net, 7);
                            count(owners, net / 2, 10);
                            count(all, 0, 46);
                            admitted.fetch_add(1, Ordering::Relaxed);
                            held.push((net, token));
                        }
                        if number % 40 > 20 {
                            held.pop().map(release);
                        }
                    }
                    held.into_iter().for_each(release);
                });
            }
        });
        assert!(admitted.into_inner() > 1_000);
        assert_eq!(engine.tables(&|| ()).iter().map(|table| table.used).sum::<u64>(), 0);
    }
}
