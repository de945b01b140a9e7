//! `Envelope`: what is known of one SMTP transaction so far.

use std::borrow::Cow;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyString, PyTuple};
use smallvec::{SmallVec, smallvec};
use throttle_core::envelope::{Envelope as Core, Spf};

use crate::text::Text;

/// See `_core.pyi`. The free list: as for `Decision`.
#[pyclass(module = "throttle", frozen, freelist = 64)]
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    client_ip: Option<Text>,
    pub(crate) client_name: Option<Text>,
    pub(crate) helo: Option<Text>,
    pub(crate) mail_from: Option<Text>,
    pub(crate) rcpt_to: SmallVec<[Text; 1]>,
    pub(crate) auth_user: Option<Text>,
    spf: Option<Py<PyString>>,
    verdict: Option<Spf>,
    pub(crate) size: Option<u64>,
}

impl Envelope {
    /// Hands the core the borrowed text.
    pub(crate) fn with<R>(&self, py: Python<'_>, use_it: impl FnOnce(&Core<'_>) -> R) -> R {
        let (client_ip, client_name) = (bytes(py, &self.client_ip), bytes(py, &self.client_name));
        let (helo, mail_from, auth_user) =
            (bytes(py, &self.helo), bytes(py, &self.mail_from), bytes(py, &self.auth_user));
        let recipients: SmallVec<[_; 2]> = self.rcpt_to.iter().map(|text| text.bytes(py)).collect();
        let borrowed: SmallVec<[&[u8]; 4]> = recipients.iter().map(|text| &**text).collect();
        use_it(&Core {
            client_ip: client_ip.as_deref(),
            client_name: client_name.as_deref(),
            helo: helo.as_deref(),
            mail_from: mail_from.as_deref(),
            rcpt_to: &borrowed,
            auth_user: auth_user.as_deref(),
            spf: self.verdict,
            size: self.size,
        })
    }

    /// The same fields, in an envelope of its own.
    pub(crate) fn copy(&self, py: Python<'_>) -> Self {
        let text = |text: &Option<Text>| text.as_ref().map(|text| text.clone_ref(py));
        Self {
            client_ip: text(&self.client_ip),
            client_name: text(&self.client_name),
            helo: text(&self.helo),
            mail_from: text(&self.mail_from),
            rcpt_to: self.rcpt_to.iter().map(|text| text.clone_ref(py)).collect(),
            auth_user: text(&self.auth_user),
            spf: self.spf.as_ref().map(|spf| spf.clone_ref(py)),
            verdict: self.verdict,
            size: self.size,
        }
    }

    /// What is known of a connection at first.
    pub(crate) fn of_client(client_ip: Option<Text>, client_name: Option<Text>) -> Self {
        Self { client_ip, client_name, ..Self::default() }
    }

    /// What stays known of a connection when a message is over.
    pub(crate) fn without_message(self) -> Self {
        let Self { client_ip, client_name, helo, auth_user, .. } = self;
        Self { client_ip, client_name, helo, auth_user, ..Self::default() }
    }

    /// With this verdict of SPF.
    pub(crate) fn set_spf(&mut self, spf: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let spf = spf.map(said).transpose()?;
        self.verdict = spf.map(|spf| spf.to_str().map_or(Spf::Silent, verdict));
        self.spf = spf.map(|spf| spf.clone().unbind());
        Ok(())
    }

    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("client_ip", self.client_ip(py))?;
        fields.set_item("client_name", self.client_name(py))?;
        fields.set_item("helo", self.helo(py))?;
        fields.set_item("mail_from", self.mail_from(py))?;
        fields.set_item("rcpt_to", self.rcpt_to(py)?)?;
        fields.set_item("auth_user", self.auth_user(py))?;
        fields.set_item("spf", self.spf(py))?;
        fields.set_item("size", self.size)?;
        Ok(fields)
    }
}

fn bytes<'a>(py: Python<'a>, text: &'a Option<Text>) -> Option<Cow<'a, [u8]>> {
    text.as_ref().map(|text| text.bytes(py))
}

fn object(text: &Option<Text>, py: Python<'_>) -> Option<Py<PyAny>> {
    text.as_ref().map(|text| text.object(py))
}

/// One recipient, or any iterable of them.
pub(crate) fn recipients(value: Option<&Bound<'_, PyAny>>) -> PyResult<SmallVec<[Text; 1]>> {
    let Some(value) = value else { return Ok(SmallVec::new()) };
    if value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>() {
        return Ok(smallvec![Text::new("rcpt_to", value)?]);
    }
    let Ok(items) = value.try_iter() else {
        let found = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "rcpt_to: found {found}; allowed: str, bytes, or an iterable of them"
        )));
    };
    items.map(|item| Text::new("rcpt_to", &item?)).collect()
}

/// Any integer: a sender writes SIZE, so none raises.
pub(crate) fn octets(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let Some(value) = value else { return Ok(None) };
    let Ok(size) = value.cast::<PyInt>() else {
        let found = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("size: found {found}; allowed: int or None")));
    };
    let negative = size.lt(0)?;
    Ok(Some(size.extract().unwrap_or(if negative { 0 } else { u64::MAX })))
}

fn said<'a, 'py>(spf: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyString>> {
    let found = spf.get_type();
    let wrong = |_| match found.name() {
        Ok(found) => PyTypeError::new_err(format!("spf: found {found}; allowed: str or None")),
        Err(error) => error,
    };
    spf.cast::<PyString>().map_err(wrong)
}

/// The words of RFC 7208 §2.6. One that is none of them proves nothing, nor lets anything else prove it.
fn verdict(spf: &str) -> Spf {
    match spf.trim().to_ascii_lowercase().as_str() {
        "pass" => Spf::Pass,
        "" | "none" | "neutral" | "softfail" | "temperror" | "permerror" => Spf::Silent,
        _ => Spf::Fail,
    }
}

#[pymethods]
impl Envelope {
    #[new]
    #[pyo3(signature = (*, client_ip=None, client_name=None, helo=None, mail_from=None, rcpt_to=None, auth_user=None, spf=None, size=None))]
    #[allow(clippy::too_many_arguments)]
    fn new(
        client_ip: Option<&Bound<'_, PyAny>>,
        client_name: Option<&Bound<'_, PyAny>>,
        helo: Option<&Bound<'_, PyAny>>,
        mail_from: Option<&Bound<'_, PyAny>>,
        rcpt_to: Option<&Bound<'_, PyAny>>,
        auth_user: Option<&Bound<'_, PyAny>>,
        spf: Option<&Bound<'_, PyAny>>,
        size: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut envelope = Self {
            client_ip: Text::optional("client_ip", client_ip)?,
            client_name: Text::optional("client_name", client_name)?,
            helo: Text::optional("helo", helo)?,
            mail_from: Text::optional("mail_from", mail_from)?,
            rcpt_to: recipients(rcpt_to)?,
            auth_user: Text::optional("auth_user", auth_user)?,
            size: octets(size)?,
            ..Self::default()
        };
        envelope.set_spf(spf)?;
        Ok(envelope)
    }

    #[getter]
    fn client_ip(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        object(&self.client_ip, py)
    }

    #[getter]
    fn client_name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        object(&self.client_name, py)
    }

    #[getter]
    fn helo(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        object(&self.helo, py)
    }

    #[getter]
    fn mail_from(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        object(&self.mail_from, py)
    }

    #[getter]
    fn rcpt_to<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.rcpt_to.iter().map(|text| text.object(py)))
    }

    #[getter]
    fn auth_user(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        object(&self.auth_user, py)
    }

    #[getter]
    fn spf(&self, py: Python<'_>) -> Option<Py<PyString>> {
        self.spf.as_ref().map(|spf| spf.clone_ref(py))
    }

    #[getter]
    fn size(&self) -> Option<u64> {
        self.size
    }

    /// A copy with other fields.
    #[pyo3(signature = (**changes))]
    fn replace<'py>(slf: &Bound<'py, Self>, changes: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        let fields = slf.get().fields(slf.py())?;
        if let Some(changes) = changes {
            fields.update(changes.as_mapping())?;
        }
        slf.get_type().call((), Some(&fields))
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        match other.cast::<Self>() {
            Ok(other) => self.fields(py)?.eq(other.get().fields(py)?),
            Err(_) => Ok(false),
        }
    }

    fn __hash__(&self, py: Python<'_>) -> PyResult<isize> {
        PyTuple::new(py, self.fields(py)?.values())?.hash()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let mut shown = Vec::new();
        for (field, value) in self.fields(py)? {
            if !value.is_none() && !value.eq(PyTuple::empty(py))? {
                shown.push(format!("{field}={}", value.repr()?));
            }
        }
        Ok(format!("Envelope({})", shown.join(", ")))
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        Ok((PyTuple::empty(py), self.fields(py)?))
    }
}
