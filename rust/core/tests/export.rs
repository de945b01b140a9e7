//! The exported series: their number is bounded before start, whatever senders invent, and no label holds a local part.

mod guard;

use std::collections::BTreeSet;

use guard::{MIB, check, engine, message};
use throttle_core::engine::Engine;
use throttle_core::envelope::Envelope;
use throttle_core::export::{Bound, Budget, Exporter, Family, Format, Kind, joined, render, series};
use throttle_core::policy::Policy;
use throttle_core::region::Now;

const POLICY: &str = r#"
[[limit]]
name = "org-fan-out"
per = "sender.registered"
distinct = "sender.host"
rate = "4/hour"

[[limit]]
name = "address"
per = ["client.net", "sender.address"]
rate = "2/hour"

[[limit]]
name = "helo"
per = "helo.host"
rate = "1/hour"
mode = "shadow"

[[limit]]
name = "open"
per = "client.ip"
in_flight = 9
share = { per = "client.net/16/32", of_free = "1/2" }
"#;

const MINUTE_US: u64 = 60_000_000;

fn bound(text: &str, budget: Budget) -> Bound {
    Bound::of_policy(&Policy::parse("test.toml", text).expect("a right policy"), budget)
}

fn families(exporter: &mut Exporter, engine: &Engine, at_us: u64) -> Vec<Family> {
    exporter.families(engine, None, Now::Stated(at_us as i64))
}

/// Names of series: a line of the text without its number.
fn names(families: &[Family]) -> BTreeSet<String> {
    let text = render(families, Format::Prometheus);
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples.map(|line| line.rsplit_once(' ').expect("a number").0.to_owned()).collect()
}

#[test]
fn a_day_of_new_offenders_at_each_scrape_stays_within_the_bound() {
    let engine = engine(POLICY, 4 * MIB);
    for budget in [Budget::default(), Budget { slots: 3, identities: 2, names_per_hour: 5 }] {
        let (bound, mut exporter) = (bound(POLICY, budget), Exporter::new(budget));
        let mut all = names(&families(&mut exporter, &engine, 0));
        for scrape in 1..=24 * 60u64 {
            let at = scrape * MINUTE_US;
            for number in 0..18 {
                let (ip, helo) =
                    (format!("10.{}.{}.{number}", scrape % 251, scrape / 251), format!("m{number}.h{scrape}.net"));
                let sender = format!("joe{number}@x.n{number}s{scrape}.com");
                let envelope = Envelope { helo: Some(helo.as_bytes()), ..message(&ip, &sender) };
                (0..3).for_each(|_| drop(check(&engine, &envelope, at)));
            }
            let shown = families(&mut exporter, &engine, at);
            let now = names(&shown);
            assert_eq!(now.len(), series(&shown), "each series once");
            assert!((now.len() as u64) < bound.now, "{} of {bound:?}", now.len());
            all.extend(now);
        }
        let most = bound.a_day;
        assert!((all.len() as u64) < most, "{} of {most}", all.len());
        let named = all.iter().filter(|name| name.contains("slot_info")).count() as u64;
        let budgeted = u64::from(budget.slots + 24 * budget.names_per_hour);
        assert!(10 * named > 9 * budgeted, "the budget of at least one identity is spent: {named} of {budgeted}");
        println!("{} series in a day, {most} at most, {named} of them names", all.len());
    }
}

#[test]
fn busy_ordinary_senders_leave_a_name_for_the_flooder() {
    let policy = "[[limit]]\nname = \"pace\"\nper = \"sender.org\"\nrate = \"8/hour\"";
    let engine = engine(policy, 4 * MIB);
    let mut exporter = Exporter::new(Budget { slots: 4, identities: 1, names_per_hour: 0 });
    for number in 0..4 {
        let sender = format!("joe@busy{number}.com");
        assert!((0..6).all(|_| check(&engine, &message("192.0.2.1", &sender), 1).allowed()));
    }
    let text = render(&families(&mut exporter, &engine, 2), Format::Prometheus);
    assert_eq!(text.matches("key=\"busy").count(), 2, "half of the tokens: {text}");
    for _ in 0..40 {
        check(&engine, &message("192.0.2.1", "joe@flood.com"), 3);
    }
    let text = render(&families(&mut exporter, &engine, 4), Format::Prometheus);
    assert!(text.contains("key=\"flood.com\""), "{text}");
}

#[test]
fn busy_senders_of_known_hosts_do_not_hide_a_flood_of_new_hosts() {
    let engine = engine(POLICY, 4 * MIB);
    let mut exporter = Exporter::new(Budget { slots: 4, identities: 1, names_per_hour: 60 });
    for host in 0..4 * 3 {
        check(&engine, &message("192.0.2.1", &format!("a@h{}.busy{}.com", host / 4, host % 4)), MINUTE_US);
    }
    for scrape in 1..=20u64 {
        let at = (10 + scrape) * MINUTE_US / 4;
        for message_of in 0..400 {
            check(&engine, &message("192.0.2.1", &format!("a@h0.busy{}.com", message_of % 4)), at);
            if scrape > 8 {
                check(&engine, &message("192.0.2.1", &format!("a@h{scrape}x{message_of}.flood.com")), at);
            }
        }
        for more in 0..8_000 {
            check(&engine, &message("192.0.2.1", &format!("a@h0.busy{}.com", more % 4)), at);
        }
        let text = render(&families(&mut exporter, &engine, at), Format::Prometheus);
        let fan_out = value(&text, "throttle_fan_out_max{identity=\"sender.registered\",window=\"minute\"}");
        assert_eq!(fan_out >= 300.0, scrape > 8, "scrape {scrape}: {fan_out}");
        assert_eq!(text.contains("key=\"flood.com\""), scrape > 8, "scrape {scrape}: one token is enough: {text}");
    }
}

#[test]
fn a_flood_of_an_hour_shows_its_new_elements_at_each_scrape() {
    let engine = engine(POLICY, 4 * MIB);
    let mut exporter = Exporter::new(Budget::default());
    let (mut at, mut host) = (MINUTE_US, 0u64);
    for scrape in 0..240 {
        for _ in 0..1_500 {
            (at, host) = (at + 10_000, host + 1);
            check(&engine, &message("192.0.2.1", &format!("a@h{host}.flood.com")), at);
        }
        let text = render(&families(&mut exporter, &engine, at), Format::Prometheus);
        let fan_out = value(&text, "throttle_fan_out_max{identity=\"sender.registered\",window=\"minute\"}");
        if scrape >= 4 {
            assert!((6_000.0..=7_500.0).contains(&fan_out), "scrape {scrape}: {fan_out} of 6,000 in a minute");
        }
    }
}

#[test]
fn a_flood_takes_a_slot_from_names_that_were_prepared_for_it() {
    let engine = engine(POLICY, 4 * MIB);
    let mut exporter = Exporter::new(Budget::default());
    let mut at = 1;
    for name in 0..16 {
        for number in 0..100 {
            at += 1_000;
            check(&engine, &message("192.0.2.1", &format!("a@h{number}.prepared{name}.com")), at);
        }
        families(&mut exporter, &engine, at);
    }
    let text = render(&families(&mut exporter, &engine, at), Format::Prometheus);
    assert_eq!(text.matches("identity=\"sender.registered\",slot=").count(), 16 * 3, "all slots have names: {text}");
    for number in 0..1_500 {
        at += 10_000;
        check(&engine, &message("192.0.2.1", &format!("a@h{number}.flood.com")), at);
    }
    let text = render(&families(&mut exporter, &engine, at), Format::Prometheus);
    let fan_out = value(&text, "throttle_fan_out_max{identity=\"sender.registered\",window=\"minute\"}");
    assert!((1_000.0..2_000.0).contains(&fan_out), "1,500 hosts: {fan_out}");
    assert!(!text.contains("key=\"flood.com\""), "there is no token");
    at += 2 * MINUTE_US;
    for number in 0..1_500 {
        at += 10_000;
        check(&engine, &message("192.0.2.1", &format!("a@m{number}.flood.com")), at);
    }
    let text = render(&families(&mut exporter, &engine, at), Format::Prometheus);
    assert!(text.contains("key=\"flood.com\""), "the next token: {text}");
}

#[test]
fn names_are_shown_for_offenders_only_and_the_series_do_not_grow_with_senders() {
    let engine = engine(POLICY, 4 * MIB);
    let mut exporter = Exporter::new(Budget::default());
    let mut at = 1;
    let before = series(&families(&mut exporter, &engine, at));
    for number in 0..20_000 {
        at += 1_000;
        check(&engine, &message("192.0.2.1", &format!("a@n{number}.com")), at);
    }
    let quiet = families(&mut exporter, &engine, at);
    assert_eq!(series(&quiet), before, "nobody came near a limit");
    for number in 0..400 {
        at += 100_000;
        check(&engine, &message("192.0.2.1", &format!("a@h{number}.flood.com")), at);
    }
    let text = render(&families(&mut exporter, &engine, at), Format::Prometheus);
    assert!(text.contains("key=\"flood.com\""), "{text}");
    let fan_out = value(&text, "throttle_fan_out_max{identity=\"sender.registered\",window=\"minute\"}");
    assert!((300.0..500.0).contains(&fan_out), "400 hosts, of which most were refused: {fan_out}");
    // Two minutes later it sends nothing: its name stays for ten minutes, its values are gone.
    let text = render(&families(&mut exporter, &engine, at + 2 * MINUTE_US), Format::Prometheus);
    assert!(text.contains("key=\"flood.com\""));
    assert_eq!(value(&text, "throttle_fan_out_max{identity=\"sender.registered\",window=\"minute\"}"), 0.0);
    let text = render(&families(&mut exporter, &engine, at + 11 * MINUTE_US), Format::Prometheus);
    assert!(!text.contains("throttle_slot_info{"), "{text}");
}

fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| line.starts_with(series)).unwrap_or_else(|| panic!("{series} in {text}"));
    line.rsplit_once(' ').expect("a number").1.parse().expect("a number")
}

#[test]
fn no_label_holds_a_local_part_or_a_sign_that_a_sender_chose() {
    let engine = engine(POLICY, 4 * MIB);
    let mut exporter = Exporter::new(Budget::default());
    let long = format!("joe@{}.com", ["long"; 40].join("."));
    let senders = [
        "secret.joe@ex.com",
        "<script>@ex.org",
        "\"se cret\"@ex.net",
        "a\"b\\c\x1b[31m@ex.com",
        "joe@\x1b[2J<script>.com",
        &long,
    ];
    for sender in senders {
        let envelope = Envelope { helo: Some(sender.as_bytes()), ..message("192.0.2.1", sender) };
        (0..8).for_each(|_| drop(check(&engine, &envelope, 1_000_000)));
    }
    let shown = families(&mut exporter, &engine, 1_000_000);
    for format in [Format::Prometheus, Format::OpenMetrics] {
        let text = render(&shown, format);
        for secret in ["secret", "<script", "cret", "joe", "\x1b"] {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
        let keys: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once("key=\""))
            .map(|(_, key)| key.split_once('"').expect("its end").0)
            .collect();
        assert!(keys.iter().any(|key| key.starts_with("ex.com#")), "{keys:?}");
        assert!(keys.iter().all(|key| key.len() <= 100), "{keys:?}");
    }
}

#[test]
fn a_text_has_each_family_once_and_escapes_labels() {
    let of = |policy: &str| {
        let mut family = Family::new("throttle_x", Kind::Counter, "One\nline \\ \"of\" help.");
        family.add(vec![("policy".into(), policy.into())], 1.0);
        family
    };
    let all = joined([of("a"), of("b\"\\\n")]);
    assert_eq!(
        render(&all, Format::Prometheus),
        "# HELP throttle_x_total One\\nline \\\\ \"of\" help.\n# TYPE throttle_x_total counter\n\
         throttle_x_total{policy=\"a\"} 1\nthrottle_x_total{policy=\"b\\\"\\\\\\n\"} 1\n"
    );
    assert!(
        render(&all, Format::OpenMetrics)
            .starts_with("# HELP throttle_x One\\nline \\\\ \\\"of\\\" help.\n# TYPE throttle_x counter\n")
    );
    assert!(render(&all, Format::OpenMetrics).ends_with("} 1\n# EOF\n"));
}
