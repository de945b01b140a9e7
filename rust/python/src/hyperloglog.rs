//! `HyperLogLog`: the core's registers and martingale estimator with their own memory and their own seed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use throttle_core::key::Secret;
use throttle_core::sketch::hyperloglog::HyperLogLog as Shape;
use throttle_core::sketch::hyperloglog::Martingale;

use crate::error::{not_of_type, wrong_value};
use crate::frame::{self, Kind};
use crate::number::whole;
use crate::seed::{self, Seed};
use crate::sketches::{each, same_seed};
use crate::text::Text;

/// The precision by default: 0.65 % error in 12 KiB.
const PRECISION: u64 = 14;

#[doc = doc!("HyperLogLog")]
#[pyclass(module = "throttle.sketch", frozen)]
#[derive(Debug)]
pub(crate) struct HyperLogLog {
    shape: Shape,
    seed: Seed,
    secret: Secret,
    seen: Mutex<Seen>,
}

#[derive(Clone, Debug, PartialEq)]
struct Seen {
    words: Vec<u64>,
    martingale: Martingale,
}

#[pymethods]
impl HyperLogLog {
    #[new]
    #[pyo3(signature = (precision=None, *, seed=None), text_signature = "(precision=14, *, seed=None)")]
    fn new(py: Python<'_>, precision: Option<&Bound<'_, PyAny>>, seed: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let number = precision.map_or(Ok(PRECISION), |precision| whole("precision", precision, 0))?;
        let shape =
            shape(number).ok_or_else(|| wrong_value("precision", &number.to_string(), "an integer from 4 to 18"))?;
        let seen = Seen { words: vec![0; shape.words()], martingale: Martingale::default() };
        Ok(Self::of(shape, seed::octets(py, seed)?, seen))
    }

    #[doc = doc!("HyperLogLog.from_bytes")]
    #[classmethod]
    fn from_bytes(_cls: &Bound<'_, PyType>, data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let frame = frame::from_bytes(Kind::HyperLogLog, data)?;
        let [precision, left, sum] = frame.numbers;
        let (words, martingale) = (frame.words, Martingale { left, sum });
        let shape = shape(precision).filter(|shape| shape.is_sound(&words) && martingale.is_sound(*shape, &words));
        let shape =
            shape.ok_or_else(|| frame::corrupt("registers that no keys could leave; allowed: those of a sketch"))?;
        Ok(Self::of(shape, frame.seed, Seen { words, martingale }))
    }

    #[doc = doc!("HyperLogLog.add")]
    fn add(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        let text = Text::new("key", key)?;
        let key = self.secret.text(&text.bytes(key.py()));
        let mut seen = self.lock();
        if let Some(change) = self.shape.add(&mut seen.words, key) {
            seen.martingale.note(self.shape, change);
        }
        Ok(())
    }

    #[doc = doc!("HyperLogLog.update")]
    fn update(&self, keys: &Bound<'_, PyAny>) -> PyResult<()> {
        each(keys, |key| self.add(key))
    }

    #[doc = doc!("HyperLogLog.estimate")]
    fn estimate(&self) -> f64 {
        let seen = self.lock();
        seen.martingale.estimate().unwrap_or_else(|| self.shape.estimate(&seen.words))
    }

    #[doc = doc!("HyperLogLog.merge")]
    fn merge(&self, other: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(other) = other.cast::<Self>() else {
            return Err(not_of_type("other", other, "HyperLogLog"));
        };
        let (py, other) = (other.py(), other.get());
        if other.shape != self.shape {
            let [found, allowed] = [other, self].map(|each| format!("precision={}", each.shape.precision));
            return Err(wrong_value("other", &found, &allowed));
        }
        same_seed(&self.seed, &other.seed)?;
        py.detach(|| {
            // The copy is made before this sketch is locked. Otherwise two threads that merge two sketches into each
            // other would wait for ever.
            let others = other.lock().clone();
            let mut seen = self.lock();
            self.shape.merge(&mut seen.words, &others.words);
            seen.martingale = Martingale::LOST;
        });
        Ok(())
    }

    #[doc = doc!("HyperLogLog.copy")]
    fn copy(&self) -> Self {
        Self::of(self.shape, self.seed, self.lock().clone())
    }

    #[doc = doc!("HyperLogLog.to_bytes")]
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let Seen { words, martingale } = self.lock().clone();
        let numbers = [u64::from(self.shape.precision), martingale.left, martingale.sum];
        PyBytes::new(py, &frame::to_bytes(Kind::HyperLogLog, &self.seed, numbers, &words))
    }

    #[doc = doc!("HyperLogLog.precision")]
    #[getter]
    fn precision(&self) -> u32 {
        self.shape.precision
    }

    #[doc = doc!("HyperLogLog.relative_error")]
    #[getter]
    fn relative_error(&self) -> f64 {
        let constant = if self.lock().martingale == Martingale::LOST { 1.04 } else { 0.833 };
        constant / (self.shape.registers() as f64).sqrt()
    }

    #[doc = doc!("HyperLogLog.memory_bytes")]
    #[getter]
    fn memory_bytes(&self) -> usize {
        8 * self.shape.words() + size_of::<Martingale>()
    }

    #[doc = doc!("HyperLogLog.seed")]
    #[getter]
    fn seed<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.seed)
    }

    fn __copy__(&self) -> Self {
        self.copy()
    }

    fn __deepcopy__(&self, _memo: &Bound<'_, PyAny>) -> Self {
        self.copy()
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        Ok((slf.get_type().getattr("from_bytes")?, (slf.get().to_bytes(slf.py()),)))
    }

    fn __eq__(&self, other: &Self) -> bool {
        let others = other.lock().clone();
        self.shape == other.shape && self.seed == other.seed && *self.lock() == others
    }

    fn __repr__(&self) -> String {
        format!("HyperLogLog(precision={}, estimate={:.0})", self.shape.precision, self.estimate())
    }
}

impl HyperLogLog {
    fn of(shape: Shape, seed: Seed, seen: Seen) -> Self {
        Self { shape, seed, secret: Secret::new(seed), seen: Mutex::new(seen) }
    }

    /// Locks the registers. No code panics while it holds the lock, so the lock is never poisoned.
    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shape(precision: u64) -> Option<Shape> {
    u32::try_from(precision).ok().and_then(Shape::new)
}
