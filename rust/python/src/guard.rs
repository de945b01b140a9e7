//! `Throttle`: a policy over its memory.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use throttle_core::decision::Decision as Core;
use throttle_core::engine::{Engine, TableUse};

use crate::clock::Clock;
use crate::decision::Decision;
use crate::envelope::Envelope;
use crate::error::policy_error;
use crate::offender::Offender;
use crate::pause::let_others_run;
use crate::permit::Permit;
use crate::policy::Policy;
use crate::stage::stages;
use crate::{learned, max_open, memory, process, seed, suffixes, values, watch};

/// See `_core.pyi`.
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct Throttle {
    /// Asked through [`Throttle::engine`].
    own_engine: Engine,
    /// The process in which nothing was held when it began; see `process`.
    generation: AtomicU64,
    policy: Py<Policy>,
    pub(crate) clock: Clock,
}

#[pymethods]
impl Throttle {
    #[new]
    #[pyo3(signature = (policy=None, *, memory=None, max_open=None, clock=None, seed=None, suffix_list=None, learned=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>,
        policy: Option<&Bound<'_, PyAny>>,
        memory: Option<&Bound<'_, PyAny>>,
        max_open: Option<&Bound<'_, PyAny>>,
        clock: Option<&Bound<'_, PyAny>>,
        seed: Option<&Bound<'_, PyAny>>,
        suffix_list: Option<&Bound<'_, PyAny>>,
        learned: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let policy = Policy::from_argument(py, policy)?;
        let bytes = memory.map_or(Ok(memory::GUARD_BYTES), memory::bytes)?;
        let max_open = max_open.map_or(Ok(Engine::MAX_OPEN), max_open::number)?;
        let secret = seed::secret(py, seed)?;
        let clock = Clock::new(clock)?;
        let core = &policy.get().core;
        let suffixes = suffixes::compiled(py, suffix_list, &core.extra_suffixes)?;
        let engine = py.detach(|| Engine::with_max_open(core, bytes, suffixes, secret, max_open));
        let engine = engine.map_err(|error| policy_error(py, error))?;
        if let Some(path) = learned {
            learned::load(py, &engine, path, clock.read(py, None)?)?;
        }
        Ok(Self { own_engine: engine, generation: AtomicU64::new(0), policy, clock })
    }

    #[pyo3(signature = (envelope, *, stage=None, now=None))]
    fn check(
        slf: &Bound<'_, Self>,
        envelope: &Bound<'_, Envelope>,
        stage: Option<&Bound<'_, PyAny>>,
        now: Option<f64>,
    ) -> PyResult<Decision> {
        Self::decide(slf, envelope, stage, now, true)
    }

    #[pyo3(signature = (envelope, *, stage=None, now=None))]
    fn peek(
        slf: &Bound<'_, Self>,
        envelope: &Bound<'_, Envelope>,
        stage: Option<&Bound<'_, PyAny>>,
        now: Option<f64>,
    ) -> PyResult<Decision> {
        Self::decide(slf, envelope, stage, now, false)
    }

    #[pyo3(signature = (identity, window="minute", *, now=None))]
    fn distinct(&self, py: Python<'_>, identity: &str, window: &str, now: Option<f64>) -> PyResult<f64> {
        watch::distinct(self, py, identity, window, now)
    }

    #[pyo3(signature = (identity, n=None, *, now=None), text_signature = "($self, identity, n=10, *, now=None)")]
    fn top(
        &self,
        py: Python<'_>,
        identity: &str,
        n: Option<&Bound<'_, PyAny>>,
        now: Option<f64>,
    ) -> PyResult<Vec<Offender>> {
        watch::top(self, py, identity, n, now)
    }

    #[pyo3(signature = (envelope, *, stage=None, now=None))]
    fn admit(
        slf: &Bound<'_, Self>,
        envelope: &Bound<'_, Envelope>,
        stage: Option<&Bound<'_, PyAny>>,
        now: Option<f64>,
    ) -> PyResult<Permit> {
        let (py, this) = (slf.py(), slf.get());
        let stages = stages(stage)?;
        let now = this.clock.read(py, now)?;
        let (core, token) = envelope.get().with(py, |core| this.engine().admit(core, stages, now));
        // Whatever goes wrong from here on, who holds the token lets go of it.
        let guard = slf.clone().unbind();
        let decision = Decision::of_envelope(core, guard.clone_ref(py), envelope.clone().unbind());
        match Py::new(py, decision) {
            Ok(decision) => Ok(Permit::new(guard, decision, token)),
            Err(error) => {
                token.map(|token| this.engine().release(token));
                Err(error)
            }
        }
    }

    /// Names of what [`Throttle::values`] tells.
    #[getter(_observed)]
    fn observed(&self) -> Vec<String> {
        values::names(self)
    }

    #[pyo3(name = "_values")]
    fn values<'py>(&self, py: Python<'py>, envelope: &Bound<'py, Envelope>) -> PyResult<Bound<'py, PyTuple>> {
        values::of(py, self, envelope.get())
    }

    pub(crate) fn identities<'py>(
        &self,
        py: Python<'py>,
        envelope: &Bound<'py, Envelope>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let named = envelope.get().with(py, |core| self.engine().identities(core));
        let all = PyDict::new(py);
        for (identity, values) in named {
            let name = identity.to_string();
            if identity.has_many() {
                all.set_item(name, PyTuple::new(py, values)?)?;
            } else {
                all.set_item(name, values.into_iter().next())?;
            }
        }
        Ok(all)
    }

    #[getter]
    fn memory_bytes(&self) -> u64 {
        self.engine().memory_bytes()
    }

    #[getter]
    fn policy(&self, py: Python<'_>) -> Py<Policy> {
        self.policy.clone_ref(py)
    }

    /// How full each table is: a list of dictionaries.
    fn tables<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let tables = self.engine().tables(&|| let_others_run(py));
        let row = |table: TableUse| {
            let row = PyDict::new(py);
            row.set_item("table", table.name)?;
            row.set_item("bytes", table.bytes)?;
            row.set_item("slots", table.slots)?;
            row.set_item("used", table.used)?;
            row.set_item("untracked", table.untracked)?;
            Ok(row)
        };
        tables.into_iter().map(row).collect()
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a Throttle does not pickle: its counters live in this process; make one from its policy",
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.clock.traverse(&visit)
    }

    fn __repr__(&self) -> String {
        let core = &self.policy.get().core;
        format!(
            "Throttle({:?}, limits={}, memory_bytes={})",
            core.file,
            core.limits.len(),
            self.engine().memory_bytes()
        )
    }
}

impl Throttle {
    /// The engine, in which nothing is held that another process holds.
    #[inline]
    pub(crate) fn engine(&self) -> &Engine {
        let generation = process::generation();
        if self.generation.load(Ordering::Relaxed) != generation {
            self.own_engine.begin(generation);
            self.generation.store(generation, Ordering::Relaxed);
        }
        &self.own_engine
    }

    fn decide(
        slf: &Bound<'_, Self>,
        envelope: &Bound<'_, Envelope>,
        stage: Option<&Bound<'_, PyAny>>,
        now: Option<f64>,
        charge: bool,
    ) -> PyResult<Decision> {
        let (py, this) = (slf.py(), slf.get());
        let stages = stages(stage)?;
        let now = this.clock.read(py, now)?;
        let core: Core = envelope.get().with(py, |core| match charge {
            true => this.engine().check(core, stages, now),
            false => this.engine().peek(core, stages, now),
        });
        Ok(Decision::of_envelope(core, slf.clone().unbind(), envelope.clone().unbind()))
    }
}
