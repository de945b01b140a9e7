//! Errors of callers. One rule holds for all of them. A wrong type raises `TypeError`. A wrong value raises
//! `ValueError`, which states what was found and what is allowed. A wrong policy raises `PolicyError`.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use throttle_core::engine::NotReloaded;
use throttle_core::error::PolicyError as CoreError;

pyo3::import_exception!(throttle.errors, PolicyError);
pyo3::import_exception!(throttle.errors, ThrottleError);

/// Makes the error for an argument of a wrong type.
#[cold]
pub(crate) fn not_of_type(field: &str, given: &Bound<'_, PyAny>, allowed: &str) -> PyErr {
    match given.get_type().name() {
        Ok(_) if given.is_none() => wrong_type(field, "None", allowed),
        Ok(found) => wrong_type(field, &found.to_string_lossy(), allowed),
        Err(error) => error,
    }
}

#[cold]
pub(crate) fn wrong_type(field: &str, found: &str, allowed: &str) -> PyErr {
    PyTypeError::new_err(format!("{field}: found {found}; allowed: {allowed}"))
}

/// Makes the error for an argument that has the right type and a wrong value.
#[cold]
pub(crate) fn wrong_value(field: &str, found: &str, allowed: &str) -> PyErr {
    PyValueError::new_err(format!("{field}: found {found}; allowed: {allowed}"))
}

/// Makes the error for a wrong argument from an error of the core. The core's type is that of a wrong policy, but here
/// no policy is wrong.
#[cold]
pub(crate) fn argument_error(error: CoreError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// Makes the error that states why a guard keeps its old policy.
pub(crate) fn not_reloaded(py: Python<'_>, error: NotReloaded) -> PyErr {
    match error {
        NotReloaded::Wrong(error) => policy_error(py, error),
        NotReloaded::Overtaken => {
            ThrottleError::new_err("reload: another reload came in between, and its policy holds")
        }
    }
}

/// Makes `PolicyError(message, file=…, line=…, column=…, limit=…, field=…, found=…, allowed=…, suggestion=…)`
pub(crate) fn policy_error(py: Python<'_>, error: CoreError) -> PyErr {
    let build = || -> PyResult<PyErr> {
        let message = error.to_string();
        let fields = PyDict::new(py);
        fields.set_item("file", &error.file)?;
        fields.set_item("line", error.line)?;
        fields.set_item("column", error.column)?;
        fields.set_item("limit", &error.limit)?;
        fields.set_item("field", &error.field)?;
        fields.set_item("found", &error.found)?;
        fields.set_item("allowed", &error.allowed)?;
        fields.set_item("suggestion", &error.suggestion)?;
        let class = py.get_type::<PolicyError>();
        Ok(PyErr::from_value(class.call((message,), Some(&fields))?))
    };
    build().unwrap_or_else(|broken| broken)
}
