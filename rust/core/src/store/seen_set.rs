//! SeenSet elements: who was admitted before, and since when.
//!
//! **Idea.** Only what was *admitted* enters, so a flood cannot fill the memory faster than its own limit lets it.
//! When a key's two lines are full, the victim is first an element that never came back (seen last within `comeback` of being seen first), the
//! longest unseen of those; only then the longest unseen of the others. So names invented for a flood push out one another, and leave who has been here.
//!
//! ```text
//!  slot   63 ─────────── 32 31 ──── 16 15 ───── 0      both times are coarse and read as distances from the line's stamp
//!         fingerprint ≠ 0   first seen   last seen
//!
//!  one unit = ⌈remember / 32,000⌉;  known while now ≤ last + ⌈remember/unit⌉;  a first seen older than 2¹⁵ units is kept as 2¹⁵
//! ```
//!
//! An element stays known for at least `remember` after its last admission, at most one unit (0.003 %) longer; what is settled for a stated time was
//! here for at least that time.
//!
//! **Cost.** Two cache lines of one page. **Bound.** A new element passes for a known one with probability below 14 · 2⁻³².
//!
//! **Source.** Two ages in one place, kept apart by whether one came back: segmented least-recently-used caches, Karedla, Love, Wherry (1994).
//!
//! **Dropped.** Least recently seen: two minutes of invented organisations from 200 networks flush every tenant (86.7 % of them refused; with this rule none).

use crate::key::Key;
use crate::region::{Candidates, FoundSlot, Line, Region, Table};
use crate::time::TickClock;

/// Units that `remember` is cut into.
const UNITS: u64 = 32_000;

/// Most units that a first seen lies back.
const LONG_AGO: u64 = 1 << 15;

/// A memory of elements.
#[derive(Clone, Copy, Debug)]
pub struct SeenSet {
    table: Table,
    clock: TickClock,
    unit_us: u64,
    remember: u64,
    comeback: u64,
}

/// A known element, in units of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    first: u64,
    last: u64,
    spot: FoundSlot,
}

/// What became of an element that was known elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// It is known here.
    Kept,
    /// There was no room for all: of it and those in its place, the one that would be evicted first is not known.
    OneTooMany,
    /// It was seen too long ago.
    Forgotten,
}

impl SeenSet {
    /// A memory in `table`: `remember_us` after its last admission an element is forgotten,
    /// and one that came back at least `comeback_us` after its first is not evicted while there is another.
    ///
    /// `None` when `remember_us` is zero or beyond what a clock can count.
    pub fn new(table: Table, remember_us: u64, comeback_us: u64) -> Option<Self> {
        let unit_us = remember_us.div_ceil(UNITS);
        Some(Self {
            table,
            clock: TickClock::new(1, u128::from(unit_us))?,
            unit_us,
            remember: remember_us.div_ceil(unit_us),
            comeback: comeback_us.div_ceil(unit_us).clamp(1, LONG_AGO),
        })
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// How long an element stays known after its last admission, in microseconds.
    pub fn remember_us(&self) -> u64 {
        self.remember.saturating_mul(self.unit_us)
    }

    /// Where `element` may be: what a look-up touches.
    #[inline]
    pub fn lines(&self, element: Key) -> Candidates {
        self.table.candidates(element)
    }

    /// Whether the element is known, and since when.
    #[inline]
    pub fn consult(&self, region: &Region, at: &Candidates, now_us: u64) -> Option<Sighting> {
        let now = self.clock.ticks(now_us);
        let [first, second] = region.candidates(at);
        let in_line = |line: &Line, id| {
            let mut bits = line.matching(at.fingerprint);
            while bits != 0 {
                let slot = bits.trailing_zeros() as u8;
                if let Some((first, last)) = self.read(line, line.slots[usize::from(slot)], now) {
                    return Some(Sighting { first, last, spot: FoundSlot { line: id, slot, hot: false } });
                }
                bits &= bits - 1;
            }
            None
        };
        in_line(first, at.lines[0]).or_else(|| in_line(second, at.lines[1]))
    }

    /// Notes that the element was admitted, with what `consult` returned under the same lock.
    ///
    /// It writes nothing when the element was already admitted within this unit of time and its line is up to date.
    #[inline]
    pub fn charge(&self, region: &mut Region, at: &Candidates, seen: Option<Sighting>, now_us: u64) {
        let now = self.clock.ticks(now_us);
        let Some(Sighting { first, last, spot }) = seen else { return self.charge_new(region, at, now) };
        let line = region.line_mut(spot.line);
        let slot = usize::from(spot.slot);
        if (line.slots[slot] >> 32) as u32 != at.fingerprint {
            // Another element of the same check has taken the slot, so this one is new again.
            return self.charge_new(region, at, now);
        }
        if line.stamp != now {
            self.restamp(line, now);
        } else if last == now {
            return;
        }
        line.slots[slot] = pack(at.fingerprint, first, now, now);
    }

    #[inline(never)]
    fn charge_new(&self, region: &mut Region, at: &Candidates, now: u64) {
        let spot = self.place(region, at, now);
        let line = region.line_mut(spot.line);
        if line.stamp != now {
            self.restamp(line, now);
        }
        line.slots[usize::from(spot.slot)] = pack(at.fingerprint, now, now, now);
    }

    /// Takes over an element that was admitted elsewhere, first and last at those times; one ahead of `now_us` counts as now.
    ///
    /// Unlike one that is admitted here, it pushes nobody out who would be evicted later than itself: many come at once, in any order.
    pub fn learn(&self, region: &mut Region, at: &Candidates, first_us: u64, last_us: u64, now_us: u64) -> Learned {
        let now = self.clock.ticks(now_us);
        let (mut first, mut last) = (self.clock.ticks(first_us).min(now), self.clock.ticks(last_us).min(now));
        if now > last + self.remember {
            return Learned::Forgotten;
        }
        let seen = self.consult(region, at, now_us);
        if let Some(seen) = seen {
            (first, last) = (first.min(seen.first), last.max(seen.last));
        }
        let spot = seen.map_or_else(|| self.place(region, at, now), |seen| seen.spot);
        let in_its_place = if seen.is_some() { 0 } else { self.worst(region.line(spot.line), now).rank };
        if in_its_place > self.rank(first, last) {
            return Learned::OneTooMany;
        }
        let line = region.line_mut(spot.line);
        if line.stamp != now {
            self.restamp(line, now);
        }
        line.slots[usize::from(spot.slot)] = pack(at.fingerprint, first, last, now);
        if in_its_place > 0 { Learned::OneTooMany } else { Learned::Kept }
    }

    /// The engine time from which the element has been known for `settle_us`.
    pub fn settled_from_us(&self, sighting: Sighting, settle_us: u64) -> u64 {
        // The first sighting lies anywhere in its unit: one unit more makes it at least `settle_us`.
        (sighting.first + settle_us.div_ceil(self.unit_us) + 1).saturating_mul(self.unit_us)
    }

    /// The engine time at which the element is forgotten, when it is not admitted again.
    pub fn forgotten_from_us(&self, sighting: Sighting) -> u64 {
        (sighting.last + self.remember + 1).saturating_mul(self.unit_us)
    }

    /// Slots in use on one page of the table.
    pub fn used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        let now = self.clock.ticks(now_us);
        let used = |line: &Line| line.slots.iter().filter(|&&slot| self.read(line, slot, now).is_some()).count() as u64;
        region.page(&self.table, page).iter().map(used).sum()
    }

    /// When a slot's element was seen first and last; `None` when it is free or forgotten.
    #[inline]
    fn read(&self, line: &Line, slot: u64, now: u64) -> Option<(u64, u64)> {
        // No time of a slot is below zero, so none lies further back than the stamp.
        let since = |time: u16| line.stamp.wrapping_sub(u64::from((line.stamp as u16).wrapping_sub(time)));
        let (first, last) = (since((slot >> 16) as u16), since(slot as u16));
        (slot != 0 && now <= last + self.remember).then_some((first, last))
    }

    /// Where a new element goes: a free slot of the emptier line, else the victim's.
    fn place(&self, region: &Region, at: &Candidates, now: u64) -> FoundSlot {
        let [first, second] = at.lines.map(|id| self.worst(region.line(id), now));
        // Of two lines with room the one with more of it; else the lower rank of all.
        let (line, worst) = match (first.free, second.free) {
            (0, 0) if second.rank < first.rank => (at.lines[1], second),
            (a, b) if b > a => (at.lines[1], second),
            _ => (at.lines[0], first),
        };
        FoundSlot { line, slot: worst.slot, hot: false }
    }

    /// The slot of a line that a new element would take.
    #[inline]
    fn worst(&self, line: &Line, now: u64) -> Worst {
        let mut worst = Worst { free: 0, slot: 0, rank: u64::MAX };
        for (slot, &content) in line.slots.iter().enumerate() {
            let rank = self.read(line, content, now).map_or(0, |(first, last)| self.rank(first, last));
            worst.free += u32::from(rank == 0);
            if rank < worst.rank {
                (worst.slot, worst.rank) = (slot as u8, rank);
            }
        }
        worst
    }

    /// Whoever came back ranks above whoever did not, and then the later seen above the earlier. Never zero.
    #[inline]
    fn rank(&self, first: u64, last: u64) -> u64 {
        u64::from(last.saturating_sub(first) >= self.comeback) << 63 | (last + 1) & (u64::MAX >> 1)
    }

    /// Stamps a line: elements that are forgotten are zeroed, and a first time of long ago is kept as long ago. So both
    /// times stay within 16 bits of the new stamp.
    #[inline(never)]
    fn restamp(&self, line: &mut Line, now: u64) {
        let gap = now.saturating_sub(line.stamp);
        if gap > self.remember {
            *line = Line { stamp: now, ..Line::default() };
            return;
        }
        let stamp = line.stamp as u16;
        let age = |time: u64| u64::from(stamp.wrapping_sub(time as u16));
        let (oldest_first, oldest_last) = (LONG_AGO.saturating_sub(gap), self.remember - gap);
        for slot in &mut line.slots {
            if *slot != 0 && age(*slot) > oldest_last {
                *slot = 0;
            }
            if *slot != 0 && age(*slot >> 16) > oldest_first {
                *slot = *slot & !0xFFFF_0000 | u64::from(now.saturating_sub(LONG_AGO) as u16) << 16;
            }
        }
        line.stamp = now;
    }
}

/// What a line offers to a new element.
struct Worst {
    /// Slots that are free.
    free: u32,
    /// The slot of the lowest rank.
    slot: u8,
    /// Zero when it is free.
    rank: u64,
}

#[inline]
fn pack(fingerprint: u32, first: u64, last: u64, now: u64) -> u64 {
    let first = first.max(now.saturating_sub(LONG_AGO));
    u64::from(fingerprint) << 32 | u64::from(first as u16) << 16 | u64::from(last as u16)
}
