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

use super::Verdict;
use crate::key::Key;
use crate::policy::{Rate, WhenFull};
use crate::region::{Candidates, Line, LineId, Region, SLOTS, Table};
use crate::time::Ticks;

/// Most ticks that a bucket holds.
const CAPACITY_MAX: u64 = 1 << 23;

/// A rate limit's numbers, in ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    ticks: Ticks,
    /// What one charge of `unit` costs.
    per_unit: u64,
    /// How much one unit is: 1 but for bursts over 2²³.
    unit: u64,
    /// What a bucket holds.
    capacity: u64,
}

impl Quota {
    /// `None` when no clock of this crate can keep it: more than eight million a second with a burst too small for it.
    pub fn new(rate: Rate, burst: u64) -> Option<Self> {
        let unit = burst.div_ceil(CAPACITY_MAX).max(rate.amount.div_ceil(rate.period_us.checked_mul(8)?)).max(1);
        let units = burst / unit;
        let useful = rate.period_us.div_ceil(rate.amount.max(1));
        let per_unit = if unit > 1 { 1 } else { (CAPACITY_MAX / units.max(1)).min(useful).max(1) };
        let ticks =
            Ticks::new(u128::from(rate.amount) * u128::from(per_unit), u128::from(rate.period_us) * u128::from(unit))?;
        (units > 0).then_some(Self { ticks, per_unit, unit, capacity: units * per_unit })
    }

    /// The price of `amount`, in ticks; saturates far above any capacity.
    #[inline]
    pub fn price(&self, amount: u64) -> u64 {
        let units = if self.unit == 1 { amount } else { amount.div_ceil(self.unit) };
        units.saturating_mul(self.per_unit)
    }

    /// How much one unit is.
    pub fn unit(&self) -> u64 {
        self.unit
    }
}

/// Buckets of one limit.
#[derive(Clone, Copy, Debug)]
pub struct Gcra {
    table: Table,
    quota: Quota,
    when_full: WhenFull,
}

/// A slot that the key has.
struct Found {
    line: LineId,
    slot: usize,
    level: u64,
}

impl Gcra {
    /// Buckets in `table`.
    pub fn new(table: Table, quota: Quota, when_full: WhenFull) -> Self {
        Self { table, quota, when_full }
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The numbers.
    pub fn quota(&self) -> &Quota {
        &self.quota
    }

    /// What a look-up of `key` touches.
    #[inline]
    pub fn lines(&self, key: Key) -> [LineId; 2] {
        self.table.candidates(key).lines
    }

    /// Whether `amount` fits now, or from when on.
    ///
    /// `reserved` is how many other new keys of the same check may take a free slot of these lines.
    #[inline]
    pub fn consult(&self, region: &Region, key: Key, now_us: u64, amount: u64, reserved: usize) -> Verdict {
        let price = self.quota.price(amount);
        if price > self.quota.capacity {
            return Verdict::Never;
        }
        let at = self.table.candidates(key);
        let now = self.quota.ticks.ticks(now_us);
        if let Some(found) = self.find(region, &at, now) {
            let over = (found.level + price).saturating_sub(self.quota.capacity);
            return if over == 0 { Verdict::Fits } else { Verdict::From(self.quota.ticks.micros(now + over)) };
        }
        match self.when_full {
            WhenFull::Admit => Verdict::Fits,
            WhenFull::Refuse => self.room(region, &at, now, reserved),
        }
    }

    /// Charges `amount`; `false` when the key found no room and stays uncounted.
    #[inline]
    pub fn charge(&self, region: &mut Region, key: Key, now_us: u64, amount: u64) -> bool {
        let price = self.quota.price(amount);
        let at = self.table.candidates(key);
        let now = self.quota.ticks.ticks(now_us);
        let (line, slot, level) = match self.find(region, &at, now) {
            Some(found) => (found.line, found.slot, found.level),
            None => match self.free(region, &at, now) {
                Some((line, slot)) => (line, slot, 0),
                None => return false,
            },
        };
        let line = region.line_mut(line);
        self.expire(line, now);
        line.slots[slot] = pack(at.fingerprint, now + level + price);
        true
    }

    /// What the key's bucket holds, in ticks; zero when it has none.
    pub fn level(&self, region: &Region, key: Key, now_us: u64) -> u64 {
        let now = self.quota.ticks.ticks(now_us);
        self.find(region, &self.table.candidates(key), now).map_or(0, |found| found.level)
    }

    /// Slots in use on one page of the table.
    pub fn used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        let now = self.quota.ticks.ticks(now_us);
        let used = |line: &Line| line.slots.iter().filter(|&&slot| self.level_of(line, slot, now) > 0).count() as u64;
        self.table.page(region, page).iter().map(used).sum()
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
    fn find(&self, region: &Region, at: &Candidates, now: u64) -> Option<Found> {
        for id in at.lines {
            let line = region.line(id);
            for (slot, &content) in line.slots.iter().enumerate() {
                if (content >> 32) as u32 == at.fingerprint {
                    let level = self.level_of(line, content, now);
                    if level > 0 {
                        return Some(Found { line: id, slot, level });
                    }
                }
            }
        }
        None
    }

    /// A free slot of the emptier line.
    #[inline]
    fn free(&self, region: &Region, at: &Candidates, now: u64) -> Option<(LineId, usize)> {
        let [first, second] = at.lines.map(|id| (id, self.free_slots(region.line(id), now)));
        let (id, (count, slot)) = if second.1.0 > first.1.0 { second } else { first };
        (count > 0).then_some((id, slot))
    }

    /// How many slots are free, and the first of them.
    #[inline]
    fn free_slots(&self, line: &Line, now: u64) -> (usize, usize) {
        let mut count = 0;
        let mut first = 0;
        for slot in (0..SLOTS).rev() {
            if self.level_of(line, line.slots[slot], now) == 0 {
                count += 1;
                first = slot;
            }
        }
        (count, first)
    }

    /// Whether a new key finds room when others may take `reserved` slots; else when one more will be free.
    fn room(&self, region: &Region, at: &Candidates, now: u64, reserved: usize) -> Verdict {
        let mut levels = [0; 2 * SLOTS];
        for (half, id) in levels.chunks_exact_mut(SLOTS).zip(at.lines) {
            let line = region.line(id);
            for (level, &slot) in half.iter_mut().zip(&line.slots) {
                *level = self.level_of(line, slot, now);
            }
        }
        levels.sort_unstable();
        match levels.get(reserved) {
            Some(0) => Verdict::Fits,
            Some(level) => Verdict::From(self.quota.ticks.micros(now + level)),
            None => Verdict::Never,
        }
    }

    /// Zeroes what has expired, and stamps the line.
    #[inline]
    fn expire(&self, line: &mut Line, now: u64) {
        let before = *line;
        for slot in &mut line.slots {
            if self.level_of(&before, *slot, now) == 0 {
                *slot = 0;
            }
        }
        line.stamp = now;
    }
}

#[inline]
fn pack(fingerprint: u32, tat: u64) -> u64 {
    u64::from(fingerprint) << 32 | tat & u64::from(u32::MAX)
}
