//! Which addresses a From or Reply-To field holds, whatever stands around them.
//!
//! **Idea.** Mail programs disagree about broken fields. A sender who knows that writes a field in which the reader of
//! the limit sees a new address each time, and the recipient's program always the same one. So this reader does not
//! look for *the* address. Every `@` that is not hidden is one: all readings count, and a false one does no harm.
//!
//! ```text
//!  field   "Joe, J." (x) <first . last(c)@=?utf-8?q?b?=.com>, ann@[192.0.2.1]
//!  pieces  Quoted Blank Comment Blank Junk Word Blank Dot Blank Word Comment At Encoded Dot Word Junk …
//!  local   left of an `@`:  words joined by dots; comments and blanks may stand beside dots and the `@`
//!  host    right of it:     letters, digits, `-`, `_`, all beyond ASCII, joined by dots; or a literal
//! ```
//!
//! * A comment, a quoted string and the literal behind an `@` hide what is in them. One that is not closed is a single
//!   character of junk, and hides nothing.
//! * Words of RFC 2047 in a local part or a host are decoded, and an `@` ends one that is not closed.
//! * Where readers differ about what belongs to an address, both readings count: a blank beside a dot, words without a
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

use memchr::memchr2;
use smallvec::SmallVec;

/// The most addresses of a header field, and the most fields of one name. With more of them the field is MANY.
pub const MOST_VALUES: usize = 8;

/// The most bytes that are read of all fields of one name together. Postfix allows 100 KiB for one field, sendmail
/// 32 KiB for a whole header; RFC 5322 §2.1.1 allows 998 bytes for a line.
pub const MOST_FIELD_OCTETS: usize = 64 * 1024;

/// The most quotes, comments and literals of a field that are never closed.
pub const MOST_UNCLOSED: usize = 8;

/// The most `@` of a field that nothing hides. Those of one address over and over count too.
pub const MOST_ATS: usize = 64;

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

/// What a byte is, outside all that hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Word,
    Blank,
    Dot,
    At,
    Quote,
    Open,
    Bracket,
    Backslash,
    Junk,
}

const CLASSES: [Class; 256] = {
    let mut classes = [Class::Word; 256];
    let mut byte = 0;
    while byte < classes.len() {
        classes[byte] = match byte as u8 {
            0..=b' ' | 0x7F => Class::Blank,
            b'.' => Class::Dot,
            b'@' => Class::At,
            b'"' => Class::Quote,
            b'(' => Class::Open,
            b'[' => Class::Bracket,
            b'\\' => Class::Backslash,
            b')' | b'<' | b'>' | b']' | b',' | b';' | b':' => Class::Junk,
            _ => Class::Word,
        };
        byte += 1;
    }
    classes
};

/// The class of the first character, and its bytes as far as they matter here. Blanks beyond ASCII are blanks too,
/// because programs split text at them.
#[inline]
fn class(text: &[u8]) -> (Class, usize) {
    match *text {
        [0xC2, 0x85 | 0xA0, ..] => (Class::Blank, 2),
        [0xE1, 0x9A, 0x80, ..]
        | [0xE2, 0x80, 0x80..=0x8A | 0xA8 | 0xA9 | 0xAF, ..]
        | [0xE2, 0x81, 0x9F, ..]
        | [0xE3, 0x80, 0x80, ..]
        | [0xEF, 0xBB, 0xBF, ..] => (Class::Blank, 3),
        [byte, ..] => (CLASSES[usize::from(byte)], 1),
        [] => (Class::Junk, 0),
    }
}

/// A letter of a host's name.
fn is_host_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') || !byte.is_ascii()
}

/// What a field is made of. A run of junk is one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Word,
    /// A word of RFC 2047.
    Encoded,
    Quoted,
    Literal,
    Dot,
    At,
    Blank,
    Comment,
    /// A backslash, or a quote without an end.
    Ignored,
    Junk,
}

/// A piece of a field, by its place there.
#[derive(Clone, Copy, Debug)]
struct Piece {
    kind: Kind,
    start: u32,
    end: u32,
}

impl Kind {
    /// Whether it is a part of a local part or of a host.
    fn is_word(self) -> bool {
        matches!(self, Self::Word | Self::Encoded | Self::Quoted)
    }

    fn is_gap(self) -> bool {
        matches!(self, Self::Blank | Self::Comment)
    }
}

/// Cuts a field into pieces. Returns `None` when too many openings have no end, or too many `@` are there.
fn pieces(field: &[u8]) -> Option<SmallVec<[Piece; 16]>> {
    let mut pieces: SmallVec<[Piece; 16]> = SmallVec::new();
    let (mut at, mut unclosed, mut ats, mut is_behind_at) = (0, 0, 0, false);
    while at < field.len() {
        let (class, length) = class(&field[at..]);
        let (kind, end) = match class {
            Class::Word => word(field, at),
            Class::Blank => (Kind::Blank, at + length),
            Class::Dot => (Kind::Dot, at + 1),
            Class::At => (Kind::At, at + 1),
            Class::Backslash => (Kind::Ignored, at + 1),
            Class::Junk => (Kind::Junk, at + 1),
            Class::Bracket if !is_behind_at => (Kind::Junk, at + 1),
            Class::Quote | Class::Open | Class::Bracket => {
                let (kind, end) = match class {
                    Class::Quote => (Kind::Quoted, quoted(field, at)),
                    Class::Open => (Kind::Comment, comment(field, at)),
                    _ => (Kind::Literal, literal(field, at)),
                };
                unclosed += usize::from(end.is_none());
                // A quote without an end may be a slip within an address.
                let junk = if class == Class::Quote { Kind::Ignored } else { Kind::Junk };
                end.map_or((junk, at + 1), |end| (kind, end))
            }
        };
        ats += usize::from(kind == Kind::At);
        if unclosed > MOST_UNCLOSED || ats > MOST_ATS {
            return None;
        }
        is_behind_at = kind == Kind::At || is_behind_at && kind.is_gap();
        match pieces.last_mut() {
            Some(last) if last.kind == kind && matches!(kind, Kind::Blank | Kind::Junk) => last.end = end as u32,
            _ => pieces.push(Piece { kind, start: at as u32, end: end as u32 }),
        }
        at = end;
    }
    Some(pieces)
}

/// The word at `at`: an encoded word, or letters up to what ends them.
fn word(field: &[u8], at: usize) -> (Kind, usize) {
    if let Some(end) = encoded(field, at) {
        return (Kind::Encoded, end);
    }
    let mut end = at + 1;
    while end < field.len() {
        let byte = field[end];
        let is_end = match byte {
            b'=' => encoded(field, end).is_some(),
            // All blanks beyond ASCII begin with one of these.
            0xC2 | 0xE1 | 0xE2 | 0xE3 | 0xEF => class(&field[end..]).0 != Class::Word,
            _ => CLASSES[usize::from(byte)] != Class::Word,
        };
        if is_end {
            break;
        }
        end += 1;
    }
    (Kind::Word, end)
}

/// Where the encoded word at `at` ends, `=?charset?q?text?=`. An `@` ends it too.
fn encoded(field: &[u8], at: usize) -> Option<usize> {
    let behind = field[at..].strip_prefix(b"=?")?;
    let charset = run_of_letters(behind);
    let [b'?', b'q' | b'Q' | b'b' | b'B', b'?', text @ ..] = &behind[charset..] else { return None };
    let length = run_of_letters(text);
    let end = field.len() - text.len() + length;
    match &field[end..] {
        [b'?', b'=', ..] => Some(end + 2),
        [b'@', ..] if length > 0 => Some(end),
        _ => None,
    }
}

/// How many bytes belong to words and dots, up to a `?`.
fn run_of_letters(text: &[u8]) -> usize {
    let is_letter = |byte: &u8| *byte != b'?' && matches!(CLASSES[usize::from(*byte)], Class::Word | Class::Dot);
    text.iter().position(|byte| !is_letter(byte)).unwrap_or(text.len())
}

/// Where the quoted string at `at` ends.
fn quoted(field: &[u8], at: usize) -> Option<usize> {
    let mut end = at + 1;
    loop {
        end += memchr2(b'"', b'\\', field.get(end..)?)?;
        if field[end] == b'"' {
            return Some(end + 1);
        }
        end += 2;
    }
}

/// Where the comment at `at` ends. Comments nest.
fn comment(field: &[u8], at: usize) -> Option<usize> {
    let (mut end, mut depth) = (at, 0);
    while end < field.len() {
        match field[end] {
            b'\\' => end += 1,
            b'(' => depth += 1,
            b')' if depth == 1 => return Some(end + 1),
            b')' => depth -= 1,
            _ => {}
        }
        end += 1;
    }
    None
}

/// Where the literal at `at` ends. It holds nothing that could be an address of a field.
fn literal(field: &[u8], at: usize) -> Option<usize> {
    let length = field[at + 1..].iter().position(|byte| matches!(byte, b'[' | b']' | b'@' | b'<' | b'>' | b'\\'))?;
    let end = at + 1 + length;
    (field[end] == b']').then_some(end + 1)
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
        let is_bare = |(nth, piece): (usize, &Piece)| match piece.kind {
            Kind::Word => nth == 0 || pieces[nth - 1].kind == Kind::Dot,
            kind => kind == Kind::Dot,
        };
        if pieces.iter().enumerate().all(is_bare) {
            return Some(Local { text: Cow::Borrowed(raw), tails: SmallVec::new(), raw });
        }
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
        Some(Local { text: Cow::Owned(text), tails, raw })
    }

    /// The host behind the `@` at `at`.
    fn host(&self, at: usize) -> Option<HostText<'a>> {
        let first = at + 1 + self.pieces[at + 1..].iter().position(|piece| !piece.kind.is_gap())?;
        if self.kind(first) == Some(Kind::Literal) {
            let raw = self.bytes(self.pieces[first]);
            return Some(HostText { text: Cow::Borrowed(raw), other: None, raw });
        }
        // The text is borrowed as long as it is one run of the field.
        let (mut text, mut run) =
            (Vec::new(), Some(self.pieces[first].start as usize..self.pieces[first].start as usize));
        let (mut other, mut last, mut is_blank, mut end) = (None, Kind::At, false, first);
        for (nth, piece) in self.pieces.iter().enumerate().skip(first) {
            let letters: Cow<'_, [u8]> = match piece.kind {
                kind if kind.is_gap() => {
                    is_blank |= kind == Kind::Blank;
                    continue;
                }
                Kind::Dot => Cow::Borrowed(b"."),
                kind if kind.is_word() && !last.is_word() => self.host_letters(*piece),
                _ => break,
            };
            if is_blank && other.is_none() {
                other = Some(self.so_far(&text, &run).len());
            }
            is_blank = false;
            let (start, stop) = (piece.start as usize, piece.start as usize + letters.len());
            let is_whole = stop == piece.end as usize;
            run = match run {
                Some(run) if run.end == start && matches!(piece.kind, Kind::Word | Kind::Dot) => Some(run.start..stop),
                Some(run) => {
                    text.extend_from_slice(&self.field[run]);
                    None
                }
                None => None,
            };
            if run.is_none() {
                text.extend_from_slice(&letters);
            }
            (last, end) = (piece.kind, nth + 1);
            if !is_whole && piece.kind == Kind::Word {
                break;
            }
        }
        let raw = self.span(&self.pieces[first..end]);
        let without_dots = |text: &[u8]| {
            let start = text.iter().position(|byte| *byte != b'.')?;
            let end = text.iter().rposition(|byte| *byte != b'.')? + 1;
            Some(start..end)
        };
        let whole = self.so_far(&text, &run);
        let kept = without_dots(whole)?;
        let other = other.map(|other| &whole[..other]);
        let other = other.and_then(|other| Some(other[without_dots(other)?].to_vec()));
        let other = other.filter(|other| other[..] != whole[kept.clone()]);
        let text = match run {
            Some(run) => Cow::Borrowed(&self.field[run][kept]),
            None => Cow::Owned(text[kept].to_vec()),
        };
        Some(HostText { text, other, raw })
    }

    fn so_far<'t>(&self, text: &'t [u8], run: &Option<std::ops::Range<usize>>) -> &'t [u8]
    where
        'a: 't,
    {
        run.clone().map_or(text, |run| &self.field[run])
    }

    /// The letters of a host at the beginning of a word.
    fn host_letters(&self, piece: Piece) -> Cow<'a, [u8]> {
        let is_letter = |byte: u8| is_host_letter(byte) || byte == b'.';
        let is_end = |text: &[u8], at: usize| !is_letter(text[at]) || class(&text[at..]).0 == Class::Blank;
        let length = |text: &[u8]| (0..text.len()).find(|at| is_end(text, *at)).unwrap_or(text.len());
        if piece.kind == Kind::Word {
            let bytes = self.bytes(piece);
            return Cow::Borrowed(&bytes[..length(bytes)]);
        }
        let mut text = Vec::new();
        self.append(piece, &mut text);
        text.truncate(length(&text));
        Cow::Owned(text)
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

/// Appends a quoted string without its backslashes and the line ends of its folding (RFC 5322 §3.2.4, §2.2.3).
fn unquote(inside: &[u8], text: &mut Vec<u8>) {
    let mut rest = inside;
    while let [byte, behind @ ..] = rest {
        rest = behind;
        match (byte, behind) {
            (b'\\', [escaped, behind @ ..]) => {
                text.push(*escaped);
                rest = behind;
            }
            (b'\r', [b'\n', ..]) | (b'\n', _) => {}
            _ => text.push(*byte),
        }
    }
}

/// Appends what an encoded word says (RFC 2047 §4). Of a character set only this is known: UTF-8 stays as it is, of
/// ISO 8859-1 and its kin each byte is a character, and any other set is taken for UTF-8.
fn decode(word: &[u8], text: &mut Vec<u8>) {
    let mut parts = word.splitn(4, |byte| *byte == b'?').skip(1);
    let (Some(charset), Some(encoding), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else { return };
    let encoded = encoded.strip_suffix(b"?=").unwrap_or(encoded);
    let begin = text.len();
    if encoding.eq_ignore_ascii_case(b"q") {
        decode_q(encoded, text)
    } else {
        decode_b(encoded, text)
    }
    let is_latin = |name: &[u8]| charset.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    if (is_latin(b"iso-8859-1") || is_latin(b"windows-1252")) && !text[begin..].is_ascii() {
        let latin: String = text.drain(begin..).map(char::from).collect();
        text.extend_from_slice(latin.as_bytes());
    }
}

/// Quoted-printable with `_` for a blank. What is no code stays.
fn decode_q(mut encoded: &[u8], text: &mut Vec<u8>) {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    while let [byte, behind @ ..] = encoded {
        encoded = behind;
        let code = match behind {
            [high, low, ..] if *byte == b'=' => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        if code.is_some() {
            encoded = &behind[2..];
        }
        text.push(code.unwrap_or(if *byte == b'_' { b' ' } else { *byte }));
    }
}

/// Base64. What is no letter of it is skipped.
fn decode_b(encoded: &[u8], text: &mut Vec<u8>) {
    let (mut bits, mut count) = (0u32, 0);
    for byte in encoded {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => continue,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            text.push((bits >> count) as u8);
        }
    }
}

/// The text before the first control character.
fn until_control(text: &[u8]) -> &[u8] {
    let end = text.iter().position(|byte| byte.is_ascii_control() && *byte != b'\t');
    &text[..end.unwrap_or(text.len())]
}
