//! A policy file as fields, and the policy that it makes.
//!
//! A file has two levels of tables: its own fields, and the table `limit`, in which each limit is an entry with the
//! limit's name. So `extends` can lay a whole file over another with one rule (see `extends`).

use super::field::{Field, FieldValue, Place, Wrong, nearest};
use super::model::{Limit, MAX_LIMITS, Mode, Policy, Rule};
use super::schema::{EACH_LIMIT, POLICY};
use super::toml;
use super::units::{MILLION, multiply, scale, write_scale};
use super::validate::{Fields, NO_FILE, stated_name, validate};
use super::value::{choice, suffixes};
use crate::error::PolicyError;

/// A policy file, perhaps over the files that it extends.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) file: String,
    /// The fields outside the limits.
    pub(super) fields: Vec<Field>,
    /// The limits. The name of the field is the name of the limit, or `limit 3` if it has no valid name.
    pub(super) limits: Vec<Field>,
    /// The names of the limits of the base.
    pub(super) base_names: Vec<String>,
    /// What is wrong so far. The first in the order of the file is reported.
    pub(super) errors: Vec<PolicyError>,
}

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// The text is not TOML. Other errors are kept for [`Document::policy`], which reports the first one.
    pub(super) fn read(file: &str, text: &str) -> Result<Self, PolicyError> {
        let fields = toml::read(file, text)?.into_iter();
        let (fields, limits): (Vec<Field>, _) = fields.partition(|field| field.name != "limit");
        let file = file.to_owned();
        let mut document = Self { file, fields, limits: vec![], base_names: vec![], errors: vec![] };
        for field in limits {
            let limits = document.read_limits(field);
            document.errors.extend(limits.err());
        }
        Ok(document)
    }

    pub(super) fn place(&self) -> Place {
        Place { file: self.file.clone(), ..Place::default() }
    }

    /// Adds the limits, up to the first entry that cannot be a limit.
    fn read_limits(&mut self, field: Field) -> Result<(), PolicyError> {
        let each = || Wrong::allowed(EACH_LIMIT);
        let items = match field.value {
            FieldValue::List(items) if !items.is_empty() => items,
            _ => return Err(self.place().wrong(&field, each())),
        };
        for (index, (value, line)) in items.into_iter().zip(field.item_lines).enumerate() {
            let unnamed = Field { line: Some(line), ..Field::loose("limit", &value) };
            let FieldValue::Table(fields) = value else { return Err(self.place().wrong(&unnamed, each())) };
            let name = stated_name(&fields).map_or_else(|| format!("limit {}", index + 1), str::to_owned);
            // This is checked before a base is below the file: there, the same name is no second limit.
            let same = self.limits.iter().find(|first| first.name == name);
            if let (Some(first), Some(second)) = (same, fields.iter().find(|field| field.name == "name")) {
                let place = Place { limit: Some(name), ..self.place() };
                return Err(place.wrong(second, second_time(&second.value.shown(), first.line)));
            }
            self.limits.push(Field { name, ..unnamed });
        }
        Ok(())
    }

    /// Makes the policy.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the file.
    pub(super) fn policy(self) -> Result<Policy, PolicyError> {
        let place = self.place();
        let Self { file, fields, limits, base_names, mut errors } = self;
        let mut policy = Policy::empty(file);
        let table = Field::loose("", &FieldValue::Table(fields.clone()));
        let check = Fields { place: &place, table: &table, rows: POLICY, path: String::new() };
        for field @ Field { name, value, .. } in &fields {
            let set = check
                .check_value(field)
                .and_then(|()| policy.set(name, value).map_err(|wrong| place.wrong(field, wrong)));
            errors.extend(set.err());
        }
        let scale_line = fields.iter().find(|field| field.name == "scale").and_then(|field| field.line);
        for field in &limits {
            let place = Place { line: field.line, limit: Some(field.name.clone()), ..place.clone() };
            let limit = validate(&place, field).map_err(|error| meant(error, &field.name, &base_names));
            if let Err(error) = limit.and_then(|limit| policy.push(limit, scale_line)) {
                errors.push(error);
                // A later limit may be wrong only because of this one.
                break;
            }
        }
        errors.into_iter().min_by_key(|error| error.line).map_or_else(|| policy.complete(), Err)
    }
}

/// Suggests a limit of the base, if a new limit lacks what only a new limit needs: its name may be misspelt.
fn meant(error: PolicyError, name: &str, base_names: &[String]) -> PolicyError {
    let lacks_rule = error.found == "nothing" && matches!(error.field.as_deref(), Some("per" | "rate"));
    let near = nearest(name, base_names.iter().map(String::as_str)).filter(|near| lacks_rule && *near != name);
    PolicyError { suggestion: near.map(str::to_owned).or(error.suggestion), ..error }
}

impl Policy {
    /// Makes a policy of Python's limits ([`Limit::from_fields`]) and the fields `mode`, `scale` and `suffixes`.
    ///
    /// The limits are multiplied here: a limit that was taken from a policy is multiplied once more.
    ///
    /// # Errors
    /// The first thing that is wrong, without a line.
    pub fn from_fields(limits: Vec<Limit>, fields: &[(String, FieldValue)]) -> Result<Self, PolicyError> {
        let place = Place { file: NO_FILE.into(), ..Place::default() };
        let mut policy = Self::empty(NO_FILE.into());
        for (name, value) in fields {
            let set = match name.as_str() {
                "scale" | "mode" | "suffixes" => policy.set(name, value),
                _ => Err(Wrong::unknown(name, &["limits", "mode", "scale", "suffixes"])),
            };
            set.map_err(|wrong| place.wrong(&Field::loose(name, value), wrong))?;
        }
        for limit in limits {
            policy.push(limit, None)?;
        }
        policy.complete()
    }

    fn empty(file: String) -> Self {
        Self { file, scale_millionths: MILLION, mode: Mode::default(), extra_suffixes: vec![], limits: vec![] }
    }

    /// Sets a field that is outside the limits.
    fn set(&mut self, name: &str, value: &FieldValue) -> Result<(), Wrong> {
        match (name, value) {
            ("scale", _) => self.scale_millionths = scale(value)?,
            ("mode", _) => self.mode = choice(value)?,
            // A file has a table with the one field `extra`, which may be missing; Python has its list.
            ("suffixes", FieldValue::Table(table)) => {
                table.iter().try_for_each(|extra| self.set("suffixes", &extra.value))?
            }
            ("suffixes", _) => self.extra_suffixes = suffixes(value)?,
            ("without", _) => return Err(Wrong::allowed("`without` only beside `extends`")),
            _ => {}
        }
        Ok(())
    }

    /// Multiplies a limit and adds it.
    fn push(&mut self, mut limit: Limit, scale_line: Option<usize>) -> Result<(), PolicyError> {
        // A base is valid by itself, so it is the scale of this file that is too large for a limit of the base.
        let line = if limit.file.is_some() { scale_line } else { limit.line };
        let (file, name) = (self.file.clone(), Some(limit.name.clone()));
        let error = |field: Option<&str>, found, allowed| {
            let field = field.map(str::to_owned);
            Err(PolicyError { file, line, limit: name, field, found, allowed, ..PolicyError::default() })
        };
        if self.limits.len() == MAX_LIMITS {
            let found = format!("a limit after the first {MAX_LIMITS}");
            return error(None, found, format!("at most {MAX_LIMITS} limits"));
        }
        if let Some(first) = self.limits.iter().find(|first| first.name == limit.name) {
            let Wrong { found, allowed, .. } = second_time(&format!("{:?}", limit.name), first.line);
            return error(Some("name"), found.unwrap_or_default(), allowed);
        }
        if let Err((field, amount)) = limit.multiply(self.scale_millionths) {
            let found = format!("{amount} × scale {}", write_scale(self.scale_millionths));
            return error(Some(field), found, "at most 2^50 after `scale`".into());
        }
        self.limits.push(limit);
        Ok(())
    }

    /// The policy, unless it is empty. An empty policy, perhaps a file cut short, would silently admit everything.
    fn complete(self) -> Result<Self, PolicyError> {
        if !self.limits.is_empty() {
            return Ok(self);
        }
        let allowed = format!("1 to {MAX_LIMITS} of them, each under `[[limit]]`");
        Err(PolicyError { file: self.file, found: "no limit".into(), allowed, ..PolicyError::default() })
    }
}

impl Limit {
    /// Multiplies all amounts. The error is the field and the amount that would become too large.
    fn multiply(&mut self, scale_millionths: u64) -> Result<(), (&'static str, u64)> {
        let multiply = |field, amount: &mut u64| {
            *amount = multiply(*amount, scale_millionths).ok_or((field, *amount))?;
            Ok(())
        };
        if let Rule::InFlight { cap, .. } = &mut self.rule {
            multiply("in_flight", cap)?;
        }
        if let Some((rate, burst)) = self.rule.rate_and_burst_mut() {
            multiply("rate", &mut rate.amount)?;
            multiply("burst", burst)?;
        }
        for quota in &mut self.quotas {
            multiply("quota", &mut quota.rate.amount)?;
            multiply("quota", &mut quota.burst)?;
        }
        Ok(())
    }
}

/// The error for a name that another limit has.
fn second_time(name: &str, first_line: Option<usize>) -> Wrong {
    let first = first_line.map(|line| format!(", first in line {line}")).unwrap_or_default();
    Wrong::allowed("every name once").found(format!("{name} a second time{first}"))
}
