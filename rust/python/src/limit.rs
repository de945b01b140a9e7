//! `Limit`: one rule of a policy. This wrapper is thin: the core validates and prints the limit.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use throttle_core::policy::Limit as Core;

use crate::error::policy_error;
use crate::field;

#[doc = doc!("Limit")]
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct Limit {
    pub(crate) core: Core,
}

#[pymethods]
impl Limit {
    #[new]
    #[pyo3(
        signature = (**fields),
        text_signature = "(*, name, per, rate=None, burst=None, count=None, reports=None, distinct=None, \
                          refuse=None, new_to=None, remember=None, settle=None, charge=None, warm_up=None, \
                          readmit=None, in_flight=None, share=None, reserve=None, first=None, verified=None, \
                          when_full=None, memory=None, algorithm=None, action=None, mode=None, quota=None, reply=None)"
    )]
    fn new(py: Python<'_>, fields: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let fields = fields.map_or(Ok(Vec::new()), field::fields)?;
        Core::from_fields(&fields).map(|core| Self { core }).map_err(|error| policy_error(py, error))
    }

    #[doc = doc!("Limit.name")]
    #[getter]
    fn name(&self) -> &str {
        &self.core.name
    }

    #[doc = doc!("Limit.per")]
    #[getter]
    fn per(&self) -> String {
        self.core.per_name()
    }

    #[doc = doc!("Limit.stage")]
    #[getter]
    fn stage(&self) -> &'static str {
        self.core.stage().name()
    }

    #[doc = doc!("Limit.fields")]
    #[getter]
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        for (name, value) in self.core.to_fields() {
            fields.set_item(name, field::object(py, &value)?)?;
        }
        Ok(fields)
    }

    #[doc = doc!("Limit.to_toml")]
    fn to_toml(&self) -> String {
        self.core.to_string()
    }

    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| self.core.to_fields() == other.get().core.to_fields())
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        PyTuple::new(py, [self.to_toml()])?.hash()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let fields = self.fields(py)?;
        let shown: PyResult<Vec<_>> =
            fields.iter().map(|(name, value)| Ok(format!("{name}={}", value.repr()?))).collect();
        Ok(format!("Limit({})", shown?.join(", ")))
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        Ok((PyTuple::empty(py), self.fields(py)?))
    }
}
