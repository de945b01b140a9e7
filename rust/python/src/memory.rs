//! Sizes of memory: bytes, or text such as `64 MiB`.

use pyo3::prelude::*;
use throttle_core::policy::memory_bytes;

use crate::error::policy_error;
use crate::field;

/// A guard's, when it says nothing: 16 MiB.
pub(crate) const GUARD_BYTES: u64 = 16 << 20;

/// A limiter's: 1 MiB.
pub(crate) const LIMITER_BYTES: u64 = 1 << 20;

pub(crate) fn bytes(given: &Bound<'_, PyAny>) -> PyResult<u64> {
    memory_bytes(&field::value(given)?).map_err(|error| policy_error(given.py(), error))
}
