//! Whole numbers of the caller's.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyInt;

/// A whole number. One beyond 64 bits is as good as the largest of them: a cost may be a size that a sender wrote.
pub(crate) fn whole(field: &str, given: &Bound<'_, PyAny>, least: u64) -> PyResult<u64> {
    let Ok(number) = given.cast::<PyInt>() else {
        let found = given.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{field}: found {found}; allowed: int")));
    };
    match number.extract::<u64>() {
        Ok(number) if number >= least => Ok(number),
        Err(_) if number.gt(least)? => Ok(u64::MAX),
        _ => Err(PyValueError::new_err(format!("{field}: found {number}; allowed: an integer of at least {least}"))),
    }
}
