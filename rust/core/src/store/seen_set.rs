//! Seen sets: which elements were admitted before, and since when.
//!
//! **Idea.** Only *admitted* elements enter, so a flood cannot fill the set faster than its own limit allows. An
//! operator may also import elements that were admitted elsewhere ([`SeenSet::learn`]). When both lines of a new
//! element are full, the victim is an element that never came back, that is, whose last time is within `comeback` of
//! its first; among those, one that was never admitted with proof of its sender; and among those, the one that was not
//! seen for the longest time. When all came back, the victim is again one without proof; among those, one with the
//! shortest time between its return and its last admission, where only the highest bit of that time counts; and among
//! those, the one that was not seen for the longest time. So names invented for a flood evict one another, and not the
//! elements that came back. Names that somebody claims for hours do not evict those that came back with proof. Names
//! that are kept warm for hours, with proof, do not evict tenants that have sent for days.
//!
//! ```text
//!  rank   63 ─────── 62 ───── 61 ──────────────────────────── 57 56 ────────── 0
//!         returned   proven   bits of (last admission − return)   last seen + 1      the lowest rank is evicted
//! ```
//!
//! ```text
//!  slot   63 ─────────── 32 31 ─ 31 30 ──── 16 15 ─── 15 14 ───── 0      both times are coarse
//!         fingerprint ≠ 0   returned   since      proven   last seen       and read as distances from the line's stamp
//!
//!  since: when it was first seen; from its return on, when it returned (of a learned element, when it was first seen)
//!  one unit = ⌈remember / 32,000⌉;  known while now ≤ last + ⌈remember/unit⌉
//!  a time since older than 2¹⁵ − 1 units is kept as 2¹⁵ − 1 units
//! ```
//!
//! An element that is not evicted stays known for at least `remember` after its last admission, and less than two units
//! (0.006 %) longer. An element has *returned* when it was admitted again at least `comeback` after it was first
//! admitted. It settles a sixth of `settle` after that: in a flood, the first message below a prepared name is such a
//! return, and must not open an allowance for the messages behind it.
//!
//! **Notes.** A limit that readmits notes an element that nothing else refuses ([`SeenSet::note`]): one that other
//! limits refuse too could come a thousand times a second, each time under another name, and displace the notes of
//! others. Notes have a table of their own, so they evict only one another, and known elements leave them their room. A
//! note is not renewed: it keeps the time of the first refusal, and is forgotten `remember` after it.
//!
//! **Cost.** Two cache lines of one page. **Bound.** A new element is taken for a known one with probability below
//! 14 · 2⁻³².
//!
//! **Source.** Protecting the elements that came back: segmented least-recently-used caches, Karedla, Love, Wherry
//! (1994).
//!
//! **Dropped.** Evicting the least recently seen element: two minutes of invented organisations from 200 networks evict
//! every tenant (86.7 % of the tenants are then refused; with this rule none).
//! **Dropped.** Evicting, of those that came back, the least recently seen one: 27,000 hosts of five domains, each used
//! four times an hour apart with proof, evict half of the tenants that have come once an hour for longer.
//! **Dropped.** Notes among the elements: after a day of mail without SPF verdicts, elements that came back fill the
//! table, and of 300 messages a second of a flood a third of the others' notes are gone before their first retry.

use crate::key::Key;
use crate::region::{Candidates, KeySlot, Line, Region, SLOTS, Table};
use crate::time::TickClock;

/// The number of units in `remember`.
const UNITS: u64 = 32_000;

/// The largest distance of the time since from the stamp, in units. An older time is stored with this distance.
const LONG_AGO: u64 = (1 << 15) - 1;

const _: () = assert!(LONG_AGO > UNITS);

/// A set of elements that were seen.
#[derive(Clone, Copy, Debug)]
pub struct SeenSet {
    /// Its slots.
    pub table: Table,
    clock: TickClock,
    unit_us: u64,
    remember: u64,
    comeback: u64,
    /// Where refused elements are noted, if they are.
    notes: Option<Table>,
}

/// A known element: when it was seen, in units of the set, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    since: u64,
    last: u64,
    has_returned: bool,
    is_proven: bool,
    found: KeySlot,
}

/// The bit of a slot whose element was admitted with proof of its sender.
const PROVEN: u64 = 1 << 15;

/// The bit of a slot whose element has returned.
const RETURNED: u64 = 1 << 31;

/// The bits of a time. A known element was last seen at most [`UNITS`] units before the stamp, which is less.
const LAST: u16 = (1 << 15) - 1;

/// The bits of a slot's time since.
const SINCE: u64 = 0x7FFF_0000;

/// An odd number that mixes the place of an element to the key of its note.
const NOTE: u64 = 0x9E37_79B9_7F4A_7C15;

/// The result of [`SeenSet::learn`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// It is known here.
    Kept,
    /// The lines were full. The first candidate for eviction was dropped; this may be the new element.
    OneTooMany,
    /// It was last admitted too long ago.
    Forgotten,
}

impl SeenSet {
    /// Makes a set in `table`. An element is forgotten `remember_us` after its last admission. An element that came
    /// back at least `comeback_us` after its first admission is not evicted while its lines hold one that did not.
    ///
    /// Returns `None` when `remember_us` is zero or longer than a clock can count.
    pub fn new(table: Table, remember_us: u64, comeback_us: u64) -> Option<Self> {
        let unit_us = remember_us.div_ceil(UNITS);
        Some(Self {
            table,
            clock: TickClock::new(1, u128::from(unit_us))?,
            unit_us,
            remember: remember_us.div_ceil(unit_us),
            comeback: comeback_us.div_ceil(unit_us).clamp(1, LONG_AGO),
            notes: None,
        })
    }

    /// The set with notes of refused elements in another table.
    pub fn noting(self, notes: Table) -> Self {
        Self { notes: Some(notes), ..self }
    }

    /// The table of its notes.
    pub fn notes(&self) -> Option<&Table> {
        self.notes.as_ref()
    }

    /// How long an element stays known after its last admission, in microseconds.
    pub fn remember_us(&self) -> u64 {
        self.remember.saturating_mul(self.unit_us)
    }

    /// Tells whether the element is known, and since when.
    #[inline]
    pub fn consult(&self, region: &Region, at: &Candidates, now_us: u64) -> Option<Sighting> {
        let now = self.clock.ticks(now_us);
        let found = region.find_matching(at, region.matching(at), |line, slot| self.read(line, slot, now));
        found.map(|(found, Times { since, last, has_returned, is_proven })| Sighting {
            since,
            last,
            has_returned,
            is_proven,
            found,
        })
    }

    /// Records that the element was admitted, with what `consult` returned under the same lock. `is_proven` states
    /// whether its sender is proven now; an element that was proven once remains so.
    ///
    /// It writes nothing when the element was already admitted within this unit of time and its line is up to date.
    #[inline]
    pub fn charge(&self, region: &mut Region, at: &Candidates, seen: Option<Sighting>, is_proven: bool, now_us: u64) {
        let now = self.clock.ticks(now_us);
        let Some(seen) = seen else { return self.charge_new(region, at, is_proven, now) };
        let Sighting { since, last, found, .. } = seen;
        let line = region.line_mut(found.line);
        let slot = usize::from(found.slot);
        if (line.slots[slot] >> 32) as u32 != at.fingerprint {
            // Another element of the same check has taken the slot, so this one is new again.
            return self.charge_new(region, at, is_proven, now);
        }
        if line.stamp != now {
            self.restamp(line, now);
        } else if last == now && is_proven <= seen.is_proven {
            return;
        }
        let returns = !seen.has_returned && now.saturating_sub(since) >= self.comeback;
        let (since, has_returned) = if returns { (now, true) } else { (since, seen.has_returned) };
        let times = Times { since, last: now, has_returned, is_proven: is_proven | seen.is_proven };
        line.slots[slot] = pack(at.fingerprint, times, now);
    }

    /// Returns when the element was noted, in units of the set, or `None` if it is not noted.
    #[inline]
    pub fn noted_units(&self, region: &Region, at: &Candidates, now_us: u64) -> Option<u64> {
        self.notes.and_then(|notes| self.find_note(region, &note_of(&notes, at), now_us))
    }

    #[inline(never)]
    fn find_note(&self, region: &Region, note: &Candidates, now_us: u64) -> Option<u64> {
        self.consult(region, note, now_us).map(|sighting| sighting.since)
    }

    /// Notes that the element was refused now, unless it is noted already.
    #[cold]
    pub fn note(&self, region: &mut Region, at: &Candidates, now_us: u64) {
        let Some(note) = self.notes.map(|notes| note_of(&notes, at)) else { return };
        if self.find_note(region, &note, now_us).is_none() {
            self.charge_new(region, &note, false, self.clock.ticks(now_us));
        }
    }

    /// A time in units of the set.
    pub fn units(&self, us: u64) -> u64 {
        self.clock.ticks(us)
    }

    /// The engine time at which `wait_us` has certainly passed since a time in units.
    pub fn passed_from_us(&self, since_units: u64, wait_us: u64) -> u64 {
        // That time may lie anywhere in its unit. One unit more ensures that at least the wait has passed.
        (since_units + wait_us.div_ceil(self.unit_us) + 1).saturating_mul(self.unit_us)
    }

    /// The engine time at which what was last seen then is forgotten.
    pub fn forgotten_after_us(&self, last_units: u64) -> u64 {
        (last_units + self.remember + 1).saturating_mul(self.unit_us)
    }

    #[inline(never)]
    fn charge_new(&self, region: &mut Region, at: &Candidates, is_proven: bool, now: u64) {
        let found = self.free_slot(region, at, now).unwrap_or_else(|| {
            region.counters_mut().evictions += 1;
            self.victim(region, at, now)
        });
        self.put(region, at, found, Times::new(now, is_proven), now);
    }

    /// Adds an element that was admitted elsewhere, first and last at those times. A time ahead of `now_us` counts as
    /// now.
    ///
    /// It evicts only an element of lower or equal rank. Many elements are learned at once, and their order must not
    /// matter. An element that is admitted here evicts the victim in any case.
    pub fn learn(&self, region: &mut Region, at: &Candidates, first_us: u64, last_us: u64, now_us: u64) -> Learned {
        let now = self.clock.ticks(now_us);
        let (first, last) = (self.clock.ticks(first_us).min(now), self.clock.ticks(last_us).min(now));
        if now > last + self.remember {
            return Learned::Forgotten;
        }
        let seen = self.consult(region, at, now_us);
        let times = match seen {
            Some(Sighting { since, last: latest, has_returned: true, is_proven, .. }) => {
                Times { since, last: last.max(latest), has_returned: true, is_proven }
            }
            _ => {
                let (since, latest) = seen.map_or((first, last), |seen| (first.min(seen.since), last.max(seen.last)));
                let has_returned = latest - since >= self.comeback;
                Times { since, last: latest, has_returned, is_proven: seen.is_some_and(|seen| seen.is_proven) }
            }
        };
        let times = times.storable(now);
        match seen {
            Some(seen) => self.put(region, at, seen.found, times, now),
            None => {
                let found = self.free_slot(region, at, now).unwrap_or_else(|| self.victim(region, at, now));
                return self.put_unless_outranked(region, at, found, times, now);
            }
        }
        Learned::Kept
    }

    /// Writes an element into its slot, unless the slot holds an element of higher rank.
    fn put_unless_outranked(
        &self, region: &mut Region, at: &Candidates, found: KeySlot, times: Times, now: u64,
    ) -> Learned {
        let in_its_place = self.worst(region.line(found.line), now).rank;
        if in_its_place > self.rank(times) {
            return Learned::OneTooMany;
        }
        self.put(region, at, found, times, now);
        if in_its_place > 0 { Learned::OneTooMany } else { Learned::Kept }
    }

    /// Writes an element into a slot.
    fn put(&self, region: &mut Region, at: &Candidates, found: KeySlot, times: Times, now: u64) {
        let line = region.line_mut(found.line);
        if line.stamp != now {
            self.restamp(line, now);
        }
        line.slots[usize::from(found.slot)] = pack(at.fingerprint, times, now);
    }

    /// The engine time from which on the element has settled: a sixth of `settle_us` after its return. It is `u64::MAX`
    /// as long as the element has not returned.
    pub fn settled_from_us(&self, sighting: Sighting, settle_us: u64) -> u64 {
        if !sighting.has_returned {
            return u64::MAX;
        }
        self.passed_from_us(sighting.since, settle_us / 6)
    }

    /// Whether the element was admitted again long enough after it was first admitted.
    #[inline]
    pub fn has_returned(&self, sighting: Sighting) -> bool {
        sighting.has_returned
    }

    /// Whether the element was admitted again in a later unit than at first.
    pub fn was_admitted_again(&self, sighting: Sighting) -> bool {
        sighting.has_returned || sighting.last > sighting.since
    }

    /// The engine time from which on an admission is in a later unit than the first.
    pub fn again_from_us(&self, sighting: Sighting) -> u64 {
        (sighting.since + 1).saturating_mul(self.unit_us)
    }

    /// The engine time at which the element is forgotten unless it is admitted again.
    pub fn forgotten_from_us(&self, sighting: Sighting) -> u64 {
        self.forgotten_after_us(sighting.last)
    }

    /// Slots in use on one page of the table.
    pub fn used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        self.used_of(&self.table, region, page, now_us)
    }

    /// Slots in use on one page of a table: of the elements or of the notes.
    pub fn used_of(&self, table: &Table, region: &Region, page: u32, now_us: u64) -> u64 {
        let now = self.clock.ticks(now_us);
        let used = |line: &Line| line.slots.iter().filter(|&&slot| self.read(line, slot, now).is_some()).count() as u64;
        region.page(table, page).iter().map(used).sum()
    }

    /// Reads the element of a slot; `None` when the slot is free or the element forgotten.
    #[inline]
    fn read(&self, line: &Line, slot: u64, now: u64) -> Option<Times> {
        // A slot's time is at most `stamp` units before the stamp, so the subtraction does not wrap below zero.
        let since = line.stamp.wrapping_sub(age_of_since(line.stamp, slot));
        let last = line.stamp.wrapping_sub(age_of_last(line.stamp, slot));
        let times = Times { since, last, has_returned: slot & RETURNED != 0, is_proven: slot & PROVEN != 0 };
        (slot != 0 && now <= last + self.remember).then_some(times)
    }

    /// A free slot for a new element, of the emptier line.
    fn free_slot(&self, region: &Region, at: &Candidates, now: u64) -> Option<KeySlot> {
        let lines = region.candidates(at);
        let first = self.slots_in_use(lines[0], now);
        // No line is emptier than one without a known element, and then the second one need not be read.
        let second = if first == 0 { 0 } else { self.slots_in_use(lines[1], now) };
        // Counting the bits of one byte takes fewer instructions.
        let is_second = (second as u8).count_ones() < (first as u8).count_ones();
        let (line, used) = if is_second { (at.lines[1], second) } else { (at.lines[0], first) };
        (used.trailing_ones() < SLOTS as u32).then(|| KeySlot { line, slot: used.trailing_ones() as u8, hot: false })
    }

    /// The slot of the lowest rank, when both lines are full.
    #[cold]
    fn victim(&self, region: &Region, at: &Candidates, now: u64) -> KeySlot {
        let [first, second] = region.candidates(at).map(|line| self.worst(line, now));
        let (line, worst) = if second.rank < first.rank { (at.lines[1], second) } else { (at.lines[0], first) };
        KeySlot { line, slot: worst.slot, hot: false }
    }

    /// The slots that hold known elements, as bits.
    #[inline]
    fn slots_in_use(&self, line: &Line, now: u64) -> u32 {
        let Some(oldest) = self.remember.checked_sub(now.saturating_sub(line.stamp)) else { return 0 };
        let is_known = |slot: u64| slot != 0 && age_of_last(line.stamp, slot) <= oldest;
        line.slots.iter().rev().fold(0, |bits, &slot| bits << 1 | u32::from(is_known(slot)))
    }

    /// Returns the slot of the lowest rank in a line.
    #[inline]
    fn worst(&self, line: &Line, now: u64) -> Worst {
        let mut worst = Worst { slot: 0, rank: u64::MAX };
        for (slot, &content) in line.slots.iter().enumerate() {
            let rank = self.read(line, content, now).map_or(0, |times| self.rank(times));
            if rank < worst.rank {
                (worst.slot, worst.rank) = (slot as u8, rank);
            }
        }
        worst
    }

    /// Returns the rank of an element, as the head of this file draws it. A rank is never zero.
    #[inline]
    fn rank(&self, Times { since, last, has_returned, is_proven }: Times) -> u64 {
        let came_for = if has_returned { last.saturating_sub(since) } else { 0 };
        // A stored time since is at most 15 bits ago.
        let bits = u64::from(u64::BITS - came_for.leading_zeros());
        u64::from(has_returned) << 63 | u64::from(is_proven) << 62 | bits << 57 | (last + 1) & (u64::MAX >> 7)
    }

    /// Stamps a line, zeroes the elements that are forgotten, and moves times that are too old to [`LONG_AGO`].
    /// So the distances of both times from the new stamp fit in 16 bits.
    #[inline(never)]
    fn restamp(&self, line: &mut Line, now: u64) {
        let gap = now.saturating_sub(line.stamp);
        if gap > self.remember {
            *line = Line { stamp: now, ..Line::default() };
            return;
        }
        let before = line.stamp;
        let (oldest_since, oldest_last) = (LONG_AGO.saturating_sub(gap), self.remember - gap);
        for slot in &mut line.slots {
            if *slot != 0 && age_of_last(before, *slot) > oldest_last {
                *slot = 0;
            }
            if *slot != 0 && age_of_since(before, *slot) > oldest_since {
                *slot = *slot & !SINCE | u64::from(now.saturating_sub(LONG_AGO) as u16 & LAST) << 16;
            }
        }
        line.stamp = now;
    }
}

/// The slot of the lowest rank in a line.
struct Worst {
    slot: u8,
    /// Zero when the slot is free.
    rank: u64,
}

/// What a slot holds of its element, in units of the set.
#[derive(Clone, Copy)]
struct Times {
    since: u64,
    last: u64,
    has_returned: bool,
    is_proven: bool,
}

impl Times {
    /// Those of an element that is admitted for the first time.
    fn new(now: u64, is_proven: bool) -> Self {
        Self { since: now, last: now, has_returned: false, is_proven }
    }

    /// The times as a slot can hold them at `now`.
    fn storable(self, now: u64) -> Self {
        Self { since: self.since.max(now.saturating_sub(LONG_AGO)), ..self }
    }
}

/// Where the note of an element is kept. The place of the element and its fingerprint are all that the set tells
/// elements apart by, so they are the key of the note.
fn note_of(notes: &Table, at: &Candidates) -> Candidates {
    let mixed = (at.lines[0].number() << 32 | u64::from(at.fingerprint)).wrapping_mul(NOTE);
    notes.candidates(Key((mixed ^ mixed >> 32).wrapping_mul(NOTE)))
}

/// How long before the stamp of its line the element of a slot was last seen, in units.
#[inline]
fn age_of_last(stamp: u64, slot: u64) -> u64 {
    u64::from((stamp as u16).wrapping_sub(slot as u16) & LAST)
}

/// How long before the stamp of its line the time since of a slot lies, in units.
#[inline]
fn age_of_since(stamp: u64, slot: u64) -> u64 {
    age_of_last(stamp, slot >> 16)
}

fn pack(fingerprint: u32, times: Times, now: u64) -> u64 {
    let Times { since, last, has_returned, is_proven } = times.storable(now);
    let bits = if has_returned { RETURNED } else { 0 } | if is_proven { PROVEN } else { 0 };
    u64::from(fingerprint) << 32 | bits | u64::from(since as u16 & LAST) << 16 | u64::from(last as u16 & LAST)
}
