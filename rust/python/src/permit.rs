//! `Permit`: what one transaction holds, until it is released. Once, on whatever path: by `with`, by hand, or when
//! nobody knows it any more.

use std::sync::Mutex;

use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use throttle_core::store::permits::Token;

use crate::decision::Decision;
use crate::guard::Throttle;

// The token is taken out under a lock of its own, for an instant in which nothing is called: a fork, which holds the
// interpreter, never copies it held.
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

    fn let_go(&self) {
        let token = self.token.lock().map_or(None, |mut token| token.take());
        if let Some(token) = token {
            self.guard.get().engine().release(token);
        }
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
        self.let_go();
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, _raised: &Bound<'_, PyTuple>) {
        self.let_go();
    }

    fn __aenter__(slf: Py<Self>) -> Ready {
        Ready { value: Some(slf.into_any()) }
    }

    /// Released here and not when it is awaited: a task that is cancelled may never come to that.
    #[pyo3(signature = (*_raised))]
    fn __aexit__(&self, _raised: &Bound<'_, PyTuple>) -> Ready {
        self.let_go();
        Ready { value: None }
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
        self.let_go();
    }
}

/// An awaitable that has its value already.
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
