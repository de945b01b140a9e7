//! A value as an operator writes it, `Salesforce.com`, `198.51.100.0/24`, `NULL`, and what an access list entry of it
//! covers: every address of a network, every host below a domain, or the value alone.
//!
//! The text takes the same path as the text of a sender, so both give the same value, and spelling does not matter.
//! Only a network in an entry is read differently, because its prefix may have any length.
//!
//! This module knows no keys, limits or entries. Invariant: when a text names a scope, [`each_scope`] finds that scope
//! for every envelope with a value in it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use smallvec::SmallVec;

use super::header_address::{Mailbox, Mailboxes};
use super::suffix::up_at_dots;
use super::{Identities, Identity, Part, Prefixes, Source, Sources, SuffixList, Tag, Value, View, network};
use crate::bitset::places;
use crate::envelope::{Envelope, Headers};

/// Host identities whose entries cover all names below them.
pub const FAMILIES: [Identity; 5] =
    [Identity::ClientHost, Identity::HeloHost, Identity::SenderHost, Identity::RcptHost, Identity::FromHost];

/// Identities whose entries cover one whole value. Where a family covers the names of an identity, this is only for
/// its tags, such as NULL, LITERAL and UNKNOWN, which no text equals.
#[rustfmt::skip]
pub const WHOLE: [Identity; 13] = [
    Identity::AuthUser, Identity::SenderAddress, Identity::RcptAddress, Identity::SenderOrg(0),
    Identity::SenderRegistered, Identity::ClientIp, Identity::FromAddress, Identity::FromOrg,
    Identity::ReplyToAddress, Identity::ReplyToOrg, Identity::ReplyToMailbox, Identity::ListId, Identity::DkimOrg,
];

/// An entry's shortest prefixes for IPv4 and IPv6: a shorter one would cover too many networks at once.
const SHORTEST: (u8, u8) = (8, 16);

/// Why a text names no value of an identity, or no scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAValue {
    /// No envelope can give this value.
    Never,
    /// An envelope with this text has another value, such as the organisation of the host.
    Is(String),
    /// No entry can be of this identity. Only [`parse_scope`] returns it.
    NoEntry,
    /// The scope would cover too much: a public suffix, or a network with a very short prefix. Only [`parse_scope`]
    /// returns it.
    Broad,
}

/// What an entry covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope<'a> {
    /// A network; the smallest is a single address.
    Network(IpAddr, u8),
    /// A name and all names below it: the place of its family in [`FAMILIES`], and the name.
    Below(usize, &'a str),
    /// A value alone: the place of its identity in [`WHOLE`], and the value.
    Whole(usize, Value<'a>),
}

/// The kinds of entries that exist, as bitmaps. Scopes of other kinds are not looked up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinds {
    /// Prefix lengths of IPv4: bit n stands for the length n + 1.
    pub v4: u64,
    /// Prefix lengths of IPv6, in the same way.
    pub v6: u128,
    /// The families that have an entry, as bits by their places in [`FAMILIES`].
    pub families: u64,
    /// Numbers of labels in the names of each of [`FAMILIES`].
    pub labels: [u128; FAMILIES.len()],
    /// Places in [`WHOLE`].
    pub whole: u64,
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

/// Hands the value that `identity` has in an envelope with this `text` to `then`.
///
/// # Errors
/// [`NotAValue`] when no envelope could have exactly this value.
pub fn parse_value<R>(
    identity: Identity, text: &str, suffixes: &SuffixList, then: impl FnOnce(&Value<'_>) -> R,
) -> Result<R, NotAValue> {
    if let Some(tag) = tag(identity, text) {
        return Ok(then(&Value::Name(Part::Tag(tag))));
    }
    let is_of_a_host = identity.is_name() && !matches!(identity.source(), Source::AuthUser | Source::ListId);
    if is_of_a_host && text.contains('@') {
        return Err(NotAValue::Never);
    }
    let prefix = text.split_once('/').map(|(_, length)| length);
    read_as(identity, text, suffixes, |read| {
        let value = read.value(identity).filter(|value| identity != Identity::Global && !is_tagged(value));
        let value = value.ok_or(NotAValue::Never)?;
        let is_mailbox = identity.view() == View::Mailbox;
        if is_mailbox && !text.contains('@') && matches!(value, Value::Address(..)) {
            // A provider is no single user of it.
            return Err(NotAValue::Never);
        }
        if is_mailbox && text.contains('@') && !matches!(value, Value::Address(..)) {
            return Err(NotAValue::Is(value.to_string()));
        }
        let is_name = identity.may_be_name() && matches!(value, Value::Name(_));
        let whole = if is_name { read.value(whole_host(identity)) } else { None };
        if whole.is_some_and(|whole| whole != value) {
            return Err(NotAValue::Is(value.to_string()));
        }
        if let Value::Network(address, length) = value {
            // A single address does not name the network around it.
            let whole = if address.is_ipv4() { "32" } else { "128" };
            if length.to_string() != prefix.unwrap_or(whole) {
                return Err(NotAValue::Is(value.to_string()));
            }
        }
        Ok(then(&value))
    })
}

/// The parts of the name of `host` between the value of `per` and the host that `text` names, as
/// [`Identities::ladder`] returns them.
pub fn parts_of_host(host: Identity, per: Identity, text: &str, suffixes: &SuffixList, tell: impl FnMut(&str)) {
    read_as(host, text, suffixes, |read| read.ladder(host, per).into_iter().for_each(tell));
}

/// Hands the scope that `text` names to `then`, with the text in its normal form.
///
/// # Errors
/// [`NotAValue`] when no envelope, or too many of them, could lie in the scope.
pub fn parse_scope<R>(
    identity: Identity, text: &str, suffixes: &SuffixList, then: impl FnOnce(Scope<'_>, String) -> R,
) -> Result<R, NotAValue> {
    let is_client = identity.source() == Source::ClientIp;
    if is_client && text != "UNKNOWN" {
        let (address, length) = parse_network(identity, text)?;
        let scope = Scope::Network(address, length);
        return Ok(then(scope, scope.to_string()));
    }
    // An absent client address is one thing, whatever identity names it.
    let kind = if is_client { Identity::ClientIp } else { identity };
    let (family, whole) = (family(identity), WHOLE.iter().position(|&whole| whole == kind));
    if family.is_none() && whole.is_none() {
        return Err(NotAValue::NoEntry);
    }
    let is_broad = |name: &str| {
        let split = suffixes.split(name);
        let bare = if identity == Identity::SenderRegistered { split.registered } else { split.org };
        bare.is_none() && split.listed
    };
    let is_domain =
        family.is_some() || matches!(identity, Identity::ReplyToOrg | Identity::ReplyToMailbox | Identity::DkimOrg);
    if is_domain && is_broad(text.to_ascii_lowercase().trim_end_matches('.')) {
        return Err(NotAValue::Broad);
    }
    parse_value(identity, text, suffixes, |value| match (family, value) {
        // A public suffix may have been spelt otherwise: in Unicode, or with another dot.
        (Some(_), Value::Name(Part::Text(name))) if is_broad(name) => Err(NotAValue::Broad),
        (Some(family), Value::Name(Part::Text(name))) => {
            let is_name = network::address(name.as_bytes()).is_none() && !name.contains('*');
            let scope = is_name.then_some(Scope::Below(family, name)).ok_or(NotAValue::Never)?;
            Ok(then(scope, value.to_string()))
        }
        _ => {
            let place = whole.ok_or(NotAValue::Never)?;
            Ok(then(Scope::Whole(place, *value), value.to_string()))
        }
    })?
}

/// Hands every scope that the envelope lies in and that has one of these kinds to `then`, always in the same order.
pub fn each_scope<'i>(identities: &'i Identities<'_>, kinds: &Kinds, mut then: impl FnMut(Scope<'i>)) {
    if let Some(address) = identities.address() {
        let lengths = if address.is_ipv4() { kinds.v4.into() } else { kinds.v6 };
        for bit in places(lengths as u64).chain(places((lengths >> 64) as u64).map(|bit| bit + 64)) {
            let length = bit as u8 + 1;
            then(Scope::Network(within(address, length), length));
        }
    }
    for family in places(kinds.families).map(|family| family as usize) {
        for (name, dots) in identities.hosts(FAMILIES[family]).into_iter().filter(|(name, _)| !name.is_empty()) {
            // Walks from the last label towards the first, up to the most labels that an entry has. The longest name is
            // handed on first.
            let (mut starts, mut start) = (SmallVec::<[usize; 4]>::new(), name.len() + 1);
            let mut counts = kinds.labels[family] >> 1;
            while let Some(label) = up_at_dots(name, dots, start).filter(|_| counts != 0) {
                if counts & 1 != 0 {
                    starts.push(label);
                }
                (start, counts) = (label, counts >> 1);
            }
            for start in starts.into_iter().rev() {
                then(Scope::Below(family, &name[start..]));
            }
        }
    }
    for place in places(kinds.whole).map(|place| place as usize) {
        let identity = WHOLE[place];
        // These names and addresses are looked up by their parts above.
        let is_by_parts = family(identity).is_some() || identity == Identity::ClientIp;
        let mut add = |value| {
            if !is_by_parts || matches!(value, Value::Name(Part::Tag(_))) {
                then(Scope::Whole(place, value));
            }
        };
        if identity.has_many() && identities.may_have_several() {
            identities.values(identity).into_iter().for_each(add);
        } else if let Some(value) = identities.value(identity) {
            add(value);
        }
    }
}

/// The number of labels in a name.
pub fn count_labels(name: &str) -> usize {
    1 + name.bytes().filter(|byte| *byte == b'.').count()
}

/// The network of this prefix length around an address, as its first address.
pub fn within(address: IpAddr, length: u8) -> IpAddr {
    match network::network(address, Prefixes { v4: length, v6: length }) {
        Value::Network(address, _) => address,
        _ => address,
    }
}

/// The place of the family whose entries cover this identity, when the identity is a host or a part of one.
fn family(identity: Identity) -> Option<usize> {
    let hosts = if identity.is_name() { &FAMILIES[..] } else { &[] };
    hosts.iter().position(|host| identity.source() == host.source())
}

/// Reads `203.0.113.0/24`, or a single address.
fn parse_network(identity: Identity, text: &str) -> Result<(IpAddr, u8), NotAValue> {
    let (bare, stated) = text.split_once('/').map_or((text, None), |(bare, length)| (bare, Some(length)));
    let address = network::address(bare.as_bytes()).ok_or(NotAValue::Never)?;
    let (longest, shortest) = if address.is_ipv4() { (32, SHORTEST.0) } else { (128, SHORTEST.1) };
    let length = match stated {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            let length = digits.parse::<u8>().ok().filter(|length| *length <= 128);
            let length = if address.is_ipv4() && bare.contains(':') {
                // The prefix of an IPv4 address inside an IPv6 address counts the bits before it.
                length.and_then(|length| network::inner_length(bare, length))
            } else {
                length
            };
            length.filter(|&length| length <= longest).ok_or(NotAValue::Never)?
        }
        Some(_) => return Err(NotAValue::Never),
        None => longest,
    };
    let masked = within(address, length);
    if masked != address {
        return Err(NotAValue::Is(Value::Network(masked, length).to_string()));
    }
    if let (Identity::ClientNet(prefixes), None) = (identity, stated) {
        // A single address does not name the network around it.
        return Err(NotAValue::Is(network::network(address, prefixes).to_string()));
    }
    if length < shortest { Err(NotAValue::Broad) } else { Ok((address, length)) }
}

/// The identity that holds the whole host; the value of `identity` may be a part of that host.
fn whole_host(identity: Identity) -> Identity {
    match identity.source() {
        // These have no identity for the whole host, but a name is read alike in every field.
        Source::ReplyTo | Source::Reply | Source::Dkim => Identity::FromHost,
        source => FAMILIES.into_iter().find(|host| host.source() == source).unwrap_or(identity),
    }
}

/// Hands the identities of an envelope to `then` in which the source of `identity` is `text`.
fn read_as<R>(identity: Identity, text: &str, suffixes: &SuffixList, then: impl FnOnce(&Identities<'_>) -> R) -> R {
    let at_host = format!("x@{text}");
    let bare = match (identity, text.split_once('/')) {
        (Identity::ClientNet(_), Some((address, _))) => address,
        _ => text,
    };
    let is_address = identity.is_address() || identity.view() == View::Mailbox && text.contains('@');
    let path = if is_address { text } else { &at_host };
    let field = header_field(path);
    let field = field.as_deref();
    let fields = field.as_slice();
    let path = path.as_bytes();
    let headers = Headers { from: fields, reply_to: fields, list_id: Some(text.as_bytes()), dkim: &[text.as_bytes()] };
    let envelope = Envelope {
        client_ip: Some(bare.as_bytes()),
        client_name: Some(text.as_bytes()),
        helo: Some(text.as_bytes()),
        auth_user: Some(text.as_bytes()),
        mail_from: Some(path),
        rcpt_to: &[path],
        headers: Some(&headers),
        ..Envelope::default()
    };
    let sources = Sources::default().with(identity.source()).with(whole_host(identity).source());
    then(&Identities::read(&envelope, suffixes, sources))
}

/// The field of a header that has this address and no other; `None` when none has.
fn header_field(path: &str) -> Option<Vec<u8>> {
    let path = path.trim().trim_start_matches('<').trim_end_matches('>');
    let (local, host) = path.rsplit_once('@')?;
    let host = host.trim().trim_end_matches('.');
    let is_bare_ipv6 = !host.starts_with('[') && host.contains(':');
    let host = if is_bare_ipv6 { Cow::Owned(format!("[{host}]")) } else { Cow::Borrowed(host) };
    let field = if local.contains('"') {
        format!("{local}@{host}").into_bytes()
    } else {
        Mailbox::plain(local.as_bytes(), host.as_bytes()).written()
    };
    let mut read = Mailboxes::default();
    read.read(&field);
    let is_only = matches!(&read.all()?[..], [only] if *only.host == *host.as_bytes());
    is_only.then_some(field)
}

/// The tag with this name, which is in upper case, when the identity can have it.
fn tag(identity: Identity, text: &str) -> Option<Tag> {
    let all: &[Tag] = match identity {
        Identity::SenderRegistered => &[Tag::Unqualified, Tag::Literal, Tag::Unlisted, Tag::Malformed, Tag::Overlong],
        Identity::DkimOrg => &[Tag::Unqualified, Tag::Literal, Tag::Malformed, Tag::Overlong],
        Identity::SenderOrg(0) => &[Tag::Null, Tag::Unqualified, Tag::Literal, Tag::Malformed, Tag::Overlong],
        Identity::FromOrg | Identity::ReplyToOrg | Identity::ReplyToMailbox | Identity::ReplyToUnaligned => {
            &[Tag::Many, Tag::Literal, Tag::Malformed, Tag::Overlong]
        }
        Identity::FromAddress | Identity::ReplyToAddress => &[Tag::Many],
        Identity::ClientIp | Identity::ClientNet(_) => &[Tag::Unknown],
        _ => &[],
    };
    all.iter().copied().find(|tag| tag.to_string() == text)
}

fn is_tagged(value: &Value<'_>) -> bool {
    let is_tag = |part: &Part<'_>| matches!(part, Part::Tag(_)) || *part == Part::Text("");
    match value {
        Value::Global | Value::Network(..) => false,
        Value::Name(part) => is_tag(part),
        Value::Address(local, host) => is_tag(local) || is_tag(host),
    }
}
