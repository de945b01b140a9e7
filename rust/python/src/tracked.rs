//! Objects of classes that have a free list and a `__traverse__`.
//!
//! PyO3 does not track an object that it takes from the free list (<https://github.com/PyO3/pyo3/pull/6442>). The
//! garbage collector takes such an object for something outside of every cycle, so it collects no cycle with it.

use pyo3::prelude::*;
use pyo3::pyclass::PyClass;
use pyo3::{PyClassInitializer, ffi};

/// Makes a Python object that the garbage collector knows. The class has a `__traverse__`.
#[inline]
pub(crate) fn tracked<T: PyClass>(py: Python<'_>, value: impl Into<PyClassInitializer<T>>) -> PyResult<Py<T>> {
    let made = Py::new(py, value)?;
    // SAFETY: The thread is attached. The object is complete, belongs to the collector, and is not tracked yet.
    unsafe {
        if ffi::PyObject_GC_IsTracked(made.as_ptr()) == 0 {
            ffi::PyObject_GC_Track(made.as_ptr().cast());
        }
    }
    Ok(made)
}
