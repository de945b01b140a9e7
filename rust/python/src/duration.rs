//! A time as a policy writes it, for the command line.

use pyo3::prelude::*;
use pyo3::types::PyString;
use throttle_core::policy::duration_us;

use crate::error::argument_error;
use crate::field;

/// See `_core.pyi`.
#[pyfunction]
pub(crate) fn duration_seconds(text: &Bound<'_, PyString>) -> PyResult<u64> {
    Ok(duration_us(&field::value(text)?).map_err(argument_error)? / 1_000_000)
}
