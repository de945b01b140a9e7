//! One look-up and charge of a fan-out that refuses all, against one of a GCRA table of the same size, in turn.
//!
//! The next key depends on what was read, so look-ups cannot overlap. The tables are half full:
//! of keys with one element, which expire as fast as new ones come,
//! and, in a store where time stands still, of keys with thirty, each of which is asked about an element that it has
//! seen.

mod side_by_side;

use std::cell::{Cell, RefCell};
use std::hint::black_box;

use side_by_side::{compare, is_listing, is_measuring};
use throttle_core::key::Key;
use throttle_core::policy::{Rate, WhenFull};
use throttle_core::region::{Candidates, Region, prefetch};
use throttle_core::store::distinct::Distinct;
use throttle_core::store::gcra::Gcra;
use throttle_core::store::gcra::GcraRate;
use throttle_core::store::{SlotReservations, Verdict};

const MIB: u32 = 1 << 20;

/// How long one charge lives at 100 a minute.
const LIFE_US: u64 = 600_000;

const START_US: u64 = 1_637_889_600_000_000;

/// Look-ups of a batch.
const BATCH: usize = 1_000;

/// Elements of a key with many.
const MANY: u64 = 30;

const RATE: Rate = Rate { amount: 100, period_us: 60_000_000, sized: false };

/// The finaliser of SplitMix64: uniform keys from a counter and what was read.
fn mix(number: u64) -> Key {
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    Key(b ^ b >> 31)
}

/// Either store: what it asks and charges for one key and element.
trait Counts {
    fn lines(&self, key: Key) -> Candidates;
    fn settle(&self, region: &mut Region, key: Key, element: Key, now_us: u64) -> u64;
}

impl Counts for Gcra {
    fn lines(&self, key: Key) -> Candidates {
        self.table.candidates(key)
    }

    fn settle(&self, region: &mut Region, key: Key, _: Key, now_us: u64) -> u64 {
        let at = self.table.candidates(key);
        let now = self.ticks_at(now_us);
        let (verdict, spot) = self.consult(region, &at, now, 1, &mut SlotReservations::default());
        verdict.earliest_us(now_us) ^ u64::from(self.charge(region, &at, spot, now, 1))
    }
}

impl Counts for Distinct {
    fn lines(&self, key: Key) -> Candidates {
        self.table.candidates(key)
    }

    fn settle(&self, region: &mut Region, key: Key, element: Key, now_us: u64) -> u64 {
        let at = self.table.candidates(key);
        let (verdict, spot) = self.consult(region, &at, now_us, &[element], &mut SlotReservations::default());
        assert_eq!(verdict, Verdict::Fits);
        verdict.earliest_us(now_us) ^ u64::from(self.charge(region, &at, spot, now_us, &[element]))
    }
}

/// A store in a region of its own, half full.
struct Bench<S> {
    region: RefCell<Region>,
    store: S,
    key: Cell<Key>,
    charges: Cell<u64>,
    /// Keys that are alive at once.
    alive: u64,
}

impl<S: Counts> Bench<S> {
    fn new(bytes: u32, store: impl Fn(throttle_core::region::Table) -> S, alive: impl Fn(&S) -> u64) -> Self {
        let (region, tables) = Region::new(&[bytes / 4096]).expect("as much memory as that");
        let store = store(tables[0]);
        let alive = alive(&store);
        Self { region: RefCell::new(region), store, key: Cell::new(mix(1)), charges: Cell::new(0), alive }
    }

    /// A key that was never seen, while others expire.
    fn fresh(&self) {
        let (key, number) = (self.key.get(), self.charges.get());
        self.charges.set(number + 1);
        prefetch(self.region.borrow().address(), &self.store.lines(key));
        let now_us = START_US + number * LIFE_US / self.alive;
        let read = self.store.settle(&mut self.region.borrow_mut(), key, mix(number), now_us);
        self.key.set(mix(key.0 ^ read));
    }

    /// One of the keys with many elements, and one of those.
    fn seen(&self) {
        let number = self.key.get().0;
        let (of, element) = (number % self.alive, number >> 32);
        let key = mix(of);
        prefetch(self.region.borrow().address(), &self.store.lines(key));
        let read = self.store.settle(&mut self.region.borrow_mut(), key, mix((of << 8) + element % MANY), START_US);
        self.key.set(mix(number ^ read));
    }

    fn fill_with_many(&self) {
        for of in 0..self.alive {
            for element in 0..MANY {
                self.store.settle(&mut self.region.borrow_mut(), mix(of), mix((of << 8) + element), START_US);
            }
        }
    }
}

fn batch<'a>(work: impl Fn() + 'a) -> Box<dyn FnMut() + 'a> {
    Box::new(move || (0..BATCH).for_each(|_| work()))
}

fn main() {
    if is_listing() {
        return;
    }
    for mib in [1, 16, 256] {
        let quota = GcraRate::new(RATE, 100).expect("a rate that a clock can keep");
        let distinct = |burst| {
            move |table| Distinct::new(table, RATE, burst, WhenFull::Admit).expect("a rate that a clock can keep")
        };
        let bytes = mib * MIB;
        let gcra = Bench::new(bytes, |table| Gcra::new(table, quota, WhenFull::Admit), |gcra| gcra.table.slots() / 2);
        let few = Bench::new(bytes, distinct(100), |distinct| distinct.slots() / 2);
        let many = Bench::new(bytes, distinct(1_000), |distinct| distinct.registers.table.bytes() / 64 / 2);
        if is_measuring() {
            (0..gcra.alive).for_each(|_| gcra.fresh());
            (0..few.alive).for_each(|_| few.fresh());
        }
        many.fill_with_many();
        let ways = vec![
            ("GCRA, a fresh key", batch(|| gcra.fresh())),
            ("refuse all, a fresh key", batch(|| few.fresh())),
            ("refuse all, a seen element of a key with many", batch(|| many.seen())),
        ];
        compare(&format!("one look-up and charge, {mib} MiB, half full"), BATCH, ways);
        black_box((gcra.key.get(), few.key.get(), many.key.get()));
    }
}
