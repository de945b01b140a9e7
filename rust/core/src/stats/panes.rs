//! The last minute and the last hour, in panes, and what happens when a pane is over.
//!
//! **Idea.** A minute is four panes of 15 s that are over and the one that is being filled; an hour is the same of
//! 15 minutes. Only the current pane of 15 s is written to. When it is over, its registers are merged into the pane of
//! 15 min in which it lies, exactly, and the row that becomes current is cleared.
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
//! **Span.** An answer counts everything of the last 60 s and nothing older than 75 s; or of 60 and 75 min.
//!
//! **Cost.** One comparison a check. A turn is one pass over three rows, at most once in 15 s: 0.3 µs for five
//! identities of 2¹¹ registers, 0.4 µs out of the first caches, p99 3 µs on a shared machine. After an hour without
//! mail it clears every row: 1 µs. It grows with the number of identities, and nothing else in the statistics takes as
//! long at once (`cargo bench --bench stats`).
//!
//! **Bound.** Merging registers is exact: a pane of 15 min holds what it would hold had it seen every key itself.
//!
//! **Source.** Panes: Li, Maier, Tufte, Papadimos, Tucker, "No pane, no gain" (2005). Merging by the higher register:
//! Flajolet, Fusy, Gandouet, Meunier (2007).
//!
//! **Dropped.** Two generations that swap each minute: a span of 60 to 120 s. Registers of six bits, a quarter less
//! memory: they are merged one by one, bytes sixteen at a time. Merging a piece at each check: there would be no pause
//! at all, but a pause of less than a microsecond needs no remedy.

use super::layout::{Layout, ROWS};

/// Length of a pane, µs.
pub(super) const PANE_US: u64 = 15_000_000;

/// Panes of 15 s in one of 15 min.
pub(super) const PANES_PER_HOUR_PANE: u64 = 60;

/// How far back a count goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// 60 to 75 seconds.
    Minute,
    /// 60 to 75 minutes.
    Hour,
}

const UNTIL: usize = 0;
const PANE: usize = 1;
const ROW: usize = 2;

/// Brings the rows to `at_us`, and returns the word at which the current one begins.
#[inline]
pub(super) fn current_row(layout: &Layout, words: &mut [u64], at_us: u64) -> usize {
    if at_us >= words[UNTIL] {
        turn(layout, words, at_us);
    }
    words[ROW] as usize
}

#[cold]
#[inline(never)]
fn turn(layout: &Layout, words: &mut [u64], at_us: u64) {
    let (last, now) = (words[PANE], at_us / PANE_US);
    let (last_hour, now_hour) = (last / PANES_PER_HOUR_PANE, now / PANES_PER_HOUR_PANE);
    let over = layout.minute(last).start;
    let hour = layout.hour(last_hour);
    let (before, from_hour) = words.split_at_mut(hour.start);
    take_higher(&mut from_hour[..layout.registers], &before[over..over + layout.registers]);
    for hour in passed(last_hour, now_hour) {
        words[layout.hour(hour)].fill(0);
    }
    for pane in passed(last, now) {
        words[layout.minute(pane)].fill(0);
    }
    (words[UNTIL], words[PANE], words[ROW]) = ((now + 1) * PANE_US, now, layout.minute(now).start as u64);
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

/// The first words of the rows of 15 s that count at `now_us`.
pub(super) fn minute_rows<'a>(layout: &'a Layout, words: &[u64], now_us: u64) -> impl Iterator<Item = usize> + use<'a> {
    live(words[PANE], now_us / PANE_US).map(|pane| layout.minute(pane).start)
}

/// The first words of the rows of 15 min that count at `now_us`, and of the current row of 15 s, which is not merged
/// yet.
pub(super) fn hour_rows<'a>(layout: &'a Layout, words: &[u64], now_us: u64) -> impl Iterator<Item = usize> + use<'a> {
    let last = words[PANE];
    let hours = live(last / PANES_PER_HOUR_PANE, now_us / PANE_US / PANES_PER_HOUR_PANE);
    let unmerged = (!hours.is_empty()).then(|| layout.minute(last).start);
    hours.map(|hour| layout.hour(hour).start).chain(unmerged)
}

/// The rows up to `last` that are not too old at `now`.
fn live(last: u64, now: u64) -> std::ops::RangeInclusive<u64> {
    (now.max(last) + 1).saturating_sub(ROWS)..=last
}
