//! What comes back after a refusal (`readmit`): against a simple model, and step by step.

mod guard;
mod oracle;

use std::collections::HashMap;

use guard::{MIB, check, engine, message, with_max_open};
use oracle::{Bucket, Buckets};
use proptest::prelude::*;
use throttle_core::decision::Decision;
use throttle_core::engine::{Engine, Lesson, Session};
use throttle_core::envelope::{Envelope, Headers, Spf};
use throttle_core::identity::Identity;
use throttle_core::policy::Mode;
use throttle_core::region::Now;
use throttle_core::store::seen_set::Learned;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;

/// With this `remember`, a seen set counts in whole seconds.
const REMEMBER_S: u64 = 32_000;

const READMIT_S: u64 = 60;

fn all_new(more: &str) -> String {
    format!(
        "[[limit]]\nname = \"all-new\"\nper = \"global\"\ndistinct = \"sender.org\"\n\
         remember = \"{REMEMBER_S} seconds\"\nreadmit = \"{READMIT_S} seconds\"\n{more}\n"
    )
}

fn org(number: u64) -> String {
    format!("joe@org{number}.com")
}

fn ask(engine: &Engine, number: u64, now_us: u64) -> Decision {
    check(engine, &message("192.0.2.1", &org(number)), now_us)
}

/// The rule in a few lines: the last admission of each element, and when it was noted, in seconds.
struct Model {
    bucket: Buckets<()>,
    seen: HashMap<u64, u64>,
    noted: HashMap<u64, u64>,
}

impl Model {
    /// Returns the time from which the element is admitted. When that is now, records the admission.
    fn admits_from(&mut self, element: u64, now_us: u64) -> u64 {
        let now_s = now_us / SECOND;
        let is_kept = |time: &&u64| now_s <= **time + REMEMBER_S;
        if self.seen.get(&element).filter(is_kept).is_none() {
            let noted_s = self.noted.get(&element).filter(is_kept).copied();
            // A second passes before the note is certainly a minute old.
            let readmitted_us = (noted_s.unwrap_or(now_s) + READMIT_S + 1) * SECOND;
            let fits_us = self.bucket.fits_from(&(), now_us, 1);
            if fits_us.min(readmitted_us) > now_us {
                self.noted.insert(element, noted_s.unwrap_or(now_s));
                return fits_us.min(readmitted_us);
            }
            if fits_us <= now_us {
                self.bucket.charge((), now_us, 1);
            }
        }
        self.seen.insert(element, now_s);
        now_us
    }
}

fn pauses() -> impl Strategy<Value = u64> {
    prop_oneof![0..10u64, READMIT_S - 2..READMIT_S + 3, 0..1000u64, REMEMBER_S - 1..REMEMBER_S + 3,]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn admissions_and_waits_agree_with_the_model(
        amount in 1..4u64,
        events in prop::collection::vec((0..8u64, pauses()), 1..80),
    ) {
        let engine = engine(&all_new(&format!("rate = \"{amount}/1000 seconds\"")), MIB);
        let bucket = Bucket { amount: amount.into(), period_us: 1_000_000_000, burst: amount.into() };
        let mut model = Model { bucket: Buckets::new(bucket), seen: HashMap::new(), noted: HashMap::new() };
        let mut now_us = 10 * MINUTE;
        for (element, pause) in events {
            now_us += pause * SECOND;
            let known = message("192.0.2.1", &org(element)).mail_from.map(<[u8]>::to_vec);
            let envelope = Envelope { mail_from: known.as_deref(), ..message("192.0.2.1", "") };
            let peeked = engine.peek(&envelope, None, Now::Stated(now_us as i64));
            let decision = ask(&engine, element, now_us);
            prop_assert_eq!(&peeked, &decision, "a peek tells what the check does");
            let wait_us = decision.refusal.map(|refusal| refusal.wait_us.expect("it passes some day"));
            let expected_us = Some(model.admits_from(element, now_us) - now_us).filter(|wait_us| *wait_us > 0);
            // A tick of the bucket's clock is shorter than a millisecond.
            let off_us = wait_us.unwrap_or(0).abs_diff(expected_us.unwrap_or(0));
            prop_assert!(off_us < 1000 && wait_us.is_some() == expected_us.is_some(), "{} at {}: {:?}, not {:?}",
                element, now_us, wait_us, expected_us);
        }
    }
}

#[test]
fn an_element_that_comes_back_is_admitted_however_full_the_bucket_is() {
    let engine = engine(&all_new("rate = \"2/10 minutes\""), MIB);
    let begun = 100 * MINUTE;
    assert_eq!([0, 1, 2, 3].map(|nth| ask(&engine, nth, begun).allowed()), [true, true, false, false]);
    // Others take what the bucket has, all the time.
    for second in 1..=62 {
        ask(&engine, 1000 + second, begun + second * SECOND);
        let early = ask(&engine, 2, begun + second * SECOND);
        assert_eq!(early.allowed(), second > READMIT_S, "{second}");
    }
    assert!(ask(&engine, 2, begun + 63 * SECOND).allowed(), "known by now");
    assert!(ask(&engine, 3, begun + 90 * SECOND).allowed(), "later than it had to");
    assert!(!ask(&engine, 4, begun + 90 * SECOND).allowed(), "one that was never refused");
}

#[test]
fn a_peek_notes_nothing() {
    let engine = engine(&all_new("rate = \"1/hour\""), MIB);
    assert!(ask(&engine, 0, MINUTE).allowed());
    let name = org(1);
    let envelope = message("192.0.2.1", &name);
    assert!(!engine.peek(&envelope, None, Now::Stated(MINUTE as i64)).allowed());
    assert!(!ask(&engine, 1, 3 * MINUTE).allowed(), "it has no note");
    assert!(ask(&engine, 1, 5 * MINUTE).allowed());
}

/// In shadow mode a limit counts what it would refuse: of a name that comes each minute, the first two messages.
#[test]
fn in_shadow_mode_a_limit_would_refuse_what_it_refuses_in_force() {
    let counts = |mode: &str| {
        let engine = engine(&format!("{}mode = \"{mode}\"", all_new("rate = \"1/hour\"\n")), MIB);
        assert!(ask(&engine, 0, MINUTE).allowed());
        let told = |minute: u64| {
            let decision = ask(&engine, 1, minute * MINUTE);
            !decision.allowed() || !decision.shadow.is_empty()
        };
        (1..10).filter(|minute| told(*minute)).count()
    };
    assert_eq!([counts("enforce"), counts("shadow")], [2, 2]);
}

/// An element that is admitted again counts as new for the recipients of its message, in one check and step by step.
#[test]
fn the_recipients_of_a_readmitted_element_are_charged_step_by_step_too() {
    let recipients = all_new("rate = \"9/hour\"\ncount = \"recipients\"").replace("all-new", "all-recipients");
    let recipients = recipients.replace(&format!("readmit = \"{READMIT_S} seconds\"\n"), "");
    let engine = engine(&format!("{}\n{recipients}", all_new("rate = \"1/hour\"")), MIB);
    assert!(ask(&engine, 0, MINUTE).allowed());
    let mut session = Session::default();
    let name = org(1);
    let known = message("192.0.2.1", &name);
    let at = |minute: u64| Now::Stated((minute * MINUTE) as i64);
    assert!(!session.mail(&engine, &known, at(1)).decision.allowed());
    assert!(session.mail(&engine, &known, at(3)).decision.allowed(), "a session's refusal is noted as well");
    let boxes: Vec<String> = (0..12).map(|nth| format!("u{nth}@x.com")).collect();
    let accepted = boxes.iter().filter(|to| session.rcpt(&engine, &known, &[to.as_bytes()], at(3)).decision.allowed());
    assert_eq!(accepted.count(), 9);
}

/// Two limits over one seen set, of which only the second readmits.
#[test]
fn a_limit_without_readmission_is_no_obstacle_to_one_with_it() {
    let without = all_new("rate = \"9/hour\"").replace("all-new", "wide");
    let without = without.replace(&format!("readmit = \"{READMIT_S} seconds\"\n"), "");
    let engine = engine(&format!("{without}\n{}", all_new("rate = \"1/hour\"")), MIB);
    assert!(ask(&engine, 0, MINUTE).allowed());
    assert_eq!([1, 3].map(|minute| ask(&engine, 1, minute * MINUTE).allowed()), [false, true]);
}

/// A refusal by another limit makes no note: the wait is that of the full bucket. The first retry that no other limit
/// refuses is noted.
#[test]
fn what_another_limit_refuses_too_is_noted_when_only_this_one_refuses() {
    let another = "[[limit]]\nname = \"net\"\nper = \"client.net\"\nrate = \"1/10 minutes\"\n";
    let engine = engine(&format!("{another}\n{}", all_new("rate = \"1/hour\"")), MIB);
    assert!(ask(&engine, 0, MINUTE).allowed());
    let told_at = |minute: u64| told(ask(&engine, 1, minute * MINUTE));
    let by_all_new = |seconds: u64| Some(("all-new".to_owned(), seconds));
    assert_eq!([1, 5].map(told_at), [3_600, 3_360].map(by_all_new), "both refuse, and the longest wait is told");
    assert_eq!(told_at(11), by_all_new(READMIT_S + 1), "noted");
    assert_eq!(told_at(13), None);
}

/// A note that was made before shortens the wait, whatever refuses by now.
#[test]
fn a_note_outlives_a_refusal_by_another_limit() {
    let another = "[[limit]]\nname = \"net\"\nper = \"client.net\"\nrate = \"1/10 minutes\"\n";
    let engine = engine(&format!("{}\n{another}", all_new("rate = \"1/hour\"")), MIB);
    let from = |net: u8, number: u64, minute: u64| {
        told(check(&engine, &message(&format!("192.0.{net}.1"), &org(number)), minute * MINUTE))
    };
    assert_eq!(from(2, 0, 1), None);
    assert_eq!(from(3, 1, 1), Some(("all-new".to_owned(), READMIT_S + 1)), "noted");
    assert_eq!(from(2, 1, 2), Some(("net".to_owned(), 540)), "`all-new` refuses for a second more");
    assert_eq!(from(2, 1, 5), Some(("net".to_owned(), 360)));
    assert_eq!(from(2, 1, 11), None);
}

/// Whatever else refuses, nothing is noted: an in-flight limit, the permits, a rate, the recipients. Under a
/// policy in shadow mode, what would refuse.
#[test]
fn nothing_is_noted_of_what_is_refused_for_another_reason() {
    let at = |minute: u64| Now::Stated((minute * MINUTE) as i64);
    let [first, second] = [org(0), org(1)];
    let [admitted, deferred] = [&first, &second].map(|sender| message("192.0.2.1", sender));
    let open = "[[limit]]\nname = \"open\"\nper = \"client.net\"\nin_flight = 1\n";
    let net = "[[limit]]\nname = \"net\"\nper = \"client.net\"\nrate = \"1/10 minutes\"\n";
    let passes_later_in = |mode: Mode, more: &str, max_open: u32, holds: bool| {
        let engine = with_max_open(&format!("{}\n{more}", all_new("rate = \"1/hour\"")), MIB, max_open);
        engine.set_mode(mode);
        let token = engine.admit(&admitted, None, at(1)).1.expect("admitted");
        let refused = if holds { engine.admit(&deferred, None, at(1)).0 } else { engine.check(&deferred, None, at(1)) };
        assert!(!refused.allowed() || !refused.shadow.is_empty());
        assert!(engine.release(token));
        let later = engine.check(&deferred, None, at(12));
        later.allowed() && later.shadow.is_empty()
    };
    let passes_later = |more: &str, max_open, holds| passes_later_in(Mode::Enforce, more, max_open, holds);
    assert!(passes_later("", 9, true), "it is noted where nothing else refuses");
    assert!(!passes_later(open, 9, true), "an in-flight limit");
    assert!(!passes_later("", 1, true), "the permits");
    assert!(!passes_later(net, 9, false), "a rate");
    assert!(passes_later(&format!("{net}mode = \"shadow\"\n"), 9, false), "not in shadow mode");
    assert!(passes_later_in(Mode::Shadow, "", 9, false), "it is noted what would be refused");
    assert!(!passes_later_in(Mode::Shadow, net, 9, false), "a rate would refuse, too");

    let engine = engine(&format!("max_recipients = 100\n{}", all_new("rate = \"1/hour\"")), MIB);
    assert!(engine.check(&admitted, None, at(1)).allowed());
    let boxes: Vec<String> = (0..101).map(|nth| format!("u{nth}@x.com")).collect();
    let recipients: Vec<&[u8]> = boxes.iter().map(String::as_bytes).collect();
    assert!(!engine.check(&Envelope { rcpt_to: &recipients, ..deferred }, None, at(1)).allowed());
    assert!(!engine.check(&deferred, None, at(12)).allowed(), "too many recipients");
    assert!(engine.check(&deferred, None, at(14)).allowed());
}

#[test]
fn an_unproven_sender_is_one_that_spf_was_checked_for() {
    let policy = "[[limit]]\nname = \"x\"\nper = \"client.net\"\nrate = \"2/day\"\nverified = \"unproven\"\n";
    let engine = engine(policy, MIB);
    let none = message("192.0.2.1", "a@b.com");
    let fault = Envelope { spf: Some(Spf::Unchecked), ..none };
    let passed = Envelope { spf: Some(Spf::Pass), ..none };
    let named = Envelope { client_name: Some(b"mx.b.com"), spf: Some(Spf::Silent), ..none };
    assert!((0..9).all(|_| [none, fault, passed, named].iter().all(|one| check(&engine, one, 1).allowed())));
    let [silent, failed] = [Spf::Silent, Spf::Fail].map(|spf| Envelope { spf: Some(spf), ..none });
    assert_eq!([silent, failed, silent].map(|one| check(&engine, &one, 1).allowed()), [true, true, false]);
    assert!(check(&engine, &none, 1).allowed());
}

/// Mail from a reader's own provider, and bounces, bring a reader nothing new; a name that only ends alike does.
#[test]
fn the_own_organisation_of_a_mailbox_is_never_new_to_it() {
    let policy =
        "[[limit]]\nname = \"readers\"\nper = \"reply_to.mailbox\"\ndistinct = \"sender.org\"\nrate = \"1/day\"\n";
    let engine = engine(policy, MIB);
    let ask = |sender: &str, reader: &str| {
        let fields = [reader.as_bytes()];
        let headers = Headers { reply_to: &fields, ..Headers::default() };
        check(&engine, &Envelope { headers: Some(&headers), ..message("192.0.2.1", sender) }, 1).allowed()
    };
    for reader in ["joe@gmail.com", "joe@hotmail.com", "joe@firm.com"] {
        assert!(ask("a@first.com", reader), "the one of a day");
        assert!(!ask("a@second.com", reader), "{reader} is full");
        assert!(ask("", reader), "a bounce to {reader}");
    }
    assert!(ask("joe@gmail.com", "joe@gmail.com") && ask("joe@googlemail.com", "joe@googlemail.com"));
    assert!(ask("a@firm.com", "joe@firm.com") && ask("a@mail.firm.com", "joe@firm.com"));
    assert!(!ask("a@mail.com", "joe@hotmail.com"), "hotmail.com does not belong to mail.com");
}

/// The whole seconds that a refused sender waits, and the limit that tells it.
fn told(decision: Decision) -> Option<(String, u64)> {
    let refusal = decision.refusal?;
    Some((refusal.limit.to_string(), refusal.wait_us.expect("it passes some day").div_ceil(SECOND)))
}

/// While another limit refuses for longer than a note is kept, the wait is that of the full bucket: by then no note
/// tells that the element was refused before.
#[test]
fn a_note_that_is_forgotten_before_another_limit_has_room_shortens_no_wait() {
    let another = "[[limit]]\nname = \"net\"\nper = \"client.net\"\nrate = \"1/day\"\n";
    let engine = engine(&format!("{}\n{another}", all_new("rate = \"1/10 days\"")), MIB);
    let full_until_s = 60 + 10 * 86_400;
    let [other_net, net] = ["198.51.100.1", "192.0.2.1"];
    let [known, new] = [org(0), org(1)];
    let told_at = |ip: &str, from: &str, now_us: u64| told(check(&engine, &message(ip, from), now_us));
    assert_eq!([other_net, net].map(|ip| told_at(ip, &known, MINUTE)), [None, None], "now both buckets are full");
    assert_eq!(told_at("203.0.113.1", &new, MINUTE), Some(("all-new".into(), READMIT_S + 1)), "noted");
    assert_eq!(told_at(net, &new, 3 * MINUTE), Some(("all-new".into(), full_until_s - 180)));
    assert_eq!(told_at(net, &new, full_until_s * SECOND), None, "as it was told");
}

/// The bucket has room again in a year. Each refusal tells the wait of the element's note instead, as long as the note
/// is kept.
#[test]
fn a_note_shortens_the_longest_wait() {
    let engine = engine(&all_new("rate = \"1/366 days\""), MIB);
    let told_at = |number: u64, second: u64| told(ask(&engine, number, second * SECOND));
    let wait = |seconds: u64| Some(("all-new".to_owned(), seconds));
    assert_eq!(told_at(0, 100), None, "now the bucket is full");
    assert_eq!([100, 101, 160].map(|second| told_at(1, second)), [61, 60, 1].map(wait));
    assert_eq!(told_at(2, 160), wait(61), "each element has a note of its own");
    assert_eq!(told_at(1, 161), None);
    let forgotten = 161 + REMEMBER_S;
    assert_eq!(told_at(2, forgotten), wait(61), "its note is forgotten, and this refusal makes another");
    assert_eq!([60, 61].map(|seconds| told_at(2, forgotten + seconds)), [wait(1), None]);
}

/// A domain too long to be one counts by its bytes, so its note is its own too.
#[test]
fn a_sender_with_an_overlong_domain_is_readmitted_by_its_own_note() {
    let engine = engine(&all_new("rate = \"1/day\""), MIB);
    let overlong = |letter: &str| format!("joe@{}.com", letter.repeat(5_000));
    let [first, second] = ["a", "b"].map(overlong);
    let told_at = |from: &str, second: u64| told(check(&engine, &message("192.0.2.1", from), second * SECOND));
    assert_eq!(told_at(&org(0), 100), None, "now the bucket is full");
    let wait = |seconds: u64| Some(("all-new".to_owned(), seconds));
    assert_eq!(told_at(&first, 100), wait(61));
    assert_eq!([&second, &first].map(|from| told_at(from, 161)), [wait(61), None]);
    assert_eq!(told_at(&first, 162), None, "known by now");
    assert_eq!([221, 222].map(|at| told_at(&second, at)), [wait(1), None]);
}

/// What was learned under `global` is known to a check, and nothing else is.
#[test]
fn an_organisation_that_was_learned_passes_a_limit_on_all_new_ones() {
    let engine = engine(&all_new("rate = \"1/day\""), MIB);
    let distinct = Identity::SenderOrg(0);
    let seen_sets = engine.seen_sets(&[Identity::Global], distinct);
    assert_eq!(seen_sets, [0]);
    let lesson = Lesson { per: &["*"], element: "org1.com", first_us: SECOND as i64, last_us: SECOND as i64 };
    assert_eq!(engine.learn(0, &lesson, Now::Stated(MINUTE as i64)), Ok(Learned::Kept));
    let allowed = |numbers: [u64; 4]| numbers.map(|number| ask(&engine, number, MINUTE).allowed());
    assert_eq!(allowed([0, 1, 2, 1]), [true, true, false, true]);
}
