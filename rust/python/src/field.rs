//! Converts keyword arguments to the values that the policy's validator reads, and back.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use throttle_core::policy::{Field, FieldValue};

/// The depth to which nested tables are read. The quotas of a limit are a table, and each quota is a table in it.
const DEEPEST: u32 = 2;

/// Converts any Python value. A value that no field accepts becomes text for the error message.
pub(crate) fn value(given: &Bound<'_, PyAny>) -> PyResult<FieldValue> {
    within(given, DEEPEST)
}

fn within(given: &Bound<'_, PyAny>, deep: u32) -> PyResult<FieldValue> {
    if given.is_instance_of::<PyList>() || given.is_instance_of::<PyTuple>() {
        // A tier of a share is a table in a list. No field has a list in a list, so a nested list is not read.
        let item = |item: Bound<'_, PyAny>| {
            if item.is_instance_of::<PyDict>() { within(&item, deep) } else { scalar(&item) }
        };
        let items: PyResult<_> = given.try_iter()?.map(|given| given.and_then(item)).collect();
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

/// Converts a value that is not a list or a table.
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

/// Converts keyword arguments, in order. An argument that is `None` counts as absent.
pub(crate) fn fields(given: &Bound<'_, PyDict>) -> PyResult<Vec<(String, FieldValue)>> {
    fields_within(given, DEEPEST)
}

fn fields_within(given: &Bound<'_, PyDict>, deep: u32) -> PyResult<Vec<(String, FieldValue)>> {
    let mut fields = Vec::with_capacity(given.len());
    for (name, given) in given {
        if !given.is_none() {
            let name = match name.cast::<PyString>() {
                Ok(name) => name.to_string_lossy().into_owned(),
                // No field has this name, and the error message reports that.
                Err(_) => name.repr()?.to_string_lossy().into_owned(),
            };
            fields.push((name, within(&given, deep)?));
        }
    }
    Ok(fields)
}

/// Converts the value of a field to a Python value.
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
