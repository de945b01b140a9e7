//! GCRA in a lossless set-associative table: the default for every name that a sender can invent.
//!
//! **Idea.** The generic cell rate algorithm keeps one number a key, the theoretical arrival time (TAT): when its bucket will have drained.
//! A bucket that has drained is the same as one that was never seen, so a slot whose TAT has passed is free: forgetting loses nothing.
//! A slot that still matters is never evicted, so no flood of other keys can take it; what it can take is only the room of keys not seen yet,
//! and [`WhenFull`] says what becomes of those.
//!
//! ```text
//!  slot   63 ─────────── 32 31 ──────────── 0        TAT is read as a distance from the line's stamp
//!         fingerprint ≠ 0   TAT, ticks, wrapping
//!
//!  consult(key, price):  level ← max(TAT − now, 0), 0 when the key has no slot
//!                        fits when level + price ≤ capacity, else from TAT + price − capacity on
//!  charge(key, price):   zero what has expired; TAT ← max(TAT, now) + price; a new key takes a free slot of the emptier line
//! ```
//!
//! **Scale the clock, not the price.** With L per W and a burst of B, one charge is k whole ticks and a tick is W/(L·k), with k as large as
//! B·k ≤ 2²³ allows and a tick not below a microsecond, which is all that time is given in. Nothing is rounded but `now`, down to its tick:
//! a key gets at most B + L·t/W, plus one tick when its bucket was empty. Where B > 2²³ (bytes), a charge counts in units of ⌈B/2²³⌉, rounded up.
//!
//! **Cost.** Two cache lines of one page, at any number of keys. **Size.** A message occupies a slot for W/L, so R admitted a second need
//! about 8·R·(W/L)/0.7 bytes; at 70 % load 0.015 % of the new keys find no room. **Bound.** Two keys share a slot when 32 bits of
//! fingerprint and a line agree: below 14 · 2⁻³² a look-up.
//!
//! **Source.** ATM Forum, Traffic Management 4.0 (1996), §4.4.3, virtual scheduling. Two choices: Azar, Broder, Karlin, Upfal (1994).
//!
//! **Dropped.** Evicting the lowest level: above capacity a sender at three times its rate keeps all of it. Eight slots without a stamp: needs a sweep
//! before times wrap. One candidate line: loses 1.2 % of the new keys at 46 % load.

use super::gcra_rate::GcraRate;
use super::overflow::Split;
use super::overflow::arrivals::Arrivals;
use super::params::WhenFull;
use super::reservations::{SlotReservations, free_slot};
use super::verdict::Verdict;
use crate::key::Key;
use crate::region::{Candidates, FoundSlot, Line, Region, SLOTS, Table};
use crate::time::Ticks;

/// Buckets of one limit.
#[derive(Clone, Copy, Debug)]
pub struct Gcra {
    table: Table,
    quota: GcraRate,
    when_full: WhenFull,
    overflow: Option<Arrivals>,
}

impl Gcra {
    /// Buckets in `table`. With a sketch it needs two pages; with one, who finds no slot is refused.
    pub fn new(table: Table, quota: GcraRate, when_full: WhenFull) -> Self {
        match when_full {
            WhenFull::Sketch => Self::beside_sketch(table, quota, Split::GCRA),
            _ => Self { table, quota, when_full, overflow: None },
        }
    }

    /// Buckets in a part of `table`, and a sketch in the rest: for who tries other parts.
    pub fn beside_sketch(table: Table, quota: GcraRate, split: Split) -> Self {
        let when_full = WhenFull::Sketch;
        // A charge stays 64 grains or more: rounding up takes less than a sixty-fourth of it.
        let grain = split.grain.min((quota.price(1) / 64).max(1).ilog2());
        let split = Split { grain, ..split };
        let parted = split.of(table).and_then(|(table, sketch)| Some((table, Arrivals::new(sketch, split)?)));
        match parted {
            Some((table, overflow)) => Self { table, quota, when_full, overflow: Some(overflow) },
            None => Self { table, quota, when_full, overflow: None },
        }
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The numbers.
    pub fn quota(&self) -> &GcraRate {
        &self.quota
    }

    /// Where `key` may be: what a look-up touches.
    #[inline]
    pub fn lines(&self, key: Key) -> Candidates {
        self.table.candidates(key)
    }

    /// What consulting and charging take: worked out once for both.
    #[inline]
    pub fn ticks_at(&self, now_us: u64) -> Ticks {
        Ticks(self.quota.clock().ticks(now_us))
    }

    /// Whether `amount` fits now, or from when on; and where the key has its slot, for [`Gcra::charge`]. `now` is of [`Gcra::ticks_at`].
    ///
    /// A new key is promised the slot that [`Gcra::charge`] will give it, when the keys before it in `promised` are charged first.
    #[inline]
    pub fn consult(
        &self,
        region: &Region,
        at: &Candidates,
        Ticks(now): Ticks,
        amount: u64,
        promised: &mut SlotReservations,
    ) -> (Verdict, Option<FoundSlot>) {
        let price = self.quota.price(amount);
        if price > self.quota.capacity() {
            return (Verdict::Never, None);
        }
        if let Some((spot, level)) = self.find(region, at, now) {
            let after = level + price;
            let over = after.saturating_sub(self.quota.capacity());
            let spot = FoundSlot { hot: 2 * after > self.quota.capacity(), ..spot };
            if over == 0 {
                return (Verdict::Fits, Some(spot));
            }
            let from = Verdict::From(self.quota.clock().micros(now + over));
            // By then the slot is empty, and it is the sketch that will be asked.
            let later = (over >= level && self.overflow.is_some())
                .then(|| self.estimate(region, at, now + over, price, promised))
                .filter(|later| *later != Verdict::Fits);
            return (later.unwrap_or(from), Some(spot));
        }
        match self.when_full {
            WhenFull::Admit => (Verdict::Fits, None),
            WhenFull::Refuse => (self.room(region, at, now, promised), None),
            WhenFull::Sketch => (self.estimate(region, at, now, price, promised), None),
        }
    }

    /// Charges `amount` to the key, whose slot `consult` found or not, under the same lock.
    /// `false` when it found no room and stays uncounted.
    #[inline]
    pub fn charge(
        &self,
        region: &mut Region,
        at: &Candidates,
        spot: Option<FoundSlot>,
        Ticks(now): Ticks,
        amount: u64,
    ) -> bool {
        let price = self.quota.price(amount);
        if let Some(overflow) = &self.overflow {
            return self.charge_either(overflow, region, at, spot, now, price);
        }
        let Some(FoundSlot { line, slot, .. }) = spot.or_else(|| self.free(region, at, now)) else { return false };
        let (line, slot) = (region.line_mut(line), usize::from(slot));
        if line.stamp != now {
            self.expire(line, now);
        }
        let level = self.level_of(line, line.slots[slot], now);
        line.slots[slot] = pack(at.fingerprint, now + level + price);
        true
    }

    /// Gives back what `amount` was charged `then`, less what has drained since. Whether the key had anything to take it from.
    ///
    /// Only in its slot: cells of a sketch are not one key's. A level is at least what it would be without the charge.
    pub fn refund(&self, region: &mut Region, at: &Candidates, then: Ticks, Ticks(now): Ticks, amount: u64) -> bool {
        let left = self.quota.price(amount).saturating_sub(now.saturating_sub(then.0));
        let Some((FoundSlot { line, slot, .. }, level)) = self.find(region, at, now).filter(|_| left > 0) else {
            return false;
        };
        let line = region.line_mut(line);
        if line.stamp != now {
            self.expire(line, now);
        }
        let level = level.saturating_sub(left);
        line.slots[usize::from(slot)] = if level == 0 { 0 } else { pack(at.fingerprint, now + level) };
        true
    }

    /// Pages of the sketch, and its cells.
    pub fn sketch(&self) -> Option<(u32, u64)> {
        self.overflow.as_ref().map(Arrivals::size)
    }

    /// Cells in use on one page of the sketch.
    pub fn sketch_used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        let now = self.quota.clock().ticks(now_us);
        self.overflow.as_ref().map_or(0, |overflow| overflow.used(region, page, now))
    }

    /// Whether `price` fits a key without a slot, by what the sketch knows of it.
    fn estimate(
        &self,
        region: &Region,
        at: &Candidates,
        now: u64,
        price: u64,
        promised: &mut SlotReservations,
    ) -> Verdict {
        let Some(overflow) = &self.overflow else { return self.room(region, at, now, promised) };
        let over = (overflow.level(region, at, now) + price).saturating_sub(self.quota.capacity());
        if over == 0 { Verdict::Fits } else { Verdict::From(self.quota.clock().micros(now + over)) }
    }

    /// Charges a key in its slot, in one that it is given with all that the sketch knows of it, or in the sketch.
    ///
    /// What a key before it in the same check did since it was consulted can have taken its slot, or raised its cells: what was found is looked at again,
    /// and no level is above the capacity, which is more than the key can have sent.
    fn charge_either(
        &self,
        overflow: &Arrivals,
        region: &mut Region,
        at: &Candidates,
        spot: Option<FoundSlot>,
        now: u64,
        price: u64,
    ) -> bool {
        let is_still = |spot: &FoundSlot| {
            let slot = region.line(spot.line).slots[usize::from(spot.slot)];
            (slot >> 32) as u32 == at.fingerprint
        };
        let own = spot.filter(is_still).or_else(|| self.find(region, at, now).map(|(spot, _)| spot));
        let (spot, level) = if let Some(spot) = own {
            let line = region.line(spot.line);
            (spot, self.level_of(line, line.slots[usize::from(spot.slot)], now) + price)
        } else {
            let level = overflow.level(region, at, now) + price;
            let given = self.free(region, at, now).or_else(|| self.taken(overflow, region, at, now, level));
            let Some(spot) = given else {
                overflow.raise(region, at.lines[0].page(), at.fingerprint, now, level.min(self.quota.capacity()));
                return true;
            };
            (spot, level)
        };
        let line = region.line_mut(spot.line);
        if line.stamp != now {
            self.expire(line, now);
        }
        line.slots[usize::from(spot.slot)] = pack(at.fingerprint, now + level.min(self.quota.capacity()));
        true
    }

    /// The lightest slot, when a key of this level outweighs it: what it holds goes to the sketch.
    fn taken(
        &self,
        overflow: &Arrivals,
        region: &mut Region,
        at: &Candidates,
        now: u64,
        level: u64,
    ) -> Option<FoundSlot> {
        let slots = at.lines.into_iter().flat_map(|id| {
            let line = region.line(id);
            let level_of = move |slot: usize| (self.level_of(line, line.slots[slot], now), id, slot);
            (0..line.slots.len()).map(level_of)
        });
        let (lightest, line, slot) = slots.min_by_key(|(level, ..)| *level)?;
        if !overflow.split().passes(lightest, level) {
            return None;
        }
        let fingerprint = (region.line(line).slots[slot] >> 32) as u32;
        overflow.raise(region, line.page(), fingerprint, now, lightest);
        Some(FoundSlot { line, slot: slot as u8, hot: false })
    }

    /// Slots in use on one page of the table.
    pub fn used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        let now = self.quota.clock().ticks(now_us);
        let used = |line: &Line| line.slots.iter().filter(|&&slot| self.level_of(line, slot, now) > 0).count() as u64;
        region.page(&self.table, page).iter().map(used).sum()
    }

    /// Level of one slot: the TAT as a distance from the stamp, less the time since.
    ///
    /// A distance is at most the capacity, so it fits 32 bits, and a line of any age reads right.
    #[inline]
    fn level_of(&self, line: &Line, slot: u64, now: u64) -> u64 {
        let distance = if slot == 0 { 0 } else { u64::from((slot as u32).wrapping_sub(line.stamp as u32)) };
        distance.saturating_sub(now.saturating_sub(line.stamp))
    }

    #[inline]
    fn find(&self, region: &Region, at: &Candidates, now: u64) -> Option<(FoundSlot, u64)> {
        for id in at.lines {
            let line = region.line(id);
            let mut bits = line.matching(at.fingerprint);
            while bits != 0 {
                let slot = bits.trailing_zeros() as u8;
                let level = self.level_of(line, line.slots[usize::from(slot)], now);
                if level > 0 {
                    return Some((FoundSlot { line: id, slot, hot: false }, level));
                }
                bits &= bits - 1;
            }
        }
        None
    }

    #[inline]
    fn free(&self, region: &Region, at: &Candidates, now: u64) -> Option<FoundSlot> {
        free_slot(at, |id| self.free_slots(region.line(id), now))
    }

    /// Which slots are free, as bits: the empty ones, and those whose distance from the stamp has passed.
    #[inline]
    fn free_slots(&self, line: &Line, now: u64) -> u32 {
        const ALL: u32 = (1 << SLOTS) - 1;
        ALL & !line.later(gap(line, now))
    }

    /// Whether a new key finds room beside those that were promised theirs; else when the next slot is free on which that depends, if ever.
    fn room(&self, region: &Region, at: &Candidates, now: u64, promised: &mut SlotReservations) -> Verdict {
        if promised.slot_of(at.lines.map(|id| (id, self.free_slots(region.line(id), now).count_ones()))) {
            return Verdict::Fits;
        }
        let levels = promised.lines_of(at, &self.table).flat_map(|id| {
            let line = region.line(id);
            line.slots.iter().map(move |&slot| self.level_of(line, slot, now))
        });
        let first_free = levels.filter(|&level| level > 0).min();
        first_free.map_or(Verdict::Never, |level| Verdict::From(self.quota.clock().micros(now + level)))
    }

    /// Zeroes what has expired, and stamps the line.
    #[inline]
    fn expire(&self, line: &mut Line, now: u64) {
        line.keep_later(gap(line, now), now);
    }
}

/// How long ago the line was written; what lies further back than a slot can say is as good as that.
#[inline]
fn gap(line: &Line, now: u64) -> u32 {
    u32::try_from(now.saturating_sub(line.stamp)).unwrap_or(u32::MAX)
}

#[inline]
fn pack(fingerprint: u32, tat: u64) -> u64 {
    u64::from(fingerprint) << 32 | tat & u64::from(u32::MAX)
}
