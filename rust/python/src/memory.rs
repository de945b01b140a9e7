//! The argument `memory`: a number of bytes, or text such as `64 MiB`.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyInt, PyString};
use throttle_core::policy::memory_bytes;

use crate::error::{argument_error, not_of_type};
use crate::field;

/// A guard's memory by default: 16 MiB.
pub(crate) const GUARD_BYTES: u64 = 16 << 20;

/// A limiter's memory by default: 1 MiB.
pub(crate) const LIMITER_BYTES: u64 = 1 << 20;

pub(crate) fn bytes(given: &Bound<'_, PyAny>) -> PyResult<u64> {
    let is_number = given.is_instance_of::<PyInt>() && !given.is_instance_of::<PyBool>();
    if !is_number && !given.is_instance_of::<PyString>() {
        return Err(not_of_type("memory", given, "a number of bytes, or text such as \"64 MiB\""));
    }
    memory_bytes(&field::value(given)?).map_err(argument_error)
}
