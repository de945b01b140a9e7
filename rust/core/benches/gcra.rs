//! One look-up and charge on a GCRA table, against the floor: loading the same two prefetched lines.
//!
//! In both, the next key depends on what was read, so that look-ups cannot overlap and latency is what is measured.
//! Then whether prefetching pays: for one look-up, and for the eight look-ups of a check.
//!
//! The table is as full as in use: time passes at such a pace that keys expire as fast as new ones come, at half of its slots.

mod side_by_side;

use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::sync::Mutex;

use criterion::Criterion;
use side_by_side::{compare, is_listing, is_measuring, print_bound};
use throttle_core::key::Key;
use throttle_core::policy::{Rate, WhenFull};
use throttle_core::region::{Region, prefetch};
use throttle_core::store::Promised;
use throttle_core::store::gcra::{Gcra, Quota};

const MIB: u32 = 1 << 20;

/// How long one charge lives at 100 a minute.
const LIFE_US: u64 = 600_000;

/// Look-ups of a batch.
const BATCH: usize = 1_000;

/// What an `inbound` check asks: six limits and two memories.
const TABLES: usize = 8;

/// The finaliser of SplitMix64: uniform keys from a counter and what was read.
fn mix(number: u64) -> Key {
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    Key(b ^ b >> 31)
}

/// Tables in one region, half full, and the time at which they are.
struct Bench {
    region: RefCell<Region>,
    address: usize,
    lock: Mutex<()>,
    tables: Vec<Gcra>,
    key: Cell<Key>,
    /// Charges so far; so many of them pass while one lives.
    charges: Cell<u64>,
    alive: u64,
}

impl Bench {
    fn new(bytes: u32, tables: usize) -> Self {
        let pages = vec![bytes / 4096 / tables as u32; tables];
        let (region, tables) = Region::new(&pages).expect("as much memory as that");
        let address = region.address();
        let rate = Rate { amount: 100, period_us: 60_000_000, sized: false };
        let quota = Quota::new(rate, 100).expect("a rate that a clock can keep");
        let tables: Vec<_> = tables.into_iter().map(|table| Gcra::new(table, quota, WhenFull::Admit)).collect();
        let alive = tables[0].table().slots() / 2;
        let bench = Self {
            region: RefCell::new(region),
            address,
            lock: Mutex::new(()),
            tables,
            key: Cell::new(mix(1)),
            charges: Cell::new(0),
            alive,
        };
        if is_measuring() {
            let mut region = bench.region.borrow_mut();
            for number in 0..alive {
                let now_us = bench.now_us();
                for gcra in &bench.tables {
                    gcra.charge(&mut region, &gcra.lines(mix(number)), None, now_us, 1);
                }
            }
            drop(region);
        }
        bench
    }

    /// Engine time at the next charge.
    fn now_us(&self) -> u64 {
        self.charges.set(self.charges.get() + 1);
        1_637_889_600_000_000 + self.charges.get() * LIFE_US / self.alive
    }

    /// What of the lines the next key depends on.
    fn read(&self, gcra: &Gcra, region: &Region, key: Key) -> u64 {
        let [first, second] = gcra.lines(key).lines.map(|line| region.line(line).slots[6]);
        first ^ second
    }

    fn prefetch(&self, gcra: &Gcra, key: Key) {
        prefetch(self.address, &gcra.lines(key));
    }

    fn floor(&self) {
        let (key, gcra) = (self.key.get(), &self.tables[0]);
        self.prefetch(gcra, key);
        self.key.set(mix(key.0 ^ self.read(gcra, &self.region.borrow(), key)));
    }

    fn look_up_behind_a_lock(&self, prefetched: bool) {
        if prefetched {
            self.prefetch(&self.tables[0], self.key.get());
        }
        let _held = self.lock.lock();
        self.look_up(false);
    }

    fn look_up(&self, prefetched: bool) {
        let (key, gcra) = (self.key.get(), &self.tables[0]);
        if prefetched {
            self.prefetch(gcra, key);
        }
        let (now_us, mut region) = (self.now_us(), self.region.borrow_mut());
        let at = gcra.lines(key);
        let (verdict, spot) = gcra.consult(&region, &at, now_us, 1, &mut Promised::default());
        let tracked = gcra.charge(&mut region, &at, spot, now_us, 1);
        let read = self.read(gcra, &region, key);
        self.key.set(mix(key.0 ^ read ^ u64::from(tracked) ^ verdict.earliest_us(now_us)));
    }

    /// All consult before any charges, as a check does.
    fn check(&self, prefetched: bool) {
        let key = self.key.get();
        if prefetched {
            self.tables.iter().for_each(|gcra| self.prefetch(gcra, key));
        }
        let (now_us, mut region) = (self.now_us(), self.region.borrow_mut());
        let mut next = now_us;
        let mut spots = [None; TABLES];
        for (gcra, found) in self.tables.iter().zip(&mut spots) {
            let (verdict, spot) = gcra.consult(&region, &gcra.lines(key), now_us, 1, &mut Promised::default());
            *found = spot;
            next ^= verdict.earliest_us(now_us);
        }
        for (gcra, spot) in self.tables.iter().zip(spots) {
            next ^= u64::from(gcra.charge(&mut region, &gcra.lines(key), spot, now_us, 1));
            next ^= self.read(gcra, &region, key);
        }
        self.key.set(mix(key.0 ^ next));
    }

    fn load(&self) -> f64 {
        let (region, gcra, now_us) = (self.region.borrow(), &self.tables[0], self.now_us());
        let used: u64 = (0..gcra.table().pages()).map(|page| gcra.used(&region, page, now_us)).sum();
        used as f64 / gcra.table().slots() as f64
    }
}

fn batch<'a>(work: impl Fn() + 'a) -> Box<dyn FnMut() + 'a> {
    Box::new(move || (0..BATCH).for_each(|_| work()))
}

fn in_turn() {
    for mib in [1, 16, 256] {
        let one = Bench::new(mib * MIB, 1);
        let title = format!("one look-up and charge, {mib} MiB, {:.0} % full", one.load() * 100.0);
        let ways = vec![
            ("floor: two prefetched lines", batch(|| one.floor())),
            ("consult and charge", batch(|| one.look_up(true))),
            ("consult and charge, not prefetched", batch(|| one.look_up(false))),
            ("behind a lock, prefetched before it", batch(|| one.look_up_behind_a_lock(true))),
            ("behind a lock, not prefetched", batch(|| one.look_up_behind_a_lock(false))),
        ];
        let ns = compare(&title, BATCH, ways);
        if mib == 256 {
            print_bound("consult and charge / floor", ns[1] / ns[0], 1.5);
        }
        black_box(one.key.get());
    }
    for mib in [16, 256] {
        let all = Bench::new(mib * MIB, TABLES);
        let title = format!("{TABLES} look-ups and charges of one check, {mib} MiB in all");
        compare(
            &title,
            BATCH,
            vec![("prefetched", batch(|| all.check(true))), ("not prefetched", batch(|| all.check(false)))],
        );
        black_box(all.key.get());
    }
}

fn one_by_one(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("gcra");
    let one = Bench::new(256 * MIB, 1);
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
