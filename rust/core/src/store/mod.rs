//! What may refuse. Every store is a description of a table; the memory is the region's.
//!
//! Three verbs: `lines` says where a key may be, so that its lines can be prefetched before the lock; `consult` reads there; `charge` writes.
//! A store knows no mail, no text and no other store's memory. Time comes in as engine time, in microseconds.

pub mod fan_out;
pub mod gcra;
pub mod known;
pub mod pace;
mod ring;
pub mod window;

/// What a store says to one charge.
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
    /// The first engine time at which it fits, when asked at `now_us`; `u64::MAX` when never.
    #[must_use]
    pub fn earliest_us(self, now_us: u64) -> u64 {
        match self {
            Self::Fits => now_us,
            Self::From(us) => us,
            Self::Never => u64::MAX,
        }
    }
}
