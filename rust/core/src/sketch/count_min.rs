//! Count-Min with conservative update: how often a key was added, never too low.
//!
//! **Idea.** Each of `depth` rows has a cell for the key; others share it. So every cell is at least the key's count, and the lowest is the best.
//! An addition makes only true what it must: each of the key's cells is at least the new estimate.
//!
//! ```text
//!  words    0 ─────────── width ─────── 2 width ── … ── depth · width      one word a cell
//!           row 0         row 1         row 2
//!
//!  position in row i   = i · width + ⌊x · width / 2⁶⁴⌋,   x = key · Mⁱ⁺¹ mod 2⁶⁴
//!  estimate(key)       = the lowest of the key's cells
//!  raise(key, to)      : each of the key's cells = max(cell, to)
//!  add(key, count)     : raise(key, estimate(key) + count)
//!  merge(other)        : cell by cell, the sum
//! ```
//!
//! The rows' positions are consecutive numbers of a multiplicative congruential generator that starts at the key, so one hash does for all rows.
//! M is a multiplier whose lattice is good in two to eight dimensions: which row-0 cell two keys share says nothing about the next rows.
//!
//! **Cost.** One cache line a row; `8 · width · depth` bytes.
//!
//! **Bound.** estimate ≥ truth, always, also after merges. With plain addition, estimate ≤ truth + e · N / width for all but e^(−depth) of keys, N being
//! the sum of all counts. Here no cell is ever above its plain one, so the bound holds, and is far from reached where counts are skewed.
//! Sums end at 2⁶⁴ − 1 and stay there; then only "never too low, up to there" is left.
//!
//! **Source.** Cormode and Muthukrishnan 2005 (the sketch, the bound); Estan and Varghese 2002 (conservative update);
//! Steele and Vigna 2021 (the multiplier).
//!
//! **Dropped.** Plain addition: 1.4 to 1.8 times the mean error at the same memory, Zipf 1.1 on 500 cells a row (`tests/count_min.rs`); what it could do more, take counts back, nobody asks
//! for. Double hashing, `a + i · b`: two keys that meet in two rows then meet in the third far too often. Cells of 32 bits: a size in octets overflows
//! them. Merging by the highest cell: under-counts.

use crate::key::Key;

/// Steele and Vigna's 64-bit multiplier.
const MULTIPLIER: u64 = 0xf135_7aea_2e62_a9c5;

/// The shape of a sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountMin {
    width: usize,
    depth: usize,
}

impl CountMin {
    /// Most words: one tebibyte.
    pub const MOST_WORDS: usize = 1 << 37;

    /// `depth` rows of `width` cells; `None` when either is zero or both are too much.
    pub fn new(width: usize, depth: usize) -> Option<Self> {
        let words = width.checked_mul(depth)?;
        (words > 0 && words <= Self::MOST_WORDS).then_some(Self { width, depth })
    }

    /// The smallest whose error is at most `epsilon` · N but for a part `delta` of keys: width ⌈e / ε⌉, depth ⌈ln 1/δ⌉.
    ///
    /// `None` unless both lie between zero and one, and when it would be too large.
    pub fn for_error(epsilon: f64, delta: f64) -> Option<Self> {
        let within = |part: f64| part > 0.0 && part < 1.0;
        if !within(epsilon) || !within(delta) {
            return None;
        }
        // A float too large for the integer becomes its largest, and that is refused.
        Self::new((std::f64::consts::E / epsilon).ceil() as usize, (1.0 / delta).ln().ceil() as usize)
    }

    /// Cells of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Words of memory.
    pub fn words(&self) -> usize {
        self.width * self.depth
    }

    /// Where a key's cells are, one a row: what any method touches.
    #[inline]
    pub fn positions(&self, key: Key) -> impl Iterator<Item = usize> + use<> {
        let Self { width, depth } = *self;
        let mut number = key.0;
        (0..depth).map(move |row| {
            number = number.wrapping_mul(MULTIPLIER);
            // A product of two 64-bit numbers, its upper half: below `width`.
            row * width + ((u128::from(number) * width as u128) >> 64) as usize
        })
    }

    /// How often `key` was added, or more.
    #[inline]
    pub fn estimate(&self, cells: &[u64], key: Key) -> u64 {
        self.check(cells);
        self.positions(key).map(|position| cells[position]).min().unwrap_or(0)
    }

    /// Makes the estimate of `key` at least `to`, and no cell higher than that takes.
    #[inline]
    pub fn raise(&self, cells: &mut [u64], key: Key, to: u64) {
        self.check(cells);
        for position in self.positions(key) {
            cells[position] = cells[position].max(to);
        }
    }

    /// Adds `count` to `key`.
    #[inline]
    pub fn add(&self, cells: &mut [u64], key: Key, count: u64) {
        let to = self.estimate(cells, key).saturating_add(count);
        self.raise(cells, key, to);
    }

    /// Adds all that `others` counted, in a sketch of the same shape and under the same hash.
    pub fn merge(&self, cells: &mut [u64], others: &[u64]) {
        self.check(cells);
        self.check(others);
        for (cell, other) in cells.iter_mut().zip(others) {
            *cell = cell.saturating_add(*other);
        }
    }

    #[inline]
    fn check(&self, cells: &[u64]) {
        assert_eq!(cells.len(), self.words(), "words of a Count-Min sketch");
    }
}
