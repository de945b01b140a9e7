//! Fan-outs that refuse all against sets and buckets of exact fractions, and what keeps a key with many elements at its rate.

mod draw;
mod oracle;

use draw::mix;
use oracle::{Bucket, Sets, key};
use proptest::prelude::*;
use throttle_core::key::Key;
use throttle_core::policy::{Rate, WhenFull};
use throttle_core::region::{Region, Spot};
use throttle_core::store::distinct::Distinct;
use throttle_core::store::{Promised, Verdict};

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3_600 * SECOND;

/// A store and its memory.
struct Store {
    region: Region,
    distinct: Distinct,
}

impl Store {
    fn new(pages: u32, amount: u64, period_us: u64, burst: u64, when_full: WhenFull) -> Self {
        let (region, tables) = Region::new(&[pages]).expect("as much memory as that");
        let rate = Rate { amount, period_us, sized: false };
        let distinct = Distinct::new(tables[0], rate, burst, when_full).expect("a rate that a clock can keep");
        Self { region, distinct }
    }

    fn consult(&self, of: u64, now_us: u64, elements: &[Key]) -> (Verdict, Option<Spot>) {
        let at = self.distinct.lines(key(of));
        self.distinct.consult(&self.region, &at, now_us, elements, &mut Promised::default())
    }

    /// Charges when it fits; whether it did, and whether all of it was counted.
    fn check(&mut self, of: u64, now_us: u64, elements: &[Key]) -> (bool, bool) {
        let (verdict, spot) = self.consult(of, now_us, elements);
        if verdict != Verdict::Fits {
            return (false, true);
        }
        let at = self.distinct.lines(key(of));
        (true, self.distinct.charge(&mut self.region, &at, spot, now_us, elements))
    }

    fn used(&self, now_us: u64) -> (u64, u64) {
        let slots = (0..self.distinct.table().pages()).map(|page| self.distinct.used(&self.region, page, now_us));
        let blocks =
            (0..self.distinct.blocks().pages()).map(|page| self.distinct.blocks_used(&self.region, page, now_us));
        (slots.sum(), blocks.sum())
    }
}

/// The hash of an element under a key.
fn element(of: u64, number: u64) -> Key {
    Key(mix(of << 32 | number))
}

fn hashed(of: u64, numbers: &[u64]) -> Vec<Key> {
    numbers.iter().map(|&number| element(of, number)).collect()
}

/// Rates whose tick is a microsecond, so that nothing is rounded: `useful` below 2²³ / burst, and a whole number.
fn exact_rates() -> impl Strategy<Value = (u64, u64, u64)> {
    (1u64..=20, 1u64..=9, 1u64..=40).prop_map(|(amount, burst, thousands)| (amount, amount * thousands * 20_000, burst))
}

proptest! {
    /// Every key has four elements in all, so each is held as it is, whatever comes in between.
    #[test]
    fn keys_with_few_elements_are_exact(
        (amount, period_us, burst) in exact_rates(),
        start in prop_oneof![Just(0u64), Just(1_637_889_600_000_000)],
        refuse in any::<bool>(),
        steps in prop::collection::vec((0u64..12, 0u64..3, prop::collection::btree_set(0u64..4, 0..4)), 1..200),
    ) {
        let when_full = if refuse { WhenFull::Refuse } else { WhenFull::Admit };
        let mut store = Store::new(16, amount, period_us, burst, when_full);
        let mut exact = Sets::new(Bucket { amount: amount.into(), period_us: period_us.into(), burst: burst.into() });
        let (mut now, charge_us) = (start, period_us / amount);
        for (pause, of, numbers) in steps {
            now += pause * pause * charge_us / 16;
            let numbers: Vec<u64> = numbers.into_iter().collect();
            let elements = hashed(of, &numbers);
            let (verdict, _) = store.consult(of, now, &elements);
            prop_assert_eq!(verdict == Verdict::Fits, exact.fits(&of, now, &numbers), "{:?} {:?}", verdict, numbers);
            match verdict {
                Verdict::Fits => {
                    prop_assert_eq!(store.check(of, now, &elements), (true, true));
                    exact.charge(of, now, &numbers);
                }
                Verdict::From(at) => {
                    prop_assert!(at > now && !exact.fits(&of, at - 1, &numbers) && exact.fits(&of, at, &numbers));
                }
                Verdict::Never => prop_assert!(!exact.fits(&of, now + 1000 * period_us * burst, &numbers)),
            }
        }
    }
}
