//! `scale`: one number that multiplies every rate, burst and cap. Kept in millionths, so that the product is exact.

use super::field::{FieldValue, Wrong};
use super::quantity::MOST;

const MILLION: u64 = 1_000_000;

/// A factor, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) millionths: u64,
}

impl Scale {
    pub(super) const ONE: Self = Self { millionths: MILLION };

    pub(super) fn read(value: &FieldValue) -> Result<Self, Wrong> {
        let allowed = || Wrong::allowed("a number from 0.000001 to 1,000,000");
        let millionths = match value {
            FieldValue::Integer(whole) => u64::try_from(*whole).ok().and_then(|whole| whole.checked_mul(MILLION)),
            FieldValue::Float(number) => Some(number * MILLION as f64)
                .filter(|millionths| (0.5..=(MILLION * MILLION) as f64).contains(millionths))
                .map(|millionths| millionths.round() as u64),
            _ => None,
        };
        let millionths = millionths.filter(|millionths| (1..=MILLION * MILLION).contains(millionths));
        Ok(Self { millionths: millionths.ok_or_else(allowed)? })
    }

    /// `amount` multiplied and rounded down, to one at least; `None` above 2⁵⁰.
    pub(super) fn of(self, amount: u64) -> Option<u64> {
        let scaled = u128::from(amount) * u128::from(self.millionths) / u128::from(MILLION);
        u64::try_from(scaled.max(1)).ok().filter(|scaled| *scaled <= MOST)
    }

    /// As it is written: `2.5`
    pub(super) fn text(self) -> String {
        let (whole, rest) = (self.millionths / MILLION, self.millionths % MILLION);
        format!("{whole}.{rest:06}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}
