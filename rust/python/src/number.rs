//! Arguments that are whole numbers.

use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::error::{not_of_type, wrong_value};

/// Reads a whole number. A number beyond 64 bits becomes the largest one and raises no error, because a cost may be a
/// size that a sender wrote.
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
