//! Converts an explanation of the core to the frozen dataclasses of `throttle.types`.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use throttle_core::engine::{Blocked, Explained, ExplainedIdentity, Explanation, LimitState};
use throttle_core::identity::{Identity, Trust};
use throttle_core::store::access_list::AccessAction;

use crate::blocked::by;
use crate::clock::seconds;
use crate::text::Text;

/// Converts the explanation. `throttle.types.Explanation` and `Throttle.explain` in `_core.pyi` describe the result.
pub(crate) fn explanation<'py>(
    py: Python<'py>, found: Explanation, client_ip: Option<&Text>,
) -> PyResult<Bound<'py, PyAny>> {
    let types = py.import("throttle.types")?;
    let class = |name: &str| types.getattr(name);
    let (identity_class, limit_class) = (class("ExplainedIdentity")?, class("ExplainedLimit")?);
    let (identities, values_left_out) = (PyDict::new(py), PyDict::new(py));
    let mut problems = Vec::new();
    for ExplainedIdentity { identity, values, left_out, trust } in found.identities {
        if let (Identity::ClientIp, Some(given), None) = (identity, client_ip, trust) {
            let found = given.object(py).bind(py).repr()?;
            problems.push(format!("client_ip: found {found}; allowed: an IPv4 or IPv6 address"));
        }
        let row = PyDict::new(py);
        row.set_item("values", PyTuple::new(py, values)?)?;
        row.set_item("trust", trust.map(Trust::name))?;
        if left_out > 0 {
            values_left_out.set_item(identity.to_string(), left_out)?;
        }
        identities.set_item(identity.to_string(), identity_class.call((), Some(&row))?)?;
    }
    let (mut limits, mut unchecked) = (Vec::new(), Vec::new());
    for limit in found.limits {
        if matches!(limit.found, LimitState::NotChecked { .. }) {
            unchecked.push(limit.limit.clone());
        }
        limits.push(limit_class.call((), Some(&explained(py, limit)?))?);
    }
    let mut covering = Vec::new();
    for entry in found.covering {
        covering.push(class("CoveringEntry")?.call((), Some(&covered(py, entry)?))?);
    }
    let all = PyDict::new(py);
    all.set_item("allowed", found.decision.allowed())?;
    all.set_item("limit", found.decision.refusal.as_ref().map(|refusal| &*refusal.limit))?;
    all.set_item("stage", found.decision.refusal.as_ref().map(|refusal| refusal.stage.name()))?;
    all.set_item("reply", found.decision.refusal.as_ref().map(|refusal| refusal.reply()))?;
    all.set_item("problems", PyTuple::new(py, problems)?)?;
    all.set_item("identities", identities)?;
    all.set_item("values_left_out", values_left_out)?;
    all.set_item("limits", PyTuple::new(py, limits)?)?;
    all.set_item("left_out", found.left_out)?;
    all.set_item("unchecked", PyTuple::new(py, unchecked)?)?;
    all.set_item("covering", PyTuple::new(py, covering)?)?;
    class("Explanation")?.call((), Some(&all))
}

fn covered(py: Python<'_>, entry: Blocked) -> PyResult<Bound<'_, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("action", if entry.action == AccessAction::Block { "block" } else { "allow" })?;
    row.set_item("by", by(&entry))?;
    row.set_item("identity", entry.identity)?;
    row.set_item("value", entry.value)?;
    row.set_item("unverified", entry.action == AccessAction::AllowUnverified)?;
    let left = entry.left_us.map_or(f64::INFINITY, |us| seconds(i64::try_from(us).unwrap_or(i64::MAX)));
    row.set_item("seconds", left)?;
    Ok(row)
}

fn explained(py: Python<'_>, limit: Explained) -> PyResult<Bound<'_, PyDict>> {
    let row = PyDict::new(py);
    row.set_item("limit", limit.limit)?;
    row.set_item("stage", limit.stage.name())?;
    row.set_item("identity", limit.identity)?;
    row.set_item("counts", limit.counts)?;
    row.set_item("allows", limit.allows)?;
    row.set_item("quota_of", limit.quota_of)?;
    match limit.found {
        LimitState::NotChecked { missing, reason } => unasked(&row, "not checked", &reason, missing)?,
        LimitState::DoesNotApply(reason) => unasked(&row, "does not apply", &reason, Vec::new())?,
        LimitState::Key { key, trust: class, used, at_once, adds, wait_us, is_shadow } => {
            let verdict = match (wait_us, is_shadow) {
                (Some(0), _) => "fits",
                (_, true) => "would refuse",
                (_, false) => "refuses",
            };
            row.set_item("verdict", verdict)?;
            row.set_item("reason", py.None())?;
            row.set_item("missing", PyTuple::empty(py))?;
            row.set_item("key", key)?;
            row.set_item("trust", class.map(Trust::name))?;
            row.set_item("used", used)?;
            row.set_item("at_once", at_once)?;
            row.set_item("adds", adds)?;
            let wait = wait_us.map_or(f64::INFINITY, |us| seconds(i64::try_from(us).unwrap_or(i64::MAX)));
            row.set_item("retry_after", wait)?;
        }
    }
    Ok(row)
}

/// Fills the rest of the row of a limit that was not consulted.
fn unasked(row: &Bound<'_, PyDict>, verdict: &str, reason: &str, missing: Vec<&str>) -> PyResult<()> {
    row.set_item("verdict", verdict)?;
    row.set_item("reason", reason)?;
    row.set_item("missing", PyTuple::new(row.py(), missing)?)?;
    for absent in ["key", "trust", "used", "at_once", "adds"] {
        row.set_item(absent, row.py().None())?;
    }
    row.set_item("retry_after", 0.0)
}
