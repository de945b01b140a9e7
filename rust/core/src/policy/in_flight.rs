//! The fields of a cap together: what may be open at once, and who may have how much of it.
//!
//! Knows no counts. Invariant: whatever passes here can be held in a permit of fixed size.

use super::draft::Given;
use super::field::{Field, Wrong};
use super::limit::{Limit, Rule, Share, stage_of};
use super::validate::Check;
use super::value::Burst;
use super::words::Count;
use crate::error::PolicyError;
use crate::identity::Identity;
use crate::stage::Stage;
use crate::store::params::{Algorithm, WhenFull};

impl Check<'_> {
    /// The limit of an `in_flight`.
    pub(super) fn in_flight(
        &self,
        given: &Given<'_, Burst>,
        name: &str,
        per: &[Identity],
    ) -> Result<Limit, PolicyError> {
        self.one_rule()?;
        self.only_beside_distinct()?;
        if let Some(given) = &self.draft.per {
            self.single(per, given.field)?;
        }
        let share = self.share(per)?;
        let shared = share.as_ref().map_or(&[][..], |share| &share.per);
        let action = self.cap_action(per, share.as_ref())?;
        let count = self.capped(given.value.sized, per, shared)?;
        let verified = self.verified(per, shared.iter().copied())?;
        Ok(Limit {
            name: name.to_owned(),
            line: self.place.line,
            file: None,
            per: per.to_vec(),
            rule: Rule::InFlight { cap: given.value.amount, share },
            count,
            verified,
            // Neither has a meaning here: counts are exact, and their tables cannot fill.
            algorithm: Algorithm::Gcra,
            when_full: WhenFull::Admit,
            memory: None,
            mode: self.draft.mode.as_ref().map(|mode| mode.value).unwrap_or_default(),
            action,
            reply: self.reply(),
            quotas: Vec::new(),
        })
    }

    /// Nothing of another rule stands beside it; of several things that do, the first is told.
    fn one_rule(&self) -> Result<(), PolicyError> {
        const ONE: &str = "one rule: `rate`, `distinct` with `rate`, or `in_flight`";
        let draft = self.draft;
        let beside: [Option<(&Field, &str)>; 7] = [
            draft.rate.as_ref().map(|given| (given.field, ONE)),
            draft.distinct.as_ref().map(|given| (given.field, ONE)),
            draft.burst.as_ref().map(|given| {
                (given.field, "no `burst` beside `in_flight`: it is no rate, all that it allows may come at once")
            }),
            draft.algorithm.as_ref().map(|given| {
                (given.field, "no `algorithm` beside `in_flight`: what is open is counted exactly, and in no window")
            }),
            draft.when_full.as_ref().map(|given| {
                (given.field, "no `when_full` beside `in_flight`: its tables are made so that they cannot fill")
            }),
            draft.memory.as_ref().map(|given| {
                (given.field, "no `memory` beside `in_flight`: its tables are as large as `max_open` needs")
            }),
            draft
                .quotas
                .as_ref()
                .map(|given| (given.field, "no `quota` beside `in_flight`: give the value a limit of its own")),
        ];
        match beside.into_iter().flatten().min_by_key(|(field, _)| field.line) {
            Some((field, allowed)) => Err(self.place.wrong(field, Wrong::allowed(allowed))),
            None => Ok(()),
        }
    }

    /// A message may have any number of recipients, and several addresses in its header; a permit must name all that it holds, when it is taken.
    fn single(&self, per: &[Identity], field: &Field) -> Result<(), PolicyError> {
        if let Some(late) = per.iter().find(|identity| !identity.has_many() && stage_of(**identity) > Stage::Mail) {
            let allowed = "beside `in_flight` only what is known at MAIL, where a permit is taken";
            return Err(self.place.wrong(field, Wrong::allowed(allowed).found(format!("{:?}", late.to_string()))));
        }
        let Some(many) = per.iter().find(|identity| identity.has_many()) else { return Ok(()) };
        let allowed = "beside `in_flight` only what a message has one of: a permit is of fixed size";
        Err(self.place.wrong(field, Wrong::allowed(allowed).found(format!("{:?}", many.to_string()))))
    }

    fn share(&self, per: &[Identity]) -> Result<Option<Share>, PolicyError> {
        let Some(given) = &self.draft.share else { return Ok(None) };
        let entry = |name: &str| Field { name: format!("share.{name}"), ..given.field.clone() };
        let missing =
            |name: &str, allowed: &str| Err(self.place.wrong(&entry(name), Wrong::allowed(allowed).found("nothing")));
        let Some(shared) = &given.value.per else {
            return missing("per", "whose part is bounded, as \"client.net/24/48\"");
        };
        let Some(of_free) = given.value.of_free else {
            return missing("of_free", "a part of what is still free, as \"1/10\"");
        };
        self.single(shared, &entry("per"))?;
        if let Some(same) = shared.iter().find(|identity| per.contains(identity) || **identity == Identity::Global) {
            let allowed = "another identity than those of `per`, of which there can be many: they share what is free";
            let found = format!("{:?}", same.to_string());
            return Err(self.place.wrong(&entry("per"), Wrong::allowed(allowed).found(found)));
        }
        Ok(Some(Share { per: shared.clone(), of_free }))
    }

    fn capped(&self, sized: bool, per: &[Identity], shared: &[Identity]) -> Result<Count, PolicyError> {
        let Some(given) = &self.draft.count else { return Ok(if sized { Count::Bytes } else { Count::Messages }) };
        let refused = |allowed: &str| Err(self.place.wrong(given.field, Wrong::allowed(allowed)));
        if given.value == Count::Recipients {
            return refused("\"connections\", \"messages\" or \"bytes\" beside `in_flight`");
        }
        if sized && given.value != Count::Bytes {
            return refused("\"bytes\", since `in_flight` is a size");
        }
        self.known_before_mail(given, per.iter().chain(shared))?;
        Ok(given.value)
    }
}
