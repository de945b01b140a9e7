//! Reads a file of quotas: CSV (RFC 4180) with the columns `limit`, `value`, `rate` and `burst`.
//!
//! ```text
//!  limit,value,rate,burst
//!  pair-pace,salesforce.com,6000/minute,
//!  pair-pace,example.com,900/minute,5000
//! ```
//!
//! The first line names the columns, in any order; `burst` may be missing. A field may be in double quotes, and then a
//! quote in it is written twice. A field never goes on in the next line. Blank lines and lines that begin with `#` are
//! skipped.
//!
//! A row becomes what `[limit.quota]` has for a value, so both kinds of quotas go through the same checks.

use super::field::{Field, FieldValue, Wrong};
use super::model::MAX_VALUES;
use super::rows::{QUOTA_COLUMNS, find};
use super::value::{burst, rate};
use crate::error::PolicyError;

/// One row.
#[derive(Clone, Debug)]
pub(super) struct QuotaRow {
    /// The name of the limit.
    pub(super) limit: String,
    /// The value and its numbers, as the table `quota` of a limit has them.
    pub(super) quota: Field,
}

/// A field of a row, and its column in characters, counted from one.
type Cell = (String, usize);

/// Reads all rows of `file`, which has this text. `limits` are the names of the limits, and `left_out` those that the
/// policy has left out of its base: their rows are skipped.
pub(super) fn rows(file: &str, text: &str, limits: &[&str], left_out: &[String]) -> Result<Vec<QuotaRow>, PolicyError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty() && !text.starts_with('#'));
    let mut lines = lines.map(|(line, text)| Ok((line, cells(text).map_err(|wrong| at(file, line, wrong))?)));
    let (line, names) = lines.next().unwrap_or_else(|| Ok((1, Vec::new())))?;
    let columns = Columns::of(&names).map_err(|wrong| at(file, line, wrong))?;
    let mut all = Vec::new();
    for row in lines {
        let (line, row) = row?;
        let quota = columns.quota(&row, limits, left_out).map_err(|wrong| at(file, line, wrong))?;
        let placed = |field: Field| Field { line: Some(line), file: Some(file.to_owned()), ..field };
        all.extend(quota.map(|(limit, quota)| {
            let numbers = quota.value.entries().iter().cloned().map(placed).collect();
            QuotaRow { limit, quota: placed(Field { value: FieldValue::Table(numbers), ..quota }) }
        }));
    }
    if all.len() > MAX_VALUES {
        let (found, allowed) = (format!("{} values", all.len()), format!("at most {MAX_VALUES} in one file"));
        return Err(PolicyError { file: file.to_owned(), found, allowed, ..PolicyError::default() });
    }
    Ok(all)
}

/// An error of a field: the name of its column, its place and what is wrong.
type Misread = (Option<&'static str>, usize, Wrong);

fn at(file: &str, line: usize, (field, column, wrong): Misread) -> PolicyError {
    PolicyError {
        file: file.to_owned(),
        line: Some(line),
        column: Some(column),
        limit: None,
        field: field.map(str::to_owned),
        found: wrong.found.unwrap_or_default(),
        allowed: wrong.allowed,
        suggestion: wrong.suggestion,
    }
}

/// The places of the columns in a row.
struct Columns {
    limit: usize,
    value: usize,
    rate: usize,
    burst: Option<usize>,
    count: usize,
}

impl Columns {
    fn of(names: &[Cell]) -> Result<Self, Misread> {
        for (index, (name, column)) in names.iter().enumerate() {
            let known = find(QUOTA_COLUMNS, name).map_err(|wrong| {
                let shown = FieldValue::Text(name.clone()).shown();
                (None, *column, wrong.found(format!("{shown} in the first line, which names the columns")))
            })?;
            if names[..index].iter().any(|(before, _)| before == name) {
                let wrong = Wrong::allowed("each column once").found("a second column of this name");
                return Err((Some(known.name), *column, wrong));
            }
        }
        let place = |name: &str| names.iter().position(|(known, _)| known == name);
        let required = |name: &'static str| {
            let wrong = Wrong::allowed("a first line that names the columns, as limit,value,rate,burst");
            place(name).ok_or_else(|| (Some(name), 1, wrong.found("no such column")))
        };
        Ok(Self {
            limit: required("limit")?,
            value: required("value")?,
            rate: required("rate")?,
            burst: place("burst"),
            count: names.len(),
        })
    }

    /// The limit of a row and its quota; `None` for a limit that was left out.
    fn quota(&self, row: &[Cell], limits: &[&str], left_out: &[String]) -> Result<Option<(String, Field)>, Misread> {
        if row.len() != self.count {
            let wrong = Wrong::allowed(format!("{} fields, as in the first line", self.count));
            return Err((None, 1, wrong.found(format!("{} fields", row.len()))));
        }
        let (limit, column) = &row[self.limit];
        if !limits.contains(&limit.as_str()) {
            if left_out.contains(limit) {
                return Ok(None);
            }
            let shown = FieldValue::Text(limit.clone()).shown();
            return Err((Some("limit"), *column, Wrong::unknown(limit, limits).found(shown)));
        }
        let (value, column) = &row[self.value];
        if value.is_empty() {
            return Err((Some("value"), *column, Wrong::allowed("a value, as \"example.com\"").found("nothing")));
        }
        let mut numbers = Vec::new();
        let (text, column) = &row[self.rate];
        let stated = FieldValue::Text(text.clone());
        rate(&stated).map_err(|wrong| (Some("rate"), *column, wrong.found(stated.shown())))?;
        numbers.push(Field::loose("rate", &stated));
        if let Some((text, column)) = self.burst.map(|place| &row[place]).filter(|(text, _)| !text.is_empty()) {
            let stated = text.parse().map_or_else(|_| FieldValue::Text(text.clone()), FieldValue::Integer);
            burst(&stated).map_err(|wrong| (Some("burst"), *column, wrong.found(stated.shown())))?;
            numbers.push(Field::loose("burst", &stated));
        }
        Ok(Some((limit.clone(), Field::loose(value, &FieldValue::Table(numbers)))))
    }
}

/// The fields of a line.
fn cells(line: &str) -> Result<Vec<Cell>, Misread> {
    let (mut cells, mut rest, mut column) = (Vec::new(), line, 1);
    loop {
        let blanks = rest.len() - rest.trim_start().len();
        let (cell, length) = match rest[blanks..].strip_prefix('"') {
            Some(quoted) => {
                let (cell, length) = unquoted(quoted).ok_or_else(|| {
                    let wrong =
                        Wrong::allowed("a quote at the end of the field, and then a comma or the end of the line");
                    (None, column + blanks, wrong.found("a field that begins with a quote"))
                })?;
                (cell, blanks + 1 + length)
            }
            None => {
                let cell = rest.split(',').next().unwrap_or_default();
                (cell.trim().to_owned(), cell.len())
            }
        };
        cells.push((cell, column + rest[..blanks].chars().count()));
        column += rest[..length].chars().count() + 1;
        match rest[length..].strip_prefix(',') {
            Some(next) => rest = next,
            None => return Ok(cells),
        }
    }
}

/// The text up to the closing quote, and the bytes up to the comma after it; `None` if there is anything but blanks
/// between the two, or no closing quote.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let mut end = 0;
    loop {
        end += text[end..].find('"')?;
        if !text[end + 1..].starts_with('"') {
            break;
        }
        end += 2;
    }
    let after = &text[end + 1..];
    let blanks = after.len() - after.trim_start().len();
    let is_last = after[blanks..].is_empty() || after[blanks..].starts_with(',');
    is_last.then(|| (text[..end].replace("\"\"", "\""), end + 1 + blanks))
}
