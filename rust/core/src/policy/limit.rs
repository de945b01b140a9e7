//! One rule of a policy, checked: what is counted, per which identity, how much.

use super::Rate;
use crate::identity::Identity;

/// A policy: limits in file order, already multiplied by `scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// File it came from, for messages.
    pub file: String,
    /// What `scale` was, in millionths; the limits below are multiplied already.
    pub scale_millionths: u64,
    /// The operator's own public suffixes (`[suffixes] extra`), in A-labels.
    pub extra_suffixes: Vec<String>,
    /// In file order.
    pub limits: Vec<Limit>,
}

/// One rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Unique in its policy.
    pub name: String,
    /// Line in the file, when there is one.
    pub line: Option<usize>,
    /// One identity or several (a composite), at most one of them with several values.
    pub per: Vec<Identity>,
    /// What is counted, and how much of it is let through.
    pub rule: Rule,
    /// What one check counts as.
    pub count: Count,
    /// Which classes it looks at.
    pub verified: Verified,
    /// What happens to a key for which the table has no room.
    pub when_full: WhenFull,
    /// Its share of the memory in bytes, when stated.
    pub memory: Option<u64>,
}

/// What a limit does.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// At most `rate`, with `burst` at once.
    Rate {
        /// Sustained.
        rate: Rate,
        /// At once; by default the amount of the rate.
        burst: u64,
    },
    /// At most `rate` elements that are not known; known ones are free (`refuse = "new"`).
    FanOut {
        /// The element.
        distinct: Identity,
        /// Sustained, in new elements.
        rate: Rate,
        /// New elements at once.
        burst: u64,
        /// How long an admitted element stays known, in microseconds.
        remember_us: u64,
        /// The ladder: how long a part of a name must be known to own an allowance, in microseconds.
        settle_us: Option<u64>,
    },
}

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

/// What happens to a key for which the table has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It passes, uncounted: an innocent is never hurt.
    Admit,
    /// It is refused: nobody ever gets more.
    Refuse,
}
