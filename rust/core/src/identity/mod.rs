//! Text in, normalised identities out. This file is the table of identities: the name, code, source and view of each,
//! and what follows from them.
//!
//! No text of a sender makes a function fail: text without a normal form gets a tag. Nothing here knows counts, limits
//! or memory.
//!
//! * [`value`]: what an identity can hold   * `network`, `host`, `address`: one grammar each
//! * `plain`: names that need no grammar   * [`suffix`]: the Public Suffix List, and where in a host its organisation
//!   begins
//! * [`extract`]: all identities of one envelope   * [`header_parser`]: the fields of a message's header
//! * [`header_address`]: the addresses of one field   * `freemail`: providers, and spellings of one mailbox there
//! * `field_pieces`: a field cut into words and signs   * `encoded_word`: what a quoted or an encoded word says
//! * [`authentication_results`]: what a border server wrote about a message
//! * [`parse_value`]: a value as an operator writes it, and what an access list entry of it covers
//!
//! To add an identity:
//!
//! 1. add its row to the table below, with the next free code;
//! 2. where its source is new, add the source to [`Source`], and read it in `extract.rs`;
//! 3. where its view is new, add the view to [`View`], and extract it in `suffix.rs`, `address.rs` or `extract.rs`;
//! 4. where operators may list values of it, add it to the list in `parse_value.rs`.
//!
//! Invariant: a name prints as it was read, except that the default prefixes print as `client.net`.

mod address;
pub mod authentication_results;
mod encoded_word;
pub mod extract;
mod field_pieces;
mod freemail;
pub mod header_address;
pub mod header_parser;
mod host;
mod network;
pub mod parse_value;
mod plain;
pub mod suffix;
pub mod value;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::bitset::{Member, Set};
use crate::error::nearest;
use crate::stage::Stage;

pub use extract::{Identities, Values};
pub use header_address::MOST_VALUES;
pub(crate) use suffix::RUNGS;
pub use suffix::{SuffixError, SuffixList};
pub use value::{Part, SenderKind, Tag, Trust, Value};

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

/// The largest N of `sender.org+N`: labels below the organisational domain.
const MOST_LABELS: u8 = 5;

/// One row of the table: what is fixed for an identity.
struct Row {
    name: &'static str,
    /// The number that stands for the identity in keys. It never changes.
    code: u8,
    source: Source,
    view: View,
}

/// What of its source an identity shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Nothing: one value for every envelope.
    Nothing,
    /// An IP address or a network.
    Network,
    /// A whole host name.
    Host,
    /// An organisational domain.
    Org,
    /// A registered domain.
    Registered,
    /// A mail address.
    Address,
    /// A user, or a mailing list.
    Account,
    /// A mail address at a provider of mailboxes, an organisational domain of any other host.
    Mailbox,
}

/// Makes the enum and its rows from one table. `like` gives a name for the error messages that list all names.
macro_rules! identities {
    ($($(#[$doc:meta])* $identity:ident $(($parameter:ty, plain $plain:expr, like $pattern:literal))?:
        $name:literal, $code:literal, $source:ident, $view:ident;)*) => {
        /// The kind of an identity, as a policy names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Identity {
            $($(#[$doc])* $identity $(($parameter))?,)*
        }

        impl Identity {
            /// Every name that a policy may use, as an error message writes it.
            pub const NAMES: &[&str] = &[$($name, $($pattern,)?)*];

            /// Every identity, without parameters.
            pub const PLAIN: &[Identity] = &[$(Self::$identity $(($plain))?,)*];

            const fn row(self) -> &'static Row {
                match self {
                    $(Self::$identity { .. } => {
                        &Row { name: $name, code: $code, source: Source::$source, view: View::$view }
                    })*
                }
            }
        }
    };
}

identities! {
    /// The client's address.
    ClientIp: "client.ip", 1, ClientIp, Network;
    /// The network around the client's address: `client.net`, `client.net/<v4>/<v6>`.
    ClientNet(Prefixes, plain DEFAULT_PREFIXES, like "client.net/<v4>/<v6>"): "client.net", 2, ClientIp, Network;
    /// The client's forward-confirmed name.
    ClientHost: "client.host", 3, ClientName, Host;
    /// The organisation of the client's name.
    ClientOrg: "client.org", 4, ClientName, Org;
    /// The argument of HELO or EHLO.
    HeloHost: "helo.host", 5, Helo, Host;
    /// The organisation of the HELO name.
    HeloOrg: "helo.org", 6, Helo, Org;
    /// The SASL user.
    AuthUser: "auth.user", 7, AuthUser, Account;
    /// The return path.
    SenderAddress: "sender.address", 8, Sender, Address;
    /// The host of the return path.
    SenderHost: "sender.host", 9, Sender, Host;
    /// The organisation of the return path with up to five more labels: `sender.org`, `sender.org+N`.
    SenderOrg(u8, plain 0, like "sender.org+N"): "sender.org", 10, Sender, Org;
    /// The domain that the sender registered, by the ICANN section of the suffix list alone.
    SenderRegistered: "sender.registered", 11, Sender, Registered;
    /// A recipient.
    RcptAddress: "rcpt.address", 12, Rcpt, Address;
    /// The host of a recipient.
    RcptHost: "rcpt.host", 13, Rcpt, Host;
    /// An address of the From field.
    FromAddress: "from.address", 15, From, Address;
    /// The host of an address of the From field.
    FromHost: "from.host", 16, From, Host;
    /// The organisation of an address of the From field.
    FromOrg: "from.org", 17, From, Org;
    /// An address of the Reply-To field.
    ReplyToAddress: "reply_to.address", 18, ReplyTo, Address;
    /// The organisation of an address of the Reply-To field.
    ReplyToOrg: "reply_to.org", 19, ReplyTo, Org;
    /// Who reads the answers: the address of the Reply-To field, or without one of the From field, if its host is a
    /// provider's; otherwise the organisation.
    ReplyToMailbox: "reply_to.mailbox", 22, Reply, Mailbox;
    /// The same reader, if the sender has an organisation and it is not the reader's.
    ReplyToUnaligned: "reply_to.unaligned", 23, Reply, Mailbox;
    /// The mailing list.
    ListId: "list.id", 20, ListId, Account;
    /// The organisation of a verified signature.
    DkimOrg: "dkim.org", 21, Dkim, Org;
    /// The one value that every envelope has.
    Global: "global", 14, Nothing, Nothing;
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
    /// `mail_from`, with `spf` and `client_name` for its trust.
    Sender,
    /// `rcpt_to`
    Rcpt,
    /// `header_from`
    From,
    /// `reply_to`
    ReplyTo,
    /// `reply_to`, or without one `header_from`
    Reply,
    /// `list_id`
    ListId,
    /// `dkim`
    Dkim,
}

/// A set of sources: those that a policy needs, so that nothing else is read.
pub type Sources = Set<Source>;

/// A name that no identity has.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no identity has this name")]
pub struct UnknownIdentity {
    /// The name of [`Identity::NAMES`] that was probably meant.
    pub nearest: Option<&'static str>,
}

impl Source {
    /// Every source, in the order of the variants.
    pub const ALL: [Self; 12] = {
        use Source::{AuthUser, ClientIp, ClientName, Dkim, From, Helo, ListId, Nothing, Rcpt, Reply, ReplyTo, Sender};
        [Nothing, ClientIp, ClientName, Helo, AuthUser, Sender, Rcpt, From, ReplyTo, Reply, ListId, Dkim]
    };

    /// The stage at which it becomes known.
    pub const fn stage(self) -> Stage {
        match self {
            Self::Nothing | Self::ClientIp | Self::ClientName => Stage::Connect,
            Self::Helo => Stage::Helo,
            Self::AuthUser | Self::Sender => Stage::Mail,
            Self::Rcpt => Stage::Rcpt,
            Self::From | Self::ReplyTo | Self::Reply | Self::ListId | Self::Dkim => Stage::Data,
        }
    }

    /// Whether anybody can write it and nothing can prove it: its values are claimed in every envelope.
    pub const fn is_mere_claim(self) -> bool {
        matches!(self, Self::Helo | Self::From | Self::ReplyTo | Self::Reply | Self::ListId)
    }

    /// How far its values are proven in an envelope whose sender has the trust `sender`. What nobody can forge counts
    /// as proven.
    pub fn trust(self, sender: Trust) -> Trust {
        match self {
            source if source.is_mere_claim() => Trust::Claimed,
            Self::Sender => sender,
            _ => Trust::Proven,
        }
    }
}

impl Identity {
    /// The source that it is read from.
    pub const fn source(self) -> Source {
        self.row().source
    }

    /// What of its source it shows.
    pub const fn view(self) -> View {
        self.row().view
    }

    /// The stage at which it becomes known.
    pub const fn stage(self) -> Stage {
        self.source().stage()
    }

    /// Whether every value of `other` belongs to one value of this identity: a network, and an address or a smaller
    /// network in it.
    pub(crate) fn surrounds(self, other: Self) -> bool {
        match (self, other) {
            (Self::ClientNet(_), Self::ClientIp) => true,
            (Self::ClientNet(large), Self::ClientNet(small)) => large.v4 <= small.v4 && large.v6 <= small.v6,
            _ => false,
        }
    }

    /// Its code in the lowest byte and its parameters in the next two. Codes never change, and none is 0.
    pub const fn code(self) -> u32 {
        let [first, second] = match self {
            Self::ClientNet(Prefixes { v4, v6 }) => [v4, v6],
            Self::SenderOrg(more) => [more, 0],
            _ => [0; 2],
        };
        u32::from_le_bytes([self.row().code, first, second, 0])
    }

    /// The identity with this code.
    pub fn from_code(code: u32) -> Option<Self> {
        let [kind, first, second, _] = code.to_le_bytes();
        let identity = match Self::PLAIN.iter().find(|identity| identity.row().code == kind)? {
            Self::ClientNet(_) => Self::ClientNet(Prefixes { v4: first, v6: second }),
            Self::SenderOrg(_) => Self::SenderOrg(first),
            plain => *plain,
        };
        (identity.code() == code).then_some(identity)
    }

    /// Whether one envelope may hold several values of it.
    pub const fn has_many(self) -> bool {
        matches!(self.source(), Source::Rcpt | Source::From | Source::ReplyTo | Source::Reply | Source::Dkim)
    }

    /// Whether its values are names: two of such identities may have the same value.
    pub const fn is_name(self) -> bool {
        matches!(self.view(), View::Host | View::Org | View::Registered | View::Account)
    }

    /// Whether a value of it may be a name, so that it can be the value of another identity.
    pub const fn may_be_name(self) -> bool {
        self.is_name() || matches!(self.view(), View::Mailbox)
    }

    /// Whether its values are addresses: a local part and a host.
    pub const fn is_address(self) -> bool {
        matches!(self.view(), View::Address)
    }

    /// Whether its values may be mailboxes that a header names: authors, or readers of answers.
    pub const fn is_header_mailbox(self) -> bool {
        matches!(self.source(), Source::From | Source::ReplyTo | Source::Reply)
            && matches!(self.view(), View::Address | View::Mailbox)
    }

    /// Whether it is a whole host.
    pub const fn is_host(self) -> bool {
        matches!(self.view(), View::Host)
    }

    /// Whether its value is a trailing part of the value of `host`, so that a ladder stands between the two.
    pub fn is_part_of_host(self, host: Identity) -> bool {
        let is_part = matches!(self.view(), View::Org | View::Registered);
        is_part && host.is_host() && self.source() == host.source() && !self.has_many()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.row().name)?;
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
            Self::PLAIN.iter().copied().find(|identity| identity.row().name == name)
        };
        known.ok_or_else(|| UnknownIdentity { nearest: meant(name) })
    }
}

fn prefixes(lengths: &str) -> Option<Prefixes> {
    let (v4, v6) = lengths.split_once('/')?;
    Some(Prefixes { v4: number(v4, 32)?, v6: number(v6, 128)? })
}

/// Reads a number that has no sign and no leading zero, so that equal identities have equal names.
fn number(digits: &str, most: u8) -> Option<u8> {
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    digits.parse().ok().filter(|number| canonical && *number <= most)
}

/// The name that was probably meant, in the form of [`Identity::NAMES`].
fn meant(name: &str) -> Option<&'static str> {
    let stem = name.split(['/', '+']).next().unwrap_or(name);
    let wanted = match (stem, name.len() > stem.len()) {
        ("client.net", true) => return Some("client.net/<v4>/<v6>"),
        ("sender.org", true) => return Some("sender.org+N"),
        _ => stem.to_ascii_lowercase().replace(['_', ' ', '-'], ".").replacen("reply.to", "reply_to", 1),
    };
    nearest(&wanted, Identity::PLAIN.iter().map(|identity| identity.row().name))
}

impl Member for Source {
    const COUNT: u32 = Self::ALL.len() as u32;

    fn place(self) -> u32 {
        self as u32
    }

    fn at(place: u32) -> Self {
        Self::ALL[place as usize]
    }
}
