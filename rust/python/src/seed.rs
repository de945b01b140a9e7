//! The secret of the hashes: drawn at start, or given.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use throttle_core::key::Secret;

/// Octets of a seed.
const OCTETS: usize = 16;

/// What a secret is made of.
pub(crate) type Seed = [u8; OCTETS];

pub(crate) fn secret(py: Python<'_>, seed: Option<&Bound<'_, PyAny>>) -> PyResult<Secret> {
    octets(py, seed).map(Secret::new)
}

/// For those who must tell it again.
pub(crate) fn octets(py: Python<'_>, seed: Option<&Bound<'_, PyAny>>) -> PyResult<Seed> {
    let drawn;
    let seed = match seed {
        Some(seed) => seed,
        None => {
            drawn = py.import("os")?.call_method1("urandom", (OCTETS,))?;
            &drawn
        }
    };
    let octets = seed.cast::<PyBytes>().ok().and_then(|bytes| Seed::try_from(bytes.as_bytes()).ok());
    octets.ok_or_else(|| PyValueError::new_err(format!("seed: allowed: bytes of length {OCTETS}, or None")))
}
