//! A header field cut into pieces: words, dots, `@`, and what hides.
//!
//! Knows no addresses: `header_address` makes them of pieces. Invariant: the pieces of a field follow one another
//! without a gap, and a run of blanks, or of junk, is one of them.

use memchr::memchr2;
use smallvec::SmallVec;

/// The most quotes, comments and literals of a field that are never closed.
pub const MOST_UNCLOSED: usize = 8;

/// The most `@` of a field that nothing hides. Those of one address over and over count too.
pub const MOST_ATS: usize = 64;

/// What a byte is, outside all that hides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
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

pub(super) const CLASSES: [Class; 256] = {
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
pub(super) fn class(text: &[u8]) -> (Class, usize) {
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

/// What a field is made of. A run of junk is one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
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
pub(super) struct Piece {
    pub(super) kind: Kind,
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Kind {
    /// Whether it is a part of a local part or of a host.
    pub(super) fn is_word(self) -> bool {
        matches!(self, Self::Word | Self::Encoded | Self::Quoted)
    }

    pub(super) fn is_gap(self) -> bool {
        matches!(self, Self::Blank | Self::Comment)
    }
}

/// Cuts a field into pieces. Returns `None` when too many openings have no end, or too many `@` are there.
pub(super) fn pieces(field: &[u8]) -> Option<SmallVec<[Piece; 16]>> {
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
