//! The header fields of an envelope. Few envelopes have header fields, so they have a struct of their own.

use std::borrow::Cow;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};
use smallvec::SmallVec;
use throttle_core::envelope::Headers as Core;
use throttle_core::identity::header_parser::Header;

use crate::error::not_of_type;
use crate::text::Text;

/// The values of one header field. Nearly always there is one.
type Texts = SmallVec<[Text; 1]>;

/// The header fields as the caller passed them.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    pub(crate) from: Texts,
    pub(crate) reply_to: Texts,
    pub(crate) list_id: Option<Text>,
    pub(crate) dkim: Texts,
}

impl Headers {
    /// The bytes of all texts.
    pub(crate) fn octets(&self, py: Python<'_>) -> usize {
        let Self { from, reply_to, list_id, dkim } = self;
        from.iter().chain(reply_to).chain(list_id).chain(dkim).map(|text| text.bytes(py).len()).sum()
    }

    /// Reads the arguments. Returns `None` when none of them has a value.
    pub(crate) fn optional(
        header_from: Option<&Bound<'_, PyAny>>, reply_to: Option<&Bound<'_, PyAny>>,
        list_id: Option<&Bound<'_, PyAny>>, dkim: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Option<Box<Self>>> {
        if header_from.is_none() && reply_to.is_none() && list_id.is_none() && dkim.is_none() {
            return Ok(None);
        }
        let headers = Self {
            from: texts("header_from", header_from)?,
            reply_to: texts("reply_to", reply_to)?,
            list_id: Text::optional("list_id", list_id)?,
            dkim: texts("dkim", dkim)?,
        };
        let is_empty = headers.from.is_empty() && headers.reply_to.is_empty() && headers.dkim.is_empty();
        Ok((!is_empty || headers.list_id.is_some()).then(|| Box::new(headers)))
    }

    pub(crate) fn clone_ref(&self, py: Python<'_>) -> Self {
        let all = |texts: &Texts| texts.iter().map(|text| text.clone_ref(py)).collect();
        let list_id = self.list_id.as_ref().map(|text| text.clone_ref(py));
        Self { from: all(&self.from), reply_to: all(&self.reply_to), list_id, dkim: all(&self.dkim) }
    }

    /// Returns the raw bytes of all fields.
    pub(crate) fn bytes<'a>(&'a self, py: Python<'a>) -> Raw<'a> {
        let all = |texts: &'a Texts| texts.iter().map(|text| text.bytes(py)).collect();
        Raw {
            from: all(&self.from),
            reply_to: all(&self.reply_to),
            list_id: self.list_id.as_ref().map(|text| text.bytes(py)),
            dkim: all(&self.dkim),
        }
    }
}

/// The bytes of [`Headers`]. They are borrowed, except those of a `str` with lone surrogates, which are a copy.
pub(crate) struct Raw<'a> {
    from: Vec<Cow<'a, [u8]>>,
    reply_to: Vec<Cow<'a, [u8]>>,
    list_id: Option<Cow<'a, [u8]>>,
    dkim: Vec<Cow<'a, [u8]>>,
}

impl Raw<'_> {
    pub(crate) fn slices(&self) -> [Vec<&[u8]>; 3] {
        [&self.from, &self.reply_to, &self.dkim].map(|all| all.iter().map(|text| &**text).collect())
    }

    /// Converts the fields to the type of the core.
    pub(crate) fn borrowed<'b>(&'b self, [from, reply_to, dkim]: &'b [Vec<&'b [u8]>; 3]) -> Core<'b> {
        Core { from, reply_to, list_id: self.list_id.as_deref(), dkim }
    }
}

/// Reads one text, or any iterable of texts.
pub(crate) fn texts(field: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Texts> {
    let Some(value) = value else { return Ok(SmallVec::new()) };
    if let Some(text) = Text::of(value) {
        return Ok(SmallVec::from_buf([text]));
    }
    let Ok(items) = value.try_iter() else {
        return Err(not_of_type(field, value, "str, bytes, or an iterable of them"));
    };
    items.map(|item| Text::new(field, &item?)).collect()
}

/// Reads the argument `field`, which holds the bytes of a message or of its header.
pub(crate) fn message<'a>(field: &str, given: &'a Bound<'_, PyAny>) -> PyResult<&'a [u8]> {
    match given.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.as_bytes()),
        Err(_) => Err(not_of_type(field, given, "bytes")),
    }
}

/// Reads the header of `message`. Returns its fields as keyword arguments of `Envelope`.
pub(crate) fn read<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyDict>> {
    let Header { from, reply_to, list_id } = Header::read(message);
    let fields = PyDict::new(py);
    let all = |values: Vec<Vec<u8>>| PyTuple::new(py, values.iter().map(|value| text(py, value)));
    fields.set_item("header_from", all(from)?)?;
    fields.set_item("reply_to", all(reply_to)?)?;
    fields.set_item("list_id", list_id.map(|list| text(py, &list)))?;
    Ok(fields)
}

/// Makes a `str` when the bytes are UTF-8, and `bytes` otherwise.
fn text<'py>(py: Python<'py>, octets: &[u8]) -> Bound<'py, PyAny> {
    match std::str::from_utf8(octets) {
        Ok(text) => PyString::new(py, text).into_any(),
        Err(_) => PyBytes::new(py, octets).into_any(),
    }
}
