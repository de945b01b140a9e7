//! Keys that a limit has blocked, each until its own time. Lossless: a block in force is never evicted.
//!
//! **Idea.** A key has two candidate lines of three places each. A place is free when its time has passed, so there is
//! no sweep. When both lines are full of blocks in force, a new block is not stored: it is counted as untracked, and
//! the limit continues to refuse by itself.
//!
//! ```text
//!  line    ┊ by, 2 × 32 bits ┊ key, until ┊ key, until ┊ key, until ┊ by, 32 bits ┊
//!            by: the hash of the name of the limit that blocked, one for each place
//! ```
//!
//! **Cost.** Two lines of one page. **Bound.** Exact, unless the 64 bits of two keys agree.
//!
//! **Dropped.** Fingerprints and coarse times, seven to a line: the end of a block is reported to the microsecond
//! (P10), and a key that is mistaken for a blocked one would be refused for days. The end of the block in the limit's
//! own slot: a slot is free when its bucket has drained, and the block must outlive it.

use crate::key::Key;
use crate::region::{Candidates, Line, LineId, Region, Table};

/// Places of a line.
const PLACES: usize = 3;

/// The halves of words in which a line keeps the `by` of each place: two in the stamp, one in the last word.
const BY: [usize; PLACES] = [0, 1, 14];

/// Blocks by limits.
#[derive(Clone, Copy, Debug)]
pub struct Blocks {
    /// Its places.
    pub table: Table,
}

/// One block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// The hash of the limit and the blocked key.
    pub key: Key,
    /// Engine time at which it ends, µs.
    pub until_us: u64,
    /// The hash of the name of the limit that blocked.
    pub by: u32,
}

impl Blocks {
    /// Blocks in `table`, which is all zeros at first.
    pub fn new(table: Table) -> Self {
        Self { table }
    }

    /// Places in all.
    pub fn slots(&self) -> u64 {
        (self.table.lines() * PLACES) as u64
    }

    /// Returns the end of the block of `key`, µs; `None` when the key is not blocked at `now_us`.
    pub fn until_us(&self, region: &Region, at: &Candidates, key: Key, now_us: u64) -> Option<u64> {
        let (line, place) = self.find(region, at, key)?;
        Some(block(region.line(line), place).until_us).filter(|&until_us| until_us > now_us)
    }

    /// Blocks a key, unless it is blocked already: a refusal does not extend a block. It returns `false` when there
    /// is no room.
    pub fn set(&self, region: &mut Region, at: &Candidates, wanted: Block, now_us: u64) -> bool {
        let own = self.find(region, at, wanted.key);
        if own.is_some_and(|(line, place)| block(region.line(line), place).until_us > now_us) {
            return true;
        }
        let Some((line, place)) = own.or_else(|| free(region, at, now_us)) else { return false };
        write(region.line_mut(line), place, wanted);
        true
    }

    /// Whether [`Blocks::set`] would find room.
    pub fn has_room(&self, region: &Region, at: &Candidates, key: Key, now_us: u64) -> bool {
        self.find(region, at, key).or_else(|| free(region, at, now_us)).is_some()
    }

    /// Lifts the block of a key. It returns whether the key was blocked at `now_us`.
    pub fn lift(&self, region: &mut Region, key: Key, now_us: u64) -> bool {
        let Some((line, place)) = self.find(region, &self.table.candidates(key), key) else { return false };
        let was_live = block(region.line(line), place).until_us > now_us;
        write(region.line_mut(line), place, Block { key: Key(0), until_us: 0, by: 0 });
        was_live
    }

    /// The blocks of one page that are in force at `now_us`.
    pub fn live<'r>(&self, region: &'r Region, page: u32, now_us: u64) -> impl Iterator<Item = Block> + use<'r> {
        let blocks = |line: &'r Line| (0..PLACES).map(move |place| block(line, place));
        region.page(&self.table, page).iter().flat_map(blocks).filter(move |block| block.until_us > now_us)
    }

    fn places(&self, at: &Candidates) -> impl Iterator<Item = (LineId, usize)> + use<> {
        at.lines.into_iter().flat_map(|line| (0..PLACES).map(move |place| (line, place)))
    }

    fn find(&self, region: &Region, at: &Candidates, key: Key) -> Option<(LineId, usize)> {
        self.places(at).find(|&(line, place)| {
            let found = block(region.line(line), place);
            found.until_us > 0 && found.key == key
        })
    }
}

/// Returns a free place of the emptier line. So few keys find no room before most places are taken.
fn free(region: &Region, at: &Candidates, now_us: u64) -> Option<(LineId, usize)> {
    let places = |line: LineId| (0..PLACES).filter(move |&place| block(region.line(line), place).until_us <= now_us);
    let [first, second] = at.lines;
    let line = if places(second).count() > places(first).count() { second } else { first };
    Some((line, places(line).next()?))
}

fn block(line: &Line, place: usize) -> Block {
    let by = bytemuck::cast_ref::<_, [u32; 16]>(line)[BY[place]];
    Block { key: Key(line.slots[2 * place]), until_us: line.slots[2 * place + 1], by }
}

fn write(line: &mut Line, place: usize, Block { key, until_us, by }: Block) {
    (line.slots[2 * place], line.slots[2 * place + 1]) = (key.0, until_us);
    bytemuck::cast_mut::<_, [u32; 16]>(line)[BY[place]] = by;
}
