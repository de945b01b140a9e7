//! What an operator's word about a value covers: every address of a network, every host below a domain, or the value
//! alone.
//!
//! A value is read as in `named`, so that spelling does not matter, but for a network, whose prefix may have any
//! length. Knows no keys and no entries. Invariant: whatever text names a scope, every envelope of which a value lies
//! in it has that scope among its own.

use std::fmt;
use std::net::IpAddr;

use super::extract::Identities;
use super::kind::{Identity, Prefixes, Source};
use super::network;
use super::parse_value::{NotAValue, parse_value};
use super::suffix::SuffixList;
use super::value::{Part, Value};

/// Hosts below whose names others lie.
pub const FAMILIES: [Identity; 5] =
    [Identity::ClientHost, Identity::HeloHost, Identity::SenderHost, Identity::RcptHost, Identity::FromHost];

/// Values that are covered alone. Of those of which a host's family covers the names, only tags, which no text equals:
/// NULL, LITERAL, UNKNOWN.
pub const WHOLE: [Identity; 12] = [
    Identity::AuthUser,
    Identity::SenderAddress,
    Identity::RcptAddress,
    Identity::SenderOrg(0),
    Identity::SenderRegistered,
    Identity::ClientIp,
    Identity::FromAddress,
    Identity::FromOrg,
    Identity::ReplyToAddress,
    Identity::ReplyToOrg,
    Identity::ListId,
    Identity::DkimOrg,
];

/// Prefixes shorter than these are half the world.
const SHORTEST_V4: u8 = 8;
const SHORTEST_V6: u8 = 16;

/// What is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// A network, an address alone being the smallest.
    Network(IpAddr, u8),
    /// A name and all below it: the place of its family in [`FAMILIES`], and the name.
    Below(usize, &'a str),
    /// A value alone, by its kind's place in [`WHOLE`].
    Whole(usize, Value<'a>),
}

/// Why a text covers nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoScope {
    /// The identity has no values of senders.
    Identity,
    /// It is no value of the identity.
    Value,
    /// Its value would be another.
    Is(String),
    /// It covers too much: a public suffix, a network of half the world.
    Broad,
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(address, length) => Value::Network(*address, *length).fmt(f),
            Self::Below(_, name) => f.write_str(name),
            Self::Whole(_, value) => value.fmt(f),
        }
    }
}

impl Scope<'_> {
    /// How many labels a name has.
    pub fn labels(name: &str) -> usize {
        1 + name.bytes().filter(|octet| *octet == b'.').count()
    }
}

/// The scope that `text` names, handed to `then` with the text in its normal form.
///
/// # Errors
/// [`NoScope`] when nothing, or too much, could lie in it.
pub fn scope<R>(
    identity: Identity,
    text: &str,
    suffixes: &SuffixList,
    then: impl FnOnce(Scope<'_>, String) -> R,
) -> Result<R, NoScope> {
    let whole = |identity| WHOLE.iter().position(|whole| *whole == identity);
    if identity.source() == Source::ClientIp && text != "UNKNOWN" {
        let (address, length) = network(identity, text)?;
        return Ok(then(Scope::Network(address, length), Value::Network(address, length).to_string()));
    }
    let family = family(identity);
    if identity == Identity::Global
        || (family.is_none() && whole(identity).is_none() && identity.source() != Source::ClientIp)
    {
        return Err(NoScope::Identity);
    }
    let split = suffixes.split(text.to_ascii_lowercase().trim_end_matches('.'));
    let bare = if identity == Identity::SenderRegistered { split.registered } else { split.org };
    let is_domain = family.is_some() || matches!(identity, Identity::ReplyToOrg | Identity::DkimOrg);
    if is_domain && bare.is_none() && split.listed {
        return Err(NoScope::Broad);
    }
    let found = parse_value(identity, text, suffixes, |value| match (family, value) {
        (Some(family), Value::Name(Part::Text(name))) => {
            // The suffix in another spelling: Unicode, a dot that is none.
            let split = suffixes.split(name);
            let bare = if identity == Identity::SenderRegistered { split.registered } else { split.org };
            let is_address = network::address(name.as_bytes()).is_some();
            match bare.is_none() && split.listed {
                true => Err(NoScope::Broad),
                false if is_address || name.contains('*') => Err(NoScope::Value),
                false => Ok(then(Scope::Below(family, name), value.to_string())),
            }
        }
        (_, value) => {
            // However many forms of it there are, what an envelope lacks is one thing.
            let kind = if identity.source() == Source::ClientIp { Identity::ClientIp } else { identity };
            match whole(kind) {
                Some(place) => Ok(then(Scope::Whole(place, *value), value.to_string())),
                None => Err(NoScope::Value),
            }
        }
    });
    match found {
        Ok(scope) => scope,
        Err(NotAValue::Is(other)) => Err(NoScope::Is(other)),
        Err(NotAValue::Never) => Err(NoScope::Value),
    }
}

/// The family of an identity that is a host, or a part of one.
fn family(identity: Identity) -> Option<usize> {
    let is_part = |host| identity.is_part_of_host(host) || (identity, host) == (Identity::FromOrg, Identity::FromHost);
    FAMILIES.iter().position(|&host| identity == host || is_part(host))
}

/// `203.0.113.0/24`, or an address alone.
fn network(identity: Identity, text: &str) -> Result<(IpAddr, u8), NoScope> {
    let (bare, stated) = text.split_once('/').map_or((text, None), |(bare, length)| (bare, Some(length)));
    let address = network::address(bare.as_bytes()).ok_or(NoScope::Value)?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let length = match stated {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit()) => {
            // Of an IPv4 address that is mapped into IPv6 the prefix counts there.
            let mapped = if address.is_ipv4() && bare.contains(':') { 96 } else { 0 };
            let length = digits.parse::<u8>().ok().and_then(|length| length.checked_sub(mapped));
            length.filter(|&length| length <= longest).ok_or(NoScope::Value)?
        }
        Some(_) => return Err(NoScope::Value),
        None => longest,
    };
    let masked = within(address, length);
    if masked != address {
        return Err(NoScope::Is(Value::Network(masked, length).to_string()));
    }
    if let (Identity::ClientNet(prefixes), None) = (identity, stated) {
        // An address alone is no network around it.
        return Err(NoScope::Is(network::network(address, prefixes).to_string()));
    }
    let shortest = if address.is_ipv4() { SHORTEST_V4 } else { SHORTEST_V6 };
    if length < shortest { Err(NoScope::Broad) } else { Ok((address, length)) }
}

/// The first address of the network of that length.
pub fn within(address: IpAddr, length: u8) -> IpAddr {
    match network::network(address, Prefixes { v4: length, v6: length }) {
        Value::Network(address, _) => address,
        _ => address,
    }
}

/// The kinds of entries that there are, as bitmaps: an envelope's scopes of other kinds are not looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinds {
    /// Prefix lengths of IPv4.
    pub v4: u64,
    /// Prefix lengths of IPv6; bit 0 stands for 128, because a prefix of 0 is never listed.
    pub v6: [u64; 2],
    /// Label counts of the names of each of [`FAMILIES`].
    pub labels: [[u64; 2]; FAMILIES.len()],
    /// Places in [`WHOLE`].
    pub whole: u64,
}

/// Hands every scope in which the envelope lies, of the kinds that there are, to `then`: in the same order each time.
pub fn each<'i>(identities: &'i Identities<'_>, kinds: &Kinds, mut then: impl FnMut(Scope<'i>)) {
    match identities.address() {
        Some(address @ IpAddr::V4(_)) => {
            bits([kinds.v4, 0]).for_each(|length| then(Scope::Network(within(address, length), length)));
        }
        Some(address @ IpAddr::V6(_)) => {
            let [low, high] = kinds.v6;
            bits([low & !1, high]).for_each(|length| then(Scope::Network(within(address, length), length)));
            if low & 1 != 0 {
                then(Scope::Network(address, 128));
            }
        }
        None => {}
    }
    for (family, host) in FAMILIES.into_iter().enumerate() {
        if kinds.labels[family] == [0; 2] {
            continue;
        }
        for name in identities.hosts(host) {
            let starts = name.bytes().enumerate().filter(|(_, octet)| *octet == b'.').map(|(at, _)| at + 1);
            let mut labels = Scope::labels(name);
            for start in std::iter::once(0).chain(starts) {
                let [low, high] = kinds.labels[family];
                let is_listed =
                    labels < 128 && (if labels < 64 { low >> labels } else { high >> (labels - 64) }) & 1 != 0;
                if !name.is_empty() && is_listed {
                    then(Scope::Below(family, &name[start..]));
                }
                labels -= 1;
            }
        }
    }
    for kind in bits([kinds.whole, 0]).map(usize::from) {
        let identity = WHOLE[kind];
        for value in identities.values(identity) {
            // The names of these are looked up by their parts.
            let by_parts = family(identity).is_some() || identity == Identity::ClientIp;
            if !by_parts || matches!(value, Value::Name(Part::Tag(_))) {
                then(Scope::Whole(kind, value));
            }
        }
    }
}

/// The places of the bits that are set.
fn bits(mut words: [u64; 2]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let word = words.iter().position(|word| *word != 0)?;
        let bit = words[word].trailing_zeros();
        words[word] &= words[word] - 1;
        Some(word as u8 * 64 + bit as u8)
    })
}
