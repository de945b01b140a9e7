//! The stores: what may refuse. Each is a description of a table that can be copied; the memory is the region's.
//!
//! ```text
//!  lines     where a key may be, so that its lines can be prefetched before the lock
//!  consult   reads and answers; writes nothing
//!  charge    writes, under the same lock
//!  refund    gives a charge back, less what has drained since
//!  used      how full a page of its table is
//! ```
//!
//! [`Store`] is the one enum over the kinds: a new kind is a file here and an arm there. A store knows no mail, no
//! text, no policy and no other store's memory. Time comes in as engine time, in microseconds.

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
pub mod permits;
pub mod rate_counter;
pub mod request;
pub mod seen_set;
pub mod sliding_window;

use self::distinct::Distinct;
use self::fan_out::FanOut;
use self::rate_counter::RateCounter;
use self::request::{Answer, Entry, Question, Request, Sightings};
use crate::region::{Candidates, Region, Table};

pub use request::{SlotReservations, Verdict};

/// Where a limit counts.
///
/// Its tag is a byte: left to the compiler it is as wide as the alignment, sixteen bytes that every match would
/// compare.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Store {
    /// A bucket or a sliding window for each key.
    Rate(RateCounter),
    /// A fan-out that refuses what is new.
    FanOut(FanOut),
    /// A fan-out that refuses the whole key.
    Distinct(Distinct),
    /// What is in flight: the limit's place among the in-flight limits, which count together.
    InFlight(usize),
}

/// One table of a store, for the operator.
#[derive(Clone, Copy, Debug)]
pub struct TablePart {
    /// What it holds.
    pub kind: TableKind,
    /// Its pages.
    pub pages: u32,
    /// Its bytes.
    pub bytes: u64,
    /// Slots in all; cells of a sketch.
    pub slots: u64,
}

/// What a table of a store holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// The slots of the keys.
    Slots,
    /// The registers of keys with many elements.
    Registers,
    /// The sketch beside the slots.
    Sketch,
}

impl Store {
    /// Writes into `answer` whether `entry` fits at `at_us`, and from when on if it does not. `answer` says
    /// [`Answer::FITS`] before. The seen sets were looked up before; `is_now`: at this time.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "the hottest call: an answer that is returned is copied once more")]
    pub fn consult(
        &self,
        region: &Region,
        request: &Request,
        entry: &Entry,
        (at_us, is_now): (u64, bool),
        sightings: &Sightings,
        reservations: &mut SlotReservations,
        answer: &mut Answer,
    ) {
        match (self, &entry.question) {
            (Self::Rate(counter), Question::Rate { at, amount }) => {
                answer.now = counter.ticks_at(at_us);
                (answer.verdict, answer.slot) = counter.consult(region, at, answer.now, *amount, reservations);
            }
            // Nothing is new, so nothing is counted.
            (Self::FanOut(_), _) if is_now && !sightings.is_any_new => {}
            (Self::FanOut(_) | Self::Distinct(_), _) => {
                *answer = self.consult_elements(region, request, entry, (at_us, is_now), sightings, reservations);
            }
            _ => {}
        }
    }

    /// Consults a fan-out. Not inlined: a check that brings nothing new has no use for it.
    #[inline(never)]
    fn consult_elements(
        &self,
        region: &Region,
        request: &Request,
        entry: &Entry,
        (at_us, is_now): (u64, bool),
        sightings: &Sightings,
        reservations: &mut SlotReservations,
    ) -> Answer {
        match (self, &entry.question) {
            (Self::FanOut(_), Question::FanOut { lookup }) if is_now && !sightings.has_new(*lookup) => Answer::FITS,
            (Self::FanOut(fan_out), Question::FanOut { lookup }) => {
                fan_out.consult(region, &request.looked_up(*lookup, sightings), at_us, reservations)
            }
            (Self::Distinct(distinct), Question::Distinct { at, first, count }) => {
                let hashes = request.hashes(*first, *count);
                let (verdict, slot) = distinct.consult(region, at, at_us, hashes, reservations);
                Answer { verdict, slot, ..Answer::FITS }
            }
            _ => Answer::FITS,
        }
    }

    /// Charges `entry`, which was consulted under the same lock; `false` when its key found no room and stays
    /// untracked.
    #[inline(always)]
    pub fn charge(
        &self,
        region: &mut Region,
        request: &Request,
        entry: &Entry,
        sightings: &Sightings,
        answer: &Answer,
        at_us: u64,
    ) -> bool {
        match (self, &entry.question) {
            (Self::Rate(counter), Question::Rate { at, amount }) => {
                counter.charge(region, at, answer.slot, answer.now, *amount)
            }
            (Self::FanOut(_), _) if answer.new == 0 => true,
            (Self::FanOut(_) | Self::Distinct(_), _) => {
                self.charge_elements(region, request, entry, sightings, answer, at_us)
            }
            _ => true,
        }
    }

    /// Charges a fan-out.
    #[inline(never)]
    fn charge_elements(
        &self,
        region: &mut Region,
        request: &Request,
        entry: &Entry,
        sightings: &Sightings,
        answer: &Answer,
        at_us: u64,
    ) -> bool {
        match (self, &entry.question) {
            (Self::FanOut(fan_out), Question::FanOut { lookup }) => {
                fan_out.charge(region, &request.looked_up(*lookup, sightings), answer)
            }
            (Self::Distinct(distinct), Question::Distinct { at, first, count }) => {
                distinct.charge(region, at, answer.slot, at_us, request.hashes(*first, *count))
            }
            _ => true,
        }
    }

    /// Gives back what `entry` was charged at `then_us`, less what has drained since; whether there was anything to
    /// give back. What a fan-out has seen stays seen, and its charge stays with it.
    pub fn refund(&self, region: &mut Region, entry: &Entry, then_us: u64, now_us: u64) -> bool {
        match (self, entry.question) {
            (Self::Rate(counter), Question::Rate { at, amount }) => {
                let [then, now] = [then_us, now_us].map(|us| counter.ticks_at(us));
                counter.refund(region, &at, then, now, amount)
            }
            _ => false,
        }
    }

    /// How much of `burst` the key of `entry` has used up, and how much this check adds.
    pub fn usage(
        &self,
        region: &Region,
        request: &Request,
        entry: &Entry,
        (sightings, answer): (&Sightings, &Answer),
        at_us: u64,
        burst: u64,
    ) -> (u64, u64) {
        match (self, entry.question) {
            (Self::Rate(counter), Question::Rate { at, amount }) => {
                (burst - largest_fitting(counter, region, &at, at_us, burst), amount)
            }
            (Self::FanOut(fan_out), Question::FanOut { lookup }) => {
                let at = fan_out.bucket_lines(&request.looked_up(lookup, sightings), answer.part);
                (burst - largest_fitting(fan_out.buckets(), region, &at, at_us, burst), answer.new.into())
            }
            (Self::Distinct(distinct), Question::Distinct { at, count, .. }) => {
                (distinct.level(region, &at, at_us), count.into())
            }
            _ => (0, 0),
        }
    }

    /// The counters that a message, or a new element, is charged to; `None` where there are none such.
    pub fn rate_counter(&self) -> Option<&RateCounter> {
        match self {
            Self::Rate(counter) => Some(counter),
            Self::FanOut(fan_out) => Some(fan_out.buckets()),
            Self::Distinct(_) | Self::InFlight(_) => None,
        }
    }

    /// The table of its slots; an in-flight limit has none.
    pub fn slots_table(&self) -> Option<&Table> {
        match self {
            Self::Distinct(distinct) => Some(distinct.table()),
            _ => self.rate_counter().map(RateCounter::table),
        }
    }

    /// The seen set that it asks, by its place in the plan.
    pub fn seen_set(&self) -> Option<usize> {
        match self {
            Self::FanOut(fan_out) => Some(fan_out.seen_set()),
            Self::Rate(_) | Self::Distinct(_) | Self::InFlight(_) => None,
        }
    }

    /// Its tables: the slots first.
    pub fn tables(&self) -> impl Iterator<Item = TablePart> {
        let part = |kind, table: &Table, slots| TablePart { kind, pages: table.pages(), bytes: table.bytes(), slots };
        let slots = match self {
            Self::Distinct(distinct) => Some(part(TableKind::Slots, distinct.table(), distinct.slots())),
            _ => self.rate_counter().map(|counter| part(TableKind::Slots, counter.table(), counter.slots())),
        };
        let beside = match self {
            Self::Distinct(distinct) => {
                let blocks = distinct.blocks();
                Some(part(TableKind::Registers, blocks, blocks.lines() as u64))
            }
            _ => self.rate_counter().and_then(RateCounter::sketch).map(|(pages, slots)| TablePart {
                kind: TableKind::Sketch,
                pages,
                bytes: u64::from(pages) * crate::region::PAGE_BYTES,
                slots,
            }),
        };
        slots.into_iter().chain(beside)
    }

    /// Slots in use on one page of the table of that kind.
    pub fn used(&self, kind: TableKind, region: &Region, page: u32, now_us: u64) -> u64 {
        match (self, kind) {
            (Self::Distinct(distinct), TableKind::Registers) => distinct.blocks_used(region, page, now_us),
            (Self::Distinct(distinct), _) => distinct.used(region, page, now_us),
            (_, TableKind::Sketch) => {
                self.rate_counter().map_or(0, |counter| counter.sketch_used(region, page, now_us))
            }
            _ => self.rate_counter().map_or(0, |counter| counter.used(region, page, now_us)),
        }
    }
}

/// The largest amount up to `most` that fits, when less fits wherever more does.
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
