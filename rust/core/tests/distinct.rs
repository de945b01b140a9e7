//! Fan-outs that refuse all against sets and buckets of exact fractions, and what keeps a key with many elements at its
//! rate.

mod distinct_flood;
mod draw;
mod oracle;

use distinct_flood::{HABITS, Size, at_twice_the_rate, hour};
use draw::mix;
use oracle::{Bucket, Sets, key};
use proptest::prelude::*;
use throttle_core::key::Key;
use throttle_core::policy::{Rate, WhenFull};
use throttle_core::region::{KeySlot, Region};
use throttle_core::store::distinct::Distinct;
use throttle_core::store::{SlotReservations, Verdict};

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

    fn consult(&self, of: u64, now_us: u64, elements: &[Key]) -> (Verdict, Option<KeySlot>) {
        let at = self.distinct.table.candidates(key(of));
        self.distinct.consult(&self.region, &at, now_us, elements, &mut SlotReservations::default())
    }

    /// Charges when it fits; whether it did, and whether all of it was counted.
    fn check(&mut self, of: u64, now_us: u64, elements: &[Key]) -> (bool, bool) {
        let (verdict, spot) = self.consult(of, now_us, elements);
        if verdict != Verdict::Fits {
            return (false, true);
        }
        let at = self.distinct.table.candidates(key(of));
        (true, self.distinct.charge(&mut self.region, &at, spot, now_us, elements))
    }

    fn used(&self, now_us: u64) -> (u64, u64) {
        let slots = (0..self.distinct.table.pages()).map(|page| self.distinct.used(&self.region, page, now_us));
        let blocks = (0..self.distinct.registers.table.pages())
            .map(|page| self.distinct.blocks_used(&self.region, page, now_us));
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

/// Burst B and next to no rate: how many fresh elements a key gets through at once. The mean is that of B less what the
/// last charge asks for.
#[test]
fn keys_with_many_elements_get_their_burst_within_the_error_of_the_estimator() {
    const KEYS: u64 = 400;
    for burst in [20u64, 50, 200, 1_000] {
        let mut store = Store::new(64, burst, 300 * 24 * HOUR, burst, WhenFull::Admit);
        let through: Vec<f64> = (0..KEYS)
            .map(|of| (0..).find(|&number| !store.check(of, HOUR, &hashed(of, &[number])).0).unwrap_or(u64::MAX) as f64)
            .collect();
        let mean = through.iter().sum::<f64>() / KEYS as f64 / burst as f64;
        // 0.104 for one key, five times that of the mean; and 1/q, about 1 + n / 45, is asked for at once.
        let (error, asked) = (0.104, 1.0 / 45.0 + 1.0 / burst as f64);
        let bounds = (1.0 - asked - 5.0 * error / (KEYS as f64).sqrt())..=(1.0 + 5.0 * error / (KEYS as f64).sqrt());
        assert!(bounds.contains(&mean), "burst {burst}: mean {mean}, allowed {bounds:?}");
        let off = through.iter().map(|through| (through / burst as f64 - 1.0).abs()).fold(0.0, f64::max);
        assert!(off < 5.0 * error, "burst {burst}: a key is off by {off}");
    }
}

#[test]
fn what_was_seen_costs_nothing_and_is_refused_with_everything_else() {
    let mut store = Store::new(64, 100, HOUR, 50, WhenFull::Admit);
    for count in [3u64, 4, 5, 20, 40] {
        let all: Vec<u64> = (0..count).collect();
        let mut sent = 0;
        // What a whole burst waits for is what was charged.
        let burst = hashed(count, &(1_000..1_050).collect::<Vec<_>>());
        let mut charged = Vec::new();
        for turn in 0..50 {
            charged.extend((turn > 0).then(|| store.consult(count, HOUR, &burst).0));
            for &number in &all {
                sent += u64::from(store.check(count, HOUR, &hashed(count, &[number])).0);
            }
        }
        assert!(charged.windows(2).all(|pair| pair[0] == pair[1]), "{count} elements: {charged:?}");
        assert_eq!(sent, 50 * count, "{count} elements within the burst, again and again");
        // Fresh ones until the bucket is full.
        let full = (count..1_000).find(|&number| !store.check(count, HOUR + 50, &hashed(count, &[number])).0);
        assert!(full.is_some(), "never refused");
        let old = store.consult(count, HOUR + 50, &hashed(count, &[0])).0;
        let fresh = store.consult(count, HOUR + 50, &hashed(count, &[1 << 20])).0;
        assert!(matches!(old, Verdict::From(_)), "{old:?}");
        assert_eq!(old, fresh, "what was seen is judged as what was not");
        assert_eq!(store.consult(count, HOUR + 50, &[]).0, old, "and so is a message that brings nothing");
    }
}

/// What a fresh element may be charged has to fit, whether it is charged or not: about 1 + n / 45 for the n that were
/// there.
#[test]
fn a_message_asks_for_room_for_a_changed_register() {
    let mut store = Store::new(64, 200, HOUR, 200, WhenFull::Admit);
    let full = (0..1_000).find(|&number| !store.check(1, HOUR, &hashed(1, &[number])).0);
    assert!(full.is_some_and(|full| (100..300).contains(&full)), "{full:?}");
    let asks = |count: u64| store.consult(1, HOUR, &hashed(1, &(5_000..5_000 + count).collect::<Vec<_>>())).0;
    assert_eq!(asks(3), asks(1), "1/q is above three");
    let (Verdict::From(one), Verdict::From(ten)) = (asks(1), asks(10)) else { panic!("both are refused") };
    assert!(ten - one >= 3 * HOUR / 200, "and below seven");
}

#[test]
fn a_bucket_that_has_drained_forgets_all_and_frees_its_memory() {
    let mut store = Store::new(64, 100, HOUR, 50, WhenFull::Admit);
    let of_each = 20;
    for of in 0..30 {
        for number in 0..of_each {
            assert!(store.check(of, HOUR, &hashed(of, &[number])).0);
        }
    }
    assert_eq!(store.used(HOUR), (30, 30));
    // Twenty charges drain in twelve minutes; an estimate of them in less than thrice that.
    let later = HOUR + 3 * 20 * HOUR / 100;
    assert_eq!(store.used(later), (0, 0));
    let (_, first) = (store.check(0, later, &hashed(0, &[0])), store.used(later));
    assert_eq!(first, (1, 0), "what it had seen is fresh again, and few");
}

#[test]
fn no_flood_takes_the_place_of_a_key_that_still_counts() {
    let mut store = Store::new(4, 100, HOUR, 50, WhenFull::Admit);
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for of in 0..20 {
        let elements: Vec<u64> = (0..if of % 2 == 0 { 3 } else { 30 }).collect();
        for &number in &elements {
            assert_eq!(store.check(of, HOUR, &hashed(of, &[number])), (true, true));
        }
        if of % 2 == 0 { small.push(of) } else { large.push(of) }
    }
    let before: Vec<_> = (0..20).map(|of| store.consult(of, HOUR, &hashed(of, &(0..40).collect::<Vec<_>>()))).collect();
    let mut lost = 0;
    for junk in 100..200_000u64 {
        let elements: Vec<u64> = (0..1 + junk % 8).collect();
        lost += u64::from(!store.check(junk, HOUR, &hashed(junk, &elements)).1);
    }
    assert!(lost > 100_000, "both tables were full: {lost} found no room");
    let after: Vec<_> = (0..20).map(|of| store.consult(of, HOUR, &hashed(of, &(0..40).collect::<Vec<_>>()))).collect();
    assert_eq!(after, before);
}

/// The fifth element of a key for which there is no block: with "admit" it passes uncounted,
/// with "refuse" not before the time told.
#[test]
fn without_a_block_a_fifth_element_is_uncounted_or_refused_as_the_limit_says() {
    for when_full in [WhenFull::Admit, WhenFull::Refuse] {
        let mut store = Store::new(2, 100, HOUR, 50, when_full);
        for of in 0..200 {
            store.check(of, HOUR, &hashed(of, &(0..12).collect::<Vec<_>>()));
        }
        assert_eq!(store.used(HOUR).1, 64);
        let of = 1_000;
        assert_eq!(store.check(of, HOUR + 1, &hashed(of, &[0, 1, 2, 3])), (true, true));
        let fifth = hashed(of, &[4]);
        if when_full == WhenFull::Admit {
            assert_eq!(store.check(of, HOUR + 1, &fifth), (true, false));
            assert_eq!(store.consult(of, HOUR + 1, &[]).0, Verdict::Fits);
        } else {
            assert_eq!(store.check(of, HOUR + 1, &hashed(of, &[2])), (true, true), "a seen one needs no block");
            let Verdict::From(at) = store.consult(of, HOUR + 1, &fifth).0 else { panic!("it fits without a block") };
            assert!(matches!(store.consult(of, at - 1, &fifth).0, Verdict::From(again) if again == at));
            assert_eq!(store.check(of, at, &fifth), (true, true));
        }
    }
}

proptest! {
    /// Several keys of one check, in tables that are nearly full: when all of them fit together, all of them find room.
    #[test]
    fn what_is_promised_to_several_keys_at_once_is_there(
        crowd in prop::collection::vec(1u64..8, 60..400),
        groups in prop::collection::vec(prop::collection::vec(1u64..8, 1..12), 1..20),
    ) {
        let mut store = Store::new(2, 100, HOUR, 50, WhenFull::Refuse);
        for (of, count) in crowd.into_iter().enumerate() {
            store.check(of as u64, HOUR, &hashed(of as u64, &(0..count).collect::<Vec<_>>()));
        }
        let mut of = 10_000;
        for group in groups {
            let asked: Vec<(u64, Vec<Key>)> = group.into_iter().map(|count| {
                of += 1;
                (of, hashed(of, &(0..count).collect::<Vec<_>>()))
            }).collect();
            let mut promised = SlotReservations::with_room(3 * asked.len());
            let consult = |(of, elements): &(u64, Vec<Key>)| {
                let at = store.distinct.table.candidates(key(*of));
                store.distinct.consult(&store.region, &at, HOUR, elements, &mut promised)
            };
            let answers: Vec<_> = asked.iter().map(consult).collect();
            if answers.iter().all(|(verdict, _)| *verdict == Verdict::Fits) {
                for ((of, elements), (_, spot)) in asked.iter().zip(answers) {
                    let at = store.distinct.table.candidates(key(*of));
                    prop_assert!(
                        store.distinct.charge(&mut store.region, &at, spot, HOUR, elements), "no room for {of}",
                    );
                }
            }
        }
    }

    /// P4: what a key with few elements gets is never more than the oracle would give it, however full the tables are.
    #[test]
    fn a_limit_that_refuses_when_full_lets_nobody_have_more(
        steps in prop::collection::vec((0u64..2_000_000, 0u64..600, 0u64..4), 300..800),
    ) {
        let mut store = Store::new(2, 5, 20 * SECOND, 2, WhenFull::Refuse);
        let mut exact = Sets::new(Bucket { amount: 5, period_us: (20 * SECOND).into(), burst: 2 });
        let mut now = 0;
        for (pause, of, number) in steps {
            now += pause / 100;
            let (admitted, counted) = store.check(of, now, &hashed(of, &[number]));
            prop_assert!(counted);
            if admitted {
                prop_assert!(exact.fits(&of, now, &[number]), "key {} gets more", of);
                exact.charge(of, now, &[number]);
            }
        }
    }
}

#[test]
fn a_sixteenth_of_the_flood_finds_every_attacker_and_flags_nobody_else() {
    let outcome = hour(Size { pages: 16, ordinary: 12_500, attackers: 200, junk: 1_250_000 }, None);
    assert_eq!((outcome.flagged, outcome.flagged_by_oracle), (0, 0));
    assert_eq!((outcome.found, outcome.found_by_oracle), (200, 200));
    assert!(outcome.late_at(0.5) <= 1.2, "median of elements at detection over the ideal: {}", outcome.late_at(0.5));
}

#[test]
fn at_twice_the_rate_two_days_long_a_key_is_held_to_it() {
    for habit in HABITS {
        let through = at_twice_the_rate(50, 48, habit);
        let (least, most) = (through[0], through[through.len() - 1]);
        assert!(least >= 0.8 && most <= 1.2, "{}: from {least} to {most} of the rate", habit.name);
    }
}

/// A key at its rate for ever: were one charge most of what the bucket holds, it would be let through in gusts,
/// and further off its rate.
#[test]
fn no_element_is_ever_charged_more_than_a_quarter_of_the_burst() {
    let mut store = Store::new(64, 100, HOUR, 50, WhenFull::Admit);
    let (mut asked, mut dearest) = (0, 0);
    for number in 0..48 * 2_000 {
        let (of, now) = (number % 10, HOUR + number * HOUR / 2_000);
        store.check(of, now, &hashed(of, &[number]));
        let ask = |count: u64| store.consult(of, now, &hashed(of, &(0..count).collect::<Vec<_>>())).0;
        if let (Verdict::From(one), Verdict::From(most), Verdict::From(more)) = (ask(1), ask(13), ask(14)) {
            assert_eq!(more - most, HOUR / 100, "element {number}: one asks for more than 13");
            asked += 1;
            dearest = dearest.max(13 - (most - one) / (HOUR / 100));
        }
    }
    assert!(asked > 1_000 && dearest > 8, "asked {asked} times, at most for {dearest}");
}

/// Whoever may try as often as it likes must not find a message that costs less than its elements are worth.
#[test]
fn trying_many_messages_with_several_elements_brings_no_more() {
    const KEYS: u64 = 20;
    const HOURS: u64 = 48;
    for at_once in [2u64, 10, 25, 50] {
        let mut store = Store::new(64, 100, HOUR, 50, WhenFull::Admit);
        let mut through = [0u64; KEYS as usize];
        for minute in 0..HOURS * 60 {
            for (of, through) in through.iter_mut().enumerate() {
                for turn in 0..5 {
                    let first = (minute * 5 + turn) * at_once;
                    let numbers: Vec<u64> = (first..first + at_once).collect();
                    let now = HOUR + minute * 60 * SECOND;
                    *through += if store.check(of as u64, now, &hashed(of as u64, &numbers)).0 { at_once } else { 0 };
                }
            }
        }
        let most = through.iter().max().copied().unwrap_or_default() as f64 / (50 + 100 * HOURS) as f64;
        assert!(most <= 1.25, "{at_once} at once: {most} of the rate");
    }
}
