//! The names of identities: `client.net/24/48`, `sender.org+2`.

use std::fmt;

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
}

/// A set of sources: what a policy needs read, so that nothing else is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources(u8);
