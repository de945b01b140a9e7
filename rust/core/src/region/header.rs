//! The first page of the region: what it is, engine time, how often its policy was changed and whether it is in shadow mode, and a counter a limit.
//!
//! Engine time never falls. It starts at zero, so a clock that starts below zero is a step back like any other.

use crate::time::MAX_US;

/// What the first word says, for whoever maps the region into another process.
pub(super) const MAGIC: u64 = u64::from_le_bytes(*b"throttle");

/// Layout version, likewise.
pub(super) const VERSION: u64 = 1;

/// A step back of the clock of this much or more shifts the offset; a smaller one stands still. One second.
const STEP_US: u64 = 1_000_000;

/// A time handed in, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// Read from the clock: engine time follows its pace, whatever its steps.
    Clock(i64),
    /// Stated by the caller: taken as it is, but never back.
    Stated(i64),
}

/// Engine time and where it stands against the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Engine time at the last check, µs.
    pub last_us: u64,
    /// What is added to the clock, µs: the sum of its steps back.
    pub offset_us: i64,
}

impl Epoch {
    /// What `now` reads in engine time, µs: behind [`Epoch::last_us`] where a clock went back less than a step, or a stated time lies back.
    pub fn reads(self, now: Now) -> i64 {
        match now {
            Now::Clock(us) => us.saturating_add(self.offset_us),
            Now::Stated(us) => us,
        }
    }

    /// Engine time at `now`, and the epoch as it is from then on.
    #[must_use]
    pub fn at(self, now: Now) -> Self {
        let (wanted, follows) = (self.reads(now), matches!(now, Now::Clock(_)));
        let reached = wanted.max(0).unsigned_abs().min(MAX_US);
        let last = i64::try_from(self.last_us).unwrap_or(i64::MAX);
        let behind = last.saturating_sub(wanted);
        if behind <= 0 {
            return Self { last_us: reached, ..self };
        }
        let stepped = follows && behind.unsigned_abs() >= STEP_US;
        let shift = if stepped { behind } else { 0 };
        Self { offset_us: self.offset_us.saturating_add(shift), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Epoch = Epoch { last_us: 0, offset_us: 0 };

    #[test]
    fn a_small_step_back_stands_still_and_a_large_one_shifts_the_offset() {
        let at_ten = START.at(Now::Clock(10_000_000));
        assert_eq!(at_ten.at(Now::Clock(9_000_001)), at_ten);
        let stepped = at_ten.at(Now::Clock(9_000_000));
        assert_eq!(stepped, Epoch { last_us: 10_000_000, offset_us: 1_000_000 });
        assert_eq!(stepped.at(Now::Clock(9_000_001)).last_us, 10_000_001);
    }

    #[test]
    fn a_stated_time_is_clamped_and_leaves_the_offset() {
        let at_ten = START.at(Now::Clock(10_000_000));
        assert_eq!(at_ten.at(Now::Stated(-5)), at_ten);
        assert_eq!(at_ten.at(Now::Stated(11_000_000)), Epoch { last_us: 11_000_000, offset_us: 0 });
    }

    #[test]
    fn any_distance_keeps_engine_time_rising_and_bounded() {
        let mut epoch = START;
        for us in [i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN, 1_637_889_600_000_000] {
            for now in [Now::Clock(us), Now::Stated(us)] {
                let next = epoch.at(now);
                assert!(next.last_us >= epoch.last_us && next.last_us <= MAX_US, "{epoch:?} {now:?} {next:?}");
                epoch = next;
            }
        }
    }
}
