//! Values without units: names, identities, choices, actions and public suffixes.
//!
//! A function here reads one value and knows no other field of the limit.

use super::field::{FieldValue, Wrong, listed, nearest};
use super::model::{Action, Choice, reserved};
use super::units::{duration, write_period};
use crate::identity::Identity;
use crate::identity::UnknownIdentity;

pub(super) const NAME_CHARS: usize = 64;

pub(super) const MAX_IDENTITIES: usize = 4;

/// The longest DNS name (RFC 1035 §2.3.4).
const SUFFIX_OCTETS: usize = 253;

pub(super) fn is_name(name: &str) -> bool {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    letters && (1..=NAME_CHARS).contains(&name.len())
}

/// Reads the name of a limit.
pub(super) fn name(value: &FieldValue) -> Result<String, Wrong> {
    let wrong = || Wrong::allowed(format!("lower-case letters, digits and `-`, at most {NAME_CHARS} of them"));
    let name = value.text().ok_or_else(wrong)?;
    if reserved::ALL.contains(&name) {
        let names = reserved::ALL.join(", ");
        return Err(Wrong::allowed(format!("a name but for {names}: what refuses beside a policy is called so")));
    }
    let meant = name.trim().to_ascii_lowercase().replace([' ', '_', '.'], "-");
    if is_name(name) { Ok(name.to_owned()) } else { Err(wrong().suggest(Some(meant).filter(|name| is_name(name)))) }
}

/// Reads one identity or a list of them.
pub(super) fn identities(value: &FieldValue) -> Result<Vec<Identity>, Wrong> {
    let (names, is_list) = match value {
        FieldValue::List(names) => (names.as_slice(), true),
        _ => (std::slice::from_ref(value), false),
    };
    let mut per: Vec<Identity> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let at = |wrong: Wrong| if is_list { wrong.item(index) } else { wrong };
        let identity = identity(name).map_err(|wrong| at(wrong.found(name.shown())))?;
        let refused = |allowed: String, found: String| Err(at(Wrong::allowed(allowed).found(found)));
        if per.contains(&identity) {
            return refused("each identity once".into(), format!("{} a second time", name.shown()));
        }
        if identity.has_many() && per.iter().any(|other| other.has_many()) {
            let many = "rcpt.*, from.*, reply_to.*, dkim.org";
            let allowed = format!("at most one identity of which a message has several ({many})");
            return refused(allowed, format!("{} as a second of them", name.shown()));
        }
        if per.len() == MAX_IDENTITIES {
            return refused(format!("at most {MAX_IDENTITIES} identities"), format!("{} of them", names.len()));
        }
        per.push(identity);
    }
    let empty = || Wrong::allowed("one identity or a list of them, as [\"client.net\", \"sender.org\"]");
    if per.is_empty() { Err(empty()) } else { Ok(per) }
}

fn identity(value: &FieldValue) -> Result<Identity, Wrong> {
    let wrong = || Wrong::allowed(format!("one of {}", Identity::NAMES.join(", ")));
    let name = value.text().ok_or_else(wrong)?;
    name.parse().map_err(|unknown: UnknownIdentity| {
        // The nearest name would be the same name with its parameters left open.
        if name.starts_with("client.net/") {
            Wrong::allowed("\"client.net\", or with both lengths of prefix, 0–32 and 0–128, as \"client.net/24/48\"")
        } else if name.starts_with("sender.org+") {
            Wrong::allowed("\"sender.org\", or with 1 to 5 labels more, as \"sender.org+2\"")
        } else {
            wrong().suggest(unknown.nearest)
        }
    })
}

/// Reads the identity whose elements a fan-out counts.
pub(super) fn distinct(value: &FieldValue) -> Result<Identity, Wrong> {
    match identity(value)? {
        Identity::Global => Err(Wrong::allowed("an identity of which there can be many; there is one `global`")),
        identity => Ok(identity),
    }
}

/// The names of a choice.
pub(super) fn names<T: Choice>() -> Vec<&'static str> {
    T::NAMES.iter().map(|(name, _)| *name).collect()
}

pub(super) fn choice<T: Choice>(value: &FieldValue) -> Result<T, Wrong> {
    let text = value.text().unwrap_or_default();
    T::from_name(text).ok_or_else(|| Wrong::allowed(listed(&names::<T>())).suggest(nearest(text, names::<T>())))
}

const BLOCK: &str = "block";

pub(super) fn action(value: &FieldValue) -> Result<Action, Wrong> {
    let wrong = || Wrong::allowed("\"defer\", \"reject\" or \"block\" with a time, as \"block 10 minutes\"");
    let text = value.text().ok_or_else(wrong)?;
    match text.split_once(' ').unwrap_or((text, "")) {
        ("defer", "") => Ok(Action::Defer),
        ("reject", "") => Ok(Action::Reject),
        (BLOCK, "") => Err(wrong().suggest(Some("block 10 minutes"))),
        (BLOCK, time) => duration(&FieldValue::Text(time.to_owned())).map(Action::Block).map_err(|wrong| {
            let allowed = format!("after \"{BLOCK}\" {}", wrong.allowed);
            Wrong { allowed, ..wrong.suggest_within(|time| format!("{BLOCK} {time}")) }
        }),
        (word, _) => Err(wrong().suggest(nearest(word, ["defer", "reject", BLOCK]))),
    }
}

impl Action {
    /// The action as a policy writes it.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Defer => "defer".into(),
            Self::Reject => "reject".into(),
            Self::Block(us) => format!("{BLOCK} {}", write_period(us, false)),
        }
    }
}

/// Reads the operator's own public suffixes and returns them as A-labels.
pub(super) fn suffixes(value: &FieldValue) -> Result<Vec<String>, Wrong> {
    let FieldValue::List(items) = value else {
        return Err(Wrong::allowed("a list of plain suffixes, as [\"onmicrosoft.com\", \"amazonses.com\"]"));
    };
    let read = |(index, item): (usize, &FieldValue)| {
        let meant = item.text().and_then(|text| suffix(text.trim().trim_start_matches(['*', '!', '@', '.'])));
        let wrong = Wrong::allowed("a plain suffix, as \"onmicrosoft.com\"").found(item.shown()).item(index);
        item.text().and_then(suffix).ok_or_else(|| wrong.suggest(meant))
    };
    items.iter().enumerate().map(read).collect()
}

/// Converts a suffix to A-labels in lower case; `None` if it is not a DNS name.
fn suffix(text: &str) -> Option<String> {
    let name = idna::domain_to_ascii(text).ok()?;
    let name = name.strip_suffix('.').unwrap_or(&name);
    let is_label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        plain && (1..=63).contains(&label.len())
    };
    (name.len() <= SUFFIX_OCTETS && name.split('.').all(is_label)).then(|| name.to_owned())
}
