//! Who is refused most has a notice, also when others took all rows before.

mod guard;

use guard::{MIB, check, engine, message};
use throttle_core::engine::{Change, Engine, MOST_ENTRIES, MOST_ROWS, QUIET_US};
use throttle_core::region::Now;

const POLICY: &str = r#"
[[limit]]
name = "pace"
per = "sender.org"
rate = "1/30 days"
"#;

const START_US: u64 = 1_000_000_000;

/// Sends messages of an organisation until so many of them were refused since its first one, which passes.
fn refused(engine: &Engine, org: &str, times: u64, now_us: u64) {
    let sender = format!("a@{org}.com");
    let sender = message("192.0.2.1", &sender);
    let mut left = times;
    while left > 0 {
        left -= u64::from(check(engine, &sender, now_us).refusal.is_some());
    }
}

fn now(us: u64) -> Now {
    Now::Stated(i64::try_from(us).expect("a time of this age"))
}

/// How often each key that is followed now was refused, of those whose text begins with the given.
fn followed(engine: &Engine, begin: &str, now_us: u64) -> Vec<(String, u64)> {
    let refusing = engine.notices(0, now(now_us)).refusing;
    refusing.into_iter().filter(|row| row.key.starts_with(begin)).map(|row| (row.key, row.refused)).collect()
}

/// An engine on which an attacker has taken all rows.
fn taken(times: u64) -> Engine {
    let engine = engine(POLICY, 8 * MIB);
    for number in 0..MOST_ROWS {
        refused(&engine, &format!("decoy{number}"), times, START_US);
    }
    assert_eq!(followed(&engine, "decoy", START_US).len(), MOST_ROWS);
    engine
}

#[test]
fn decoys_that_came_first_do_not_hide_a_later_offender() {
    let engine = taken(50);
    let before = engine.notices(0, now(START_US)).last;
    for part in 0..150_u64 {
        // The attacker goes on: as many other keys are refused meanwhile as the offender is.
        refused(&engine, "offender", 1, START_US + part);
        refused(&engine, &format!("late{part}"), 1, START_US + part);
    }
    let read = engine.notices(before, now(START_US + 200));
    let told: Vec<_> = read.entries.iter().map(|entry| (entry.change, entry.refused)).collect();
    assert_eq!(told.len(), 2, "{:?}", read.entries);
    assert_eq!(told[0], (Change::Displaced, 50));
    let began = &read.entries[1];
    assert_eq!((began.change, &*began.key), (Change::Began, "offender.com"));
    assert!(began.refused >= 100, "twice as often as what it displaced: {}", began.refused);
    let (since_us, told_at_us) = (began.since_us - 1_000_000_000, began.until_us - 1_000_000_000);
    assert!(since_us < 20 && told_at_us > 90, "since its first refusals: {since_us}, {told_at_us}");
    let rest: Vec<_> = read.refusing.iter().filter(|row| !row.key.starts_with("decoy")).collect();
    assert_eq!(rest.len(), 1);
    assert!((began.refused..=150).contains(&rest[0].refused));
    assert_eq!(read.refusing.len(), MOST_ROWS);
}

#[test]
fn the_least_refused_of_eight_rows_makes_room_and_only_for_twice_as_many_refusals() {
    let engine = taken(50);
    refused(&engine, "as-often", 99, START_US);
    assert_eq!(followed(&engine, "as-often", START_US), []);
    for number in 0..MOST_ROWS / 2 {
        refused(&engine, &format!("decoy{}", 2 * number), 1_000, START_US);
    }
    refused(&engine, "offender", 128, START_US);
    assert_eq!(followed(&engine, "offender", START_US).len(), 1);
    let displaced: Vec<_> = engine
        .notices(0, now(START_US))
        .entries
        .into_iter()
        .filter(|entry| entry.change == Change::Displaced)
        .map(|entry| entry.refused)
        .collect();
    assert_eq!(displaced, [50]);
}

#[test]
fn invented_keys_that_are_refused_a_few_times_displace_nobody() {
    let engine = taken(1);
    for round in 0..15 {
        for number in 0..2_000 {
            refused(&engine, &format!("new{number}"), 1, START_US + round);
        }
    }
    let read = engine.notices(0, now(START_US + 20));
    assert_eq!((read.last, read.untracked), (MOST_ROWS as u64, 30_000));
}

/// Decoys that were refused a thousand times once, and since then just often enough to stay, do not keep a flood out.
#[test]
fn what_a_row_was_refused_long_ago_does_not_protect_it() {
    const MINUTE_US: u64 = 60_000_000;
    let engine = taken(1_000);
    for minute in 1..=90 {
        for number in (0..MOST_ROWS).filter(|_| minute % 9 == 0) {
            refused(&engine, &format!("decoy{number}"), 1, START_US + minute * MINUTE_US);
        }
        refused(&engine, "offender", 10, START_US + minute * MINUTE_US);
    }
    let found = followed(&engine, "offender", START_US + 90 * MINUTE_US);
    assert_eq!(found.len(), 1, "900 refusals in 90 minutes, where a decoy had 10");
}

/// A displacement at least doubles what the least row has.
#[test]
fn an_attacker_who_is_displaced_all_the_time_makes_few_notices() {
    let engine = taken(1);
    let (keys, times) = (4_000_u64, 64_u64);
    for number in 0..keys {
        refused(&engine, &format!("wave{number}"), times, START_US + number);
    }
    let read = engine.notices(0, now(START_US + keys));
    let began = read.last - (read.last - MOST_ROWS as u64) / 2;
    assert!(began > MOST_ROWS as u64, "{began}: some displaced others");
    let most = MOST_ROWS as u64 * (1 + u64::from((keys * times).ilog2()));
    assert!(began <= most, "{began} of at most {most}");
    assert!(read.entries.len() <= MOST_ENTRIES);
    assert_eq!(read.refusing.len(), MOST_ROWS);
}

#[test]
fn rows_that_were_displaced_or_have_stopped_leave_the_others_in_order() {
    let engine = taken(1);
    for number in 0..100 {
        refused(&engine, &format!("big{number}"), 200, START_US + 1);
    }
    let later_us = START_US + u64::try_from(QUIET_US).expect("ten minutes");
    let rows = followed(&engine, "", later_us);
    assert!(!rows.is_empty() && rows.iter().all(|(key, _)| key.starts_with("big")), "{rows:?}");
    for number in 0..MOST_ROWS {
        refused(&engine, &format!("next{number}"), 1, later_us + 1);
    }
    assert_eq!(followed(&engine, "", later_us + 1).len(), MOST_ROWS);
}
