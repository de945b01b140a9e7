//! Text that a sender controls: `str` or `bytes` in Python, raw bytes in Rust. Never raises.

use std::borrow::Cow;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

/// A field of an envelope, as it was given: a `str` or `bytes`.
#[derive(Debug)]
pub(crate) struct Text(Py<PyAny>);

impl Text {
    /// `None` stays `None`; anything but text is the caller's mistake.
    pub(crate) fn optional(field: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Self>> {
        value.map(|value| Self::new(field, value)).transpose()
    }

    #[inline]
    pub(crate) fn new(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::of(value).ok_or_else(|| not_text(field, value))
    }

    /// `None` when it is none.
    #[inline]
    pub(crate) fn of(value: &Bound<'_, PyAny>) -> Option<Self> {
        Self::is(value).then(|| Self(value.clone().unbind()))
    }

    /// Whether it is text.
    #[inline]
    pub(crate) fn is(value: &Bound<'_, PyAny>) -> bool {
        value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>()
    }

    /// The raw bytes, or `None` for a `str` that holds lone surrogates.
    #[inline]
    pub(crate) fn borrowed<'a>(&'a self, py: Python<'a>) -> Option<&'a [u8]> {
        let value = self.0.bind(py);
        match value.cast::<PyString>() {
            Ok(text) => text.to_str().ok().map(str::as_bytes),
            Err(_) => value.cast::<PyBytes>().ok().map(|bytes| bytes.as_bytes()),
        }
    }

    /// The raw bytes: borrowed but for a `str` that holds lone surrogates.
    #[inline]
    pub(crate) fn bytes<'a>(&'a self, py: Python<'a>) -> Cow<'a, [u8]> {
        match self.borrowed(py) {
            Some(bytes) => Cow::Borrowed(bytes),
            None => Cow::Owned(with_surrogates(self.0.bind(py))),
        }
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self(self.0.clone_ref(py))
    }

    pub(crate) fn object(&self, py: Python<'_>) -> Py<PyAny> {
        self.0.clone_ref(py)
    }
}

#[cold]
fn not_text(field: &str, value: &Bound<'_, PyAny>) -> PyErr {
    match value.get_type().name() {
        Ok(found) => PyTypeError::new_err(format!("{field}: found {found}; allowed: str or bytes")),
        Err(error) => error,
    }
}

/// Lone surrogates U+DC80–U+DCFF are the raw bytes they came from (PEP 383); any other stays the three octets that UTF-8 would have for it.
#[cold]
fn with_surrogates(text: &Bound<'_, PyAny>) -> Vec<u8> {
    let encoded = text.call_method1("encode", ("utf-8", "surrogatepass"));
    let Ok(encoded) = encoded.and_then(|bytes| bytes.extract::<Vec<u8>>()) else { return Vec::new() };
    let mut raw = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_slice();
    while let [first, tail @ ..] = rest {
        rest = match rest {
            [0xED, second @ 0xB2..=0xB3, third, tail @ ..] => {
                raw.push((second & 0x03) << 6 | third & 0x3F);
                tail
            }
            _ => {
                raw.push(*first);
                tail
            }
        };
    }
    raw
}
