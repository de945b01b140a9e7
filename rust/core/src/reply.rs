//! What the server should answer: RFC 5321 §4.2 codes with RFC 3463 enhanced ones.
//!
//! Throttles delay; they do not bounce. Only what can never fit is refused for good.

use crate::identity::Identity;
use crate::policy::{Count, Limit, Rule, Stage};

/// A reply line holds 512 octets with its CRLF (RFC 5321 §4.5.3.1.5); a key takes at most this many of them.
const KEY_OCTETS: usize = 300;

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
}

impl Reply {
    const ALL: [Self; 11] = [
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
        let mailbox = limit.per.iter().any(|identity| identity.has_many());
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

    /// The line. `wait_us` is `None` when it can never pass.
    pub fn text(self, key: &str, wait_us: Option<u64>) -> String {
        let key = printable(key);
        let Some(wait_us) = wait_us else {
            return match self {
                Self::Octets | Self::Buffer => format!("552 5.3.4 message too big for {key}"),
                Self::Recipients => format!("452 4.5.3 too many recipients at once for {key}"),
                Self::OutOfOrder => format!("{} no mail transaction is open", self.code()),
                _ => format!("{} {key} asks for more than it can ever have", self.code()),
            };
        };
        let seconds = wait_us.div_ceil(1_000_000);
        let complaint = match self {
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
        format!("{} {key} {complaint}; retry in {seconds} s", self.code())
    }

    fn code(self) -> &'static str {
        match self {
            Self::Closing | Self::Crowded => "421 4.7.0",
            Self::TooFast | Self::Octets => "451 4.7.1",
            Self::Flood | Self::Spread => "451 4.7.28",
            Self::Mailbox => "450 4.2.1",
            Self::Recipients => "452 4.5.3",
            Self::Capacity | Self::Buffer => "451 4.3.2",
            Self::OutOfOrder => "451 4.5.1",
        }
    }
}

/// Whatever the name holds: printable ASCII (RFC 5321 §4.2), and not too long for the line.
fn printable(key: &str) -> String {
    let mut text: String = key.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    if text.len() > KEY_OCTETS {
        text.truncate(KEY_OCTETS);
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_name_gives_one_legal_line(key in any::<String>(), wait in any::<Option<u64>>(), kind in 0..Reply::ALL.len()) {
            let line = Reply::ALL[kind].text(&key, wait);
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
            Reply::TooFast.text("salesforce.com", Some(11_000_001)),
            "451 4.7.1 salesforce.com is sending too fast; retry in 12 s"
        );
    }
}
