//! Names of those that come near a limit, compared with an oracle that never forgets.

mod draw;
mod guard;
mod oracle;

use std::collections::{HashMap, HashSet};

use draw::mix;
use guard::{MIB, check, engine, message};
use oracle::{Bucket, Buckets};
use proptest::prelude::*;
use throttle_core::engine::Engine;
use throttle_core::envelope::Envelope;
use throttle_core::identity::Identity;
use throttle_core::region::Now;
use throttle_core::stats::{NAME_BYTES, Name, Offender};

const SECOND: u64 = 1_000_000;
const PANE: u64 = 15 * SECOND;
/// 2026-11-24.
const START: u64 = 1_795_500_000 * SECOND;

fn top(engine: &Engine, identity: Identity, now: u64) -> Vec<Offender> {
    engine.top(identity, Now::Stated(now as i64)).expect("a limit needs it")
}

fn names(engine: &Engine, identity: Identity) -> Vec<String> {
    let mut names: Vec<String> = top(engine, identity, START).into_iter().map(|offender| offender.value).collect();
    names.sort_unstable();
    names
}

fn limit(name: &str, fields: &str) -> String {
    format!("[[limit]]\nname = \"{name}\"\n{fields}\n")
}

/// A name from the message on at which its bucket was found in use and is above half after it, or refuses;
/// and all it sends from then on.
#[derive(Default)]
struct Named(HashMap<u8, (u64, Vec<(u64, bool)>)>);

impl Named {
    fn sent(&mut self, who: u8, hot: bool, admitted: bool, now: u64) {
        if hot {
            self.0.entry(who).or_insert((now, Vec::new()));
        }
        if let Some((_, sent)) = self.0.get_mut(&who) {
            sent.push((now, admitted));
        }
    }

    fn top(&self, now: u64) -> Vec<Offender> {
        let from = (now / PANE - 4) * PANE;
        let mut all: Vec<Offender> = self
            .0
            .iter()
            .map(|(who, (since, sent))| {
                let lately = sent.iter().filter(|(at, _)| *at >= from);
                let admitted = lately.clone().filter(|(_, admitted)| *admitted).count() as u64;
                let (value, refused) = (format!("s{who}.com"), lately.count() as u64 - admitted);
                Offender { value, admitted, refused, new_elements: 0, fan_out: None, since_us: *since as i64 }
            })
            .collect();
        all.sort_by_key(|one| (std::cmp::Reverse(one.admitted + one.refused), one.since_us, one.value.clone()));
        all
    }
}

proptest! {
    #[test]
    fn names_counts_and_times_are_those_of_an_oracle_that_forgets_nothing(
        window in any::<bool>(),
        burst in 1u64..9,
        steps in prop::collection::vec((0u8..50, 0u64..3, 0u64..20 * SECOND), 1..400),
    ) {
        let kind = if window { "algorithm = \"sliding-window\"".to_owned() } else { format!("burst = {burst}") };
        let fields = format!("per = \"sender.org\"\nrate = \"4/20 seconds\"\n{kind}");
        let bucket = Bucket { amount: 4, period_us: 20 * u128::from(SECOND), burst: burst.into() };
        let engine = engine(&limit("pace", &fields), MIB);
        let (mut buckets, mut named, mut now) = (Buckets::new(bucket), Named::default(), START);
        // A window of 4 is cut into panes: what it holds is what was admitted in the panes that it has not left.
        let (mut rings, pane) = (HashMap::<u8, Vec<u64>>::new(), (20 * SECOND).div_ceil(15));
        for (who, quick, pause) in steps {
            let who = who % 7 * 8;
            now += if quick == 0 { pause } else { pause / 1000 };
            let (was, fits) = if window {
                let ring = rings.entry(who).or_default();
                ring.retain(|at| at / pane + 16 > now / pane);
                (2 * ring.len() as u128, ring.len() < 4)
            } else {
                (2 * buckets.level(&who, now), buckets.fits(&who, now, 1))
            };
            let (one, half) = if window { (2, 4) } else { (2 * bucket.period_us, bucket.burst * bucket.period_us) };
            // A tick of a bucket's clock may be 5 µs: what lies within two of half, or of full, is told either way.
            let near = |bound: u128| (was + one).abs_diff(bound) / 8 < 10 && pause > 0;
            prop_assume!(window || !near(half) && !near(2 * half));
            let admitted = check(&engine, &message("192.0.2.1", &format!("a@s{who}.com")), now).allowed();
            prop_assert_eq!(admitted, fits);
            named.sent(who, was > 0 && (was + one > half || !fits), admitted, now);
            if admitted && window {
                rings.entry(who).or_default().push(now);
            } else if admitted {
                buckets.charge(who, now, 1);
            }
            prop_assert_eq!(top(&engine, Identity::SenderOrg(0), now), named.top(now));
        }
    }
}

#[test]
fn a_composite_names_each_of_its_parts_under_the_parts_identity() {
    let engine = engine(&limit("pair", "per = [\"client.net\", \"sender.org\"]\nrate = \"4/hour\""), MIB);
    for _ in 0..6 {
        check(&engine, &message("192.0.2.1", "a@heavy.com"), START);
    }
    check(&engine, &message("198.51.100.1", "a@light.com"), START);
    let counted = |identity| {
        let all = top(&engine, identity, START);
        all.into_iter().map(|one| (one.value, one.admitted, one.refused)).collect::<Vec<_>>()
    };
    // From the third on: above half of four.
    assert_eq!(counted(Identity::SenderOrg(0)), [("heavy.com".to_owned(), 2, 2)]);
    assert_eq!(engine.observed().map(|identity| counted(identity).len()).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn of_several_recipients_only_those_near_their_limit_get_a_name() {
    let engine = engine(&limit("box", "per = \"rcpt.address\"\ncount = \"recipients\"\nrate = \"4/hour\""), MIB);
    let to = |recipients: &[&[u8]]| {
        check(&engine, &Envelope { rcpt_to: recipients, ..message("192.0.2.1", "a@b.com") }, START);
    };
    to(&[b"one@box.com", b"full@box.com"]);
    to(&[b"full@box.com", b"two@box.com"]);
    assert_eq!(names(&engine, Identity::RcptAddress), [""; 0]);
    to(&[b"three@box.com", b"full@box.com", b"four@box.com"]);
    assert_eq!(names(&engine, Identity::RcptAddress), ["full@box.com"]);
    let many: Vec<String> = (0..100).map(|number| format!("m{number}@box.com")).collect();
    let many: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
    for _ in 0..4 {
        to(&many);
    }
    // Sixteen a check, and two checks found them above half.
    assert_eq!(names(&engine, Identity::RcptAddress).len(), 1 + 2 * 16);
}

#[test]
fn fresh_senders_never_get_a_name_not_even_without_room_or_where_one_message_is_all() {
    let policy = [
        limit("once", "per = \"sender.host\"\nrate = \"1/hour\"\nwhen_full = \"refuse\"\nmemory = \"4 KiB\""),
        limit("one", "per = \"sender.org\"\nrate = \"1/hour\"\nalgorithm = \"sliding-window\""),
    ];
    let engine = engine(&policy.concat(), MIB);
    let refused = (0..5_000).filter(|number| {
        !check(&engine, &message("192.0.2.1", &format!("a@h{number}.org{number}.com")), START).allowed()
    });
    assert!(refused.count() > 4_000, "the table of 448 slots is full");
    assert_eq!((names(&engine, Identity::SenderHost), names(&engine, Identity::SenderOrg(0))), (vec![], vec![]));
}

#[test]
fn fan_out_counts_the_elements_of_the_fan_out_that_is_per_the_identity_alone() {
    let policy = [
        limit("fan", "per = \"sender.org\"\ndistinct = \"sender.host\"\nrate = \"9/hour\""),
        limit("pair", "per = [\"client.net\", \"sender.org\"]\ndistinct = \"rcpt.address\"\nrate = \"1000000/hour\""),
    ];
    let deviations: Vec<f64> = [10u64, 100, 1_000, 10_000, 10_001, 10_002, 10_003, 10_004]
        .into_iter()
        .map(|count| {
            let engine = engine(&policy.concat(), MIB);
            for number in 0..count + 5 {
                // The first five come before there is a name: above half of nine.
                let sender = format!("a@h{}.heavy.com", if number < 5 { number } else { mix(count << 20 | number) });
                check(&engine, &message("192.0.2.1", &sender), START + number);
                check(&engine, &message("192.0.2.1", &sender), START + number);
            }
            assert_eq!(top(&engine, Identity::SenderHost, START), []);
            let [heavy] = &top(&engine, Identity::SenderOrg(0), START)[..] else { panic!("one name") };
            let told = heavy.fan_out.expect("a fan-out is per sender.org");
            (told - count as f64) / count as f64
        })
        .collect();
    let error = 0.833 / 8.0;
    assert!(deviations.iter().all(|deviation| deviation.abs() < 5.0 * error), "{deviations:?}");
    let mean_square = deviations.iter().map(|deviation| deviation * deviation).sum::<f64>() / deviations.len() as f64;
    assert!(mean_square.sqrt() < 2.0 * error, "{deviations:?}");
}

#[test]
fn new_elements_are_those_that_the_fan_out_did_not_know() {
    let known = "per = \"sender.org\"\ndistinct = \"sender.host\"\nrate = \"9/hour\"";
    let engine = engine(&limit("fan", known), MIB);
    let send = |host: u64, at| check(&engine, &message("192.0.2.1", &format!("a@h{host}.heavy.com")), at).allowed();
    let new = |at| top(&engine, Identity::SenderOrg(0), at)[0].new_elements;
    for host in 0..5 {
        assert!(send(host, START));
    }
    assert_eq!(new(START), 1, "the fifth, above half of nine, brought the name");
    for host in 0..5 {
        assert!(send(host, START));
    }
    assert_eq!(new(START), 1, "all five are known");
    for host in 5..9 {
        assert!(send(host, START + PANE));
    }
    for _ in 0..5 {
        assert!(!send(9, START + 2 * PANE));
    }
    assert_eq!(new(START + 2 * PANE), 1 + 4 + 5, "one that is refused counts each time");
    assert_eq!(new(START + 5 * PANE), 4 + 5);
    assert_eq!(new(START + 6 * PANE), 5);
    assert_eq!(new(START + 7 * PANE), 0);
}

#[test]
fn each_of_several_recipients_has_its_own_new_elements() {
    let engine = engine(&limit("fan", "per = \"rcpt.address\"\ndistinct = \"sender.host\"\nrate = \"4/hour\""), MIB);
    let send = |sender: &str, recipients: &[&[u8]]| {
        check(&engine, &Envelope { rcpt_to: recipients, ..message("192.0.2.1", sender) }, START);
    };
    let new = || -> Vec<(String, u64)> {
        let all = top(&engine, Identity::RcptAddress, START);
        let mut all: Vec<_> = all.into_iter().map(|one| (one.value, one.new_elements)).collect();
        all.sort_unstable();
        all
    };
    for host in ["a.com", "b.com", "c.com"] {
        send(&format!("x@{host}"), &[b"one@box.com", b"two@box.com"]);
    }
    assert_eq!(new(), [("one@box.com".to_owned(), 1), ("two@box.com".to_owned(), 1)]);
    send("x@d.com", &[b"two@box.com"]);
    send("x@d.com", &[b"one@box.com", b"two@box.com"]);
    assert_eq!(new(), [("one@box.com".to_owned(), 2), ("two@box.com".to_owned(), 2)]);
}

#[test]
fn a_fan_out_that_refuses_the_whole_key_tells_new_elements_by_its_estimate() {
    let whole = "per = \"sender.org\"\ndistinct = \"sender.host\"\nrate = \"9/hour\"\nrefuse = \"all\"";
    let engine = engine(&limit("fan", whole), MIB);
    for _ in 0..2 {
        for host in 0..100 {
            check(&engine, &message("192.0.2.1", &format!("a@h{host}.heavy.com")), START);
        }
    }
    let [heavy] = &top(&engine, Identity::SenderOrg(0), START)[..] else { panic!("one name") };
    let fan_out = heavy.fan_out.expect("a fan-out");
    assert_eq!(heavy.new_elements, fan_out.round() as u64, "all within the last minute");
    assert!((70.0..130.0).contains(&fan_out), "{fan_out}");
}

#[test]
fn of_more_names_than_slots_those_that_send_most_stay() {
    let engine = engine(&limit("pace", "per = \"sender.org\"\nrate = \"2/day\""), 4 * MIB);
    for round in 0..50u64 {
        for who in 0..200u64 {
            // The first thirty send in every round, the others in one of fifty.
            if who < 30 || who % 50 == round {
                for _ in 0..3 {
                    check(&engine, &message("192.0.2.1", &format!("a@s{who}.com")), START + round * SECOND);
                }
            }
        }
    }
    let all = top(&engine, Identity::SenderOrg(0), START + 50 * SECOND);
    assert_eq!(all.len(), 64);
    assert_eq!(all.iter().map(|one| &one.value).collect::<HashSet<_>>().len(), 64, "each name once");
    let heavy: Vec<(String, u64)> =
        all.into_iter().take(30).map(|one| (one.value, one.admitted + one.refused)).collect();
    // All but the first message, which came before the name.
    let mut expected: Vec<(String, u64)> = (0..30).map(|who| (format!("s{who}.com"), 149)).collect();
    let mut found = heavy;
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

proptest! {
    #[test]
    fn a_short_name_is_kept_and_of_a_long_one_the_end(text in "\\PC{0,80}") {
        let kept = Name::of(&text).text();
        prop_assert!(kept.len() <= NAME_BYTES);
        match kept.strip_prefix('…').filter(|_| text.len() > NAME_BYTES) {
            Some(end) => {
                prop_assert!(text.ends_with(end) && end.len() + 2 * '…'.len_utf8() >= NAME_BYTES - 3, "{kept}");
            }
            None => prop_assert_eq!(kept, text),
        }
    }
}
