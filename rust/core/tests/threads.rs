//! P5 with real threads: whatever the interleaving, exactly the limit is admitted.

mod guard;

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

use guard::{MIB, check, engine, message};

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
