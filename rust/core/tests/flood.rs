//! The smallest flood of the experiment, with the bounds that are promised for every one (`examples/flood`).
#![allow(dead_code, reason = "the experiment has more designs")]

#[path = "../examples/flood/designs.rs"]
mod designs;
#[path = "../examples/flood/run.rs"]
mod run;
#[path = "../examples/flood/traffic.rs"]
mod traffic;

use designs::Design;
use run::{Row, run};
use traffic::Traffic;

/// Everything is an eighth: three million unique keys a minute to a mebibyte.
const SCALE: u64 = 8;
const UNIQUE: u64 = 3_000_000 / SCALE;

fn row(nth: usize) -> Row {
    let design = Design::all(SCALE).into_iter().nth(nth).expect("a design");
    let row = run(&Traffic::new(SCALE), design, UNIQUE);
    assert!(row.conforming > 100_000, "{row:?}");
    row
}

#[test]
fn in_a_flood_a_table_that_admits_refuses_no_conforming_message_and_holds_the_greedy() {
    let row = row(0);
    assert_eq!(row.refused, 0);
    assert!((95..=105).contains(&row.admitted_a_minute()), "{row:?}");
}

#[test]
fn in_a_flood_windows_beside_a_sketch_admit_none_above_the_limit_and_refuse_next_to_no_conforming_message() {
    let row = row(2);
    assert_eq!((row.excess, row.worst_window), (0, 100));
    assert!(row.refused_percent() <= 0.001, "{row:?}");
    assert!((80..=100).contains(&row.admitted_a_minute()), "{row:?}");
}

#[test]
fn in_a_flood_buckets_beside_a_sketch_hold_the_greedy_and_refuse_next_to_no_conforming_message() {
    let row = row(1);
    assert!(row.refused_percent() <= 0.001, "{row:?}");
    assert!((80..=105).contains(&row.admitted_a_minute()), "{row:?}");
}
