//! What is known of one SMTP transaction so far.
//!
//! Text is borrowed and raw: bytes as the server received them, decoded by nobody.
//! Nothing here is checked; whatever a sender puts into a field, [`crate::identity`] makes an identity of it.

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
    /// Octets of the message: declared by SIZE (RFC 1870), or counted at the end of data.
    pub size: Option<u64>,
}

/// An SPF verdict, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spf {
    /// `pass`: the domain's owner lets this client send.
    Pass,
    /// `fail`: the owner says it must not.
    Fail,
    /// Everything else (`none`, `neutral`, `softfail`, `temperror`, `permerror`): says nothing.
    Silent,
}
