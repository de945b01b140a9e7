//! The words that a limit chooses among: what it counts, whom it looks at, how, and what it refuses.
//!
//! Each has its spelling in `NAMED`, which reading and printing share. Knows no numbers.

use crate::stage::Stage;
use crate::store::params::{Algorithm, WhenFull};

/// What one check counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// One at connect.
    Connections,
    /// One at MAIL.
    Messages,
    /// One a recipient.
    Recipients,
    /// The octets of the message.
    Bytes,
}

impl Count {
    pub(super) const NAMED: [(&str, Self); 4] = [
        ("connections", Self::Connections),
        ("messages", Self::Messages),
        ("recipients", Self::Recipients),
        ("bytes", Self::Bytes),
    ];

    /// As a policy says it.
    pub fn name(self) -> &'static str {
        name_of(self, &Self::NAMED)
    }

    /// When it is known how much there is to count.
    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Connections => Stage::Connect,
            Self::Messages => Stage::Mail,
            Self::Recipients => Stage::Rcpt,
            Self::Bytes => Stage::Data,
        }
    }
}

/// Which classes a limit looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// Each class with counters of its own.
    Any,
    /// Proven identities only.
    Proven,
    /// Claimed identities only.
    Claimed,
}

impl Verified {
    pub(super) const NAMED: [(&str, Self); 3] =
        [("any", Self::Any), ("proven", Self::Proven), ("claimed", Self::Claimed)];
}

impl Algorithm {
    pub(super) const NAMED: [(&str, Self); 2] = [("gcra", Self::Gcra), ("sliding-window", Self::SlidingWindow)];

    /// What it is unless it is stated: a quota must hold in every window, a name that can be invented must not occupy a slot for long.
    pub(super) fn default_of(must_hold: bool) -> Self {
        if must_hold { Self::SlidingWindow } else { Self::Gcra }
    }
}

impl WhenFull {
    pub(super) const NAMED: [(&str, Self); 3] =
        [("admit", Self::Admit), ("sketch", Self::Sketch), ("refuse", Self::Refuse)];

    /// What it is unless it is stated: a quota must hold, who can invent names must not be able to hurt others.
    pub(super) fn default_of(must_hold: bool) -> Self {
        if must_hold { Self::Sketch } else { Self::Admit }
    }
}

/// Whether a limit refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It decides and counts, and lets pass what it would refuse.
    Shadow,
}

impl Mode {
    pub(super) const NAMED: [(&str, Self); 2] = [("enforce", Self::Enforce), ("shadow", Self::Shadow)];

    /// As a policy file writes it.
    pub fn name(self) -> &'static str {
        name_of(self, &Self::NAMED)
    }

    /// What a policy file means by `name`.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(named, _)| *named == name).map(|(_, mode)| *mode)
    }
}

/// What a fan-out refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refuse {
    /// What is new; known elements keep flowing.
    New,
    /// The whole key.
    All,
}

impl Refuse {
    pub(super) const NAMED: [(&str, Self); 2] = [("new", Self::New), ("all", Self::All)];
}

/// The name of `value` in its `NAMED`.
pub(super) fn name_of<T: PartialEq>(value: T, named: &[(&'static str, T)]) -> &'static str {
    named.iter().find(|(_, named)| *named == value).map(|(name, _)| *name).unwrap_or_default()
}

/// The words of a `NAMED`.
pub(super) fn words<T>(named: &[(&'static str, T)]) -> Vec<&'static str> {
    named.iter().map(|(name, _)| *name).collect()
}
