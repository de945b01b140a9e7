//! What Postfix asks a policy service: requests are read alike however the stream is cut, each step is taken once, and
//! what is kept is bounded.

mod guard;

use std::num::NonZeroUsize;

use guard::{MIB, engine};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use throttle_core::delegation::{Connections, MOST_KEPT_OCTETS, MOST_VALUE_OCTETS, Request, Requests};
use throttle_core::engine::Engine;
use throttle_core::region::Now;

const NOW: Now = Now::Stated(1_000_000_000);

type Fields<'a> = [&'a [u8]; 11];

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
        request.sasl_username,
        request.policy_context,
    ]
}

const NAMES: [&str; 11] = [
    "protocol_state",
    "client_address",
    "client_name",
    "client_port",
    "helo_name",
    "sender",
    "recipient",
    "instance",
    "size",
    "sasl_username",
    "policy_context",
];

/// The format once more, line by line.
fn expected(stream: &[u8]) -> Vec<Option<Vec<Vec<u8>>>> {
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
            value[..value.len().min(MOST_VALUE_OCTETS)].to_vec()
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
            let request = Request::parse(lines);
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
    assert_eq!(Request::parse(&lines).expect("a request").sender.len(), MOST_VALUE_OCTETS);
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
    connections: Connections,
    at_s: u64,
}

impl Asked {
    fn with(most: usize) -> Self {
        let connections = Connections::new(NonZeroUsize::new(most).expect("more than none"));
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
    let kept_octets = asked.connections.kept_octets();
    assert!((MOST_KEPT_OCTETS..MOST_KEPT_OCTETS + 4096).contains(&kept_octets), "{kept_octets}");
    assert_eq!((asked.connections.len(), asked.connections.dropped()), (201, 0));
    asked.connections.end_idle(1);
    assert_eq!(asked.connections.kept_octets(), 0);
}
