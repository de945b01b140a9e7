//! `Policy`: limits, in order. This wrapper is thin: the core parses, validates and prints the policy.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use throttle_core::engine::{Engine, Forecast};
use throttle_core::error::PolicyError as CoreError;
use throttle_core::export::Bound as SeriesBound;
use throttle_core::policy::{Choice, FieldValue, Policy as Core};
use throttle_core::store::access_list::AccessAction;

use crate::clock::seconds;
use crate::error::{not_of_type, policy_error, wrong_value};
use crate::limit::Limit;
use crate::metrics::budget;
use crate::{argument, base, field, max_open, memory, seed, suffixes};

/// The JSON Schema (draft 7) of a policy file. `tests/contract/test_schema.py` compares it with what the core accepts.
const SCHEMA: &str = include_str!("../../../python/throttle/policies/policy.schema.json");

/// The name of the default policy.
pub(crate) const DEFAULT: &str = "inbound";

/// Converts one row of a forecast to a dictionary. `LimitPlan` in `types.py` describes its fields.
fn forecast_row(py: Python<'_>, row: Forecast) -> PyResult<Bound<'_, PyDict>> {
    let fields = PyDict::new(py);
    fields.set_item("limit", row.limit)?;
    fields.set_item("quota", row.quota)?;
    fields.set_item("per", row.per)?;
    fields.set_item("counted", row.counted)?;
    fields.set_item("rate", row.rate.map(|rate| rate.to_string()))?;
    fields.set_item("at_once", row.at_once)?;
    fields.set_item("bytes", row.bytes)?;
    fields.set_item("memory_bytes", row.memory_bytes)?;
    fields.set_item("keys_per_minute", row.keys_per_minute)?;
    fields.set_item("memory_full_hours", row.memory_full_us.map(|full_us| full_us as f64 / 3.6e9))?;
    fields.set_item("most_in_minute", row.most_in_minute)?;
    fields.set_item("most_in_hour", row.most_in_hour)?;
    Ok(fields)
}

#[doc = doc!("Policy")]
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct Policy {
    pub(crate) core: Core,
}

impl Policy {
    /// Returns the policy as TOML, without the file name and with the scale in the numbers, for comparisons.
    fn rules(&self) -> String {
        Core { scale_millionths: 1_000_000, ..self.core.clone() }.to_toml()
    }

    /// Reads a policy, the name of a built-in policy, or the path of a file. As in `extends`, a `str` that is the name
    /// of a built-in policy is never a path.
    pub(crate) fn from_argument(py: Python<'_>, given: &Bound<'_, PyAny>) -> PyResult<Py<Self>> {
        if let Ok(policy) = given.cast::<Self>() {
            return Ok(policy.clone().unbind());
        }
        if let Ok(name) = given.cast::<PyString>() {
            let names = base::builtin_names(py)?;
            let name = name.to_string_lossy();
            if names.iter().any(|known| *known == name) {
                return Py::new(py, Self::builtin(py, &name)?);
            }
            // An error for a missing file would not state that names are allowed.
            if !name.contains(['/', '.']) && !PathBuf::from(&*name).exists() {
                let allowed = format!("a built-in policy ({}), the path of a file, or a Policy", names.join(", "));
                return Err(wrong_value("policy", &format!("{name:?}"), &allowed));
            }
        }
        let path: PathBuf = given
            .extract()
            .map_err(|_| not_of_type("policy", given, "a path, the name of a built-in policy, or a Policy"))?;
        Py::new(py, Self::from_file(py, path)?)
    }
}

#[pymethods]
impl Policy {
    #[new]
    #[pyo3(signature = (limits, *, scale=None, mode=None, suffixes=None, max_recipients=None, largest_message=None,
        help_url=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>, limits: &Bound<'_, PyAny>, scale: Option<&Bound<'_, PyAny>>, mode: Option<&Bound<'_, PyAny>>,
        suffixes: Option<&Bound<'_, PyAny>>, max_recipients: Option<&Bound<'_, PyAny>>,
        largest_message: Option<&Bound<'_, PyAny>>, help_url: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut rules = Vec::new();
        let wrong = |given: &Bound<'_, PyAny>| not_of_type("limits", given, "an iterable of Limit");
        for limit in limits.try_iter().map_err(|_| wrong(limits))? {
            let limit = limit?;
            rules.push(limit.cast::<Limit>().map_err(|_| wrong(&limit))?.get().core.clone());
        }
        let mut fields: Vec<(String, FieldValue)> = Vec::new();
        let others = [("max_recipients", max_recipients), ("largest_message", largest_message), ("help_url", help_url)];
        for (name, given) in [("scale", scale), ("mode", mode)].into_iter().chain(others) {
            if let Some(given) = given {
                fields.push((name.into(), field::value(given)?));
            }
        }
        if let Some(suffixes) = suffixes {
            let wrong = |given| not_of_type("suffixes", given, "an iterable of str, or None");
            let listed = if suffixes.is_instance_of::<PyString>() {
                suffixes.clone()
            } else {
                PyList::new(py, suffixes.try_iter().map_err(|_| wrong(suffixes))?.collect::<PyResult<Vec<_>>>()?)?
                    .into_any()
            };
            fields.push(("suffixes".into(), field::value(&listed)?));
        }
        Core::from_fields(rules, &fields).map(|core| Self { core }).map_err(|error| policy_error(py, error))
    }

    #[doc = doc!("Policy.parse")]
    #[staticmethod]
    #[pyo3(signature = (text, file="<policy>"))]
    fn parse(
        py: Python<'_>, #[pyo3(from_py_with = argument::text)] text: &str,
        #[pyo3(from_py_with = argument::file)] file: &str,
    ) -> PyResult<Self> {
        let core = Core::parse_with(file, text, &mut |wanted| base::source(py, wanted));
        core.map(|core| Self { core }).map_err(|error| policy_error(py, error))
    }

    #[doc = doc!("Policy.from_file")]
    #[staticmethod]
    fn from_file(py: Python<'_>, #[pyo3(from_py_with = argument::path)] path: PathBuf) -> PyResult<Self> {
        let file = path.display().to_string();
        match std::str::from_utf8(&base::octets(py, path)?) {
            Ok(text) => Self::parse(py, text, &file),
            Err(error) => {
                let found = format!("a byte that is not UTF-8, at {}", error.valid_up_to());
                let allowed = "TOML, which is UTF-8".to_owned();
                Err(policy_error(py, CoreError { file, found, allowed, ..CoreError::default() }))
            }
        }
    }

    #[doc = doc!("Policy.builtin")]
    #[staticmethod]
    #[pyo3(signature = (name="inbound"))]
    pub(crate) fn builtin(py: Python<'_>, #[pyo3(from_py_with = argument::name)] name: &str) -> PyResult<Self> {
        Self::parse(py, &base::builtin_text(py, name)?, &format!("{name}.toml"))
    }

    #[doc = doc!("Policy.plan")]
    #[pyo3(signature = (*, memory=None, max_open=None))]
    fn plan<'py>(
        &self, py: Python<'py>, memory: Option<&Bound<'_, PyAny>>, max_open: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let bytes = memory.map_or(Ok(memory::GUARD_BYTES), memory::bytes)?;
        let max_open = max_open.map_or(Ok(Engine::MAX_OPEN), max_open::number)?;
        let suffixes = suffixes::compiled(py, None, &self.core.extra_suffixes)?;
        let secret = seed::secret(py, None)?;
        // This builds the tables of a guard and drops them. So a policy that fits here also fits in a guard.
        let engine = py.detach(|| Engine::with_max_open(&self.core, bytes, suffixes, secret, max_open));
        let engine = engine.map_err(|error| policy_error(py, error))?;
        engine.forecast().into_iter().map(|row| forecast_row(py, row)).collect()
    }

    #[doc = doc!("Policy.series_bound")]
    #[pyo3(signature = (*, slots=16, identities=8, names_per_hour=30))]
    fn series_bound(
        &self, #[pyo3(from_py_with = argument::slots)] slots: u32,
        #[pyo3(from_py_with = argument::identities)] identities: u32,
        #[pyo3(from_py_with = argument::names_per_hour)] names_per_hour: u32,
    ) -> PyResult<(u64, u64)> {
        let bound = SeriesBound::of_policy(&self.core, budget(slots, identities, names_per_hour)?);
        Ok((bound.now, bound.a_day))
    }

    #[doc = doc!("Policy.schema")]
    #[staticmethod]
    fn schema() -> String {
        SCHEMA.to_owned()
    }

    #[doc = doc!("Policy.limits")]
    #[getter]
    fn limits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let limits: PyResult<Vec<_>> =
            self.core.limits.iter().map(|core| Py::new(py, Limit { core: core.clone() })).collect();
        PyList::new(py, limits?)
    }

    #[doc = doc!("Policy.scale")]
    #[getter]
    fn scale(&self) -> f64 {
        self.core.scale_millionths as f64 / 1e6
    }

    #[doc = doc!("Policy.mode")]
    #[getter]
    fn mode(&self) -> &'static str {
        self.core.mode.name()
    }

    #[doc = doc!("Policy.suffixes")]
    #[getter]
    fn suffixes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.core.extra_suffixes)
    }

    #[doc = doc!("Policy.max_recipients")]
    #[getter]
    fn max_recipients(&self) -> Option<u32> {
        self.core.max_recipients
    }

    #[doc = doc!("Policy.largest_message")]
    #[getter]
    fn largest_message(&self) -> Option<u64> {
        self.core.largest_message
    }

    #[doc = doc!("Policy.help_url")]
    #[getter]
    fn help_url(&self) -> Option<&str> {
        self.core.help_url.as_deref()
    }

    #[doc = doc!("Policy.quota_file")]
    #[getter]
    fn quota_file(&self) -> Option<(&str, usize)> {
        self.core.quota_file.as_ref().map(|(file, values)| (file.as_str(), *values))
    }

    #[doc = doc!("Policy.entries")]
    #[getter]
    fn entries<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let class = py.import("throttle.types")?.getattr("PolicyEntry")?;
        let entries = self.core.entries.iter().map(|entry| {
            let until = entry.until.as_ref().map_or(f64::INFINITY, |until| seconds(until.us));
            let action = if entry.action == AccessAction::Block { "block" } else { "allow" };
            let is_unverified = entry.action == AccessAction::AllowUnverified;
            let identity = entry.identity.to_string();
            class.call1((action, identity, entry.value.as_str(), until, is_unverified, entry.comment.as_deref()))
        });
        PyTuple::new(py, entries.collect::<PyResult<Vec<_>>>()?)
    }

    #[doc = doc!("Policy.file")]
    #[getter]
    fn file(&self) -> &str {
        &self.core.file
    }

    #[doc = doc!("Policy.to_toml")]
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

    /// Restores a pickled policy. The numbers in its text already contain the scale.
    #[staticmethod]
    fn _restored(py: Python<'_>, text: &str, file: &str, scale_millionths: u64) -> PyResult<Self> {
        let parsed = Self::parse(py, text, file)?;
        Ok(Self { core: Core { scale_millionths, ..parsed.core } })
    }
}
