//! Mail addresses (RFC 5321 §4.1.2): what is around them, and what of a local part names the mailbox.
//!
//! Knows no suffix list. Reading never fails: any text is the null path, a lone local part, or a local part and a host.
//!
//! ```text
//! blanks, < >  →  source route  →  split at the last @
//! local part:  unquote → NFC → lower → NFC → SRS → every BATV tag → cut at the first + that does not lead
//! ```

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

use super::host::Host;
use super::plain;
use super::value::{As, Part, Tag};

/// The most bytes of a local part in its normal form; a longer one is OVERLONG. RFC 5321 §4.5.3.1.1 allows 64; real
/// return paths are longer.
const LONGEST: usize = 256;

/// What a path (RFC 5321 §4.1.1.2) holds: the null path, or a local part and what a reader makes of the host.
#[derive(Debug)]
pub(super) enum Address<'a, H> {
    /// `<>`
    Null,
    /// Local part and host; the host is missing for a lone `postmaster`.
    Mailbox(Folded<'a>, H),
}

/// Text in its normal form: a local part, a SASL user or the name of a mailing list.
#[derive(Debug)]
pub(super) struct Folded<'a> {
    raw: &'a [u8],
    /// The text, or the tag of text that has no normal form.
    text: Result<Cow<'a, str>, Tag>,
}

impl<'a, H> Address<'a, H> {
    #[inline(always)]
    pub(super) fn read(path: &'a [u8], make: impl FnOnce(Host<'a>) -> H) -> Self {
        match plain::mailbox(path) {
            Some((local, host)) => Self::Mailbox(Folded::plain(local), make(Host::plain(host))),
            None => Self::read_any(path, make),
        }
    }

    #[inline(never)]
    fn read_any(path: &'a [u8], make: impl FnOnce(Host<'a>) -> H) -> Self {
        let path = without_route(without_brackets(path));
        if path.is_empty() {
            return Self::Null;
        }
        match path.iter().rposition(|b| *b == b'@') {
            Some(at) => Self::Mailbox(Folded::local(&path[..at]), make(Host::read(&path[at + 1..]))),
            None => Self::Mailbox(Folded::local(path), make(Host::missing())),
        }
    }

    /// What was made of the host; `None` for the null path.
    pub(super) fn host(&self) -> Option<&H> {
        match self {
            Self::Null => None,
            Self::Mailbox(_, host) => Some(host),
        }
    }
}

impl<'a> Folded<'a> {
    pub(super) fn plain(text: &'a str) -> Self {
        Self { raw: text.as_bytes(), text: Ok(Cow::Borrowed(text)) }
    }

    /// Text whose normal form has at most so many bytes.
    pub(super) fn read(raw: &'a [u8], longest: usize) -> Self {
        Self { raw, text: bounded(fold(Cow::Borrowed(raw)), longest) }
    }

    fn local(raw: &'a [u8]) -> Self {
        Self::unquoted(raw, unquoted(raw))
    }

    /// A local part that was written as `raw`; `text` is without its quotes.
    pub(super) fn unquoted(raw: &'a [u8], text: Cow<'a, [u8]>) -> Self {
        let text = fold(text).map(|text| without_extension(without_batv(without_srs(text))));
        Self { raw, text: bounded(text, LONGEST) }
    }

    /// The text, if it has a normal form.
    pub(super) fn text(&self) -> Option<&str> {
        self.text.as_deref().ok()
    }

    /// Another spelling instead of the one that was read.
    pub(super) fn respelled(&mut self, text: Cow<'a, str>) {
        self.text = bounded(Some(text), LONGEST);
    }

    /// Whether it has a normal form.
    pub(super) fn is_plain(&self) -> bool {
        self.text.is_ok()
    }

    /// Its normal form, if it has one.
    pub(super) fn plain_text(&self) -> Option<&str> {
        self.text.as_deref().ok()
    }

    pub(super) fn part(&self, form: As) -> Part<'_> {
        match &self.text {
            Ok(text) => Part::Text(text),
            Err(_) if form == As::Element => Part::Raw(self.raw),
            Err(tag) => Part::Tag(*tag),
        }
    }
}

/// Folded text of at most so many bytes, or the tag that it has instead.
fn bounded(text: Option<Cow<'_, str>>, longest: usize) -> Result<Cow<'_, str>, Tag> {
    let text = text.ok_or(Tag::Malformed)?;
    if text.len() > longest { Err(Tag::Overlong) } else { Ok(text) }
}

fn without_brackets(mut path: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | b'\n' | b'<', rest @ ..] = path {
        path = rest;
    }
    while let [rest @ .., b' ' | b'\t' | b'\r' | b'\n' | b'>'] = path {
        path = rest;
    }
    path
}

/// Removes source routes, which RFC 5321 §4.1.1.3 accepts and ignores.
/// A colon ends no route when it is inside the brackets of a literal, or when no address follows.
fn without_route(mut path: &[u8]) -> &[u8] {
    while let [b'@', rest @ ..] = path {
        let mut inside = false;
        let colon = rest.iter().position(|b| {
            inside = (inside || *b == b'[') && *b != b']';
            *b == b':' && !inside
        });
        match colon.map(|colon| &rest[colon + 1..]) {
            Some(behind) if behind.is_empty() || behind.contains(&b'@') => path = without_brackets(behind),
            _ => break,
        }
    }
    path
}

/// Removes quotes, and the backslashes inside them (RFC 5321 §4.1.2); leaves alone what is not quoted to its end.
fn unquoted(local: &[u8]) -> Cow<'_, [u8]> {
    if !local.contains(&b'"') {
        return Cow::Borrowed(local);
    }
    let mut text = Vec::with_capacity(local.len());
    let mut quoted = false;
    let mut bytes = local.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => text.extend(bytes.next()),
            _ => text.push(byte),
        }
    }
    if quoted { Cow::Borrowed(local) } else { Cow::Owned(text) }
}

/// Removes what the Sender Rewriting Scheme renews every day: hash and time stamp.
/// The forwarder is the sender. The original sender is kept as a part of its name and never trusted.
fn without_srs(local: Cow<'_, str>) -> Cow<'_, str> {
    match srs0(&local).or_else(|| srs1(&local)) {
        Some(text) => Cow::Owned(text),
        None => local,
    }
}

/// `srs0=HHH=TT=host=local`
fn srs0(local: &str) -> Option<String> {
    let original = unstamped(local.strip_prefix("srs0")?.strip_prefix(['=', '-', '+'])?)?;
    Some(format!("srs0={original}"))
}

/// `srs1=HHH=forwarder==HHH=TT=host=local`
fn srs1(local: &str) -> Option<String> {
    let (hash, rest) = local.strip_prefix("srs1")?.strip_prefix(['=', '-', '+'])?.split_once('=')?;
    let (forwarder, rest) = rest.split_once('=')?;
    if hash.is_empty() || forwarder.is_empty() {
        return None;
    }
    let original = unstamped(rest.strip_prefix(['=', '-', '+'])?)?;
    Some(format!("srs1={forwarder}=={original}"))
}

/// Behind `HHH=TT=`, `host=local`. A time stamp has two characters of base 32.
fn unstamped(text: &str) -> Option<&str> {
    let (hash, rest) = text.split_once('=')?;
    let (stamp, original) = rest.split_once('=')?;
    let stamped = stamp.len() == 2 && stamp.bytes().all(|b| b.is_ascii_alphanumeric());
    (!hash.is_empty() && stamped && original.contains('=')).then_some(original)
}

/// Removes the tags of bounce address tag validation: there may be several, one before the other.
fn without_batv(local: Cow<'_, str>) -> Cow<'_, str> {
    let mut rest = &*local;
    while let Some(untagged) = untagged(rest) {
        rest = untagged;
    }
    let dropped = local.len() - rest.len();
    cut(local, |text| &text[dropped..])
}

/// A part of the text that `part` finds.
fn cut<'b>(text: Cow<'b, str>, part: impl Fn(&str) -> &str) -> Cow<'b, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(part(text)),
        Cow::Owned(text) => Cow::Owned(part(&text).to_owned()),
    }
}

/// `prvs=TAG=local`, `msprvs1=TAG=local`, `btv1==TAG==local`.
/// The draft's tag is ten hexadecimal digits; the wild ones are any letters, digits, `-` and `_`.
fn untagged(local: &str) -> Option<&str> {
    let (tag, rest) = if let Some(tagged) = local.strip_prefix("btv1==") {
        tagged.split_once("==")?
    } else {
        local.strip_prefix("prvs=").or_else(|| local.strip_prefix("msprvs1="))?.split_once('=')?
    };
    let sound = !tag.is_empty() && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    (sound && !rest.is_empty()).then_some(rest)
}

/// Cuts sub-addresses (RFC 5233) and variable envelope return paths.
fn without_extension(local: Cow<'_, str>) -> Cow<'_, str> {
    let Some(plus) = local.bytes().skip(1).position(|b| b == b'+') else { return local };
    cut(local, |text| &text[..plus + 1])
}

/// Converts text to NFC and lower case: a local part, a SASL user or the name of a mailing list. Returns `None` when
/// the bytes are not UTF-8. A result folds to itself.
///
/// Composed again after lowering: `J̌` has no composed capital, but its small letter `ǰ` is one character.
fn fold(text: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    let text = match text {
        Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).ok()?),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).ok()?),
    };
    if text.is_ascii() {
        if !text.bytes().fold(false, |found, b| found | b.is_ascii_uppercase()) {
            return Some(text);
        }
        let mut text = text.into_owned();
        text.make_ascii_lowercase();
        return Some(Cow::Owned(text));
    }
    let composed = if is_nfc(&text) { text } else { Cow::Owned(text.nfc().collect()) };
    Some(Cow::Owned(composed.to_lowercase().nfc().collect()))
}
