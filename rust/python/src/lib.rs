//! The module `throttle._core`: a list of its classes.

use pyo3::prelude::*;

#[pymodule(gil_used = false)]
mod _core {}
