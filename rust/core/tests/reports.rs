//! Limits with `count = "reports"`: reports charge them, checks consult them.

mod guard;
mod oracle;

use guard::{MIB, check, engine, list, message};
use oracle::{Bucket, Buckets};
use proptest::prelude::*;
use throttle_core::decision::Decision;
use throttle_core::engine::{Engine, LimitState, Live};
use throttle_core::envelope::{Envelope, Spf};
use throttle_core::policy::{Mode, Policy, Report, Stage, Stages};
use throttle_core::region::Now;
use throttle_core::store::access_list::AccessAction;
use throttle_core::store::rate_counter::RateCounter;

const NOW_US: u64 = 1_000_000_000;

const SECOND_US: u64 = 1_000_000;

fn report(engine: &Engine, envelope: &Envelope<'_>, report: Report, now_us: u64) {
    engine.report(envelope, report, Now::Stated(i64::try_from(now_us).expect("a time of this age")));
}

fn limit_of(decision: &Decision) -> Option<&str> {
    decision.refusal.as_ref().map(|refusal| &*refusal.limit)
}

/// How much of the first limit is used up for the key of `envelope`.
fn used(engine: &Engine, envelope: &Envelope<'_>, now_us: u64) -> u64 {
    let now = Now::Stated(i64::try_from(now_us).expect("a time of this age"));
    match engine.explain(envelope, None, now).limits[0].found {
        LimitState::Key { used, adds: 0, .. } => used,
        ref other => panic!("a key that the check adds nothing to: {other:?}"),
    }
}

/// A bucket and a window that count reports, and a bucket that counts messages. A tick of the buckets is a microsecond,
/// so the oracle is exact.
const POLICY: &str = r#"
[[limit]]
name = "bucket"
per = "client.ip"
count = "reports"
reports = ["unknown-recipient", "spam"]
rate = "1000/second"
burst = 5

[[limit]]
name = "window"
per = ["client.net", "sender.org"]
count = "reports"
reports = ["spam", "virus"]
rate = "4/second"
algorithm = "sliding-window"
when_full = "refuse"

[[limit]]
name = "pace"
per = "client.ip"
rate = "1000/second"
burst = 8
"#;

fn bucket<K: Eq + std::hash::Hash>(burst: u128) -> Buckets<K> {
    Buckets::new(Bucket { amount: 1000, period_us: SECOND_US.into(), burst })
}

/// A sliding window as its module states it: an amount counts in its own pane and in the `panes` after that.
struct PanesOf {
    panes: u64,
    pane_us: u64,
    most: usize,
    reports: Vec<(u8, u64)>,
}

impl PanesOf {
    /// The first time from `now_us` on at which one more report of the key fits.
    fn fits_from(&self, key: u8, now_us: u64) -> u64 {
        let now = now_us / self.pane_us;
        let counted = |pane: u64| self.reports.iter().filter(|(of, at)| *of == key && at + self.panes >= pane).count();
        if counted(now) < self.most {
            return now_us;
        }
        let free = (now..).find(|&pane| counted(pane) < self.most).expect("they all expire");
        free * self.pane_us
    }

    fn report(&mut self, key: u8, now_us: u64) {
        if self.fits_from(key, now_us) == now_us {
            self.reports.push((key, now_us / self.pane_us));
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum What {
    Check,
    Report(Report),
}

fn steps() -> impl Strategy<Value = Vec<(u64, u8, What)>> {
    let pause = prop_oneof![3 => 0u64..2_500, 1 => 0u64..400_000];
    let what = prop_oneof![
        2 => Just(What::Check),
        3 => prop::sample::select(&Report::ALL[..]).prop_map(What::Report),
    ];
    prop::collection::vec((pause, 0u8..3, what), 1..300)
}

proptest! {
    /// Any sequence of checks and reports: a check passes exactly when there is room for a message and for one more
    /// report, waits exactly as long, and charges the message only. A report is charged at most until its limit is
    /// full, whatever the other limits have room for.
    #[test]
    fn checks_and_reports_are_those_of_an_exact_model(steps in steps()) {
        let engine = engine(POLICY, MIB);
        let panes = match engine.parts().0.limits[1].store.rate_counter() {
            Some(RateCounter::SlidingWindow(window)) => window.panes(),
            other => panic!("a window: {other:?}"),
        };
        let pane_us = SECOND_US.div_ceil(panes.into());
        let mut window = PanesOf { panes: panes.into(), pane_us, most: 4, reports: Vec::new() };
        let (mut reported, mut paced) = (bucket(5), bucket(8));
        let mut now = NOW_US;
        for (pause, who, what) in steps {
            now += pause;
            let client = format!("192.0.{who}.1");
            let envelope = message(&client, "a@ex.com");
            match what {
                What::Report(kind) => {
                    report(&engine, &envelope, kind, now);
                    if matches!(kind, Report::UnknownRecipient | Report::Spam) {
                        reported.charge_up_to_full(who, now);
                    }
                    if matches!(kind, Report::Spam | Report::Virus) {
                        window.report(who, now);
                    }
                }
                What::Check => {
                    let decision = check(&engine, &envelope, now);
                    let free = [
                        reported.fits_from(&who, now, 1), window.fits_from(who, now), paced.fits_from(&who, now, 1),
                    ];
                    let until = free.into_iter().max().expect("three of them");
                    let wait_us = decision.refusal.as_ref().map(|refusal| refusal.wait_us);
                    prop_assert_eq!(wait_us, (until > now).then_some(Some(until - now)));
                    if decision.allowed() {
                        paced.charge(who, now, 1);
                    }
                }
            }
        }
    }
}

/// One limit on reports per client.
fn guesses(more: &str) -> String {
    format!(
        "[[limit]]\nname = 'guesses'\nper = 'client.ip'\ncount = 'reports'\nreports = ['auth-failure']\n\
         rate = '5/hour'\n{more}\n"
    )
}

const CLIENT: Envelope<'_> = Envelope {
    client_ip: Some(b"192.0.2.1"),
    client_name: None,
    helo: None,
    mail_from: None,
    rcpt_to: &[],
    auth_user: None,
    spf: None,
    size: None,
    headers: None,
};

fn guess(engine: &Engine, times: usize, now_us: u64) {
    (0..times).for_each(|_| report(engine, &CLIENT, Report::AuthFailure, now_us));
}

#[test]
fn a_limit_is_consulted_at_the_latest_stage_of_its_reports_and_identities() {
    let stage = |per: &str, reports: &str| {
        let text =
            format!("[[limit]]\nname = 'x'\nper = {per}\ncount = 'reports'\nreports = [{reports}]\nrate = '5/hour'\n");
        Policy::parse("policy.toml", &text).expect("a right policy").limits[0].stage()
    };
    assert_eq!(stage("'client.ip'", "'auth-failure'"), Stage::Connect);
    assert_eq!(stage("'client.ip'", "'auth-failure', 'spam'"), Stage::Mail);
    assert_eq!(stage("'client.ip'", "'unknown-recipient'"), Stage::Mail);
    assert_eq!(stage("['client.ip', 'sender.org']", "'auth-failure'"), Stage::Mail);
    assert_eq!(stage("'rcpt.host'", "'unknown-recipient'"), Stage::Rcpt);
    assert_eq!(stage("'dkim.org'", "'spam'"), Stage::Data);
}

#[test]
fn a_limit_on_unknown_recipients_holds_within_a_transaction() {
    let policy = "[[limit]]\nname = 'x'\nper = ['client.net', 'sender.org']\ncount = 'reports'\n\
                  reports = ['unknown-recipient']\nrate = '3/hour'\n";
    let engine = engine(policy, MIB);
    let envelope = Envelope { rcpt_to: &[b"a@box.com"], ..message("192.0.2.1", "a@ex.com") };
    let at = |stage| {
        let stages = Some(Stages::default().with(stage));
        engine.check(&envelope, stages, Now::Stated(NOW_US as i64)).refusal.map(|refusal| refusal.stage)
    };
    (0..3).for_each(|_| report(&engine, &envelope, Report::UnknownRecipient, NOW_US));
    let stages = [Stage::Connect, Stage::Helo, Stage::Mail, Stage::Rcpt, Stage::Data];
    assert_eq!(stages.map(at), [None, None, Some(Stage::Mail), Some(Stage::Rcpt), None]);
    assert_eq!(check(&engine, &envelope, NOW_US).refusal.map(|refusal| refusal.stage), Some(Stage::Mail));
}

#[test]
fn checks_charge_nothing_and_reports_that_are_not_listed_neither() {
    let engine = engine(&guesses(""), MIB);
    for _ in 0..50 {
        assert!(check(&engine, &CLIENT, NOW_US).allowed());
        report(&engine, &CLIENT, Report::UnknownRecipient, NOW_US);
    }
    assert_eq!(used(&engine, &CLIENT, NOW_US), 0);
    guess(&engine, 4, NOW_US);
    assert!(check(&engine, &CLIENT, NOW_US).allowed(), "room for one more");
    guess(&engine, 1, NOW_US);
    let refused = check(&engine, &CLIENT, NOW_US);
    let reply = refused.refusal.as_ref().map(|refusal| refusal.reply());
    assert_eq!(reply.as_deref(), Some("421 4.7.0 192.0.2.1 was reported too often; retry in 720 s"));
    assert!(check(&engine, &Envelope { client_ip: Some(b"192.0.2.2"), ..CLIENT }, NOW_US).allowed());
}

#[test]
fn what_does_not_fit_is_lost_so_the_wait_is_never_longer_than_that_of_a_full_counter() {
    for (more, wait_us) in [("", 720 * SECOND_US), ("algorithm = 'sliding-window'", 4_500 * SECOND_US)] {
        let engine = engine(&guesses(more), MIB);
        guess(&engine, 500, NOW_US);
        assert_eq!(used(&engine, &CLIENT, NOW_US), 5, "{more}");
        let wait = check(&engine, &CLIENT, NOW_US).refusal.expect("it is full").wait_us.expect("some time");
        assert!(wait <= wait_us, "{more}: {wait}");
        assert!(check(&engine, &CLIENT, NOW_US + wait).allowed(), "{more}");
    }
}

#[test]
fn proven_and_claimed_senders_have_counters_of_their_own() {
    let policy = "[[limit]]\nname = 'x'\nper = 'sender.org'\ncount = 'reports'\nreports = ['spam']\nrate = '3/hour'\n";
    let engine = engine(policy, MIB);
    let claimed = message("192.0.2.1", "a@ex.com");
    let proven = Envelope { spf: Some(Spf::Pass), ..claimed };
    (0..3).for_each(|_| report(&engine, &claimed, Report::Spam, NOW_US));
    assert_eq!(limit_of(&check(&engine, &claimed, NOW_US)), Some("x"));
    assert!(check(&engine, &proven, NOW_US).allowed(), "nobody can use up what the owner of a name has");
    report(&engine, &proven, Report::Spam, NOW_US);
    assert_eq!(used(&engine, &proven, NOW_US), 1);

    let only = self::engine(&format!("{policy}verified = 'proven'\n"), MIB);
    (0..9).for_each(|_| report(&only, &claimed, Report::Spam, NOW_US));
    assert_eq!(used(&only, &proven, NOW_US), 0);
}

#[test]
fn each_value_of_an_identity_is_charged_and_an_absent_one_is_not() {
    let policy =
        "[[limit]]\nname = 'x'\nper = 'rcpt.address'\ncount = 'reports'\nreports = ['spam']\nrate = '2/hour'\n";
    let engine = engine(policy, MIB);
    let to =
        |recipients: &'static [&'static [u8]]| Envelope { rcpt_to: recipients, ..message("192.0.2.1", "a@ex.com") };
    report(&engine, &to(&[]), Report::Spam, NOW_US);
    report(&engine, &to(&[b"a@box.com", b"b@box.com", b"A@box.com"]), Report::Spam, NOW_US);
    report(&engine, &to(&[b"a@box.com"]), Report::Spam, NOW_US);
    assert_eq!([used(&engine, &to(&[b"a@box.com"]), NOW_US), used(&engine, &to(&[b"b@box.com"]), NOW_US)], [2, 1]);
    assert_eq!(limit_of(&check(&engine, &to(&[b"b@box.com", b"a@box.com"]), NOW_US)), Some("x"));
    assert!(check(&engine, &to(&[b"b@box.com"]), NOW_US).allowed());
}

#[test]
fn a_quota_and_the_scale_hold_for_reports() {
    let engine = engine(&format!("scale = 2\n{}quota.'192.0.2.1' = {{ rate = '7/hour' }}\n", guesses("")), MIB);
    let other = Envelope { client_ip: Some(b"192.0.2.2"), ..CLIENT };
    for _ in 0..50 {
        report(&engine, &CLIENT, Report::AuthFailure, NOW_US);
        report(&engine, &other, Report::AuthFailure, NOW_US);
    }
    assert_eq!([used(&engine, &CLIENT, NOW_US), used(&engine, &other, NOW_US)], [14, 10]);
}

#[test]
fn a_report_is_charged_in_shadow_mode_too() {
    let shadow = engine(&guesses("mode = 'shadow'\naction = 'block 1 hour'"), MIB);
    guess(&shadow, 9, NOW_US);
    let decision = check(&shadow, &CLIENT, NOW_US);
    assert!(decision.allowed());
    assert_eq!(decision.shadow.iter().map(|name| &**name).collect::<Vec<_>>(), ["guesses"]);

    let all = engine(&guesses("action = 'block 1 hour'"), MIB);
    all.set_mode(Mode::Shadow);
    guess(&all, 9, NOW_US);
    assert!(check(&all, &CLIENT, NOW_US).allowed());
    all.set_mode(Mode::Enforce);
    assert!(all.blocked(Now::Stated(NOW_US as i64), &|| ()).is_empty(), "shadow mode blocks nobody");
    assert_eq!(limit_of(&check(&all, &CLIENT, NOW_US)), Some("guesses"));
}

#[test]
fn a_limit_that_blocks_does_so_at_the_next_check_that_it_refuses() {
    let engine = engine(&guesses("action = 'block 1 hour'"), MIB);
    let blocked = |now_us: u64| engine.blocked(Now::Stated(now_us as i64), &|| ()).len();
    guess(&engine, 50, NOW_US);
    assert_eq!(blocked(NOW_US), 0);
    let wait = check(&engine, &CLIENT, NOW_US).refusal.expect("it is full").wait_us;
    assert_eq!((wait, blocked(NOW_US)), (Some(3600 * SECOND_US), 1));

    // A report neither prolongs the block nor ends it, and what it brings is counted.
    let late = NOW_US + 3000 * SECOND_US;
    guess(&engine, 50, late);
    let refused = check(&engine, &CLIENT, late).refusal.expect("the block holds");
    let reply = "421 4.7.0 192.0.2.1 was reported too often; retry in 720 s";
    assert_eq!(refused.reply(), reply, "the bucket is full until then, which is after the end of the block");
    assert!(check(&engine, &Envelope { client_ip: Some(b"192.0.2.2"), ..CLIENT }, late).allowed());
    assert!(check(&engine, &CLIENT, late + 720 * SECOND_US).allowed());
}

#[test]
fn an_operator_s_allowance_lets_pass_and_reports_are_counted_meanwhile() {
    let engine = engine(&guesses("action = 'block 1 hour'"), MIB);
    let now = Now::Stated(NOW_US as i64);
    engine.say("client.ip", "192.0.2.1", AccessAction::Allow, Some(60 * SECOND_US), now).expect("room for one entry");
    guess(&engine, 9, NOW_US);
    assert!(check(&engine, &CLIENT, NOW_US).allowed());
    assert_eq!(used(&engine, &CLIENT, NOW_US), 5);
    assert_eq!(limit_of(&check(&engine, &CLIENT, NOW_US + 61 * SECOND_US)), Some("guesses"));
}

#[test]
fn a_refund_gives_no_report_back_and_reset_clears_them() {
    let pace = "[[limit]]\nname = 'pace'\nper = 'client.ip'\nrate = '5/hour'\n";
    let engine = engine(&format!("{}{pace}", guesses("")), MIB);
    let now = Now::Stated(NOW_US as i64);
    let envelope = message("192.0.2.1", "a@ex.com");
    guess(&engine, 3, NOW_US);
    let (decision, receipt, _) = engine.decide(&envelope, None, now, throttle_core::engine::Purpose::Check);
    assert!(decision.allowed());
    assert!(engine.refund(&envelope, &receipt, &[], now), "the message");
    assert_eq!(used(&engine, &envelope, NOW_US), 3);
    assert_eq!(engine.reset("client.ip", "192.0.2.1", now), Ok(1));
    assert_eq!(used(&engine, &envelope, NOW_US), 0);
}

#[test]
fn reports_stay_when_the_policy_changes_around_their_limit_and_go_when_it_counts_others() {
    let pace = |rate: &str| format!("[[limit]]\nname = 'pace'\nper = 'client.ip'\nrate = '{rate}'\n");
    let live = Live::new(engine(&format!("{}{}", guesses(""), pace("5/hour")), MIB));
    let reload = |text: &str| {
        let policy = Policy::parse("next.toml", text).expect("a right policy");
        live.reload(&policy, list(&[]), &|| ()).expect("room for it");
    };
    guess(&live.engine(), 3, NOW_US);
    reload(&format!("{}{}", pace("6/hour"), guesses("action = 'block 1 hour'")));
    guess(&live.engine(), 1, NOW_US);
    reload(&guesses(""));
    assert_eq!(used(&live.engine(), &CLIENT, NOW_US), 4);
    reload(&guesses("").replace("'auth-failure'", "'auth-failure', 'spam'"));
    assert_eq!(used(&live.engine(), &message("192.0.2.1", "a@ex.com"), NOW_US), 0);
    report(&live.engine(), &CLIENT, Report::Spam, NOW_US);
    assert_eq!(used(&live.engine(), &message("192.0.2.1", "a@ex.com"), NOW_US), 1);
}

#[test]
fn a_report_moves_engine_time_even_when_no_limit_counts_it() {
    let engine = engine(&guesses(""), MIB);
    guess(&engine, 5, NOW_US);
    report(&engine, &CLIENT, Report::Virus, NOW_US + 720 * SECOND_US);
    assert!(check(&engine, &CLIENT, NOW_US).allowed(), "an earlier time counts as the latest");
}

#[test]
fn a_report_that_finds_no_room_in_the_table_is_told() {
    for more in ["when_full = 'admit'", "when_full = 'refuse'", "algorithm = 'sliding-window'\nwhen_full = 'refuse'"] {
        let engine = engine(&guesses(&format!("memory = '4 KiB'\n{more}")), MIB);
        for number in 0..2_000u32 {
            let client = format!("10.0.{}.{}", number / 250, number % 250);
            report(&engine, &Envelope { client_ip: Some(client.as_bytes()), ..CLIENT }, Report::AuthFailure, NOW_US);
        }
        let table = engine.tables(&|| ()).into_iter().find(|table| table.name == "guesses").expect("its table");
        assert_eq!((table.used, table.untracked), (table.slots, 2_000 - table.slots), "{more}");
    }
    let engine = engine(&guesses("memory = '8 KiB'\nwhen_full = 'sketch'"), MIB);
    for number in 0..2_000u32 {
        let client = format!("10.0.{}.{}", number / 250, number % 250);
        report(&engine, &Envelope { client_ip: Some(client.as_bytes()), ..CLIENT }, Report::AuthFailure, NOW_US);
    }
    guess(&engine, 5, NOW_US);
    assert_eq!(limit_of(&check(&engine, &CLIENT, NOW_US)), Some("guesses"), "a sketch never counts too low");
    assert_eq!(engine.tables(&|| ()).iter().map(|table| table.untracked).sum::<u64>(), 0);
}

#[test]
fn reports_of_many_threads_are_all_counted_while_others_check() {
    let rate = |more: &str| guesses(more).replace("5/hour", "2000/day");
    let pace = "[[limit]]\nname = 'pace'\nper = 'sender.org'\nrate = '700/day'\n";
    for more in ["", "algorithm = 'sliding-window'"] {
        let engine = engine(&format!("{}{pace}", rate(more)), 4 * MIB);
        let admitted = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (engine, admitted) = (&engine, &admitted);
                scope.spawn(move || {
                    let own = format!("198.51.100.{thread}");
                    let own = Envelope { client_ip: Some(own.as_bytes()), ..CLIENT };
                    for _ in 0..200 {
                        report(engine, &CLIENT, Report::AuthFailure, NOW_US);
                        report(engine, &own, Report::AuthFailure, NOW_US);
                        let allowed = check(engine, &message("192.0.2.9", "a@ex.com"), NOW_US).allowed();
                        admitted.fetch_add(allowed.into(), std::sync::atomic::Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(admitted.into_inner(), 700, "{more}");
        assert_eq!(used(&engine, &CLIENT, NOW_US), 1600, "{more}");
        assert_eq!(used(&engine, &Envelope { client_ip: Some(b"198.51.100.3"), ..CLIENT }, NOW_US), 200, "{more}");
        guess(&engine, 399, NOW_US);
        assert!(check(&engine, &CLIENT, NOW_US).allowed(), "{more}");
        guess(&engine, 2, NOW_US);
        assert_eq!(limit_of(&check(&engine, &CLIENT, NOW_US)), Some("guesses"), "{more}");
    }
}
