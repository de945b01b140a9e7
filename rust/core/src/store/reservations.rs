//! Free slots reserved for the new keys of one check, so that two of them do not count on the same slot.
//!
//! Only a table that refuses when full (`when_full = "refuse"`) needs reservations, and only a check that brings it
//! several new keys. The room for them is taken before the lock, so that reserving allocates nothing.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::region::{Candidates, FoundSlot, LineId, SLOTS, Table};

const _: () = assert!(SLOTS <= u8::BITS as usize);

/// Up to this many new keys of one check get an exact wait: it takes a look at the lines of all of them for each slot
/// that falls free. Of more keys, one that finds only reserved slots waits until its own lines have another slot, which
/// may be later than necessary.
const FEW: usize = 16;

/// The reservations of one check; empty, and free of cost, where no table needs them.
#[derive(Debug, Default)]
pub struct SlotReservations(Option<Box<Reserved>>);

#[derive(Debug, Default)]
struct Reserved {
    /// How many slots of each line are reserved.
    lines: HashMap<LineId, u32>,
    /// The candidate lines of the new keys seen so far; one more entry than [`FEW`] says that there are too many.
    asked: SmallVec<[[LineId; 2]; FEW + 1]>,
}

impl SlotReservations {
    /// Room for `count` reservations.
    #[inline]
    pub fn with_room(count: usize) -> Self {
        if count == 0 { Self(None) } else { Self::allocated(count) }
    }

    #[cold]
    fn allocated(count: usize) -> Self {
        let mut reserved = Box::<Reserved>::default();
        reserved.lines.reserve(count);
        Self(Some(reserved))
    }

    /// Drops all reservations, for the next look at the same tables.
    #[inline]
    pub fn clear(&mut self) {
        if let Some(reserved) = &mut self.0 {
            reserved.lines.clear();
            reserved.asked.clear();
        }
    }

    /// Reserves a free slot of the emptier of two lines; `false` when neither has one that is not reserved.
    pub(super) fn slot_of(&mut self, free: [(LineId, u32); 2]) -> bool {
        if let Some(reserved) = self.0.as_mut().filter(|reserved| reserved.asked.len() <= FEW) {
            reserved.asked.push(free.map(|(line, _)| line));
        }
        let [first, second] = free.map(|(line, free)| (line, free.saturating_sub(self.of(line))));
        let (line, left) = if second.1 > first.1 { second } else { first };
        if left > 0 {
            self.promise(line);
        }
        left > 0
    }

    /// The lines that decide whether a new key finds room: its own, and those of new keys before it in `table`, which
    /// may move from one line to the other.
    pub(super) fn lines_of<'a>(&'a self, own: &'a Candidates, table: &'a Table) -> impl Iterator<Item = LineId> + 'a {
        let others = self.0.as_ref().map(|reserved| &reserved.asked[..]).filter(|asked| asked.len() <= FEW);
        let others = others.unwrap_or_default().iter().flatten().copied();
        own.lines.into_iter().chain(others.filter(|line| table.has(*line) && !own.lines.contains(line)))
    }

    /// How many slots of a line are reserved. A line belongs to one table, so tables do not meet here.
    pub(super) fn of(&self, line: LineId) -> u32 {
        self.0.as_ref().and_then(|reserved| reserved.lines.get(&line)).copied().unwrap_or(0)
    }

    pub(super) fn promise(&mut self, line: LineId) {
        if let Some(reserved) = &mut self.0 {
            *reserved.lines.entry(line).or_default() += 1;
        }
    }
}

/// A free slot of the emptier of a key's two lines; `free_slots` gives the free slots of a line as bits.
#[inline]
pub(super) fn free_slot(at: &Candidates, free_slots: impl Fn(LineId) -> u32) -> Option<FoundSlot> {
    let [first, second] = at.lines.map(|line| (line, free_slots(line)));
    // A line has fewer than eight slots, and the bits of a byte are counted by a shorter way.
    let (line, free) = if (second.1 as u8).count_ones() > (first.1 as u8).count_ones() { second } else { first };
    (free != 0).then(|| FoundSlot { line, slot: free.trailing_zeros() as u8, hot: false })
}
