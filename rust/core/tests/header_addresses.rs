//! The addresses of one header field, row by row: spellings that lead readers astray, and what other test-suites cover.
//!
//! The rows were written for this file. Of other projects they repeat which case matters, not their text.

mod common;

use std::process::Command;

use common::{read, shown};
use throttle_core::envelope::{Envelope, Headers};
use throttle_core::identity::header_address::{MOST_ATS, MOST_UNCLOSED, Mailboxes};

/// The addresses of a field, as text; `["MANY"]` for MANY.
#[track_caller]
fn found(field: impl AsRef<[u8]>) -> Vec<String> {
    let mut all = Mailboxes::default();
    all.read(field.as_ref());
    let Some(all) = all.all() else { return vec!["MANY".into()] };
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    for mailbox in &all {
        let written = mailbox.written();
        let mut again = Mailboxes::default();
        again.read(&written);
        let again = again.all().unwrap_or_default();
        assert!(
            matches!(&again[..], [one] if one.local == mailbox.local && one.host == mailbox.host),
            "{} is read as {again:?}",
            text(&written),
        );
    }
    all.iter().map(|mailbox| format!("{}@{}", text(&mailbox.local), text(&mailbox.host))).collect()
}

#[track_caller]
fn assert_rows(rows: &[(&str, &str)]) {
    for (field, expected) in rows {
        assert_eq!(found(field).join(" "), *expected, "of {field:?}");
    }
}

/// `joe@b.com` as a sender may write it, with what changes from message to message, `R`.
#[test]
fn every_address_in_sight_is_found() {
    assert_rows(&[
        ("<joe@b.com>@R", "joe@b.com"),
        ("joe@b.com R@z.com", "joe@b.com R@z.com"),
        ("<joe@b.com, R@z.com>", "joe@b.com R@z.com"),
        ("\"joe\"@b.com R", "joe@b.com"),
        ("joe@b.com>R", "joe@b.com"),
        ("joe@b.com :R;", "joe@b.com"),
        ("\"R\" <=?utf-8?q?joe?=@b.com>", "joe@b.com"),
        ("<joe@b.com\0R>", "joe@b.com"),
        ("R\0joe@b.com", "joe@b.com"),
        ("joe@b.com@R", "joe@b.com b.com@R"),
        ("<<<joe@b.com", "joe@b.com"),
        ("<R@z.com> joe@b.com", "R@z.com joe@b.com"),
        ("R <joe@b.com", "joe@b.com"),
        ("\"R <joe@b.com>", "joe@b.com"),
        ("(R <joe@b.com>", "joe@b.com"),
        ("R\" joe@b.com", "joe@b.com"),
        ("R) joe@b.com", "joe@b.com"),
        ("[R joe@b.com]", "joe@b.com"),
        ("joe@b.com[R]", "joe@b.com"),
        ("joe@b.com\"R\"", "joe@b.com"),
        ("joe@b.com(R)", "joe@b.com"),
        ("joe@b.com?R", "joe@b.com"),
        ("joe@b.com/R", "joe@b.com"),
        ("joe@b.com=R", "joe@b.com"),
        ("mailto:joe@b.com", "joe@b.com"),
        ("<mailto:joe@b.com?subject=R>", "joe@b.com"),
        ("R:joe@b.com;", "joe@b.com"),
        ("R:joe@b.com", "joe@b.com"),
        ("<@R,@z:joe@b.com>", "joe@b.com"),
        ("<R@z.com:joe@b.com>", "R@z.com joe@b.com"),
        ("joe@b.com;R@z.com", "joe@b.com R@z.com"),
        ("<joe@b.com><R@z.com>", "joe@b.com R@z.com"),
        ("@R joe@b.com", "joe@b.com"),
        ("joe@b.com.", "joe@b.com"),
        ("joe@b.com...", "joe@b.com"),
        ("joe@.b.com", "joe@b.com"),
        ("joe@\"b.com\"", "joe@b.com"),
        ("joe@=?utf-8?q?b.com?=", "joe@b.com"),
        ("joe@b.com\u{a0}R", "joe@b.com"),
        ("R\u{2003}joe@b.com", "joe@b.com"),
        ("\u{feff}joe@b.com", "joe@b.com"),
        ("joe@b.com\rR", "joe@b.com"),
        ("\x1bR\x1bjoe@b.com\x7fR", "joe@b.com"),
        ("\"joe\0R\"@b.com", "joe@b.com"),
        ("=?utf-8?q?joe=00R?=@b.com", "joe@b.com"),
        ("=?R?q?joe?=@b.com", "joe@b.com"),
        ("=?utf-8*en?Q?joe?=@b.com", "joe@b.com"),
        ("=?utf-8?b?am9l?=@b.com", "joe@b.com"),
        ("=?utf-8?q?=6Ao=65?=@b.com", "joe@b.com"),
        ("=?R?q?joe@b.com?=", "joe@b.com"),
        ("=?R?q?<joe@b.com>?=", "joe@b.com"),
        ("=?iso-8859-1?q?j=F6?=@b.com", "j\\xc3\\xb6@b.com"),
    ]);
    let phrase = format!("{} <joe@b.com>", "R ".repeat(2_048));
    assert_eq!(found(&phrase), ["joe@b.com"], "a phrase of 4 KiB");
    assert_eq!(found(phrase.replace(' ', ".")), ["joe@b.com"]);
}

/// Where readers differ about what belongs to the address, both readings count.
#[test]
fn every_reading_counts() {
    assert_rows(&[
        ("R. joe@b.com", "R.joe@b.com joe@b.com"),
        ("R .joe@b.com", "R.joe@b.com joe@b.com"),
        ("R \"joe\"@b.com", "joe@b.com"),
        ("\"R\"joe@b.com", "Rjoe@b.com joe@b.com"),
        ("R\\joe@b.com", "Rjoe@b.com joe@b.com"),
        ("joe\\@b.com", "joe@b.com"),
        ("joe\"@b.com", "joe@b.com"),
        ("R\"joe@b.com", "Rjoe@b.com joe@b.com"),
        ("\"R <\"jo\\e\"@b.com>", "R <joe@b.com joe@b.com e@b.com"),
        ("=?u?q?j?= =?u?q?oe?=@b.com", "joe@b.com oe@b.com"),
        ("j=?u?q?oe?=@b.com", "joe@b.com oe@b.com"),
        ("joe@b.com. R", "joe@b.com.R joe@b.com"),
        ("joe@b .com", "joe@b.com joe@b"),
        ("R. joe@b.com. R", "R.joe@b.com.R joe@b.com.R R.joe@b.com joe@b.com"),
    ]);
}

#[test]
fn what_hides_hides() {
    assert_rows(&[
        ("\"ann@c.com\" <joe@b.com>", "joe@b.com"),
        ("(ann@c.com) joe@b.com", "joe@b.com"),
        ("(a (ann@c.com) b\\) c) joe@b.com", "joe@b.com"),
        ("\"a\\\" ann@c.com\" joe@b.com", "joe@b.com"),
        ("=?utf-8?q?ann=40c.com?= <joe@b.com>", "joe@b.com"),
        ("=?utf-8?b?YW5uQGMuY29t?= <joe@b.com>", "joe@b.com"),
    ]);
}

#[test]
fn what_cannot_be_read_is_one_value_and_what_is_empty_is_none() {
    assert_eq!(found("a\\b\\c\\d\\e\\f\\g\\h@x").len(), 8);
    assert_eq!(found("a\\b\\c\\d\\e\\f\\g\\h\\i@x"), ["MANY"], "nine readings");
    let many = [
        "joe",
        "joe at b.com",
        "joe@",
        "@b.com",
        "joe@<b.com>",
        "\"joe@b.com\"",
        "(joe@b.com)",
        "=?u?q?joe=40b.com?=",
        "undisclosed-recipients:;",
        "joe@!",
        "ö",
        "a@b, a@c, a@d, a@e, a@f, a@g, a@h, a@i, a@j",
    ];
    for field in many {
        assert_eq!(found(field), ["MANY"], "of {field:?}");
    }
    for field in ["", " \r\n\t", "<>", "< >", ",", ";:", "@", "()", "\"\"", "\0", "."] {
        assert_eq!(found(field), [""; 0], "of {field:?}");
    }
    let unclosed = |count: usize| format!("{}joe@b.com", "(".repeat(count));
    assert_eq!(found(unclosed(MOST_UNCLOSED)), ["joe@b.com"]);
    assert_eq!(found(unclosed(MOST_UNCLOSED + 1)), ["MANY"]);
    assert_eq!(found("joe@b.com ".repeat(MOST_ATS)), ["joe@b.com"]);
    assert_eq!(found("joe@b.com ".repeat(MOST_ATS + 1)), ["MANY"]);
}

/// RFC 5322 §3.2–3.4, §4.4 and its appendix A: forms that are legal.
#[test]
fn legal_forms_are_read_right() {
    assert_rows(&[
        ("joe@(x)b.com", "joe@b.com"),
        ("joe@\r\n b.com", "joe@b.com"),
        ("joe\r\n @b.com", "joe@b.com"),
        ("\"first\".last@x", "first.last@x"),
        ("first(c).last@x", "first.last@x"),
        ("first.(c)last@x", "first.last@x"),
        ("first(c)\r\n.(d)last(e)@(f)x(g).(h)y(i)", "first.last@x.y last@x.y"),
        ("joe@[IPv6:2001:db8::1]", "joe@[IPv6:2001:db8::1]"),
        ("joe@ [192.0.2.1] (c)", "joe@[192.0.2.1]"),
        ("\"a\\\"b\\\"c\"@x.com", "a\\\"b\\\"c@x.com"),
        ("\"joe doe\"@x.com", "joe doe@x.com"),
        ("\"joe\r\n doe\"@x.com", "joe doe@x.com"),
        ("\"\"@x.com", "@x.com"),
        ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", "pete@silly.test"),
        (
            "A Group(Some people)\r\n :Chris Jones <c@(Chris's host.)public.ex>,\r\n joe@ex.org,\r\n John <j@one.test> \
             (his dear friend); (the end of the group)",
            "c@public.ex joe@ex.org j@one.test",
        ),
        ("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", "MANY"),
        ("Joe Q. Public <john.q.public@ex.com>", "john.q.public@ex.com"),
        ("Who? <one@y.test>", "one@y.test"),
        ("<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@ex.net>", "boss@nil.test sysservices@ex.net"),
        ("Mary Smith <@node.test:mary@ex.net>, , jdoe@test  . ex", "mary@ex.net jdoe@test.ex jdoe@test"),
    ]);
}

/// What the tests of `email.utils` and of `email.headerregistry` in CPython cover (Lib/test/test_email; PSF License 2).
#[test]
fn cases_of_cpython() {
    assert_rows(&[
        ("foo: ;", "MANY"),
        ("Alice <alice@ex.test>, bob@ex.test", "alice@ex.test bob@ex.test"),
        ("alice@ex.test)bob@ex.test", "alice@ex.test bob@ex.test"),
        ("alice@ex.test(carol@ex.test", "alice@ex.test carol@ex.test"),
        ("alice@ex.test<bob@ex.test", "alice@ex.test bob@ex.test"),
        ("alice@ex.test@bob@ex.test", "alice@ex.test ex.test@bob bob@ex.test"),
        ("alice@ex.test;bob@ex.test", "alice@ex.test bob@ex.test"),
        ("\"alice@ex.test\" <bob@ex.test>", "bob@ex.test"),
        ("<alice@ex.test>bob@ex.test", "alice@ex.test bob@ex.test"),
        ("User ((nested comment)) <foo@bar.test>", "foo@bar.test"),
        ("Example (a \\( b) <foo@bar.test>", "foo@bar.test"),
        ("'foo@bar.test' (Joe)", "\\'foo@bar.test"),
        ("dom@ain.test\t(Dom\r\n Ain)", "dom@ain.test"),
        ("\"dom\"@ain.test", "dom@ain.test"),
        ("dom@[127.0.0.1]", "dom@[127.0.0.1]"),
        ("\"d@m\"@ain.test", "d@m@ain.test"),
        ("local@", "MANY"),
        ("d.o.m.@ain.test", "d.o.m.@ain.test"),
        ("..d..om@ain.test", "..d..om@ain.test"),
        ("=?utf-8?q?Zo=C3=AB?= <zoe@ain.test>", "zoe@ain.test"),
        ("zo\u{eb}@ain.test", "zo\\xc3\\xab@ain.test"),
        ("@list,@of.a,@route:dom@ain.test", "dom@ain.test"),
    ]);
}

/// What the tests of `is_email` cover (Dominic Sayers; BSD 3-Clause): strange local parts and domains.
#[test]
fn cases_of_is_email() {
    assert_rows(&[
        ("a@io", "a@io"),
        ("!#$%&`*+/=?^`{|}~@iana.test", "!#$%&`*+/=?^`{|}~@iana.test"),
        ("test@a-b.test", "test@a-b.test"),
        ("test@-iana.test", "test@-iana.test"),
        ("123@iana.test", "123@iana.test"),
        ("test@123.test", "test@123.test"),
        ("\"test\"@iana.test", "test@iana.test"),
        ("\"\\a\"@iana.test", "a@iana.test"),
        ("\"\\\"\"@iana.test", "\\\"@iana.test"),
        ("\"\\\\\"@iana.test", "\\\\@iana.test"),
        ("\"test\"test@iana.test", "testtest@iana.test test@iana.test"),
        ("test\"text\"@iana.test", "testtext@iana.test text@iana.test"),
        ("\"test\".\"test\"@iana.test", "test.test@iana.test"),
        ("\"test\".test@iana.test", "test.test@iana.test"),
        ("test@[255.255.255.255]", "test@[255.255.255.255]"),
        ("test@[255.255.255]", "test@[255.255.255]"),
        ("test@[IPv6:::]", "test@[IPv6:::]"),
        ("test@[IPv6:1111:2222::8888]", "test@[IPv6:1111:2222::8888]"),
        ("test@[RFC-5322-domain-literal]", "test@[RFC-5322-domain-literal]"),
        (" test@iana.test", "test@iana.test"),
        ("test@iana.test ", "test@iana.test"),
        ("test . test@iana.test", "test.test@iana.test test@iana.test"),
        ("\r\n test@iana.test", "test@iana.test"),
        ("(comment)test@iana.test", "test@iana.test"),
        ("((comment)test@iana.test", "test@iana.test"),
        ("(comment(comment))test@iana.test", "test@iana.test"),
        ("test@(comment)iana.test", "test@iana.test"),
        ("test(comment)@iana.test", "test@iana.test"),
        ("test(comment)test@iana.test", "test@iana.test"),
        ("test@(comment)[255.255.255.255]", "test@[255.255.255.255]"),
        ("test@iana.test-", "test@iana.test-"),
        ("(comment\\)test@iana.test", "test@iana.test"),
        ("test@iana.test(comment\\)", "test@iana.test"),
        ("test@iana/icann.test", "test@iana"),
        ("\"test@iana.test", "test@iana.test"),
    ]);
}

/// What the tests of MimeKit's `InternetAddressList` cover (Jeffrey Stedfast; MIT).
#[test]
fn cases_of_mimekit() {
    assert_rows(&[
        ("\"Jeffrey \\\"fejj\\\" S\" <fejj@heli.test>", "fejj@heli.test"),
        ("<fejj@heli.test>; <fejj@gnome.test>", "fejj@heli.test fejj@gnome.test"),
        (
            "GNOME Hackers: Miguel <m@gnome.test>, H <\"hav)oc\"@gnome.test>;, fejj@heli.test",
            "m@gnome.test hav)oc@gnome.test fejj@heli.test",
        ),
        ("Local recipients: phil, joe, alex, bob", "MANY"),
        (":sysadmin@some.test,", "sysadmin@some.test"),
        ("<<<fejj@heli.test>>>", "fejj@heli.test"),
        ("fejj@heli.test (Jeffrey", "fejj@heli.test"),
        ("fejj@heli.test>", "fejj@heli.test"),
        ("\"Joe\" joe@heli.test", "joe@heli.test"),
        ("Joe [list] <joe@heli.test>", "joe@heli.test"),
        ("Joe, Jr. <joe@heli.test>", "joe@heli.test"),
        ("joe@heli.test <joe@heli.test>", "joe@heli.test"),
        ("joe@heli.test <joe@heli.test>, ann@heli.test <ann@heli.test>", "joe@heli.test ann@heli.test"),
        ("<joe@heli.test@>", "joe@heli.test"),
        ("<@route>joe@heli.test", "joe@heli.test"),
        ("Me <@route.test:joe@heli.test>", "joe@heli.test"),
        ("joe @heli.test", "joe@heli.test"),
        ("\"Dr. O'Reilly\" <dr.o'reilly@heli.test>", "dr.o\\'reilly@heli.test"),
        ("=?iso-8859-1?Q?=22Bj=F6rn_=22=20?= <b@heli.test>", "b@heli.test"),
        ("=?utf-8?b?xZg=?= =?utf-8?b?xZg=?= <b@heli.test>", "b@heli.test"),
    ]);
}

/// What the tests of nodemailer's `addressparser` cover (Andris Reinman; MIT-0).
#[test]
fn cases_of_nodemailer() {
    assert_rows(&[
        ("andris@tr.test", "andris@tr.test"),
        ("andris <andris@tr.test>", "andris@tr.test"),
        ("<andris@tr.test>, andris2@tr.test", "andris@tr.test andris2@tr.test"),
        ("andris:<andris@tr.test>, andris2@tr.test;", "andris@tr.test andris2@tr.test"),
        (
            "Test User <test.user@mail.test>, Disclosed:andris@tr.test, andris2@tr.test;,, Undisclosed:;",
            "test.user@mail.test andris@tr.test andris2@tr.test",
        ),
        ("andris@tr.test (andris)", "andris@tr.test"),
        ("andris andris@tr.test", "andris@tr.test"),
        ("O'Neill, andris@tr.test", "andris@tr.test"),
        ("\"Firstname \\\" Lastname\" <andris@tr.test>", "andris@tr.test"),
        ("\"Test User\" <\"test,user\"@mail.test>", "test,user@mail.test"),
        ("Joe Foo <mailto:joe@tr.test>", "joe@tr.test"),
        ("\"xclow3n@gmail.test x\"@internal.test", "xclow3n@gmail.test x@internal.test"),
        ("\"user@evil.test\"@ok.test", "user@evil.test@ok.test"),
    ]);
}

/// What the tests of flanker's `address.parse_list` cover (Mailgun; Apache 2.0).
#[test]
fn cases_of_flanker() {
    assert_rows(&[
        ("Bill Gates <bill@ms.test>", "bill@ms.test"),
        ("Bill Gates<bill@ms.test>", "bill@ms.test"),
        ("bill@ms.test, , steve@apple.test", "bill@ms.test steve@apple.test"),
        ("bill@ms.test; steve@apple.test", "bill@ms.test steve@apple.test"),
        ("bill@ms.test steve@apple.test", "bill@ms.test steve@apple.test"),
        ("\"Bill, Gates\" <bill@ms.test>", "bill@ms.test"),
        ("=?UTF-8?Q?B=C3=AFll?= <bill@ms.test>", "bill@ms.test"),
        ("bill+tag@ms.test", "bill+tag@ms.test"),
        ("b\u{ef}ll@ms.test", "b\\xc3\\xafll@ms.test"),
        ("bill@\u{43f}\u{440}.test", "bill@\\xd0\\xbf\\xd1\\x80.test"),
        ("http://ms.test", "MANY"),
        ("bill@ms_corp.test", "bill@ms_corp.test"),
        ("\"bill\"<bill@ms.test>", "bill@ms.test"),
        ("Bill <bill@ms.test> Gates", "bill@ms.test"),
        ("Bill <bill @ ms.test>", "bill@ms.test"),
    ]);
}

/// A column of the test, in which some characters are written as `\u200D`.
fn unescaped(column: &str) -> String {
    let mut pieces = column.split("\\u");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (code, rest) = piece.split_at(4);
        text.extend(u32::from_str_radix(code, 16).ok().and_then(char::from_u32));
        text += rest;
    }
    text
}

/// The host of each row of Unicode's test of UTS 46 that is valid, read from a field (IdnaTestV2.txt; Unicode License
/// v3; a copy comes with the crate `idna`). Each gives the same identity as the host of a sender.
#[test]
fn hosts_of_unicodes_test_are_read_whole() {
    let metadata = ["metadata", "--locked", "--offline", "--format-version=1"];
    let output = Command::new(env!("CARGO")).args(metadata).output().expect("cargo runs");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let manifest = packages.iter().find(|package| package["name"] == "idna").expect("idna")["manifest_path"].as_str();
    let file = std::path::Path::new(manifest.expect("a path")).with_file_name("tests").join("IdnaTestV2.txt");
    let rows = std::fs::read_to_string(file).expect("the test's data");
    let mut read_rows = 0;
    for row in rows.lines().filter(|row| !row.starts_with('#') && row.contains(';')) {
        let columns: Vec<&str> = row.split('#').next().unwrap_or(row).split(';').map(str::trim).collect();
        // Source, its Unicode form, status of that, ASCII form and status; empty when it is the column before.
        let (source, is_valid) = (columns[0], columns[2].is_empty() && columns[4].is_empty());
        let source = unescaped(source);
        // A sign such as `=` with a combining mark is a letter to UTS 46, and the end of a host in a header.
        let is_sign = |sign: char| sign.is_ascii() && !sign.is_ascii_alphanumeric() && !"-._".contains(sign);
        if !is_valid || source.is_empty() || source.contains(is_sign) {
            continue;
        }
        let path = format!("joe@{source}");
        let fields = [path.as_bytes()];
        let headers = Headers { from: &fields, ..Headers::default() };
        let envelope = Envelope { mail_from: Some(path.as_bytes()), headers: Some(&headers), ..Envelope::default() };
        let identities = read(&envelope);
        for (of_header, of_sender) in [("from.host", "sender.host"), ("from.org", "sender.org")] {
            assert_eq!(shown(&identities, of_header), shown(&identities, of_sender), "of {source:?}");
        }
        assert!(!shown(&identities, "from.host").contains(char::is_uppercase), "{source:?} has a normal form");
        read_rows += 1;
    }
    assert!(read_rows > 500, "{read_rows} valid rows");
}
