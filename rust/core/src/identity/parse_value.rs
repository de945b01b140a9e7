//! A value as an operator writes it: `Salesforce.com`, `198.51.100.0/24`, `NULL`.
//!
//! It takes the way that a sender's text takes, so the two can only come to the same. Knows no keys and no limits.

use super::extract::Identities;
use super::kind::{Identity, Source, Sources};
use super::suffix::SuffixList;
use super::value::{Part, Tag, Value};
use crate::envelope::{Envelope, Headers};

/// A text that is no value of an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotAValue {
    /// It can be none.
    Never,
    /// Its value would be another: the organisation of a host below it.
    Is(String),
}

/// What `identity` would be of an envelope that says `text`.
///
/// # Errors
/// [`NotAValue`] when no envelope could ever have this value.
pub fn parse_value<R>(
    identity: Identity,
    text: &str,
    suffixes: &SuffixList,
    then: impl FnOnce(&Value<'_>) -> R,
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
        let whole = if identity.is_name() { read.value(whole_host(identity)) } else { None };
        if whole.is_some_and(|whole| whole != value) {
            return Err(NotAValue::Is(value.to_string()));
        }
        if let Value::Network(address, length) = value {
            // An address alone is no network around it.
            let whole = if address.is_ipv4() { "32" } else { "128" };
            if length.to_string() != prefix.unwrap_or(whole) {
                return Err(NotAValue::Is(value.to_string()));
            }
        }
        Ok(then(&value))
    })
}

/// The parts of the name of `host` between the value of `per` and the host that `text` names, as
/// [`Identities::ladder`].
pub fn parts_of_host(host: Identity, per: Identity, text: &str, suffixes: &SuffixList, tell: impl FnMut(&str)) {
    read_as(host, text, suffixes, |read| read.ladder(host, per).into_iter().for_each(tell));
}

/// The identity that holds the whole of a name of which `identity` may be a part.
fn whole_host(identity: Identity) -> Identity {
    match identity.source() {
        Source::Sender => Identity::SenderHost,
        Source::ClientName => Identity::ClientHost,
        Source::Helo => Identity::HeloHost,
        // These have no whole host of their own; a name is read alike wherever it stands.
        Source::From | Source::ReplyTo | Source::Dkim => Identity::FromHost,
        _ => identity,
    }
}

/// The identities of an envelope that says `text` where `identity` is read from.
fn read_as<R>(identity: Identity, text: &str, suffixes: &SuffixList, then: impl FnOnce(&Identities<'_>) -> R) -> R {
    let at_host = format!("x@{text}");
    let bare = match (identity, text.split_once('/')) {
        (Identity::ClientNet(_), Some((address, _))) => address,
        _ => text,
    };
    let path = if identity.is_address() { text.as_bytes() } else { at_host.as_bytes() };
    let headers =
        Headers { from: &[path], reply_to: &[path], list_id: Some(text.as_bytes()), dkim: &[text.as_bytes()] };
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

/// A tag by its name, which is upper case, where the identity can be one.
fn tag(identity: Identity, text: &str) -> Option<Tag> {
    let all: &[Tag] = match identity {
        Identity::SenderRegistered => &[Tag::Unqualified, Tag::Literal, Tag::Unlisted, Tag::Malformed, Tag::Overlong],
        Identity::DkimOrg => &[Tag::Unqualified, Tag::Literal, Tag::Malformed, Tag::Overlong],
        Identity::SenderOrg(0) | Identity::FromOrg | Identity::ReplyToOrg => {
            &[Tag::Null, Tag::Unqualified, Tag::Literal, Tag::Malformed, Tag::Overlong]
        }
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
