//! `CountMin`: the core's sketch with its own memory and its own seed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};
use throttle_core::key::Secret;
use throttle_core::sketch::count_min::CountMin as Shape;

use crate::argument;
use crate::error::{not_of_type, wrong_value};
use crate::frame::{self, Kind};
use crate::number::whole;
use crate::seed::{self, Seed};
use crate::sketches::{each, same_seed};
use crate::text::Text;

#[doc = doc!("CountMin")]
#[pyclass(module = "throttle.sketch", frozen)]
#[derive(Debug)]
pub(crate) struct CountMin {
    shape: Shape,
    seed: Seed,
    secret: Secret,
    counted: Mutex<Counted>,
}

#[derive(Clone, Debug, PartialEq)]
struct Counted {
    cells: Vec<u64>,
    /// N: the sum of all counts.
    total: u64,
}

#[pymethods]
impl CountMin {
    #[new]
    #[pyo3(signature = (width, depth, *, seed=None))]
    fn new(
        py: Python<'_>, width: &Bound<'_, PyAny>, depth: &Bound<'_, PyAny>, seed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let size = |cells| usize::try_from(cells).unwrap_or(usize::MAX);
        let shape = Shape::new(size(whole("width", width, 1)?), size(whole("depth", depth, 1)?)).ok_or_else(|| {
            wrong_value("width, depth", &format!("{width} × {depth} cells"), &format!("at most {}", Shape::MOST_WORDS))
        })?;
        Self::empty(py, shape, seed)
    }

    #[doc = doc!("CountMin.for_error")]
    #[classmethod]
    #[pyo3(signature = (epsilon, delta, *, seed=None))]
    fn for_error(
        cls: &Bound<'_, PyType>, #[pyo3(from_py_with = argument::epsilon)] epsilon: f64,
        #[pyo3(from_py_with = argument::delta)] delta: f64, seed: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let shape = Shape::for_error(epsilon, delta).ok_or_else(|| {
            let allowed = format!("between 0 and 1, and at most {} cells", Shape::MOST_WORDS);
            wrong_value("epsilon, delta", &format!("{epsilon}, {delta}"), &allowed)
        })?;
        Self::empty(cls.py(), shape, seed)
    }

    #[doc = doc!("CountMin.from_bytes")]
    #[classmethod]
    fn from_bytes(_cls: &Bound<'_, PyType>, data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let frame = frame::from_bytes(Kind::CountMin, data)?;
        let [width, depth, total] = frame.numbers;
        let shape = usize::try_from(width).ok().zip(usize::try_from(depth).ok());
        let shape = shape.and_then(|(width, depth)| Shape::new(width, depth));
        let shape = shape.filter(|shape| shape.words() == frame.words.len());
        let shape =
            shape.ok_or_else(|| frame::corrupt(&format!("{width} × {depth} cells; allowed: those that follow")))?;
        Ok(Self::of(shape, frame.seed, Counted { cells: frame.words, total }))
    }

    #[doc = doc!("CountMin.add")]
    #[pyo3(signature = (key, count=None), text_signature = "($self, key, count=1)")]
    fn add(&self, key: &Bound<'_, PyAny>, count: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let count = count.map_or(Ok(1), |count| whole("count", count, 0))?;
        let text = Text::new("key", key)?;
        let key = self.secret.text(&text.bytes(key.py()));
        let mut counted = self.lock();
        self.shape.add(&mut counted.cells, key, count);
        counted.total = counted.total.saturating_add(count);
        Ok(())
    }

    #[doc = doc!("CountMin.update")]
    fn update(&self, keys: &Bound<'_, PyAny>) -> PyResult<()> {
        each(keys, |key| self.add(key, None))
    }

    #[doc = doc!("CountMin.estimate")]
    fn estimate(&self, key: &Bound<'_, PyAny>) -> PyResult<u64> {
        let text = Text::new("key", key)?;
        let key = self.secret.text(&text.bytes(key.py()));
        Ok(self.shape.estimate(&self.lock().cells, key))
    }

    #[doc = doc!("CountMin.merge")]
    fn merge(&self, other: &Bound<'_, PyAny>) -> PyResult<()> {
        let Ok(other) = other.cast::<Self>() else {
            return Err(not_of_type("other", other, "CountMin"));
        };
        let (py, other) = (other.py(), other.get());
        if other.shape != self.shape {
            let [found, allowed] =
                [other, self].map(|each| format!("width={}, depth={}", each.shape.width, each.shape.depth));
            return Err(wrong_value("other", &found, &allowed));
        }
        same_seed(&self.seed, &other.seed)?;
        py.detach(|| {
            // The copy is made before this sketch is locked. Otherwise two threads that merge two sketches into each
            // other would wait for ever.
            let others = other.lock().clone();
            let mut counted = self.lock();
            self.shape.merge(&mut counted.cells, &others.cells);
            counted.total = counted.total.saturating_add(others.total);
        });
        Ok(())
    }

    #[doc = doc!("CountMin.copy")]
    fn copy(&self) -> Self {
        Self::of(self.shape, self.seed, self.lock().clone())
    }

    #[doc = doc!("CountMin.to_bytes")]
    fn to_bytes<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let counted = self.lock().clone();
        let numbers = [self.shape.width as u64, self.shape.depth as u64, counted.total];
        PyBytes::new(py, &frame::to_bytes(Kind::CountMin, &self.seed, numbers, &counted.cells))
    }

    #[doc = doc!("CountMin.width")]
    #[getter]
    fn width(&self) -> usize {
        self.shape.width
    }

    #[doc = doc!("CountMin.depth")]
    #[getter]
    fn depth(&self) -> usize {
        self.shape.depth
    }

    #[doc = doc!("CountMin.total")]
    #[getter]
    fn total(&self) -> u64 {
        self.lock().total
    }

    #[doc = doc!("CountMin.error_bound")]
    #[getter]
    fn error_bound(&self) -> f64 {
        std::f64::consts::E * self.total() as f64 / self.shape.width as f64
    }

    #[doc = doc!("CountMin.memory_bytes")]
    #[getter]
    fn memory_bytes(&self) -> usize {
        8 * self.shape.words()
    }

    #[doc = doc!("CountMin.seed")]
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
        format!("CountMin(width={}, depth={}, total={})", self.shape.width, self.shape.depth, self.total())
    }
}

impl CountMin {
    fn empty(py: Python<'_>, shape: Shape, seed: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let seed = seed::octets(py, seed)?;
        Ok(Self::of(shape, seed, Counted { cells: py.detach(|| zeros(shape.words()))?, total: 0 }))
    }

    fn of(shape: Shape, seed: Seed, counted: Counted) -> Self {
        Self { shape, seed, secret: Secret::new(seed), counted: Mutex::new(counted) }
    }

    /// Locks the counts. No code panics while it holds the lock, so the lock is never poisoned.
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Allocates words of zero. When the machine has too little memory, it returns an error and the process goes on.
fn zeros(words: usize) -> PyResult<Vec<u64>> {
    let mut cells = Vec::new();
    cells.try_reserve_exact(words).map_err(|_| PyMemoryError::new_err(format!("a sketch of {words} words")))?;
    cells.resize(words, 0);
    Ok(cells)
}
