//! Fan-out with `refuse = "all"`: how many different elements a key may have, where the whole key is refused while it
//! has too many.
//!
//! **Idea.** Only fresh elements fill the bucket of a key. For keys with few elements it is exact: a slot holds the
//! hashes of the first four. The fifth element moves them to 64 registers of a HyperLogLog, where many fresh elements
//! change nothing. So an element that changes a register is also charged for those that did not: `price / q`, where q
//! is the chance that a fresh element changes a register. On average each fresh element is charged `price` (the
//! martingale estimator).
//!
//! **The room that a message needs does not depend on whether its elements are fresh.** A message with n elements needs
//! room for n of them, and for at least `price / q`; only the charge depends on which elements are fresh. So no sender
//! passes by the luck of an element that changes nothing, the admitted elements are a fair sample of those sent, and
//! the average holds. A message with several fresh elements may be charged more than the room that it needed. The level
//! is then above the capacity.
//!
//! ```text
//!  consult(key, n):  asked ← max(n, 1) · price, with registers at least price / q
//!                    fits when level + asked ≤ capacity; else it fits when the excess has drained
//!  charge(key, elements), each of them once:
//!      held already            nothing
//!      room for its hash       hold it; level += price
//!      the fifth               take a free block, put the four into its registers
//!                              when none is free, the element passes and is not counted
//!      changes a register      level += price / q;  renew q;  1/q > burst / 4: forget every other element
//! ```
//!
//! **When it forgets.** A drained bucket equals one that was never used, so its slot and block are free from then on,
//! without a sweep. A bucket that has not drained is never evicted; [`WhenFull`] states what happens to keys without
//! room. For a key that stays at its rate, q would fall without end, until one charge is more than the bucket holds. So
//! the key forgets its elements when one charge would fill more than a quarter of the bucket.
//!
//! **Cost.** Two lines of one page for every key, and a third when registers may change. An element that changes
//! nothing writes nothing but its block's time. **Size.** A slot has 14 bytes, four slots to a line, and holds up to
//! four elements. It is in use until its bucket has drained, which takes W/L for each element. A key with more elements
//! also has a block of 64 bytes.
//!
//! **Bound.** With up to four elements exact, unless hashes agree: two elements of a key with a chance of 2⁻¹⁴, two
//! keys with one of 2⁻³² · 8 a look-up. Above, the charges for n fresh elements have the mean n and a relative
//! standard error of at most √(ln 2 / 64) = 10 %; in the long run a key gets its rate. The level is an integer, and
//! so is `price / q`, to the nearest tick.
//!
//! **Source.** Cohen 2015, "All-distances sketches, revisited"; Ting 2014, "Streamed approximate counting of distinct
//! elements" (the estimator). GCRA as in `gcra`. Asking for room that does not depend on the hash is ours.
//!
//! **Tried.** How to divide the memory (`examples/distinct.rs`: 1 MiB, 100 an hour, 50 at once, 200,000 ordinary
//! keys, 200 attackers, 20 million junk keys in an hour). Columns are the pages of eight that hold slots. *Late*:
//! elements until detection, divided by the oracle's number; 95th percentile. *Uncounted*: messages that pass uncounted
//! with the junk; *no junk*: the same without it.
//!
//! ```text
//!  slots          1       2       3       4      *5*      6       7
//!  late, p95    3.57    1.77    1.41    1.27    1.14    1.13    1.13       (median 1.04 at 1, else 0.98 to 1.00)
//!  uncounted    63 %    60 %    57 %    55 %    52 %    49 %    50 %
//!  no junk      50 %    34 %    20 %    10 %     6 %     6 %     7 %       no ordinary key was refused in any of them
//! ```
//!
//! More than five pages gain little, and accounts with many elements, which no junk evicts, need the blocks.
//!
//! When to forget: 1,000 keys, each at twice its rate for 48 hours. The key forgets its elements when one charge fills
//! this part of the burst (*threshold*).
//!
//! ```text
//!  threshold            min of admitted ÷ rate     max
//!  all of the burst     0.81                       1.17
//!  half                 0.80                       1.17
//!  *a quarter*          0.89                       1.11     more cycles, with independent errors
//! ```
//!
//! With a quarter, a key no longer knows elements that lie 550 elements back.
//!
//! **Dropped.** Asking only for what the elements of a message will be charged: a message that happens to change
//! nothing passes free, and a sender that tries often finds more and more such messages. Asking n · price / q for n
//! elements: the level never exceeds the capacity, but a message of several known elements is refused in a half-full
//! bucket. A line for a key's bucket and registers together, found by two choices: at half load a quarter of the keys
//! find both taken; with slots that name one of 128 blocks, none does. Slots of 18 bytes with 21-bit hashes: only three
//! to a line, and from the fifth element on the estimate has an error of 10 % anyway.

use super::elements::{Added, Bucket, Elements, FEW, Few, LONGEST, Many, Registers, SLOTS};
use super::elements::{add_to, clear, cost, fingerprint, level, restamp};
use super::gcra::GcraRate;
use super::params::{Rate, WhenFull};
use super::request::{SlotReservations, Verdict, free_slot};
use crate::key::Key;
use crate::region::{Candidates, KeySlot, LINES, Line, Region, Table};

/// The number of pages with slots among eight pages of the limit's memory; the others hold registers. See "Tried"
/// above.
const SLOT_PAGES_OF_EIGHT: u64 = 5;

/// Buckets of one limit, and the elements of each key.
#[derive(Clone, Copy, Debug)]
pub struct Distinct {
    /// Its slots.
    pub table: Table,
    /// Registers of the keys with more than four elements, in blocks of one line.
    pub registers: Registers,
    /// The rate and burst, of elements.
    pub quota: GcraRate,
    /// The highest cost of one charge, in ticks. When it is exceeded, the key forgets its elements.
    dearest: u64,
    when_full: WhenFull,
}

impl Distinct {
    /// Makes slots and registers in `table`, which needs two pages.
    ///
    /// Returns `None` when it has only one, when no clock of this crate can keep the rate, or when one element costs
    /// less than a tick: a burst over 2²³.
    pub fn new(table: Table, rate: Rate, burst: u64, when_full: WhenFull) -> Option<Self> {
        let slot_pages = u64::from(table.pages()) * SLOT_PAGES_OF_EIGHT / 8;
        Self::with_slot_pages(table, rate, burst, when_full, slot_pages as u32)
    }

    /// Does what [`Distinct::new`] does, with `slot_pages` pages for slots. Slots and registers get at least one page.
    pub fn with_slot_pages(table: Table, rate: Rate, burst: u64, when_full: WhenFull, slot_pages: u32) -> Option<Self> {
        let quota = GcraRate::new(rate, burst).filter(|quota| quota.unit == 1)?;
        let (table, blocks) = table.split(slot_pages)?;
        // With a burst of two or three elements, a quarter would be less than one charge.
        let dearest = (quota.capacity / 4).max(quota.capacity.min(2 * quota.price(1)));
        Some(Self { table, registers: Registers { table: blocks }, quota, dearest, when_full })
    }

    /// Slots in all. Keys with more than four elements also need one of [`Distinct::registers`].
    pub fn slots(&self) -> u64 {
        u64::from(self.table.pages()) * (LINES * SLOTS) as u64
    }

    /// Tells whether a message with these elements, which are all different, fits now, or when it will fit. Also
    /// returns the slot of the key, for [`Distinct::charge`].
    ///
    /// `reserved` holds slots as in [`Gcra::consult`](super::gcra::Gcra::consult), and blocks as well.
    pub fn consult(
        &self, region: &Region, at: &Candidates, now_us: u64, elements: &[Key], reserved: &mut SlotReservations,
    ) -> (Verdict, Option<KeySlot>) {
        let asked = self.quota.price((elements.len() as u64).max(1));
        if asked > self.quota.capacity {
            return (Verdict::Never, None);
        }
        let now = self.quota.clock.ticks(now_us);
        let found = self.find(region, at, now);
        let (mut ready, mut hot) = (now, false);
        if let Some((_, Bucket { level, elements })) = found {
            let asked = if let Elements::Many(Many { cost, .. }) = elements { asked.max(cost.into()) } else { asked };
            ready += (level + asked).saturating_sub(self.quota.capacity);
            hot = 2 * (level + asked) > self.quota.capacity;
        }
        if self.when_full == WhenFull::Refuse {
            ready = ready.max(self.room_from(region, at, now, found.map(|(_, bucket)| bucket), elements, reserved));
        }
        let verdict = Verdict::at(Some(ready), now, &self.quota.clock);
        (verdict, found.map(|(found_slot, _)| KeySlot { hot, ..found_slot }))
    }

    /// Charges the fresh ones of `elements` to the key, with what `consult` returned under the same lock.
    ///
    /// Returns `false` when an element found no room and is not counted.
    pub fn charge(
        &self, region: &mut Region, at: &Candidates, found_slot: Option<KeySlot>, now_us: u64, elements: &[Key],
    ) -> bool {
        if elements.is_empty() {
            return true;
        }
        let now = self.quota.clock.ticks(now_us);
        let Some(found) = found_slot.or_else(|| free_slot(at, at.lines.map(|id| free_slots(region.line(id), now))))
        else {
            return false;
        };
        let (line, slot) = (region.line_mut(found.line), usize::from(found.slot));
        if line.stamp != now {
            restamp(line, now);
        }
        let mut bucket = Bucket::of(line, slot, now);
        let tracked = self.fill(region, &mut bucket, at.fingerprint, now, elements);
        bucket.put(region.line_mut(found.line), slot, at.fingerprint);
        tracked
    }

    /// Empties the key's bucket and forgets its elements. Returns whether it held anything.
    pub fn clear(&self, region: &mut Region, at: &Candidates, now_us: u64) -> bool {
        let now = self.quota.clock.ticks(now_us);
        let Some((KeySlot { line, slot, .. }, _)) = self.find(region, at, now) else { return false };
        Bucket { level: 0, elements: Elements::Few(Few::default()) }.put(region.line_mut(line), usize::from(slot), 0);
        true
    }

    /// The level of the key's bucket, in elements, rounded up.
    pub fn level(&self, region: &Region, at: &Candidates, now_us: u64) -> u64 {
        let found = self.find(region, at, self.quota.clock.ticks(now_us));
        found.map_or(0, |(_, bucket)| bucket.level.div_ceil(self.quota.price(1)))
    }

    /// Slots in use on one page of their table.
    pub fn used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        let now = self.quota.clock.ticks(now_us);
        let used = |line: &Line| (0..SLOTS).filter(|&slot| level(line, slot, now) > 0).count() as u64;
        region.page(&self.table, page).iter().map(used).sum()
    }

    /// Blocks in use on one page of their table.
    pub fn blocks_used(&self, region: &Region, page: u32, now_us: u64) -> u64 {
        self.registers.used(region, page, self.quota.clock.ticks(now_us))
    }

    /// Adds every element to the bucket; returns `false` when there is no block for those after the fourth.
    fn fill(&self, region: &mut Region, bucket: &mut Bucket, fingerprint: u32, now: u64, elements: &[Key]) -> bool {
        let mut rest = elements;
        if let Elements::Few(few) = &mut bucket.elements {
            while let Some((&element, others)) = rest.split_first() {
                match few.add(element) {
                    Added::Seen => {}
                    Added::New => bucket.level += self.quota.price(1),
                    Added::Full => break,
                }
                rest = others;
            }
            if rest.is_empty() {
                return true;
            }
            let Some(block) = self.registers.free(region, fingerprint, now) else { return false };
            let line = region.line_mut(self.registers.line(fingerprint, block));
            clear(line);
            for element in few.elements() {
                add_to(line, element);
            }
            bucket.elements = Elements::Many(Many { block, cost: cost(line, self.quota.price(1)) as u32 });
        }
        if let Elements::Many(many) = &mut bucket.elements {
            let line = region.line_mut(self.registers.line(fingerprint, many.block));
            for &element in rest {
                self.add(line, many, &mut bucket.level, element);
            }
            bucket.level = bucket.level.min(LONGEST);
            line.stamp = now + bucket.level;
        }
        true
    }

    /// Adds an element to registers.
    fn add(&self, line: &mut Line, many: &mut Many, level: &mut u64, element: Key) {
        if add_to(line, element) {
            *level += u64::from(many.cost);
            let mut next = cost(line, self.quota.price(1));
            if next > self.dearest {
                clear(line);
                add_to(line, element);
                next = cost(line, self.quota.price(1));
            }
            many.cost = next as u32;
        }
    }

    fn find(&self, region: &Region, at: &Candidates, now: u64) -> Option<(KeySlot, Bucket)> {
        region.find(at, |line| {
            let own = (0..SLOTS).filter(|&slot| fingerprint(line, slot) == at.fingerprint);
            own.map(|slot| (slot as u8, Bucket::of(line, slot, now))).find(|(_, bucket)| bucket.level > 0)
        })
    }

    /// Returns the time from which there is a slot for the key, and a block if its elements need one, that are not
    /// reserved.
    fn room_from(
        &self, region: &Region, at: &Candidates, now: u64, bucket: Option<Bucket>, elements: &[Key],
        reserved: &mut SlotReservations,
    ) -> u64 {
        let (slot, drained, mut few) = match bucket {
            Some(Bucket { elements: Elements::Many(_), .. }) => return now,
            Some(Bucket { level, elements: Elements::Few(few) }) => (now, now + level, few),
            None => (self.slot_from(region, at, now, reserved), u64::MAX, Few::default()),
        };
        let overflows = elements.iter().any(|&element| few.add(element) == Added::Full);
        let block = if overflows { self.block_from(region, at.fingerprint, now, reserved) } else { now };
        // Once the bucket has drained, its elements are forgotten, and four fit without a block.
        let block = if elements.len() <= FEW { block.min(drained) } else { block };
        slot.max(block)
    }

    fn slot_from(&self, region: &Region, at: &Candidates, now: u64, reserved: &mut SlotReservations) -> u64 {
        let free_slots = |line: &Line| free_slots(line, now);
        let free_from = |line: &Line, slot: usize| now + level(line, slot, now);
        reserved.slot_from(region, (at, &self.table, SLOTS), now, free_slots, free_from).unwrap_or(now)
    }

    fn block_from(&self, region: &Region, fingerprint: u32, now: u64, reserved: &mut SlotReservations) -> u64 {
        let (free, first) = self.registers.vacancies(region, fingerprint, now);
        for (home, free) in self.registers.homes(fingerprint).into_iter().zip(free) {
            if free > reserved.of(home) {
                reserved.reserve(home);
                return now;
            }
        }
        first
    }
}

/// Returns the free slots of a line as bits.
fn free_slots(line: &Line, now: u64) -> u32 {
    (0..SLOTS).map(|slot| u32::from(level(line, slot, now) == 0) << slot).sum()
}
