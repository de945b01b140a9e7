//! The identities of one envelope: what each holds, and how far it is proven.
//!
//! Knows no keys and no limits. Invariant: every identity that is wanted and whose field is known has a value, whatever
//! the bytes.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::IpAddr;

use smallvec::SmallVec;

use super::address::{Address, Local, fold};
use super::host::{Form, Host};
use super::suffix::{Domain, RUNGS, SuffixList};
use super::value::{Part, Tag, Trust, Value};
use super::{Identity, Source, Sources, Stage};
use super::{network, plain};
use crate::envelope::{Envelope, Headers, Spf};

/// Values of one identity: nearly always one.
pub type Values<'a> = SmallVec<[Value<'a>; 1]>;

/// Recipients up to here are compared one by one; more of them, in a set.
const FEW: usize = 16;

/// The identities of one envelope, as far as they were wanted.
#[derive(Debug, Default)]
pub struct Identities<'a> {
    /// The outer option: wanted. The inner: it is an address.
    client: Option<Option<IpAddr>>,
    client_name: Option<Domain<'a>>,
    helo: Option<Domain<'a>>,
    /// The inner option: text.
    user: Option<Option<Cow<'a, str>>>,
    sender: Option<Sender<'a>>,
    rcpt: SmallVec<[Rcpt<'a>; 1]>,
    said: Option<Box<HeaderIdentities<'a>>>,
    global: bool,
}

#[derive(Debug)]
enum Sender<'a> {
    Null,
    Mailbox { local: Local<'a>, domain: Domain<'a>, class: Trust, is_plain: bool },
}

#[derive(Debug)]
enum Rcpt<'a> {
    Null,
    Mailbox { local: Local<'a>, host: Host<'a> },
}

/// Whether values are asked for, or elements of a fan-out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum As {
    Value,
    Element,
}

impl<'a> Identities<'a> {
    /// Reads what `wanted` names, and nothing else of the envelope but what the sender's class needs.
    pub fn read(envelope: &Envelope<'a>, suffixes: &SuffixList, wanted: Sources) -> Self {
        let mut read = Self::default();
        read.fill(envelope, suffixes, wanted);
        read
    }

    /// Reads into `self`, which is empty. A new value is too big to be moved; inlined, the compiler knows that nothing
    /// has to be dropped.
    #[inline(always)]
    pub(crate) fn fill(&mut self, envelope: &Envelope<'a>, suffixes: &SuffixList, wanted: Sources) {
        let has = |source| wanted.contains(source);
        let domain = |host| Domain::new(host, suffixes);
        self.global = has(Source::Nothing);
        if has(Source::ClientIp) {
            self.client = Some(envelope.client_ip.and_then(network::address));
        }
        if has(Source::ClientName) || has(Source::Sender) {
            self.client_name = envelope.client_name.and_then(confirmed).map(domain);
        }
        if has(Source::Helo) {
            let helo = envelope.helo.filter(|name| !name.trim_ascii().is_empty());
            self.helo = helo.map(|name| domain(Host::read(name)));
        }
        if has(Source::AuthUser) {
            let user = envelope.auth_user.filter(|user| !user.is_empty());
            self.user = user.map(|user| fold(Cow::Borrowed(user)));
        }
        if has(Source::Sender) {
            if let Some(path) = envelope.mail_from {
                let client = self.client_name.as_ref();
                self.sender = Some(Sender::read(path, envelope.spf, client, suffixes));
            }
        }
        if !has(Source::ClientName) {
            self.client_name = None;
        }
        if has(Source::Rcpt) {
            self.rcpt.reserve(envelope.rcpt_to.len());
            for path in envelope.rcpt_to {
                self.rcpt.push(Rcpt::read(path));
            }
        }
        if let Some(headers) = envelope.headers.filter(|_| wanted.iter().any(|source| source.stage() == Stage::Data)) {
            self.said = Some(HeaderIdentities::read(headers, suffixes, wanted));
        }
    }

    /// How far an identity of this envelope is proven. An identity that cannot be forged counts as proven.
    pub fn trust(&self, identity: Identity) -> Trust {
        match (identity.source(), &self.sender) {
            (source, _) if source.is_mere_claim() => Trust::Claimed,
            (Source::Sender, Some(Sender::Mailbox { class, .. })) => *class,
            (Source::Sender, _) => Trust::Claimed,
            _ => Trust::Proven,
        }
    }

    /// Whether any identity may have more than one value in this envelope.
    #[inline]
    pub fn may_have_several(&self) -> bool {
        self.rcpt.len() > 1 || self.said.is_some()
    }

    /// Whether it may have more than one value in this envelope: else [`Identities::value`] is all of them.
    #[inline]
    pub fn has_several(&self, identity: Identity) -> bool {
        identity.has_many() && (self.rcpt.len() > 1 || self.said.is_some())
    }

    /// The value of an identity that has one at most ([`Identity::has_many`]): nothing when it is absent or was not
    /// wanted.
    #[inline]
    pub fn value(&self, identity: Identity) -> Option<Value<'_>> {
        self.one(identity, As::Value)
    }

    /// What `use_it` makes of the value of an identity with this source.
    #[inline(always)]
    pub(crate) fn map_value<'s, R>(
        &'s self,
        (source, identity): (Source, Identity),
        use_it: impl FnOnce(Value<'s>) -> R,
    ) -> Option<R> {
        self.map_one((source, identity), As::Value, use_it)
    }

    /// The same as an element of a fan-out.
    #[inline]
    pub fn element(&self, identity: Identity) -> Option<Value<'_>> {
        self.one(identity, As::Element)
    }

    /// The values of an identity: none when it is absent or was not wanted; several of recipients, of addresses in a
    /// header and of signatures, each once, in order.
    pub fn values(&self, identity: Identity) -> Values<'_> {
        self.all(identity, As::Value)
    }

    /// The same as elements of a fan-out: MALFORMED and OVERLONG parts count by their raw bytes.
    pub fn elements(&self, identity: Identity) -> Values<'_> {
        self.all(identity, As::Element)
    }

    /// The parts of the name of `host` between the value of `per` and the host itself, shallowest first (the ladder:
    /// `store/fan_out.rs`).
    pub fn ladder(&self, host: Identity, per: Identity) -> SmallVec<[&str; RUNGS]> {
        let Some(domain) = self.domain(host).filter(|_| per.is_part_of_host(host)) else { return SmallVec::new() };
        let above = match part_of(domain, per) {
            Part::Text(text) => text.len(),
            _ => 0,
        };
        domain.parts(above)
    }

    /// Every identity without parameters that is present, as text.
    pub fn named(&self) -> Vec<(Identity, Vec<String>)> {
        let texts = |identity| self.values(identity).iter().map(Value::to_string).collect::<Vec<_>>();
        let all = Identity::PLAIN.iter().map(|identity| (*identity, texts(*identity)));
        all.filter(|(_, texts)| !texts.is_empty()).collect()
    }

    /// The client's address, if it has one.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.client.flatten()
    }

    /// The names of which trailing parts can be listed, as far as they are sound, each with [`Host::dots`]. An address
    /// has none.
    pub(super) fn hosts(&self, host: Identity) -> SmallVec<[(&str, u64); 1]> {
        fn name<'b>(host: &'b Host<'_>) -> Option<(&'b str, u64)> {
            let is_name = matches!(host.form(), Form::Sound | Form::Unsound { .. });
            is_name.then(|| (host.name(), host.dots()))
        }
        match host {
            Identity::RcptHost => {
                let mailboxes = self.rcpt.iter().filter_map(|rcpt| match rcpt {
                    Rcpt::Mailbox { host, .. } => name(host),
                    Rcpt::Null => None,
                });
                mailboxes.collect()
            }
            Identity::FromHost => self.said.iter().flat_map(|said| said.authors()).filter_map(name).collect(),
            _ => self.domain(host).and_then(|domain| name(domain.host())).into_iter().collect(),
        }
    }

    fn all(&self, identity: Identity, form: As) -> Values<'_> {
        if identity.has_many() {
            match identity.source() {
                Source::Rcpt if self.rcpt.len() < 2 => {}
                Source::Rcpt => return self.all_recipients(identity, form),
                _ => return self.said(identity, form),
            }
        }
        self.one(identity, form).map_or_else(Values::new, |value| Values::from_buf([value]))
    }

    /// What the header says.
    fn said(&self, identity: Identity, form: As) -> Values<'_> {
        self.said.as_ref().map_or_else(Values::new, |said| said.all(identity, form))
    }

    /// The only value, or of several the first.
    fn one(&self, identity: Identity, form: As) -> Option<Value<'_>> {
        self.map_one((identity.source(), identity), form, |value| value)
    }

    /// What `use_it` makes of the only value, or of several the first.
    #[inline(always)]
    fn map_one<'s, R>(
        &'s self,
        (source, identity): (Source, Identity),
        form: As,
        use_it: impl FnOnce(Value<'s>) -> R,
    ) -> Option<R> {
        match (source, &self.sender) {
            (Source::ClientIp, _) => self.client.map(|address| use_it(client(identity, address))),
            (Source::Sender, Some(Sender::Mailbox { domain, .. })) if identity != Identity::SenderAddress => {
                Some(use_it(Value::Name(named_part(domain, identity, form))))
            }
            _ => self.other_one(identity, form).map(use_it),
        }
    }

    /// The only value of what few limits need. Not inlined: the common identities would pay for its registers.
    #[inline(never)]
    fn other_one(&self, identity: Identity, form: As) -> Option<Value<'_>> {
        match identity.source() {
            Source::Nothing => self.global.then_some(Value::Global),
            Source::ClientIp => self.client.map(|address| client(identity, address)),
            Source::AuthUser => self.user.as_ref().map(|user| Value::Name(part(user))),
            Source::Rcpt => self.rcpt.first().map(|rcpt| rcpt.value(identity, form)),
            Source::From | Source::ReplyTo | Source::ListId | Source::Dkim => {
                self.said.as_ref().and_then(|said| said.all(identity, form).first().copied())
            }
            Source::Sender => match (&self.sender, identity) {
                (Some(Sender::Mailbox { local, domain, .. }), Identity::SenderAddress) => {
                    Some(mailbox(local, domain.host(), form))
                }
                (Some(Sender::Null), Identity::SenderOrg(0)) => Some(Value::Name(Part::Tag(Tag::Null))),
                _ => None,
            },
            Source::ClientName | Source::Helo => {
                self.domain(identity).map(|domain| Value::Name(named_part(domain, identity, form)))
            }
        }
    }

    /// The domain that a host or an organisation is taken of.
    fn domain(&self, identity: Identity) -> Option<&Domain<'a>> {
        match identity {
            Identity::ClientHost | Identity::ClientOrg => self.client_name.as_ref(),
            Identity::HeloHost | Identity::HeloOrg => self.helo.as_ref(),
            Identity::SenderHost | Identity::SenderOrg(_) | Identity::SenderRegistered => match &self.sender {
                Some(Sender::Mailbox { domain, .. }) => Some(domain),
                _ => None,
            },
            _ => None,
        }
    }

    fn all_recipients(&self, identity: Identity, form: As) -> Values<'_> {
        let values = self.rcpt.iter().map(|rcpt| rcpt.value(identity, form));
        if self.rcpt.len() > FEW {
            let mut seen = HashSet::with_capacity(self.rcpt.len());
            return values.filter(|value| seen.insert(*value)).collect();
        }
        unique(values)
    }
}

/// Each once, in order: of few values.
pub(super) fn unique<'b>(values: impl Iterator<Item = Value<'b>>) -> Values<'b> {
    let mut unique = Values::new();
    for value in values {
        if !unique.contains(&value) {
            unique.push(value);
        }
    }
    unique
}

impl<'a> Sender<'a> {
    #[inline(always)]
    fn read(path: &'a [u8], spf: Option<Spf>, client: Option<&Domain<'_>>, suffixes: &SuffixList) -> Self {
        match plain::mailbox(path) {
            Some((local, host)) => {
                let domain = Domain::plain(host, suffixes);
                let class = class(&domain, spf, client);
                Self::Mailbox { local: Local::plain(local), domain, class, is_plain: true }
            }
            None => Self::read_any(path, spf, client, suffixes),
        }
    }

    #[inline(never)]
    fn read_any(path: &'a [u8], spf: Option<Spf>, client: Option<&Domain<'_>>, suffixes: &SuffixList) -> Self {
        match Address::read(path) {
            Address::Null => Self::Null,
            Address::Mailbox(local, host) => {
                let domain = Domain::new(host, suffixes);
                let class = class(&domain, spf, client);
                Self::Mailbox { local, domain, class, is_plain: false }
            }
        }
    }
}

impl<'a> Rcpt<'a> {
    #[inline(always)]
    fn read(path: &'a [u8]) -> Self {
        match plain::mailbox(path) {
            Some((local, host)) => Self::Mailbox { local: Local::plain(local), host: Host::plain(host) },
            None => Self::read_any(path),
        }
    }

    #[inline(never)]
    fn read_any(path: &'a [u8]) -> Self {
        match Address::read(path) {
            Address::Null => Self::Null,
            Address::Mailbox(local, host) => Self::Mailbox { local, host },
        }
    }

    fn value(&self, identity: Identity, form: As) -> Value<'_> {
        match self {
            Self::Null => Value::Name(Part::Tag(Tag::Null)),
            Self::Mailbox { local, host } if identity == Identity::RcptAddress => mailbox(local, host, form),
            Self::Mailbox { host, .. } => Value::Name(host_part(host, form)),
        }
    }
}

/// A sender is proven when SPF passed, or when the organisation of the forward-confirmed client name is the sender's;
/// never against `spf="fail"`. A tag has no owner who could stand behind it, whatever the verdict; and nobody runs a
/// client whose name is a bare suffix, so equal names without an organisation align nothing.
#[inline]
fn class(sender: &Domain<'_>, spf: Option<Spf>, client: Option<&Domain<'_>>) -> Trust {
    let is_proven = match (spf, client) {
        (Some(Spf::Pass), _) => matches!(sender.org(0), Part::Text(_)),
        (Some(Spf::Silent) | None, Some(client)) => sender.owner().is_some_and(|owner| client.owner() == Some(owner)),
        _ => false,
    };
    if is_proven { Trust::Proven } else { Trust::Claimed }
}

/// The forward-confirmed name of a client. Servers write `unknown`, nothing, or the address in brackets when there is
/// none.
fn confirmed(name: &[u8]) -> Option<Host<'_>> {
    let text = name.trim_ascii();
    if text.is_empty() || text.eq_ignore_ascii_case(b"unknown") {
        return None;
    }
    Some(Host::read(name)).filter(|host| host.form() != Form::Literal)
}

fn client(identity: Identity, address: Option<IpAddr>) -> Value<'static> {
    match (address, identity) {
        (None, _) => Value::Name(Part::Tag(Tag::Unknown)),
        (Some(address), Identity::ClientNet(prefixes)) => network::network(address, prefixes),
        (Some(address), _) => network::alone(address),
    }
}

fn part<'b>(user: &'b Option<Cow<'_, str>>) -> Part<'b> {
    user.as_deref().map_or(Part::Tag(Tag::Malformed), Part::Text)
}

pub(super) fn mailbox<'b>(local: &'b Local<'_>, host: &'b Host<'_>, form: As) -> Value<'b> {
    let local = if form == As::Element { local.element() } else { local.part() };
    Value::Address(local, host_part(host, form))
}

pub(super) fn host_part<'b>(host: &'b Host<'_>, form: As) -> Part<'b> {
    if form == As::Element { host.element() } else { host.part() }
}

/// What an identity takes of its domain.
#[inline(always)]
fn part_of<'b>(domain: &'b Domain<'_>, identity: Identity) -> Part<'b> {
    match identity {
        Identity::ClientOrg | Identity::HeloOrg | Identity::FromOrg | Identity::ReplyToOrg | Identity::DkimOrg => {
            domain.org(0)
        }
        Identity::SenderOrg(more) => domain.org(more),
        Identity::SenderRegistered => domain.registered(),
        _ => domain.host().part(),
    }
}

/// The part of a name that an identity shows. Junk without an organisation is its own element.
#[inline(always)]
pub(super) fn named_part<'b>(domain: &'b Domain<'_>, identity: Identity, form: As) -> Part<'b> {
    match part_of(domain, identity) {
        Part::Tag(Tag::Malformed | Tag::Overlong) if form == As::Element => domain.host().element(),
        part => part,
    }
}

/// Shortcuts for prepare, which compares and hashes most values once.
impl Identities<'_> {
    /// Whether the sender is in its normal form, so that each value of it is its element too.
    #[inline]
    pub(crate) fn is_sender_plain(&self) -> bool {
        matches!(&self.sender, Some(Sender::Mailbox { is_plain: true, .. }))
    }

    /// Whether [`Identities::ladder`] may have parts.
    #[inline]
    pub(crate) fn may_have_parts(&self, host: Identity) -> bool {
        self.domain(host).is_some_and(Domain::may_have_parts)
    }

    /// Whether `sender.org` and `sender.registered` are the same text.
    #[inline]
    pub(crate) fn is_org_registered(&self) -> bool {
        matches!(&self.sender, Some(Sender::Mailbox { domain, .. }) if domain.is_org_registered())
    }

    /// How many recipients there are, duplicates included.
    #[inline]
    pub(crate) fn recipients(&self) -> usize {
        self.rcpt.len()
    }
}

// The identities of a message's header. `header_parser` finds the fields.

/// Values of one field that are looked at: so many are checked, and all must agree.
pub const MOST_VALUES: usize = 8;

/// Bytes of a list's name (RFC 2919 §3).
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
