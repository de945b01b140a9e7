//! The JSON Schema of a policy file, so that editors complete and check it while it is written.
//!
//! Made of the rows of `fields`, the words of `words`, the units of `quantity`: of what the readers themselves read by. (Deriving it with the crate schemars
//! would take a second definition, as structs that serde reads: the readers keep places and words for messages, which serde does not have.)
//! It says what one field may hold, and of the fields together only which have to be there; the rest is `validate`'s, which knows more than a schema can say.
//! Invariant: what the readers take, the schema takes.

use serde_json::{Map, Value, json};

use super::assemble::MAX_LIMITS;
use super::fields::{Kind, Known, LIMIT, POLICY};
use super::limit::Policy;
use super::quantity::{LEAST_MEMORY, MOST, duration_pattern, size_pattern};
use super::unstated;
use super::value::{LONGEST_NAME, MOST_IDENTITIES};
use crate::identity::Identity;
use crate::reply::Template;
use crate::store::params::{Fraction, Rate};

impl Policy {
    /// The schema of a policy file, JSON Schema draft 7, as text.
    pub fn json_schema() -> String {
        let mut schema = table(POLICY, &[]);
        schema.insert("$schema".into(), json!("http://json-schema.org/draft-07/schema#"));
        schema.insert("title".into(), json!("A policy of throttle"));
        // Who extends another policy may say any part of a limit; the rest stands in the other.
        schema.insert("if".into(), json!({ "required": ["extends"] }));
        schema.insert(
            "else".into(),
            json!({
                "required": ["limit"],
                "not": { "required": ["without"] },
                "properties": { "limit": { "items": complete_limit() } },
            }),
        );
        format!("{:#}\n", Value::Object(schema))
    }
}

/// What a limit has to say that stands alone.
fn complete_limit() -> Value {
    let inner = |known: &Known| {
        let needs = match known.kind {
            Kind::Table(_, needed) => json!({ "required": needed }),
            Kind::Tables(_, needed) => json!({ "additionalProperties": { "required": needed } }),
            _ => return None,
        };
        Some((known.name.to_owned(), needs))
    };
    let properties: Map<String, Value> = LIMIT.iter().filter_map(inner).collect();
    json!({
        "required": ["per"],
        "anyOf": [{ "required": ["rate"] }, { "required": ["in_flight"] }],
        "properties": properties,
    })
}

/// A table of these fields and no others.
fn table(fields: &[Known], needed: &[&str]) -> Map<String, Value> {
    let properties: Map<String, Value> = fields.iter().map(|known| (known.name.to_owned(), field(known))).collect();
    let mut table = Map::new();
    table.insert("type".into(), json!("object"));
    table.insert("additionalProperties".into(), json!(false));
    table.insert("properties".into(), Value::Object(properties));
    if !needed.is_empty() {
        table.insert("required".into(), json!(needed));
    }
    table
}

fn field(known: &Known) -> Value {
    let mut field = Map::new();
    field.insert("description".into(), json!(known.says));
    match kind(known.kind) {
        Value::Object(kind) => field.extend(kind),
        other => field.extend([("const".to_owned(), other)]),
    }
    let examples: Vec<Value> = known.examples.iter().filter_map(|written| example(written)).collect();
    if !examples.is_empty() {
        field.insert("examples".into(), json!(examples));
    }
    Value::Object(field)
}

/// A value of TOML as JSON writes it.
fn example(written: &str) -> Option<Value> {
    let mut table: Map<String, Value> = toml::from_str(&format!("value = {written}")).ok()?;
    table.remove("value")
}

fn kind(kind: Kind) -> Value {
    match kind {
        Kind::Name => name(),
        Kind::Names => json!({ "type": "array", "items": name() }),
        Kind::Base => json!({ "type": "string", "minLength": 1 }),
        Kind::Factor => json!({ "type": "number", "minimum": 0.000_000_5, "maximum": 1_000_000 }),
        Kind::Action => {
            json!({ "anyOf": [{ "enum": ["defer", "reject"] }, text(&format!("block {}", duration_pattern()))] })
        }
        Kind::Reply => text(&Template::pattern()),
        Kind::Word(words) => json!({ "enum": words() }),
        Kind::Identity => identity(),
        Kind::Identities => {
            let several = json!({
                "type": "array", "minItems": 1, "maxItems": MOST_IDENTITIES, "uniqueItems": true, "items": identity(),
            });
            json!({ "anyOf": [identity(), several] })
        }
        Kind::Rate => text(&Rate::pattern()),
        Kind::Amount => json!({ "anyOf": [whole(1), text(&size_pattern())] }),
        Kind::Time => text(&duration_pattern()),
        Kind::Memory => json!({ "anyOf": [whole(LEAST_MEMORY), text(&size_pattern())] }),
        Kind::Part => text(&part_pattern()),
        Kind::Suffixes => json!({ "type": "array", "items": text(r"[^\s*!@.]+(?:\.[^\s*!@.]+)*\.?") }),
        Kind::Table(fields, _) => Value::Object(table(fields, &[])),
        Kind::Tables(fields, _) => {
            json!({ "type": "object", "minProperties": 1, "additionalProperties": table(fields, &[]) })
        }
        Kind::Limits => {
            json!({ "type": "array", "minItems": 1, "maxItems": MAX_LIMITS, "items": table(LIMIT, &["name"]) })
        }
    }
}

/// Text all of which matches.
fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^(?:{pattern})$") })
}

fn name() -> Value {
    let mut name = text(&format!("[a-z0-9-]{{1,{LONGEST_NAME}}}"));
    name["not"] = json!({ "enum": unstated::ALL });
    name
}

fn whole(least: u64) -> Value {
    json!({ "type": "integer", "minimum": least, "maximum": MOST })
}

fn part_pattern() -> String {
    // Up to 1000 in digits; that the first is not above the second is beyond a pattern.
    const _: () = assert!(Fraction::MAX_DENOMINATOR == 1000);
    let number = r"\s*0*(?:1000|[1-9][0-9]{0,2})\s*";
    format!("{number}/{number}")
}

/// The names of identities, and of those with parameters their patterns.
fn identity() -> Value {
    let plain: Vec<String> = Identity::PLAIN.iter().map(ToString::to_string).collect();
    let patterns = Identity::NAMES.iter().filter(|name| !plain.iter().any(|plain| plain == *name));
    let any: Vec<Value> =
        [json!({ "enum": plain })].into_iter().chain(patterns.map(|name| text(&parameters(name)))).collect();
    json!({ "anyOf": any })
}

/// `client.net/<v4>/<v6>` and `sender.org+N` with every number that they may have.
fn parameters(name: &str) -> String {
    let escaped = name.replace('.', r"\.").replace('+', r"\+");
    escaped
        .replace("<v4>", "(?:3[0-2]|[12]?[0-9])")
        .replace("<v6>", "(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])")
        .replace('N', "[1-5]")
}

#[cfg(test)]
mod tests {
    use super::super::fields::{QUOTA, SHARE, SUFFIXES};
    use super::*;

    /// A name with parameters whose pattern nobody wrote would be in the schema as it stands.
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
        for known in [POLICY, SUFFIXES, LIMIT, SHARE, QUOTA].into_iter().flatten() {
            assert!(known.examples.iter().all(|written| example(written).is_some()), "{}", known.name);
        }
    }
}
