//! When a fan-out charges an element, and for how many recipients: against a simple model, and step by step.

mod guard;
mod oracle;

use std::collections::HashMap;

use guard::{MIB, check, engine, message};
use oracle::{Bucket, Buckets};
use proptest::prelude::*;
use throttle_core::decision::Decision;
use throttle_core::engine::{Engine, Session};
use throttle_core::envelope::{Envelope, Spf};
use throttle_core::region::Now;

const SECOND: u64 = 1_000_000;
const HOUR: u64 = 3600 * SECOND;

/// With this `remember`, a seen set counts in whole seconds.
const REMEMBER_S: u64 = 32_000;

/// An element that came back after this time has returned.
const RETURN_S: u64 = 3600;

fn fan_out(more: &str) -> String {
    format!(
        "[[limit]]\nname = \"hosts\"\nper = \"sender.registered\"\ndistinct = \"sender.host\"\n\
         remember = \"{REMEMBER_S} seconds\"\n{more}\n"
    )
}

fn host(number: u64) -> String {
    format!("joe@h{number}.ex.com")
}

fn is_allowed(engine: &Engine, number: u64, now_us: u64) -> bool {
    check(engine, &message("192.0.2.1", &host(number)), now_us).allowed()
}

/// The rule in a few lines: first and last admission of each element, in seconds.
struct Model<'m> {
    charge: &'m str,
    buckets: Buckets<()>,
    seen: HashMap<u64, (u64, u64)>,
}

impl Model<'_> {
    fn admits(&mut self, element: u64, now_us: u64) -> bool {
        let now_s = now_us / SECOND;
        let known = self.seen.get(&element).copied().filter(|(_, last)| now_s <= last + REMEMBER_S);
        let is_charged = known.is_none_or(|(first, last)| {
            let has_returned = last - first >= RETURN_S;
            match self.charge {
                "once" => false,
                "twice" => last == first && now_s > first,
                _ => !has_returned,
            }
        });
        if is_charged {
            if !self.buckets.fits(&(), now_us, 1) {
                return false;
            }
            self.buckets.charge((), now_us, 1);
        }
        let first = known.map_or(now_s, |(first, _)| first);
        self.seen.insert(element, (first, now_s));
        true
    }
}

fn pauses() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..100 * SECOND,
        (0..3u64).prop_map(|off| HOUR - SECOND + off * SECOND),
        0..2 * HOUR,
        Just(REMEMBER_S * SECOND),
        (0..3u64).prop_map(|off| REMEMBER_S * SECOND + off * SECOND),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_way_to_charge_agrees_with_its_model(
        charge in prop_oneof![Just("once"), Just("twice"), Just("until-return")],
        amount in 1..4u64,
        events in prop::collection::vec((0..6u64, pauses()), 1..60),
    ) {
        let engine = engine(&fan_out(&format!("rate = \"{amount}/1000 seconds\"\ncharge = \"{charge}\"")), MIB);
        let bucket = Bucket { amount: amount.into(), period_us: 1_000_000_000, burst: amount.into() };
        let mut model = Model { charge, buckets: Buckets::new(bucket), seen: HashMap::new() };
        // Ticks of the bucket's clock are shorter than a microsecond's part of these amounts, so times are spread.
        let mut now_us = 10 * HOUR;
        for (element, pause) in events {
            now_us += pause - pause % SECOND + SECOND;
            let [told, expected] = [is_allowed(&engine, element, now_us), model.admits(element, now_us)];
            prop_assert_eq!(told, expected, "{} at {}", element, now_us);
        }
    }
}

#[test]
fn the_second_admission_of_an_element_is_charged_too() {
    let engine = engine(&fan_out("rate = \"3/day\"\ncharge = \"twice\""), MIB);
    assert!(is_allowed(&engine, 1, HOUR), "new: the first of three");
    assert!((0..50).all(|nth| is_allowed(&engine, 1, HOUR + nth * SECOND / 50)), "free within the unit of time");
    assert!(is_allowed(&engine, 1, HOUR + SECOND), "its second admission: the second of three");
    assert!((0..50).all(|minute| is_allowed(&engine, 1, HOUR + minute * 120 * SECOND)), "free from then on");
    assert!(is_allowed(&engine, 2, 3 * HOUR), "new: the last of three");
    assert!(!is_allowed(&engine, 2, 3 * HOUR + SECOND), "they are used up");
}

#[test]
fn until_its_return_an_element_is_charged_with_every_message() {
    let engine = engine(&fan_out("rate = \"4/day\"\ncharge = \"until-return\""), MIB);
    assert!((0..3).all(|nth| is_allowed(&engine, 1, HOUR + nth * SECOND)), "three of four");
    assert!(is_allowed(&engine, 1, 2 * HOUR + SECOND), "its return: the fourth");
    assert!((0..9).all(|nth| is_allowed(&engine, 1, 3 * HOUR + nth * SECOND)), "free from then on");
    assert!(!is_allowed(&engine, 2, 3 * HOUR), "the four are used up");
    for nth in 0..9 {
        assert!(!is_allowed(&engine, 2, 4 * HOUR + nth * SECOND), "an element that is refused does not return");
    }
}

/// An hour after the first check, whatever time that was.
#[test]
fn a_limit_that_warms_up_only_learns() {
    let engine = engine(&fan_out("rate = \"1/day\"\nwarm_up = \"1 hour\""), MIB);
    let begun = 100 * HOUR;
    assert!((0..9).all(|nth| is_allowed(&engine, nth, begun + nth * SECOND)), "nothing is charged");
    assert!(is_allowed(&engine, 20, begun + HOUR - 1));
    assert!((0..9).all(|nth| is_allowed(&engine, nth, begun + HOUR + nth)), "what it has learned is known");
    assert_eq!([30, 31].map(|nth| is_allowed(&engine, nth, begun + HOUR + 9)), [true, false], "the one of a day");
}

const RECIPIENTS: &str = "rate = \"5/day\"\ncount = \"recipients\"";

/// The open transaction of one message from host `number`.
struct Transaction<'e> {
    engine: &'e Engine,
    session: Session,
    sender: String,
    accepted: Vec<String>,
}

impl<'e> Transaction<'e> {
    fn begin(engine: &'e Engine, number: u64) -> Self {
        let (session, sender) = (Session::default(), host(number));
        let mut begun = Self { engine, session, sender, accepted: Vec::new() };
        let known = message("192.0.2.1", &begun.sender);
        assert!(begun.session.mail(engine, &known, Now::Stated(1)).decision.allowed());
        begun
    }

    fn rcpt(&mut self, recipient: &str) -> Decision {
        let accepted: Vec<&[u8]> = self.accepted.iter().map(String::as_bytes).collect();
        let known = Envelope { rcpt_to: &accepted, ..message("192.0.2.1", &self.sender) };
        let step = self.session.rcpt(self.engine, &known, &[recipient.as_bytes()], Now::Stated(1));
        if step.decision.allowed() {
            self.accepted.push(recipient.into());
        }
        step.decision
    }
}

/// The host is known since MAIL, where the other limit charged it; its recipients are charged all the same.
#[test]
fn each_recipient_of_a_new_element_is_charged_step_by_step() {
    let messages = fan_out("rate = \"9/day\"").replace("\"hosts\"", "\"messages\"");
    for policy in [fan_out(RECIPIENTS), format!("{messages}{}", fan_out(RECIPIENTS))] {
        let engine = engine(&policy, MIB);
        let mut first = Transaction::begin(&engine, 1);
        for nth in 0..5 {
            assert!(first.rcpt(&format!("r{nth}@x.com")).allowed(), "{nth}");
        }
        let refused = first.rcpt("r5@x.com");
        assert_eq!(refused.refusal.map(|refusal| refusal.limit.to_string()), Some("hosts".into()));
        let mut second = Transaction::begin(&engine, 1);
        assert!((0..9).all(|nth| second.rcpt(&format!("r{nth}@x.com")).allowed()), "the host is known by now");
    }
}

#[test]
fn each_recipient_of_a_new_element_is_charged_in_one_check() {
    let engine = engine(&fan_out(RECIPIENTS), MIB);
    let recipients: Vec<String> = (0..6).map(|nth| format!("r{nth}@x.com")).collect();
    let mut rcpt_to: Vec<&[u8]> = recipients.iter().map(String::as_bytes).collect();
    let sender = host(1);
    let all = Envelope { rcpt_to: &rcpt_to, ..message("192.0.2.1", &sender) };
    assert_eq!(check(&engine, &all, 1).refusal.expect("six of five").wait_us, None, "never");
    rcpt_to[5] = b"R0@x.com";
    let five = Envelope { rcpt_to: &rcpt_to, ..message("192.0.2.1", &sender) };
    assert!(check(&engine, &five, 1).allowed(), "a recipient counts once");
    assert!(check(&engine, &five, 1).allowed(), "the host is known");
    let other = host(2);
    let another = Envelope { rcpt_to: &rcpt_to[..1], ..message("192.0.2.1", &other) };
    assert!(!check(&engine, &another, 1).allowed(), "the five are used up");
}

const MOST: &str = "max_recipients = 100\n[[limit]]\nname = \"pace\"\nper = \"client.ip\"\nrate = \"9/minute\"\n";

#[test]
fn a_transaction_has_at_most_so_many_recipients_and_the_next_one_as_many_again() {
    let engine = engine(MOST, MIB);
    for _ in 0..2 {
        let mut transaction = Transaction::begin(&engine, 1);
        for nth in 0..100 {
            assert!(transaction.rcpt(&format!("r{nth}@x.com")).allowed());
        }
        assert!(transaction.rcpt("R7@x.com").allowed(), "an accepted recipient again");
        let refusal = transaction.rcpt("r100@x.com").refusal.expect("one too many");
        assert_eq!((&*refusal.limit, refusal.wait_us), ("max-recipients", Some(SECOND)));
        assert!(refusal.reply().starts_with("452 4.5.3 "), "{}", refusal.reply());
    }
}

#[test]
fn an_envelope_with_too_many_recipients_never_passes_except_in_shadow_mode() {
    let recipients: Vec<String> = (0..101).map(|nth| format!("r{nth}@x.com")).collect();
    let mut rcpt_to: Vec<&[u8]> = recipients.iter().map(String::as_bytes).collect();
    let all = Envelope { rcpt_to: &rcpt_to, ..message("192.0.2.1", "a@b.com") };
    let refusal = check(&engine(MOST, MIB), &all, 1).refusal.expect("one too many");
    assert_eq!((&*refusal.limit, refusal.wait_us), ("max-recipients", None));
    let shadow = check(&engine(&format!("mode = \"shadow\"\n{MOST}"), MIB), &all, 1);
    assert_eq!((shadow.allowed(), &*shadow.shadow), (true, &["max-recipients".into()][..]));
    rcpt_to[100] = b"R0@x.com";
    let all = Envelope { rcpt_to: &rcpt_to, ..message("192.0.2.1", "a@b.com") };
    assert!(check(&engine(MOST, MIB), &all, 1).allowed(), "a recipient counts once");
}

#[test]
fn a_limit_of_claimed_senders_per_client_counts_no_other_message() {
    let engine =
        engine("[[limit]]\nname = \"x\"\nper = \"client.net\"\nrate = \"2/day\"\nverified = \"claimed\"\n", MIB);
    let claimed = message("192.0.2.1", "a@b.com");
    let proven = Envelope { spf: Some(Spf::Pass), ..claimed };
    let named = Envelope { client_name: Some(b"mx.b.com"), ..claimed };
    assert!((0..9).all(|_| check(&engine, &proven, 1).allowed() && check(&engine, &named, 1).allowed()));
    assert_eq!([0; 3].map(|_| check(&engine, &claimed, 1).allowed()), [true, true, false]);
    assert!(check(&engine, &proven, 1).allowed());
}

/// A client that is named by the provider of its line must not have the provider blocked.
#[test]
fn a_named_sender_is_counted_apart_and_is_neither_blocked_nor_allowed() {
    let policy = "[[limit]]\nname = \"x\"\nper = \"sender.org\"\nrate = \"2/day\"\nverified = \"proven\"\n\
                  action = \"block 10 minutes\"\n";
    let engine = engine(policy, MIB);
    let claimed = message("192.0.2.1", "a@isp.com");
    let named = Envelope { client_name: Some(b"customer.isp.com"), ..claimed };
    let proven = Envelope { spf: Some(Spf::Pass), ..claimed };
    assert_eq!([0; 3].map(|_| check(&engine, &named, 1).allowed()), [true, true, false]);
    let wait_us = check(&engine, &named, 1).refusal.expect("over its limit").wait_us;
    assert!(wait_us > Some(10 * 60 * SECOND), "the limit's own wait: {wait_us:?}");
    assert_eq!([0; 3].map(|_| check(&engine, &proven, 1).allowed()), [true, true, false]);
    let blocked = check(&engine, &proven, 1).refusal.expect("blocked");
    assert!(blocked.reply().contains("isp.com"), "{}", blocked.reply());
    assert!(check(&engine, &claimed, 1).allowed(), "a mere claim is not counted here");
}

/// Limits over one memory have buckets of their own: a client's is not that of its network, whose names it shares.
#[test]
fn a_client_brings_fewer_names_that_are_new_to_its_network_than_the_network_may() {
    let engine = engine(
        r#"[[limit]]
        name = "net"
        per = "client.net/24/48"
        distinct = "sender.org"
        rate = "3/hour"
        remember = "1 day"
        [[limit]]
        name = "client"
        per = "client.net/32/64"
        distinct = "sender.org"
        new_to = "client.net/24/48"
        rate = "2/hour"
        remember = "1 day""#,
        MIB,
    );
    let refused_by = |client: &str, sender: &str| {
        check(&engine, &message(client, sender), 1).refusal.map(|refusal| refusal.limit.to_string())
    };
    let first = ["a@a.com", "a@b.com", "a@c.com", "a@a.com"].map(|sender| refused_by("192.0.2.1", sender));
    assert_eq!(first, [None, None, Some("client".into()), None]);
    let second = ["a@a.com", "a@b.com", "a@c.com", "a@d.com"].map(|sender| refused_by("192.0.2.2", sender));
    assert_eq!(second, [None, None, None, Some("net".into())]);
}
