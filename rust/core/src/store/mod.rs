//! What may refuse. Every store is a description of a table; the memory is the region's.
//!
//! Three verbs: `lines` says where a key may be, so that its lines can be prefetched before the lock; `consult` reads there; `charge` writes.
//! A store knows no mail, no text and no other store's memory. Time comes in as engine time, in microseconds.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::region::{Candidates, FoundSlot, LineId, SLOTS, Table};

const _: () = assert!(SLOTS <= u8::BITS as usize);

pub mod access_entry;
pub mod access_list;
pub mod blocks;
pub mod distinct;
pub mod fan_out;
pub mod gcra;
pub mod in_flight;
pub mod key_counts;
pub mod overflow;
mod pane_ring;
pub mod permits;
pub mod rate_counter;
mod registers;
pub mod seen_set;
pub mod sliding_window;
mod small_set;

/// Free slots that keys of the same check were promised, so that none is promised twice.
///
/// Only a table that refuses when full needs it, and only a check that brings it several new keys.
#[derive(Debug, Default)]
pub struct SlotReservations(Option<Box<Scarce>>);

#[derive(Debug, Default)]
struct Scarce {
    lines: HashMap<LineId, u32>,
    expected: usize,
    /// Where the new keys of this look may be; one more than are of use says that there are too many.
    asked: SmallVec<[[LineId; 2]; FEW + 1]>,
}

/// New keys of one check for which a wait is told exactly: it takes a look at the lines of all of them for each slot that falls free.
/// Of more, one that finds only promised slots is told when its own lines have another, which may be later than need be.
const FEW: usize = 16;

impl SlotReservations {
    /// Room for `count` promises, so that making them allocates nothing. One key alone needs none: there is nobody to promise its slot to.
    pub fn expect(&mut self, count: usize) {
        if count > 1 {
            let scarce = self.0.get_or_insert_default();
            scarce.expected += count;
            scarce.lines.reserve(scarce.expected);
        }
    }

    /// Nothing promised: for the next look. A line is of one table, so tables do not meet here.
    #[inline]
    pub fn clear(&mut self) {
        if let Some(scarce) = &mut self.0 {
            scarce.lines.clear();
            scarce.asked.clear();
        }
    }

    /// Promises a free slot of the emptier of two lines, when one has any that is not promised.
    fn slot_of(&mut self, free: [(LineId, u32); 2]) -> bool {
        if let Some(scarce) = self.0.as_mut().filter(|scarce| scarce.asked.len() <= FEW) {
            scarce.asked.push(free.map(|(line, _)| line));
        }
        let [first, second] = free.map(|(line, free)| (line, free.saturating_sub(self.of(line))));
        let (line, left) = if second.1 > first.1 { second } else { first };
        if left > 0 {
            self.promise(line);
        }
        left > 0
    }

    /// The lines on which it depends whether a new key finds room: its own, and those of new keys before it in `table`, which may move from one line to the other.
    fn lines_of<'a>(&'a self, own: &'a Candidates, table: &'a Table) -> impl Iterator<Item = LineId> + 'a {
        let others = self.0.as_ref().map(|scarce| &scarce.asked[..]).filter(|asked| asked.len() <= FEW);
        let others = others.unwrap_or_default().iter().flatten().copied();
        own.lines.into_iter().chain(others.filter(|line| table.has(*line) && !own.lines.contains(line)))
    }

    fn of(&self, line: LineId) -> u32 {
        self.0.as_ref().and_then(|scarce| scarce.lines.get(&line)).copied().unwrap_or(0)
    }

    fn promise(&mut self, line: LineId) {
        if let Some(scarce) = &mut self.0 {
            *scarce.lines.entry(line).or_default() += 1;
        }
    }
}

/// A free slot of the emptier of a key's two lines; `free_slots` says which slots of a line are free, as bits.
#[inline]
fn free_slot(at: &Candidates, free_slots: impl Fn(LineId) -> u32) -> Option<FoundSlot> {
    let [first, second] = at.lines.map(|line| (line, free_slots(line)));
    // Of a line's slots there is a bit each, fewer than eight: an octet's are counted by a shorter way.
    let (line, free) = if (second.1 as u8).count_ones() > (first.1 as u8).count_ones() { second } else { first };
    (free != 0).then(|| FoundSlot { line, slot: free.trailing_zeros() as u8, hot: false })
}

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
