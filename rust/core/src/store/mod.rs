//! The stores: what may refuse a check. A store is a description of a table that can be copied; the memory belongs to
//! the region.
//!
//! ```text
//!  consult   reads the counters and answers; writes nothing
//!  charge    writes, under the same lock
//!  refund    takes a charge back, less what has drained since
//!  used      counts the slots in use on one page of a table
//! ```
//!
//! [`Store`] is the enum over the stores of limits. The other files of this folder are parts of those stores
//! (`elements`, `overflow`, `pane_ring`, `key_counts`), the seen sets that fan-outs share, the access list and the
//! blocks, which are consulted before the limits, and common types (`params`, `request`). ARCHITECTURE.md has the
//! recipe for a new kind of limit.
//!
//! A store knows no mail, no policy and no other store's memory. Only the access list keeps text. [`Store`] takes
//! engine time, in microseconds.

pub mod access_list;
pub mod blocks;
pub mod distinct;
mod elements;
pub mod fan_out;
pub mod gcra;
pub mod in_flight;
pub mod key_counts;
pub mod overflow;
pub mod pane_ring;
pub mod params;
pub mod rate_counter;
pub mod request;
pub mod seen_set;
pub mod sliding_window;

use self::distinct::Distinct;
use self::fan_out::FanOut;
use self::rate_counter::RateCounter;
use self::request::{Answer, Entry, Question, Sightings, StoreRequest};
use crate::region::{Candidates, PAGE_BYTES, Region, Table};

pub use request::{SlotReservations, Verdict};

/// Where a limit counts.
///
/// The tag is a byte. The compiler would make it as wide as the alignment, which is sixteen bytes, and every match
/// would compare all of them.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Store {
    /// A bucket or a sliding window for each key.
    Rate(RateCounter),
    /// A fan-out that refuses what is new.
    FanOut(FanOut),
    /// A fan-out that refuses the whole key.
    Distinct(Distinct),
    /// An in-flight limit, by its place among the in-flight limits. [`in_flight::Capacity`] counts for all of them.
    InFlight(usize),
}

/// One table of a store, for the operator.
#[derive(Clone, Copy, Debug)]
pub struct TablePart {
    /// The kind of its contents.
    pub kind: TableKind,
    /// Its pages.
    pub pages: u32,
    /// Its bytes.
    pub bytes: u64,
    /// Slots in all; cells of a sketch.
    pub slots: u64,
}

/// The kind of contents of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// The slots of the keys.
    Slots,
    /// The registers of keys with many elements.
    Registers,
    /// The sketch for keys without a slot.
    Sketch,
}

impl Store {
    /// Writes into `answer` whether `entry` fits at `at_us`, and from when on if it does not. The caller passes an
    /// `answer` that is [`Answer::FITS`], and has looked up the seen sets. `is_now` states whether this is the first
    /// consultation, at the time of those look-ups, whose refusal may make a note and count on it.
    #[expect(clippy::too_many_arguments, reason = "a hot call: an answer that is returned is copied once more")]
    pub fn consult(
        &self, region: &Region, request: &StoreRequest, entry: &Entry, (at_us, is_now): (u64, bool),
        sightings: &Sightings, reservations: &mut SlotReservations, answer: &mut Answer,
    ) {
        match (self, &entry.question) {
            (Self::Rate(counter), Question::Rate { at, amount }) => {
                counter.consult_at(region, at, (at_us, *amount), reservations, answer);
            }
            // A fan-out without new elements has nothing to charge, so it keeps `FITS`.
            (Self::FanOut(fan_out), Question::FanOut { lookup: place, bucket, times })
                if !is_now || sightings.may_charge_any && fan_out.may_charge(&sightings.lookups[*place as usize]) =>
            {
                let (asked, at) = ((*place, *bucket, *times), (at_us, is_now));
                answer.bucket = fan_out.buckets.lines(*bucket);
                fan_out.answer(region, request, asked, at, sightings, reservations, answer);
            }
            (Self::Distinct(distinct), Question::Distinct { at, elements }) => {
                let elements = elements.of(&request.hashes);
                (answer.verdict, answer.slot) = distinct.consult(region, at, at_us, elements, reservations);
            }
            _ => {}
        }
    }

    /// Whether a fan-out that fits now certainly fits at `at_us` too, if nothing is charged until then. That is so in
    /// two cases, unless keys of this check compete for free slots: its only element is known and stays known until
    /// then, or it is new, its name has no parts on the ladder, and no note of it can be forgotten. With several
    /// elements, and where the limit may begin to charge, the answer is never certain.
    #[inline]
    pub fn fits_still(
        &self, request: &StoreRequest, entry: &Entry, answer: &Answer, sightings: &Sightings, at_us: u64,
    ) -> bool {
        let (Self::FanOut(fan_out), Question::FanOut { lookup, .. }) = (self, entry.question) else { return false };
        let (lookup, element) = (&request.lookups[lookup as usize], &sightings.lookups[lookup as usize]);
        let is_certain = lookup.parts.count == 0 && element.noted_units.is_none();
        let is_known_then = |sighting| at_us < fan_out.charged_from_us(sighting);
        let stays = if element.new == 0 { element.sighting.is_some_and(is_known_then) } else { is_certain };
        let fits = answer.fits() && request.reservations == 0;
        fits && !fan_out.may_begin(element) && lookup.others.count == 0 && stays
    }

    /// Charges `entry`, which was consulted under the same lock; `false` when its key found no room and stays
    /// untracked.
    #[inline(always)]
    pub fn charge(
        &self, region: &mut Region, request: &StoreRequest, entry: &Entry, answer: &Answer, at_us: u64,
    ) -> bool {
        // Rates are charged the most. This test takes two instructions, and a jump by the kind takes six.
        let (counter, at, amount) = if let (Self::Rate(counter), Question::Rate { at, amount }) =
            (self, &entry.question)
        {
            (counter, at, *amount)
        } else {
            match (self, &entry.question) {
                (Self::FanOut(fan_out), _) if answer.new > 0 => (&fan_out.buckets, &answer.bucket, answer.new.into()),
                (Self::Distinct(distinct), Question::Distinct { at, elements }) => {
                    return distinct.charge(region, at, answer.slot, at_us, elements.of(&request.hashes));
                }
                _ => return true,
            }
        };
        counter.charge(region, at, answer.slot, answer.now, amount)
    }

    /// Takes back what `entry` was charged at `then_us`, less what has drained since. Returns whether anything was left
    /// to take back. An admitted element stays known, so a fan-out keeps its charge.
    pub fn refund(&self, region: &mut Region, entry: &Entry, then_us: u64, now_us: u64) -> bool {
        match (self, entry.question) {
            (Self::Rate(counter), Question::Rate { at, amount }) => {
                let [then, now] = [then_us, now_us].map(|us| counter.ticks_at(us));
                counter.refund(region, &at, then, now, amount)
            }
            _ => false,
        }
    }

    /// Returns how much of `burst` the key of `entry` has used up, and how much this check adds.
    pub fn usage(
        &self, region: &Region, request: &StoreRequest, entry: &Entry, (sightings, answer): (&Sightings, &Answer),
        at_us: u64, burst: u64,
    ) -> (u64, u64) {
        match (self, entry.question) {
            (Self::Rate(counter), Question::Rate { at, amount }) => {
                (burst - largest_fitting(counter, region, &at, at_us, burst), amount)
            }
            (Self::FanOut(fan_out), Question::FanOut { lookup, bucket, .. }) => {
                let at = fan_out.bucket_lines(request.looked_up(lookup, bucket, sightings), answer.part);
                (burst - largest_fitting(&fan_out.buckets, region, &at, at_us, burst), answer.new.into())
            }
            (Self::Distinct(distinct), Question::Distinct { at, elements }) => {
                (distinct.level(region, &at, at_us), elements.count.into())
            }
            _ => (0, 0),
        }
    }

    /// The rate counter that a message or a new element is charged to; `None` when the store has none.
    pub fn rate_counter(&self) -> Option<&RateCounter> {
        match self {
            Self::Rate(counter) => Some(counter),
            Self::FanOut(fan_out) => Some(&fan_out.buckets),
            Self::Distinct(_) | Self::InFlight(_) => None,
        }
    }

    /// The table of its slots; an in-flight limit has none.
    pub fn slots_table(&self) -> Option<&Table> {
        match self {
            Self::Distinct(distinct) => Some(&distinct.table),
            _ => self.rate_counter().map(RateCounter::table),
        }
    }

    /// The place in the plan of the seen set that the store looks up.
    pub fn seen_set(&self) -> Option<usize> {
        match self {
            Self::FanOut(fan_out) => Some(fan_out.place as usize),
            Self::Rate(_) | Self::Distinct(_) | Self::InFlight(_) => None,
        }
    }

    /// Its tables: the slots first.
    pub fn tables(&self) -> impl Iterator<Item = TablePart> {
        let part = |kind, pages, slots| TablePart { kind, pages, bytes: u64::from(pages) * PAGE_BYTES, slots };
        let (slots, sketch) = match (self, self.rate_counter()) {
            (Self::Distinct(distinct), _) => {
                let (pages, blocks) = (distinct.table.pages(), distinct.registers.table);
                let registers = part(TableKind::Registers, blocks.pages(), blocks.lines() as u64);
                (Some(part(TableKind::Slots, pages, distinct.slots())), Some(registers))
            }
            (_, Some(counter)) => {
                let sketch = counter.sketch().map(|(pages, cells)| part(TableKind::Sketch, pages, cells));
                (Some(part(TableKind::Slots, counter.table().pages(), counter.slots())), sketch)
            }
            _ => (None, None),
        };
        slots.into_iter().chain(sketch)
    }

    /// Counts the slots in use on one page of the table of that kind.
    pub fn used(&self, kind: TableKind, region: &Region, page: u32, now_us: u64) -> u64 {
        match (self, self.rate_counter(), kind) {
            (Self::Distinct(distinct), _, TableKind::Registers) => distinct.blocks_used(region, page, now_us),
            (Self::Distinct(distinct), ..) => distinct.used(region, page, now_us),
            (_, Some(counter), TableKind::Sketch) => counter.sketch_used(region, page, now_us),
            (_, Some(counter), _) => counter.used(region, page, now_us),
            _ => 0,
        }
    }
}

/// The largest amount up to `most` that fits. Where an amount fits, every smaller one fits too.
fn largest_fitting(counter: &RateCounter, region: &Region, at: &Candidates, at_us: u64, most: u64) -> u64 {
    let now = counter.ticks_at(at_us);
    let fits = |amount| counter.consult(region, at, now, amount, &mut SlotReservations::default()).0 == Verdict::Fits;
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = high - (high - low) / 2;
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    low
}
