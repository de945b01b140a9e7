//! Arguments of the types that Python itself has: text, truth, numbers and paths. A wrong type is an error that names
//! the argument and what is allowed.
//!
//! PyO3's own errors name neither. The functions that are named as arguments are for `from_py_with`.

use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::envelope::Envelope;
use crate::error::not_of_type;
use crate::number::whole;

/// Reads text.
fn words<'a>(field: &str, given: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    given.cast::<PyString>().map_err(|_| not_of_type(field, given, "str"))?.to_str()
}

/// Reads `True` or `False`.
fn truth(field: &str, given: &Bound<'_, PyAny>) -> PyResult<bool> {
    given.extract().map_err(|_| not_of_type(field, given, "True or False"))
}

/// Reads a number; `allowed` is what the error says.
#[inline]
pub(crate) fn number(field: &str, given: &Bound<'_, PyAny>, allowed: &str) -> PyResult<f64> {
    given.extract().map_err(|error| no_number(error, field, given, allowed))
}

/// An integer that no float can hold is a number, and keeps its own error.
#[cold]
fn no_number(error: PyErr, field: &str, given: &Bound<'_, PyAny>, allowed: &str) -> PyErr {
    if error.is_instance_of::<PyTypeError>(given.py()) { not_of_type(field, given, allowed) } else { error }
}

/// Reads a whole number of 32 bits; a larger one becomes the largest.
fn small(field: &str, given: &Bound<'_, PyAny>) -> PyResult<u32> {
    whole(field, given, 0).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
}

/// Checks that an optional argument is a path.
pub(crate) fn optional_path(field: &str, given: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let Some(given) = given else { return Ok(()) };
    given.extract::<PathBuf>().map(drop).map_err(|_| not_of_type(field, given, "a path, or None"))
}

/// Reads the envelope of a check.
#[inline]
pub(crate) fn envelope<'a, 'py>(given: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, Envelope>> {
    given.cast().map_err(|_| not_of_type("envelope", given, "Envelope"))
}

/// Reads a chance that a sketch is made for.
fn chance(field: &str, given: &Bound<'_, PyAny>) -> PyResult<f64> {
    number(field, given, "a number between 0 and 1")
}

pub(crate) fn path(given: &Bound<'_, PyAny>) -> PyResult<PathBuf> {
    given.extract().map_err(|_| not_of_type("path", given, "a path"))
}

pub(crate) fn after(given: &Bound<'_, PyAny>) -> PyResult<u64> {
    whole("after", given, 0)
}

/// Makes a function for each of these arguments.
macro_rules! named {
    (words: $($name:ident)+) => {
        $(pub(crate) fn $name<'a>(given: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
            words(stringify!($name), given)
        })+
    };
    ($read:ident -> $kind:ty: $($name:ident)+) => {
        $(pub(crate) fn $name(given: &Bound<'_, PyAny>) -> PyResult<$kind> {
            $read(stringify!($name), given)
        })+
    };
}

named!(words: algorithm file identity name rate text when_full window);
named!(truth -> bool: hold openmetrics sample unverified);
named!(small -> u32: identities names_per_hour slots);
named!(chance -> f64: delta epsilon);
