//! `HitResult`: the decision of a `RateLimiter` about one key.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};
use throttle_core::engine::Hit;
use throttle_core::region::Now;

use crate::clock::wait;
use crate::error::ThrottleError;
use crate::limiter::RateLimiter;
use crate::text::Text;
use crate::tracked::tracked;

// The free list is for hot callers: each hit makes one result, which is soon dropped.
#[doc = doc!("HitResult")]
#[pyclass(module = "throttle", frozen, freelist = 64)]
#[derive(Debug)]
pub(crate) struct HitResult {
    key: Text,
    hit: Hit,
    /// The charge that `refund` gives back. A result that was pickled has `None`.
    charged_by: Option<Charge>,
    is_refunded: AtomicBool,
}

/// A charge on a limiter.
#[derive(Debug)]
pub(crate) struct Charge {
    pub(crate) limiter: Py<RateLimiter>,
    pub(crate) cost: u64,
    /// The engine time of the charge in microseconds, or `None` when nothing was charged.
    pub(crate) at_us: Option<u64>,
    /// Whether the caller stated the time.
    pub(crate) is_stated: bool,
}

impl HitResult {
    #[inline]
    pub(crate) fn new(py: Python<'_>, key: Text, hit: Hit, charge: Charge) -> PyResult<Py<Self>> {
        tracked(py, Self { key, hit, charged_by: Some(charge), is_refunded: AtomicBool::new(false) })
    }

    /// Returns the wait in microseconds: 0 when the hit is allowed, `None` when a retry never passes.
    fn wait_us(&self) -> Option<u64> {
        match self.hit {
            Hit::Allowed => Some(0),
            Hit::Wait(us) => Some(us),
            Hit::Never => None,
        }
    }
}

#[pymethods]
impl HitResult {
    #[doc = doc!("HitResult.allowed")]
    #[getter]
    fn allowed(&self) -> bool {
        self.hit == Hit::Allowed
    }

    #[doc = doc!("HitResult.key")]
    #[getter]
    fn key(&self, py: Python<'_>) -> Py<PyAny> {
        self.key.object(py)
    }

    #[doc = doc!("HitResult.retry_after")]
    #[getter]
    fn retry_after(&self) -> f64 {
        wait(self.wait_us())
    }

    #[doc = doc!("HitResult.refund")]
    #[pyo3(signature = (*, now=None))]
    fn refund(&self, py: Python<'_>, now: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let Some(Charge { limiter, cost, at_us, is_stated }) = &self.charged_by else {
            return Err(ThrottleError::new_err("a result that was pickled refunds nothing: its limiter is elsewhere"));
        };
        let limiter = limiter.get();
        let now = limiter.clock.read(py, now)?;
        let Some(at_us) = at_us.filter(|_| !self.is_refunded.swap(true, Ordering::Relaxed)) else {
            return Ok(false);
        };
        // A stated time has no relation to the clock, so such a charge is refunded at the latest time seen.
        let now = if *is_stated && matches!(now, Now::Clock(_)) { Now::Stated(i64::MIN) } else { now };
        Ok(limiter.limiter.refund(&self.key.bytes(py), *cost, at_us, now))
    }

    fn __bool__(&self) -> bool {
        self.allowed()
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else { return Ok(false) };
        let other = other.get();
        Ok(self.hit == other.hit && self.key.object(py).bind(py).eq(other.key.object(py))?)
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        (self.key.object(py), self.allowed(), self.retry_after()).into_pyobject(py)?.hash()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let key = self.key.object(py).bind(py).repr()?;
        Ok(match self.allowed() {
            true => format!("HitResult({key} allowed)"),
            false => format!("HitResult({key} refused, retry_after={:?})", self.retry_after()),
        })
    }

    /// Shows the limiter to the garbage collector: its clock can refer back to the result.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.charged_by.as_ref().map_or(Ok(()), |charge| visit.call(&charge.limiter))
    }

    /// Pickles the result without its limiter.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let state = (this.key.object(py), this.allowed(), this.wait_us()).into_pyobject(py)?;
        Ok((slf.get_type().getattr("_detached")?, state))
    }

    #[staticmethod]
    fn _detached(key: &Bound<'_, PyAny>, allowed: bool, wait_us: Option<u64>) -> PyResult<Self> {
        let hit = match wait_us {
            _ if allowed => Hit::Allowed,
            Some(us) => Hit::Wait(us),
            None => Hit::Never,
        };
        Ok(Self { key: Text::new("key", key)?, hit, charged_by: None, is_refunded: AtomicBool::new(false) })
    }
}
