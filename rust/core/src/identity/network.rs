//! Client addresses and the networks around them.
//!
//! Knows no names. Invariant: an IPv4 address has one form, however it was put into an IPv6 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Prefixes;
use super::value::Value;

/// The address that `text` holds, if it holds one. Takes what servers and address literals (RFC 5321 §4.1.3) write
/// around it: brackets, the tag `IPv6:`, a zone (RFC 4007 §11).
pub(crate) fn address(text: &[u8]) -> Option<IpAddr> {
    if let Some(address) = dotted(text) {
        return Some(address.into());
    }
    let text = text.trim_ascii();
    let text = match text {
        [b'[', inner @ .., b']'] => inner.trim_ascii(),
        _ => text,
    };
    let text = match text.split_at_checked(5) {
        Some((tag, rest)) if tag.eq_ignore_ascii_case(b"ipv6:") => rest,
        _ => text,
    };
    let text = std::str::from_utf8(text).ok()?;
    let address = match text.split_once('%') {
        Some((address, _zone)) => IpAddr::V6(address.parse().ok()?),
        None => text.parse().ok()?,
    };
    Some(unwrapped(address))
}

/// The IPv4 address that an IPv6 address stands for, if it stands for one: mapped (RFC 4291 §2.5.5.2), 6to4 (RFC 3056
/// §2), Teredo (RFC 4380 §4), or behind NAT64 with the well-known prefix (RFC 6052 §2.1). Without this, the 256
/// addresses of one /24 would be 256 networks under 6to4, a Teredo client would choose its network by its server's
/// address, and all of IPv4 would be one network behind NAT64.
fn unwrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let octets = v6.octets();
    match octets {
        [0x20, 0x02, a, b, c, d, ..] => Ipv4Addr::new(a, b, c, d).into(),
        // The client's address has all its bits inverted.
        [0x20, 0x01, 0, 0, .., a, b, c, d] => Ipv4Addr::new(!a, !b, !c, !d).into(),
        [0x00, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
        _ => v6.to_canonical(),
    }
}

/// The prefix length of an IPv4 network that `text` writes as an IPv6 network of this length; `None` when that is
/// shorter than the bits before the IPv4 address.
pub(crate) fn inner_length(text: &str, length: u8) -> Option<u8> {
    let is_6to4 = text.parse::<Ipv6Addr>().is_ok_and(|address| address.segments()[0] == 0x2002);
    // Behind the IPv4 address of 6to4 are the subnet and the interface.
    if is_6to4 { length.min(48).checked_sub(16) } else { length.checked_sub(96) }
}

/// Reads the common case: four numbers and nothing around them. For such a text the general parser gives the same
/// address, but takes three times as long.
fn dotted(mut text: &[u8]) -> Option<Ipv4Addr> {
    let mut octets = [0; 4];
    for (place, octet) in octets.iter_mut().enumerate() {
        if place > 0 {
            text = text.strip_prefix(b".")?;
        }
        (*octet, text) = number(text)?;
    }
    text.is_empty().then(|| octets.into())
}

/// A number of a byte without leading zeros, and what is behind it.
fn number(text: &[u8]) -> Option<(u8, &[u8])> {
    let value = |digits: [u8; 3]| digits.iter().fold(0, |value, digit| value * 10 + u16::from(digit - b'0'));
    match *text {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', ref rest @ ..] => {
            Some((u8::try_from(value([a, b, c])).ok()?, rest))
        }
        [a @ b'1'..=b'9', b @ b'0'..=b'9', ref rest @ ..] => Some((value([b'0', a, b]) as u8, rest)),
        [a @ b'0'..=b'9', ref rest @ ..] => Some((a - b'0', rest)),
        _ => None,
    }
}

/// The IPv4 network around an address.
#[inline]
pub(crate) fn v4(address: Ipv4Addr, prefix: u8) -> (Ipv4Addr, u8) {
    let prefix = prefix.min(32);
    let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
    (Ipv4Addr::from_bits(address.to_bits() & mask), prefix)
}

/// The network around an address.
pub(crate) fn network(address: IpAddr, prefixes: Prefixes) -> Value<'static> {
    match address {
        IpAddr::V4(address) => {
            let (network, prefix) = v4(address, prefixes.v4);
            Value::Network(network.into(), prefix)
        }
        IpAddr::V6(address) => {
            let prefix = prefixes.v6.min(128);
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            Value::Network(Ipv6Addr::from_bits(address.to_bits() & mask).into(), prefix)
        }
    }
}
