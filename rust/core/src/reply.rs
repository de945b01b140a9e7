//! What the server should answer: RFC 5321 §4.2 codes with RFC 3463 enhanced ones.
//!
//! Throttles delay; they do not bounce. Refused for good is only what can never fit, and what the operator says shall be.
//! Knows no counts. Invariant: whatever a sender wrote, an answer is one legal line.

use std::sync::Arc;

use crate::identity::{Identity, Source};
use crate::policy::{Count, Limit, Rule, Stage, Template};

/// A reply line holds 512 octets with its CRLF (RFC 5321 §4.5.3.1.5); a key takes at most this many of them.
const KEY_OCTETS: usize = 300;

/// Behind a name that was cut.
const CUT: &str = "...";

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
    /// Too many octets: `451 4.7.1`, and `552 5.3.4` when they can never fit.
    Octets,
    /// Too many connections at once: `421 4.7.0`, and the server closes.
    Crowded,
    /// Too much at once, or for the whole server: `451 4.3.2`.
    Capacity,
    /// Too many octets at once, or for the whole server: `451 4.3.2`, and `552 5.3.4` when they can never fit.
    Buffer,
    /// Too many different things under one key, all of which is refused: `451 4.7.28`.
    Spread,
    /// Nothing to go on with: `451 4.5.1`. A server answers commands out of order itself, with 503 (RFC 5321 §4.1.4); one that asks none the less bounces nothing.
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

    /// The reply for a limit that runs at `stage`.
    pub fn of(limit: &Limit, stage: Stage) -> Self {
        let mailbox = limit.per.iter().any(|identity| identity.source() == Source::Rcpt);
        // What bounds the server as a whole is capacity too, but recipients, of which the client can send fewer at once.
        let is_global = limit.per.iter().all(|identity| *identity == Identity::Global);
        let is_capacity = limit.is_in_flight() || is_global && limit.count != Count::Recipients;
        match stage {
            Stage::Connect | Stage::Helo if limit.is_in_flight() => Self::Crowded,
            Stage::Connect | Stage::Helo => Self::Closing,
            _ if matches!(limit.rule, Rule::Distinct { .. }) => Self::Spread,
            _ if limit.is_fan_out() => Self::Flood,
            _ if is_capacity && limit.count == Count::Bytes => Self::Buffer,
            _ if is_capacity => Self::Capacity,
            Stage::Rcpt if mailbox => Self::Mailbox,
            Stage::Rcpt => Self::Recipients,
            _ if limit.count == Count::Bytes => Self::Octets,
            _ => Self::TooFast,
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_name_gives_one_legal_line(key in any::<String>(), wait in any::<Option<u64>>(), kind in 0..Reply::ALL.len(), stage in prop::option::of(0..Stage::ALL.len())) {
            let line = Reply::ALL[kind].text(&key, wait, stage.map(|stage| Stage::ALL[stage]));
            prop_assert!(line.len() + 2 <= 512 && line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
        }
    }

    #[test]
    fn what_was_written_down_by_number_is_read_as_the_same() {
        assert_eq!(Reply::ALL.map(|reply| Reply::of_number(reply.number())), Reply::ALL);
        assert_eq!(Reply::of_number(u8::MAX), Reply::TooFast, "a number of a later version");
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(
            Reply::TooFast.text("salesforce.com", Some(11_000_001), None),
            "451 4.7.1 salesforce.com is sending too fast; retry in 12 s"
        );
    }
}
