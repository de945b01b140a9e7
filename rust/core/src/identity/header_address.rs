//! Which addresses a From or Reply-To field holds, whatever stands around them.
//!
//! **Idea.** Mail programs disagree about broken fields. A sender who knows that writes a field in which the reader of
//! the limit sees a new address each time, and the recipient's program always the same one. So this reader does not
//! look for *the* address. Every `@` that is not hidden is one: all readings count, and a false one does no harm.
//!
//! ```text
//!  field   "Joe, J." (x) <first . last(c)@=?utf-8?q?b?=.com>, ann@[192.0.2.1]
//!  pieces  Quoted Blank Comment Blank Junk Word Blank Dot Blank Word Comment At Encoded Dot Word Junk …
//!  local   left of an `@`:  words joined by dots; comments and blanks may stand next to dots and the `@`
//!  host    right of it:     letters, digits, `-`, `_`, all beyond ASCII, joined by dots; or a literal
//! ```
//!
//! * A comment, a quoted string and the literal behind an `@` hide what is in them. One that is not closed is a single
//!   character of junk, and hides nothing.
//! * Words of RFC 2047 in a local part or a host are decoded, and an `@` ends one that is not closed.
//! * Where readers differ about what belongs to an address, both readings count: a blank next to a dot, words without a
//!   dot between them, a backslash or an open quote. `Dr. joe@b.com` is `Dr.joe@b.com` and `joe@b.com`.
//! * Every control character is a blank, and ends a decoded or quoted local part.
//!
//! More than [`MOST_VALUES`] addresses or fields, more than [`MOST_FIELD_OCTETS`] of them, more than [`MOST_UNCLOSED`]
//! openings without an end, more than [`MOST_ATS`], or text without an address: the reader says MANY, one value that
//! all such fields share, so that hiding an address in this way gains nothing. Fields without any text are absent.
//!
//! **Cost.** Linear: each byte is read once, and by every opening that has no end. 64 KiB that are made to be slow take
//! a millisecond.
//!
//! **Sources.** RFC 5322 §3.2–3.4, §4.4; RFC 2047 §2, §4–6; RFC 5321 §4.1.3. Tried and dropped: `mail-parser`, which
//! finds one address for each entry of a list, and none in entries that are broken.

use std::borrow::Cow;
use std::ops::Range;

use smallvec::SmallVec;

use super::encoded_word::{decode, unquote};
use super::field_pieces::{CLASSES, Class, Kind, Piece, class, pieces};
pub use super::field_pieces::{MOST_ATS, MOST_UNCLOSED};

/// The most addresses of a header field, and the most fields of one name. With more of them the field is MANY.
pub const MOST_VALUES: usize = 8;

/// The most bytes that are read of all fields of one name together, and that their addresses may have together. Postfix
/// allows 100 KiB for one field, sendmail 32 KiB for a whole header; RFC 5322 §2.1.1 allows 998 bytes for a line.
pub const MOST_FIELD_OCTETS: usize = 64 * 1024;

/// An address of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox<'a> {
    /// The local part without quotes, and decoded.
    pub local: Cow<'a, [u8]>,
    /// The host without comments and blanks, or the literal in its brackets.
    pub host: Cow<'a, [u8]>,
    /// What stands left and right of the `@`, as it was written.
    pub raw: [&'a [u8]; 2],
}

/// The addresses of all fields of one name, each once, in order.
#[derive(Clone, Debug, Default)]
pub struct Mailboxes<'a> {
    found: SmallVec<[Mailbox<'a>; 1]>,
    fields: usize,
    octets: usize,
    /// Bytes of the addresses. One field may have several readings of a long local part.
    kept: usize,
    is_many: bool,
}

impl<'a> Mailbox<'a> {
    /// An address of which both parts are as they were written.
    pub(super) fn plain(local: &'a [u8], host: &'a [u8]) -> Self {
        Self { local: Cow::Borrowed(local), host: Cow::Borrowed(host), raw: [local, host] }
    }

    /// The address as text that is read as this address. Quotes stand around a local part that needs them.
    pub fn written(&self) -> Vec<u8> {
        let local = &*self.local;
        let is_bare = local.iter().any(|byte| *byte != b'.') && !local.windows(2).any(|two| two == b"=?") && {
            let at = |at: usize| matches!(class(&local[at..]).0, Class::Word | Class::Dot);
            (0..local.len()).all(at)
        };
        let mut text = Vec::with_capacity(local.len() + self.host.len() + 3);
        if is_bare {
            text.extend_from_slice(local);
        } else {
            text.push(b'"');
            for byte in local {
                text.extend(matches!(byte, b'"' | b'\\').then_some(b'\\'));
                text.push(*byte);
            }
            text.push(b'"');
        }
        text.push(b'@');
        text.extend_from_slice(&self.host);
        text
    }

    fn is_same(&self, other: &Self) -> bool {
        self.local == other.local && self.host == other.host
    }
}

impl<'a> Mailboxes<'a> {
    /// Reads one more field, without its name.
    pub fn read(&mut self, field: &'a [u8]) {
        if self.is_many || !has_text(field) {
            return;
        }
        self.fields += 1;
        self.octets = self.octets.saturating_add(field.len());
        if self.fields > MOST_VALUES || self.octets > MOST_FIELD_OCTETS {
            self.is_many = true;
        } else if field.contains(&b'@') {
            match pieces(field) {
                Some(pieces) => Pieces { field, pieces: &pieces }.each_address(|mailbox| self.add(mailbox)),
                None => self.is_many = true,
            }
        }
    }

    /// Adds an address that needs no reader.
    pub(super) fn add_plain(&mut self, local: &'a [u8], host: &'a [u8]) {
        self.fields += 1;
        self.is_many |= self.fields > MOST_VALUES;
        self.add(Mailbox::plain(local, host));
    }

    /// Counts what cannot be read as MANY.
    pub(super) fn add_unreadable(&mut self) {
        self.is_many = true;
    }

    /// The addresses, of which there are none when no field has text. `None` for MANY.
    pub fn all(self) -> Option<SmallVec<[Mailbox<'a>; 1]>> {
        let is_unreadable = self.is_many || self.found.is_empty() && self.fields > 0;
        (!is_unreadable).then_some(self.found)
    }

    /// Returns whether there may be more.
    fn add(&mut self, mailbox: Mailbox<'a>) -> bool {
        if !self.found.iter().any(|other| other.is_same(&mailbox)) {
            if self.found.len() == MOST_VALUES {
                self.is_many = true;
            } else {
                self.kept = self.kept.saturating_add(mailbox.local.len() + mailbox.host.len());
                self.is_many |= self.kept > MOST_FIELD_OCTETS;
                self.found.push(mailbox);
            }
        }
        !self.is_many
    }
}

/// Whether anything but blanks and punctuation stands there. `<>` and `,` are no text.
fn has_text(field: &[u8]) -> bool {
    field.iter().any(|byte| CLASSES[usize::from(*byte)] == Class::Word)
}

/// A letter of a host's name.
fn is_host_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || !byte.is_ascii()
}

/// A field in pieces.
struct Pieces<'a, 'p> {
    field: &'a [u8],
    pieces: &'p [Piece],
}

/// A local part: its text, where in it shorter readings begin, and how it was written.
struct Local<'a> {
    text: Cow<'a, [u8]>,
    tails: SmallVec<[usize; 2]>,
    raw: &'a [u8],
}

/// A host: its text, a shorter reading of it, and how it was written.
struct HostText<'a> {
    text: Cow<'a, [u8]>,
    other: Option<Vec<u8>>,
    raw: &'a [u8],
}

impl<'a> Pieces<'a, '_> {
    /// Calls `add` with every address, until it returns `false`.
    fn each_address(&self, mut add: impl FnMut(Mailbox<'a>) -> bool) {
        let ats = self.pieces.iter().enumerate().filter(|(_, piece)| piece.kind == Kind::At).map(|(at, _)| at);
        for at in ats {
            let Some(local) = self.local(at) else { continue };
            let Some(host) = self.host(at) else { continue };
            let raw = [local.raw, host.raw];
            let mut shorter = SmallVec::<[Cow<'a, [u8]>; 2]>::new();
            for &tail in &local.tails {
                let reading = until_control(&local.text[tail..]);
                if !reading.is_empty() && !shorter.iter().any(|other| **other == *reading) {
                    shorter.push(Cow::Owned(reading.to_vec()));
                }
                // With the whole one these are too many already.
                if shorter.len() == MOST_VALUES {
                    break;
                }
            }
            let whole = match local.text {
                Cow::Borrowed(text) => Cow::Borrowed(text),
                Cow::Owned(text) => Cow::Owned(until_control(&text).to_vec()),
            };
            for host in [Some(host.text), host.other.map(Cow::Owned)].into_iter().flatten() {
                for local in std::iter::once(&whole).chain(&shorter) {
                    if !add(Mailbox { local: local.clone(), host: host.clone(), raw }) {
                        return;
                    }
                }
            }
        }
    }

    fn kind(&self, at: usize) -> Option<Kind> {
        self.pieces.get(at).map(|piece| piece.kind)
    }

    fn bytes(&self, piece: Piece) -> &'a [u8] {
        &self.field[piece.start as usize..piece.end as usize]
    }

    /// The text of pieces that follow one another.
    fn span(&self, pieces: &[Piece]) -> &'a [u8] {
        match pieces {
            [first, .., last] => &self.field[first.start as usize..last.end as usize],
            [one] => self.bytes(*one),
            [] => b"",
        }
    }

    /// Where the local part that ends at `at` begins.
    fn start_of_local(&self, at: usize) -> usize {
        let (mut start, mut next) = (at, Kind::At);
        loop {
            let before = self.pieces[..start].iter().rposition(|piece| !piece.kind.is_gap());
            let Some(before) = before else { return start };
            let (kind, is_adjacent) = (self.pieces[before].kind, before + 1 == start);
            let joins = match kind {
                Kind::Dot => true,
                // Blanks between two encoded words are not shown (RFC 2047 §6.2).
                Kind::Encoded if next == Kind::Encoded => true,
                Kind::Word | Kind::Encoded | Kind::Quoted | Kind::Ignored => {
                    is_adjacent || matches!(next, Kind::At | Kind::Dot)
                }
                _ => false,
            };
            if !joins {
                return start;
            }
            (start, next) = (before, kind);
        }
    }

    /// The local part before the `@` at `at`.
    fn local(&self, at: usize) -> Option<Local<'a>> {
        let pieces = &self.pieces[self.start_of_local(at)..at];
        let end = pieces.iter().rposition(|piece| !piece.kind.is_gap())? + 1;
        let pieces = &pieces[..end];
        let raw = self.span(pieces);
        if let [Piece { kind: Kind::Word, .. }] = pieces {
            return Some(Local { text: Cow::Borrowed(raw), tails: SmallVec::new(), raw });
        }
        pieces.iter().find(|piece| piece.kind.is_word())?;
        let (mut text, mut tails) = (Vec::with_capacity(raw.len()), SmallVec::new());
        // Whether another reader may take what comes for the beginning of the address.
        let (mut may_begin, mut last) = (false, Kind::At);
        for piece in pieces {
            match piece.kind {
                Kind::Dot => text.push(b'.'),
                Kind::Blank | Kind::Ignored => may_begin = true,
                kind if kind.is_word() => {
                    if (may_begin || last.is_word()) && !text.is_empty() {
                        tails.push(text.len());
                    }
                    self.append(*piece, &mut text);
                    may_begin = false;
                }
                _ => {}
            }
            if !piece.kind.is_gap() {
                last = piece.kind;
            }
        }
        let text = if text == raw { Cow::Borrowed(raw) } else { Cow::Owned(text) };
        Some(Local { text, tails, raw })
    }

    /// The host behind the `@` at `at`.
    fn host(&self, at: usize) -> Option<HostText<'a>> {
        let first = at + 1 + self.pieces[at + 1..].iter().position(|piece| !piece.kind.is_gap())?;
        if self.kind(first) == Some(Kind::Literal) {
            let raw = self.bytes(self.pieces[first]);
            return Some(HostText { text: Cow::Borrowed(raw), other: None, raw });
        }
        let (mut text, mut other) = (Vec::new(), None);
        let (mut last, mut is_blank, mut end) = (Kind::At, false, first);
        for (nth, piece) in self.pieces.iter().enumerate().skip(first) {
            if piece.kind.is_gap() {
                is_blank |= piece.kind == Kind::Blank;
                continue;
            }
            let is_part = piece.kind == Kind::Dot || piece.kind.is_word() && !last.is_word();
            if !is_part {
                break;
            }
            if is_blank && other.is_none() {
                other = Some(text.len());
            }
            is_blank = false;
            (last, end) = (piece.kind, nth + 1);
            if !self.append_host(*piece, &mut text) {
                break;
            }
        }
        let raw = self.span(&self.pieces[first..end]);
        let kept = without_dots(&text)?;
        let other = other.and_then(|other| Some(text[without_dots(&text[..other])?].to_vec()));
        let other = other.filter(|other| other[..] != text[kept.clone()]);
        let text = if raw.starts_with(&text) { Cow::Borrowed(&raw[kept]) } else { Cow::Owned(text[kept].to_vec()) };
        Some(HostText { text, other, raw })
    }

    /// Appends the letters of a host at the beginning of a piece. Returns whether that is all of it.
    fn append_host(&self, piece: Piece, text: &mut Vec<u8>) -> bool {
        let start = text.len();
        match piece.kind {
            Kind::Dot => text.push(b'.'),
            _ => self.append(piece, text),
        }
        let is_letter = |byte: u8| is_host_letter(byte) || byte == b'.';
        let is_end = |at: usize| !is_letter(text[at]) || class(&text[at..]).0 == Class::Blank;
        let end = (start..text.len()).find(|at| is_end(*at));
        text.truncate(end.unwrap_or(text.len()));
        end.is_none()
    }

    /// Appends what a word says.
    fn append(&self, piece: Piece, text: &mut Vec<u8>) {
        let bytes = self.bytes(piece);
        match piece.kind {
            Kind::Encoded => decode(bytes, text),
            Kind::Quoted => unquote(&bytes[1..bytes.len() - 1], text),
            _ => text.extend_from_slice(bytes),
        }
    }
}

/// What is left of a host without the dots around it.
fn without_dots(text: &[u8]) -> Option<Range<usize>> {
    let start = text.iter().position(|byte| *byte != b'.')?;
    let end = text.iter().rposition(|byte| *byte != b'.')? + 1;
    Some(start..end)
}

/// The text before the first control character.
fn until_control(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| byte.is_ascii_control() && *byte != b'\t');
    &text[..end.unwrap_or(text.len())]
}
