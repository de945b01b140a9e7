//! What both sketches ask of their callers: many keys at once, and one seed where two of them meet.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::error::{not_of_type, wrong_value};
use crate::seed::Seed;

/// Every one of many keys; one text is not many, though Python would take it apart.
pub(crate) fn each(keys: &Bound<'_, PyAny>, add: impl Fn(&Bound<'_, PyAny>) -> PyResult<()>) -> PyResult<()> {
    if keys.is_instance_of::<PyString>() || keys.is_instance_of::<PyBytes>() {
        return Err(not_of_type("keys", keys, "an iterable of str or bytes"));
    }
    let Ok(mut keys) = keys.try_iter() else {
        return Err(not_of_type("keys", keys, "an iterable of str or bytes"));
    };
    keys.try_for_each(|key| add(&key?))
}

/// Sketches under two hashes have nothing to do with each other.
pub(crate) fn same_seed(own: &Seed, others: &Seed) -> PyResult<()> {
    if own == others {
        return Ok(());
    }
    Err(wrong_value("other", "another seed", "the same one: make the sketches with one seed="))
}
