//! The one conversion of an operator's mistake into Python: `throttle.errors.PolicyError`.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use throttle_core::engine::NotReloaded;
use throttle_core::error::PolicyError as CoreError;

pyo3::import_exception!(throttle.errors, PolicyError);
pyo3::import_exception!(throttle.errors, ThrottleError);

/// Why a guard goes on with the policy that it has.
pub(crate) fn not_reloaded(py: Python<'_>, error: NotReloaded) -> PyErr {
    match error {
        NotReloaded::Wrong(error) => policy_error(py, error),
        NotReloaded::Overtaken => {
            ThrottleError::new_err("reload: another reload came in between, and its policy holds")
        }
    }
}

/// `PolicyError(message, file=…, line=…, column=…, limit=…, field=…, found=…, allowed=…, suggestion=…)`
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
