//! The martingale estimator beside a HyperLogLog: a fifth less error, while one writer sees every key.
//!
//! **Idea.** A new key changes a register with a chance that the registers tell. When one changes at chance c, about 1/c new keys have come since the
//! last change: add that. What was seen before changes nothing, whenever it comes again.
//!
//! ```text
//!  chance     (1/m) Σ 2^−register = left / 2⁶⁴     a register of q + 1 counts nothing: it never changes
//!  left       Σ 2^(q − register): an integer, 2⁶⁴ at the start and never more; kept mod 2⁶⁴, so that the start is 0 and all of zeros is empty
//!  sum        the estimate, in 2^−16 keys
//!
//!  note(change)   sum = sum + 2⁸⁰ / left;   left = left − 2^(q − from) + 2^(q − to)
//! ```
//!
//! A sum that is full, or that a merge has made meaningless, is lost: both words say so from then on, and the registers alone tell.
//!
//! **Cost.** Two words; nothing on an addition that changes no register, one division on one that does.
//!
//! **Bound.** Unbiased; relative standard error √(ln 2 / m) = 0.833 / √m, against 1.04 / √m of the registers alone. Ends at 2⁴⁸ keys.
//! It needs the order of things: two sketches that were merged have no such estimate, only the registers'.
//!
//! **Source.** Cohen 2015, "All-distances sketches, revisited" (HIP); Ting 2014, "Streamed approximate counting of distinct elements".
//!
//! **Dropped.** A float for the sum: other numbers on other machines. Going on after a merge from the registers' estimate: unbiased as well, but its
//! error is that of the merge for as long as anybody looks.

use super::hyperloglog::{Change, HyperLogLog};

/// Bits behind the point of the sum.
const FRACTION: u32 = 16;

/// What is kept beside the registers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Martingale {
    /// 2⁶⁴ times the chance that a new key changes a register, mod 2⁶⁴.
    pub left: u64,
    /// Keys, in 2^−16.
    pub sum: u64,
}

impl Martingale {
    /// After a merge, and from 2⁴⁸ keys on.
    pub const LOST: Self = Self { left: 0, sum: u64::MAX };

    /// Notes what [`HyperLogLog::add`] changed: every change, in order.
    #[inline]
    pub fn note(&mut self, shape: HyperLogLog, change: Change) {
        if *self == Self::LOST {
            return;
        }
        let left = if self.left == 0 { 1 << 64 } else { u128::from(self.left) };
        let keys = ((1 << (64 + FRACTION)) + left / 2) / left;
        self.sum = self.sum.saturating_add(u64::try_from(keys).unwrap_or(u64::MAX));
        self.left = self.left.wrapping_sub(weight(shape, change.from)).wrapping_add(weight(shape, change.to));
        if self.sum == u64::MAX {
            *self = Self::LOST;
        }
    }

    /// How many different keys were added, about; `None` when it is lost.
    pub fn estimate(&self) -> Option<f64> {
        (*self != Self::LOST).then(|| self.sum as f64 / f64::from(1u32 << FRACTION))
    }

    /// Whether it can stand beside these registers.
    pub fn is_sound(&self, shape: HyperLogLog, words: &[u64]) -> bool {
        let weights = (0..shape.registers()).map(|number| weight(shape, shape.register(words, number)));
        *self == Self::LOST || self.sum < u64::MAX && self.left == weights.fold(0, u64::wrapping_add)
    }
}

/// 2^(q − register), and nothing for the longest run.
#[inline]
pub(crate) fn weight(shape: HyperLogLog, register: u8) -> u64 {
    if register == shape.longest() { 0 } else { 1 << (shape.longest() - 1 - register) }
}
