//! The points of the SMTP dialogue at which something becomes known.

use crate::envelope::Envelope;

/// A stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The connection is open: client address and name.
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
    /// In the order of the dialogue.
    pub const ALL: [Self; 5] = [Self::Connect, Self::Helo, Self::Mail, Self::Rcpt, Self::Data];

    /// As Python writes it.
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

/// A set of stages: those that one check runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stages(u8);

impl Stages {
    /// This set and `stage`.
    #[must_use]
    pub const fn with(self, stage: Stage) -> Self {
        Self(self.0 | 1 << stage as u8)
    }

    /// This set less `stage`.
    #[must_use]
    pub const fn without(self, stage: Stage) -> Self {
        Self(self.0 & !(1 << stage as u8))
    }

    /// Both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether `stage` is in it.
    #[inline]
    pub const fn has(self, stage: Stage) -> bool {
        self.0 & 1 << stage as u8 != 0
    }

    /// Whether a stage is in both.
    #[inline]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The stages of which something is known of `envelope`, what a check runs that names none: connect and HELO, where a limit whose identity
    /// is absent asks nothing, and from MAIL on what is there.
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
