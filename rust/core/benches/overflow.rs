//! What a sketch next to the table costs one consultation and charge: while the table has room,
//! and in a flood of which the table holds a third.
//!
//! The next key depends on what was answered, so that look-ups cannot overlap.

mod side_by_side;

use std::hint::black_box;

use side_by_side::{compare, is_listing, is_measuring};
use throttle_core::key::Key;
use throttle_core::policy::{Algorithm, Rate, WhenFull};
use throttle_core::region::Region;
use throttle_core::store::SlotReservations;
use throttle_core::store::rate_counter::RateCounter;

const BATCH: usize = 1_000;

/// How long one charge lives at 100 a minute: in a bucket, and in a window of twelve panes.
const LIFE_US: [(Algorithm, u64); 2] = [(Algorithm::Gcra, 600_000), (Algorithm::SlidingWindow, 65_000_000)];

/// The finaliser of SplitMix64: uniform keys from a counter and what was answered.
fn mix(number: u64) -> Key {
    let a = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let b = (a ^ a >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    Key(b ^ b >> 31)
}

/// Unique keys, at such a pace that `load` times the slots of a plain table live at once.
struct Flood {
    region: Region,
    pace: RateCounter,
    charges: u64,
    key: Key,
    alive: u64,
    life_us: u64,
}

impl Flood {
    fn new(mib: u32, (algorithm, life_us): (Algorithm, u64), when_full: WhenFull, load: f64) -> Self {
        let (region, tables) = Region::new(&[mib << 8]).expect("as much memory as that");
        let rate = Rate { amount: 100, period_us: 60_000_000, sized: false };
        let plain =
            RateCounter::new(tables[0], algorithm, rate, 100, WhenFull::Admit).expect("a rate that a clock can keep");
        let pace = RateCounter::new(tables[0], algorithm, rate, 100, when_full).expect("a rate that a clock can keep");
        let alive = (plain.slots() as f64 * load) as u64;
        let mut flood = Self { region, pace, charges: 0, key: mix(1), alive, life_us };
        if is_measuring() {
            (0..alive).for_each(|_| flood.hit());
        }
        flood
    }

    fn hit(&mut self) {
        self.charges += 1;
        let now_us = 1_637_889_600_000_000 + self.charges * self.life_us / self.alive;
        let at = self.pace.lines(self.key);
        let now = self.pace.ticks_at(now_us);
        let (verdict, spot) = self.pace.consult(&self.region, &at, now, 1, &mut SlotReservations::default());
        let tracked = self.pace.charge(&mut self.region, &at, spot, now, 1);
        self.key = mix(self.key.0 ^ u64::from(tracked) ^ verdict.earliest_us(now_us));
    }
}

fn main() {
    if is_listing() {
        return;
    }
    for mib in [1, 16] {
        for life in LIFE_US {
            let flood = |when_full, load| Flood::new(mib, life, when_full, load);
            let mut floods = [
                flood(WhenFull::Admit, 0.05),
                flood(WhenFull::Sketch, 0.05),
                flood(WhenFull::Admit, 3.0),
                flood(WhenFull::Sketch, 3.0),
            ];
            let names = [
                "admit, a twentieth full",
                "sketch, a twentieth full",
                "admit, three times full",
                "sketch, three times full",
            ];
            let ways = names.into_iter().zip(&mut floods).map(|(name, flood)| {
                let batch: Box<dyn FnMut()> = Box::new(|| (0..BATCH).for_each(|_| flood.hit()));
                (name, batch)
            });
            compare(&format!("{:?}, {mib} MiB", life.0), BATCH, ways.collect());
            black_box(floods.map(|flood| flood.key.0));
        }
    }
}
