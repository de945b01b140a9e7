//! The header of a message (RFC 5322 §2.2): which addresses its From and Reply-To fields hold, and its List-Id.
//!
//! This file finds the fields; `header_address` reads addresses. Reading never fails.
//!
//! A field ends at a line feed that no blank follows (§2.2.3), and the header at an empty line; a line of blanks ends
//! nothing. Some programs end lines at a bare carriage return too, so a From or Reply-To behind one counts as well as
//! the field that it stands in.
//!
//! Invariant: the cost is bounded. At most [`MOST_OCTETS`] are scanned. What stands behind them is unknown, so then the
//! addresses are MANY.

use memchr::memchr2_iter;

use super::extract::bracketed;
use super::header_address::Mailboxes;
use super::value::Tag;

/// Bytes of a header that are scanned. Exchange takes 256 KiB at most, Postfix 100 KiB for each field.
pub const MOST_OCTETS: usize = 1024 * 1024;

/// Bytes of a List-Id that are read.
pub const MOST_LIST_OCTETS: usize = 4096;

/// The fields of a header that an envelope needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Addresses of the From fields, at most eight, each once; or the tag MANY, which is text without an address.
    pub from: Vec<Vec<u8>>,
    /// Addresses of the Reply-To fields, in the same way.
    pub reply_to: Vec<Vec<u8>>,
    /// The first List-Id, without its phrase and brackets.
    pub list_id: Option<Vec<u8>>,
}

/// The fields that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    From,
    ReplyTo,
    ListId,
}

/// A field whose end is still to come, and where its value begins.
type Open = Option<(Name, usize)>;

/// What was read so far.
#[derive(Default)]
struct Fields<'a> {
    from: Mailboxes<'a>,
    reply_to: Mailboxes<'a>,
    list_id: Option<Vec<u8>>,
}

impl Header {
    /// Reads the header at the beginning of `message`, which may consist of a header alone.
    pub fn read(message: &[u8]) -> Self {
        let text = &message[..message.len().min(MOST_OCTETS)];
        let mut fields = Fields::default();
        let is_whole = fields.read(text) || text.len() == message.len();
        if !is_whole {
            fields.from.add_unreadable();
            fields.reply_to.add_unreadable();
        }
        Self { from: written(fields.from), reply_to: written(fields.reply_to), list_id: fields.list_id }
    }
}

impl<'a> Fields<'a> {
    /// Reads fields up to the end of the header. Returns whether that end was found.
    fn read(&mut self, text: &'a [u8]) -> bool {
        // A field that is read, and one behind a bare carriage return within it or within another one.
        let (mut open, mut inner): (Open, Open) = (None, None);
        let mut start = 0;
        let mut ends = memchr2_iter(b'\n', b'\r', text);
        loop {
            let line = &text[start..];
            if !matches!(line, [b' ' | b'\t', ..]) {
                self.close(&mut open, text, start);
                self.close(&mut inner, text, start);
                if matches!(line, [b'\n', ..] | [b'\r', b'\n', ..]) {
                    return true;
                }
                open = name(line).map(|(name, length)| (name, start + length));
            }
            start = loop {
                let Some(end) = ends.next() else {
                    self.close(&mut open, text, text.len());
                    self.close(&mut inner, text, text.len());
                    return false;
                };
                match text[end..] {
                    [b'\n', ..] => break end + 1,
                    [b'\r', b'\n', ..] => {}
                    _ => {
                        if let Some((name, length)) = name(&text[end + 1..]) {
                            self.close(&mut inner, text, end);
                            inner = Some((name, end + 1 + length));
                        }
                    }
                }
            };
        }
    }

    /// Reads the field that is open, which ends at `end`.
    fn close(&mut self, open: &mut Open, text: &'a [u8], end: usize) {
        let Some((name, start)) = open.take() else { return };
        let field = &text[start..end];
        match name {
            Name::From => self.from.read(field),
            Name::ReplyTo => self.reply_to.read(field),
            Name::ListId if self.list_id.is_none() => self.list_id = list(field),
            Name::ListId => {}
        }
    }
}

/// The name at the beginning of a line, when the field is read, and the bytes up to its value.
#[inline]
fn name(line: &[u8]) -> Option<(Name, usize)> {
    let (name, word) = match line.first()? | 0x20 {
        b'f' => (Name::From, &b"from"[..]),
        b'r' => (Name::ReplyTo, &b"reply-to"[..]),
        b'l' => (Name::ListId, &b"list-id"[..]),
        _ => return None,
    };
    let (start, behind) = line.split_at_checked(word.len())?;
    // Blanks before the colon are obsolete (RFC 5322 §4.5).
    let blanks = behind.iter().position(|byte| !matches!(byte, b' ' | b'\t'))?;
    let is_named = start.eq_ignore_ascii_case(word) && behind[blanks] == b':';
    is_named.then_some((name, word.len() + blanks + 1))
}

/// The addresses as an envelope holds them.
fn written(mailboxes: Mailboxes<'_>) -> Vec<Vec<u8>> {
    match mailboxes.all() {
        Some(all) => all.iter().map(|mailbox| mailbox.written()).collect(),
        None => vec![Tag::Many.to_string().into_bytes()],
    }
}

/// The name of a list. Line ends in it come from folding (RFC 5322 §2.2.3) and are removed.
fn list(field: &[u8]) -> Option<Vec<u8>> {
    let name = bracketed(&field[..field.len().min(MOST_LIST_OCTETS)]);
    (!name.is_empty()).then(|| name.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
}
