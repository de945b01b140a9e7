//! The secret of the hashes. It is drawn at start, or the caller passes a seed.

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use throttle_core::key::Secret;

use crate::error::{not_of_type, wrong_value};

/// The number of bytes of a seed.
const OCTETS: usize = 16;

/// The seed from which a secret is made.
pub(crate) type Seed = [u8; OCTETS];

pub(crate) fn secret(py: Python<'_>, seed: Option<&Bound<'_, PyAny>>) -> PyResult<Secret> {
    octets(py, seed).map(Secret::new)
}

/// Returns the seed itself, for a sketch, which writes its seed into its bytes.
pub(crate) fn octets(py: Python<'_>, seed: Option<&Bound<'_, PyAny>>) -> PyResult<Seed> {
    let drawn;
    let seed = match seed {
        Some(seed) => seed,
        None => {
            drawn = py.import("os")?.call_method1("urandom", (OCTETS,))?;
            &drawn
        }
    };
    let allowed = format!("bytes of length {OCTETS}, or None");
    let Ok(bytes) = seed.cast::<PyBytes>() else { return Err(not_of_type("seed", seed, &allowed)) };
    let found = || format!("{} bytes", bytes.as_bytes().len());
    Seed::try_from(bytes.as_bytes()).map_err(|_| wrong_value("seed", &found(), &allowed))
}
