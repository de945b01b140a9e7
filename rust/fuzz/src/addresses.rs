//! Paths of MAIL and RCPT: one mailbox however it is spelled, bounded, its own normal form, proven by what proves it.

use throttle_core::envelope::{Envelope, Spf};
use throttle_core::identity::parse_value::parse_value;
use throttle_core::identity::{Identities, Identity, Part, Tag, Trust, Value};

use crate::reading::{SUFFIXES, every_value_has_a_key, read, sender};

/// A path, as it stands behind `MAIL FROM:`.
pub fn check(path: &[u8]) {
    let rcpt_to = [path];
    let envelope = Envelope { mail_from: Some(path), rcpt_to: &rcpt_to, ..Envelope::default() };
    let identities = read(&envelope);
    every_value_has_a_key(&identities);
    check_both_ends(&identities);
    check_classes(path, &identities);
    let address = identities.value(Identity::SenderAddress);
    check_spellings(path, address.as_ref());
    if let Some(Value::Address(local, host)) = address {
        if let Part::Text(local) = local {
            check_local(local);
        }
        if let (Part::Text(local), Part::Text(host)) = (local, host) {
            check_normal_form(local, host, &Value::Address(Part::Text(local), Part::Text(host)));
        }
    }
}

/// A sender and a recipient are read the same; the null path has one value at each end.
fn check_both_ends(identities: &Identities<'_>) {
    let of = |identity| identities.value(identity);
    match of(Identity::SenderAddress) {
        Some(address) => {
            assert_eq!(of(Identity::RcptAddress), Some(address));
            assert_eq!(of(Identity::RcptHost), of(Identity::SenderHost));
            for identity in [Identity::SenderOrg(0), Identity::SenderOrg(5), Identity::SenderRegistered] {
                assert!(of(identity).is_some(), "{identity}");
            }
        }
        None => {
            let null = Some(Value::Name(Part::Tag(Tag::Null)));
            assert_eq!([of(Identity::SenderOrg(0)), of(Identity::RcptAddress)], [null; 2]);
            assert_eq!([of(Identity::SenderHost), of(Identity::SenderRegistered)], [None; 2]);
        }
    }
}

/// Only a name is ever proven, and never against the server's verdict.
fn check_classes(path: &[u8], identities: &Identities<'_>) {
    let class = |spf, client_name| {
        let envelope = Envelope { mail_from: Some(path), spf, client_name, ..Envelope::default() };
        read(&envelope).trust(Identity::SenderOrg(0))
    };
    let named = matches!(identities.value(Identity::SenderOrg(0)), Some(Value::Name(Part::Text(_))));
    assert_eq!(class(Some(Spf::Pass), None) == Trust::Proven, named);
    assert_eq!(class(None, None), Trust::Claimed);
    if let Some(Value::Name(Part::Text(host))) = identities.value(Identity::SenderHost) {
        assert_eq!(class(Some(Spf::Fail), Some(host.as_bytes())), Trust::Claimed);
        let own = class(None, Some(host.as_bytes()));
        assert!(own == Trust::Claimed || named, "{host}");
    }
}

/// At most 256 octets; a second folding changes nothing.
fn check_local(local: &str) {
    assert!(local.len() <= 256, "{local}");
    assert_eq!(local.to_lowercase(), local);
    assert!(!local.chars().skip(1).any(|character| character == '+'), "{local}");
}

fn check_spellings(path: &[u8], address: Option<&Value<'_>>) {
    let same = |spelling: &[u8]| {
        let read = sender(spelling);
        assert_eq!(read.value(Identity::SenderAddress).as_ref(), address, "{}", spelling.escape_ascii());
    };
    same(&path.to_ascii_uppercase());
    same(&path.to_ascii_lowercase());
    same(&[b"<", path, b">"].concat());
    same(&[b" \t", path, b"\r\n"].concat());
    if path.contains(&b'@') {
        same(&[b"<@a.com,@[IPv6:2001:db8::1]:", path, b">"].concat());
    }
}

/// The mailbox as it is kept, quoted so that any character can stand in it, is the same mailbox;
/// so it is with what is folded away.
fn check_normal_form(local: &str, host: &str, address: &Value<'_>) {
    // What the Sender Rewriting Scheme puts first is taken away once only: the rest may look like it again.
    // And a host that ends with a bracket (`joe@x>.`) cannot be said without its dot.
    if local.starts_with("srs") || host.ends_with('>') {
        return;
    }
    let quoted = |local: &str| format!("\"{}\"@{host}", local.replace('\\', "\\\\").replace('"', "\\\""));
    let same = |path: &str| {
        let read = sender(path.as_bytes());
        assert_eq!(read.value(Identity::SenderAddress).as_ref(), Some(address), "{path:?}");
    };
    same(&quoted(local));
    if !local.is_empty() {
        // Behind an `=` a tag would make a mailbox of what was none: `prvs=TAG=` is a name, `prvs=TAG=+tag` is `+tag`.
        if !local.ends_with('=') {
            same(&quoted(&format!("{local}+tag+more")));
        }
        // With a solidus laid over it an `=` is another character, and ends no tag.
        if !local.starts_with('\u{338}') {
            same(&quoted(&format!("prvs=0123abcdef={local}")));
            same(&quoted(&format!("btv1==0_a-b==msprvs1=x={local}")));
        }
        let written = parse_value(Identity::SenderAddress, &quoted(local), &SUFFIXES, |written| written == address);
        assert_eq!(written, Ok(true), "{local:?} {host}");
    }
}
