//! The points of the SMTP dialogue at which something becomes known.

use crate::bitset::{Member, Set};
use crate::envelope::Envelope;

/// A stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The connection is open: client address and name.
    #[default]
    Connect,
    /// HELO or EHLO.
    Helo,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// The end of the data.
    Data,
}

impl Stage {
    /// All stages, in the order of the dialogue.
    pub const ALL: [Self; 5] = [Self::Connect, Self::Helo, Self::Mail, Self::Rcpt, Self::Data];

    /// The name of the stage in Python.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Helo => "helo",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
        }
    }
}

impl Member for Stage {
    const COUNT: u32 = Self::ALL.len() as u32;

    fn place(self) -> u32 {
        self as u32
    }

    fn at(place: u32) -> Self {
        Self::ALL[place as usize]
    }
}

/// A set of stages, such as the stages that one check runs.
pub type Stages = Set<Stage>;

impl Set<Stage> {
    /// Returns the stages that a check of `envelope` runs when the caller names none: connect and HELO always, because
    /// a limit without its identity asks nothing; and with a sender also MAIL, and RCPT and DATA if the envelope has
    /// anything for them.
    pub fn known_of(envelope: &Envelope<'_>) -> Self {
        let known = Self::default().with(Stage::Connect).with(Stage::Helo);
        if envelope.mail_from.is_none() {
            return known;
        }
        let known = known.with(Stage::Mail);
        let known = if envelope.rcpt_to.is_empty() { known } else { known.with(Stage::Rcpt) };
        let has_headers = envelope.headers.is_some_and(|headers| !headers.is_empty());
        if envelope.size.is_none() && !has_headers { known } else { known.with(Stage::Data) }
    }
}
