//! What a store says to one charge.

/// Whether a charge fits, or from when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is room now.
    Fits,
    /// There will be room at this engine time, in microseconds, and not before, if nothing else is charged.
    From(u64),
    /// There can never be: it costs more than the burst, or than a window holds.
    Never,
}

impl Verdict {
    /// The first engine time at which the charge fits, when asked at `now_us`; `u64::MAX` when never.
    #[must_use]
    pub fn earliest_us(self, now_us: u64) -> u64 {
        match self {
            Self::Fits => now_us,
            Self::From(us) => us,
            Self::Never => u64::MAX,
        }
    }
}
