//! The value of one field: what may stand there, and the words for what may not.
//!
//! Knows no other field of the limit.

use super::field::{FieldValue, Wrong};
use super::nearest::{listed, nearest};
use super::quantity::{MOST, duration_us, size};
use super::unstated;
use crate::identity::Identity;
use crate::identity::kind::UnknownIdentity;
use crate::store::params::{Fraction, Rate};

pub(super) const LONGEST_NAME: usize = 64;

pub(super) const MOST_IDENTITIES: usize = 4;

/// How many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    pub(super) amount: u64,
    /// Written with a size unit.
    pub(super) sized: bool,
}

fn text(value: &FieldValue, allowed: impl FnOnce() -> Wrong) -> Result<&str, Wrong> {
    match value {
        FieldValue::Text(text) => Ok(text),
        _ => Err(allowed()),
    }
}

pub(super) fn name(value: &FieldValue) -> Result<String, Wrong> {
    let wrong = || Wrong::allowed(format!("lower-case letters, digits and `-`, at most {LONGEST_NAME} of them"));
    let name = text(value, wrong)?;
    if unstated::ALL.contains(&name) {
        return Err(Wrong::allowed(format!(
            "a name but for {}: what refuses beside a policy is called so",
            unstated::ALL.join(", ")
        )));
    }
    if is_name(name) {
        return Ok(name.to_owned());
    }
    let meant = name.trim().to_ascii_lowercase().replace([' ', '_', '.'], "-");
    Err(wrong().suggest(Some(meant).filter(|name| is_name(name))))
}

/// Whether a limit may be called so.
pub(super) fn is_name(name: &str) -> bool {
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    letters && (1..=LONGEST_NAME).contains(&name.len())
}

pub(super) fn per(value: &FieldValue) -> Result<Vec<Identity>, Wrong> {
    let one = std::slice::from_ref(value);
    let (names, is_list) = match value {
        FieldValue::List(names) => (names.as_slice(), true),
        _ => (one, false),
    };
    let at = |wrong: Wrong, index: usize| if is_list { wrong.item(index) } else { wrong };
    let mut per = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let found = |wrong: Wrong, what: &str| at(wrong.found(format!("{}{what}", name.shown())), index);
        let identity = identity(name).map_err(|wrong| match wrong.found {
            Some(_) => at(wrong, index),
            None => found(wrong, ""),
        })?;
        if per.contains(&identity) {
            return Err(found(Wrong::allowed("each identity once"), " a second time"));
        }
        if identity.has_many() && per.iter().any(|other: &Identity| other.has_many()) {
            let allowed = "at most one identity of which a message has several (rcpt.*, from.*, reply_to.*, dkim.org)";
            return Err(found(Wrong::allowed(allowed), " as a second of them"));
        }
        if per.len() == MOST_IDENTITIES {
            let allowed = format!("at most {MOST_IDENTITIES} identities");
            return Err(at(Wrong::allowed(allowed).found(format!("{} of them", names.len())), index));
        }
        per.push(identity);
    }
    if per.is_empty() {
        return Err(Wrong::allowed("one identity or a list of them, as [\"client.net\", \"sender.org\"]"));
    }
    Ok(per)
}

fn identity(value: &FieldValue) -> Result<Identity, Wrong> {
    let names = || Wrong::allowed(format!("one of {}", Identity::NAMES.join(", ")));
    let name = text(value, names)?;
    name.parse().map_err(|unknown: UnknownIdentity| {
        // The nearest name has parameters: say which, rather than repeat the pattern.
        if name.starts_with("client.net/") {
            Wrong::allowed("\"client.net\", or with both lengths of prefix, 0–32 and 0–128, as \"client.net/24/48\"")
        } else if name.starts_with("sender.org+") {
            Wrong::allowed("\"sender.org\", or with 1 to 5 labels more, as \"sender.org+2\"")
        } else {
            names().suggest(unknown.nearest)
        }
    })
}

pub(super) fn distinct(value: &FieldValue) -> Result<Identity, Wrong> {
    match identity(value)? {
        Identity::Global => Err(Wrong::allowed("an identity of which there can be many; there is one `global`")),
        identity => Ok(identity),
    }
}

pub(super) fn rate(value: &FieldValue) -> Result<Rate, Wrong> {
    let wrong = || Wrong::allowed("text, as \"600/minute\", \"20/10 minutes\" or \"1 GiB/hour\"");
    Rate::read(text(value, wrong)?)
}

pub(super) fn burst(value: &FieldValue) -> Result<Burst, Wrong> {
    let wrong = || Wrong::allowed("a whole number from 1 to 2^50; of bytes also a size, as \"64 MiB\"");
    match value {
        FieldValue::Integer(number) => {
            let amount = u64::try_from(*number).ok().filter(|amount| (1..=MOST).contains(amount));
            Ok(Burst { amount: amount.ok_or_else(wrong)?, sized: false })
        }
        FieldValue::Text(text) => Ok(Burst { amount: size(text).map_err(|_| wrong())?, sized: true }),
        _ => Err(wrong()),
    }
}

pub(super) fn in_flight(value: &FieldValue) -> Result<Burst, Wrong> {
    let wrong = || Wrong::allowed("a whole number from 1 to 2^50, or a size, as \"1 GiB\"");
    burst(value).map_err(|_| wrong())
}

pub(super) fn of_free(value: &FieldValue) -> Result<Fraction, Wrong> {
    let wrong = || {
        Wrong::allowed(format!(
            "a part up to the whole, as \"1/10\", no finer than \"1/{}\"",
            Fraction::MAX_DENOMINATOR
        ))
    };
    let (numerator, denominator) = text(value, wrong)?.split_once('/').ok_or_else(wrong)?;
    let number =
        |digits: &str| digits.trim().parse().ok().filter(|number| (1..=Fraction::MAX_DENOMINATOR).contains(number));
    let (numerator, denominator) = number(numerator).zip(number(denominator)).ok_or_else(wrong)?;
    if numerator <= denominator { Ok(Fraction { numerator, denominator }) } else { Err(wrong()) }
}

pub(super) fn duration(value: &FieldValue) -> Result<u64, Wrong> {
    let wrong = || Wrong::allowed("text, as \"7 days\" or \"90 minutes\"");
    duration_us(text(value, wrong)?)
}

/// One of a few words.
pub(super) fn choice<T: Copy>(value: &FieldValue, named: &[(&'static str, T)]) -> Result<T, Wrong> {
    let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    let wrong = || Wrong::allowed(listed(&names));
    let word = text(value, wrong)?;
    if let Some((_, choice)) = named.iter().find(|(name, _)| *name == word) {
        return Ok(*choice);
    }
    Err(wrong().suggest(nearest(word, names)))
}
