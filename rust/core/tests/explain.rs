//! What a guard says of an envelope: of every limit the key, how full it is, and why it has nothing to do with it.

mod guard;

use guard::{MIB, check, engine, message};
use proptest::prelude::*;
use throttle_core::engine::{Engine, Explained, Explanation, LimitState};
use throttle_core::envelope::{Envelope, Headers, Spf};
use throttle_core::identity::Trust;
use throttle_core::policy::{Stage, Stages};
use throttle_core::region::Now;
use throttle_core::store::access_list::AccessAction;

const NOW_US: u64 = 1_000_000_000;

const POLICY: &str = r#"
[[limit]]
name = "net"
per = "client.net"
rate = "10/hour"
burst = 7

[limit.quota."203.0.113.0/24"]
rate = "90/hour"

[[limit]]
name = "window"
per = "sender.org"
rate = "20/hour"
algorithm = "sliding-window"

[[limit]]
name = "hosts"
per = "sender.registered"
distinct = "sender.host"
rate = "4/hour"

[[limit]]
name = "mailboxes"
per = "client.net"
distinct = "rcpt.address"
refuse = "all"
rate = "30/hour"

[[limit]]
name = "open"
per = "client.net"
in_flight = 3
share = { per = "client.ip", of_free = "1/2" }

[[limit]]
name = "proven-only"
per = "sender.host"
rate = "5/hour"
verified = "proven"

[[limit]]
name = "greeting"
per = "helo.host"
rate = "5/hour"
mode = "shadow"

[[limit]]
name = "octets"
per = "client.net"
rate = "1 MiB/hour"
"#;

/// A limit that blocks, behind those of [`POLICY`].
const BLOCKING: &str = r#"
[[limit]]
name = "mailer"
per = ["client.org", "rcpt.address"]
rate = "2/10 minutes"
action = "block 5 minutes"
"#;

fn explained(engine: &Engine, envelope: &Envelope<'_>, limit: &str) -> Vec<Explained> {
    let explanation = engine.explain(envelope, None, Now::Stated(NOW_US as i64));
    explanation.limits.into_iter().filter(|explained| explained.limit == limit).collect()
}

/// Key, used, at once, adds, wait.
fn numbers(explained: &[Explained]) -> Vec<(&str, u64, u64, u64, Option<u64>)> {
    fn of(explained: &Explained) -> (&str, u64, u64, u64, Option<u64>) {
        match &explained.found {
            LimitState::Key { key, used, at_once, adds, wait_us, .. } => {
                (key.as_str(), *used, *at_once, *adds, *wait_us)
            }
            other => panic!("{}: {other:?}", explained.limit),
        }
    }
    explained.iter().map(of).collect()
}

/// Why it does not apply.
fn reason(explained: &[Explained]) -> &str {
    match explained {
        [Explained { found: LimitState::DoesNotApply(reason), .. }] => reason,
        other => panic!("{other:?}"),
    }
}

/// What it needs that is not known.
fn missing(explained: &[Explained]) -> &[&'static str] {
    match explained {
        [Explained { found: LimitState::NotChecked { missing, .. }, .. }] => missing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_limit_tells_its_key_and_its_level() {
    let engine = engine(POLICY, 2 * MIB);
    let hosts = ["a.example.com", "b.example.com", "a.example.com"];
    for host in hosts {
        let sender = format!("joe@{host}");
        let recipients: [&[u8]; 2] = [b"x@box.com", b"y@box.com"];
        let envelope = Envelope { rcpt_to: &recipients, ..message("198.51.100.7", &sender) };
        assert!(check(&engine, &envelope, NOW_US).allowed());
    }
    let stages = Stages::default().with(Stage::Mail);
    let held = engine.admit(&message("198.51.100.7", "joe@a.example.com"), Some(stages), Now::Stated(NOW_US as i64)).1;
    let recipients: [&[u8]; 2] = [b"y@box.com", b"z@box.com"];
    let envelope = Envelope { rcpt_to: &recipients, ..message("198.51.100.7", "joe@c.example.com") };
    let of = |limit| explained(&engine, &envelope, limit);
    assert_eq!(numbers(&of("net")), [("198.51.100.0/24", 4, 7, 1, Some(0))]);
    assert_eq!(numbers(&of("window")), [("example.com", 4, 20, 1, Some(0))]);
    assert_eq!(numbers(&of("hosts")), [("example.com", 2, 4, 1, Some(0))]);
    assert_eq!(numbers(&of("mailboxes")), [("198.51.100.0/24", 2, 30, 2, Some(0))]);
    // One of three is held, and half of what is free is one: its share is used up.
    assert_eq!(numbers(&of("open")), [("198.51.100.0/24", 1, 3, 1, Some(1_000_000))]);
    assert_eq!(reason(&of("proven-only")), "only proven senders, and this one is claimed");
    assert_eq!(missing(&of("greeting")), ["helo"]);
    assert_eq!(missing(&of("octets")), ["size"]);
    let [greeting] = &explained(&engine, &Envelope { helo: Some(b"mx.a.com"), ..envelope }, "greeting")[..] else {
        panic!("one key")
    };
    assert!(
        matches!(greeting.found, LimitState::Key { trust: Some(Trust::Claimed), is_shadow: true, .. }),
        "{greeting:?}"
    );
    assert!(held.is_some_and(|token| engine.release(token)));
}

#[test]
fn a_full_limit_says_when_there_is_room_as_the_refusal_does() {
    let engine = engine(POLICY, 2 * MIB);
    let envelope = message("198.51.100.7", "joe@a.example.com");
    for _ in 0..7 {
        assert!(check(&engine, &envelope, NOW_US).allowed());
    }
    let explanation = engine.explain(&envelope, None, Now::Stated(NOW_US as i64));
    let refusal = explanation.decision.refusal.expect("the eighth");
    assert_eq!(&*refusal.limit, "net");
    assert_eq!(numbers(&explained(&engine, &envelope, "net")), [("198.51.100.0/24", 7, 7, 1, refusal.wait_us)]);
    let tenth_of_an_hour_us = 360_000_000;
    assert!(refusal.wait_us.is_some_and(|us| us <= tenth_of_an_hour_us && us > tenth_of_an_hour_us - 1000));
}

#[test]
fn a_quota_stands_where_it_holds() {
    let engine = engine(POLICY, 2 * MIB);
    let envelope = message("203.0.113.9", "joe@a.example.com");
    assert!(check(&engine, &envelope, NOW_US).allowed());
    let [net] = &explained(&engine, &envelope, "net")[..] else { panic!("one key") };
    assert_eq!(net.quota_of.as_deref(), Some("203.0.113.0/24"));
    assert_eq!(net.allows, "90/hour");
    assert_eq!(numbers(std::slice::from_ref(net)), [("203.0.113.0/24", 1, 90, 1, Some(0))]);
}

#[test]
fn an_explanation_charges_nothing() {
    let engine = engine(POLICY, 2 * MIB);
    let envelope = message("198.51.100.7", "joe@a.example.com");
    for _ in 0..100 {
        assert_eq!(numbers(&explained(&engine, &envelope, "net")), [("198.51.100.0/24", 0, 7, 1, Some(0))]);
        assert_eq!(numbers(&explained(&engine, &envelope, "hosts")), [("example.com", 0, 4, 1, Some(0))]);
    }
}

#[test]
fn every_recipient_has_an_entry_of_its_own() {
    let policy = "[[limit]]\nname = 'rcpt'\nper = 'rcpt.address'\ncount = 'recipients'\nrate = '5/hour'\n";
    let engine = engine(policy, MIB);
    let recipients: [&[u8]; 3] = [b"X@box.com", b"y@box.com", b"x@box.com"];
    let envelope = Envelope { rcpt_to: &recipients, ..message("198.51.100.7", "joe@a.example.com") };
    assert!(check(&engine, &envelope, NOW_US).allowed());
    let entries = [("x@box.com", 1, 5, 1, Some(0)), ("y@box.com", 1, 5, 1, Some(0))];
    assert_eq!(numbers(&explained(&engine, &envelope, "rcpt")), entries);
}

/// One limit of each reason not to be asked.
const UNASKED: &str = r#"
[[limit]]
name = "mailbox"
per = ["client.net", "rcpt.address"]
count = "recipients"
rate = "5/hour"

[[limit]]
name = "account"
per = "auth.user"
rate = "5/hour"

[[limit]]
name = "answers"
per = "reply_to.address"
distinct = "sender.org"
rate = "5/hour"

[[limit]]
name = "fan-out"
per = "sender.registered"
distinct = "sender.host"
rate = "200/10 minutes"
remember = "7 days"
settle = "1 hour"

[[limit]]
name = "buffer"
per = "global"
in_flight = "1 GiB"
share = { per = "client.net/24/48", of_free = "1/10" }
"#;

#[test]
fn what_is_not_known_yet_is_told_apart_from_what_does_not_apply() {
    let engine = engine(UNASKED, 2 * MIB);
    let connection = Envelope { client_ip: Some(b"198.51.100.7"), ..Envelope::default() };
    let of = |envelope: &Envelope<'_>, limit| explained(&engine, envelope, limit);
    assert_eq!(missing(&of(&connection, "mailbox")), ["mail_from", "rcpt_to"]);
    assert_eq!(missing(&of(&connection, "account")), ["mail_from"], "who has not logged in still may");
    let message = message("198.51.100.7", "joe@example.com");
    assert_eq!(missing(&of(&message, "mailbox")), ["rcpt_to"]);
    assert_eq!(missing(&of(&message, "answers")), ["reply_to"]);
    assert_eq!(missing(&of(&message, "buffer")), ["size"]);
    assert_eq!(reason(&of(&message, "account")), "the client has not logged in");
    assert_eq!(reason(&of(&message, "fan-out")), "the sender.host is example.com itself, not a name under it");
    assert_eq!(reason(&of(&Envelope { size: Some(0), ..message }, "buffer")), "a size of 0 takes nothing");
    assert_eq!(reason(&of(&Envelope { mail_from: Some(b""), ..message }, "fan-out")), "the sender is the null sender");
    let said = Headers { from: &[b"joe@example.com"], ..Headers::default() };
    let read = Envelope { headers: Some(&said), ..message };
    assert_eq!(reason(&of(&read, "answers")), "the message has no Reply-To");
    let said = Headers { dkim: &[b"example.com"], ..Headers::default() };
    let signed = Envelope { headers: Some(&said), ..message };
    assert_eq!(missing(&of(&signed, "answers")), ["reply_to"], "a signature is no header that was read");
    let data = Stages::default().with(Stage::Data);
    let message = Envelope { rcpt_to: &[b"x@box.com"], ..message };
    let explained = engine.explain(&message, Some(data), Now::Stated(NOW_US as i64)).limits;
    assert_eq!(reason(&explained[2..3]), "the message has no Reply-To", "the caller says that the header is read");
    assert_eq!(missing(&explained[..1]), [""; 0], "it runs at another stage");
}

/// However little is known of the rest, it never looks at such senders.
#[test]
fn what_looks_at_other_senders_is_not_waiting_for_anything() {
    let policy = "[[limit]]\nname = \"own\"\nper = \"sender.org\"\ncount = \"bytes\"\nrate = \"1 GB/hour\"\n\
        verified = \"proven\"";
    let engine = engine(policy, MIB);
    let of = |envelope: &Envelope<'_>| explained(&engine, envelope, "own");
    let claimed = message("198.51.100.7", "joe@example.com");
    assert_eq!(reason(&of(&claimed)), "only proven senders, and this one is claimed");
    assert_eq!(missing(&of(&Envelope { spf: Some(Spf::Pass), ..claimed })), ["size"]);
}

#[test]
fn numbers_are_a_policys_words() {
    let engine = engine(UNASKED, 2 * MIB);
    let allows: Vec<String> =
        engine.explain(&Envelope::default(), None, Now::Stated(0)).limits.into_iter().map(|row| row.allows).collect();
    assert_eq!(
        allows[3],
        "200/10 minutes; what lies below a subdomain that came back after 1 hour counts under that, with the same \
         numbers"
    );
    assert_eq!(
        allows[4],
        "1 GiB; one client.net/24/48 at most 1/10 of what is free, but always one message of 1073741 bytes"
    );
}

#[test]
fn what_nobody_can_prove_or_claim_has_no_class() {
    let engine = engine(UNASKED, 2 * MIB);
    let envelope =
        Envelope { rcpt_to: &[b"x@box.com"], size: Some(9), client_ip: None, ..message("", "joe@example.com") };
    let told = engine.explain(&envelope, None, Now::Stated(NOW_US as i64));
    let classless: Vec<String> =
        told.identities.iter().filter(|row| row.trust.is_none()).map(|row| row.identity.to_string()).collect();
    assert_eq!(classless, ["client.ip", "client.net", "rcpt.address", "rcpt.host", "global", "client.net/24/48"]);
    let [buffer] = &explained(&engine, &envelope, "buffer")[..] else { panic!("one key") };
    assert!(matches!(buffer.found, LimitState::Key { trust: None, .. }), "{buffer:?}");
}

#[test]
fn a_refusal_has_the_stage_at_which_it_is_told() {
    let engine = engine(&format!("{POLICY}{BLOCKING}"), 4 * MIB);
    let envelope = Envelope {
        rcpt_to: &[b"x@box.com"],
        client_name: Some(b"mx.example.com"),
        ..message("192.0.2.1", "joe@a.example.com")
    };
    let stage = |told: Explanation| told.decision.refusal.map(|refusal| refusal.stage);
    let at = |envelope: &Envelope<'_>| stage(engine.explain(envelope, None, Now::Stated(NOW_US as i64)));
    assert_eq!(at(&envelope), None);
    assert_eq!(at(&Envelope { size: Some(2 << 20), ..envelope }), Some(Stage::Data));
    let declared = Envelope { size: Some(2 << 20), ..envelope };
    let mail = Stages::default().with(Stage::Mail);
    let told = engine.explain(&declared, Some(mail), Now::Stated(NOW_US as i64));
    assert_eq!(stage(told), Some(Stage::Mail), "bytes, where a SIZE is declared");
    for _ in 0..3 {
        check(&engine, &envelope, NOW_US);
    }
    assert_eq!(at(&envelope), Some(Stage::Rcpt), "by the block");
    engine.say("sender.org", "example.com", AccessAction::Block, None, Now::Stated(NOW_US as i64)).expect("an entry");
    assert_eq!(at(&Envelope { rcpt_to: &[], ..envelope }), Some(Stage::Mail), "by an operator");
    engine.say("client.ip", "192.0.2.1", AccessAction::Block, None, Now::Stated(NOW_US as i64)).expect("an entry");
    assert_eq!(at(&Envelope { client_name: None, mail_from: None, ..envelope }), Some(Stage::Connect));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever came before: what is explained is what a check then does; and explaining changes nothing.
    #[test]
    fn an_explanation_agrees_with_the_check_that_follows(
        steps in prop::collection::vec((0u8..3, 0u8..3, 0u8..9, any::<bool>(), 0u32..200_000_000, 0u8..24), 1..120),
    ) {
        let engine = engine(&format!("{POLICY}{BLOCKING}"), 4 * MIB);
        let mut now_us = NOW_US;
        let nets = ["203.0.113.7", "198.51.100.7", "192.0.2.7"];
        for (net, org, host, proven, pause_us, word) in steps {
            now_us += u64::from(pause_us);
            let now = Now::Stated(now_us as i64);
            let (name, sender) = (format!("mx.org{org}.com"), format!("joe@h{host}.org{org}.com"));
            let mailbox = format!("m{host}@box{org}.net");
            let envelope = Envelope {
                client_name: proven.then_some(name.as_bytes()),
                helo: Some(b"mx.example.net"),
                rcpt_to: &[mailbox.as_bytes()],
                size: Some(1000),
                ..message(nets[usize::from(net)], &sender)
            };
            let places = [("client.net", "203.0.113.0/24"), ("sender.org", "org1.com"), ("rcpt.host", "box2.net")];
            let (place, value) = places[usize::from(word % 3)];
            match word / 3 {
                0 => engine.say(place, value, AccessAction::Block, Some(60_000_000), now).expect("an entry"),
                1 if place != "rcpt.host" => {
                    engine.say(place, value, AccessAction::Allow, Some(60_000_000), now).expect("an entry");
                }
                2 => {
                    engine.unblock(place, value, now).expect("a value");
                }
                _ => {}
            }
            let before = engine.tables(&|| ());
            let told = engine.explain(&envelope, None, now);
            prop_assert_eq!(&engine.explain(&envelope, None, now), &told);
            prop_assert_eq!(engine.tables(&|| ()), before);
            let decision = check(&engine, &envelope, now_us);
            prop_assert_eq!(&decision, &told.decision);
            let lets_pass = told.covering.iter().any(|word| word.action != AccessAction::Block);
            let blocks = told.covering.iter().filter(|word| word.action == AccessAction::Block && !lets_pass);
            let blocks: Vec<(&str, Option<u64>)> =
                blocks.map(|word| (word.by.as_deref().unwrap_or("blocked"), word.left_us)).collect();
            let is_open = |row: &Explained| row.limit == "open";
            let rows = told.limits.iter().filter(|row| is_open(row) || !lets_pass).filter_map(|row| match row.found {
                LimitState::Key { wait_us, is_shadow: false, .. } if wait_us != Some(0) => {
                    Some((row.limit.as_str(), wait_us))
                }
                _ => None,
            });
            let refusing: Vec<(&str, Option<u64>)> = rows.chain(blocks).collect();
            match &decision.refusal {
                None => prop_assert!(refusing.is_empty(), "{:?}", refusing),
                Some(refusal) => {
                    prop_assert!(
                        refusing.iter().any(|(limit, _)| *limit == &*refusal.limit),
                        "{} of {:?}",
                        refusal.limit,
                        refusing,
                    );
                    let longest = refusing.iter().map(|(_, wait_us)| wait_us.unwrap_or(u64::MAX)).max();
                    prop_assert!(
                        refusal.wait_us.unwrap_or(u64::MAX) >= longest.unwrap_or(0), "{refusal:?} of {refusing:?}",
                    );
                }
            }
        }
    }
}
