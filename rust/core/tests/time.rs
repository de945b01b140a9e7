//! The clock of a table against exact division.

use proptest::prelude::*;
use throttle_core::time::{MAX_US, TickClock};

proptest! {
    #[test]
    fn ticks_are_the_exact_floor_and_micros_their_inverse(
        n in prop_oneof![Just(1u128), 1u128..100, 1u128..1 << 40], d in 1u128..1 << 50, us in 0..=MAX_US,
    ) {
        if let Some(clock) = TickClock::new(n, d) {
            let exact = u128::from(us) * n / d;
            prop_assert_eq!(u128::from(clock.ticks(us)), exact);
            let ticks = clock.ticks(us);
            let first = clock.micros(ticks);
            prop_assert!(first <= us && clock.ticks(first) == ticks);
            prop_assert!(first == 0 || clock.ticks(first - 1) < ticks);
        }
    }

    #[test]
    fn every_limit_that_people_write_has_an_exact_clock(
        amount in 1u128..100_000_000, seconds in 1u128..31_622_400, k in 1u128..1 << 23,
    ) {
        prop_assume!(amount * k <= 8 * seconds * 1_000_000);
        prop_assert!(TickClock::new(amount * k, seconds * 1_000_000).is_some());
    }
}

#[test]
fn one_multiplication_is_enough_for_panes_and_units() {
    for d in (2..2_000).chain([18_900_000, 2_700_000, 720_000_000, 86_400_000_000, (1 << 59) + 1]) {
        let clock = TickClock::new(1, d).expect("a clock of one tick");
        let last = MAX_US - (u128::from(MAX_US + 1) % d) as u64;
        for us in [0, 1, last - 1, last, MAX_US] {
            assert_eq!(u128::from(clock.ticks(us)), u128::from(us) / d, "{us} / {d}");
        }
    }
}

#[test]
fn more_than_eight_ticks_a_microsecond_is_refused() {
    assert!(TickClock::new(8, 1).is_some());
    assert_eq!(TickClock::new(9, 1), None);
    assert_eq!(TickClock::new(0, 1), None);
    assert_eq!(TickClock::new(1, 0), None);
}
