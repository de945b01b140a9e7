//! The operator's entries in a policy: `[[allow]]` and `[[block]]`.
//!
//! An entry is read here as far as its own fields go. Which values an identity can have depends on the suffix list, so
//! the engine reads the value, as it does for an entry that is made at run time.

use std::str::FromStr;

use toml_datetime::{Datetime, Offset};

use super::field::{Field, FieldValue, Place, Wrong};
use super::limit::{Fields, text};
use super::rows::{ALLOW, BLOCK};
use super::value;
use crate::{error::PolicyError, identity::Identity, store::access_list::AccessAction};

/// The fields of a policy that are lists of entries.
pub(super) const LISTS: [&str; 2] = ["allow", "block"];

/// An entry of `[[allow]]` or `[[block]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyEntry {
    /// What happens to mail that the entry covers.
    pub action: AccessAction,
    /// The identity.
    pub identity: Identity,
    /// The value, as it was written.
    pub value: String,
    /// When the entry ends; `None`: never.
    pub until: Option<Until>,
    /// The operator's own remark.
    pub comment: Option<String>,
    /// The line in the file, if there is a file.
    pub line: Option<usize>,
    /// The file of that line, if it is a base of the policy's file.
    pub file: Option<String>,
}

/// A time of the calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Until {
    /// Microseconds since the Unix epoch.
    pub us: i64,
    /// The time as ISO 8601 writes it.
    pub text: String,
}

impl PolicyEntry {
    /// The name of the list that the entry is in.
    pub fn list(&self) -> &'static str {
        LISTS[usize::from(self.action == AccessAction::Block)]
    }

    /// Whether the entry has ended at this time.
    pub fn has_ended(&self, now_us: i64) -> bool {
        self.until.as_ref().is_some_and(|until| until.us <= now_us)
    }

    /// The place of the entry, for an error about its identity or its value.
    pub(crate) fn place(&self, policy_file: &str) -> PolicyError {
        let file = self.file.as_deref().unwrap_or(policy_file).to_owned();
        PolicyError { file, line: self.line, ..PolicyError::default() }
    }

    /// The entry as a table of a policy file.
    pub(super) fn to_toml(&self) -> String {
        let (identity, value) = (text(self.identity), text(&self.value));
        let mut toml = format!("[[{}]]\nidentity = {identity}\nvalue = {value}\n", self.list());
        if let Some(until) = &self.until {
            toml += &format!("until = {}\n", until.text);
        }
        if self.action == AccessAction::AllowUnverified {
            toml += "unverified = true\n";
        }
        if let Some(comment) = &self.comment {
            toml += &format!("comment = {}\n", text(comment));
        }
        toml
    }
}

/// Reads the entries of the list `field`.
pub(super) fn entries(place: &Place, field: &Field) -> Result<Vec<PolicyEntry>, PolicyError> {
    let each = || Wrong::allowed(format!("`[[{0}]]`, once for each entry", field.name));
    let FieldValue::List(items) = &field.value else { return Err(place.wrong(field, each())) };
    let read = |(index, item): (usize, &FieldValue)| {
        let line = field.item_lines.get(index).copied().or(field.line);
        let file = item.entries().first().map_or(&field.file, |first| &first.file).clone();
        let table = Field { line, file, ..Field::loose(&field.name, item) };
        if let FieldValue::Table(_) = item { entry(place, &table) } else { Err(place.wrong(&table, each())) }
    };
    items.iter().enumerate().map(read).collect()
}

fn entry(place: &Place, table: &Field) -> Result<PolicyEntry, PolicyError> {
    let is_block = table.name == LISTS[1];
    let path = format!("{}.", table.name);
    let fields = Fields { place, table, rows: if is_block { BLOCK } else { ALLOW }, path };
    fields.check_values()?;
    let is_unverified = !is_block && fields.read("unverified", truth)? == Some(true);
    Ok(PolicyEntry {
        action: match (is_block, is_unverified) {
            (true, _) => AccessAction::Block,
            (false, true) => AccessAction::AllowUnverified,
            (false, false) => AccessAction::Allow,
        },
        identity: fields.required("identity", value::identity)?,
        value: fields.required("value", words)?,
        until: fields.read("until", until)?,
        comment: fields.read("comment", words)?,
        line: table.line,
        file: place.base_of(table),
    })
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
