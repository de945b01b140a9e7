//! `Decision`: the outcome of a check.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};
use throttle_core::decision::Refusal;

use crate::clock::seconds;
use crate::envelope::Envelope;
use crate::guard::Throttle;

/// See `_core.pyi`.
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct Decision {
    refusal: Option<Box<Refusal>>,
    made_on: MadeOn,
}

/// What the decision was made on, for [`Decision::identities`].
#[derive(Debug)]
enum MadeOn {
    Envelope(Py<Throttle>, Py<Envelope>),
    Key(Py<PyAny>),
    /// Detached: the identities are worked out already.
    Known(Py<PyDict>),
}

impl Decision {
    pub(crate) fn of_envelope(refusal: Option<Box<Refusal>>, guard: Py<Throttle>, envelope: Py<Envelope>) -> Self {
        Self { refusal, made_on: MadeOn::Envelope(guard, envelope) }
    }

    pub(crate) fn of_key(refusal: Option<Box<Refusal>>, key: Py<PyAny>) -> Self {
        Self { refusal, made_on: MadeOn::Key(key) }
    }
}

#[pymethods]
impl Decision {
    #[getter]
    fn allowed(&self) -> bool {
        self.refusal.is_none()
    }

    fn __bool__(&self) -> bool {
        self.allowed()
    }

    #[getter]
    fn limit(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| refusal.limit.as_str())
    }

    #[getter]
    fn identity(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| refusal.identity.as_str())
    }

    #[getter]
    fn key(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| refusal.key.as_str())
    }

    #[getter]
    fn retry_after(&self) -> f64 {
        match &self.refusal {
            None => 0.0,
            Some(refusal) => refusal.wait_us.map_or(f64::INFINITY, |us| seconds(i64::try_from(us).unwrap_or(i64::MAX))),
        }
    }

    #[getter]
    fn reply(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| refusal.reply.as_str())
    }

    #[getter]
    fn identities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match &self.made_on {
            MadeOn::Envelope(guard, envelope) => guard.get().identities(py, envelope.bind(py)),
            MadeOn::Key(key) => {
                let identities = PyDict::new(py);
                identities.set_item("key", key)?;
                Ok(identities)
            }
            MadeOn::Known(identities) => identities.bind(py).copy(),
        }
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else { return Ok(false) };
        let other = other.get();
        Ok(self.refusal == other.refusal && self.identities(py)?.eq(other.identities(py)?)?)
    }

    fn __repr__(&self) -> String {
        match &self.refusal {
            None => "Decision(allowed)".into(),
            Some(refusal) => format!(
                "Decision(refused by {:?} for {} {:?}, retry_after={:?})",
                refusal.limit,
                refusal.identity,
                refusal.key,
                self.retry_after()
            ),
        }
    }

    /// Pickles detached: with its identities worked out, without its guard.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let py = slf.py();
        let this = slf.get();
        let wait = this.refusal.as_ref().and_then(|refusal| refusal.wait_us);
        let state = (
            PyBool::new(py, this.allowed()),
            this.limit(),
            this.identity(),
            this.key(),
            wait,
            this.reply(),
            this.identities(py)?,
        );
        Ok((slf.get_type().getattr("_detached")?, state.into_pyobject(py)?))
    }

    #[staticmethod]
    fn _detached(
        allowed: bool,
        limit: Option<String>,
        identity: Option<String>,
        key: Option<String>,
        wait_us: Option<u64>,
        reply: Option<String>,
        identities: Py<PyDict>,
    ) -> Self {
        let text = Option::unwrap_or_default;
        let refusal = (!allowed).then(|| {
            Box::new(Refusal {
                limit: text(limit),
                identity: text(identity),
                key: text(key),
                wait_us,
                reply: text(reply),
            })
        });
        Self { refusal, made_on: MadeOn::Known(identities) }
    }
}
