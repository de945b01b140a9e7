//! Integers for time: microseconds from outside, ticks inside a table.
//!
//! A table's tick is W/(L·k): its clock is scaled to its limit, so that a charge is a whole number of ticks and nothing
//! is rounded. `ticks(t) = ⌊t·n/d⌋`, and the division is a multiplication by the reciprocal m = ⌈2ˢ·n/d⌉.
//!
//! **Exact.** With e = m·d − 2ˢ·n < d, ⌊t·m/2ˢ⌋ is ⌊t·n/d⌋ for every t with t·e < 2ˢ (Granlund and Montgomery 1994,
//! theorem 4.2). [`TickClock::new`] looks for an s that satisfies this for all of engine time: first one whose m has at
//! most 64 bits, so that one multiplication does, which it always finds where n = 1; else the largest whose m has at
//! most 126 bits.

/// Engine time stays below 2⁶⁰ µs, 36,000 years of forward steps: up to there every [`TickClock`] is exact.
pub const MAX_US: u64 = (1 << 60) - 1;

/// A time in ticks of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticks(pub(crate) u64);

/// The clock of a table: n ticks in d microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickClock {
    n: u128,
    d: u128,
    /// m, in two words; the upper one is zero for most clocks.
    upper: u64,
    lower: u64,
    /// s − 64.
    shift: u32,
}

impl TickClock {
    /// The clock of `n` ticks in `d` microseconds.
    ///
    /// `None` when it cannot be exact for all of engine time: more than eight ticks a microsecond, or n or d of more
    /// than 62 bits after reduction.
    pub fn new(n: u128, d: u128) -> Option<Self> {
        let divisor = gcd(n, d);
        let (n, d) = (n.checked_div(divisor)?, d.checked_div(divisor)?);
        if n == 0 || n >= 1 << 62 || d >= 1 << 62 || n > 8 * d {
            return None;
        }
        let with = |bits: u32| {
            (64..=124).rev().find_map(|shift| {
                let m = reciprocal(n, d, shift).filter(|&m| m < 1 << bits)?;
                // It is below d, so the low 128 bits are all of it.
                let error = m.wrapping_mul(d).wrapping_sub(n << shift);
                let is_exact = error.checked_mul(u128::from(MAX_US))? < 1 << shift;
                is_exact.then_some(Self { n, d, upper: (m >> 64) as u64, lower: m as u64, shift: shift - 64 })
            })
        };
        with(64).or_else(|| with(126))
    }

    /// Ticks that have passed at `us`, rounded down.
    #[inline]
    pub fn ticks(&self, us: u64) -> u64 {
        let us = u128::from(us.min(MAX_US));
        let shift = self.shift % 64;
        let carried = (us * u128::from(self.lower)) >> 64;
        if self.upper == 0 {
            return carried as u64 >> shift;
        }
        ((us * u128::from(self.upper) + carried) >> shift) as u64
    }

    /// The first microsecond at which `ticks` have passed.
    pub fn micros(&self, ticks: u64) -> u64 {
        let us = (u128::from(ticks) * self.d).div_ceil(self.n);
        u64::try_from(us).unwrap_or(u64::MAX)
    }
}

/// ⌈2ˢ·n/d⌉ by long division, bit by bit, since 2ˢ·n does not fit; `None` when the result has more than 126 bits.
fn reciprocal(n: u128, d: u128, shift: u32) -> Option<u128> {
    let (mut quotient, mut rest) = (n / d, n % d);
    for _ in 0..shift {
        if quotient >= 1 << 126 {
            return None;
        }
        (quotient, rest) = (quotient * 2, rest * 2);
        if rest >= d {
            (quotient, rest) = (quotient + 1, rest - d);
        }
    }
    Some(quotient + u128::from(rest > 0))
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            assert_eq!(clock.upper, 0, "{d}");
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
}
