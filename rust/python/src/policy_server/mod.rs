//! `PolicyServer`: the class, and what its loop shares with the threads of Python.
//!
//! ```text
//!  policy clients ──▶ event_loop ──PolicyConnection of the core──▶ dispatch ──▶ engine of a guard
//!                        │ counts, events, one byte to the main thread
//!                        ▼
//!                     threads of Python: log, metrics, reloads, watchdog signals
//! ```
//!
//! Invariant: the loop takes Python's lock only for a guard whose clock is a Python callable, which `throttle serve`
//! never makes. What it shares with Python is read and written within a few instructions, and bounded.

mod dispatch;
mod event_loop;
#[cfg(target_os = "linux")]
mod slice;

use std::num::NonZeroUsize;
use std::os::fd::{FromRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mio::{Poll, Waker};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use pyo3::{PyTraverseError, PyVisit};
use socket2::Socket;
use throttle_core::delegation::Wrong;

use crate::error::{ThrottleError, wrong_value};
use crate::guard::Throttle;
use event_loop::EventLoop;

/// The most events that wait for Python, besides one that says how many more were lost.
const MOST_EVENTS: usize = 100;

/// The name of an event in the log, its message, and how many times it came in a row.
type Event = (&'static str, String, u64);

#[doc = doc!("PolicyServer")]
#[pyclass(module = "throttle._core", frozen)]
#[derive(Debug)]
pub(crate) struct PolicyServer {
    /// The guards, each with the `policy_context` whose requests it answers.
    guards: Vec<(Vec<u8>, Py<Throttle>)>,
    most_smtp_connections: NonZeroUsize,
    most_connections: u64,
    /// Until `run` takes it.
    poll: Mutex<Option<Poll>>,
    waker: Waker,
    is_stopped: AtomicBool,
    counts: Counts,
    events: Mutex<LogEvents>,
}

/// Numbers that only the loop writes.
#[derive(Debug, Default)]
struct Counts {
    turns: AtomicU64,
    requests: AtomicU64,
    errors: AtomicU64,
    connections: AtomicU64,
    smtp_connections: AtomicU64,
    dropped: AtomicU64,
    unknown_contexts: AtomicU64,
}

#[derive(Debug, Default)]
struct LogEvents {
    waiting: Vec<Event>,
    /// Whether the main thread was woken for them.
    is_woken: bool,
}

impl PolicyServer {
    /// Keeps an event for the log, and wakes the main thread unless it was woken for an earlier one.
    fn log_event(&self, main_wake: &Socket, event: &'static str, message: String) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = events.waiting.len() >= MOST_EVENTS;
        let (event, message) = if is_full { ("events lost", "too many at once".into()) } else { (event, message) };
        match events.waiting.last_mut() {
            Some((last, same, times)) if *last == event && *same == message => *times += 1,
            _ => events.waiting.push((event, message, 1)),
        }
        if !std::mem::replace(&mut events.is_woken, true) {
            let _ = main_wake.send(b"\0"); // it fails when many bytes wait: then the main thread is awake
        }
    }

    /// Keeps for the log why a connection is closed without an answer, and counts it.
    fn log_wrong(&self, main_wake: &Socket, wrong: &Wrong) {
        self.counts.errors.fetch_add(1, Ordering::Relaxed);
        self.log_event(
            main_wake,
            if matches!(wrong, Wrong::Request(_)) { "bad request" } else { "fault" },
            wrong.to_string(),
        );
    }
}

#[pymethods]
impl PolicyServer {
    #[new]
    fn new(guards: &Bound<'_, PyDict>, most_smtp_connections: NonZeroUsize, most_connections: u64) -> PyResult<Self> {
        let guard = |(name, guard): (Bound<'_, PyAny>, Bound<'_, PyAny>)| {
            Ok((name.extract::<String>()?.into_bytes(), guard.cast::<Throttle>()?.clone().unbind()))
        };
        let guards = guards.iter().map(guard).collect::<PyResult<_>>()?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), event_loop::WAKE)?;
        Ok(Self {
            guards,
            most_smtp_connections,
            most_connections,
            poll: Mutex::new(Some(poll)),
            waker,
            is_stopped: AtomicBool::new(false),
            counts: Counts::default(),
            events: Mutex::default(),
        })
    }

    #[doc = doc!("PolicyServer.run")]
    fn run(&self, py: Python<'_>, listeners: Vec<RawFd>, wake: RawFd, turn_seconds: f64) -> PyResult<u64> {
        let turn = Duration::try_from_secs_f64(turn_seconds)
            .map_err(|_| wrong_value("turn_seconds", &turn_seconds.to_string(), "seconds"))?;
        let poll = self.poll.lock().unwrap_or_else(PoisonError::into_inner).take();
        let poll = poll.ok_or_else(|| ThrottleError::new_err("run: this server has run already"))?;
        // SAFETY: the stub says that the caller gives up its descriptors, so nobody else closes them.
        let owned = |fd| unsafe { Socket::from_raw_fd(fd) };
        let (listeners, wake) = (listeners.into_iter().map(owned).collect(), owned(wake));
        Ok(py.detach(|| {
            let event_loop = EventLoop::new(self, poll, listeners, wake)?;
            #[cfg(target_os = "linux")]
            slice::shorten();
            event_loop.run(turn)
        })?)
    }

    #[doc = doc!("PolicyServer.stop")]
    fn stop(&self) -> PyResult<()> {
        self.is_stopped.store(true, Ordering::Release);
        Ok(self.waker.wake()?)
    }

    #[doc = doc!("PolicyServer.take_events")]
    fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut *self.events.lock().unwrap_or_else(PoisonError::into_inner)).waiting
    }

    #[doc = doc!("PolicyServer.turns")]
    #[getter]
    fn turns(&self) -> u64 {
        self.counts.turns.load(Ordering::Relaxed)
    }

    #[doc = doc!("PolicyServer.requests")]
    #[getter]
    fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }

    #[doc = doc!("PolicyServer.errors")]
    #[getter]
    fn errors(&self) -> u64 {
        self.counts.errors.load(Ordering::Relaxed)
    }

    #[doc = doc!("PolicyServer.connections")]
    #[getter]
    fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    #[doc = doc!("PolicyServer.smtp_connections")]
    #[getter]
    fn smtp_connections(&self) -> u64 {
        self.counts.smtp_connections.load(Ordering::Relaxed)
    }

    #[doc = doc!("PolicyServer.dropped")]
    #[getter]
    fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    #[doc = doc!("PolicyServer.unknown_contexts")]
    #[getter]
    fn unknown_contexts(&self) -> u64 {
        self.counts.unknown_contexts.load(Ordering::Relaxed)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.guards.iter().try_for_each(|(_, guard)| visit.call(guard))
    }
}
