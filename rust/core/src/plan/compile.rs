//! Compiles limits and quotas to stores: the plan, over a region that it fits into.
//!
//! A new kind of limit is one arm of [`Draft::store`] and one file in `store/`. This module knows no TOML, and not how
//! memory is shared out: `memory` knows.
//!
//! The values of a limit whose quotas have equal numbers share a table, as a limit of its own. A value is read here and
//! not where the file is read: what it names depends on the suffix list. A value that no sender can have is an error,
//! and not a quota without effect.

use std::collections::{HashMap, HashSet};
use std::mem;

use smallvec::SmallVec;

use super::memory::{Draft, DraftLimit, LEAST_WITH_ACCESS, SeenSetClaim, TableShares};
use super::memory::{allocate, group_bytes, held_place, in_flight, keys_of};
use super::{
    Applicable, Ask, BlockRule, Plan, PlannedCounts, PlannedLimit, PlannedSeenSet, QuotaIndex, RateKey, TrustSource,
    give_slots, place,
};
use crate::identity::{Identity, Source, SuffixList, parse_value::NotAValue, parse_value::parse_value};
use crate::policy::{Algorithm, Count, Limit, MAX_LIMITS, MAX_VALUES, Mode, Policy, Quota, Rate, Report, Rule, Stage};
use crate::policy::{Stages, Verified, WhenFull, joined_name, write_bytes};
use crate::region::{COUNTERS, PAGE_BYTES, Region, Table};
use crate::store::{Store, distinct::Distinct, fan_out::FanOut, fan_out::Timing, in_flight::COUNTS};
use crate::store::{rate_counter::RateCounter, seen_set::SeenSet};
use crate::{decision::Reply, error::PolicyError, key::Key, key::Secret, key::mask, stats::Elements, stats::Stats};

/// An element that came back this long after it was first seen is not evicted for one that did not. One hour; `settle`
/// replaces it.
const COMEBACK_US: u64 = 3_600_000_000;

/// The most different elements at once: with this many, a charge is a whole tick.
const MOST_DISTINCT: u64 = 1 << 23;

/// The most quotas with different numbers of a policy: each has a table.
const MAX_QUOTAS: usize = 256;

const _: () = assert!(MAX_LIMITS + MAX_QUOTAS <= COUNTERS);

// A limit has a bit and a word among the permits.
const _: () = assert!(MAX_LIMITS <= COUNTS && COUNTS <= u64::BITS as usize);

/// Compiles `policy` into at most `memory_bytes`, with at most `max_open` permits.
///
/// # Errors
/// A budget too small for the policy, a rate that no clock can keep, a quota for a value that nothing can have.
pub fn compile(
    policy: &Policy, memory_bytes: u64, max_open: u32, suffixes: &SuffixList, secret: &Secret,
) -> Result<(Plan, Region), PolicyError> {
    check_blocks(policy, memory_bytes)?;
    let draft = Draft::of(policy, suffixes, secret)?;
    let (region, shares) = allocate(&draft, max_open, memory_bytes)?;
    let mut plan = draft.build(shares)?;
    give_slots(&mut plan, None);
    Ok((plan, region))
}

/// Returns an error for a limit that blocks, where the memory is too small for a table of blocks.
pub(super) fn check_blocks(policy: &Policy, memory_bytes: u64) -> Result<(), PolicyError> {
    let blocks = policy.limits.iter().find(|limit| limit.action.block_us().is_some());
    let Some(limit) = blocks.filter(|_| memory_bytes < LEAST_WITH_ACCESS) else { return Ok(()) };
    let found = format!("{:?} in {} of memory", limit.action.text(), write_bytes(memory_bytes));
    Err(policy.error(Some(limit), "action", found, format!("blocks in at least {}", write_bytes(LEAST_WITH_ACCESS))))
}

/// A rate, its burst, and the table in which it counts.
type Rated = (Rate, u64, Table);

impl<'p> Draft<'p> {
    /// Reads the quotas of a policy, and finds the seen sets that it needs.
    pub(super) fn of(policy: &'p Policy, suffixes: &SuffixList, secret: &'p Secret) -> Result<Self, PolicyError> {
        let seen_sets = SeenSetClaim::all(&policy.limits);
        let stated = policy.limits.iter().enumerate();
        let limits = stated.map(|(of, limit)| DraftLimit { of, limit: without_quotas(limit), values: 0 }).collect();
        let quotas = Vec::with_capacity(policy.limits.len());
        let mut draft = Self { policy, secret, limits, quotas, seen_sets, identities: Vec::new() };
        for (of, limit) in policy.limits.iter().enumerate() {
            let stated = draft.values(limit, suffixes)?;
            let all = draft.quotas.iter().map(Vec::len).sum::<usize>() + stated.len();
            if all > MAX_VALUES {
                let found = format!("{all} values with quotas");
                return Err(policy.error(Some(limit), "quota", found, format!("at most {MAX_VALUES} in a policy")));
            }
            let places = draft.group(of, limit, &stated)?;
            draft.quotas.push(places);
        }
        Ok(draft)
    }

    /// The keys of the values of a limit's quotas, in the order of the file. Of two quotas of one value, that of the
    /// file that extends the other counts.
    fn values<'q>(&self, limit: &'q Limit, suffixes: &SuffixList) -> Result<Vec<(Key, &'q Quota)>, PolicyError> {
        let mut all: Vec<(Key, &Quota)> = Vec::with_capacity(limit.quotas.len());
        let mut places: HashMap<Key, usize> = HashMap::with_capacity(limit.quotas.len());
        for quota in &limit.quotas {
            let wrong = |(found, allowed)| self.wrong_quota(limit, quota, found, allowed);
            for key in self.keys(limit, quota, suffixes).map_err(wrong)? {
                let place = *places.entry(key).or_insert(all.len());
                match all.get_mut(place).map(|(_, first)| first) {
                    None => all.push((key, quota)),
                    Some(first) if first.depth > quota.depth => *first = quota,
                    Some(first) if first.depth < quota.depth => {}
                    Some(first) => {
                        let line = first.line.map(|line| match &first.file {
                            Some(file) => format!(", first in {file}:{line}"),
                            None => format!(", first in line {line}"),
                        });
                        let found = format!("{:?} a second time{}", quota.of, line.unwrap_or_default());
                        return Err(wrong((found, "each value once".into())));
                    }
                }
            }
        }
        Ok(all)
    }

    /// The error about the quota of a value, with its place.
    fn wrong_quota(&self, limit: &Limit, quota: &Quota, found: String, allowed: String) -> PolicyError {
        let error = self.policy.error(Some(limit), "quota", found, allowed);
        let file = quota.file.clone().unwrap_or(error.file);
        PolicyError { file, line: quota.line.or(error.line), ..error }
    }

    /// The keys of a quota's value, which is read as a sender's would be. The error is what was found, and what is
    /// allowed.
    fn keys(
        &self, limit: &Limit, quota: &Quota, suffixes: &SuffixList,
    ) -> Result<SmallVec<[Key; 4]>, (String, String)> {
        let (mut keys, mut instead) = (SmallVec::new(), None);
        for identity in &limit.per {
            let instead_of = |other| Some(format!("{other:?}, the {identity} that it has"));
            match parse_value(*identity, &quota.of, suffixes, |value| self.secret.key(*identity, value)) {
                Ok(key) => keys.push(key),
                Err(NotAValue::Is(other)) => instead = instead.or_else(|| instead_of(other)),
                Err(_) => {}
            }
        }
        if keys.is_empty() {
            let allowed = instead.unwrap_or_else(|| format!("a value of {}", limit.per_name()));
            return Err((format!("{:?}", quota.of), allowed));
        }
        Ok(keys)
    }

    /// Adds a limit for each of the different numbers of a limit's quotas. Returns the keys with the places of these.
    fn group(&mut self, of: usize, limit: &Limit, stated: &[(Key, &Quota)]) -> Result<Vec<(Key, u16)>, PolicyError> {
        let numbers = |quota: &Quota| (quota.rate.amount, quota.rate.period_us, quota.burst);
        let mut groups: HashMap<(u64, u64, u64), usize> = HashMap::new();
        let (mut places, mut counted) = (Vec::with_capacity(stated.len()), HashSet::new());
        for (key, quota) in stated {
            let place = *groups.entry(numbers(quota)).or_insert(self.limits.len());
            if place == self.limits.len() {
                if place == self.policy.limits.len() + MAX_QUOTAS {
                    let found = format!("other numbers than those of the first {MAX_QUOTAS} quotas");
                    let allowed = format!("at most {MAX_QUOTAS} quotas with different numbers in a policy");
                    return Err(self.wrong_quota(limit, quota, found, allowed));
                }
                let limit = Limit { quotas: vec![(*quota).clone()], ..without_quotas(limit) };
                self.limits.push(DraftLimit { of, limit, values: 0 });
            }
            // A value may have a key for several parts of `per`.
            self.limits[place].values += usize::from(counted.insert(quota.of.as_str()));
            places.push((*key, place as u16));
        }
        let first = self.policy.limits.len();
        for group in self.limits[first..].iter_mut().filter(|group| group.of == of) {
            group.limit = with_numbers(limit, &group.limit.quotas[0], group.values);
        }
        Ok(places)
    }

    /// The plan over its tables.
    pub(super) fn build(mut self, shares: TableShares) -> Result<Plan, PolicyError> {
        let seen_sets = shares.seen_sets.into_iter().enumerate().map(|(nth, table)| self.seen_set(nth, table));
        let seen_sets = seen_sets.collect::<Result<Vec<_>, _>>()?;
        let mut limits: Vec<PlannedLimit> = Vec::new();
        let mut capped_by = vec![None; shares.in_flight_limits.len()];
        let mut tables = shares.rates.into_iter();
        for DraftLimit { of, limit, values } in mem::take(&mut self.limits) {
            let rated = limit.rule.rate_and_burst().and_then(|(rate, burst)| Some((rate, burst, tables.next()?)));
            let store = match rated {
                Some(rated) => self.store(&limit, rated, &seen_sets)?,
                None => Store::InFlight(held_place(&shares.in_flight_limits, &limit).unwrap_or_default()),
            };
            if let Store::InFlight(held) = store {
                capped_by[held] = Some(of as u16);
            }
            let planned = self.planned(of as u16, limit, store, rated.map(|(.., table)| table));
            limits.push(PlannedLimit { values, ..planned });
        }
        for (planned, pairs) in limits.iter_mut().zip(&self.quotas) {
            planned.quotas = QuotaIndex::new(pairs);
        }
        let count_keys = in_flight(&shares.in_flight_limits).1.into_iter().map(|(per, _)| PlannedCounts {
            per: per.iter().map(|&identity| place(&mut self.identities, identity)).collect(),
            trust_source: TrustSource::of(per.iter().copied()),
            per_name: joined_name(&per),
        });
        let count_keys = count_keys.collect();
        self.ask_at(&limits);
        let stated = self.policy.limits.len();
        Ok(Plan {
            asks: limits.iter().map(Ask::of).collect(),
            stated,
            applicable: Applicable::new(&limits[..stated], self.policy.max_recipients.is_some()),
            seen_sets,
            rate_keys: RateKey::all(&limits[..stated]),
            stats: Stats::new(shares.stats, shares.layout, self.elements(&limits)),
            in_flight: shares.capacity,
            in_flight_limits: shares.in_flight_limits,
            capped_by,
            access: shares.access,
            count_keys,
            sender_org: self
                .find(|identity| (identity == Identity::SenderOrg(0)).then_some(()))
                .map(|(_, place)| place),
            client_net: self.find(|identity| match identity {
                Identity::ClientNet(net) => Some(net.v4),
                _ => None,
            }),
            identities: self.identities,
            help_url: self.policy.help_url.clone(),
            limits,
        })
    }

    /// Finds the first identity for which `what` returns a value, and its place.
    fn find<T>(&self, what: impl Fn(Identity) -> Option<T>) -> Option<(T, u16)> {
        (0..).zip(&self.identities).find_map(|(place, needed)| Some((what(needed.identity)?, place)))
    }

    /// A limit with its store. Its quotas are added when all are planned.
    fn planned(&mut self, of: u16, limit: Limit, store: Store, table: Option<Table>) -> PlannedLimit {
        let stage = limit.stage();
        let own = Stages::default().with(stage);
        let is_declared = limit.count == Count::Bytes && !limit.is_in_flight();
        // A transaction may have many unknown recipients, so the limit holds within it, too.
        let is_reported_at_rcpt = limit.reports.contains(Report::UnknownRecipient) && stage < Stage::Rcpt;
        let asked_at = if is_declared { own.with(Stage::Mail) } else { own };
        PlannedLimit {
            stage,
            asked_at: if is_reported_at_rcpt { asked_at.with(Stage::Rcpt) } else { asked_at },
            name: limit.name.as_str().into(),
            name_key: self.secret.text(limit.name.as_bytes()),
            slot: 0,
            per_name: limit.per_name().into(),
            reply: reply_of(&limit, stage),
            block_rule: block_rule(&limit, self.secret),
            per: limit.per.iter().map(|&identity| place(&mut self.identities, identity)).collect(),
            trust_source: TrustSource::of(limit.identities()),
            store,
            distinct: limit.distinct().map(|identity| place(&mut self.identities, identity)),
            table,
            since: 0,
            of,
            values: 0,
            quotas: QuotaIndex::default(),
            limit,
        }
    }

    fn seen_set(&mut self, nth: usize, table: Table) -> Result<PlannedSeenSet, PolicyError> {
        let SeenSetClaim { per, distinct, remember_us, settle_us, charged_again, has_notes, .. } = &self.seen_sets[nth];
        let (per, distinct, remember_us) = (per.clone(), *distinct, *remember_us);
        let (settle_us, charged_again, has_notes) = (*settle_us, *charged_again, *has_notes);
        let over_it = (0..).zip(&self.policy.limits).filter(|(_, limit)| self.seen_sets[nth].is_of(limit));
        let limits = over_it.map(|(place, _)| place).collect();
        let comeback_us = settle_us.unwrap_or(COMEBACK_US.min(remember_us / 2));
        // Half is for the notes. A single page has room for elements only.
        let (whole, parts) = (table, table.split(table.pages() / 2).filter(|_| has_notes));
        let table = parts.map_or(whole, |(elements, _)| elements);
        let set = SeenSet::new(table, remember_us, comeback_us).ok_or_else(|| self.too_fine(None, "remember"))?;
        let set = parts.map_or(set, |(_, notes)| set.noting(notes));
        let may_be_equal = per.iter().filter(|per| per.may_be_name() && distinct.may_be_name());
        let between = |per| mask(per) ^ mask(distinct);
        let equals = may_be_equal.map(|&per| (place(&mut self.identities, per), between(per))).collect();
        let source = distinct.source();
        let trust_source = TrustSource::of(per.iter().copied().chain([distinct]));
        let is_under_mailbox =
            distinct == Identity::SenderOrg(0) && matches!(per[..], [one] if one.is_header_mailbox());
        let distinct = place(&mut self.identities, distinct).into();
        let per = per.iter().map(|&per| place(&mut self.identities, per)).collect();
        let has_ladder = settle_us.is_some();
        Ok(PlannedSeenSet {
            set,
            limits,
            whole,
            per,
            trust_source,
            distinct,
            source,
            equals,
            has_ladder,
            charged_again,
            is_under_mailbox,
        })
    }

    /// The store of a limit that has a rate.
    fn store(&self, limit: &Limit, rated: Rated, seen_sets: &[PlannedSeenSet]) -> Result<Store, PolicyError> {
        let (rate, burst, table) = rated;
        if let Rule::Distinct { .. } = limit.rule {
            let buckets = Distinct::new(table, rate, burst, limit.when_full);
            return buckets.map(Store::Distinct).ok_or_else(|| self.too_many(limit, rate, burst));
        }
        let buckets = RateCounter::new(table, limit.algorithm, rate, burst, limit.when_full);
        let buckets = buckets.ok_or_else(|| self.too_fine(Some(limit), "rate"))?;
        let Rule::FanOut { settle_us, charge, warm_up_us, readmit_us, .. } = limit.rule else {
            return Ok(Store::Rate(buckets));
        };
        let timing = Timing { settle_us, charge, warm_up_us, readmit_us };
        let place = self.seen_sets.iter().position(|claim| claim.is_of(limit)).unwrap_or_default();
        Ok(Store::FanOut(FanOut::new(seen_sets[place].set, place, buckets, timing)))
    }

    fn too_many(&self, limit: &Limit, rate: Rate, burst: u64) -> PolicyError {
        let field = if burst > MOST_DISTINCT { "burst" } else { "rate" };
        let found = format!("{} different elements, {burst} at once", rate.amount);
        let allowed = format!("at most {MOST_DISTINCT} at once, and eight million a second, with refuse = \"all\"");
        self.policy.error(Some(limit), field, found, allowed)
    }

    fn too_fine(&self, limit: Option<&Limit>, field: &str) -> PolicyError {
        let found = "more than a clock of microseconds can keep".into();
        let allowed = "at most eight million a second, with a burst of at least 1/8,000,000 of a second's amount";
        self.policy.error(limit, field, found, allowed.into())
    }

    /// Sets the stages at which each identity is hashed, and the limits that are not asked without it.
    fn ask_at(&mut self, limits: &[PlannedLimit]) {
        for planned in limits {
            let is_in_flight = planned.limit.is_in_flight();
            // What is in flight has one count of all, without a key.
            let is_hashed = |identity: &Identity| !(is_in_flight && *identity == Identity::Global);
            for identity in planned.limit.identities().filter(is_hashed) {
                let at = usize::from(place(&mut self.identities, identity));
                if !is_in_flight {
                    self.identities[at].needed_by.insert(planned.of);
                }
                self.identities[at].at = self.identities[at].at.union(planned.asked_at);
            }
        }
    }

    /// For each identity: the elements of the first fan-out whose `per` is only this identity.
    fn elements(&self, limits: &[PlannedLimit]) -> Box<[Option<Elements>]> {
        let elements = |planned: &PlannedLimit| {
            let are_remembered = matches!(planned.store, Store::FanOut(_));
            planned.distinct.map(|place| Elements { place: place.into(), are_remembered })
        };
        let of = |place: u16| limits.iter().filter(|planned| planned.per[..] == [place]).find_map(elements);
        (0..self.identities.len() as u16).map(of).collect()
    }
}

/// A copy of `limit` without its quotas, which may be many.
fn without_quotas(limit: &Limit) -> Limit {
    let Limit { name, file, per, .. } = limit;
    Limit {
        name: name.clone(),
        file: file.clone(),
        per: per.clone(),
        rule: limit.rule.clone(),
        reply: limit.reply.clone(),
        quotas: Vec::new(),
        ..*limit
    }
}

/// A copy of `limit` with the numbers of a quota that so many values share. It gets a table of its own, with room for
/// these values in the pages that it needs.
pub(super) fn with_numbers(limit: &Limit, quota: &Quota, values: usize) -> Limit {
    let keys = keys_of(limit, values);
    let is_window = limit.algorithm == Algorithm::SlidingWindow;
    let (memory, when_full) = match limit.rule {
        Rule::FanOut { .. } => (limit.memory, limit.when_full),
        // So few keys never fill a page, so there is nothing to sketch.
        Rule::Rate { .. } if limit.per.len() == 1 && keys <= FEW_KEYS => (Some(PAGE_BYTES), WhenFull::Refuse),
        Rule::Rate { .. } if limit.per.len() == 1 && !is_window => {
            let is_exact = limit.when_full == WhenFull::Sketch;
            (Some(group_bytes(limit, values)), if is_exact { WhenFull::Refuse } else { limit.when_full })
        }
        // One page is for the keys, one for their registers.
        Rule::Distinct { .. } if limit.per.len() == 1 && values == 1 => (Some(2 * PAGE_BYTES), limit.when_full),
        Rule::Rate { .. } | Rule::Distinct { .. } | Rule::InFlight { .. } => (None, limit.when_full),
    };
    let mut copy = Limit { quotas: vec![quota.clone()], memory, when_full, ..without_quotas(limit) };
    if let Some((rate, burst)) = copy.rule.rate_and_burst_mut() {
        (*rate, *burst) = (quota.rate, quota.burst);
    }
    copy
}

/// The most keys for a page in which none finds its lines full, also if a line has two slots.
const FEW_KEYS: u64 = 12;

/// The kind of reply for a refusal by `limit`, which runs at `stage`.
fn reply_of(limit: &Limit, stage: Stage) -> Reply {
    let mailbox = limit.per.iter().any(|identity| identity.source() == Source::Rcpt);
    // A limit of the whole server is capacity, except a limit of recipients: the client can send fewer at once.
    let is_global = limit.per.iter().all(|identity| *identity == Identity::Global);
    let is_capacity = limit.is_in_flight() || is_global && limit.count != Count::Recipients;
    match stage {
        Stage::Connect | Stage::Helo if limit.count == Count::Reports => Reply::ReportedClosing,
        Stage::Connect | Stage::Helo if limit.is_in_flight() => Reply::Crowded,
        Stage::Connect | Stage::Helo => Reply::Closing,
        _ if limit.count == Count::Reports => Reply::Reported,
        _ if matches!(limit.rule, Rule::Distinct { .. }) => Reply::Spread,
        _ if limit.distinct().is_some() => Reply::Flood,
        _ if is_capacity && limit.count == Count::Bytes => Reply::Buffer,
        _ if is_capacity => Reply::Capacity,
        Stage::Rcpt if mailbox => Reply::Mailbox,
        Stage::Rcpt => Reply::Recipients,
        _ if limit.count == Count::Bytes => Reply::Octets,
        _ => Reply::TooFast,
    }
}

/// How a limit blocks. In shadow mode it blocks nothing.
fn block_rule(limit: &Limit, secret: &Secret) -> Option<BlockRule> {
    let us = limit.action.block_us().filter(|_| limit.mode == Mode::Enforce)?;
    let named = format!("{} per {}", limit.name, limit.per_name());
    let sender = if limit.verified == Verified::Any { Stage::Connect } else { Stage::Mail };
    let from = limit.per.iter().map(|identity| identity.stage()).fold(sender, Stage::max);
    Some(BlockRule { us, key: secret.text(named.as_bytes()), from })
}
