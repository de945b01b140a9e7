//! The table of fields, and the JSON Schema that is made of it for editors.
//!
//! The table is the only list of the fields that a policy may have. `limit` reads a field only if it has a row, and
//! writes the fields in the order of the rows. Messages list the names of the rows, and the JSON Schema describes every
//! row. So the schema has every field that is read, and no other.
//!
//! The schema says what one field may hold, and which fields are required. It cannot say which values go together: only
//! `limit` knows that. The schema accepts every policy that `limit` and `document` accept.
//!
//! **Dropped.** The crate schemars would derive the schema from structs that serde reads. That would be a second
//! definition: `limit` keeps lines and suggestions for messages, which serde does not have.

use serde_json::{Map, Value, json};

use super::field::{Read, Wrong};
use super::model::{Choice, Count, MAX_LIMITS, Mode, Policy, Refuse, Verified, reserved};
use super::reply_template::{template, template_pattern};
use super::value::{self, MAX_AMOUNT, MAX_IDENTITIES, MIN_MEMORY, NAME_CHARS, duration_pattern, size_pattern};
use crate::{identity::Identity, store::params::Algorithm, store::params::WhenFull};

/// A field that a policy may have.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The other field that this one needs; empty if it needs none.
    pub(super) beside: &'static str,
    /// What is allowed instead of the field beside `in_flight`; empty if the field is allowed there.
    pub(super) in_flight: &'static str,
    /// What is allowed if the field is missing; empty if the field is optional.
    pub(super) missing: &'static str,
    /// Valid values with commas between them, as TOML writes them.
    examples: &'static str,
    /// The description for the author of a policy.
    doc: &'static str,
}

/// The kind of value that a field takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A single value: the function that checks it by itself, and its JSON Schema.
    Value(Read<()>, fn() -> Value),
    /// A table with these fields; the text says what is allowed instead of another value.
    Table(&'static [Row], &'static str),
    /// A table that has such a table for each of its own values.
    Tables(&'static [Row], &'static str),
}

const NAME: Kind = Kind::Value(|value| value::name(value).map(drop), name);
const IDENTITIES: Kind = Kind::Value(|value| value::identities(value).map(drop), identities);
const DISTINCT: Kind = Kind::Value(|value| value::distinct(value).map(drop), identity);
const RATE: Kind = Kind::Value(|value| value::rate(value).map(drop), || text(&value::rate_pattern()));
const BURST: Kind = Kind::Value(|value| value::burst(value).map(drop), || amount(1));
const CAP: Kind = Kind::Value(|value| value::cap(value).map(drop), || amount(1));
const MEMORY: Kind = Kind::Value(|value| value::memory(value).map(drop), || amount(MIN_MEMORY));
const DURATION: Kind = Kind::Value(|value| value::duration(value).map(drop), || text(&duration_pattern()));
const FRACTION: Kind = Kind::Value(|value| value::fraction(value).map(drop), || text(&value::fraction_pattern()));
const ACTION: Kind = Kind::Value(|value| value::action(value).map(drop), action);
const REPLY: Kind = Kind::Value(|value| template(value).map(drop), || text(&template_pattern()));
const SCALE: Kind = Kind::Value(|value| value::scale(value).map(drop), scale);
const EXTRA: Kind = Kind::Value(|value| value::suffixes(value).map(drop), suffixes);
const LIMITS: Kind = Kind::Value(|_| Err(Wrong::allowed(EACH_LIMIT)), limits);

// `document` checks these two, since only the base tells which names there are.
const BASE: Kind = Kind::Value(|_| Ok(()), || json!({ "type": "string", "minLength": 1 }));
const NAMES: Kind = Kind::Value(|_| Ok(()), || json!({ "type": "array", "items": name() }));

/// One of the names of a choice.
const fn choice<T: Choice>() -> Kind {
    Kind::Value(|value| value::choice::<T>(value).map(drop), || json!({ "enum": value::names::<T>() }))
}

const fn row(name: &'static str, kind: Kind, examples: &'static str, doc: &'static str) -> Row {
    Row { name, kind, beside: "", in_flight: "", missing: "", examples, doc }
}

impl Row {
    const fn required(self, missing: &'static str) -> Self {
        Self { missing, ..self }
    }

    const fn beside(self, beside: &'static str) -> Self {
        Self { beside, ..self }
    }

    const fn not_in_flight(self, in_flight: &'static str) -> Self {
        Self { in_flight, ..self }
    }
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
    row("extends", BASE, r#""inbound", "site.toml""#,
        "The policy that this one changes: a built-in one, or a `.toml` file beside this one."),
    row("without", NAMES, r#"["auth-pace"]"#, "Limits of the extended policy that are left out."),
    row("mode", choice::<Mode>(), r#""shadow""#,
        r#""shadow": decide and count, and let everything pass. Default: "enforce"."#),
    row("scale", SCALE, "5, 0.5", "Multiplies every rate, burst and cap. Default: 1."),
    row("suffixes", Kind::Table(SUFFIXES, "a table `[suffixes]` with `extra`"), r#"{ extra = ["onmicrosoft.com"] }"#,
        "Public suffixes of your own."),
    row("limit", LIMITS, "", "The limits, each under `[[limit]]`."),
];

/// The fields of `[suffixes]`.
#[rustfmt::skip]
const SUFFIXES: &[Row] = &[
    row("extra", EXTRA, r#"["onmicrosoft.com", "amazonses.com"]"#,
        "Names under which anybody can get a name, in addition to those of the Public Suffix List."),
];

/// The fields of `[[limit]]`.
#[rustfmt::skip]
pub(super) const LIMIT: &[Row] = &[
    row("name", NAME, r#""pair-pace""#, "Names the limit in refusals; unique in the policy. In a policy that extends \
        another, a limit of the same name changes that limit.")
        .required("a name of lower-case letters, digits and `-`"),
    row("per", IDENTITIES, r#""sender.org", ["client.net/24/48", "sender.org"]"#,
        "The key that is counted: one identity, or several that make one key together.")
        .required(r#"one identity or a list of them, as "client.net""#),
    row("rate", RATE, r#""600/minute", "20/10 minutes", "1 GiB/hour""#,
        "How much in which period. With `distinct`: how many new elements.").not_in_flight(ONE_RULE),
    row("burst", BURST, r#"6000, "64 MiB""#,
        r#"How much at once, with "gcra" only. Default: the amount of the rate."#)
        .not_in_flight("no `burst` beside `in_flight`: it is no rate, all that it allows may come at once"),
    row("count", choice::<Count>(), r#""recipients""#,
        r#"What one check counts as. Default: "messages"; "bytes" if the rate or cap has a unit of size."#),
    row("distinct", DISTINCT, r#""sender.host""#, "Counts the different values of this identity instead of messages.")
        .not_in_flight(ONE_RULE),
    row("refuse", choice::<Refuse>(), r#""all""#,
        r#"With `distinct`: refuse "new" elements only, or "all" of the key. Default: "new"."#).beside("distinct"),
    row("remember", DURATION, r#""7 days""#, r#"How long an admitted element stays known. Default: "1 day"."#)
        .beside("distinct"),
    row("settle", DURATION, r#""1 hour""#, "How long a part of a name must be known before it gets its own allowance.")
        .beside("distinct"),
    row("in_flight", CAP, r#"2000, "1 GiB""#, "How much may be open at once: connections, messages or bytes."),
    row("share", Kind::Table(SHARE, r#"a table, as { per = "client.net/24/48", of_free = "1/10" }"#),
        r#"{ per = "client.net/24/48", of_free = "1/10" }"#,
        "The fraction of what is still free that one key may hold; every key may hold one.").beside("in_flight"),
    row("verified", choice::<Verified>(), r#""proven""#, "The trust that an identity needs to be counted. \
        Default: \"any\", with separate counters for proven and claimed."),
    row("when_full", choice::<WhenFull>(), r#""refuse""#,
        r#"What happens to a key for which the table has no room. Default: "admit"; per auth.user or global "sketch"."#)
        .not_in_flight("no `when_full` beside `in_flight`: its tables are made so that they cannot fill"),
    row("memory", MEMORY, r#""2 MiB", 65536"#,
        "Its part of the memory. Default: by how long one message occupies a slot.")
        .not_in_flight("no `memory` beside `in_flight`: its tables are as large as `max_open` needs"),
    row("algorithm", choice::<Algorithm>(), r#""sliding-window""#,
        r#"The algorithm of the rate counter. Default: "gcra"; per auth.user or global "sliding-window"."#)
        .not_in_flight("no `algorithm` beside `in_flight`: what is open is counted exactly, and in no window"),
    row("action", ACTION, r#""reject", "block 10 minutes""#,
        r#"What follows a refusal: "defer", "reject", or "block" and a time, if the key is proven. Default: "defer"."#),
    row("mode", choice::<Mode>(), r#""shadow""#, r#""shadow": decide and count, and let pass. Default: "enforce"."#),
    row("quota", Kind::Tables(QUOTA, r#"a table of values, as quota."salesforce.com" = { rate = "6000/minute" }"#),
        r#"{ "salesforce.com" = { rate = "6000/minute" } }"#,
        "Other numbers for a stated value of one identity of `per`.")
        .not_in_flight("no `quota` beside `in_flight`: give the value a limit of its own"),
    row("reply", REPLY, r#""450 4.7.1 {key} is too fast; retry in {seconds} s""#,
        "The reply to a refusal, with places {key}, {identity}, {limit} and {seconds}. Default: by kind of limit."),
];

/// The fields of `share`.
#[rustfmt::skip]
pub(super) const SHARE: &[Row] = &[
    row("per", IDENTITIES, r#""client.net/24/48""#, "The key whose share is bounded.")
        .required(r#"whose part is bounded, as "client.net/24/48""#),
    row("of_free", FRACTION, r#""1/10""#, "The fraction of what is still free.")
        .required(r#"a part of what is still free, as "1/10""#),
];

/// The fields of one value of `quota`.
#[rustfmt::skip]
pub(super) const QUOTA: &[Row] = &[
    row("rate", RATE, r#""6000/minute""#, "Like the limit's own rate.").required(r#"a rate, as "6000/minute""#),
    row("burst", BURST, "60000", "How much at once. Default: the amount of this rate."),
];

impl Policy {
    /// The JSON Schema (draft 7) of a policy file, as text.
    pub fn json_schema() -> String {
        let mut schema = table(POLICY);
        schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
        schema["title"] = json!("A policy of throttle");
        // A policy that extends another may state any part of a limit; the base has the rest.
        schema["if"] = json!({ "required": ["extends"] });
        let (share, quota) = (json!({ "required": required(SHARE) }), json!({ "required": required(QUOTA) }));
        let limit = json!({
            "required": required(LIMIT),
            "anyOf": [{ "required": ["rate"] }, { "required": ["in_flight"] }],
            "properties": { "share": share, "quota": { "additionalProperties": quota } },
        });
        let complete = json!({ "limit": { "items": limit } });
        schema["else"] = json!({ "required": ["limit"], "not": { "required": ["without"] }, "properties": complete });
        format!("{schema:#}\n")
    }
}

fn required(rows: &[Row]) -> Vec<&'static str> {
    rows.iter().filter(|row| !row.missing.is_empty()).map(|row| row.name).collect()
}

/// A table with these fields and no others.
fn table(rows: &[Row]) -> Value {
    let properties: Map<_, _> = rows.iter().map(|row| (row.name.to_owned(), field(row))).collect();
    json!({ "type": "object", "additionalProperties": false, "properties": properties })
}

fn field(row: &Row) -> Value {
    let mut field = match row.kind {
        Kind::Value(_, schema) => schema(),
        Kind::Table(rows, _) => table(rows),
        Kind::Tables(rows, _) => json!({ "type": "object", "minProperties": 1, "additionalProperties": table(rows) }),
    };
    field["description"] = json!(row.doc);
    // A wrong example becomes `null`, which a test finds.
    let examples = toml::from_str(&format!("examples = [{}]", row.examples)).unwrap_or(Value::Null);
    if !row.examples.is_empty() {
        field["examples"] = examples["examples"].clone();
    }
    field
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

/// A whole number or a size.
fn amount(least: u64) -> Value {
    json!({ "anyOf": [{ "type": "integer", "minimum": least, "maximum": MAX_AMOUNT }, text(&size_pattern())] })
}

fn action() -> Value {
    json!({ "anyOf": [{ "enum": ["defer", "reject"] }, text(&format!("block {}", duration_pattern()))] })
}

fn scale() -> Value {
    json!({ "type": "number", "minimum": 0.000_000_5, "maximum": 1_000_000 })
}

fn suffixes() -> Value {
    json!({ "type": "array", "items": text(r"[^\s*!@.]+(?:\.[^\s*!@.]+)*\.?") })
}

fn limits() -> Value {
    let mut limit = table(LIMIT);
    limit["required"] = json!(["name"]);
    json!({ "type": "array", "minItems": 1, "maxItems": MAX_LIMITS, "items": limit })
}

fn identities() -> Value {
    let mut several = json!({ "type": "array", "minItems": 1, "maxItems": MAX_IDENTITIES, "uniqueItems": true });
    several["items"] = identity();
    json!({ "anyOf": [identity(), several] })
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
    let (v4, v6) = ("(?:3[0-2]|[12]?[0-9])", "(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])");
    let patterns = [(".", r"\."), ("+", r"\+"), ("<v4>", v4), ("<v6>", v6), ("N", "[1-5]")];
    patterns.into_iter().fold(name.to_owned(), |pattern, (from, to)| pattern.replace(from, to))
}
