//! Which minutes are compared: the last ones, with the quieter half of the hour before.
//!
//! A flood that lasts longer than half an hour is in that half, too. Its minutes are much louder than the quietest ones
//! and are left out. So a flood is found as long as a quarter of the hour is free of it.
//!
//! A gap without mail, as of a machine that stood still, is no part of that hour, where enough of it is left: else the
//! empty minutes are the quieter half, and ordinary mail is a surge until they are over.

use super::samples::{MINUTE_US, Pane, Snapshot};
use super::volumes::{Corpus, Period};
use crate::identity::SuffixList;

/// Minutes that are the present, this one included.
const RECENT_MINUTES: u64 = 5;

/// Minutes before them that tell what is ordinary.
const BEFORE_MINUTES: u64 = 60;

/// Fewer minutes before tell nothing.
pub(super) const LEAST_BEFORE: usize = 10;

/// A minute with more than so many times the mail of the minute that ends the quietest quarter is not ordinary.
/// Ordinary mail grows within an hour.
pub(super) const LOUD: u64 = 2;

/// So few messages in the minute that ends the quietest quarter tell nothing: mail was interrupted, or there is little
/// of it.
const FEW: u64 = 30;

/// So many minutes without mail are a gap. A small server has some at night.
const GAP_MINUTES: usize = 10;

/// The minutes that are compared.
pub(super) struct Minutes<'s> {
    /// The last ones.
    pub(super) recent: Vec<&'s Pane>,
    ordinary: Vec<&'s Pane>,
    /// The other minutes before.
    louder: Vec<&'s Pane>,
    /// How many minutes before are compared, and how many of them are ordinary, those without mail included.
    pub(super) before_minutes: usize,
    pub(super) ordinary_minutes: usize,
    pub(super) recent_us: u64,
}

impl<'s> Minutes<'s> {
    pub(super) fn of(snapshot: &'s Snapshot, now_us: u64) -> Self {
        let present = now_us / MINUTE_US;
        let began_us = snapshot.began_us.unwrap_or(now_us);
        let first_recent = (present + 1).saturating_sub(RECENT_MINUTES);
        let recent_us = now_us.saturating_sub((first_recent * MINUTE_US).max(began_us)).max(1_000_000);
        let pane = |minute: u64| snapshot.panes.iter().find(|pane| pane.minute == minute);
        // The first minute of all is not whole.
        let first = first_recent.saturating_sub(BEFORE_MINUTES).max(began_us / MINUTE_US + 1);
        let seen = |minute: u64| pane(minute).map_or(0, |pane| pane.seen());
        let mut before: Vec<u64> = (first..first_recent).collect();
        let runs = before.chunk_by(|&one, &next| (seen(one) == 0) == (seen(next) == 0));
        let without_gaps = runs.filter(|run| run.len() < GAP_MINUTES || seen(run[0]) > 0).flatten().copied();
        let without_gaps: Vec<u64> = without_gaps.collect();
        if without_gaps.len() >= LEAST_BEFORE {
            before = without_gaps;
        }
        before.sort_by_key(|&minute| seen(minute));
        let of_quarter = before.get(before.len() / 4).map_or(0, |&minute| seen(minute));
        let most = if of_quarter > FEW { LOUD * of_quarter } else { u64::MAX };
        let ordinary_minutes = before[..before.len().div_ceil(2)].partition_point(|&minute| seen(minute) <= most);
        let [ordinary, louder] = [&before[..ordinary_minutes], &before[ordinary_minutes..]]
            .map(|minutes| minutes.iter().filter_map(|&minute| pane(minute)).collect());
        let recent = (first_recent..=present).filter_map(pane).collect();
        Self { recent, ordinary, louder, before_minutes: before.len(), ordinary_minutes, recent_us }
    }

    /// The length of the last minutes, as a part of that of all ordinary ones.
    pub(super) fn scale(&self) -> f64 {
        self.recent_us as f64 / (self.ordinary_minutes.max(1) as u64 * MINUTE_US) as f64
    }

    /// All messages of these minutes, with their weights.
    pub(super) fn corpus(&self, suffixes: &SuffixList) -> Corpus {
        let mut corpus = Corpus::default();
        let all = [
            (&self.recent, 1.0, Period::Recent),
            (&self.ordinary, self.scale(), Period::Ordinary),
            (&self.louder, self.scale(), Period::Louder),
        ];
        for (panes, scale, period) in all {
            for pane in panes {
                for part in &pane.parts {
                    let weight = part.seen as f64 / part.records.len().max(1) as f64 * scale;
                    for record in &part.records {
                        corpus.add(record, suffixes, pane.minute, (weight, period));
                    }
                }
            }
        }
        corpus
    }
}
