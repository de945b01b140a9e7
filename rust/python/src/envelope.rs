//! `Envelope`: the facts of one SMTP transaction that are known so far.

use pyo3::prelude::*;
#[cfg(not(feature = "abi3"))]
use pyo3::types::PyList;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple};
use smallvec::SmallVec;
use throttle_core::envelope::{Envelope as Core, Spf};

use crate::error::not_of_type;
use crate::headers::{self, Headers, read, texts};
use crate::text::Text;
#[cfg(not(feature = "abi3"))]
use crate::vectorcall::Arguments;

/// The keywords of `Envelope(…)`, in the order of its fields.
#[cfg(not(feature = "abi3"))]
pub(crate) const FIELDS: [&str; 12] = [
    "client_ip",
    "client_name",
    "helo",
    "mail_from",
    "rcpt_to",
    "auth_user",
    "spf",
    "size",
    "header_from",
    "reply_to",
    "list_id",
    "dkim",
];

// The free list is for hot callers, like the one of `Decision`.
#[doc = doc!("Envelope")]
#[pyclass(module = "throttle", frozen, freelist = 64)]
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    pub(crate) client_ip: Option<Text>,
    pub(crate) client_name: Option<Text>,
    pub(crate) helo: Option<Text>,
    pub(crate) mail_from: Option<Text>,
    pub(crate) rcpt_to: SmallVec<[Text; 1]>,
    pub(crate) auth_user: Option<Text>,
    spf: Option<Py<PyString>>,
    verdict: Option<Spf>,
    pub(crate) size: Option<u64>,
    headers: Option<Box<Headers>>,
}

impl Envelope {
    /// Makes the envelope of these arguments, or returns `None` when the slow path must read them. The slow path raises
    /// the errors. It also reads header fields, and arguments that run Python code, such as iterators.
    #[cfg(not(feature = "abi3"))]
    #[inline]
    pub(crate) fn plain(arguments: &Arguments<'_, '_>) -> Option<Self> {
        let [client_ip, client_name, helo, mail_from, rcpt_to, auth_user, spf, size, header @ ..] = *arguments;
        if header.iter().any(Option::is_some) {
            return None;
        }
        let text =
            |value: Option<Borrowed<'_, '_, PyAny>>| value.map_or(Some(None), |value| Text::of(&value).map(Some));
        let (spf, verdict) = spf.map_or(Ok(None), |spf| said(&spf).map(Some)).ok()?.unzip();
        Some(Self {
            client_ip: text(client_ip)?,
            client_name: text(client_name)?,
            helo: text(helo)?,
            mail_from: text(mail_from)?,
            rcpt_to: rcpt_to.map_or(Some(SmallVec::new()), |rcpt_to| plain_texts(&rcpt_to))?,
            auth_user: text(auth_user)?,
            spf,
            verdict,
            size: size.map_or(Some(None), |size| size.cast::<PyInt>().ok()?.extract().ok().map(Some))?,
            headers: None,
        })
    }

    /// Calls `use_it` with an envelope of the core that borrows the text.
    #[inline]
    pub(crate) fn with<R>(&self, py: Python<'_>, use_it: impl FnOnce(&Core<'_>) -> R) -> R {
        // Nearly every envelope has one recipient, and then no list is allocated.
        let (one, many);
        let rcpt_to = match &self.rcpt_to[..] {
            [text] => {
                one = text.borrowed(py);
                one.is_some().then_some(one.as_slice())
            }
            texts => {
                many = texts.iter().map(|text| text.borrowed(py)).collect::<Option<Vec<_>>>();
                many.as_deref()
            }
        };
        match (rcpt_to, self.borrowed(py)) {
            (Some(rcpt_to), Some(fields)) => use_it(&Core { rcpt_to, ..fields }),
            _ => self.with_copies(py, use_it),
        }
    }

    /// Borrows the fields that hold one text each. Returns `None` when a field must be copied or collected first.
    #[inline]
    fn borrowed<'a>(&'a self, py: Python<'a>) -> Option<Core<'a>> {
        let bytes = |text: &'a Option<Text>| text.as_ref().map_or(Some(None), |text| text.borrowed(py).map(Some));
        if self.headers.is_some() {
            return None;
        }
        Some(Core {
            client_ip: bytes(&self.client_ip)?,
            client_name: bytes(&self.client_name)?,
            helo: bytes(&self.helo)?,
            mail_from: bytes(&self.mail_from)?,
            rcpt_to: &[],
            auth_user: bytes(&self.auth_user)?,
            spf: self.verdict,
            size: self.size,
            headers: None,
        })
    }

    /// Does the work of `with` for an envelope that has a header, or a `str` with lone surrogates.
    #[cold]
    fn with_copies<R>(&self, py: Python<'_>, use_it: impl FnOnce(&Core<'_>) -> R) -> R {
        let bytes = |text| Option::as_ref(text).map(|text: &Text| text.bytes(py));
        let [client_ip, client_name, helo, mail_from, auth_user] =
            [&self.client_ip, &self.client_name, &self.helo, &self.mail_from, &self.auth_user].map(bytes);
        let rcpt_to: Vec<_> = self.rcpt_to.iter().map(|text| text.bytes(py)).collect();
        let rcpt_to: Vec<&[u8]> = rcpt_to.iter().map(|text| &**text).collect();
        let raw = self.headers.as_ref().map(|headers| headers.bytes(py));
        let slices = raw.as_ref().map(|raw| raw.slices());
        let headers = raw.as_ref().zip(slices.as_ref()).map(|(raw, slices)| raw.borrowed(slices));
        use_it(&Core {
            client_ip: client_ip.as_deref(),
            client_name: client_name.as_deref(),
            helo: helo.as_deref(),
            mail_from: mail_from.as_deref(),
            rcpt_to: &rcpt_to,
            auth_user: auth_user.as_deref(),
            spf: self.verdict,
            size: self.size,
            headers: headers.as_ref(),
        })
    }

    /// Copies the envelope.
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
            headers: self.headers.as_ref().map(|headers| Box::new(headers.clone_ref(py))),
        }
    }

    /// Makes the envelope of a new connection from the client's address and name.
    pub(crate) fn of_client(client_ip: Option<Text>, client_name: Option<Text>) -> Self {
        Self { client_ip, client_name, ..Self::default() }
    }

    /// Keeps the fields that stay known when a message ends: those of the connection.
    pub(crate) fn without_message(self) -> Self {
        let Self { client_ip, client_name, helo, auth_user, .. } = self;
        Self { client_ip, client_name, helo, auth_user, ..Self::default() }
    }

    /// Drops what is known of the header if its texts have more than `most` bytes.
    pub(crate) fn without_longer_header(mut self, py: Python<'_>, most: usize) -> Self {
        self.headers = self.headers.filter(|headers| headers.octets(py) <= most);
        self
    }

    /// The SPF verdict as the caller passed it.
    pub(crate) fn spf_word(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.spf.as_ref().map(|word| word.clone_ref(py).into_any())
    }

    /// Sets the SPF verdict.
    pub(crate) fn set_spf(&mut self, spf: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        (self.spf, self.verdict) = spf.map(said).transpose()?.unzip();
        Ok(())
    }

    /// Sets the fields that `header` contains, and the domains whose signatures were verified.
    pub(crate) fn set_headers(
        &mut self, py: Python<'_>, header: Option<&Bound<'_, PyAny>>, dkim: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let said = header.map(|header| read(py, headers::message("headers", header)?)).transpose()?;
        let field = |name| said.as_ref().map_or(Ok(None), |said| said.get_item(name));
        let (from, reply_to) = (field("header_from")?, field("reply_to")?);
        let list_id = field("list_id")?.filter(|list_id| !list_id.is_none());
        self.headers = Headers::optional(from.as_ref(), reply_to.as_ref(), list_id.as_ref(), dkim)?;
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
        fields.set_item("header_from", self.header_from(py)?)?;
        fields.set_item("reply_to", self.reply_to(py)?)?;
        fields.set_item("list_id", self.list_id(py))?;
        fields.set_item("dkim", self.dkim(py)?)?;
        Ok(fields)
    }

    fn of_header<'py>(
        &self, py: Python<'py>, field: impl Fn(&Headers) -> &SmallVec<[Text; 1]>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let texts = self.headers.as_ref().map(|headers| field(headers)).into_iter().flatten();
        PyTuple::new(py, texts.map(|text| text.object(py)).collect::<Vec<_>>())
    }
}

/// Reads one text, or a tuple or a list of texts. The slow path reads everything else.
#[cfg(not(feature = "abi3"))]
#[inline]
fn plain_texts(value: &Bound<'_, PyAny>) -> Option<SmallVec<[Text; 1]>> {
    if let Some(text) = Text::of(value) {
        return Some(SmallVec::from_buf([text]));
    }
    if let Ok(tuple) = value.cast_exact::<PyTuple>() {
        return tuple.iter_borrowed().map(|item| Text::of(&item)).collect();
    }
    value.cast_exact::<PyList>().ok()?.iter().map(|item| Text::of(&item)).collect()
}

fn object(text: &Option<Text>, py: Python<'_>) -> Option<Py<PyAny>> {
    text.as_ref().map(|text| text.object(py))
}

/// Reads a size in bytes. A sender writes SIZE, so no integer raises an error.
pub(crate) fn octets(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<u64>> {
    let Some(value) = value else { return Ok(None) };
    let Ok(size) = value.cast::<PyInt>() else {
        return Err(not_of_type("size", value, "int or None"));
    };
    let negative = size.lt(0)?;
    Ok(Some(size.extract().unwrap_or(if negative { 0 } else { u64::MAX })))
}

/// Returns the SPF verdict as the caller passed it, and its meaning. A `str` with lone surrogates is no verdict.
fn said(spf: &Bound<'_, PyAny>) -> PyResult<(Py<PyString>, Spf)> {
    let Ok(word) = spf.cast::<PyString>() else {
        return Err(not_of_type("spf", spf, "str or None"));
    };
    Ok((word.clone().unbind(), word.to_str().map_or(Spf::Silent, verdict)))
}

/// Parses a verdict of RFC 7208 §2.6. An unknown word counts as a failure: then the client's name does not prove the
/// sender either.
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
    #[pyo3(
        signature = (
            *, client_ip=None, client_name=None, helo=None, mail_from=None, rcpt_to=None, auth_user=None, spf=None,
            size=None, header_from=None, reply_to=None, list_id=None, dkim=None
        ),
        text_signature = "(*, client_ip=None, client_name=None, helo=None, mail_from=None, rcpt_to=None, \
                          auth_user=None, spf=None, size=None, header_from=None, reply_to=None, list_id=None, dkim=())"
    )]
    #[allow(clippy::too_many_arguments)]
    fn new(
        client_ip: Option<&Bound<'_, PyAny>>, client_name: Option<&Bound<'_, PyAny>>, helo: Option<&Bound<'_, PyAny>>,
        mail_from: Option<&Bound<'_, PyAny>>, rcpt_to: Option<&Bound<'_, PyAny>>, auth_user: Option<&Bound<'_, PyAny>>,
        spf: Option<&Bound<'_, PyAny>>, size: Option<&Bound<'_, PyAny>>, header_from: Option<&Bound<'_, PyAny>>,
        reply_to: Option<&Bound<'_, PyAny>>, list_id: Option<&Bound<'_, PyAny>>, dkim: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (spf, verdict) = spf.map(said).transpose()?.unzip();
        Ok(Self {
            client_ip: Text::client_ip(client_ip)?,
            client_name: Text::optional("client_name", client_name)?,
            helo: Text::optional("helo", helo)?,
            mail_from: Text::optional("mail_from", mail_from)?,
            rcpt_to: texts("rcpt_to", rcpt_to)?,
            auth_user: Text::optional("auth_user", auth_user)?,
            spf,
            verdict,
            size: octets(size)?,
            headers: Headers::optional(header_from, reply_to, list_id, dkim)?,
        })
    }

    #[doc = doc!("Envelope.client_ip")]
    #[getter]
    fn client_ip(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        object(&self.client_ip, py)
    }

    #[doc = doc!("Envelope.client_name")]
    #[getter]
    fn client_name(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        object(&self.client_name, py)
    }

    #[doc = doc!("Envelope.helo")]
    #[getter]
    fn helo(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        object(&self.helo, py)
    }

    #[doc = doc!("Envelope.mail_from")]
    #[getter]
    fn mail_from(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        object(&self.mail_from, py)
    }

    #[doc = doc!("Envelope.rcpt_to")]
    #[getter]
    fn rcpt_to<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.rcpt_to.iter().map(|text| text.object(py)))
    }

    #[doc = doc!("Envelope.auth_user")]
    #[getter]
    fn auth_user(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        object(&self.auth_user, py)
    }

    #[doc = doc!("Envelope.spf")]
    #[getter]
    fn spf(&self, py: Python<'_>) -> Option<Py<PyString>> {
        self.spf.as_ref().map(|spf| spf.clone_ref(py))
    }

    #[doc = doc!("Envelope.size")]
    #[getter]
    fn size(&self) -> Option<u64> {
        self.size
    }

    #[doc = doc!("Envelope.header_from")]
    #[getter]
    fn header_from<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.of_header(py, |headers| &headers.from)
    }

    #[doc = doc!("Envelope.reply_to")]
    #[getter]
    fn reply_to<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.of_header(py, |headers| &headers.reply_to)
    }

    #[doc = doc!("Envelope.list_id")]
    #[getter]
    fn list_id(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.headers.as_ref().and_then(|headers| object(&headers.list_id, py))
    }

    #[doc = doc!("Envelope.dkim")]
    #[getter]
    fn dkim<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.of_header(py, |headers| &headers.dkim)
    }

    #[doc = doc!("Envelope.from_message")]
    #[staticmethod]
    #[pyo3(signature = (message, **fields))]
    fn from_message<'py>(
        py: Python<'py>, message: &Bound<'py, PyAny>, fields: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let all = read(py, headers::message("message", message)?)?;
        if let Some(fields) = fields {
            all.update(fields.as_mapping())?;
        }
        py.get_type::<Self>().call((), Some(&all))
    }

    #[doc = doc!("Envelope.with_headers")]
    fn with_headers<'py>(slf: &Bound<'py, Self>, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Self::replace(slf, Some(&read(slf.py(), headers::message("message", message)?)?))
    }

    #[doc = doc!("Envelope.replace")]
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
