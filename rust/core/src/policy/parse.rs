//! TOML text to fields with their lines. Knows tables, keys and lines; what a field means is decided elsewhere.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::assemble::{Assembly, suffixes};
use super::draft::unknown_field;
use super::field::{Field, FieldValue, Place, Wrong};
use super::limit::Policy;
use super::scale::Scale;
use super::validate::{stated_name, validated};
use crate::error::PolicyError;

/// What a policy may say outside its limits.
const FIELDS: [&str; 3] = ["scale", "limit", "suffixes"];

/// What it may say one day.
const LATER_FIELDS: [&str; 2] = ["mode", "extends"];

impl Policy {
    /// Reads a policy; `file` is its name in messages.
    ///
    /// # Errors
    /// The first thing wrong with it, in the order of the file.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        let lines = Lines::of(text);
        let place = Place { file: file.to_owned(), ..Place::default() };
        let document = DeTable::parse(text).map_err(|error| syntax(&place, &lines, &error))?;
        let mut first = FirstError(None);
        let mut assembly = Assembly::default();
        let entries = in_file_order(document.get_ref());
        // A scale may stand below limits that are written as an inline list.
        for (key, value) in entries.iter().filter(|(key, _)| key.get_ref() == "scale") {
            let field = field(key, value, &lines);
            let scale = Scale::read(&field.value).map_err(|wrong| place.wrong(&field, wrong));
            assembly.scale = first.keep(scale).unwrap_or(Scale::ONE);
        }
        for (key, value) in entries {
            let field = field(key, value, &lines);
            match (key.get_ref().as_ref(), value.get_ref()) {
                ("scale", _) => {}
                ("limit", DeValue::Array(tables)) if !tables.is_empty() => {
                    first.keep(limits(&mut assembly, &place, tables, &lines));
                }
                ("limit", _) => {
                    let wrong = Wrong::allowed("`[[limit]]`, once for each limit");
                    first.keep::<()>(Err(place.wrong(&field, wrong)));
                }
                ("suffixes", DeValue::Table(table)) => {
                    let extra = extra(&place, table, &lines);
                    assembly.extra_suffixes = first.keep(extra).unwrap_or_default();
                }
                ("suffixes", _) => {
                    let wrong = Wrong::allowed("a table `[suffixes]` with `extra`");
                    first.keep::<()>(Err(place.wrong(&field, wrong)));
                }
                (unknown, _) => {
                    let wrong = unknown_field(unknown, &FIELDS, &LATER_FIELDS);
                    first.keep::<()>(Err(place.wrong(&field, wrong)));
                }
            }
        }
        match first.0 {
            Some(error) => Err(error),
            None => assembly.finish(&place),
        }
    }
}

/// The error that stands first in the file.
struct FirstError(Option<PolicyError>);

impl FirstError {
    fn keep<T>(&mut self, result: Result<T, PolicyError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                if self.0.as_ref().is_none_or(|first| error.line < first.line) {
                    self.0 = Some(error);
                }
                None
            }
        }
    }
}

fn limits(assembly: &mut Assembly, place: &Place, tables: &DeArray<'_>, lines: &Lines) -> Result<(), PolicyError> {
    for (index, table) in tables.iter().enumerate() {
        let place = Place {
            line: Some(lines.line(table.span().start)),
            limit: Some(format!("limit {}", index + 1)),
            ..place.clone()
        };
        let DeValue::Table(table) = table.get_ref() else {
            let field = Field { line: place.line, ..Field::loose("limit", &plain(table.get_ref(), lines)) };
            let place = Place { limit: None, ..place };
            return Err(place.wrong(&field, Wrong::allowed("`[[limit]]`, once for each limit")));
        };
        let fields: Vec<Field> =
            in_file_order(table).into_iter().map(|(key, value)| field(key, value, lines)).collect();
        let name = stated_name(&fields).map(str::to_owned);
        let place = Place { limit: name.or(place.limit), ..place };
        let limit = validated(&place, &fields)?;
        let name_line = fields.iter().find(|field| field.name == "name").and_then(|field| field.line);
        assembly.push(&place, limit, name_line)?;
    }
    Ok(())
}

fn extra(place: &Place, table: &DeTable<'_>, lines: &Lines) -> Result<Vec<String>, PolicyError> {
    let mut found = Vec::new();
    for (key, value) in in_file_order(table) {
        let field = field(key, value, lines);
        let read = match field.name.as_str() {
            "extra" => suffixes(&field.value),
            unknown => Err(unknown_field(unknown, &["extra"], &[])),
        };
        let field = Field { name: format!("suffixes.{}", field.name), ..field };
        found = read.map_err(|wrong| place.wrong(&field, wrong))?;
    }
    Ok(found)
}

type Entry<'t, 'i> = (&'t Spanned<toml::de::DeString<'i>>, &'t Spanned<DeValue<'i>>);

/// The parser keeps keys in alphabetical order.
fn in_file_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<Entry<'t, 'i>> {
    let mut entries: Vec<Entry<'t, 'i>> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn field(key: &Spanned<toml::de::DeString<'_>>, value: &Spanned<DeValue<'_>>, lines: &Lines) -> Field {
    let item_lines = match value.get_ref() {
        DeValue::Array(items) => items.iter().map(|item| lines.line(item.span().start)).collect(),
        _ => Vec::new(),
    };
    Field {
        name: key.get_ref().to_string(),
        line: Some(lines.line(key.span().start)),
        value: plain(value.get_ref(), lines),
        item_lines,
    }
}

fn plain(value: &DeValue<'_>, lines: &Lines<'_>) -> FieldValue {
    let number = |text: &str, radix| i64::from_str_radix(text, radix).ok().map(FieldValue::Integer);
    match value {
        DeValue::String(text) => FieldValue::Text(text.to_string()),
        DeValue::Integer(integer) => {
            number(integer.as_str(), integer.radix()).unwrap_or_else(|| FieldValue::Other(integer.to_string()))
        }
        DeValue::Float(float) => match float.as_str().parse() {
            Ok(number) => FieldValue::Float(number),
            Err(_) => FieldValue::Other(float.to_string()),
        },
        DeValue::Boolean(truth) => FieldValue::Other(truth.to_string()),
        DeValue::Datetime(time) => FieldValue::Other(time.to_string()),
        DeValue::Array(items) => FieldValue::List(items.iter().map(|item| plain(item.get_ref(), lines)).collect()),
        DeValue::Table(table) => {
            FieldValue::Table(in_file_order(table).into_iter().map(|(key, value)| field(key, value, lines)).collect())
        }
    }
}

fn syntax(place: &Place, lines: &Lines, error: &toml::de::Error) -> PolicyError {
    let at = error.span().map(|span| span.start);
    let (what, expected) = match error.message().split_once(", expected ") {
        Some((what, "literal string")) => (what, "here text in quotes, or a number".to_owned()),
        Some((what, expected)) => (what, format!("here {expected}")),
        None if error.message() == "duplicate key" => (error.message(), "each key once in a table".to_owned()),
        None => (error.message(), "TOML".to_owned()),
    };
    PolicyError {
        file: place.file.clone(),
        line: at.map(|at| lines.line(at)),
        column: at.map(|at| lines.column(at)),
        found: format!("broken TOML ({what})"),
        allowed: expected,
        ..PolicyError::default()
    }
}

/// Where lines begin.
struct Lines<'t> {
    text: &'t str,
    ends: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn of(text: &'t str) -> Self {
        Self { text, ends: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    /// From one, of a byte's place.
    fn line(&self, at: usize) -> usize {
        self.ends.partition_point(|end| *end < at) + 1
    }

    /// From one, in characters.
    fn column(&self, at: usize) -> usize {
        let start = self.line(at).checked_sub(2).map_or(0, |line| self.ends[line] + 1);
        let before = self.text.as_bytes().get(start..at).unwrap_or_default();
        String::from_utf8_lossy(before).chars().count() + 1
    }
}
