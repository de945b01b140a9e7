//! A rate limit's numbers in ticks of its own clock, so that a charge is whole: `gcra` says why.

use super::params::Rate;
use crate::time::TickClock;

/// Most ticks that a bucket holds.
const CAPACITY_MAX: u64 = 1 << 23;

/// A rate limit's numbers, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcraRate {
    ticks: TickClock,
    /// What one charge of `unit` costs.
    per_unit: u64,
    /// How much one unit is: 1 but for bursts over 2²³.
    unit: u64,
    /// What a bucket holds.
    capacity: u64,
}

impl GcraRate {
    /// `None` when no clock of this crate can keep it: more than eight million a second with a burst too small for it.
    pub fn new(rate: Rate, burst: u64) -> Option<Self> {
        let unit = burst.div_ceil(CAPACITY_MAX).max(rate.amount.div_ceil(rate.period_us.checked_mul(8)?)).max(1);
        let units = burst / unit;
        let useful = rate.period_us.div_ceil(rate.amount.max(1));
        let per_unit = if unit > 1 { 1 } else { (CAPACITY_MAX / units.max(1)).min(useful).max(1) };
        let ticks = TickClock::new(
            u128::from(rate.amount) * u128::from(per_unit),
            u128::from(rate.period_us) * u128::from(unit),
        )?;
        (units > 0).then_some(Self { ticks, per_unit, unit, capacity: units * per_unit })
    }

    /// The price of `amount`, in ticks; saturates far above any capacity.
    #[inline]
    pub fn price(&self, amount: u64) -> u64 {
        let units = if self.unit == 1 { amount } else { amount.div_ceil(self.unit) };
        units.saturating_mul(self.per_unit)
    }

    /// How long an empty bucket takes to drain again after one charge of `amount`, in microseconds.
    pub fn occupied_us(&self, amount: u64) -> u64 {
        self.ticks.micros(self.price(amount).min(self.capacity))
    }

    /// How much one unit is.
    pub fn unit(&self) -> u64 {
        self.unit
    }

    /// What a bucket holds, in ticks: at most 2²³.
    #[inline]
    pub fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The clock of its ticks.
    #[inline]
    pub fn clock(&self) -> &TickClock {
        &self.ticks
    }
}
