//! How long an `inbound` check holds the lock, and what two threads get out of it.
//!
//! The holding is measured from outside, so that nothing is added to the hot path: what `settle` takes, less what the prefetching before the lock takes,
//! the latter on tables of the same size that nothing else uses. Taking and releasing the lock, and the waiting for lines that are not there yet,
//! are in it: it is what the next thread waits for, or a little more.

mod side_by_side;
mod traffic;

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use side_by_side::{compare, is_listing, is_short, median_ns, print, rounds};
use throttle_core::engine::{Engine, Limiter};
use throttle_core::key::{Key, Secret};
use throttle_core::policy::{Rate, WhenFull};
use throttle_core::region::{Now, Region, Table, prefetch};
use traffic::{Senders, at, stages, warm};

const MIB: u64 = 1 << 20;

/// Checks of a batch.
const BATCH: usize = 128;

/// Memories and buckets that one such check looks into: two lines each.
const LOOK_UPS: usize = 8;

/// Tables of the same size, for nothing but prefetching.
fn idle_tables(bytes: u64) -> (Region, Vec<Table>) {
    let pages = u32::try_from(bytes / 4096 / LOOK_UPS as u64).expect("a small table");
    Region::new(&[pages; LOOK_UPS])
}

fn holding(engine: &Engine, senders: &Senders, mib: u64) {
    let turn = Cell::new(senders.count());
    let ready = Cell::new(Vec::new());
    let next = || {
        let turns = turn.get()..turn.get() + BATCH;
        turn.set(turns.end);
        let request = |turn| engine.request(&engine.read(&senders.envelope(turn), stages()), None, stages());
        turns.map(request).collect::<Vec<_>>()
    };
    let settle = |charge| {
        let mut requests = ready.take();
        for request in &mut requests {
            black_box(engine.settle(request, at(turn.get()), charge));
        }
        ready.set(requests);
    };
    let (region, tables) = idle_tables(mib * MIB);
    let key = Cell::new(1u64);
    let prefetching = || {
        for _ in 0..BATCH {
            for table in &tables {
                key.set(key.get().wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(1));
                table.candidates(Key(key.get())).lines.iter().for_each(|&line| prefetch(region.address(), line));
            }
        }
    };
    let ways: Vec<side_by_side::Way<'_>> = vec![
        ("(making the requests)", Box::new(|| ready.set(next()))),
        ("settle, lines from memory", Box::new(|| settle(true))),
        ("settle, lines in the cache", Box::new(|| settle(true))),
        ("settle, lines in the cache, nothing charged", Box::new(|| settle(false))),
        ("prefetching alone, lines from memory", Box::new(prefetching)),
    ];
    let ns = compare(&format!("under the lock, inbound, {mib} MiB"), BATCH, ways);
    println!("  the lock is held for at most {:.0} ns (settle less prefetching)", ns[1] - ns[4]);
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

/// The fastest round of each: on a shared machine only there both threads had a core of their own.
fn threads(title: &str, each: usize, distinct: Work<'_>, hot: Work<'_>) {
    let shapes = [
        ("one thread, keys in turn", 1, distinct),
        ("two threads, keys in turn", 2, distinct),
        ("one thread, one key", 1, hot),
        ("two threads, one key", 2, hot),
    ];
    let mut fastest = shapes.map(|(name, ..)| (name, f64::INFINITY));
    for round in 0..rounds().div_ceil(5) {
        for ((_, threads, work), (_, ns)) in shapes.iter().zip(&mut fastest) {
            let first = round * each * threads;
            let took = together(*threads, each, &|thread, piece| work(first + piece * threads + thread));
            *ns = ns.min(median_ns(vec![took], each * threads));
        }
    }
    print(&format!("{title}: from one answer to the next, in the fastest round"), &fastest);
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
        threads(&format!("inbound check, {mib} MiB"), 4_000, &|turn| check(turn, turn), &|turn| check(0, turn * 2_000));
    }
    let rate = Rate { amount: 1_000_000, period_us: 1_000_000, sized: false };
    let limiter = Limiter::new(rate, 1_000_000, WhenFull::Admit, 16 * MIB, Secret::new([7; 16])).expect("a sound rate");
    let hit = |key: &[u8], turn| {
        black_box(limiter.hit(key, 1, Now::Stated(turn as i64)));
    };
    threads("one look-up (RateLimiter), 16 MiB", 50_000, &|turn| hit(&turn.to_le_bytes(), turn), &|turn| {
        hit(b"user@org.com", turn)
    });
}
