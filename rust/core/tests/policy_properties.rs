//! Properties of policies: what is printed reads as the same, a scale is exact, and no text makes the parser panic.

use proptest::prelude::*;
use throttle_core::policy::{Field, FieldValue, Limit, Policy, Quota, Rate, Rule};

const INBOUND: &str = include_str!("../../../python/throttle/policies/inbound.toml");

const MOST: u64 = 1 << 50;

fn parse(text: &str) -> Policy {
    Policy::parse("policy.toml", text).unwrap_or_else(|error| panic!("{error}\nin:\n{text}"))
}

/// What printing does not keep: places, and the scale that is in the numbers already.
fn bare(policy: &Policy) -> Policy {
    let limits = policy.limits.iter().map(without_lines).collect();
    Policy { scale_millionths: 1_000_000, limits, ..policy.clone() }
}

fn without_lines(limit: &Limit) -> Limit {
    let quotas = limit.quotas.iter().map(|quota| Quota { line: None, ..quota.clone() }).collect();
    Limit { line: None, quotas, ..limit.clone() }
}

fn amount_of(limit: &Limit) -> u64 {
    match limit.rule {
        Rule::InFlight { cap, .. } => cap,
        _ => limit.rule.rate_and_burst().expect("a rate").0.amount,
    }
}

/// A cap that is right, as lines of TOML.
fn right_cap() -> impl Strategy<Value = String> {
    let per = prop::sample::select(vec!["\"global\"", "\"client.net/24/48\"", "[\"client.ip\", \"global\"]"]);
    let cap = (1..1_000_000_000u64, prop::sample::select(vec!["", "count = \"connections\"\n", "count = \"bytes\"\n"]));
    let cap = prop_oneof![
        cap.prop_map(|(cap, count)| format!("in_flight = {cap}\n{count}")),
        (1..1_000_000u64).prop_map(|cap| format!("in_flight = \"{cap} KiB\"\n")),
    ];
    let shared = prop::sample::select(vec!["\"client.org\"", "[\"client.host\", \"client.net/8/32\"]"]);
    let share = proptest::option::of((shared, 1..=1000u64, 1..=1000u64)).prop_map(|share| {
        let part = |(per, a, b): (&str, u64, u64)| {
            format!("share = {{ per = {per}, of_free = \"{}/{}\" }}\n", a.min(b), a.max(b))
        };
        share.map(part).unwrap_or_default()
    });
    (per, cap, share).prop_map(|(per, cap, share)| format!("per = {per}\n{cap}{share}"))
}

/// A limit that is right, as lines of TOML.
fn right_limit() -> impl Strategy<Value = String> {
    let amounts = prop_oneof![1..2000u64, 1..1_000_000_000u64];
    let period = (1..3_000_000u64).prop_map(|seconds| format!("{seconds} seconds"));
    let burst = proptest::option::of(1..1_000_000_000u64);
    let memory = proptest::option::of(8192..(1u64 << 40));
    let rate = (
        prop::sample::select(vec![
            "\"client.ip\"",
            "\"client.net/0/128\"",
            "[\"client.net\", \"sender.org+5\"]",
            "[\"client.host\", \"client.org\", \"helo.org\", \"rcpt.address\"]",
            "[\"rcpt.host\"]",
            "\"auth.user\"",
            "[\"auth.user\", \"global\"]",
            "\"sender.address\"",
        ]),
        prop::sample::select(vec![
            "",
            "count = \"bytes\"",
            "count = \"recipients\"",
            "count = \"messages\"",
            "count = \"reports\"\nreports = [\"virus\", \"auth-failure\"]",
            "count = \"reports\"\nreports = [\"unknown-recipient\", \"spam\"]",
        ]),
        any::<bool>(),
    )
        .prop_map(|(per, count, sized)| {
            let (unit, count) = if sized { (" B", "") } else { ("", count) };
            (format!("per = {per}\n{count}\n"), unit)
        });
    let fan_out = (
        prop::sample::select(vec![
            ("sender.registered", "sender.host", true),
            ("sender.org+3", "sender.host", true),
            ("client.org", "client.host", true),
            ("client.net/8/32", "sender.org", false),
            ("rcpt.address", "client.ip", false),
        ]),
        (1..366u64, 0..366u64),
    )
        .prop_map(|((per, distinct, ladder), (remember, settle))| {
            let settle = settle.min(remember);
            let settle = if ladder && settle > 0 { format!("settle = \"{settle} days\"\n") } else { String::new() };
            (format!("per = \"{per}\"\ndistinct = \"{distinct}\"\nremember = \"{remember} days\"\n{settle}"), "")
        });
    let distinct = prop::sample::select(vec![
        ("\"auth.user\"", "rcpt.address"),
        ("\"auth.user\"", "client.net/24/48"),
        ("[\"client.net\", \"sender.org\"]", "rcpt.host"),
        ("\"rcpt.address\"", "sender.org"),
    ])
    .prop_map(|(per, distinct)| (format!("per = {per}\ndistinct = \"{distinct}\"\nrefuse = \"all\"\n"), ""));
    let when_full = prop::sample::select(vec!["admit", "sketch", "refuse"]);
    let pace = prop_oneof![
        burst.prop_map(|burst| format!(
            "algorithm = \"gcra\"\n{}",
            burst.map_or(String::new(), |burst| format!("burst = {burst}\n"))
        )),
        Just("algorithm = \"sliding-window\"\n".to_owned()),
        Just(String::new()),
    ];
    let quotas = prop::collection::btree_map("[a-z\"\\\\ é]{0,9}", 1..99u64, 0..3);
    (prop_oneof![rate, fan_out, distinct], amounts, period, pace, memory, when_full, any::<bool>(), quotas).prop_map(
        |((rule, unit), amount, period, pace, memory, when_full, shadow, quotas)| {
            let refuses_all = rule.contains("refuse");
            // What goes with buckets only, and with two tables.
            let pace = if refuses_all { pace.replace("sliding-window", "gcra") } else { pace };
            let least = if refuses_all { 8_192 } else { 0 };
            let memory = memory.map(|memory| format!("memory = {}\n", memory.max(least))).unwrap_or_default();
            let when_full = if refuses_all && when_full == "sketch" { "admit" } else { when_full };
            let mode = if shadow { "mode = \"shadow\"\n" } else { "" };
            let quota = |(of, amount)| format!("quota.{of:?} = {{ rate = \"{amount}{unit}/{period}\" }}\n");
            let quotas: String = quotas.into_iter().map(quota).collect();
            format!(
                "{rule}rate = \"{amount}{unit}/{period}\"\n{pace}{memory}{mode}when_full = \"{when_full}\"\n{quotas}"
            )
        },
    )
}

/// A policy that is right: a scale in millionths, and its limits.
fn right_policy() -> impl Strategy<Value = String> {
    (1..1_000_000_000u64, prop::collection::vec(prop_oneof![3 => right_limit(), 1 => right_cap()], 1..8)).prop_map(
        |(scale, limits)| {
            let named = |(n, limit)| format!("[[limit]]\nname = \"limit-{n}\"\n{limit}");
            let limits: String = limits.iter().enumerate().map(named).collect();
            let scale = format!("{}.{:06}", scale / 1_000_000, scale % 1_000_000);
            let help = "https://h/%20?a=[b]";
            format!("scale = {scale}\nhelp_url = \"{help}\"\n[suffixes]\nextra = [\"a.com\"]\n{limits}")
        },
    )
}

/// `text` with pieces cut out, doubled or replaced.
fn mutated(text: &'static str) -> impl Strategy<Value = String> {
    let tokens = vec![
        "",
        "\"",
        "[",
        "]]",
        "=",
        "\n",
        "0",
        "-1",
        "9e9",
        "99999999999999999999",
        "ä\u{0}",
        "#",
        "'",
        "{",
        ".",
        "1979-05-27",
    ];
    let edit = (any::<prop::sample::Index>(), 0..12usize, prop::sample::select(tokens), any::<bool>());
    prop::collection::vec(edit, 1..6).prop_map(move |edits| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, length, token, keep) in edits {
            let start = at.index(chars.len());
            let end = (start + length).min(chars.len());
            let mut piece: Vec<char> = if keep { chars[start..end].to_vec() } else { Vec::new() };
            piece.extend(token.chars());
            let at = if keep { start..start } else { start..end };
            chars.splice(at, piece);
        }
        chars.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_printed_reads_as_the_same(text in right_policy()) {
        let policy = parse(&text);
        let again = parse(&policy.to_toml());
        prop_assert_eq!(bare(&again), bare(&policy));
    }

    #[test]
    fn a_limit_comes_back_from_its_fields(text in right_policy()) {
        for limit in parse(&text).limits {
            let fields: Vec<_> = limit.to_fields().into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            prop_assert_eq!(Limit::from_fields(&fields), Ok(without_lines(&limit)));
        }
    }

    #[test]
    fn scale_is_exact(amount in 1..=MOST, millionths in 1..=1_000_000_000_000u64) {
        let scale = format!("{}.{:06}", millionths / 1_000_000, millionths % 1_000_000);
        let text = format!("scale = {scale}\n[[limit]]\nname=\"x\"\nper=\"client.net\"\nrate=\"{amount}/day\"");
        let exact = (u128::from(amount) * u128::from(millionths) / 1_000_000).max(1);
        match Policy::parse("policy.toml", &text) {
            Ok(policy) => {
                prop_assert!(exact <= u128::from(MOST));
                prop_assert_eq!(u128::from(amount_of(&policy.limits[0])), exact);
            }
            Err(error) => prop_assert!(exact > u128::from(MOST), "{}", error),
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        let _ = Policy::parse("policy.toml", &text);
    }

    #[test]
    fn no_damage_to_a_policy_makes_the_parser_panic(text in mutated(INBOUND)) {
        match Policy::parse("policy.toml", &text) {
            Ok(policy) => prop_assert_eq!(bare(&parse(&policy.to_toml())), bare(&policy)),
            Err(error) => {
                let lines = text.split('\n').count();
                prop_assert!(error.line.is_none_or(|line| (1..=lines).contains(&line)), "{}", error);
                prop_assert!(!error.to_string().is_empty() && !error.allowed.is_empty());
            }
        }
    }

    #[test]
    fn no_value_makes_a_field_panic(
        field in "[a-z_]{3,9}", value in any::<String>(), number in any::<i64>(), float in any::<f64>(),
    ) {
        let names = [
            "in_flight", "share", "per", "rate", "burst", "count", "distinct", "remember", "settle", "memory", "name",
            field.as_str(),
        ];
        for name in names {
            let table = |name: &str| FieldValue::Table(vec![Field::loose(name, &FieldValue::Text(value.clone()))]);
            let plain = [FieldValue::Text(value.clone()), FieldValue::Integer(number), FieldValue::Float(float)];
            for value in plain.into_iter().chain([table("per"), table("of_free"), table(&field)]) {
                let _ = Limit::from_fields(&[(name.to_owned(), value.clone())]);
                let _ = Policy::from_fields(Vec::new(), &[("scale".to_owned(), value)]);
            }
        }
        let _ = value.parse::<Rate>();
    }
}
