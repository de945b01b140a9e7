//! What each spelling becomes, row by row.

mod common;

use common::{named, of_sender, read, sender, shown};
use throttle_core::envelope::{Envelope, Headers, Spf};
use throttle_core::identity::value::{Part, Value};
use throttle_core::identity::{Identities, Trust};

/// `(path, sender.address, sender.host, sender.org, sender.registered)`
#[track_caller]
fn assert_sender(path: impl AsRef<[u8]>, expected: [&str; 4]) {
    let identities = sender(path.as_ref());
    let names = ["sender.address", "sender.host", "sender.org", "sender.registered"];
    assert_eq!(names.map(|name| shown(&identities, name)), expected, "of {}", path.as_ref().escape_ascii());
}

#[track_caller]
fn assert_ladder(path: impl AsRef<[u8]>, per: &str, expected: &[&str]) {
    let identities = sender(path.as_ref());
    assert_eq!(&*identities.ladder(named("sender.host"), named(per)), expected, "of {}", path.as_ref().escape_ascii());
}

#[test]
fn case_sub_address_and_root_dot_do_not_matter() {
    assert_sender("Foo+Tag@EX.com.", ["foo@ex.com", "ex.com", "ex.com", "ex.com"]);
}

#[test]
fn quotes_do_not_matter_and_the_last_at_splits() {
    for path in ["\"a@b\"@x.com", "a@b@x.com", "\"a\\@b\"@x.com", "a\"@\"b@x.com", "\"a\\@\"b@x.com"] {
        assert_sender(path, ["a@b@x.com", "x.com", "x.com", "x.com"]);
    }
    assert_eq!(of_sender("a\"b@x.com", "sender.address"), "a\"b@x.com", "a quote that does not close is text");
    assert_eq!(of_sender("\"\"@x.com", "sender.address"), "@x.com");
    assert_eq!(of_sender("\"a+b\"@x.com", "sender.address"), "a@x.com");
}

#[test]
fn source_routes_are_dropped() {
    for path in ["<@a,@b:u@c.com>", "@a,@b:u@c.com", "@a: u@c.com", "@[IPv6:::1]:u@c.com", "@a:@b:u@c.com"] {
        assert_sender(path, ["u@c.com", "c.com", "c.com", "c.com"]);
    }
    assert_eq!(of_sender("@[IPv6:2001:db8::1]", "sender.address"), "@2001:db8::1", "no route, an empty local part");
    assert_eq!(of_sender("@c.com", "sender.address"), "@c.com");
}

#[test]
fn the_null_sender_has_an_organisation_and_nothing_else() {
    for path in ["", "<>", " < > "] {
        assert_sender(path, ["", "", "NULL", ""]);
        assert_eq!(of_sender(path, "sender.org+2"), "");
        assert_eq!(sender(path.as_bytes()).trust(named("sender.org")), Trust::Claimed);
    }
}

#[test]
fn an_absent_sender_has_no_identity() {
    let identities = read(&Envelope::default());
    for name in ["sender.address", "sender.host", "sender.org", "sender.registered"] {
        assert!(identities.values(named(name)).is_empty());
        assert!(identities.elements(named(name)).is_empty());
    }
}

#[test]
fn a_lone_local_part_is_unqualified() {
    assert_sender("Postmaster", ["postmaster@UNQUALIFIED", "UNQUALIFIED", "UNQUALIFIED", "UNQUALIFIED"]);
}

#[test]
fn brackets_and_blanks_around_an_address_do_not_matter() {
    for path in ["<u@ex.com>", " u@ex.com\r\n", " < u@ex.com > ", "<<u@ex.com>>", "<u@ex.com", "u@ex.com. "] {
        assert_sender(path, ["u@ex.com", "ex.com", "ex.com", "ex.com"]);
    }
}

#[test]
fn an_address_literal_is_the_address_and_never_the_suffix_lists() {
    for path in ["x@[192.0.2.1]", "x@192.0.2.1", "x@[::ffff:192.0.2.1]", "x@[IPv6:::FFFF:192.0.2.1]", "x@１９２.0.2。1"]
    {
        assert_sender(path, ["x@192.0.2.1", "192.0.2.1", "LITERAL", "LITERAL"]);
    }
    for path in ["x@[IPv6:2001:DB8:0::1]", "x@[ipv6:2001:db8::1]", "x@[2001:db8::1]", "x@2001:db8::1"] {
        assert_sender(path, ["x@2001:db8::1", "2001:db8::1", "LITERAL", "LITERAL"]);
    }
    assert_eq!(of_sender("x@[192.0.2.1]", "sender.org+3"), "LITERAL");
    assert_sender("x@[192.0.2.1.com]", ["x@MALFORMED", "MALFORMED", "MALFORMED", "MALFORMED"]);
}

#[test]
fn bounce_tags_are_undone_until_nothing_changes() {
    let tagged = [
        "prvs=1234abcdef=joe@x.com",
        "PRVS=1234ABCDEF=Joe@x.com",
        "msprvs1=18054C4N_yuWh=joe@x.com",
        "btv1==04593bdc6ba==joe@x.com",
        "prvs=1234abcdef=btv1==04593bdc6ba==prvs=0000aaaaaa=joe+tag@x.com",
    ];
    for path in tagged {
        assert_eq!(of_sender(path, "sender.address"), "joe@x.com", "of {path}");
    }
    assert_eq!(of_sender("prvs=1234abcdef=@x.com", "sender.address"), "prvs=1234abcdef=@x.com", "no mailbox behind it");
    assert_eq!(of_sender("prvs=joe@x.com", "sender.address"), "prvs=joe@x.com");
}

#[test]
fn a_forwarders_stamp_is_dropped_and_the_forwarder_stays_the_sender() {
    assert_sender("SRS0=HHH=TT=orig=al@fwd.com", ["srs0=orig=al@fwd.com", "fwd.com", "fwd.com", "fwd.com"]);
    assert_eq!(of_sender("srs0+Ab+/=5T=orig.org=al+x@fwd.com", "sender.address"), "srs0=orig.org=al@fwd.com");
    assert_eq!(
        of_sender("SRS1=HHH=fwd1.com==HHH=TT=orig=al@fwd.com", "sender.address"),
        "srs1=fwd1.com==orig=al@fwd.com"
    );
    assert_eq!(of_sender("srs0=al@fwd.com", "sender.address"), "srs0=al@fwd.com", "no stamp in it");
    assert_eq!(of_sender("SRS0=HHH=TT=prvs=1=al@fwd.com", "sender.address"), "srs0=prvs=1=al@fwd.com");
}

#[test]
fn variable_return_paths_fold_at_the_first_plus() {
    assert_eq!(of_sender("b+al=ex.org@list.com", "sender.address"), "b@list.com");
    assert_eq!(of_sender("+a+b@x.com", "sender.address"), "+a@x.com", "a leading plus stays");
    assert_eq!(of_sender("++@x.com", "sender.address"), "+@x.com");
    assert_eq!(of_sender("first.last@gmail.com", "sender.address"), "first.last@gmail.com", "dots stay");
}

#[test]
fn local_parts_are_composed_and_lowered() {
    assert_eq!(of_sender("A\u{308}@x.com", "sender.address"), "ä@x.com");
    assert_eq!(of_sender("J\u{30C}@x.com", "sender.address"), "ǰ@x.com", "composes only when it is small");
    assert_eq!(of_sender("\u{212A}@x.com", "sender.address"), "k@x.com");
}

#[test]
fn unicode_hosts_become_a_labels() {
    assert_sender("u@ｅx。com", ["u@ex.com", "ex.com", "ex.com", "ex.com"]);
    assert_sender("u@Ｅx｡com．", ["u@ex.com", "ex.com", "ex.com", "ex.com"]);
    assert_sender(
        "u@BÜcher.com",
        ["u@xn--bcher-kva.com", "xn--bcher-kva.com", "xn--bcher-kva.com", "xn--bcher-kva.com"],
    );
    assert_eq!(of_sender("u@XN--Bcher-KVA.com", "sender.host"), "xn--bcher-kva.com");
    assert_eq!(of_sender("u@食狮.公司.cn", "sender.org"), "xn--85x722f.xn--55qx5d.cn");
    assert_ne!(of_sender("u@еx.com", "sender.host"), "ex.com", "a Cyrillic homograph is another name");
}

#[test]
fn labels_are_told_apart_by_themselves() {
    // Hebrew next to a label that begins with a digit: each is sound alone, the pair would break the Bidi rule.
    assert_eq!(of_sender("u@1a.\u{5D0}.com", "sender.host"), "1a.xn--4db.com");
    // A joiner where the context asks for one, and where it does not.
    assert_eq!(of_sender("u@\u{915}\u{94D}\u{200D}\u{937}.com", "sender.host").split('.').next_back(), Some("com"));
    assert_eq!(of_sender("u@a\u{200D}b.com", "sender.host"), "MALFORMED");
}

#[test]
fn ascii_labels_are_never_refused() {
    for host in ["ab--dev.x.com", "a_b.x.com", "-a.x.com", "a-.x.com", "a b!.x.com"] {
        assert_eq!(of_sender(format!("u@{}", host.to_uppercase()), "sender.host"), host);
    }
}

#[test]
fn a_bad_label_spoils_the_host_and_not_the_organisation() {
    let long = "a".repeat(64);
    let hosts: Vec<Vec<u8>> = vec![
        b"u@\xff.b.Ex.com".to_vec(),
        b"u@xn--a.b.ex.com".to_vec(),
        "u@xn--ü.b.ex.com".into(),
        b"u@a..b.ex.com".to_vec(),
        b"u@.b.ex.com".to_vec(),
        format!("u@{long}.b.ex.com").into(),
        "u@a＠b.b.ex.com".into(),
    ];
    for path in &hosts {
        assert_sender(path, ["u@MALFORMED", "MALFORMED", "ex.com", "ex.com"]);
        assert_eq!(of_sender(path, "sender.org+1"), "b.ex.com");
        assert_eq!(of_sender(path, "sender.org+2"), "MALFORMED", "that label is a bad one");
    }
    assert_eq!(of_sender(format!("u@{}.ex.com", &long[1..]), "sender.org"), "ex.com");
    assert_ne!(of_sender(format!("u@{}.ex.com", &long[1..]), "sender.host"), "MALFORMED", "63 octets are sound");
}

#[test]
fn an_organisation_is_not_told_from_bad_labels() {
    assert_sender(b"u@\xff.co.uk", ["u@MALFORMED", "MALFORMED", "MALFORMED", "MALFORMED"]);
    assert_sender(b"u@ex.com.\xff", ["u@MALFORMED", "MALFORMED", "MALFORMED", "MALFORMED"]);
    assert_sender("u@", ["u@MALFORMED", "MALFORMED", "MALFORMED", "MALFORMED"]);
    assert_sender("u@ex.com..", ["u@MALFORMED", "MALFORMED", "MALFORMED", "MALFORMED"]);
    assert_sender(b"u@\xff.invalid", ["u@MALFORMED", "MALFORMED", "MALFORMED", "UNLISTED"]);
}

#[test]
fn local_parts_are_measured_after_they_are_normalised() {
    let (fits, long) = ("a".repeat(256), "a".repeat(257));
    assert_eq!(of_sender(format!("{fits}@x.com"), "sender.address"), format!("{fits}@x.com"));
    assert_sender(format!("{long}@x.com"), ["OVERLONG@x.com", "x.com", "x.com", "x.com"]);
    assert_eq!(of_sender(format!("a+{long}@x.com"), "sender.address"), "a@x.com");
    assert_eq!(of_sender(format!("prvs=1234abcdef={fits}@x.com"), "sender.address"), format!("{fits}@x.com"));
    assert_eq!(of_sender(b"\xff@x.com", "sender.address"), "MALFORMED@x.com");
}

#[test]
fn hosts_are_measured_after_they_are_normalised() {
    let of_labels = |count: usize, length: usize| vec!["b".repeat(length); count].join(".");
    let host = format!("{}.ex.com", of_labels(3, 63));
    assert_eq!(of_sender(format!("u@{host}"), "sender.host"), host);
    let fits = format!("{}.{}.ex.com", "a".repeat(54), of_labels(3, 63));
    assert_eq!((fits.len(), of_sender(format!("u@{fits}."), "sender.host")), (253, fits));
    let overlong = format!("u@{}.{}.ex.com", "a".repeat(55), of_labels(3, 63));
    assert_sender(&overlong, ["u@OVERLONG", "OVERLONG", "ex.com", "ex.com"]);
    assert_eq!(of_sender(&overlong, "sender.org+4"), "OVERLONG", "that would be the whole host");
    assert_eq!(of_sender(&overlong, "sender.org+1"), format!("{}.ex.com", "b".repeat(63)));
    let most = of_labels(127, 1);
    assert_eq!(of_sender(format!("u@{most}"), "sender.host"), most);
    assert_eq!(of_sender(format!("u@{}", of_labels(128, 1)), "sender.host"), "OVERLONG");
    assert_eq!(of_sender(format!("u@{}", of_labels(128, 1).to_uppercase()), "sender.host"), "OVERLONG");
    assert_sender(format!("u@{}.ex.com", of_labels(90_000, 3)), ["u@OVERLONG", "OVERLONG", "ex.com", "ex.com"]);
    let ignorable = format!("u@{}.com", "e\u{AD}x".repeat(20));
    assert_eq!(of_sender(ignorable, "sender.host"), format!("{}.com", "ex".repeat(20)));
}

#[test]
fn without_an_organisation_the_host_is_the_key() {
    assert_sender("u@com", ["u@com", "com", "com", "UNQUALIFIED"]);
    assert_sender("u@co.uk", ["u@co.uk", "co.uk", "co.uk", "UNQUALIFIED"]);
    assert_sender("u@localhost", ["u@localhost", "localhost", "localhost", "UNQUALIFIED"]);
    assert_eq!(of_sender("u@co.uk", "sender.org+2"), "co.uk");
}

#[test]
fn under_an_unlisted_top_level_domain_the_default_rule_holds() {
    assert_sender("u@h.invalid", ["u@h.invalid", "h.invalid", "h.invalid", "UNLISTED"]);
    assert_sender("u@a.b.h.invalid", ["u@a.b.h.invalid", "a.b.h.invalid", "h.invalid", "UNLISTED"]);
}

#[test]
fn the_private_section_and_the_operators_suffixes_make_organisations() {
    assert_sender("u@x.alice.github.io", ["u@x.alice.github.io", "x.alice.github.io", "alice.github.io", "github.io"]);
    assert_sender("u@github.io", ["u@github.io", "github.io", "github.io", "github.io"]);
    assert_sender(
        "u@m.acme.onmicrosoft.com",
        ["u@m.acme.onmicrosoft.com", "m.acme.onmicrosoft.com", "acme.onmicrosoft.com", "onmicrosoft.com"],
    );
}

#[test]
fn an_organisation_with_more_labels_is_at_most_the_host() {
    let path = "u@a1.b2.c3.salesforce.com";
    let expected = [
        "salesforce.com",
        "c3.salesforce.com",
        "b2.c3.salesforce.com",
        "a1.b2.c3.salesforce.com",
        "a1.b2.c3.salesforce.com",
    ];
    for (more, expected) in
        ["sender.org", "sender.org+1", "sender.org+2", "sender.org+3", "sender.org+4"].iter().zip(expected)
    {
        assert_eq!(of_sender(path, more), expected);
    }
}

#[test]
fn the_ladder_runs_from_the_organisation_to_the_label_before_the_host() {
    assert_ladder("u@a.b.c.ex.com", "sender.registered", &["c.ex.com", "b.c.ex.com"]);
    assert_ladder("u@a.b.c.ex.com", "sender.org+1", &["b.c.ex.com"]);
    assert_ladder(
        "u@1.2.3.4.5.6.7.8.ex.com",
        "sender.org",
        &["8.ex.com", "7.8.ex.com", "6.7.8.ex.com", "5.6.7.8.ex.com", "4.5.6.7.8.ex.com"],
    );
    assert_ladder("u@a.alice.github.io", "sender.registered", &["alice.github.io"]);
    assert_ladder("u@a.alice.github.io", "sender.org", &[]);
    assert_ladder("u@a.b.h.invalid", "sender.registered", &["h.invalid", "b.h.invalid"]);
    for path in ["u@ex.com", "u@co.uk", "u@localhost", "u@[192.0.2.1]", "postmaster", "<>"] {
        assert_ladder(path, "sender.registered", &[]);
    }
}

#[test]
fn the_ladder_of_a_bad_host_takes_in_all_that_is_sound() {
    assert_ladder(b"u@\xff.b.c.ex.com", "sender.registered", &["c.ex.com", "b.c.ex.com"]);
    assert_ladder(b"u@\xff.ex.com", "sender.registered", &[]);
    assert_ladder(b"u@\xff.h.invalid", "sender.registered", &["h.invalid"]);
    let label = "b".repeat(63);
    let overlong = format!("u@{0}.{0}.{0}.{0}.ex.com", label);
    let parts =
        [format!("{label}.ex.com"), format!("{label}.{label}.ex.com"), format!("{label}.{label}.{label}.ex.com")];
    assert_ladder(overlong, "sender.registered", &parts.each_ref().map(|part| &**part));
}

#[test]
fn junk_counts_by_its_raw_bytes_as_an_element_only() {
    let junk = [b"u@\xfe.ex.com".as_slice(), b"u@\xff.ex.com"].map(sender);
    let host = named("sender.host");
    assert_eq!(junk[0].values(host), junk[1].values(host));
    assert_eq!(*junk[0].elements(host), [Value::Name(Part::Raw(b"\xfe.ex.com"))]);
    assert_eq!(*junk[0].elements(named("sender.org")), *junk[1].values(named("sender.org")), "sound parts stay");
    assert_eq!(*sender(b"u@\xff.co.uk").elements(named("sender.org")), [Value::Name(Part::Raw(b"\xff.co.uk"))]);
    let long = vec![b'a'; 300];
    let path = [&long, b"@ex.com".as_slice()].concat();
    let expected = Value::Address(Part::Raw(&long), Part::Text("ex.com"));
    assert_eq!(*sender(&path).elements(named("sender.address")), [expected]);
}

#[test]
fn a_client_is_its_address_however_it_is_written() {
    let shown_as = |ip: Option<&str>, name: &str| {
        shown(&read(&Envelope { client_ip: ip.map(str::as_bytes), ..Envelope::default() }), name)
    };
    for ip in ["192.0.2.77", "::ffff:192.0.2.77", "[192.0.2.77]", " IPv6:::ffff:192.0.2.77", "::FFFF:c000:24d"] {
        assert_eq!(shown_as(Some(ip), "client.ip"), "192.0.2.77", "of {ip}");
        assert_eq!(shown_as(Some(ip), "client.net"), "192.0.2.0/24");
        assert_eq!(shown_as(Some(ip), "client.net/20/48"), "192.0.0.0/20");
        assert_eq!(shown_as(Some(ip), "client.net/0/0"), "0.0.0.0/0");
        assert_eq!(shown_as(Some(ip), "client.net/32/128"), "192.0.2.77");
    }
    for ip in ["2001:DB8:1:2:3::9", "[IPv6:2001:db8:1:2:3::9]", "2001:db8:1:2:3::9%eth0"] {
        assert_eq!(shown_as(Some(ip), "client.ip"), "2001:db8:1:2:3::9", "of {ip}");
        assert_eq!(shown_as(Some(ip), "client.net"), "2001:db8:1:2::/64");
        assert_eq!(shown_as(Some(ip), "client.net/24/48"), "2001:db8:1::/48");
    }
    for ip in [None, Some(""), Some("unknown"), Some("192.0.2"), Some("192.0.2.1%eth0"), Some("192.0.2.1:25")] {
        assert_eq!(shown_as(ip, "client.ip"), "UNKNOWN");
        assert_eq!(shown_as(ip, "client.net/24/48"), "UNKNOWN");
    }
}

#[test]
fn an_unknown_client_name_is_absent() {
    for name in ["unknown", "UNKNOWN", "", " ", "[192.0.2.1]", "192.0.2.1"] {
        let identities = read(&Envelope { client_name: Some(name.as_bytes()), ..Envelope::default() });
        assert_eq!(
            (shown(&identities, "client.host"), shown(&identities, "client.org")),
            Default::default(),
            "of {name:?}"
        );
    }
    let identities = read(&Envelope { client_name: Some(b"Mail.Ex.co.uk."), ..Envelope::default() });
    assert_eq!(
        (shown(&identities, "client.host"), shown(&identities, "client.org")),
        ("mail.ex.co.uk".into(), "ex.co.uk".into())
    );
}

#[test]
fn helo_and_user_are_normalised_and_an_empty_one_is_absent() {
    let identities =
        read(&Envelope { helo: Some(b"MX.Ex.com"), auth_user: Some(b"Joe+X@Ex.com"), ..Envelope::default() });
    assert_eq!(shown(&identities, "helo.host"), "mx.ex.com");
    assert_eq!(shown(&identities, "helo.org"), "ex.com");
    assert_eq!(shown(&identities, "auth.user"), "joe+x@ex.com", "a user has no sub-address");
    assert_eq!(*identities.ladder(named("helo.host"), named("helo.org")), [""; 0]);
    let literal = read(&Envelope { helo: Some(b"[192.0.2.1]"), auth_user: Some(b"\xff"), ..Envelope::default() });
    assert_eq!(shown(&literal, "helo.org"), "LITERAL");
    assert_eq!(shown(&literal, "auth.user"), "MALFORMED");
    let empty = read(&Envelope { helo: Some(b""), auth_user: Some(b""), ..Envelope::default() });
    assert!(empty.values(named("helo.host")).is_empty() && empty.values(named("auth.user")).is_empty());
}

#[test]
fn recipients_count_once_and_keep_their_order() {
    let rcpt_to: [&[u8]; 5] = [b"B@x.com", b"a@x.com", b"<b+1@X.com.>", b"a@y.com", b"A@x.com"];
    let identities = read(&Envelope { rcpt_to: &rcpt_to, ..Envelope::default() });
    assert_eq!(shown(&identities, "rcpt.address"), "b@x.com a@x.com a@y.com");
    assert_eq!(shown(&identities, "rcpt.host"), "x.com y.com");
    let many: Vec<String> = (0..100).map(|n| format!("u{}@x.com", n % 40)).collect();
    let rcpt_to: Vec<&[u8]> = many.iter().map(String::as_bytes).collect();
    let identities = read(&Envelope { rcpt_to: &rcpt_to, ..Envelope::default() });
    assert_eq!(shown(&identities, "rcpt.address"), many[..40].join(" "));
}

/// Trust of `sender.org` for a verdict and a client name.
fn class(mail_from: &str, spf: Option<Spf>, client_name: Option<&str>) -> Trust {
    let client_name = client_name.map(str::as_bytes);
    read(&Envelope { mail_from: Some(mail_from.as_bytes()), spf, client_name, ..Envelope::default() })
        .trust(named("sender.org"))
}

#[test]
fn a_sender_is_proven_by_spf_and_named_by_its_clients_name() {
    assert_eq!(class("u@ex.com", None, None), Trust::Claimed);
    assert_eq!(class("u@ex.com", Some(Spf::Pass), None), Trust::Proven);
    assert_eq!(class("u@a.ex.com", None, Some("mx.EX.com")), Trust::Named);
    assert_eq!(class("u@a.ex.com", Some(Spf::Pass), Some("mx.EX.com")), Trust::Proven);
    assert_eq!(class("u@ex.com", Some(Spf::Silent), Some("mx.ex.com")), Trust::Named);
    assert_eq!(
        class("u@ex.com", Some(Spf::Fail), Some("mx.ex.com")),
        Trust::Claimed,
        "the owner's word is the stronger"
    );
    assert_eq!(class("u@ex.com", None, Some("mx.other.com")), Trust::Claimed);
    assert_eq!(class("u@bob.github.io", None, Some("alice.github.io")), Trust::Claimed, "two tenants");
}

#[test]
fn tags_and_bare_suffixes_prove_nothing() {
    for (path, name) in [
        ("u@localhost", "localhost"),
        ("u@co.uk", "co.uk"),
        ("u", "localhost"),
        ("u@[192.0.2.1]", "[192.0.2.1]"),
        ("u@a..", "b.."),
    ] {
        assert_eq!(class(path, None, Some(name)), Trust::Claimed, "of {path}");
    }
    for path in ["<>", "postmaster", "u@[192.0.2.1]", "u@\u{1F}\u{200D}"] {
        assert_eq!(class(path, Some(Spf::Pass), None), Trust::Claimed, "of {path}");
    }
}

#[test]
fn what_has_no_class_counts_as_proven_and_helo_never_does() {
    let identities = read(&Envelope { helo: Some(b"mx.ex.com"), mail_from: Some(b"u@ex.com"), ..Envelope::default() });
    for name in ["client.ip", "client.net", "client.org", "rcpt.address", "global", "auth.user"] {
        assert_eq!(identities.trust(named(name)), Trust::Proven);
    }
    assert_eq!(identities.trust(named("helo.org")), Trust::Claimed);
}

#[test]
fn only_what_is_wanted_is_read() {
    use throttle_core::identity::{Source, Sources};
    let rcpt_to: [&[u8]; 1] = [b"r@x.com"];
    let envelope = Envelope {
        client_ip: Some(b"192.0.2.1"),
        client_name: Some(b"mx.ex.com"),
        helo: Some(b"mx.ex.com"),
        mail_from: Some(b"u@ex.com"),
        rcpt_to: &rcpt_to,
        auth_user: Some(b"joe"),
        headers: Some(&Headers { from: &rcpt_to, reply_to: &rcpt_to, list_id: Some(b"l.x.com"), dkim: &rcpt_to }),
        ..Envelope::default()
    };
    let only = Identities::read(&envelope, &common::SUFFIXES, Sources::default().with(Source::Sender));
    assert_eq!(only.trust(named("sender.org")), Trust::Named, "the client's name is read for the trust");
    let names: Vec<_> = only.named().into_iter().map(|(identity, _)| identity.to_string()).collect();
    assert_eq!(names, ["sender.address", "sender.host", "sender.org", "sender.registered"]);
    let all = read(&envelope).named();
    assert_eq!(all.len(), throttle_core::identity::Identity::PLAIN.len());
    assert_eq!(all[1], (named("client.net"), vec!["192.0.2.0/24".to_owned()]));
}
