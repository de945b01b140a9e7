//! What Postfix asks a policy service: requests are read alike however the stream is cut, each step is taken once, and
//! what is kept is bounded.

mod guard;

use std::num::NonZeroUsize;

use guard::{MIB, engine};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use throttle_core::delegation::{
    MOST_KEPT_BYTES, MOST_VALUE_BYTES, Request, Requests, SmtpConnections, without_returns,
};
use throttle_core::engine::Engine;
use throttle_core::region::Now;

const NOW: Now = Now::Stated(1_000_000_000);

type Fields<'a> = [&'a [u8]; 12];

fn fields<'a>(request: &Request<'a>) -> Fields<'a> {
    [
        request.protocol_state,
        request.client_address,
        request.client_name,
        request.client_port,
        request.helo_name,
        request.sender,
        request.recipient,
        request.instance,
        request.size,
        request.stress,
        request.sasl_username,
        request.policy_context,
    ]
}

const NAMES: [&str; 12] = [
    "protocol_state",
    "client_address",
    "client_name",
    "client_port",
    "helo_name",
    "sender",
    "recipient",
    "instance",
    "size",
    "stress",
    "sasl_username",
    "policy_context",
];

/// The format once more, line by line.
fn expected(stream: &[u8]) -> Vec<Option<Vec<Vec<u8>>>> {
    let stream: Vec<u8> = stream.iter().copied().filter(|&byte| byte != b'\r').collect();
    let (mut found, mut lines) = (Vec::new(), Vec::<&[u8]>::new());
    let mut all: Vec<&[u8]> = stream.split(|&byte| byte == b'\n').collect();
    all.pop(); // not ended
    for line in all {
        if !line.is_empty() {
            lines.push(line);
            continue;
        }
        if lines.is_empty() {
            continue;
        }
        let first = |name: &str| {
            let start = format!("{name}=").into_bytes();
            let value = lines.iter().find_map(|line| line.strip_prefix(start.as_slice())).unwrap_or_default();
            value[..value.len().min(MOST_VALUE_BYTES)].to_vec()
        };
        let is_policy = first("request") == b"smtpd_access_policy";
        found.push(is_policy.then(|| NAMES.iter().map(|name| first(name)).collect()));
        lines.clear();
    }
    found
}

/// What is read of a stream that comes in parts.
fn read(parts: &[&[u8]]) -> Vec<Option<Vec<Vec<u8>>>> {
    let (mut found, mut rest) = (Vec::new(), Vec::new());
    for part in parts {
        rest.extend_from_slice(part);
        let mut requests = Requests { rest: &rest };
        for lines in &mut requests {
            let lines = without_returns(lines);
            let request = Request::parse(&lines);
            found.push(request.map(|request| fields(&request).iter().map(|value| value.to_vec()).collect()));
        }
        rest = requests.rest.to_vec();
    }
    found
}

fn parts() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let words = select(vec![
        "\n",
        "\n\n",
        "\r",
        "=",
        "request=smtpd_access_policy\n",
        "request=junk\n",
        "sender=a\n",
        "sender=b",
        "size=17\n",
        "instance=\n",
        "recipient=\"a=b\"@x\n",
        "x_unknown=1\n",
    ]);
    vec(prop_oneof![words.prop_map(|word| word.as_bytes().to_vec()), vec(any::<u8>(), 0..12)], 0..40)
}

proptest! {
    #[test]
    fn a_stream_is_read_alike_wherever_it_is_cut(parts in parts()) {
        let stream = parts.concat();
        let expected = expected(&stream);
        let cut: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(&read(&cut), &expected);
        prop_assert_eq!(&read(&[&stream]), &expected);
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(&read(&bytes), &expected);
    }
}

#[test]
fn a_long_value_is_cut() {
    let lines = [b"request=smtpd_access_policy\nsender=".as_slice(), &[b'x'; 5000]].concat();
    assert_eq!(Request::parse(&lines).expect("a request").sender.len(), MOST_VALUE_BYTES);
}

const POLICY: &str = r#"
[[limit]]
name = "connections"
per = "client.ip"
count = "connections"
rate = "2/day"

[[limit]]
name = "messages"
per = "sender.org"
rate = "1000000/day"

[[limit]]
name = "user"
per = "auth.user"
rate = "1/day"

[[limit]]
name = "bytes"
per = "rcpt.address"
count = "bytes"
rate = "1 MB/day"

[[block]]
identity = "sender.org"
value = "two.com"
"#;

struct Asked {
    engine: Engine,
    connections: SmtpConnections,
    at_s: u64,
}

impl Asked {
    fn with(most: usize) -> Self {
        let connections = SmtpConnections::new(NonZeroUsize::new(most).expect("more than none"));
        Self { engine: engine(POLICY, MIB), connections, at_s: 0 }
    }

    /// Whether the question is answered with DUNNO.
    fn ask(&mut self, port: usize, request: &Request<'_>) -> bool {
        let port = port.to_string();
        let request = Request { client_port: port.as_bytes(), ..*request };
        self.connections.take_step(&self.engine, &request, NOW, self.at_s).is_ok()
    }
}

const RCPT: Request<'_> = Request {
    protocol_state: b"RCPT",
    client_address: b"192.0.2.1",
    client_name: b"unknown",
    client_port: b"",
    helo_name: b"mx.example.com",
    sender: b"joe@example.com",
    recipient: b"box@example.net",
    instance: b"4d2.656e6f00.1.0",
    size: b"0",
    stress: b"",
    sasl_username: b"",
    policy_context: b"",
};

#[test]
fn a_full_table_drops_the_longest_idle_connection() {
    let mut asked = Asked::with(2);
    assert!(asked.ask(1, &RCPT) && asked.ask(2, &RCPT), "two connections fit");
    assert!(asked.ask(1, &RCPT), "and are charged once");
    assert!(!asked.ask(3, &RCPT), "a third does not fit");
    assert_eq!((asked.connections.len(), asked.connections.dropped()), (2, 1));
    assert!(asked.ask(1, &RCPT), "1 was asked about later than 2, which has made room");
    assert!(!asked.ask(2, &RCPT), "so 2 is a new connection");
}

#[test]
fn idle_connections_end() {
    let mut asked = Asked::with(100);
    assert!(asked.ask(1, &RCPT));
    asked.at_s = 5;
    assert!(asked.ask(2, &RCPT));
    asked.connections.end_idle(5);
    assert_eq!((asked.connections.len(), asked.connections.dropped()), (1, 0));
    assert!(asked.ask(2, &RCPT), "2 is still there");
    asked.connections.end_idle(6);
    assert!(asked.connections.is_empty());
}

#[test]
fn a_port_that_comes_round_is_another_connection() {
    let mut asked = Asked::with(100);
    let connect = Request { protocol_state: b"CONNECT", instance: b"", ..RCPT };
    let helo = Request { protocol_state: b"EHLO", instance: b"", ..RCPT };
    for _ in 0..3 {
        assert!(asked.ask(1, &connect), "one connection, asked about three times");
    }
    assert!(asked.ask(1, &helo) && asked.ask(1, &connect), "the second one");
    assert!(asked.ask(1, &helo));
    assert!(!asked.ask(1, &connect), "the third");
}

#[test]
fn a_port_that_comes_round_without_a_request_at_connect_is_another_connection_too() {
    let of = |instance| Request { instance, ..RCPT };
    for other in [b"4d2.656e6f00.9.0".as_slice(), b"4d2.656e6f00.9.1", b"4d3.656e6f00.9.2"] {
        let mut asked = Asked::with(100);
        assert!(asked.ask(1, &RCPT) && asked.ask(1, &of(b"4d2.656e6f00.2.1")), "two transactions of one connection");
        assert!(asked.ask(1, &of(other)), "the second connection");
        assert!(!asked.ask(1, &of(b"4d9.656e6f00.9.0")), "the third");
    }
    let connect = Request { protocol_state: b"CONNECT", instance: b"", helo_name: b"", ..RCPT };
    let mut asked = Asked::with(100);
    for (at_s, fits) in [(0, true), (5, true), (11, true), (17, false)] {
        asked.at_s = at_s;
        assert_eq!(asked.ask(1, &connect), fits, "repeated within five seconds, else another connection");
    }
}

#[test]
fn another_user_or_size_is_another_message() {
    let mail = Request { protocol_state: b"MAIL", instance: b"", recipient: b"", ..RCPT };
    let mut asked = Asked::with(100);
    let ann = Request { sasl_username: b"ann", ..mail };
    assert!(asked.ask(1, &mail) && asked.ask(1, &ann), "MAIL before AUTH and after it");
    assert!(asked.ask(1, &ann), "a repeat is free");
    assert!(!asked.ask(1, &Request { size: b"7", ..ann }), "the second message of ann");
    assert!(!asked.ask(1, &Request { sasl_username: b"ann", ..RCPT }), "and the third");
}

#[test]
fn requests_without_an_instance_are_one_message_until_it_ends() {
    let mut asked = Asked::with(100);
    let rcpt = Request { instance: b"", sasl_username: b"joe", ..RCPT };
    let end = Request { protocol_state: b"END-OF-MESSAGE", recipient: b"", size: b"900", ..rcpt };
    assert!(asked.ask(1, &rcpt) && asked.ask(1, &Request { recipient: b"b@example.net", ..rcpt }));
    assert!(asked.ask(1, &end) && asked.ask(1, &end), "a repeat is free");
    assert!(!asked.ask(1, &rcpt), "the second message of joe");
}

#[test]
fn without_a_port_each_transaction_is_a_connection() {
    let mut asked = Asked::with(100);
    let mut ask = |instance: &[u8]| {
        let request = Request { client_port: b"unknown", instance, ..RCPT };
        asked.connections.take_step(&asked.engine, &request, NOW, 0).is_ok()
    };
    assert!(ask(b"a") && ask(b"a") && ask(b"b"));
    assert!(!ask(b"c"));
}

#[test]
fn the_end_of_a_message_knows_its_recipients_and_its_answer() {
    let mut asked = Asked::with(100);
    assert!(asked.ask(1, &RCPT));
    let end = Request { protocol_state: b"END-OF-MESSAGE", recipient: b"", size: b"600000", ..RCPT };
    for _ in 0..3 {
        assert!(asked.ask(1, &end), "charged once");
    }
    let next = Request { instance: b"4d2.656e6f00.2.1", ..RCPT };
    assert!(asked.ask(1, &next));
    let end = Request { instance: next.instance, ..end };
    for _ in 0..2 {
        assert!(!asked.ask(1, &end), "the mailbox has had 600 kB");
    }
}

#[test]
fn a_refused_sender_at_mail_takes_nothing_from_the_one_before() {
    let mut asked = Asked::with(100);
    let mail = Request { protocol_state: b"MAIL", instance: b"", recipient: b"", ..RCPT };
    let (ours, blocked) = (Request { sender: b"a@one.com", ..mail }, Request { sender: b"b@two.com", ..mail });
    assert!(asked.ask(1, &ours) && !asked.ask(1, &blocked) && asked.ask(1, &ours));
    assert!(asked.ask(1, &Request { sender: b"a@one.com", ..RCPT }));
    let end = Request { protocol_state: b"END-OF-MESSAGE", sender: b"a@one.com", recipient: b"", ..RCPT };
    assert!(asked.ask(1, &end));
}

#[test]
fn what_is_kept_of_recipients_is_bounded_and_makes_nobody_be_forgotten() {
    let mut asked = Asked::with(30_000);
    let address = [b'a'; 200];
    assert!(asked.ask(60_000, &RCPT), "an innocent");
    for port in 0..200 {
        let client_address = format!("192.0.{port}.1");
        for number in 0..1_000 {
            let recipient = [&address, number.to_string().as_bytes(), b"@example.net"].concat();
            let client_address = client_address.as_bytes();
            assert!(asked.ask(port, &Request { client_address, recipient: &recipient, ..RCPT }));
        }
    }
    let kept_bytes = asked.connections.kept_bytes();
    assert!((MOST_KEPT_BYTES..MOST_KEPT_BYTES + 4096).contains(&kept_bytes), "{kept_bytes}");
    assert_eq!((asked.connections.len(), asked.connections.dropped()), (201, 0));
    asked.connections.end_idle(1);
    assert_eq!(asked.connections.kept_bytes(), 0);
}

const START_US: i64 = 1_000_000_000;

/// One limit for each state. Each fits two or three, and one more every second; of bytes, 1 MB and 100 kB more every
/// second.
const BRIEF: &str = r#"
[[limit]]
name = "connections"
per = "client.ip"
count = "connections"
rate = "2/2 seconds"

[[limit]]
name = "hello"
per = "helo.host"
count = "connections"
rate = "2/2 seconds"

[[limit]]
name = "messages"
per = "sender.org"
rate = "3/3 seconds"

[[limit]]
name = "to-mailbox"
per = "rcpt.address"
count = "recipients"
rate = "2/2 seconds"

[[limit]]
name = "bytes"
per = "sender.address"
count = "bytes"
rate = "1 MB/10 seconds"
"#;

impl Asked {
    fn brief() -> Self {
        let connections = SmtpConnections::new(NonZeroUsize::new(1000).expect("more than none"));
        Self { engine: engine(BRIEF, MIB), connections, at_s: 0 }
    }

    fn ask_at(&mut self, port: usize, request: &Request<'_>, now_us: i64) -> Told {
        let port = port.to_string();
        let request = Request { client_port: port.as_bytes(), ..*request };
        let taken = self.connections.take_step(&self.engine, &request, Now::Stated(now_us), self.at_s);
        let refusal = taken.err()?;
        let wait_us = refusal.wait_us.expect("it passes some time");
        Some((refusal.limit.to_string(), now_us + i64::try_from(wait_us).expect("a short wait")))
    }
}

#[test]
fn a_refusal_is_repeated_until_it_said_and_charges_nothing() {
    let (connect, helo) = (Request { instance: b"", helo_name: b"", ..RCPT }, Request { instance: b"", ..RCPT });
    let end = Request { size: b"600000", ..RCPT };
    let cases: [(&str, &[u8], Request<'_>); 6] = [
        ("connections", b"CONNECT", connect),
        ("hello", b"EHLO", helo),
        ("messages", b"MAIL", helo),
        ("messages", b"DATA", RCPT),
        ("to-mailbox", b"RCPT", RCPT),
        ("bytes", b"END-OF-MESSAGE", end),
    ];
    for (limit, state, fields) in cases {
        let request = Request { protocol_state: state, ..fields };
        let (mut asked, mut twin) = (Asked::brief(), Asked::brief());
        // Others use the limit up: each has a connection of its own, and other names where they do not matter to it.
        let use_up = |asked: &mut Asked, now_us: i64, mut others: usize| loop {
            others += 1;
            let [ip, helo, sender, rcpt, instance] =
                ["192.0.3.{}", "h{}.example.net", "joe@s{}.net", "box{}@example.org", "{}.1.1.0"]
                    .map(|text| text.replace("{}", &others.to_string()));
            let mut other = Request {
                client_address: ip.as_bytes(),
                helo_name: helo.as_bytes(),
                sender: sender.as_bytes(),
                recipient: rcpt.as_bytes(),
                instance: instance.as_bytes(),
                ..request
            };
            match limit {
                "connections" => other.client_address = request.client_address,
                "hello" => other.helo_name = request.helo_name,
                "to-mailbox" => other.recipient = request.recipient,
                _ => other.sender = request.sender,
            }
            if let Some((by, until_us)) = asked.ask_at(1000 + others, &other, now_us) {
                return (by, until_us);
            }
        };
        if state == b"END-OF-MESSAGE" {
            for asked in [&mut asked, &mut twin] {
                assert_eq!(asked.ask_at(1, &RCPT, START_US), None, "only the end knows the size");
            }
        }
        let (by, until_us) = use_up(&mut asked, START_US, 0);
        assert_eq!(use_up(&mut twin, START_US, 0), (by.clone(), until_us));
        assert_eq!(by, limit);
        assert!(until_us > START_US + 100_000);
        let told = Some((by.clone(), until_us));
        for part in 0..100 {
            let now_us = START_US + (until_us - 1 - START_US) * part / 99;
            assert_eq!(asked.ask_at(1, &request, now_us), told, "{limit}: {part} % of the time that was told");
        }
        for _ in 0..3 {
            assert_eq!(asked.ask_at(1, &request, until_us), None, "{limit}: it passes then, and its repeats are free");
        }
        assert_eq!(twin.ask_at(1, &request, until_us), None, "the twin is asked once");
        let (again, later_us) = use_up(&mut asked, until_us, 100);
        assert_eq!((&*again, later_us > until_us), (limit, true), "what passed was charged");
        assert_eq!(use_up(&mut twin, until_us, 100), (again, later_us), "{limit}: and as if it had been asked once");
        for _ in 0..3 {
            assert_eq!(asked.ask_at(1, &request, until_us), None, "{limit}: a repeat passes when nothing is left");
        }
    }
}

/// Steps of a message, as Postfix asks for them.
const STATES: [&[u8]; 5] = [b"CONNECT", b"EHLO", b"MAIL", b"RCPT", b"END-OF-MESSAGE"];

/// The port of a client; its address, sender, recipient and instance; the state.
type Turn = (usize, [String; 4], &'static [u8]);

/// The limit that refuses, and the time at which it says that the step passes.
type Told = Option<(String, i64)>;

/// The requests of one message to three recipients, which may be asked again and again once they were asked.
fn dialogue(client: usize, message: usize) -> Vec<Turn> {
    let fields = |recipient: &str, is_named: bool| {
        let instance = if is_named { format!("{client:x}.1.1.{message:x}") } else { String::new() };
        [format!("192.0.2.{client}"), format!("joe@s{}.com", message % 2), recipient.to_owned(), instance]
    };
    let mut steps = Vec::new();
    for state in STATES {
        match state {
            b"RCPT" => steps.extend((0..3).map(|box_| (client, fields(&format!("b{box_}@x.net"), true), state))),
            b"END-OF-MESSAGE" => steps.push((client, fields("", true), state)),
            b"MAIL" => steps.push((client, fields("", false), state)),
            _ if message == 0 => steps.push((client, fields("", false), state)),
            _ => {}
        }
    }
    steps
}

proptest! {
    /// Two clients send messages by turns, and each request comes again: at once, and those that name their transaction
    /// also later.
    #[test]
    fn repeats_in_any_order_decide_and_charge_nothing(
        turns in vec(any::<bool>(), 0..60), repeats in vec(vec(any::<proptest::sample::Index>(), 0..4), 60),
        gap_us in prop_oneof![Just(0_i64), 0_i64..400_000],
    ) {
        let (mut once, mut often) = (Asked::brief(), Asked::brief());
        let mut clients = [0, 1].map(|client| (0..8).map(move |message| dialogue(client, message)).collect::<Vec<_>>());
        for messages in &mut clients {
            messages.reverse();
        }
        let mut asked_before: [Vec<(Turn, Told)>; 2] = [Vec::new(), Vec::new()];
        for (number, (turn, again)) in turns.iter().zip(&repeats).enumerate() {
            let which = usize::from(*turn);
            let Some(message) = clients[which].last_mut() else { continue };
            let step = message.remove(0);
            let is_last = message.is_empty();
            let now_us = START_US + gap_us * i64::try_from(number).expect("few");
            let ask = |asked: &mut Asked, step: &Turn| {
                let (client, [ip, sender, recipient, instance], state) = step;
                let request = Request {
                    protocol_state: state, client_address: ip.as_bytes(), sender: sender.as_bytes(),
                    recipient: recipient.as_bytes(), instance: instance.as_bytes(),
                    size: if *state == b"END-OF-MESSAGE" { b"200000" } else { b"0" }, ..RCPT
                };
                asked.ask_at(client + 1, &request, now_us)
            };
            let expected = ask(&mut once, &step);
            prop_assert_eq!(&ask(&mut often, &step), &expected);
            let is_refused = expected.is_some();
            asked_before[which].retain(|((_, [.., instance], _), _)| !instance.is_empty());
            asked_before[which].push((step, expected));
            for index in again {
                let (step, told) = index.get(&asked_before[which]);
                let now = ask(&mut often, step);
                match told {
                    None => prop_assert_eq!(now, None, "an admitted step is admitted again"),
                    Some(told) => prop_assert_eq!(now.as_ref(), Some(told)),
                }
            }
            if is_last || is_refused {
                clients[which].pop(); // a client whose message was refused goes on with the next one
                asked_before[which].clear();
            }
        }
    }
}
