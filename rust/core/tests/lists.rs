//! `[[allow]]` and `[[block]]`: entries of a policy, next to those that an operator makes at run time.

mod guard;

use std::collections::HashMap;

use guard::{MIB, check, list, message};
use throttle_core::engine::{BlockError, Engine, Live, NotReloaded};
use throttle_core::error::PolicyError;
use throttle_core::key::Secret;
use throttle_core::policy::{Base, NoBase, Policy, Source};
use throttle_core::region::Now;
use throttle_core::store::access_list::AccessAction;

const LIMIT: &str = "[[limit]]\nname = \"once\"\nper = \"client.ip\"\nrate = \"1/day\"\n";

/// 2027-01-31T12:00:00Z, in seconds since the epoch.
const NOON: u64 = 1_801_396_800;

fn policy(entries: &str) -> Policy {
    Policy::parse("policy.toml", &format!("{entries}\n{LIMIT}")).expect("a right policy")
}

fn start(policy: &Policy, memory_bytes: u64, now: Now) -> Result<Engine, PolicyError> {
    Engine::starting_at(policy, memory_bytes, list(&[]), Secret::new([7; 16]), 10, now)
}

fn entry(kind: &str, identity: &str, value: &str, more: &str) -> String {
    format!("[[{kind}]]\nidentity = \"{identity}\"\nvalue = \"{value}\"\n{more}\n")
}

fn listed(engine: &Engine, now_us: i64) -> Vec<(AccessAction, String, bool, Option<String>)> {
    let all = engine.blocked(Now::Stated(now_us), &|| ()).into_iter();
    all.map(|one| (one.action, one.value.expect("an operator's"), one.is_of_policy, one.comment)).collect()
}

/// The limit that refuses, and until when.
fn refused(engine: &Engine, ip: &str, at_s: u64) -> Option<(String, Option<u64>)> {
    let refusal = check(engine, &message(ip, "a@ex.com"), at_s * 1_000_000).refusal?;
    Some((refusal.limit.to_string(), refusal.wait_us.map(|us| at_s + us / 1_000_000)))
}

fn blocked(until_s: Option<u64>) -> Option<(String, Option<u64>)> {
    Some(("blocked".into(), until_s))
}

#[test]
fn entries_of_a_policy_hold_from_the_first_check_and_are_listed_with_their_comments() {
    let entries = entry("block", "client.net", "203.0.113.0/24", "comment = \"ticket 4711\"")
        + &entry("allow", "client.ip", "198.51.100.7", "unverified = true")
        + &entry("block", "sender.host", "Bücher.com", "until = 2027-01-31T12:00:00Z");
    let engine = start(&policy(&entries), MIB, Now::Stated(0)).expect("it fits");
    assert_eq!(refused(&engine, "203.0.113.9", 1), blocked(None));
    assert_eq!([(); 3].map(|()| refused(&engine, "198.51.100.7", 1)), [None, None, None]);
    let expected = [
        (AccessAction::Block, "203.0.113.0/24".to_owned(), true, Some("ticket 4711".to_owned())),
        (AccessAction::Block, "xn--bcher-kva.com".into(), true, None),
        (AccessAction::AllowUnverified, "198.51.100.7".into(), true, None),
    ];
    assert_eq!(listed(&engine, 1_000_000), expected);
}

#[test]
fn an_entry_ends_at_its_time_of_the_calendar() {
    for until in [
        "2027-01-31T12:00:00Z",
        "\"2027-01-31T13:30:00+01:30\"",
        "\"2027-01-31T12:00Z\"",
        "2027-01-31 07:00:00.000-05:00",
    ] {
        let policy = policy(&entry("block", "client.ip", "203.0.113.9", &format!("until = {until}")));
        let engine = start(&policy, MIB, Now::Stated(0)).expect("it fits");
        assert_eq!(refused(&engine, "203.0.113.9", NOON - 1), blocked(Some(NOON)), "{until}");
        assert_eq!(refused(&engine, "203.0.113.9", NOON), None, "{until}");
        let late = start(&policy, MIB, Now::Clock(i64::try_from(NOON).expect("a time") * 1_000_000)).expect("it fits");
        assert_eq!(listed(&late, 0), [], "{until}: it has ended before the start");
    }
}

#[test]
fn times_of_the_calendar_are_those_of_the_gregorian_one() {
    // As `date -u -d … +%s` prints them.
    for (until, seconds) in [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T23:59:59Z", 951_868_799),
        ("2000-03-01T00:00:00Z", 951_868_800),
        ("2100-02-28T00:00:00Z", 4_107_456_000),
        ("2100-03-01T00:00:00Z", 4_107_542_400),
        ("1969-12-31T23:59:59Z", -1),
        ("2028-12-31T23:59:59.5+14:00", 1_861_869_599),
    ] {
        let policy = policy(&entry("block", "client.ip", "203.0.113.9", &format!("until = {until}")));
        let until_us = policy.entries[0].until.as_ref().expect("a time").us;
        assert_eq!(until_us.div_euclid(1_000_000), seconds, "{until}");
    }
}

#[test]
fn a_block_of_an_operator_beats_an_allow_and_an_allow_beats_the_block_of_a_limit() {
    let entries = entry("allow", "client.net", "203.0.113.0/24", "") + &entry("block", "client.ip", "203.0.113.9", "");
    let blocks = LIMIT.replace("\"1/day\"", "\"1/day\"\naction = \"block 1 hour\"");
    let policy = Policy::parse("policy.toml", &(entries + &blocks)).expect("a right policy");
    let engine = start(&policy, MIB, Now::Stated(0)).expect("it fits");
    assert_eq!(refused(&engine, "203.0.113.9", 1), blocked(None), "the smaller network is blocked");
    assert_eq!([(); 3].map(|()| refused(&engine, "203.0.113.8", 1)), [None, None, None]);
    assert_eq!(refused(&engine, "198.51.100.7", 1), None);
    assert_eq!(refused(&engine, "198.51.100.7", 1).map(|(limit, _)| limit).as_deref(), Some("once"));
    let say = |action, us| engine.say("client.net", "198.51.100.0/24", action, us, Now::Stated(2_000_000));
    say(AccessAction::Allow, None).expect("room");
    assert_eq!(refused(&engine, "198.51.100.7", 2), None, "a limit has blocked it, and an operator allows it");
    say(AccessAction::Block, Some(60_000_000)).expect("room");
    assert_eq!(refused(&engine, "198.51.100.7", 2).map(|(limit, _)| limit).as_deref(), Some("once"), "a day is longer");
    engine
        .say("client.ip", "198.51.100.7", AccessAction::Allow, Some(30_000_000), Now::Stated(2_000_000))
        .expect("room");
    let limit = refused(&engine, "198.51.100.7", 2).map(|(limit, _)| limit);
    assert_eq!(limit.as_deref(), Some("once"), "the allow ends before the block, and then the limit decides");
    // When this block ends, the allow of the network holds: no limit has a say.
    engine
        .say("client.ip", "203.0.113.8", AccessAction::Block, Some(60_000_000), Now::Stated(2_000_000))
        .expect("room");
    assert_eq!(refused(&engine, "203.0.113.8", 2), blocked(Some(62)));
    assert_eq!(refused(&engine, "203.0.113.8", 62), None);
}

#[test]
fn of_two_entries_for_one_value_that_of_the_run_time_is_in_force_and_then_that_of_the_policy() {
    let engine = start(&policy(&entry("block", "client.ip", "203.0.113.9", "")), MIB, Now::Stated(0)).expect("it fits");
    engine.say("client.ip", "203.0.113.9", AccessAction::Allow, Some(60_000_000), Now::Stated(0)).expect("room");
    assert_eq!([1, 2, 59].map(|at_s| refused(&engine, "203.0.113.9", at_s)), [None, None, None]);
    assert_eq!(listed(&engine, 1), [(AccessAction::Allow, "203.0.113.9".into(), false, None)]);
    assert_eq!(refused(&engine, "203.0.113.9", 60), blocked(None));
    assert_eq!(listed(&engine, 60_000_000), [(AccessAction::Block, "203.0.113.9".into(), true, None)]);
    engine
        .say("client.ip", "203.0.113.9", AccessAction::Block, Some(60_000_000), Now::Stated(60_000_000))
        .expect("room");
    assert_eq!(refused(&engine, "203.0.113.9", 61), blocked(None), "the policy blocks it when the minute is over");
    assert_eq!(engine.unblock("client.ip", "203.0.113.9", Now::Stated(61_000_000)), Ok(true));
    assert_eq!(refused(&engine, "203.0.113.9", 61), None, "both are taken back");
    assert_eq!(listed(&engine, 61_000_000), []);
}

#[test]
fn a_reload_replaces_the_entries_of_the_policy_and_no_other() {
    let before = entry("block", "client.ip", "203.0.113.1", "comment = \"old\"")
        + &entry("block", "client.ip", "203.0.113.2", "comment = \"both\"")
        + &entry("block", "client.ip", "203.0.113.3", "");
    let live = Live::new(start(&policy(&before), MIB, Now::Stated(0)).expect("it fits"));
    let say = |value, action| live.engine().say("client.ip", value, action, None, Now::Stated(0)).expect("room");
    say("203.0.113.3", AccessAction::Allow);
    say("203.0.113.5", AccessAction::Block);
    assert_eq!(live.engine().unblock("client.ip", "203.0.113.2", Now::Stated(0)), Ok(true));
    let after = entry("block", "client.ip", "203.0.113.2", "comment = \"again\"")
        + &entry("block", "client.ip", "203.0.113.3", "")
        + &entry("block", "client.ip", "203.0.113.4", "");
    live.reload(&policy(&after), list(&[]), &|| ()).expect("it fits");
    let expected = [
        (AccessAction::Block, "203.0.113.2".to_owned(), true, Some("again".to_owned())),
        (AccessAction::Block, "203.0.113.4".into(), true, None),
        (AccessAction::Block, "203.0.113.5".into(), false, None),
        (AccessAction::Allow, "203.0.113.3".into(), false, None),
    ];
    assert_eq!(listed(&live.engine(), 1), expected);
    let is_refused = |ip| refused(&live.engine(), ip, 1).is_some();
    let ips = ["203.0.113.1", "203.0.113.2", "203.0.113.3", "203.0.113.4", "203.0.113.5"];
    assert_eq!(ips.map(is_refused), [false, true, false, true, true]);
    live.reload(&policy(""), list(&[]), &|| ()).expect("it fits");
    assert_eq!(listed(&live.engine(), 1).len(), 2, "those made at run time");
}

/// So many addresses under `[[block]]`, the first of them ended.
fn many(count: usize, ended: usize) -> String {
    let until = |n| if n < ended { "until = 2001-01-01T00:00:00Z" } else { "" };
    (0..count)
        .map(|n| entry("block", "client.ip", &format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255), until(n)))
        .collect()
}

#[test]
fn a_list_that_does_not_fit_is_an_error_that_names_both_numbers() {
    let at = Now::Stated(i64::try_from(NOON).expect("a time") * 1_000_000);
    let error = start(&policy(&many(1025, 0)), 16 * MIB, at).expect_err("too many");
    assert_eq!(
        error.to_string(),
        "policy.toml: found 1025 entries in [[allow]] and [[block]]; allowed: at most 1024 in this memory; \
         256 KiB have room for some, 16 MiB for 1024"
    );
    let live = Live::new(start(&policy(&many(1025, 1)), 16 * MIB, at).expect("one of them has ended"));
    for n in 0..4 {
        let said = live.engine().say("client.ip", &format!("192.0.2.{n}"), AccessAction::Block, None, at);
        assert_eq!(said, Err(BlockError::Full(1024)));
    }
    live.reload(&policy(&many(1020, 0)), list(&[]), &|| ()).expect("fewer fit");
    for n in 0..4 {
        live.engine().say("client.ip", &format!("192.0.2.{n}"), AccessAction::Block, None, at).expect("room");
    }
    let Err(NotReloaded::Wrong(error)) = live.reload(&policy(&many(1021, 0)), list(&[]), &|| ()) else {
        panic!("1021 entries and 4 do not fit")
    };
    assert!(error.found.starts_with("1021 entries") && error.allowed.starts_with("at most 1020 "), "{error}");
    assert!(error.allowed.contains("in addition to 4 made at run time"), "{error}");
    assert_eq!(listed(&live.engine(), 1).len(), 1024, "nothing has changed");
    let error = start(&policy(&many(1, 0)), 128 << 10, at).expect_err("no room at all");
    assert!(error.to_string().contains("found 1 entries") && error.to_string().contains("at most 0 "), "{error}");
    start(&policy(&many(1, 1)), 128 << 10, at).expect("what has ended needs no room");
}

#[test]
fn what_cannot_be_listed_is_an_error_of_its_line() {
    let broad = "a domain that somebody registered, or a network of at least /8 (IPv6: /16): this is too broad";
    let proof = "what can be proven, or unverified = true: nobody ever proves this";
    for (kind, identity, value, field, allowed) in [
        (
            "block",
            "global",
            "x",
            "identity",
            "one of client.*, helo.*, auth.user, sender.*, rcpt.*, from.*, reply_to.*, list.id or dkim.org",
        ),
        ("block", "client.ip", "no address", "value", "a value of client.ip, as \"203.0.113.9\""),
        ("block", "client.net", "203.0.113.9/24", "value", "\"203.0.113.0/24\", the client.net that it has"),
        ("block", "sender.org", "co.uk", "value", broad),
        ("block", "client.net", "203.0.0.0/7", "value", "\"202.0.0.0/7\", the client.net that it has"),
        ("allow", "helo.host", "mx.ex.com", "value", proof),
        ("allow", "from.org", "ex.com", "value", proof),
    ] {
        let text = format!("mode = \"enforce\"\n{}", entry(kind, identity, value, ""));
        let error = start(&policy(&text), MIB, Now::Stated(0)).expect_err(value);
        let place = (error.file.as_str(), error.line, error.field.as_deref());
        assert_eq!(place, ("policy.toml", Some(2), Some(&*format!("{kind}.{field}"))));
        assert_eq!(error.allowed, allowed, "{value}");
    }
    let rcpt = entry("allow", "rcpt.address", "a@ex.com", "unverified = true");
    let error = start(&policy(&rcpt), MIB, Now::Stated(0)).expect_err("a recipient");
    assert!(
        error.to_string().starts_with("policy.toml:1: allow.identity: found \"rcpt.address\"; allowed: an identity of")
    );
}

#[test]
fn a_value_is_listed_once_in_a_file_and_a_file_that_extends_replaces_what_its_base_lists() {
    let twice = entry("allow", "sender.org", "EX.com", "") + &entry("block", "sender.host", "ex.com.", "");
    let error = start(&policy(&twice), MIB, Now::Stated(0)).expect_err("twice");
    assert_eq!(
        error.to_string(),
        "policy.toml:5: block.value: found \"ex.com.\" a second time, first in line 1; \
         allowed: each value once in a file"
    );
    let base = entry("block", "client.ip", "203.0.113.1", "comment = \"base\"")
        + &entry("block", "client.ip", "203.0.113.2", "comment = \"base\"");
    let files = HashMap::from([("base.toml", format!("{base}{LIMIT}"))]);
    let read = |text: &str| {
        Policy::parse_with("own.toml", text, &mut |wanted| {
            let Base::File { path, .. } = wanted else { return Err(NoBase::Nowhere) };
            Ok(Source { file: path.to_owned(), text: files[path].clone() })
        })
    };
    let own = entry("allow", "client.ip", "203.0.113.2", "comment = \"own\"")
        + &entry("block", "client.ip", "203.0.113.3", "");
    let policy = read(&format!("extends = \"base.toml\"\n{own}")).expect("a right policy");
    let expected = [
        (AccessAction::Block, "203.0.113.1".to_owned(), true, Some("base".to_owned())),
        (AccessAction::Block, "203.0.113.3".into(), true, None),
        (AccessAction::Allow, "203.0.113.2".into(), true, Some("own".into())),
    ];
    assert_eq!(listed(&start(&policy, MIB, Now::Stated(0)).expect("it fits"), 1), expected);
    let wrong = read(&format!("extends = \"base.toml\"\n\n{}", entry("block", "client.ip", "x", ""))).expect("text");
    let error = start(&wrong, MIB, Now::Stated(0)).expect_err("no address");
    assert_eq!((error.file.as_str(), error.line), ("own.toml", Some(3)));
    let mended = entry("block", "client.ip", "y", "");
    let files = HashMap::from([("base.toml", format!("\n{mended}{LIMIT}"))]);
    let of_base = Policy::parse_with("own.toml", "extends = \"base.toml\"", &mut |_| {
        Ok(Source { file: "base.toml".into(), text: files["base.toml"].clone() })
    });
    let error = start(&of_base.expect("text"), MIB, Now::Stated(0)).expect_err("no address");
    assert_eq!((error.file.as_str(), error.line), ("base.toml", Some(2)), "the place in the base");
}

#[test]
fn entries_are_printed_and_read_again() {
    let entries =
        entry("block", "client.net", "203.0.113.0/24", "until = 2027-01-31T13:00:00+01:00\ncomment = \"a \\\"b\\\"\"")
            + &entry("allow", "sender.org", "ex.com", "")
            + &entry("allow", "helo.host", "mx.ex.com", "unverified = true");
    let read = policy(&entries);
    let printed = read.to_toml();
    let mut again = Policy::parse("policy.toml", &printed).expect("what was printed");
    for (one, other) in again.entries.iter_mut().zip(&read.entries) {
        one.line = other.line;
    }
    assert_eq!(again.entries.len(), 3);
    assert_eq!(again.entries, read.entries, "\n{printed}");
}
