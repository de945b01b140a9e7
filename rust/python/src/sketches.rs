//! Checks of arguments that both sketches share: many keys at once, and one seed when two sketches are merged.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::error::{not_of_type, wrong_value};
use crate::seed::Seed;

/// Calls `add` for each key. A single text is an error, although Python could iterate over its characters.
pub(crate) fn each(keys: &Bound<'_, PyAny>, add: impl Fn(&Bound<'_, PyAny>) -> PyResult<()>) -> PyResult<()> {
    if keys.is_instance_of::<PyString>() || keys.is_instance_of::<PyBytes>() {
        return Err(not_of_type("keys", keys, "an iterable of str or bytes"));
    }
    let Ok(mut keys) = keys.try_iter() else {
        return Err(not_of_type("keys", keys, "an iterable of str or bytes"));
    };
    keys.try_for_each(|key| add(&key?))
}

/// Checks that two sketches have the same seed. With different seeds, they hash with different functions.
pub(crate) fn same_seed(own: &Seed, others: &Seed) -> PyResult<()> {
    if own == others {
        return Ok(());
    }
    Err(wrong_value("other", "another seed", "the same one: make the sketches with one seed="))
}
