//! The slots of offenders: series whose number is fixed, however many names an attacker invents.
//!
//! **Idea.** A time series for each sender is a memory leak that the sender controls. So each identity has K slots, and
//! the values are series of the slots, without a name. A name is a separate series that says who sits in a slot, and
//! new names spend a budget.
//!
//! ```text
//!  throttle_slot_messages{identity, slot}          always K for each identity
//!  throttle_slot_info{identity, slot, key} 1       only offenders; a new one takes a token
//!
//!  tokens:  at most K; r more in an hour           so at most K + r·T names in T hours
//! ```
//!
//! A slot is sticky: it is not a rank, since two senders that swap ranks would change both names at each scrape. A
//! value keeps its slot until it sends nothing. A value that sends more than twice as much takes the slot of the one
//! that sends least, also if that one has just got its name: else sixteen prepared names would hide a flood for ten
//! minutes. So does a value that brings more than twice as many new elements as any value in a slot: else sixteen busy
//! senders hide a flood of half of their size. A busier value does not take the slot of one with more than twice its
//! new elements. The newcomer needs a token for a name, so there are no more names.
//!
//! **Who is named.** A value that a limit refused in the last minute. One that only came above half of a limit is named
//! too, but it may not spend the lower half of the tokens: else busy ordinary senders use the budget up, and the
//! flooder has no name (measured: 5 of 5 runs). A name is released after ten minutes at the earliest, when nothing is
//! refused and the value sends less than half of what it sent when it was named.
//!
//! **What a name shows.** Names and networks only. A value that may hold a local part shows its domain and a hash.

use crate::identity::{Identity, View};
use crate::stats::Offender;

/// How long a name stays at least while it has its slot: ten minutes.
const HELD_US: i64 = 600_000_000;

/// How long a value counts as one that has just come above half of a limit.
const NEW_US: i64 = 75_000_000;

/// Fewer new elements in a minute than this take no slot of a busier value: ordinary senders bring some.
const FEW_NEW: u64 = 30;

const HOUR_US: f64 = 3_600_000_000.0;

/// The most bytes of a key.
const MOST_KEY: usize = 100;

/// The numbers of an exporter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Slots of each identity.
    pub slots: u32,
    /// The most identities that have slots.
    pub identities: u32,
    /// New names of each identity in an hour.
    pub names_per_hour: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Self { slots: 16, identities: 8, names_per_hour: 30 }
    }
}

/// The slots of one identity.
#[derive(Clone, Debug)]
pub struct Slots {
    /// The identity.
    pub identity: Identity,
    budget: Budget,
    slots: Vec<Option<Slot>>,
    tokens: f64,
    filled_us: i64,
    /// Values that were to be named and had no token.
    pub suppressed: u64,
}

/// A value in a slot.
#[derive(Clone, Debug)]
pub struct Slot {
    /// The value and its counts.
    pub offender: Offender,
    /// Its name, when it has one.
    pub name: Option<Named>,
    /// Whether it was counted as suppressed.
    is_suppressed: bool,
}

/// The name of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The text.
    pub key: String,
    since_us: i64,
    /// What the value sent in the minute before it was named.
    sent: u64,
}

impl Slots {
    /// Empty slots, with all tokens.
    pub fn new(identity: Identity, budget: Budget, now_us: i64) -> Self {
        let slots = vec![None; budget.slots as usize];
        Self { identity, budget, slots, tokens: f64::from(budget.slots), filled_us: now_us, suppressed: 0 }
    }

    /// The slots.
    pub fn iter(&self) -> impl Iterator<Item = Option<&Slot>> {
        self.slots.iter().map(Option::as_ref)
    }

    /// Takes over what the offenders sent until `now_us`, and names some. `key_of` makes the text of a name.
    pub fn update(&mut self, offenders: &[Offender], now_us: i64, key_of: impl Fn(&str) -> String) {
        self.fill_tokens(now_us);
        for slot in &mut self.slots {
            let Some(held) = slot else { continue };
            let now = offenders.iter().find(|offender| offender.value == held.offender.value);
            held.offender =
                now.cloned().unwrap_or(Offender { admitted: 0, refused: 0, new_elements: 0, ..held.offender.clone() });
            let is_over = |name: &Named| {
                let is_light = held.offender.refused == 0 && 2 * sent(&held.offender) < name.sent.max(1);
                now_us.saturating_sub(name.since_us) >= HELD_US && is_light
            };
            if held.name.as_ref().is_some_and(is_over) {
                held.name = None;
            }
            if held.name.is_none() && sent(&held.offender) == 0 {
                *slot = None;
            }
        }
        for offender in offenders.iter().filter(|offender| sent(offender) > 0) {
            self.seat(offender);
        }
        self.name(now_us, key_of);
    }

    fn fill_tokens(&mut self, now_us: i64) {
        let passed_us = now_us.saturating_sub(self.filled_us).max(0) as f64;
        let more = f64::from(self.budget.names_per_hour) * passed_us / HOUR_US;
        self.tokens = (self.tokens + more).min(f64::from(self.budget.slots));
        self.filled_us = now_us;
    }

    /// Gives a value a slot, if it has none.
    fn seat(&mut self, offender: &Offender) {
        if self.slots.iter().flatten().any(|held| held.offender.value == offender.value) {
            return;
        }
        let most_new = self.slots.iter().flatten().map(|held| held.offender.new_elements).max().unwrap_or(0);
        let is_fan_out = offender.new_elements > FEW_NEW.max(2 * most_new);
        let weight_if_replaceable = |slot: &Option<Slot>| match slot {
            None => Some(0),
            Some(held) => {
                let weight = sent(&held.offender) + 1;
                // At the next scrape it would take a slot back, and spend a token for its name again.
                let is_fan_out_held = held.offender.new_elements > FEW_NEW.max(2 * offender.new_elements);
                (is_fan_out || sent(offender) > 2 * weight && !is_fan_out_held).then_some(weight)
            }
        };
        let lightest = self
            .slots
            .iter_mut()
            .filter_map(|slot| Some((weight_if_replaceable(slot)?, slot)))
            .min_by_key(|(weight, _)| *weight);
        if let Some((_, slot)) = lightest {
            *slot = Some(Slot { offender: offender.clone(), name: None, is_suppressed: false });
        }
    }

    /// Names those that are to be named, the most refused first, while there are tokens.
    fn name(&mut self, now_us: i64, key_of: impl Fn(&str) -> String) {
        let mut wanted: Vec<&mut Slot> = self.slots.iter_mut().flatten().filter(|slot| slot.name.is_none()).collect();
        wanted.sort_by_key(|slot| std::cmp::Reverse(slot.offender.refused));
        for slot in wanted {
            let is_refused = slot.offender.refused > 0;
            if !is_refused && now_us.saturating_sub(slot.offender.since_us) > NEW_US {
                continue;
            }
            let reserve = if is_refused { 0.0 } else { f64::from(self.budget.slots) / 2.0 };
            if self.tokens >= 1.0 + reserve {
                self.tokens -= 1.0;
                let (key, sent) = (key_of(&slot.offender.value), sent(&slot.offender));
                slot.name = Some(Named { key, since_us: now_us, sent });
            } else if is_refused && !slot.is_suppressed {
                slot.is_suppressed = true;
                self.suppressed += 1;
            }
        }
    }
}

fn sent(offender: &Offender) -> u64 {
    offender.admitted + offender.refused
}

/// The text of a value in a label: at most [`MOST_KEY`] bytes of letters, digits and a few signs, and no local part.
/// `tag` is a hash of the value.
pub(super) fn key_text(identity: Identity, value: &str, tag: u32) -> String {
    let is_whole = matches!(identity.view(), View::Nothing | View::Network | View::Host | View::Org | View::Registered);
    let domain = match value.rsplit_once('@') {
        Some((_, domain)) => domain,
        // What has no local part in these views is an organisation, or a tag such as NULL.
        None if is_whole || matches!(identity.view(), View::Mailbox | View::Address) => value,
        None => "",
    };
    let is_cut = domain.len() != value.len() || domain.len() > MOST_KEY;
    let is_plain = |one: char| one.is_ascii_alphanumeric() || ".-_:/".contains(one);
    let plain = |one: char| if is_plain(one) { one } else { '?' };
    let tail = if is_cut { format!("#{tag:08x}") } else { String::new() };
    let text: String = domain.chars().map(plain).collect();
    // All of it is ASCII. The end of a name tells who owns it.
    format!("{}{tail}", &text[text.len().saturating_sub(MOST_KEY - tail.len())..])
}
