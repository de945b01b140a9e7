//! One limit's fields together: whether they say one thing that can be obeyed, and what they leave unsaid.
//!
//! What only a fan-out or a cap may say is in `fan_out` and `in_flight`.
//! Knows no other limit. Invariant: a limit that came out of here needs no further check but for the memory that it asks for.

use super::draft::{Draft, Given};
use super::field::{Field, FieldValue, NO_FILE, Place, Wrong};
use super::limit::{Limit, Rule, stage_of};
use super::quota::{Numbers, Quota, inside};
use super::reply_template::replied;
use super::value::{Burst, is_name};
use super::words::{Count, Verified};
use crate::error::PolicyError;
use crate::identity::{Identity, Source};
use crate::region::PAGE_BYTES;
use crate::reply::Template;
use crate::stage::Stage;
use crate::store::params::{Algorithm, Rate, WhenFull};

/// The least share of a limit that has a table and a sketch.
const LEAST_SKETCH: u64 = 2 * PAGE_BYTES;

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
    if let Some(in_flight) = &draft.in_flight {
        let limit = check.in_flight(in_flight, &name.value, &per.value)?;
        replied(place, draft.reply.as_ref(), &limit)?;
        return Ok(limit);
    }
    if let Some(share) = &draft.share {
        return Err(place.wrong(share.field, Wrong::allowed("`share` only beside `in_flight`")));
    }
    let rate = check.rate()?;
    let count = check.count(rate.value, &per.value)?;
    let distinct = draft.distinct.as_ref().map(|distinct| distinct.value);
    let algorithm = check.algorithm(&per.value, distinct);
    let burst = check.burst(rate.value, draft.burst.as_ref(), count, algorithm)?;
    let rule = check.rule(rate.value, burst, &per.value)?;
    let verified = check.verified(&per.value, distinct)?;
    let when_full = check.when_full(&per.value, distinct)?;
    let limit = Limit {
        name: name.value.clone(),
        line: place.line,
        file: None,
        per: per.value.clone(),
        rule,
        count,
        verified,
        algorithm,
        when_full,
        memory: draft.memory.as_ref().map(|memory| memory.value),
        mode: draft.mode.as_ref().map(|mode| mode.value).unwrap_or_default(),
        action: check.action(&per.value, verified)?,
        reply: check.reply(),
        quotas: check.quotas(rate.value, count, algorithm, &per.value)?,
    };
    replied(place, draft.reply.as_ref(), &limit)?;
    Ok(limit)
}

/// Whether it is a rate, and `auth.user` and `global` are all that it is about: its number must hold to the letter, so it has other defaults.
pub(super) fn must_hold(per: &[Identity], distinct: Option<Identity>) -> bool {
    distinct.is_none() && per.iter().all(|identity| matches!(identity, Identity::AuthUser | Identity::Global))
}

pub(super) struct Check<'a> {
    pub(super) place: &'a Place,
    pub(super) draft: &'a Draft<'a>,
}

impl<'a> Check<'a> {
    fn rate(&self) -> Result<&'a Given<'a, Rate>, PolicyError> {
        self.draft.rate.as_ref().ok_or_else(|| match &self.draft.distinct {
            Some(_) => self.place.missing("rate", "beside `distinct` a rate of new elements, as \"200/10 minutes\""),
            None => self.place.missing("rate", "one rule: `rate`, `distinct` with `rate`, or `in_flight`"),
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
        self.known_before_mail(given, per)?;
        Ok(count)
    }

    /// Connections are counted before any message is known.
    pub(super) fn known_before_mail<'i>(
        &self,
        count: &Given<'_, Count>,
        per: impl IntoIterator<Item = &'i Identity>,
    ) -> Result<(), PolicyError> {
        let is_early = |identity: &Identity| stage_of(*identity) <= Stage::Helo;
        if count.value == Count::Connections && !per.into_iter().all(is_early) {
            let allowed = "\"connections\" only per identities known before a message: client.*, helo.*, global";
            return Err(self.place.wrong(count.field, Wrong::allowed(allowed)));
        }
        Ok(())
    }

    fn algorithm(&self, per: &[Identity], distinct: Option<Identity>) -> Algorithm {
        let default = Algorithm::default_of(must_hold(per, distinct));
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
            Ok(Quota { of: of.name.clone(), line: of.line, file: of.file.clone(), rate: rate.value, burst })
        };
        given.value.iter().map(quota).collect()
    }

    pub(super) fn reply(&self) -> Option<Template> {
        self.draft.reply.as_ref().map(|given| given.value.clone())
    }

    fn rule(&self, rate: Rate, burst: u64, per: &[Identity]) -> Result<Rule, PolicyError> {
        if let Some(distinct) = &self.draft.distinct {
            return self.fan_out(distinct, rate, burst, per);
        }
        self.only_beside_distinct()?;
        Ok(Rule::Rate { rate, burst })
    }

    /// A limit that no envelope can ever meet would be a limit that silently does not hold.
    pub(super) fn verified(
        &self,
        per: &[Identity],
        distinct: impl IntoIterator<Item = Identity>,
    ) -> Result<Verified, PolicyError> {
        let Some(given) = &self.draft.verified else { return Ok(Verified::Any) };
        let mut sources = per.iter().copied().chain(distinct).map(Identity::source);
        let refused = |allowed| Err(self.place.wrong(given.field, Wrong::allowed(allowed)));
        match given.value {
            Verified::Claimed if !sources.any(|source| source.is_mere_claim() || source == Source::Sender) => {
                refused("\"any\" or \"proven\", since nothing here can be merely claimed")
            }
            Verified::Proven => match sources.find(|source| source.is_mere_claim()) {
                Some(Source::Helo) => refused("\"any\" or \"claimed\", since a HELO name is never proven"),
                Some(_) => refused("\"any\" or \"claimed\", since what a header says is never proven"),
                None => Ok(Verified::Proven),
            },
            verified => Ok(verified),
        }
    }

    fn when_full(&self, per: &[Identity], distinct: Option<Identity>) -> Result<WhenFull, PolicyError> {
        let default = WhenFull::default_of(must_hold(per, distinct));
        let when_full = self.draft.when_full.as_ref().map_or(default, |given| given.value);
        match &self.draft.memory {
            // A fan-out's stated memory is that of its elements; its buckets have their share of the rest.
            Some(memory) if when_full == WhenFull::Sketch && distinct.is_none() && memory.value < LEAST_SKETCH => {
                let allowed = "at least \"8 KiB\" with when_full \"sketch\": a page for the table, one for the sketch";
                Err(self.place.wrong(memory.field, Wrong::allowed(allowed)))
            }
            _ => Ok(when_full),
        }
    }
}
