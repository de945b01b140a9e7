//! What a guard tells of its own accord: how many different values there were, and who came near a limit.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use throttle_core::identity::Identity;
use throttle_core::stats::Window;

use crate::guard::Throttle;
use crate::number::whole;
use crate::offender::Offender;

/// Names that `top` gives when it is not told how many.
const TOP: u64 = 10;

/// See `_core.pyi`.
pub(crate) fn distinct(
    guard: &Throttle,
    py: Python<'_>,
    identity: &str,
    window: &str,
    now: Option<f64>,
) -> PyResult<f64> {
    let window = match window {
        "minute" => Window::Minute,
        "hour" => Window::Hour,
        other => {
            return Err(PyValueError::new_err(format!("window: found {other:?}; allowed: \"minute\" or \"hour\"")));
        }
    };
    let now = guard.clock.read(py, now)?;
    let known = identity.parse().ok().and_then(|known| guard.engine().distinct(known, window, now));
    known.ok_or_else(|| unobserved(guard, identity))
}

/// See `_core.pyi`.
pub(crate) fn top(
    guard: &Throttle,
    py: Python<'_>,
    identity: &str,
    n: Option<&Bound<'_, PyAny>>,
    now: Option<f64>,
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
    PyValueError::new_err(format!("identity: found {found:?}; allowed: one that a limit of the policy needs: {names}"))
}
