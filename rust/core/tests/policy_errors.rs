//! Wrong policies, each with all that its error says: what an operator reads is part of the interface.

#[rustfmt::skip]
#[path = "policy_errors/table.rs"]
mod table;

use table::{CAP_CASES, FAN_OUT_CASES, FILE_CASES, IN_FLIGHT_CASES, NAME_CASES, RATE_CASES, SYNTAX, TOP_CASES};
use throttle_core::error::PolicyError;
use throttle_core::policy::{Field, FieldValue, Limit, Policy, memory_bytes};

/// What is written, then line, limit, field, found, allowed and suggestion; a zero or an empty text is none.
type Wrong = (&'static str, usize, &'static str, &'static str, &'static str, &'static str, &'static str);

/// What is written, then line, column, found and allowed.
type Broken = (&'static str, usize, usize, &'static str, &'static str);

/// Limits to begin with: of a name, right in itself, right with `distinct`, and right with `in_flight`.
const NAME: &str = "[[limit]]\nname = \"x\"\n";
const RATE: &str = "[[limit]]\nname = \"x\"\nper = \"client.net\"\nrate = \"9/minute\"\n";
const IN_FLIGHT: &str = "[[limit]]\nname = \"x\"\nper = \"client.net\"\nin_flight = 9\n";
const FAN_OUT: &str =
    "[[limit]]\nname = \"x\"\nper = \"sender.registered\"\ndistinct = \"sender.host\"\nrate = \"9/minute\"\n";

fn stated(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// The row as an error, the sentence included.
fn expected(&(_, line, limit, field, found, allowed, suggestion): &Wrong) -> PolicyError {
    PolicyError {
        file: "policy.toml".into(),
        line: (line > 0).then_some(line),
        column: None,
        limit: stated(limit),
        field: stated(field),
        found: found.into(),
        allowed: allowed.into(),
        suggestion: stated(suggestion),
    }
}

fn check(rows: &[Wrong], text: impl Fn(&str) -> String) {
    for row in rows {
        let text = text(row.0);
        assert_eq!(Policy::parse("policy.toml", &text), Err(expected(row)), "in:\n{text}");
    }
}

/// Every wrong file of the table.
fn files() -> Vec<String> {
    let rest = [
        (TOP_CASES, "", format!("\n{RATE}")),
        (NAME_CASES, NAME, "\n".to_owned()),
        (RATE_CASES, RATE, "\n".to_owned()),
        (FAN_OUT_CASES, FAN_OUT, "\n".to_owned()),
        (IN_FLIGHT_CASES, IN_FLIGHT, "\n".to_owned()),
        (CAP_CASES, NAME, "\n".to_owned()),
    ];
    let whole = FILE_CASES.iter().map(|row| row.0.to_owned());
    let parts =
        rest.iter().flat_map(|(rows, above, below)| rows.iter().map(move |row| format!("{above}{}{below}", row.0)));
    whole.chain(parts).collect()
}

/// The JSON Schema is checked against the same files, by a validator that is Python's: `tests/contract/test_schema.py`.
///
/// `WRITE=1 cargo test -p throttle-core --test policy_errors` writes them anew.
#[test]
fn the_wrong_files_are_written_down_for_the_schema() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/policy_errors/files.json");
    let text = format!("{:#}\n", serde_json::json!(files()));
    if std::env::var_os("WRITE").is_some() {
        std::fs::write(path, &text).expect("a file that can be written");
    }
    assert!(std::fs::read_to_string(path).is_ok_and(|written| written == text), "{path} is old: see above");
    assert!(files().len() >= 190, "{}", files().len());
}

#[test]
fn text_that_is_not_toml_is_placed_to_the_column() {
    for &(text, line, column, found, allowed) in SYNTAX {
        let error = PolicyError {
            file: "policy.toml".into(),
            line: Some(line),
            column: Some(column),
            found: found.into(),
            allowed: allowed.into(),
            ..PolicyError::default()
        };
        assert_eq!(Policy::parse("policy.toml", text), Err(error), "in:\n{text}");
    }
}

#[test]
fn a_wrong_file_is_told() {
    check(FILE_CASES, str::to_owned);
}

#[test]
fn a_wrong_line_above_the_limits_is_told() {
    check(TOP_CASES, |rest| format!("{rest}\n{RATE}"));
}

#[test]
fn a_wrong_per_or_rate_is_told() {
    check(NAME_CASES, |rest| format!("{NAME}{rest}\n"));
}

#[test]
fn a_wrong_field_beside_a_rate_is_told() {
    check(RATE_CASES, |rest| format!("{RATE}{rest}\n"));
}

#[test]
fn a_wrong_field_beside_distinct_is_told() {
    check(FAN_OUT_CASES, |rest| format!("{FAN_OUT}{rest}\n"));
}

#[test]
fn a_wrong_cap_or_a_wrong_field_beside_it_is_told() {
    check(IN_FLIGHT_CASES, |rest| format!("{IN_FLIGHT}{rest}\n"));
    check(CAP_CASES, |rest| format!("{NAME}{rest}\n"));
}

#[test]
fn the_limits_to_begin_with_are_right() {
    for text in [RATE, FAN_OUT, IN_FLIGHT] {
        assert_eq!(Policy::parse("policy.toml", text).map(|policy| policy.limits.len()), Ok(1));
    }
}

/// Found by fuzzing: a quoted key may hold a line end, and be as long as the file.
#[test]
fn whatever_a_key_holds_its_error_is_one_short_line() {
    let sentence =
        |key: &str| Policy::parse("policy.toml", &format!("{key} = 1\n{RATE}")).map_err(|error| error.to_string());
    let told = |key: &str| {
        Err(format!(
            "policy.toml:1: {key}: found an unknown field; allowed: extends, without, mode, scale, max_recipients, \
             largest_message, help_url, quota_file, suffixes, allow, block, limit"
        ))
    };
    assert_eq!(sentence(r#""a\nb\u2028\u0007""#), told(r"a\nb\u{2028}\u{7}"));
    assert_eq!(sentence(&"z".repeat(5_000)), told(&format!("{}…", "z".repeat(80))));
    let inside = format!("{RATE}quota.\"a\\nb\" = {{ \"c\\n\" = 1 }}\n");
    let error = Policy::parse("policy.toml", &inside).expect_err("a quota has no such field");
    assert_eq!(error.field.as_deref(), Some("quota.\"a\\nb\".c\n"), "whole, for programs");
    let sentence = r#"policy.toml:5: limit "x", quota."a\nb".c\n: found an unknown field; allowed: rate, burst"#;
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn more_limits_than_the_most_are_refused_where_they_begin() {
    let limits = |count: usize| (0..count).map(|n| RATE.replace("\"x\"", &format!("\"x{n}\""))).collect::<String>();
    assert_eq!(Policy::parse("policy.toml", &limits(64)).map(|policy| policy.limits.len()), Ok(64));
    let error = Policy::parse("policy.toml", &limits(65)).expect_err("65 limits");
    let sentence = "policy.toml:257: limit \"x64\": found a limit after the first 64; allowed: at most 64 limits";
    assert_eq!(error.to_string(), sentence);
}

#[test]
fn an_error_reads_as_a_sentence() {
    let sentences = [
        (
            format!("{NAME}per = \"client.net\"\nrate = \"600 a minute\""),
            "policy.toml:4: limit \"x\", rate: found \"600 a minute\"; allowed: a whole number, a slash and a period, \
             as \"600/minute\", \"20/10 minutes\" or \"1 GiB/hour\"; did you mean \"600/minute\"?",
        ),
        (
            "[[limit]]\nper = \"client.net\"".to_owned(),
            "policy.toml:1: limit 1, name: found nothing; allowed: a name of lower-case letters, digits and `-`",
        ),
        ("scale = 0".to_owned(), "policy.toml:1: scale: found 0; allowed: a number from 0.000001 to 1,000,000"),
        ("[[limit]".to_owned(), "policy.toml:1:9: found broken TOML (unclosed array table); allowed: here `]`"),
    ];
    for (text, sentence) in sentences {
        let error = Policy::parse("policy.toml", &text).expect_err(&text);
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn columns_count_characters_and_lines_end_with_crlf_too() {
    let error = Policy::parse("policy.toml", "scale = 1\r\n# ä\r\n\"ä\" = ]").expect_err("a stray bracket");
    assert_eq!((error.line, error.column), (Some(3), Some(7)));
}

/// `[("name", "x"), …]` as Python's keyword arguments bring it.
fn fields(fields: &[(&str, FieldValue)]) -> Vec<(String, FieldValue)> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn text(text: &str) -> FieldValue {
    FieldValue::Text(text.to_owned())
}

#[test]
fn fields_from_python_are_told_the_same_without_a_line() {
    let of_python = |field: &str, value: &FieldValue| {
        let given = [("name", text("x")), ("per", text("client.net")), ("rate", text("9/minute"))];
        let mut given = fields(&given);
        given.retain(|(name, _)| name != field);
        given.push((field.to_owned(), value.clone()));
        Limit::from_fields(&given).expect_err(field)
    };
    let wrong = [
        ("rate", text("600 a minute")),
        ("per", FieldValue::List(vec![text("client.net"), text("sendr.org")])),
        ("burst", FieldValue::Integer(0)),
        ("brust", FieldValue::Integer(1)),
        ("memory", FieldValue::Float(2.5)),
        ("in_flight", FieldValue::Integer(2000)),
        ("share", FieldValue::Table(vec![Field::loose("per", &text("client.ip"))])),
    ];
    for (field, value) in wrong {
        let base: String =
            RATE.lines().filter(|line| !line.starts_with(field)).map(|line| format!("{line}\n")).collect();
        let of_toml = Policy::parse("<policy>", &format!("{base}{field} = {value}\n")).expect_err(field);
        assert_eq!(of_python(field, &value), PolicyError { line: None, ..of_toml });
    }
}

#[test]
fn a_policy_from_python_is_told_without_a_line() {
    let limit = |name: &str| {
        let given = [("name", text(name)), ("per", text("client.net")), ("rate", text("9/minute"))];
        Limit::from_fields(&fields(&given)).expect("a right limit")
    };
    let told = |limits, given: &[(String, FieldValue)]| {
        Policy::from_fields(limits, given).expect_err("a wrong policy").to_string()
    };
    assert_eq!(
        told(vec![limit("x"), limit("x")], &[]),
        "<policy>: limit \"x\", name: found \"x\" a second time; allowed: every name once",
    );
    let of_file = || Policy::parse("policy.toml", RATE).expect("a right policy").limits;
    assert_eq!(
        told([of_file(), of_file()].concat(), &[]),
        "<policy>: limit \"x\", name: found \"x\" a second time; allowed: every name once",
    );
    assert_eq!(
        told(vec![limit("x")], &fields(&[("scale", FieldValue::Integer(0))])),
        "<policy>: scale: found 0; allowed: a number from 0.000001 to 1,000,000",
    );
    assert_eq!(
        told(vec![limit("x")], &fields(&[("suffixes", FieldValue::List(vec![text("*.a.com")]))])),
        "<policy>: suffixes: found \"*.a.com\"; allowed: a plain suffix, as \"onmicrosoft.com\"; \
         did you mean \"a.com\"?",
    );
    assert_eq!(
        told(vec![limit("x")], &fields(&[("scal", FieldValue::Integer(1))])),
        "<policy>: scal: found an unknown field; allowed: limits, mode, scale, suffixes, max_recipients, \
         largest_message, help_url; did you mean \"scale\"?",
    );
    assert_eq!(told(Vec::new(), &[]), "<policy>: found no limit; allowed: 1 to 64 of them, each under `[[limit]]`");
}

#[test]
fn a_rate_and_a_memory_by_themselves_are_told_too() {
    let rate = "60".parse::<throttle_core::policy::Rate>().expect_err("no period").to_string();
    assert!(rate.starts_with("rate: found \"60\"; allowed: a whole number, a slash"), "{rate}");
    let memory = memory_bytes(&text("16 mb")).expect_err("no unit").to_string();
    assert!(memory.ends_with("as \"64 MiB\"; did you mean \"16 MB\"?"), "{memory}");
    assert_eq!(memory_bytes(&text("16 MiB")), Ok(16 << 20));
    assert_eq!(memory_bytes(&FieldValue::Integer(65_536)), Ok(65_536));
}
