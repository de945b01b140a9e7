//! Names of keys that come near a limit, with what they send: fixed memory, and no churn takes the name of who is really heavy.
//!
//! **Idea.** The tables of the limits hold every heavy key, but as a hash. So when a check finds a key above half of one of its limits, or refuses it, the
//! values of its identities get a slot with their text: K an identity. From then on all that they send is counted, admitted or refused.
//! A newcomer without a free slot takes that of the name that has sent least in the last minute, and takes its tallies over as credit.
//!
//! ```text
//!  tally, one a name and pane of 15 s:   word 0  refused (32) | admitted (32)      word 1  credit
//!
//!  count(key):   in the index? tally of the current pane += 1;  the elements of the fan-out per this identity → the name's HyperLogLog
//!  enter(key):   slot ← a free one, else that of the lowest weight
//!                every pane: credit += admitted + refused;  admitted, refused ← 0
//!  weight        Σ over the panes: admitted + refused + credit
//! ```
//!
//! **Bound.** The weights of an identity's names add up to no more than what hot and tracked keys sent in the last 60 to 75 s, N. So the lowest is at most N/K: a
//! name that sends more than a K-th of that is never evicted, whatever comes and goes around it; one that is not there yet
//! enters with its next message above half of its limit, and no fresh sender enters with its first, since nothing was counted of it before.
//! Whoever wants to push out a name of h messages a minute must send more than K·h himself, all of it above half of some limit.
//!
//! **Cost.** For a check that brings no tracked key: nothing while there are no names, else one octet a value, of an index that stays in the cache: 12 ns for five
//! (`cargo bench --bench observe`). A new name: its text, and a second short lock, 0.7 µs a name that takes another's place, at most 16 a check.
//! **Size.** K · (192 + 80 + 8 + 4) bytes an identity: 18 KiB for 64 names.
//!
//! **Counted together.** Proven and claimed mail under one name: a name is what an operator looks up or blocks. Which of the two was refused, the decisions say.
//! A limit over several identities names each of them, each under its own.
//!
//! **Source.** Metwally, Agrawal, El Abbadi 2005, "Efficient computation of frequent and top-k elements in data streams" (SpaceSaving: evict
//! the lowest, inherit its count); here by pane, so that what is inherited expires with its pane, and beside exact counts, not in them.
//!
//! **Dropped.** Evicting the lowest without credit: 63 keys that send once a second sit on as many slots, and the rest takes turns in the last one; a name of
//! 600 messages a minute is absent at 129 of 130 looks (`tests/adversarial/test_churn_of_offenders.py`; none with credit). Credit in one sum: it is handed
//! on before it expires, so under lasting churn it only grows, and a name that sends evenly is pushed out by it. A ring of the latest names: one burst of churn empties it.

use super::layout::{Layout, NAME, ROWS, SPREAD, TALLY, TEXT};
use super::name::Name;
use super::panes::minute_rows;
use super::{IdentityKey, Newcomer};
use crate::key::Key;
use crate::sketch::hyperloglog::HyperLogLog;
use crate::sketch::martingale::Martingale;

/// Place of the head in which the names in use are counted.
const NAMES: usize = 3;

/// One name and what it sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Offender {
    /// The value of the identity; of a long one the end.
    pub value: String,
    /// Checks that were admitted, in the last 60 to 75 seconds.
    pub admitted: u64,
    /// Checks that were refused, likewise.
    pub refused: u64,
    /// How many different elements of the fan-out limit per this identity it brought since it was first seen; `None`: there is no such limit.
    pub fan_out: Option<f64>,
    /// When it was found above half of a limit, µs of the check's clock.
    pub since_us: i64,
}

/// Whether any name is in use.
#[inline]
pub(super) fn any(words: &[u64]) -> bool {
    words[NAMES] != 0
}

/// The slot of a key.
#[inline]
pub(super) fn find(layout: &Layout, words: &[u64], place: usize, key: Key) -> Option<usize> {
    let size = layout.names * SPREAD;
    let bytes: &[u8] = bytemuck::cast_slice(&words[layout.index()]);
    let index = &bytes[place * size..(place + 1) * size];
    // A power of two.
    let mut at = key.0 as usize & (size - 1);
    // Never more than a quarter full, so a free place comes; the bound is there for whoever reads this.
    for _ in 0..size {
        let slot = usize::from(index[at]).checked_sub(1)?;
        if words[layout.keys(place)][slot] == stored(key) {
            return Some(slot);
        }
        at = (at + 1) & (size - 1);
    }
    None
}

/// Counts one check for a name: what it came to, and the elements that it brought.
pub(super) fn count(
    layout: &Layout,
    words: &mut [u64],
    row: usize,
    (place, slot): (usize, usize),
    elements: impl Iterator<Item = Key>,
    admitted: bool,
) {
    words[layout.tally(row, place * layout.names + slot)] += if admitted { 1 } else { 1 << 32 };
    let at = layout.slots(place).start + slot * NAME + 1 + TEXT;
    let (registers, sums) = words[at..at + NAME - 1 - TEXT].split_at_mut(HyperLogLog::SMALL.words());
    for element in elements {
        if let Some(change) = HyperLogLog::SMALL.add(registers, element) {
            let mut martingale = Martingale { left: sums[0], sum: sums[1] };
            martingale.note(HyperLogLog::SMALL, change);
            [sums[0], sums[1]] = [martingale.left, martingale.sum];
        }
    }
}

/// Gives a newcomer a slot, and says which.
pub(super) fn enter(layout: &Layout, words: &mut [u64], now_us: u64, newcomer: &Newcomer) -> usize {
    let Newcomer { seen: IdentityKey { place, key }, name, since_us } = newcomer;
    let slot = slot_for_one_more(layout, words, *place, now_us);
    for row in 0..ROWS {
        let at = layout.tally(layout.minute(row).start, place * layout.names + slot);
        words[at + 1] += sent(words[at]);
        words[at] = 0;
    }
    let keys = layout.keys(*place).start;
    words[NAMES] += u64::from(words[keys + slot] == 0);
    words[keys + slot] = stored(*key);
    let start = layout.slots(*place).start + slot * NAME;
    let kept = &mut words[start..start + NAME];
    kept.fill(0);
    kept[0] = *since_us as u64;
    kept[1..=TEXT].copy_from_slice(name.words());
    index_anew(layout, words, *place);
    slot
}

/// A free slot, or that of the lowest weight; of equals the one that has been there longest.
fn slot_for_one_more(layout: &Layout, words: &[u64], place: usize, now_us: u64) -> usize {
    let keys = &words[layout.keys(place)];
    let weight = |slot: usize| -> u64 {
        let tallies = minute_rows(layout, words, now_us).map(|row| layout.tally(row, place * layout.names + slot));
        tallies.map(|at| sent(words[at]) + words[at + 1]).sum()
    };
    let since = |slot| words[layout.slots(place).start + slot * NAME] as i64;
    let free = keys.iter().position(|&key| key == 0);
    free.or_else(|| (0..layout.names).min_by_key(|&slot| (weight(slot), since(slot)))).unwrap_or(0)
}

/// Builds the index of an identity anew: a place that was left in the middle of a run would end it.
fn index_anew(layout: &Layout, words: &mut [u64], place: usize) {
    let size = layout.names * SPREAD;
    let (before, keys) = words.split_at_mut(layout.index().end);
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut before[layout.index()]);
    let index = &mut bytes[place * size..(place + 1) * size];
    index.fill(0);
    for (slot, &key) in keys[place * layout.names..][..layout.names].iter().enumerate().filter(|(_, key)| **key != 0) {
        let places = (0..size).map(|step| (key as usize + step) % size);
        if let Some(at) = places.into_iter().find(|&at| index[at] == 0) {
            index[at] = slot as u8 + 1;
        }
    }
}

/// An identity's names as they were at one moment: copied under the lock, read after it.
#[derive(Debug)]
pub struct Snapshot(Vec<u64>);

/// Words of a name in a snapshot: key, admitted, refused, the name.
const COPY: usize = 3 + NAME;

impl Snapshot {
    /// With all the room that it will need.
    pub(super) fn new(layout: &Layout) -> Self {
        Self(vec![0; layout.names * COPY])
    }

    /// Copies the names of an identity.
    pub(super) fn take(&mut self, layout: &Layout, words: &[u64], place: usize, now_us: u64) {
        for (slot, copy) in self.0.chunks_exact_mut(COPY).enumerate() {
            let tallies = minute_rows(layout, words, now_us).map(|row| layout.tally(row, place * layout.names + slot));
            let (admitted, refused) = tallies.fold((0, 0), |(admitted, refused), at| {
                (admitted + (words[at] & u64::from(u32::MAX)), refused + (words[at] >> 32))
            });
            copy[..3].copy_from_slice(&[words[layout.keys(place)][slot], admitted, refused]);
            copy[3..].copy_from_slice(&words[layout.slots(place).start + slot * NAME..][..NAME]);
        }
    }

    /// The names, who sent most first, then who was there first.
    pub(super) fn offenders(&self, counts_elements: bool) -> Vec<Offender> {
        let used = self.0.chunks_exact(COPY).filter(|copy| copy[0] != 0);
        let mut all: Vec<Offender> = used
            .map(|copy| Offender {
                value: Name::text(&copy[4..4 + TEXT]),
                admitted: copy[1],
                refused: copy[2],
                fan_out: counts_elements.then(|| {
                    let (registers, sums) = copy[4 + TEXT..].split_at(HyperLogLog::SMALL.words());
                    let martingale = Martingale { left: sums[0], sum: sums[1] };
                    martingale.estimate().unwrap_or_else(|| HyperLogLog::SMALL.estimate(registers))
                }),
                since_us: copy[3] as i64,
            })
            .collect();
        all.sort_by(|a, b| {
            let order =
                |offender: &Offender| (std::cmp::Reverse(offender.admitted + offender.refused), offender.since_us);
            order(a).cmp(&order(b)).then_with(|| a.value.cmp(&b.value))
        });
        all
    }
}

/// Checks of a tally's first word.
#[inline]
fn sent(tally: u64) -> u64 {
    (tally & u64::from(u32::MAX)) + (tally >> 32)
}

/// A key as a slot keeps it: zero is free.
#[inline]
fn stored(key: Key) -> u64 {
    key.0.max(1)
}

const _: () = assert!(TALLY == 2);
