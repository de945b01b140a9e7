//! The secret of the hashes: drawn at start, or given.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use throttle_core::key::Secret;

/// Octets of a seed.
const OCTETS: usize = 16;

pub(crate) fn secret(py: Python<'_>, seed: Option<&Bound<'_, PyAny>>) -> PyResult<Secret> {
    let drawn;
    let seed = match seed {
        Some(seed) => seed,
        None => {
            drawn = py.import("os")?.call_method1("urandom", (OCTETS,))?;
            &drawn
        }
    };
    let octets = seed.cast::<PyBytes>().ok().and_then(|bytes| <[u8; OCTETS]>::try_from(bytes.as_bytes()).ok());
    octets
        .map(Secret::new)
        .ok_or_else(|| PyValueError::new_err(format!("seed: allowed: bytes of length {OCTETS}, or None")))
}
