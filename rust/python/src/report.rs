//! The argument `outcome` of `report`: what the server has found out.

use pyo3::prelude::*;
use pyo3::types::PyString;
use throttle_core::policy::{Choice, Report};

use crate::error::{not_of_type, wrong_value};

/// Reads the name of an outcome.
pub(crate) fn report(given: &Bound<'_, PyAny>) -> PyResult<Report> {
    let allowed = || Report::NAMES.iter().map(|(name, _)| format!("{name:?}")).collect::<Vec<_>>().join(", ");
    let Ok(name) = given.cast::<PyString>() else { return Err(not_of_type("outcome", given, &allowed())) };
    match name.to_str().ok().and_then(Report::from_name) {
        Some(report) => Ok(report),
        None => Err(wrong_value("outcome", &given.repr()?.to_string(), &allowed())),
    }
}
