//! `600/minute`, `20/10 minutes`, `1 GiB/hour`.

use std::fmt;
use std::str::FromStr;

use super::field::{Field, FieldValue, Place, Wrong};
use super::quantity::{
    MOST, POSITIVE, rate_period_pattern, rate_period_us, size, size_pattern, size_unit, split, write_period, write_size,
};
use crate::error::PolicyError;
use crate::store::params::Rate;

impl Rate {
    pub(super) fn read(text: &str) -> Result<Self, Wrong> {
        Self::read_exactly(text).map_err(|wrong| match wrong.suggestion {
            Some(_) => wrong,
            None => wrong.suggest(repaired(text)),
        })
    }

    fn read_exactly(text: &str) -> Result<Self, Wrong> {
        let Some((amount, period)) = text.split_once('/') else { return Err(shape()) };
        let (amount, sized) = read_amount(amount).map_err(|wrong| Wrong {
            suggestion: wrong.suggestion.map(|amount| format!("{amount}/{}", period.trim())),
            ..wrong
        })?;
        let period_us = rate_period_us(period).map_err(|wrong| Wrong {
            suggestion: wrong.suggestion.map(|period| format!("{}/{period}", text_before_slash(text))),
            ..wrong
        })?;
        Ok(Self { amount, period_us, sized })
    }
}

impl Rate {
    /// What is read as a rate, but for the ranges.
    pub(super) fn pattern() -> String {
        format!("(?:{POSITIVE}|{})/{}", size_pattern(), rate_period_pattern())
    }
}

fn text_before_slash(text: &str) -> &str {
    text.split('/').next().unwrap_or_default().trim()
}

fn shape() -> Wrong {
    Wrong::allowed("a whole number, a slash and a period, as \"600/minute\", \"20/10 minutes\" or \"1 GiB/hour\"")
}

fn read_amount(text: &str) -> Result<(u64, bool), Wrong> {
    let range = || Wrong::allowed("an amount from 1 to 2^50");
    let (digits, unit) = split(text);
    if digits.is_empty() {
        let negative = text.trim().strip_prefix('-').is_some_and(|rest| !split(rest).0.is_empty());
        return Err(if negative { range() } else { shape() });
    }
    if unit.is_empty() {
        let amount = digits.parse().ok().filter(|amount| (1..=MOST).contains(amount));
        return Ok((amount.ok_or_else(range)?, false));
    }
    match size(text) {
        Ok(bytes) => Ok((bytes, true)),
        Err(wrong) if size_unit(unit).is_some() || wrong.suggestion.is_some() => Err(wrong),
        Err(_) => Err(shape()),
    }
}

/// The rate that `text` was meant to be: `600 per minute`, `6,000/hour`, `60 messages/minute`.
fn repaired(text: &str) -> Option<String> {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let candidate = [" per ", " an ", " a ", " every "]
        .into_iter()
        .fold(words(text), |text, word| text.replacen(word, "/", 1))
        .replace([',', '_', '\''], "");
    let candidate = ["messages", "recipients", "connections"]
        .into_iter()
        .fold(candidate, |text, unit| text.replacen(&format!(" {unit}/"), "/", 1));
    (candidate != text && Rate::read_exactly(&candidate).is_ok()).then_some(candidate)
}

impl FromStr for Rate {
    type Err = PolicyError;

    /// For who has no policy around it; the error is about the field `rate`.
    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let place = Place::default();
        let field = Field::loose("rate", &FieldValue::Text(text.to_owned()));
        Self::read(text).map_err(|wrong| place.wrong(&field, wrong))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = write_period(self.period_us, true);
        if self.sized {
            write!(f, "{}/{period}", write_size(self.amount))
        } else {
            write!(f, "{}/{period}", self.amount)
        }
    }
}
