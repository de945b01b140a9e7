//! One rule of a policy, checked: what is counted, per which identity, how much.

use super::words::{Count, Mode, Verified};
use super::{Action, Quota};
use crate::identity::Identity;
use crate::region::PAGE_BYTES;
use crate::reply::Template;
use crate::stage::Stage;
use crate::store::params::{Algorithm, Fraction, Rate, WhenFull};

/// A policy: limits in file order, already multiplied by `scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// File it came from, for messages.
    pub file: String,
    /// What `scale` was, in millionths; the limits below are multiplied already.
    pub scale_millionths: u64,
    /// Whether any of its limits refuses: over the modes of the limits.
    pub mode: Mode,
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
    /// The file of that line, when it is a base of the policy's.
    pub file: Option<String>,
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
    /// What a refusal comes to.
    pub action: Action,
    /// The operator's own answer.
    pub reply: Option<Template>,
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
    pub(crate) fn identities(&self) -> impl Iterator<Item = Identity> {
        self.per.iter().chain(self.shared_per()).copied().chain(self.distinct())
    }

    /// The same limit with the numbers of a quota. Its table is its own; one key alone needs the smallest there is.
    pub(crate) fn with_quota(&self, quota: &Quota) -> Self {
        let mut limit = Self { quotas: vec![quota.clone()], ..self.clone() };
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
        if let Some((rate, burst)) = limit.rule.rate_and_burst_mut() {
            (*rate, *burst) = (quota.rate, quota.burst);
        }
        limit
    }

    /// `client.net/24/48 + sender.org`
    pub fn per_name(&self) -> String {
        joined_name(&self.per)
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

/// A composite as people read it.
pub(crate) fn joined_name<'i>(per: impl IntoIterator<Item = &'i Identity>) -> String {
    let names: Vec<String> = per.into_iter().map(ToString::to_string).collect();
    names.join(" + ")
}

/// When an identity becomes known.
pub(crate) fn stage_of(identity: Identity) -> Stage {
    identity.stage()
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
    pub fn rate_and_burst(&self) -> Option<(Rate, u64)> {
        match self {
            Self::Rate { rate, burst } | Self::FanOut { rate, burst, .. } | Self::Distinct { rate, burst, .. } => {
                Some((*rate, *burst))
            }
            Self::InFlight { .. } => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn rate_and_burst_mut(&mut self) -> Option<(&mut Rate, &mut u64)> {
        match self {
            Self::Rate { rate, burst } | Self::FanOut { rate, burst, .. } | Self::Distinct { rate, burst, .. } => {
                Some((rate, burst))
            }
            Self::InFlight { .. } => None,
        }
    }
}

/// A key of `per` holds at most this part of what is still free, and always one.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// One identity or several.
    pub per: Vec<Identity>,
    /// The part.
    pub of_free: Fraction,
}
