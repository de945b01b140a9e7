//! P6 and P7: any bytes have some key, one identity has one, and different identities have different ones.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::{named, of_sender, read, sender};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use throttle_core::envelope::{Envelope, Headers, Spf};
use throttle_core::identity::{Identity, Part, Tag, Trust, Value};
use throttle_core::key::{Secret, mask};

fn secret() -> Secret {
    Secret::new(*b"sixteen octets!!")
}

/// Bytes in which the characters that mean something are frequent.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let pieces = [
        "@",
        ".",
        "\"",
        "\\",
        "<",
        ">",
        "[",
        "]",
        ":",
        "+",
        "=",
        " ",
        "IPv6:",
        "xn--",
        "prvs=",
        "btv1==",
        "srs0=",
        "SRS1=",
        "1",
        "a",
        "Z",
        "com",
        "co.uk",
        "github.io",
        "。",
        "．",
        "ü",
        "\u{200D}",
        "\u{5D0}",
        "\u{AD}",
        "J\u{30C}",
        "\u{FF20}",
        "\u{2024}",
        "%",
        ",",
        "\0",
    ];
    let piece = prop_oneof![
        4 => prop::sample::select(pieces.map(|piece| piece.as_bytes().to_vec()).to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
        1 => any::<char>().prop_map(|character| character.to_string().into_bytes()),
        1 => (
            prop::sample::select(vec![b'a', b'.', b'+', b'-']), 50usize..400,
        ).prop_map(|(byte, times)| vec![byte; times]),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// A mailbox as people have them: an atom without a tag, and a name under a listed domain.
fn mailbox() -> impl Strategy<Value = (String, String)> {
    let local = "[a-z0-9äßσ][a-z0-9._äéǰ-]{0,20}";
    let host = (
        "([a-z0-9_]([a-z0-9_-]{0,10}[a-z0-9])?\\.){1,6}",
        prop::sample::select(vec!["com", "co.uk", "github.io", "invalid"]),
    );
    (local, host.prop_map(|(labels, suffix)| format!("{labels}{suffix}")))
        .prop_filter("not a tag of its own", |(_, host)| !host.contains("xn--"))
}

fn any_tag() -> impl Strategy<Value = Tag> {
    prop::sample::select(vec![
        Tag::Null,
        Tag::Unqualified,
        Tag::Literal,
        Tag::Unlisted,
        Tag::Malformed,
        Tag::Overlong,
        Tag::Unknown,
    ])
}

/// Parts from a small alphabet, so that near-collisions are frequent.
fn any_part() -> impl Strategy<Value = Part<'static>> {
    let text = prop_oneof!["[ab@.]{0,4}", "[ab]{100,130}", Just("NULL".to_owned())];
    let raw = prop::sample::select(vec![b"".as_slice(), b"a", b"ab", b"@", b"a@b", b"NULL"]);
    prop_oneof![text.prop_map(|text| Part::Text(text.leak())), raw.prop_map(Part::Raw), any_tag().prop_map(Part::Tag)]
}

fn any_value() -> impl Strategy<Value = Value<'static>> {
    let v4 =
        (0u32..3, 0u8..=32).prop_map(|(bits, prefix)| Value::Network(IpAddr::V4(Ipv4Addr::from_bits(bits)), prefix));
    let v6 =
        (0u128..3, 0u8..=128).prop_map(|(bits, prefix)| Value::Network(IpAddr::V6(Ipv6Addr::from_bits(bits)), prefix));
    let pair = (any_part(), any_part()).prop_map(|(local, host)| Value::Address(local, host));
    prop_oneof![Just(Value::Global), v4, v6, any_part().prop_map(Value::Name), pair]
}

fn any_identity() -> impl Strategy<Value = Identity> {
    let more = ["sender.org+1", "sender.org+2", "client.net/24/32", "client.net/32/24"];
    let all = Identity::PLAIN.iter().copied().chain(more.map(named));
    prop::sample::select(all.collect::<Vec<_>>())
}

fn any_class() -> impl Strategy<Value = Trust> {
    prop::sample::select(vec![Trust::Proven, Trust::Claimed])
}

/// A failing case is kept, seed and all, next to this file.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    let kept = FileFailurePersistence::WithSource("regressions");
    ProptestConfig { cases, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_bytes_have_some_key(
        ip in hostile(), name in hostile(), helo in hostile(), from in hostile(), rcpt in hostile(), user in hostile(),
    ) {
        let rcpt_to = [&*rcpt, &*from];
        let envelope = Envelope {
            client_ip: Some(&ip),
            client_name: Some(&name),
            helo: Some(&helo),
            mail_from: Some(&from),
            rcpt_to: &rcpt_to,
            auth_user: Some(&user),
            spf: Some(Spf::Silent),
            size: None,
            headers: Some(&Headers { from: &rcpt_to, reply_to: &rcpt_to, list_id: Some(&user), dkim: &rcpt_to }),
        };
        let identities = read(&envelope);
        let more = (1..=5).map(Identity::SenderOrg);
        for identity in Identity::PLAIN.iter().copied().chain(more) {
            let (values, elements) = (identities.values(identity), identities.elements(identity));
            prop_assert_eq!(values.is_empty(), elements.is_empty());
            for value in values.iter().chain(&elements) {
                secret().with_trust(secret().key(identity, value), identities.trust(identity));
            }
            prop_assert!(!value_has_raw(&values), "raw bytes are for elements only");
            for host in ["client.host", "helo.host", "sender.host"].map(named) {
                check_ladder(&identities.ladder(host, identity), &identities.elements(host))?;
            }
        }
        for identity in [
            "client.ip",
            "client.net",
            "sender.org",
            "rcpt.address",
            "rcpt.host",
            "dkim.org",
            "global",
        ] {
            prop_assert!(!identities.values(named(identity)).is_empty(), "{} has some value", identity);
        }
        // A field of blanks and punctuation says nothing.
        if rcpt_to.iter().any(|field| field.iter().any(u8::is_ascii_alphanumeric)) {
            for identity in ["from.address", "from.host", "from.org", "reply_to.org", "reply_to.mailbox"] {
                prop_assert!(!identities.values(named(identity)).is_empty(), "{} has some value", identity);
            }
        }
    }

    #[test]
    fn a_host_is_sound_or_a_tag(host in hostile()) {
        let path = [b"u@", &*host].concat();
        for name in ["sender.host", "sender.org", "sender.org+2", "sender.registered"] {
            let identities = sender(&path);
            let values = identities.values(named(name));
            if let [Value::Name(Part::Text(text))] = &*values {
                prop_assert!(
                    text.is_ascii() && text.len() <= 253 && !text.bytes().any(|b| b.is_ascii_uppercase()), "{}", text,
                );
                prop_assert!(
                    text.contains(':') || text.split('.').all(|label| (1..=63).contains(&label.len())), "{}", text,
                );
            }
        }
    }

    /// A host as shown is its own normal form, whatever it came from: what an operator copies from a refusal means the
    /// same.
    #[test]
    fn a_host_as_shown_is_the_same_host(host in hostile()) {
        let read_host = |helo: &[u8]| {
            let identities = read(&Envelope { helo: Some(helo), ..Envelope::default() });
            let hosts = identities.values(Identity::HeloHost);
            hosts.first().map(|value| (secret().key(Identity::HeloHost, value), value.to_string()))
        };
        if let Some((key, shown)) = read_host(&host) {
            if shown != "MALFORMED" && shown != "OVERLONG" {
                prop_assert_eq!(read_host(shown.as_bytes()), Some((key, shown.clone())), "{}", shown);
            }
        }
    }

    #[test]
    fn an_address_as_shown_is_the_same_address(
        (local, host) in mailbox(), tag in "[a-z+=]{0,5}", batv in any::<bool>(),
    ) {
        let path = format!("{}{local}+{tag}@{host}", if batv { "prvs=1234abcdef=" } else { "" });
        let shown = of_sender(&path, "sender.address");
        prop_assert_eq!(of_sender(&shown, "sender.address"), shown);
    }

    #[test]
    fn spellings_of_an_address_are_one_key(
        (local, host) in mailbox(),
        capitals in prop::collection::vec(any::<bool>(), 64),
        stop in prop::sample::select(vec!["", ".", "。"]),
    ) {
        let plain = format!("{local}@{host}");
        let mut coin = capitals.iter().copied().cycle();
        let mut any_case = |c: char| if coin.next() == Some(true) { c.to_ascii_uppercase() } else { c };
        let cased: String = plain.chars().map(&mut any_case).collect();
        let (cased_local, cased_host) = cased.split_once('@').expect("an @");
        let widened = |c: char| char::from_u32(c as u32 + 0xFEE0).unwrap_or(c);
        let mut any_width = |c: char| if c.is_ascii_lowercase() && coin.next() == Some(true) { widened(c) } else { c };
        let wide: String = host.chars().map(&mut any_width).collect();
        let spellings = [
            format!("{cased}{stop}"),
            format!("<{cased}{stop}>"),
            format!(" \"{cased_local}\"@{cased_host}{stop} "),
            format!("{cased_local}+tag@{cased_host}"),
            format!("\"{cased_local}+t g\"@{cased_host}"),
            format!("prvs=0123abcdef={cased_local}@{cased_host}"),
            format!("<@a.com,@b.com:{cased}>"),
            format!("{local}@{wide}"),
        ];
        let key = |path: &str| {
            let identities = sender(path.as_bytes());
            let values = identities.values(Identity::SenderAddress);
            values.iter().map(|value| secret().key(Identity::SenderAddress, value)).collect::<Vec<_>>()
        };
        for spelling in &spellings {
            prop_assert_eq!(key(spelling), key(&plain), "{} and {}", spelling, plain);
        }
    }

    /// With a 64-bit hash in between a collision would be chance; 2⁻⁶⁴ a pair never happens here.
    #[test]
    fn different_things_have_different_keys(
        a in (any_identity(), any_class(), any_value()),
        other in (any_identity(), any_class(), any_value()),
        same in any::<[bool; 3]>(),
        text in "[ab@.]{0,4}",
    ) {
        // Most pairs differ in one thing or two.
        let b = (
            if same[0] { a.0 } else { other.0 },
            if same[1] { a.1 } else { other.1 },
            if same[2] { a.2 } else { other.2 },
        );
        let secret = secret();
        let key = |(identity, class, value): &(Identity, Trust, Value<'_>)| {
            secret.with_trust(secret.key(*identity, value), *class)
        };
        prop_assert_eq!(a == b, key(&a) == key(&b));
        prop_assert_eq!((a.0, &a.2) == (b.0, &b.2), secret.key(a.0, &a.2) == secret.key(b.0, &b.2));
        prop_assert_eq!(a.2 == b.2, secret.key(a.0, &a.2).0 ^ mask(a.0) == secret.key(b.0, &b.2).0 ^ mask(b.0));
        prop_assert_ne!(key(&a), secret.key(b.0, &b.2));
        prop_assert_ne!(key(&a), secret.part(a.0, &text));
        prop_assert_ne!(secret.key(a.0, &a.2), secret.part(a.0, &text));
        prop_assert_ne!(secret.text(text.as_bytes()), secret.part(a.0, &text));
        prop_assert_ne!(secret.text(text.as_bytes()), key(&a));
    }

    /// The same hosts and locals again, but both values of one shape: near misses are most of what is drawn.
    #[test]
    fn addresses_are_told_apart_at_the_seam(a in ("[ab@]{0,3}", "[ab@]{0,3}"), b in ("[ab@]{0,3}", "[ab@]{0,3}")) {
        let key = |(local, host): &(String, String)| {
            let value = Value::Address(Part::Text(local), Part::Text(host));
            secret().key(Identity::SenderAddress, &value)
        };
        prop_assert_eq!(a == b, key(&a) == key(&b));
    }
}

fn value_has_raw(values: &[Value<'_>]) -> bool {
    values.iter().any(|value| match value {
        Value::Name(part) => matches!(part, Part::Raw(_)),
        Value::Address(local, host) => matches!(local, Part::Raw(_)) || matches!(host, Part::Raw(_)),
        _ => false,
    })
}

/// Rungs grow by whole labels, and each is a proper suffix of the host when that has a text.
fn check_ladder(rungs: &[&str], hosts: &[Value<'_>]) -> Result<(), TestCaseError> {
    prop_assert!(rungs.len() <= 6);
    for pair in rungs.windows(2) {
        prop_assert!(pair[1].strip_suffix(pair[0]).is_some_and(|more| more.ends_with('.')));
    }
    if let ([.., deepest], [Value::Name(Part::Text(host))]) = (rungs, hosts) {
        prop_assert!(host.strip_suffix(deepest).is_some_and(|more| more.ends_with('.')));
    }
    Ok(())
}
