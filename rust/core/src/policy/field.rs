//! A field as somebody wrote it, before it means anything: the common shape of TOML and of Python's keyword arguments.

use std::fmt;

use crate::error::PolicyError;

/// What stands for a file when there is none.
pub(super) const NO_FILE: &str = "<policy>";

/// A longer value is cut in a message.
const SHOWN_CHARS: usize = 60;

/// What was written into a field.
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
    /// `{ per = "client.net", of_free = "1/10" }`, or a table of its own; in the order in which it was written.
    Table(Vec<Field>),
    /// Anything else, which no field takes: what to call it in a message.
    Other(String),
}

impl FieldValue {
    /// For a message: cut where it is long.
    pub(super) fn shown(&self) -> String {
        if matches!(self, Self::Table(_)) {
            return "a table".into();
        }
        let text = self.to_string();
        match text.char_indices().nth(SHOWN_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

impl fmt::Display for FieldValue {
    /// As TOML writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&quoted(text)),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) if number.is_nan() => f.write_str("nan"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    let comma = if index == 0 { "" } else { ", " };
                    write!(f, "{comma}{item}")?;
                }
                f.write_str("]")
            }
            Self::Table(fields) => {
                f.write_str("{")?;
                for (index, Field { name, value, .. }) in fields.iter().enumerate() {
                    let comma = if index == 0 { " " } else { ", " };
                    let bare =
                        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
                    let name = if bare { name.clone() } else { quoted(name) };
                    write!(f, "{comma}{name} = {value}")?;
                }
                f.write_str(if fields.is_empty() { "}" } else { " }" })
            }
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// A text as TOML quotes it, in printable characters only. Rust would write `\u{feff}`, which TOML does not read.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            // More than one character: none that can be printed.
            _ if character != '\'' && character.escape_debug().len() > 1 => {
                quoted += &format!("\\U{:08X}", u32::from(character));
            }
            _ => quoted.push(character),
        }
    }
    quoted + "\""
}

/// A field and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its line, counted from one; absent when it stands in no file.
    pub line: Option<usize>,
    /// The file of that line, when it is a base of the file at hand.
    pub file: Option<String>,
    /// What stands there.
    pub value: FieldValue,
    /// Lines of the items of a list, which may take several.
    pub item_lines: Vec<usize>,
}

impl Field {
    /// A field that stands in no file.
    pub fn loose(name: &str, value: &FieldValue) -> Self {
        Self { name: name.to_owned(), line: None, file: None, value: value.clone(), item_lines: Vec::new() }
    }
}

/// Why a value will not do; who knows the place makes a [`PolicyError`] of it.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Instead of the value itself.
    pub(super) found: Option<String>,
    pub(super) allowed: String,
    pub(super) suggestion: Option<String>,
    /// Which item of a list.
    pub(super) item: Option<usize>,
}

impl Wrong {
    pub(super) fn allowed(allowed: impl Into<String>) -> Self {
        Self { found: None, allowed: allowed.into(), suggestion: None, item: None }
    }

    pub(super) fn found(self, found: impl Into<String>) -> Self {
        Self { found: Some(found.into()), ..self }
    }

    pub(super) fn suggest(self, suggestion: Option<impl Into<String>>) -> Self {
        Self { suggestion: suggestion.map(Into::into), ..self }
    }

    pub(super) fn item(self, index: usize) -> Self {
        Self { item: Some(index), ..self }
    }
}

/// Where in a policy one is.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) file: String,
    pub(super) line: Option<usize>,
    pub(super) limit: Option<String>,
}

impl Place {
    /// What is wrong with a field that is there.
    ///
    /// A base is right by itself: a field of it that is wrong here is wrong beside what this place adds, so this is the place that is told.
    pub(super) fn wrong(&self, field: &Field, wrong: Wrong) -> PolicyError {
        let item_line = wrong.item.and_then(|item| field.item_lines.get(item).copied());
        let line = item_line.or(field.line);
        let found = wrong.found.unwrap_or_else(|| field.value.shown());
        let (found, line) = match field.file.as_ref().filter(|file| **file != self.file) {
            Some(base) => {
                let at = line.map(|line| format!(":{line}")).unwrap_or_default();
                (format!("{found}, which {base}{at} says"), self.line)
            }
            None => (found, line),
        };
        PolicyError { line, suggestion: wrong.suggestion, ..self.error(&field.name, found, wrong.allowed) }
    }

    /// What is wrong with a field that is missing.
    pub(super) fn missing(&self, field: &str, allowed: impl Into<String>) -> PolicyError {
        self.error(field, "nothing".into(), allowed.into())
    }

    fn error(&self, field: &str, found: String, allowed: String) -> PolicyError {
        PolicyError {
            file: self.file.clone(),
            line: self.line,
            limit: self.limit.clone(),
            field: Some(field.to_owned()),
            found,
            allowed,
            ..PolicyError::default()
        }
    }
}
