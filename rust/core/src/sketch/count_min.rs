//! Count-Min with conservative update: how often a key was added, never too low.
//!
//! **Idea.** Each of `depth` rows has a cell for the key, which other keys share. So every cell is at least the key's
//! count, and the lowest is the best estimate. An addition raises each of the key's cells only up to the new estimate.
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
//! The positions of a key are consecutive numbers of a multiplicative congruential generator that starts at the key,
//! so one hash is enough for all rows. M is a multiplier whose lattice is good in two to eight dimensions: two keys
//! that share a cell in one row are not more likely to share one in the next row.
//!
//! **Cost.** One cache line a row; `8 · width · depth` bytes.
//!
//! **Bound.** estimate ≥ truth, always, also after merges. With plain addition, estimate ≤ truth + e · N / width for
//! all but e^(−depth) of keys, N being the sum of all counts. Here no cell is ever above its plain one, so the bound
//! holds; where counts are skewed, errors stay far below it. Sums saturate at 2⁶⁴ − 1; the estimate is then too low
//! only for larger counts.
//!
//! **Source.** Cormode and Muthukrishnan 2005 (the sketch, the bound); Estan and Varghese 2002 (conservative update);
//! Steele and Vigna 2021 (the multiplier).
//!
//! **Dropped.** Plain addition: 1.4 to 1.8 times the mean error at the same memory, Zipf 1.1 on 500 cells a row
//! (`tests/count_min.rs`); it could take counts back, which is not needed. Double hashing, `a + i · b`: two keys that
//! meet in two rows then meet in the third far too often. Cells of 32 bits: a size in bytes overflows them. Merging by
//! the higher of two cells: it counts too low.

use crate::key::Key;

/// Steele and Vigna's 64-bit multiplier.
const MULTIPLIER: u64 = 0xf135_7aea_2e62_a9c5;

/// The shape of a sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CountMin {
    /// Cells of a row.
    pub width: usize,
    /// Rows.
    pub depth: usize,
}

impl CountMin {
    /// Most words: one tebibyte.
    pub const MOST_WORDS: usize = 1 << 37;

    /// Makes a shape of `depth` rows of `width` cells; `None` when either is zero or there are too many cells.
    pub fn new(width: usize, depth: usize) -> Option<Self> {
        let words = width.checked_mul(depth)?;
        (words > 0 && words <= Self::MOST_WORDS).then_some(Self { width, depth })
    }

    /// Makes the smallest sketch whose error is at most `epsilon` · N for all but a part `delta` of the keys: width
    /// ⌈e / ε⌉, depth ⌈ln 1/δ⌉.
    ///
    /// Returns `None` unless both lie between zero and one, or when the sketch would be too large.
    pub fn for_error(epsilon: f64, delta: f64) -> Option<Self> {
        let within = |part: f64| part > 0.0 && part < 1.0;
        if !within(epsilon) || !within(delta) {
            return None;
        }
        // A float that is too large for the integer becomes the largest integer, which `new` refuses.
        Self::new((std::f64::consts::E / epsilon).ceil() as usize, (1.0 / delta).ln().ceil() as usize)
    }

    /// Words of memory.
    pub fn words(&self) -> usize {
        self.width * self.depth
    }

    /// The positions of a key's cells, one in each row. Methods with a key touch no other cell.
    pub fn positions(&self, key: Key) -> impl Iterator<Item = usize> + use<> {
        let Self { width, depth } = *self;
        let mut number = key.0;
        (0..depth).map(move |row| {
            number = number.wrapping_mul(MULTIPLIER);
            // A product of two 64-bit numbers, its upper half: below `width`.
            row * width + ((u128::from(number) * width as u128) >> 64) as usize
        })
    }

    /// Estimates how often `key` was added, never too low.
    pub fn estimate(&self, cells: &[u64], key: Key) -> u64 {
        self.check(cells);
        self.positions(key).map(|position| cells[position]).min().unwrap_or(0)
    }

    /// Makes the estimate of `key` at least `to`: raises its cells that are below `to`.
    pub fn raise(&self, cells: &mut [u64], key: Key, to: u64) {
        self.check(cells);
        for position in self.positions(key) {
            cells[position] = cells[position].max(to);
        }
    }

    /// Adds `count` to `key`.
    pub fn add(&self, cells: &mut [u64], key: Key, count: u64) {
        let to = self.estimate(cells, key).saturating_add(count);
        self.raise(cells, key, to);
    }

    /// Adds the counts of `others`, a sketch of the same shape and the same hash.
    pub fn merge(&self, cells: &mut [u64], others: &[u64]) {
        self.check(cells);
        self.check(others);
        for (cell, other) in cells.iter_mut().zip(others) {
            *cell = cell.saturating_add(*other);
        }
    }

    fn check(&self, cells: &[u64]) {
        assert_eq!(cells.len(), self.words(), "words of a Count-Min sketch");
    }
}
