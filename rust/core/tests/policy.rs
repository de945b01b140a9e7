//! Right policies, and what they come to.

use throttle_core::policy::{
    Algorithm, Count, FieldValue, Fraction, Limit, Policy, Rate, Rule, Share, Stage, Verified, WhenFull,
};

const INBOUND: &str = include_str!("../../../python/throttle/policies/inbound.toml");

const SECOND_US: u64 = 1_000_000;
const DAY_US: u64 = 86_400 * SECOND_US;

fn parse(text: &str) -> Policy {
    Policy::parse("policy.toml", text).unwrap_or_else(|error| panic!("{error}\nin:\n{text}"))
}

/// A policy of one limit.
fn limit(fields: &str) -> Limit {
    parse(&format!("[[limit]]\nname = \"x\"\n{fields}\n")).limits.remove(0)
}

fn rate_of(limit: &Limit) -> (Rate, u64) {
    limit.rule.rate_and_burst().unwrap_or_else(|| panic!("{} has no rate", limit.name))
}

/// What printing does not keep: places, and the scale that is in the numbers already.
fn bare(policy: &Policy) -> Policy {
    let limits = policy.limits.iter().map(|limit| Limit { line: None, ..limit.clone() }).collect();
    Policy { scale_millionths: 1_000_000, limits, ..policy.clone() }
}

#[test]
fn inbound_is_what_the_design_says() {
    let policy = parse(INBOUND);
    let (caps, paces): (Vec<_>, Vec<_>) = policy.limits.iter().cloned().partition(Limit::is_in_flight);
    let tier = |&(per, denominator): &(&str, u64)| {
        let of_free = Fraction { numerator: 1, denominator };
        Share { per: vec![per.parse().expect("an identity")], of_free }
    };
    let (client, net, owner) = ("client.net/32/64", "client.net/24/48", "client.net/24/29");
    let caps: Vec<_> =
        caps.iter().map(|cap| (&*cap.name, cap.per_name(), cap.count, cap.stage(), cap.rule.clone())).collect();
    let cap = |name, per: &str, count, [cap, reserve]: [u64; 2], first, share: &[(&str, u64)]| {
        let stage = if count == Count::Connections { Stage::Connect } else { Stage::Mail };
        let share = share.iter().map(tier).collect();
        (name, per.to_owned(), count, stage, Rule::InFlight { cap, share, reserve, first })
    };
    let mib = 1 << 20;
    let expected = [
        cap("net-connections", net, Count::Connections, [400, 0], None, &[(client, 3)]),
        cap("all-connections", "global", Count::Connections, [6500, 2000], None, &[(net, 10), (owner, 4)]),
        cap("all-open", "global", Count::Messages, [2700, 700], None, &[(client, 20), (net, 10), (owner, 4)]),
        cap(
            "all-bytes",
            "global",
            Count::Bytes,
            [2048 * mib, 192 * mib],
            Some(1_000_000),
            &[(client, 10), (net, 8), (owner, 4)],
        ),
    ];
    assert_eq!(caps, expected);
    let policy = Policy { limits: paces, ..policy };
    let rows: Vec<_> = policy
        .limits
        .iter()
        .map(|limit| {
            let (rate, burst) = rate_of(limit);
            (limit.name.as_str(), limit.per_name(), limit.stage(), limit.distinct().is_some(), rate.to_string(), burst)
        })
        .collect();
    let row =
        |name, per: &str, stage, fans, rate: &str, burst| (name, per.to_owned(), stage, fans, rate.to_owned(), burst);
    let expected = [
        row("net-pace", "client.net/24/48", Stage::Mail, false, "3000/minute", 3000),
        row("client-pace", "client.net/32/64", Stage::Mail, false, "1000/minute", 1000),
        row("net-claimed-pace", "client.net/24/48", Stage::Mail, false, "300/minute", 3000),
        row("client-claimed-pace", "client.net/32/64", Stage::Mail, false, "100/minute", 1000),
        row("net-claimed-rcpt-pace", "client.net/24/48", Stage::Rcpt, false, "900/minute", 9000),
        row("client-claimed-rcpt-pace", "client.net/32/64", Stage::Rcpt, false, "300/minute", 3000),
        row("pair-pace", "client.net/24/48 + sender.org", Stage::Mail, false, "600/minute", 6000),
        row("pair-rcpt-pace", "client.net/24/48 + sender.org", Stage::Rcpt, false, "1800/minute", 18_000),
        row("owner-pace", "sender.org", Stage::Mail, false, "600/minute", 6000),
        row("host-pace", "sender.host", Stage::Mail, false, "600/minute", 6000),
        row("org-fan-out", "sender.registered", Stage::Mail, true, "200/10 minutes", 200),
        row("org-fresh", "sender.registered", Stage::Mail, true, "2200/10 minutes", 800),
        row("org-fan-out-rcpt", "sender.registered", Stage::Rcpt, true, "1000/10 minutes", 1000),
        row("org-net-fan-out", "sender.org + sender.registered", Stage::Mail, true, "1000/10 minutes", 1000),
        row("net-org-fan-out", "client.net/24/48", Stage::Mail, true, "200/10 minutes", 200),
        row("client-org-fan-out", "client.net/32/64", Stage::Mail, true, "100/10 minutes", 100),
        row("all-org-fan-out", "global", Stage::Mail, true, "6000/10 minutes", 6000),
        row("all-org-fan-out-spf", "global", Stage::Mail, true, "3000/10 minutes", 3000),
        row("reply-to-fan-out", "reply_to.mailbox", Stage::Data, true, "100/10 minutes", 100),
        row("reply-to-pace", "reply_to.unaligned", Stage::Data, false, "100/minute", 1000),
        row("dkim-fan-out", "dkim.org", Stage::Data, true, "200/10 minutes", 200),
        row("rcpt-pace", "client.net/24/48 + rcpt.address", Stage::Rcpt, false, "60/minute", 600),
        row("auth-pace", "auth.user", Stage::Mail, false, "500/hour", 500),
        row("harvest", "client.net/24/48 + sender.org", Stage::Mail, false, "30/minute", 300),
    ];
    assert_eq!(rows, expected);
    let memory = |limit: &Limit| match limit.rule {
        Rule::FanOut { remember_us, settle_us, .. } => Some((remember_us, settle_us)),
        _ => None,
    };
    let memories: Vec<_> = policy.limits.iter().filter_map(memory).collect();
    let (eight_days, day) = (8 * DAY_US, (DAY_US, None));
    let settled = (eight_days, Some(3600 * SECOND_US));
    assert_eq!(memories, [settled, (eight_days, None), settled, (eight_days, None), day, day, day, day, day, day]);
    let of = |verified| {
        let limits = policy.limits.iter().filter(|limit| limit.verified == verified);
        limits.map(|limit| limit.name.as_str()).collect::<Vec<_>>()
    };
    let proven = ["net-pace", "client-pace", "pair-rcpt-pace", "owner-pace", "host-pace"];
    assert_eq!(of(Verified::Proven), proven);
    let claimed = of(Verified::Claimed);
    let paces = ["net-claimed-pace", "client-claimed-pace", "net-claimed-rcpt-pace", "client-claimed-rcpt-pace"];
    assert_eq!(claimed[..4], paces);
    assert_eq!(claimed[4..], ["org-net-fan-out", "all-org-fan-out", "reply-to-pace", "dkim-fan-out"]);
    assert_eq!(of(Verified::Unproven), ["all-org-fan-out-spf"]);
    let recipients = policy.limits.iter().filter(|limit| limit.count == Count::Recipients);
    let recipients: Vec<_> = recipients.map(|limit| limit.name.as_str()).collect();
    assert_eq!(recipients[..2], paces[2..]);
    assert_eq!(recipients[2..], ["pair-rcpt-pace", "org-fan-out-rcpt", "rcpt-pace"]);
    for limit in &policy.limits {
        let is_of_account = limit.name == "auth-pace";
        let way = (Algorithm::SlidingWindow, WhenFull::Sketch);
        assert_eq!((limit.algorithm, limit.when_full) == way, is_of_account, "{}", limit.name);
        assert_eq!(limit.memory.is_some(), is_of_account || limit.name == "harvest", "{}", limit.name);
    }
}

#[test]
fn rates_are_read_and_printed() {
    let minute = 60 * SECOND_US;
    let rows = [
        ("600/minute", 600, minute, false, "600/minute"),
        (" 600 / minutes ", 600, minute, false, "600/minute"),
        ("1/second", 1, SECOND_US, false, "1/second"),
        ("90/90 seconds", 90, 90 * SECOND_US, false, "90/90 seconds"),
        ("20/10 minutes", 20, 10 * minute, false, "20/10 minutes"),
        ("20/10minute", 20, 10 * minute, false, "20/10 minutes"),
        ("20/600 seconds", 20, 10 * minute, false, "20/10 minutes"),
        ("7/24 hours", 7, DAY_US, false, "7/day"),
        ("1000000/30 days", 1_000_000, 30 * DAY_US, false, "1000000/30 days"),
        ("1/366 days", 1, 366 * DAY_US, false, "1/366 days"),
        ("1125899906842624/day", 1 << 50, DAY_US, false, "1125899906842624/day"),
        ("1 GiB/hour", 1 << 30, 60 * minute, true, "1 GiB/hour"),
        ("1024TiB/hour", 1 << 50, 60 * minute, true, "1024 TiB/hour"),
        ("1536 KiB/minute", 1_572_864, minute, true, "1536 KiB/minute"),
        ("5 B/minute", 5, minute, true, "5 B/minute"),
        ("2 kB/minute", 2000, minute, true, "2 kB/minute"),
        ("3 MB/minute", 3_000_000, minute, true, "3 MB/minute"),
        ("4 GB/minute", 4_000_000_000, minute, true, "4 GB/minute"),
        ("5 TB/minute", 5_000_000_000_000, minute, true, "5 TB/minute"),
    ];
    for (text, amount, period_us, sized, printed) in rows {
        let rate: Rate = text.parse().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rate, Rate { amount, period_us, sized }, "{text}");
        assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        assert_eq!(rate.to_string(), printed);
    }
}

#[test]
fn what_is_not_said_has_the_default_of_the_design() {
    let pace = limit("per = \"client.net\"\nrate = \"9/minute\"");
    let rate = Rate { amount: 9, period_us: 60 * SECOND_US, sized: false };
    assert_eq!(pace.rule, Rule::Rate { rate, burst: 9 });
    assert_eq!((pace.count, pace.verified), (Count::Messages, Verified::Any));
    assert_eq!((pace.algorithm, pace.when_full, pace.memory), (Algorithm::Gcra, WhenFull::Admit, None));
    let fan_out = limit("per = \"sender.org\"\ndistinct = \"sender.host\"\nrate = \"9/minute\"\nburst = 3");
    assert!(matches!(fan_out.rule, Rule::FanOut { burst: 3, remember_us: DAY_US, settle_us: None, .. }));
    assert_eq!(limit("per = \"client.net\"\nrate = \"9 MiB/day\"").count, Count::Bytes);
}

#[test]
fn the_stage_is_the_latest_of_identities_and_count() {
    let rows = [
        ("\"client.net\"", "count = \"connections\"", Stage::Connect),
        ("[\"client.ip\", \"client.org\"]", "count = \"connections\"", Stage::Connect),
        ("\"client.net\"", "", Stage::Mail),
        ("\"helo.host\"", "", Stage::Mail),
        ("[\"client.net\", \"sender.org+2\"]", "", Stage::Mail),
        ("\"client.net\"", "count = \"recipients\"", Stage::Rcpt),
        ("[\"client.net\", \"rcpt.host\"]", "", Stage::Rcpt),
        ("\"client.net\"", "distinct = \"rcpt.address\"", Stage::Rcpt),
        ("\"client.net\"", "distinct = \"helo.host\"", Stage::Mail),
        ("\"client.net\"", "count = \"bytes\"", Stage::Data),
        ("\"rcpt.host\"", "count = \"bytes\"", Stage::Data),
        ("\"global\"", "count = \"connections\"\nalgorithm = \"gcra\"\nwhen_full = \"refuse\"", Stage::Connect),
    ];
    for (per, more, stage) in rows {
        assert_eq!(limit(&format!("per = {per}\nrate = \"9/minute\"\n{more}")).stage(), stage, "{per} {more}");
    }
}

#[test]
fn a_quota_per_user_has_a_sketch_unless_it_states_otherwise() {
    assert_eq!(limit("per = \"auth.user\"\nrate = \"500/hour\"").when_full, WhenFull::Sketch);
    let quota = limit("per = \"auth.user\"\nrate = \"500/hour\"\nalgorithm = \"gcra\"\nwhen_full = \"refuse\"");
    assert_eq!((quota.algorithm, quota.when_full), (Algorithm::Gcra, WhenFull::Refuse));
    let fan_out = limit("per = \"auth.user\"\ndistinct = \"rcpt.address\"\nrate = \"500/hour\"");
    assert_eq!(fan_out.when_full, WhenFull::Admit);
    assert_eq!(limit("per = [\"auth.user\", \"client.net\"]\nrate = \"5/hour\"").when_full, WhenFull::Admit);
}

#[test]
fn a_quota_is_a_sliding_window_unless_it_states_otherwise_and_nothing_else_is() {
    let algorithm = |text: &str| limit(text).algorithm;
    for per in ["\"auth.user\"", "\"global\"", "[\"auth.user\", \"global\"]"] {
        assert_eq!(algorithm(&format!("per = {per}\nrate = \"5/hour\"")), Algorithm::SlidingWindow);
        let fan_out = format!("per = {per}\ndistinct = \"rcpt.address\"\nrate = \"5/hour\"");
        assert_eq!(algorithm(&fan_out), Algorithm::Gcra);
    }
    assert_eq!(algorithm("per = [\"auth.user\", \"client.net\"]\nrate = \"5/hour\""), Algorithm::Gcra);
    let stated = limit("per = \"client.net\"\nrate = \"5/hour\"\nalgorithm = \"sliding-window\"");
    assert_eq!((stated.algorithm, stated.when_full), (Algorithm::SlidingWindow, WhenFull::Admit));
}

#[test]
fn the_ladder_is_taken_for_every_host_below_its_organisation() {
    for (per, host) in [
        ("sender.registered", "sender.host"),
        ("sender.org", "sender.host"),
        ("sender.org+2", "sender.host"),
        ("client.org", "client.host"),
        ("helo.org", "helo.host"),
    ] {
        let text = format!("per = \"{per}\"\ndistinct = \"{host}\"\nrate = \"9/minute\"\nsettle = \"1 day\"");
        assert!(matches!(limit(&text).rule, Rule::FanOut { settle_us: Some(DAY_US), .. }), "{text}");
    }
}

#[test]
fn scale_multiplies_and_rounds_down_to_one_at_least() {
    let rows = [
        ("1", 1_000_000, 3, 10),
        ("2", 2_000_000, 6, 20),
        ("2.5", 2_500_000, 7, 25),
        ("0.5", 500_000, 1, 5),
        ("0.3", 300_000, 1, 3),
        ("0.1", 100_000, 1, 1),
        ("0.333333", 333_333, 1, 3),
        ("0.000001", 1, 1, 1),
        ("1000000", 1_000_000_000_000, 3_000_000, 10_000_000),
        ("1e3", 1_000_000_000, 3000, 10_000),
        ("0x10", 16_000_000, 48, 160),
    ];
    for (scale, millionths, amount, burst) in rows {
        let text = format!("scale = {scale}\n[[limit]]\nname=\"x\"\nper=\"client.net\"\nrate=\"3/day\"\nburst=10");
        let policy = parse(&text);
        let (rate, scaled_burst) = rate_of(&policy.limits[0]);
        assert_eq!(policy.scale_millionths, millionths, "{scale}");
        assert_eq!((rate.amount, rate.period_us, scaled_burst), (amount, DAY_US, burst), "{scale}");
    }
}

#[test]
fn a_burst_left_out_stays_the_amount_under_any_scale() {
    let policy = parse("scale = 0.7\n[[limit]]\nname=\"x\"\nper=\"client.net\"\nrate=\"9/minute\"");
    let (rate, burst) = rate_of(&policy.limits[0]);
    assert_eq!((rate.amount, burst), (6, 6));
}

#[test]
fn memory_is_a_size_or_a_number_of_bytes() {
    let with = |memory: &str| limit(&format!("per = \"client.net\"\nrate = \"9/minute\"\nmemory = {memory}")).memory;
    assert_eq!(with("\"2 MiB\""), Some(2 << 20));
    assert_eq!(with("\"64KiB\""), Some(65_536));
    assert_eq!(with("65536"), Some(65_536));
    assert_eq!(with("4096"), Some(4096));
}

#[test]
fn suffixes_become_lower_case_a_labels() {
    let text = "[suffixes]\nextra = [\"OnMicrosoft.com\", \"müller.example.de.\"]\n";
    let policy = parse(&format!("{text}[[limit]]\nname=\"x\"\nper=\"client.net\"\nrate=\"9/minute\""));
    assert_eq!(policy.extra_suffixes, ["onmicrosoft.com", "xn--mller-kva.example.de"]);
}

#[test]
fn python_and_toml_come_to_the_same_policy() {
    let text = |text: &str| FieldValue::Text(text.to_owned());
    let fields = |fields: &[(&str, FieldValue)]| -> Vec<(String, FieldValue)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    };
    let pair = fields(&[
        ("name", text("pair-pace")),
        ("per", FieldValue::List(vec![text("client.net/24/48"), text("sender.org")])),
        ("rate", text("600/minute")),
        ("burst", FieldValue::Integer(6000)),
    ]);
    let limits = vec![Limit::from_fields(&pair).expect("a right limit")];
    let more = fields(&[("scale", FieldValue::Float(1.5)), ("suffixes", FieldValue::List(vec![text("a.com")]))]);
    let python = Policy::from_fields(limits, &more).expect("a right policy");
    let toml = parse(
        "scale = 1.5\nsuffixes = { extra = [\"a.com\"] }\n[[limit]]\nname = \"pair-pace\"\n\
         per = [\"client.net/24/48\", \"sender.org\"]\nrate = \"600/minute\"\nburst = 6000\n",
    );
    assert_eq!(rate_of(&toml.limits[0]).1, 9000);
    assert_eq!((bare(&python).limits, python.scale_millionths), (bare(&toml).limits, toml.scale_millionths));
    assert_eq!(python.extra_suffixes, toml.extra_suffixes);
    assert_eq!(python.file, "<policy>");
}

#[test]
fn a_limit_knows_its_line() {
    let lines: Vec<_> = parse(INBOUND).limits.iter().map(|limit| limit.line).collect();
    let headers = INBOUND.lines().zip(1..).filter(|(line, _)| line.starts_with("[[limit]]"));
    assert_eq!(lines, headers.map(|(_, number)| Some(number)).collect::<Vec<_>>());
}

/// A field that has a row in the table of fields, but that no code reads, would be accepted in silence.
#[test]
fn every_field_of_the_schema_changes_the_limit() {
    let schema = include_str!("../../../python/throttle/policies/policy.schema.json");
    let schema: serde_json::Value = serde_json::from_str(schema).expect("JSON");
    let fields = schema["properties"]["limit"]["items"]["properties"].as_object().expect("the fields of a limit");
    assert!(fields.len() >= 22, "{} fields", fields.len());
    for (name, field) in fields {
        let with = match name.as_str() {
            "in_flight" => "per = \"client.ip\"",
            "share" => "per = \"global\"\nin_flight = 9",
            "reserve" | "first" => {
                "per = \"global\"\nin_flight = \"1 GiB\"\nshare = { per = \"client.ip\", of_free = \"1/2\" }"
            }
            "new_to" => "per = \"client.ip\"\ndistinct = \"sender.org\"\nrate = \"9/minute\"",
            "reports" => "per = \"client.ip\"\nrate = \"9/minute\"\ncount = \"reports\"",
            "distinct" | "refuse" | "remember" | "settle" | "charge" | "warm_up" | "readmit" => {
                "per = \"sender.registered\"\ndistinct = \"sender.host\"\nrate = \"9/minute\""
            }
            _ => "name = \"x\"\nper = \"client.ip\"\nrate = \"9/minute\"",
        };
        let is_other = |line: &&str| !line.starts_with(name.as_str());
        let others: Vec<&str> = with.lines().filter(is_other).collect();
        let named = if with.contains("name") { "" } else { "name = \"x\"\n" };
        // A JSON text, number or list is TOML as well; a table is not.
        let example = &field["examples"][0];
        let example = example.as_object().map_or_else(|| example.to_string(), inline_table);
        let text = format!("[[limit]]\n{named}{}\n{name} = {example}\n", others.join("\n"));
        let limit = parse(&text).limits.remove(0);
        assert!(limit.to_fields().iter().any(|(field, _)| field == name), "{name} has no effect in:\n{text}");
    }
}

/// The TOML of a JSON object.
fn inline_table(object: &serde_json::Map<String, serde_json::Value>) -> String {
    let entry = |(name, value): (&String, &serde_json::Value)| {
        format!("{name:?} = {}", value.as_object().map_or_else(|| value.to_string(), inline_table))
    };
    format!("{{ {} }}", object.iter().map(entry).collect::<Vec<_>>().join(", "))
}
