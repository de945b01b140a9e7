//! What the server should answer: RFC 5321 §4.2 codes with RFC 3463 enhanced ones.
//!
//! Throttles delay; they do not bounce. Refused for good is only what can never fit, and what the operator says shall
//! be. Knows no counts. Invariant: whatever a sender wrote, an answer is one legal line.

use std::fmt::Write;
use std::sync::Arc;

use crate::stage::Stage;

/// A reply line holds 512 bytes with its CRLF (RFC 5321 §4.5.3.1.5); a key takes at most this many of them.
const KEY_OCTETS: usize = 300;

/// Ends a key that was cut.
const CUT: &str = "...";

/// Length of a reply line without its CRLF (RFC 5321 §4.5.3.1.5).
pub(crate) const LINE_OCTETS: usize = 510;

/// Digits of the longest wait in seconds.
pub(crate) const SECONDS_DIGITS: usize = 20;

/// What the operator says of the answer; by default nothing: the message may come again, and the words are ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// It is refused for good, at this stage.
    pub rejects_at: Option<Stage>,
    /// Words of the operator's own.
    pub template: Option<Arc<Template>>,
}

/// The kind of a refusal, as the SMTP client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// At connect and HELO: `421 4.7.0`, and the server closes.
    Closing,
    /// A message: `451 4.7.1`.
    TooFast,
    /// Too many new names: `451 4.7.28` (mail flood, RFC 7372 §3.2's registry).
    Flood,
    /// One mailbox gets too much: `450 4.2.1`.
    Mailbox,
    /// Too many recipients: `452 4.5.3`.
    Recipients,
    /// Too many bytes: `451 4.7.1`, and `552 5.3.4` when they can never fit.
    Octets,
    /// Too many connections at once: `421 4.7.0`, and the server closes.
    Crowded,
    /// Too much at once, or for the whole server: `451 4.3.2`.
    Capacity,
    /// Too many bytes at once, or for the whole server: `451 4.3.2`, and `552 5.3.4` when they can never fit.
    Buffer,
    /// Too many different things under one key, all of which is refused: `451 4.7.28`.
    Spread,
    /// Nothing to go on with: `451 4.5.1`. A server answers commands out of order itself, with 503 (RFC 5321 §4.1.4);
    /// one that asks none the less bounces nothing.
    OutOfOrder,
    /// The key is blocked: `421 4.7.0` at connect and HELO, and the server closes.
    BlockedClosing,
    /// The key is blocked: `451 4.7.1`.
    Blocked,
    /// The mailbox is blocked: `450 4.2.1`.
    BlockedMailbox,
}

impl Reply {
    const ALL: [Self; 14] = [
        Self::Closing,
        Self::TooFast,
        Self::Flood,
        Self::Mailbox,
        Self::Recipients,
        Self::Octets,
        Self::Crowded,
        Self::Capacity,
        Self::Buffer,
        Self::Spread,
        Self::OutOfOrder,
        Self::BlockedClosing,
        Self::Blocked,
        Self::BlockedMailbox,
    ];

    /// For those who write a refusal down.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The reply of that number; the plainest when there is none.
    pub fn of_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or(Self::TooFast)
    }

    /// The reply for a blocked key that is told at `stage`; `mailbox`: what is blocked is who receives.
    pub fn blocked(stage: Stage, mailbox: bool) -> Self {
        match stage {
            Stage::Connect | Stage::Helo => Self::BlockedClosing,
            _ if mailbox => Self::BlockedMailbox,
            _ => Self::Blocked,
        }
    }

    /// The line. `wait_us` is `None` when it can never pass.
    pub fn text(self, key: &str, wait_us: Option<u64>, rejects_at: Option<Stage>) -> String {
        let key = printable(key, KEY_OCTETS);
        let never = match self {
            Self::Octets | Self::Buffer => Some(format!("552 5.3.4 message too big for {key}")),
            Self::OutOfOrder => Some(format!("{} no mail transaction is open", self.code())),
            Self::Recipients if rejects_at.is_none() => {
                Some(format!("452 4.5.3 too many recipients at once for {key}"))
            }
            _ => None,
        };
        if let (None, Some(line)) = (wait_us, never) {
            return line;
        }
        let complaint = match self {
            Self::BlockedClosing | Self::Blocked | Self::BlockedMailbox => "is blocked",
            _ if wait_us.is_none() => "asks for more than it can ever have",
            Self::Closing => "connects too often",
            Self::TooFast | Self::Octets => "is sending too fast",
            Self::Flood => "sends under too many new names",
            Self::Mailbox => "is receiving too fast",
            Self::Recipients => "has too many recipients",
            Self::Crowded => "has too many connections open",
            Self::Capacity | Self::Buffer => "has too much under way",
            Self::Spread => "goes to or comes from too many different places",
            Self::OutOfOrder => "comes out of order",
        };
        match (rejects_at, wait_us.map(|us| us.div_ceil(1_000_000))) {
            // No word of a wait: who is refused for good does not come again.
            (Some(stage), _) => format!("{} {key} {complaint}", rejection(stage)),
            (None, None) => format!("{} {key} {complaint}", self.code()),
            (None, Some(seconds)) => format!("{} {key} {complaint}; retry in {seconds} s", self.code()),
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Closing | Self::Crowded | Self::BlockedClosing => "421 4.7.0",
            Self::TooFast | Self::Octets | Self::Blocked => "451 4.7.1",
            Self::Flood | Self::Spread => "451 4.7.28",
            Self::Mailbox | Self::BlockedMailbox => "450 4.2.1",
            Self::Recipients => "452 4.5.3",
            Self::Capacity | Self::Buffer => "451 4.3.2",
            Self::OutOfOrder => "451 4.5.1",
        }
    }
}

/// At connect and behind the data a transaction fails as a whole (RFC 5321 §3.1, §3.3); elsewhere a command does.
fn rejection(stage: Stage) -> &'static str {
    match stage {
        Stage::Connect | Stage::Data => "554 5.7.1",
        Stage::Helo | Stage::Mail | Stage::Rcpt => "550 5.7.1",
    }
}

/// Whatever the name holds: printable ASCII (RFC 5321 §4.2), and not too long for the line.
pub(crate) fn printable(key: &str, most: usize) -> String {
    let mut text: String = key.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    if text.len() > most {
        text.truncate(most.saturating_sub(CUT.len()));
        text.push_str(CUT);
        text.truncate(most);
    }
    text
}

/// The operator's own reply line, with places for the facts of a refusal. `policy` parses and validates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub(crate) text: String,
    pub(crate) pieces: Vec<Piece>,
}

/// A piece of a template: literal text or a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Key,
    Limit,
    Identity,
    Seconds,
}

impl Template {
    /// The text as the policy writes it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The reply code, the first three digits.
    pub(crate) fn code(&self) -> &str {
        &self.text[..3]
    }

    /// Whether the code is allowed at the stage. After a temporary reply at connect or HELO (`early`) the server closes
    /// the connection, which is `421`; at later stages it stays open, and `421` would close it.
    pub fn suits(&self, early: bool) -> bool {
        self.code().starts_with('5') || early == (self.code() == "421")
    }

    /// Fills the places and returns the line; `None` if the template has a place for a wait and there is no wait.
    pub(crate) fn fill(&self, key: &str, limit: &str, identity: &str, wait_us: Option<u64>) -> Option<String> {
        let mut keys = 0;
        let mut fixed = 0;
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => fixed += text.len(),
                Piece::Key => keys += 1,
                Piece::Limit => fixed += limit.len(),
                Piece::Identity => fixed += identity.len(),
                Piece::Seconds => fixed += wait_us.map(|_| SECONDS_DIGITS)?,
            }
        }
        let room = LINE_OCTETS.saturating_sub(fixed).checked_div(keys).unwrap_or(0);
        let mut line = String::with_capacity(LINE_OCTETS);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => line.push_str(text),
                Piece::Key => line.push_str(&printable(key, room)),
                Piece::Limit => line.push_str(limit),
                Piece::Identity => line.push_str(identity),
                Piece::Seconds => drop(write!(line, "{}", wait_us?.div_ceil(1_000_000))),
            }
        }
        Some(line)
    }
}
