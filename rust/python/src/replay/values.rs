//! The values of one envelope, for the identities that the limits of a policy need.

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use throttle_core::identity::{Identities, Identity, Part, Trust, Value};
use throttle_core::policy::Stages;

use crate::envelope::Envelope;
use crate::guard::Throttle;

/// See `_replay.pyi`.
#[pyfunction]
pub(crate) fn observed(guard: &Throttle) -> Vec<String> {
    guard.engine().observed().map(|identity| identity.to_string()).collect()
}

/// See `_replay.pyi`.
#[pyfunction]
pub(crate) fn values<'py>(py: Python<'py>, guard: &Throttle, envelope: &Envelope) -> PyResult<Bound<'py, PyTuple>> {
    envelope.with(py, |core| {
        let engine = Arc::clone(&guard.engine());
        let identities = engine.read(core, Stages::known_of(core));
        let mut values: Vec<Py<PyAny>> = Vec::new();
        for identity in engine.observed() {
            values.push(value(py, &identities, identity)?);
        }
        let proven = identities.trust(Identity::SenderHost) != Trust::Claimed;
        values.push(proven.into_pyobject(py)?.to_owned().into_any().unbind());
        PyTuple::new(py, values)
    })
}

fn value(py: Python<'_>, identities: &Identities<'_>, identity: Identity) -> PyResult<Py<PyAny>> {
    if identity.has_many() {
        let texts = identities.values(identity);
        return Ok(PyTuple::new(py, texts.iter().map(|value| text(py, value)))?.into_any().unbind());
    }
    Ok(identities.value(identity).map_or_else(|| py.None(), |value| text(py, &value).into_any().unbind()))
}

fn text<'py>(py: Python<'py>, value: &Value<'_>) -> Bound<'py, PyString> {
    match value {
        Value::Name(Part::Text(text)) => PyString::new(py, text),
        other => PyString::new(py, &other.to_string()),
    }
}
