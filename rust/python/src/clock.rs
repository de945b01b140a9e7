//! The source of `now`: an argument, a clock of the caller, or the clock of the guard.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::{PyTraverseError, PyVisit};
use throttle_core::region::Now;

use crate::argument::number;
use crate::error::{not_of_type, wrong_type, wrong_value};

/// The largest Unix time that is accepted, in microseconds: more than three thousand years. A caller that passes a
/// larger value most likely counts milliseconds.
const MAX_US: u64 = 100_000_000_000_000_000;

/// Converts seconds to microseconds. This is the only rounding: from here on, times are integers.
fn micros(field: &str, seconds: f64) -> PyResult<i64> {
    let us = (seconds * 1e6).round();
    if us.abs() <= MAX_US as f64 { Ok(us as i64) } else { Err(no_time(field, seconds)) }
}

fn no_time(field: &str, found: f64) -> PyErr {
    let most = MAX_US as f64 / 1e6;
    wrong_value(field, &format!("{found:e}"), &format!("finite Unix seconds, at most {most:e}"))
}

/// Converts microseconds to seconds.
pub(crate) fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

/// Converts a wait in microseconds to seconds. A wait that never ends is infinite.
pub(crate) fn wait(us: Option<u64>) -> f64 {
    us.map_or(f64::INFINITY, |us| seconds(i64::try_from(us).unwrap_or(i64::MAX)))
}

// A clock in Unix seconds that changes only when the caller sets or advances it.
#[doc = doc!("ManualClock")]
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct ManualClock {
    us: AtomicI64,
}

#[pymethods]
impl ManualClock {
    #[new]
    #[pyo3(signature = (now = 0.0))]
    fn new(#[pyo3(from_py_with = manual)] now: f64) -> PyResult<Self> {
        Ok(Self { us: AtomicI64::new(micros("now", now)?) })
    }

    #[doc = doc!("ManualClock.now")]
    #[getter]
    fn now(&self) -> f64 {
        seconds(self.us.load(Ordering::Relaxed))
    }

    /// Sets the clock, forward or back.
    #[setter]
    fn set_now(&self, now: &Bound<'_, PyAny>) -> PyResult<()> {
        self.us.store(micros("now", manual(now)?)?, Ordering::Relaxed);
        Ok(())
    }

    #[doc = doc!("ManualClock.advance")]
    fn advance(&self, seconds: &Bound<'_, PyAny>) -> PyResult<()> {
        let seconds = number("seconds", seconds, "a number of seconds")?;
        let by = micros("seconds", seconds)?;
        let moved = |us: i64| us.checked_add(by).filter(|us| us.unsigned_abs() <= MAX_US);
        match self.us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, moved) {
            Ok(_) => Ok(()),
            Err(us) => Err(no_time("seconds", self::seconds(us) + seconds)),
        }
    }

    fn __call__(&self) -> f64 {
        self.now()
    }

    fn __repr__(&self) -> String {
        format!("ManualClock({:?})", self.now())
    }
}

/// Reads the time of a manual clock.
fn manual(given: &Bound<'_, PyAny>) -> PyResult<f64> {
    number("now", given, "Unix seconds")
}

/// The seconds that a caller's clock returned.
#[cold]
fn told(seconds: &Bound<'_, PyAny>) -> PyResult<f64> {
    seconds.extract().or_else(|_| {
        let found = format!("one that returned {}", seconds.get_type().name()?);
        Err(wrong_type("clock", &found, "a callable that returns Unix seconds"))
    })
}

/// The clock that a guard reads.
#[derive(Debug)]
pub(crate) enum Clock {
    /// The default: a monotonic clock that starts at the wall time.
    Own { anchor_us: i64, start: Instant },
    /// A `ManualClock`, which is read without a Python call.
    Manual(Py<ManualClock>),
    /// Any callable that returns Unix seconds.
    Callable(Py<PyAny>),
}

impl Clock {
    pub(crate) fn new(clock: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(clock) = clock else {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            return Ok(Self::Own { anchor_us: i64::try_from(since.as_micros()).unwrap_or(0), start: Instant::now() });
        };
        if let Ok(manual) = clock.cast_exact::<ManualClock>() {
            return Ok(Self::Manual(manual.clone().unbind()));
        }
        if clock.is_callable() {
            return Ok(Self::Callable(clock.clone().unbind()));
        }
        Err(not_of_type("clock", clock, "a callable that returns Unix seconds, or None"))
    }

    /// Shows the callable to the garbage collector: it can refer back to the object that holds the guard.
    pub(crate) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Callable(clock) => visit.call(clock),
            Self::Own { .. } | Self::Manual(_) => Ok(()),
        }
    }

    /// Returns the time that the caller stated, or else the time of the clock.
    pub(crate) fn read(&self, py: Python<'_>, stated: Option<&Bound<'_, PyAny>>) -> PyResult<Now> {
        if let Some(seconds) = stated {
            return Ok(Now::Stated(micros("now", number("now", seconds, "Unix seconds, or None")?)?));
        }
        match self {
            Self::Callable(clock) => Ok(Now::Clock(micros("clock", told(&clock.bind(py).call0()?)?)?)),
            Self::Own { .. } | Self::Manual(_) => self.read_detached(),
        }
    }

    /// Returns the time of the clock, for a thread without the interpreter, which takes it only for a callable.
    pub(crate) fn read_detached(&self) -> PyResult<Now> {
        let us = match self {
            Self::Own { anchor_us, start } => {
                anchor_us.saturating_add(i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX))
            }
            Self::Manual(clock) => clock.get().us.load(Ordering::Relaxed),
            Self::Callable(_) => return Python::attach(|py| self.read(py, None)),
        };
        Ok(Now::Clock(us))
    }
}
