//! `limit.quota`: other numbers for a named value, in a table of its own.

mod guard;

use std::sync::Arc;

use guard::{MIB, check, engine, message};
use throttle_core::engine::Engine;
use throttle_core::envelope::{Envelope, Spf};
use throttle_core::error::PolicyError;
use throttle_core::identity::SuffixList;
use throttle_core::key::Secret;
use throttle_core::policy::Policy;

/// How many of `count` envelopes at one moment are admitted.
fn admitted<'e>(engine: &Engine, envelopes: impl Iterator<Item = Envelope<'e>>) -> usize {
    envelopes.filter(|envelope| check(engine, envelope, 1).allowed()).count()
}

fn of_one(engine: &Engine, client: &str, sender: &str) -> usize {
    admitted(engine, std::iter::repeat_n(message(client, sender), 40))
}

#[test]
fn a_named_value_has_its_own_rate_whatever_its_spelling_and_nobody_else_has() {
    let engine = engine(
        r#"[[limit]]
        name = "org"
        per = "sender.org"
        rate = "5/hour"
        [limit.quota."Bücher.COM"]
        rate = "11/hour"
        [limit.quota."salesforce.com"]
        rate = "7/hour"
        burst = 20"#,
        MIB,
    );
    let senders = ["a@x.bücher.com", "a@mx.SALESFORCE.com", "a@other.com", "a@xn--bcher-kva.com"];
    assert_eq!(senders.map(|sender| of_one(&engine, "192.0.2.1", sender)), [11, 20, 5, 0]);
    let refusal = check(&engine, &message("192.0.2.1", "a@salesforce.com"), 1).refusal.expect("a refusal");
    assert_eq!((&*refusal.limit, &*refusal.identity, &*refusal.key), ("org", "sender.org", "salesforce.com"));
}

#[test]
fn of_limits_with_the_same_key_each_has_its_own_quotas() {
    let engine = engine(
        r#"[[limit]]
        name = "org"
        per = "sender.org"
        rate = "5/hour"
        quota."ex.com" = { rate = "20/hour" }
        quota."some.com" = { rate = "9/hour" }
        [[limit]]
        name = "org-too"
        per = "sender.org"
        rate = "7/hour"
        quota."other.com" = { rate = "30/hour" }"#,
        MIB,
    );
    let senders = ["a@ex.com", "a@some.com", "a@other.com", "a@fourth.com"];
    assert_eq!(senders.map(|sender| of_one(&engine, "192.0.2.1", sender)), [7, 7, 5, 5]);
    let limits = senders.map(|sender| check(&engine, &message("192.0.2.1", sender), 1).refusal.expect("full").limit);
    assert_eq!(limits.each_ref().map(|limit| &**limit), ["org-too", "org-too", "org", "org"]);
}

#[test]
fn any_part_of_a_pair_may_be_named_and_of_two_the_first_in_the_file_counts() {
    let engine = engine(
        r#"[[limit]]
        name = "pair"
        per = ["client.net/24/48", "sender.org"]
        rate = "5/hour"
        quota."192.0.2.0/24" = { rate = "9/hour" }
        quota."ex.com" = { rate = "30/hour" }
        quota."2001:db8::/48" = { rate = "2/hour" }"#,
        MIB,
    );
    let pairs = [
        ("192.0.2.7", "a@some.com"),
        ("192.0.2.7", "a@ex.com"),
        ("203.0.113.1", "a@ex.com"),
        ("203.0.113.1", "a@some.com"),
        ("2001:db8::1", "a@some.com"),
        ("2001:db8:1::1", "a@some.com"),
    ];
    assert_eq!(pairs.map(|(client, sender)| of_one(&engine, client, sender)), [9, 9, 30, 5, 2, 5]);
}

#[test]
fn an_address_names_no_network_or_host_that_stands_beside_it() {
    let engine = engine(
        r#"[[limit]]
        name = "pair"
        per = ["client.ip", "client.net", "sender.address", "sender.org"]
        rate = "5/hour"
        quota."192.0.2.7" = { rate = "9/hour" }
        quota."a@ex.com" = { rate = "7/hour" }"#,
        MIB,
    );
    let all = [("192.0.2.7", "b@ex.com"), ("192.0.2.8", "a@ex.com"), ("192.0.2.8", "b@ex.com")];
    assert_eq!(all.map(|(client, sender)| of_one(&engine, client, sender)), [9, 7, 5]);
}

#[test]
fn a_fan_out_has_quotas_over_the_memory_it_shares() {
    let engine = engine(
        r#"[[limit]]
        name = "hosts"
        per = "sender.registered"
        distinct = "sender.host"
        rate = "5/hour"
        settle = "1 hour"
        [limit.quota."run.com"]
        rate = "17/hour"
        [limit.quota.LITERAL]
        rate = "3/hour""#,
        MIB,
    );
    let hosts = |of: &str| (0..40).map(|n| format!("a@h{n}.{of}")).collect::<Vec<_>>();
    let fresh = |of: &str| admitted(&engine, hosts(of).iter().map(|sender| message("192.0.2.1", sender)));
    assert_eq!([fresh("run.com"), fresh("ex.com")], [17, 5]);
    // Known now, so free, under the quota as under the limit.
    assert_eq!([fresh("run.com"), fresh("ex.com")], [17, 5]);
    let literals: Vec<String> = (0..9).map(|n| format!("a@[192.0.2.{n}]")).collect();
    assert_eq!(admitted(&engine, literals.iter().map(|sender| message("192.0.2.1", sender))), 3);
}

#[test]
fn recipients_with_and_without_a_quota_in_one_message_are_each_held_to_their_own() {
    let engine = engine(
        r#"[[limit]]
        name = "mailbox"
        per = "rcpt.address"
        count = "recipients"
        rate = "2/hour"
        when_full = "refuse"
        quota."List+x@Box.com" = { rate = "4/hour" }"#,
        MIB,
    );
    let both: [&[u8]; 2] = [b"list@box.com", b"me@box.com"];
    let alone: [&[u8]; 1] = [b"LIST+tag@box.com"];
    let to = |recipients| Envelope { rcpt_to: recipients, ..message("192.0.2.1", "a@ex.com") };
    assert_eq!(admitted(&engine, std::iter::repeat_n(to(&both), 9)), 2);
    assert_eq!(admitted(&engine, std::iter::repeat_n(to(&alone), 9)), 2);
}

#[test]
fn a_scale_multiplies_quotas_too_and_each_has_a_table() {
    let engine = engine(
        "scale = 2\n[[limit]]\nname = \"org\"\nper = \"sender.org\"\nrate = \"3/hour\"\n\
        quota.\"ex.com\" = { rate = \"4/hour\", burst = 5 }",
        MIB,
    );
    assert_eq!([of_one(&engine, "192.0.2.1", "a@ex.com"), of_one(&engine, "192.0.2.1", "a@some.com")], [10, 6]);
    let tables = engine.tables(&|| ());
    let used: Vec<_> = tables.iter().map(|table| (table.name.as_str(), table.used)).collect();
    assert_eq!(used, [("org", 1), ("org, quota of ex.com", 1)]);
}

/// Neither can ever pass: the rate stands first.
#[test]
fn of_equal_waits_a_quota_stands_where_its_limit_does() {
    let engine = engine(
        r#"[[limit]]
        name = "octets"
        per = "sender.org"
        rate = "1 MB/hour"
        quota."ex.com" = { rate = "2 MB/hour" }
        [[limit]]
        name = "all-bytes"
        per = "global"
        in_flight = "1 MB""#,
        MIB,
    );
    let told = ["a@ex.com", "a@some.com"].map(|sender| {
        let huge = Envelope { size: Some(3_000_000), ..message("192.0.2.1", sender) };
        check(&engine, &huge, 1).refusal.map(|refusal| refusal.limit.to_string())
    });
    assert_eq!(told, [Some("octets".to_owned()), Some("octets".to_owned())]);
}

/// Two keys, one a class: what they leave is for everybody else.
#[test]
fn a_quota_for_one_value_takes_a_page_where_a_share_would_be_of_no_use() {
    let limit = |name, rest| format!("[[limit]]\nname = \"{name}\"\nrate = \"2/hour\"\n{rest}\n");
    let quota = "quota.\"ex.com\" = { rate = \"3/hour\" }";
    let policy = [
        limit("rate", format!("per = \"sender.org\"\n{quota}")),
        limit("new", format!("per = \"sender.org\"\ndistinct = \"sender.host\"\n{quota}")),
        limit("all", format!("per = \"sender.org\"\ndistinct = \"sender.host\"\nrefuse = \"all\"\n{quota}")),
    ];
    let engine = engine(&policy.concat(), MIB);
    let tables = engine.tables(&|| ());
    let of_quotas = tables.iter().filter(|table| table.name.contains("quota of"));
    let bytes: Vec<_> = of_quotas.map(|table| (table.name.as_str(), table.bytes)).collect();
    assert_eq!(
        bytes,
        [
            ("rate, quota of ex.com", 4096),
            ("new, quota of ex.com", 4096),
            ("all, quota of ex.com", 4096),
            ("registers of all, quota of ex.com", 4096),
        ]
    );
    for sender in ["a@a.ex.com", "a@b.ex.com", "a@c.ex.com"] {
        for spf in [None, Some(Spf::Pass)] {
            assert!(check(&engine, &Envelope { spf, ..message("192.0.2.1", sender) }, 1).allowed());
        }
    }
    assert!(!check(&engine, &message("192.0.2.1", "a@d.ex.com"), 1).allowed());
}

fn wrong(per: &str, quota: &str) -> PolicyError {
    let text = format!("[[limit]]\nname = \"x\"\nper = {per}\nrate = \"9/minute\"\n{quota}");
    let policy = Policy::parse("policy.toml", &text).expect("right but for its values");
    let list = "// ===BEGIN ICANN DOMAINS===\ncom\n// ===END ICANN DOMAINS===";
    let suffixes = Arc::new(SuffixList::parse(list, &[]).expect("a right list"));
    Engine::new(&policy, MIB, suffixes, Secret::new([7; 16])).expect_err("no envelope has such a value")
}

#[test]
fn a_value_that_no_envelope_can_have_is_an_error_that_says_which_it_would_have() {
    let cases = [
        (r#""sender.org""#, "mail.ex.com", "\"ex.com\", the sender.org that it has"),
        (r#""client.net""#, "192.0.2.0/25", "\"192.0.2.0/24\", the client.net that it has"),
        (r#""client.net""#, "ex.com", "a value of client.net"),
        (r#""client.net""#, "192.0.2.7", "\"192.0.2.0/24\", the client.net that it has"),
        (r#""sender.org""#, "a@ex.com", "a value of sender.org"),
        (r#"["client.net", "rcpt.host"]"#, "a@ex.com", "a value of client.net + rcpt.host"),
        (r#"["client.ip", "sender.org"]"#, "a..com", "a value of client.ip + sender.org"),
        (r#""auth.user""#, "", "a value of auth.user"),
    ];
    for (per, value, allowed) in cases {
        let error = wrong(per, &format!("when_full = \"admit\"\nquota.\"{value}\" = {{ rate = \"1/hour\" }}"));
        let told = (error.line, error.limit.as_deref(), error.field.as_deref(), &*error.found, &*error.allowed);
        assert_eq!(told, (Some(6), Some("x"), Some("quota"), &*format!("{value:?}"), allowed));
    }
    let twice = wrong(
        r#""sender.org""#,
        "[limit.quota]\n\"ex.com\" = { rate = \"1/hour\" }\n\"EX.com.\" = { rate = \"1/hour\" }",
    );
    assert_eq!((twice.line, &*twice.found), (Some(7), "\"EX.com.\" a second time, first in line 6"));
}
