//! What is read in one pass is read as the long way would: a blank before it, which means nothing, takes that way.

mod common;

use std::net::Ipv4Addr;

use common::read;
use proptest::prelude::*;
use throttle_core::envelope::{Envelope, Headers};
use throttle_core::identity::Identity;

const PIECES: [&str; 9] =
    ["a", "1", ".", "-", "@", "xn--", "_", "com", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"];

/// Every text of up to five pieces.
fn texts() -> impl Iterator<Item = String> {
    (0..=5u32).flat_map(|length| {
        (0..PIECES.len().pow(length)).map(move |number| {
            (0..length).map(|place| PIECES[number / PIECES.len().pow(place) % PIECES.len()]).collect::<String>()
        })
    })
}

fn values(path: &[u8], name: &[u8]) -> Vec<(Identity, Vec<String>)> {
    read(&Envelope { mail_from: Some(path), helo: Some(name), ..Envelope::default() }).named()
}

#[test]
fn a_blank_before_a_path_or_a_name_changes_nothing() {
    for text in texts() {
        let blank = format!(" {text}");
        let (text, blank) = (text.as_bytes(), blank.as_bytes());
        assert_eq!(values(text, text), values(blank, blank), "of {}", text.escape_ascii());
    }
}

proptest! {
    #[test]
    fn a_blank_before_any_bytes_changes_nothing(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0x20u8..0x80, Just(b'@'), Just(b'.')], 1..=64),
    ) {
        let blank = [b" ", &bytes[..]].concat();
        prop_assert_eq!(values(&bytes, &bytes), values(&blank, &blank), "of {}", bytes.escape_ascii());
    }

    #[test]
    fn a_blank_before_plain_text_of_any_length_changes_nothing(text in "[a-z0-9_.-]{0,40}@?[a-z0-9_.-]{1,40}") {
        let blank = format!(" {text}");
        prop_assert_eq!(values(text.as_bytes(), text.as_bytes()), values(blank.as_bytes(), blank.as_bytes()));
    }
}

#[test]
fn four_numbers_are_an_address_when_the_standard_library_says_so() {
    let number = ["0", "1", "00", "01", "9", "25", "99", "100", "255", "256", "999", "1000", "", "+1"];
    let texts = (0..number.len().pow(4)).map(|at| {
        let numbers: Vec<_> = (0..4).map(|place| number[at / number.len().pow(place) % number.len()]).collect();
        numbers.join(".")
    });
    let more = ["1.2.3", "1.2.3.4.5", "1.2.3.4.", ".1.2.3.4", "1..2.3"].map(str::to_owned);
    for text in texts.chain(more) {
        let expected = text.parse::<Ipv4Addr>().map_or("UNKNOWN".to_owned(), |address| address.to_string());
        let identities = read(&Envelope { client_ip: Some(text.as_bytes()), ..Envelope::default() });
        assert_eq!(identities.value(Identity::ClientIp).map(|value| value.to_string()), Some(expected), "of {text}");
    }
}

/// What a caller asks one at a time is what it would have got as a list.
#[test]
fn the_only_value_is_the_first_of_the_values() {
    let paths: [&[u8]; 2] = [b"a@ex.com", b"b@\xff.co.uk"];
    for count in 0..=2 {
        for sender in [None, Some(&b""[..]), Some(b"u+x@h.github.io"), Some(b"u@\xff.com"), Some(b"u@[::1]")] {
            let paths_of = &paths[..count];
            let headers = Headers { from: paths_of, reply_to: paths_of, list_id: sender, dkim: paths_of };
            let envelope = Envelope {
                client_ip: Some(b"192.0.2.1"),
                client_name: sender,
                helo: Some(b"h.ex.com"),
                auth_user: Some(b"u"),
                mail_from: sender,
                rcpt_to: &paths[..count],
                headers: Some(&headers),
                ..Envelope::default()
            };
            let read = read(&envelope);
            for identity in Identity::PLAIN.iter().copied().chain([Identity::SenderOrg(2)]) {
                assert_eq!(read.value(identity).as_ref(), read.values(identity).first(), "{identity}");
            }
        }
    }
}
