#![allow(dead_code, reason = "the test and the experiment use a part each")]
//! An hour of junk, ordinary keys and attackers at a fan-out that refuses all; and two days of keys at twice their
//! rate.
//!
//! Everything is sent twice, and comes in the order of time from one fixed sequence of numbers,
//! so a run can be repeated.
//! The oracle runs next to the store: a set and a bucket a key.

use std::collections::{HashMap, HashSet};

use throttle_core::key::Key;
use throttle_core::policy::{Rate, WhenFull};
use throttle_core::region::Region;
use throttle_core::store::distinct::Distinct;
use throttle_core::store::{SlotReservations, Verdict};

use crate::draw::{mix, unit};
use crate::oracle::{Bucket, Sets};

pub(crate) const HOUR_US: u64 = 3_600_000_000;

/// Different elements an hour.
pub(crate) const RATE: u64 = 100;

/// Different elements at once.
pub(crate) const BURST: u64 = 50;

/// Elements of an ordinary key, at most; seven of ten have one.
const MOST_OF_ORDINARY: u64 = 50;

/// The first and the last attacker's elements in the hour; between them they grow by a constant factor.
const OF_ATTACKERS: (f64, f64) = (200.0, 20_000.0);

/// A junk pair comes again this many junk messages later: 4.5 seconds at 20 million pairs.
const JUNK_AGAIN: u64 = 50_000;

/// How large it all is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) pages: u32,
    pub(crate) ordinary: u64,
    pub(crate) attackers: u64,
    pub(crate) junk: u64,
}

/// What came out.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Ordinary keys that were refused anything, and those that the oracle refuses.
    pub(crate) flagged: usize,
    pub(crate) flagged_by_oracle: usize,
    /// Attackers that were refused, and those that the oracle refuses.
    pub(crate) found: usize,
    pub(crate) found_by_oracle: usize,
    /// Different elements of an attacker until its first refusal, over those of the oracle; sorted.
    pub(crate) late: Vec<f64>,
    /// Fullest of both tables, as a part of them.
    pub(crate) slots_used: f64,
    pub(crate) blocks_used: f64,
    /// Messages in which something found no room, of those of ordinary keys and attackers.
    pub(crate) untracked: u64,
    pub(crate) tracked: u64,
}

impl Outcome {
    /// The value below which `part` of the attackers lie.
    pub(crate) fn late_at(&self, part: f64) -> f64 {
        let last = self.late.len().saturating_sub(1);
        self.late.get((part * last as f64).round() as usize).copied().unwrap_or(f64::INFINITY)
    }
}

/// A store and its memory.
pub(crate) struct Guarded {
    region: Region,
    distinct: Distinct,
}

impl Guarded {
    /// `slot_eighths`: how many pages of eight hold slots; `None`: as the store has it.
    pub(crate) fn new(pages: u32, when_full: WhenFull, slot_eighths: Option<u32>) -> Self {
        let (region, tables) = Region::new(&[pages]).expect("as much memory as that");
        let rate = Rate { amount: RATE, period_us: HOUR_US, sized: false };
        let distinct = match slot_eighths {
            Some(eighths) => Distinct::with_slot_pages(tables[0], rate, BURST, when_full, pages * eighths / 8),
            None => Distinct::new(tables[0], rate, BURST, when_full),
        };
        Self { region, distinct: distinct.expect("a rate that a clock can keep") }
    }

    /// Whether it was admitted, and whether all of it was counted.
    pub(crate) fn check(&mut self, key: Key, now_us: u64, elements: &[Key]) -> (bool, bool) {
        let at = self.distinct.table.candidates(key);
        let (verdict, spot) =
            self.distinct.consult(&self.region, &at, now_us, elements, &mut SlotReservations::default());
        let admitted = verdict == Verdict::Fits;
        (admitted, !admitted || self.distinct.charge(&mut self.region, &at, spot, now_us, elements))
    }

    /// How full its two tables are.
    pub(crate) fn load(&self, now_us: u64) -> (f64, f64) {
        let Self { region, distinct } = self;
        let slots: u64 = (0..distinct.table.pages()).map(|page| distinct.used(region, page, now_us)).sum();
        let blocks: u64 =
            (0..distinct.registers.table.pages()).map(|page| distinct.blocks_used(region, page, now_us)).sum();
        let block_count = distinct.registers.table.bytes() / 64;
        (slots as f64 / distinct.slots() as f64, blocks as f64 / block_count as f64)
    }
}

/// The hash of an element under a key.
pub(crate) fn element(of: u64, number: u64) -> Key {
    Key(mix(of << 32 ^ mix(number)))
}

/// The hash of a key; those of junk are apart from all others.
pub(crate) fn key(of: u64) -> Key {
    Key(mix(of ^ 0xD15C_0000_0000_0000))
}

/// How many elements each key has; attackers come last.
fn elements_of(size: Size) -> Vec<u64> {
    let ordinary = (0..size.ordinary)
        .map(|number| if unit(1, number) < 0.7 { 1 } else { 2 + mix(number ^ 0xE1) % (MOST_OF_ORDINARY - 1) });
    let attackers = (0..size.attackers).map(|number| {
        let (least, most) = OF_ATTACKERS;
        let part = number as f64 / (size.attackers.max(2) - 1) as f64;
        (least * (most / least).powf(part)).round() as u64
    });
    ordinary.chain(attackers).collect()
}

/// (µs, key, element) in the order of time: each pair at two times of the hour.
fn messages(elements: &[u64]) -> Vec<(u64, u32, u32)> {
    let mut all = Vec::new();
    for (of, &count) in elements.iter().enumerate() {
        for number in 0..count {
            for turn in 0..2 {
                let drawn = mix(element(of as u64, number).0 ^ turn);
                let at = ((u128::from(drawn) * u128::from(HOUR_US)) >> 64) as u64;
                all.push((at, of as u32, number as u32));
            }
        }
    }
    all.sort_unstable();
    all
}

/// One hour.
pub(crate) fn hour(size: Size, slot_eighths: Option<u32>) -> Outcome {
    let mut guarded = Guarded::new(size.pages, WhenFull::Admit, slot_eighths);
    let mut exact = Sets::new(Bucket { amount: RATE.into(), period_us: HOUR_US.into(), burst: BURST.into() });
    let elements = elements_of(size);
    let (mut refused, mut refused_by_oracle) = (HashMap::new(), HashMap::new());
    let mut met: Vec<HashSet<u32>> = vec![HashSet::new(); size.attackers as usize];
    let (mut slots_used, mut blocks_used) = (0f64, 0f64);
    let (mut untracked, mut tracked) = (0, 0);
    let (mut junk, junk_messages) = (0, 2 * size.junk);
    let mut minute = 0;
    for (at, of, number) in messages(&elements) {
        while junk < junk_messages && junk * (HOUR_US / 1000) / junk_messages.max(1) * 1000 <= at {
            let pair = if junk % 2 == 0 { junk / 2 } else { (junk / 2).saturating_sub(JUNK_AGAIN) };
            guarded.check(
                Key(mix(pair | 1 << 63)),
                junk * (HOUR_US / 1000) / junk_messages * 1000,
                &[element(pair, 0)],
            );
            junk += 1;
        }
        if at / 60_000_000 > minute {
            minute = at / 60_000_000;
            let (slots, blocks) = guarded.load(at);
            (slots_used, blocks_used) = (slots_used.max(slots), blocks_used.max(blocks));
        }
        let attacker = u64::from(of).checked_sub(size.ordinary).map(|attacker| attacker as usize);
        let known = attacker.map_or(0, |attacker| {
            met[attacker].insert(number);
            met[attacker].len()
        });
        let (admitted, counted) = guarded.check(key(of.into()), at, &[element(of.into(), number.into())]);
        untracked += u64::from(!counted);
        tracked += u64::from(counted);
        if !admitted {
            refused.entry(of).or_insert(known);
        }
        if exact.fits(&of, at, &[number.into()]) {
            exact.charge(of, at, &[number.into()]);
        } else {
            refused_by_oracle.entry(of).or_insert(known);
        }
    }
    let is_ordinary = |of: &&u32| u64::from(**of) < size.ordinary;
    let (flagged, flagged_by_oracle) =
        (refused.keys().filter(is_ordinary).count(), refused_by_oracle.keys().filter(is_ordinary).count());
    let mut late: Vec<f64> = refused
        .iter()
        .filter(|(of, _)| !is_ordinary(of))
        .filter_map(|(of, known)| refused_by_oracle.get(of).map(|ideal| *known as f64 / *ideal as f64))
        .collect();
    late.sort_by(f64::total_cmp);
    Outcome {
        flagged,
        flagged_by_oracle,
        found: refused.len() - flagged,
        found_by_oracle: refused_by_oracle.len() - flagged_by_oracle,
        late,
        slots_used,
        blocks_used,
        untracked,
        tracked,
    }
}

/// How a key at twice its rate sends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habit {
    pub(crate) name: &'static str,
    /// Elements of a message, all of them fresh.
    pub(crate) at_once: u64,
    /// Whether every message comes again, two messages later.
    pub(crate) again: bool,
}

pub(crate) const HABITS: [Habit; 4] = [
    Habit { name: "one element a message", at_once: 1, again: false },
    Habit { name: "one, and again 36 s later", at_once: 1, again: true },
    Habit { name: "10 elements a message", at_once: 10, again: false },
    Habit { name: "40 elements a message", at_once: 40, again: false },
];

/// Different elements that each of `keys` got through in `hours`, over burst + rate · hours; sorted. Evenly spaced,
/// at twice the rate.
pub(crate) fn at_twice_the_rate(keys: u64, hours: u64, habit: Habit) -> Vec<f64> {
    let mut guarded = Guarded::new(256, WhenFull::Admit, None);
    let pause_us = HOUR_US * habit.at_once / (2 * RATE);
    let mut starts: Vec<(u64, u64)> = (0..keys).map(|of| (mix(of) % pause_us, of)).collect();
    starts.sort_unstable();
    let mut through: Vec<HashSet<u64>> = vec![HashSet::new(); keys as usize];
    for message in 0..hours * HOUR_US / pause_us {
        for &(start, of) in &starts {
            let again = message.checked_sub(2).filter(|_| habit.again);
            for message_of in std::iter::once(message).chain(again) {
                let first = message_of * habit.at_once;
                let elements: Vec<Key> = (first..first + habit.at_once).map(|number| element(of, number)).collect();
                if guarded.check(key(of), start + message * pause_us, &elements).0 {
                    through[of as usize].extend(first..first + habit.at_once);
                }
            }
        }
    }
    let allowed = (BURST + RATE * hours) as f64;
    let mut all: Vec<f64> = through.into_iter().map(|elements| elements.len() as f64 / allowed).collect();
    all.sort_by(f64::total_cmp);
    all
}
