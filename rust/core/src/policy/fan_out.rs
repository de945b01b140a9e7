//! The fields of a fan-out together: different elements of what, and what they are refused for.
//!
//! Knows no counts. Invariant: whatever passes here has a memory or registers that can answer it.

use super::draft::Given;
use super::field::{Field, Wrong};
use super::limit::Rule;
use super::quantity::write_period;
use super::validate::Check;
use super::words::Refuse;
use crate::error::PolicyError;
use crate::identity::Identity;
use crate::region::PAGE_BYTES;
use crate::store::params::{Algorithm, Rate, WhenFull};

/// A day after its last admission an element is new again, unless `remember` says otherwise.
const REMEMBER_US: u64 = 86_400_000_000;

/// A page for slots and one for registers.
const LEAST_OF_DISTINCT: u64 = 2 * PAGE_BYTES;

impl Check<'_> {
    /// The rule of a `distinct`.
    pub(super) fn fan_out(
        &self,
        distinct: &Given<'_, Identity>,
        rate: Rate,
        burst: u64,
        per: &[Identity],
    ) -> Result<Rule, PolicyError> {
        if per.contains(&distinct.value) {
            let allowed = "another identity than those of `per`: under itself, a thing is never new";
            return Err(self.place.wrong(distinct.field, Wrong::allowed(allowed)));
        }
        if distinct.value.has_many() && per.iter().any(|identity| identity.has_many()) {
            let allowed = "what each message has one of, beside a `per` of which it has several";
            return Err(self.place.wrong(distinct.field, Wrong::allowed(allowed)));
        }
        let distinct = distinct.value;
        if self.draft.refuse.as_ref().is_some_and(|given| given.value == Refuse::All) {
            self.only_beside_new()?;
            return Ok(Rule::Distinct { distinct, rate, burst });
        }
        let remember_us = self.draft.remember_us.as_ref().map_or(REMEMBER_US, |remember| remember.value);
        let settle_us = match &self.draft.settle_us {
            Some(settle) => Some(self.settle(settle, remember_us, distinct, per)?),
            None => None,
        };
        Ok(Rule::FanOut { distinct, rate, burst, remember_us, settle_us })
    }

    pub(super) fn only_beside_distinct(&self) -> Result<(), PolicyError> {
        let draft = self.draft;
        let fields = [
            draft.refuse.as_ref().map(|given| given.field),
            draft.remember_us.as_ref().map(|given| given.field),
            draft.settle_us.as_ref().map(|given| given.field),
        ];
        match fields.into_iter().flatten().min_by_key(|field| field.line) {
            Some(field) => {
                let allowed = format!("`{}` only beside `distinct`", field.name);
                Err(self.place.wrong(field, Wrong::allowed(allowed)))
            }
            None => Ok(()),
        }
    }

    /// What a limit with `refuse = "all"` has no use for.
    fn only_beside_new(&self) -> Result<(), PolicyError> {
        let draft = self.draft;
        let refused = |field: &Field, allowed: &str| {
            Err(self.place.wrong(field, Wrong::allowed(format!("{allowed} beside refuse = \"all\""))))
        };
        let times = [&draft.remember_us, &draft.settle_us].map(|given| given.as_ref().map(|given| given.field));
        if let Some(field) = times.into_iter().flatten().min_by_key(|field| field.line) {
            return refused(
                field,
                &format!("no `{}`, since nothing is remembered when the bucket has drained,", field.name),
            );
        }
        if let Some(given) = draft.algorithm.as_ref().filter(|given| given.value != Algorithm::Gcra) {
            return refused(given.field, "\"gcra\", a bucket that only a fresh element fills,");
        }
        if let Some(given) = draft.memory.as_ref().filter(|given| given.value < LEAST_OF_DISTINCT) {
            return refused(given.field, "\"8 KiB\" or more, for two tables,");
        }
        if let Some(given) = draft.when_full.as_ref().filter(|given| given.value == WhenFull::Sketch) {
            return refused(
                given.field,
                "\"admit\" or \"refuse\", since a sketch cannot tell a fresh element from a seen one,",
            );
        }
        Ok(())
    }

    fn settle(
        &self,
        settle: &Given<'_, u64>,
        remember_us: u64,
        distinct: Identity,
        per: &[Identity],
    ) -> Result<u64, PolicyError> {
        let refused = |allowed: String| Err(self.place.wrong(settle.field, Wrong::allowed(allowed)));
        if !distinct.is_host() {
            return refused(format!(
                "`settle` only beside a `distinct` that is a whole host, as sender.host, not {distinct}"
            ));
        }
        if !matches!(per, [one] if one.is_part_of_host(distinct)) {
            return refused(format!(
                "`settle` only with a `per` that is one identity, and a part of {distinct}: its organisation"
            ));
        }
        if settle.value > remember_us {
            return refused(format!("at most as long as `remember`, here {:?}", write_period(remember_us, false)));
        }
        Ok(settle.value)
    }
}
