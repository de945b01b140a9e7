//! What a border server wrote about a message into its `Authentication-Results` fields (RFC 8601): the SPF verdict for
//! MAIL FROM, and the domains whose DKIM signatures it has verified.
//!
//! **Idea.** A sender controls parts of such a field too: the address after `smtp.mailfrom=`, the `d=` and `i=` of his
//! signatures. So a field is read in one pass, and what is doubtful never proves anything:
//!
//! * A field ends at LF. A field with a bare CR counts for nothing, because other software ends a line there.
//! * The topmost fields that bear the server's name count, and no other. A field of that name that is too long, or
//!   broken before its first `;`, takes up its place and counts for nothing.
//! * A field is split at each `;` outside comments and quoted strings, and each part is read by itself. A part that
//!   does not follow the grammar is dropped. A comment or a quoted string that never ends hides the rest of the field.
//! * No comment touches a value. Otherwise `d=victim.com(.evil.com`, which the owner of `evil.com` can sign with, reads
//!   as `victim.com`.
//!
//! **Cost.** Linear: no byte is read more than a few times, to find the end of its field, its part and its word. The
//! domains of 64 signatures are read, and no others.
//!
//! Knows no limits and verifies nothing. Invariant: reading never fails, and no field of another name has an effect.
//!
//! The grammar is that of RFC 8601 §2.2, wider in four places, because servers in use write more than it allows: a
//! value is any run of bytes without blanks, quotes, parentheses and control characters (`policy.iprev=2a01::2`,
//! `smtp.mailfrom=<>`), a property needs no type (`action=none`), `_` may stand in a word, and a part may be empty.

use std::borrow::Cow;
use std::ops::Range;

use super::header_address::MOST_VALUES;
use super::host::{Form, Host};

/// Bytes of a header that are read. A field that does not end within them is not read.
pub const MOST_OCTETS: usize = 256 * 1024;

/// Bytes of a field. A longer one counts for nothing.
pub const MOST_FIELD_OCTETS: usize = 64 * 1024;

/// Verified signatures whose domains are read: eight times what counts. To read a domain takes a hundred times as long
/// as to skip it, and a sender may sign as often as he likes.
const MOST_SIGNERS: usize = 8 * MOST_VALUES;

/// What the server found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthenticationResults {
    /// The topmost SPF verdict for MAIL FROM, in lower case: a word of RFC 8601 §2.7.2, or another one.
    pub spf: Option<String>,
    /// The domains of verified signatures in A-labels (RFC 8616), at most eight, each once.
    pub dkim: Vec<String>,
}

impl AuthenticationResults {
    /// Reads the topmost `most_fields` fields that bear the name `authserv_id`. `message` may consist of a header
    /// alone.
    pub fn read(message: &[u8], authserv_id: &[u8], most_fields: usize) -> Self {
        let (mut found, mut signers) = (Self::default(), 0..MOST_SIGNERS);
        let named = fields(message).filter_map(|field| behind_name(field, authserv_id));
        for rest in named.take(most_fields) {
            for part in rest.and_then(results).into_iter().flat_map(parts) {
                if let Some(part) = Part::read(part) {
                    found.add(&part, &mut signers);
                }
            }
        }
        found
    }

    fn add(&mut self, part: &Part<'_>, signers: &mut Range<usize>) {
        if part.method.eq_ignore_ascii_case(b"spf") && (part.has_mail_from || !part.has_helo) {
            self.spf.get_or_insert_with(|| String::from_utf8_lossy(part.result).to_ascii_lowercase());
        }
        if part.method.eq_ignore_ascii_case(b"dkim") && part.result.eq_ignore_ascii_case(b"pass") {
            if signers.next().is_none() {
                return;
            }
            // Google and GMX write only header.i. Its domain is that of `d=` or one below it (RFC 6376 §3.5).
            let signer = part.header_d.as_deref().or_else(|| part.header_i.as_deref().and_then(behind_at));
            let signer = signer.and_then(domain).filter(|signer| !self.dkim.contains(signer));
            self.dkim.extend(signer.filter(|_| self.dkim.len() < MOST_VALUES));
        }
    }
}

/// The bodies of the `Authentication-Results` fields from the top. The header ends at the first line that is no field:
/// a server that finds such a line takes it for the body.
fn fields(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    let is_cut = message.len() > MOST_OCTETS;
    let mut rest = &message[..message.len().min(MOST_OCTETS)];
    let lines = std::iter::from_fn(move || {
        let (field, behind) = first_field(rest, is_cut)?;
        rest = behind;
        let (name, body) = field.split_at(field.iter().position(|byte| *byte == b':')?);
        let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        is_name.then_some((name, &body[1..]))
    });
    lines.filter(|(name, _)| name.eq_ignore_ascii_case(b"Authentication-Results")).map(|(_, body)| body)
}

/// The field that `header` begins with, without its line end, and what comes after it. A line that begins with a blank
/// continues the field.
fn first_field(header: &[u8], is_cut: bool) -> Option<(&[u8], &[u8])> {
    let mut lines = 0;
    let end = loop {
        let Some(line) = header[lines..].iter().position(|byte| *byte == b'\n') else {
            return (!is_cut && !header.is_empty()).then_some((header, &[]));
        };
        lines += line + 1;
        match header.get(lines) {
            Some(b' ' | b'\t') => {}
            None if is_cut => return None,
            _ => break lines,
        }
    };
    let field = &header[..end - 1];
    Some((field.strip_suffix(b"\r").unwrap_or(field), &header[end..]))
}

/// What stands behind the name in a field that bears `authserv_id`, however it goes on: `Some(None)` for a field that
/// counts for nothing.
fn behind_name<'f>(field: &'f [u8], authserv_id: &[u8]) -> Option<Option<&'f [u8]>> {
    let (name, rest) = without_blanks(field).split_at_checked(authserv_id.len())?;
    let goes_on = rest.first().is_some_and(|byte| !is_blank(*byte) && !b";(".contains(byte));
    if !name.eq_ignore_ascii_case(authserv_id) || goes_on {
        return None;
    }
    Some((field.len() <= MOST_FIELD_OCTETS && !has_bare_cr(field)).then_some(rest))
}

/// What stands behind the first `;`, where nothing but version 1 stands before it. RFC 8601 allows comments there, but
/// no server writes one, and a filter that removes forged fields may not know the name in front of it.
fn results(behind_name: &[u8]) -> Option<&[u8]> {
    let (version, results) = behind_name.split_at(behind_name.iter().position(|byte| *byte == b';')?);
    let is_known = match without_blanks(version) {
        b"" => true,
        [b'1', behind @ ..] => is_blank(version[0]) && without_blanks(behind).is_empty(),
        _ => false,
    };
    is_known.then_some(&results[1..])
}

/// The parts of a field, without a last one in which a comment or a quoted string is open.
fn parts(results: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(results);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut at = 0;
        while at < text.len() && text[at] != b';' {
            let length = match text[at] {
                b'(' => comment(&text[at..]),
                b'"' => quoted(&text[at..]),
                _ => Some(1),
            };
            let Some(length) = length else {
                rest = None;
                return None;
            };
            at += length;
        }
        rest = text.get(at + 1..);
        Some(&text[..at])
    })
}

/// One result: `method[/1]=result [reason=value] [ptype.property=value …]`.
#[derive(Debug, Default)]
struct Part<'p> {
    method: &'p [u8],
    result: &'p [u8],
    has_mail_from: bool,
    has_helo: bool,
    header_d: Option<Cow<'p, [u8]>>,
    header_i: Option<Cow<'p, [u8]>>,
}

impl<'p> Part<'p> {
    fn read(part: &'p [u8]) -> Option<Self> {
        let mut words = Words { rest: part };
        words.skip_blanks()?;
        let method = words.word()?;
        words.skip_blanks()?;
        if words.skip(b'/') {
            words.skip_blanks()?;
            (words.word()? == b"1").then_some(())?;
            words.skip_blanks()?;
        }
        words.skip(b'=').then_some(())?;
        words.skip_blanks()?;
        let mut read = Self { method, result: words.word()?, ..Self::default() };
        while words.skip_blanks()? {
            if words.rest.is_empty() {
                return Some(read);
            }
            read.property(&mut words)?;
        }
        words.rest.is_empty().then_some(read)
    }

    /// Reads one property. The same signer twice is no signer.
    fn property(&mut self, words: &mut Words<'p>) -> Option<()> {
        let mut kind: &[u8] = b"";
        let mut name = words.word()?;
        words.skip_blanks()?;
        if words.skip(b'.') {
            words.skip_blanks()?;
            (kind, name) = (name, words.word()?);
            words.skip_blanks()?;
        }
        words.skip(b'=').then_some(())?;
        words.rest = without_blanks(words.rest);
        let value = words.value()?;
        let is = |wanted_kind: &[u8], wanted: &[u8]| {
            kind.eq_ignore_ascii_case(wanted_kind) && name.eq_ignore_ascii_case(wanted)
        };
        // RFC 5451 §2.4 and older servers have other names for it.
        self.has_mail_from |= [&b"mailfrom"[..], b"mail", b"mfrom"].iter().any(|name| is(b"smtp", name));
        self.has_helo |= is(b"smtp", b"helo");
        for (wanted, place) in [(b"d", &mut self.header_d), (b"i", &mut self.header_i)] {
            if is(b"header", wanted) {
                place.replace(value.clone()).is_none().then_some(())?;
            }
        }
        Some(())
    }
}

/// A part of a field that is being read. Where it does not follow the grammar, `None` comes back.
struct Words<'p> {
    rest: &'p [u8],
}

impl<'p> Words<'p> {
    /// Skips blanks and comments, and returns whether there were any.
    fn skip_blanks(&mut self) -> Option<bool> {
        let before = self.rest.len();
        loop {
            self.rest = without_blanks(self.rest);
            if self.rest.first() != Some(&b'(') {
                return Some(self.rest.len() < before);
            }
            self.rest = &self.rest[comment(self.rest)?..];
        }
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is_there = self.rest.first() == Some(&byte);
        self.rest = &self.rest[usize::from(is_there)..];
        is_there
    }

    fn word(&mut self) -> Option<&'p [u8]> {
        let taken = self.take(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        (!taken.is_empty()).then_some(taken)
    }

    /// Reads a value: a quoted string, a quoted string with the host behind it, or a run of bytes. It ends at a blank
    /// or with the part. A value may be missing at the end of a part: `smtp.mailfrom=`.
    fn value(&mut self) -> Option<Cow<'p, [u8]>> {
        let mut value = Cow::Borrowed(&b""[..]);
        if self.rest.first() == Some(&b'"') {
            let (inside, rest) = self.rest.split_at(quoted(self.rest)?);
            (!inside.iter().copied().any(is_control)).then_some(())?;
            self.rest = rest;
            value = unquoted(&inside[1..inside.len() - 1]);
            if self.rest.first().is_some_and(|byte| *byte != b'@' && !is_blank(*byte)) {
                return None;
            }
        }
        let run = self.take(|byte| !is_blank(byte) && !is_control(byte) && !b"\"()".contains(&byte));
        if self.rest.first().is_some_and(|byte| !is_blank(*byte)) {
            return None;
        }
        if value.is_empty() {
            return Some(Cow::Borrowed(run));
        }
        value.to_mut().extend_from_slice(run);
        Some(value)
    }

    fn take(&mut self, belongs: impl Fn(u8) -> bool) -> &'p [u8] {
        let end = self.rest.iter().position(|byte| !belongs(*byte)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

/// The length of the comment that `text` begins with (RFC 5322 §3.2.2). Comments nest.
fn comment(text: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(at + 1),
            b')' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    None
}

/// The length of the quoted string that `text` begins with (RFC 5322 §3.2.4).
fn quoted(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'\\' => at += 1,
            b'"' => return Some(at + 1),
            _ => {}
        }
        at += 1;
    }
    None
}

fn unquoted(inside: &[u8]) -> Cow<'_, [u8]> {
    if !inside.contains(&b'\\') {
        return Cow::Borrowed(inside);
    }
    let mut bytes = inside.iter().copied();
    let next = || bytes.next().and_then(|byte| if byte == b'\\' { bytes.next() } else { Some(byte) });
    Cow::Owned(std::iter::from_fn(next).collect())
}

/// The host of the address `header.i`, whose local part is often empty.
fn behind_at(address: &[u8]) -> Option<&[u8]> {
    address.iter().rposition(|byte| *byte == b'@').map(|at| &address[at + 1..])
}

/// The normal form of the domain of a signature. `None` for text that is no domain name: a verifier prints what stands
/// in the signature, whatever it is.
fn domain(raw: &[u8]) -> Option<String> {
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte) || !byte.is_ascii();
    let host = raw.iter().all(belongs).then(|| Host::read(raw))?;
    (host.form == Form::Sound).then(|| host.name().to_owned())
}

fn without_blanks(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|byte| !is_blank(*byte)).unwrap_or(text.len())..]
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && !is_blank(byte)
}

fn has_bare_cr(field: &[u8]) -> bool {
    field.iter().enumerate().any(|(at, byte)| *byte == b'\r' && field.get(at + 1) != Some(&b'\n'))
}
