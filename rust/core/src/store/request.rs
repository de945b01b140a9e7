//! What one check asks of the stores, and room for what they answer.
//!
//! A request is filled in before the lock and not written after that. The answers are a separate structure, whose
//! memory is also allocated before the lock. So consulting writes only answers and allocates nothing.
//!
//! ```text
//!  entries    one for each key of a limit           ── consult ──>  answers
//!  lookups    one for each seen set and key: a run of `others` and a run of `parts`   ── look up ──>  sightings
//!  hashes     elements of fan-outs that refuse the whole key
//!  in_flight  keys of in-flight limits              ── find ──>     rows
//! ```
//!
//! This file also has [`Verdict`], which every store returns, and [`SlotReservations`] for the new keys of one check.
//! It knows no text, no identity and no policy, only keys and the places of lines.

use std::collections::HashMap;

use smallvec::SmallVec;

use super::key_counts::Row;
use super::seen_set::Sighting;
use crate::bitset::places;
use crate::key::Key;
use crate::region::{Candidates, KeySlot, Line, LineId, Region, SLOTS, Table};
use crate::time::{TickClock, Ticks};

/// All that one check asks of the stores.
#[derive(Debug, Default)]
pub struct StoreRequest {
    /// One for each key of each limit: first fan-outs by their look-ups, then fan-outs that refuse the whole key, then
    /// rates by their keys. In-flight limits have no entry: they are asked through `in_flight`.
    pub entries: Vec<Entry>,
    /// How many of `entries` ask about a fan-out of either kind.
    pub fan_outs: usize,
    /// Whether any entry asks about a fan-out that refuses the whole key.
    pub has_distinct: bool,
    /// One for each seen set and key; limits that share a seen set share its look-ups.
    pub lookups: Vec<Lookup>,
    /// The elements of all look-ups except the first element of each.
    pub others: Vec<Candidates>,
    /// The parts of names of all look-ups.
    pub parts: Vec<NamePart>,
    /// Elements of fan-outs that refuse the whole key, each joined with its key.
    pub hashes: Vec<Key>,
    /// The most slots that the new keys may reserve.
    pub reservations: usize,
    /// What the check asks of the in-flight limits.
    pub in_flight: Wanted,
}

/// One limit asked about one key.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Place in the plan: of the limit, or of the quota that replaces it for this key.
    pub limit: u16,
    /// Whether an admitted check charges it; otherwise it is only consulted.
    pub is_charged: bool,
    /// Which value of an identity that has several values.
    pub nth: u32,
    /// The question to the store.
    pub question: Question,
}

/// The question of one entry to its store.
#[derive(Clone, Copy, Debug)]
pub enum Question {
    /// A rate: where the key's counter may be, and how much is charged.
    Rate {
        /// Candidate lines.
        at: Candidates,
        /// Amount in the unit that the limit counts.
        amount: u64,
    },
    /// A fan-out that refuses what is new.
    FanOut {
        /// Place in [`StoreRequest::lookups`].
        lookup: u32,
        /// How often each new element is charged: once, or once for each recipient.
        times: u32,
        /// The bucket of the limit's key.
        bucket: Key,
    },
    /// A fan-out that refuses the whole key.
    Distinct {
        /// Candidate lines.
        at: Candidates,
        /// A run of [`StoreRequest::hashes`].
        elements: Run,
    },
}

/// One look-up in a seen set: the elements and name parts that a check brings under one key.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// Place of the seen set in the plan.
    pub seen_set: u32,
    /// The first element: nearly always the only one.
    pub element: Candidates,
    /// The other elements, a run of [`StoreRequest::others`].
    pub others: Run,
    /// Its run of [`StoreRequest::parts`], the shallowest first.
    pub parts: Run,
    /// Whether the element became known at an earlier step of this transaction, and still counts as new.
    pub is_fresh: bool,
    /// Whether the elements are proven.
    pub is_proven: bool,
}

/// A run of an array.
#[derive(Clone, Copy, Debug, Default)]
pub struct Run {
    /// First place.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// A part of a host's name on the ladder.
#[derive(Clone, Copy, Debug)]
pub struct NamePart {
    /// Its candidate lines in the seen set.
    pub at: Candidates,
    /// Its bucket.
    pub bucket: Key,
}

/// The answer of a store to one entry.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// Whether it fits.
    pub verdict: Verdict,
    /// The slot of the key, if it has one.
    pub slot: Option<KeySlot>,
    /// The time of the question, in ticks of the store's clock.
    pub now: Ticks,
    /// Of a fan-out, the bucket that was asked.
    pub bucket: Candidates,
    /// How much is charged for the new elements of a fan-out.
    pub new: u32,
    /// The part of the name whose bucket was asked; `None` for the key's own bucket.
    pub part: Option<u8>,
}

/// Room for the answers to one request.
#[derive(Debug, Default)]
pub struct Answers {
    /// One for each entry that was consulted. While every element is known, the engine may consult the rates only, and
    /// then the answers belong to the last entries.
    pub entries: Vec<Answer>,
    /// The results of the look-ups.
    pub sightings: Sightings,
    /// The row of each key of [`Wanted::keys`].
    pub rows: Vec<Option<Row>>,
    /// The slots that the new keys of this check have reserved.
    pub reservations: SlotReservations,
}

/// The results of the look-ups of one request in the seen sets.
#[derive(Debug, Default)]
pub struct Sightings {
    /// One result for each look-up.
    pub lookups: Vec<FoundElement>,
    /// Whether a limit may charge any element: it is not known, or a limit charges it again when it returns.
    pub may_charge_any: bool,
    /// One sighting for each of the other elements; `None` for an unknown one.
    pub others: Vec<Option<Sighting>>,
    /// Forget times of look-ups with several elements, sorted within each look-up. An unknown element has time 0.
    pub forgotten_us: Vec<u64>,
    /// One sighting for each part; `None` for an unknown one.
    pub parts: Vec<Option<Sighting>>,
}

/// The result of one look-up.
#[derive(Clone, Copy, Debug)]
pub struct FoundElement {
    /// How many of its elements are not known now.
    pub new: u32,
    /// Whether the element is known, and a limit over the seen set may charge it again now.
    pub is_charged_again: bool,
    /// The sighting of the first element; `None` when it is unknown.
    pub sighting: Option<Sighting>,
    /// When the first element was noted, in units of the set, if it is new and was refused before or is refused now.
    pub noted_units: Option<u64>,
    /// With several elements, the place of their forget times in [`Sightings::forgotten_us`].
    pub forgotten: u32,
}

/// A look-up with its results.
#[derive(Clone, Copy, Debug)]
pub struct LookedUp<'r> {
    /// The sighting of the first element; `None` when it is unknown or counts as new.
    pub sighting: Option<Sighting>,
    /// The bucket of the key itself.
    pub bucket: Key,
    /// The parts of the name, the shallowest first.
    pub parts: &'r [NamePart],
    /// The sighting of each part; `None` for an unknown one.
    pub known_parts: &'r [Option<Sighting>],
    /// With several elements, their forget times, sorted: an unknown element has time 0. With one it is empty.
    pub forgotten_us: &'r [u64],
}

impl Answer {
    /// The answer of a store in which the entry fits.
    pub const FITS: Self =
        Self { verdict: Verdict::Fits, slot: None, now: Ticks(0), bucket: Candidates::NONE, new: 0, part: None };

    /// Whether the entry fits now.
    #[inline]
    pub fn fits(&self) -> bool {
        self.verdict == Verdict::Fits
    }

    /// Whether the key is near its limit, or above it.
    #[inline]
    pub fn is_near_limit(&self) -> bool {
        self.verdict != Verdict::Fits || matches!(self.slot, Some(KeySlot { hot: true, .. }))
    }
}

impl Run {
    /// Its part of `array`.
    #[inline]
    pub fn of<T>(self, array: &[T]) -> &[T] {
        array.get(self.first as usize..(self.first + self.count) as usize).unwrap_or_default()
    }
}

impl StoreRequest {
    /// Returns the look-up at that place with its results, for a limit whose key has this bucket.
    #[inline]
    pub fn looked_up<'r>(&'r self, place: u32, bucket: Key, found: &'r Sightings) -> LookedUp<'r> {
        let (lookup, element) = (&self.lookups[place as usize], &found.lookups[place as usize]);
        let several = Run { first: element.forgotten, count: lookup.others.count + 1 };
        let forgotten_us = if lookup.others.count == 0 { &[][..] } else { several.of(&found.forgotten_us) };
        let known_parts = lookup.parts.of(&found.parts);
        let sighting = element.sighting.filter(|_| !lookup.is_fresh);
        LookedUp { sighting, bucket, parts: lookup.parts.of(&self.parts), known_parts, forgotten_us }
    }

    /// Adds room for reservations of `count` keys of one limit. A single key needs none, because no other key of this
    /// check competes for its slot.
    #[inline]
    pub fn reserve(&mut self, count: usize) {
        if count > 1 {
            self.reservations += count;
        }
    }

    /// Empties it for the next check, and keeps its room.
    #[inline]
    pub fn clear(&mut self) {
        self.entries.clear();
        (self.fan_outs, self.has_distinct) = (0, false);
        self.lookups.clear();
        self.others.clear();
        self.parts.clear();
        self.hashes.clear();
        self.reservations = 0;
        self.in_flight.held = Held::default();
        self.in_flight.keys.clear();
    }
}

impl Answers {
    /// The place in the request of the first entry that was consulted: those before it bring nothing new, and fit.
    #[inline(always)]
    pub fn first_place(&self, request: &StoreRequest) -> usize {
        request.entries.len().saturating_sub(self.entries.len())
    }

    /// The entries that were consulted, each with its place in the request and its answer.
    #[inline(always)]
    pub fn consulted<'a>(&'a self, request: &'a StoreRequest) -> impl Iterator<Item = (usize, &'a Entry, &'a Answer)> {
        let first = self.first_place(request);
        (first..)
            .zip(request.entries[first..].iter().zip(&self.entries))
            .map(|(place, (entry, answer))| (place, entry, answer))
    }

    /// Adds an answer for each entry that was not consulted. Such an entry fits, since it brings nothing new. The
    /// memory was reserved before.
    pub fn fill(&mut self, request: &StoreRequest) {
        let missing = self.first_place(request);
        self.entries.resize(request.entries.len(), Answer::FITS);
        self.entries.rotate_right(missing);
    }

    /// Empties it for the next check, and keeps its room.
    #[inline]
    pub fn clear(&mut self) {
        self.entries.clear();
        let Sightings { lookups, may_charge_any, others, forgotten_us, parts } = &mut self.sightings;
        lookups.clear();
        *may_charge_any = false;
        others.clear();
        forgotten_us.clear();
        parts.clear();
        self.rows.clear();
    }

    /// Reserves all the memory that `request` needs, for at least `most` entries and as many look-ups.
    pub fn take_room_for(&mut self, request: &StoreRequest, most: usize) {
        self.entries.reserve(most);
        let Sightings { lookups, others, forgotten_us, parts, .. } = &mut self.sightings;
        lookups.reserve(most);
        if !request.others.is_empty() {
            others.reserve(request.others.len());
            forgotten_us.reserve(request.others.len() + request.lookups.len());
        }
        if !request.parts.is_empty() {
            parts.reserve(request.parts.len());
        }
        if !request.in_flight.keys.is_empty() {
            self.rows.reserve(request.in_flight.keys.len());
        }
        self.reservations = SlotReservations::with_room(request.reservations);
    }
}

/// The answer to one charge: it fits now, fits later, or never fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is room now.
    Fits,
    /// There will be room at this engine time, in microseconds, and not before, if nothing else is charged.
    From(u64),
    /// There will never be room: the charge costs more than the burst, or more than a window admits.
    Never,
}

impl Verdict {
    /// Builds the verdict from `ready`, the tick at which the charge fits; `None` means never.
    pub(super) fn at(ready: Option<u64>, now: u64, clock: &TickClock) -> Self {
        match ready {
            None => Self::Never,
            Some(ready) if ready <= now => Self::Fits,
            Some(ready) => Self::From(clock.micros(ready)),
        }
    }

    /// The first engine time at which the charge fits, when asked at `now_us`; `u64::MAX` when never.
    pub fn earliest_us(self, now_us: u64) -> u64 {
        match self {
            Self::Fits => now_us,
            Self::From(us) => us,
            Self::Never => u64::MAX,
        }
    }
}

/// The question of one check or one permit to the in-flight limits.
#[derive(Debug, Default)]
pub struct Wanted {
    /// The limits that are asked, by their place in [`Capacity::limits`](super::in_flight::Capacity::limits), and the
    /// size of the message.
    pub held: Held,
    /// A key for each of the counts that they need.
    pub keys: Vec<WantedKey>,
}

/// The amounts that a permit holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The limits that it is held under, a bit each.
    pub limits: u64,
    /// Those of them under which it is a neighbour's.
    pub neighbours: u64,
    /// The bytes that limits on bytes count.
    pub bytes: u64,
}

impl Held {
    /// Whether it is a neighbour's under the limit at that place.
    #[inline]
    pub fn is_neighbour(&self, limit: usize) -> bool {
        self.neighbours >> limit & 1 == 1
    }

    /// The places of the limits that it is held under.
    #[inline]
    pub fn places(&self) -> impl Iterator<Item = usize> + use<> {
        places(self.limits).map(|place| place as usize)
    }
}

/// A key under which something is in flight.
#[derive(Clone, Copy, Debug)]
pub struct WantedKey {
    /// The counts, by their place in [`Capacity::counts`](super::in_flight::Capacity::counts).
    pub counts: usize,
    /// The key.
    pub key: Key,
}

impl Wanted {
    /// The key for the counts at that place.
    pub fn key(&self, counts: usize) -> Option<Key> {
        self.keys.iter().find(|wanted| wanted.counts == counts).map(|wanted| wanted.key)
    }
}

const _: () = assert!(SLOTS <= u8::BITS as usize);

/// With up to `FEW` new keys in one check the wait is exact: the lines of all of them are searched. With more, a key
/// looks only at its own two lines, and may report too long a wait.
const FEW: usize = 16;

/// Free slots reserved for the new keys of one check, so that two of them do not count on the same slot.
///
/// Only a table that refuses when full (`when_full = "refuse"`) needs reservations, and only for a check that brings it
/// several new keys. Their memory is allocated before the lock, so reserving allocates nothing.
#[derive(Debug, Default)]
pub struct SlotReservations(Option<Box<Reserved>>);

#[derive(Debug)]
struct Reserved {
    /// How many slots of each line are reserved.
    lines: HashMap<LineId, u32>,
    /// The candidate lines of the new keys so far. More than [`FEW`] entries mean that there are too many keys for an
    /// exact wait.
    asked: SmallVec<[[LineId; 2]; FEW + 1]>,
}

impl SlotReservations {
    /// Room for `count` reservations.
    #[inline]
    pub fn with_room(count: usize) -> Self {
        let reserved = || Box::new(Reserved { lines: HashMap::with_capacity(count), asked: SmallVec::new() });
        Self((count > 0).then(reserved))
    }

    /// Drops all reservations, so that the tables can be consulted once more.
    #[inline]
    pub fn clear(&mut self) {
        if let Some(reserved) = &mut self.0 {
            reserved.lines.clear();
            reserved.asked.clear();
        }
    }

    /// Reserves a slot for a new key and returns `now`. Without a free slot it returns the time at which the next slot
    /// that the key may get is free, or `None` when there is no such time. `free_slots` returns the free slots of a
    /// line as bits, and `free_from` the time from which one of its `slots` is free.
    pub(super) fn slot_from(
        &mut self, region: &Region, (at, table, slots): (&Candidates, &Table, usize), now: u64,
        free_slots: impl Fn(&Line) -> u32, free_from: impl Fn(&Line, usize) -> u64,
    ) -> Option<u64> {
        if self.reserve_one(at.lines.map(|id| (id, free_slots(region.line(id)).count_ones()))) {
            return Some(now);
        }
        let lines = self.lines_of(at, table).map(|id| region.line(id));
        lines.flat_map(|line| (0..slots).map(|slot| free_from(line, slot)).filter(|&from| from > now).min()).min()
    }

    /// Reserves a free slot of the emptier of two lines; `false` when neither has one that is not reserved.
    fn reserve_one(&mut self, free: [(LineId, u32); 2]) -> bool {
        if let Some(reserved) = self.0.as_mut().filter(|reserved| reserved.asked.len() <= FEW) {
            reserved.asked.push(free.map(|(line, _)| line));
        }
        let [first, second] = free.map(|(line, free)| (line, free.saturating_sub(self.of(line))));
        let (line, left) = if second.1 > first.1 { second } else { first };
        if left > 0 {
            self.reserve(line);
        }
        left > 0
    }

    /// The lines that decide whether a new key finds room: its own two, and those of the new keys before it in `table`,
    /// because each of those keys may take a slot in either of its lines.
    fn lines_of<'a>(&'a self, own: &'a Candidates, table: &'a Table) -> impl Iterator<Item = LineId> + 'a {
        let others = self.0.as_ref().map(|reserved| &reserved.asked[..]).filter(|asked| asked.len() <= FEW);
        let others = others.unwrap_or_default().iter().flatten().copied();
        own.lines.into_iter().chain(others.filter(|line| table.has(*line) && !own.lines.contains(line)))
    }

    /// How many slots of a line are reserved. A line belongs to one table, so one map serves all tables.
    #[inline]
    pub(super) fn of(&self, line: LineId) -> u32 {
        self.0.as_ref().and_then(|reserved| reserved.lines.get(&line)).copied().unwrap_or(0)
    }

    /// Reserves one slot of a line.
    #[inline]
    pub(super) fn reserve(&mut self, line: LineId) {
        if let Some(reserved) = &mut self.0 {
            *reserved.lines.entry(line).or_default() += 1;
        }
    }
}

/// Returns a free slot of the emptier of a key's two lines; `free` are the free slots of each as bits.
#[inline]
pub(super) fn free_slot(at: &Candidates, [first, second]: [u32; 2]) -> Option<KeySlot> {
    // A line has fewer than eight slots, and counting the bits of one byte takes fewer instructions.
    let is_second = (second as u8).count_ones() > (first as u8).count_ones();
    let (line, free) = if is_second { (at.lines[1], second) } else { (at.lines[0], first) };
    (free != 0).then(|| KeySlot { line, slot: free.trailing_zeros() as u8, hot: false })
}
