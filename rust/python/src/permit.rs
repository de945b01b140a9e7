//! `Permit`: what one transaction holds in flight. It is released exactly once: at the end of `with`, by a call, or
//! when its last reference is dropped or collected.

use std::sync::Mutex;

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};
use throttle_core::store::in_flight::Token;

use crate::decision::Decision;
use crate::guard::Throttle;

// The token has a lock of its own. It is held only for an instant, and no Python code runs meanwhile. A fork needs the
// interpreter, so it never copies this lock while it is held.
#[doc = doc!("Permit")]
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct Permit {
    guard: Py<Throttle>,
    decision: Py<Decision>,
    token: Mutex<Option<Token>>,
}

impl Permit {
    pub(crate) fn new(guard: Py<Throttle>, decision: Py<Decision>, token: Option<Token>) -> Self {
        Self { guard, decision, token: Mutex::new(token) }
    }
}

#[pymethods]
impl Permit {
    #[doc = doc!("Permit.decision")]
    #[getter]
    fn decision(&self, py: Python<'_>) -> Py<Decision> {
        self.decision.clone_ref(py)
    }

    fn __bool__(&self) -> bool {
        self.decision.get().allowed()
    }

    #[doc = doc!("Permit.release")]
    fn release(&self) {
        let token = self.token.lock().map_or(None, |mut token| token.take());
        if let Some(token) = token {
            self.guard.get().engine().release(token);
        }
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, _raised: &Bound<'_, PyTuple>) {
        self.release();
    }

    fn __aenter__(slf: Py<Self>) -> Ready {
        Ready { value: Some(slf.into_any()) }
    }

    /// Releases the permit at once and not when the result is awaited: a cancelled task may never await it.
    #[pyo3(signature = (*_raised))]
    fn __aexit__(&self, _raised: &Bound<'_, PyTuple>) -> Ready {
        self.release();
        Ready { value: None }
    }

    /// Shows the guard to the garbage collector: its clock can refer back to the permit. A permit that is collected is
    /// released, as one whose last reference is dropped.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.guard)?;
        visit.call(&self.decision)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let holds = self.token.lock().is_ok_and(|token| token.is_some());
        let state = if holds { "held" } else { "released" };
        if self.__bool__() {
            return Ok(format!("Permit({state})"));
        }
        Ok(format!("Permit({})", self.decision.bind(py).repr()?))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}

/// An awaitable that already has its value.
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) value: Option<Py<PyAny>>,
}

#[pymethods]
impl Ready {
    fn __await__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<()> {
        Err(PyStopIteration::new_err(self.value.as_ref().map(|value| value.clone_ref(py))))
    }
}
