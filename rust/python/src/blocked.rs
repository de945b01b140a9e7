//! What operators say of a name, and what is blocked: `guard.block`, `allow`, `unblock`, `blocked`.

use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use throttle_core::engine::{BlockError, Blocked as Core};
use throttle_core::region::Now;
use throttle_core::store::access_list::AccessAction;

use crate::clock::seconds;
use crate::error::{ThrottleError, policy_error};
use crate::guard::Throttle;
use crate::pause::let_others_run;

/// See `_core.pyi`.
#[pyclass(module = "throttle", frozen, get_all, eq)]
#[derive(Debug, PartialEq)]
pub(crate) struct Blocked {
    identity: String,
    value: Option<String>,
    until: f64,
    by: String,
    action: String,
    unverified: bool,
}

/// Who has no limit's name.
const OPERATOR: &str = "operator";

#[pymethods]
impl Blocked {
    #[new]
    #[pyo3(signature = (identity, value, until, by, action, unverified))]
    fn new(identity: String, value: Option<String>, until: f64, by: String, action: String, unverified: bool) -> Self {
        Self { identity, value, until, by, action, unverified }
    }

    fn __getnewargs__(&self) -> (&str, Option<&str>, f64, &str, &str, bool) {
        (&self.identity, self.value.as_deref(), self.until, &self.by, &self.action, self.unverified)
    }

    fn __repr__(&self) -> String {
        let Self { identity, until, by, action, .. } = self;
        let value = self.value.as_deref().map_or("None".into(), |value| format!("{value:?}"));
        let unverified = if self.unverified { ", unverified=True" } else { "" };
        format!("Blocked({action} {identity:?} {value}, until={until:?}, by={by:?}{unverified})")
    }
}

impl Blocked {
    fn of(core: Core, now_us: i64) -> Self {
        let until = |left_us: u64| seconds(now_us.saturating_add_unsigned(left_us));
        Self {
            identity: core.identity,
            value: core.value,
            until: core.left_us.map_or(f64::INFINITY, until),
            by: core.by.unwrap_or_else(|| OPERATOR.into()),
            action: if core.action == AccessAction::Block { "block" } else { "allow" }.into(),
            unverified: core.action == AccessAction::AllowUnverified,
        }
    }
}

/// See `_core.pyi`.
pub(crate) fn say(
    guard: &Throttle,
    py: Python<'_>,
    identity: &str,
    value: &Bound<'_, PyAny>,
    word: AccessAction,
    given: Option<f64>,
) -> PyResult<()> {
    let us = match given {
        Some(seconds) if seconds.is_nan() || seconds <= 0.0 => {
            let found = format!("seconds: found {seconds:?}; allowed: more than 0, or None: for good");
            return Err(PyValueError::new_err(found));
        }
        // What would end after anybody cares is told by the core.
        Some(seconds) if seconds.is_finite() => Some((seconds * 1e6).round().max(1.0) as u64),
        Some(_) | None => None,
    };
    let now = guard.clock.read(py, None)?;
    let value = text(value)?;
    let said = guard.engine().say(identity, &value, word, us, now);
    said.map_err(|error| match error {
        BlockError::Wrong(error) => policy_error(py, *error),
        BlockError::Full(0) => {
            ThrottleError::new_err("this guard has too little memory for entries: 256 KiB have room for some, 16 MiB for 1024")
        }
        BlockError::Full(most) => ThrottleError::new_err(format!(
            "all {most} entries are taken and none has ended: take one back with unblock, or block a network or domain around several"
        )),
    })
}

/// See `_core.pyi`.
pub(crate) fn unblock(guard: &Throttle, py: Python<'_>, identity: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let now = guard.clock.read(py, None)?;
    let value = text(value)?;
    let held = guard.engine().unblock(identity, &value, now);
    held.map_err(|error| policy_error(py, error))
}

/// See `_core.pyi`.
pub(crate) fn blocked(guard: &Throttle, py: Python<'_>) -> PyResult<Vec<Blocked>> {
    let now = guard.clock.read(py, None)?;
    let (Now::Clock(now_us) | Now::Stated(now_us)) = now;
    // Not under the guard of the engine: the pause gives up the interpreter, and who changes the policy waits for that guard with it.
    let engine = Arc::clone(&guard.engine());
    let all = engine.blocked(now, &|| let_others_run(py));
    Ok(all.into_iter().map(|core| Blocked::of(core, now_us)).collect())
}

/// What an operator writes, or takes from a log: octets that are no UTF-8 name nothing.
fn text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_string_lossy().into_owned());
    }
    match value.cast::<PyBytes>() {
        Ok(bytes) => Ok(String::from_utf8_lossy(bytes.as_bytes()).into_owned()),
        Err(_) => {
            Err(PyTypeError::new_err(format!("value: found {}; allowed: str or bytes", value.get_type().name()?)))
        }
    }
}
