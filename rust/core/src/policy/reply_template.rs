//! Reads the operator's own reply, a line with places for the facts of a refusal, and the address of a page with help.
//!
//! ```text
//! 450 4.7.1 {key} exceeds {limit}; retry in {seconds} s
//! ─┬─ ──┬── ─────────────────┬────────────────────────
//! code  enhanced code        text, printable ASCII
//! ```
//!
//! `{key}` and `{identity}` are those of the decision, `{limit}` is the limit's name, `{seconds}` is the wait, rounded
//! up, and `{help}` is the policy's `help_url`. Every template that is accepted here fills to one legal SMTP line (RFC
//! 5321 §4.2), whatever the key is.

use std::sync::Arc;

use super::field::{FieldValue, Wrong};
use super::model::{Action, Limit};
use crate::decision::{HELP_BYTES, LINE_BYTES, Template};
use crate::{error::nearest, stage::Stage};

/// The least room for a key in the line. Longer keys are cut.
const KEY_BYTES: usize = 64;

const PLACES: [&str; 5] = ["key", "limit", "identity", "seconds", "help"];

/// Reads the address of a page that explains refusals.
///
/// Only the characters of RFC 3986 are allowed. `%` is one of them, as an address needs it for all others; nothing here
/// reads a reply as a format.
pub(super) fn help_url(value: &FieldValue) -> Result<Arc<str>, Wrong> {
    let text = value.text().unwrap_or_default();
    let wrong = || {
        let allowed = format!("an http or https address of at most {HELP_BYTES} bytes in the characters of RFC 3986");
        let meant = Some(format!("https://{text}")).filter(|meant| is_help_url(meant) && !text.contains("//"));
        Wrong::allowed(allowed + ", as \"https://example.com/deferred\"").suggest(meant)
    };
    if is_help_url(text) { Ok(text.into()) } else { Err(wrong()) }
}

/// Whether the text is an address that `help_url` allows.
pub fn is_help_url(text: &str) -> bool {
    let host = ["https://", "http://"].into_iter().find_map(|scheme| text.strip_prefix(scheme));
    let begins_with_host =
        host.is_some_and(|host| host.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '['));
    let is_url_byte = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?#[]@!$&'()*+,;=%".contains(&b);
    begins_with_host && text.len() <= HELP_BYTES && text.bytes().all(is_url_byte)
}

pub(super) fn template(value: &FieldValue) -> Result<Template, Wrong> {
    let wrong = || Wrong::allowed("one line of text, as \"450 4.7.1 {key} sends too fast; retry in {seconds} s\"");
    parse(value.text().ok_or_else(wrong)?)
}

fn parse(text: &str) -> Result<Template, Wrong> {
    let refused = |allowed: String| Err(Wrong::allowed(allowed));
    if !text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
        return refused("printable ASCII on one line (RFC 5321 §4.2)".into());
    }
    let (code, behind) = text.split_once(' ').unwrap_or((text, ""));
    let (enhanced, words) = behind.split_once(' ').unwrap_or((behind, ""));
    let [class @ (b'4' | b'5'), b'0'..=b'5', b'0'..=b'9'] = code.as_bytes() else {
        return refused("first a code that refuses, 400 to 459 or 500 to 559, as \"450 4.7.1 …\"".into());
    };
    let class = char::from(*class);
    let is_number = |digits: &str| {
        let canonical = digits == "0" || !digits.starts_with('0');
        canonical && (1..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let enhanced_class = match enhanced.split('.').collect::<Vec<_>>()[..] {
        [class @ ("2" | "4" | "5"), subject, detail] if is_number(subject) && is_number(detail) => class,
        _ => return refused(format!("behind the code an enhanced one (RFC 3463), as \"{code} {class}.7.1 …\"")),
    };
    if !enhanced_class.starts_with(class) {
        return refused(format!("an enhanced code of the code's class, {class}, behind {code}"));
    }
    if words.trim().is_empty() {
        return refused(format!("text behind the codes, as \"{code} {enhanced} {{key}} sends too fast\""));
    }
    check_places(text).map(|()| Template(text.into()))
}

/// Checks that braces are in pairs, with the name of a place between them.
fn check_places(text: &str) -> Result<(), Wrong> {
    let braces: String = text.matches(['{', '}']).collect();
    if braces != "{}".repeat(braces.len() / 2) {
        return Err(Wrong::allowed("braces in pairs, around the name of a place, as {key}"));
    }
    let braced = |name: &str| format!("{{{name}}}");
    let mut names = text.split(['{', '}']).skip(1).step_by(2);
    names.find(|name| !PLACES.contains(name)).map_or(Ok(()), |name| {
        let wrong = Wrong::allowed(PLACES.map(braced).join(", ")).found(braced(name));
        Err(wrong.suggest(nearest(name, PLACES).map(braced)))
    })
}

impl Template {
    /// Parses a template that was stored as text; returns `None` if the text is not a template.
    pub fn restored(text: &str) -> Option<Self> {
        parse(text).ok()
    }
}

/// Returns the error hint for a template that the limit does not allow; `None` if the template fits.
pub(super) fn misfit(template: &Template, limit: &Limit) -> Option<String> {
    let (code, stage, rejects) = (template.code(), limit.stage(), limit.action == Action::Reject);
    let bytes = template.bytes(KEY_BYTES, &limit.name, &limit.per_name(), HELP_BYTES);
    let (at, action, suits) = (stage.name(), limit.action.text(), template.suits(stage <= Stage::Helo));
    Some(match code.starts_with('5') {
        true if !rejects => format!(
            "a code from 400 to 459 with action = {action:?}, after which the message comes again; \
             or action = \"reject\""
        ),
        false if rejects => "a code from 500 to 559 with action = \"reject\"".into(),
        true if stage == Stage::Connect && code != "554" => {
            "554 for a limit at connect, where no other code rejects (RFC 5321 §3.1)".into()
        }
        _ if suits && bytes <= LINE_BYTES => return None,
        _ if suits => format!(
            "a line of at most {LINE_BYTES} octets with its places filled, {KEY_BYTES} of them for each key{}; \
             this one takes {bytes}",
            if template.names_help() { format!(" and {HELP_BYTES} for help") } else { String::new() }
        ),
        _ if stage <= Stage::Helo => format!("421 for a limit at {at}, where the server closes the connection"),
        _ => format!("another code than 421 for a limit at {at}, where the connection stays open"),
    })
}
