//! The layout of the one table that all statistics share, and the panes of time in it.
//!
//! ```text
//!  word 0     until: engine time at which the current pane ends, µs
//!  word 1     pane:  number of the current pane since engine time 0
//!  word 2     row:   word at which the current pane's row begins
//!  word 3     names: slots of names in use, over all identities
//!  word 8     5 rows of 15 s           [ I · m registers, a byte each ┊ I · K counts of two words ]
//!             5 rows of 15 min         [ I · m registers, a byte each ]
//!             I indices of 4 K bytes   slot + 1 of a key; 0 is nothing
//!             I · K keys               of the names; 0 is free
//!             I · K names              24 words: since ┊ text, 15 words ┊ HyperLogLog, 6 ┊ martingale, 2
//! ```
//!
//! There are I identities, with m registers and K names each. A table of zeros is empty. The row of a pane holds all
//! identities in one run of words, so that the pane is merged and cleared in one pass.
//!
//! **Panes.** A minute is four panes of 15 s that are over and the one that is being filled. An hour is four panes of
//! 15 min and the one that is being filled. A check writes only to the current pane of 15 s. When this pane is over,
//! its registers are merged into its pane of 15 min, and the row that becomes current is cleared.
//!
//! ```text
//!          … ├ 15 s ┼ 15 s ┼ 15 s ┼ 15 s ┼ ── now     the last minute: 60 to 75 s
//!   ├ 15 min ┼ 15 min ┼ 15 min ┼ 15 min ┼ ──── now    the last hour: 60 to 75 min
//!                                                     what is not merged yet lies in the current row of 15 s
//!
//!  turn:  row of 15 min ← the higher register of each and of the pane that is over
//!         rows whose time has passed ← 0
//! ```
//!
//! An answer counts everything of the last 60 s and nothing older than 75 s, or everything of the last 60 min and
//! nothing older than 75 min.
//!
//! **Cost.** One comparison a check. A turn is one pass over three rows, at most once in 15 s. It takes 0.3 µs for five
//! identities of 2¹¹ registers, 0.4 µs out of the first caches, p99 3 µs on a shared machine. After an hour without
//! mail it clears every row: 1 µs. It grows with the number of identities, and nothing else in the statistics takes as
//! long at once (`cargo bench --bench stats`).
//!
//! **Bound.** Merging registers is exact: a pane of 15 min has the same registers as if every key had been added to it.
//!
//! **Source.** Panes: Li, Maier, Tufte, Papadimos, Tucker, "No pane, no gain" (2005). Merging by the higher register:
//! Flajolet, Fusy, Gandouet, Meunier (2007).
//!
//! **Dropped.** Two generations that swap each minute: a span of 60 to 120 s. Registers of six bits, a quarter less
//! memory: they are merged one by one, bytes sixteen at a time. Merging a piece at each check: there would be no pause
//! at all, but a pause of less than a microsecond needs no remedy.

use std::ops::Range;

use crate::key::Key;
use crate::region::PAGE_BYTES;
use crate::sketch::hyperloglog::HyperLogLog;

/// Rows of a window, the current one among them.
pub(super) const ROWS: u64 = 5;

/// Words of a name's counts in one row.
pub(super) const COUNTS: usize = 2;

/// Words of a name's text.
pub(super) const TEXT: usize = 15;

/// Words of a name: since, text, registers, martingale.
pub(super) const NAME: usize = 1 + TEXT + 6 + 2;

/// Words of the head.
const HEAD: usize = 8;

/// Index entries for each name. The index is at most a quarter full, so three of four unknown keys need one probe.
const SPREAD: usize = 4;

/// Length of a pane, µs.
const PANE_US: u64 = 15_000_000;

/// Panes of 15 s in one of 15 min.
const PANES_PER_HOUR_PANE: u64 = 60;

/// How far back a count goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// 60 to 75 seconds.
    Minute,
    /// 60 to 75 minutes.
    Hour,
}

/// Words of the head: the end of the current pane, its number, and the place of its row.
const UNTIL: usize = 0;
const PANE: usize = 1;
const ROW: usize = 2;

/// Sizes to choose from: registers as a power of two, names.
///
/// 2¹¹ registers err by 2.3 %, which is good enough for a count that people read. Ten rows of them are 20 KiB for each
/// identity, and a turn of the pane takes 60 ns for each; 2¹² would err by 1.6 % and cost twice as much. With K names,
/// a name that sends more than 1/K of what all names send keeps its slot. 64 names are more than anybody reads, and one
/// byte holds the number of a slot.
const SIZES: [(u32, usize); 5] = [(11, 64), (10, 64), (10, 32), (8, 16), (6, 8)];

/// Statistics take at most 1/16 of the memory, if the smallest size fits in that.
const PART: u64 = 16;

/// A value that a check brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityKey {
    /// The place of its identity in the plan.
    pub place: usize,
    /// The hash of the value, without trust.
    pub key: Key,
}

/// The `nth` value of the identity at that place, or its first one if it has no `nth`; `None` when the identity is
/// absent. `values` are in the order of the places.
pub fn value_of(values: &[IdentityKey], place: usize, nth: u32) -> Option<IdentityKey> {
    let first = values.partition_point(|value| value.place < place);
    let at = |index: usize| values.get(index).copied().filter(|value| value.place == place);
    at(first + nth as usize).or_else(|| at(first))
}

/// Sizes, and where each part of the table begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// How many identities have a place.
    pub identities: usize,
    pub(super) shape: HyperLogLog,
    pub(super) names: usize,
    /// Words of the registers of one row.
    pub(super) registers: usize,
    /// Words of a row of 15 s.
    row: usize,
    /// First word of the indices, of the keys and of the names.
    index: usize,
    keys: usize,
    slots: usize,
}

impl Layout {
    fn new(identities: usize, precision: u32, names: usize) -> Self {
        let shape = HyperLogLog::new(precision).unwrap_or(HyperLogLog::SMALL);
        let registers = identities * shape.registers() / 8;
        let row = registers + identities * names * COUNTS;
        let index = HEAD + ROWS as usize * (row + registers);
        let keys = index + identities * names * SPREAD / 8;
        Self { identities, shape, names, registers, row, index, keys, slots: keys + identities * names }
    }

    /// The layouts that take no more than a sixteenth of `memory_bytes`, the largest first, and at the end the smallest
    /// one, whatever it takes.
    pub fn choices(memory_bytes: u64, identities: usize) -> impl Iterator<Item = Self> {
        let [.., smallest] = SIZES;
        let layout = move |(precision, names)| Self::new(identities, precision, names);
        let fits = move |layout: &Self| layout.bytes() <= memory_bytes / PART;
        SIZES.into_iter().map(layout).filter(fits).chain([layout(smallest)])
    }

    /// Bytes of whole pages.
    pub fn bytes(&self) -> u64 {
        (8 * self.name(self.identities, 0) as u64).div_ceil(PAGE_BYTES) * PAGE_BYTES
    }

    /// The row of a pane of 15 s.
    pub(super) fn minute(&self, pane: u64) -> Range<usize> {
        let start = HEAD + (pane % ROWS) as usize * self.row;
        start..start + self.row
    }

    /// The row of a pane of 15 min.
    pub(super) fn hour(&self, pane: u64) -> Range<usize> {
        let start = HEAD + ROWS as usize * self.row + (pane % ROWS) as usize * self.registers;
        start..start + self.registers
    }

    /// The first word of a name's counts, in the row that begins at `row`.
    pub(super) fn counts(&self, row: usize, place: usize, slot: usize) -> usize {
        row + self.registers + (place * self.names + slot) * COUNTS
    }

    /// The bytes of an identity's index.
    pub(super) fn index(&self, place: usize) -> Range<usize> {
        let start = 8 * self.index + place * self.index_size();
        start..start + self.index_size()
    }

    /// Bytes of an identity's index: a power of two.
    pub(super) fn index_size(&self) -> usize {
        self.names * SPREAD
    }

    /// The keys of an identity's names.
    pub(super) fn keys(&self, place: usize) -> Range<usize> {
        let start = self.keys + place * self.names;
        start..start + self.names
    }

    /// The first word of a name.
    pub(super) fn name(&self, place: usize, slot: usize) -> usize {
        self.slots + (place * self.names + slot) * NAME
    }

    /// Advances the rows to `at_us`, and returns the word at which the current row begins.
    pub(super) fn current_row(&self, words: &mut [u64], at_us: u64) -> usize {
        if at_us >= words[UNTIL] {
            self.turn(words, at_us);
        }
        words[ROW] as usize
    }

    #[cold]
    #[inline(never)]
    fn turn(&self, words: &mut [u64], at_us: u64) {
        let (last, now) = (words[PANE], at_us / PANE_US);
        let (last_hour, now_hour) = (last / PANES_PER_HOUR_PANE, now / PANES_PER_HOUR_PANE);
        let over = self.minute(last).start;
        let hour = self.hour(last_hour);
        let (before, from_hour) = words.split_at_mut(hour.start);
        take_higher(&mut from_hour[..self.registers], &before[over..over + self.registers]);
        for hour in passed(last_hour, now_hour) {
            words[self.hour(hour)].fill(0);
        }
        for pane in passed(last, now) {
            words[self.minute(pane)].fill(0);
        }
        (words[UNTIL], words[PANE], words[ROW]) = ((now + 1) * PANE_US, now, self.minute(now).start as u64);
    }

    /// The first words of the rows of 15 s that count at `now_us`.
    pub(super) fn minute_rows<'a>(&'a self, words: &[u64], now_us: u64) -> impl Iterator<Item = usize> + use<'a> {
        live(words[PANE], now_us / PANE_US).map(|pane| self.minute(pane).start)
    }

    /// The first words of the rows of 15 min that count at `now_us`, and of the current row of 15 s, which is not
    /// merged yet.
    pub(super) fn hour_rows<'a>(&'a self, words: &[u64], now_us: u64) -> impl Iterator<Item = usize> + use<'a> {
        let last = words[PANE];
        let hours = live(last / PANES_PER_HOUR_PANE, now_us / PANE_US / PANES_PER_HOUR_PANE);
        let unmerged = (!hours.is_empty()).then(|| self.minute(last).start);
        hours.map(|hour| self.hour(hour).start).chain(unmerged)
    }
}

/// The panes after `last` up to `now`: the latest ones, as many as there are rows.
fn passed(last: u64, now: u64) -> std::ops::RangeInclusive<u64> {
    last.saturating_add(1).max((now + 1).saturating_sub(ROWS))..=now
}

/// Merges registers: byte by byte, the higher one.
pub(super) fn take_higher(into: &mut [u64], from: &[u64]) {
    let (into, from): (&mut [u8], &[u8]) = (bytemuck::cast_slice_mut(into), bytemuck::cast_slice(from));
    for (into, &from) in into.iter_mut().zip(from) {
        *into = (*into).max(from);
    }
}

/// The rows up to `last` that are not too old at `now`.
fn live(last: u64, now: u64) -> std::ops::RangeInclusive<u64> {
    (now.max(last) + 1).saturating_sub(ROWS)..=last
}
