//! The samples of messages: which are kept, what of them, and when they are forgotten.

use std::sync::Arc;

use proptest::prelude::*;
use throttle_core::diagnosis::samples::{Field, KEPT, MINUTE_US, PANES, Pane, Samples, is_shortened};
use throttle_core::envelope::{Envelope, Headers};
use throttle_core::identity::{Identities, Identity, Sources, SuffixList};
use throttle_core::key::Secret;
use throttle_core::stage::Stage;

const NOW_US: u64 = 1_000_000 * MINUTE_US;

fn samples(seed: u8) -> Samples {
    Samples::new(&Secret::new([seed; 16]))
}

fn helo(record: &throttle_core::diagnosis::samples::Record) -> usize {
    let text = std::str::from_utf8(record.get(Field::Helo).expect("a HELO")).expect("digits");
    text.parse().expect("a number")
}

/// The positions in a minute of the messages that are kept, of `count` that are admitted, or refused at once.
fn kept(samples: &Samples, count: usize, is_refused: bool, at_us: u64) -> Vec<usize> {
    let limit = is_refused.then(|| "pace".into());
    for number in 0..count {
        let name = number.to_string();
        samples.message(&Envelope { helo: Some(name.as_bytes()), ..Envelope::default() }, limit.as_ref(), at_us);
    }
    let panes = samples.panes().panes;
    let pane = panes.iter().find(|pane| pane.minute == at_us / MINUTE_US).expect("its pane");
    let part = &pane.parts[usize::from(is_refused)];
    assert_eq!(part.seen, count as u64);
    part.records.iter().map(helo).collect()
}

#[test]
fn every_message_of_a_minute_is_kept_with_the_same_probability() {
    // 400 minutes of 640 messages each, in ten classes by position.
    let minutes = 400;
    for (is_refused, expected) in [(false, 2_560.0), (true, 1_280.0)] {
        let (mut classes, samples) = ([0_u32; 10], samples(1));
        for minute in 0..minutes {
            let found = kept(&samples, 640, is_refused, NOW_US + minute * MINUTE_US);
            assert_eq!(found.len(), KEPT[usize::from(is_refused)]);
            found.iter().for_each(|position| classes[position / 64] += 1);
        }
        let chi_square: f64 = classes.iter().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum();
        // Nine degrees of freedom: 27.9 is exceeded once in a thousand. The seed is fixed.
        assert!(chi_square < 27.9, "chi-square {chi_square}: {classes:?}");
    }
}

#[test]
fn refused_messages_push_out_no_admitted_one() {
    let samples = samples(1);
    let before = kept(&samples, 64, false, NOW_US);
    kept(&samples, 100_000, true, NOW_US);
    let pane = &samples.panes().panes[0];
    assert_eq!(pane.parts[0].records.iter().map(helo).collect::<Vec<_>>(), before);
    assert_eq!((pane.seen(), pane.refused), (100_064, 100_000));
}

#[test]
fn the_secret_decides_which_messages_are_kept() {
    let [one, same, other] = [1, 1, 2].map(|seed| kept(&samples(seed), 1_000, false, NOW_US));
    assert_eq!(one, same);
    assert_ne!(one, other);
}

#[test]
fn a_pane_is_forgotten_after_sixty_six_minutes_and_time_never_goes_back() {
    let samples = samples(1);
    let envelope = Envelope { helo: Some(b"1"), ..Envelope::default() };
    for minute in 0..200 {
        samples.message(&envelope, None, NOW_US + minute * MINUTE_US);
    }
    samples.message(&envelope, None, NOW_US);
    let snapshot = samples.panes();
    let mut minutes: Vec<u64> = snapshot.panes.iter().map(|pane| pane.minute - NOW_US / MINUTE_US).collect();
    minutes.sort_unstable();
    assert_eq!(minutes, (200 - PANES as u64..200).collect::<Vec<_>>());
    let seen = |pane: &Pane| (pane.seen(), pane.parts[0].records.len());
    assert_eq!(snapshot.panes.iter().map(seen).max(), Some((2, 2)), "the one that came late");
    assert_eq!(snapshot.began_us, Some(NOW_US));
}

#[test]
fn later_steps_add_to_the_message_that_is_kept() {
    let samples = samples(1);
    let mail = Envelope { mail_from: Some(b"a@h.example.com"), ..Envelope::default() };
    let mut message = samples.message(&mail, None, NOW_US);
    let rcpt = Envelope { rcpt_to: &[b"u@box.com"], ..mail };
    samples.more(&mut message, &rcpt, None);
    let limit: Arc<str> = "pace".into();
    let headers = Headers { from: &[b"a@author.com"], ..Headers::default() };
    let data = Envelope { headers: Some(&headers), ..rcpt };
    for _ in 0..2 {
        // A message is refused once, however often its client asks again.
        samples.more(&mut message, &data, Some(&limit));
    }
    let panes = samples.panes().panes;
    let [pane @ Pane { refused: 1, parts: [admitted, _], .. }] = &panes[..] else { panic!("{panes:?}") };
    assert_eq!(pane.seen(), 1);
    let [record] = &admitted.records[..] else { panic!("{admitted:?}") };
    assert_eq!(record.get(Field::Rcpt), Some(&b"u@box.com"[..]));
    assert_eq!(record.get(Field::From), Some(&b"a@author.com"[..]));
    assert_eq!(record.get(Field::ReplyTo), None);
    assert_eq!((record.reached(), record.refused.clone()), (Stage::Data, Some(limit)));
}

#[test]
fn a_message_whose_place_was_taken_changes_no_other() {
    let samples = samples(1);
    let text = |number: usize| number.to_string();
    let name = text(0);
    let mut first = samples.message(&Envelope { helo: Some(name.as_bytes()), ..Envelope::default() }, None, NOW_US);
    for number in 1..100_000 {
        let name = text(number);
        samples.message(&Envelope { helo: Some(name.as_bytes()), ..Envelope::default() }, None, NOW_US);
    }
    let minutes_later = NOW_US + PANES as u64 * MINUTE_US;
    let mut forgotten = samples.message(&Envelope::default(), None, NOW_US + MINUTE_US);
    samples.message(&Envelope::default(), None, minutes_later + MINUTE_US);
    let late = Envelope { auth_user: Some(b"late"), ..Envelope::default() };
    let limit: Arc<str> = "pace".into();
    for message in [&mut first, &mut forgotten] {
        samples.more(message, &late, Some(&limit));
    }
    let panes = samples.panes().panes;
    let refused = |minute| panes.iter().find(|pane| pane.minute == minute).map(|pane| pane.refused);
    assert_eq!(refused(NOW_US / MINUTE_US), Some(1), "its minute is there, so it counts");
    assert_eq!(refused(minutes_later / MINUTE_US + 1), Some(0));
    let touched = panes.iter().flat_map(|pane| &pane.parts).flat_map(|part| &part.records);
    assert_eq!(touched.filter(|record| record.get(Field::AuthUser).is_some()).count(), 0);
}

proptest! {
    /// Whatever the length of a text is, its organisation stays, and equal texts stay equal.
    #[test]
    fn a_long_text_keeps_its_organisation(
        local in "[a-z]{1,200}", labels in prop::collection::vec("[a-y]{1,40}", 0..6), org in "[a-y]{3,20}",
        words in "[a-z ]{0,200}",
    ) {
        let suffixes = SuffixList::parse(include_str!("data/suffixes.dat"), &[]).expect("a sound list");
        let host = labels.iter().map(|label| format!("{label}.")).collect::<String>() + &org + ".com";
        prop_assume!(host.len() <= 250);
        let address = format!("{local}@{host}");
        let field = format!("{words} <{address}>");
        let headers = Headers { from: &[field.as_bytes()], reply_to: &[address.as_bytes()], ..Headers::default() };
        let envelope = Envelope {
            mail_from: Some(address.as_bytes()), helo: Some(host.as_bytes()), headers: Some(&headers),
            ..Envelope::default()
        };
        let samples = samples(1);
        for _ in 0..2 {
            samples.message(&envelope, None, NOW_US);
        }
        let panes = samples.panes().panes;
        let [one, other] = &panes[0].parts[0].records[..] else { panic!("{panes:?}") };
        for field in [Field::Sender, Field::Helo, Field::From, Field::ReplyTo] {
            prop_assert_eq!(one.get(field), other.get(field));
        }
        let [sender, helo, from, reply_to] = [Field::Sender, Field::Helo, Field::From, Field::ReplyTo]
            .map(|field| one.get(field).expect("a text"));
        let kept = Envelope {
            mail_from: Some(sender), helo: Some(helo),
            headers: Some(&Headers { from: &[from], reply_to: &[reply_to], ..Headers::default() }),
            ..Envelope::default()
        };
        let [whole, kept] = [&envelope, &kept].map(|envelope| Identities::read(envelope, &suffixes, Sources::ALL));
        for identity in [Identity::SenderOrg(0), Identity::HeloOrg, Identity::FromOrg, Identity::ReplyToOrg] {
            prop_assert_eq!(kept.value(identity), whole.value(identity), "{}", identity);
        }
        for identity in [Identity::SenderAddress, Identity::FromAddress, Identity::ReplyToAddress] {
            let (kept, whole) = (kept.value(identity), whole.value(identity));
            let text = kept.expect("an address").to_string();
            prop_assert!(kept == whole || one.has_shortened && is_shortened(&text), "{} is {}", text, address);
        }
    }
}
