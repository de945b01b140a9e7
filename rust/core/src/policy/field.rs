//! A field as it was written, before it has a meaning: the common form of TOML and of Python's keyword arguments.
//!
//! [`read_toml`] reads the text of a file into fields with their lines. What a field means is decided elsewhere.

use std::fmt;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::error::{PolicyError, nearest};

/// Longer values are cut in messages.
const SHOWN_CHARS: usize = 60;

/// The value of a field.
#[derive(Clone, Debug, PartialEq)]
pub enum FieldValue {
    /// `"600/minute"`
    Text(String),
    /// `6000`
    Integer(i64),
    /// `0.5`
    Float(f64),
    /// `["client.net", "sender.org"]`
    List(Vec<FieldValue>),
    /// `{ per = "client.net", of_free = "1/10" }` or `[limit.quota]`, in the order of the file.
    Table(Vec<Field>),
    /// A value of a type that no field takes, as messages show it.
    Other(String),
}

impl FieldValue {
    /// The text, if the value is text.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The entries of a table; empty for every other value.
    pub(super) fn entries(&self) -> &[Field] {
        if let Self::Table(entries) = self { entries } else { &[] }
    }

    /// The value as messages show it.
    pub(super) fn shown(&self) -> String {
        let text = if let Self::Table(_) = self { "a table".into() } else { self.to_string() };
        match text.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

impl fmt::Display for FieldValue {
    /// Writes the value as TOML does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |items: Vec<String>| items.join(", ");
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) if number.is_nan() => f.write_str("nan"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::List(items) => write!(f, "[{}]", joined(items.iter().map(ToString::to_string).collect())),
            Self::Table(entries) if entries.is_empty() => f.write_str("{}"),
            Self::Table(entries) => write!(f, "{{ {} }}", joined(entries.iter().map(assignment).collect())),
            Self::Other(text) => f.write_str(text),
        }
    }
}

fn assignment(Field { name, value, .. }: &Field) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    format!("{} = {value}", if bare { name.clone() } else { quoted(name) })
}

/// Quotes a text as TOML does, in printable characters only. Rust would write `\u{feff}`, which TOML cannot read.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        let escaped = character.escape_debug();
        match character {
            '"' | '\\' | '\n' | '\t' => quoted.extend(escaped),
            // Rust escapes exactly the characters that cannot be printed, and the apostrophe.
            _ if character != '\'' && escaped.len() > 1 => quoted += &format!("\\U{:08X}", u32::from(character)),
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

/// A field and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// The name.
    pub name: String,
    /// The line, counted from one; `None` if the field is in no file.
    pub line: Option<usize>,
    /// The file of that line; `None` if the field is in no file.
    pub file: Option<String>,
    /// The value.
    pub value: FieldValue,
    /// The lines of the items of a list, which may take several lines.
    pub item_lines: Vec<usize>,
}

impl Field {
    /// A field that is in no file.
    pub fn loose(name: &str, value: &FieldValue) -> Self {
        Self { name: name.to_owned(), line: None, file: None, value: value.clone(), item_lines: Vec::new() }
    }
}

/// An error about a value, without its place. [`Place::wrong`] adds the place and makes a [`PolicyError`] of it.
#[derive(Debug, Default)]
pub(super) struct Wrong {
    /// The text that a message shows instead of the value.
    pub(super) found: Option<String>,
    pub(super) allowed: String,
    pub(super) suggestion: Option<String>,
    /// The index of the wrong item of a list.
    pub(super) item: Option<usize>,
}

impl Wrong {
    pub(super) fn allowed(allowed: impl Into<String>) -> Self {
        Self { allowed: allowed.into(), ..Self::default() }
    }

    pub(super) fn found(self, found: impl Into<String>) -> Self {
        Self { found: Some(found.into()), ..self }
    }

    pub(super) fn suggest(self, suggestion: Option<impl Into<String>>) -> Self {
        Self { suggestion: suggestion.map(Into::into), ..self }
    }

    /// Rewrites the suggestion, which is a part of the whole value so far.
    pub(super) fn suggest_within(self, whole: impl FnOnce(String) -> String) -> Self {
        Self { suggestion: self.suggestion.map(whole), ..self }
    }

    pub(super) fn item(self, index: usize) -> Self {
        Self { item: Some(index), ..self }
    }

    /// The error for a field, a limit or a choice that does not exist: the allowed names, and the nearest of them.
    pub(super) fn unknown(name: &str, names: &[&str]) -> Self {
        Self::allowed(names.join(", ")).found("an unknown field").suggest(nearest(name, names.iter().copied()))
    }
}

/// The place of a limit or of a whole policy.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: Option<usize>,
    pub(super) limit: Option<String>,
    /// The file of quotas, if there is one.
    pub(super) quota_file: Option<String>,
}

impl Place {
    /// The error for a wrong field.
    ///
    /// A base is valid by itself, so a field of a base can only be wrong together with a field of the file that extends
    /// it. The error then names the place in that file. A file of quotas is not valid by itself, so the error names the
    /// row.
    pub(super) fn wrong(&self, field: &Field, wrong: Wrong) -> PolicyError {
        if field.file.is_some() && field.file == self.quota_file {
            let row = Self { file: field.file.clone().unwrap_or_default(), quota_file: None, ..self.clone() };
            let first = field.value.entries().first().filter(|_| field.name == "quota");
            let found = first.map(|quota| format!("a row for {:?}", quota.name)).or(wrong.found);
            return row.wrong(field, Wrong { found, ..wrong });
        }
        let line = wrong.item.and_then(|item| field.item_lines.get(item).copied()).or(field.line);
        let found = wrong.found.unwrap_or_else(|| field.value.shown());
        let (found, line) = match self.base_of(field) {
            Some(base) => {
                let at = line.map(|line| format!(":{line}")).unwrap_or_default();
                (format!("{found}, which {base}{at} says"), self.line)
            }
            None => (found, line),
        };
        let error = self.error(Some(&field.name), found, wrong.allowed);
        PolicyError { line, suggestion: wrong.suggestion, ..error }
    }

    /// The file of a field, if it is a base of this file.
    pub(super) fn base_of(&self, field: &Field) -> Option<String> {
        field.file.clone().filter(|file| *file != self.file)
    }

    /// The error for the field `field`, or for the whole place.
    pub(super) fn error(&self, field: Option<&str>, found: String, allowed: String) -> PolicyError {
        let Self { file, line, limit, .. } = self.clone();
        let field = field.map(str::to_owned);
        PolicyError { file, line, limit, field, found, allowed, ..PolicyError::default() }
    }
}

/// A function that reads one value by itself.
pub(super) type Read<T> = fn(&FieldValue) -> Result<T, Wrong>;

/// Lists names for a message: `"a", "b" or "c"`.
pub(super) fn listed(names: &[impl fmt::Debug]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    match quoted.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => quoted.concat(),
    }
}

/// Reads the fields of a file, in the order of the file.
///
/// # Errors
/// The text is not TOML.
pub(super) fn read_toml(file: &str, text: &str) -> Result<Vec<Field>, PolicyError> {
    let line_ends: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let document = DeTable::parse(text).map_err(|error| syntax(file, text, &error))?;
    Ok(fields(document.get_ref(), file, &line_ends))
}

/// The fields of a table. The parser keeps them in alphabetical order.
fn fields(table: &DeTable<'_>, file: &str, line_ends: &[usize]) -> Vec<Field> {
    // Lines are counted from one.
    let line = |at: usize| line_ends.partition_point(|end| *end < at) + 1;
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    let field = |(key, value): (&Spanned<DeString<'_>>, &Spanned<DeValue<'_>>)| {
        let (name, value) = (key.get_ref().to_string(), value.get_ref());
        let items = value.as_array().into_iter().flatten();
        let item_lines = items.map(|item| line(item.span().start)).collect();
        let (line, value) = (Some(line(key.span().start)), self::value(value, file, line_ends));
        Field { name, line, file: Some(file.to_owned()), value, item_lines }
    };
    entries.into_iter().map(field).collect()
}

fn value(value: &DeValue<'_>, file: &str, line_ends: &[usize]) -> FieldValue {
    let other = |text: &dyn fmt::Display| FieldValue::Other(text.to_string());
    match value {
        DeValue::String(text) => FieldValue::Text(text.to_string()),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).map_or_else(|_| other(integer), FieldValue::Integer)
        }
        DeValue::Float(float) => float.as_str().parse().map_or_else(|_| other(float), FieldValue::Float),
        DeValue::Boolean(boolean) => other(boolean),
        DeValue::Datetime(time) => other(time),
        DeValue::Array(items) => {
            FieldValue::List(items.iter().map(|item| self::value(item.get_ref(), file, line_ends)).collect())
        }
        DeValue::Table(table) => FieldValue::Table(fields(table, file, line_ends)),
    }
}

fn syntax(file: &str, text: &str, error: &toml::de::Error) -> PolicyError {
    let (found, allowed) = match error.message().split_once(", expected ") {
        Some((found, "literal string")) => (found, "here text in quotes, or a number".to_owned()),
        Some((found, expected)) => (found, format!("here {expected}")),
        None if error.message() == "duplicate key" => (error.message(), "each key once in a table".to_owned()),
        None => (error.message(), "TOML".to_owned()),
    };
    let before = error.span().and_then(|span| text.as_bytes().get(..span.start)).map(String::from_utf8_lossy);
    PolicyError {
        file: file.to_owned(),
        line: before.as_ref().map(|before| before.matches('\n').count() + 1),
        column: before.and_then(|before| before.rsplit('\n').next().map(|line| line.chars().count() + 1)),
        found: format!("broken TOML ({found})"),
        allowed,
        ..PolicyError::default()
    }
}
