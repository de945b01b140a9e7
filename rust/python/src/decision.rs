//! `Decision`: the outcome of a check. Words are made when they are asked for.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use throttle_core::decision::{Decision as Core, Refusal};
use throttle_core::engine::Receipt;
use throttle_core::policy::{Stage, Template};
use throttle_core::reply::{Answer, Reply};

use crate::clock::seconds;
use crate::envelope::Envelope;
use crate::error::ThrottleError;
use crate::guard::Throttle;
use crate::text::Text;

/// See `_core.pyi`. One is made a check and dropped soon: the free list takes some 5 % off a check, envelope included.
#[pyclass(module = "throttle", frozen, freelist = 64)]
#[derive(Debug)]
pub(crate) struct Decision {
    outcome: Outcome,
    /// Limits in shadow mode that would have refused.
    shadow: Box<[Arc<str>]>,
    made_on: MadeOn,
    /// Whether its charge was given back.
    is_refunded: AtomicBool,
}

#[derive(Debug)]
enum Outcome {
    Allowed,
    Refused(Box<Refusal>),
    /// By a limiter, whose key is at hand: the wait in microseconds, `None` for ever.
    RefusedKey(Option<u64>),
}

/// What the decision was made on.
#[derive(Debug)]
enum MadeOn {
    /// Of the envelope this was charged, if anything.
    Envelope(Py<Throttle>, Py<Envelope>, Receipt),
    Key(Text),
    /// Detached: the identities are worked out already.
    Known(Py<PyDict>),
}

/// A refusal as a pickle has it: limit, identity and key; wait; kind; stage of a rejection and the operator's words.
type Detached = ((String, String, String), Option<u64>, u8, (Option<String>, Option<String>));

impl Decision {
    #[inline]
    pub(crate) fn of_envelope(decision: Core, guard: Py<Throttle>, envelope: Py<Envelope>, charge: Receipt) -> Self {
        let outcome = decision.refusal.map_or(Outcome::Allowed, Outcome::Refused);
        Self::new(outcome, decision.shadow, MadeOn::Envelope(guard, envelope, charge))
    }

    fn new(outcome: Outcome, shadow: Box<[Arc<str>]>, made_on: MadeOn) -> Self {
        Self { outcome, shadow, made_on, is_refunded: AtomicBool::new(false) }
    }

    pub(crate) fn allowed_key(key: Text) -> Self {
        Self::new(Outcome::Allowed, Box::default(), MadeOn::Key(key))
    }

    pub(crate) fn refused_key(key: Text, wait_us: Option<u64>) -> Self {
        Self::new(Outcome::RefusedKey(wait_us), Box::default(), MadeOn::Key(key))
    }

    fn refusal(&self, py: Python<'_>) -> Option<Cow<'_, Refusal>> {
        match (&self.outcome, &self.made_on) {
            (Outcome::Allowed, _) => None,
            (Outcome::Refused(refusal), _) => Some(Cow::Borrowed(refusal)),
            (Outcome::RefusedKey(wait_us), made_on) => {
                let key = match made_on {
                    MadeOn::Key(key) => String::from_utf8_lossy(&key.bytes(py)).into_owned(),
                    _ => String::new(),
                };
                let (limit, identity) = ("rate".into(), "key".into());
                Some(Cow::Owned(Refusal {
                    limit,
                    identity,
                    key,
                    wait_us: *wait_us,
                    kind: Reply::TooFast,
                    answer: Answer::default(),
                }))
            }
        }
    }
}

#[pymethods]
impl Decision {
    #[getter]
    pub(crate) fn allowed(&self) -> bool {
        matches!(self.outcome, Outcome::Allowed)
    }

    fn __bool__(&self) -> bool {
        self.allowed()
    }

    #[getter]
    fn limit(&self, py: Python<'_>) -> Option<String> {
        self.refusal(py).map(|refusal| refusal.limit.to_string())
    }

    #[getter]
    fn identity(&self, py: Python<'_>) -> Option<String> {
        self.refusal(py).map(|refusal| refusal.identity.to_string())
    }

    #[getter]
    fn key(&self, py: Python<'_>) -> Option<String> {
        self.refusal(py).map(|refusal| refusal.key.clone())
    }

    #[getter]
    fn retry_after(&self) -> f64 {
        let wait_us = match &self.outcome {
            Outcome::Allowed => return 0.0,
            Outcome::Refused(refusal) => refusal.wait_us,
            Outcome::RefusedKey(wait_us) => *wait_us,
        };
        wait_us.map_or(f64::INFINITY, |us| seconds(i64::try_from(us).unwrap_or(i64::MAX)))
    }

    #[getter]
    fn reply(&self, py: Python<'_>) -> Option<String> {
        self.refusal(py).map(|refusal| refusal.reply())
    }

    #[getter]
    fn shadow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.shadow.iter().map(|name| &**name))
    }

    #[getter]
    fn identities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match &self.made_on {
            MadeOn::Envelope(guard, envelope, _) => guard.get().identities(py, envelope.bind(py)),
            MadeOn::Key(key) => {
                let identities = PyDict::new(py);
                identities.set_item("key", key.object(py))?;
                Ok(identities)
            }
            MadeOn::Known(identities) => identities.bind(py).copy(),
        }
    }

    /// Once: whoever comes second gives nothing.
    #[pyo3(signature = (*, now=None))]
    fn refund(&self, py: Python<'_>, now: Option<f64>) -> PyResult<bool> {
        let (guard, envelope, charge) = match &self.made_on {
            MadeOn::Envelope(guard, envelope, charge) => (guard.get(), envelope.get(), charge),
            MadeOn::Key(_) => return Err(ThrottleError::new_err("a decision of a RateLimiter gives nothing back")),
            MadeOn::Known(_) => {
                return Err(ThrottleError::new_err(
                    "a decision that was pickled gives nothing back: its guard is elsewhere",
                ));
            }
        };
        let now = guard.clock.read(py, now)?;
        if !self.allowed() || self.is_refunded.swap(true, Ordering::Relaxed) {
            return Ok(false);
        }
        Ok(envelope.with(py, |core| guard.engine().refund(core, charge, &self.shadow, now)))
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Ok(other) = other.cast::<Self>() else { return Ok(false) };
        let other = other.get();
        Ok(self.refusal(py) == other.refusal(py)
            && self.shadow == other.shadow
            && self.identities(py)?.eq(other.identities(py)?)?)
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        match self.refusal(py) {
            None => "Decision(allowed)".into(),
            Some(refusal) => format!(
                "Decision(refused by {:?} for {} {:?}, retry_after={:?})",
                refusal.limit,
                refusal.identity,
                refusal.key,
                self.retry_after()
            ),
        }
    }

    /// Pickles detached: with its identities worked out, without its guard.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let refusal = this.refusal(py).map(|refusal| {
            let Refusal { limit, identity, key, wait_us, kind, answer: Answer { rejects_at, template } } = &*refusal;
            let answer = (rejects_at.map(Stage::name), template.as_ref().map(|template| template.text().to_owned()));
            ((limit.to_string(), identity.to_string(), key.clone()), *wait_us, kind.number(), answer)
        });
        let state = (refusal, this.shadow(py)?, this.identities(py)?).into_pyobject(py)?;
        Ok((slf.get_type().getattr("_detached")?, state))
    }

    #[staticmethod]
    fn _detached(refusal: Option<Detached>, shadow: Vec<String>, identities: Py<PyDict>) -> Self {
        let outcome = refusal.map_or(Outcome::Allowed, |((limit, identity, key), wait_us, kind, (stage, template))| {
            let (limit, identity, kind) = (limit.into(), identity.into(), Reply::of_number(kind));
            let rejects_at = Stage::ALL.into_iter().find(|known| Some(known.name()) == stage.as_deref());
            let template = template.and_then(|text| Template::restored(&text)).map(Arc::new);
            let answer = Answer { rejects_at, template };
            Outcome::Refused(Box::new(Refusal { limit, identity, key, wait_us, kind, answer }))
        });
        let shadow = shadow.into_iter().map(Into::into).collect();
        Self::new(outcome, shadow, MadeOn::Known(identities))
    }
}
