//! `Policy`: limits, in order. Thin: the core parses, validates and prints it.

use std::path::PathBuf;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};
use throttle_core::error::PolicyError as CoreError;
use throttle_core::policy::{FieldValue, Policy as Core};

use crate::error::policy_error;
use crate::field;
use crate::limit::Limit;

/// The one that a guard takes when it is given none.
const DEFAULT: &str = "inbound";

/// See `_core.pyi`.
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) core: Core,
}

impl Policy {
    /// What it says, whatever the file and the scale that said it.
    fn rules(&self) -> String {
        Core { scale_millionths: 1_000_000, ..self.core.clone() }.to_toml()
    }

    /// `None`: the built-in one; a policy; else the path of a file.
    pub(crate) fn from_argument(py: Python<'_>, given: Option<&Bound<'_, PyAny>>) -> PyResult<Py<Self>> {
        let Some(given) = given else { return Py::new(py, Self::builtin(py, DEFAULT)?) };
        match given.cast::<Self>() {
            Ok(policy) => Ok(policy.clone().unbind()),
            Err(_) => {
                let found = given.get_type().name()?;
                let path: PathBuf = given.extract().map_err(|_| {
                    PyTypeError::new_err(format!("policy: found {found}; allowed: a path, a Policy or None"))
                })?;
                Py::new(py, Self::from_file(py, path)?)
            }
        }
    }
}

#[pymethods]
impl Policy {
    #[new]
    #[pyo3(signature = (limits, *, scale=None, suffixes=None))]
    fn new(
        py: Python<'_>,
        limits: &Bound<'_, PyAny>,
        scale: Option<&Bound<'_, PyAny>>,
        suffixes: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut rules = Vec::new();
        for limit in limits.try_iter()? {
            rules.push(limit?.cast::<Limit>()?.get().core.clone());
        }
        let mut fields: Vec<(String, FieldValue)> = Vec::new();
        if let Some(scale) = scale {
            fields.push(("scale".into(), field::value(scale)?));
        }
        if let Some(suffixes) = suffixes {
            let listed = if suffixes.is_instance_of::<PyString>() {
                suffixes.clone()
            } else {
                PyList::new(py, suffixes.try_iter()?.collect::<PyResult<Vec<_>>>()?)?.into_any()
            };
            fields.push(("suffixes".into(), field::value(&listed)?));
        }
        Core::from_fields(rules, &fields).map(|core| Self { core }).map_err(|error| policy_error(py, error))
    }

    #[staticmethod]
    #[pyo3(signature = (text, file="<policy>"))]
    fn parse(py: Python<'_>, text: &str, file: &str) -> PyResult<Self> {
        Core::parse(file, text).map(|core| Self { core }).map_err(|error| policy_error(py, error))
    }

    #[staticmethod]
    fn from_file(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        let file = path.display().to_string();
        // Read by Python, so that its error names the file.
        let octets = py.import("pathlib")?.call_method1("Path", (path,))?.call_method0("read_bytes")?;
        match std::str::from_utf8(octets.extract()?) {
            Ok(text) => Self::parse(py, text, &file),
            Err(error) => {
                let found = format!("a byte that is not UTF-8, at {}", error.valid_up_to());
                let allowed = "TOML, which is UTF-8".to_owned();
                Err(policy_error(py, CoreError { file, found, allowed, ..CoreError::default() }))
            }
        }
    }

    #[staticmethod]
    #[pyo3(signature = (name="inbound"))]
    fn builtin(py: Python<'_>, name: &str) -> PyResult<Self> {
        let text: String = py.import("throttle.policies")?.call_method1("read", (name,))?.extract()?;
        Self::parse(py, &text, &format!("{name}.toml"))
    }

    #[getter]
    fn limits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let limits: PyResult<Vec<_>> =
            self.core.limits.iter().map(|core| Py::new(py, Limit { core: core.clone() })).collect();
        PyList::new(py, limits?)
    }

    #[getter]
    fn scale(&self) -> f64 {
        self.core.scale_millionths as f64 / 1e6
    }

    #[getter]
    fn suffixes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.core.extra_suffixes)
    }

    #[getter]
    fn file(&self) -> &str {
        &self.core.file
    }

    fn to_toml(&self) -> String {
        self.core.to_toml()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.rules() == other.get().rules())
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        PyString::new(py, &self.rules()).hash()
    }

    fn __repr__(&self) -> String {
        let names: Vec<&str> = self.core.limits.iter().map(|limit| limit.name.as_str()).collect();
        format!("Policy({:?}: {})", self.core.file, names.join(", "))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (String, String, u64))> {
        let core = &slf.get().core;
        Ok((slf.get_type().getattr("_restored")?, (core.to_toml(), core.file.clone(), core.scale_millionths)))
    }

    /// From a pickle, whose text has the scale in its numbers already.
    #[staticmethod]
    fn _restored(py: Python<'_>, text: &str, file: &str, scale_millionths: u64) -> PyResult<Self> {
        let parsed = Self::parse(py, text, file)?;
        Ok(Self { core: Core { scale_millionths, ..parsed.core } })
    }
}
