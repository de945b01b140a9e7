//! What comes back after a refusal (`readmit`): against a simple model, and step by step.

mod guard;
mod oracle;

use std::collections::HashMap;

use guard::{MIB, check, engine, message};
use oracle::{Bucket, Buckets};
use proptest::prelude::*;
use throttle_core::decision::Decision;
use throttle_core::engine::Engine;
use throttle_core::envelope::{Envelope, Spf};
use throttle_core::region::Now;

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
fn a_peek_and_a_limit_in_shadow_mode_note_nothing() {
    let shadow = format!("{}mode = \"shadow\"", all_new("rate = \"1/hour\""));
    let another = "[[limit]]\nname = \"net\"\nper = \"client.net\"\nrate = \"1/30 days\"\n";
    let engine = engine(&format!("{shadow}\n{another}"), MIB);
    assert!(ask(&engine, 0, MINUTE).allowed());
    assert!(!ask(&engine, 1, MINUTE).allowed(), "by the other limit");
    let later = check(&engine, &message("198.51.100.1", &org(1)), 9 * MINUTE);
    assert_eq!(&*later.shadow, &["all-new".into()][..], "it would be refused: it has no note");
}

#[test]
fn a_note_outlives_a_refusal_by_another_limit() {
    let another = "[[limit]]\nname = \"net\"\nper = \"client.net\"\nrate = \"1/10 minutes\"\n";
    let engine = engine(&format!("{}\n{another}", all_new("rate = \"1/hour\"")), MIB);
    assert!(ask(&engine, 0, MINUTE).allowed());
    let refusal = ask(&engine, 1, MINUTE).refusal.expect("by both limits");
    assert_eq!(&*refusal.limit, "net", "the longest wait is told");
    assert_eq!(ask(&engine, 1, 5 * MINUTE).refusal.map(|refusal| refusal.limit.to_string()), Some("net".into()));
    assert!(ask(&engine, 1, 11 * MINUTE).allowed());
}

#[test]
fn an_unproven_sender_is_one_that_spf_was_checked_for() {
    let policy = "[[limit]]\nname = \"x\"\nper = \"client.net\"\nrate = \"2/day\"\nverified = \"unproven\"\n";
    let engine = engine(policy, MIB);
    let unchecked = message("192.0.2.1", "a@b.com");
    let passed = Envelope { spf: Some(Spf::Pass), ..unchecked };
    let named = Envelope { client_name: Some(b"mx.b.com"), spf: Some(Spf::Silent), ..unchecked };
    assert!((0..9).all(|_| [unchecked, passed, named].iter().all(|one| check(&engine, one, 1).allowed())));
    let [silent, failed] = [Spf::Silent, Spf::Fail].map(|spf| Envelope { spf: Some(spf), ..unchecked });
    assert_eq!([silent, failed, silent].map(|one| check(&engine, &one, 1).allowed()), [true, true, false]);
    assert!(check(&engine, &unchecked, 1).allowed());
}
