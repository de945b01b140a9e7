//! A limit back as fields, and as TOML: what is the default is left out.
//!
//! What is printed reads as the same limit. A policy's limits are multiplied by `scale` already, so they are printed without one.
//! Knows no file: comments and order of fields are its own.

use std::fmt;

use super::Action;
use super::field::{Field, FieldValue};
use super::limit::{Limit, Policy, Rule, Share};
use super::quantity::{write_period, write_size};
use super::quota::Quota;
use super::scale::Scale;
use super::validate::must_hold;
use super::words::{Count, Mode, Refuse, Verified, name_of};
use crate::identity::Identity;
use crate::store::params::{Algorithm, Rate, WhenFull};

impl Limit {
    /// What [`Limit::from_fields`] would make this limit of.
    pub fn to_fields(&self) -> Vec<(&'static str, FieldValue)> {
        let text = |text: &str| FieldValue::Text(text.to_owned());
        let mut fields = vec![("name", text(&self.name)), ("per", per_field(&self.per))];
        if let Rule::InFlight { cap, share } = &self.rule {
            self.print_cap(&mut fields, *cap, share.as_ref());
            return fields;
        }
        let Some((rate, burst)) = self.rule.rate_and_burst() else { return fields };
        if let Some(distinct) = self.distinct() {
            fields.push(("distinct", text(&distinct.to_string())));
        }
        fields.push(("rate", text(&rate.to_string())));
        fields.extend(burst_field(rate, burst).map(|burst| ("burst", burst)));
        if let Rule::FanOut { remember_us, settle_us, .. } = &self.rule {
            fields.push(("remember", text(&write_period(*remember_us, false))));
            fields.extend(settle_us.map(|settle_us| ("settle", text(&write_period(settle_us, false)))));
        }
        if matches!(self.rule, Rule::Distinct { .. }) {
            fields.push(("refuse", text(name_of(Refuse::All, &Refuse::NAMED))));
        }
        if self.count != Count::Messages && !rate.sized {
            fields.push(("count", text(name_of(self.count, &Count::NAMED))));
        }
        if self.verified != Verified::Any {
            fields.push(("verified", text(name_of(self.verified, &Verified::NAMED))));
        }
        let must_hold = must_hold(&self.per, self.distinct());
        if self.algorithm != Algorithm::default_of(must_hold) {
            fields.push(("algorithm", text(name_of(self.algorithm, &Algorithm::NAMED))));
        }
        if self.when_full != WhenFull::default_of(must_hold) {
            fields.push(("when_full", text(name_of(self.when_full, &WhenFull::NAMED))));
        }
        fields.extend(self.memory.map(|bytes| ("memory", text(&write_size(bytes)))));
        if self.mode != Mode::Enforce {
            fields.push(("mode", text(name_of(self.mode, &Mode::NAMED))));
        }
        self.print_answer(&mut fields);
        if !self.quotas.is_empty() {
            fields.push(("quota", FieldValue::Table(self.quotas.iter().map(Quota::to_field).collect())));
        }
        fields
    }

    fn print_cap(&self, fields: &mut Vec<(&'static str, FieldValue)>, cap: u64, share: Option<&Share>) {
        let text = |text: &str| FieldValue::Text(text.to_owned());
        let number = FieldValue::Integer(i64::try_from(cap).unwrap_or(i64::MAX));
        fields.push(("in_flight", if self.count == Count::Bytes { text(&write_size(cap)) } else { number }));
        fields.extend(share.map(|Share { per, of_free }| {
            let part = text(&format!("{}/{}", of_free.numerator, of_free.denominator));
            let entries = [("per", per_field(per)), ("of_free", part)];
            ("share", FieldValue::Table(entries.map(|(name, value)| Field::loose(name, &value)).into()))
        }));
        if self.count == Count::Connections {
            fields.push(("count", text(name_of(self.count, &Count::NAMED))));
        }
        if self.verified != Verified::Any {
            fields.push(("verified", text(name_of(self.verified, &Verified::NAMED))));
        }
        if self.mode != Mode::Enforce {
            fields.push(("mode", text(name_of(self.mode, &Mode::NAMED))));
        }
        self.print_answer(fields);
    }
}

impl Limit {
    fn print_answer(&self, fields: &mut Vec<(&'static str, FieldValue)>) {
        if self.action != Action::Defer {
            fields.push(("action", FieldValue::Text(self.action.text())));
        }
        fields.extend(self.reply.as_ref().map(|reply| ("reply", FieldValue::Text(reply.text().to_owned()))));
    }
}

/// One identity, or a list of them.
fn per_field(per: &[Identity]) -> FieldValue {
    let name = |identity: &Identity| FieldValue::Text(identity.to_string());
    match per {
        [one] => name(one),
        several => FieldValue::List(several.iter().map(name).collect()),
    }
}

/// A burst, where it is not the default.
pub(super) fn burst_field(rate: Rate, burst: u64) -> Option<FieldValue> {
    let number = i64::try_from(burst).unwrap_or(i64::MAX);
    let sized = rate.sized.then(|| FieldValue::Text(write_size(burst)));
    (burst != rate.amount).then(|| sized.unwrap_or(FieldValue::Integer(number)))
}

impl fmt::Display for Limit {
    /// As a table of a policy file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[limit]]")?;
        self.to_fields().iter().try_for_each(|(name, value)| writeln!(f, "{name} = {value}"))
    }
}

impl Policy {
    /// As a policy file that reads as the same limits, with `scale = 1`: it is in their numbers already.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        let scale = Scale { millionths: self.scale_millionths };
        if scale != Scale::ONE {
            text += &format!("# Every rate, burst and cap is multiplied by {} already.\n\n", scale.text());
        }
        if self.mode != Mode::default() {
            let mode = FieldValue::Text(name_of(self.mode, &Mode::NAMED).to_owned());
            text += &format!("mode = {mode}\n\n");
        }
        if !self.extra_suffixes.is_empty() {
            let extra = self.extra_suffixes.iter().cloned().map(FieldValue::Text).collect();
            text += &format!("[suffixes]\nextra = {}\n\n", FieldValue::List(extra));
        }
        let limits: Vec<String> = self.limits.iter().map(ToString::to_string).collect();
        text + &limits.join("\n")
    }
}
