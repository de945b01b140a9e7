#![allow(dead_code, reason = "each benchmark uses a part")]
//! Several ways to do the same, timed in turn: a batch of one, a batch of the next, and round again.
//!
//! What else runs on the machine then hits all of them alike, and the median of many short batches leaves out those
//! that were interrupted.
//! It knows nothing of what it times. Invariant: a ratio is made of two medians of the same rounds.
//!
//! `BENCH=short` makes a tenth of the rounds; without `--bench` (as `cargo test` calls it) one batch shows that it
//! runs.

use std::time::{Duration, Instant};

/// Rounds of a full run.
const ROUNDS: usize = 1_000;

/// One way: its name, and what does a batch of it.
pub(crate) type Way<'a> = (&'a str, Box<dyn FnMut() + 'a>);

/// Whether `cargo bench` called, and not `cargo test`.
pub(crate) fn is_measuring() -> bool {
    std::env::args().any(|argument| argument == "--bench")
}

/// Whether somebody only wants to know what there is.
pub(crate) fn is_listing() -> bool {
    std::env::args().any(|argument| argument == "--list")
}

/// Whether it shall be over soon.
pub(crate) fn is_short() -> bool {
    !is_measuring() || std::env::var("BENCH").is_ok_and(|length| length == "short")
}

/// How many rounds this run makes.
pub(crate) fn rounds() -> usize {
    match (is_measuring(), is_short()) {
        (false, _) => 1,
        (true, true) => ROUNDS / 10,
        (true, false) => ROUNDS,
    }
}

/// The one in the middle of the batches' times, as nanoseconds of one of the `pieces` of a batch.
pub(crate) fn median_ns(mut times: Vec<Duration>, pieces: usize) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e9 / pieces as f64
}

/// A table of all ways, each over the first.
pub(crate) fn print(title: &str, rows: &[(&str, f64)]) {
    println!("\n{title}");
    for (name, ns) in rows {
        println!("  {ns:10.1} ns  {:6.2} ×  {name}", ns / rows[0].1);
    }
}

/// Times the ways in turn, prints them, and returns what one piece of each takes, in nanoseconds.
pub(crate) fn compare(title: &str, pieces: usize, mut ways: Vec<Way<'_>>) -> Vec<f64> {
    let mut times: Vec<Vec<Duration>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds() {
        for ((_, batch), times) in ways.iter_mut().zip(&mut times) {
            let start = Instant::now();
            batch();
            times.push(start.elapsed());
        }
    }
    let medians: Vec<f64> = times.into_iter().map(|times| median_ns(times, pieces)).collect();
    let rows: Vec<_> = ways.iter().map(|(name, _)| *name).zip(medians.iter().copied()).collect();
    print(title, &rows);
    medians
}

/// A ratio next to the bound that was promised for it.
pub(crate) fn print_bound(what: &str, ratio: f64, at_most: f64) {
    let verdict = if ratio <= at_most { "holds" } else { "DOES NOT HOLD" };
    println!("  {what}: {ratio:.2}, at most {at_most}: {verdict}");
}

/// The same the other way round.
pub(crate) fn print_at_least(what: &str, ratio: f64, at_least: f64) {
    let verdict = if ratio >= at_least { "holds" } else { "DOES NOT HOLD" };
    println!("  {what}: {ratio:.2}, at least {at_least}: {verdict}");
}
