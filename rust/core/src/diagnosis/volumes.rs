//! How often each value is among the messages of the last minutes, and among ordinary ones.
//!
//! A message stands for all messages of its minute that were not kept: its weight is seen / kept. Ordinary messages
//! are scaled to the length of the last minutes besides, so that the two can be subtracted.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::identities::{COMPARED, read};
use super::samples::Record;
use crate::identity::SuffixList;
use crate::stage::Stage;

/// The part of some messages that counts as nearly all of them.
pub(super) const NEARLY_ALL: f64 = 0.9;

/// A message, with its values by number.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) values: SmallVec<[u32; COMPARED.len()]>,
    pub(super) weight: f64,
    pub(super) minute: u64,
    pub(super) period: Period,
    pub(super) is_proven: bool,
    pub(super) has_shortened: bool,
    pub(super) reached: Stage,
    pub(super) refused_by: Option<Arc<str>>,
}

/// When a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    /// In the last minutes.
    Recent,
    /// In an ordinary minute before: see `minutes`.
    Ordinary,
    /// In any other minute before: only `Target::proven_matching` counts it.
    Louder,
}

/// All messages and all their values.
#[derive(Debug, Default)]
pub(super) struct Corpus {
    pub(super) messages: Vec<Message>,
    /// Each value, with the place of its identity.
    pub(super) values: Vec<(usize, String)>,
    numbers: HashMap<(usize, String), u32>,
}

/// A weighted number of messages, and what it was estimated from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Estimate {
    /// The estimated number.
    pub(super) messages: f64,
    /// How many messages in the sample it was estimated from.
    pub(super) kept: u32,
    /// The variance of the estimate.
    pub(super) variance: f64,
}

/// The messages with one value, or those that reached one stage.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Volume {
    pub(super) recent: Estimate,
    pub(super) ordinary: Estimate,
    /// Of the recent ones, those that were refused, and those with a proven sender.
    pub(super) refused: f64,
    pub(super) proven: f64,
}

/// Counts of all values and stages.
#[derive(Debug)]
pub(super) struct Volumes {
    /// By the number of the value.
    pub(super) values: Vec<Volume>,
    /// By the stage that a message reached at least.
    pub(super) stages: [Volume; Stage::ALL.len()],
    /// Messages that were refused, or whose sender is not proven.
    pub(super) doubtful: Volume,
}

impl Corpus {
    /// Adds a message.
    pub(super) fn add(&mut self, record: &Record, suffixes: &SuffixList, minute: u64, (weight, period): (f64, Period)) {
        let (values, is_proven) = read(record, suffixes);
        let values = values.into_iter().map(|value| self.number(value)).collect();
        self.messages.push(Message {
            values,
            weight,
            minute,
            period,
            is_proven,
            has_shortened: record.has_shortened,
            reached: record.reached(),
            refused_by: record.refused.clone(),
        });
    }

    fn number(&mut self, value: (usize, String)) -> u32 {
        let Self { values, numbers, .. } = self;
        *numbers.entry(value).or_insert_with_key(|value| {
            values.push(value.clone());
            values.len() as u32 - 1
        })
    }

    /// Counts the messages for which `is_counted` holds.
    pub(super) fn volumes(&self, is_counted: impl Fn(usize, &Message) -> bool) -> Volumes {
        let stages = [Volume::default(); Stage::ALL.len()];
        let values = vec![Volume::default(); self.values.len()];
        let mut volumes = Volumes { values, stages, doubtful: Volume::default() };
        let compared = self.messages.iter().enumerate().filter(|(_, message)| message.period != Period::Louder);
        for (_, message) in compared.filter(|(place, message)| is_counted(*place, message)) {
            for &value in &message.values {
                volumes.values[value as usize].add(message);
            }
            for stage in &mut volumes.stages[..=message.reached as usize] {
                stage.add(message);
            }
            if !message.is_proven || message.refused_by.is_some() {
                volumes.doubtful.add(message);
            }
        }
        volumes
    }
}

impl Message {
    pub(super) fn has(&self, value: u32) -> bool {
        self.values.contains(&value)
    }
}

impl Estimate {
    fn add(&mut self, weight: f64) {
        self.messages += weight;
        self.kept += 1;
        self.variance += weight * weight;
    }
}

impl Volume {
    fn add(&mut self, message: &Message) {
        if message.period == Period::Recent {
            self.recent.add(message.weight);
            self.refused += if message.refused_by.is_some() { message.weight } else { 0.0 };
            self.proven += if message.is_proven { message.weight } else { 0.0 };
        } else {
            self.ordinary.add(message.weight);
        }
    }

    /// How many messages more there are than ordinarily; negative when there are fewer.
    pub(super) fn excess(&self) -> f64 {
        self.recent.messages - self.ordinary.messages
    }

    /// Whether nearly all recent messages come from proven senders.
    pub(super) fn is_proven(&self) -> bool {
        self.proven >= NEARLY_ALL * self.recent.messages
    }

    /// The standard deviation of the excess.
    pub(super) fn deviation(&self) -> f64 {
        (self.recent.variance + self.ordinary.variance).sqrt()
    }
}

/// `part` of `whole`, between 0 and 1.
pub(super) fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}
