//! The statistics of a guard: how many distinct values there were, and which values came near a limit.

use pyo3::prelude::*;
use throttle_core::identity::Identity;
use throttle_core::stats::Window;

use crate::error::wrong_value;
use crate::guard::Throttle;
use crate::number::whole;
use crate::offender::Offender;

/// The number of names that `top` returns by default.
const TOP: u64 = 10;

/// The method `Throttle.distinct`.
pub(crate) fn distinct(
    guard: &Throttle, py: Python<'_>, identity: &str, window: &str, now: Option<&Bound<'_, PyAny>>,
) -> PyResult<f64> {
    let window = match window {
        "minute" => Window::Minute,
        "hour" => Window::Hour,
        other => {
            return Err(wrong_value("window", &format!("{other:?}"), "\"minute\" or \"hour\""));
        }
    };
    let now = guard.clock.read(py, now)?;
    let known = identity.parse().ok().and_then(|known| guard.engine().distinct(known, window, now));
    known.ok_or_else(|| unobserved(guard, identity))
}

/// The method `Throttle.top`.
pub(crate) fn top(
    guard: &Throttle, py: Python<'_>, identity: &str, n: Option<&Bound<'_, PyAny>>, now: Option<&Bound<'_, PyAny>>,
) -> PyResult<Vec<Offender>> {
    let n = n.map_or(Ok(TOP), |n| whole("n", n, 0))?;
    let now = guard.clock.read(py, now)?;
    let known = identity.parse().ok().and_then(|known| guard.engine().top(known, now));
    let names = known.ok_or_else(|| unobserved(guard, identity))?;
    Ok(names.into_iter().take(usize::try_from(n).unwrap_or(usize::MAX)).map(Offender::from).collect())
}

fn unobserved(guard: &Throttle, found: &str) -> PyErr {
    let mut names: Vec<String> =
        guard.engine().observed().map(|identity: Identity| format!("{:?}", identity.to_string())).collect();
    names.sort_unstable();
    let names = names.join(", ");
    wrong_value("identity", &format!("{found:?}"), &format!("one that a limit of the policy needs: {names}"))
}
