//! The operator's own reply: a line with places for what the refusal is about.
//!
//! ```text
//! 450 4.7.1 {key} exceeds {limit}; retry in {seconds} s
//! ─┬─ ──┬── ─────────────────┬────────────────────────
//! code  enhanced code        text, printable ASCII
//! ```
//!
//! `{key}` and `{identity}` are those of the decision, `{limit}` is the limit's name, `{seconds}` the wait, rounded up.
//! Knows no limit but for what its names take. Invariant: whatever the key holds, it fills to one legal SMTP line (RFC 5321 §4.2).

use super::Action;
use super::draft::Given;
use super::field::Place;
use super::field::{FieldValue, Wrong};
use super::limit::Limit;
use crate::error::PolicyError;
use crate::reply::{LINE_OCTETS, Piece, SECONDS_DIGITS, Template};
use crate::stage::Stage;

/// What is left for a key, at least: a longer one is cut.
const LEAST_KEY: usize = 64;

const PLACES: [(&str, Piece); 4] =
    [("key", Piece::Key), ("limit", Piece::Limit), ("identity", Piece::Identity), ("seconds", Piece::Seconds)];

impl Template {
    pub(super) fn read(value: &FieldValue) -> Result<Self, Wrong> {
        let FieldValue::Text(text) = value else { return Err(shape()) };
        Self::parse(text)
    }

    /// # Errors
    /// The first thing wrong with it by itself.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
            return Err(Wrong::allowed("printable ASCII on one line (RFC 5321 §4.2)"));
        }
        let mut words = text.splitn(3, ' ');
        let (code, enhanced, rest) =
            (words.next().unwrap_or(""), words.next().unwrap_or(""), words.next().unwrap_or(""));
        let class = match code.as_bytes() {
            [class @ (b'4' | b'5'), b'0'..=b'5', b'0'..=b'9'] => char::from(*class),
            _ => return Err(Wrong::allowed("first a code that refuses, 400 to 459 or 500 to 559, as \"450 4.7.1 …\"")),
        };
        let is_number = |digits: &str| {
            (1..=3).contains(&digits.len())
                && digits.bytes().all(|b| b.is_ascii_digit())
                && (digits == "0" || !digits.starts_with('0'))
        };
        let mut numbers = enhanced.split('.');
        let (first, subject, detail) = (numbers.next(), numbers.next(), numbers.next());
        if numbers.next().is_some()
            || !subject.is_some_and(is_number)
            || !detail.is_some_and(is_number)
            || !matches!(first, Some("2" | "4" | "5"))
        {
            return Err(Wrong::allowed(format!(
                "behind the code an enhanced one (RFC 3463), as \"{code} {class}.7.1 …\""
            )));
        }
        if first != Some(class.encode_utf8(&mut [0; 4])) {
            return Err(Wrong::allowed(format!("an enhanced code of the code's class, {class}, behind {code}")));
        }
        if rest.trim().is_empty() {
            return Err(Wrong::allowed(format!(
                "text behind the codes, as \"{code} {enhanced} {{key}} sends too fast\""
            )));
        }
        Ok(Self { text: text.to_owned(), pieces: pieces(text)? })
    }

    /// What [`Template::parse`] takes, for the schema.
    pub(super) fn pattern() -> String {
        let places = PLACES.map(|(name, _)| name).join("|");
        let (number, place) = ("(?:0|[1-9][0-9]{0,2})", format!(r"\{{(?:{places})\}}"));
        // Printable without braces, and of that what is no blank.
        let (any, seen) = (format!("(?:[ -z|~]|{place})"), format!("(?:[!-z|~]|{place})"));
        format!(r"(?:4[0-5][0-9] 4|5[0-5][0-9] 5)\.{number}\.{number} +{seen}{any}*")
    }

    /// Parses a template that was stored as text; `None` if it is not one.
    pub fn restored(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }

    /// The longest line but for its keys, which get what is left of it.
    fn octets(&self, limit: &Limit) -> usize {
        let octets = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Key => LEAST_KEY,
            Piece::Limit => limit.name.len(),
            Piece::Identity => limit.per_name().len(),
            Piece::Seconds => SECONDS_DIGITS,
        };
        self.pieces.iter().map(octets).sum()
    }
}

/// Whether what a limit says goes together with its reply.
pub(super) fn replied(place: &Place, given: Option<&Given<'_, Template>>, limit: &Limit) -> Result<(), PolicyError> {
    let Some(Given { value: template, field }) = given else { return Ok(()) };
    let wrong = |allowed: String| Err(place.wrong(field, Wrong::allowed(allowed)));
    let (stage, rejects) = (limit.stage(), limit.action == Action::Reject);
    let refuses_for_good = template.code().starts_with('5');
    if refuses_for_good && !rejects {
        let action = limit.action.text();
        return wrong(format!(
            "a code from 400 to 459 beside action = {action:?}, after which the message comes again; or action = \"reject\""
        ));
    }
    if rejects && !refuses_for_good {
        return wrong("a code from 500 to 559 beside action = \"reject\"".into());
    }
    if rejects && stage == Stage::Connect && template.code() != "554" {
        return wrong("554 for a limit at connect, where no other code rejects (RFC 5321 §3.1)".into());
    }
    if !template.suits(stage <= Stage::Helo) {
        return wrong(match stage {
            Stage::Connect | Stage::Helo => {
                format!("421 for a limit at {}, where the server closes the connection", stage.name())
            }
            _ => format!("another code than 421 for a limit at {}, where the connection stays open", stage.name()),
        });
    }
    let octets = template.octets(limit);
    if octets > LINE_OCTETS {
        return wrong(format!(
            "a line of at most {LINE_OCTETS} octets with its places filled, {LEAST_KEY} of them for each key; this one takes {octets}"
        ));
    }
    Ok(())
}

fn shape() -> Wrong {
    Wrong::allowed("one line of text, as \"450 4.7.1 {key} sends too fast; retry in {seconds} s\"")
}

/// Text and places in turn.
fn pieces(text: &str) -> Result<Vec<Piece>, Wrong> {
    let unbalanced = || Wrong::allowed("braces in pairs, around the name of a place, as {key}");
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        let inner = brace.strip_prefix('{').ok_or_else(unbalanced)?;
        let (name, behind) = inner.split_once('}').ok_or_else(unbalanced)?;
        if name.contains('{') {
            return Err(unbalanced());
        }
        let names = PLACES.map(|(name, _)| name);
        let Some((_, piece)) = PLACES.iter().find(|(known, _)| *known == name) else {
            let meant = super::nearest::nearest(name, names).map(|name| format!("{{{name}}}"));
            let allowed = names.map(|name| format!("{{{name}}}")).join(", ");
            return Err(Wrong::allowed(allowed).found(format!("{{{name}}}")).suggest(meant));
        };
        pieces.extend([Piece::Text(before.to_owned()), piece.clone()]);
        rest = behind;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}
