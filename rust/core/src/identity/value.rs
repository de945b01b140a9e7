//! What an identity can hold, and how far it is proven.
//!
//! Does not know where a value came from. A tag is never equal to a text, even when both print alike.

use std::fmt;
use std::net::IpAddr;

/// How far an identity is proven. Keys of different trust never share a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Trust {
    /// A sender claims it, and nothing proves it.
    #[default]
    Claimed,
    /// The client's confirmed name lies in the sender's organisation. That is weak for a provider that names its
    /// customers' hosts: any of them may write the provider's name. So it counts, and it never blocks or allows.
    Named,
    /// The domain's owner, or the network itself, stands behind it.
    Proven,
}

impl Trust {
    /// Every level, the weakest first.
    pub const ALL: [Self; 3] = [Self::Claimed, Self::Named, Self::Proven];

    /// The name of the level.
    pub fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Named => "named",
            Self::Proven => "proven",
        }
    }
}

/// The kinds of senders that `verified` tells apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenderKind {
    /// Claimed, and the server has no SPF verdict.
    #[default]
    Unchecked,
    /// Claimed, and the server has an SPF result. A pass proves nothing for a sender without a domain.
    Unproven,
    /// Proven or named.
    Proven,
}

impl SenderKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Unchecked, Self::Unproven, Self::Proven];
}

/// Stands for all names that have no value of their own: such names share a bucket. No text equals a tag.
///
/// `repr(usize)` makes a [`Part`] three whole words. With a one-byte tag the compiler copies it in pieces, and the
/// processor waits.
#[repr(usize)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tag {
    /// The null sender (RFC 5321 §4.5.5).
    Null,
    /// An address without `@`, a single label, a bare public suffix.
    Unqualified,
    /// An address literal (RFC 5321 §4.1.3).
    Literal,
    /// A name under a top-level domain that the suffix list lacks.
    Unlisted,
    /// A host that is not a name, or text that is not UTF-8.
    Malformed,
    /// A host or a local part longer than any can be.
    Overlong,
    /// A client address that is missing or cannot be read.
    Unknown,
    /// From or Reply-To fields with more than eight addresses, with text and no address, or too long to be read.
    Many,
}

/// A host name or a local part: text, or the tag that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part<'a> {
    /// Normalised text.
    Text(&'a str),
    /// Bytes that have no normal form: what a MALFORMED or OVERLONG part counts by as an element of a fan-out.
    Raw(&'a [u8]),
    /// What the part is instead of text.
    Tag(Tag),
}

/// Selects the form of a part without a normal form. As a value it is its tag. As an element of a fan-out it is its raw
/// bytes, so each spelling counts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    Value,
    Element,
}

/// The normalised value of one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value<'a> {
    /// The one value of `global`.
    Global,
    /// An address or a network: address with its host bits cleared, length of the prefix.
    Network(IpAddr, u8),
    /// A host, an organisational or registered domain, a user or a mailing list; also the tag of a null sender, a null
    /// recipient or an unknown client.
    Name(Part<'a>),
    /// Local part and host.
    Address(Part<'a>, Part<'a>),
}

impl fmt::Display for Tag {
    /// Upper case: normalised text is lower case, so the two cannot be taken for each other.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "NULL",
            Self::Unqualified => "UNQUALIFIED",
            Self::Literal => "LITERAL",
            Self::Unlisted => "UNLISTED",
            Self::Malformed => "MALFORMED",
            Self::Overlong => "OVERLONG",
            Self::Unknown => "UNKNOWN",
            Self::Many => "MANY",
        })
    }
}

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Raw(bytes) => write!(f, "{}", bytes.escape_ascii()),
            Self::Tag(tag) => tag.fmt(f),
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Network(address, prefix) => {
                let whole = if address.is_ipv4() { 32 } else { 128 };
                address.fmt(f)?;
                if *prefix < whole { write!(f, "/{prefix}") } else { Ok(()) }
            }
            Self::Name(part) => part.fmt(f),
            Self::Address(local, host) => write!(f, "{local}@{host}"),
        }
    }
}
