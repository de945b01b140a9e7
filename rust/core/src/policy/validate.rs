//! One limit's fields together: whether they say one thing that can be obeyed, and what they leave unsaid.
//!
//! The defaults are here and nowhere else.

use super::draft::{Burst, Draft, Given, NOT_YET, is_name};
use super::field::{Field, FieldValue, NO_FILE, Place, Wrong};
use super::limit::{Algorithm, Count, Limit, Refuse, Rule, Verified, WhenFull, name_of, stage_of};
use super::quantity::write_period;
use super::quota::{Numbers, Quota, inside};
use super::{Rate, Stage};
use crate::error::PolicyError;
use crate::identity::{Identity, Source};

/// A day after its last admission an element is new again, unless `remember` says otherwise.
const REMEMBER_US: u64 = 86_400_000_000;

/// A page for slots and one for registers, in bytes.
const LEAST_OF_DISTINCT: u64 = 8_192;

impl Limit {
    /// A limit as Python's keyword arguments give it. Nothing is scaled: that is the policy's.
    ///
    /// # Errors
    /// The first thing wrong with it, without a line.
    pub fn from_fields(fields: &[(String, FieldValue)]) -> Result<Self, PolicyError> {
        let fields: Vec<Field> = fields.iter().map(|(name, value)| Field::loose(name, value)).collect();
        let limit = stated_name(&fields).map(str::to_owned);
        validated(&Place { file: NO_FILE.into(), line: None, limit }, &fields)
    }
}

/// The limit's name, when it has one that can be told.
pub(super) fn stated_name(fields: &[Field]) -> Option<&str> {
    fields.iter().find_map(|field| match (field.name.as_str(), &field.value) {
        ("name", FieldValue::Text(name)) if is_name(name) => Some(name.as_str()),
        _ => None,
    })
}

/// The limit that `fields` say.
pub(super) fn validated(place: &Place, fields: &[Field]) -> Result<Limit, PolicyError> {
    let draft = Draft::read(place, fields)?;
    let check = Check { place, draft: &draft };
    let Some(name) = &draft.name else {
        return Err(place.missing("name", "a name of lower-case letters, digits and `-`"));
    };
    let Some(per) = &draft.per else {
        return Err(place.missing("per", "one identity or a list of them, as \"client.net\""));
    };
    let rate = check.rate()?;
    let count = check.count(rate.value, &per.value)?;
    let distinct = draft.distinct.as_ref().map(|distinct| distinct.value);
    let algorithm = check.algorithm(&per.value, distinct);
    let burst = check.burst(rate.value, draft.burst.as_ref(), count, algorithm)?;
    let rule = check.rule(rate.value, burst, &per.value)?;
    let verified = check.verified(&per.value, distinct)?;
    let when_full = check.when_full(&per.value, distinct)?;
    Ok(Limit {
        name: name.value.clone(),
        line: place.line,
        per: per.value.clone(),
        rule,
        count,
        verified,
        algorithm,
        when_full,
        memory: draft.memory.as_ref().map(|memory| memory.value),
        mode: draft.mode.as_ref().map(|mode| mode.value).unwrap_or_default(),
        quotas: check.quotas(rate.value, count, algorithm, &per.value)?,
    })
}

/// Whether it is a rate, and `auth.user` and `global` are all that it is about: its quota must hold, so it has other defaults.
pub(super) fn is_quota(per: &[Identity], distinct: Option<Identity>) -> bool {
    distinct.is_none() && per.iter().all(|identity| matches!(identity, Identity::AuthUser | Identity::Global))
}

struct Check<'a> {
    place: &'a Place,
    draft: &'a Draft<'a>,
}

impl<'a> Check<'a> {
    fn rate(&self) -> Result<&'a Given<'a, Rate>, PolicyError> {
        self.draft.rate.as_ref().ok_or_else(|| match &self.draft.distinct {
            Some(_) => self.place.missing("rate", "beside `distinct` a rate of new elements, as \"200/10 minutes\""),
            None => self.place.missing("rate", "one rule: `rate`, or `distinct` with `rate`"),
        })
    }

    fn count(&self, rate: Rate, per: &[Identity]) -> Result<Count, PolicyError> {
        let implied = if rate.sized { Count::Bytes } else { Count::Messages };
        let count = self.draft.count.as_ref().map_or(implied, |count| count.value);
        if let (true, Some(given)) = (self.draft.distinct.is_some(), &self.draft.rate) {
            if rate.sized {
                let allowed = "beside `distinct` a rate of new elements, without a unit of size";
                return Err(self.place.wrong(given.field, Wrong::allowed(allowed)));
            }
        }
        let Some(given) = &self.draft.count else { return Ok(count) };
        let refused = |allowed: &str| Err(self.place.wrong(given.field, Wrong::allowed(allowed)));
        if self.draft.distinct.is_some() && count != Count::Messages {
            return refused("\"messages\" beside `distinct`, where new elements are counted");
        }
        if rate.sized && count != Count::Bytes {
            return refused("\"bytes\", since the rate has a unit of size");
        }
        let is_early = |identity: &Identity| stage_of(*identity) == Stage::Connect;
        if count == Count::Connections && !per.iter().all(is_early) {
            return refused("\"connections\" only per identities known at connect: client.*, global");
        }
        Ok(count)
    }

    fn algorithm(&self, per: &[Identity], distinct: Option<Identity>) -> Algorithm {
        let default = Algorithm::default_of(is_quota(per, distinct));
        self.draft.algorithm.as_ref().map_or(default, |given| given.value)
    }

    fn burst(
        &self,
        rate: Rate,
        burst: Option<&Given<'_, Burst>>,
        count: Count,
        algorithm: Algorithm,
    ) -> Result<u64, PolicyError> {
        let Some(burst) = burst else { return Ok(rate.amount) };
        if algorithm == Algorithm::SlidingWindow {
            let stated = if self.draft.algorithm.is_some() { "" } else { ", the default per auth.user or global" };
            let allowed = format!(
                "no `burst` beside algorithm \"sliding-window\"{stated}: a window lets its amount through at once"
            );
            return Err(self.place.wrong(burst.field, Wrong::allowed(allowed)));
        }
        if burst.value.sized && count != Count::Bytes {
            let allowed = "a whole number, since the limit does not count bytes";
            return Err(self.place.wrong(burst.field, Wrong::allowed(allowed)));
        }
        Ok(burst.value.amount)
    }

    /// The quotas; each brings a burst of its own.
    fn quotas(
        &self,
        base: Rate,
        count: Count,
        algorithm: Algorithm,
        per: &[Identity],
    ) -> Result<Vec<Quota>, PolicyError> {
        let Some(given) = &self.draft.quotas else { return Ok(Vec::new()) };
        if per.iter().all(|identity| *identity == Identity::Global) {
            let allowed = "no `quota` per global, which has one value";
            return Err(self.place.wrong(given.field, Wrong::allowed(allowed)));
        }
        let quota = |numbers: &Numbers<'_>| {
            let Numbers { of, rate, burst } = numbers;
            if rate.value.sized != base.sized {
                let unit = if base.sized { "a rate with a unit of size" } else { "a rate without a unit of size" };
                let allowed = format!("{unit}, as the limit's own");
                return Err(inside(of, self.place.wrong(rate.field, Wrong::allowed(allowed))));
            }
            let burst = self.burst(rate.value, burst.as_ref(), count, algorithm).map_err(|error| inside(of, error))?;
            Ok(Quota { of: of.name.clone(), line: of.line, rate: rate.value, burst })
        };
        given.value.iter().map(quota).collect()
    }

    fn rule(&self, rate: Rate, burst: u64, per: &[Identity]) -> Result<Rule, PolicyError> {
        let Some(distinct) = &self.draft.distinct else {
            self.only_beside_distinct()?;
            return Ok(Rule::Rate { rate, burst });
        };
        if per.contains(&distinct.value) {
            let allowed = "another identity than those of `per`: under itself, a thing is never new";
            return Err(self.place.wrong(distinct.field, Wrong::allowed(allowed)));
        }
        if distinct.value.has_many() && per.iter().any(|identity| identity.has_many()) {
            let allowed = "with a `per` of recipients, what each message has one of";
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

    fn only_beside_distinct(&self) -> Result<(), PolicyError> {
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
        // By its name: what is not to be had elsewhere either has been refused by now.
        if let Some(given) = draft.when_full.as_ref().filter(|given| name_of(given.value, &WhenFull::NAMED) == "sketch")
        {
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

    /// A limit that no envelope can ever meet would be a limit that silently does not hold.
    fn verified(&self, per: &[Identity], distinct: Option<Identity>) -> Result<Verified, PolicyError> {
        let Some(given) = &self.draft.verified else { return Ok(Verified::Any) };
        let mut sources = per.iter().copied().chain(distinct).map(Identity::source);
        let refused = |allowed| Err(self.place.wrong(given.field, Wrong::allowed(allowed)));
        match given.value {
            Verified::Claimed if !sources.any(|source| matches!(source, Source::Helo | Source::Sender)) => {
                refused("\"any\" or \"proven\", since nothing here can be merely claimed")
            }
            Verified::Proven if sources.any(|source| source == Source::Helo) => {
                refused("\"any\" or \"claimed\", since a HELO name is never proven")
            }
            verified => Ok(verified),
        }
    }

    fn when_full(&self, per: &[Identity], distinct: Option<Identity>) -> Result<WhenFull, PolicyError> {
        match &self.draft.when_full {
            Some(given) => Ok(given.value),
            None if is_quota(per, distinct) => {
                let found = format!("nothing, so the default per auth.user or global, \"sketch\"{NOT_YET}");
                let missing = self.place.missing("when_full", "\"admit\" or \"refuse\", stated");
                Err(PolicyError { found, ..missing })
            }
            None => Ok(WhenFull::Admit),
        }
    }
}
