//! A dialogue in the core alone: each limit once, slots while they last, and any order answered.

mod guard;

use guard::{MIB, with_max_open};
use proptest::prelude::*;
use throttle_core::decision::Decision;
use throttle_core::engine::{Engine, Session, Step};
use throttle_core::envelope::Envelope;
use throttle_core::region::Now;

const POLICY: &str = r#"
[[limit]]
name = "connections"
per = "client.ip"
count = "connections"
rate = "2/day"

[[limit]]
name = "greeted"
per = "helo.host"
count = "connections"
rate = "2/day"

[[limit]]
name = "open"
per = "client.ip"
count = "connections"
in_flight = 2

[[limit]]
name = "messages"
per = "sender.org"
rate = "2/day"

[[limit]]
name = "open-messages"
per = "global"
in_flight = 2

[[limit]]
name = "open-bytes"
per = "global"
in_flight = "1 kB"

[[limit]]
name = "mailbox"
per = "rcpt.address"
count = "recipients"
rate = "1/day"

[[limit]]
name = "host"
per = "rcpt.host"
rate = "2/day"
"#;

const NOW: Now = Now::Stated(1_000_000_000);

const CLIENT: Envelope<'_> = Envelope {
    client_ip: Some(b"192.0.2.1"),
    client_name: None,
    helo: Some(b"mx.b.com"),
    mail_from: Some(b"a@b.com"),
    rcpt_to: &[],
    auth_user: None,
    spf: None,
    size: Some(600),
    headers: None,
};

fn engine() -> Engine {
    with_max_open(POLICY, MIB, 4)
}

fn told(step: &Step) -> Option<&str> {
    limit(&step.decision)
}

fn limit(decision: &Decision) -> Option<&str> {
    decision.refusal.as_ref().map(|refusal| &*refusal.limit)
}

/// What is held, in the order of the policy, and the permits.
fn held(engine: &Engine) -> Vec<u64> {
    let names = ["open", "open-messages", "open-bytes", "permits"];
    let tables = engine.tables(&|| ());
    names.iter().map(|name| tables.iter().find(|table| table.name == *name).expect("a row").used).collect()
}

#[test]
fn each_limit_is_charged_once_and_slots_are_held_while_they_last() {
    let engine = engine();
    let mut dialogue = Session::default();
    assert_eq!(told(&dialogue.connect(&engine, &CLIENT, NOW)), None);
    assert_eq!(held(&engine), [1, 0, 0, 1]);
    for _ in 0..3 {
        assert_eq!(told(&dialogue.connect(&engine, &CLIENT, NOW)), None);
        assert_eq!(told(&dialogue.helo(&engine, &CLIENT, NOW)), None);
    }
    assert_eq!(told(&dialogue.mail(&engine, &CLIENT, NOW)), None);
    assert_eq!(held(&engine), [1, 1, 600, 2]);
    let first = dialogue.rcpt(&engine, &CLIENT, &[b"p@q.net", b"P@Q.net", b"r@q.net"], NOW);
    assert_eq!((told(&first), &first.new_recipients[..]), (None, &[0, 2][..]));
    let again = dialogue.rcpt(&engine, &CLIENT, &[b"r@q.net", b"s@q.net"], NOW);
    assert_eq!((told(&again), &again.new_recipients[..]), (None, &[1][..]));
    assert_eq!(told(&dialogue.data(&engine, &CLIENT, NOW)), None);
    assert_eq!(held(&engine), [1, 0, 0, 1]);
    // The second of two of everything, but for mailboxes, of which there is one a day each.
    let mut other = Session::default();
    assert_eq!(told(&other.mail(&engine, &CLIENT, NOW)), None, "connects by itself");
    assert_eq!(told(&other.rcpt(&engine, &CLIENT, &[b"x@q.net", b"p@q.net"], NOW)), Some("mailbox"), "all or none");
    assert_eq!(told(&other.rcpt(&engine, &CLIENT, &[b"x@q.net"], NOW)), None);
    other.close(&engine);
    dialogue.close(&engine);
    assert_eq!(held(&engine), [0, 0, 0, 0]);
    let mut third = Session::default();
    assert_eq!(told(&third.connect(&engine, &CLIENT, NOW)), Some("connections"));
    assert_eq!(held(&engine), [0, 0, 0, 0]);
}

#[test]
fn the_actual_size_takes_the_place_of_the_declared_one() {
    let engine = engine();
    let (mut one, mut other) = (Session::default(), Session::default());
    let small = Envelope { size: Some(300), ..CLIENT };
    assert_eq!(told(&one.mail(&engine, &CLIENT, NOW)), None);
    assert_eq!(told(&other.mail(&engine, &small, NOW)), None);
    assert_eq!(held(&engine), [2, 2, 900, 4]);
    // 600 are held by another: 400 fit in place of the 300, 401 do not.
    let large = Envelope { size: Some(401), ..CLIENT };
    assert_eq!(told(&other.data(&engine, &large, NOW)), Some("open-bytes"));
    assert_eq!(held(&engine), [2, 1, 600, 3], "over, whatever the answer");
    let all = Envelope { size: Some(1000), ..CLIENT };
    assert_eq!(told(&one.data(&engine, &all, NOW)), None);
    assert_eq!(held(&engine), [2, 0, 0, 2]);
}

#[test]
fn a_refused_mail_stands_for_what_is_pipelined_behind_it() {
    let engine = engine();
    let mut dialogue = Session::default();
    let large = Envelope { size: Some(1001), ..CLIENT };
    let refused = dialogue.mail(&engine, &large, NOW);
    assert_eq!(told(&refused), Some("open-bytes"));
    assert_eq!(dialogue.rcpt(&engine, &large, &[b"p@q.net"], NOW).decision, refused.decision);
    assert_eq!(dialogue.data(&engine, &large, NOW).decision, refused.decision);
    assert_eq!(held(&engine), [1, 0, 0, 1]);
    dialogue.reset(&engine);
    assert_eq!(told(&dialogue.data(&engine, &large, NOW)), Some("out-of-order"));
    dialogue.close(&engine);
    assert_eq!(told(&dialogue.mail(&engine, &CLIENT, NOW)), Some("out-of-order"));
    assert_eq!(held(&engine), [0, 0, 0, 0]);
}

proptest! {
    #[test]
    fn whatever_the_order_what_is_held_is_what_is_under_way_and_in_the_end_nothing(
        steps in prop::collection::vec((0usize..3, 0u8..7, 0u64..1200), 1..80),
    ) {
        let engine = engine();
        let mut dialogues: [Session; 3] = Default::default();
        let (mut day, mut sizes) = (1_000_000_000, [None; 3]);
        for (which, what, size) in steps {
            day += 86_400_000_000;
            let now = Now::Stated(day);
            let dialogue = &mut dialogues[which];
            let known = Envelope { size: Some(size), ..CLIENT };
            let recipient = format!("r{size}@q.net");
            match what {
                0 => drop(dialogue.connect(&engine, &known, now)),
                1 => { dialogue.helo(&engine, &known, now); sizes[which] = None; }
                2 | 3 => sizes[which] = dialogue.mail(&engine, &known, now).decision.allowed().then_some(size),
                4 => drop(dialogue.rcpt(&engine, &known, &[recipient.as_bytes()], now)),
                5 => { dialogue.data(&engine, &known, now); sizes[which] = None; }
                _ => { dialogue.reset(&engine); sizes[which] = None; }
            }
            let held = held(&engine);
            prop_assert_eq!(held[1], sizes.iter().flatten().count() as u64);
            prop_assert_eq!(held[2], sizes.iter().flatten().sum::<u64>());
            prop_assert_eq!(held[3], held[0] + held[1]);
        }
        for dialogue in &mut dialogues {
            dialogue.close(&engine);
        }
        prop_assert_eq!(held(&engine), [0, 0, 0, 0]);
    }
}

/// The client's name comes after HELO: the step that asks what was owed tells all shadows in file order, each once.
#[test]
fn shadows_of_what_was_owed_and_of_the_step_are_told_in_file_order() {
    let limit = |name: &str, per: &str, rest: &str| {
        format!("[[limit]]\nname = \"{name}\"\nper = \"{per}\"\nrate = \"1/day\"\nmode = \"shadow\"\n{rest}\n")
    };
    let policy = [
        limit("sender", "sender.org", ""),
        limit("client", "client.host", "count = \"connections\""),
        limit("address", "sender.address", ""),
    ];
    let engine = with_max_open(&policy.concat(), MIB, 8);
    let told = || {
        let mut dialogue = Session::default();
        dialogue.connect(&engine, &CLIENT, NOW);
        let named = Envelope { client_name: Some(b"mx.example.com"), ..CLIENT };
        dialogue.client_name_came();
        let step = dialogue.mail(&engine, &Envelope { mail_from: Some(b"joe@example.com"), ..named }, NOW);
        dialogue.close(&engine);
        step.decision.shadow.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(told(), [""; 0]);
    assert_eq!(told(), ["sender", "client", "address"]);
}
