//! One limit over any key, next to `pingora-limits` and `governor`: the whole of one hit, hashing,
//! clock and lock included.
//!
//! Everybody reads a monotonic clock at every hit, as in use, ours the same one as the peer: the system's,
//! or `quanta`'s for `governor`. Keys are numbers of 64 bits, drawn at random of a million,
//! so every hit goes to other lines.
//! A server makes one hit a message and has other work between two, so a fence stands between them:
//! what is judged is how long one takes.
//! Back to back the processor begins the next before the last has its lines; that is told, too.
//! `pingora-limits` counts and does not refuse; it forgets all at the end of an interval.
//! `governor` keeps every key until it is told to forget.

mod side_by_side;

use std::cell::Cell;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, Instant};

use governor::{Quota, RateLimiter};
use pingora_limits::rate::Rate as Counted;
use side_by_side::{compare, is_listing, is_measuring, print_bound};
use throttle_core::engine::{Hit, Limiter};
use throttle_core::key::Secret;
use throttle_core::policy::{Algorithm, Rate, WhenFull};
use throttle_core::region::Now;

const MIB: u64 = 1 << 20;

/// Hits of a batch.
const BATCH: usize = 1_000;

/// What a key may do: more than any gets here. One hit then occupies a slot of a bucket for ten milliseconds,
/// in which no machine makes as many
/// hits as 1 MiB has slots: the peer that keeps keys has to keep a million of them all the same.
const A_MINUTE: u32 = 6_000;

/// Hashes of `pingora-limits`, as many as it takes by itself.
const HASHES: u64 = 4;

fn key_count() -> u64 {
    if is_measuring() { 1_000_000 } else { 1_000 }
}

/// Keys at random. Everybody has a sequence of its own: with the same, whoever comes second over one table finds its
/// lines in the cache.
struct Keys {
    state: Cell<u64>,
    count: u64,
}

impl Keys {
    fn new(seed: u64) -> Self {
        Self { state: Cell::new(seed << 40), count: key_count() }
    }

    /// SplitMix64, brought into the range by a multiplication.
    fn next(&self) -> u64 {
        self.state.set(self.state.get().wrapping_add(0x9E37_79B9_7F4A_7C15));
        let a = (self.state.get() ^ self.state.get() >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((u128::from(b ^ b >> 31) * u128::from(self.count)) >> 64) as u64
    }
}

/// One hit at a time.
fn batch<'a>(hit: impl Fn(u64) + 'a) -> Box<dyn FnMut() + 'a> {
    back_to_back(move |key| {
        fence(Ordering::SeqCst);
        hit(key);
    })
}

fn back_to_back<'a>(hit: impl Fn(u64) + 'a) -> Box<dyn FnMut() + 'a> {
    static MADE: AtomicU64 = AtomicU64::new(1);
    let keys = Keys::new(MADE.fetch_add(1, Ordering::Relaxed));
    Box::new(move || (0..BATCH).for_each(|_| hit(keys.next())))
}

/// A limiter of ours, and the clock that the peer next to it reads, in microseconds.
struct Ours<C>(Limiter, C);

impl<C: Fn() -> u64> Ours<C> {
    fn new(algorithm: Algorithm, bytes: u64, clock: C) -> Self {
        let rate = Rate { amount: A_MINUTE.into(), period_us: 60_000_000, sized: false };
        let secret = Secret::new(*b"sixteen octets!!");
        let limiter = Limiter::new(algorithm, rate, A_MINUTE.into(), WhenFull::Admit, bytes, secret);
        Self(limiter.expect("a sound rate"), clock)
    }

    fn hit(&self, key: u64) {
        let now = Now::Clock((self.1)() as i64);
        assert_eq!(self.0.hit(&key.to_le_bytes(), 1, now), Hit::Allowed);
    }
}

/// Bytes that the process has in memory, where the system says so.
fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split_whitespace().nth(1)?.parse().ok().map(|pages: u64| pages * 4096)
}

fn counted(bytes: u64) {
    let start = Instant::now();
    let clock = || start.elapsed().as_micros() as u64;
    let (gcra, window) = (Ours::new(Algorithm::Gcra, bytes, clock), Ours::new(Algorithm::SlidingWindow, bytes, clock));
    // Two intervals of so many counters of eight bytes.
    let slots = bytes / 2 / HASHES / 8;
    let theirs = Counted::new_with_estimator_config(Duration::from_secs(60), HASHES as usize, slots as usize);
    let title = format!("one hit, {} MiB each, {} keys", bytes / MIB, key_count());
    let ns = compare(
        &title,
        BATCH,
        vec![
            ("throttle, GCRA", batch(|key| gcra.hit(key))),
            ("throttle, sliding window", batch(|key| window.hit(key))),
            (
                "pingora-limits, Rate::observe",
                batch(|key| {
                    black_box(theirs.observe(&key, 1));
                }),
            ),
            ("throttle, GCRA, back to back", back_to_back(|key| gcra.hit(key))),
            (
                "pingora-limits, Rate::observe, back to back",
                back_to_back(|key| {
                    black_box(theirs.observe(&key, 1));
                }),
            ),
        ],
    );
    print_bound(&format!("GCRA / Rate::observe, {} MiB", bytes / MIB), ns[0] / ns[2], 1.0);
}

fn kept() {
    let quanta = quanta::Clock::new();
    let start = quanta.raw();
    let clock = || quanta.delta_as_nanos(start, quanta.raw()) / 1000;
    let ours = [1, 16].map(|mib| (format!("throttle, GCRA, {mib} MiB"), Ours::new(Algorithm::Gcra, mib * MIB, clock)));
    let window = Ours::new(Algorithm::SlidingWindow, 64 * MIB, clock);
    let before = resident();
    let quota = Quota::per_minute(NonZeroU32::new(A_MINUTE).unwrap_or(NonZeroU32::MIN));
    let theirs: RateLimiter<u64, _, _> = RateLimiter::dashmap(quota);
    (0..key_count()).for_each(|key| assert!(theirs.check_key(&key).is_ok()));
    let size = before.zip(resident()).map_or("unknown".to_owned(), |(before, after)| {
        format!("{:.0} MiB resident", after.saturating_sub(before) as f64 / MIB as f64)
    });
    let their_name = format!("governor, DashMap of {} keys, {size}", theirs.len());
    let check = |key| assert!(theirs.check_key(&key).is_ok());
    let ns = compare(
        &format!("one hit, {} keys", key_count()),
        BATCH,
        vec![
            (&ours[0].0, batch(|key| ours[0].1.hit(key))),
            (&ours[1].0, batch(|key| ours[1].1.hit(key))),
            ("throttle, sliding window, 64 MiB", batch(|key| window.hit(key))),
            (&their_name, batch(check)),
            ("throttle, GCRA, 1 MiB, back to back", back_to_back(|key| ours[0].1.hit(key))),
            ("throttle, GCRA, 16 MiB, back to back", back_to_back(|key| ours[1].1.hit(key))),
            ("governor, back to back", back_to_back(check)),
        ],
    );
    print_bound("GCRA / governor, 1 MiB, which has a slot for every hit that still matters", ns[0] / ns[3], 0.5);
    print_bound("GCRA / governor, 16 MiB, which would have one for every key", ns[1] / ns[3], 0.5);
}

fn main() {
    if is_listing() {
        return;
    }
    for mib in [1, 16, 256] {
        counted(mib * MIB);
    }
    kept();
}
