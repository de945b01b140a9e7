//! Tiny tables with a sketch next to them, and far more keys than slots, against the exact oracles:
//! nobody ever gets more than the limit (P4).

mod oracle;

use oracle::{Bucket, Buckets, Windows, key};
use proptest::prelude::*;
use throttle_core::key::Key;
use throttle_core::policy::{Algorithm, Rate, WhenFull};
use throttle_core::region::{Epoch, Now, Region};
use throttle_core::store::gcra::GcraRate;
use throttle_core::store::rate_counter::RateCounter;
use throttle_core::store::{SlotReservations, Verdict};

/// The smallest share: one page for the table, one for the sketch.
fn tiny(algorithm: Algorithm, rate: Rate, burst: u64) -> (Region, RateCounter) {
    let (region, tables) = Region::new(&[2]).expect("little enough memory");
    let pace =
        RateCounter::new(tables[0], algorithm, rate, burst, WhenFull::Sketch).expect("a rate that a clock can keep");
    (region, pace)
}

fn consult(pace: &RateCounter, region: &Region, key: Key, now_us: u64, amount: u64) -> Verdict {
    pace.consult(region, &pace.lines(key), pace.ticks_at(now_us), amount, &mut SlotReservations::default()).0
}

fn charge(pace: &RateCounter, region: &mut Region, key: Key, now_us: u64, amount: u64) -> bool {
    let at = pace.lines(key);
    let now = pace.ticks_at(now_us);
    let (_, spot) = pace.consult(region, &at, now, amount, &mut SlotReservations::default());
    pace.charge(region, &at, spot, now, amount)
}

/// What the clock does, and who then asks for how much: `count` keys from `first` on, each `times`.
#[derive(Clone, Copy, Debug)]
struct Step {
    clock: Clock,
    first: u64,
    count: u64,
    part: u8,
    times: u8,
}

#[derive(Clone, Copy, Debug)]
enum Clock {
    /// In parts of 2¹² of the period.
    On(u64),
    /// Back by so many microseconds.
    Back(i64),
}

/// Keys that share their lines: in the whole table, or in two lines of it.
fn who(crowded: bool, number: u64) -> Key {
    if crowded { Key(0x0123_4567 << 32 | (key(number).0 >> 32) | 1) } else { key(number) }
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let clock = prop_oneof![
        4 => Just(Clock::On(0)), 6 => (0u64..200).prop_map(Clock::On), 4 => (0u64..1_500).prop_map(Clock::On),
        1 => (3_000u64..12_000).prop_map(Clock::On), 1 => (0i64..5_000_000_000).prop_map(Clock::Back),
    ];
    let count = prop_oneof![3 => 1u64..4, 3 => 1u64..60, 1 => 60u64..900];
    let step = (clock, prop_oneof![3 => 0u64..12, 1 => 0u64..1_000], count, any::<u8>(), 1u8..5);
    prop::collection::vec(
        step.prop_map(|(clock, first, count, part, times)| Step { clock, first, count, part, times }),
        1..60,
    )
}

/// Checks every admission with `excess`, which charges its oracle and says by how much the limit is now exceeded,
/// if it is.
fn never_more(
    pace: &RateCounter, region: &mut Region, (period_us, most): (u64, u64), (crowded, steps): (bool, &[Step]),
    mut excess: impl FnMut(u64, u64, u64) -> Option<String>,
) -> Result<(), TestCaseError> {
    let (mut epoch, mut clock) = (Epoch { last_us: 0, offset_us: 0 }, 1_637_889_600_000_000i64);
    for step in steps {
        clock += match step.clock {
            Clock::On(part) => ((u128::from(period_us) * u128::from(part)) >> 12) as i64,
            Clock::Back(us) => -us,
        };
        epoch = epoch.at(Now::Clock(clock));
        let now = epoch.last_us;
        let cost = 1 + ((u128::from(most - 1) * u128::from(step.part)) >> 9) as u64;
        for number in (step.first..step.first + step.count).flat_map(|n| std::iter::repeat_n(n, step.times.into())) {
            let key = who(crowded, number);
            match consult(pace, region, key, now, cost) {
                Verdict::Fits => {
                    prop_assert!(charge(pace, region, key, now, cost), "a key that is not counted");
                    let over = excess(number, now, cost);
                    prop_assert!(over.is_none(), "key {} at {}: {}", number, now, over.unwrap_or_default());
                }
                verdict @ Verdict::From(until) => {
                    prop_assert!(until > now);
                    prop_assert_eq!(consult(pace, region, key, until - 1, cost), verdict);
                    prop_assert_eq!(consult(pace, region, key, until, cost), Verdict::Fits);
                }
                Verdict::Never => prop_assert!(cost > most),
            }
        }
    }
    Ok(())
}

fn rates() -> impl Strategy<Value = (u64, Rate)> {
    let amount = prop_oneof![1u64..12, Just(100), 1u64..2_000, 60_000u64..70_000];
    (amount, prop::sample::select(vec![1u64, 7, 60, 3_600, 86_400]))
        .prop_map(|(amount, seconds)| (amount, Rate { amount, period_us: seconds * 1_000_000, sized: false }))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_bucket_gets_more_than_its_burst_and_rate_however_often_it_moves(
        (amount, rate) in rates(), burst in 1u64..200, crowded: bool, steps in steps(),
    ) {
        let (mut region, pace) = tiny(Algorithm::Gcra, rate, burst);
        let bucket = Bucket { amount: amount.into(), period_us: rate.period_us.into(), burst: burst.into() };
        let mut exact = Buckets::new(bucket);
        let per_unit = u128::from(GcraRate::new(rate, burst).expect("a rate that a clock can keep").price(1));
        never_more(&pace, &mut region, (rate.period_us, burst), (crowded, &steps), |number, now, cost| {
            exact.charge(number, now, cost);
            let over = exact.level(&number, now).saturating_sub(bucket.burst * bucket.period_us);
            (over * per_unit > bucket.period_us).then(|| format!("{over} parts above the burst: more than a tick"))
        })?;
    }

    #[test]
    fn no_window_holds_more_than_its_limit_however_often_a_key_moves(
        (amount, rate) in rates(), crowded: bool, steps in steps(),
    ) {
        let (mut region, pace) = tiny(Algorithm::SlidingWindow, rate, 0);
        let mut exact = Windows::new(rate.period_us);
        never_more(&pace, &mut region, (rate.period_us, amount), (crowded, &steps), |number, now, cost| {
            exact.charge(number, now, cost);
            let counted = exact.counted(&number, now);
            (counted > amount).then(|| format!("{counted} in a window of {amount}"))
        })?;
    }
}

const MINUTE: Rate = Rate { amount: 100, period_us: 60_000_000, sized: false };

fn both() -> impl Iterator<Item = (Algorithm, Region, RateCounter)> {
    [Algorithm::Gcra, Algorithm::SlidingWindow].into_iter().map(|algorithm| {
        let (region, pace) = tiny(algorithm, MINUTE, MINUTE.amount);
        (algorithm, region, pace)
    })
}

fn sketched(region: &Region, pace: &RateCounter, now_us: u64) -> u64 {
    let (pages, _) = pace.sketch().expect("a sketch");
    (0..pages).map(|page| pace.sketch_used(region, page, now_us)).sum()
}

#[test]
fn a_heavier_key_gets_the_slot_of_a_lighter_and_neither_is_forgotten() {
    for (algorithm, mut region, pace) in both() {
        // Two lines of seven or three slots: all are taken, and the sketch is nearly empty.
        let light = || (0..20).map(|number| who(true, number));
        for key in light() {
            assert!(charge(&pace, &mut region, key, 0, 40));
        }
        let heavy = who(true, 99);
        let at = pace.lines(heavy);
        assert!(charge(&pace, &mut region, heavy, 0, 12));
        assert!(
            pace.consult(&region, &at, pace.ticks_at(0), 1, &mut SlotReservations::default()).1.is_none(),
            "{algorithm:?}: it is light yet"
        );
        let mut sent = 12;
        while consult(&pace, &region, heavy, 0, 1) == Verdict::Fits {
            assert!(charge(&pace, &mut region, heavy, 0, 1));
            sent += 1;
        }
        assert!(sent <= 100, "{algorithm:?}: {sent} of 100, when what it sent without a slot came with it");
        assert!(
            pace.consult(&region, &at, pace.ticks_at(0), 1, &mut SlotReservations::default()).1.is_some(),
            "{algorithm:?}: it has a slot"
        );
        for key in light() {
            let verdict = consult(&pace, &region, key, 0, 61);
            assert!(matches!(verdict, Verdict::From(_)), "{algorithm:?}: forty of {key:?} are forgotten");
        }
    }
}

#[test]
fn keys_of_one_check_that_take_each_others_slots_are_all_counted() {
    for (algorithm, mut region, pace) in both() {
        // Two lines of seven or three slots, all of them taken.
        let keys: Vec<Key> = (0..40).map(|number| who(true, number)).collect();
        for &key in &keys {
            assert!(charge(&pace, &mut region, key, 0, 20));
        }
        let found: Vec<_> = keys
            .iter()
            .map(|&key| pace.consult(&region, &pace.lines(key), pace.ticks_at(0), 40, &mut SlotReservations::default()))
            .collect();
        let fitted: Vec<_> = keys.iter().zip(found).filter(|(_, (verdict, _))| *verdict == Verdict::Fits).collect();
        assert!(
            fitted.iter().any(|(_, (_, spot))| spot.is_some()) && fitted.iter().any(|(_, (_, spot))| spot.is_none())
        );
        for &(&key, (_, spot)) in fitted.iter().rev() {
            assert!(pace.charge(&mut region, &pace.lines(key), spot, pace.ticks_at(0), 40));
        }
        for (key, _) in fitted {
            let verdict = consult(&pace, &region, *key, 0, 41);
            assert!(matches!(verdict, Verdict::From(_)), "{algorithm:?}: sixty of {key:?} are forgotten");
        }
    }
}

#[test]
fn an_idle_sketch_is_empty_and_a_full_one_tells_its_fill() {
    for (algorithm, mut region, pace) in both() {
        for number in 0..3_000 {
            assert!(charge(&pace, &mut region, key(number), 1_000, 1));
        }
        let (_, cells) = pace.sketch().expect("a sketch");
        let used = sketched(&region, &pace, 1_000);
        assert!(used > cells / 2 && used <= cells, "{algorithm:?}: {used} of {cells}");
        assert_eq!(sketched(&region, &pace, 1_000 + 80_000_000), 0, "{algorithm:?}");
        assert_eq!(consult(&pace, &region, key(4_000), 1_000 + 80_000_000, 100), Verdict::Fits);
    }
}

#[test]
fn a_limit_of_gibibytes_is_kept_too() {
    for algorithm in [Algorithm::Gcra, Algorithm::SlidingWindow] {
        let tib = 1 << 40;
        let (mut region, pace) = tiny(algorithm, Rate { amount: tib, period_us: 3_600_000_000, sized: true }, tib);
        for number in 0..1_000 {
            let mut sent = 0u64;
            while consult(&pace, &region, key(number), 0, tib / 7) == Verdict::Fits {
                assert!(charge(&pace, &mut region, key(number), 0, tib / 7));
                sent += tib / 7;
            }
            assert!(sent <= tib, "{algorithm:?}: {sent}");
        }
    }
}
