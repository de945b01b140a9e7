//! The header of a message (RFC 5322 §2.2): which addresses its From and Reply-To fields hold, and its List-Id.
//!
//! `mail-parser` parses names, folding, phrases, comments, groups and encoded words; this file decides how much text it
//! gets. Only the header is read, which ends at the first blank line. Reading never fails.
//!
//! Invariant: the cost is bounded. At most [`MOST_OCTETS`] are scanned for fields, and at most [`MOST_FIELD_OCTETS`] of
//! the fields of one name are parsed, because a parser that searches again and again for the end of an encoded word may
//! take quadratic time.

use mail_parser::parsers::MessageStream;
use mail_parser::{Addr, HeaderName, HeaderValue};

use super::extract::{MOST_VALUES, bracketed};

/// Bytes of a header that are scanned. A field that does not end within them is not read, and no later field is.
/// Postfix allows 100 KiB for one field, and sendmail 32 KiB for all of them together.
pub const MOST_OCTETS: usize = 256 * 1024;

/// Bytes that are parsed of all fields of one name together; the last of these fields is cut at a comma. RFC 5322
/// §2.1.1 allows 998 bytes for a line.
pub const MOST_FIELD_OCTETS: usize = 4096;

/// What the parser makes of a byte that is not UTF-8.
const REPLACED: char = char::REPLACEMENT_CHARACTER;

/// The fields of a header that an envelope needs. The text is that of the header, without quotes and blanks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// Addresses of the From fields, at most eight, each once.
    pub from: Vec<Vec<u8>>,
    /// Addresses of the Reply-To fields, at most eight, each once.
    pub reply_to: Vec<Vec<u8>>,
    /// The first List-Id, without its phrase and brackets.
    pub list_id: Option<Vec<u8>>,
}

impl Header {
    /// Reads the header at the beginning of `message`, which may consist of a header alone.
    pub fn read(message: &[u8]) -> Self {
        let looked_at = &message[..message.len().min(MOST_OCTETS)];
        let is_cut = looked_at.len() < message.len();
        let mut stream = MessageStream::new(looked_at);
        let (mut from, mut reply_to, mut list_id) = (Addresses::default(), Addresses::default(), None);
        while is_before_a_field(&mut stream) {
            let Some(name) = stream.parse_header_name() else { continue };
            let start = stream.offset();
            stream.parse_and_ignore();
            if is_cut && stream.is_eof() {
                break;
            }
            let field = &looked_at[start.min(looked_at.len())..stream.offset()];
            match name {
                HeaderName::From => from.add(field),
                HeaderName::ReplyTo => reply_to.add(field),
                HeaderName::ListId => list_id = list_id.or_else(|| list(field)),
                _ => {}
            }
        }
        Self { from: from.found, reply_to: reply_to.found, list_id }
    }
}

/// Whether another field follows, instead of a blank line or the end. Skips blanks where a field should begin.
fn is_before_a_field(stream: &mut MessageStream<'_>) -> bool {
    while let Some(&&byte) = stream.peek() {
        if byte == b'\n' || !byte.is_ascii_whitespace() {
            return byte != b'\n';
        }
        stream.next();
    }
    false
}

/// The addresses of all fields of one name.
#[derive(Default)]
struct Addresses {
    found: Vec<Vec<u8>>,
    bytes: usize,
}

impl Addresses {
    fn add(&mut self, field: &[u8]) {
        let field = field.trim_ascii();
        let left = MOST_FIELD_OCTETS - self.bytes;
        // A cut in the middle of an address would make another address of it.
        let cut = |field: &[u8]| field[..left].iter().rposition(|byte| *byte == b',').unwrap_or(0);
        let field = if field.len() > left { &field[..cut(field)] } else { field };
        if field.is_empty() || self.found.len() == MOST_VALUES {
            return;
        }
        self.bytes += field.len();
        // The parser reads a word only when something ends it.
        let ended = [field, b"\n"].concat();
        let HeaderValue::Address(all) = MessageStream::new(&ended).parse_address() else { return };
        for address in all.iter().filter_map(written) {
            if self.found.len() < MOST_VALUES && !self.found.contains(&address) {
                self.found.push(address);
            }
        }
    }
}

/// The address as it was written. The parser takes a quoted local part for a name, and keeps blanks around an `@`. A
/// byte that is not UTF-8 becomes 0xFF, so that it differs from text.
fn written(parsed: &Addr<'_>) -> Option<Vec<u8>> {
    let address = parsed.address()?;
    let (local, host) = address.rsplit_once('@').unwrap_or((address, ""));
    let text = match parsed.name() {
        // The parser appends comments to a name.
        Some(quoted) if local.is_empty() && !host.is_empty() => {
            format!("{}@{host}", quoted.split_once(" (").map_or(quoted, |(quoted, _)| quoted))
        }
        _ if local.contains('"') || host.is_empty() => address.to_owned(),
        _ => {
            let local = local.split_ascii_whitespace().next_back().unwrap_or_default();
            format!("{local}@{}", host.split_ascii_whitespace().next().unwrap_or_default())
        }
    };
    let mut bytes = Vec::with_capacity(text.len());
    for (nth, sound) in text.split(REPLACED).enumerate() {
        bytes.extend((nth > 0).then_some(0xFF));
        bytes.extend_from_slice(sound.as_bytes());
    }
    Some(bytes)
}

/// The name of a list. Line ends in it come from folding (RFC 5322 §2.2.3) and are removed.
fn list(field: &[u8]) -> Option<Vec<u8>> {
    let name = bracketed(&field[..field.len().min(MOST_FIELD_OCTETS)]);
    (!name.is_empty()).then(|| name.iter().copied().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
}
