//! Whole numbers of the caller's.

use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::error::{not_of_type, wrong_value};

/// A whole number. One beyond 64 bits is as good as the largest of them: a cost may be a size that a sender wrote.
pub(crate) fn whole(field: &str, given: &Bound<'_, PyAny>, least: u64) -> PyResult<u64> {
    let Ok(number) = given.cast::<PyInt>() else {
        return Err(not_of_type(field, given, "int"));
    };
    match number.extract::<u64>() {
        Ok(number) if number >= least => Ok(number),
        Err(_) if number.gt(least)? => Ok(u64::MAX),
        _ => Err(wrong_value(field, &number.to_string(), &format!("an integer of at least {least}"))),
    }
}
