//! How long an `inbound` check holds the lock, and what two threads get out of it.
//!
//! The lock is held for all of `settle` and nothing else. It is timed check by check, right behind `ask`,
//! when the lines are still on their way;
//! what reading the clock twice takes is taken off.

mod side_by_side;
mod traffic;

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use side_by_side::{is_listing, is_measuring, is_short, median_ns, print, print_at_least, rounds};
use throttle_core::engine::{Engine, Found, Limiter, Purpose, Request};
use throttle_core::key::Secret;
use throttle_core::policy::{Algorithm, Rate, WhenFull};
use throttle_core::region::Now;
use traffic::{Senders, at, stages, warm};

const MIB: u64 = 1 << 20;

/// Checks of a batch.
const BATCH: usize = 128;

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_nanos() as f64
}

fn holding(engine: &Engine, senders: &Senders, mib: u64) {
    let checks = rounds() * BATCH;
    let mut times = [const { Vec::new() }; 4];
    for turn in (senders.count()..).take(checks) {
        let envelope = senders.envelope(turn);
        let identities = engine.read(&envelope, stages());
        let mut request = Request::default();
        engine.prepare(&mut request, &identities, None, stages(), Purpose::Check);
        for (purpose, times) in [Purpose::Check, Purpose::Check, Purpose::Peek].into_iter().zip(&mut times) {
            let mut found = Found::default();
            let start = Instant::now();
            black_box(engine.transact(&request, &mut found, at(turn), purpose));
            times.push(start.elapsed());
        }
        let start = Instant::now();
        times[3].push(start.elapsed());
    }
    let [first, again, peek, clock] = times.map(median);
    let rows = [
        ("transaction, lines on their way", first - clock),
        ("transaction, lines in the cache", again - clock),
        ("transaction, lines in the cache, nothing charged", peek - clock),
    ];
    print(&format!("the lock is held, inbound, {mib} MiB, {checks} checks"), &rows);
}

/// From the start of the first thread to the end of the last, when each of `threads` does `each` pieces of work.
fn together(threads: usize, each: usize, work: &(impl Fn(usize, usize) + Sync)) -> Duration {
    let start = Barrier::new(threads);
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let run = |thread| {
            let start = &start;
            scope.spawn(move || {
                start.wait();
                let began = Instant::now();
                (0..each).for_each(|piece| work(thread, piece));
                (began, Instant::now())
            })
        };
        let running: Vec<_> = (0..threads).map(run).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let began = spans.iter().map(|span| span.0).min();
    let ended = spans.iter().map(|span| span.1).max();
    ended.zip(began).map_or(Duration::ZERO, |(ended, began)| ended - began)
}

/// One piece of work, by its number among all that were done.
type Work<'a> = &'a (dyn Fn(usize) + Sync);

/// Loads of a check: eight pairs of lines.
const PAIRS: usize = 8;

/// The bare loads of a check, from memory of their own: each pair of lines from a place that depends on the pair
/// before.
struct Loads(Vec<u64>);

impl Loads {
    fn new(bytes: u64) -> Self {
        Self((0..bytes / 8).collect())
    }

    fn of(&self, turn: usize) {
        let mut number = (turn as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for _ in 0..PAIRS {
            let place = ((u128::from(number) * (self.0.len() as u128 - 8)) >> 64) as usize;
            let read = self.0[place] ^ self.0[place + 8];
            number = (number ^ read ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        }
        black_box(number);
    }
}

/// The fastest round of each: on a shared machine only there both threads had a core of their own.
/// What two threads do more than one is judged by what the bare loads gain in the same rounds.
fn threads(title: &str, each: usize, distinct: Work<'_>, hot: Work<'_>, loads: Work<'_>) {
    let shapes = [
        ("one thread, keys in turn", 1, distinct),
        ("two threads, keys in turn", 2, distinct),
        ("one thread, one key", 1, hot),
        ("two threads, one key", 2, hot),
        ("one thread, bare loads", 1, loads),
        ("two threads, bare loads", 2, loads),
    ];
    let mut fastest = shapes.map(|(name, ..)| (name, f64::INFINITY));
    for round in 0..rounds() {
        for ((_, threads, work), (_, ns)) in shapes.iter().zip(&mut fastest) {
            let first = round * each * threads;
            let took = together(*threads, each, &|thread, piece| work(first + piece * threads + thread));
            *ns = ns.min(median_ns(vec![took], each * threads));
        }
    }
    print(&format!("{title}: from one answer to the next, in the fastest round"), &fastest);
    let gain = |one: usize| fastest[one].1 / fastest[one + 1].1;
    println!("  two threads do {:.2} × as much as one; on one key {:.2}; bare loads {:.2}", gain(0), gain(2), gain(4));
    print_at_least("two threads' gain over that of the bare loads", gain(0) / gain(4), 0.85);
}

fn main() {
    if is_listing() {
        return;
    }
    let senders = Senders::new();
    let sizes = if is_short() { &[16][..] } else { &[16, 256] };
    for &mib in sizes {
        let engine = warm(mib * MIB, &senders);
        holding(&engine, &senders, mib);
        let later = senders.count() * 100;
        let check = |sender, turn| drop(black_box(engine.check(&senders.envelope(sender), None, at(later + turn))));
        // One sender sends a message a second of engine time, so that it is admitted.
        let loads = Loads::new(if is_measuring() { mib * MIB } else { MIB });
        let (in_turn, hot) = (|turn| check(turn, turn), |turn| check(0, turn * 2_000));
        threads(&format!("inbound check, {mib} MiB"), 1_000, &in_turn, &hot, &|turn| loads.of(turn));
    }
    let rate = Rate { amount: 1_000_000, period_us: 1_000_000, sized: false };
    let limiter = Limiter::new(Algorithm::Gcra, rate, 1_000_000, WhenFull::Admit, 16 * MIB, Secret::new([7; 16]))
        .expect("a sound rate");
    let hit = |key: &[u8], turn| {
        black_box(limiter.hit(key, 1, Now::Stated(turn as i64)));
    };
    let loads = Loads::new(if is_measuring() { 16 * MIB } else { MIB });
    let (in_turn, hot) = (|turn: usize| hit(&turn.to_le_bytes(), turn), |turn| hit(b"user@org.com", turn));
    threads("one look-up (RateLimiter), 16 MiB", 10_000, &in_turn, &hot, &|turn| loads.of(turn));
}
