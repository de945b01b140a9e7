//! Writes a limit as fields, and a policy as TOML. A field that has its default is left out.
//!
//! The result reads as the same limits. A policy's limits are multiplied already, so they are written without `scale`.
//! The fields are written in the order of the table in `schema`.

use std::fmt;

use super::field::{Field, FieldValue};
use super::model::{Action, Choice, Count, Limit, Mode, Policy, Quota, Refuse, Rule, Share, Verified};
use super::schema::LIMIT;
use super::units::{MILLION, write_amount, write_period, write_scale, write_size};
use crate::identity::Identity;
use crate::store::params::Rate;

impl Limit {
    /// The fields from which [`Limit::from_fields`] makes the same limit.
    pub fn to_fields(&self) -> Vec<(&'static str, FieldValue)> {
        LIMIT.iter().filter_map(|row| Some((row.name, self.field(row.name)?))).collect()
    }

    /// The value of a field; `None` if it has its default or is not set.
    fn field(&self, name: &str) -> Option<FieldValue> {
        let numbers = self.rule.rate_and_burst();
        let is_sized = numbers.map_or(self.count == Count::Bytes, |(rate, _)| rate.sized);
        match (name, &self.rule) {
            ("name", _) => Some(text(&self.name)),
            ("per", _) => Some(per_field(&self.per)),
            ("rate", _) => numbers.map(|(rate, _)| text(rate)),
            ("burst", _) => numbers.and_then(|(rate, burst)| burst_field(rate, burst)),
            ("count", _) => unless_default(self.count, if is_sized { Count::Bytes } else { Count::Messages }),
            ("distinct", _) => self.distinct().map(text),
            ("refuse", Rule::Distinct { .. }) => Some(text(Refuse::All.name())),
            ("remember", Rule::FanOut { remember_us, .. }) => Some(text(write_period(*remember_us, false))),
            ("settle", Rule::FanOut { settle_us, .. }) => settle_us.map(|us| text(write_period(us, false))),
            ("in_flight", Rule::InFlight { cap, .. }) => Some(write_amount(*cap, is_sized)),
            ("share", Rule::InFlight { share, .. }) => share.as_ref().map(|Share { per, of_free }| {
                FieldValue::Table(vec![Field::loose("per", &per_field(per)), Field::loose("of_free", &text(of_free))])
            }),
            ("verified", _) => unless_default(self.verified, Verified::Any),
            ("when_full", _) => unless_default(self.when_full, self.defaults().1),
            ("memory", _) => self.memory.map(|bytes| text(write_size(bytes))),
            ("algorithm", _) => unless_default(self.algorithm, self.defaults().0),
            ("action", _) => (self.action != Action::Defer).then(|| text(self.action.text())),
            ("mode", _) => unless_default(self.mode, Mode::Enforce),
            ("quota", _) if self.quotas.is_empty() => None,
            ("quota", _) => Some(FieldValue::Table(self.quotas.iter().map(quota_field).collect())),
            ("reply", _) => self.reply.as_ref().map(|reply| text(reply.text())),
            _ => None,
        }
    }
}

fn text(value: impl ToString) -> FieldValue {
    FieldValue::Text(value.to_string())
}

fn unless_default<T: Choice>(value: T, default: T) -> Option<FieldValue> {
    (value != default).then(|| text(value.name()))
}

fn per_field(per: &[Identity]) -> FieldValue {
    match per {
        [one] => text(one),
        several => FieldValue::List(several.iter().map(text).collect()),
    }
}

fn burst_field(rate: Rate, burst: u64) -> Option<FieldValue> {
    (burst != rate.amount).then(|| write_amount(burst, rate.sized))
}

/// Writes `"salesforce.com" = { rate = "6000/minute" }`.
fn quota_field(quota: &Quota) -> Field {
    let mut fields = vec![Field::loose("rate", &text(quota.rate))];
    fields.extend(burst_field(quota.rate, quota.burst).map(|burst| Field::loose("burst", &burst)));
    Field::loose(&quota.of, &FieldValue::Table(fields))
}

impl fmt::Display for Limit {
    /// Writes the limit as a table of a policy file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[limit]]")?;
        self.to_fields().iter().try_for_each(|(name, value)| writeln!(f, "{name} = {value}"))
    }
}

impl Policy {
    /// Writes a policy file that reads as the same limits. It has no `scale`: the numbers are multiplied already.
    pub fn to_toml(&self) -> String {
        let mut toml = String::new();
        if self.scale_millionths != MILLION {
            let scale = write_scale(self.scale_millionths);
            toml += &format!("# Every rate, burst and cap is multiplied by {scale} already.\n\n");
        }
        if let Some(mode) = unless_default(self.mode, Mode::Enforce) {
            toml += &format!("mode = {mode}\n\n");
        }
        if !self.extra_suffixes.is_empty() {
            let extra = FieldValue::List(self.extra_suffixes.iter().map(text).collect());
            toml += &format!("[suffixes]\nextra = {extra}\n\n");
        }
        let limits: Vec<String> = self.limits.iter().map(ToString::to_string).collect();
        toml + &limits.join("\n")
    }
}
