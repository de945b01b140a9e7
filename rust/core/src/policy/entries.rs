//! The operator's entries in a policy: `[[allow]]` and `[[block]]`.
//!
//! An entry is read here as far as its own fields go. Which values an identity can have depends on the suffix list, so
//! the engine reads the value, as it does for an entry that is made at run time.

use super::field::{Field, FieldValue, Place, Wrong};
use super::limit::{Fields, text};
use super::model::{LISTS, PolicyEntry};
use super::rows::{ALLOW, BLOCK};
use super::value::{self, truth, until, words};
use crate::{error::PolicyError, store::access_list::AccessAction};

impl PolicyEntry {
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
