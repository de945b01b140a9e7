//! What one field may hold: names, identities, choices, actions and public suffixes; and numbers with their units:
//! sizes (`2 MiB`), times (`10 minutes`), rates (`600/minute`), fractions (`1/10`) and `scale`.
//!
//! A function here reads one value and knows no other field of the limit. All numbers are whole. A printed value reads
//! as the same value again.

use std::{fmt, slice, str::FromStr};

use toml_datetime::{Datetime, Offset};

use super::field::{Field, FieldValue, Place, Read, Wrong, listed};
use super::model::{Action, Choice, Report, Until, reserved};
use crate::bitset::Set;
use crate::error::{PolicyError, nearest};
use crate::identity::{Identity, UnknownIdentity};
use crate::store::params::{Fraction, Rate};

const NAME_CHARS: usize = 64;

const MAX_IDENTITIES: usize = 4;

/// The largest amount of anything: 2⁵⁰. It leaves fourteen bits for the arithmetic of a store.
const MAX_AMOUNT: u64 = 1 << 50;

/// The least memory of a limit: one page. The two lines of a key do not fit into less.
const MIN_MEMORY: u64 = 4096;

/// The factor of `scale` is kept in millionths.
pub(super) const MILLION: u64 = 1_000_000;

/// The longest time that a field accepts: 366 days.
const MAX_SECONDS: u64 = 366 * 86_400;

const SECOND_US: u64 = 1_000_000;

/// The longest DNS name (RFC 1035 §2.3.4).
const SUFFIX_BYTES: usize = 253;

/// The largest unit comes first: [`write_size`] takes the first that divides.
#[rustfmt::skip]
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40), ("TB", 1_000_000_000_000), ("GiB", 1 << 30), ("GB", 1_000_000_000), ("MiB", 1 << 20),
    ("MB", 1_000_000), ("KiB", 1 << 10), ("kB", 1000), ("B", 1),
];

/// The units of time, their seconds and their abbreviations. An abbreviation is an error; the unit is then suggested.
const PERIODS: [(&str, u64, &[&str]); 4] = [
    ("day", 86_400, &["d"]),
    ("hour", 3600, &["h", "hr", "hrs"]),
    ("minute", 60, &["m", "min", "mins"]),
    ("second", 1, &["s", "sec", "secs"]),
];

const PERIOD_UNITS: &str = "second(s), minute(s), hour(s) or day(s)";

const RATE_SHAPE: &str = "a whole number, a slash and a period, as \"600/minute\", \"20/10 minutes\" or \"1 GiB/hour\"";

const BLOCK: &str = "block";

/// The error hint for a limit that does not say which reports it counts.
pub(super) const REPORTS: &str = r#"with count = "reports", a list of what it counts, as ["unknown-recipient"]"#;

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
        return Err(Wrong::allowed(format!("another name, since {names} are the names of built-in refusals")));
    }
    let meant = name.trim().to_ascii_lowercase().replace([' ', '_', '.'], "-");
    if is_name(name) { Ok(name.to_owned()) } else { Err(wrong().suggest(Some(meant).filter(|name| is_name(name)))) }
}

/// Reads one identity or a list of them.
pub(super) fn identities(value: &FieldValue) -> Result<Vec<Identity>, Wrong> {
    let names = if let FieldValue::List(names) = value { names } else { slice::from_ref(value) };
    let mut per: Vec<Identity> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let shown = name.shown();
        let wrong = match identity(name) {
            Err(wrong) => wrong.found(shown),
            Ok(identity) if per.contains(&identity) => {
                Wrong::allowed("each identity once").found(format!("{shown} a second time"))
            }
            Ok(identity) if identity.has_many() && per.iter().any(|other| other.has_many()) => {
                let many =
                    "at most one identity with several values in a message (rcpt.*, from.*, reply_to.*, dkim.org)";
                Wrong::allowed(many).found(format!("{shown} as a second of them"))
            }
            Ok(_) if per.len() == MAX_IDENTITIES => {
                Wrong::allowed(format!("at most {MAX_IDENTITIES} identities")).found(format!("{} of them", names.len()))
            }
            Ok(identity) => {
                per.push(identity);
                continue;
            }
        };
        return Err(wrong.item(index));
    }
    let empty = || Wrong::allowed("one identity or a list of them, as [\"client.net\", \"sender.org\"]");
    if per.is_empty() { Err(empty()) } else { Ok(per) }
}

pub(super) fn identity(value: &FieldValue) -> Result<Identity, Wrong> {
    let wrong = || Wrong::allowed(format!("one of {}", Identity::NAMES.join(", ")));
    let name = value.text().ok_or_else(wrong)?;
    name.parse().map_err(|unknown: UnknownIdentity| {
        // The nearest name would be the one with placeholders for the parameters.
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

pub(super) fn choice<T: Choice>(value: &FieldValue) -> Result<T, Wrong> {
    let text = value.text().unwrap_or_default();
    let names: Vec<&str> = T::NAMES.iter().map(|(name, _)| *name).collect();
    T::from_name(text).ok_or_else(|| Wrong::allowed(listed(&names)).suggest(nearest(text, names)))
}

/// Reads the reports that a limit counts.
pub(super) fn reports(value: &FieldValue) -> Result<Set<Report>, Wrong> {
    let mut reports = Set::EMPTY;
    let items = if let FieldValue::List(items) = value { &items[..] } else { &[] };
    for (index, item) in items.iter().enumerate() {
        let wrong = match choice(item) {
            Err(wrong) => wrong.found(item.shown()),
            Ok(report) if reports.contains(report) => {
                Wrong::allowed("each of them once").found(format!("{} a second time", item.shown()))
            }
            Ok(report) => {
                reports.insert(report);
                continue;
            }
        };
        return Err(wrong.item(index));
    }
    if reports.is_empty() { Err(Wrong::allowed(REPORTS)) } else { Ok(reports) }
}

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

/// Reads a list of texts, each by `read`; `allowed` is the error hint for a value that is no list. An item that is no
/// text is read as an empty text.
pub(super) fn list<T>(
    value: &FieldValue, allowed: &str, read: impl Fn(&str) -> Result<T, Wrong>,
) -> Result<Vec<T>, Wrong> {
    let FieldValue::List(items) = value else { return Err(Wrong::allowed(allowed)) };
    let read = |item: &FieldValue| read(item.text().unwrap_or_default());
    let at = |(index, item)| read(item).map_err(|wrong| wrong.found(item.shown()).item(index));
    items.iter().enumerate().map(at).collect()
}

/// Reads the operator's own public suffixes and returns them as A-labels.
pub(super) fn suffixes(value: &FieldValue) -> Result<Vec<String>, Wrong> {
    list(value, "a list of plain suffixes, as [\"onmicrosoft.com\", \"amazonses.com\"]", |text| {
        let meant = suffix(text.trim().trim_start_matches(['*', '!', '@', '.']));
        suffix(text).ok_or_else(|| Wrong::allowed("a plain suffix, as \"onmicrosoft.com\"").suggest(meant))
    })
}

/// Reads the path of a file of quotas.
pub(super) fn csv_path(value: &FieldValue) -> Result<String, Wrong> {
    let path = value.text().filter(|path| !path.is_empty());
    path.map(str::to_owned).ok_or_else(|| Wrong::allowed("the path of a CSV file, as \"quotas.csv\""))
}

/// Converts a suffix to A-labels in lower case; `None` if it is not a DNS name.
fn suffix(text: &str) -> Option<String> {
    let name = idna::domain_to_ascii(text).ok()?;
    let name = name.strip_suffix('.').unwrap_or(&name);
    let is_label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        plain && (1..=63).contains(&label.len())
    };
    (name.len() <= SUFFIX_BYTES && name.split('.').all(is_label)).then(|| name.to_owned())
}

/// Splits a text into its leading digits and the rest, both without blanks around them.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

fn in_range(number: u64) -> Option<u64> {
    (1..=MAX_AMOUNT).contains(&number).then_some(number)
}

/// Reads a size in bytes: `512 MiB`.
fn size(text: &str) -> Result<u64, Wrong> {
    let (digits, unit) = split(text);
    let units = "B, kB, MB, GB, TB, KiB, MiB, GiB or TiB";
    let wrong = || Wrong::allowed(format!("a whole number and a unit ({units}), as \"64 MiB\""));
    if digits.is_empty() || unit.is_empty() {
        return Err(wrong());
    }
    let Some((_, factor)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        return Err(wrong().suggest(meant_size(digits, unit)));
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor)).and_then(in_range);
    bytes.ok_or_else(|| Wrong::allowed("a size from 1 B to 1024 TiB"))
}

/// The size that was probably meant by `64M`, `64 mib` or `1.5 GiB`: a number and a unit that does not exist, or the
/// rest of a number that is not whole. A suggestion is a size that is allowed.
fn meant_size(digits: &str, unit: &str) -> Option<String> {
    let (decimals, unit) = unit.strip_prefix('.').map_or(("", unit), split);
    let initial = |name: &str| name.bytes().next().map(|first| first.to_ascii_lowercase());
    // Another first letter is another size, and no misspelling. A letter alone is read as a power of two.
    let names = || SIZES.into_iter().map(|(name, _)| name).filter(|name| initial(name) == initial(unit));
    let of_letter = names().find(|name| unit.len() == 1 && name.contains('i'));
    let unit = of_letter.or_else(|| nearest(unit, names()))?;
    if decimals.is_empty() {
        return Some(format!("{digits} {unit}")).filter(|meant| size(meant).is_ok());
    }
    let place = SIZES.iter().position(|(name, _)| *name == unit)?;
    // The next smaller unit of the same kind; below both of the smallest are bytes.
    let (smaller, factor) = *SIZES.get(place + 2).or(SIZES.last())?;
    let whole = format!("{digits}{decimals}").parse::<u128>().ok()?;
    let one = 10_u128.checked_pow(decimals.len() as u32)?;
    let bytes = whole.checked_mul(SIZES[place].1.into())? / one;
    Some(format!("{} {smaller}", bytes / u128::from(factor))).filter(|meant| size(meant).is_ok())
}

/// Prints a number of bytes and the same as a size: `16777216 bytes (16 MiB)`.
pub fn write_bytes(bytes: u64) -> String {
    let size = write_size(bytes);
    if size.ends_with(" B") { format!("{bytes} bytes") } else { format!("{bytes} bytes ({size})") }
}

/// Prints a size in the largest unit that divides it: `1536 KiB`.
pub(crate) fn write_size(bytes: u64) -> String {
    let (unit, factor) = SIZES.into_iter().find(|(_, factor)| bytes % factor == 0).unwrap_or(("B", 1));
    format!("{} {unit}", bytes / factor)
}

/// Reads an amount of memory: a size, or a number of bytes.
pub(super) fn memory(value: &FieldValue) -> Result<u64, Wrong> {
    let bytes = match value {
        FieldValue::Text(text) => Some(size(text)?),
        FieldValue::Integer(bytes) => u64::try_from(*bytes).ok(),
        _ => None,
    };
    bytes
        .filter(|bytes| (MIN_MEMORY..=MAX_AMOUNT).contains(bytes))
        .ok_or_else(|| Wrong::allowed("a size from \"4 KiB\" on, as \"2 MiB\", or a number of bytes"))
}

/// Reads a value that belongs to no policy, such as an argument of a function.
fn read_alone<T>(name: &str, value: &FieldValue, read: Read<T>) -> Result<T, PolicyError> {
    read(value).map_err(|wrong| Place::default().wrong(&Field::loose(name, value), wrong))
}

/// Reads an amount of memory that is an argument of a function.
///
/// # Errors
/// A [`PolicyError`] about the field `memory`.
pub fn memory_bytes(value: &FieldValue) -> Result<u64, PolicyError> {
    read_alone("memory", value, memory)
}

/// Reads a time that is an argument of a command, in microseconds: `1 hour`.
///
/// # Errors
/// A [`PolicyError`] about the field `duration`.
pub fn duration_us(value: &FieldValue) -> Result<u64, PolicyError> {
    read_alone("duration", value, duration)
}

/// A number of things, or a number of bytes with its unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    pub(super) number: u64,
    /// Whether it was written with a unit of size.
    pub(super) sized: bool,
}

fn amount(value: &FieldValue, allowed: &str) -> Result<Amount, Wrong> {
    let (number, sized) = match value {
        FieldValue::Integer(number) => (u64::try_from(*number).ok(), false),
        FieldValue::Text(text) => (size(text).ok(), true),
        _ => (None, false),
    };
    let amount = number.and_then(in_range).map(|number| Amount { number, sized });
    amount.ok_or_else(|| Wrong::allowed(allowed))
}

pub(super) fn burst(value: &FieldValue) -> Result<Amount, Wrong> {
    amount(value, "a whole number from 1 to 2^50; of bytes also a size, as \"64 MiB\"")
}

pub(super) fn cap(value: &FieldValue) -> Result<Amount, Wrong> {
    amount(value, "a whole number from 1 to 2^50, or a size, as \"1 GiB\"")
}

/// Reads the most recipients of a transaction. A server must take at least 100 (RFC 5321 §4.5.3.1.8).
pub(super) fn max_recipients(value: &FieldValue) -> Result<u32, Wrong> {
    let number = if let FieldValue::Integer(number) = value { u32::try_from(*number).ok() } else { None };
    let allowed = "a whole number from 100 to 1000000: a server takes at least 100 (RFC 5321 §4.5.3.1.8)";
    number.filter(|number| (100..=1_000_000).contains(number)).ok_or_else(|| Wrong::allowed(allowed))
}

/// Reads the size of a message: `1 MB`.
pub(super) fn message_size(value: &FieldValue) -> Result<u64, Wrong> {
    let wrong = || Wrong::allowed("a size, as \"1 MB\"");
    value.text().ok_or_else(wrong).and_then(size)
}

/// Prints an amount: as a size if `sized`.
pub(super) fn write_amount(number: u64, sized: bool) -> FieldValue {
    let integer = FieldValue::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    if sized { FieldValue::Text(write_size(number)) } else { integer }
}

/// Reads a time in microseconds: `7 days`.
pub(super) fn duration(value: &FieldValue) -> Result<u64, Wrong> {
    let text = value.text().ok_or_else(|| Wrong::allowed("text, as \"7 days\" or \"90 minutes\""))?;
    let shape = format!("a whole number and a unit ({PERIOD_UNITS}), as \"7 days\"");
    if split(text).0.is_empty() { Err(Wrong::allowed(shape)) } else { period_us(text, &shape, "a time") }
}

/// Reads a period in microseconds; the number may be left out. `shape` and `what` are parts of the error.
fn period_us(text: &str, shape: &str, what: &str) -> Result<u64, Wrong> {
    let (digits, unit) = split(text);
    let singular = unit.strip_suffix('s').unwrap_or(unit);
    let Some((_, unit_seconds, _)) = PERIODS.iter().find(|(name, ..)| *name == singular) else {
        return Err(Wrong::allowed(shape).suggest(meant_period(digits, unit)));
    };
    let number = if digits.is_empty() { Some(1) } else { digits.parse::<u64>().ok() };
    match number.and_then(|number| number.checked_mul(*unit_seconds)) {
        Some(seconds @ 1..=MAX_SECONDS) => Ok(seconds * SECOND_US),
        _ => Err(Wrong::allowed(format!("{what} from 1 second to 366 days"))),
    }
}

/// The period that was probably meant by a unit that does not exist.
fn meant_period(digits: &str, unit: &str) -> Option<String> {
    let word = unit.to_ascii_lowercase();
    if matches!(word.as_str(), "week" | "weeks" | "w") {
        let weeks = if digits.is_empty() { 1 } else { digits.parse::<u64>().ok()? };
        return Some(format!("{} days", weeks.checked_mul(7)?));
    }
    let singular = word.strip_suffix('s').unwrap_or(&word);
    let full = PERIODS.iter().find(|(.., short)| short.contains(&word.as_str())).map(|(name, ..)| *name);
    let name = full.or_else(|| nearest(singular, PERIODS.map(|(name, ..)| name)))?;
    let plural = if matches!(digits, "" | "1") { "" } else { "s" };
    Some(format!("{digits} {name}{plural}").trim_start().to_owned())
}

/// Prints a period: `7 days`; a rate writes `day` for `1 day`.
pub(super) fn write_period(us: u64, in_rate: bool) -> String {
    let seconds = us / SECOND_US;
    let (unit, factor, _) = PERIODS.into_iter().find(|(_, factor, _)| seconds % factor == 0).unwrap_or(PERIODS[3]);
    match seconds / factor {
        1 if in_rate => unit.to_owned(),
        1 => format!("1 {unit}"),
        number => format!("{number} {unit}s"),
    }
}

pub(super) fn rate(value: &FieldValue) -> Result<Rate, Wrong> {
    let wrong = || Wrong::allowed("text, as \"600/minute\", \"20/10 minutes\" or \"1 GiB/hour\"");
    let text = value.text().ok_or_else(wrong)?;
    parse_rate(text)
        .map_err(|wrong| if wrong.suggestion.is_some() { wrong } else { wrong.suggest(repaired_rate(text)) })
}

fn parse_rate(text: &str) -> Result<Rate, Wrong> {
    let (amount, period) = text.split_once('/').ok_or_else(|| Wrong::allowed(RATE_SHAPE))?;
    let (amount, period) = (amount.trim(), period.trim());
    let (number, sized) = rate_amount(amount).map_err(|wrong| wrong.suggest_within(|it| format!("{it}/{period}")))?;
    let shape = format!("after the slash a period in {PERIOD_UNITS}, as \"10 minutes\"");
    let period_us = period_us(period, &shape, "a period");
    let period_us = period_us.map_err(|wrong| wrong.suggest_within(|it| format!("{amount}/{it}")))?;
    Ok(Rate { amount: number, period_us, sized })
}

/// Reads the amount of a rate, and whether it has a unit of size.
fn rate_amount(text: &str) -> Result<(u64, bool), Wrong> {
    let range = || Wrong::allowed("an amount from 1 to 2^50");
    let (digits, unit) = split(text);
    let negative = text.strip_prefix('-').is_some_and(|rest| !split(rest).0.is_empty());
    match (digits, unit) {
        ("", _) if negative => Err(range()),
        ("", _) => Err(Wrong::allowed(RATE_SHAPE)),
        (_, "") => digits.parse().ok().and_then(in_range).map(|number| (number, false)).ok_or_else(range),
        _ => size(text).map(|bytes| (bytes, true)).map_err(|wrong| {
            let is_size = SIZES.iter().any(|(name, _)| *name == unit) || wrong.suggestion.is_some();
            if is_size { wrong } else { Wrong::allowed(RATE_SHAPE) }
        }),
    }
}

/// The rate that was probably meant by `600 per minute`, `6,000/hour` or `60 messages/minute`.
fn repaired_rate(text: &str) -> Option<String> {
    let mut candidate = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in [" per ", " an ", " a ", " every "] {
        candidate = candidate.replacen(word, "/", 1);
    }
    candidate = candidate.replace([',', '_', '\''], "");
    for unit in [" messages/", " recipients/", " connections/"] {
        candidate = candidate.replacen(unit, "/", 1);
    }
    (candidate != text && parse_rate(&candidate).is_ok()).then_some(candidate)
}

impl FromStr for Rate {
    type Err = PolicyError;

    /// Reads a rate that is an argument of a function; the error is about the field `rate`.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        read_alone("rate", &FieldValue::Text(text.to_owned()), rate)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let amount = if self.sized { write_size(self.amount) } else { self.amount.to_string() };
        write!(f, "{amount}/{}", write_period(self.period_us, true))
    }
}

pub(super) fn fraction(value: &FieldValue) -> Result<Fraction, Wrong> {
    const MAX: u64 = Fraction::MAX_DENOMINATOR;
    let number = |digits: &str| digits.trim().parse().ok().filter(|number| (1..=MAX).contains(number));
    let parts = value.text().and_then(|text| text.split_once('/'));
    let parts = parts.and_then(|(numerator, denominator)| number(numerator).zip(number(denominator)));
    match parts {
        Some((numerator, denominator)) if numerator <= denominator => Ok(Fraction { numerator, denominator }),
        _ => Err(Wrong::allowed(format!("a part up to the whole, as \"1/10\", no finer than \"1/{MAX}\""))),
    }
}

impl fmt::Display for Fraction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

/// Reads a factor in millionths, so that its products are exact.
pub(super) fn scale(value: &FieldValue) -> Result<u64, Wrong> {
    let millionths = match value {
        FieldValue::Integer(whole) => u64::try_from(*whole).ok().and_then(|whole| whole.checked_mul(MILLION)),
        // A negative number, or one that is not a number, becomes zero.
        FieldValue::Float(number) if *number <= MILLION as f64 => Some((number * MILLION as f64).round() as u64),
        _ => None,
    };
    let is_in_range = |millionths: &u64| (1..=MILLION * MILLION).contains(millionths);
    millionths.filter(is_in_range).ok_or_else(|| Wrong::allowed("a number from 0.000001 to 1,000,000"))
}

/// Multiplies an amount, rounds down and returns at least one; `None` above [`MAX_AMOUNT`].
pub(super) fn multiply(amount: u64, scale_millionths: u64) -> Option<u64> {
    let scaled = u128::from(amount) * u128::from(scale_millionths) / u128::from(MILLION);
    u64::try_from(scaled.max(1)).ok().and_then(in_range)
}

/// Prints a factor: `2.5`.
pub(super) fn write_scale(millionths: u64) -> String {
    let text = format!("{}.{:06}", millionths / MILLION, millionths % MILLION);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads any text but an empty one.
pub(super) fn words(value: &FieldValue) -> Result<String, Wrong> {
    let words = value.text().filter(|text| !text.is_empty());
    words.map(str::to_owned).ok_or_else(|| Wrong::allowed("text in quotes"))
}

/// Reads `true` or `false`.
pub(super) fn truth(value: &FieldValue) -> Result<bool, Wrong> {
    match value {
        FieldValue::Other(text) if text == "true" => Ok(true),
        FieldValue::Other(text) if text == "false" => Ok(false),
        _ => Err(Wrong::allowed("true or false")),
    }
}

/// Reads a date with a time and its zone.
pub(super) fn until(value: &FieldValue) -> Result<Until, Wrong> {
    let (FieldValue::Other(text) | FieldValue::Text(text)) = value else { return Err(no_time()) };
    let time = Datetime::from_str(text.trim()).map_err(|_| no_time())?;
    let us = unix_us(&time).ok_or_else(no_time)?;
    Ok(Until { us, text: time.to_string() })
}

fn no_time() -> Wrong {
    Wrong::allowed("a date and a time with its zone (ISO 8601), as 2027-01-31T12:00:00Z or 2027-01-31T12:00:00+01:00")
}

/// Microseconds from the Unix epoch to a time; `None` without a date, a time of day or a zone.
fn unix_us(time: &Datetime) -> Option<i64> {
    let (date, clock) = (time.date?, time.time?);
    let east_minutes = match time.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let minutes = days(date.year.into(), date.month.into(), date.day.into()) * 1440
        + i64::from(clock.hour) * 60
        + i64::from(clock.minute)
        - east_minutes;
    let seconds = minutes * 60 + i64::from(clock.second.unwrap_or(0));
    Some(seconds * 1_000_000 + i64::from(clock.nanosecond.unwrap_or(0) / 1000))
}

/// Days from 1 January 1970 to a date of the Gregorian calendar.
///
/// A year is taken to begin in March, so that the day of a leap year is the last one of its year.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    // The months from March on have 31, 30, 31, 30, 31 days, and again: 153 days in five months.
    let before_month = (153 * month + 2) / 5;
    let before_year = 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 1 March of the year 0 is 719,468 days before the epoch.
    before_year + before_month + day - 1 - 719_468
}
