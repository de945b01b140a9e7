//! Limits, a scale and suffixes to one policy. Here limits meet each other, and the scale.
//!
//! Knows no fields of a limit but its name and its numbers. Invariant: no two limits of a policy have one name.

use super::field::{Field, FieldValue, NO_FILE, Place, Wrong};
use super::limit::{Limit, Policy, Rule};
use super::nearest::nearest;
use super::scale::Scale;
use super::value::choice;
use super::words::Mode;
use crate::error::PolicyError;

/// Most limits of a policy: each costs every check two cache lines.
pub const MAX_LIMITS: usize = 64;

const LONGEST_SUFFIX: usize = 253;

impl Policy {
    /// A policy as Python gives it: limits by themselves ([`Limit::from_fields`]), and the fields `mode`, `scale` and `suffixes`.
    ///
    /// The limits are multiplied here: one that was taken from a policy is multiplied once more.
    ///
    /// # Errors
    /// The first thing wrong with it, without a line.
    pub fn from_fields(limits: Vec<Limit>, fields: &[(String, FieldValue)]) -> Result<Self, PolicyError> {
        let place = Place { file: NO_FILE.into(), ..Place::default() };
        let mut assembly = Assembly::default();
        for (name, value) in fields {
            let field = Field::loose(name, value);
            let wrong = |wrong| place.wrong(&field, wrong);
            match name.as_str() {
                "scale" => assembly.scale = Scale::read(value).map_err(wrong)?,
                "mode" => assembly.mode = choice(value, &Mode::NAMED).map_err(wrong)?,
                "suffixes" => assembly.extra_suffixes = suffixes(value).map_err(wrong)?,
                _ => {
                    let names = ["limits", "mode", "scale", "suffixes"];
                    let unknown = Wrong::allowed(names.join(", ")).found("an unknown field");
                    return Err(wrong(unknown.suggest(nearest(name, names))));
                }
            }
        }
        for limit in limits {
            assembly.push(&place, limit, None)?;
        }
        assembly.finish(&place)
    }
}

/// A policy that is being put together.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) scale: Scale,
    /// Where it stands.
    pub(super) scale_line: Option<usize>,
    pub(super) mode: Mode,
    pub(super) extra_suffixes: Vec<String>,
    limits: Vec<Limit>,
}

impl Default for Assembly {
    fn default() -> Self {
        Self {
            scale: Scale::ONE,
            scale_line: None,
            mode: Mode::default(),
            extra_suffixes: Vec::new(),
            limits: Vec::new(),
        }
    }
}

impl Assembly {
    /// Adds a limit, multiplied; `name_line` is where its name stands.
    pub(super) fn push(
        &mut self,
        place: &Place,
        mut limit: Limit,
        name_line: Option<usize>,
    ) -> Result<(), PolicyError> {
        let error = |line: Option<usize>, field: Option<&str>, found: String, allowed: String| PolicyError {
            file: place.file.clone(),
            // A base is right by itself: too much for it is the scale of the file that extends it.
            line: line.or(if limit.file.is_some() { self.scale_line } else { limit.line }),
            limit: Some(limit.name.clone()),
            field: field.map(str::to_owned),
            found,
            allowed,
            ..PolicyError::default()
        };
        if self.limits.len() == MAX_LIMITS {
            let found = format!("a limit after the first {MAX_LIMITS}");
            return Err(error(None, None, found, format!("at most {MAX_LIMITS} limits")));
        }
        if let Some(first) = self.limits.iter().find(|first| first.name == limit.name) {
            let Wrong { found, allowed, .. } = second_time(&format!("{:?}", limit.name), first.line);
            return Err(error(name_line, Some("name"), found.unwrap_or_default(), allowed));
        }
        let scaled = |field, amount| {
            self.scale.of(amount).ok_or_else(|| {
                let found = format!("{amount} × scale {}", self.scale.text());
                error(None, Some(field), found, "at most 2^50 after `scale`".into())
            })
        };
        if let Some((rate, burst)) = limit.rule.rate_and_burst_mut() {
            (rate.amount, *burst) = (scaled("rate", rate.amount)?, scaled("burst", *burst)?);
        }
        if let Rule::InFlight { cap, .. } = &mut limit.rule {
            *cap = scaled("in_flight", *cap)?;
        }
        for quota in &mut limit.quotas {
            (quota.rate.amount, quota.burst) = (scaled("quota", quota.rate.amount)?, scaled("quota", quota.burst)?);
        }
        self.limits.push(limit);
        Ok(())
    }

    /// The policy. An empty one, perhaps a file cut short, would let everything pass in silence.
    pub(super) fn finish(self, place: &Place) -> Result<Policy, PolicyError> {
        if self.limits.is_empty() {
            return Err(PolicyError {
                file: place.file.clone(),
                found: "no limit".into(),
                allowed: format!("1 to {MAX_LIMITS} of them, each under `[[limit]]`"),
                ..PolicyError::default()
            });
        }
        Ok(Policy {
            file: place.file.clone(),
            scale_millionths: self.scale.millionths,
            mode: self.mode,
            extra_suffixes: self.extra_suffixes,
            limits: self.limits,
        })
    }
}

/// A name that another limit has.
pub(super) fn second_time(name: &str, first_line: Option<usize>) -> Wrong {
    let where_first = first_line.map(|line| format!(", first in line {line}")).unwrap_or_default();
    Wrong::allowed("every name once").found(format!("{name} a second time{where_first}"))
}

/// The operator's own public suffixes, in A-labels.
pub(super) fn suffixes(value: &FieldValue) -> Result<Vec<String>, Wrong> {
    let allowed = "a list of plain suffixes, as [\"onmicrosoft.com\", \"amazonses.com\"]";
    let FieldValue::List(items) = value else { return Err(Wrong::allowed(allowed)) };
    let read = |(index, item): (usize, &FieldValue)| {
        let wrong = || Wrong::allowed("a plain suffix, as \"onmicrosoft.com\"").found(item.shown()).item(index);
        let FieldValue::Text(text) = item else { return Err(wrong()) };
        suffix(text).ok_or_else(|| {
            let meant = text.trim().trim_start_matches(['*', '!', '@', '.']);
            wrong().suggest(suffix(meant))
        })
    };
    items.iter().enumerate().map(read).collect()
}

/// `text` as A-labels in lower case, when it is a name.
fn suffix(text: &str) -> Option<String> {
    let name = idna::domain_to_ascii(text).ok()?;
    let name = name.strip_suffix('.').unwrap_or(&name);
    let is_label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        plain && (1..=63).contains(&label.len())
    };
    (name.len() <= LONGEST_SUFFIX && name.split('.').all(is_label)).then(|| name.to_owned())
}
