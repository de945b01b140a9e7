//! `PolicyDelegation`: the bytes of a policy client in, answers out. The core knows the steps; this file writes the
//! answers.
//!
//! Invariant: an answer is one legal line, since a reply is one (`Refusal::reply`).

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use pyo3::{PyTraverseError, PyVisit};
use throttle_core::delegation::{Connections, Request, Requests};

use crate::error::ThrottleError;
use crate::guard::Throttle;

const DUNNO: &[u8] = b"action=DUNNO\n\n";

#[doc = doc!("PolicyDelegation")]
#[pyclass(module = "throttle._core", frozen)]
#[derive(Debug)]
pub(crate) struct PolicyDelegation {
    contexts: Vec<Context>,
    /// Requests with a context that no guard has, which the guard without a name has answered.
    unknown_contexts: AtomicU64,
}

/// A guard, and the `policy_context` whose requests it answers.
#[derive(Debug)]
struct Context {
    name: Vec<u8>,
    guard: Py<Throttle>,
    connections: Mutex<Connections>,
}

impl PolicyDelegation {
    /// The guard of this name, or else the one without a name.
    fn context(&self, name: &[u8]) -> PyResult<&Context> {
        let named = |name: &[u8]| self.contexts.iter().find(|context| context.name == name);
        if let Some(found) = named(name) {
            return Ok(found);
        }
        let unnamed = named(b"").ok_or_else(|| {
            ThrottleError::new_err(match &*String::from_utf8_lossy(name) {
                "" => "no policy answers requests without a policy_context".into(),
                name => format!("no policy is named {name}, which is the request's policy_context"),
            })
        })?;
        self.unknown_contexts.fetch_add(1, Ordering::Relaxed);
        Ok(unnamed)
    }

    fn sum(&self, of: impl Fn(&Connections) -> u64) -> u64 {
        self.contexts
            .iter()
            .map(|context| of(&context.connections.lock().unwrap_or_else(PoisonError::into_inner)))
            .sum()
    }
}

#[pymethods]
impl PolicyDelegation {
    #[new]
    fn new(guards: &Bound<'_, PyDict>, most_connections: NonZeroUsize) -> PyResult<Self> {
        let context = |(name, guard): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            let (name, guard) = (name.extract::<String>()?.into_bytes(), guard.cast::<Throttle>()?.clone().unbind());
            Ok(Context { name, guard, connections: Mutex::new(Connections::new(most_connections)) })
        };
        let contexts = guards.iter().map(context).collect::<PyResult<_>>()?;
        Ok(Self { contexts, unknown_contexts: AtomicU64::new(0) })
    }

    #[doc = doc!("PolicyDelegation.answer")]
    fn answer<'py>(&self, py: Python<'py>, stream: &[u8], at_s: u64) -> PyResult<(Bound<'py, PyBytes>, usize)> {
        let mut answers = Vec::new();
        let mut requests = Requests { rest: stream };
        for lines in &mut requests {
            let request = Request::parse(lines).ok_or_else(|| ThrottleError::new_err("no smtpd_access_policy"))?;
            let context = self.context(request.policy_context)?;
            let guard = context.guard.get();
            let now = guard.clock.read(py, None)?;
            let mut connections = context.connections.lock().unwrap_or_else(PoisonError::into_inner);
            match guard.measured(|| connections.take_step(&guard.engine(), &request, now, at_s)) {
                Ok(()) => answers.extend_from_slice(DUNNO),
                Err(refusal) => {
                    answers.extend_from_slice(b"action=");
                    answers.extend_from_slice(refusal.reply().as_bytes());
                    answers.extend_from_slice(b"\n\n");
                }
            }
        }
        Ok((PyBytes::new(py, &answers), stream.len() - requests.rest.len()))
    }

    #[doc = doc!("PolicyDelegation.end_idle")]
    fn end_idle(&self, before_s: u64) {
        for context in &self.contexts {
            context.connections.lock().unwrap_or_else(PoisonError::into_inner).end_idle(before_s);
        }
    }

    #[doc = doc!("PolicyDelegation.smtp_connections")]
    #[getter]
    fn smtp_connections(&self) -> u64 {
        self.sum(|connections| connections.len() as u64)
    }

    #[doc = doc!("PolicyDelegation.unknown_contexts")]
    #[getter]
    fn unknown_contexts(&self) -> u64 {
        self.unknown_contexts.load(Ordering::Relaxed)
    }

    #[doc = doc!("PolicyDelegation.dropped")]
    #[getter]
    fn dropped(&self) -> u64 {
        self.sum(Connections::dropped)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.contexts.iter().try_for_each(|context| visit.call(&context.guard))
    }
}
