//! Headers of messages: nothing behind the blank line counts, a bounded number of values, each with a key,
//! and an address that was found reads as itself.

use throttle_core::envelope::{Envelope, Headers};
use throttle_core::identity::header_address::MOST_FIELD_OCTETS;
use throttle_core::identity::header_parser::{Header, MOST_LIST_OCTETS};
use throttle_core::identity::{Identity, MOST_VALUES};

use crate::reading::{every_value_has_a_key, read};

/// A message, or the beginning of one.
pub fn check(message: &[u8]) {
    let header = Header::read(message);
    check_bounds(&header);
    check_end(message);
    check_identities(&header);
    for address in header.from.iter().chain(&header.reply_to) {
        check_address(address);
    }
}

/// However many there are, and however long.
fn check_bounds(header: &Header) {
    for addresses in [&header.from, &header.reply_to] {
        assert!(addresses.len() <= MOST_VALUES, "{} addresses", addresses.len());
        // A character of ISO 8859-1 is two octets of UTF-8, and a quote has a backslash.
        assert!(addresses.iter().all(|address| address.len() <= 2 * MOST_FIELD_OCTETS + 3));
        let mut unique = addresses.clone();
        unique.sort();
        unique.dedup();
        assert_eq!(unique.len(), addresses.len(), "each once");
    }
    if let Some(list) = &header.list_id {
        assert!(!list.is_empty() && list.len() <= MOST_LIST_OCTETS);
        assert!(!list.iter().any(|octet| matches!(octet, b'\r' | b'\n')));
    }
}

/// What stands behind the blank line is the sender's text, not its header.
fn check_end(message: &[u8]) {
    let ended = [message, b"\n\n"].concat();
    let body =
        [&ended, b"From: mallory@body.com\r\nReply-To: <mallory@body.com>\r\nList-Id: <body.com>\r\n\r\n".as_slice()]
            .concat();
    assert_eq!(Header::read(&body), Header::read(&ended));
}

fn check_identities(header: &Header) {
    let from: Vec<&[u8]> = header.from.iter().map(Vec::as_slice).collect();
    let reply_to: Vec<&[u8]> = header.reply_to.iter().map(Vec::as_slice).collect();
    let headers = Headers { from: &from, reply_to: &reply_to, list_id: header.list_id.as_deref(), dkim: &[] };
    let identities = read(&Envelope { headers: Some(&headers), ..Envelope::default() });
    every_value_has_a_key(&identities);
    for identity in [Identity::FromAddress, Identity::ReplyToAddress] {
        assert!(identities.values(identity).len() <= MOST_VALUES, "{identity}");
    }
    assert_eq!(identities.values(Identity::FromOrg).is_empty(), from.is_empty());
    assert_eq!(identities.values(Identity::ReplyToOrg).is_empty(), reply_to.is_empty());
}

/// An address that was found, said again alone or among other text, is the same one.
fn check_address(address: &[u8]) {
    if address == b"MANY" {
        return;
    }
    for (before, behind) in [("", ""), ("<", ">"), ("Joe <", ">"), ("\"a, b\" <", "> (c)"), ("a group: ", ";")] {
        let message = [b"From:\r\n ", before.as_bytes(), address, behind.as_bytes(), b"\r\n\r\n"].concat();
        assert_eq!(Header::read(&message).from, [address], "{}", message.escape_ascii());
    }
}
