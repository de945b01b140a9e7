//! The access list: `guard.block`, `allow`, `unblock`, `blocked` and `allowed`. Also `guard.reset`.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyString;
use throttle_core::engine::{BlockError, Blocked as Core};
use throttle_core::store::access_list::AccessAction;

use crate::argument::number;
use crate::clock::seconds;
use crate::error::{ThrottleError, argument_error, wrong_value};
use crate::guard::Throttle;
use crate::pause::let_others_run;
use crate::text::{AddressTypes, Text};

#[doc = doc!("Blocked")]
#[pyclass(module = "throttle", frozen, get_all, eq)]
#[derive(Debug, PartialEq)]
pub(crate) struct Blocked {
    #[doc = doc!("Blocked.identity")]
    identity: String,
    #[doc = doc!("Blocked.value")]
    value: Option<String>,
    #[doc = doc!("Blocked.until")]
    until: f64,
    #[doc = doc!("Blocked.by")]
    by: String,
    #[doc = doc!("Blocked.action")]
    action: String,
    #[doc = doc!("Blocked.unverified")]
    unverified: bool,
    #[doc = doc!("Blocked.comment")]
    comment: Option<String>,
}

/// What `__new__` takes, for pickles.
type Arguments<'a> = (&'a str, Option<&'a str>, f64, &'a str, &'a str, bool, Option<&'a str>);

/// The `by` of an entry: the limit that blocks, or where the operator made it.
pub(crate) fn by(core: &Core) -> &str {
    let operator = if core.is_of_policy { "policy" } else { "operator" };
    core.by.as_deref().unwrap_or(operator)
}

#[pymethods]
impl Blocked {
    #[new]
    #[pyo3(signature = (identity, value, until, by, action, unverified, comment=None))]
    fn new(
        identity: String, value: Option<String>, until: f64, by: String, action: String, unverified: bool,
        comment: Option<String>,
    ) -> Self {
        Self { identity, value, until, by, action, unverified, comment }
    }

    fn __getnewargs__(&self) -> Arguments<'_> {
        let Self { identity, value, until, by, action, unverified, comment } = self;
        (identity, value.as_deref(), *until, by, action, *unverified, comment.as_deref())
    }

    fn __repr__(&self) -> String {
        let Self { identity, until, by, action, .. } = self;
        let value = self.value.as_deref().map_or("None".into(), |value| format!("{value:?}"));
        let unverified = if self.unverified { ", unverified=True" } else { "" };
        let comment = self.comment.as_ref().map_or(String::new(), |comment| format!(", comment={comment:?}"));
        format!("Blocked({action} {identity:?} {value}, until={until:?}, by={by:?}{unverified}{comment})")
    }
}

impl Blocked {
    fn of(core: Core, now_us: i64) -> Self {
        let until = |left_us: u64| seconds(now_us.saturating_add_unsigned(left_us));
        Self {
            by: by(&core).to_owned(),
            comment: core.comment,
            identity: core.identity,
            value: core.value,
            until: core.left_us.map_or(f64::INFINITY, until),
            action: if core.action == AccessAction::Block { "block" } else { "allow" }.into(),
            unverified: core.action == AccessAction::AllowUnverified,
        }
    }
}

/// The methods `Throttle.block` and `Throttle.allow`.
pub(crate) fn say(
    guard: &Throttle, py: Python<'_>, identity: &str, value: &Bound<'_, PyAny>, word: AccessAction,
    given: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let allowed = "a number of seconds, or None: for good";
    let us = match given.map(|given| number("seconds", given, allowed)).transpose()? {
        Some(seconds) if seconds.is_nan() || seconds <= 0.0 => {
            return Err(wrong_value("seconds", &format!("{seconds:?}"), "more than 0, or None: for good"));
        }
        // The core rejects times that are too long.
        Some(seconds) if seconds.is_finite() => Some((seconds * 1e6).round().max(1.0) as u64),
        Some(_) | None => None,
    };
    let now = guard.clock.read(py, None)?;
    let value = text(value)?;
    let said = guard.engine().say(identity, &value, word, us, now);
    said.map_err(|error| match error {
        BlockError::Wrong(error) => argument_error(*error),
        BlockError::Full(0) => ThrottleError::new_err(
            "this guard has too little memory for entries: 256 KiB have room for some, 16 MiB for 1024",
        ),
        BlockError::Full(most) => ThrottleError::new_err(format!(
            "all {most} entries are taken and none has ended: \
             take one back with unblock, or block a network or domain around several"
        )),
    })
}

/// The method `Throttle.unblock`.
pub(crate) fn unblock(guard: &Throttle, py: Python<'_>, identity: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    let now = guard.clock.read(py, None)?;
    let value = text(value)?;
    let held = guard.engine().unblock(identity, &value, now);
    held.map_err(argument_error)
}

/// The method `Throttle.reset`.
pub(crate) fn reset(guard: &Throttle, py: Python<'_>, identity: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let now = guard.clock.read(py, None)?;
    let value = text(value)?;
    let cleared = guard.engine().reset(identity, &value, now);
    cleared.map_err(argument_error)
}

/// The methods `Throttle.blocked` and, with `allowances`, `Throttle.allowed`.
pub(crate) fn listed(guard: &Throttle, py: Python<'_>, allowances: bool) -> PyResult<Vec<Blocked>> {
    let now = guard.clock.read(py, None)?;
    let now_us = now.us();
    // The read guard of the engine is dropped at the end of this line. The pause below releases the interpreter.
    // A reload could then take the interpreter and wait for the read guard, and neither thread could continue.
    let engine = Arc::clone(&guard.engine());
    let all = engine.blocked(now, &|| let_others_run(py));
    let wanted = all.into_iter().filter(|core| (core.action != AccessAction::Block) == allowances);
    Ok(wanted.map(|core| Blocked::of(core, now_us)).collect())
}

/// Returns a value as an operator writes it or copies it from a log. Bytes that are not UTF-8 name no value.
fn text(value: &Bound<'_, PyAny>) -> PyResult<String> {
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_string_lossy().into_owned());
    }
    let text = Text::address("value", value, AddressTypes::ANY)?;
    Ok(String::from_utf8_lossy(&text.bytes(value.py())).into_owned())
}
