//! Metrics of guards: the snapshot, the exporter, and the measuring of one check in so many.
//!
//! It converts what the core counts to Python, and knows no limit. Invariant: no lock of an exporter is held while
//! Python code runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pyo3::{PyTraverseError, PyVisit};
use throttle_core::engine::{Counted, Engine, Metrics};
use throttle_core::export::{Budget, Exporter, Family, Format, Kind, Labels, ONE_IN, joined, render};
use throttle_core::policy::{Choice, Report, Stage};
use throttle_core::region::{DURATION_BOUNDS_NS, Now};

use crate::argument;
use crate::error::wrong_value;
use crate::guard::Throttle;

/// Chooses one check in [`ONE_IN`], whose duration is measured.
#[derive(Debug, Default)]
pub(crate) struct Sampler(AtomicU32);

impl Sampler {
    /// Runs a check, and adds its duration to the counts when it is chosen.
    #[inline]
    pub(crate) fn measure<T>(&self, check: impl FnOnce() -> T, engine: impl FnOnce(&dyn Fn(&Engine))) -> T {
        // Threads may lose a number to each other: then the next sample comes later.
        let number = self.0.load(Ordering::Relaxed).wrapping_add(1);
        self.0.store(number, Ordering::Relaxed);
        if number % ONE_IN != 0 {
            return check();
        }
        let began = Instant::now();
        let result = check();
        let ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        engine(&|engine| engine.note_duration(ns));
        result
    }
}

/// The snapshot that `Throttle.metrics` returns.
pub(crate) fn snapshot<'py>(py: Python<'py>, metrics: &Metrics) -> PyResult<Bound<'py, PyAny>> {
    let types = py.import("throttle.types")?;
    let checks = PyDict::new(py);
    for (stage, counts) in Stage::ALL.into_iter().zip(metrics.checks) {
        let of_stage = PyDict::new(py);
        for (counted, count) in Counted::ALL.into_iter().zip(counts) {
            of_stage.set_item(counted.name(), count)?;
        }
        checks.set_item(stage.name(), of_stage)?;
    }
    let (refusals, untracked, reports) = (PyDict::new(py), PyDict::new(py), PyDict::new(py));
    for limit in &metrics.limits {
        let modes = PyDict::new(py);
        modes.set_item("enforced", limit.refused)?;
        modes.set_item("shadow", limit.shadow)?;
        refusals.set_item(&*limit.name, modes)?;
        if limit.is_stated {
            untracked.set_item(&*limit.name, limit.untracked)?;
        }
    }
    for (report, count) in Report::ALL.into_iter().zip(metrics.reports) {
        reports.set_item(report.name(), count)?;
    }
    let bounds = DURATION_BOUNDS_NS.iter().map(|ns| *ns as f64 / 1e9).chain([f64::INFINITY]);
    let mut sum = 0;
    let buckets = PyDict::new(py);
    for (bound, count) in bounds.zip(metrics.durations.buckets) {
        sum += count;
        buckets.set_item(bound, sum)?;
    }
    let latency = types.getattr("Latency")?.call1((sum, metrics.durations.sum_ns as f64 / 1e9, buckets))?;
    let mode = metrics.mode.name();
    let (notices, evictions, bytes) = (metrics.notices, metrics.evictions, metrics.memory_bytes);
    types.getattr("Metrics")?.call1((mode, checks, refusals, untracked, reports, notices, evictions, latency, bytes))
}

/// The numbers of an exporter, from the arguments of Python.
pub(crate) fn budget(slots: u32, identities: u32, names_per_hour: u32) -> PyResult<Budget> {
    for (name, value, least, most) in
        [("slots", slots, 1, 64), ("identities", identities, 1, 64), ("names_per_hour", names_per_hour, 0, 3600)]
    {
        if !(least..=most).contains(&value) {
            return Err(wrong_value(name, &value.to_string(), &format!("a whole number from {least} to {most}")));
        }
    }
    Ok(Budget { slots, identities, names_per_hour })
}

/// A family that the caller adds: its name, type and help, and its samples with their labels.
type Added = (String, String, String, Vec<(HashMap<String, String>, f64)>);

fn added((name, kind, help, samples): Added) -> PyResult<Family> {
    let kind = Kind::from_name(&kind).ok_or_else(|| wrong_value("kind", &kind, "counter, gauge or histogram"))?;
    let mut family = Family::new(&name, kind, &help);
    for (labels, value) in samples {
        let mut labels: Labels = labels.into_iter().map(|(label, value)| (label.into(), value)).collect();
        labels.sort();
        family.add(labels, value);
    }
    Ok(family)
}

#[doc = doc!("MetricsExporter")]
#[pyclass(module = "throttle._core", frozen)]
#[derive(Debug)]
pub(crate) struct MetricsExporter {
    guards: Vec<(String, Py<Throttle>)>,
    /// One for each guard.
    exporters: Mutex<Vec<Exporter>>,
}

#[pymethods]
impl MetricsExporter {
    #[new]
    #[pyo3(signature = (guards, *, slots=16, identities=8, names_per_hour=30))]
    fn new(
        guards: &Bound<'_, PyDict>, #[pyo3(from_py_with = argument::slots)] slots: u32,
        #[pyo3(from_py_with = argument::identities)] identities: u32,
        #[pyo3(from_py_with = argument::names_per_hour)] names_per_hour: u32,
    ) -> PyResult<Self> {
        let budget = budget(slots, identities, names_per_hour)?;
        let guard = |(name, guard): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            Ok((name.extract::<String>()?, guard.cast::<Throttle>()?.clone().unbind()))
        };
        let guards = guards.iter().map(guard).collect::<PyResult<Vec<_>>>()?;
        let exporters = Mutex::new(vec![Exporter::new(budget); guards.len()]);
        Ok(Self { guards, exporters })
    }

    #[doc = doc!("MetricsExporter.render")]
    #[pyo3(
        signature = (openmetrics=false, *, extra=Vec::new()), text_signature = "($self, openmetrics=False, *, extra=())"
    )]
    fn render<'py>(
        &self, py: Python<'py>, #[pyo3(from_py_with = argument::openmetrics)] openmetrics: bool, extra: Vec<Added>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let times = self.guards.iter().map(|(_, guard)| guard.get().clock.read(py, None));
        let times = times.collect::<PyResult<Vec<Now>>>()?;
        let extra = extra.into_iter().map(added).collect::<PyResult<Vec<_>>>()?;
        let has_names = self.guards.len() > 1 || self.guards.iter().any(|(name, _)| !name.is_empty());
        let text = py.detach(|| {
            let mut exporters = self.exporters.lock().unwrap_or_else(PoisonError::into_inner);
            let mut all = vec![build_info()];
            for (((name, guard), exporter), now) in self.guards.iter().zip(exporters.iter_mut()).zip(times) {
                all.extend(exporter.families(&guard.get().engine(), has_names.then_some(name), now));
            }
            drop(exporters);
            let format = if openmetrics { Format::OpenMetrics } else { Format::Prometheus };
            render(&joined(all.into_iter().chain(extra)), format)
        });
        Ok(PyBytes::new(py, text.as_bytes()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.guards.iter().try_for_each(|(_, guard)| visit.call(guard))
    }
}

fn build_info() -> Family {
    let mut family = Family::new("throttle_build_info", Kind::Gauge, "1, with the version of throttle.");
    family.add(vec![("version".into(), env!("CARGO_PKG_VERSION").into())], 1.0);
    family
}

/// The text of one guard, with the exporter that the guard keeps.
pub(crate) fn rendered(engine: &Engine, exporter: &mut Exporter, now: Now, openmetrics: bool) -> String {
    let all = [build_info()].into_iter().chain(exporter.families(engine, None, now));
    render(&joined(all), if openmetrics { Format::OpenMetrics } else { Format::Prometheus })
}
