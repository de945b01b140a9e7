//! Names of keys that come near a limit, with counts of what they send. The memory is fixed, and no churn displaces a
//! heavy sender.
//!
//! **Idea.** The tables of the limits hold every heavy key, but only as a hash. So when a check finds a key above half
//! of one of its limits, or refuses it, the values of its identities get a slot with their text: K slots for each
//! identity. From then on all their checks are counted, admitted or refused. A newcomer that finds no free slot takes
//! the slot of the name with the lowest weight in the last minute, and takes over its counts as credit.
//!
//! ```text
//!  counts, for each name and pane of 15 s:   word 0  refused (32) | admitted (32)
//!                                            word 1  new elements (32) | credit (32)
//!
//!  count(key):   in the index? counts of the current pane += 1
//!                the elements of the fan-out per this identity → the name's HyperLogLog
//!                those that its seen set does not know → the new elements of the current pane
//!  enter(key):   slot ← a free one, else the one of the lowest weight
//!                every pane: credit += admitted + refused;  admitted, refused, new elements ← 0
//!  weight        Σ over the panes: admitted + refused + credit
//! ```
//!
//! **Bound.** The weights of an identity's names add up to no more than N, the number of checks that keys with a name
//! or near a limit sent in the last 60 to 75 s. So the lowest weight is at most N/K. A name that sends more than N/K is
//! never displaced, whatever others send. A value without a slot gets one with its next check above half of its limit.
//! To displace a name of h messages a minute, an attacker must send more than K·h, all of it above half of some limit.
//!
//! **Cost.** While there are no names, a check without a tracked key reads nothing. Otherwise it reads one byte for
//! each value, in an index that stays in the cache: 12 ns for five (`cargo bench --bench stats`). A new name costs its
//! text and a second short lock: 0.7 µs for a name that displaces another, at most 16 for each check. **Size.**
//! K · (192 + 80 + 8 + 4) bytes for each identity: 18 KiB for 64 names.
//!
//! **Counted together.** Proven and claimed mail count under one name: a name is what an operator looks up or blocks,
//! and the decisions tell which of the two was refused. A limit with several identities gives a name to the value of
//! each of them.
//!
//! **New elements.** An element that is refused stays unknown, so it counts each time it comes. A fan-out that refuses
//! the whole key remembers no elements: there the growth of the HyperLogLog's estimate counts. It is coarse: after n
//! elements, one change of a register counts for n/64 or more.
//!
//! **Source.** Metwally, Agrawal, El Abbadi 2005, "Efficient computation of frequent and top-k elements in data
//! streams" (SpaceSaving: evict the lowest, inherit its count). Here each pane has its own credit, which expires with
//! the pane, and the credit is kept separate from the exact counts.
//!
//! **Dropped.** Evicting the lowest without credit: 63 keys that send once a second keep as many slots, and all others
//! take turns in the last one; a name of 600 messages a minute is absent in 129 of 130 samples
//! (`tests/adversarial/test_churn_of_offenders.py`; with credit in none). Credit in one sum for all panes: it is
//! inherited before it expires, so under lasting churn it only grows, and displaces a name that sends evenly. A ring of
//! the latest names: one burst of churn empties it. The growth of the estimate for all fan-outs: in a flood of a
//! hundred new hosts a second it showed 0 new ones in every fourth minute, after half an hour.

use std::cmp::Reverse;

use bytemuck::{Pod, Zeroable};

use super::layout::{IdentityKey, Layout, NAME, ROWS, TEXT};
use crate::key::Key;
use crate::sketch::hyperloglog::{HyperLogLog, Martingale};

/// The word of the head that counts the names in use.
const NAMES: usize = 3;

/// Bytes of a name's text; one more byte holds its length.
pub const NAME_BYTES: usize = 8 * TEXT - 1;

const ELLIPSIS: &str = "…";

/// A name's text in a fixed number of bytes: at most [`NAME_BYTES`].
///
/// A longer text is cut to its end, behind an ellipsis, because the end of a host name tells who owns it.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Name([u64; TEXT]);

/// The record of a name in the table.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(super) struct Named {
    since_us: i64,
    name: Name,
    registers: [u64; 6],
    martingale: Martingale,
}

const _: () = assert!(size_of::<Named>() == 8 * NAME);

/// A value that gets a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// The value.
    pub value: IdentityKey,
    /// The value as text.
    pub name: Name,
    /// When it was found near its limit, µs of the check's clock.
    pub since_us: i64,
}

/// One name and what it sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Offender {
    /// The value of the identity; only the end of a long one.
    pub value: String,
    /// Checks that were admitted in the last 60 to 75 seconds.
    pub admitted: u64,
    /// Checks that were refused in the last 60 to 75 seconds.
    pub refused: u64,
    /// Elements of that fan-out that were not known when they came, in the last 60 to 75 seconds. One that is refused
    /// counts each time.
    pub new_elements: u64,
    /// How many different elements of the fan-out limit per this identity it brought since it got its slot; `None` when
    /// there is no such limit.
    pub fan_out: Option<f64>,
    /// When it was found above half of a limit, µs of the check's clock.
    pub since_us: i64,
}

impl Name {
    /// Keeps a text, cut at a character's boundary where it is too long.
    pub fn of(text: &str) -> Self {
        let kept = if text.len() <= NAME_BYTES {
            text.to_owned()
        } else {
            let over = text.len() - NAME_BYTES;
            let from = (over + ELLIPSIS.len()..text.len()).find(|&at| text.is_char_boundary(at));
            format!("{ELLIPSIS}{}", &text[from.unwrap_or(text.len())..])
        };
        let mut words = [0; TEXT];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        bytes[0] = kept.len() as u8;
        bytes[1..=kept.len()].copy_from_slice(kept.as_bytes());
        Self(words)
    }

    /// The text that is kept.
    pub fn text(&self) -> String {
        let bytes: &[u8] = bytemuck::cast_slice(&self.0);
        let length = usize::from(bytes[0]).min(bytes.len() - 1);
        String::from_utf8_lossy(&bytes[1..=length]).into_owned()
    }
}

/// Whether any name is in use.
pub(super) fn any(words: &[u64]) -> bool {
    words[NAMES] != 0
}

/// The slot of a value's name.
pub(super) fn find(layout: &Layout, words: &[u64], value: IdentityKey) -> Option<usize> {
    let first = layout.index(value.place).start + (value.key.0 as usize & (layout.index_size() - 1));
    if bytemuck::cast_slice::<u64, u8>(words)[first] == 0 { None } else { search(layout, words, value) }
}

#[inline(never)]
fn search(layout: &Layout, words: &[u64], IdentityKey { place, key }: IdentityKey) -> Option<usize> {
    let index = &bytemuck::cast_slice::<u64, u8>(words)[layout.index(place)];
    let mut at = key.0 as usize & (index.len() - 1);
    // At most a quarter of the index is used, so the search ends at a free entry. The loop is bounded in any case.
    for _ in 0..index.len() {
        let slot = usize::from(index[at]).checked_sub(1)?;
        if words[layout.keys(place)][slot] == stored(key) {
            return Some(slot);
        }
        at = (at + 1) & (index.len() - 1);
    }
    None
}

/// Counts one check under a name: whether it was admitted, the elements that it brought, and how many of them were new;
/// `None` where nothing remembers them. `row` is the first word of the current row.
#[inline(never)]
pub(super) fn count(
    layout: &Layout, words: &mut [u64], row: usize, (place, slot): (usize, usize), elements: impl Iterator<Item = Key>,
    new: Option<u32>, admitted: bool,
) {
    let Named { registers, martingale, .. } = named_mut(layout, words, place, slot);
    let whole = |martingale: &Martingale| martingale.estimate().map_or(0, |estimate| estimate.round() as u64);
    let before = whole(martingale);
    for element in elements {
        if let Some(change) = HyperLogLog::SMALL.add(registers, element) {
            martingale.note(HyperLogLog::SMALL, change);
        }
    }
    let new = new.map_or_else(|| whole(martingale).saturating_sub(before), u64::from);
    let at = layout.counts(row, place, slot);
    words[at] += if admitted { 1 } else { 1 << 32 };
    words[at + 1] += new << 32;
}

/// Gives a newcomer a slot, and returns it.
pub(super) fn enter(layout: &Layout, words: &mut [u64], now_us: u64, newcomer: &Newcomer) -> usize {
    let Newcomer { value: IdentityKey { place, key }, name, since_us } = newcomer;
    let slot = slot_for_one_more(layout, words, *place, now_us);
    for row in 0..ROWS {
        let at = layout.counts(layout.minute(row).start, *place, slot);
        words[at + 1] = credit(words[at + 1]) + sent(words[at]);
        words[at] = 0;
    }
    let keys = layout.keys(*place).start;
    words[NAMES] += u64::from(words[keys + slot] == 0);
    words[keys + slot] = stored(*key);
    *named_mut(layout, words, *place, slot) = Named { since_us: *since_us, name: *name, ..Named::zeroed() };
    rebuild_index(layout, words, *place);
    slot
}

/// Returns a free slot, else the slot of the lowest weight; among equal weights the oldest.
fn slot_for_one_more(layout: &Layout, words: &[u64], place: usize, now_us: u64) -> usize {
    let keys = &words[layout.keys(place)];
    let weight = |slot: usize| -> u64 {
        let counts = layout.minute_rows(words, now_us).map(|row| layout.counts(row, place, slot));
        counts.map(|at| sent(words[at]) + credit(words[at + 1])).sum()
    };
    let since = |slot| named(layout, words, place, slot).since_us;
    let free = keys.iter().position(|&key| key == 0);
    free.or_else(|| (0..layout.names).min_by_key(|&slot| (weight(slot), since(slot)))).unwrap_or(0)
}

/// Rebuilds the index of an identity. An entry cannot just be removed: a free place within a run of entries would end
/// the search for those behind it.
fn rebuild_index(layout: &Layout, words: &mut [u64], place: usize) {
    let size = layout.index_size();
    bytemuck::cast_slice_mut::<u64, u8>(words)[layout.index(place)].fill(0);
    for slot in 0..layout.names {
        let key = words[layout.keys(place)][slot];
        if key == 0 {
            continue;
        }
        let index = &mut bytemuck::cast_slice_mut::<u64, u8>(words)[layout.index(place)];
        let mut places = (0..size).map(|step| (key as usize + step) % size);
        if let Some(at) = places.find(|&at| index[at] == 0) {
            index[at] = slot as u8 + 1;
        }
    }
}

/// A copy of an identity's names at one time: taken under the lock, read after it.
#[derive(Debug)]
pub struct Snapshot(Vec<Copied>);

/// One name in a snapshot.
#[derive(Clone, Copy, Debug, Zeroable)]
struct Copied {
    key: u64,
    admitted: u64,
    refused: u64,
    new_elements: u64,
    named: Named,
}

impl Snapshot {
    /// Allocates all the room that a copy needs.
    pub fn new(layout: &Layout) -> Self {
        Self(vec![Copied::zeroed(); layout.names])
    }

    /// Copies the names of an identity.
    pub(super) fn take(&mut self, layout: &Layout, words: &[u64], place: usize, now_us: u64) {
        for (slot, copied) in self.0.iter_mut().enumerate() {
            let (key, named) = (words[layout.keys(place)][slot], *named(layout, words, place, slot));
            *copied = Copied { key, named, ..Copied::zeroed() };
            for row in layout.minute_rows(words, now_us) {
                let at = layout.counts(row, place, slot);
                copied.admitted += words[at] & LOW;
                copied.refused += words[at] >> 32;
                copied.new_elements += words[at + 1] >> 32;
            }
        }
    }

    /// The names, the one that sent most first; among equal ones the oldest first.
    pub(super) fn offenders(&self, counts_elements: bool) -> Vec<Offender> {
        let used = self.0.iter().filter(|copied| copied.key != 0);
        let mut all: Vec<Offender> = used
            .map(|&Copied { admitted, refused, new_elements, named, .. }| {
                let Named { since_us, name, registers, martingale } = named;
                let estimate = || martingale.estimate().unwrap_or_else(|| HyperLogLog::SMALL.estimate(&registers));
                let fan_out = counts_elements.then(estimate);
                Offender { value: name.text(), admitted, refused, new_elements, fan_out, since_us }
            })
            .collect();
        all.sort_by_cached_key(|offender| {
            (Reverse(offender.admitted + offender.refused), offender.since_us, offender.value.clone())
        });
        all
    }
}

fn named<'w>(layout: &Layout, words: &'w [u64], place: usize, slot: usize) -> &'w Named {
    bytemuck::from_bytes(bytemuck::cast_slice(&words[layout.name(place, slot)..][..NAME]))
}

fn named_mut<'w>(layout: &Layout, words: &'w mut [u64], place: usize, slot: usize) -> &'w mut Named {
    bytemuck::from_bytes_mut(bytemuck::cast_slice_mut(&mut words[layout.name(place, slot)..][..NAME]))
}

/// The bits of the lower of two counts in a word.
const LOW: u64 = u32::MAX as u64;

/// Adds up the admitted and the refused checks in the first word of a name's counts.
fn sent(counts: u64) -> u64 {
    (counts & LOW) + (counts >> 32)
}

/// The credit in the second word of a name's counts.
fn credit(word: u64) -> u64 {
    word & LOW
}

/// The form in which a slot keeps a key: never zero, which marks a free slot.
fn stored(key: Key) -> u64 {
    key.0.max(1)
}
