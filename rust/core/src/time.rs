//! Integers for time: microseconds from outside, ticks inside a table.
//!
//! A table's tick is W/(L·k): its clock is scaled to its limit, so that a charge is a whole number of ticks and nothing
//! is rounded. `ticks(t) = ⌊t·n/d⌋`, and the division is a multiplication by the reciprocal m = ⌈2ˢ·n/d⌉.
//!
//! **Exact.** With e = m·d − 2ˢ·n < d, ⌊t·m/2ˢ⌋ is ⌊t·n/d⌋ for every t with t·e < 2ˢ (Granlund and Montgomery 1994,
//! theorem 4.2). [`TickClock::new`] looks for an s that satisfies this for all of engine time. It first tries those
//! whose m has at most 64 bits, so that one multiplication is enough; where n = 1 there always is one. Else it takes
//! the largest s whose m has at most 126 bits.

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
    /// Makes the clock of `n` ticks in `d` microseconds.
    ///
    /// Returns `None` when it cannot be exact for all of engine time: with more than eight ticks in a microsecond, or
    /// when n or d has more than 62 bits after reduction.
    pub fn new(n: u128, d: u128) -> Option<Self> {
        let divisor = gcd(n, d);
        let (n, d) = (n.checked_div(divisor)?, d.checked_div(divisor)?);
        if n == 0 || n >= 1 << 62 || d >= 1 << 62 || n > 8 * d {
            return None;
        }
        let with = |bits: u32| {
            (64..=124).rev().find_map(|shift| {
                let m = reciprocal(n, d, shift).filter(|&m| m < 1 << bits)?;
                // The error is below d, so its low 128 bits are enough.
                let error = m.wrapping_mul(d).wrapping_sub(n << shift);
                let is_exact = error.checked_mul(u128::from(MAX_US))? < 1 << shift;
                is_exact.then_some(Self { n, d, upper: (m >> 64) as u64, lower: m as u64, shift: shift - 64 })
            })
        };
        let clock = with(64).or_else(|| with(126))?;
        debug_assert!(
            n > 1 || d == 1 || clock.upper == 0,
            "one multiplication is enough when a tick is a whole number of microseconds"
        );
        Some(clock)
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

/// Returns ⌈2ˢ·n/d⌉ by long division, bit by bit, since 2ˢ·n does not fit; `None` when the result has more than 126
/// bits.
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
