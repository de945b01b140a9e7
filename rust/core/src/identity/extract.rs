//! The identities of one envelope: what each holds, and how far it is proven.
//!
//! Knows no keys and no limits. Invariant: every identity that is wanted and whose field is known has a value, whatever
//! the bytes. Exceptions: a client name that is not confirmed, a blank HELO, an empty user or list, and `<>`, which as
//! a sender or in a header has an organisation and nothing else.

use std::borrow::Cow;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};

use smallvec::SmallVec;

use super::address::{Address, Folded};
use super::header_address::{MOST_VALUES, Mailbox, Mailboxes};
use super::host::{Form, Host};
use super::suffix::{Domain, RUNGS, SuffixList};
use super::value::{As, Part, SenderKind, Tag, Trust, Value};
use super::{Identity, Source, Sources, Stage, freemail, network, plain};
use crate::envelope::{Envelope, Headers, Spf};

/// Values of one identity: nearly always one.
pub type Values<'a> = SmallVec<[Value<'a>; 1]>;

/// Fewer values are compared one by one; from here on they are put into a set.
const FEW: usize = 16;

/// Bytes of a list's name (RFC 2919 §3).
const LONGEST_LIST: usize = 255;

/// The identities of one envelope, as far as they were wanted.
#[derive(Debug, Default)]
pub struct Identities<'a> {
    /// The outer option: wanted. The inner: it is an address.
    client: Option<Option<IpAddr>>,
    client_name: Option<Domain<'a>>,
    helo: Option<Domain<'a>>,
    user: Option<Folded<'a>>,
    sender: Option<Address<'a, Domain<'a>>>,
    sender_trust: Trust,
    /// Whether the server has an SPF verdict for the sender.
    is_spf_checked: bool,
    rcpt: SmallVec<[Address<'a, Host<'a>>; 1]>,
    header: Option<Box<HeaderIdentities<'a>>>,
    global: bool,
}

/// The addresses of a header field; `None` for MANY.
type Authors<'a> = Option<SmallVec<[Address<'a, Domain<'a>>; 1]>>;

/// The identities of a message's header, as far as they were wanted. Most envelopes have none, so they are stored
/// apart. `header_parser` finds the fields, and `header_address` the addresses.
#[derive(Debug)]
struct HeaderIdentities<'a> {
    from: Authors<'a>,
    reply_to: Authors<'a>,
    list: Option<Folded<'a>>,
    dkim: SmallVec<[Domain<'a>; 1]>,
}

impl<'a> Identities<'a> {
    /// Reads what `wanted` names and what the trust of the sender needs, and nothing else of the envelope.
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
            self.user = user.map(|user| Folded::read(user, usize::MAX));
        }
        if has(Source::Sender) {
            self.sender = envelope.mail_from.map(|path| Address::read(path, domain));
            let sender = self.sender.as_ref().and_then(Address::host);
            let trust = |sender| sender_trust(sender, envelope.spf, self.client_name.as_ref());
            self.sender_trust = sender.map_or(Trust::Claimed, trust);
            self.is_spf_checked = !matches!(envelope.spf, None | Some(Spf::Unchecked));
        }
        if !has(Source::ClientName) {
            self.client_name = None;
        }
        if has(Source::Rcpt) {
            self.rcpt.reserve(envelope.rcpt_to.len());
            for path in envelope.rcpt_to {
                self.rcpt.push(Address::read(path, |host| host));
            }
        }
        if let Some(headers) = envelope.headers.filter(|_| wanted.iter().any(|source| source.stage() == Stage::Data)) {
            self.header = Some(HeaderIdentities::read(headers, suffixes, wanted));
        }
    }

    /// How far an identity of this envelope is proven. An identity that cannot be forged counts as proven.
    pub fn trust(&self, identity: Identity) -> Trust {
        identity.source().trust(self.sender_trust)
    }

    /// The kind of sender, which decides whether limits with `verified` count the message.
    pub fn sender_kind(&self) -> SenderKind {
        match self.sender_trust {
            Trust::Proven | Trust::Named => SenderKind::Proven,
            Trust::Claimed if self.is_spf_checked => SenderKind::Unproven,
            Trust::Claimed => SenderKind::Unchecked,
        }
    }

    /// Whether any identity may have more than one value in this envelope.
    pub fn may_have_several(&self) -> bool {
        self.rcpt.len() > 1 || self.header.is_some()
    }

    /// The value of an identity, or the first of several; `None` when it is absent or was not wanted.
    pub fn value(&self, identity: Identity) -> Option<Value<'_>> {
        self.one(identity, As::Value)
    }

    /// The `nth` value of an identity, or its first one if it has no `nth`.
    pub fn nth(&self, identity: Identity, nth: u32) -> Option<Value<'_>> {
        if nth == 0 {
            return self.value(identity);
        }
        let values = self.values(identity);
        values.get(nth as usize).or(values.first()).copied()
    }

    /// The values of an identity: none when it is absent or was not wanted; several of recipients, of addresses in a
    /// header and of signatures, each once, in order.
    pub fn values(&self, identity: Identity) -> Values<'_> {
        self.all(identity, As::Value)
    }

    /// The values of an identity as elements of a fan-out: MALFORMED and OVERLONG parts count by their raw bytes,
    /// except in `auth.user`, where the tag is the element.
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

    /// The hosts whose trailing parts can be listed, as far as they are sound, each with its dots. An address has none.
    pub(super) fn hosts(&self, identity: Identity) -> SmallVec<[(&str, u64); 1]> {
        let hosts: SmallVec<[&Host<'a>; 1]> = match (identity.source(), &self.header) {
            (Source::Rcpt, _) => self.rcpt.iter().filter_map(Address::host).collect(),
            (Source::From, Some(header)) => {
                let from = header.from.iter().flatten();
                from.filter_map(Address::host).map(|domain| &domain.host).collect()
            }
            _ => self.domain(identity).map(|domain| &domain.host).into_iter().collect(),
        };
        let named = hosts.into_iter().filter(|host| matches!(host.form, Form::Sound | Form::Unsound { .. }));
        named.map(|host| (host.name(), host.dots)).collect()
    }

    fn all(&self, identity: Identity, form: As) -> Values<'_> {
        match (identity.source(), &self.header) {
            (Source::Rcpt, _) => unique(self.rcpt.iter().map(|rcpt| recipient(rcpt, identity, form))),
            (Source::From | Source::ReplyTo | Source::Reply | Source::ListId | Source::Dkim, header) => {
                let sender = self.sender.as_ref().and_then(Address::host).and_then(Domain::owner);
                header.as_ref().map_or_else(Values::new, |header| header.all(identity, form, sender))
            }
            _ => self.one(identity, form).into_iter().collect(),
        }
    }

    /// The identity's first value; `None` when there is none.
    #[inline(never)]
    fn one(&self, identity: Identity, form: As) -> Option<Value<'_>> {
        match identity.source() {
            Source::Nothing => self.global.then_some(Value::Global),
            Source::ClientIp => self.client.map(|address| client(identity, address)),
            Source::AuthUser => self.user.as_ref().map(|user| Value::Name(user.part(As::Value))),
            Source::Rcpt => self.rcpt.first().map(|rcpt| recipient(rcpt, identity, form)),
            Source::From | Source::ReplyTo | Source::Reply | Source::ListId | Source::Dkim => {
                self.all(identity, form).first().copied()
            }
            Source::Sender => self.sender.as_ref().and_then(|sender| author(sender, identity, form)),
            Source::ClientName | Source::Helo => {
                self.domain(identity).map(|domain| Value::Name(named_part(domain, identity, form)))
            }
        }
    }

    /// The domain of the client, of HELO or of the sender.
    fn domain(&self, identity: Identity) -> Option<&Domain<'a>> {
        match identity.source() {
            Source::ClientName => self.client_name.as_ref(),
            Source::Helo => self.helo.as_ref(),
            Source::Sender => self.sender.as_ref().and_then(Address::host),
            _ => None,
        }
    }
}

/// Shortcuts for prepare, which compares and hashes most values once.
impl Identities<'_> {
    /// The name that an identity of the sender shows, if that is the end of a sound name.
    #[inline(always)]
    pub(crate) fn sender_name(&self, identity: Identity) -> Option<&str> {
        let Some(Address::Mailbox(_, domain)) = &self.sender else { return None };
        domain.sound_part(identity)
    }

    /// Whether the one value of everything is there.
    #[inline(always)]
    pub(crate) fn has_global(&self) -> bool {
        self.global
    }

    /// The client's network under an identity, if its address is one of IPv4.
    #[inline(always)]
    pub(crate) fn client_v4(&self, identity: Identity) -> Option<(Ipv4Addr, u8)> {
        let Some(Some(IpAddr::V4(address))) = self.client else { return None };
        let prefix = if let Identity::ClientNet(prefixes) = identity { prefixes.v4 } else { 32 };
        Some(network::v4(address, prefix))
    }

    /// Whether the client's address is one of IPv4.
    #[inline(always)]
    pub(crate) fn has_client_v4(&self) -> bool {
        matches!(self.client, Some(Some(IpAddr::V4(_))))
    }

    /// Local part and host of the first recipient, if they have a normal form.
    #[inline(always)]
    pub(crate) fn first_recipient(&self) -> Option<(&str, &str)> {
        let Some(Address::Mailbox(local, host)) = self.rcpt.first() else { return None };
        if host.form == Form::Sound { Some((local.plain_text()?, host.name())) } else { None }
    }

    /// Whether the sender has a normal form, so that each value of it is its element too.
    pub(crate) fn is_sender_plain(&self) -> bool {
        matches!(&self.sender, Some(Address::Mailbox(local, domain)) if local.is_plain() && domain.host.is_plain())
    }

    /// Whether there is no sender: a bounce is in nobody's name.
    pub(crate) fn is_bounce(&self) -> bool {
        matches!(self.sender, Some(Address::Null))
    }

    /// Whether the `nth` value of an identity is an address in the sender's organisation.
    pub(crate) fn is_aligned(&self, identity: Identity, nth: u32) -> bool {
        let org = self.domain(Identity::SenderHost).and_then(Domain::owner);
        let Some(Value::Address(_, Part::Text(host))) = self.nth(identity, nth) else { return false };
        // A mailbox is folded to the provider's first name.
        if org.is_some_and(|org| freemail::mailbox("x", org).is_some_and(|(_, name)| name == host)) {
            return true;
        }
        org.and_then(|org| host.strip_suffix(org)).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }

    /// Whether [`Identities::ladder`] may have parts.
    pub(crate) fn may_have_parts(&self, host: Identity) -> bool {
        self.domain(host).is_some_and(Domain::may_have_parts)
    }

    /// Whether `name`, a trailing part of the sender's host, is the value of `sender.org`.
    pub(crate) fn has_org(&self, name: &str) -> bool {
        self.domain(Identity::SenderHost).and_then(Domain::owner).is_some_and(|org| org.len() == name.len())
    }

    /// Whether `sender.org` and `sender.registered` are the same text.
    pub(crate) fn is_org_registered(&self) -> bool {
        matches!(&self.sender, Some(Address::Mailbox(_, domain)) if domain.is_org_registered())
    }

    /// How many recipients there are, duplicates included.
    pub(crate) fn recipients(&self) -> usize {
        self.rcpt.len()
    }
}

impl<'a> HeaderIdentities<'a> {
    fn read(headers: &Headers<'a>, suffixes: &SuffixList, wanted: Sources) -> Box<Self> {
        let domain = |host| Domain::new(host, suffixes);
        let has = |source| wanted.contains(source);
        let authors = |fields, is_wanted: bool| if is_wanted { read_authors(fields, suffixes) } else { no_authors() };
        let dkim = &headers.dkim[..headers.dkim.len().min(MOST_VALUES * usize::from(has(Source::Dkim)))];
        let list = headers.list_id.filter(|_| wanted.contains(Source::ListId)).map(bracketed);
        Box::new(Self {
            from: authors(headers.from, has(Source::From) || has(Source::Reply)),
            reply_to: authors(headers.reply_to, has(Source::ReplyTo) || has(Source::Reply)),
            list: list.filter(|name| !name.is_empty()).map(|name| Folded::read(name, LONGEST_LIST)),
            dkim: dkim.iter().map(|name| domain(Host::read(name))).collect(),
        })
    }

    /// The values of an identity, each once, in order. `sender` is the sender's organisation, if it has one.
    fn all(&self, identity: Identity, form: As, sender: Option<&str>) -> Values<'_> {
        match identity.source() {
            Source::From => authors(&self.from, |from| author(from, identity, form)),
            Source::ReplyTo => authors(&self.reply_to, |to| author(to, identity, form)),
            // Without a Reply-To answers go to From (RFC 5322 §3.6.2).
            Source::Reply => {
                let is_absent = self.reply_to.as_ref().is_some_and(SmallVec::is_empty);
                let readers = if is_absent { &self.from } else { &self.reply_to };
                let is_unaligned = |reader: &Address<'_, Domain<'_>>| {
                    sender.is_some_and(|sender| reader.host().and_then(Domain::owner) != Some(sender))
                };
                authors(readers, |reader| {
                    let counts = identity != Identity::ReplyToUnaligned || is_unaligned(reader);
                    if counts { reader_of(reader, form) } else { None }
                })
            }
            Source::ListId => self.list.iter().map(|list| Value::Name(list.part(form))).collect(),
            _ => unique(self.dkim.iter().map(|domain| Value::Name(named_part(domain, identity, form)))),
        }
    }
}

/// No address, because no field is known or none is wanted.
fn no_authors<'a>() -> Authors<'a> {
    Some(SmallVec::new())
}

/// The addresses of the fields of one name, in their normal form.
fn read_authors<'a>(fields: &'a [&'a [u8]], suffixes: &SuffixList) -> Authors<'a> {
    if let [field] = fields {
        // Nearly always there is one address, and it is in its normal form.
        if let Some((local, host)) = plain::mailbox(field).filter(|(local, _)| !local.contains('@')) {
            return Some(SmallVec::from_buf([spelled(Folded::plain(local), Host::plain(host), suffixes)]));
        }
    }
    mailboxes(fields).map(|all| all.into_iter().map(|mailbox| author_of(mailbox, suffixes)).collect())
}

/// The addresses of all fields of one name. Most have one address in its normal form, which needs no reader.
fn mailboxes<'a>(fields: &[&'a [u8]]) -> Option<SmallVec<[Mailbox<'a>; 1]>> {
    let mut all = Mailboxes::default();
    for field in fields {
        match plain::mailbox(field) {
            Some((local, host)) if !local.contains('@') => all.add_plain(local.as_bytes(), host.name.as_bytes()),
            _ => all.read(field),
        }
    }
    all.all()
}

/// An address of a header in its normal form.
fn author_of<'a>(mailbox: Mailbox<'a>, suffixes: &SuffixList) -> Address<'a, Domain<'a>> {
    let Mailbox { local, host, raw: [raw_local, raw_host] } = mailbox;
    let host = match host {
        Cow::Borrowed(text) => Host::read(text),
        Cow::Owned(text) => Host::written(raw_host, &text),
    };
    spelled(Folded::unquoted(raw_local, local), host, suffixes)
}

/// An address of a header: spellings of one mailbox at a provider are one, as they are not in a return path.
fn spelled<'a>(mut local: Folded<'a>, mut host: Host<'a>, suffixes: &SuffixList) -> Address<'a, Domain<'a>> {
    let spelling = local.text().filter(|_| host.form == Form::Sound).and_then(|local| {
        let (local, name) = freemail::mailbox(local, host.name())?;
        Some((local.into_owned(), name))
    });
    if let Some((text, name)) = spelling {
        local.respelled(text.into());
        host.renamed(name);
    }
    Address::Mailbox(local, Domain::new(host, suffixes))
}

/// The values of addresses, each once, in order.
fn authors<'b, 'a>(
    all: &'b Authors<'a>, value: impl Fn(&'b Address<'a, Domain<'a>>) -> Option<Value<'b>>,
) -> Values<'b> {
    let many = || Values::from_iter([Value::Name(Part::Tag(Tag::Many))]);
    all.as_ref().map_or_else(many, |all| unique(all.iter().filter_map(value)))
}

/// Who reads the mail for an address: one user of a provider, or the owner of the domain.
fn reader_of<'b>(address: &'b Address<'_, Domain<'_>>, form: As) -> Option<Value<'b>> {
    match address {
        Address::Mailbox(_, domain) if domain.host.form == Form::Sound && freemail::is_provider(domain.host.name()) => {
            author(address, Identity::ReplyToAddress, form)
        }
        _ => author(address, Identity::ReplyToOrg, form),
    }
}

/// Each value once, in order.
fn unique<'b>(values: impl Iterator<Item = Value<'b>>) -> Values<'b> {
    if let Some(most @ FEW..) = values.size_hint().1 {
        let mut seen = HashSet::with_capacity(most);
        return values.filter(|value| seen.insert(*value)).collect();
    }
    let mut unique = Values::new();
    for value in values {
        if !unique.contains(&value) {
            unique.push(value);
        }
    }
    unique
}

/// What an identity shows of a sender, or of an address in a header. A null sender has an organisation, NULL, and
/// nothing else.
fn author<'b>(address: &'b Address<'_, Domain<'_>>, identity: Identity, form: As) -> Option<Value<'b>> {
    match address {
        Address::Null => (identity == Identity::SenderOrg(0)).then_some(Value::Name(Part::Tag(Tag::Null))),
        Address::Mailbox(local, domain) if identity.is_address() => {
            Some(Value::Address(local.part(form), domain.host.part(form)))
        }
        Address::Mailbox(_, domain) => Some(Value::Name(named_part(domain, identity, form))),
    }
}

/// What an identity shows of a recipient.
fn recipient<'b>(address: &'b Address<'_, Host<'_>>, identity: Identity, form: As) -> Value<'b> {
    match address {
        Address::Null => Value::Name(Part::Tag(Tag::Null)),
        Address::Mailbox(local, host) if identity.is_address() => Value::Address(local.part(form), host.part(form)),
        Address::Mailbox(_, host) => Value::Name(host.part(form)),
    }
}

/// A sender is proven when SPF passed, and named when the organisation of the forward-confirmed client name is the
/// sender's; neither against `spf="fail"`. A tag has no owner who could stand behind it, whatever the verdict; and a
/// name without an organisational domain never aligns.
fn sender_trust(sender: &Domain<'_>, spf: Option<Spf>, client: Option<&Domain<'_>>) -> Trust {
    let is_named = |client: &Domain<'_>| sender.owner().is_some_and(|owner| client.owner() == Some(owner));
    match (spf, client) {
        (Some(Spf::Pass), _) if matches!(sender.org(0), Part::Text(_)) => Trust::Proven,
        (Some(Spf::Silent | Spf::Unchecked) | None, Some(client)) if is_named(client) => Trust::Named,
        _ => Trust::Claimed,
    }
}

/// The forward-confirmed name of a client. Servers write `unknown`, nothing, or the address in brackets when there is
/// none.
fn confirmed(name: &[u8]) -> Option<Host<'_>> {
    let text = name.trim_ascii();
    if text.is_empty() || text.eq_ignore_ascii_case(b"unknown") {
        return None;
    }
    Some(Host::read(name)).filter(|host| host.form != Form::Literal)
}

fn client(identity: Identity, address: Option<IpAddr>) -> Value<'static> {
    match (address, identity) {
        (None, _) => Value::Name(Part::Tag(Tag::Unknown)),
        (Some(address), Identity::ClientNet(prefixes)) => network::network(address, prefixes),
        (Some(address), _) => Value::Network(address, if address.is_ipv4() { 32 } else { 128 }),
    }
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
        _ => domain.host.part(As::Value),
    }
}

/// The part of a name that an identity shows. Junk without an organisation is its own element.
#[inline(always)]
fn named_part<'b>(domain: &'b Domain<'_>, identity: Identity, form: As) -> Part<'b> {
    match part_of(domain, identity) {
        Part::Tag(Tag::Malformed | Tag::Overlong) if form == As::Element => domain.host.part(form),
        part => part,
    }
}

/// What stands in the last brackets, before which there may be a phrase; all of it when there are none (RFC 2919 §3).
pub(super) fn bracketed(field: &[u8]) -> &[u8] {
    let inside = field.iter().rposition(|byte| *byte == b'<').map_or(field, |open| &field[open + 1..]);
    inside.split(|byte| *byte == b'>').next().unwrap_or(inside).trim_ascii()
}
