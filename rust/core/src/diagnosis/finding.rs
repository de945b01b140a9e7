//! What a diagnosis says: the state of the last minutes, and the values that tie a surge together.

use std::sync::Arc;

use crate::identity::Identity;

/// What the last minutes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// There is too little history.
    Early,
    /// Nothing is wrong.
    Quiet,
    /// There is more mail, and it is the mass mail of a proven sender.
    MassMail,
    /// There is more mail, and most of it shares the values found.
    Surge,
    /// There is more mail, and no value is shared by most of it.
    Scattered,
}

/// A value that operators may act on, and the ordinary mail that has it, too.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The identity.
    pub identity: Identity,
    /// Its value.
    pub value: String,
    /// Whether the value is whole: a text that is too long for the sample holds a hash.
    pub is_whole: bool,
    /// Whether typing it names exactly this value: some names are read as other names.
    pub is_exact: bool,
    /// Whether operators may block the value.
    pub can_block: bool,
    /// Its share of the ordinary mail that reached the stage.
    pub ordinary_share: f64,
    /// How many ordinary messages of the sample a block of it would have refused.
    pub ordinary_matching: u32,
    /// How many of those of the whole hour before, the louder minutes included, come from proven senders. The minutes
    /// of the flood itself are left out.
    pub proven_matching: u32,
    /// The most messages with it that an ordinary minute had, as an estimate.
    pub busiest_ordinary_minute: f64,
}

/// A value that ties the surge, or a part of it, together.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The value.
    pub target: Target,
    /// Values of other identities that nearly all of its messages have.
    pub also: Vec<Target>,
    /// Whether it explains only the messages that reached the stage of the identity: the others do not show it.
    pub is_of_part: bool,
    /// Whether it is the mass mail of a proven sender.
    pub is_mass_mail: bool,
    /// Its part of the whole surge, of the messages that reached the stage of the identity.
    pub surge_share: f64,
    /// Its excess, in messages.
    pub surge_messages: f64,
    /// Its share of the last minutes, of the messages that reached the stage.
    pub recent_share: f64,
    /// How much of it was refused, or would have been in shadow mode.
    pub refused_share: f64,
    /// How much of it comes from proven senders.
    pub proven_share: f64,
    /// How many messages of the sample have it.
    pub kept: u32,
    /// The limits that refused it, with the part that each refused, the largest first.
    pub limits: Vec<(Arc<str>, f64)>,
}

/// The value of an identity that has more of the surge than any other.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The identity.
    pub identity: Identity,
    /// Its value; `None` when no recent message has one.
    pub value: Option<String>,
    /// Its share of the last minutes, of the messages that reached the stage.
    pub recent_share: f64,
    /// Its share of ordinary mail, of the messages that reached the stage.
    pub ordinary_share: f64,
    /// How much of it was refused, or would have been in shadow mode.
    pub refused_share: f64,
    /// How many messages reached the stage of the identity, as an estimate.
    pub reached: f64,
    /// From how many messages of the sample the shares are estimated.
    pub kept: u32,
}

/// What [`super::surge::diagnose`] returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnosis {
    /// What the last minutes are.
    pub state: State,
    /// How long the last minutes are, µs.
    pub recent_us: u64,
    /// How many minutes before them were looked at.
    pub before_minutes: usize,
    /// How many messages came: exact.
    pub messages: u64,
    /// How many of them a limit refused, or would have refused in shadow mode: exact.
    pub refused: u64,
    /// How many come ordinarily in that time.
    pub ordinary: f64,
    /// The size of the sample of the last minutes.
    pub kept: u32,
    /// The size of the sample of ordinary mail.
    pub ordinary_kept: u32,
    /// Floods and mass mail, the largest first.
    pub findings: Vec<Finding>,
    /// A row for each identity.
    pub rows: Vec<Row>,
}
