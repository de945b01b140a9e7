//! The table of fields, and the JSON Schema that is made of it for editors.
//!
//! The table is the only list of the fields that a policy may have. `validate` reads a field only if it has a row,
//! messages list the names of the rows, `print` writes the fields in the order of the rows, and the JSON Schema
//! describes every row. So the schema has every field that is read, and no other.
//!
//! The schema says what one field may hold, and which fields are required. It cannot say which values go together: only
//! `validate` knows that. The schema accepts every policy that `validate` accepts.
//!
//! **Dropped.** The crate schemars would derive the schema from structs that serde reads. That would be a second
//! definition: `validate` keeps lines and suggestions for messages, which serde does not have.

use serde_json::{Map, Value, json};

use super::field::Wrong;
use super::model::{Count, MAX_LIMITS, Mode, Policy, Refuse, Verified, reserved};
use super::reply_template::template_pattern;
use super::units::{MAX_AMOUNT, MIN_MEMORY, duration_pattern, fraction_pattern, rate_pattern, size_pattern};
use super::value::{MAX_IDENTITIES, NAME_CHARS, names};
use crate::identity::Identity;
use crate::store::params::{Algorithm, WhenFull};

/// A field that a policy may have.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) rule: OfRule,
    /// What is allowed if the field is missing; empty if the field is optional.
    pub(super) missing: &'static str,
    /// The description for the author of a policy.
    doc: &'static str,
    /// Valid values, as TOML writes them.
    examples: &'static [&'static str],
}

/// The kind of value that a field takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// The name of a limit.
    Name,
    /// A list of names of limits.
    Names,
    /// The name of a built-in policy, or the path of a file.
    Base,
    Scale,
    /// One of a few names.
    Choice(fn() -> Vec<&'static str>),
    Action,
    /// An SMTP reply line with places.
    Reply,
    /// The identity whose elements are counted.
    Distinct,
    /// An identity, or a list of identities.
    Identities,
    Rate,
    Burst,
    Cap,
    Duration,
    Memory,
    Fraction,
    /// A list of public suffixes.
    Suffixes,
    /// A table with these fields; the text says what is allowed instead of another value.
    Table(&'static [Row], &'static str),
    /// A table that has such a table for each of its own values.
    Tables(&'static [Row], &'static str),
    /// The list of limits.
    Limits,
}

/// The rules whose limits may have the field.
#[derive(Clone, Copy, Debug)]
pub(super) enum OfRule {
    Any,
    /// The field needs this other field.
    With(&'static str),
    /// The field cannot be combined with `in_flight`; the text says what is allowed instead.
    WithoutInFlight(&'static str),
}

impl Row {
    const fn required(self, missing: &'static str) -> Self {
        Self { missing, ..self }
    }

    const fn of(self, rule: OfRule) -> Self {
        Self { rule, ..self }
    }
}

const fn row(name: &'static str, kind: Kind, doc: &'static str, examples: &'static [&'static str]) -> Row {
    Row { name, kind, rule: OfRule::Any, missing: "", doc, examples }
}

/// The row of the field `name`.
pub(super) fn find(rows: &'static [Row], name: &str) -> Result<&'static Row, Wrong> {
    let names = || rows.iter().map(|row| row.name).collect::<Vec<_>>();
    rows.iter().find(|row| row.name == name).ok_or_else(|| Wrong::unknown(name, &names()))
}

pub(super) const EACH_LIMIT: &str = "`[[limit]]`, once for each limit";

/// What a limit must have, one way or the other.
pub(super) const ONE_RULE: &str = "one rule: `rate`, `distinct` with `rate`, or `in_flight`";

/// The fields outside the limits.
#[rustfmt::skip]
pub(super) const POLICY: &[Row] = &[
    row("extends", Kind::Base,
        "The policy that this one changes: a built-in one, or a `.toml` file beside this one.",
        &["\"inbound\"", "\"site.toml\""]),
    row("without", Kind::Names, "Limits of the extended policy that are left out.", &["[\"auth-pace\"]"]),
    row("mode", Kind::Choice(names::<Mode>),
        "\"shadow\": decide and count, and let everything pass. Default: \"enforce\".", &["\"shadow\""]),
    row("scale", Kind::Scale, "Multiplies every rate, burst and cap. Default: 1.", &["5", "0.5"]),
    row("suffixes", Kind::Table(SUFFIXES, "a table `[suffixes]` with `extra`"),
        "Public suffixes of your own.", &["{ extra = [\"onmicrosoft.com\"] }"]),
    row("limit", Kind::Limits, "The limits, each under `[[limit]]`.", &[]),
];

/// The fields of `[suffixes]`.
#[rustfmt::skip]
const SUFFIXES: &[Row] = &[
    row("extra", Kind::Suffixes,
        "Names under which anybody can get a name, in addition to those of the Public Suffix List.",
        &["[\"onmicrosoft.com\", \"amazonses.com\"]"]),
];

/// The fields of `[[limit]]`.
#[rustfmt::skip]
pub(super) const LIMIT: &[Row] = &[
    row("name", Kind::Name,
        "Names the limit in refusals; unique in the policy. In a policy that extends another, a limit of the same name \
         changes that limit.", &["\"pair-pace\""])
        .required("a name of lower-case letters, digits and `-`"),
    row("per", Kind::Identities, "The key that is counted: one identity, or several that make one key together.",
        &["\"sender.org\"", "[\"client.net/24/48\", \"sender.org\"]"])
        .required("one identity or a list of them, as \"client.net\""),
    row("rate", Kind::Rate, "How much in which period. With `distinct`: how many new elements.",
        &["\"600/minute\"", "\"20/10 minutes\"", "\"1 GiB/hour\""]).of(OfRule::WithoutInFlight(ONE_RULE)),
    row("burst", Kind::Burst, "How much at once, with \"gcra\" only. Default: the amount of the rate.",
        &["6000", "\"64 MiB\""]).of(OfRule::WithoutInFlight(
        "no `burst` beside `in_flight`: it is no rate, all that it allows may come at once")),
    row("count", Kind::Choice(names::<Count>),
        "What one check counts as. Default: \"messages\"; \"bytes\" if the rate or cap has a unit of size.",
        &["\"recipients\""]),
    row("distinct", Kind::Distinct, "Counts the different values of this identity instead of messages.",
        &["\"sender.host\""]).of(OfRule::WithoutInFlight(ONE_RULE)),
    row("refuse", Kind::Choice(names::<Refuse>),
        "With `distinct`: refuse \"new\" elements only, or \"all\" of the key. Default: \"new\".",
        &["\"all\""]).of(OfRule::With("distinct")),
    row("remember", Kind::Duration, "How long an admitted element stays known. Default: \"1 day\".",
        &["\"7 days\""]).of(OfRule::With("distinct")),
    row("settle", Kind::Duration, "How long a part of a name must be known before it gets its own allowance.",
        &["\"1 hour\""]).of(OfRule::With("distinct")),
    row("in_flight", Kind::Cap, "How much may be open at once: connections, messages or bytes.",
        &["2000", "\"1 GiB\""]),
    row("share", Kind::Table(SHARE, "a table, as { per = \"client.net/24/48\", of_free = \"1/10\" }"),
        "The fraction of what is still free that one key may hold; every key may hold one.",
        &["{ per = \"client.net/24/48\", of_free = \"1/10\" }"]).of(OfRule::With("in_flight")),
    row("verified", Kind::Choice(names::<Verified>),
        "The trust that an identity needs to be counted. Default: \"any\", with separate counters for proven and \
         claimed.", &["\"proven\""]),
    row("when_full", Kind::Choice(names::<WhenFull>),
        "What happens to a key for which the table has no room. Default: \"admit\"; per auth.user or global \
         \"sketch\".",
        &["\"refuse\""]).of(OfRule::WithoutInFlight(
        "no `when_full` beside `in_flight`: its tables are made so that they cannot fill")),
    row("memory", Kind::Memory, "Its part of the memory. Default: by how long one message occupies a slot.",
        &["\"2 MiB\"", "65536"]).of(OfRule::WithoutInFlight(
        "no `memory` beside `in_flight`: its tables are as large as `max_open` needs")),
    row("algorithm", Kind::Choice(names::<Algorithm>),
        "The algorithm of the rate counter. Default: \"gcra\"; per auth.user or global \"sliding-window\".",
        &["\"sliding-window\""]).of(OfRule::WithoutInFlight(
        "no `algorithm` beside `in_flight`: what is open is counted exactly, and in no window")),
    row("action", Kind::Action,
        "What follows a refusal: \"defer\", \"reject\", or \"block\" and a time, if the key is proven. \
         Default: \"defer\".",
        &["\"reject\"", "\"block 10 minutes\""]),
    row("mode", Kind::Choice(names::<Mode>),
        "\"shadow\": decide and count, and let pass. Default: \"enforce\".", &["\"shadow\""]),
    row("quota", Kind::Tables(QUOTA, "a table of values, as quota.\"salesforce.com\" = { rate = \"6000/minute\" }"),
        "Other numbers for a stated value of one identity of `per`.",
        &["{ \"salesforce.com\" = { rate = \"6000/minute\" } }"]).of(OfRule::WithoutInFlight(
        "no `quota` beside `in_flight`: give the value a limit of its own")),
    row("reply", Kind::Reply,
        "The reply to a refusal, with places {key}, {identity}, {limit} and {seconds}. Default: by kind of limit.",
        &["\"450 4.7.1 {key} is too fast; retry in {seconds} s\""]),
];

/// The fields of `share`.
#[rustfmt::skip]
pub(super) const SHARE: &[Row] = &[
    row("per", Kind::Identities, "The key whose share is bounded.", &["\"client.net/24/48\""])
        .required("whose part is bounded, as \"client.net/24/48\""),
    row("of_free", Kind::Fraction, "The fraction of what is still free.", &["\"1/10\""])
        .required("a part of what is still free, as \"1/10\""),
];

/// The fields of one value of `quota`.
#[rustfmt::skip]
pub(super) const QUOTA: &[Row] = &[
    row("rate", Kind::Rate, "Like the limit's own rate.", &["\"6000/minute\""]).required("a rate, as \"6000/minute\""),
    row("burst", Kind::Burst, "How much at once. Default: the amount of this rate.", &["60000"]),
];

impl Policy {
    /// The JSON Schema (draft 7) of a policy file, as text.
    pub fn json_schema() -> String {
        let mut schema = table(POLICY);
        schema.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
        schema.insert("title".into(), json!("A policy of throttle"));
        // A policy that extends another may state any part of a limit; the base has the rest.
        schema.insert("if".into(), json!({ "required": ["extends"] }));
        let complete = json!({ "limit": { "items": complete_limit() } });
        let alone = json!({ "required": ["limit"], "not": { "required": ["without"] }, "properties": complete });
        schema.insert("else".into(), alone);
        format!("{:#}\n", Value::Object(schema))
    }
}

/// What a limit needs if it extends no other.
fn complete_limit() -> Value {
    let nested = LIMIT.iter().filter_map(|row| match row.kind {
        Kind::Table(rows, _) => Some((row.name.to_owned(), json!({ "required": required(rows) }))),
        Kind::Tables(rows, _) => {
            Some((row.name.to_owned(), json!({ "additionalProperties": { "required": required(rows) } })))
        }
        _ => None,
    });
    json!({
        "required": required(LIMIT),
        "anyOf": [{ "required": ["rate"] }, { "required": ["in_flight"] }],
        "properties": nested.collect::<Map<String, Value>>(),
    })
}

fn required(rows: &[Row]) -> Vec<&'static str> {
    rows.iter().filter(|row| !row.missing.is_empty()).map(|row| row.name).collect()
}

/// A table with these fields and no others.
fn table(rows: &[Row]) -> Map<String, Value> {
    let properties: Map<String, Value> = rows.iter().map(|row| (row.name.to_owned(), field(row))).collect();
    let table = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    table.as_object().cloned().unwrap_or_default()
}

fn field(row: &Row) -> Value {
    let mut field = kind(row.kind);
    field["description"] = json!(row.doc);
    let examples: Vec<Value> = row.examples.iter().filter_map(|written| example(written)).collect();
    if !examples.is_empty() {
        field["examples"] = json!(examples);
    }
    field
}

/// Converts a value of TOML to JSON.
fn example(written: &str) -> Option<Value> {
    let mut table: Map<String, Value> = toml::from_str(&format!("value = {written}")).ok()?;
    table.remove("value")
}

fn kind(kind: Kind) -> Value {
    match kind {
        Kind::Name => name(),
        Kind::Names => json!({ "type": "array", "items": name() }),
        Kind::Base => json!({ "type": "string", "minLength": 1 }),
        Kind::Scale => json!({ "type": "number", "minimum": 0.000_000_5, "maximum": 1_000_000 }),
        Kind::Action => {
            json!({ "anyOf": [{ "enum": ["defer", "reject"] }, text(&format!("block {}", duration_pattern()))] })
        }
        Kind::Reply => text(&template_pattern()),
        Kind::Choice(names) => json!({ "enum": names() }),
        Kind::Distinct => identity(),
        Kind::Identities => {
            let items = json!({ "type": "array", "minItems": 1, "maxItems": MAX_IDENTITIES, "uniqueItems": true });
            let mut several = items;
            several["items"] = identity();
            json!({ "anyOf": [identity(), several] })
        }
        Kind::Rate => text(&rate_pattern()),
        Kind::Burst | Kind::Cap => json!({ "anyOf": [integer(1), text(&size_pattern())] }),
        Kind::Duration => text(&duration_pattern()),
        Kind::Memory => json!({ "anyOf": [integer(MIN_MEMORY), text(&size_pattern())] }),
        Kind::Fraction => text(&fraction_pattern()),
        Kind::Suffixes => json!({ "type": "array", "items": text(r"[^\s*!@.]+(?:\.[^\s*!@.]+)*\.?") }),
        Kind::Table(rows, _) => Value::Object(table(rows)),
        Kind::Tables(rows, _) => json!({ "type": "object", "minProperties": 1, "additionalProperties": table(rows) }),
        Kind::Limits => {
            let mut limit = table(LIMIT);
            limit.insert("required".into(), json!(["name"]));
            json!({ "type": "array", "minItems": 1, "maxItems": MAX_LIMITS, "items": limit })
        }
    }
}

/// A text of which all matches.
fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^(?:{pattern})$") })
}

fn name() -> Value {
    let mut name = text(&format!("[a-z0-9-]{{1,{NAME_CHARS}}}"));
    name["not"] = json!({ "enum": reserved::ALL });
    name
}

fn integer(least: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": MAX_AMOUNT })
}

/// The names of the identities, and the patterns of those with parameters.
fn identity() -> Value {
    let plain: Vec<String> = Identity::PLAIN.iter().map(ToString::to_string).collect();
    let patterns = Identity::NAMES.iter().filter(|name| !plain.iter().any(|plain| plain == *name));
    let mut any = vec![json!({ "enum": plain })];
    any.extend(patterns.map(|name| text(&parameters(name))));
    json!({ "anyOf": any })
}

/// The pattern of `client.net/<v4>/<v6>` or `sender.org+N` with every number that is allowed.
fn parameters(name: &str) -> String {
    let escaped = name.replace('.', r"\.").replace('+', r"\+");
    escaped
        .replace("<v4>", "(?:3[0-2]|[12]?[0-9])")
        .replace("<v6>", "(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])")
        .replace('N', "[1-5]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_has_a_pattern() {
        let plain: Vec<String> = Identity::PLAIN.iter().map(ToString::to_string).collect();
        for name in Identity::NAMES.iter().filter(|name| !plain.iter().any(|plain| plain == *name)) {
            let pattern = parameters(name);
            assert!(pattern.contains('[') && !pattern.contains('<'), "{pattern}");
        }
    }

    #[test]
    fn every_example_is_a_value() {
        for row in [POLICY, SUFFIXES, LIMIT, SHARE, QUOTA].into_iter().flatten() {
            assert!(row.examples.iter().all(|written| example(written).is_some()), "{}", row.name);
        }
    }
}
