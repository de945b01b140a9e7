//! The outcome of a check: allowed, or why not, until when, and what the server should answer.
//!
//! A reply has a code of RFC 5321 §4.2 and an enhanced one of RFC 3463. A throttle delays mail and does not bounce it,
//! so a reply is permanent only if the message can never fit, or if the operator asks for it.
//!
//! This module knows no counts. Invariant: whatever a sender wrote, a reply is one legal line.

use std::sync::Arc;

use crate::stage::Stage;

/// A reply line holds 512 bytes with its CRLF (RFC 5321 §4.5.3.1.5); a key takes at most this many of them.
const KEY_BYTES: usize = 300;

/// Ends a key that was cut.
const CUT: &str = "...";

/// Length of a reply line without its CRLF (RFC 5321 §4.5.3.1.5).
pub(crate) const LINE_BYTES: usize = 510;

/// The longest address of a page with help (`help_url`). With it a line still holds 200 bytes of a key.
pub(crate) const HELP_BYTES: usize = 200;

/// Digits of the longest wait in seconds.
const SECONDS_DIGITS: usize = 20;

/// The outcome of a check. The default is that of a check that asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Why the check was refused; `None` when it was allowed.
    pub refusal: Option<Box<Refusal>>,
    /// Names of limits in shadow mode that would have refused, in file order.
    pub shadow: Box<[Arc<str>]>,
}

/// Why a check was refused. A refusal explains itself (P10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Name of the limit.
    pub limit: Arc<str>,
    /// Its identity: `client.net/24/48 + sender.org`.
    pub identity: Arc<str>,
    /// The value of that identity.
    pub key: String,
    /// Microseconds after which the check would pass, when nothing else is charged to that key; `None` when it never
    /// would.
    pub wait_us: Option<u64>,
    /// The SMTP stage of the refusal: the stage of the limit, or the first stage at which a blocked key is known.
    pub stage: Stage,
    /// The kind of answer that the server should give.
    pub kind: Reply,
    /// The operator's settings for the reply.
    pub settings: ReplySettings,
}

impl Refusal {
    /// Makes a built-in refusal, which no limit of the policy states: too many permits, commands out of order.
    pub(crate) fn unstated(limit: &str, wait_us: Option<u64>, stage: Stage, kind: Reply) -> Self {
        let (global, key) = ("global".into(), "global".into());
        Self { limit: limit.into(), identity: global, key, wait_us, stage, kind, settings: ReplySettings::default() }
    }

    /// What the server should answer: one legal SMTP line without its CRLF. It is written only when a caller asks for
    /// it, because most refusals in a flood are only counted.
    pub fn reply(&self) -> String {
        let ReplySettings { rejects_at, template, help } = &self.settings;
        let help = help.as_deref();
        let fill = |template: &Template| template.fill(&self.key, &self.limit, &self.identity, self.wait_us, help);
        let built_in = || self.kind.text(&self.key, self.wait_us, *rejects_at, help);
        template.as_ref().and_then(fill).unwrap_or_else(built_in)
    }
}

impl Decision {
    /// Whether the transaction may go on.
    pub fn allowed(&self) -> bool {
        self.refusal.is_none()
    }
}

/// The operator's settings for the reply. By default the reply is temporary and has a built-in text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplySettings {
    /// The reply is permanent, and is given at this stage.
    pub rejects_at: Option<Stage>,
    /// The operator's own text.
    pub template: Option<Template>,
    /// The address of a page that explains the refusal (`help_url`).
    pub help: Option<Arc<str>>,
}

/// The kind of a refusal, as the SMTP client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// At connect and HELO; the server closes the connection.
    Closing,
    /// Too many messages.
    TooFast,
    /// Too many new names: "mail flood detected" in the registry of enhanced codes (RFC 5248).
    Flood,
    /// One mailbox receives too much.
    Mailbox,
    /// Too many recipients.
    Recipients,
    /// Too many bytes; `552 5.3.4` if they can never fit.
    Octets,
    /// Too many connections at once; the server closes the connection.
    Crowded,
    /// Too much at once, or for the whole server.
    Capacity,
    /// Too many bytes at once, or for the whole server; `552 5.3.4` if they can never fit.
    Buffer,
    /// Too many different elements under one key; the whole key is refused.
    Spread,
    /// No transaction is open. A server should answer commands out of order itself, with 503 (RFC 5321 §4.1.4). If it
    /// asks the throttle instead, the reply is temporary, so that no message bounces.
    OutOfOrder,
    /// The key is blocked, at connect and HELO; the server closes the connection.
    BlockedClosing,
    /// The key is blocked.
    Blocked,
    /// The mailbox is blocked.
    BlockedMailbox,
    /// The server has reported too much of the key, at connect and HELO; the server closes the connection.
    ReportedClosing,
    /// The server has reported too much of the key.
    Reported,
}

/// The kinds in the order of their numbers, each with its codes and with its complaint about the key.
const REPLIES: [(Reply, &str, &str); 16] = [
    (Reply::Closing, "421 4.7.0", "connects too often"),
    (Reply::TooFast, "451 4.7.1", "is sending too fast"),
    (Reply::Flood, "451 4.7.28", "sends under too many new names"),
    (Reply::Mailbox, "450 4.2.1", "is receiving too fast"),
    (Reply::Recipients, "452 4.5.3", "has too many recipients"),
    (Reply::Octets, "451 4.7.1", "is sending too fast"),
    (Reply::Crowded, "421 4.7.0", "has too many connections open"),
    (Reply::Capacity, "451 4.3.2", "has too much under way"),
    (Reply::Buffer, "451 4.3.2", "has too much under way"),
    (Reply::Spread, "451 4.7.28", "goes to or comes from too many different places"),
    (Reply::OutOfOrder, "451 4.5.1", "comes out of order"),
    (Reply::BlockedClosing, "421 4.7.0", "is blocked"),
    (Reply::Blocked, "451 4.7.1", "is blocked"),
    (Reply::BlockedMailbox, "450 4.2.1", "is blocked"),
    (Reply::ReportedClosing, "421 4.7.0", "was reported too often"),
    (Reply::Reported, "451 4.7.1", "was reported too often"),
];

impl Reply {
    /// The number under which a stored refusal keeps its kind.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The kind of a number. An unknown number, perhaps of a later version, is the most general kind.
    pub fn of_number(number: u8) -> Self {
        REPLIES.get(usize::from(number)).map_or(Self::TooFast, |(reply, ..)| *reply)
    }

    /// The reply about a blocked key at `stage`. `mailbox` states whether the key is a recipient.
    pub fn blocked(stage: Stage, mailbox: bool) -> Self {
        match stage {
            Stage::Connect | Stage::Helo => Self::BlockedClosing,
            _ if mailbox => Self::BlockedMailbox,
            _ => Self::Blocked,
        }
    }

    /// The reply line. `wait_us` is `None` if the check can never pass. The line ends with `help`, the address of a
    /// page, which is never cut: a key that is too long together with it is.
    pub fn text(self, key: &str, wait_us: Option<u64>, rejects_at: Option<Stage>, help: Option<&str>) -> String {
        let key = printable(key, KEY_BYTES);
        let end = help.map(|help| format!("; see {help}")).unwrap_or_default();
        let line = self.complaint(&key, wait_us, rejects_at) + &end;
        match line.len().saturating_sub(LINE_BYTES) {
            0 => line,
            excess => self.complaint(&printable(&key, key.len().saturating_sub(excess)), wait_us, rejects_at) + &end,
        }
    }

    /// The reply line about a printable key.
    fn complaint(self, key: &str, wait_us: Option<u64>, rejects_at: Option<Stage>) -> String {
        let (_, code, complaint) = REPLIES[self as usize];
        let is_block = matches!(self, Self::BlockedClosing | Self::Blocked | Self::BlockedMailbox);
        match (self, wait_us, rejects_at) {
            (Self::Octets | Self::Buffer, None, _) => format!("552 5.3.4 message too big for {key}"),
            (Self::OutOfOrder, None, _) => format!("{code} no mail transaction is open"),
            (Self::Recipients, None, None) => format!("{code} too many recipients at once for {key}"),
            // A reject mentions no wait, since the sender does not try again.
            (_, Some(_), Some(stage)) => format!("{} {key} {complaint}", rejection(stage)),
            (_, Some(us), None) => format!("{code} {key} {complaint}; retry in {} s", us.div_ceil(1_000_000)),
            (_, None, _) => {
                let complaint = if is_block { complaint } else { "asks for more than it can ever have" };
                format!("{} {key} {complaint}", rejects_at.map_or(code, rejection))
            }
        }
    }
}

/// Returns the codes of a permanent reply. At connect and after the data, 554 refuses the whole session or message (RFC
/// 5321 §3.1, §3.3); elsewhere 550 refuses one command.
fn rejection(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect | Stage::Data => "554 5.7.1",
        Stage::Helo | Stage::Mail | Stage::Rcpt => "550 5.7.1",
    }
}

/// Converts the key to printable ASCII (RFC 5321 §4.2), cut to `most` bytes.
fn printable(key: &str, most: usize) -> String {
    let mut text: String = key.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    if text.len() > most {
        text.truncate(most.saturating_sub(CUT.len()));
        text.push_str(CUT);
        text.truncate(most);
    }
    text
}

/// The operator's own reply line, with places for the facts of a refusal, such as `{key}`. `policy` validates it, so
/// its braces are in pairs, with the name of a place between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub(crate) Arc<str>);

impl Template {
    /// The text as the policy writes it.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The reply code, the first three digits.
    pub(crate) fn code(&self) -> &str {
        &self.0[..3]
    }

    /// Whether the code is allowed at the stage. After a temporary reply at connect or HELO (`early`) the server closes
    /// the connection, which is `421`; at later stages it stays open, and `421` would close it.
    pub fn suits(&self, early: bool) -> bool {
        self.code().starts_with('5') || early == (self.code() == "421")
    }

    /// The parts of the text, each with `true` if it is the name of a place and `false` if it is literal text.
    fn parts(&self) -> impl Iterator<Item = (bool, &str)> {
        self.0.split(['{', '}']).enumerate().map(|(index, part)| (index % 2 == 1, part))
    }

    /// Whether the text has a place for the address of a page with help.
    pub(crate) fn names_help(&self) -> bool {
        self.parts().any(|part| part == (true, "help"))
    }

    /// The most bytes of the line, if each key takes `key` bytes and the address of a page `help` bytes, for these
    /// names of the limit and its identity.
    pub(crate) fn bytes(&self, key: usize, limit: &str, identity: &str, help: usize) -> usize {
        let bytes = |part| match part {
            (false, text) => text.len(),
            (_, "key") => key,
            (_, "limit") => limit.len(),
            (_, "identity") => identity.len(),
            (_, "help") => help,
            (_, _) => SECONDS_DIGITS,
        };
        self.parts().map(bytes).sum()
    }

    /// Fills the places and returns the line; `None` if the template has a place for a wait, or for the address of a
    /// page, and there is none.
    pub(crate) fn fill(
        &self, key: &str, limit: &str, identity: &str, wait_us: Option<u64>, help: Option<&str>,
    ) -> Option<String> {
        let help_bytes = help.map_or(0, str::len);
        let keys = self.parts().filter(|part| *part == (true, "key")).count();
        let room = LINE_BYTES.saturating_sub(self.bytes(0, limit, identity, help_bytes)).checked_div(keys).unwrap_or(0);
        let fill = |part| match part {
            (false, text) => Some(text.to_owned()),
            (_, "key") => Some(printable(key, room)),
            (_, "limit") => Some(limit.to_owned()),
            (_, "identity") => Some(identity.to_owned()),
            (_, "help") => help.map(str::to_owned),
            (_, _) => wait_us.map(|us| us.div_ceil(1_000_000).to_string()),
        };
        self.parts().map(fill).collect()
    }
}
