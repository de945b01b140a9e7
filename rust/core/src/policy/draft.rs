//! One limit's fields, each read by itself, in the order in which they were written.
//!
//! Knows what each field may hold and nothing of how they go together: that is `validate`.

use super::field::{Field, FieldValue, Place, Wrong};
use super::limit::{Algorithm, Count, Mode, Refuse, Verified, WhenFull};
use super::nearest::{listed, nearest};
use super::quantity::{MOST, duration_us, memory, size};
use super::quota::{Numbers, quotas};
use super::rate::Rate;
use crate::error::PolicyError;
use crate::identity::Identity;
use crate::identity::kind::UnknownIdentity;

/// What a limit may say.
const FIELDS: [&str; 16] = [
    "name",
    "per",
    "rate",
    "burst",
    "count",
    "distinct",
    "refuse",
    "remember",
    "settle",
    "verified",
    "when_full",
    "memory",
    "algorithm",
    "action",
    "mode",
    "quota",
];

/// What a limit may say one day.
const LATER_FIELDS: [&str; 3] = ["in_flight", "share", "reply"];

/// Identities of a message's header; nothing reads them yet.
const LATER_IDENTITIES: [&str; 7] =
    ["from.address", "from.host", "from.org", "reply_to.address", "reply_to.org", "list.id", "dkim.org"];

/// Said plainly, since a field that is accepted and not obeyed is a limit that does not hold.
pub(super) const NOT_YET: &str = ", which this version does not have yet";

const LONGEST_NAME: usize = 64;

const MOST_IDENTITIES: usize = 4;

/// A value and the field that it was read from.
#[derive(Debug)]
pub(super) struct Given<'a, T> {
    pub(super) value: T,
    pub(super) field: &'a Field,
}

/// How many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Burst {
    pub(super) amount: u64,
    /// Written with a size unit.
    pub(super) sized: bool,
}

/// A limit whose fields make sense one by one.
#[derive(Debug, Default)]
pub(super) struct Draft<'a> {
    pub(super) name: Option<Given<'a, String>>,
    pub(super) per: Option<Given<'a, Vec<Identity>>>,
    pub(super) rate: Option<Given<'a, Rate>>,
    pub(super) burst: Option<Given<'a, Burst>>,
    pub(super) count: Option<Given<'a, Count>>,
    pub(super) distinct: Option<Given<'a, Identity>>,
    pub(super) refuse: Option<Given<'a, Refuse>>,
    pub(super) remember_us: Option<Given<'a, u64>>,
    pub(super) settle_us: Option<Given<'a, u64>>,
    pub(super) verified: Option<Given<'a, Verified>>,
    pub(super) when_full: Option<Given<'a, WhenFull>>,
    pub(super) memory: Option<Given<'a, u64>>,
    pub(super) algorithm: Option<Given<'a, Algorithm>>,
    pub(super) action: Option<Given<'a, ()>>,
    pub(super) mode: Option<Given<'a, Mode>>,
    pub(super) quotas: Option<Given<'a, Vec<Numbers<'a>>>>,
}

impl<'a> Draft<'a> {
    /// # Errors
    /// The first field that cannot be read.
    pub(super) fn read(place: &Place, fields: &'a [Field]) -> Result<Self, PolicyError> {
        let mut draft = Self::default();
        for field in fields {
            let reader = Reader { place, field };
            match field.name.as_str() {
                "name" => draft.name = reader.read(name)?,
                "per" => draft.per = reader.read(per)?,
                "rate" => draft.rate = reader.read(rate)?,
                "burst" => draft.burst = reader.read(burst)?,
                "count" => draft.count = reader.read(|value| choice(value, &Count::NAMED, &[]))?,
                "distinct" => draft.distinct = reader.read(distinct)?,
                "refuse" => draft.refuse = reader.read(|value| choice(value, &Refuse::NAMED, &[]))?,
                "remember" => draft.remember_us = reader.read(duration)?,
                "settle" => draft.settle_us = reader.read(duration)?,
                "verified" => draft.verified = reader.read(|value| choice(value, &Verified::NAMED, &[]))?,
                "when_full" => {
                    draft.when_full = reader.read(|value| choice(value, &WhenFull::NAMED, &["sketch"]))?;
                }
                "memory" => draft.memory = reader.read(memory)?,
                "algorithm" => draft.algorithm = reader.read(|value| choice(value, &Algorithm::NAMED, &[]))?,
                "action" => {
                    draft.action = reader.read(|value| choice(value, &[("defer", ())], &["reject", "block"]))?;
                }
                "mode" => draft.mode = reader.read(|value| choice(value, &Mode::NAMED, &[]))?,
                "quota" => draft.quotas = Some(Given { value: quotas(place, field)?, field }),
                unknown => return Err(place.wrong(field, unknown_field(unknown, &FIELDS, &LATER_FIELDS))),
            }
        }
        Ok(draft)
    }
}

pub(super) struct Reader<'p, 'a> {
    pub(super) place: &'p Place,
    pub(super) field: &'a Field,
}

impl<'a> Reader<'_, 'a> {
    pub(super) fn read<T>(
        &self,
        read: impl FnOnce(&FieldValue) -> Result<T, Wrong>,
    ) -> Result<Option<Given<'a, T>>, PolicyError> {
        match read(&self.field.value) {
            Ok(value) => Ok(Some(Given { value, field: self.field })),
            Err(wrong) => Err(self.place.wrong(self.field, wrong)),
        }
    }
}

/// A field that is none, or none yet.
pub(super) fn unknown_field(name: &str, fields: &[&str], later: &[&str]) -> Wrong {
    let wrong = Wrong::allowed(fields.join(", "));
    if later.contains(&name) {
        return wrong.found(format!("a field{NOT_YET}"));
    }
    wrong.found("an unknown field").suggest(nearest(name, fields.iter().copied()))
}

fn text(value: &FieldValue, allowed: impl FnOnce() -> Wrong) -> Result<&str, Wrong> {
    match value {
        FieldValue::Text(text) => Ok(text),
        _ => Err(allowed()),
    }
}

fn name(value: &FieldValue) -> Result<String, Wrong> {
    let wrong = || Wrong::allowed(format!("lower-case letters, digits and `-`, at most {LONGEST_NAME} of them"));
    let name = text(value, wrong)?;
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

fn per(value: &FieldValue) -> Result<Vec<Identity>, Wrong> {
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
            let allowed = "at most one identity of which a message has several (rcpt.address, rcpt.host)";
            return Err(found(Wrong::allowed(allowed), " as a second identity of recipients"));
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
    if LATER_IDENTITIES.contains(&name) {
        return Err(names().found(format!("{name:?}{NOT_YET}")));
    }
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

fn distinct(value: &FieldValue) -> Result<Identity, Wrong> {
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

fn duration(value: &FieldValue) -> Result<u64, Wrong> {
    let wrong = || Wrong::allowed("text, as \"7 days\" or \"90 minutes\"");
    duration_us(text(value, wrong)?)
}

/// One of a few words; `later` are words that are to come and are not in this version.
fn choice<T: Copy>(value: &FieldValue, named: &[(&'static str, T)], later: &[&str]) -> Result<T, Wrong> {
    let names: Vec<&str> = named.iter().map(|(name, _)| *name).collect();
    let wrong = || Wrong::allowed(listed(&names));
    let word = text(value, wrong)?;
    if let Some((_, choice)) = named.iter().find(|(name, _)| *name == word) {
        return Ok(*choice);
    }
    // `block 10 minutes` is one of them too.
    let first = word.split_whitespace().next().unwrap_or_default();
    if later.contains(&first) {
        return Err(wrong().found(format!("{}{NOT_YET}", value.shown())));
    }
    Err(wrong().suggest(nearest(word, names)))
}
