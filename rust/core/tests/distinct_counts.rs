//! Distinct counts of the last minute and hour, compared with exact sets.

mod draw;
mod guard;

use std::collections::{HashSet, VecDeque};

use draw::mix;
use guard::{MIB, engine, message};
use throttle_core::engine::Engine;
use throttle_core::identity::Identity;
use throttle_core::region::Now;
use throttle_core::stats::Window;

const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 3600 * SECOND;
/// 2026-11-24, at the start of a pane.
const START: u64 = 1_795_500_000 * SECOND;

/// Standard error of 2¹¹ registers.
const ERROR: f64 = 1.04 / 45.25;

const POLICY: &str = r#"
[[limit]]
name = "net"
per = "client.net"
rate = "100/minute"

[[limit]]
name = "host"
per = "sender.host"
rate = "10/minute"
"#;

/// Numbers of a fixed sequence.
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 += 1;
        mix(self.0) % end
    }
}

/// Every value with its time. The obvious way: nothing is forgotten but what no window can reach.
#[derive(Default)]
struct Exact(VecDeque<(u64, u32)>);

impl Exact {
    fn add(&mut self, value: u32, now: u64) {
        self.0.push_back((now, value));
    }

    /// Different values from `since` on.
    fn since(&mut self, since: u64) -> f64 {
        while self.0.front().is_some_and(|(at, _)| *at + 2 * HOUR < since) {
            self.0.pop_front();
        }
        self.0.iter().rev().take_while(|(at, _)| *at >= since).map(|(_, value)| value).collect::<HashSet<_>>().len()
            as f64
    }
}

fn hosts(engine: &Engine, window: Window, now: u64) -> f64 {
    engine.distinct(Identity::SenderHost, window, Now::Stated(now as i64)).expect("a limit needs it")
}

fn send(engine: &Engine, host: u32, now: Now) -> bool {
    let sender = format!("a@h{host}.ex.com");
    engine.check(&message("192.0.2.1", &sender), None, now).allowed()
}

/// A day: one or two messages a second from two hundred hosts, bursts of fresh ones in which most are refused,
/// hours of silence.
#[test]
fn a_day_of_bursts_and_silence_is_told_within_the_error_of_the_registers() {
    let engine = engine(POLICY, 4 * MIB);
    let (mut draw, mut exact) = (Draw(1 << 40), Exact::default());
    let (mut now, mut fresh, mut refused) = (START, 1_000, 0);
    let mut errors = Vec::new();
    while now < START + 24 * HOUR {
        let (count, pace) = match draw.below(400) {
            0 => (draw.below(20_000), 1 + draw.below(4_000)),
            1 => (1, 2 * HOUR),
            2..=10 => (1, draw.below(3 * MINUTE)),
            _ => (30, SECOND),
        };
        for _ in 0..count {
            let host = if count > 30 {
                fresh += 1;
                fresh
            } else {
                draw.below(200) as u32
            };
            now += 1 + draw.below(pace);
            refused += u32::from(!send(&engine, host, Now::Stated(now as i64)));
            exact.add(host, now);
        }
        now += draw.below(20 * SECOND);
        for (window, pane) in [(Window::Minute, 15 * SECOND), (Window::Hour, 900 * SECOND)] {
            if draw.below(8) > 0 && count <= 30 {
                continue;
            }
            let (told, truth) = (hosts(&engine, window, now), exact.since(now / pane * pane - 4 * pane));
            assert!((told - truth).abs() <= 5.0 * ERROR * truth + 0.5, "{window:?} at {now}: {told} of {truth}");
            if truth >= 2_000.0 {
                errors.push((told - truth) / truth);
            }
        }
    }
    let mean_square = errors.iter().map(|error| error * error).sum::<f64>() / errors.len() as f64;
    println!(
        "{} windows above 2,000 values, error {:.4}, {fresh} hosts, {refused} refused",
        errors.len(),
        mean_square.sqrt()
    );
    assert!(errors.len() > 40 && mean_square.sqrt() < 1.5 * ERROR, "{mean_square}");
    assert!(refused > fresh / 2, "a flood that is refused counts as well: {refused}");
}

/// The span that is promised, to the microsecond: all of the last minute, nothing older than 75 seconds.
#[test]
fn a_value_counts_for_a_minute_and_no_longer_than_seventy_five_seconds() {
    for (window, least, most) in [(Window::Minute, MINUTE, 75 * SECOND), (Window::Hour, HOUR, 75 * MINUTE)] {
        for offset in [0, 1, 14_999_999, 7 * SECOND, 899_999_999, 450 * SECOND] {
            let engine = engine(POLICY, MIB);
            let sent = START + offset;
            send(&engine, 1, Now::Stated(sent as i64));
            // Others come meanwhile, so that panes turn.
            for later in (sent + SECOND..sent + 2 * most).step_by(10 * SECOND as usize) {
                engine.check(&message("192.0.2.1", "<>"), None, Now::Stated(later as i64));
                let count = hosts(&engine, window, later).round();
                assert!(later - sent > least || count == 1.0, "{window:?}, {offset}: gone after {}", later - sent);
                assert!(later - sent < most || count == 0.0, "{window:?}, {offset}: there after {}", later - sent);
            }
        }
    }
}

#[test]
fn who_asks_later_sees_less_though_nothing_was_checked_meanwhile() {
    let engine = engine(POLICY, MIB);
    send(&engine, 1, Now::Stated(START as i64));
    let at = |window, later| hosts(&engine, window, START + later).round();
    assert_eq!([0, 60, 74, 75, 7200].map(|seconds| at(Window::Minute, seconds * SECOND)), [1.0, 1.0, 1.0, 0.0, 0.0]);
    assert_eq!([0, 60, 74, 75, 7200].map(|minutes| at(Window::Hour, minutes * MINUTE)), [1.0, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn a_clock_that_steps_back_keeps_the_window_and_one_that_steps_forward_ends_it() {
    let clock = |us: u64| Now::Clock(us as i64);
    let told = |engine: &Engine, now| engine.distinct(Identity::SenderHost, Window::Minute, now).expect("needed");
    let day = 24 * HOUR;
    let engine = engine(POLICY, MIB);
    for host in 0..1000 {
        send(&engine, host, clock(START + u64::from(host)));
    }
    for host in 500..1500 {
        send(&engine, host, clock(START - day + u64::from(host)));
    }
    let both = told(&engine, clock(START - day + 2_000));
    assert!((both - 1500.0).abs() < 5.0 * ERROR * 1500.0, "{both}");
    assert_eq!(told(&engine, clock(START - day + 76 * SECOND)), 0.0);
    send(&engine, 1, clock(START + 365 * day));
    assert_eq!(told(&engine, clock(START + 365 * day)).round(), 1.0);
}

#[test]
fn peeks_and_absent_identities_count_nothing_and_classes_count_once() {
    use throttle_core::envelope::{Envelope, Spf};
    let engine = engine(POLICY, MIB);
    let now = Now::Stated(START as i64);
    engine.peek(&message("192.0.2.1", "a@one.com"), None, now);
    engine.check(&message("192.0.2.1", "<>"), None, now);
    assert_eq!(hosts(&engine, Window::Minute, START), 0.0);
    for spf in [None, Some(Spf::Pass), Some(Spf::Fail)] {
        engine.check(&Envelope { spf, ..message("192.0.2.1", "a@one.com") }, None, now);
    }
    for junk in 0..9u8 {
        let sender = [&b"a@"[..], &[0x80 + junk, 0xff], b".com"].concat();
        engine.check(&Envelope { mail_from: Some(&sender), ..message("192.0.2.1", "") }, None, now);
    }
    assert_eq!(hosts(&engine, Window::Minute, START).round(), 2.0, "one.com and MALFORMED");
    assert_eq!(engine.distinct(Identity::HeloHost, Window::Minute, now), None);
}

/// Where memory is small, so are the registers: the least is a page more than the tables need.
#[test]
fn the_smallest_memory_still_tells_roughly() {
    let engine = engine(POLICY, (2 + 2 * 16 + 2) * 4096);
    for host in 0..5_000 {
        send(&engine, host, Now::Stated(START as i64));
    }
    let told = hosts(&engine, Window::Minute, START);
    assert!((told - 5_000.0).abs() < 5.0 * 0.13 * 5_000.0, "{told}");
}
