//! `Session`: one SMTP connection, in which each step returns a decision. The session of the core knows the order of
//! the steps. This file keeps the text that is known from one step to the next.
//!
//! Invariant: what a session holds is released exactly once: by `close`, at the end of `with`, or when its last
//! reference is dropped.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockReadGuard};

use pyo3::prelude::*;
use pyo3::types::PyTuple;
use pyo3::{PyTraverseError, PyVisit};
use smallvec::SmallVec;
use throttle_core::engine::{Engine, Session as CoreSession, Step};
use throttle_core::envelope::Envelope as Core;
use throttle_core::policy::Stage;
use throttle_core::region::Now;

use crate::decision::Decision;
use crate::envelope::{Envelope, octets};
use crate::error::{ThrottleError, wrong_value};
use crate::guard::Throttle;
use crate::headers::texts;
use crate::permit::Ready;
use crate::report::report;
use crate::text::Text;

// Like the lock of a permit, this lock is held only for an instant, and no Python code runs meanwhile.
#[doc = doc!("Session")]
#[pyclass(module = "throttle", frozen)]
#[derive(Debug)]
pub(crate) struct Session {
    guard: Py<Throttle>,
    state: Mutex<State>,
}

/// The most bytes of a header's addresses and names that an idle session keeps for reports (P1). Ordinary headers are
/// shorter. A report about a message with a longer header ignores the header.
const MOST_HEADER_OCTETS: usize = 4096;

/// The session of the core, and the envelope that is known so far.
#[derive(Debug, Default)]
struct State {
    session: CoreSession,
    known: Envelope,
    /// The message whose data came last, without its recipients, until the next step: reports may be about it.
    ended: Option<Envelope>,
}

impl Session {
    pub(crate) fn new(
        guard: Py<Throttle>, client_ip: Option<&Bound<'_, PyAny>>, client_name: Option<&Bound<'_, PyAny>>, hold: bool,
    ) -> PyResult<Self> {
        let (ip, name) = (Text::client_ip(client_ip)?, Text::optional("client_name", client_name)?);
        let known = Envelope::of_client(ip, name);
        let session = if hold { CoreSession::default() } else { CoreSession::without_permits() };
        Ok(Self { guard, state: Mutex::new(State { session, known, ..State::default() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn engine(&self) -> RwLockReadGuard<'_, Arc<Engine>> {
        self.guard.get().engine()
    }

    fn now(&self, py: Python<'_>, now: Option<&Bound<'_, PyAny>>) -> PyResult<Now> {
        self.guard.get().clock.read(py, now)
    }

    /// Copies the known envelope. It contains the recipients only if `with_recipients` is set.
    fn known(&self, py: Python<'_>, with_recipients: bool) -> Envelope {
        let mut state = self.state();
        let recipients = std::mem::take(&mut state.known.rcpt_to);
        let mut known = state.known.copy(py);
        state.known.rcpt_to = recipients;
        if with_recipients {
            known.rcpt_to = state.known.rcpt_to.iter().map(|text| text.clone_ref(py)).collect();
        }
        known
    }

    /// Takes one step with `envelope`. When the step is admitted, `envelope` becomes the known envelope.
    fn step(
        &self, py: Python<'_>, envelope: Envelope, now: Now,
        take: impl FnOnce(&mut CoreSession, &Engine, &Core<'_>, Now) -> Step,
    ) -> PyResult<Py<Decision>> {
        let Step { decision, receipt: charge, .. } = self
            .guard
            .get()
            .measured(|| envelope.with(py, |core| take(&mut self.state().session, &self.engine(), core, now)));
        let known = decision.allowed().then(|| envelope.copy(py));
        let envelope = Py::new(py, envelope)?;
        let decision = Decision::of_envelope(py, decision, self.guard.clone_ref(py), envelope, charge)?;
        if let Some(known) = known {
            let _before = std::mem::replace(&mut self.state().known, known);
        }
        Ok(decision)
    }

    /// The answer to MAIL or the data of this transaction, if it was given before.
    fn repeated(&self, py: Python<'_>, stage: Stage, transaction: Option<&Text>) -> PyResult<Option<Py<Decision>>> {
        let repeated = |name: &Text| self.state().session.repeated(&self.engine(), stage, &name.bytes(py));
        let step = transaction.and_then(repeated);
        let Some(Step { decision, receipt, .. }) = step else { return Ok(None) };
        let envelope = Py::new(py, self.known(py, false))?;
        Decision::of_envelope(py, decision, self.guard.clone_ref(py), envelope, receipt).map(Some)
    }

    /// Raises when this is not the transaction that MAIL began: the server has mixed up two of them.
    fn check_transaction(&self, py: Python<'_>, transaction: Option<&Text>) -> PyResult<()> {
        let is_other = |name: &Text| self.state().session.is_other(&self.engine(), &name.bytes(py));
        if transaction.is_some_and(is_other) {
            let found = "the name of another transaction";
            return Err(wrong_value("transaction", found, "that of the mail step of this transaction"));
        }
        Ok(())
    }

    /// Forgets the transaction, which has ended, and the one that ended before.
    fn forget(&self, py: Python<'_>) {
        let known = self.known(py, false).without_message();
        let mut state = self.state();
        let _before = (std::mem::replace(&mut state.known, known), state.ended.take());
    }

    fn release(&self) {
        self.state().session.close(&self.engine());
    }
}

#[pymethods]
impl Session {
    #[doc = doc!("Session.connect")]
    #[pyo3(signature = (*, now=None))]
    fn connect(&self, py: Python<'_>, now: Option<&Bound<'_, PyAny>>) -> PyResult<Py<Decision>> {
        let now = self.now(py, now)?;
        self.step(py, self.known(py, true), now, CoreSession::connect)
    }

    #[doc = doc!("Session.helo")]
    #[pyo3(signature = (name, *, now=None))]
    fn helo(&self, py: Python<'_>, name: &Bound<'_, PyAny>, now: Option<&Bound<'_, PyAny>>) -> PyResult<Py<Decision>> {
        let (name, now) = (Text::new("name", name)?, self.now(py, now)?);
        self.forget(py);
        let mut known = self.known(py, false);
        known.helo = Some(name);
        self.step(py, known, now, CoreSession::helo)
    }

    #[doc = doc!("Session.mail")]
    #[pyo3(signature = (address, *, size=None, spf=None, auth_user=None, transaction=None, now=None))]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the Python method")]
    fn mail(
        &self, py: Python<'_>, address: &Bound<'_, PyAny>, size: Option<&Bound<'_, PyAny>>,
        spf: Option<&Bound<'_, PyAny>>, auth_user: Option<&Bound<'_, PyAny>>, transaction: Option<&Bound<'_, PyAny>>,
        now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Decision>> {
        let transaction = Text::optional("transaction", transaction)?;
        if let Some(decision) = self.repeated(py, Stage::Mail, transaction.as_ref())? {
            return Ok(decision);
        }
        let mut known = self.known(py, false);
        known.mail_from = Some(Text::new("address", address)?);
        known.size = octets(size)?;
        known.set_spf(spf)?;
        if let Some(user) = Text::optional("auth_user", auth_user)? {
            known.auth_user = Some(user);
        }
        let now = self.now(py, now)?;
        self.forget(py);
        let decision = self.step(py, known, now, CoreSession::mail);
        if let Some(name) = transaction {
            self.state().session.name_transaction(&self.engine(), &name.bytes(py));
        }
        decision
    }

    #[doc = doc!("Session.rcpt")]
    #[pyo3(signature = (recipients, *, transaction=None, now=None))]
    fn rcpt(
        &self, py: Python<'_>, recipients: &Bound<'_, PyAny>, transaction: Option<&Bound<'_, PyAny>>,
        now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Decision>> {
        self.check_transaction(py, Text::optional("transaction", transaction)?.as_ref())?;
        let mut asked = texts("recipients", Some(recipients))?;
        let now = self.now(py, now)?;
        let is_behind = self.state().session.is_behind();
        let mut known = self.known(py, is_behind);
        let Step { decision, receipt: charge, new_recipients } = known.with(py, |core| {
            let words: SmallVec<[_; 2]> = asked.iter().map(|text| text.bytes(py)).collect();
            let borrowed: SmallVec<[&[u8]; 4]> = words.iter().map(|text| &**text).collect();
            self.guard.get().measured(|| self.state().session.rcpt(&self.engine(), core, &borrowed, now))
        });
        if !new_recipients.is_empty() {
            asked = new_recipients.iter().map(|&place| asked[place].clone_ref(py)).collect();
            self.state().known.rcpt_to.extend(asked.iter().map(|text| text.clone_ref(py)));
        }
        known.rcpt_to = asked;
        Decision::of_envelope(py, decision, self.guard.clone_ref(py), Py::new(py, known)?, charge)
    }

    #[doc = doc!("Session.headers")]
    #[pyo3(signature = (headers, *, dkim=None, spf=None, now=None))]
    fn headers(
        &self, py: Python<'_>, headers: &Bound<'_, PyAny>, dkim: Option<&Bound<'_, PyAny>>,
        spf: Option<&Bound<'_, PyAny>>, now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Decision>> {
        let mut known = self.known(py, true);
        known.set_headers(py, Some(headers), dkim)?;
        if spf.is_some() {
            known.set_spf(spf)?;
        }
        let now = self.now(py, now)?;
        self.step(py, known, now, CoreSession::headers)
    }

    #[doc = doc!("Session.data")]
    #[pyo3(signature = (*, headers=None, dkim=None, size=None, transaction=None, now=None))]
    fn data(
        &self, py: Python<'_>, headers: Option<&Bound<'_, PyAny>>, dkim: Option<&Bound<'_, PyAny>>,
        size: Option<&Bound<'_, PyAny>>, transaction: Option<&Bound<'_, PyAny>>, now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<Decision>> {
        let transaction = Text::optional("transaction", transaction)?;
        if let Some(decision) = self.repeated(py, Stage::Data, transaction.as_ref())? {
            return Ok(decision);
        }
        self.check_transaction(py, transaction.as_ref())?;
        let mut known = self.known(py, true);
        if let Some(size) = octets(size)? {
            known.size = Some(size);
        }
        known.set_headers(py, headers, dkim)?;
        let now = self.now(py, now)?;
        let decision = self.step(py, known, now, CoreSession::data);
        let ended = self.known(py, false).without_longer_header(py, MOST_HEADER_OCTETS);
        if ended.mail_from.is_some() {
            self.forget(py);
            self.state().ended = Some(ended);
        }
        decision
    }

    #[doc = doc!("Session.report")]
    #[pyo3(signature = (outcome, recipient=None, *, now=None))]
    fn report(
        &self, py: Python<'_>, outcome: &Bound<'_, PyAny>, recipient: Option<&Bound<'_, PyAny>>,
        now: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (report, recipient) = (report(outcome)?, Text::optional("recipient", recipient)?);
        let now = self.now(py, now)?;
        let ended = self.state().ended.as_ref().map(|ended| ended.copy(py));
        let mut known = ended.unwrap_or_else(|| self.known(py, false));
        known.rcpt_to = recipient.into_iter().collect();
        known.with(py, |core| self.engine().report(core, report, now));
        Ok(())
    }

    #[doc = doc!("Session.reset")]
    fn reset(&self, py: Python<'_>) {
        self.state().session.reset(&self.engine());
        self.forget(py);
    }

    #[doc = doc!("Session.close")]
    fn close(&self) {
        self.release();
    }

    #[doc = doc!("Session.client_name")]
    #[getter]
    fn client_name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state().known.client_name.as_ref().map(|name| name.object(py))
    }

    /// Sets the name when it becomes known late. The next step consults the limits that need it.
    #[setter]
    fn set_client_name(&self, name: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let name = Text::optional("client_name", name)?;
        let mut state = self.state();
        let _before = std::mem::replace(&mut state.known.client_name, name);
        state.session.client_name_came();
        drop(state);
        Ok(())
    }

    #[doc = doc!("Session.auth_user")]
    #[getter]
    fn auth_user(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state().known.auth_user.as_ref().map(|user| user.object(py))
    }

    #[setter]
    fn set_auth_user(&self, user: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let user = Text::optional("auth_user", user)?;
        let _before = std::mem::replace(&mut self.state().known.auth_user, user);
        Ok(())
    }

    #[doc = doc!("Session.spf")]
    #[getter]
    fn spf(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.state().known.spf_word(py)
    }

    /// Sets the verdict when it becomes known after MAIL. It holds for the transaction, if there is one.
    #[setter]
    fn set_spf(&self, spf: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let mut state = self.state();
        if !state.known.rcpt_to.is_empty() {
            return Err(ThrottleError::new_err(
                "spf: found a transaction with recipients; allowed: before the first RCPT",
            ));
        }
        if state.known.mail_from.is_some() { state.known.set_spf(spf) } else { Envelope::default().set_spf(spf) }
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, _raised: &Bound<'_, PyTuple>) {
        self.release();
    }

    fn __aenter__(slf: Py<Self>) -> Ready {
        Ready { value: Some(slf.into_any()) }
    }

    /// Releases at once and not when the result is awaited, like a permit.
    #[pyo3(signature = (*_raised))]
    fn __aexit__(&self, _raised: &Bound<'_, PyTuple>) -> Ready {
        self.release();
        Ready { value: None }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.guard)
    }

    fn __repr__(&self) -> String {
        format!("Session({})", self.state().session.state())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.release();
    }
}
