//! Text that a sender controls: `str` or `bytes` in Python, raw bytes in Rust. No content of a text raises an error.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::error::not_of_type;

/// A field of an envelope, as the caller passed it: a `str` or `bytes`.
#[derive(Debug)]
pub(crate) struct Text(Py<PyAny>);

impl Text {
    /// Reads an optional text. Any other type is a mistake of the caller.
    pub(crate) fn optional(field: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Self>> {
        value.map(|value| Self::new(field, value)).transpose()
    }

    #[inline]
    pub(crate) fn new(field: &str, value: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::of(value).ok_or_else(|| not_of_type(field, value, "str or bytes"))
    }

    /// Reads a text, or an address object as text.
    #[inline]
    pub(crate) fn address(field: &str, value: &Bound<'_, PyAny>, types: AddressTypes) -> PyResult<Self> {
        match Self::of(value) {
            Some(text) => Ok(text),
            None => of_address(field, value, types),
        }
    }

    /// Reads the client's address, if the caller passes one.
    #[inline]
    pub(crate) fn client_ip(value: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Self>> {
        value.map(|value| Self::address("client_ip", value, AddressTypes::CLIENT)).transpose()
    }

    /// Returns the value as a text, or `None` when it is not a text.
    #[inline]
    pub(crate) fn of(value: &Bound<'_, PyAny>) -> Option<Self> {
        Self::is(value).then(|| Self(value.clone().unbind()))
    }

    /// Returns whether the value is a text.
    #[inline]
    pub(crate) fn is(value: &Bound<'_, PyAny>) -> bool {
        value.is_instance_of::<PyString>() || value.is_instance_of::<PyBytes>()
    }

    /// Returns the raw bytes, or `None` for a `str` that holds lone surrogates.
    #[inline]
    pub(crate) fn borrowed<'a>(&'a self, py: Python<'a>) -> Option<&'a [u8]> {
        let value = self.0.bind(py);
        match value.cast::<PyString>() {
            Ok(text) => text.to_str().ok().map(str::as_bytes),
            Err(_) => value.cast::<PyBytes>().ok().map(|bytes| bytes.as_bytes()),
        }
    }

    /// Returns the raw bytes. They are borrowed, except those of a `str` that holds lone surrogates.
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

/// Returns the text of an `ipaddress` object. `types` lists the classes that are accepted: addresses only, or networks
/// too.
#[cold]
fn of_address(field: &str, value: &Bound<'_, PyAny>, types: AddressTypes) -> PyResult<Text> {
    let module = value.py().import("ipaddress")?;
    for name in types.names {
        if value.get_type().is(module.getattr(*name)?) {
            let text = value.str()?;
            // The scope of a link-local address names an interface of the server, so it is not part of the client's
            // address.
            let text = text.to_string_lossy();
            let text = text.split('%').next().unwrap_or_default();
            return Ok(Text(PyString::new(value.py(), text).into_any().unbind()));
        }
    }
    Err(not_of_type(field, value, types.allowed))
}

/// The classes of `ipaddress` that an argument accepts in addition to text.
#[derive(Clone, Copy)]
pub(crate) struct AddressTypes {
    names: &'static [&'static str],
    allowed: &'static str,
}

impl AddressTypes {
    /// The classes for the address of one client.
    pub(crate) const CLIENT: Self = Self {
        names: &["IPv4Address", "IPv6Address"],
        allowed: "str, bytes, ipaddress.IPv4Address, ipaddress.IPv6Address or None",
    };
    /// The classes for a value that can be blocked.
    pub(crate) const ANY: Self = Self {
        names: &["IPv4Address", "IPv6Address", "IPv4Network", "IPv6Network"],
        allowed: "str, bytes, or an address or network of ipaddress",
    };
}

/// Lone surrogates U+DC80–U+DCFF become the raw bytes they came from (PEP 383). Any other surrogate becomes the three
/// bytes that UTF-8 would have for it.
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
