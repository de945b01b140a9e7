//! Integers for time: microseconds from outside, ticks inside a table.
//!
//! A table's tick is W/(L·k): its clock is scaled to its limit, so that a charge is a whole number of ticks and nothing is rounded.
//! `ticks(t) = ⌊t·n/d⌋`. The division is a multiplication by m = ⌈2ˢ·n/d⌉: with e = m·d − 2ˢ·n < d, the result is exact
//! for every t with t·e < 2ˢ (Granlund & Montgomery 1994, theorem 4.2); [`TickClock::new`] takes the largest s for which m fits and checks just that.

/// Times are below 2⁶⁰ µs, 36,000 years of forward steps: there [`TickClock`] are exact.
pub const MAX_US: u64 = (1 << 60) - 1;

/// A time in ticks of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ticks(pub(crate) u64);

/// The clock of a table: n ticks in d microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickClock {
    n: u128,
    d: u128,
    m: u128,
    shift: u32,
}

impl TickClock {
    /// `n` ticks in `d` microseconds.
    ///
    /// `None` when it cannot be exact for all of engine time: more than eight ticks a microsecond, or n or d of more than 62 bits after reduction.
    pub fn new(n: u128, d: u128) -> Option<Self> {
        let divisor = gcd(n, d);
        let (n, d) = (n.checked_div(divisor)?, d.checked_div(divisor)?);
        if n == 0 || n >= 1 << 62 || d >= 1 << 62 || n > 8 * d {
            return None;
        }
        (64..=124).rev().find_map(|shift| {
            let m = scaled(n, d, shift)?;
            let error = m.remainder_above(n, d, shift);
            (error.checked_mul(u128::from(MAX_US))? < 1 << shift).then_some(Self { n, d, m: m.0, shift })
        })
    }

    /// TickClock that have passed at `us`, rounded down.
    #[inline]
    pub fn ticks(&self, us: u64) -> u64 {
        let us = u128::from(us.min(MAX_US));
        let low = us * (self.m & u128::from(u64::MAX));
        let high = us * (self.m >> 64);
        ((high + (low >> 64)) >> (self.shift - 64)) as u64
    }

    /// The first microsecond at which `ticks` have passed.
    pub fn micros(&self, ticks: u64) -> u64 {
        let us = (u128::from(ticks) * self.d).div_ceil(self.n);
        u64::try_from(us).unwrap_or(u64::MAX)
    }
}

/// ⌈2ˢ·n/d⌉.
struct Multiplier(u128);

/// ⌈2ˢ·n/d⌉ by long division, bit by bit, since 2ˢ·n does not fit; `None` when the result does not either.
fn scaled(n: u128, d: u128, shift: u32) -> Option<Multiplier> {
    let (mut quotient, mut rest) = (n / d, n % d);
    for _ in 0..shift {
        if quotient >= 1 << 126 {
            return None;
        }
        rest *= 2;
        quotient = quotient * 2 + rest / d;
        rest %= d;
    }
    Some(Multiplier(quotient + u128::from(rest > 0)))
}

impl Multiplier {
    /// m·d − 2ˢ·n, in wrapping arithmetic: it is below d, so the low 128 bits are all of it.
    fn remainder_above(&self, n: u128, d: u128, shift: u32) -> u128 {
        self.0.wrapping_mul(d).wrapping_sub(n << shift)
    }
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
        fn ticks_are_the_exact_floor_and_micros_their_inverse(n in 1u128..1 << 40, d in 1u128..1 << 50, us in 0..=MAX_US) {
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
        fn every_limit_that_people_write_has_an_exact_clock(amount in 1u128..100_000_000, seconds in 1u128..31_622_400, k in 1u128..1 << 23) {
            prop_assume!(amount * k <= 8 * seconds * 1_000_000);
            prop_assert!(TickClock::new(amount * k, seconds * 1_000_000).is_some());
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
