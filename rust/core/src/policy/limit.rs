//! Makes a limit from its fields, or the error about them; and makes the fields of a limit.
//!
//! First every value is read by itself, in the order of the file, so that the first wrong value is reported. Then the
//! limit is built, and then its values are checked together. A value is read again when the limit is built: that is
//! cheaper to maintain than a second type for every field.
//!
//! This module knows no other limit. A limit that it returns needs no further check, except for the memory it needs.
//! [`Limit::to_fields`] writes the fields from which the same limit is read.

use std::iter;

use super::field::{Field, FieldValue, Place, Read, Wrong};
use super::model::{Action, Choice, Count, Limit, Mode, Quota, Refuse, Report, Rule, Share, Verified, joined_name};
use super::reply_template::{misfit, template};
use super::rows::{Kind, LIMIT, MOST_TIERS, ONE_RULE, QUOTA, Row, SHARE, find};
use super::value::{self, burst, cap, choice, duration, identities, is_name, rate};
use super::value::{write_amount, write_period, write_size};
use crate::store::params::{Algorithm, Charge, Rate, WhenFull};
use crate::{error::PolicyError, identity::Identity, identity::Source, region::PAGE_BYTES, stage::Stage};

/// The file in the errors of a policy that is in no file.
pub(super) const NO_FILE: &str = "<policy>";

/// The least memory of a limit with two tables, or with a table and a sketch.
const TWO_PAGES: u64 = 2 * PAGE_BYTES;

/// How long an element stays known after its last admission, unless `remember` says otherwise: one day.
const REMEMBER_US: u64 = 86_400_000_000;

impl Limit {
    /// Makes a limit of Python's keyword arguments. The policy multiplies it by `scale` later.
    ///
    /// # Errors
    /// The first thing that is wrong, without a line.
    pub fn from_fields(fields: &[(String, FieldValue)]) -> Result<Self, PolicyError> {
        let fields: Vec<Field> = fields.iter().map(|(name, value)| Field::loose(name, value)).collect();
        let limit = stated_name(&fields).map(str::to_owned);
        let place = Place { file: NO_FILE.into(), limit, ..Place::default() };
        validate(&place, &Field::loose("limit", &FieldValue::Table(fields)))
    }

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
            ("reports", _) if self.reports.is_empty() => None,
            ("reports", _) => Some(FieldValue::List(self.reports.iter().map(|report| text(report.name())).collect())),
            ("distinct", _) => self.distinct().map(text),
            ("refuse", Rule::Distinct { .. }) => Some(text(Refuse::All.name())),
            ("new_to", Rule::FanOut { new_to, .. }) => (!new_to.is_empty()).then(|| per_field(new_to)),
            ("remember", Rule::FanOut { remember_us, .. }) => Some(text(write_period(*remember_us, false))),
            ("settle", Rule::FanOut { settle_us, .. }) => settle_us.map(|us| text(write_period(us, false))),
            ("charge", Rule::FanOut { charge, .. }) => unless_default(*charge, Charge::Once),
            ("warm_up", Rule::FanOut { warm_up_us: us @ 1.., .. }) => Some(text(write_period(*us, false))),
            ("readmit", Rule::FanOut { readmit_us, .. }) => readmit_us.map(|us| text(write_period(us, false))),
            ("in_flight", Rule::InFlight { cap, .. }) => Some(write_amount(*cap, is_sized)),
            ("share", Rule::InFlight { share, .. }) => share_field(share),
            ("reserve", Rule::InFlight { reserve, .. }) => (*reserve > 0).then(|| write_amount(*reserve, is_sized)),
            ("first", Rule::InFlight { first, .. }) => first.map(|first| text(write_size(first))),
            ("verified", _) => unless_default(self.verified, Verified::Any),
            ("when_full", _) => unless_default(self.when_full, self.rule.defaults(&self.per, self.count).1),
            ("memory", _) => self.memory.map(|bytes| text(write_size(bytes))),
            ("algorithm", _) => unless_default(self.algorithm, self.rule.defaults(&self.per, self.count).0),
            ("action", _) => (self.action != Action::Defer).then(|| text(self.action.text())),
            ("mode", _) => unless_default(self.mode, Mode::Enforce),
            ("quota", _) if self.quotas.is_empty() => None,
            ("quota", _) => Some(FieldValue::Table(self.quotas.iter().map(quota_field).collect())),
            ("reply", _) => self.reply.as_ref().map(|reply| text(reply.text())),
            _ => None,
        }
    }
}

/// The valid name among the fields of a limit.
pub(super) fn stated_name(fields: &[Field]) -> Option<&str> {
    let name = fields.iter().find(|field| field.name == "name")?;
    name.value.text().filter(|name| is_name(name))
}

/// Makes a limit of the table `field`.
pub(super) fn validate(place: &Place, field: &Field) -> Result<Limit, PolicyError> {
    let fields = Fields { place, table: field, rows: LIMIT, path: String::new() };
    fields.check_values()?;
    let (name, per) = (fields.required("name", value::name)?, fields.required("per", identities)?);
    fields.check_rule()?;
    let sized_cap = fields.read("in_flight", cap)?.is_some_and(|cap| cap.sized);
    let sized = sized_cap || fields.read("rate", rate)?.is_some_and(|rate| rate.sized);
    let rule = fields.rule()?;
    let count = fields.read("count", choice)?.unwrap_or(if sized { Count::Bytes } else { Count::Messages });
    let (algorithm, when_full) = rule.defaults(&per, count);
    let mut limit = Limit {
        name,
        line: place.line,
        file: place.base_of(field),
        per,
        rule,
        count,
        reports: fields.read("reports", value::reports)?.unwrap_or_default(),
        verified: fields.read("verified", choice)?.unwrap_or(Verified::Any),
        algorithm: fields.read("algorithm", choice)?.unwrap_or(algorithm),
        when_full: fields.read("when_full", choice)?.unwrap_or(when_full),
        memory: fields.read("memory", value::memory)?,
        mode: fields.read("mode", choice)?.unwrap_or_default(),
        action: fields.read("action", value::action)?.unwrap_or_default(),
        reply: fields.read("reply", template)?,
        quotas: Vec::new(),
    };
    fields.check_together(&limit, sized)?;
    limit.quotas = fields.quotas(&limit, sized)?;
    let misfit = limit.reply.as_ref().and_then(|template| misfit(template, &limit));
    fields.allow("reply", misfit.is_none(), &misfit.unwrap_or_default())?;
    Ok(limit)
}

/// The fields of one table: of a policy, a limit, a tier of its `share` or one value of its `quota`.
pub(super) struct Fields<'a> {
    pub(super) place: &'a Place,
    pub(super) table: &'a Field,
    pub(super) rows: &'static [Row],
    /// The text before the name of a field in messages, such as `share.`.
    pub(super) path: String,
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Option<&'a Field> {
        debug_assert!(find(self.rows, name).is_ok(), "{name} has no row");
        self.table.value.entries().iter().find(|field| field.name == name)
    }

    pub(super) fn read<T>(&self, name: &str, read: Read<T>) -> Result<Option<T>, PolicyError> {
        let value = self.get(name).map(|field| read(&field.value)).transpose();
        value.map_err(|wrong| self.error(name, wrong))
    }

    pub(super) fn required<T>(&self, name: &str, read: Read<T>) -> Result<T, PolicyError> {
        let allowed = find(self.rows, name).map_or("", |row| row.missing);
        self.read(name, read)?.ok_or_else(|| self.error(name, Wrong::allowed(allowed).found("nothing")))
    }

    /// The error about the field `name`, which may be missing.
    fn error(&self, name: &str, wrong: Wrong) -> PolicyError {
        let fields = self.table.value.entries();
        let field = fields.iter().find(|field| field.name == name).unwrap_or(self.table);
        let line = field.line.or(self.table.line);
        self.place.wrong(&Field { name: format!("{}{name}", self.path), line, ..field.clone() }, wrong)
    }

    /// Returns an error about the field `name`, which is present, unless `is_allowed`.
    fn allow(&self, name: &str, is_allowed: bool, allowed: &str) -> Result<(), PolicyError> {
        if is_allowed { Ok(()) } else { Err(self.error(name, Wrong::allowed(allowed))) }
    }

    /// Returns the error of the first row that is not allowed. A row is a field, whether it is allowed, and the hint.
    fn allow_all(&self, rows: &[(&str, bool, &str)]) -> Result<(), PolicyError> {
        rows.iter().try_for_each(|(name, is_allowed, allowed)| self.allow(name, *is_allowed, allowed))
    }

    /// Returns an error about the identity `wrong` of the field `per`, if there is one.
    fn allow_identity(&self, wrong: Option<&Identity>, allowed: &str) -> Result<(), PolicyError> {
        let Some(wrong) = wrong else { return Ok(()) };
        Err(self.error("per", Wrong::allowed(allowed).found(format!("{:?}", wrong.to_string()))))
    }

    /// The tiers of `share`, each as a field with a table: one table, or a list of them.
    fn tiers(&self) -> Vec<(Field, String)> {
        let Some(field) = self.get("share") else { return Vec::new() };
        let FieldValue::List(tiers) = &field.value else { return vec![(field.clone(), "share.".into())] };
        let tier = |(index, value): (usize, &FieldValue)| {
            let line = field.item_lines.get(index).copied().or(field.line);
            let tier = Field { name: field.name.clone(), line, file: field.file.clone(), ..Field::loose("", value) };
            (tier, format!("share[{index}]."))
        };
        tiers.iter().enumerate().map(tier).collect()
    }

    /// The fields of a tier of `share`.
    fn tier<'t>(&self, (table, path): &'t (Field, String)) -> Fields<'t>
    where
        'a: 't,
    {
        Fields { table, rows: SHARE, path: path.clone(), place: self.place }
    }

    fn quota(&self, of: &'a Field) -> Self {
        Self { table: of, rows: QUOTA, path: format!("quota.{:?}.", of.name), ..*self }
    }

    /// Checks every value by itself, in the order of the file.
    pub(super) fn check_values(&self) -> Result<(), PolicyError> {
        self.table.value.entries().iter().try_for_each(|field| self.check_value(field))
    }

    /// Checks the value of one field by itself.
    pub(super) fn check_value(&self, field: &'a Field) -> Result<(), PolicyError> {
        let Field { name, value, .. } = field;
        let row = find(self.rows, name).map_err(|wrong| self.error(name, wrong))?;
        match (row.kind, value) {
            (Kind::Value(check), _) => check(value).map_err(|wrong| self.error(name, wrong)),
            (Kind::Table(rows, _), FieldValue::Table(_)) => {
                Self { table: field, rows, path: format!("{name}."), ..*self }.check_values()
            }
            (Kind::Quotas(_), FieldValue::Table(values)) if !values.is_empty() => {
                values.iter().try_for_each(|of| self.check_quota(name, of))
            }
            (Kind::Tiers(allowed), FieldValue::Table(_) | FieldValue::List(_)) => {
                let tiers = self.tiers();
                self.allow(name, (1..=MOST_TIERS).contains(&tiers.len()), allowed)?;
                tiers.iter().try_for_each(|tier| {
                    self.allow(name, matches!(tier.0.value, FieldValue::Table(_)), allowed)?;
                    self.tier(tier).check_values()
                })
            }
            (Kind::Table(_, allowed) | Kind::Tiers(allowed) | Kind::Quotas(allowed), _) => {
                self.allow(name, false, allowed)
            }
        }
    }

    fn check_quota(&self, name: &str, of: &'a Field) -> Result<(), PolicyError> {
        if let FieldValue::Table(_) = of.value {
            let fields = self.quota(of);
            return fields.check_values().and_then(|()| fields.required("rate", rate).map(drop));
        }
        let wrong = Wrong::allowed("a table with `rate`, as { rate = \"6000/minute\" }");
        Err(self.place.wrong(&Field { name: name.to_owned(), ..of.clone() }, wrong))
    }

    /// Checks that the fields state one rule, and that each belongs to it.
    fn check_rule(&self) -> Result<(), PolicyError> {
        let has = |name| self.get(name).is_some();
        for row in self.table.value.entries().iter().filter_map(|field| find(self.rows, &field.name).ok()) {
            let Row { name, needs, in_flight, .. } = row;
            self.allow(name, needs.is_empty() || has(needs), &format!("`{name}` only together with `{needs}`"))?;
            self.allow(name, in_flight.is_empty() || !has("in_flight"), in_flight)?;
        }
        let elements = "with `distinct`, a rate of new elements, as \"200/10 minutes\"";
        let allowed = Wrong::allowed(if has("distinct") { elements } else { ONE_RULE });
        if has("rate") || has("in_flight") { Ok(()) } else { Err(self.error("rate", allowed.found("nothing"))) }
    }

    fn rule(&self) -> Result<Rule, PolicyError> {
        if let Some(cap) = self.read("in_flight", cap)? {
            let tiers = self.tiers();
            let share = tiers.iter().map(|tier| {
                let tier = self.tier(tier);
                Ok(Share {
                    per: tier.required("per", identities)?,
                    of_free: tier.required("of_free", value::fraction)?,
                })
            });
            let (share, reserve) = (share.collect::<Result<_, PolicyError>>()?, self.read("reserve", value::cap)?);
            let first = self.read("first", value::message_size)?;
            let reserve = reserve.map_or(0, |reserve| reserve.number);
            return Ok(Rule::InFlight { cap: cap.number, share, reserve, first });
        }
        let rate = self.required("rate", rate)?;
        let burst = self.read("burst", burst)?.map_or(rate.amount, |burst| burst.number);
        let Some(distinct) = self.read("distinct", value::distinct)? else { return Ok(Rule::Rate { rate, burst }) };
        if self.read("refuse", choice)? == Some(Refuse::All) {
            return Ok(Rule::Distinct { distinct, rate, burst });
        }
        let remember_us = self.read("remember", duration)?.unwrap_or(REMEMBER_US);
        Ok(Rule::FanOut {
            distinct,
            new_to: self.read("new_to", identities)?.unwrap_or_default(),
            rate,
            burst,
            remember_us,
            settle_us: self.read("settle", duration)?,
            charge: self.read("charge", choice)?.unwrap_or(Charge::Once),
            warm_up_us: self.read("warm_up", duration)?.unwrap_or(0),
            readmit_us: self.read("readmit", duration)?,
        })
    }

    /// Checks the values together. `sized` states whether the rate or the cap has a unit of size.
    #[rustfmt::skip]
    fn check_together(&self, limit: &Limit, sized: bool) -> Result<(), PolicyError> {
        let (per, count, verified, distinct) = (&limit.per[..], limit.count, limit.verified, limit.distinct());
        let (is_cap, refuses_all) = (limit.is_in_flight(), matches!(limit.rule, Rule::Distinct { .. }));
        if is_cap {
            self.check_permits(limit)?;
        }
        for Field { name, .. } in self.table.value.entries().iter().filter(|_| refuses_all) {
            let is_of_memory =
                matches!(name.as_str(), "new_to" | "remember" | "settle" | "charge" | "warm_up" | "readmit");
            self.allow(name, !is_of_memory, &format!(
                "no `{name}`, since nothing is remembered when the bucket has drained, with refuse = \"all\""))?;
        }
        self.check_burst(limit, self)?;
        let (remember_us, settle_us, charge, readmit_us) = match limit.rule {
            Rule::FanOut { remember_us, settle_us, charge, readmit_us, .. } => {
                (remember_us, settle_us, charge, readmit_us)
            }
            _ => (0, None, Charge::Once, None),
        };
        let is_counted = matches!(count, Count::Messages | Count::Recipients);
        let is_single = !limit.identities().any(Identity::has_many);
        let remember = write_period(remember_us, false);
        let element = distinct.map(|distinct| distinct.to_string()).unwrap_or_default();
        let is_second = distinct.is_some_and(Identity::has_many) && per.iter().any(|identity| identity.has_many());
        let is_part = matches!((per, distinct), ([one], Some(distinct)) if one.is_part_of_host(distinct));
        let is_client = |identity: &Identity| identity.source() == Source::ClientIp;
        let is_apart = !limit.new_to().is_empty();
        let has_room = limit.memory.is_none_or(|memory| memory >= TWO_PAGES);
        let has_sketch = limit.when_full == WhenFull::Sketch;
        let (blocks, rejects) = (limit.action.block_us().is_some(), limit.action == Action::Reject);
        let is_common = is_cap && !(limit.tiers().is_empty() && per.iter().any(is_sender));
        let is_early = limit.identities().all(|identity| identity.stage() <= Stage::Helo);
        let is_unproven = |source: Source| source == Source::Sender && verified != Verified::Proven;
        let claimed = per.iter().find(|per| per.source().is_mere_claim() || is_unproven(per.source()));
        let can_be_proven = claimed.is_some_and(|claimed| claimed.source() == Source::Sender);
        // Anybody can fail to log in as any user.
        let is_guessed = limit.reports.contains(Report::AuthFailure) && per.contains(&Identity::AuthUser);
        let claim = limit.identities().map(Identity::source).find(|source| source.is_mere_claim());
        let has_sender = limit.identities().any(|identity| identity.source() == Source::Sender);
        self.allow_all(&[
            ("count", !is_cap || !matches!(count, Count::Recipients | Count::Reports),
                r#""connections", "messages" or "bytes" with `in_flight`"#),
            ("count", !is_cap || !sized || count == Count::Bytes, r#""bytes", since `in_flight` is a size"#),
            ("rate", distinct.is_none() || !sized, "with `distinct`, a rate of new elements, without a unit of size"),
            ("count", distinct.is_none() || is_counted,
                r#""messages" or "recipients" with `distinct`, where new elements are counted"#),
            ("count", distinct.is_none() || count != Count::Recipients || is_single && !refuses_all,
                r#""messages" with a `distinct` or `per` with several values in a message, with refuse = "all""#),
            ("charge", charge == Charge::Once || is_single,
                r#""once" with a `distinct` or `per` with several values in a message"#),
            ("count", is_cap || !sized || count == Count::Bytes, r#""bytes", since the rate has a unit of size"#),
            ("count", is_early || count != Count::Connections,
                r#""connections" only per identities known before a message: client.*, helo.*, global"#),
            ("reports", count == Count::Reports || limit.reports.is_empty(),
                r#"`reports` only together with count = "reports""#),
            ("distinct", !distinct.is_some_and(|distinct| per.contains(&distinct)),
                "another identity than those of `per`: under itself, a thing is never new"),
            ("distinct", !is_second, "an identity with one value in a message, since `per` has one with several"),
            // Then the trust of both keys is that of the element, and each key is one.
            ("new_to", !is_apart || limit.new_to().iter().chain(per).all(is_client),
                "client.ip and client.net only, in `per` too"),
            ("new_to", !is_apart || limit.new_to() != per,
                "another key than `per`, since that is the key without this field"),
            ("settle", settle_us.is_none() || !is_apart, "no `settle` together with `new_to`"),
            ("settle", settle_us.is_none() || distinct.is_some_and(Identity::is_host), &format!(
                "`settle` only with a `distinct` that is a whole host, as sender.host, not {element}")),
            ("settle", settle_us.is_none() || is_part, &format!(
                "`settle` only with a `per` that is one identity, and a part of {element}: its organisation")),
            ("settle", settle_us <= Some(remember_us), &format!("at most as long as `remember`, here {remember:?}")),
            ("readmit", readmit_us.is_none() || is_single && count == Count::Messages,
                "no `readmit` together with count = \"recipients\", or a `distinct` or `per` with several values \
                in a message"),
            ("readmit", readmit_us.is_none() || limit.action == Action::Defer,
                "no `readmit` together with an `action`: only what was deferred comes back"),
            ("readmit", readmit_us.is_none() || charge == Charge::Once,
                "no `readmit` together with a `charge` other than \"once\": a note is of an element that is not \
                known"),
            ("readmit", readmit_us <= Some(remember_us / 2), &format!("at most half of `remember`, here {remember:?}")),
            ("algorithm", !refuses_all || limit.algorithm == Algorithm::Gcra,
                r#""gcra", a bucket that only a fresh element fills, with refuse = "all""#),
            ("memory", !refuses_all || has_room, r#""8 KiB" or more, for two tables, with refuse = "all""#),
            ("when_full", !refuses_all || !has_sketch, "\"admit\" or \"refuse\", since a sketch cannot tell a fresh \
                element from a seen one, with refuse = \"all\""),
            // The stated memory of a fan-out is that of its elements; its rate counters get a part of the rest.
            ("memory", distinct.is_some() || !has_sketch || has_room,
                r#"at least "8 KiB" with when_full "sketch": a page for the table, one for the sketch"#),
            ("action", !is_cap || !blocks,
                r#""defer" or "reject" with `in_flight`: to hold much is no offence, and it soon ends by itself"#),
            ("action", !is_common || !rejects,
                r#""defer" with an `in_flight` that many share: the client that finds it full has not filled it"#),
            // A block must not allow a sender to shut out another sender.
            ("action", !blocks || settle_us.is_none(), "\"defer\" or \"reject\" with `settle`: what fans out is a \
                part of a name, and a block of the whole key would refuse its neighbours"),
            ("action", !blocks || claimed.is_none(), &format!("\"defer\" or \"reject\" per {}, which is a mere claim: \
                whoever writes the name could have its owner blocked; \"block\" needs a key of client.*, auth.user or \
                dkim.org{}", joined_name(claimed), if can_be_proven { ", or verified = \"proven\"" } else { "" })),
            ("action", !blocks || !is_guessed, "\"defer\" or \"reject\" per auth.user with reports of \
                \"auth-failure\": whoever guesses at the password of a user could have the user blocked; \"block\" \
                needs a key of client.* alone"),
            ("action", !blocks || per.iter().any(is_sender), &format!("\"defer\" or \"reject\" per {}, which is no \
                sender: a block would shut it to everybody; \"block\" needs a part that is client.*, auth.user, \
                dkim.org or a proven sender", joined_name(per))),
            ("verified", count != Count::Connections || verified == Verified::Any,
                r#""any" with count = "connections": a connection has no sender"#),
            // A limit that no envelope can meet would silently admit everything.
            ("verified", claim.is_none() || verified != Verified::Proven, &format!(
                "\"any\", \"claimed\" or \"unproven\", since {} is never proven",
                if claim == Some(Source::Helo) { "a HELO name" } else { "what a header says" })),
            ("verified", !is_cap || has_sender || verified == Verified::Any,
                "\"any\" with `in_flight` and without an identity of sender.*"),
        ])?;
        if count == Count::Reports { self.required("reports", value::reports).map(drop) } else { Ok(()) }
    }

    /// Checks the keys of a cap. A permit has a fixed size and is taken at MAIL, so its identities must be known by
    /// then and have one value each.
    fn check_permits(&self, limit: &Limit) -> Result<(), PolicyError> {
        let tables = self.tiers();
        let tiers: Vec<_> = tables.iter().map(|tier| self.tier(tier)).zip(limit.tiers()).collect();
        let shared = tiers.iter().map(|(fields, tier)| (fields, &tier.per[..]));
        for (key, per) in iter::once((self, &limit.per[..])).chain(shared) {
            let late = per.iter().find(|identity| identity.stage() > Stage::Mail && !identity.has_many());
            key.allow_identity(late, "with `in_flight`, only what is known at MAIL, where a permit is taken")?;
            let many = per.iter().find(|identity| identity.has_many());
            key.allow_identity(many, "with `in_flight`, only what a message has one of: a permit is of fixed size")?;
        }
        let unshared = |identity: &&Identity| limit.per.contains(identity) || **identity == Identity::Global;
        for (place, (fields, tier)) in tiers.iter().enumerate() {
            let same = tier.per.iter().find(unshared);
            let allowed = "another identity than those of `per`, with many values, because they share what is free";
            fields.allow_identity(same, allowed)?;
            let is_first = tiers[..place].iter().all(|(_, other)| other.per != tier.per);
            fields.allow("per", is_first, "a key that no earlier tier has, since each bounds its own")?;
        }
        let Rule::InFlight { cap, reserve, .. } = limit.rule else { return Ok(()) };
        let is_sized = self.read("in_flight", value::cap)?.is_some_and(|cap| cap.sized);
        let reserve_is_sized = self.read("reserve", value::cap)?.is_some_and(|reserve| reserve.sized);
        self.allow_all(&[
            (
                "reserve",
                reserve == 0 || reserve_is_sized == is_sized,
                &format!("{}, since `in_flight` is one", if is_sized { "a size" } else { "a whole number" }),
            ),
            ("reserve", reserve < cap, "less than `in_flight`, since the rest is what is shared"),
            (
                "first",
                self.get("first").is_none() || limit.count == Count::Bytes,
                "no `first` with an `in_flight` that does not count bytes: a key that holds nothing may take one",
            ),
            ("first", limit.rule.first(limit.count) <= cap, "at most `in_flight`, since no more passes"),
        ])
    }

    /// Checks the burst of the limit or of a quota, which is in `fields`.
    #[rustfmt::skip]
    fn check_burst(&self, limit: &Limit, fields: &Self) -> Result<(), PolicyError> {
        let Some(burst) = fields.read("burst", burst)? else { return Ok(()) };
        let default = if self.get("algorithm").is_some() { "" } else { ", the default per auth.user or global" };
        fields.allow_all(&[
            ("burst", limit.algorithm != Algorithm::SlidingWindow, &format!(
                "no `burst` with algorithm \"sliding-window\"{default}: a window lets its amount through at once")),
            ("burst", !burst.sized || limit.count == Count::Bytes,
                "a whole number, since the limit does not count bytes"),
        ])
    }

    fn quotas(&self, limit: &Limit, sized: bool) -> Result<Vec<Quota>, PolicyError> {
        let Some(field) = self.get("quota") else { return Ok(Vec::new()) };
        let has_values = limit.per.iter().any(|identity| *identity != Identity::Global);
        self.allow("quota", has_values, "no `quota` per global, which has one value")?;
        let quota = |of: &'a Field| {
            let fields = self.quota(of);
            let rate = fields.required("rate", rate)?;
            let unit = if sized { "with" } else { "without" };
            let allowed = format!("a rate {unit} a unit of size, as the limit's own");
            fields.allow("rate", rate.sized == sized, &allowed)?;
            self.check_burst(limit, &fields)?;
            let burst = fields.read("burst", burst)?.map_or(rate.amount, |burst| burst.number);
            let file = self.place.base_of(of);
            Ok(Quota { of: of.name.clone(), line: of.line, file, depth: 0, rate, burst })
        };
        field.value.entries().iter().map(quota).collect()
    }
}

/// Whether the identity tells who sends, in a way that cannot be forged or that `verified` can prove.
fn is_sender(identity: &Identity) -> bool {
    !matches!(identity.source(), Source::Nothing | Source::Rcpt) && !identity.source().is_mere_claim()
}

pub(super) fn text(value: impl ToString) -> FieldValue {
    FieldValue::Text(value.to_string())
}

pub(super) fn unless_default<T: Choice>(value: T, default: T) -> Option<FieldValue> {
    (value != default).then(|| text(value.name()))
}

fn per_field(per: &[Identity]) -> FieldValue {
    if let [one] = per { text(one) } else { FieldValue::List(per.iter().map(text).collect()) }
}

/// Writes one tier as a table, several as a list of them.
fn share_field(share: &[Share]) -> Option<FieldValue> {
    let tier = |Share { per, of_free }: &Share| {
        FieldValue::Table(vec![Field::loose("per", &per_field(per)), Field::loose("of_free", &text(of_free))])
    };
    match share {
        [] => None,
        [one] => Some(tier(one)),
        tiers => Some(FieldValue::List(tiers.iter().map(tier).collect())),
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
