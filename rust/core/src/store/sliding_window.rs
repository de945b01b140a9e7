//! Sliding-window counters in a set-associative table: for names that nobody can invent, where a quota must hold.
//!
//! **Idea.** The window W is cut into N panes of w = ⌈W/N⌉. A key has a ring of N + 1 counts, the last one for the pane
//! that is being filled. The oldest pane counts in full until all of it has left the window. A slot whose panes have
//! all expired equals one that was never used, so it is free. Without a sketch, a slot in use is never evicted, and
//! [`WhenFull`] states what happens to keys without room. With a sketch (`overflow`), a slot may pass to a heavier key,
//! and its counts move to the sketch.
//!
//! ```text
//!  pane    q−N        …        q−1       q = stamp          slot: fingerprint | N + 1 counts of log₂(L + 1) bits
//!       ├───────┼───────┼───────┼───────┼──── ─ ─┤                (`pane_ring` draws it)
//!           └──────────── W ────────────────┘ now           what lies in the window lies in the ring
//!
//!  consult(key, a):  kept ← the newest panes of the ring that together hold at most L − a
//!                    fits when all panes that have not expired are among them
//!                    else it fits from the start of pane stamp + N + 1 − kept on
//!  charge(key, a):   stamp ← q, which shifts the rings of the line; newest pane += a
//!                    a new key takes a free slot of the emptier line
//! ```
//!
//! **Never more than L.** An event at a is in pane p = ⌊a/w⌋, so a + 1 ≤ (p + 1)·w, and counts in [a, a + W). It leaves
//! the ring in pane p + N + 1, that is at (p + N + 1)·w ≥ a + 1 + N·w > a + W: not before the window has passed it. The
//! ring never holds more than L, so no window does.
//!
//! **An even sender at 0.8 L passes.** What the ring counts was sent in one half-open interval of (N + 1)·w, between
//! whole microseconds. Of events that are d apart, their times rounded down or not, it holds at most ⌈(N + 1)·w/d⌉,
//! which with d ≥ W/(0.8 L) is at most L when 0.8·(N + 1)·w ≤ W. N = 4 gives just that where W is a multiple of 4 µs,
//! as every W in seconds is; N ≥ 5 does wherever W ≥ 120 µs. In general N/(N + 1) of L passes: 0.94 up to L = 63,
//! 0.92 at 100, 0.83 at 65,535. With costs above 1 this holds where they divide L.
//!
//! **Cost.** Two cache lines of one page, at any number of keys; a sum of N + 1 ≤ 16 counts. **Size.** 16 bytes a
//! key, three to a line, for L < 2¹⁹; 28 bytes, two to a line, for L < 2³⁸ (256 GiB). Above that, counts are in units
//! of a power of two that brings L below it, rounded up. Of the keys that fill a table to half, 0.1 % find no room,
//! and 0.9 % where a line has two slots; so K keys a window need about 43·K bytes, or 64·K. One message occupies a
//! slot for up to W + w. With GCRA it occupies a slot of less than half the size for W/L. So GCRA is the default for
//! names that can be invented. **Bound.** Two keys share a slot when 32 bits of fingerprint and a line agree: at most
//! 6 · 2⁻³² a look-up.
//!
//! **Source.** Panes: Li, Maier, Tufte, Papadimos, Tucker, "No pane, no gain" (2005). Whole oldest pane: the upper side
//! of the error of exponential histograms, Datar, Gionis, Indyk, Motwani (2002).
//!
//! **Dropped.** Two buckets and interpolation: it admits up to 2 L in a window. A pane number in each slot: the line's
//! stamp has it already, and the bits allow more panes. A log of times: exact, but 4 L bytes a key.

use super::overflow::{Counts, Panes, Split, sketch_key};
use super::pane_ring::{LARGEST, PaneRing, Shape};
use super::params::{Rate, WhenFull};
use super::request::{SlotReservations, Verdict, free_slot};
use crate::region::{Candidates, KeySlot, LINES, Line, LineId, Region, Table};
use crate::time::{TickClock, Ticks};

/// Counters of one limit.
#[derive(Clone, Copy, Debug)]
pub struct SlidingWindow {
    /// Its slots.
    pub table: Table,
    when_full: WhenFull,
    shape: Shape,
    /// One tick a pane.
    clock: TickClock,
    /// The limit, in units.
    most: u64,
    /// How much one unit is: 1 unless the limit is over 2³⁸.
    pub unit: u64,
    /// Counts the keys without a slot.
    pub(super) sketch: Option<Panes>,
}

impl SlidingWindow {
    /// Makes counters in `table`. Returns `None` when the rate is zero, or its period is longer than a clock can count.
    ///
    /// A sketch needs two pages; with only one, a key that finds no slot is refused.
    pub fn new(table: Table, rate: Rate, when_full: WhenFull) -> Option<Self> {
        match when_full {
            WhenFull::Sketch => Self::beside_sketch(table, rate, Split::WINDOW),
            _ => Self::plain(table, rate, when_full),
        }
    }

    /// Makes counters in a part of `table`, and a sketch in the rest; `split` states how the table is divided.
    pub fn beside_sketch(table: Table, rate: Rate, split: Split) -> Option<Self> {
        let whole = Self::plain(table, rate, WhenFull::Sketch)?;
        let parted = split.of(table).and_then(|(table, sketch)| {
            let (bits, panes) = (whole.shape.bits_of(1), whole.shape.panes);
            Some((table, Panes::new(sketch, split, bits, panes)?))
        });
        Some(parted.map_or(whole, |(table, sketch)| Self { table, sketch: Some(sketch), ..whole }))
    }

    fn plain(table: Table, rate: Rate, when_full: WhenFull) -> Option<Self> {
        let unit = rate.amount.div_ceil(LARGEST).max(1).next_power_of_two();
        let most = rate.amount / unit;
        let shape = Shape::new(most);
        let pane_us = rate.period_us.div_ceil(u64::from(shape.panes - 1));
        let clock = TickClock::new(1, u128::from(pane_us))?;
        (most > 0).then_some(Self { table, when_full, shape, clock, most, unit, sketch: None })
    }

    /// Slots in all.
    pub fn slots(&self) -> u64 {
        u64::from(self.table.pages()) * (LINES * self.shape.slots()) as u64
    }

    /// How long one charge occupies a slot on average, in microseconds: half of the pane in which it is charged, and
    /// all panes after that.
    pub fn occupied_us(&self) -> u64 {
        self.clock.micros(1).saturating_mul(2 * u64::from(self.panes()) + 1) / 2
    }

    /// The number of panes in a window, at least four.
    pub fn panes(&self) -> u32 {
        self.shape.panes - 1
    }

    /// Converts `now_us` to panes of the table, once for consulting and charging.
    pub fn ticks_at(&self, now_us: u64) -> Ticks {
        Ticks(self.clock.ticks(now_us))
    }

    /// Tells whether `amount` fits now, or when it will fit. Also returns the slot of the key, for
    /// [`SlidingWindow::charge`].
    ///
    /// `reserved` holds the free slots that earlier keys of the same check will take. A new key reserves the slot that
    /// [`SlidingWindow::charge`] will give it when those keys are charged first.
    #[inline]
    pub fn consult(
        &self, region: &Region, at: &Candidates, Ticks(now): Ticks, amount: u64, reserved: &mut SlotReservations,
    ) -> (Verdict, Option<KeySlot>) {
        let Some(room) = self.most.checked_sub(self.price(amount)) else { return (Verdict::Never, None) };
        if let Some(found) = self.find(region, at, now) {
            let line = region.line(found.line);
            let (ring, live) = (self.shape.ring(line, found.slot.into()), self.live_panes(line, now));
            // Nearly every charge leaves half of the limit free, and then this one test is enough.
            if u64::from(self.shape.within(ring, room.saturating_sub(self.most.div_ceil(2)))) >= live {
                return (Verdict::Fits, Some(found));
            }
            let found = KeySlot { hot: true, ..found };
            let kept = u64::from(self.shape.within(ring, room));
            if kept >= live {
                return (Verdict::Fits, Some(found));
            }
            let from = line.stamp + u64::from(self.shape.panes) - kept;
            // When the slot will have expired by then, the sketch will decide.
            let later = (self.sketch.is_some() && self.find(region, at, from).is_none())
                .then(|| self.consult_untracked(region, at, from, room, reserved))
                .filter(|later| *later != Verdict::Fits);
            return (later.unwrap_or(Verdict::From(self.clock.micros(from))), Some(found));
        }
        match self.when_full {
            WhenFull::Admit => (Verdict::Fits, None),
            _ => (self.consult_untracked(region, at, now, room, reserved), None),
        }
    }

    /// Charges `amount` to the key, with what `consult` returned under the same lock.
    ///
    /// Returns `false` when the key found no room and is not counted.
    #[inline]
    pub fn charge(&self, region: &mut Region, at: &Candidates, slot: Option<KeySlot>, now: Ticks, amount: u64) -> bool {
        let price = self.price(amount);
        if self.sketch.is_some() {
            return self.charge_either(region, at, slot, now.0, price);
        }
        let Some(slot) = slot.or_else(|| self.free(region, at, now.0)) else { return false };
        self.put(region, at, slot, now.0, price)
    }

    /// Adds `price` to the slot of the key.
    #[inline]
    fn put(&self, region: &mut Region, at: &Candidates, found: KeySlot, now: u64, price: u64) -> bool {
        let (line, slot) = (self.line_at(region, found.line, now), usize::from(found.slot));
        self.shape.put(line, slot, at.fingerprint, self.shape.with(self.shape.ring(line, slot), price));
        true
    }

    /// Takes back what `amount` was charged at `then`, unless its pane has expired. Returns whether the key had a slot
    /// and anything was taken back.
    ///
    /// Nothing is taken from a sketch, because its cells count other keys as well. A count that moves from the sketch
    /// is put as a whole into the latest pane in which it may have been charged. So the pane of `then` either holds the
    /// charge, or is empty, and then nothing is taken back.
    pub fn refund(&self, region: &mut Region, at: &Candidates, then: Ticks, Ticks(now): Ticks, amount: u64) -> bool {
        let Some(KeySlot { line, slot, .. }) = self.find(region, at, now) else { return false };
        let (line, slot) = (self.line_at(region, line, now), usize::from(slot));
        let age = now.saturating_sub(then.0);
        if age >= u64::from(self.shape.panes) {
            return false;
        }
        let ring = self.shape.ring(line, slot);
        let counted = self.shape.count(ring, age as u32).min(self.price(amount));
        let ring = self.shape.without(ring, age as u32, counted);
        let fingerprint = if ring == PaneRing::default() { 0 } else { at.fingerprint };
        self.shape.put(line, slot, fingerprint, ring);
        counted > 0
    }

    /// Empties the key's slot. Returns whether it held anything.
    pub fn clear(&self, region: &mut Region, at: &Candidates, Ticks(now): Ticks) -> bool {
        let Some(KeySlot { line, slot, .. }) = self.find(region, at, now) else { return false };
        self.shape.put(region.line_mut(line), usize::from(slot), 0, PaneRing::default());
        true
    }

    /// Tells whether a key without a slot fits: the sketch decides, or without a sketch the room in the table.
    fn consult_untracked(
        &self, region: &Region, at: &Candidates, now: u64, room: u64, reserved: &mut SlotReservations,
    ) -> Verdict {
        let Some(sketch) = &self.sketch else { return self.room(region, at, now, reserved) };
        let counts = sketch.counts(region, sketch_key(at.lines[0], at.fingerprint), now);
        let from = sketch.fits_from(&counts, now, room);
        from.map_or(Verdict::Fits, |pane| Verdict::From(self.clock.micros(pane)))
    }

    /// Charges the key's slot. A key without one gets a free or won slot with its sketch counts; otherwise the sketch
    /// is raised.
    ///
    /// An earlier key of the same check can have taken the slot or raised the cells since the key was consulted. So the
    /// slot is looked up again, and no count that goes to the sketch is above the limit.
    fn charge_either(&self, region: &mut Region, at: &Candidates, slot: Option<KeySlot>, now: u64, price: u64) -> bool {
        let fingerprint = |slot: &KeySlot| self.shape.fingerprint(region.line(slot.line), slot.slot.into());
        let own = slot.filter(|slot| fingerprint(slot) == at.fingerprint).or_else(|| self.find(region, at, now));
        if let Some(own) = own {
            return self.put(region, at, own, now, price);
        }
        let Some(sketch) = &self.sketch else { return false };
        let key = sketch_key(at.lines[0], at.fingerprint);
        let mut counts = sketch.counts(region, key, now);
        let weight = counts.iter().fold(price, |sum, count| sum.saturating_add(*count));
        let given = self.free(region, at, now).or_else(|| self.take_lightest(region, at, now, weight));
        let Some(given) = given else {
            counts[0] = counts[0].saturating_add(price).min(self.most);
            sketch.raise(region, key, now, &counts);
            return true;
        };
        let ring = self.ring_of(sketch, &counts, now);
        self.shape.put(self.line_at(region, given.line, now), given.slot.into(), at.fingerprint, ring);
        self.put(region, at, given, now, price)
    }

    /// Takes the lightest slot of the two lines when a key of this weight outweighs it. Its counts move to the sketch.
    fn take_lightest(&self, region: &mut Region, at: &Candidates, now: u64, weight: u64) -> Option<KeySlot> {
        let sketch = self.sketch.as_ref()?;
        let slots = at.lines.into_iter().flat_map(|id| (0..self.shape.slots()).map(move |slot| (id, slot)));
        let held = slots.map(|(id, slot)| (self.counts_of(sketch, region.line(id), slot, now), id, slot));
        let (counts, line, slot) = held.min_by_key(|(counts, ..)| counts.iter().sum::<u64>())?;
        if !sketch.grid.passes(counts.iter().sum(), weight) {
            return None;
        }
        let key = sketch_key(line, self.shape.fingerprint(region.line(line), slot));
        sketch.raise(region, key, now, &counts);
        Some(KeySlot { line, slot: slot as u8, hot: false })
    }

    /// Returns the counts of a slot that have not expired, in panes of the sketch.
    fn counts_of(&self, sketch: &Panes, line: &Line, slot: usize, now: u64) -> Counts {
        let mut counts = Counts::default();
        let ring = self.shape.ring(line, slot);
        // There is no pane before the first one of engine time.
        for back in 0..self.live_panes(line, now).min(line.stamp + 1) {
            let age = sketch.age(now, line.stamp - back);
            counts[age] = (counts[age] + self.shape.count(ring, back as u32)).min(self.most);
        }
        counts
    }

    /// Returns a ring with these counts, each in the latest pane in which it may have been charged.
    fn ring_of(&self, sketch: &Panes, counts: &Counts, now: u64) -> PaneRing {
        let (mut ring, mut at) = (PaneRing::default(), 0);
        for (age, &count) in counts.iter().enumerate().rev().filter(|(_, count)| **count > 0) {
            let pane = sketch.last(now, age).min(now);
            if ring != PaneRing::default() {
                ring = self.shape.later(ring, pane - at);
            }
            (ring, at) = (self.shape.with(ring, count), pane);
        }
        if ring == PaneRing::default() { ring } else { self.shape.later(ring, now - at) }
    }

    /// Slots in use on one page of the table.
    pub fn used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        let now = self.clock.ticks(now_us);
        let used = |line: &Line| self.shape.slots() as u64 - u64::from(self.free_slots(line, now).count_ones());
        region.page(&self.table, page).iter().map(used).sum()
    }

    /// Converts `amount` to units, rounded up.
    #[inline]
    fn price(&self, amount: u64) -> u64 {
        if self.unit == 1 { amount } else { amount.div_ceil(self.unit) }
    }

    /// How many of a line's panes, counted from the newest, have not expired.
    #[inline]
    fn live_panes(&self, line: &Line, now: u64) -> u64 {
        u64::from(self.shape.panes).saturating_sub(now.saturating_sub(line.stamp))
    }

    #[inline]
    fn find(&self, region: &Region, at: &Candidates, now: u64) -> Option<KeySlot> {
        let found = region.find(at, |line| {
            let live = self.shape.bits_of(self.live_panes(line, now));
            let is_key = |slot| self.shape.fingerprint(line, slot) == at.fingerprint;
            let slot =
                (0..self.shape.slots()).find(|&slot| is_key(slot) && self.shape.ring(line, slot).counts_below(live))?;
            Some((slot as u8, ()))
        });
        found.map(|(found, ())| found)
    }

    #[inline]
    fn free(&self, region: &Region, at: &Candidates, now: u64) -> Option<KeySlot> {
        free_slot(at, at.lines.map(|id| self.free_slots(region.line(id), now)))
    }

    /// Returns the free slots of a line as bits.
    #[inline]
    fn free_slots(&self, line: &Line, now: u64) -> u32 {
        let live = self.shape.bits_of(self.live_panes(line, now));
        let free = |slot: usize| u32::from(!self.shape.ring(line, slot).counts_below(live)) << slot;
        (0..self.shape.slots()).map(free).sum()
    }

    /// Tells whether a new key finds a slot that is not reserved, or when the next slot that it may get is free.
    fn room(&self, region: &Region, at: &Candidates, now: u64, reserved: &mut SlotReservations) -> Verdict {
        let free_from = |line: &Line, slot: usize| {
            let empty = self.shape.within(self.shape.ring(line, slot), 0);
            line.stamp + u64::from(self.shape.panes) - u64::from(empty)
        };
        let (free_slots, slots) = (|line: &Line| self.free_slots(line, now), self.shape.slots());
        let ready = reserved.slot_from(region, (at, &self.table, slots), now, free_slots, free_from);
        Verdict::at(ready, now, &self.clock)
    }

    /// Returns a line for writing at `now`: its rings are shifted to that pane, and expired counts are zero.
    #[inline]
    fn line_at<'r>(&self, region: &'r mut Region, id: LineId, now: u64) -> &'r mut Line {
        let line = region.line_mut(id);
        if line.stamp != now {
            self.restamp(line, now);
        }
        line
    }

    /// Shifts the rings of a line to the pane `now`, zeroes what has expired, and stamps the line.
    #[inline]
    fn restamp(&self, line: &mut Line, now: u64) {
        let gap = now.saturating_sub(line.stamp);
        if gap >= u64::from(self.shape.panes) {
            *line = Line::default();
        } else {
            for slot in 0..self.shape.slots() {
                let ring = self.shape.later(self.shape.ring(line, slot), gap);
                let fingerprint = if ring == PaneRing::default() { 0 } else { self.shape.fingerprint(line, slot) };
                self.shape.put(line, slot, fingerprint, ring);
            }
        }
        line.stamp = now;
    }
}
