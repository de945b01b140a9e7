//! One look-up and charge on a table, against the floor: loading the same two prefetched lines. Then eight of them,
//! as one check makes under its lock.
//!
//! In all, the next key depends on what was read, so that look-ups cannot overlap and latency is what is measured.
//! A check of eight limits is what stands under the lock, and the lock: it consults all eight, then charges all eight.
//! Its floor sends for the same
//! sixteen lines of the same eight tables and reads a word of each. What is done before the lock (reading names,
//! hashing) is in `check.rs`.
//!
//! The table is as full as in use: time passes at such a pace that keys expire as fast as new ones come,
//! at half of its slots.

mod side_by_side;

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::sync::Mutex;

use criterion::Criterion;
use side_by_side::{compare, is_listing, is_measuring, print_bound};
use throttle_core::key::Key;
use throttle_core::policy::{Algorithm, Rate, WhenFull};
use throttle_core::region::{Candidates, Region, prefetch};
use throttle_core::store::SlotReservations;
use throttle_core::store::rate_counter::RateCounter;
use throttle_core::time::Ticks;

const MIB: u32 = 1 << 20;

/// How long one charge lives at 100 a minute: in a bucket, and in a window, to the end of its pane.
fn life_us(algorithm: Algorithm) -> u64 {
    match algorithm {
        Algorithm::Gcra => 600_000,
        Algorithm::SlidingWindow => 65_000_000,
    }
}

/// Look-ups of a batch.
const BATCH: usize = 1_000;

/// What an `inbound` check asks: six limits and two memories, in as many look-ups of two lines.
const TABLES: usize = 8;

/// The finaliser of SplitMix64: uniform keys from a counter and what was read.
fn mix(number: u64) -> Key {
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    Key(b ^ b >> 31)
}

/// What of the lines the next key depends on.
fn word(region: &Region, at: &Candidates) -> u64 {
    let [first, second] = at.lines.map(|line| region.line(line).slots[6]);
    first ^ second
}

/// Tables in one region, half full, and the time at which they are.
struct Bench {
    region: RefCell<Region>,
    address: usize,
    lock: Mutex<()>,
    tables: Vec<RateCounter>,
    life_us: u64,
    key: Cell<Key>,
    /// Charges so far; so many of them pass while one lives.
    charges: Cell<u64>,
    alive: u64,
}

impl Bench {
    fn new(bytes: u32, tables: usize, algorithm: Algorithm) -> Self {
        let pages = vec![bytes / 4096 / tables as u32; tables];
        let (region, tables) = Region::new(&pages).expect("as much memory as that");
        let address = region.address();
        let rate = Rate { amount: 100, period_us: 60_000_000, sized: false };
        let pace = |table| {
            RateCounter::new(table, algorithm, rate, 100, WhenFull::Admit).expect("a rate that a clock can keep")
        };
        let tables: Vec<_> = tables.into_iter().map(pace).collect();
        let alive = tables[0].slots() / 2;
        let bench = Self {
            region: RefCell::new(region),
            address,
            lock: Mutex::new(()),
            tables,
            life_us: life_us(algorithm),
            key: Cell::new(mix(1)),
            charges: Cell::new(0),
            alive,
        };
        if is_measuring() {
            let mut region = bench.region.borrow_mut();
            for number in 0..alive {
                let now_us = bench.now_us();
                for pace in &bench.tables {
                    pace.charge(&mut region, &pace.lines(mix(number)), None, pace.ticks_at(now_us), 1);
                }
            }
            drop(region);
        }
        bench
    }

    /// Engine time at the next charge.
    fn now_us(&self) -> u64 {
        self.charges.set(self.charges.get() + 1);
        1_637_889_600_000_000 + self.charges.get() * self.life_us / self.alive
    }

    fn prefetch(&self, pace: &RateCounter, key: Key) {
        prefetch(self.address, &pace.lines(key));
    }

    fn floor(&self) {
        let (key, pace) = (self.key.get(), &self.tables[0]);
        self.prefetch(pace, key);
        self.key.set(mix(key.0 ^ word(&self.region.borrow(), &pace.lines(key))));
    }

    fn look_up_behind_a_lock(&self, prefetched: bool) {
        if prefetched {
            self.prefetch(&self.tables[0], self.key.get());
        }
        let _held = self.lock.lock();
        self.look_up(false);
    }

    fn look_up(&self, prefetched: bool) {
        let (key, pace) = (self.key.get(), &self.tables[0]);
        if prefetched {
            self.prefetch(pace, key);
        }
        let (now_us, mut region) = (self.now_us(), self.region.borrow_mut());
        let at = pace.lines(key);
        let now = pace.ticks_at(now_us);
        let (verdict, spot) = pace.consult(&region, &at, now, 1, &mut SlotReservations::default());
        let tracked = pace.charge(&mut region, &at, spot, now, 1);
        let read = word(&region, &at);
        self.key.set(mix(key.0 ^ read ^ u64::from(tracked) ^ verdict.earliest_us(now_us)));
    }

    /// Where the key may be in each table; its lines are sent for.
    fn sent_for(&self, prefetched: bool) -> [Candidates; TABLES] {
        std::array::from_fn(|table| {
            let at = self.tables[table].lines(self.key.get());
            if prefetched {
                prefetch(self.address, &at);
            }
            at
        })
    }

    /// The lines of a check, sent for and read.
    fn floor_of_a_check(&self) {
        let (at, region) = (self.sent_for(true), self.region.borrow());
        let read = at.iter().fold(0, |read, at| read ^ word(&region, at));
        self.key.set(mix(self.key.get().0 ^ read));
    }

    fn check_behind_a_lock(&self) {
        let at = self.sent_for(true);
        let _held = self.lock.lock();
        self.settle(&at);
    }

    /// All consult before any charges, as a check does.
    fn settle(&self, at: &[Candidates; TABLES]) {
        let (now_us, mut region) = (self.now_us(), self.region.borrow_mut());
        let mut next = now_us;
        let mut found = [(None, Ticks::default()); TABLES];
        let mut promised = SlotReservations::default();
        for ((pace, at), found) in self.tables.iter().zip(at).zip(&mut found) {
            let now = pace.ticks_at(now_us);
            let (verdict, spot) = pace.consult(&region, at, now, 1, &mut promised);
            *found = (spot, now);
            next ^= verdict.earliest_us(now_us);
        }
        for ((pace, at), (spot, now)) in self.tables.iter().zip(at).zip(found) {
            next ^= u64::from(pace.charge(&mut region, at, spot, now, 1)) ^ word(&region, at);
        }
        self.key.set(mix(self.key.get().0 ^ next));
    }

    fn load(&self) -> f64 {
        let (region, pace, now_us) = (self.region.borrow(), &self.tables[0], self.now_us());
        let used: u64 = (0..pace.table().pages()).map(|page| pace.used(&region, page, now_us)).sum();
        used as f64 / pace.slots() as f64
    }
}

fn batch<'a>(work: impl Fn() + 'a) -> Box<dyn FnMut() + 'a> {
    Box::new(move || (0..BATCH).for_each(|_| work()))
}

fn one_look_up(mib: u32) {
    let one = Bench::new(mib * MIB, 1, Algorithm::Gcra);
    let windows = Bench::new(mib * MIB, 1, Algorithm::SlidingWindow);
    let (full, of_windows) = (one.load() * 100.0, windows.load() * 100.0);
    let title = format!("one look-up and charge, {mib} MiB, {full:.0} % full, windows {of_windows:.0} %");
    let ways = vec![
        ("floor: two prefetched lines", batch(|| one.floor())),
        ("consult and charge", batch(|| one.look_up(true))),
        ("consult and charge, sliding window", batch(|| windows.look_up(true))),
        ("consult and charge, not prefetched", batch(|| one.look_up(false))),
        ("behind a lock, prefetched before it", batch(|| one.look_up_behind_a_lock(true))),
        ("behind a lock, not prefetched", batch(|| one.look_up_behind_a_lock(false))),
    ];
    compare(&title, BATCH, ways);
    black_box(one.key.get());
}

fn one_check(mib: u32) {
    let all = Bench::new(mib * MIB, TABLES, Algorithm::Gcra);
    let windows = Bench::new(mib * MIB, TABLES, Algorithm::SlidingWindow);
    let title =
        format!("a check of {TABLES} limits under its lock, {mib} MiB in all, {:.0} % full", all.load() * 100.0);
    let ways = vec![
        ("floor: sixteen prefetched lines", batch(|| all.floor_of_a_check())),
        ("lock, consult all, charge all", batch(|| all.check_behind_a_lock())),
        ("the same, without the lock", batch(|| all.settle(&all.sent_for(true)))),
        ("the same, not prefetched", batch(|| all.settle(&all.sent_for(false)))),
        ("lock, consult all, charge all, sliding windows", batch(|| windows.check_behind_a_lock())),
    ];
    let ns = compare(&title, BATCH, ways);
    if mib == 256 {
        print_bound("check of eight limits / floor", ns[1] / ns[0], 1.5);
    }
    black_box(all.key.get());
}

fn in_turn() {
    [1, 16, 256].into_iter().for_each(one_look_up);
    [16, 256].into_iter().for_each(one_check);
}

fn one_by_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gcra");
    let one = Bench::new(256 * MIB, 1, Algorithm::Gcra);
    group.bench_function("floor: two prefetched lines, 256 MiB", |b| b.iter(|| one.floor()));
    group.bench_function("consult and charge, 256 MiB", |b| b.iter(|| one.look_up(true)));
    group.finish();
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    one_by_one(&mut criterion);
    criterion.final_summary();
    if !is_listing() {
        in_turn();
    }
}
