//! `RateLimiter`: one table of the core, for keys of any kind.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use throttle_core::engine::Limiter;
use throttle_core::policy::{Algorithm, Choice, Rate, write_bytes};
use throttle_core::region::Now;

use crate::clock::Clock;
use crate::error::{argument_error, wrong_value};
use crate::hit::{Charge, HitResult};
use crate::number::whole;
use crate::pause::let_others_run;
use crate::text::Text;
use crate::{argument, memory, seed};

#[doc = doc!("RateLimiter")]
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct RateLimiter {
    pub(crate) limiter: Limiter,
    pub(crate) clock: Clock,
    rate: String,
    algorithm: Algorithm,
    burst: u64,
}

#[pymethods]
impl RateLimiter {
    #[new]
    #[pyo3(signature = (rate, *, memory=None, algorithm="gcra", burst=None, when_full="admit", clock=None, seed=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        py: Python<'_>, #[pyo3(from_py_with = argument::rate)] rate: &str, memory: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = argument::algorithm)] algorithm: &str, burst: Option<&Bound<'_, PyAny>>,
        #[pyo3(from_py_with = argument::when_full)] when_full: &str, clock: Option<&Bound<'_, PyAny>>,
        seed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let algorithm = choice("algorithm", algorithm)?;
        let when_full = choice("when_full", when_full)?;
        let parsed: Rate = rate.parse().map_err(argument_error)?;
        if let (Some(burst), Algorithm::SlidingWindow) = (burst, algorithm) {
            let found = burst.repr()?.to_string();
            let allowed = "none with algorithm \"sliding-window\", which lets its amount through at once";
            return Err(wrong_value("burst", &found, allowed));
        }
        let burst = burst.map_or(Ok(parsed.amount), |burst| whole("burst", burst, 1))?;
        let bytes = memory.map_or(Ok(memory::LIMITER_BYTES), memory::bytes)?;
        let least = Limiter::least_bytes(when_full);
        if bytes < least {
            return Err(wrong_value("memory", &write_bytes(bytes), &format!("at least {}", write_bytes(least))));
        }
        let secret = seed::secret(py, seed)?;
        let clock = Clock::new(clock)?;
        let limiter = py.detach(|| Limiter::new(algorithm, parsed, burst, when_full, bytes, secret));
        let limiter = limiter.ok_or_else(|| {
            let allowed = "at most eight million a second, in as much memory as this machine gives";
            wrong_value("rate", &format!("{rate:?} with a burst of {burst}"), allowed)
        })?;
        Ok(Self { limiter, clock, rate: rate.to_owned(), algorithm, burst })
    }

    #[doc = doc!("RateLimiter.hit")]
    #[pyo3(signature = (key, cost=None, *, now=None), text_signature = "($self, key, cost=1, *, now=None)")]
    fn hit(
        slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, cost: Option<&Bound<'_, PyAny>>, now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<HitResult>> {
        Self::decide(slf, key, cost, now, true)
    }

    #[doc = doc!("RateLimiter.peek")]
    #[pyo3(signature = (key, cost=None, *, now=None), text_signature = "($self, key, cost=1, *, now=None)")]
    fn peek(
        slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, cost: Option<&Bound<'_, PyAny>>, now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<HitResult>> {
        Self::decide(slf, key, cost, now, false)
    }

    #[doc = doc!("RateLimiter.memory_bytes")]
    #[getter]
    fn memory_bytes(&self) -> u64 {
        self.limiter.memory_bytes()
    }

    #[doc = doc!("RateLimiter.untracked")]
    #[getter]
    fn untracked(&self) -> u64 {
        self.limiter.untracked()
    }

    #[doc = doc!("RateLimiter.load")]
    #[getter]
    fn load(&self, py: Python<'_>) -> f64 {
        let (used, slots) = self.limiter.load(&|| let_others_run(py));
        used as f64 / slots as f64
    }

    fn __reduce__(&self) -> PyResult<()> {
        Err(PyTypeError::new_err("a RateLimiter does not pickle: its counters live in this process"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.clock.traverse(&visit)
    }

    fn __repr__(&self) -> String {
        let how = match self.algorithm {
            Algorithm::Gcra => format!("burst={}", self.burst),
            other => format!("algorithm={:?}", other.name()),
        };
        format!("RateLimiter({:?}, {how}, memory_bytes={})", self.rate, self.memory_bytes())
    }
}

impl RateLimiter {
    #[inline]
    fn decide(
        slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, cost: Option<&Bound<'_, PyAny>>, now: Option<&Bound<'_, PyAny>>,
        charge: bool,
    ) -> PyResult<Py<HitResult>> {
        let (py, this) = (slf.py(), slf.get());
        let cost = cost.map_or(Ok(1), |cost| whole("cost", cost, 0))?;
        let now = this.clock.read(py, now)?;
        let text = Text::new("key", key)?;
        let bytes = text.bytes(py);
        let (hit, at_us) = match charge {
            true => this.limiter.hit_at(&bytes, cost, now),
            false => (this.limiter.peek(&bytes, cost, now), None),
        };
        drop(bytes);
        let limiter = slf.clone().unbind();
        HitResult::new(py, text, hit, Charge { limiter, cost, at_us, is_stated: matches!(now, Now::Stated(_)) })
    }
}

/// The value of a name; an unknown name is a `ValueError` that lists the known names.
fn choice<T: Choice>(argument: &str, name: &str) -> PyResult<T> {
    T::from_name(name).ok_or_else(|| {
        let names: Vec<String> = T::NAMES.iter().map(|(known, _)| format!("{known:?}")).collect();
        let allowed = names.split_last().map(|(last, others)| format!("{} or {last}", others.join(", ")));
        wrong_value(argument, &format!("{name:?}"), &allowed.unwrap_or_default())
    })
}
