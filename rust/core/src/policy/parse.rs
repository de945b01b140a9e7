//! TOML text to fields with their lines. Knows tables, keys and lines; what a field means is decided elsewhere.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::assemble::second_time;
use super::extends::NoBase;
use super::field::{Field, FieldValue, Place, Wrong};
use super::fields::{POLICY, SUFFIXES, known};
use super::limit::Policy;
use super::validate::stated_name;
use super::written::{FirstError, Written, WrittenLimit};
use crate::error::PolicyError;

const EACH_LIMIT: &str = "`[[limit]]`, once for each limit";

impl Policy {
    /// Reads a policy that extends no other; `file` is its name in messages.
    ///
    /// # Errors
    /// The first thing wrong with it, in the order of the file.
    pub fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        Self::parse_with(file, text, &mut |_| Err(NoBase::Nowhere))
    }
}

impl Written {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not TOML. What else is wrong is kept for later: something before it may be wrong too.
    pub(super) fn parse(file: &str, text: &str) -> Result<Self, PolicyError> {
        let lines = Lines::of(text);
        let place = Place { file: file.to_owned(), ..Place::default() };
        let document = DeTable::parse(text).map_err(|error| syntax(&place, &lines, &error))?;
        let mut written =
            Self { place: place.clone(), fields: Vec::new(), limits: Vec::new(), first: FirstError::default() };
        for (key, value) in in_file_order(document.get_ref()) {
            let field = field(key, value, &lines);
            let read = match (known(POLICY, &field.name).map(|known| known.name), value.get_ref()) {
                (Err(unknown), _) => Err(unknown),
                (Ok("limit"), DeValue::Array(tables)) if !tables.is_empty() => {
                    let limits = limits(&place, tables, &lines, &mut written.limits);
                    written.first.keep(limits);
                    continue;
                }
                (Ok("limit"), _) => Err(Wrong::allowed(EACH_LIMIT)),
                (Ok("suffixes"), DeValue::Table(table)) => {
                    let extra = extra(&place, table, &lines);
                    written.fields.extend(written.first.keep(extra).flatten());
                    continue;
                }
                (Ok("suffixes"), _) => Err(Wrong::allowed("a table `[suffixes]` with `extra`")),
                (Ok(_), _) => {
                    written.fields.push(field);
                    continue;
                }
            };
            written.first.keep::<()>(read.map_err(|wrong| place.wrong(&field, wrong)));
        }
        Ok(written)
    }
}

/// The limits up to the first that is none.
fn limits(
    place: &Place,
    tables: &DeArray<'_>,
    lines: &Lines<'_>,
    found: &mut Vec<WrittenLimit>,
) -> Result<(), PolicyError> {
    for (index, table) in tables.iter().enumerate() {
        let place = Place {
            line: Some(lines.line(table.span().start)),
            limit: Some(format!("limit {}", index + 1)),
            ..place.clone()
        };
        let DeValue::Table(table) = table.get_ref() else {
            let field = Field { line: place.line, ..Field::loose("limit", &plain(table.get_ref(), lines)) };
            let place = Place { limit: None, ..place };
            return Err(place.wrong(&field, Wrong::allowed(EACH_LIMIT)));
        };
        let fields: Vec<Field> =
            in_file_order(table).into_iter().map(|(key, value)| field(key, value, lines)).collect();
        let name = stated_name(&fields).map(str::to_owned);
        let place = Place { limit: name.or(place.limit), ..place };
        let limit = WrittenLimit { place, fields, meant: None };
        // Before a base is beneath it, where the same name is no second limit.
        let same = limit.name().and_then(|name| found.iter().find(|first| first.name() == Some(name)));
        if let (Some(first), Some(named)) = (same, limit.fields.iter().find(|field| field.name == "name")) {
            return Err(limit.place.wrong(named, second_time(&named.value.shown(), first.place.line)));
        }
        found.push(limit);
    }
    Ok(())
}

fn extra(place: &Place, table: &DeTable<'_>, lines: &Lines<'_>) -> Result<Option<Field>, PolicyError> {
    let mut found = None;
    for (key, value) in in_file_order(table) {
        let field = field(key, value, lines);
        let known = known(SUFFIXES, &field.name);
        let field = Field { name: format!("suffixes.{}", field.name), ..field };
        known.map_err(|wrong| place.wrong(&field, wrong))?;
        found = Some(field);
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
        DeValue::Table(table) => in_file_order(table).iter().map(|(key, _)| lines.line(key.span().start)).collect(),
        _ => Vec::new(),
    };
    Field {
        name: key.get_ref().to_string(),
        line: Some(lines.line(key.span().start)),
        file: None,
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
