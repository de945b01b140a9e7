//! `Throttle`: a policy over its memory. This file converts the arguments of Python calls to those of the core, and
//! the answers of the core to Python.
//!
//! It knows no limit and no identity. Invariant: no thread holds the engine's read guard while Python code runs
//! ([`Throttle::engine`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLockReadGuard};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use throttle_core::engine::{Change, Engine, Live, Notice, Purpose, ReadNotices, TableUse};
use throttle_core::export::{Budget, Exporter};
use throttle_core::policy::{Choice, Mode};
use throttle_core::region::Now;
use throttle_core::store::access_list::AccessAction;

use crate::blocked::{self, Blocked};
use crate::clock::Clock;
use crate::decision::Decision;
use crate::error::{not_of_type, not_reloaded, policy_error, wrong_value};
use crate::metrics::{self, Sampler};
use crate::offender::Offender;
use crate::pause::let_others_run;
use crate::permit::Permit;
use crate::policy::Policy;
use crate::report::report;
use crate::session::Session;
use crate::stage::stages;
use crate::{argument, diagnosis, explain, learned, max_open, memory, policy, process, seed, suffixes, watch};

#[doc = doc!("Throttle")]
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct Throttle {
    /// The engine, and the policy changes. Callers reach the engine through [`Throttle::engine`].
    live: Live,
    /// The process to which the permits in flight belong, as `process::generation` numbers it.
    generation: AtomicU64,
    /// The policy of the engine, as the caller passed it.
    policy: Mutex<Py<Policy>>,
    /// The path of the suffix list, which a reload reads again.
    suffix_list: Option<Py<PyAny>>,
    pub(crate) clock: Clock,
    /// Chooses the checks whose duration is measured.
    pub(crate) sampler: Sampler,
    /// What `render` keeps from one call to the next.
    exporter: Mutex<Exporter>,
}

#[pymethods]
impl Throttle {
    #[new]
    #[pyo3(signature = (
        policy=None, *, memory=None, max_open=None, clock=None, seed=None, suffix_list=None, learned=None, sample=false
    ))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>, policy: Option<&Bound<'_, PyAny>>, memory: Option<&Bound<'_, PyAny>>,
        max_open: Option<&Bound<'_, PyAny>>, clock: Option<&Bound<'_, PyAny>>, seed: Option<&Bound<'_, PyAny>>,
        suffix_list: Option<&Bound<'_, PyAny>>, learned: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = argument::sample)] sample: bool,
    ) -> PyResult<Self> {
        let policy = match policy {
            Some(policy) => Policy::from_argument(py, policy)?,
            None => Py::new(py, Policy::builtin(py, policy::DEFAULT)?)?,
        };
        let bytes = memory.map_or(Ok(memory::GUARD_BYTES), memory::bytes)?;
        let max_open = max_open.map_or(Ok(Engine::MAX_OPEN), max_open::number)?;
        let secret = seed::secret(py, seed)?;
        let clock = Clock::new(clock)?;
        argument::optional_path("suffix_list", suffix_list)?;
        argument::optional_path("learned", learned)?;
        let core = &policy.get().core;
        let suffixes = suffixes::compiled(py, suffix_list, &core.extra_suffixes)?;
        // A clock is not read without need: it may be the operator's, and raise.
        let now = if core.entries.is_empty() { Now::Stated(0) } else { clock.read(py, None)? };
        let engine = py.detach(|| Engine::starting_at(core, bytes, suffixes, secret, max_open, now));
        let engine = engine.map_err(|error| policy_error(py, error))?;
        let engine = if sample { py.detach(|| engine.sampling()) } else { engine };
        if let Some(path) = learned {
            learned::load(py, &engine, path, clock.read(py, None)?)?;
        }
        Ok(Self {
            live: Live::new(engine),
            generation: AtomicU64::new(0),
            policy: Mutex::new(policy.clone_ref(py)),
            suffix_list: suffix_list.map(|path| path.clone().unbind()),
            clock,
            sampler: Sampler::default(),
            exporter: Mutex::new(Exporter::new(Budget::default())),
        })
    }

    #[doc = doc!("Throttle.check")]
    #[pyo3(signature = (envelope, *, stage=None, now=None))]
    fn check(
        slf: &Bound<'_, Self>, envelope: &Bound<'_, PyAny>, stage: Option<&Bound<'_, PyAny>>,
        now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Decision>> {
        Self::decide(slf, envelope, stage, now, Purpose::Check)
    }

    #[doc = doc!("Throttle.peek")]
    #[pyo3(signature = (envelope, *, stage=None, now=None))]
    fn peek(
        slf: &Bound<'_, Self>, envelope: &Bound<'_, PyAny>, stage: Option<&Bound<'_, PyAny>>,
        now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Decision>> {
        Self::decide(slf, envelope, stage, now, Purpose::Peek)
    }

    #[doc = doc!("Throttle.distinct")]
    #[pyo3(signature = (identity, window="minute", *, now=None))]
    fn distinct(
        &self, py: Python<'_>, #[pyo3(from_py_with = argument::identity)] identity: &str,
        #[pyo3(from_py_with = argument::window)] window: &str, now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<f64> {
        watch::distinct(self, py, identity, window, now)
    }

    #[doc = doc!("Throttle.top")]
    #[pyo3(signature = (identity, n=None, *, now=None), text_signature = "($self, identity, n=10, *, now=None)")]
    fn top(
        &self, py: Python<'_>, #[pyo3(from_py_with = argument::identity)] identity: &str, n: Option<&Bound<'_, PyAny>>,
        now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Offender>> {
        watch::top(self, py, identity, n, now)
    }

    #[doc = doc!("Throttle.admit")]
    #[pyo3(signature = (envelope, *, stage=None, now=None))]
    fn admit(
        slf: &Bound<'_, Self>, envelope: &Bound<'_, PyAny>, stage: Option<&Bound<'_, PyAny>>,
        now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Permit> {
        let (py, this) = (slf.py(), slf.get());
        let (envelope, stages) = (argument::envelope(envelope)?, stages(stage)?);
        let now = this.clock.read(py, now)?;
        let (core, charge, token) =
            this.measured(|| envelope.get().with(py, |core| this.engine().decide(core, stages, now, Purpose::Admit)));
        // From here on, every error path must release the token.
        let guard = slf.clone().unbind();
        match Decision::of_envelope(py, core, guard.clone_ref(py), envelope.clone().unbind(), charge) {
            Ok(decision) => Ok(Permit::new(guard, decision, token)),
            Err(error) => {
                token.map(|token| this.engine().release(token));
                Err(error)
            }
        }
    }

    #[doc = doc!("Throttle.report")]
    #[pyo3(signature = (envelope, outcome, *, now=None))]
    fn report(
        &self, py: Python<'_>, envelope: &Bound<'_, PyAny>, outcome: &Bound<'_, PyAny>, now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (envelope, report) = (argument::envelope(envelope)?, report(outcome)?);
        let now = self.clock.read(py, now)?;
        envelope.get().with(py, |core| self.engine().report(core, report, now));
        Ok(())
    }

    #[doc = doc!("Throttle.session")]
    #[pyo3(signature = (*, client_ip=None, client_name=None, hold=true))]
    fn session(
        slf: &Bound<'_, Self>, client_ip: Option<&Bound<'_, PyAny>>, client_name: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = argument::hold)] hold: bool,
    ) -> PyResult<Session> {
        Session::new(slf.clone().unbind(), client_ip, client_name, hold)
    }

    #[doc = doc!("Throttle.notices")]
    #[pyo3(signature = (after=0, *, now=None))]
    fn notices<'py>(
        &self, py: Python<'py>, #[pyo3(from_py_with = argument::after)] after: u64, now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let now = self.clock.read(py, now)?;
        let ReadNotices { entries, refusing, overwritten, last, untracked } = self.engine().notices(after, now);
        let types = py.import("throttle.types")?;
        let class = types.getattr("Notice")?;
        let entry = |notice: Notice| {
            let kind = match notice.change {
                Change::Began => "began",
                Change::Stopped => "stopped",
                Change::Displaced => "displaced",
            };
            let mode = if notice.is_shadow { Mode::Shadow } else { Mode::Enforce };
            let [since, until] = [notice.since_us, notice.until_us].map(|us| us as f64 / 1e6);
            let Notice { serial, limit, identity, key, refused, .. } = notice;
            class.call1((serial, kind, since, until, &*limit, &*identity, key, refused, mode.name()))
        };
        let of = |notices: Vec<Notice>| PyTuple::new(py, notices.into_iter().map(entry).collect::<PyResult<Vec<_>>>()?);
        types.getattr("Notices")?.call1((of(entries)?, of(refusing)?, overwritten, untracked, last))
    }

    #[doc = doc!("Throttle.metrics")]
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let metrics = self.engine().metrics();
        metrics::snapshot(py, &metrics)
    }

    #[doc = doc!("Throttle.render")]
    #[pyo3(signature = (openmetrics=false, *, now=None))]
    fn render<'py>(
        &self, py: Python<'py>, #[pyo3(from_py_with = argument::openmetrics)] openmetrics: bool,
        now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let now = self.clock.read(py, now)?;
        let text = py.detach(|| {
            let mut exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner);
            metrics::rendered(&self.engine(), &mut exporter, now, openmetrics)
        });
        Ok(PyBytes::new(py, text.as_bytes()))
    }

    #[doc = doc!("Throttle.collector")]
    #[pyo3(signature = (**numbers))]
    fn collector<'py>(slf: &Bound<'py, Self>, numbers: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("throttle.metrics.collector")?.getattr("Collector")?.call((slf,), numbers)
    }

    #[doc = doc!("Throttle.block")]
    #[pyo3(signature = (identity, value, *, seconds=None))]
    fn block(
        &self, py: Python<'_>, #[pyo3(from_py_with = argument::identity)] identity: &str, value: &Bound<'_, PyAny>,
        seconds: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        blocked::say(self, py, identity, value, AccessAction::Block, seconds)
    }

    #[doc = doc!("Throttle.allow")]
    #[pyo3(signature = (identity, value, *, seconds=None, unverified=false))]
    fn allow(
        &self, py: Python<'_>, #[pyo3(from_py_with = argument::identity)] identity: &str, value: &Bound<'_, PyAny>,
        seconds: Option<&Bound<'_, PyAny>>, #[pyo3(from_py_with = argument::unverified)] unverified: bool,
    ) -> PyResult<()> {
        let word = if unverified { AccessAction::AllowUnverified } else { AccessAction::Allow };
        blocked::say(self, py, identity, value, word, seconds)
    }

    #[doc = doc!("Throttle.unblock")]
    fn unblock(
        &self, py: Python<'_>, #[pyo3(from_py_with = argument::identity)] identity: &str, value: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        blocked::unblock(self, py, identity, value)
    }

    #[doc = doc!("Throttle.blocked")]
    fn blocked(&self, py: Python<'_>) -> PyResult<Vec<Blocked>> {
        blocked::listed(self, py, false)
    }

    #[doc = doc!("Throttle.allowed")]
    fn allowed(&self, py: Python<'_>) -> PyResult<Vec<Blocked>> {
        blocked::listed(self, py, true)
    }

    #[doc = doc!("Throttle.reset")]
    fn reset(
        &self, py: Python<'_>, #[pyo3(from_py_with = argument::identity)] identity: &str, value: &Bound<'_, PyAny>,
    ) -> PyResult<usize> {
        blocked::reset(self, py, identity, value)
    }

    #[doc = doc!("Throttle.identities")]
    pub(crate) fn identities<'py>(
        &self, py: Python<'py>, envelope: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let envelope = argument::envelope(envelope)?;
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

    #[doc = doc!("Throttle.explain")]
    #[pyo3(signature = (envelope, *, stage=None, now=None))]
    fn explain<'py>(
        &self, py: Python<'py>, envelope: &Bound<'py, PyAny>, stage: Option<&Bound<'py, PyAny>>,
        now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (envelope, stages) = (argument::envelope(envelope)?, stages(stage)?);
        let now = self.clock.read(py, now)?;
        // In a forked child, this call clears what the parent holds in flight, so that it is not explained.
        drop(self.engine());
        // The interpreter is taken back for the locks: a thread that holds the interpreter may fork, and the child
        // would have the lock of a thread that it does not have.
        let hold = |section: &mut dyn FnMut()| Python::attach(|_| section());
        let found = envelope.get().with(py, |core| py.detach(|| self.live.explain(core, stages, now, &hold)));
        explain::explanation(py, found, envelope.get().client_ip.as_ref())
    }

    #[doc = doc!("Throttle.diagnose")]
    #[pyo3(signature = (*, now=None))]
    fn diagnose<'py>(&self, py: Python<'py>, now: Option<&Bound<'_, PyAny>>) -> PyResult<Bound<'py, PyDict>> {
        diagnosis::diagnose(self, py, self.clock.read(py, now)?)
    }

    #[doc = doc!("Throttle.sample_bytes")]
    #[getter]
    fn sample_bytes(&self) -> u64 {
        self.engine().sample_bytes()
    }

    #[doc = doc!("Throttle.memory_bytes")]
    #[getter]
    fn memory_bytes(&self) -> u64 {
        self.engine().memory_bytes()
    }

    #[doc = doc!("Throttle.quota_bytes")]
    #[getter]
    fn quota_bytes(&self) -> u64 {
        self.engine().quota_bytes()
    }

    #[doc = doc!("Throttle.policy")]
    #[getter]
    fn policy(&self, py: Python<'_>) -> Py<Policy> {
        self.policy.lock().unwrap_or_else(PoisonError::into_inner).clone_ref(py)
    }

    #[doc = doc!("Throttle.reload")]
    fn reload(&self, py: Python<'_>, policy: &Bound<'_, PyAny>) -> PyResult<()> {
        let policy = Policy::from_argument(py, policy)?;
        let core = &policy.get().core;
        let suffix_list = self.suffix_list.as_ref().map(|path| path.bind(py));
        let suffixes = suffixes::compiled(py, suffix_list, &core.extra_suffixes)?;
        self.live.reload(core, suffixes, &|| let_others_run(py)).map_err(|error| not_reloaded(py, error))?;
        let mut current = self.policy.lock().unwrap_or_else(PoisonError::into_inner);
        *current = policy.clone_ref(py);
        Ok(())
    }

    #[doc = doc!("Throttle.mode")]
    #[getter]
    fn mode(&self) -> &'static str {
        self.engine().mode().name()
    }

    #[setter]
    fn set_mode(&self, mode: &Bound<'_, PyAny>) -> PyResult<()> {
        let allowed = "\"enforce\" or \"shadow\"";
        let mode = mode.cast::<PyString>().map_err(|_| not_of_type("mode", mode, allowed))?.to_str()?;
        let wrong = || wrong_value("mode", &format!("{mode:?}"), allowed);
        let mode = Mode::from_name(mode).ok_or_else(wrong)?;
        self.engine().set_mode(mode);
        Ok(())
    }

    #[doc = doc!("Throttle.tables")]
    fn tables<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        // In a forked child, this call clears what the parent holds in flight, so that the tables do not count it.
        drop(self.engine());
        let tables = self.live.tables(&|| let_others_run(py));
        let row = |TableUse { name, bytes, slots, used, untracked }| (name, bytes, slots, used, untracked);
        let class = py.import("throttle.types")?.getattr("Table")?;
        tables.into_iter().map(|table| class.call1(row(table))).collect()
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err(
            "a Throttle does not pickle: its counters live in this process; make one from its policy",
        ))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.clock.traverse(&visit)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let policy = self.policy(py);
        let core = &policy.get().core;
        format!(
            "Throttle({:?}, limits={}, memory_bytes={})",
            core.file,
            core.limits.len(),
            self.engine().memory_bytes()
        )
    }
}

impl Throttle {
    /// Returns the engine under a read guard. In a forked child, it first clears what the parent holds in flight. The
    /// caller must drop the read guard before any Python code runs: a thread that changes the policy waits for the
    /// read guard, and may hold the interpreter.
    #[inline]
    pub(crate) fn engine(&self) -> RwLockReadGuard<'_, Arc<Engine>> {
        let engine = self.live.engine();
        let generation = process::generation();
        if self.generation.load(Ordering::Relaxed) != generation {
            engine.begin(generation);
            self.generation.store(generation, Ordering::Relaxed);
        }
        engine
    }

    /// Runs a check. Of one check in so many, the duration is counted.
    #[inline]
    pub(crate) fn measured<T>(&self, check: impl FnOnce() -> T) -> T {
        self.sampler.measure(check, |note| note(&self.engine()))
    }

    fn decide(
        slf: &Bound<'_, Self>, envelope: &Bound<'_, PyAny>, stage: Option<&Bound<'_, PyAny>>,
        now: Option<&Bound<'_, PyAny>>, aim: Purpose,
    ) -> PyResult<Py<Decision>> {
        let (py, this) = (slf.py(), slf.get());
        let (envelope, stages) = (argument::envelope(envelope)?, stages(stage)?);
        let now = this.clock.read(py, now)?;
        let decide = || envelope.get().with(py, |core| this.engine().decide(core, stages, now, aim));
        let (core, charge, _) = if aim == Purpose::Peek { decide() } else { this.measured(decide) };
        Decision::of_envelope(py, core, slf.clone().unbind(), envelope.clone().unbind(), charge)
    }
}
