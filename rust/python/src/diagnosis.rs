//! `guard.diagnose`: the analysis of the core as plain data.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use throttle_core::diagnosis::finding::{Diagnosis, Finding, Row, State, Target};
use throttle_core::region::Now;

use crate::clock::seconds;
use crate::error::ThrottleError;
use crate::guard::Throttle;

/// The method `Throttle.diagnose`. `throttle.types.Diagnosis` describes the result.
pub(crate) fn diagnose<'py>(guard: &Throttle, py: Python<'py>, now: Now) -> PyResult<Bound<'py, PyDict>> {
    // The samples are copied while the interpreter is held, so that no thread forks while their lock is held.
    let engine = Arc::clone(&guard.engine());
    let samples = engine.samples(now).ok_or_else(|| {
        ThrottleError::new_err("this guard samples no messages; allowed: a guard made with Throttle(…, sample=True)")
    })?;
    let found = py.detach(|| engine.diagnose(&samples));
    let now_us = now.us();
    let Diagnosis { recent_us, before_minutes, messages, refused, ordinary, kept, ordinary_kept, .. } = found;
    let all = PyDict::new(py);
    all.set_item("state", state(found.state))?;
    all.set_item("at", seconds(now_us))?;
    all.set_item("recent_seconds", recent_us as f64 / 1e6)?;
    all.set_item("before_minutes", before_minutes)?;
    all.set_item("messages", messages)?;
    all.set_item("refused", refused)?;
    all.set_item("ordinary_messages", ordinary.round() as u64)?;
    all.set_item("sampled", kept)?;
    all.set_item("ordinary_sampled", ordinary_kept)?;
    let findings: PyResult<Vec<_>> = found.findings.iter().map(|one| finding(py, one)).collect();
    all.set_item("findings", PyList::new(py, findings?)?)?;
    let rows: PyResult<Vec<_>> = found.rows.iter().map(|one| row(py, one)).collect();
    all.set_item("rows", PyList::new(py, rows?)?)?;
    Ok(all)
}

fn state(state: State) -> &'static str {
    match state {
        State::Early => "early",
        State::Quiet => "quiet",
        State::MassMail => "mass-mail",
        State::Surge => "surge",
        State::Scattered => "scattered",
    }
}

fn finding<'py>(py: Python<'py>, found: &Finding) -> PyResult<Bound<'py, PyDict>> {
    let all = target(py, &found.target)?;
    let also: PyResult<Vec<_>> = found.also.iter().map(|one| target(py, one)).collect();
    all.set_item("also", PyList::new(py, also?)?)?;
    all.set_item("of_part", found.is_of_part)?;
    all.set_item("mass_mail", found.is_mass_mail)?;
    all.set_item("surge_share", found.surge_share)?;
    all.set_item("surge_messages", found.surge_messages.round() as u64)?;
    all.set_item("recent_share", found.recent_share)?;
    all.set_item("refused_share", found.refused_share)?;
    all.set_item("proven_share", found.proven_share)?;
    all.set_item("sampled", found.kept)?;
    let limits = PyDict::new(py);
    for (name, share) in &found.limits {
        limits.set_item(&**name, share)?;
    }
    all.set_item("limits", limits)?;
    Ok(all)
}

fn target<'py>(py: Python<'py>, target: &Target) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    all.set_item("identity", target.identity.to_string())?;
    all.set_item("value", &target.value)?;
    all.set_item("stage", target.identity.stage().name())?;
    all.set_item("whole_value", target.is_whole)?;
    all.set_item("exact_value", target.is_exact)?;
    all.set_item("can_block", target.can_block)?;
    all.set_item("ordinary_share", target.ordinary_share)?;
    all.set_item("ordinary_matching", target.ordinary_matching)?;
    all.set_item("proven_matching", target.proven_matching)?;
    all.set_item("busiest_ordinary_minute", target.busiest_ordinary_minute.ceil() as u64)?;
    Ok(all)
}

fn row<'py>(py: Python<'py>, row: &Row) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    all.set_item("identity", row.identity.to_string())?;
    all.set_item("value", row.value.as_deref())?;
    all.set_item("stage", row.identity.stage().name())?;
    all.set_item("recent_share", row.recent_share)?;
    all.set_item("ordinary_share", row.ordinary_share)?;
    all.set_item("refused_share", row.refused_share)?;
    all.set_item("reached", row.reached.round() as u64)?;
    all.set_item("sampled", row.kept)?;
    Ok(all)
}
