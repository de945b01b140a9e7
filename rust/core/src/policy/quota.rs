//! A quota of its own for a named value: other numbers, the same limit.
//!
//! Knows not what the value names: that needs the suffix list, so it is found out when the policy is compiled.

use super::draft::{Given, Reader};
use super::field::{Field, FieldValue, Place, Wrong};
use super::fields::{QUOTA, known};
use super::print::burst_field;
use super::value::{Burst, burst, rate};
use crate::error::PolicyError;
use crate::store::params::Rate;

/// Other numbers for the keys of which a part has a named value.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    /// The value, as it was written.
    pub of: String,
    /// Line in the file, when there is one.
    pub line: Option<usize>,
    /// The file of that line, when it is a base of the policy's.
    pub file: Option<String>,
    /// Sustained.
    pub rate: Rate,
    /// At once; by default the amount of this rate, not the limit's burst.
    pub burst: u64,
}

impl Quota {
    /// What it says, wherever it stands.
    pub(crate) fn numbers(&self) -> (&str, Rate, u64) {
        (&self.of, self.rate, self.burst)
    }

    /// `"salesforce.com" = { rate = "6000/minute" }`
    pub(super) fn to_field(&self) -> Field {
        let rate = Field::loose("rate", &FieldValue::Text(self.rate.to_string()));
        let burst = burst_field(self.rate, self.burst).map(|burst| Field::loose("burst", &burst));
        Field::loose(&self.of, &FieldValue::Table([rate].into_iter().chain(burst).collect()))
    }
}

/// A quota whose fields make sense one by one.
#[derive(Debug)]
pub(super) struct Numbers<'a> {
    /// Its name is the value.
    pub(super) of: &'a Field,
    pub(super) rate: Given<'a, Rate>,
    pub(super) burst: Option<Given<'a, Burst>>,
}

/// An error about a field of the quota `of`, with the whole way to it.
pub(super) fn inside(of: &Field, error: PolicyError) -> PolicyError {
    PolicyError { field: error.field.map(|field| format!("quota.{:?}.{field}", of.name)), ..error }
}

/// Every quota of the field `quota`.
pub(super) fn quotas<'a>(place: &Place, field: &'a Field) -> Result<Vec<Numbers<'a>>, PolicyError> {
    let allowed = "a table of values, as quota.\"salesforce.com\" = { rate = \"6000/minute\" }";
    match &field.value {
        FieldValue::Table(values) if !values.is_empty() => values.iter().map(|of| numbers(place, of)).collect(),
        _ => Err(place.wrong(field, Wrong::allowed(allowed))),
    }
}

fn numbers<'a>(place: &Place, of: &'a Field) -> Result<Numbers<'a>, PolicyError> {
    let place = &Place { line: of.line.or(place.line), ..place.clone() };
    let inside = |error| inside(of, error);
    let quota = Field { name: "quota".into(), ..of.clone() };
    let FieldValue::Table(fields) = &of.value else {
        return Err(place.wrong(&quota, Wrong::allowed("a table with `rate`, as { rate = \"6000/minute\" }")));
    };
    let (mut found_rate, mut found_burst) = (None, None);
    for field in fields {
        let reader = Reader { place, field };
        match known(QUOTA, &field.name).map_err(|wrong| inside(place.wrong(field, wrong)))?.name {
            "rate" => found_rate = reader.read(rate).map_err(inside)?,
            "burst" => found_burst = reader.read(burst).map_err(inside)?,
            _ => {}
        }
    }
    let missing = || inside(place.missing("rate", "a rate, as \"6000/minute\""));
    Ok(Numbers { of, rate: found_rate.ok_or_else(missing)?, burst: found_burst })
}
