//! HyperLogLog: estimates how many different keys were added, with six bits for each register. The optional martingale
//! estimator is here too.
//!
//! **Idea.** Among n uniform keys the longest run of leading zeros is about log₂ n. Each of m = 2ᵖ registers sees 1/m
//! of the keys and keeps its longest run; a mean over all registers estimates n. A key that is added twice changes
//! nothing.
//!
//! ```text
//!  key        63 ──── 64−p ┊ 63−p ───────────────── 0
//!             register       the run: leading zeros of these q = 64 − p bits, plus one: 1 … q + 1
//!
//!  words      register i lies in bits 6 i … 6 i + 5, across the words' edges: 64 registers in 6 words
//!             0 is "nothing yet"
//!
//!  add(key)       register = max(register, run)
//!  merge(other)   register by register, the higher one: exactly the sketch that had seen both streams
//!  estimate       C[k] = registers that hold k
//!                 z = m τ(1 − C[q+1] / m);  for k = q … 1: z = (z + C[k]) / 2;  z = z + m σ(C[0] / m)
//!                 n = m² / (2 ln 2 · z)
//!                 σ(x) = x + Σ x^(2^k) 2^(k−1),  τ(x) = (1 − x − Σ (1 − x^(2^−k))² 2^−k) / 3,  k from 1
//! ```
//!
//! σ stands for the registers that would hold 0, −1, −2, … if a run could be that short, τ for those beyond q. With
//! both the estimate is good from one key to 10¹⁹, without tables and without switching between estimators.
//!
//! **Martingale.** While one writer sees every key, a second estimate next to the registers has an error that is a
//! fifth smaller. The registers determine the chance c that a new key changes one of them. When one changes, about 1/c
//! new keys have come since the last change, so 1/c is added to the estimate.
//!
//! ```text
//!  chance     (1/m) Σ 2^−register = left / 2⁶⁴     a register of q + 1 counts nothing: it never changes
//!  left       Σ 2^(q − register): an integer, 2⁶⁴ at the start and never more
//!             it is kept mod 2⁶⁴, so that the start is 0 and a memory of zeros is empty
//!  sum        the estimate, in 2^−16 keys
//!
//!  note(change)   sum = sum + 2⁸⁰ / left;   left = left − 2^(q − from) + 2^(q − to)
//! ```
//!
//! After a merge, and when the sum is full, this estimate is lost: both words mark that ([`Martingale::LOST`]), and
//! only the registers remain.
//!
//! **Cost.** An addition: one or two words, and one division when it changes a register. An estimate: every word.
//! `48 · ⌈m / 64⌉` bytes from p = 6 on: 12 KiB at p = 14; two words more for the martingale.
//!
//! **Bound.** Relative standard error 1.04 / √m from a few m keys on, less below: 0.81 % at p = 14. The martingale
//! estimate is unbiased, with a relative standard error of √(ln 2 / m) = 0.833 / √m, up to 2⁴⁸ keys.
//!
//! **Source.** Flajolet, Fusy, Gandouet and Meunier 2007; Ertl 2017, "New cardinality estimation algorithms for
//! HyperLogLog sketches", the improved raw estimator (algorithm 6 there). Martingale: Cohen 2015, "All-distances
//! sketches, revisited" (HIP); Ting 2014, "Streamed approximate counting of distinct elements".
//!
//! **Dropped.** The tables of bias corrections of HyperLogLog++: two hundred numbers a precision, and a step where the
//! estimators change. Ertl's maximum likelihood estimator: the same error within a percent, and a search for a root.
//! Four bits a register with a base and exceptions: a third less memory, and an addition that may have to move all
//! registers; under a lock that is too long. A list of keys while they are few: exact up to some two thousand, where
//! here the error is half a percent, but a second representation and a step between them. Ten registers in a word:
//! easier to read, but a line of 64 bytes then has no room for 64 of them and anything else. A float for the
//! martingale's sum: other numbers on other machines. Going on after a merge from the registers' estimate: also
//! unbiased, but it keeps the error of the merge for good.

use bytemuck::{Pod, Zeroable};

use crate::bitset::{field, set_field};
use crate::key::Key;

/// Bits of a register.
const BITS: usize = 6;

/// The shape of a sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HyperLogLog {
    /// log₂ of the number of registers.
    pub precision: u32,
}

/// A register that an addition has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The value before the change.
    pub from: u8,
    /// The value after the change.
    pub to: u8,
}

impl HyperLogLog {
    /// 64 registers in six words, with an error of a tenth. A line has room for two more words.
    pub const SMALL: Self = Self { precision: 6 };

    /// 2^`precision` registers; `None` for a precision outside of 4 to 18.
    pub fn new(precision: u32) -> Option<Self> {
        (4..=18).contains(&precision).then_some(Self { precision })
    }

    /// Registers: m.
    pub fn registers(&self) -> usize {
        1 << self.precision
    }

    /// Words of memory.
    pub fn words(&self) -> usize {
        (self.registers() * BITS).div_ceil(64)
    }

    /// The longest run that is counted as such: q + 1.
    pub fn longest(&self) -> u8 {
        (64 - self.precision + 1) as u8
    }

    /// The register that `key` may raise, and its run.
    pub fn split(&self, key: Key) -> (usize, u8) {
        // The rotation moves the register's bits to the low end. Setting the highest of them ends a run of q zeros.
        let turned = key.0.rotate_left(self.precision);
        let run = (turned | 1 << (self.precision - 1)).leading_zeros() as u8 + 1;
        (turned as usize & (self.registers() - 1), run)
    }

    /// Adds `key`; returns the change it made, if any.
    pub fn add(&self, words: &mut [u64], key: Key) -> Option<Change> {
        self.check(words);
        let (number, run) = self.split(key);
        let from = self.register(words, number);
        (run > from).then(|| {
            set_register(words, number, run);
            Change { from, to: run }
        })
    }

    /// The register with this number, below `registers`.
    pub fn register(&self, words: &[u64], number: usize) -> u8 {
        field(words, number * BITS, BITS as u32) as u8
    }

    /// Estimates how many different keys were added.
    pub fn estimate(&self, words: &[u64]) -> f64 {
        self.check(words);
        self.estimate_of((0..self.registers()).map(|number| self.register(words, number)))
    }

    /// The estimate that these registers give.
    pub fn estimate_of(&self, registers: impl Iterator<Item = u8>) -> f64 {
        let mut counts = [0u32; 64];
        registers.for_each(|register| counts[usize::from(register & 63)] += 1);
        let m = self.registers() as f64;
        let longest = usize::from(self.longest());
        let mut z = m * tau(1.0 - f64::from(counts[longest]) / m);
        for &count in counts[1..longest].iter().rev() {
            z = (z + f64::from(count)) / 2.0;
        }
        z += m * sigma(f64::from(counts[0]) / m);
        m * m / (2.0 * std::f64::consts::LN_2 * z)
    }

    /// Adds the keys of `others`, a sketch of the same shape and the same hash.
    pub fn merge(&self, words: &mut [u64], others: &[u64]) {
        self.check(words);
        self.check(others);
        for number in 0..self.registers() {
            let other = self.register(others, number);
            if other > self.register(words, number) {
                set_register(words, number, other);
            }
        }
    }

    /// Whether additions could have produced `words`: the right number of them, no register beyond the longest run, and
    /// nothing behind the last register.
    pub fn is_sound(&self, words: &[u64]) -> bool {
        let used = self.registers() * BITS % 64;
        words.len() == self.words()
            && (used == 0 || words[words.len() - 1] >> used == 0)
            && (0..self.registers()).all(|number| self.register(words, number) <= self.longest())
    }

    /// Returns 2^(q − register), and zero for the longest run.
    pub(crate) fn weight(&self, register: u8) -> u64 {
        if register == self.longest() { 0 } else { 1 << (self.longest() - 1 - register) }
    }

    fn check(&self, words: &[u64]) {
        assert_eq!(words.len(), self.words(), "words of a HyperLogLog sketch");
    }
}

fn set_register(words: &mut [u64], number: usize, value: u8) {
    set_field(words, number * BITS, BITS as u32, value.into());
}

/// Fraction bits of the sum.
const FRACTION: u32 = 16;

/// The martingale estimate, kept next to the registers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Martingale {
    /// 2⁶⁴ times the chance that a new key changes a register, mod 2⁶⁴.
    pub left: u64,
    /// Keys, in 2^−16.
    pub sum: u64,
}

impl Martingale {
    /// The value after a merge, and from 2⁴⁸ keys on: there is no estimate.
    pub const LOST: Self = Self { left: 0, sum: u64::MAX };

    /// Records a change by [`HyperLogLog::add`]. The caller passes every change, in order.
    pub fn note(&mut self, shape: HyperLogLog, change: Change) {
        if *self == Self::LOST {
            return;
        }
        let left = if self.left == 0 { 1 << 64 } else { u128::from(self.left) };
        let keys = ((1 << (64 + FRACTION)) + left / 2) / left;
        self.sum = self.sum.saturating_add(u64::try_from(keys).unwrap_or(u64::MAX));
        self.left = self.left.wrapping_sub(shape.weight(change.from)).wrapping_add(shape.weight(change.to));
        if self.sum == u64::MAX {
            *self = Self::LOST;
        }
    }

    /// Estimates how many different keys were added; `None` when the estimate is lost.
    pub fn estimate(&self) -> Option<f64> {
        (*self != Self::LOST).then(|| self.sum as f64 / f64::from(1u32 << FRACTION))
    }

    /// Whether this estimate can belong to these registers.
    pub fn is_sound(&self, shape: HyperLogLog, words: &[u64]) -> bool {
        let weights = (0..shape.registers()).map(|number| shape.weight(shape.register(words, number)));
        *self == Self::LOST || self.sum < u64::MAX && self.left == weights.fold(0, u64::wrapping_add)
    }
}

/// x + Σ x^(2^k) 2^(k−1): infinite at 1, where no register holds anything. The loop ends when a term no longer changes
/// the sum, after sixty terms at most.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut sum, mut factor) = (x, 1.0);
    loop {
        x *= x;
        let before = sum;
        sum += x * factor;
        factor *= 2.0;
        if sum == before {
            return sum;
        }
    }
}

/// (1 − x − Σ (1 − x^(2^−k))² 2^−k) / 3: zero at 0 and at 1. The loop ends as that of `sigma` does.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut sum, mut factor) = (1.0 - x, 1.0);
    loop {
        x = x.sqrt();
        let before = sum;
        factor /= 2.0;
        sum -= (1.0 - x) * (1.0 - x) * factor;
        if sum == before {
            return sum / 3.0;
        }
    }
}
