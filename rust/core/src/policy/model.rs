//! A policy and its limits, as the rest of the crate uses them.
//!
//! Every way to a [`Policy`] or a [`Limit`] goes through `limit`, so code that has one need not check it again.
//! This module knows no file format, only the names of its choices.

use std::sync::Arc;

use super::field::Place;
use crate::bitset::{Member, Set};
use crate::identity::{Identity, Source};
use crate::store::params::{Algorithm, Charge, Fraction, Rate, WhenFull};
use crate::{decision::Template, error::PolicyError, stage::Stage, store::access_list::AccessAction};

/// The most limits of a policy: each costs every check two cache lines.
pub const MAX_LIMITS: usize = 64;

/// The part of a cap on bytes that a key which holds nothing may take whatever its share is, unless `first` says more.
const FIRST_PART: u64 = 1000;

/// The most values that have quotas.
pub const MAX_VALUES: usize = 100_000;

/// Reserved names of the built-in refusals. No limit may have one of them, so a name in a log means one thing.
pub(crate) mod reserved {
    /// The refusal for more open permits than the throttle has.
    pub(crate) const MAX_OPEN: &str = "max-open";

    /// The refusal of a recipient after the most that a transaction may have.
    pub(crate) const MAX_RECIPIENTS: &str = "max-recipients";

    /// The refusal by an operator's block.
    pub(crate) const BLOCKED: &str = "blocked";

    /// The refusal of an SMTP command that came too early or too late.
    pub(crate) const OUT_OF_ORDER: &str = "out-of-order";

    pub(crate) const ALL: [&str; 4] = [MAX_OPEN, MAX_RECIPIENTS, BLOCKED, OUT_OF_ORDER];
}

/// A policy: its limits in file order, already multiplied by `scale`.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// The name of the file in messages.
    pub file: String,
    /// The factor `scale`, in millionths. The limits below are multiplied already.
    pub scale_millionths: u64,
    /// The mode of the whole policy; `shadow` overrides the modes of the limits.
    pub mode: Mode,
    /// The operator's own public suffixes (`[suffixes] extra`), in A-labels.
    pub extra_suffixes: Vec<String>,
    /// The most different recipients of one transaction. The server's next transaction may have as many again, so this
    /// bounds what one transaction can probe and hold, and no rate.
    pub max_recipients: Option<u32>,
    /// The largest message that the server takes, in bytes, if the policy states it. No limit may refuse it for ever.
    pub largest_message: Option<u64>,
    /// The address of a page that explains refusals (`help_url`), which replies name.
    pub help_url: Option<Arc<str>>,
    /// The file of quotas as messages name it, and how many values it has. They are among the quotas of the limits.
    pub quota_file: Option<(String, usize)>,
    /// The operator's entries (`[[allow]]` and `[[block]]`), in file order. Of two for the same value the last counts,
    /// and they are of different files.
    pub entries: Vec<PolicyEntry>,
    /// The limits in file order.
    pub limits: Vec<Limit>,
}

impl Policy {
    /// The error about a field of `limit`, or about a field of the policy itself.
    pub(crate) fn error(&self, limit: Option<&Limit>, field: &str, found: String, allowed: String) -> PolicyError {
        let file = limit.and_then(|limit| limit.file.as_ref()).unwrap_or(&self.file).clone();
        let line = limit.and_then(|limit| limit.line);
        Place { file, line, limit: limit.map(|limit| limit.name.clone()), quota_file: None }.error(
            Some(field),
            found,
            allowed,
        )
    }
}

/// The fields of a policy that are lists of entries.
pub(super) const LISTS: [&str; 2] = ["allow", "block"];

/// An entry of `[[allow]]` or `[[block]]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyEntry {
    /// What happens to mail that the entry covers.
    pub action: AccessAction,
    /// The identity.
    pub identity: Identity,
    /// The value, as it was written.
    pub value: String,
    /// When the entry ends; `None`: never.
    pub until: Option<Until>,
    /// The operator's own remark.
    pub comment: Option<String>,
    /// The line in the file, if there is a file.
    pub line: Option<usize>,
    /// The file of that line, if it is a base of the policy's file.
    pub file: Option<String>,
}

/// A time of the calendar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Until {
    /// Microseconds since the Unix epoch.
    pub us: i64,
    /// The time as ISO 8601 writes it.
    pub text: String,
}

impl PolicyEntry {
    /// The name of the list that the entry is in.
    pub fn list(&self) -> &'static str {
        LISTS[usize::from(self.action == AccessAction::Block)]
    }

    /// Whether the entry has ended at this time.
    pub fn has_ended(&self, now_us: i64) -> bool {
        self.until.as_ref().is_some_and(|until| until.us <= now_us)
    }

    /// The place of the entry, for an error about its identity or its value.
    pub(crate) fn place(&self, policy_file: &str) -> PolicyError {
        let file = self.file.as_deref().unwrap_or(policy_file).to_owned();
        PolicyError { file, line: self.line, ..PolicyError::default() }
    }
}

/// One limit of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// The name, unique in the policy.
    pub name: String,
    /// The line in the file, if there is a file.
    pub line: Option<usize>,
    /// The file of that line, if it is a base of the policy's file.
    pub file: Option<String>,
    /// The identities that make the key, at most one of them with several values in a message.
    pub per: Vec<Identity>,
    /// The rule: what is counted, and how much of it is admitted.
    pub rule: Rule,
    /// What one check counts as.
    pub count: Count,
    /// The reports that it counts; empty unless it counts reports.
    pub reports: Set<Report>,
    /// The senders whose messages are counted.
    pub verified: Verified,
    /// The algorithm of the rate counter.
    pub algorithm: Algorithm,
    /// What happens to a key for which the table has no room.
    pub when_full: WhenFull,
    /// The memory in bytes, if the policy states it.
    pub memory: Option<u64>,
    /// Whether the limit refuses.
    pub mode: Mode,
    /// The consequence of a refusal.
    pub action: Action,
    /// The operator's own reply.
    pub reply: Option<Template>,
    /// Other numbers for stated values, in file order.
    pub quotas: Vec<Quota>,
}

impl Limit {
    /// The stage at which the limit runs: the latest at which one of its identities or its amount becomes known.
    ///
    /// A cap is charged at MAIL at the latest, where a permit is taken, so it counts the declared SIZE (RFC 1870 §6.1).
    pub fn stage(&self) -> Stage {
        let counted = match self.count {
            Count::Reports => self.reports.iter().map(Report::stage).max().unwrap_or(Stage::Connect),
            _ if self.is_in_flight() => self.count.stage().min(Stage::Mail),
            _ => self.count.stage(),
        };
        self.sources().map(Source::stage).fold(counted, Stage::max)
    }

    /// What the limit reads of an envelope. One that counts only some senders reads the sender too.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        let reads_sender = self.verified != Verified::Any || self.per.contains(&Identity::ReplyToUnaligned);
        let sender = reads_sender.then_some(Source::Sender);
        let recipients = (self.count == Count::Recipients).then_some(Source::Rcpt);
        self.identities().map(Identity::source).chain(sender).chain(recipients)
    }

    /// All identities that the limit reads.
    pub(crate) fn identities(&self) -> impl Iterator<Item = Identity> {
        let shared = self.tiers().iter().flat_map(|tier| &tier.per);
        self.per.iter().chain(shared).chain(self.new_to()).copied().chain(self.distinct())
    }

    /// The key's identities joined for people: `client.net/24/48 + sender.org`.
    pub fn per_name(&self) -> String {
        joined_name(&self.per)
    }

    /// The identity whose elements a fan-out counts.
    pub fn distinct(&self) -> Option<Identity> {
        match self.rule {
            Rule::FanOut { distinct, .. } | Rule::Distinct { distinct, .. } => Some(distinct),
            Rule::Rate { .. } | Rule::InFlight { .. } => None,
        }
    }

    /// The field `new_to` of a fan-out; empty for any other limit.
    pub(crate) fn new_to(&self) -> &[Identity] {
        if let Rule::FanOut { new_to, .. } = &self.rule { new_to } else { &[] }
    }

    /// The key under which a fan-out remembers admitted elements.
    pub(crate) fn remembered_per(&self) -> &[Identity] {
        if self.new_to().is_empty() { &self.per } else { self.new_to() }
    }

    /// Whether the limit caps what is open at once.
    pub fn is_in_flight(&self) -> bool {
        matches!(self.rule, Rule::InFlight { .. })
    }

    /// The tiers of the `share`; empty without one.
    pub fn tiers(&self) -> &[Share] {
        if let Rule::InFlight { share, .. } = &self.rule { share } else { &[] }
    }

    /// The largest message that passes an in-flight limit on bytes when nothing is held; `None` for any other limit.
    pub(super) fn largest_message(&self) -> Option<u64> {
        let is_of_bytes = self.is_in_flight() && self.count == Count::Bytes;
        is_of_bytes.then(|| self.rule.largest(self.count))
    }

    /// All amounts that a scale multiplies, each with the name of its field.
    pub(super) fn amounts_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut u64)> {
        let of_rule = match &mut self.rule {
            // Nothing is reserved unless the limit says so, and then `scale` must not make it one.
            Rule::InFlight { cap, reserve, .. } => {
                [Some(("in_flight", cap)), Some(("reserve", reserve)).filter(|(_, reserve)| **reserve > 0)]
            }
            Rule::Rate { rate, burst } | Rule::FanOut { rate, burst, .. } | Rule::Distinct { rate, burst, .. } => {
                [Some(("rate", &mut rate.amount)), Some(("burst", burst))]
            }
        };
        let of_quotas = self.quotas.iter_mut().flat_map(|quota| [&mut quota.rate.amount, &mut quota.burst]);
        of_rule.into_iter().flatten().chain(of_quotas.map(|amount| ("quota", amount)))
    }
}

/// Joins the names of a composite key for people.
pub(crate) fn joined_name<'i>(per: impl IntoIterator<Item = &'i Identity>) -> String {
    let names: Vec<String> = per.into_iter().map(ToString::to_string).collect();
    names.join(" + ")
}

/// The rule of a limit.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// A rate limit: at most `rate`, with `burst` at once.
    Rate {
        /// The sustained rate.
        rate: Rate,
        /// The amount at once; by default the amount of the rate.
        burst: u64,
    },
    /// A fan-out that refuses new elements and lets known ones pass free (`refuse = "new"`).
    FanOut {
        /// The identity whose elements are counted.
        distinct: Identity,
        /// The key under which admitted elements are remembered, if it is not the key of the limit.
        new_to: Vec<Identity>,
        /// The sustained rate of new elements.
        rate: Rate,
        /// New elements at once.
        burst: u64,
        /// How long an admitted element stays known, in microseconds.
        remember_us: u64,
        /// The shortest time between a part's first admission and its return, in microseconds. A sixth of it later the
        /// part has a bucket of its own.
        settle_us: Option<u64>,
        /// When an element is charged.
        charge: Charge,
        /// How long after the first check nothing is charged, in microseconds.
        warm_up_us: u64,
        /// After which time an element that was refused is let through, in microseconds.
        readmit_us: Option<u64>,
    },
    /// A fan-out that refuses the whole key when it has too many different elements (`refuse = "all"`).
    Distinct {
        /// The identity whose elements are counted.
        distinct: Identity,
        /// The sustained rate of different elements.
        rate: Rate,
        /// Different elements at once.
        burst: u64,
    },
    /// A cap on what is open at once.
    InFlight {
        /// The cap, in connections, messages or bytes.
        cap: u64,
        /// The tiers of its share: how much of what is free one key may hold. Empty: a key may hold all of it.
        share: Vec<Share>,
        /// How much of the cap is kept for keys that hold nothing.
        reserve: u64,
        /// The most that a key which holds nothing may take whatever its share is, if the policy states it.
        first: Option<u64>,
    },
}

impl Rule {
    /// The rate and the burst of a rule that has them.
    pub fn rate_and_burst(&self) -> Option<(Rate, u64)> {
        self.clone().rate_and_burst_mut().map(|(rate, burst)| (*rate, *burst))
    }

    /// The most that a key which holds nothing may take whatever its share is. One of what is counted one by one; of
    /// bytes a thousandth of the cap, so that many keys together cannot hold much of it by that right.
    pub(crate) fn first(&self, count: Count) -> u64 {
        match *self {
            Self::InFlight { first: Some(first), .. } => first,
            Self::InFlight { cap, .. } if count == Count::Bytes => (cap / FIRST_PART).max(1),
            _ => 1,
        }
    }

    /// The most that one check may bring when nothing is held.
    pub(crate) fn largest(&self, count: Count) -> u64 {
        let Self::InFlight { cap, share, reserve, .. } = self else { return u64::MAX };
        let part = |tier: &Share| cap.saturating_sub(*reserve) * tier.of_free.numerator / tier.of_free.denominator;
        share.iter().map(|tier| part(tier).max(self.first(count))).fold(*cap, u64::min)
    }

    /// The default algorithm and the default of `when_full`, for a limit whose key is `per`.
    ///
    /// A rate per nothing but `auth.user` and `global` is strict: it must hold in every window and for every key, since
    /// no sender can invent its keys. With other limits, an invented name must neither occupy a slot for long nor hurt
    /// other senders. A report may name a user that nobody has proven to be, so a limit on reports is not strict.
    pub(super) fn defaults(&self, per: &[Identity], count: Count) -> (Algorithm, WhenFull) {
        let cannot_be_invented = |identity: &Identity| matches!(identity, Identity::AuthUser | Identity::Global);
        let is_strict = matches!(self, Self::Rate { .. }) && count != Count::Reports;
        let is_strict = is_strict && per.iter().all(cannot_be_invented);
        if is_strict { (Algorithm::SlidingWindow, WhenFull::Sketch) } else { (Algorithm::Gcra, WhenFull::Admit) }
    }

    /// The rate and the burst, to be changed.
    pub(crate) fn rate_and_burst_mut(&mut self) -> Option<(&mut Rate, &mut u64)> {
        match self {
            Self::Rate { rate, burst } | Self::FanOut { rate, burst, .. } | Self::Distinct { rate, burst, .. } => {
                Some((rate, burst))
            }
            Self::InFlight { .. } => None,
        }
    }
}

/// A tier of a share: a key of `per` holds at most this fraction of what is free. A key that holds nothing may hold one
/// all the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The identities that make the key.
    pub per: Vec<Identity>,
    /// The fraction of the free amount.
    pub of_free: Fraction,
}

/// Other numbers for the keys in which one identity has a stated value.
#[derive(Clone, Debug, PartialEq)]
pub struct Quota {
    /// The value, as it was written.
    pub of: String,
    /// The line in the file, if there is a file.
    pub line: Option<usize>,
    /// The file of that line, if it is a base of the policy's file or a file of quotas.
    pub file: Option<String>,
    /// How many files extend the one that states this quota: of two quotas of a value, the one of the last file counts.
    pub depth: u8,
    /// The sustained rate.
    pub rate: Rate,
    /// The amount at once; by default the amount of this rate, not the limit's burst.
    pub burst: u64,
}

/// The consequence of a refusal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// A temporary reply: the sender's server keeps the message and tries again.
    #[default]
    Defer,
    /// A permanent reply: the message bounces.
    Reject,
    /// A temporary reply, and the key is blocked for this time in microseconds.
    Block(u64),
}

impl Action {
    /// How long the action blocks the key, in microseconds.
    pub fn block_us(self) -> Option<u64> {
        if let Self::Block(us) = self { Some(us) } else { None }
    }
}

/// A choice that a policy writes as one of a few names.
pub trait Choice: Copy + PartialEq + 'static {
    /// The names with their values. Reading and printing use this list.
    const NAMES: &'static [(&'static str, Self)];

    /// The name of a value.
    fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, value)| *value == self).map(|(name, _)| *name).unwrap_or_default()
    }

    /// The value of a name.
    fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

/// Names the values of a choice, as a policy writes them.
macro_rules! names {
    ($choice:ty { $($value:ident => $name:literal),* }) => {
        impl Choice for $choice {
            const NAMES: &'static [(&'static str, Self)] = &[$(($name, Self::$value)),*];
        }
    };
}

/// What one check counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// One at connect.
    Connections,
    /// One at MAIL.
    Messages,
    /// One for each recipient.
    Recipients,
    /// The size of the message in bytes.
    Bytes,
    /// Nothing: only reports of the server are counted. A check asks whether there is room for one more.
    Reports,
}

impl Count {
    /// The stage at which the amount is known.
    fn stage(self) -> Stage {
        match self {
            Self::Connections => Stage::Connect,
            Self::Messages => Stage::Mail,
            Self::Recipients => Stage::Rcpt,
            Self::Bytes => Stage::Data,
            // [`Limit::stage`] takes the stage of the reports that it counts.
            Self::Reports => Stage::Mail,
        }
    }
}

names!(Count {
    Connections => "connections", Messages => "messages", Recipients => "recipients", Bytes => "bytes",
    Reports => "reports"
});

/// What a server found out about a client or a message, and reports: no envelope says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A recipient does not exist.
    UnknownRecipient,
    /// The client could not authenticate.
    AuthFailure,
    /// The message is spam.
    Spam,
    /// The message carries a virus.
    Virus,
}

impl Report {
    /// All reports, in the order of their places in a set.
    pub const ALL: [Self; 4] = [Self::UnknownRecipient, Self::AuthFailure, Self::Spam, Self::Virus];

    /// The stage from which a client is refused for such reports: before it can cause another.
    fn stage(self) -> Stage {
        if self == Self::AuthFailure { Stage::Connect } else { Stage::Mail }
    }
}

impl Member for Report {
    const COUNT: u32 = Self::ALL.len() as u32;

    fn place(self) -> u32 {
        self as u32
    }

    fn at(place: u32) -> Self {
        Self::ALL[place as usize]
    }
}

names!(Report {
    UnknownRecipient => "unknown-recipient", AuthFailure => "auth-failure", Spam => "spam", Virus => "virus"
});

/// The senders whose messages a limit counts, by the trust of `sender.*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verified {
    /// All. Keys that contain the sender have a counter for each trust.
    Any,
    /// Senders that SPF or the client's name stands behind.
    Proven,
    /// All other senders.
    Claimed,
    /// Claimed senders that SPF was checked for: the server has a verdict, and it is not `pass`.
    Unproven,
}

names!(Verified { Any => "any", Proven => "proven", Claimed => "claimed", Unproven => "unproven" });

/// Whether a limit or a policy refuses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It refuses.
    #[default]
    Enforce,
    /// It decides and counts, but admits what it would refuse.
    Shadow,
}

names!(Mode { Enforce => "enforce", Shadow => "shadow" });

/// What a fan-out refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refuse {
    /// New elements only; known elements pass.
    New,
    /// The whole key.
    All,
}

names!(Refuse { New => "new", All => "all" });

names!(Algorithm { Gcra => "gcra", SlidingWindow => "sliding-window" });

names!(Charge { Once => "once", Twice => "twice", UntilReturn => "until-return" });

names!(WhenFull { Admit => "admit", Sketch => "sketch", Refuse => "refuse" });
