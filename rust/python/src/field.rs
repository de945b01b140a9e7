//! Values of keyword arguments, as the policy's validator takes them.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use throttle_core::policy::{Field, FieldValue};

/// Tables in tables that are read: the quotas of a limit, and one of them.
const DEEPEST: u32 = 2;

/// Any Python value; what no field takes becomes words for the message.
pub(crate) fn value(given: &Bound<'_, PyAny>) -> PyResult<FieldValue> {
    within(given, DEEPEST)
}

fn within(given: &Bound<'_, PyAny>, deep: u32) -> PyResult<FieldValue> {
    if given.is_instance_of::<PyList>() || given.is_instance_of::<PyTuple>() {
        let items: PyResult<_> = given.try_iter()?.map(|item| item.and_then(|item| scalar(&item))).collect();
        return Ok(FieldValue::List(items?));
    }
    match (given.cast::<PyDict>(), deep.checked_sub(1)) {
        (Ok(table), Some(deep)) => {
            let fields = fields_within(table, deep)?;
            Ok(FieldValue::Table(fields.iter().map(|(name, value)| Field::loose(name, value)).collect()))
        }
        _ => scalar(given),
    }
}

/// Lists in lists are no field's: they are not walked.
fn scalar(given: &Bound<'_, PyAny>) -> PyResult<FieldValue> {
    if let Ok(text) = given.cast::<PyString>() {
        return Ok(FieldValue::Text(text.to_string_lossy().into_owned()));
    }
    if let Ok(truth) = given.cast::<PyBool>() {
        return Ok(FieldValue::Other(truth.is_true().to_string()));
    }
    if let Ok(integer) = given.cast::<PyInt>() {
        return Ok(integer.extract().map_or_else(|_| FieldValue::Other(integer.to_string()), FieldValue::Integer));
    }
    if let Ok(float) = given.cast::<PyFloat>() {
        return Ok(FieldValue::Float(float.value()));
    }
    let kind = given.get_type().name()?;
    Ok(FieldValue::Other(format!("a {kind}")))
}

/// Keyword arguments in order; one that is `None` was not given.
pub(crate) fn fields(given: &Bound<'_, PyDict>) -> PyResult<Vec<(String, FieldValue)>> {
    fields_within(given, DEEPEST)
}

fn fields_within(given: &Bound<'_, PyDict>, deep: u32) -> PyResult<Vec<(String, FieldValue)>> {
    let mut fields = Vec::with_capacity(given.len());
    for (name, given) in given {
        if !given.is_none() {
            let name = match name.cast::<PyString>() {
                Ok(name) => name.to_string_lossy().into_owned(),
                // No field is called so: the message will say it.
                Err(_) => name.repr()?.to_string_lossy().into_owned(),
            };
            fields.push((name, within(&given, deep)?));
        }
    }
    Ok(fields)
}

/// A field as a Python value.
pub(crate) fn object<'py>(py: Python<'py>, value: &FieldValue) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        FieldValue::Text(text) | FieldValue::Other(text) => PyString::new(py, text).into_any(),
        FieldValue::Integer(number) => number.into_pyobject(py)?.into_any(),
        FieldValue::Float(number) => PyFloat::new(py, *number).into_any(),
        FieldValue::List(items) => {
            let items: PyResult<Vec<_>> = items.iter().map(|item| object(py, item)).collect();
            PyList::new(py, items?)?.into_any()
        }
        FieldValue::Table(fields) => {
            let table = PyDict::new(py);
            for Field { name, value, .. } in fields {
                table.set_item(name, object(py, value)?)?;
            }
            table.into_any()
        }
    })
}
