//! What the header of a message says: From, Reply-To, List-Id, and the domains whose signatures the server has
//! verified.
//!
//! Knows no header text: `header` finds the fields. Invariant: every value that is looked at has an identity, and no
//! more than [`MOST_VALUES`] of a field are looked at, however many there are.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::address::{Address, Local};
use super::domain::Domain;
use super::extract::{As, Values, host_part, mailbox, named_part, unique};
use super::host::Host;
use super::kind::{Identity, Source, Sources};
use super::suffix::SuffixList;
use super::user::fold;
use super::value::{Part, Tag, Value};
use crate::envelope::Headers;

/// Values of one field that are looked at: so many are checked, and all must agree.
pub const MOST_VALUES: usize = 8;

/// Octets of a list's name (RFC 2919 §3).
const LONGEST_LIST: usize = 255;

/// The identities of a header, as far as they were wanted. Most envelopes have none, so it lies apart.
#[derive(Debug)]
pub(super) struct HeaderIdentities<'a> {
    from: SmallVec<[Author<'a>; 1]>,
    reply_to: SmallVec<[Author<'a>; 1]>,
    list: Option<List<'a>>,
    dkim: SmallVec<[Domain<'a>; 1]>,
}

/// An address in a header field.
#[derive(Debug)]
enum Author<'a> {
    Null,
    Mailbox { local: Local<'a>, domain: Domain<'a> },
}

/// A mailing list.
#[derive(Debug)]
struct List<'a> {
    raw: &'a [u8],
    /// Nothing when the bytes are not UTF-8.
    text: Option<Cow<'a, str>>,
}

impl<'a> HeaderIdentities<'a> {
    pub(super) fn read(headers: &Headers<'a>, suffixes: &SuffixList, wanted: Sources) -> Box<Self> {
        let looked_at = |values: &'a [&'a [u8]], source| {
            &values[..values.len().min(MOST_VALUES * usize::from(wanted.contains(source)))]
        };
        let authors =
            |values, source| looked_at(values, source).iter().map(|path| Author::read(path, suffixes)).collect();
        let domain = |name: &&'a [u8]| Domain::new(Host::read(name), suffixes);
        Box::new(Self {
            from: authors(headers.from, Source::From),
            reply_to: authors(headers.reply_to, Source::ReplyTo),
            list: headers.list_id.filter(|_| wanted.contains(Source::ListId)).and_then(List::read),
            dkim: looked_at(headers.dkim, Source::Dkim).iter().map(domain).collect(),
        })
    }

    /// The hosts of the authors.
    pub(super) fn authors(&self) -> impl Iterator<Item = &Host<'a>> {
        self.from.iter().filter_map(|author| match author {
            Author::Null => None,
            Author::Mailbox { domain, .. } => Some(domain.host()),
        })
    }

    /// The values of an identity, each once, in order.
    pub(super) fn all(&self, identity: Identity, form: As) -> Values<'_> {
        let author = |author| Author::value(author, identity, form);
        match identity.source() {
            Source::From => unique(self.from.iter().filter_map(author)),
            Source::ReplyTo => unique(self.reply_to.iter().filter_map(author)),
            Source::ListId => self.list.iter().map(|list| list.value(form)).collect(),
            Source::Dkim => unique(self.dkim.iter().map(|domain| Value::Name(named_part(domain, identity, form)))),
            _ => Values::new(),
        }
    }
}

impl<'a> Author<'a> {
    fn read(path: &'a [u8], suffixes: &SuffixList) -> Self {
        match Address::read(path) {
            Address::Null => Self::Null,
            Address::Mailbox(local, host) => Self::Mailbox { local, domain: Domain::new(host, suffixes) },
        }
    }

    /// As of a sender: a null address has an organisation, NULL, and nothing else.
    fn value(&self, identity: Identity, form: As) -> Option<Value<'_>> {
        match (self, identity) {
            (Self::Null, Identity::FromOrg | Identity::ReplyToOrg) => Some(Value::Name(Part::Tag(Tag::Null))),
            (Self::Null, _) => None,
            (Self::Mailbox { local, domain }, _) if identity.is_address() => Some(mailbox(local, domain.host(), form)),
            (Self::Mailbox { domain, .. }, Identity::FromHost) => Some(Value::Name(host_part(domain.host(), form))),
            (Self::Mailbox { domain, .. }, _) => Some(Value::Name(named_part(domain, identity, form))),
        }
    }
}

impl<'a> List<'a> {
    fn read(field: &'a [u8]) -> Option<Self> {
        let raw = bracketed(field);
        (!raw.is_empty()).then(|| Self { raw, text: fold(Cow::Borrowed(raw)) })
    }

    fn value(&self, form: As) -> Value<'_> {
        Value::Name(match &self.text {
            Some(text) if text.len() <= LONGEST_LIST => Part::Text(text),
            _ if form == As::Element => Part::Raw(self.raw),
            Some(_) => Part::Tag(Tag::Overlong),
            None => Part::Tag(Tag::Malformed),
        })
    }
}

/// What stands in the last brackets, before which there may be a phrase; all of it when there are none (RFC 2919 §3).
pub(super) fn bracketed(field: &[u8]) -> &[u8] {
    let inside = field.iter().rposition(|octet| *octet == b'<').map_or(field, |open| &field[open + 1..]);
    inside.split(|octet| *octet == b'>').next().unwrap_or(inside).trim_ascii()
}
