//! One rule of a policy, checked: what is counted, per which identity, how much.

use super::{Quota, Rate, Stage};
use crate::identity::{Identity, Source};
use crate::region::PAGE_BYTES;

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
    /// How it is counted.
    pub algorithm: Algorithm,
    /// What happens to a key for which the table has no room.
    pub when_full: WhenFull,
    /// Its share of the memory in bytes, when stated.
    pub memory: Option<u64>,
    /// Whether it refuses.
    pub mode: Mode,
    /// Named values that have other numbers, in file order.
    pub quotas: Vec<Quota>,
}

impl Limit {
    /// When it runs: at the latest stage of what it needs to know and of what it counts.
    ///
    /// Bytes are charged at data; the SIZE that was declared can be consulted at MAIL already (RFC 1870 §6.1).
    pub fn stage(&self) -> Stage {
        // What is open is held from MAIL on, so that much of it as was declared.
        let counted = if self.is_in_flight() { self.count.stage().min(Stage::Mail) } else { self.count.stage() };
        self.identities().map(stage_of).fold(counted, Stage::max)
    }

    /// All that it looks at.
    pub(super) fn identities(&self) -> impl Iterator<Item = Identity> {
        self.per.iter().chain(self.shared_per()).copied().chain(self.distinct())
    }

    /// The same limit with the numbers of a quota. Its table is its own; one key alone needs the smallest there is.
    pub(super) fn with_quota(&self, quota: &Quota) -> Self {
        let mut limit = Self { quotas: Vec::new(), ..self.clone() };
        match self.rule {
            Rule::FanOut { .. } => {}
            // A page for two keys, one a class: it is never full, so there is nothing to be sketched.
            Rule::Rate { .. } if self.per.len() == 1 => {
                (limit.memory, limit.when_full) = (Some(PAGE_BYTES), WhenFull::Refuse)
            }
            // One for the keys, one for their registers.
            Rule::Distinct { .. } if self.per.len() == 1 => limit.memory = Some(2 * PAGE_BYTES),
            Rule::Rate { .. } | Rule::Distinct { .. } | Rule::InFlight { .. } => limit.memory = None,
        }
        if let Some((rate, burst)) = limit.rule.pace_mut() {
            (*rate, *burst) = (quota.rate, quota.burst);
        }
        limit
    }

    /// `client.net/24/48 + sender.org`
    pub fn per_name(&self) -> String {
        let names: Vec<String> = self.per.iter().map(ToString::to_string).collect();
        names.join(" + ")
    }

    /// Whether it counts distinct things.
    pub fn is_fan_out(&self) -> bool {
        self.distinct().is_some()
    }

    /// What a fan-out counts.
    pub fn distinct(&self) -> Option<Identity> {
        match self.rule {
            Rule::FanOut { distinct, .. } | Rule::Distinct { distinct, .. } => Some(distinct),
            Rule::Rate { .. } | Rule::InFlight { .. } => None,
        }
    }

    /// Whether it counts what is open at once.
    pub fn is_in_flight(&self) -> bool {
        matches!(self.rule, Rule::InFlight { .. })
    }

    /// Whose part of what is free is bounded; empty without a `share`.
    pub fn shared_per(&self) -> &[Identity] {
        match &self.rule {
            Rule::InFlight { share: Some(share), .. } => &share.per,
            _ => &[],
        }
    }
}

/// When an identity becomes known.
pub(super) fn stage_of(identity: Identity) -> Stage {
    match identity.source() {
        Source::Nothing | Source::ClientIp | Source::ClientName => Stage::Connect,
        Source::Helo => Stage::Helo,
        Source::AuthUser | Source::Sender => Stage::Mail,
        Source::Rcpt => Stage::Rcpt,
    }
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
    /// At most `rate` different elements; above it, everything of the key is refused (`refuse = "all"`).
    Distinct {
        /// The element.
        distinct: Identity,
        /// Sustained, in different elements.
        rate: Rate,
        /// Different elements at once.
        burst: u64,
    },
    /// At most `cap` open at once.
    InFlight {
        /// Connections, messages or bytes.
        cap: u64,
        /// How much of it one key may have.
        share: Option<Share>,
    },
}

impl Rule {
    /// The rate and the burst, of a rule that has them.
    pub fn pace(&self) -> Option<(Rate, u64)> {
        match self {
            Self::Rate { rate, burst } | Self::FanOut { rate, burst, .. } | Self::Distinct { rate, burst, .. } => {
                Some((*rate, *burst))
            }
            Self::InFlight { .. } => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn pace_mut(&mut self) -> Option<(&mut Rate, &mut u64)> {
        match self {
            Self::Rate { rate, burst } | Self::FanOut { rate, burst, .. } | Self::Distinct { rate, burst, .. } => {
                Some((rate, burst))
            }
            Self::InFlight { .. } => None,
        }
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

/// A key of `per` holds at most this part of what is still free, and always one.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// One identity or several.
    pub per: Vec<Identity>,
    /// The part.
    pub of_free: Part,
}

/// A part of a whole: `1/10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// From one.
    pub numerator: u64,
    /// Not below the numerator, and at most [`Part::FINEST`].
    pub denominator: u64,
}

impl Part {
    /// So that a part of the largest amount is worked out in 64 bits.
    pub const FINEST: u64 = 1000;
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

/// How a rate is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// A bucket that drains: `burst` at once, then the rate.
    Gcra,
    /// Never more than the amount in any window as long as the period; no `burst`.
    SlidingWindow,
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

/// What happens to a key for which the table has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// It passes, uncounted: an innocent is never hurt.
    Admit,
    /// It is counted in a sketch, never too low: nobody ever gets more, and in a flood some get less.
    Sketch,
    /// It is refused: nobody ever gets more.
    Refuse,
}

impl Count {
    pub(super) const NAMED: [(&str, Self); 4] = [
        ("connections", Self::Connections),
        ("messages", Self::Messages),
        ("recipients", Self::Recipients),
        ("bytes", Self::Bytes),
    ];

    /// When it is known how much there is to count.
    fn stage(self) -> Stage {
        match self {
            Self::Connections => Stage::Connect,
            Self::Messages => Stage::Mail,
            Self::Recipients => Stage::Rcpt,
            Self::Bytes => Stage::Data,
        }
    }
}

impl Verified {
    pub(super) const NAMED: [(&str, Self); 3] =
        [("any", Self::Any), ("proven", Self::Proven), ("claimed", Self::Claimed)];
}

impl Algorithm {
    pub(super) const NAMED: [(&str, Self); 2] = [("gcra", Self::Gcra), ("sliding-window", Self::SlidingWindow)];

    /// What it is unless it is stated: a quota must hold in every window, a name that can be invented must not occupy a slot for long.
    pub(super) fn default_of(is_quota: bool) -> Self {
        if is_quota { Self::SlidingWindow } else { Self::Gcra }
    }
}

impl Mode {
    pub(super) const NAMED: [(&str, Self); 2] = [("enforce", Self::Enforce), ("shadow", Self::Shadow)];
}

impl WhenFull {
    pub(super) const NAMED: [(&str, Self); 3] =
        [("admit", Self::Admit), ("sketch", Self::Sketch), ("refuse", Self::Refuse)];

    /// What it is unless it is stated: a quota must hold, who can invent names must not be able to hurt others.
    pub(super) fn default_of(is_quota: bool) -> Self {
        if is_quota { Self::Sketch } else { Self::Admit }
    }
}

/// The name of `value` in its `NAMED`.
pub(super) fn name_of<T: PartialEq>(value: T, named: &[(&'static str, T)]) -> &'static str {
    named.iter().find(|(_, named)| *named == value).map(|(name, _)| *name).unwrap_or_default()
}
