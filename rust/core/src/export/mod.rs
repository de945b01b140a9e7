//! What a guard shows a monitoring system, as families of metrics and as text.
//!
//! ```text
//!  engine ── metrics, statistics, loads ──> Exporter ── families ──> text
//! ```
//!
//! * this file: the families of a guard, and how many series they can be   * `slots`: offenders in a fixed number of
//!   series   * `text`: families to text
//!
//! This module knows no socket. Invariant: the number of series is at most [`Bound::now`], whatever senders invent, and
//! in a day no more than [`Bound::a_day`] different ones are shown.

mod slots;
mod text;

use std::sync::Arc;

pub use slots::{Budget, Slots};
pub use text::{Family, Format, Kind, Labels, Sample, joined, render, series};

use crate::engine::{Counted, Engine, Metrics};
use crate::identity::{Identity, View};
use crate::policy::{Choice, Limit, Mode, Policy, Report, Rule, Stage, reserved};
use crate::region::{DURATION_BOUNDS_NS, Now};
use crate::stats::Window;

/// One check in so many has its duration measured.
pub const ONE_IN: u32 = 64;

const HOURS_A_DAY: u64 = 24;

/// What is kept from one export to the next.
#[derive(Clone, Debug)]
pub struct Exporter {
    /// The numbers that bound the series.
    pub budget: Budget,
    slots: Vec<Slots>,
}

/// How many series a policy can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// At one time.
    pub now: u64,
    /// Different ones in a day.
    pub a_day: u64,
}

impl Exporter {
    /// An exporter that has shown nothing yet.
    pub fn new(budget: Budget) -> Self {
        Self { budget, slots: Vec::new() }
    }

    /// The families of a guard at `now`. `policy` is the value of a label that tells it from other guards.
    pub fn families(&mut self, engine: &Engine, policy: Option<&str>, now: Now) -> Vec<Family> {
        let base: Labels = policy.map(|name| ("policy".into(), name.to_owned())).into_iter().collect();
        let mut all = Families { base, all: Vec::new() };
        all.of_checks(&engine.metrics());
        all.of_loads(engine);
        all.of_identities(engine, now);
        self.update(engine, now);
        all.of_slots(&self.slots, engine);
        let bound = Bound::of(&engine.stated_limits(), self.budget);
        all.gauge("series_limit", "The most series that this policy shows at once.", bound.now as f64);
        // This one counts itself, and the version of throttle.
        all.gauge("series", "Series that this policy shows now.", (series(&all.all) + 2) as f64);
        all.all
    }

    fn update(&mut self, engine: &Engine, now: Now) {
        let now_us = now.us();
        let identities = slotted(&engine.stated_limits(), self.budget);
        self.slots.retain(|slots| identities.contains(&slots.identity));
        for identity in identities {
            if !self.slots.iter().any(|slots| slots.identity == identity) {
                self.slots.push(Slots::new(identity, self.budget, now_us));
            }
        }
        for slots in &mut self.slots {
            let identity = slots.identity;
            let offenders = engine.top(identity, now).unwrap_or_default();
            slots.update(&offenders, now_us, |value| slots::key_text(identity, value, engine.tag(value)));
        }
    }
}

impl Bound {
    /// The bound of a policy.
    pub fn of_policy(policy: &Policy, budget: Budget) -> Self {
        Self::of(&policy.limits.iter().collect::<Vec<_>>(), budget)
    }

    fn of(limits: &[&Limit], budget: Budget) -> Self {
        let slotted = slotted(limits, budget);
        let fan_outs = slotted.iter().filter(|identity| has_fan_out(limits, **identity)).count() as u64;
        let (identities, slots) = (slotted.len() as u64, u64::from(budget.slots));
        let counted = all_identities(limits);
        let refusers = (limits.len() + reserved::ALL.len()) as u64;
        let in_flight = limits.iter().filter(|limit| limit.is_in_flight()).count() as u64;
        let rated = limits.len() as u64 - in_flight;
        let memories = limits.iter().filter(|limit| matches!(limit.rule, Rule::FanOut { .. })).count() as u64;
        let checks = (Stage::ALL.len() * Counted::ALL.len()) as u64;
        let durations = DURATION_BOUNDS_NS.len() as u64 + 3;
        let single = 8; // build, mode × 2, memory, notices, evictions, series, series limit
        let fixed = checks
            + durations
            + 2 * refusers
            + limits.len() as u64
            + Report::ALL.len() as u64
            + 2 * in_flight
            + rated
            + memories
            + 2 * counted.len() as u64
            + fan_outs
            + identities
            + single;
        let values = identities * slots + fan_outs * slots;
        let names = identities * slots;
        let names_a_day = identities * (slots + HOURS_A_DAY * u64::from(budget.names_per_hour));
        Self { now: fixed + values + names, a_day: fixed + values + names_a_day }
    }
}

/// The identities of all limits, but for the one that every envelope has alike.
fn all_identities(limits: &[&Limit]) -> Vec<Identity> {
    let mut all: Vec<Identity> = Vec::new();
    for identity in limits.iter().flat_map(|limit| limit.identities()) {
        if identity.view() != View::Nothing && !all.contains(&identity) {
            all.push(identity);
        }
    }
    all
}

/// The identities that have slots: first those that fan-outs count under, then those of the other limits.
fn slotted(limits: &[&Limit], budget: Budget) -> Vec<Identity> {
    let (fan_outs, others): (Vec<&Limit>, Vec<&Limit>) = limits.iter().partition(|limit| limit.distinct().is_some());
    let mut all: Vec<Identity> = Vec::new();
    for &identity in fan_outs.iter().chain(&others).flat_map(|limit| &limit.per) {
        if identity.view() != View::Nothing && !all.contains(&identity) {
            all.push(identity);
        }
    }
    all.truncate(budget.identities as usize);
    all
}

/// Whether statistics count elements under an identity.
fn has_fan_out(limits: &[&Limit], identity: Identity) -> bool {
    limits.iter().any(|limit| limit.per == [identity] && limit.distinct().is_some())
}

/// Families in the making.
struct Families {
    /// Labels of all samples.
    base: Labels,
    all: Vec<Family>,
}

impl Families {
    fn family(&mut self, name: &str, kind: Kind, help: &str) -> &mut Family {
        self.all.push(Family::new(&format!("throttle_{name}"), kind, help));
        let last = self.all.len() - 1;
        &mut self.all[last]
    }

    /// A family with a sample for each of `samples`.
    fn put<'l>(
        &mut self, name: &str, kind: Kind, help: &str,
        samples: impl IntoIterator<Item = (Vec<(&'static str, &'l str)>, f64)>,
    ) {
        let base = self.base.clone();
        let family = self.family(name, kind, help);
        for (labels, value) in samples {
            let own = labels.into_iter().map(|(label, value)| (label.into(), value.to_owned()));
            family.add(base.iter().cloned().chain(own).collect(), value);
        }
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.put(name, Kind::Gauge, help, [(vec![], value)]);
    }

    fn of_checks(&mut self, metrics: &Metrics) {
        let stages = Stage::ALL.into_iter().zip(metrics.checks);
        let checks = stages.flat_map(|(stage, counts)| {
            let labels = move |counted: Counted| vec![("stage", stage.name()), ("decision", counted.name())];
            Counted::ALL.into_iter().zip(counts).map(move |(counted, count)| (labels(counted), count as f64))
        });
        let help = "Checks by the last stage that they asked. Each check counts once; a step of a session is a check. \
                    shadow: admitted, though something in shadow mode would have refused.";
        self.put("checks", Kind::Counter, help, checks);
        let refusals = metrics.limits.iter().flat_map(|limit| {
            let labels = |mode| vec![("limit", &*limit.name), ("mode", mode)];
            [(labels("enforced"), limit.refused as f64), (labels("shadow"), limit.shadow as f64)]
        });
        let help = "Checks that a limit refused, or would have refused in shadow mode. Each limit that refuses counts, \
                    so the sum can exceed the refused checks.";
        self.put("limit_refusals", Kind::Counter, help, refusals);
        let stated = metrics.limits.iter().filter(|limit| limit.is_stated);
        let untracked = stated.map(|limit| (vec![("limit", &*limit.name)], limit.untracked as f64));
        self.put("untracked", Kind::Counter, "Charges that found no room in the table of a limit.", untracked);
        let reports = Report::ALL.into_iter().zip(metrics.reports);
        let reports = reports.map(|(report, count)| (vec![("outcome", report.name())], count as f64));
        self.put("reports", Kind::Counter, "What the mail server reported after a check.", reports);
        let notices = [(vec![], metrics.notices as f64)];
        let help = "Notices: a limit began to refuse a key, or stopped, or forgot it for a busier one.";
        self.put("notices", Kind::Counter, help, notices);
        let help = "Known elements and notes that were forgotten early, because the memory of a fan-out was full.";
        self.put("evictions", Kind::Counter, help, [(vec![], metrics.evictions as f64)]);
        self.durations(metrics);
        let modes = [Mode::Enforce, Mode::Shadow];
        let modes = modes.map(|mode| (vec![("mode", mode.name())], f64::from(u8::from(mode == metrics.mode))));
        self.put("mode", Kind::Gauge, "1 for the mode in force.", modes);
        self.gauge("memory_bytes", "Bytes of all counters. Constant.", metrics.memory_bytes as f64);
    }

    fn durations(&mut self, metrics: &Metrics) {
        let base = self.base.clone();
        let help =
            format!("Duration of a check. One check in {ONE_IN} is measured, so _count counts samples and not checks.");
        let family = self.family("check_duration_seconds", Kind::Histogram, &help);
        let mut sum = 0;
        let bounds = DURATION_BOUNDS_NS.iter().map(|bound| (*bound as f64 / 1e9).to_string());
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(metrics.durations.buckets) {
            sum += count;
            let labels = base.iter().cloned().chain([("le".into(), bound)]).collect();
            family.samples.push(Sample { suffix: "_bucket", labels, value: sum as f64 });
        }
        let sum_s = metrics.durations.sum_ns as f64 / 1e9;
        family.samples.push(Sample { suffix: "_count", labels: base.clone(), value: sum as f64 });
        family.samples.push(Sample { suffix: "_sum", labels: base, value: sum_s });
    }

    fn of_loads(&mut self, engine: &Engine) {
        let loads = engine.loads();
        let tables =
            loads.tables.iter().map(|(limit, table, load)| (vec![("limit", &**limit), ("table", *table)], *load));
        let help =
            "Part of a table that is in use, estimated from some of its pages. memory: what a fan-out remembers.";
        self.put("table_load", Kind::Gauge, help, tables);
        let held = |of: fn(&(Arc<str>, u64, u64)) -> u64| {
            loads.in_flight.iter().map(move |row| (vec![("limit", &*row.0)], of(row) as f64))
        };
        let help = "What is open now under a limit: of the key that holds most.";
        self.put("in_flight", Kind::Gauge, help, held(|row| row.1));
        self.put("in_flight_limit", Kind::Gauge, "The most that a limit lets one key hold.", held(|row| row.2));
    }

    fn of_identities(&mut self, engine: &Engine, now: Now) {
        let limits = engine.stated_limits();
        let windows = [("minute", Window::Minute), ("hour", Window::Hour)];
        let all: Vec<(Identity, String)> =
            all_identities(&limits).into_iter().map(|identity| (identity, identity.to_string())).collect();
        let distinct = all.iter().flat_map(|(identity, name)| {
            windows.map(|(window, length)| {
                let count = engine.distinct(*identity, length, now).unwrap_or_default();
                (vec![("identity", &**name), ("window", window)], count.round())
            })
        });
        self.put("distinct", Kind::Gauge, "Different values of an identity, estimated.", distinct.collect::<Vec<_>>());
    }

    fn of_slots(&mut self, slots: &[Slots], engine: &Engine) {
        let limits = engine.stated_limits();
        let numbers: Vec<String> =
            (0..slots.iter().map(|one| one.iter().count()).max().unwrap_or(0)).map(|n| n.to_string()).collect();
        let names: Vec<String> = slots.iter().map(|one| one.identity.to_string()).collect();
        let rows = || {
            slots.iter().zip(&names).flat_map(|(one, name)| {
                let labels = move |number| vec![("identity", &**name), ("slot", number)];
                one.iter().zip(&numbers).map(move |(slot, number)| (one.identity, labels(&**number), slot))
            })
        };
        let sent = rows().map(|(_, labels, slot)| {
            let sent = slot.map_or(0, |slot| slot.offender.admitted + slot.offender.refused);
            (labels, sent as f64)
        });
        let help = "Checks of the offender in a slot in the last 60 to 75 seconds.";
        self.put("slot_messages", Kind::Gauge, help, sent.collect::<Vec<_>>());
        let has_fan_out = |identity: Identity| has_fan_out(&limits, identity);
        let fan_out = rows()
            .filter(|(identity, ..)| has_fan_out(*identity))
            .map(|(_, labels, slot)| (labels, slot.map_or(0, |slot| slot.offender.new_elements) as f64));
        let help = "Elements of the offender in a slot that were not known when they came, in the last 60 to 75 \
                    seconds; one that is refused counts each time.";
        self.put("slot_fan_out", Kind::Gauge, help, fan_out.collect::<Vec<_>>());
        let most = slots.iter().zip(&names).filter(|(one, _)| has_fan_out(one.identity)).map(|(one, name)| {
            let most = one.iter().flatten().map(|slot| slot.offender.new_elements).max();
            (vec![("identity", &**name), ("window", "minute")], most.unwrap_or(0) as f64)
        });
        let help = "The most elements of one offender that were not known when they came, in the window.";
        self.put("fan_out_max", Kind::Gauge, help, most.collect::<Vec<_>>());
        let info = rows().filter_map(|(_, mut labels, slot)| {
            labels.push(("key", &*slot?.name.as_ref()?.key));
            Some((labels, 1.0))
        });
        let help = "Who is in a slot: a name or a network; of an address the domain and a hash.";
        self.put("slot_info", Kind::Gauge, help, info.collect::<Vec<_>>());
        let suppressed =
            slots.iter().zip(&names).map(|(one, name)| (vec![("identity", &**name)], one.suppressed as f64));
        let help = "Offenders that got no name, because the budget of names was spent.";
        self.put("slot_names_suppressed", Kind::Counter, help, suppressed.collect::<Vec<_>>());
    }
}
