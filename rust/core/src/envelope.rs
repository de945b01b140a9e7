//! What is known of one SMTP transaction so far.
//!
//! Text is borrowed and raw: the bytes that the server received, not decoded.
//! Nothing is checked here: [`crate::identity`] makes an identity of whatever a sender puts into a field.

/// One SMTP transaction (RFC 5321 §3.3), as far as it is known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Envelope<'a> {
    /// Address of the connecting client, as text.
    pub client_ip: Option<&'a [u8]>,
    /// Its forward-confirmed reverse name; `unknown` counts as absent.
    pub client_name: Option<&'a [u8]>,
    /// Argument of HELO or EHLO.
    pub helo: Option<&'a [u8]>,
    /// Reverse-path of MAIL FROM; absent before MAIL, empty or `<>` for the null sender.
    pub mail_from: Option<&'a [u8]>,
    /// Forward-paths of RCPT TO.
    pub rcpt_to: &'a [&'a [u8]],
    /// Authenticated user (RFC 4954).
    pub auth_user: Option<&'a [u8]>,
    /// The server's SPF verdict for MAIL FROM (RFC 7208); we do no DNS.
    pub spf: Option<Spf>,
    /// Bytes of the message: declared by SIZE (RFC 1870), or counted at the end of data.
    pub size: Option<u64>,
    /// What its headers say; absent before they are read.
    pub headers: Option<&'a Headers<'a>>,
}

/// What the header of a message says (RFC 5322 §3.6), as far as it matters here. `identity/header_parser.rs` reads one.
///
/// Of each field that has several values the first eight are looked at.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    /// Addresses of the From fields.
    pub from: &'a [&'a [u8]],
    /// Addresses of the Reply-To fields.
    pub reply_to: &'a [&'a [u8]],
    /// List-Id (RFC 2919): the whole field, or what stands in its brackets.
    pub list_id: Option<&'a [u8]>,
    /// The `d=` of signatures that the server has verified (RFC 6376); we verify none.
    pub dkim: &'a [&'a [u8]],
}

impl Headers<'_> {
    /// Whether no field is known.
    pub fn is_empty(&self) -> bool {
        self.from.is_empty() && self.reply_to.is_empty() && self.list_id.is_none() && self.dkim.is_empty()
    }
}

/// An SPF verdict, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spf {
    /// `pass`: the domain's owner lets this client send.
    Pass,
    /// `fail`: the owner says it must not.
    Fail,
    /// The check said nothing about the client: `none`, `neutral`, `softfail`, `permerror`.
    Silent,
    /// There was no check, or it met a fault of the name servers: `temperror`.
    Unchecked,
}
