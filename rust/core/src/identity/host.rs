//! Host names (RFC 5321 §2.3.5) and address literals (§4.1.3).
//!
//! Knows no suffix list. Invariant: a sound name is lower-case A-labels of 1–63 bytes, at most 253 bytes; of an
//! unsound one the labels behind the last bad label are kept, because they may still name an organisation.
//!
//! UTS 46 runs a label at a time: an ASCII label is legal as it is (`a_b`, `-a`), whatever its neighbours are,
//! and one bad label spoils none behind it.

use std::borrow::Cow;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::network;
use super::plain::{self, PlainHost};
use super::value::{As, Part, Tag};

/// Bytes of a name (RFC 1035 §2.3.4: 255 with the length bytes of the first label and the root).
/// The limit of 127 labels needs no count of its own: 128 labels of one byte are 255 bytes with their dots.
const LONGEST_NAME: usize = 253;
/// Bytes of a label (RFC 1035 §2.3.4).
const LONGEST_LABEL: usize = 63;
/// The most bytes of a raw host that are read: the last ones.
const LONGEST_RAW: usize = 4096;
/// The most bytes of a raw label that is in Unicode or Punycode; a longer one is invalid. Punycode is quadratic in a
/// label. A label of 63 bytes holds at most 59 characters, 236 bytes in UTF-8. Only ignorable characters could make a
/// longer raw label fit.
const LONGEST_RAW_LABEL: usize = 256;

/// The characters that UTS 46 takes for a full stop.
const STOPS: [&str; 4] = [".", "。", "．", "｡"];

/// A host as it came, and what it means.
#[derive(Debug)]
pub(crate) struct Host<'a> {
    raw: &'a [u8],
    /// The whole name, the literal's address, or the sound tail of an unsound name.
    name: Cow<'a, str>,
    pub(super) form: Form,
    /// The dots of a plain name as bits by their place; zero of any other.
    pub(super) dots: u64,
}

/// What a host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// A name.
    Sound,
    /// An address.
    Literal,
    /// No name. `whole`: only too long; every label of it is sound.
    Unsound { tag: Tag, whole: bool },
    /// No host stood there.
    Missing,
}

impl<'a> Host<'a> {
    /// The host of an address without `@`.
    pub(crate) fn missing() -> Self {
        Self { raw: b"", name: Cow::Borrowed(""), form: Form::Missing, dots: 0 }
    }

    /// A name that is its own normal form.
    pub(super) fn plain(host: PlainHost<'a>) -> Self {
        let PlainHost { name, dots } = host;
        Self { raw: name.as_bytes(), name: Cow::Borrowed(name), form: Form::Sound, dots }
    }

    pub(crate) fn read(raw: &'a [u8]) -> Self {
        if let Some(host) = plain::host(raw) {
            return Self::plain(host);
        }
        let (name, form) = normalised(without_root(raw));
        Self { raw, name, form, dots: 0 }
    }

    /// A host that was written as `raw`, between comments or in another way that is no part of its `text`.
    pub(super) fn written(raw: &'a [u8], text: &[u8]) -> Self {
        let (name, form) = normalised(without_root(text));
        Self { raw, name: Cow::Owned(name.into_owned()), form, dots: 0 }
    }

    /// A sound name in its normal form instead of the one that was read.
    pub(super) fn renamed(&mut self, name: Cow<'a, str>) {
        (self.name, self.dots) = (name, 0);
    }

    /// Whether it has a normal form, so that its value is its element too.
    pub(super) fn is_plain(&self) -> bool {
        !matches!(self.form, Form::Unsound { .. })
    }

    /// The whole name, the address, or what is sound at the end of an unsound name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn part(&self, form: As) -> Part<'_> {
        match self.form {
            Form::Sound | Form::Literal => Part::Text(&self.name),
            Form::Unsound { .. } if form == As::Element => Part::Raw(self.raw),
            Form::Unsound { tag, .. } => Part::Tag(tag),
            Form::Missing => Part::Tag(Tag::Unqualified),
        }
    }
}

/// The name and the form of a host that is not plain, without blanks and the root's dot around it.
fn normalised(raw: &[u8]) -> (Cow<'_, str>, Form) {
    const MALFORMED: Form = Form::Unsound { tag: Tag::Malformed, whole: false };
    if let Some((name, capitals)) = sound(raw) {
        return named_or_literal(if capitals { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) });
    }
    if let [b'[', .., b']'] = raw {
        let address = network::address(raw).map(|address| (Cow::Owned(address.to_string()), Form::Literal));
        return address.unwrap_or((Cow::Borrowed(""), MALFORMED));
    }
    let (text, is_cut) = tail(raw);
    let (text, whole) = converted(text);
    let (whole, is_too_long) = (whole && !is_cut, is_cut || text.len() > LONGEST_NAME);
    match (whole, is_too_long) {
        (true, false) => named_or_literal(Cow::Owned(text)),
        (_, true) if whole || is_cut => (Cow::Owned(text), Form::Unsound { tag: Tag::Overlong, whole }),
        _ => (Cow::Owned(text), MALFORMED),
    }
}

/// An address without its brackets is no name: no top-level domain is a number.
fn named_or_literal(name: Cow<'_, str>) -> (Cow<'_, str>, Form) {
    let bytes = name.as_bytes();
    let may_be_address = bytes.last().is_some_and(u8::is_ascii_digit) || bytes.contains(&b':');
    match may_be_address.then(|| network::address(bytes)).flatten() {
        Some(address) => (Cow::Owned(address.to_string()), Form::Literal),
        None => (name, Form::Sound),
    }
}

/// Blanks and the root's dot are no part of a name.
fn without_root(raw: &[u8]) -> &[u8] {
    let raw = raw.trim_ascii();
    let stop = STOPS.iter().find_map(|stop| raw.strip_suffix(stop.as_bytes()));
    stop.unwrap_or(raw).trim_ascii_end()
}

/// A name in ASCII whose labels are sound, and whether it has capitals.
fn sound(name: &[u8]) -> Option<(&str, bool)> {
    if name.len() > LONGEST_NAME || name.first() == Some(&b'[') || !name.is_ascii() {
        return None;
    }
    let mut labels = name.split(|b| *b == b'.');
    if !labels.all(|label| (1..=LONGEST_LABEL).contains(&label.len()) && !claims_unicode(label)) {
        return None;
    }
    // Not `any`: a fold without a way out is done many bytes at a time.
    let capitals = name.iter().fold(false, |found, b| found | b.is_ascii_uppercase());
    Some((std::str::from_utf8(name).ok()?, capitals))
}

fn claims_unicode(label: &[u8]) -> bool {
    label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"xn--"))
}

/// Cuts a host of more than [`LONGEST_RAW`] bytes to its last bytes, at a label boundary. Returns the labels, and
/// whether it cut.
fn tail(name: &[u8]) -> (&[u8], bool) {
    let Some(from) = name.len().checked_sub(LONGEST_RAW).filter(|from| *from > 0) else { return (name, false) };
    let tail = &name[from..];
    let dot = tail.iter().position(|b| *b == b'.').map_or(tail.len(), |dot| dot + 1);
    (&tail[dot..], true)
}

/// The labels of a name behind the last bad one, and whether no label is bad.
fn converted(name: &[u8]) -> (String, bool) {
    let (mut text, mut whole) = (String::with_capacity(name.len()), true);
    for raw in labels(name) {
        let Some(label) = label(raw) else {
            text.clear();
            whole = false;
            continue;
        };
        if !text.is_empty() {
            text.push('.');
        }
        text += &label;
    }
    (text, whole)
}

/// Splits at the four characters that UTS 46 takes for a full stop.
fn labels(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(name);
    std::iter::from_fn(move || {
        let name = rest?;
        let stop_at = |at: usize| STOPS.iter().find(|stop| name[at..].starts_with(stop.as_bytes()));
        let stop = (0..name.len()).find_map(|at| Some((at, at + stop_at(at)?.len())));
        rest = stop.map(|(_, behind)| &name[behind..]);
        Some(stop.map_or(name, |(at, _)| &name[..at]))
    })
}

/// Normalises one label. Returns `None` if it is invalid. UTS 46 can map a character to a dot; the result is then
/// several valid labels.
pub(crate) fn label(raw: &[u8]) -> Option<Cow<'_, str>> {
    let sound = |text: &str| text.split('.').all(|label| (1..=LONGEST_LABEL).contains(&label.len()));
    if raw.is_ascii() && !claims_unicode(raw) {
        let text = std::str::from_utf8(raw).ok().filter(|text| sound(text))?;
        return Some(if raw.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(text.to_ascii_lowercase())
        } else {
            Cow::Borrowed(text)
        });
    }
    if raw.len() > LONGEST_RAW_LABEL {
        return None;
    }
    // The deny list keeps a mapped `＠`, `［` or blank from becoming one that means something.
    Uts46::new().to_ascii(raw, AsciiDenyList::URL, Hyphens::Allow, DnsLength::Ignore).ok().filter(|text| sound(text))
}
