//! The header of a message: which addresses it holds, row by row, and what identities they are.

mod common;

use std::time::Instant;

use common::{named, read, shown};
use proptest::prelude::*;
use throttle_core::envelope::{Envelope, Headers};
use throttle_core::identity::header_parser::{Header, MOST_FIELD_OCTETS, MOST_OCTETS};
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
    (b"From: =?utf-8?q?ann=40b.com?=\n", ""),
    (b"From: =?utf-8?q?ann=40b.com, <joe@ex.com>\n", "joe@ex.com"),
    // several
    (b"From: joe@ex.com, Ann <ann@b.com>\n", "joe@ex.com ann@b.com"),
    (b"From: joe@ex.com\nTo: x@y.com\nFrom: ann@b.com\n", "joe@ex.com ann@b.com"),
    (b"From: joe@ex.com, JOE@EX.com, <joe+a@ex.com>\n", "joe@ex.com"),
    (b"From: ,,joe@ex.com,,\n", "joe@ex.com"),
    // groups (RFC 6854)
    (b"From: team: joe@ex.com, ann@b.com;\n", "joe@ex.com ann@b.com"),
    (b"From: undisclosed-recipients:;\n", ""),
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
    (b"From: \"Joe <joe@ex.com>\nReply-To: ann@b.com\n", ""),
    (b"no field\nFrom: joe@ex.com\n", "joe@ex.com"),
    (b": no name\nFrom: joe@ex.com\n", "joe@ex.com"),
    (b"From: \nFrom: <>\nFrom:", ""),
    (b"From: joe@\n", "joe@MALFORMED"),
    (b"From: @ex.com\n", "@ex.com"),
    (b"From: root (Cron)\n", "root@UNQUALIFIED"),
    // raw octets
    (b"From: J\xf6 <joe@ex.com>\n", "joe@ex.com"),
    ("From: Jö <jö@bücher.com>\n".as_bytes(), "jö@xn--bcher-kva.com"),
    (b"From: j\xf6@ex.com\n", "MALFORMED@ex.com"),
    (b"From: joe@b\xfccher.com\n", "joe@MALFORMED"),
    (b"From: Joe\0 <joe@ex.com>\n", "joe@ex.com"),
    (b"From: joe@e\0x.com\n", "joe@e\0x.com"),
    (b"\0\0\xff\xfe\nFrom: joe@ex.com\n", "joe@ex.com"),
    // the header ends at the first blank line
    (b"To: x@y.com\r\n\r\nFrom: joe@ex.com\r\n", ""),
    (b"To: x@y.com\n\nFrom: joe@ex.com\n", ""),
    (b"\r\nFrom: joe@ex.com\r\n", ""),
    (b"To: x@y.com\r\n \r\nFrom: joe@ex.com\r\n", "joe@ex.com"),
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
        ("", ["", "", "NULL"]),
        ("<>", ["", "", "NULL"]),
        ("postmaster", ["postmaster@UNQUALIFIED", "UNQUALIFIED", "UNQUALIFIED"]),
        ("x@[192.0.2.1]", ["x@192.0.2.1", "192.0.2.1", "LITERAL"]),
        ("x@[IPv6:2001:DB8:0::1]", ["x@2001:db8::1", "2001:db8::1", "LITERAL"]),
        ("prvs=1234abcdef=joe@x.com", ["joe@x.com", "x.com", "x.com"]),
        ("u@ｅx。com", ["u@ex.com", "ex.com", "ex.com"]),
        ("u@alice.github.io", ["u@alice.github.io", "alice.github.io", "alice.github.io"]),
        ("u@co.uk", ["u@co.uk", "co.uk", "co.uk"]),
        ("u@localhost", ["u@localhost", "localhost", "localhost"]),
        ("u@a..ex.com", ["u@MALFORMED", "MALFORMED", "ex.com"]),
        ("u@a..", ["u@MALFORMED", "MALFORMED", "MALFORMED"]),
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

#[test]
fn eight_values_are_looked_at_each_once() {
    let values: Vec<String> = (0..20).map(|n| format!("u{n}@h{n}.ex{n}.com")).collect();
    let slices: Vec<&[u8]> = values.iter().map(String::as_bytes).collect();
    for name in ["from.address", "from.host", "from.org", "reply_to.address", "reply_to.org", "dkim.org"] {
        assert_eq!(of_values(&slices, name).split(' ').count(), MOST_VALUES, "{name}");
    }
    let same: Vec<&[u8]> = vec![b"A@ex.com", b"a@EX.com", b"b@ex.com"];
    assert_eq!(of_values(&same, "from.address"), "a@ex.com b@ex.com");
    assert_eq!(of_values(&same, "from.org"), "ex.com");
    let header = format!("From: {}\nReply-To: {}", values[..12].join(", "), values.join("\nReply-To: "));
    let Header { from, reply_to, .. } = Header::read(header.as_bytes());
    assert_eq!((texts(&from), texts(&reply_to)), (values[..8].to_vec(), values[..8].to_vec()));
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
    let junk: [&[u8]; 2] = [b"u@a..", b"u@b.."];
    let headers = Headers { from: &junk, reply_to: &junk, list_id: Some(b"\xff"), dkim: &junk };
    let identities = read(&Envelope { headers: Some(&headers), ..Envelope::default() });
    for name in ["from.address", "from.host", "from.org", "reply_to.address", "reply_to.org", "dkim.org"] {
        assert_eq!(identities.values(named(name)).len(), 1, "{name}");
        assert_eq!(identities.elements(named(name)).len(), 2, "{name}");
    }
    assert_eq!(identities.elements(named("list.id"))[..], [Value::Name(Part::Raw(b"\xff"))]);
}

#[test]
fn a_field_that_does_not_end_in_what_is_looked_at_is_not_read() {
    let before = format!("X: {}\n", "x".repeat(MOST_OCTETS - 50));
    let inside = format!("{before}From: joe@ex.com\nReply-To: ann@b.com\nTo: a");
    assert_eq!(texts(&Header::read(inside.as_bytes()).reply_to), ["ann@b.com"]);
    let over = format!("{before}From: joe@ex.com\nReply-To: a@annabella.some.town.com\n");
    assert!(over.len() > MOST_OCTETS);
    let Header { from, reply_to, .. } = Header::read(over.as_bytes());
    assert_eq!((texts(&from), texts(&reply_to)), (vec!["joe@ex.com".to_owned()], vec![]));
}

#[test]
fn of_the_fields_of_a_name_so_many_octets_are_taken_apart() {
    let filler = "x".repeat(MOST_FIELD_OCTETS - 30);
    let header = format!("From: ({filler}) joe@ex.com,\nReply-To: ann@b.com\nFrom: ann@b.com\nFrom: ben@b.com");
    let Header { from, reply_to, .. } = Header::read(header.as_bytes());
    assert_eq!(texts(&from), ["joe@ex.com", "ann@b.com"], "no part of the third");
    let one = format!("From: {}, <cut@ex.com>", "a@ex.com,".repeat(MOST_FIELD_OCTETS / 9));
    assert_eq!(texts(&Header::read(one.as_bytes()).from), ["a@ex.com"]);
    assert_eq!(texts(&reply_to), ["ann@b.com"], "each name by itself");
}

/// Quadratic work would be a thousand times as much: see the header of `identity/header.rs`.
#[test]
fn no_header_takes_more_time_than_its_octets_and_a_little_for_its_addresses() {
    let begun = |header: &[u8]| {
        let begin = Instant::now();
        std::hint::black_box(Header::read(header));
        begin.elapsed()
    };
    let times = |piece: &str, count: usize| piece.repeat(count).into_bytes();
    for header in [
        times("From: a@b.com\n", 20_000),
        times("a:\n", 90_000),
        times("From:\n", 45_000),
        [b"From: ".to_vec(), times("=?ab?q?x ", 30_000)].concat(),
        times(&format!("From: {}\n", "=?ab?q?x ".repeat(100)), 300),
        [b"From: ".to_vec(), times("(", 260_000)].concat(),
        [b"From: ".to_vec(), times("a:;", 80_000)].concat(),
        [b"From: ".to_vec(), times("\"", 260_000)].concat(),
        times("\0", 300_000),
        times(" \r", 150_000),
        times("=?", 150_000),
    ] {
        let best = (0..5).map(|_| begun(&header)).min().expect("five");
        assert!(best.as_millis() < 50, "{best:?} for {}", header[..20].escape_ascii());
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
