//! Counts what checks come to, for metrics: each check once, and each limit that refuses.
//!
//! The counts lie in the second page of the region ([`Counters`]) and are written under the lock that the check holds
//! anyway. A check that is admitted costs one addition. A peek and `explain` count nowhere.
//!
//! Invariant: for each stage, the decisions add up to the checks that asked this stage last.

use std::sync::Arc;

use super::request::{Found, Request};
use super::transaction::{Outcome, Purpose};
use super::{Engine, LimitSet};
use crate::policy::{Mode, Report, Stage, reserved};
use crate::region::{Counters, DECISIONS, Durations, Region};

/// What a check came to: the places of its counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Admitted.
    Admitted,
    /// Refused.
    Refused,
    /// Admitted, although something in shadow mode would have refused.
    Shadow,
}

impl Counted {
    /// All, in the order of their places.
    pub const ALL: [Self; DECISIONS] = [Self::Admitted, Self::Refused, Self::Shadow];

    /// The name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Refused => "refused",
            Self::Shadow => "shadow",
        }
    }
}

/// A copy of all counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// The mode in force.
    pub mode: Mode,
    /// Checks by the last stage that they asked, and by [`Counted`].
    pub checks: [[u64; DECISIONS]; Stage::ALL.len()],
    /// What each built-in refusal and each limit refused.
    pub limits: Vec<LimitMetrics>,
    /// What the server reported, in the order of [`Report::ALL`].
    pub reports: [u64; Report::ALL.len()],
    /// The durations of sampled checks.
    pub durations: Durations,
    /// The number of notices so far.
    pub notices: u64,
    /// Known elements and notes that were forgotten early, because new ones needed their slots.
    pub evictions: u64,
    /// Bytes of all counters.
    pub memory_bytes: u64,
}

/// What one limit, or one built-in refusal, refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitMetrics {
    /// The name.
    pub name: Arc<str>,
    /// Whether the policy states it.
    pub is_stated: bool,
    /// Checks that it refused. A check that several limits refuse counts once for each of them.
    pub refused: u64,
    /// Checks that it would have refused in enforce mode.
    pub shadow: u64,
    /// Charges of it and of its quotas that found no room.
    pub untracked: u64,
}

impl Engine {
    /// Copies all counts, as they are at one time.
    pub fn metrics(&self) -> Metrics {
        let region = self.shared.lock();
        let (counters, mode): (Counters, _) =
            (*region.counters(), if region.is_shadow() { Mode::Shadow } else { Mode::Enforce });
        drop(region);
        let of = |name: Arc<str>, is_stated, slot: usize| LimitMetrics {
            name,
            is_stated,
            refused: counters.refused[slot],
            shadow: counters.shadow[slot],
            untracked: counters.untracked[slot],
        };
        let built_in = reserved::ALL.iter().enumerate().map(|(slot, name)| of((*name).into(), false, slot));
        let stated = self.plan.limits[..self.plan.stated].iter();
        let stated = stated.map(|planned| of(planned.name.clone(), true, planned.slot.into()));
        Metrics {
            mode,
            checks: counters.checks,
            limits: built_in.chain(stated).collect(),
            reports: counters.reports,
            durations: counters.durations,
            notices: self.notices.last(),
            evictions: counters.evictions,
            memory_bytes: self.memory_bytes(),
        }
    }

    /// Adds the duration of a sampled check.
    pub fn note_duration(&self, ns: u64) {
        self.shared.lock().counters_mut().durations.note(ns);
    }

    /// Counts an SMTP command that came too early or too late. It asks no limit, so it is no check.
    pub(super) fn count_out_of_order(&self) {
        self.shared.lock().counters_mut().refused[slot_of(reserved::OUT_OF_ORDER)] += 1;
    }

    /// Counts a charge of the limit at this place that found no room.
    #[cold]
    pub(super) fn count_untracked(&self, region: &mut Region, place: u16) {
        region.header_mut().untracked[usize::from(place)] += 1;
        region.counters_mut().untracked[usize::from(self.plan.limits[usize::from(place)].slot)] += 1;
    }

    /// Counts a check.
    #[inline(always)]
    pub(super) fn count_check(
        &self, request: &Request, region: &mut Region, purpose: Purpose, found: &Found, outcome: &Outcome,
    ) {
        let has_shadow = !outcome.shadow.is_empty() || outcome.has_built_in_shadow();
        if outcome.refused.is_none() && !has_shadow {
            region.counters_mut().checks[request.last_stage as usize][Counted::Admitted as usize] += 1;
        } else {
            self.count_refusals(request, region, purpose, found, outcome);
        }
    }

    /// Counts a check that something refused, or would have: each limit once, however many of its keys did.
    #[inline(never)]
    fn count_refusals(
        &self, request: &Request, region: &mut Region, purpose: Purpose, found: &Found, outcome: &Outcome,
    ) {
        let enforces = !region.is_shadow();
        let mut refusing = outcome.refusing;
        // An entry that lets a check through beats all blocks by limits.
        if let (true, Some(query)) = (enforces && found.is_consulted, &request.access) {
            let blocks = query.blocks.iter().zip(&found.access.blocks);
            let in_force = blocks.filter(|(_, until_us)| until_us.is_some_and(|us| us > outcome.at_us));
            refusing = refusing.union(in_force.map(|(block, _)| block.limit).collect());
        }
        let has_no_permit = purpose == Purpose::Admit && !self.plan.in_flight.permits.has_room(region);
        // In the order of `reserved::ALL`: the places of names are not looked for in each refused check.
        let max_open = (enforces && has_no_permit, outcome.is_max_open_shadow);
        let max_recipients = (enforces && request.has_too_many_recipients, outcome.is_max_recipients_shadow);
        let blocked = (enforces && found.access.entry.is_some(), outcome.is_entry_shadow);
        let built_in = [max_open, max_recipients, blocked];
        let counted = if outcome.refused.is_some() { Counted::Refused } else { Counted::Shadow };
        let counters = region.counters_mut();
        counters.checks[request.last_stage as usize][counted as usize] += 1;
        if built_in.iter().any(|(refuses, would_refuse)| refuses | would_refuse) {
            for (slot, (refuses, would_refuse)) in built_in.into_iter().enumerate() {
                counters.refused[slot] += u64::from(refuses);
                counters.shadow[slot] += u64::from(would_refuse);
            }
        }
        let slots =
            |limits: LimitSet| limits.iter().map(|limit| usize::from(self.plan.limits[usize::from(limit)].slot));
        slots(refusing).for_each(|slot| counters.refused[slot] += 1);
        if !outcome.shadow.is_empty() {
            slots(outcome.shadow).for_each(|slot| counters.shadow[slot] += 1);
        }
    }
}

/// The slot of a built-in refusal.
fn slot_of(name: &str) -> usize {
    reserved::ALL.iter().position(|known| *known == name).unwrap_or_default()
}
