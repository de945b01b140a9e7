//! `Decision`: the result of a check. It makes its texts when they are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{PyTraverseError, PyVisit};
use throttle_core::decision::{Decision as Core, Refusal, Reply, ReplySettings};
use throttle_core::engine::Receipt;
use throttle_core::policy::{Stage, Template, is_help_url};

use crate::clock::wait;
use crate::envelope::Envelope;
use crate::error::ThrottleError;
use crate::guard::Throttle;
use crate::tracked::tracked;

// The free list is for hot callers: each check makes one decision, which is soon dropped. It saves 5 % of a check.
#[doc = doc!("Decision")]
#[pyclass(module = "throttle", frozen, freelist = 64)]
#[derive(Debug)]
pub(crate) struct Decision {
    /// The refusal, or `None` when the check was allowed.
    refusal: Option<Box<Refusal>>,
    /// Limits in shadow mode that would have refused.
    shadow: Box<[Arc<str>]>,
    made_on: MadeOn,
    /// Whether the charge was refunded.
    is_refunded: AtomicBool,
}

/// The input of the decision.
#[derive(Debug)]
enum MadeOn {
    /// The guard, the envelope, and the receipt for the charge.
    Envelope(Py<Throttle>, Py<Envelope>, Receipt),
    /// The identities, which are all that a pickled decision keeps.
    Known(Py<PyDict>),
}

/// A refusal as a pickle stores it: limit, identity and key; wait; kind; the stage of a rejection, the operator's reply
/// and the page with help; the stage of the refusal.
type Detached = ((String, String, String), Option<u64>, u8, (Option<String>, Option<String>, Option<String>), String);

impl Decision {
    #[inline]
    pub(crate) fn of_envelope(
        py: Python<'_>, decision: Core, guard: Py<Throttle>, envelope: Py<Envelope>, charge: Receipt,
    ) -> PyResult<Py<Self>> {
        let Core { refusal, shadow } = decision;
        let made_on = MadeOn::Envelope(guard, envelope, charge);
        tracked(py, Self { refusal, shadow, made_on, is_refunded: AtomicBool::new(false) })
    }

    /// Returns the reply as code, enhanced code and text. Every reply has all three parts, because a policy may not
    /// state a reply without an enhanced code.
    fn reply_parts(&self) -> Option<(u16, String, String)> {
        let reply = self.refusal.as_ref()?.reply();
        let mut parts = reply.splitn(3, ' ');
        let [code, enhanced, text] = [(); 3].map(|()| parts.next().unwrap_or_default());
        Some((code.parse().ok()?, enhanced.to_owned(), text.to_owned()))
    }
}

#[pymethods]
impl Decision {
    #[doc = doc!("Decision.allowed")]
    #[getter]
    pub(crate) fn allowed(&self) -> bool {
        self.refusal.is_none()
    }

    fn __bool__(&self) -> bool {
        self.allowed()
    }

    #[doc = doc!("Decision.limit")]
    #[getter]
    fn limit(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| &*refusal.limit)
    }

    #[doc = doc!("Decision.identity")]
    #[getter]
    fn identity(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| &*refusal.identity)
    }

    #[doc = doc!("Decision.key")]
    #[getter]
    fn key(&self) -> Option<&str> {
        self.refusal.as_ref().map(|refusal| &*refusal.key)
    }

    #[doc = doc!("Decision.retry_after")]
    #[getter]
    fn retry_after(&self) -> f64 {
        self.refusal.as_ref().map_or(0.0, |refusal| wait(refusal.wait_us))
    }

    #[doc = doc!("Decision.reply")]
    #[getter]
    fn reply(&self) -> Option<String> {
        self.refusal.as_ref().map(|refusal| refusal.reply())
    }

    #[doc = doc!("Decision.code")]
    #[getter]
    fn code(&self) -> Option<u16> {
        self.reply_parts().map(|(code, ..)| code)
    }

    #[doc = doc!("Decision.enhanced_code")]
    #[getter]
    fn enhanced_code(&self) -> Option<String> {
        self.reply_parts().map(|(_, enhanced, _)| enhanced)
    }

    #[doc = doc!("Decision.text")]
    #[getter]
    fn text(&self) -> Option<String> {
        self.reply_parts().map(|(.., text)| text)
    }

    #[doc = doc!("Decision.stage")]
    #[getter]
    fn stage(&self) -> Option<&'static str> {
        self.refusal.as_ref().map(|refusal| refusal.stage.name())
    }

    #[doc = doc!("Decision.shadow")]
    #[getter]
    fn shadow<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.shadow.iter().map(|name| &**name))
    }

    #[doc = doc!("Decision.identities")]
    #[getter]
    fn identities<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        match &self.made_on {
            MadeOn::Envelope(guard, envelope, _) => guard.get().identities(py, envelope.bind(py).as_any()),
            MadeOn::Known(identities) => identities.bind(py).copy(),
        }
    }

    #[doc = doc!("Decision.refund")]
    #[pyo3(signature = (*, now=None))]
    fn refund(&self, py: Python<'_>, now: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let (guard, envelope, charge) = match &self.made_on {
            MadeOn::Envelope(guard, envelope, charge) => (guard.get(), envelope.get(), charge),
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
        Ok((&self.refusal, &self.shadow) == (&other.refusal, &other.shadow)
            && self.identities(py)?.eq(other.identities(py)?)?)
    }

    /// Hashes the refusal, and not the identities, which are slow to compute. Equal decisions have equal refusals.
    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        let refusal = (self.limit(), self.identity(), self.key(), self.retry_after(), self.stage());
        (refusal, self.shadow(py)?).into_pyobject(py)?.hash()
    }

    fn __repr__(&self) -> String {
        match &self.refusal {
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

    /// Shows the guard to the garbage collector: its clock can refer back to the decision. `__clear__` is not needed,
    /// because nothing here can be changed, so each cycle has a part that can.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        match &self.made_on {
            MadeOn::Envelope(guard, ..) => visit.call(guard),
            MadeOn::Known(identities) => visit.call(identities),
        }
    }

    /// Pickles the decision with its identities and without its guard.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyTuple>)> {
        let (py, this) = (slf.py(), slf.get());
        let refusal = this.refusal.as_ref().map(|refusal| {
            let Refusal { limit, identity, key, wait_us, stage, kind, settings } = &**refusal;
            let ReplySettings { rejects_at, template, help } = settings;
            let template = template.as_ref().map(|template| template.text().to_owned());
            let settings = (rejects_at.map(Stage::name), template, help.as_deref());
            let names = (limit.to_string(), identity.to_string(), key.clone());
            (names, *wait_us, kind.number(), settings, stage.name())
        });
        let state = (refusal, this.shadow(py)?, this.identities(py)?).into_pyobject(py)?;
        Ok((slf.get_type().getattr("_detached")?, state))
    }

    #[staticmethod]
    fn _detached(refusal: Option<Detached>, shadow: Vec<String>, identities: Py<PyDict>) -> Self {
        let stage_of = |name: &str| Stage::ALL.into_iter().find(|stage| stage.name() == name);
        let refusal = refusal.map(|((limit, identity, key), wait_us, kind, (rejects_at, template, help), stage)| {
            let (limit, identity, kind) = (limit.into(), identity.into(), Reply::of_number(kind));
            let template = template.and_then(|text| Template::restored(&text));
            let help = help.filter(|help| is_help_url(help)).map(Into::into);
            let settings = ReplySettings { rejects_at: rejects_at.as_deref().and_then(stage_of), template, help };
            let stage = stage_of(&stage).unwrap_or(Stage::Connect);
            Box::new(Refusal { limit, identity, key, wait_us, stage, kind, settings })
        });
        let shadow = shadow.into_iter().map(Into::into).collect();
        Self { refusal, shadow, made_on: MadeOn::Known(identities), is_refunded: AtomicBool::new(false) }
    }
}
