//! Values of keyword arguments, as the policy's validator takes them.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use throttle_core::policy::FieldValue;

/// Any Python value; what no field takes becomes words for the message.
pub(crate) fn value(given: &Bound<'_, PyAny>) -> PyResult<FieldValue> {
    if let Ok(entries) = given.cast::<PyDict>() {
        return Ok(FieldValue::Table(table(entries)?));
    }
    if given.is_instance_of::<PyList>() || given.is_instance_of::<PyTuple>() {
        let items: PyResult<_> = given.try_iter()?.map(|item| item.and_then(|item| scalar(&item))).collect();
        return Ok(FieldValue::List(items?));
    }
    scalar(given)
}

/// Tables in tables are no field's: they are not walked.
fn table(entries: &Bound<'_, PyDict>) -> PyResult<Vec<(String, FieldValue)>> {
    let entry = |(name, given): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
        let value = if given.is_instance_of::<PyDict>() { scalar(&given) } else { value(&given) };
        Ok((name.str()?.to_string_lossy().into_owned(), value?))
    };
    entries.iter().map(entry).collect()
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
    let mut fields = Vec::with_capacity(given.len());
    for (name, given) in given {
        if !given.is_none() {
            fields.push((name.extract()?, value(&given)?));
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
        FieldValue::Table(entries) => {
            let table = PyDict::new(py);
            for (name, value) in entries {
                table.set_item(name, object(py, value)?)?;
            }
            table.into_any()
        }
    })
}
