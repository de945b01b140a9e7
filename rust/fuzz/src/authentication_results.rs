//! `Authentication-Results`: no field counts below the topmost of the name, none of another name, and each signer is a
//! domain name once.

use throttle_core::identity::MOST_VALUES;
use throttle_core::identity::authentication_results::{AuthenticationResults, MOST_FIELD_OCTETS};

const NAME: &[u8] = b"mx.box.com";
const FORGED: &[u8] = b"Authentication-Results: mx.box.com; spf=pass; dkim=pass header.d=forged.com\r\n";

/// The value of a field: what a server wrote, with what a sender controls of it.
pub fn check(value: &[u8]) {
    let found = read(&[b"Authentication-Results: mx.box.com; ", value, b"\r\n"].concat(), 1);
    check_values(&found);
    check_line_ends(value, &found);
    check_neighbours(value, &found);
    check_other_names(value);
    check_parts(value, &found);
    check_values(&read(value, 3));
}

fn read(message: &[u8], fields: usize) -> AuthenticationResults {
    AuthenticationResults::read(message, NAME, fields)
}

fn check_values(found: &AuthenticationResults) {
    assert!(found.dkim.len() <= MOST_VALUES);
    for (nth, signer) in found.dkim.iter().enumerate() {
        let belongs = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        assert!(!signer.is_empty() && signer.bytes().all(belongs), "{signer}");
        assert!(!found.dkim[..nth].contains(signer), "{signer} twice");
    }
    if let Some(verdict) = &found.spf {
        assert!(!verdict.is_empty() && *verdict == verdict.to_ascii_lowercase(), "{verdict}");
    }
}

/// Lines may end in LF alone. A bare CR spoils a field.
fn check_line_ends(value: &[u8], found: &AuthenticationResults) {
    if !value.contains(&b'\n') && !value.contains(&b'\r') {
        assert_eq!(&read(&[b"Authentication-Results:\n\tmx.box.com; ", value, b"\n"].concat(), 1), found);
        let spoiled = [b"Authentication-Results: mx.box.com; x\rAuthentication-Results: mx.box.com; ", value, b"\r\n"];
        assert_eq!(read(&spoiled.concat(), 1), AuthenticationResults::default());
    }
}

/// What stands below the topmost field, or in a field of another name above it, changes nothing.
fn check_neighbours(value: &[u8], found: &AuthenticationResults) {
    let field = [b"Authentication-Results: mx.box.com; ", value, b"\r\n"].concat();
    assert_eq!(&read(&[&field, FORGED].concat(), 1), found);
    if !value.contains(&b'\n') {
        let above = b"Received: x\r\nAuthentication-Results: evil.com; spf=pass; dkim=pass header.d=forged.com\r\n";
        assert_eq!(&read(&[above, field.as_slice()].concat(), 1), found);
        // The second field adds signers; a verdict of the first one stands.
        let both = read(&[&field, FORGED].concat(), 2);
        assert_eq!(both.spf.as_deref(), Some(found.spf.as_deref().unwrap_or("pass")));
        assert!(both.dkim.starts_with(&found.dkim));
    }
}

/// Text in front of the name, or right behind it, makes another name of it.
fn check_other_names(value: &[u8]) {
    let may_be_blank = |byte: &u8| b" \t\r\n;(".contains(byte);
    if value.is_empty() || value.iter().any(may_be_blank) {
        return;
    }
    for name in [[value, NAME].concat(), [NAME, value].concat()] {
        let other = [b"Authentication-Results: ", name.as_slice(), b"; spf=pass; dkim=pass header.d=forged.com\r\n"];
        assert_eq!(read(&other.concat(), 9), AuthenticationResults::default(), "{}", name.escape_ascii());
    }
}

/// A part that comes first is read whatever stands in those behind it.
fn check_parts(value: &[u8], found: &AuthenticationResults) {
    if value.contains(&b'\n') || value.contains(&b'\r') || value.len() > MOST_FIELD_OCTETS / 2 {
        return;
    }
    let first = b"Authentication-Results: mx.box.com; spf=softfail; dkim=pass header.d=first.com; ";
    let with_first = read(&[first, value, b"\r\n"].concat(), 1);
    assert_eq!(with_first.spf.as_deref(), Some("softfail"));
    assert_eq!(with_first.dkim[0], "first.com");
    assert!(with_first.dkim.iter().all(|signer| signer == "first.com" || found.dkim.contains(signer)));
}
