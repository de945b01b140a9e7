//! Reads TOML text into fields with their lines. What a field means is decided elsewhere.

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::field::{Field, FieldValue};
use crate::error::PolicyError;

/// Reads the fields of a file, in the order of the file.
///
/// # Errors
/// The text is not TOML.
pub(super) fn read(file: &str, text: &str) -> Result<Vec<Field>, PolicyError> {
    let lines = Lines::of(text);
    let document = DeTable::parse(text).map_err(|error| syntax(file, &lines, &error))?;
    Ok(fields(document.get_ref(), &lines))
}

/// The fields of a table. The parser keeps them in alphabetical order.
fn fields(table: &DeTable<'_>, lines: &Lines<'_>) -> Vec<Field> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries.into_iter().map(|(key, value)| field(key, value, lines)).collect()
}

fn field(key: &Spanned<DeString<'_>>, value: &Spanned<DeValue<'_>>, lines: &Lines<'_>) -> Field {
    let item_lines = match value.get_ref() {
        DeValue::Array(items) => items.iter().map(|item| lines.line(item.span().start)).collect(),
        _ => Vec::new(),
    };
    let line = Some(lines.line(key.span().start));
    Field { name: key.get_ref().to_string(), line, file: None, value: self::value(value.get_ref(), lines), item_lines }
}

fn value(value: &DeValue<'_>, lines: &Lines<'_>) -> FieldValue {
    match value {
        DeValue::String(text) => FieldValue::Text(text.to_string()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| FieldValue::Other(integer.to_string()), FieldValue::Integer),
        DeValue::Float(float) => {
            float.as_str().parse().map_or_else(|_| FieldValue::Other(float.to_string()), FieldValue::Float)
        }
        DeValue::Boolean(boolean) => FieldValue::Other(boolean.to_string()),
        DeValue::Datetime(time) => FieldValue::Other(time.to_string()),
        DeValue::Array(items) => {
            FieldValue::List(items.iter().map(|item| self::value(item.get_ref(), lines)).collect())
        }
        DeValue::Table(table) => FieldValue::Table(fields(table, lines)),
    }
}

fn syntax(file: &str, lines: &Lines<'_>, error: &toml::de::Error) -> PolicyError {
    let at = error.span().map(|span| span.start);
    let (found, allowed) = match error.message().split_once(", expected ") {
        Some((found, "literal string")) => (found, "here text in quotes, or a number".to_owned()),
        Some((found, expected)) => (found, format!("here {expected}")),
        None if error.message() == "duplicate key" => (error.message(), "each key once in a table".to_owned()),
        None => (error.message(), "TOML".to_owned()),
    };
    PolicyError {
        file: file.to_owned(),
        line: at.map(|at| lines.line(at)),
        column: at.map(|at| lines.column(at)),
        found: format!("broken TOML ({found})"),
        allowed,
        ..PolicyError::default()
    }
}

/// The lines of a text.
struct Lines<'t> {
    text: &'t str,
    ends: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        Self { text, ends: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    /// The line of the byte `at`, counted from one.
    fn line(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at) + 1
    }

    /// The column of the byte `at`, counted in characters from one.
    fn column(&self, at: usize) -> usize {
        let start = self.line(at).checked_sub(2).map_or(0, |line| self.ends[line] + 1);
        let before = self.text.as_bytes().get(start..at).unwrap_or_default();
        String::from_utf8_lossy(before).chars().count() + 1
    }
}
