//! The function under `throttle.auth`.

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use throttle_core::identity::authentication_results::AuthenticationResults;

use crate::headers;

/// See `_core.pyi`.
#[pyfunction]
pub(crate) fn authentication_results<'py>(
    py: Python<'py>, message: &Bound<'_, PyAny>, authserv_id: &[u8], fields: usize,
) -> PyResult<(Option<String>, Bound<'py, PyTuple>)> {
    let found = AuthenticationResults::read(headers::message("message", message)?, authserv_id, fields);
    Ok((found.spf, PyTuple::new(py, found.dkim)?))
}
