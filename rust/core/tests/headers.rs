//! The header of a message: which addresses it holds, row by row, and what identities they are.

mod common;

use std::hash::{BuildHasher, RandomState};
use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{named, read, shown};
use proptest::prelude::*;
use throttle_core::envelope::{Envelope, Headers};
use throttle_core::identity::header_address::MOST_FIELD_OCTETS;
use throttle_core::identity::header_parser::{Header, MOST_OCTETS};
use throttle_core::identity::{Identity, MOST_VALUES, Part, Trust, Value};

fn texts(values: &[Vec<u8>]) -> Vec<String> {
    values.iter().map(|value| value.escape_ascii().to_string()).collect()
}

/// The identity of that name, of a message with this header.
fn of_header(header: impl AsRef<[u8]>, name: &str) -> String {
    let Header { from, reply_to, list_id } = Header::read(header.as_ref());
    let slices = [&from, &reply_to].map(|all| all.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let headers = Headers { from: &slices[0], reply_to: &slices[1], list_id: list_id.as_deref(), dkim: &[] };
    shown(&read(&Envelope { headers: Some(&headers), ..Envelope::default() }), name)
}

/// The identity of that name, where every field of the header has these values.
fn of_values(values: &[&[u8]], name: &str) -> String {
    let headers = Headers { from: values, reply_to: values, list_id: values.first().copied(), dkim: values };
    shown(&read(&Envelope { headers: Some(&headers), ..Envelope::default() }), name)
}

/// A header, and its `from.address`.
const FROM: &[(&[u8], &str)] = &[
    (b"From: joe@ex.com", "joe@ex.com"),
    (b"From: Joe <joe@ex.com>\r\n", "joe@ex.com"),
    (b"FROM:joe@ex.com\n", "joe@ex.com"),
    (b"from : Joe <Joe+Tag@EX.com.>\n", "joe@ex.com"),
    // folded
    (b"From:\r\n Joe\r\n\t<joe@\r\n ex.com>\r\n", "joe@ex.com"),
    (b"Subject: a\r\n From: not@ex.com\r\nFrom: joe@ex.com\r\n", "joe@ex.com"),
    // encoded words (RFC 2047) are names, never addresses (§5)
    (b"From: =?utf-8?q?J=C3=B6?= <joe@ex.com>\n", "joe@ex.com"),
    (b"From: =?utf-8?b?PGFubkBiLmNvbT4=?= <joe@ex.com>\n", "joe@ex.com"),
    (b"From: =?utf-8?q?ann=40b.com?=\n", "MANY"),
    (b"From: =?utf-8?q?ann=40b.com, <joe@ex.com>\n", "joe@ex.com"),
    // several
    (b"From: joe@ex.com, Ann <ann@b.com>\n", "joe@ex.com ann@b.com"),
    (b"From: joe@ex.com\nTo: x@y.com\nFrom: ann@b.com\n", "joe@ex.com ann@b.com"),
    (b"From: joe@ex.com, JOE@EX.com, <joe+a@ex.com>\n", "joe@ex.com"),
    (b"From: ,,joe@ex.com,,\n", "joe@ex.com"),
    // groups (RFC 6854)
    (b"From: team: joe@ex.com, ann@b.com;\n", "joe@ex.com ann@b.com"),
    (b"From: undisclosed-recipients:;\n", "MANY"),
    // quotes and comments
    (b"From: \"Ann <ann@b.com>, or\r\n so\" <joe@ex.com>\n", "joe@ex.com"),
    (b"From: joe@ex.com (Joe <ann@b.com>)\n", "joe@ex.com"),
    (b"From: (a (b) \\) c) Joe (d) <joe@ex.com> (e)\n", "joe@ex.com"),
    (b"From: <joe(ann@b.com)@ex.com>\n", "joe@ex.com"),
    (b"From: joe(ann)@ex.com\n", "joe@ex.com"),
    (b"From: \"joe doe\"@ex.com\n", "joe doe@ex.com"),
    (b"From: Joe <\"joe doe\"@ex.com>\n", "joe doe@ex.com"),
    (b"From: \"a@b\"@ex.com\n", "a@b@ex.com"),
    // routes, blanks
    (b"From: <@a.com,@b.com:joe@ex.com>\n", "joe@ex.com"),
    (b"From: joe @ ex.com\n", "joe@ex.com"),
    (b"From: Joe Doe joe@ex.com\n", "joe@ex.com"),
    // broken
    (b"From: <joe@ex.com\n", "joe@ex.com"),
    (b"From: joe@ex.com>\n", "joe@ex.com"),
    (b"From: \"Joe <joe@ex.com>\nReply-To: ann@b.com\n", "joe@ex.com"),
    (b"no field\nFrom: joe@ex.com\n", "joe@ex.com"),
    (b": no name\nFrom: joe@ex.com\n", "joe@ex.com"),
    (b"From: \nFrom: <>\nFrom:", ""),
    (b"From: joe@\n", "MANY"),
    (b"From: @ex.com\n", "MANY"),
    (b"From: root (Cron)\n", "MANY"),
    (b"From: root\nFrom: joe@ex.com\n", "joe@ex.com"),
    (b"From: \"\"@ex.com\n", "@ex.com"),
    // raw octets
    (b"From: J\xf6 <joe@ex.com>\n", "joe@ex.com"),
    ("From: Jö <jö@bücher.com>\n".as_bytes(), "jö@xn--bcher-kva.com"),
    (b"From: j\xf6@ex.com\n", "MALFORMED@ex.com"),
    (b"From: joe@b\xfccher.com\n", "joe@MALFORMED"),
    (b"From: Joe\0 <joe@ex.com>\n", "joe@ex.com"),
    (b"From: joe@e\0x.com\n", "joe@e"),
    (b"\0\0\xff\xfe\nFrom: joe@ex.com\n", "joe@ex.com"),
    // the header ends at the first blank line
    (b"To: x@y.com\r\n\r\nFrom: joe@ex.com\r\n", ""),
    (b"To: x@y.com\n\nFrom: joe@ex.com\n", ""),
    (b"\r\nFrom: joe@ex.com\r\n", ""),
    (b"To: x@y.com\r\n \r\nFrom: joe@ex.com\r\n", "joe@ex.com"),
    (b" \r\nFrom: joe@ex.com\r\n", "joe@ex.com"),
    (b"\t\nFrom: joe@ex.com\n\nFrom: ann@b.com", "joe@ex.com"),
    // some programs end lines at a bare carriage return
    (b"Subject: a\rFrom: joe@ex.com\r\n\r\n", "joe@ex.com"),
    (b"Subject: a\rFrom:\rb <joe@ex.com>\rTo: c\n\n", "joe@ex.com"),
    (b"From: joe@\r ex.com\r\n", "joe@ex.com"),
    (b"X-From: joe@ex.com\nFrom-X: joe@ex.com\n", ""),
    (b"", ""),
];

#[test]
fn addresses_are_read_from_whatever_is_around_them() {
    for (header, expected) in FROM {
        assert_eq!(of_header(header, "from.address"), *expected, "of {}", header.escape_ascii());
        let reply_to = String::from_utf8_lossy(header).replace('\u{FFFD}', "");
        if reply_to.as_bytes() == *header && !reply_to.contains("Reply-To") {
            let header = reply_to.replace("From", "Reply-To").replace("FROM", "REPLY-TO").replace("from", "reply-to");
            assert_eq!(of_header(&header, "reply_to.address"), *expected, "of {header:?}");
        }
    }
}

#[test]
fn a_lists_name_stands_in_the_last_brackets_or_alone() {
    for (header, expected) in [
        ("List-Id: The List <Foo.Lists.EX.com>\n", "foo.lists.ex.com"),
        ("LIST-ID:<foo.lists.ex.com>\r\n", "foo.lists.ex.com"),
        ("List-Id: foo.lists.ex.com\n", "foo.lists.ex.com"),
        ("List-Id: \"a <b>\"\r\n <foo.\r\n\tlists.ex.com>\r\n", "foo.\tlists.ex.com"),
        ("List-Id: <foo.ex.com> (comment)\n", "foo.ex.com"),
        ("List-Id: <foo.ex.com\n", "foo.ex.com"),
        ("List-Id: <foo.ex.com>\nList-Id: <bar.ex.com>\n", "foo.ex.com"),
        ("List-Id: <>\nList-Id:\n", ""),
        ("List-Id: no < >\nList-Id: <bar.ex.com>\n", "bar.ex.com"),
    ] {
        assert_eq!(of_header(header, "list.id"), expected, "of {header:?}");
    }
    assert_eq!(of_values(&[b"A phrase <Foo.ex.com>"], "list.id"), "foo.ex.com", "the field as it stood, too");
    assert_eq!(of_values(&["<ÄB.ex.com>".as_bytes()], "list.id"), "äb.ex.com");
    assert_eq!(of_values(&[b"\xff"], "list.id"), "MALFORMED");
    assert_eq!(of_values(&["l".repeat(255).as_bytes()], "list.id"), "l".repeat(255));
    assert_eq!(of_values(&["l".repeat(256).as_bytes()], "list.id"), "OVERLONG");
    assert_eq!(of_values(&[b" "], "list.id"), "");
}

/// `(value, from.address, from.host, from.org, dkim.org of its host)`, as of a sender.
#[test]
fn values_are_normalised_as_a_senders_are() {
    for (value, [address, host, org]) in [
        ("Foo+Tag@MX.Ex.co.uk.", ["foo@mx.ex.co.uk", "mx.ex.co.uk", "ex.co.uk"]),
        ("<@a,@b:u@c.com>", ["u@c.com", "c.com", "c.com"]),
        ("\"a@b\"@x.com", ["a@b@x.com", "x.com", "x.com"]),
        ("", ["", "", ""]),
        ("<>", ["", "", ""]),
        ("postmaster", ["MANY", "MANY", "MANY"]),
        ("x@[192.0.2.1]", ["x@192.0.2.1", "192.0.2.1", "LITERAL"]),
        ("x@[IPv6:2001:DB8:0::1]", ["x@2001:db8::1", "2001:db8::1", "LITERAL"]),
        ("prvs=1234abcdef=joe@x.com", ["joe@x.com", "x.com", "x.com"]),
        ("u@ｅx。com", ["u@ex.com", "ex.com", "ex.com"]),
        ("u@alice.github.io", ["u@alice.github.io", "alice.github.io", "alice.github.io"]),
        ("u@co.uk", ["u@co.uk", "co.uk", "co.uk"]),
        ("u@localhost", ["u@localhost", "localhost", "localhost"]),
        ("u@a..ex.com", ["u@MALFORMED", "MALFORMED", "ex.com"]),
        ("u@xn--a-", ["u@MALFORMED", "MALFORMED", "MALFORMED"]),
    ] {
        let of = |name| of_values(&[value.as_bytes()], name);
        assert_eq!([of("from.address"), of("from.host"), of("from.org")], [address, host, org], "of {value:?}");
        assert_eq!([of("reply_to.address"), of("reply_to.org")], [address, org], "of {value:?}");
        if let Some((_, host)) = value.trim_matches(['<', '>']).rsplit_once('@') {
            assert_eq!(of_values(&[host.as_bytes()], "dkim.org"), org, "of {value:?}");
        }
    }
    assert_eq!(of_values(&[b"\xff@ex.com"], "from.address"), "MALFORMED@ex.com");
    let long = ["l".repeat(257), "@ex.com".into()].concat();
    assert_eq!(of_values(&[long.as_bytes()], "from.address"), "OVERLONG@ex.com");
    assert_eq!(of_values(&[b"", b"\xff"], "dkim.org"), "MALFORMED");
}

/// `(Reply-To, reply_to.address, reply_to.org, reply_to.mailbox)`
const MAILBOXES: &[[&str; 4]] = &[
    ["joe@ex.com", "joe@ex.com", "ex.com", "ex.com"],
    ["Joe <any.thing@mx.Ex.co.uk>", "any.thing@mx.ex.co.uk", "ex.co.uk", "ex.co.uk"],
    ["j.o.e+tag@GMail.com", "joe@gmail.com", "gmail.com", "joe@gmail.com"],
    ["J.oe@googlemail.com.", "joe@gmail.com", "gmail.com", "joe@gmail.com"],
    ["\"j.o.e\"@gmail.com", "joe@gmail.com", "gmail.com", "joe@gmail.com"],
    ["j.o.e@mail.gmail.com", "j.o.e@mail.gmail.com", "gmail.com", "gmail.com"],
    ["j.o.e@ex.com", "j.o.e@ex.com", "ex.com", "ex.com"],
    ["desk-1@yahoo.com", "desk@yahoo.com", "yahoo.com", "desk@yahoo.com"],
    ["desk-2-b@yahoo.co.uk", "desk@yahoo.co.uk", "yahoo.co.uk", "desk@yahoo.co.uk"],
    ["desk-2@ymail.com", "desk@ymail.com", "ymail.com", "desk@ymail.com"],
    ["-desk-2@yahoo.com", "-desk-2@yahoo.com", "yahoo.com", "-desk-2@yahoo.com"],
    ["desk-2@yahoo.ex.com", "desk-2@yahoo.ex.com", "ex.com", "ex.com"],
    ["desk-1@outlook.com", "desk-1@outlook.com", "outlook.com", "desk-1@outlook.com"],
    ["x@joe.fastmail.com", "joe@fastmail.com", "fastmail.com", "joe@fastmail.com"],
    ["y+z@joe.sent.com", "joe@sent.com", "sent.com", "joe@sent.com"],
    ["x@a.joe.fastmail.com", "joe@fastmail.com", "fastmail.com", "joe@fastmail.com"],
    ["j.o-e@pm.me", "joe@proton.me", "proton.me", "joe@proton.me"],
    ["j-o-e@ya.ru", "j.o.e@yandex.ru", "yandex.ru", "j.o.e@yandex.ru"],
    ["x@alice.github.io", "x@alice.github.io", "alice.github.io", "alice.github.io"],
    ["joe@[192.0.2.1]", "joe@192.0.2.1", "LITERAL", "LITERAL"],
    ["joe@localhost", "joe@localhost", "localhost", "localhost"],
    ["joe@a..b", "joe@MALFORMED", "MALFORMED", "MALFORMED"],
    ["\"\u{ff}\"@gmail.com", "MALFORMED@gmail.com", "gmail.com", "MALFORMED@gmail.com"],
    ["a@ex.com, b@ex.com, c@gmail.com", "a@ex.com b@ex.com c@gmail.com", "ex.com gmail.com", "ex.com c@gmail.com"],
    ["nobody", "MANY", "MANY", "MANY"],
];

#[test]
fn a_mailbox_is_who_reads_it() {
    for [field, address, org, mailbox] in MAILBOXES {
        let bytes: Vec<u8> = field.chars().map(|letter| if letter == '\u{ff}' { 0xFF } else { letter as u8 }).collect();
        let field = [b"Reply-To: ", &bytes[..], b"\nFrom: ann@gmail.com\n"].concat();
        let of = |name| of_header(&field, name);
        assert_eq!([of("reply_to.address"), of("reply_to.org"), of("reply_to.mailbox")], [*address, *org, *mailbox]);
        let from = [b"From: ", &bytes[..], b"\n"].concat();
        let of = |name| of_header(&from, name);
        assert_eq!([of("from.address"), of("from.org"), of("reply_to.mailbox")], [*address, *org, *mailbox]);
    }
    assert_eq!(of_header("From: d.esk@gmail.com\nReply-To: <>\n", "reply_to.mailbox"), "desk@gmail.com");
    assert_eq!(of_header("Subject: a\n", "reply_to.mailbox"), "");
    let sender = Envelope { mail_from: Some(b"j.o.e@googlemail.com"), ..Envelope::default() };
    assert_eq!(shown(&read(&sender), "sender.address"), "j.o.e@googlemail.com", "a return path has no such spellings");
}

#[test]
fn eight_values_are_read_each_once_and_more_are_many() {
    let values: Vec<String> = (0..20).map(|n| format!("u{n}@h{n}.ex{n}.com")).collect();
    let slices: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
    for name in ["from.address", "from.host", "from.org", "reply_to.address", "reply_to.org", "reply_to.mailbox"] {
        assert_eq!(of_values(&slices[..8], name).split(' ').count(), MOST_VALUES, "{name}");
        assert_eq!(of_values(&slices[..9], name), "MANY", "{name}");
    }
    assert_eq!(of_values(&slices, "dkim.org").split(' ').count(), MOST_VALUES);
    let same: Vec<&[u8]> = vec![b"A@ex.com", b"a@EX.com", b"b@ex.com"];
    assert_eq!(of_values(&same, "from.address"), "a@ex.com b@ex.com");
    assert_eq!(of_values(&same, "from.org"), "ex.com");
    let header = format!("From: {}\nReply-To: {}", values[..8].join(", "), values[..8].join("\nReply-To: "));
    let Header { from, reply_to, .. } = Header::read(header.as_bytes());
    assert_eq!((texts(&from), texts(&reply_to)), (values[..8].to_vec(), values[..8].to_vec()));
    let header = format!("From: {}\nReply-To: {}", values[..9].join(", "), values[..9].join("\nReply-To: "));
    assert_eq!([of_header(&header, "from.address"), of_header(&header, "reply_to.org")], ["MANY", "MANY"]);
    assert_eq!(texts(&Header::read(header.as_bytes()).from), ["MANY"]);
}

#[test]
fn what_a_header_says_is_claimed_and_a_verified_signature_is_proven() {
    let values: [&[u8]; 1] = [b"u@ex.com"];
    let headers = Headers { from: &values, reply_to: &values, list_id: Some(b"l.ex.com"), dkim: &[b"ex.com"] };
    let envelope = Envelope { headers: Some(&headers), mail_from: Some(b"u@ex.com"), ..Envelope::default() };
    let identities = read(&envelope);
    for name in ["from.address", "from.host", "from.org", "reply_to.address", "reply_to.org", "list.id"] {
        assert_eq!(identities.trust(named(name)), Trust::Claimed, "{name}");
    }
    assert_eq!(identities.trust(named("dkim.org")), Trust::Proven);
    assert_eq!(identities.trust(named("sender.org")), Trust::Claimed, "a signature proves no return path");
}

#[test]
fn junk_is_one_value_and_many_elements() {
    let junk: [&[u8]; 2] = [b"u@a\xff", b"u@b\xff"];
    let headers = Headers { from: &junk, reply_to: &junk, list_id: Some(b"\xff"), dkim: &junk };
    let identities = read(&Envelope { headers: Some(&headers), ..Envelope::default() });
    for name in ["from.address", "from.host", "from.org", "reply_to.address", "reply_to.org", "dkim.org"] {
        assert_eq!(identities.values(named(name)).len(), 1, "{name}");
        assert_eq!(identities.elements(named(name)).len(), 2, "{name}");
    }
    assert_eq!(identities.elements(named("list.id"))[..], [Value::Name(Part::Raw(b"\xff"))]);
}

#[test]
fn behind_so_many_octets_nothing_is_known() {
    let before = format!("X: {}\n", "x".repeat(MOST_OCTETS - 50));
    let inside = format!("{before}From: joe@ex.com\nReply-To: ann@b.com\nTo: a");
    assert_eq!(texts(&Header::read(inside.as_bytes()).reply_to), ["ann@b.com"]);
    let over = format!("{before}From: joe@ex.com\nReply-To: a@annabella.some.town.com\n");
    assert!(over.len() > MOST_OCTETS);
    let Header { from, reply_to, .. } = Header::read(over.as_bytes());
    assert_eq!([texts(&from), texts(&reply_to)], [["MANY"], ["MANY"]], "of what is cut, whatever stood before");
    let short = format!("From: joe@ex.com\n\n{}", "x".repeat(MOST_OCTETS));
    assert_eq!(texts(&Header::read(short.as_bytes()).from), ["joe@ex.com"], "a long body is not cut");
}

#[test]
fn a_field_is_read_up_to_its_bound_and_those_behind_it_too() {
    let field = |length: usize| {
        let from = " joe@ex.com";
        format!("From:({}){from}", "x".repeat(length - from.len() - 2))
    };
    let header = |length| format!("{}\nReply-To: ann@b.com\n", field(length));
    assert_eq!(of_header(header(MOST_FIELD_OCTETS - 1), "from.address"), "joe@ex.com");
    assert_eq!(of_header(header(MOST_FIELD_OCTETS), "from.address"), "MANY", "with its line feed");
    assert_eq!(of_header(header(MOST_FIELD_OCTETS), "reply_to.address"), "ann@b.com");
    let other = format!("X: {}\nReply-To: ann@b.com\n", "x".repeat(MOST_OCTETS / 2));
    assert_eq!(of_header(other, "reply_to.address"), "ann@b.com", "behind an over-long field");
}

/// 5 ms where a hash takes 0.21 ms. Quadratic work would be a thousand times as much: see the head of
/// `identity/header_address.rs`.
#[test]
fn no_header_takes_more_time_than_its_octets_and_a_little_for_its_addresses() {
    fn best_of_twenty<T>(work: impl Fn() -> T) -> Duration {
        let timed = || {
            let begin = Instant::now();
            black_box(work());
            begin.elapsed()
        };
        (0..20).map(|_| timed()).min().expect("twenty")
    }
    /// On a busy machine twenty times may all be too long, so a miss is measured again, some hundred times in all.
    fn times_of(header: &[u8]) -> (Duration, Duration) {
        let (mut reading, mut hashing) = (Duration::MAX, Duration::MAX);
        for _ in 0..5 {
            reading = reading.min(best_of_twenty(|| Header::read(black_box(header))));
            hashing = hashing.min(best_of_twenty(|| RandomState::new().hash_one(black_box(header))));
            if reading < 24 * hashing {
                break;
            }
        }
        (reading, hashing)
    }
    let fields = |field: String| {
        let name = |nth: usize| ["From: ", "Reply-To: "][nth % 2];
        (0..16).map(|nth| [name(nth), &field, "\n"].concat()).collect::<String>().into_bytes()
    };
    let times = |piece: &str, count: usize| piece.repeat(count).into_bytes();
    let most = |piece: &str| fields([&piece.repeat((MOST_FIELD_OCTETS - 11) / piece.len()), "@b"].concat());
    for header in [
        times("From: a@b.com\n", 80_000),
        times("a:\n", 350_000),
        times("From:\n", 170_000),
        times("\rFrom:", 170_000),
        times("\0", 1_000_000),
        times(" \r", 500_000),
        most("=?ab?q?x "),
        most("=?a?q?x"),
        most("("),
        most("(\\"),
        most("\"\\"),
        most("\""),
        most("a."),
        most("a@"),
        most("a@ ."),
        most("@["),
        most("\\a"),
        most(" ."),
        most("()@"),
        most("a@b "),
        most("=?u?q?a=00?="),
        most("=?u?q?=00?="),
    ] {
        let (reading, hashing) = times_of(&header);
        assert!(reading < 24 * hashing, "{reading:?}, {hashing:?} for a hash: {}", header[..20].escape_ascii());
    }
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces = "From: |Reply-To: |List-Id: |\r\n|\n|\n |\r|\t|<|>|@|,|;|:|(|)|\"|\\|\
        =?utf-8?q?|=?utf-8?b?|=?utf-7?q?|?=|=C3|+AGE-|joe|ex.com|\0";
    let pieces: Vec<&'static str> = pieces.split('|').collect();
    prop_oneof![
        4 => prop::sample::select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_there_is_read_and_what_was_read_is_named(pieces in prop::collection::vec(piece(), 0..40)) {
        let header = pieces.concat();
        let Header { from, reply_to, list_id } = Header::read(&header);
        prop_assert!(from.len() <= MOST_VALUES && reply_to.len() <= MOST_VALUES);
        prop_assert!(list_id.is_none_or(|list| !list.is_empty()));
        for identity in Identity::PLAIN {
            of_header(&header, &identity.to_string());
        }
    }

    #[test]
    fn what_stands_behind_the_header_does_not_matter(
        pieces in prop::collection::vec(piece(), 0..30), body in prop::collection::vec(piece(), 0..20),
    ) {
        let header = [pieces.concat(), b"\n\n".to_vec()].concat();
        prop_assert_eq!(Header::read(&header), Header::read(&[header.clone(), body.concat()].concat()));
    }
}
