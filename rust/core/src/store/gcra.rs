//! GCRA buckets in a set-associative table: the default for every name that a sender can invent.
//!
//! **Idea.** The generic cell rate algorithm keeps one number for each key, the theoretical arrival time (TAT): the
//! time at which its bucket will have drained. A drained bucket equals one that was never used, so a slot whose TAT has
//! passed is free, and forgetting it loses nothing. Without a sketch the table is lossless: a slot in use is never
//! evicted, so a flood can only take the room of keys that have no slot yet. [`WhenFull`] states what happens to those.
//! With a sketch (`overflow`), a slot may pass to a heavier key, and its level moves to the sketch.
//!
//! ```text
//!  slot   63 ─────────── 32 31 ──────────── 0        the TAT is read as a distance from the line's stamp
//!         fingerprint ≠ 0   TAT, ticks, wrapping
//!
//!  consult(key, price):  level ← max(TAT − now, 0), or 0 when the key has no slot
//!                        fits when level + price ≤ capacity; else it fits from TAT + price − capacity on
//!  charge(key, price):   zero what has expired; TAT ← max(TAT, now) + price
//!                        a new key takes a free slot of the emptier line
//! ```
//!
//! **Scale the clock, not the price.** With L per W and a burst of B, one charge is k whole ticks, and a tick is
//! W/(L·k). k is as large as B·k ≤ 2²³ allows, but at most ⌈W/L⌉ with W in microseconds, because time is not known more
//! finely. Only `now` is rounded, down to its tick: a key gets at most B + L·t/W, plus one tick when its bucket was
//! empty. Where B > 2²³ (bytes), a charge counts in units of ⌈B/2²³⌉, rounded up.
//!
//! **Cost.** Two cache lines of one page, at any number of keys. **Size.** A slot costs 64/7 bytes, with its part of
//! the stamp. A message on a new key occupies a slot for W/L. So R new keys a second occupy R·(W/L) slots, and need
//! about 13·R·(W/L) bytes at 70 % load, where 0.015 % of the new keys find no room. **Bound.** Two keys share a slot
//! when 32 bits of fingerprint and a line agree: below 14 · 2⁻³² a look-up.
//!
//! **Source.** ATM Forum, Traffic Management 4.0 (1996), §4.4.3, virtual scheduling. Two choices: Azar, Broder, Karlin,
//! Upfal (1994).
//!
//! **Dropped.** Evicting the lowest level: above capacity a sender at three times its rate keeps all of it. Eight slots
//! without a stamp: they need a sweep before times wrap. One candidate line: it loses 1.2 % of the new keys at 46 %
//! load.

use super::overflow::{Arrivals, Split, sketch_key};
use super::params::{Rate, WhenFull};
use super::request::{Answer, SlotReservations, Verdict, free_slot};
use crate::region::{Candidates, KeySlot, Line, LineId, Region, SLOTS, Table};
use crate::time::{TickClock, Ticks};

/// All slots of a line, as bits.
const ALL_SLOTS: u32 = (1 << SLOTS) - 1;

/// Most ticks that a bucket holds.
const CAPACITY_MAX: u64 = 1 << 23;

/// A rate and its burst in ticks of the limit's own clock, so that every charge is a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcraRate {
    /// The clock of its ticks.
    pub clock: TickClock,
    /// The cost of one unit, in ticks.
    per_unit: u64,
    /// How much one unit is: 1 unless the burst is over 2²³.
    pub unit: u64,
    /// The capacity of a bucket, in ticks: at most 2²³.
    pub capacity: u64,
}

impl GcraRate {
    /// Makes the rate. Returns `None` when no clock of this crate can keep it: more than eight million a second with a
    /// burst too small for that.
    pub fn new(rate: Rate, burst: u64) -> Option<Self> {
        let unit = burst.div_ceil(CAPACITY_MAX).max(rate.amount.div_ceil(rate.period_us.checked_mul(8)?)).max(1);
        let units = burst / unit;
        let useful = rate.period_us.div_ceil(rate.amount.max(1));
        let per_unit = if unit > 1 { 1 } else { (CAPACITY_MAX / units.max(1)).min(useful).max(1) };
        let clock = TickClock::new(
            u128::from(rate.amount) * u128::from(per_unit),
            u128::from(rate.period_us) * u128::from(unit),
        )?;
        (units > 0).then_some(Self { clock, per_unit, unit, capacity: units * per_unit })
    }

    /// The price of `amount`, in ticks; it saturates far above any capacity.
    #[inline]
    pub fn price(&self, amount: u64) -> u64 {
        let units = if self.unit == 1 { amount } else { amount.div_ceil(self.unit) };
        units.saturating_mul(self.per_unit)
    }

    /// How long an empty bucket takes to drain after one charge of `amount`, in microseconds.
    pub fn occupied_us(&self, amount: u64) -> u64 {
        self.clock.micros(self.price(amount).min(self.capacity))
    }
}

/// Buckets of one limit.
#[derive(Clone, Copy, Debug)]
pub struct Gcra {
    /// Its slots.
    pub table: Table,
    /// The rate and burst.
    pub quota: GcraRate,
    when_full: WhenFull,
    /// Counts the keys without a slot.
    pub(super) sketch: Option<Arrivals>,
}

impl Gcra {
    /// Makes buckets in `table`. A sketch needs two pages; with only one, a key that finds no slot is refused.
    pub fn new(table: Table, quota: GcraRate, when_full: WhenFull) -> Self {
        match when_full {
            WhenFull::Sketch => Self::beside_sketch(table, quota, Split::GCRA),
            _ => Self { table, quota, when_full, sketch: None },
        }
    }

    /// Makes buckets in a part of `table`, and a sketch in the rest; `split` states how the table is divided.
    pub fn beside_sketch(table: Table, quota: GcraRate, split: Split) -> Self {
        let when_full = WhenFull::Sketch;
        // Either one unit costs at least 64 grains, so rounding up adds less than 1/64 of it, or a grain is one tick,
        // and nothing is rounded.
        let grain = split.grain.min((quota.price(1) / 64).max(1).ilog2());
        let split = Split { grain, ..split };
        let parted = split.of(table).and_then(|(table, sketch)| Some((table, Arrivals::new(sketch, split)?)));
        let (table, sketch) = parted.map_or((table, None), |(table, sketch)| (table, Some(sketch)));
        Self { table, quota, when_full, sketch }
    }

    /// Converts `now_us` to ticks of the table, once for consulting and charging.
    #[inline]
    pub fn ticks_at(&self, now_us: u64) -> Ticks {
        Ticks(self.quota.clock.ticks(now_us))
    }

    /// Tells whether `amount` fits now, or when it will fit. Also returns the slot of the key, for [`Gcra::charge`].
    ///
    /// `reserved` holds the free slots that earlier keys of the same check will take. A new key reserves the slot that
    /// [`Gcra::charge`] will give it when those keys are charged first.
    #[inline(always)]
    pub fn consult(
        &self, region: &Region, at: &Candidates, now: Ticks, amount: u64, reserved: &mut SlotReservations,
    ) -> (Verdict, Option<KeySlot>) {
        let mut answer = Answer::FITS;
        self.consult_into(region, at, now, amount, reserved, &mut answer);
        (answer.verdict, answer.slot)
    }

    /// [`Gcra::consult`] into an answer that is [`Answer::FITS`]. Most keys have no slot, since their buckets have
    /// drained or they are new. Then nothing is written.
    #[inline(always)]
    pub(super) fn consult_into(
        &self, region: &Region, at: &Candidates, Ticks(now): Ticks, amount: u64, reserved: &mut SlotReservations,
        answer: &mut Answer,
    ) {
        let (price, matching) = (self.quota.price(amount), region.matching(at));
        if self.when_full != WhenFull::Admit || price > self.quota.capacity || matching != 0 {
            self.consult_slot(region, (at, matching), now, price, reserved, answer);
        }
    }

    /// Tells whether a price fits into the bucket of a key that may have a slot.
    #[inline(always)]
    fn consult_slot(
        &self, region: &Region, (at, matching): (&Candidates, u32), now: u64, price: u64,
        reserved: &mut SlotReservations, answer: &mut Answer,
    ) {
        let capacity = self.quota.capacity;
        if price > capacity {
            answer.verdict = Verdict::Never;
            return;
        }
        let Some((found, level)) = find(region, at, matching, now) else {
            if self.when_full != WhenFull::Admit {
                answer.verdict = self.consult_untracked(region, at, now, price, reserved);
            }
            return;
        };
        let after = level + price;
        answer.slot = Some(KeySlot { hot: 2 * after > capacity, ..found });
        if after > capacity {
            answer.verdict = self.wait(region, at, now, (level, price), reserved);
        }
    }

    /// Tells when a key in a slot has room again. `level` and `price` together are above the capacity.
    #[cold]
    fn wait(
        &self, region: &Region, at: &Candidates, now: u64, (level, price): (u64, u64), reserved: &mut SlotReservations,
    ) -> Verdict {
        let over = level + price - self.quota.capacity;
        if over >= level && self.sketch.is_some() {
            // The slot will have expired by then, so the sketch will decide.
            match self.consult_untracked(region, at, now + over, price, reserved) {
                Verdict::Fits => {}
                later => return later,
            }
        }
        Verdict::From(self.quota.clock.micros(now + over))
    }

    /// Tells whether a key without a slot fits: the sketch decides, or without a sketch the room in the table.
    #[inline(never)]
    fn consult_untracked(
        &self, region: &Region, at: &Candidates, now: u64, price: u64, reserved: &mut SlotReservations,
    ) -> Verdict {
        let Some(sketch) = &self.sketch else { return self.room(region, at, now, reserved) };
        let level = sketch.level(region, sketch_key(at.lines[0], at.fingerprint), now);
        let over = (level + price).saturating_sub(self.quota.capacity);
        Verdict::at(Some(now + over), now, &self.quota.clock)
    }

    /// Charges `amount` to the key, with what `consult` returned under the same lock.
    ///
    /// A level never goes above the capacity, even when two keys of one check share a slot: `slots_in_use` relies
    /// on that. Returns `false` when the key found no room and is not counted.
    #[inline(always)]
    pub fn charge(&self, region: &mut Region, at: &Candidates, slot: Option<KeySlot>, now: Ticks, amount: u64) -> bool {
        let price = self.quota.price(amount);
        match slot {
            _ if self.sketch.is_some() => self.charge_either(region, at, slot, now.0, price),
            Some(slot) => self.put(region, at, slot, now.0, price),
            None => self.charge_new(region, at, now.0, price),
        }
    }

    /// Adds `price` to the slot of the key.
    #[inline]
    fn put(&self, region: &mut Region, at: &Candidates, found: KeySlot, now: u64, price: u64) -> bool {
        let line = line_at(region, found.line, now);
        let slot = &mut line.slots[usize::from(found.slot)];
        // The line was stamped just now, so a distance from the stamp is a level.
        let level = if *slot == 0 { 0 } else { (*slot as u32).wrapping_sub(now as u32) };
        *slot = pack(at.fingerprint, now + (u64::from(level) + price).min(self.quota.capacity));
        true
    }

    /// Gives a key a free slot; returns `false` when there is none.
    #[inline]
    fn charge_new(&self, region: &mut Region, at: &Candidates, now: u64, price: u64) -> bool {
        let first = region.line_mut(at.lines[0]);
        let used = self.slots_in_use(first, now);
        if used == 0 {
            // No line is emptier than this one. In a table with room most lines are empty.
            return self.begin(first, at, now, price);
        }
        self.charge_emptier(region, at, used, now, price)
    }

    /// Gives a key a free slot of the emptier line; `first` are the slots in use of its first line, which is not empty.
    #[inline(never)]
    fn charge_emptier(&self, region: &mut Region, at: &Candidates, first: u32, now: u64, price: u64) -> bool {
        let line = region.line_mut(at.lines[1]);
        let second = self.slots_in_use(line, now);
        if second == 0 {
            return self.begin(line, at, now, price);
        }
        let free = free_slot(at, [first, second].map(|used| ALL_SLOTS & !used));
        free.is_some_and(|free| self.put(region, at, free, now, price))
    }

    /// Gives a key the first slot of a line in which no slot is in use.
    #[inline(always)]
    fn begin(&self, line: &mut Line, at: &Candidates, now: u64, price: u64) -> bool {
        *line = Line { stamp: now, ..Line::default() };
        line.slots[0] = pack(at.fingerprint, now + price.min(self.quota.capacity));
        true
    }

    /// Takes back what `amount` was charged at `then`, less what has drained since. Returns whether the key had a slot
    /// and anything was left to take back.
    ///
    /// Nothing is taken from a sketch, because its cells count other keys as well. A level never falls below what it
    /// would be without the charge.
    pub fn refund(&self, region: &mut Region, at: &Candidates, then: Ticks, now: Ticks, amount: u64) -> bool {
        let now = now.0;
        let left = self.quota.price(amount).saturating_sub(now.saturating_sub(then.0));
        let Some((found, level)) = find(region, at, region.matching(at), now).filter(|_| left > 0) else {
            return false;
        };
        let level = level.saturating_sub(left);
        line_at(region, found.line, now).slots[usize::from(found.slot)] =
            if level == 0 { 0 } else { pack(at.fingerprint, now + level) };
        true
    }

    /// Empties the key's slot. Returns whether it held anything.
    pub fn clear(&self, region: &mut Region, at: &Candidates, Ticks(now): Ticks) -> bool {
        let Some((KeySlot { line, slot, .. }, _)) = find(region, at, region.matching(at), now) else { return false };
        region.line_mut(line).slots[usize::from(slot)] = 0;
        true
    }

    /// Slots in use on one page of the table.
    pub fn used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        let Ticks(now) = self.ticks_at(now_us);
        let used = |line: &Line| line.slots.iter().filter(|&&slot| level(line, slot, now) > 0).count() as u64;
        region.page(&self.table, page).iter().map(used).sum()
    }

    /// Charges the key's slot. A key without one gets a free or won slot with its sketch level; otherwise the sketch is
    /// raised.
    ///
    /// An earlier key of the same check can have taken the slot or raised the cells since the key was consulted. So the
    /// slot is looked up again, and no level goes above the capacity.
    #[inline(never)]
    fn charge_either(&self, region: &mut Region, at: &Candidates, slot: Option<KeySlot>, now: u64, price: u64) -> bool {
        let is_still = |slot: &KeySlot| fingerprint(region.line(slot.line), slot.slot) == at.fingerprint;
        let own = slot.filter(is_still).or_else(|| find(region, at, region.matching(at), now).map(|(slot, _)| slot));
        if let Some(own) = own {
            return self.put(region, at, own, now, price);
        }
        let Some(sketch) = &self.sketch else { return false };
        let key = sketch_key(at.lines[0], at.fingerprint);
        let after = sketch.level(region, key, now) + price;
        if let Some(given) = self.free(region, at, now).or_else(|| take_lightest(sketch, region, at, now, after)) {
            return self.put(region, at, given, now, after);
        }
        sketch.raise(region, key, now, after.min(self.quota.capacity));
        true
    }

    /// A free slot of the emptier line.
    fn free(&self, region: &Region, at: &Candidates, now: u64) -> Option<KeySlot> {
        free_slot(at, at.lines.map(|id| ALL_SLOTS & !self.slots_in_use(region.line(id), now)))
    }

    /// Slots that are not free, as bits: those whose distance from the stamp has not passed.
    ///
    /// When the line was written, no slot was above the capacity. So the stamp alone often shows that all are free.
    #[inline]
    fn slots_in_use(&self, line: &Line, now: u64) -> u32 {
        let gap = now.saturating_sub(line.stamp);
        if gap >= self.quota.capacity { 0 } else { line.later(gap as u32) }
    }

    /// Tells whether a new key finds a slot that is not reserved, or when the next slot that it may get is free.
    fn room(&self, region: &Region, at: &Candidates, now: u64, reserved: &mut SlotReservations) -> Verdict {
        let free_slots = |line: &Line| ALL_SLOTS & !self.slots_in_use(line, now);
        let free_from = |line: &Line, slot: usize| now + level(line, line.slots[slot], now);
        let ready = reserved.slot_from(region, (at, &self.table, SLOTS), now, free_slots, free_from);
        Verdict::at(ready, now, &self.quota.clock)
    }
}

/// The slot of a key among those that match it, and its level.
#[inline]
fn find(region: &Region, at: &Candidates, matching: u32, now: u64) -> Option<(KeySlot, u64)> {
    region.find_matching(at, matching, |line, slot| Some(level(line, slot, now)).filter(|level| *level > 0))
}

/// Takes the lightest slot of the two lines when a key of this weight outweighs it. Its level moves to the sketch.
fn take_lightest(sketch: &Arrivals, region: &mut Region, at: &Candidates, now: u64, weight: u64) -> Option<KeySlot> {
    let slots = at.lines.into_iter().flat_map(|line| (0..SLOTS as u8).map(move |slot| (line, slot)));
    let level_of = |(line, slot)| level(region.line(line), region.line(line).slots[usize::from(slot)], now);
    let (lightest, (line, slot)) = slots.map(|at| (level_of(at), at)).min_by_key(|(level, _)| *level)?;
    if !sketch.grid.passes(lightest, weight) {
        return None;
    }
    let key = sketch_key(line, fingerprint(region.line(line), slot));
    sketch.raise(region, key, now, lightest);
    region.line_mut(line).slots[usize::from(slot)] = 0;
    Some(KeySlot { line, slot, hot: false })
}

#[inline]
fn fingerprint(line: &Line, slot: u8) -> u32 {
    (line.slots[usize::from(slot)] >> 32) as u32
}

/// Returns the level of one slot: the distance of its TAT from the stamp, less the time since the stamp.
///
/// A distance is at most the capacity, so it fits in 32 bits, and a line of any age is read correctly.
#[inline]
fn level(line: &Line, slot: u64, now: u64) -> u64 {
    let distance = if slot == 0 { 0 } else { u64::from((slot as u32).wrapping_sub(line.stamp as u32)) };
    distance.saturating_sub(now.saturating_sub(line.stamp))
}

/// Returns a line for writing at `now`, with its expired slots set to zero.
#[inline]
fn line_at(region: &mut Region, id: LineId, now: u64) -> &mut Line {
    let line = region.line_mut(id);
    if line.stamp != now {
        line.keep_later(gap(line, now), now);
    }
    line
}

/// Returns the ticks since the line was written. Ages beyond `u32::MAX` saturate: a line that old is empty.
#[inline]
fn gap(line: &Line, now: u64) -> u32 {
    u32::try_from(now.saturating_sub(line.stamp)).unwrap_or(u32::MAX)
}

#[inline]
fn pack(fingerprint: u32, tat: u64) -> u64 {
    u64::from(fingerprint) << 32 | tat & u64::from(u32::MAX)
}
