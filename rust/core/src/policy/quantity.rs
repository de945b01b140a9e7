//! Sizes and durations: `2 MiB`, `10 minutes`. Whole numbers only; every one that is read prints as one that reads the same.

use super::field::{Field, FieldValue, Place, Wrong};
use super::nearest::nearest;
use crate::error::PolicyError;

/// Largest amount of anything: 2⁵⁰, a pebibyte. Leaves the arithmetic of a store fourteen bits.
pub(super) const MOST: u64 = 1 << 50;

/// A leap year.
const LONGEST_SECONDS: u64 = 366 * 86_400;

/// A page: smaller than that, the two lines of a key would have nowhere to be.
pub(super) const LEAST_MEMORY: u64 = 4096;

const SECOND_US: u64 = 1_000_000;

/// The largest first: [`write_size`] takes the first that divides.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1000),
    ("B", 1),
];

const PERIODS: [(&str, u64); 4] = [("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)];

const ABBREVIATIONS: [(&str, &str); 10] = [
    ("s", "second"),
    ("sec", "second"),
    ("secs", "second"),
    ("m", "minute"),
    ("min", "minute"),
    ("mins", "minute"),
    ("h", "hour"),
    ("hr", "hour"),
    ("hrs", "hour"),
    ("d", "day"),
];

const SIZE_UNITS: &str = "B, kB, MB, GB, TB, KiB, MiB, GiB or TiB";
const PERIOD_UNITS: &str = "second(s), minute(s), hour(s) or day(s)";

/// The digits that `text` begins with, and the rest, without blanks around it.
pub(super) fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

/// `512 MiB`, in bytes.
pub(super) fn size(text: &str) -> Result<u64, Wrong> {
    let (digits, unit) = split(text);
    let shape = || Wrong::allowed(format!("a whole number and a unit ({SIZE_UNITS}), as \"64 MiB\""));
    if digits.is_empty() || unit.is_empty() {
        return Err(shape());
    }
    let Some(factor) = size_unit(unit) else {
        let meant = nearest(unit, SIZES.map(|(name, _)| name));
        return Err(shape().suggest(meant.map(|unit| format!("{digits} {unit}"))));
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    bytes.filter(|bytes| (1..=MOST).contains(bytes)).ok_or_else(|| Wrong::allowed("a size from 1 B to 1024 TiB"))
}

/// What one unit is, in bytes.
pub(super) fn size_unit(unit: &str) -> Option<u64> {
    SIZES.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)
}

/// `1536 KiB`
pub(super) fn write_size(bytes: u64) -> String {
    let (unit, factor) = SIZES.into_iter().find(|(_, factor)| bytes % factor == 0).unwrap_or(("B", 1));
    format!("{} {unit}", bytes / factor)
}

/// Memory as a policy and `Throttle(memory=…)` say it: a size, or a number of bytes.
pub(super) fn memory(value: &FieldValue) -> Result<u64, Wrong> {
    let allowed = || Wrong::allowed("a size from \"4 KiB\" on, as \"2 MiB\", or a number of bytes");
    let bytes = match value {
        FieldValue::Text(text) => size(text)?,
        FieldValue::Integer(bytes) => u64::try_from(*bytes).map_err(|_| allowed())?,
        _ => return Err(allowed()),
    };
    if (LEAST_MEMORY..=MOST).contains(&bytes) { Ok(bytes) } else { Err(allowed()) }
}

/// Memory, for who has no policy around it.
///
/// # Errors
/// A [`PolicyError`] about the field `memory`.
pub fn memory_bytes(value: &FieldValue) -> Result<u64, PolicyError> {
    let place = Place::default();
    memory(value).map_err(|wrong| place.wrong(&Field::loose("memory", value), wrong))
}

/// `7 days`, in microseconds.
pub(super) fn duration_us(text: &str) -> Result<u64, Wrong> {
    let shape = || Wrong::allowed(format!("a whole number and a unit ({PERIOD_UNITS}), as \"7 days\""));
    if split(text).0.is_empty() {
        return Err(shape());
    }
    period_us(text).map_err(|off| match off {
        OffPeriod::Unit(meant) => shape().suggest(meant),
        OffPeriod::Range => Wrong::allowed("a time from 1 second to 366 days"),
    })
}

/// The period of a rate: `10 minutes`, or `minute` for one of them; in microseconds.
pub(super) fn rate_period_us(text: &str) -> Result<u64, Wrong> {
    period_us(text).map_err(|off| match off {
        OffPeriod::Unit(meant) => {
            Wrong::allowed(format!("after the slash a period in {PERIOD_UNITS}, as \"10 minutes\"")).suggest(meant)
        }
        OffPeriod::Range => Wrong::allowed("a period from 1 second to 366 days"),
    })
}

/// Why a period is none.
enum OffPeriod {
    /// Its unit; what was meant.
    Unit(Option<String>),
    /// Its length.
    Range,
}

fn period_us(text: &str) -> Result<u64, OffPeriod> {
    let (digits, unit) = split(text);
    let seconds = period_unit(unit).ok_or_else(|| OffPeriod::Unit(meant(digits, unit)))?;
    let number = if digits.is_empty() { Some(1) } else { digits.parse::<u64>().ok() };
    number
        .and_then(|number| number.checked_mul(seconds))
        .filter(|seconds| (1..=LONGEST_SECONDS).contains(seconds))
        .map(|seconds| seconds * SECOND_US)
        .ok_or(OffPeriod::Range)
}

fn period_unit(unit: &str) -> Option<u64> {
    let singular = unit.strip_suffix('s').unwrap_or(unit);
    PERIODS.iter().find(|(name, _)| *name == singular).map(|(_, seconds)| *seconds)
}

/// The period that `digits unit` was meant to be.
fn meant(digits: &str, unit: &str) -> Option<String> {
    let word = unit.to_ascii_lowercase();
    let plural = if matches!(digits, "" | "1") { "" } else { "s" };
    if matches!(word.as_str(), "week" | "weeks" | "w") {
        let weeks = if digits.is_empty() { 1 } else { digits.parse::<u64>().ok()? };
        return Some(format!("{} days", weeks.checked_mul(7)?));
    }
    let full = ABBREVIATIONS.iter().find(|(short, _)| *short == word).map(|(_, name)| *name);
    let singular = word.strip_suffix('s').unwrap_or(&word);
    let name = full.or_else(|| nearest(singular, PERIODS.map(|(name, _)| name)))?;
    Some(format!("{digits} {name}{plural}").trim_start().to_owned())
}

/// `7 days`; `day` for `1 day` when it stands in a rate.
pub(super) fn write_period(us: u64, in_rate: bool) -> String {
    let seconds = us / SECOND_US;
    let (unit, factor) = PERIODS.into_iter().find(|(_, factor)| seconds % factor == 0).unwrap_or(("second", 1));
    match seconds / factor {
        1 if in_rate => unit.to_owned(),
        1 => format!("1 {unit}"),
        number => format!("{number} {unit}s"),
    }
}

/// A number above zero, with blanks around it, as a regular expression (ECMA 262).
pub(super) const POSITIVE: &str = r"\s*0*[1-9][0-9]*\s*";

/// What [`size`] reads, but for the range.
pub(super) fn size_pattern() -> String {
    format!(r"{POSITIVE}(?:{})\s*", SIZES.map(|(unit, _)| unit).join("|"))
}

/// What [`duration_us`] reads, but for the range.
pub(super) fn duration_pattern() -> String {
    format!("{POSITIVE}{}", period_unit_pattern())
}

/// What [`rate_period_us`] reads, but for the range.
pub(super) fn rate_period_pattern() -> String {
    format!(r"(?:{POSITIVE}|\s*){}", period_unit_pattern())
}

fn period_unit_pattern() -> String {
    format!(r"(?:{})s?\s*", PERIODS.map(|(unit, _)| unit).join("|"))
}
