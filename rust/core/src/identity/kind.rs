//! The names of identities: `client.net/24/48`, `sender.org+2`.
//!
//! Knows no values. Every name that is read prints as itself, but for the default prefixes, which print as `client.net`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::bitset::{Member, Set};

/// Prefix lengths of a client network, in bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefixes {
    /// IPv4, 0–32.
    pub v4: u8,
    /// IPv6, 0–128.
    pub v6: u8,
}

/// `client.net` without lengths: /24 and /64.
pub const DEFAULT_PREFIXES: Prefixes = Prefixes { v4: 24, v6: 64 };

/// The kind of an identity, as a policy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// `client.ip`
    ClientIp,
    /// `client.net`, `client.net/<v4>/<v6>`
    ClientNet(Prefixes),
    /// `client.host`
    ClientHost,
    /// `client.org`
    ClientOrg,
    /// `helo.host`
    HeloHost,
    /// `helo.org`
    HeloOrg,
    /// `auth.user`
    AuthUser,
    /// `sender.address`
    SenderAddress,
    /// `sender.host`
    SenderHost,
    /// `sender.org`, `sender.org+N`: the organisational domain with N more labels, N = 0–5.
    SenderOrg(u8),
    /// `sender.registered`
    SenderRegistered,
    /// `rcpt.address`
    RcptAddress,
    /// `rcpt.host`
    RcptHost,
    /// `from.address`
    FromAddress,
    /// `from.host`
    FromHost,
    /// `from.org`
    FromOrg,
    /// `reply_to.address`
    ReplyToAddress,
    /// `reply_to.org`
    ReplyToOrg,
    /// `list.id`
    ListId,
    /// `dkim.org`
    DkimOrg,
    /// `global`
    Global,
}

/// What of an envelope an identity is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// No field: `global`.
    Nothing,
    /// `client_ip`
    ClientIp,
    /// `client_name`
    ClientName,
    /// `helo`
    Helo,
    /// `auth_user`
    AuthUser,
    /// `mail_from`, with `spf` and `client_name` for its class.
    Sender,
    /// `rcpt_to`
    Rcpt,
    /// `header_from`
    From,
    /// `reply_to`
    ReplyTo,
    /// `list_id`
    ListId,
    /// `dkim`
    Dkim,
}

/// A set of sources: what a policy needs read, so that nothing else is.
pub type Sources = Set<Source>;

/// A name that no identity has.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no identity has this name")]
pub struct UnknownIdentity {
    /// The name of [`Identity::NAMES`] that was probably meant.
    pub nearest: Option<&'static str>,
}

/// More labels than this and a name of `sender.org+N` would be a host's.
const MOST_LABELS: u8 = 5;

/// A name further away than this many edits is not a misspelling of ours.
const MOST_EDITS: usize = 3;

impl Identity {
    /// Every name that a policy may use, as one writes it in a message.
    pub const NAMES: &[&str] = &[
        "client.ip",
        "client.net",
        "client.net/<v4>/<v6>",
        "client.host",
        "client.org",
        "helo.host",
        "helo.org",
        "auth.user",
        "sender.address",
        "sender.host",
        "sender.org",
        "sender.org+N",
        "sender.registered",
        "rcpt.address",
        "rcpt.host",
        "from.address",
        "from.host",
        "from.org",
        "reply_to.address",
        "reply_to.org",
        "list.id",
        "dkim.org",
        "global",
    ];

    /// Every identity without parameters.
    pub const PLAIN: &[Identity] = &[
        Self::ClientIp,
        Self::ClientNet(DEFAULT_PREFIXES),
        Self::ClientHost,
        Self::ClientOrg,
        Self::HeloHost,
        Self::HeloOrg,
        Self::AuthUser,
        Self::SenderAddress,
        Self::SenderHost,
        Self::SenderOrg(0),
        Self::SenderRegistered,
        Self::RcptAddress,
        Self::RcptHost,
        Self::FromAddress,
        Self::FromHost,
        Self::FromOrg,
        Self::ReplyToAddress,
        Self::ReplyToOrg,
        Self::ListId,
        Self::DkimOrg,
        Self::Global,
    ];

    /// What it is read from.
    pub fn source(self) -> Source {
        match self {
            Self::ClientIp | Self::ClientNet(_) => Source::ClientIp,
            Self::ClientHost | Self::ClientOrg => Source::ClientName,
            Self::HeloHost | Self::HeloOrg => Source::Helo,
            Self::AuthUser => Source::AuthUser,
            Self::SenderAddress | Self::SenderHost | Self::SenderOrg(_) | Self::SenderRegistered => Source::Sender,
            Self::RcptAddress | Self::RcptHost => Source::Rcpt,
            Self::FromAddress | Self::FromHost | Self::FromOrg => Source::From,
            Self::ReplyToAddress | Self::ReplyToOrg => Source::ReplyTo,
            Self::ListId => Source::ListId,
            Self::DkimOrg => Source::Dkim,
            Self::Global => Source::Nothing,
        }
    }

    /// Whether one envelope may hold several values of it.
    pub fn has_many(self) -> bool {
        matches!(self.source(), Source::Rcpt | Source::From | Source::ReplyTo | Source::Dkim)
    }

    /// Whether its values are names: two of such identities may have the same one.
    pub fn is_name(self) -> bool {
        !matches!(self, Self::ClientIp | Self::ClientNet(_) | Self::Global) && !self.is_address()
    }

    /// Whether its values are addresses: a local part and a host.
    pub fn is_address(self) -> bool {
        matches!(self, Self::SenderAddress | Self::RcptAddress | Self::FromAddress | Self::ReplyToAddress)
    }

    /// Whether it is a whole host.
    pub fn is_host(self) -> bool {
        matches!(self, Self::ClientHost | Self::HeloHost | Self::SenderHost | Self::RcptHost | Self::FromHost)
    }

    /// Whether its value is a trailing part of `host`'s, so that a ladder stands between the two.
    pub fn is_part_of_host(self, host: Identity) -> bool {
        matches!(
            (self, host),
            (Self::SenderOrg(_) | Self::SenderRegistered, Self::SenderHost)
                | (Self::ClientOrg, Self::ClientHost)
                | (Self::HeloOrg, Self::HeloHost)
        )
    }

    fn plain_name(self) -> &'static str {
        match self {
            Self::ClientIp => "client.ip",
            Self::ClientNet(_) => "client.net",
            Self::ClientHost => "client.host",
            Self::ClientOrg => "client.org",
            Self::HeloHost => "helo.host",
            Self::HeloOrg => "helo.org",
            Self::AuthUser => "auth.user",
            Self::SenderAddress => "sender.address",
            Self::SenderHost => "sender.host",
            Self::SenderOrg(_) => "sender.org",
            Self::SenderRegistered => "sender.registered",
            Self::RcptAddress => "rcpt.address",
            Self::RcptHost => "rcpt.host",
            Self::FromAddress => "from.address",
            Self::FromHost => "from.host",
            Self::FromOrg => "from.org",
            Self::ReplyToAddress => "reply_to.address",
            Self::ReplyToOrg => "reply_to.org",
            Self::ListId => "list.id",
            Self::DkimOrg => "dkim.org",
            Self::Global => "global",
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.plain_name())?;
        match self {
            Self::ClientNet(prefixes) if *prefixes != DEFAULT_PREFIXES => {
                write!(f, "/{}/{}", prefixes.v4, prefixes.v6)
            }
            Self::SenderOrg(labels) if *labels > 0 => write!(f, "+{labels}"),
            _ => Ok(()),
        }
    }
}

impl FromStr for Identity {
    type Err = UnknownIdentity;

    fn from_str(name: &str) -> Result<Self, UnknownIdentity> {
        let known = if let Some(lengths) = name.strip_prefix("client.net/") {
            prefixes(lengths).map(Self::ClientNet)
        } else if let Some(labels) = name.strip_prefix("sender.org+") {
            number(labels, MOST_LABELS).filter(|labels| *labels > 0).map(Self::SenderOrg)
        } else {
            Self::PLAIN.iter().copied().find(|identity| identity.plain_name() == name)
        };
        known.ok_or_else(|| UnknownIdentity { nearest: nearest(name) })
    }
}

fn prefixes(lengths: &str) -> Option<Prefixes> {
    let (v4, v6) = lengths.split_once('/')?;
    Some(Prefixes { v4: number(v4, 32)?, v6: number(v6, 128)? })
}

/// One spelling a number, so that equal identities have equal names: no sign, no leading zero.
fn number(digits: &str, most: u8) -> Option<u8> {
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    digits.parse().ok().filter(|number| canonical && *number <= most)
}

fn nearest(name: &str) -> Option<&'static str> {
    let stem = name.split(['/', '+']).next().unwrap_or(name);
    let wanted = match (stem, name.len() > stem.len()) {
        ("client.net", true) => return Some("client.net/<v4>/<v6>"),
        ("sender.org", true) => return Some("sender.org+N"),
        _ => stem.to_ascii_lowercase().replace(['_', ' ', '-'], ".").replacen("reply.to", "reply_to", 1),
    };
    Identity::PLAIN
        .iter()
        .map(|identity| identity.plain_name())
        .map(|known| (strsim::damerau_levenshtein(&wanted, known), known))
        .filter(|(edits, _)| *edits <= MOST_EDITS)
        .min()
        .map(|(_, known)| known)
}

impl Source {
    /// Whether anybody can write it, and nothing there is that could prove it.
    pub fn is_mere_claim(self) -> bool {
        matches!(self, Self::Helo | Self::From | Self::ReplyTo | Self::ListId)
    }
}

impl Source {
    /// Every source, in the order of the variants.
    pub const ALL: [Self; 11] = [
        Self::Nothing,
        Self::ClientIp,
        Self::ClientName,
        Self::Helo,
        Self::AuthUser,
        Self::Sender,
        Self::Rcpt,
        Self::From,
        Self::ReplyTo,
        Self::ListId,
        Self::Dkim,
    ];
}

impl Member for Source {
    const COUNT: u32 = Self::ALL.len() as u32;

    #[inline]
    fn place(self) -> u32 {
        self as u32
    }

    #[inline]
    fn at(place: u32) -> Self {
        Self::ALL[place as usize]
    }
}

impl Set<Source> {
    /// Whether it contains a source that is read from the message's header.
    #[inline]
    pub fn has_any_of_the_header(self) -> bool {
        [Source::From, Source::ReplyTo, Source::ListId, Source::Dkim].into_iter().any(|source| self.contains(source))
    }
}
