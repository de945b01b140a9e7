//! The GCRA table against a dictionary of exact buckets.

mod oracle;

use oracle::{Bucket, Buckets, key};
use proptest::prelude::*;
use throttle_core::key::Key;
use throttle_core::policy::{Rate, WhenFull};
use throttle_core::region::Region;
use throttle_core::store::gcra::Gcra;
use throttle_core::store::gcra::GcraRate;
use throttle_core::store::{SlotReservations, Verdict};

fn buckets(pages: u32, rate: Rate, burst: u64, when_full: WhenFull) -> (Region, Gcra, Buckets<u64>) {
    let (region, tables) = Region::new(&[pages]).expect("as much memory as that");
    let quota = GcraRate::new(rate, burst).expect("a rate that a clock can keep");
    let bucket = Bucket { amount: rate.amount.into(), period_us: rate.period_us.into(), burst: burst.into() };
    (region, Gcra::new(tables[0], quota, when_full), Buckets::new(bucket))
}

fn consult(gcra: &Gcra, region: &Region, key: Key, now_us: u64, amount: u64) -> Verdict {
    gcra.consult(region, &gcra.table.candidates(key), gcra.ticks_at(now_us), amount, &mut SlotReservations::default()).0
}

fn charge(gcra: &Gcra, region: &mut Region, key: Key, now_us: u64, amount: u64) -> bool {
    let at = gcra.table.candidates(key);
    let now = gcra.ticks_at(now_us);
    let (_, spot) = gcra.consult(region, &at, now, amount, &mut SlotReservations::default());
    gcra.charge(region, &at, spot, now, amount)
}

fn rates() -> impl Strategy<Value = (Rate, u64)> {
    let periods = prop_oneof![Just(1u64), Just(60), Just(600), Just(3_600), Just(86_400), Just(30 * 86_400)];
    let amounts = prop_oneof![1u64..20, 1u64..1_000_000];
    (amounts, periods, prop_oneof![1u64..6, 1u64..2_000])
        .prop_map(|(amount, seconds, burst)| (Rate { amount, period_us: seconds * 1_000_000, sized: false }, burst))
}

/// Pauses of every size that matters: none, about one charge, about a whole burst, about 2³² ticks and multiples.
fn pauses() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0u64),
        0u64..10,
        0u64..2_000_000,
        0u64..4_000_000_000,
        (1u64..4, 0u64..4).prop_map(|(wraps, off)| (wraps << 32) + off - 2),
        Just(10 * 365 * 86_400_000_000),
    ]
}

proptest! {
    /// P3: whoever fits the exact bucket is admitted. P4: what is admitted never exceeds burst + rate · t by more than
    /// a tick.
    /// P10: refused until the time told, admitted at it.
    #[test]
    fn a_key_gets_its_quota_and_not_a_tick_more(
        (rate, burst) in rates(),
        start in prop_oneof![Just(0u64), Just(1_637_889_600_000_000)],
        steps in prop::collection::vec((pauses(), prop_oneof![Just(1u64), 1u64..5, 1u64..1_000], 0u64..3), 1..200),
    ) {
        let (mut region, gcra, mut exact) = buckets(16, rate, burst, WhenFull::Refuse);
        let per_unit = gcra.quota.price(1) as u128;
        let mut now = start;
        for (pause, cost, who) in steps {
            now += pause;
            let verdict = consult(&gcra, &region, key(who), now, cost);
            if exact.fits(&who, now, cost) {
                prop_assert_eq!(verdict, Verdict::Fits, "an innocent is refused");
            }
            match verdict {
                Verdict::Fits => {
                    prop_assert!(charge(&gcra, &mut region, key(who), now, cost));
                    exact.charge(who, now, cost);
                    let over = exact.level(&who, now).saturating_sub(exact.bucket.burst * exact.bucket.period_us);
                    prop_assert!(over * per_unit <= exact.bucket.period_us, "more than one tick over: {}", over);
                }
                Verdict::From(until) => {
                    prop_assert!(until > now);
                    prop_assert!(
                        matches!(consult(&gcra, &region, key(who), until - 1, cost), Verdict::From(u) if u == until),
                    );
                    prop_assert_eq!(consult(&gcra, &region, key(who), until, cost), Verdict::Fits);
                }
                Verdict::Never => prop_assert!(cost > burst),
            }
        }
    }
}

#[test]
fn a_cost_over_the_burst_never_fits_and_one_of_the_burst_does() {
    let (region, gcra, _) = buckets(16, Rate { amount: 100, period_us: 60_000_000, sized: false }, 10, WhenFull::Admit);
    assert_eq!(consult(&gcra, &region, key(1), 0, 11), Verdict::Never);
    assert_eq!(consult(&gcra, &region, key(1), 0, 10), Verdict::Fits);
    assert_eq!(consult(&gcra, &region, key(1), 0, u64::MAX), Verdict::Never);
}

#[test]
fn a_full_table_never_evicts_and_says_when_a_slot_is_free() {
    let rate = Rate { amount: 1, period_us: 60_000_000, sized: false };
    let (mut region, gcra, _) = buckets(1, rate, 1, WhenFull::Refuse);
    let mut tracked = Vec::new();
    for number in 0..2_000 {
        match consult(&gcra, &region, key(number), 1_000_000, 1) {
            Verdict::Fits => {
                assert!(charge(&gcra, &mut region, key(number), 1_000_000, 1));
                tracked.push(number);
            }
            verdict => assert_eq!(verdict, Verdict::From(61_000_000)),
        }
    }
    assert!(tracked.len() > 400, "448 slots hold {}", tracked.len());
    for number in tracked {
        assert_eq!(consult(&gcra, &region, key(number), 60_999_999, 1), Verdict::From(61_000_000));
        assert_eq!(consult(&gcra, &region, key(number), 61_000_000, 1), Verdict::Fits);
    }
    assert_eq!(gcra.used(&region, 0, 61_000_000), 0, "a drained slot is free");
}

#[test]
fn admit_counts_nothing_for_a_key_without_room_and_refuse_promises_no_slot_twice() {
    let rate = Rate { amount: 1, period_us: 60_000_000, sized: false };
    let (mut region, gcra, _) = buckets(1, rate, 1, WhenFull::Admit);
    let untracked = (0..2_000).filter(|&number| !charge(&gcra, &mut region, key(number), 0, 1)).count();
    assert_eq!(2_000 - untracked as u64, gcra.used(&region, 0, 0));
    let (region, gcra, _) = buckets(1, rate, 1, WhenFull::Refuse);
    let mut promised = SlotReservations::with_room(15);
    let verdicts =
        [(); 15].map(|()| gcra.consult(&region, &gcra.table.candidates(key(1)), gcra.ticks_at(0), 1, &mut promised).0);
    assert_eq!(verdicts[..14], [Verdict::Fits; 14]);
    assert_eq!(verdicts[14], Verdict::Never, "two lines of seven slots");
}

/// Two charges of one check were consulted before either was charged. Whether a line has drained is told by its stamp
/// alone, so no level may be above the capacity.
#[test]
fn two_charges_that_were_consulted_together_fill_a_bucket_and_no_more() {
    let rate = Rate { amount: 10, period_us: 10_000_000, sized: false };
    let (mut region, gcra, _) = buckets(16, rate, 10, WhenFull::Admit);
    charge(&gcra, &mut region, key(1), 0, 1);
    let (at, now) = (gcra.table.candidates(key(1)), gcra.ticks_at(500_000));
    let (verdict, found) = gcra.consult(&region, &at, now, 6, &mut SlotReservations::default());
    assert_eq!(verdict, Verdict::Fits);
    for _ in 0..2 {
        assert!(gcra.charge(&mut region, &at, found, now, 6));
    }
    let full = consult(&gcra, &region, key(1), 500_000, 10);
    assert_eq!(full, Verdict::From(10_500_000), "the whole burst, and no debt");
    assert_eq!(consult(&gcra, &region, key(1), 10_500_000, 10), Verdict::Fits);
}

/// A free slot lies in the emptier line, and a key with a slot is found in either line.
#[test]
fn keys_of_one_page_fill_both_of_their_lines_and_are_found_there() {
    /// A whole number of the limit's ticks.
    const PAUSE_US: u64 = 60_000_000 / 64;
    let rate = Rate { amount: 1, period_us: 60_000_000, sized: false };
    let (mut region, gcra, _) = buckets(1, rate, 1, WhenFull::Admit);
    let same_lines: Vec<Key> = (0..14).map(|number| Key(7 << 32 | (number + 1))).collect();
    for (nth, &key) in same_lines.iter().enumerate() {
        let lines = gcra
            .table
            .candidates(key)
            .lines
            .map(|line| region.line(line).slots.iter().filter(|&&slot| slot != 0).count());
        assert_eq!(lines, [nth.div_ceil(2), nth / 2], "the emptier line is taken, the first one of equals");
        assert!(charge(&gcra, &mut region, key, nth as u64 * PAUSE_US, 1));
    }
    for (nth, &key) in same_lines.iter().enumerate() {
        assert_eq!(consult(&gcra, &region, key, 14 * PAUSE_US, 1), Verdict::From(60_000_000 + nth as u64 * PAUSE_US));
    }
    assert!(!charge(&gcra, &mut region, Key(7 << 32 | 99), 14 * PAUSE_US, 1), "both lines are full");
}

#[test]
fn large_bursts_are_kept_in_units_rounded_up() {
    let gib = 1u64 << 30;
    let (mut region, gcra, _) =
        buckets(16, Rate { amount: gib, period_us: 3_600_000_000, sized: true }, gib, WhenFull::Refuse);
    assert_eq!(gcra.quota.unit, 128);
    let mut sent = 0;
    while consult(&gcra, &region, key(1), 0, 1_000_001) == Verdict::Fits {
        charge(&gcra, &mut region, key(1), 0, 1_000_001);
        sent += 1_000_001;
    }
    assert!(sent <= gib && sent > gib - 1_100_000, "{sent} of {gib}");
}

#[test]
fn less_than_a_unit_costs_a_unit() {
    let rate = Rate { amount: 1 << 30, period_us: 3_600_000_000, sized: true };
    let quota = GcraRate::new(rate, 1 << 30).expect("a rate that a clock can keep");
    assert_eq!(quota.unit, 128);
    assert_eq!(
        [0, 1, 127, 128, 129].map(|bytes| quota.price(bytes)),
        [0, 1, 1, 1, 2].map(|units| units * quota.price(128))
    );
}
