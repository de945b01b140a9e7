//! Host names, whoever says them: one form, bounded, its own normal form, cut where the suffix list says.

use std::net::IpAddr;

use throttle_core::envelope::Envelope;
use throttle_core::identity::parse_value::parse_value;
use throttle_core::identity::{Identity, Value};

use crate::reading::{SUFFIXES, every_value_has_a_key, helo, key, read, sender, text};
use crate::suffix_rules::{Sections, is_listed, registered};

/// Two hosts, a line each; the second is there to be told apart from the first.
pub fn check(input: &[u8]) {
    let mut lines = input.splitn(2, |octet| *octet == b'\n');
    let (first, second) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    check_host(first);
    check_pair(first, second);
}

fn check_host(host: &[u8]) {
    let identities = helo(host);
    every_value_has_a_key(&identities);
    let value = identities.value(Identity::HeloHost);
    assert_eq!(value.is_none(), host.trim_ascii().is_empty(), "absent when it is blank, and only then");
    let Some(value) = value else { return };
    check_who_says_it(host, &value);
    check_spellings(host, &value);
    if let Some(name) = text(Some(value)) {
        check_form(name);
        check_normal_form(name, &value);
        check_cuts(name);
    }
}

/// ASCII in lower case, at most 253 octets, labels of 1 to 63; or an address as it is printed.
fn check_form(name: &str) {
    assert!(name.is_ascii() && name.len() <= 253 && !name.bytes().any(|octet| octet.is_ascii_uppercase()), "{name}");
    match name.parse::<IpAddr>() {
        Ok(address) => assert_eq!(address.to_string(), name),
        Err(_) => assert!(name.split('.').all(|label| (1..=63).contains(&label.len())), "{name}"),
    }
}

/// What is shown means the same when it is said again, and when an operator writes it.
fn check_normal_form(name: &str, value: &Value<'_>) {
    let again = helo(name.as_bytes());
    assert_eq!(again.value(Identity::HeloHost).as_ref(), Some(value), "{name}");
    if name.contains('@') {
        return; // An operator's text with an `@` is an address, and no host.
    }
    let written = parse_value(Identity::HeloHost, name, &SUFFIXES, |written| written == value);
    assert_eq!(written, Ok(true), "{name}");
}

/// A sender's host, and a client's unless that is an address.
fn check_who_says_it(host: &[u8], value: &Value<'_>) {
    let path = [b"x@", host].concat();
    if !host.contains(&b'@') && !host.trim_ascii_end().ends_with(b">") {
        assert_eq!(sender(&path).value(Identity::SenderHost).as_ref(), Some(value));
    }
    let client = read(&Envelope { client_name: Some(host), ..Envelope::default() });
    match client.value(Identity::ClientHost) {
        Some(client) => assert_eq!(client, *value),
        None => {
            let name = text(Some(*value)).expect("only an address or `unknown` is no client's name");
            assert!(name == "unknown" || name.parse::<IpAddr>().is_ok(), "{name}");
        }
    }
}

fn check_spellings(host: &[u8], value: &Value<'_>) {
    let same = |spelling: &[u8]| {
        let read = helo(spelling);
        assert_eq!(read.value(Identity::HeloHost).as_ref(), Some(value), "{}", spelling.escape_ascii());
    };
    same(&host.to_ascii_uppercase());
    same(&host.to_ascii_lowercase());
    same(&[b" ", host, b"\t"].concat());
    if let Some(name) = text(Some(*value)) {
        for stop in ["。", "．", "｡"] {
            same(name.replace('.', stop).as_bytes());
            same(format!("{name}{stop}").as_bytes());
        }
        let wide = |character: char| match character {
            'a'..='z' => char::from_u32(character as u32 + 0xFEE0).unwrap_or(character),
            other => other,
        };
        // In Unicode a label may hold no character that URLs forbid, and what begins as an A-label has to be one.
        let usual = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.".contains(&octet);
        if name.bytes().all(usual) && !name.contains("--") {
            same(name.chars().map(wide).collect::<String>().as_bytes());
        }
    }
}

/// Organisation, registered domain and ladder, compared with a second, slow reading of the suffix list.
fn check_cuts(name: &str) {
    // What stands around an address is taken from the end of it.
    if name.contains('@') || name.ends_with('>') {
        return;
    }
    let path = format!("x@{name}");
    let identities = sender(path.as_bytes());
    let of = |identity| identities.value(identity);
    if name.parse::<IpAddr>().is_ok() {
        assert_eq!(text(of(Identity::SenderOrg(0))), None);
        return;
    }
    let expected = registered(name, Sections::Both);
    assert_eq!(text(of(Identity::SenderOrg(0))), Some(expected.as_deref().unwrap_or(name)));
    let expected = registered(name, Sections::Icann).filter(|_| is_listed(name));
    assert_eq!(text(of(Identity::SenderRegistered)), expected.as_deref(), "{name}");
    let depths = [1, 2, 3, 4, 5].map(|more| text(of(Identity::SenderOrg(more))).expect("a name has one"));
    for pair in depths.windows(2) {
        assert!(pair[0] == pair[1] || is_below(pair[1], pair[0]), "{depths:?}");
    }
    assert!(depths[4] == name || is_below(name, depths[4]), "{depths:?}");
    let rungs = identities.ladder(Identity::SenderHost, Identity::SenderRegistered);
    assert!(rungs.len() <= 6 && rungs.windows(2).all(|pair| is_below(pair[1], pair[0])), "{rungs:?}");
    assert!(rungs.last().is_none_or(|deepest| is_below(name, deepest)), "{rungs:?}");
}

fn is_below(name: &str, above: &str) -> bool {
    name.strip_suffix(above).is_some_and(|more| more.ends_with('.'))
}

/// Different elements have different keys, equal ones the same.
fn check_pair(first: &[u8], second: &[u8]) {
    let (first, second) = (helo(first), helo(second));
    for identity in [Identity::HeloHost, Identity::HeloOrg] {
        if let (Some(a), Some(b)) = (first.elements(identity).first(), second.elements(identity).first()) {
            assert_eq!(a == b, key(identity, a) == key(identity, b), "{a:?} and {b:?}");
        }
    }
}
