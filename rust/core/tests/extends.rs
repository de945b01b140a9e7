//! A policy that extends another: what comes of the two, and whose fault is told.

#[rustfmt::skip]
#[path = "policy_errors/extends.rs"]
mod table;

use std::collections::HashMap;

use table::CASES;
use throttle_core::error::PolicyError;
use throttle_core::policy::{Base, FieldValue, Mode, NoBase, Policy, Source};

/// What is written in `policy.toml`, then file, line, limit, field, found, allowed and suggestion;
/// a zero or an empty text is none.
type Wrong = (&'static str, &'static str, usize, &'static str, &'static str, &'static str, &'static str, &'static str);

const BASE: &str = r#"scale = 2
[suffixes]
extra = ["a.com"]
[[limit]]
name = "pair"
per = ["client.net/24/48", "sender.org"]
rate = "600/minute"
burst = 6000
[limit.quota]
"ex.com" = { rate = "60/minute", burst = 70 }
"Ey.com" = { rate = "60/minute" }
[[limit]]
name = "open"
per = "global"
in_flight = 2000
share = { per = "client.net/24/48", of_free = "1/10" }
[[limit]]
name = "hosts"
per = "sender.registered"
distinct = "sender.host"
rate = "200/10 minutes"
"#;

/// Files next to `policy.toml`, and built-in policies.
fn read(files: &HashMap<&str, String>, base: Base<'_>) -> Result<Source, NoBase> {
    let (file, name) = match base {
        Base::BuiltIn(name) => (format!("built-in {name}.toml"), name),
        Base::File { path, .. } | Base::Quotas { path, .. } => (path.to_owned(), path),
    };
    match (files.get(name), base) {
        (Some(text), _) => Ok(Source { file, text: text.clone() }),
        (None, Base::BuiltIn(_)) => Err(NoBase::Unknown(vec!["base".into(), "submission".into()])),
        (None, Base::File { .. } | Base::Quotas { .. }) => Err(NoBase::Unreadable("No such file or directory".into())),
    }
}

fn parse(text: &str) -> Result<Policy, PolicyError> {
    let mut files = HashMap::from([("base", BASE.to_owned()), ("policy.toml", text.to_owned())]);
    files.insert("wrong.toml", "[[limit]]\nname = \"x\"\nper = \"client.net\"\nrate = \"0/minute\"\n".into());
    files.insert("big.toml", "[[limit]]\nname = \"x\"\nper = \"client.net\"\nrate = \"2000000000000/minute\"\n".into());
    files.insert("broken.toml", "scale = 1\n[[limit".into());
    files.insert("circle.toml", "\nextends = \"round.toml\"\n".into());
    files.insert("round.toml", "extends = \"circle.toml\"\n".into());
    files.insert("own.toml", "extends = \"policy.toml\"\n".into());
    files.insert("unclear.toml", "extends = \"base\"\n[[limit]]\nname = \"pair\"\nburst = 0\n".into());
    for n in 1..9 {
        let below = if n == 8 { "base".to_owned() } else { format!("deep{}.toml", n + 1) };
        let name: &'static str = Box::leak(format!("deep{n}.toml").into_boxed_str());
        files.insert(name, format!("extends = \"{below}\"\n"));
    }
    Policy::parse_with("policy.toml", text, &mut |base| read(&files, base))
}

fn right(text: &str) -> Policy {
    parse(text).unwrap_or_else(|error| panic!("{error}\nin:\n{text}"))
}

/// Of the limit `name`, a field of it as TOML writes it; empty when it is not said.
fn field(policy: &Policy, name: &str, field: &str) -> String {
    let limit = policy.limits.iter().find(|limit| limit.name == name).expect("a limit of this name");
    let value = limit.to_fields().into_iter().find(|(known, _)| *known == field);
    value.map(|(_, value): (_, FieldValue)| value.to_string()).unwrap_or_default()
}

fn names(policy: &Policy) -> Vec<&str> {
    policy.limits.iter().map(|limit| &*limit.name).collect()
}

#[test]
fn a_file_that_only_extends_is_its_base() {
    let policy = right("extends = \"base\"");
    assert_eq!(policy.to_toml(), Policy::parse("base.toml", BASE).expect("a right policy").to_toml());
    assert_eq!((&*policy.file, policy.scale_millionths), ("policy.toml", 2_000_000));
    assert_eq!(policy.extra_suffixes, ["a.com"]);
}

#[test]
fn a_field_that_is_written_changes_and_the_rest_stays() {
    let policy = right("extends = \"base\"\n[[limit]]\nname = \"pair\"\nrate = \"100/minute\"\n");
    assert_eq!(names(&policy), ["pair", "open", "hosts"]);
    assert_eq!(field(&policy, "pair", "rate"), "\"200/minute\"");
    // A burst that the base states stays, too, and is scaled like everything.
    assert_eq!(field(&policy, "pair", "burst"), "12000");
    assert_eq!(field(&policy, "pair", "per"), "[\"client.net/24/48\", \"sender.org\"]");
    assert_eq!(field(&policy, "hosts", "rate"), "\"400/10 minutes\"");
}

#[test]
fn a_burst_that_the_base_does_not_state_follows_the_rate() {
    let policy = right("extends = \"base\"\nscale = 1\n[[limit]]\nname = \"hosts\"\nrate = \"50/minute\"\n");
    let hosts = policy.limits.iter().find(|limit| limit.name == "hosts").expect("a limit of this name");
    assert_eq!(hosts.rule.rate_and_burst().map(|(rate, burst)| (rate.amount, burst)), Some((50, 50)));
}

#[test]
fn quotas_and_shares_are_gone_into() {
    let policy = right(
        "extends = \"base\"\nscale = 1\n[[limit]]\nname = \"pair\"\n[limit.quota]\n\
         \"EX.com\" = { rate = \"9/minute\" }\n\
         \"new.com\" = { rate = \"8/minute\" }\n[[limit]]\nname = \"open\"\nshare = { of_free = \"1/5\" }\n",
    );
    assert_eq!(
        field(&policy, "pair", "quota"),
        "{ \"EX.com\" = { rate = \"9/minute\", burst = 70 }, \"Ey.com\" = { rate = \"60/minute\" }, \
         \"new.com\" = { rate = \"8/minute\" } }"
    );
    assert_eq!(field(&policy, "open", "share"), "{ per = \"client.net/24/48\", of_free = \"1/5\" }");
}

#[test]
fn new_limits_come_last_and_some_are_left_out() {
    let policy = right(
        "extends = \"base\"\nwithout = [\"open\", \"pair\"]\n[[limit]]\n\
         name = \"more\"\nper = \"client.ip\"\nrate = \"5/minute\"\n\
         [[limit]]\nname = \"pair\"\nper = \"client.ip\"\nrate = \"7/minute\"\nalgorithm = \"sliding-window\"\n",
    );
    assert_eq!(names(&policy), ["hosts", "more", "pair"]);
    // Left out and written anew: nothing of the old one is in it.
    assert_eq!((field(&policy, "pair", "burst"), field(&policy, "pair", "quota")), (String::new(), String::new()));
}

/// The names of the fields outside the limits are free for limits.
#[test]
fn a_limit_called_like_a_field_of_the_policy_is_inherited_too() {
    let named = |name: &str| format!("[[limit]]\nname = \"{name}\"\nper = \"client.ip\"\nrate = \"5/minute\"\n");
    let base: String = ["without", "extends", "suffixes", "limit"].map(named).concat();
    let policy = Policy::parse_with("policy.toml", "extends = \"base\"", &mut |_| {
        Ok(Source { file: "base.toml".into(), text: base.clone() })
    });
    assert_eq!(policy.as_ref().map(names), Ok(vec!["without", "extends", "suffixes", "limit"]));
}

#[test]
fn what_stands_outside_the_limits_is_replaced_where_it_is_written() {
    let policy = right("extends = \"base\"\nscale = 0.5\nmode = \"shadow\"\nsuffixes.extra = [\"b.com\"]\n");
    assert_eq!((policy.scale_millionths, policy.mode), (500_000, Mode::Shadow));
    assert_eq!(policy.extra_suffixes, ["b.com"]);
    assert_eq!(field(&policy, "open", "in_flight"), "1000");
    let text = policy.to_toml();
    assert!(text.contains("mode = \"shadow\"\n") && !text.contains("extends"), "{text}");
    assert_eq!(Policy::parse("again.toml", &text).map(|again| again.to_toml()), {
        let unscaled = Policy { scale_millionths: 1_000_000, ..policy };
        Ok(unscaled.to_toml())
    });
}

#[test]
fn eight_files_may_extend_one_another() {
    let policy = right("extends = \"deep3.toml\"\n[[limit]]\nname = \"pair\"\nrate = \"1/minute\"\n");
    assert_eq!(field(&policy, "pair", "rate"), "\"2/minute\"");
}

#[test]
fn whoever_is_wrong_is_told_with_the_file_and_the_line() {
    for &(text, file, line, limit, field, found, allowed, suggestion) in CASES {
        let stated = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let error = PolicyError {
            file: file.into(),
            line: (line > 0).then_some(line),
            column: None,
            limit: stated(limit),
            field: stated(field),
            found: found.into(),
            allowed: allowed.into(),
            suggestion: stated(suggestion),
        };
        assert_eq!(parse(text).map(|policy| policy.to_toml()), Err(error), "in:\n{text}");
    }
}

#[test]
fn a_base_that_is_no_toml_is_placed_to_the_column() {
    let error = parse("extends = \"broken.toml\"").expect_err("broken TOML");
    assert_eq!((&*error.file, error.line, error.column), ("broken.toml", Some(2), Some(8)));
}

#[test]
fn a_limit_knows_the_file_that_it_stands_in() {
    let policy = right("extends = \"base\"\n\n[[limit]]\nname = \"open\"\nin_flight = 5\n");
    let places: Vec<_> = policy.limits.iter().map(|limit| (limit.file.as_deref(), limit.line)).collect();
    let base = Some("built-in base.toml");
    assert_eq!(places, [(base, Some(4)), (None, Some(3)), (base, Some(17))]);
    let quota = &policy.limits[0].quotas[1];
    assert_eq!((quota.file.as_deref(), quota.line), (base, Some(11)));
}
