//! What is open against a list of what is open: random admissions, releases, tokens let go, and forks.

mod guard;
#[path = "oracle/open.rs"]
mod open;

use guard::{MIB, message, with_max_open};
use open::{Held, Open, Room};
use proptest::prelude::*;
use throttle_core::decision::Decision;
use throttle_core::engine::Engine;
use throttle_core::envelope::Envelope;
use throttle_core::policy::{Stage, Stages};
use throttle_core::region::Now;
use throttle_core::store::in_flight::Token;

const POLICY: &str = r#"
[[limit]]
name = "net-connections"
per = "client.net"
in_flight = 3
count = "connections"

[[limit]]
name = "all-open"
per = "global"
in_flight = 20
reserve = 12
share = [
    { per = "client.net", of_free = "1/3" },
    { per = "client.net/23/48", of_free = "1/2" },
]

[[limit]]
name = "pace"
per = "client.net"
rate = "20/minute"

[[limit]]
name = "all-bytes"
per = "global"
in_flight = "1 MB"
reserve = "200 kB"
first = "30 kB"
share = [
    { per = "client.net", of_free = "1/3" },
    { per = "client.net/23/48", of_free = "1/2" },
]

[[limit]]
name = "host-open"
per = ["client.net", "sender.host"]
in_flight = 2

[[limit]]
name = "net-host-share"
per = "client.net"
in_flight = 5
share = { per = "sender.host", of_free = "1/2" }
"#;

const MAX_OPEN: u32 = 8;

const SECOND: Option<u64> = Some(1_000_000);

/// The name and the wait that the oracle tells: the longest, of equals the first in the file; `max-open` before all.
type Told = Option<(&'static str, Option<u64>)>;

/// What the oracle tells, and whether `all-open` and `all-bytes` have room for a neighbour only.
fn judge(open: &Open, net: u8, host: u8, bytes: u64, holds: bool) -> (Told, [bool; 2]) {
    let by_net = move |held: &Held| held.net == net;
    let by_host = move |held: &Held| held.host == host;
    let by_owner = move |held: &Held| held.net / 2 == net / 2;
    let all = |_: &Held| true;
    let tiers: [open::Share<'_>; 2] = [(3, &by_net), (2, &by_owner)];
    let mut told = vec![
        ("net-connections", open.room([3, 0, 1], 1, false, by_net, &[])),
        ("all-open", open.room([20, 12, 1], 1, false, all, &tiers)),
        ("host-open", open.room([2, 0, 1], 1, false, |held| by_net(held) && by_host(held), &[])),
        ("net-host-share", open.room([5, 0, 1], 1, false, by_net, &[(2, &by_host)])),
    ];
    if bytes > 0 {
        told.insert(2, ("all-bytes", open.room([1_000_000, 200_000, 30_000], bytes, true, all, &tiers)));
    }
    let is_neighbour = ["all-open", "all-bytes"].map(|name| told.contains(&(name, Room::FitsNeighbour)));
    let told = if let Some((name, _)) = told.iter().find(|(_, room)| *room == Room::Never) {
        Some((*name, None))
    } else if holds && open.0.len() >= MAX_OPEN as usize {
        Some(("max-open", SECOND))
    } else {
        told.iter().find(|(_, room)| *room == Room::Full).map(|(name, _)| (*name, SECOND))
    };
    (told, is_neighbour)
}

fn told(decision: &Decision) -> Option<(&str, Option<u64>)> {
    decision.refusal.as_ref().map(|refusal| (&*refusal.limit, refusal.wait_us))
}

/// Keys that hold something and permits there are, by the guard's own tables, and what is held in all of messages and
/// bytes.
fn counted(engine: &Engine) -> [u64; 6] {
    let tables = engine.tables(&|| ());
    let used = |name: &str| tables.iter().find(|table| table.name == name).map_or(0, |table| table.used);
    [
        used("all-open"),
        used("all-bytes"),
        used("permits"),
        used("in flight per client.net"),
        used("in flight per client.net + sender.host"),
        used("net-connections"),
    ]
}

fn summed(open: &Open) -> [u64; 6] {
    let nets = 0..=u8::MAX;
    let per_net: Vec<u64> = nets.map(|net| open.sum(false, |held| held.net == net)).collect();
    let pairs: std::collections::HashSet<(u8, u8)> = open.0.iter().map(|held| (held.net, held.host)).collect();
    [
        open.sum(false, |_| true),
        open.sum(true, |_| true),
        open.0.len() as u64,
        per_net.iter().filter(|&&count| count > 0).count() as u64,
        pairs.len() as u64,
        per_net.into_iter().max().unwrap_or(0),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Admit { net: u8, host: u8, bytes: Option<u64> },
    Check { net: u8, host: u8, bytes: Option<u64> },
    Release(prop::sample::Index),
    Fork,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let bytes = prop_oneof![
        Just(None),
        Just(Some(0)),
        (1u64..60_000).prop_map(Some),
        (1u64..1_100_000).prop_map(Some),
        Just(Some(u64::MAX)),
    ];
    let whom = (0u8..6, 0u8..3, bytes);
    let step = prop_oneof![
        8 => whom.clone().prop_map(|(net, host, bytes)| Step::Admit { net, host, bytes }),
        2 => whom.prop_map(|(net, host, bytes)| Step::Check { net, host, bytes }),
        6 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => Just(Step::Fork),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_what_is_open_is_what_was_admitted_and_not_released(steps in steps()) {
        let engine = with_max_open(POLICY, MIB / 8, MAX_OPEN);
        let mut open = Open::default();
        let mut tokens: Vec<Token> = Vec::new();
        // Of parents: a child may still know them.
        let mut void: Vec<Token> = Vec::new();
        let mut generation = 0;
        for (number, step) in steps.into_iter().enumerate() {
            // The pace drains in between, so that only what is open refuses.
            let now = Now::Stated(i64::try_from(number).expect("few") * 60_000_000);
            match step {
                Step::Admit { net, host, bytes } | Step::Check { net, host, bytes } => {
                    let holds = matches!(step, Step::Admit { .. });
                    let (ip, sender) = (format!("192.0.{net}.1"), format!("a@h{host}.ex.com"));
                    let envelope = Envelope { size: bytes, ..message(&ip, &sender) };
                    let peeked = engine.peek(&envelope, None, now);
                    let (decision, token) = if holds {
                        engine.admit(&envelope, None, now)
                    } else {
                        (engine.check(&envelope, None, now), None)
                    };
                    let (expected, is_neighbour) = judge(&open, net, host, bytes.unwrap_or(0), holds);
                    prop_assert_eq!(told(&decision), expected);
                    prop_assert_eq!(told(&peeked), judge(&open, net, host, bytes.unwrap_or(0), false).0);
                    prop_assert_eq!(token.is_some(), holds && decision.allowed());
                    if let Some(token) = token {
                        open.0.push(Held { net, host, bytes: bytes.unwrap_or(0), is_neighbour });
                        tokens.push(token);
                    }
                }
                Step::Release(which) if !tokens.is_empty() => {
                    let which = which.index(tokens.len());
                    open.0.swap_remove(which);
                    prop_assert!(engine.release(tokens.swap_remove(which)));
                }
                Step::Release(_) => {
                    if let Some(token) = void.pop() {
                        prop_assert!(!engine.release(token), "of another process");
                    }
                }
                Step::Fork => {
                    generation += 1;
                    engine.begin(generation);
                    open.0.clear();
                    void.append(&mut tokens);
                }
            }
            engine.begin(generation);
            prop_assert_eq!(counted(&engine), summed(&open));
            prop_assert!(open.0.len() <= MAX_OPEN as usize);
        }
        for token in tokens {
            prop_assert!(engine.release(token));
        }
        for token in void {
            prop_assert!(!engine.release(token));
        }
        prop_assert_eq!(counted(&engine), [0; 6]);
    }
}

/// A stage holds what is its own: the same permit is not counted twice.
#[test]
fn a_connection_and_its_message_hold_what_their_stages_count() {
    let engine = with_max_open(POLICY, MIB, MAX_OPEN);
    let envelope = Envelope { size: Some(700), ..message("192.0.2.1", "a@h.ex.com") };
    let at = |stage| Some(Stages::default().with(stage));
    let (_, connection) = engine.admit(&envelope, at(Stage::Connect), Now::Stated(0));
    assert_eq!(counted(&engine), [0, 0, 1, 1, 0, 1]);
    let (_, mail) = engine.admit(&envelope, at(Stage::Mail), Now::Stated(0));
    assert_eq!(counted(&engine), [1, 700, 2, 1, 1, 1]);
    assert!(engine.release(connection.expect("admitted")));
    assert_eq!(counted(&engine), [1, 700, 1, 1, 1, 0]);
    let (_, headers) = engine.admit(&envelope, at(Stage::Data), Now::Stated(0));
    assert_eq!(counted(&engine), [1, 700, 2, 1, 1, 0], "a permit that holds nothing is one all the same");
    assert!(engine.release(mail.expect("admitted")) && engine.release(headers.expect("admitted")));
    assert_eq!(counted(&engine), [0; 6]);
}

/// A share as `inbound` has it: a client, its network, the block of its owner. 1000 are shared, 400 are reserved, and
/// 100 of these are for neighbours.
const BLOCKS: &str = r#"
[[limit]]
name = "open"
per = "global"
in_flight = 1400
reserve = 400
share = [
    { per = "client.net/32/64", of_free = "1/20" },
    { per = "client.net/24/48", of_free = "1/10" },
    { per = "client.net/24/29", of_free = "1/4" },
]
"#;

/// Clients that open what they get; their permits, by client.
struct Clients {
    engine: Engine,
    held: Vec<(String, Token)>,
}

impl Clients {
    fn new(policy: &str) -> Self {
        Self { engine: with_max_open(policy, 4 * MIB, 4_000), held: Vec::new() }
    }

    fn open(&mut self, ip: &str) -> bool {
        let token = self.engine.admit(&message(ip, "a@ex.com"), None, Now::Stated(0)).1;
        let is_open = token.is_some();
        self.held.extend(token.map(|token| (ip.to_owned(), token)));
        is_open
    }

    /// Opens as many as each of these clients gets, one after another.
    fn take_all(&mut self, ips: impl IntoIterator<Item = String>) -> usize {
        ips.into_iter().map(|ip| std::iter::repeat_with(|| self.open(&ip)).take_while(|is_open| *is_open).count()).sum()
    }

    /// Closes all, and nothing is left.
    fn close(mut self) {
        for (_, token) in self.held.drain(..) {
            assert!(self.engine.release(token));
        }
        assert_eq!(self.engine.tables(&|| ()).iter().map(|table| table.used).sum::<u64>(), 0);
    }
}

/// The `nth` client of a hoster's /29, each in a /48 of its own.
fn customer(nth: usize) -> String {
    format!("2a01:4f8:{nth:x}::1")
}

#[test]
fn hosts_that_take_all_of_a_block_leave_its_neighbours_their_first() {
    let mut clients = Clients::new(BLOCKS);
    // 200 is a fifth of what is shared. The last hosts hold one message each, as neighbours.
    let hosts = 20;
    let taken = clients.take_all((0..hosts).map(customer));
    assert!((200..200 + hosts).contains(&taken), "{taken}");
    let mut first = |nth: usize| {
        let is_open = clients.open(&customer(nth));
        let second = clients.open(&customer(nth));
        assert!(!second, "a neighbour has one");
        if let Some((_, token)) = clients.held.pop_if(|_| is_open) {
            assert!(clients.engine.release(token));
        }
        is_open
    };
    assert!((100..500).all(&mut first), "one after another all get their first");
    // Others take all that is left to share: neighbours lose nothing by it.
    clients.take_all((0..200).map(|net| format!("203.0.{net}.1")));
    assert!((100..500).all(|nth| clients.open(&customer(nth))
        && clients.held.pop().is_some_and(|(_, token)| { clients.engine.release(token) })));
    clients.close();
}

/// By as many empty networks as it likes, the owner of a block gets a fifth of the quarter for neighbours; a network by
/// as many clients, an eleventh of it.
#[test]
fn the_owner_of_a_block_gets_only_a_part_of_what_is_for_neighbours() {
    let mut clients = Clients::new(BLOCKS);
    assert_eq!(clients.take_all((0..2_000).map(customer)), 200 + 20);
    // The neighbours took nothing of what others share: one client has a twentieth of the other 800.
    assert_eq!(clients.take_all(["192.0.2.1".into()]), 800 / 21);
    clients.close();
    let mut clients = Clients::new(BLOCKS);
    assert_eq!(clients.take_all((1..255).map(|host| format!("192.0.2.{host}"))), 91 + 9);
    clients.close();
}

/// Blocks without number take all that is shared, and the quarter for neighbours. The rest of the reserve is for those
/// whose block holds nothing.
#[test]
fn neighbours_leave_three_quarters_of_the_reserve_to_others() {
    let mut clients = Clients::new(BLOCKS);
    // Each has a client that holds much and two hundred that hold nothing, as long as there is more to share.
    let networks = 100;
    for net in 0..networks {
        clients.take_all((1..201).map(|host| format!("203.0.{net}.{host}")));
    }
    let taken = clients.held.len();
    assert!((1000..=1000 + 100 + networks).contains(&taken), "{taken}");
    let others = (0..1_000).take_while(|nth| clients.open(&format!("198.{}.{}.1", nth / 250, nth % 250)));
    let others = others.count();
    assert_eq!(taken + others, 1400, "what is free is for first messages");
    assert!(others >= 300 - networks, "{others}");
    clients.close();
}

/// Having no name is no way around a share.
#[test]
fn who_lacks_the_identity_that_shares_counts_with_all_who_lack_it() {
    let policy = "[[limit]]\nname = \"open\"\nper = \"global\"\nin_flight = 10\n\
        share = { per = \"client.host\", of_free = \"1/5\" }";
    let engine = with_max_open(policy, MIB, 100);
    let from = |ip: &'static str, name: Option<&'static [u8]>| {
        engine.admit(&Envelope { client_name: name, ..message(ip, "a@ex.com") }, None, Now::Stated(0))
    };
    let unnamed = [from("192.0.2.1", None), from("198.51.100.1", None), from("203.0.113.1", Some(b"unknown"))];
    assert_eq!(unnamed.each_ref().map(|(decision, _)| decision.allowed()), [true, false, false]);
    assert!(from("192.0.2.1", Some(b"mx.ex.com")).0.allowed());
}

#[test]
fn a_class_has_a_part_of_its_own_but_the_cap_is_one() {
    let policy = "[[limit]]\nname = \"open\"\nper = \"global\"\nin_flight = 3\n\
        share = { per = \"sender.org\", of_free = \"1/9\" }";
    let engine = with_max_open(policy, MIB, 100);
    let from = |name: Option<&'static [u8]>, sender: &'static str| {
        engine.admit(&Envelope { client_name: name, ..message("192.0.2.1", sender) }, None, Now::Stated(0)).0.allowed()
    };
    assert!(from(None, "a@ex.com"), "claimed");
    assert!(!from(None, "b@ex.com"), "one a key");
    assert!(from(Some(b"mx.ex.com"), "a@ex.com"), "the same name, proven");
    assert!(from(None, "a@other.com"));
    assert!(!from(None, "a@third.com"), "three in all, of whatever class");
}

/// P10: of waits of a second and longer ones the longer is told; what can never pass is told before all.
#[test]
fn a_cap_that_is_full_waits_a_second_and_a_rate_that_waits_longer_is_told_instead() {
    let limits = [
        "[[limit]]\nname = \"open\"\nper = \"global\"\nin_flight = 1\n",
        "[[limit]]\nname = \"pace\"\nper = \"client.net\"\nrate = \"1/minute\"\n",
    ];
    let [open, pace] = limits;
    for (policy, at_us, expected) in [
        ([open, pace].concat(), 10_000_000, ("pace", Some(50_000_000))),
        ([pace, open].concat(), 59_500_000, ("open", SECOND)),
        ([open, pace].concat(), 59_000_000, ("open", SECOND)),
        ([pace, open].concat(), 59_000_000, ("pace", SECOND)),
    ] {
        let engine = with_max_open(&policy, MIB, 2);
        let token = engine.admit(&message("192.0.2.1", "a@ex.com"), None, Now::Stated(0)).1;
        let decision = engine.check(&message("192.0.2.1", "a@ex.com"), None, Now::Stated(at_us));
        assert_eq!(told(&decision), Some(expected), "{policy}");
        assert!(token.is_some_and(|token| engine.release(token)));
    }
}

#[test]
fn without_an_in_flight_limit_permits_are_counted_all_the_same() {
    let engine = with_max_open("[[limit]]\nname = \"pace\"\nper = \"client.net\"\nrate = \"99/minute\"", 32 * 4096, 2);
    let admit = || engine.admit(&message("192.0.2.1", "a@ex.com"), None, Now::Stated(0));
    let (first, second) = (admit().1.expect("one"), admit().1.expect("two"));
    assert_eq!(told(&admit().0), Some(("max-open", SECOND)));
    assert!(engine.release(first));
    let third = admit().1.expect("again");
    assert!(engine.release(second));
    engine.begin(1);
    assert!(!engine.release(third), "of another process");
    let (of_child, another) = (admit().1, admit().1);
    assert!(of_child.is_some() && another.is_some() && !admit().0.allowed());
}

#[test]
fn memory_that_permits_do_not_fit_into_says_what_they_need() {
    let policy = throttle_core::policy::Policy::parse("test.toml", POLICY).expect("a right policy");
    let suffixes = std::sync::Arc::new(
        throttle_core::identity::SuffixList::parse(
            "// ===BEGIN ICANN DOMAINS===\ncom\n// ===END ICANN DOMAINS===",
            &[],
        )
        .expect("a right list"),
    );
    let secret = throttle_core::key::Secret::new([7; 16]);
    let make = |bytes| Engine::with_max_open(&policy, bytes, suffixes.clone(), secret.clone(), 1_000_000);
    let error = make(16 * MIB).expect_err("too little");
    assert!(error.allowed.contains("of them for what at most 1000000 permits hold (`max_open`)"), "{error}");
    let least: u64 = error.allowed.split_whitespace().nth(2).and_then(|bytes| bytes.parse().ok()).expect("bytes");
    assert_eq!(make(least).map(|engine| engine.memory_bytes()), Ok(least));
    assert!(make(least - 1).is_err());
}
