//! The work that `benches/instructions.py` has counted: pieces of the hot path, each so often, with everything warm.
//!
//! It counts nothing itself: callgrind collects while `counted` runs, which does one path only,
//! the one that is named as an argument.
//! Without an argument it lists the paths, having walked each to see that it does what its name says. A path of another
//! policy than `inbound-1.toml` begins with that policy's name and a colon.
//! Invariant: seeds, names and times are fixed, and all paths are walked in the same order whichever is counted,
//! so that a run is like the last.

mod side_by_side;
mod traffic;

use std::hint::black_box;

use side_by_side::is_listing;
use throttle_core::engine::{Engine, Limiter};
use throttle_core::envelope::Envelope;
use throttle_core::key::Secret;
use throttle_core::policy::{Algorithm, Rate, WhenFull};
use throttle_core::region::Now;
use throttle_core::store::access_list::AccessAction;
use traffic::{INBOUND, INBOUND_1, PACE_US, PolicyFile, START_US, Senders, at, stages, warm, warm_under};

const MIB: u64 = 1 << 20;

/// Pieces of work of each path.
const CALLS: usize = 4_000;

/// What is collected: nothing else may have this name.
#[inline(never)]
fn counted(work: &mut dyn FnMut(usize)) {
    (0..CALLS).for_each(work);
}

/// One path, counted when it was asked for.
fn path(name: &str, mut work: impl FnMut(usize) -> bool) {
    let mut as_named = 0;
    let mut work = |call| as_named += usize::from(work(call));
    match std::env::args().any(|argument| argument == name) {
        true => counted(&mut work),
        false => (0..CALLS).for_each(work),
    }
    assert!(as_named * 100 >= CALLS * 99, "{name}: {as_named} of {CALLS}");
    println!("{CALLS}\t{name}");
}

/// Fresh hosts below one organisation.
fn flood() -> Vec<[String; 2]> {
    let host = |number| format!("h{number}.flood.com");
    (0..CALLS + 1_000).map(|number| [host(number), format!("bounce@{}", host(number))]).collect()
}

fn flooding(names: &[String; 2]) -> Envelope<'_> {
    let [helo, mail_from] = names;
    Envelope {
        client_ip: Some(b"198.51.100.7"),
        helo: Some(helo.as_bytes()),
        mail_from: Some(mail_from.as_bytes()),
        rcpt_to: &traffic::RECIPIENT,
        ..Envelope::default()
    }
}

/// Whole checks under a policy; `prefix` stands before their names. Returns the engine and the senders that it knows.
fn checks(prefix: &str, policy: PolicyFile) -> (Engine, Senders) {
    let known = Senders::numbered(0..2_000);
    let engine = warm_under(policy, "", 16 * MIB, &known);
    let mut turn = known.count();
    let mut next = || {
        turn += 1;
        turn
    };
    let named = |case: &str| format!("{prefix}check, {case}");
    path(&named("known sender"), |call| engine.check(&known.envelope(call), None, at(next())).allowed());
    let fresh = Senders::numbered(10_000..10_000 + CALLS);
    path(&named("fresh sender"), |call| engine.check(&fresh.envelope(call), None, at(next())).allowed());
    let flood = flood();
    let (before, refused) = flood.split_at(1_000);
    for names in before {
        engine.check(&flooding(names), None, at(next()));
    }
    path(&named("refused"), |call| !engine.check(&flooding(&refused[call]), None, at(next())).allowed());
    (engine, known)
}

/// Messages of the minute before those that are counted. So they are kept as often as all messages of a minute with
/// ten thousand: 64/4000 × ln(4391/391) = 64/10000 × (1 + ln(10000/64)) = 3.9 %.
const SAMPLED_BEFORE: usize = 391;

/// A check whose message `diagnose` may keep, at two paces. Of ten thousand messages a minute it keeps few, and of 120
/// it keeps 64/120 × (1 + ln(120/64)) = 87 %. A check at the slow pace takes more instructions anyway, so that pace is
/// counted without sampling too.
fn sampled(prefix: &str, policy: PolicyFile) {
    let known = Senders::numbered(0..2_000);
    let first = known.count();
    let check = |engine: &Engine, call: usize, now: Now| engine.check(&known.envelope(call), None, now).allowed();
    let engine = warm_under(policy, "", 16 * MIB, &known).sampling();
    for turn in 0..SAMPLED_BEFORE {
        check(&engine, turn, at(first + turn));
    }
    let name = format!("{prefix}check, known sender, sampled");
    path(&name, |call| check(&engine, call, at(first + SAMPLED_BEFORE + call)));
    for (name, engine) in [
        ("two a second", warm_under(policy, "", 16 * MIB, &known)),
        ("two a second, sampled", warm_under(policy, "", 16 * MIB, &known).sampling()),
    ] {
        let seconds_later = |call: usize| Now::Stated(START_US + first as i64 * PACE_US + call as i64 * 500_000);
        path(&format!("{prefix}check, known sender, {name}"), |call| check(&engine, call, seconds_later(call)));
    }
}

fn identities((engine, known): (Engine, Senders)) {
    path("identities read", |call| {
        black_box(engine.read(&known.envelope(call), stages()));
        true
    });
}

/// A limit that blocks what nobody here sends.
const BLOCKING: &str = r#"
[[limit]]
name   = "ip-pace"
per    = "client.ip"
rate   = "600/minute"
burst  = 600
action = "block 1 hour"
"#;

/// A look without entries, and one with entries and blocks of others: an attacker brings about the last one.
fn peeks() {
    let known = Senders::numbered(0..2_000);
    let now = at(known.count());
    let mut engine = warm(16 * MIB, &known);
    let peek = |name: &str, engine: &Engine| {
        path(name, |call| engine.peek(&known.envelope(call), None, now).allowed());
    };
    peek("peek, no entry", &engine);
    let block = |engine: &Engine, identity: &str, value: &str| {
        engine.say(identity, value, AccessAction::Block, None, now).expect("room for an entry");
    };
    block(&engine, "client.net", "203.0.113.0/24");
    peek("peek, one network blocked", &engine);
    engine = warm(16 * MIB, &known);
    block(&engine, "sender.org", "flood.com");
    peek("peek, one organisation blocked", &engine);
    for number in 0..500 {
        block(&engine, "client.net", &format!("198.{}.{}.0/24", 18 + number / 256, number % 256));
    }
    for number in 0..300 {
        block(&engine, "sender.org", &format!("flood{number}.com"));
    }
    for number in 0..200 {
        block(&engine, "sender.address", &format!("bounce{number}@flood.org"));
    }
    peek("peek, 1,000 entries", &engine);
    engine = warm_under(INBOUND_1, BLOCKING, 16 * MIB, &known);
    peek("peek, a limit that may block", &engine);
    let flood = Envelope { client_ip: Some(b"203.0.113.9"), ..known.envelope(0) };
    let refused = (0..=600).filter(|_| !engine.check(&flood, None, now).allowed()).count();
    assert_eq!(refused, 1, "the last message of the flood");
    peek("peek, one address blocked by a limit", &engine);
}

fn hits(name: &str, algorithm: Algorithm) {
    let rate = Rate { amount: 1_000, period_us: 60_000_000, sized: false };
    let limiter = Limiter::new(algorithm, rate, 1_000, WhenFull::Admit, MIB, Secret::new(*b"sixteen octets!!"))
        .expect("a sound rate");
    let keys: Vec<String> = (0..1_000).map(|number| format!("user{number}@org{number}.com")).collect();
    let hit = |call: usize| {
        let now = Now::Stated(START_US + call as i64 * PACE_US);
        limiter.hit(keys[call % keys.len()].as_bytes(), 1, now) == throttle_core::engine::Hit::Allowed
    };
    (0..keys.len()).for_each(|call| assert!(hit(call)));
    path(name, |call| hit(keys.len() + call));
}

fn main() {
    if is_listing() {
        return;
    }
    identities(checks("", INBOUND_1));
    peeks();
    hits("RateLimiter hit", Algorithm::Gcra);
    hits("RateLimiter hit, sliding window", Algorithm::SlidingWindow);
    checks("inbound: ", INBOUND); // after all that is counted for inbound-1.toml, of which nothing may move
    sampled("inbound: ", INBOUND);
}
