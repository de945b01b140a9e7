//! The table of fields: the only list of the fields that a policy may have.
//!
//! `limit` reads a field only if it has a row, and writes the fields in the order of the rows. Messages list the names
//! of the rows.
//!
//! Editors use the JSON Schema in `python/throttle/policies/policy.schema.json`, which describes each field, gives
//! examples, and states what one field may hold. It cannot state which values go together: only `limit` knows that.
//! `tests/contract/test_schema.py` checks that it has exactly these fields, and that it accepts every policy that
//! `limit` and `document` accept.
//!
//! **Dropped.** Code that built the schema from this table was longer than the schema, and harder to read. The crate
//! schemars would derive the schema from structs that serde reads. That would be a second definition: `limit` keeps
//! lines and suggestions for messages, which serde does not have.

use super::field::{Read, Wrong};
use super::model::{Count, Mode, Refuse, Verified};
use super::reply_template::{help_url, template};
use super::value::{self, truth, until, words};
use crate::store::params::{Algorithm, Charge, WhenFull};

/// A field that a policy may have.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// The other field that this field needs; empty if it needs none.
    pub(super) needs: &'static str,
    /// The error hint when this field is used together with `in_flight`; empty if that is allowed.
    pub(super) in_flight: &'static str,
    /// The error hint when the field is missing; empty if the field is optional.
    pub(super) missing: &'static str,
}

/// The kind of value that a field takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// A single value: the function that checks it by itself.
    Value(Read<()>),
    /// A table with these fields; the text is the error hint for another value.
    Table(&'static [Row], &'static str),
    /// A table with the fields [`SHARE`], or a list of such tables; the text is the error hint for another value.
    Tiers(&'static str),
    /// A table that has, for each stated value, a table with the fields [`QUOTA`]; the text is the error hint for
    /// another value.
    Quotas(&'static str),
}

/// Makes the row of a field with a single value, which the function `$read` reads; a row may have one more column.
macro_rules! row {
    ($name:literal, $read:expr $(, $column:ident: $text:expr)?) => {
        Row { $($column: $text,)? ..row($name, Kind::Value(|value| $read(value).map(drop))) }
    };
}

const fn row(name: &'static str, kind: Kind) -> Row {
    Row { name, kind, needs: "", in_flight: "", missing: "" }
}

/// The row of the field `name`.
pub(super) fn find(rows: &'static [Row], name: &str) -> Result<&'static Row, Wrong> {
    let names = || rows.iter().map(|row| row.name).collect::<Vec<_>>();
    rows.iter().find(|row| row.name == name).ok_or_else(|| Wrong::unknown(name, &names()))
}

pub(super) const EACH_LIMIT: &str = "`[[limit]]`, once for each limit";

/// The error hint for a limit without a rule.
pub(super) const ONE_RULE: &str = "one rule: `rate`, `distinct` with `rate`, or `in_flight`";

/// The most tiers of a share: each is one more key for each permit.
pub(super) const MOST_TIERS: usize = 4;

const A_SHARE: Kind =
    Kind::Tiers(r#"a table, as { per = "client.net/24/48", of_free = "1/10" }, or a list of one to four of them"#);

const QUOTAS: Kind = Kind::Quotas(r#"a table of values, as quota."salesforce.com" = { rate = "6000/minute" }"#);

/// The fields outside the limits.
pub(super) const POLICY: &[Row] = &[
    // `document` checks these two, since only the base tells which names there are.
    row("extends", Kind::Value(|_| Ok(()))),
    row("without", Kind::Value(|_| Ok(()))),
    row!("mode", value::choice::<Mode>),
    row!("scale", value::scale),
    row!("max_recipients", value::max_recipients),
    row!("largest_message", value::message_size),
    row!("help_url", help_url),
    row!("quota_file", value::csv_path),
    row("suffixes", Kind::Table(SUFFIXES, "a table `[suffixes]` with `extra`")),
    // `entries` checks these two, item by item.
    row("allow", Kind::Value(|_| Ok(()))),
    row("block", Kind::Value(|_| Ok(()))),
    row("limit", Kind::Value(|_| Err(Wrong::allowed(EACH_LIMIT)))),
];

/// The fields of `[suffixes]`.
const SUFFIXES: &[Row] = &[row!("extra", value::suffixes)];

/// The fields of `[[allow]]`.
pub(super) const ALLOW: &[Row] = &[
    row!("identity", value::identity, missing: AN_IDENTITY),
    row!("value", words, missing: A_VALUE),
    row!("until", until),
    row!("unverified", truth),
    row!("comment", words),
];

/// The fields of `[[block]]`.
pub(super) const BLOCK: &[Row] = &[
    row!("identity", value::identity, missing: AN_IDENTITY),
    row!("value", words, missing: A_VALUE),
    row!("until", until),
    row!("comment", words),
];

const AN_IDENTITY: &str = r#"one identity, as "client.net""#;

const A_VALUE: &str = r#"a value of the identity, as "203.0.113.0/24""#;

/// The fields of `[[limit]]`.
#[rustfmt::skip]
pub(super) const LIMIT: &[Row] = &[
    row!("name", value::name, missing: "a name of lower-case letters, digits and `-`"),
    row!("per", value::identities, missing: r#"one identity or a list of them, as "client.net""#),
    row!("rate", value::rate, in_flight: ONE_RULE),
    row!("burst", value::burst,
        in_flight: "no `burst` together with `in_flight`: it is no rate, all that it allows may come at once"),
    row!("count", value::choice::<Count>),
    row!("reports", value::reports, missing: value::REPORTS),
    row!("distinct", value::distinct, in_flight: ONE_RULE),
    row!("refuse", value::choice::<Refuse>, needs: "distinct"),
    row!("new_to", value::identities, needs: "distinct"),
    row!("remember", value::duration, needs: "distinct"),
    row!("settle", value::duration, needs: "distinct"),
    row!("charge", value::choice::<Charge>, needs: "distinct"),
    row!("warm_up", value::duration, needs: "distinct"),
    row!("readmit", value::duration, needs: "distinct"),
    row!("in_flight", value::cap),
    Row { needs: "in_flight", ..row("share", A_SHARE) },
    row!("reserve", value::cap, needs: "share"),
    row!("first", value::message_size, needs: "share"),
    row!("verified", value::choice::<Verified>),
    row!("when_full", value::choice::<WhenFull>,
        in_flight: "no `when_full` together with `in_flight`: its tables are made so that they cannot fill"),
    row!("memory", value::memory,
        in_flight: "no `memory` together with `in_flight`: its tables are as large as `max_open` needs"),
    row!("algorithm", value::choice::<Algorithm>,
        in_flight: "no `algorithm` together with `in_flight`: what is open is counted exactly, and in no window"),
    row!("action", value::action),
    row!("mode", value::choice::<Mode>),
    Row {
        in_flight: "no `quota` together with `in_flight`: give the value a limit of its own",
        ..row("quota", QUOTAS)
    },
    row!("reply", template),
];

/// The fields of a tier of `share`.
pub(super) const SHARE: &[Row] = &[
    row!("per", value::identities, missing: r#"whose part is bounded, as "client.net/24/48""#),
    row!("of_free", value::fraction, missing: r#"a part of what is still free, as "1/10""#),
];

/// The columns of a file of quotas.
pub(super) const QUOTA_COLUMNS: &[Row] =
    &[row!("limit", value::name), row!("value", words), row!("rate", value::rate), row!("burst", value::burst)];

/// The fields of one value of `quota`.
pub(super) const QUOTA: &[Row] =
    &[row!("rate", value::rate, missing: r#"a rate, as "6000/minute""#), row!("burst", value::burst)];
