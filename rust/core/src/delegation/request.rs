//! Requests of Postfix's policy delegation, cut out of a stream of bytes and parsed.
//!
//! ```text
//!  request=smtpd_access_policy⏎ protocol_state=RCPT⏎ client_address=192.0.2.1⏎ … ⏎      an empty line ends it
//! ```
//!
//! The values may hold any bytes but NUL and LF. Attributes may come in any order; unknown ones are skipped, missing
//! ones are empty, and of several with one name the first counts. CRs are dropped wherever they come, so a line of CRs
//! is empty.

use std::borrow::Cow;

use memchr::{memchr, memchr_iter, memrchr_iter};

/// What is read of a value: Postfix's own `line_length_limit`. It bounds what a connection keeps.
pub const MOST_VALUE_BYTES: usize = 2048;

/// The attributes that are used, by their names in the protocol. A missing one is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "SMTPD_POLICY_README explains them")]
pub struct Request<'a> {
    pub protocol_state: &'a [u8],
    pub client_address: &'a [u8],
    pub client_name: &'a [u8],
    pub client_port: &'a [u8],
    pub helo_name: &'a [u8],
    pub sender: &'a [u8],
    pub recipient: &'a [u8],
    pub instance: &'a [u8],
    pub size: &'a [u8],
    pub stress: &'a [u8],
    pub sasl_username: &'a [u8],
    pub policy_context: &'a [u8],
}

/// Each request that a stream completes, with the line ends before it and the empty line that ends it.
#[derive(Clone, Copy, Debug)]
pub struct Requests<'a> {
    /// What has not been cut off yet.
    pub rest: &'a [u8],
}

impl<'a> Iterator for Requests<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let begin = self.rest.iter().position(|byte| !is_line_end(byte))?;
        let end = memchr_iter(b'\n', &self.rest[begin..]).find_map(|newline| {
            let next_line = begin + newline + 1;
            let returns = self.rest[next_line..].iter().take_while(|&&byte| byte == b'\r').count();
            (self.rest.get(next_line + returns) == Some(&b'\n')).then_some(next_line + returns + 1)
        })?;
        let (request, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(request)
    }
}

/// Whether a byte belongs to the line ends between requests.
pub(super) fn is_line_end(byte: &u8) -> bool {
    b"\r\n".contains(byte)
}

/// A request without its CRs: a test by hand, with telnet or swaks, may send some.
pub fn without_returns(request: &[u8]) -> Cow<'_, [u8]> {
    match memchr(b'\r', request) {
        None => Cow::Borrowed(request),
        Some(_) => request.iter().copied().filter(|&byte| byte != b'\r').collect(),
    }
}

impl<'a> Request<'a> {
    /// Parses the lines of one request, which have no CRs. Returns `None` when it is no `smtpd_access_policy`.
    pub fn parse(lines: &'a [u8]) -> Option<Self> {
        let mut found = Self::default();
        let mut kind: &[u8] = b"";
        let mut end = lines.len();
        // Backwards, so that the first of several attributes of one name is the one that stays.
        for start in memrchr_iter(b'\n', lines).map(|newline| newline + 1).chain([0]) {
            let line = &lines[start..end];
            end = start.saturating_sub(1);
            let Some(equals) = memchr(b'=', line) else { continue };
            let value = &line[equals + 1..];
            let attribute = match &line[..equals] {
                b"request" => &mut kind,
                b"protocol_state" => &mut found.protocol_state,
                b"client_address" => &mut found.client_address,
                b"client_name" => &mut found.client_name,
                b"client_port" => &mut found.client_port,
                b"helo_name" => &mut found.helo_name,
                b"sender" => &mut found.sender,
                b"recipient" => &mut found.recipient,
                b"instance" => &mut found.instance,
                b"size" => &mut found.size,
                b"stress" => &mut found.stress,
                b"sasl_username" => &mut found.sasl_username,
                b"policy_context" => &mut found.policy_context,
                _ => continue,
            };
            *attribute = &value[..value.len().min(MOST_VALUE_BYTES)];
        }
        (kind == b"smtpd_access_policy").then_some(found)
    }

    /// The declared size, or at the end of the message the actual one. Postfix sends 0 when it knows none.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        let is_number = self.size.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(self.size).ok().filter(|_| is_number)?;
        text.parse().ok().filter(|&bytes| bytes > 0)
    }
}
