//! What a limit does when it refuses: defer, reject, or block the key for a while.
//!
//! Knows neither replies nor where a block is kept. Invariant: whatever passes here never lets a sender shut somebody else out.

use super::field::{FieldValue, Wrong};
use super::limit::Share;
use super::nearest::nearest;
use super::quantity::{duration_us, write_period};
use super::validate::Check;
use super::words::Verified;
use crate::error::PolicyError;
use crate::identity::{Identity, Source};

/// What a refusal comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// A temporary answer: the sender's server keeps the message, and tries again.
    #[default]
    Defer,
    /// A permanent one: the message goes back to who sent it.
    Reject,
    /// A temporary one, and the key is refused for this long, in microseconds.
    Block(u64),
}

const BLOCK: &str = "block";

impl Action {
    pub(super) fn read(value: &FieldValue) -> Result<Self, Wrong> {
        let wrong = || Wrong::allowed("\"defer\", \"reject\" or \"block\" with a time, as \"block 10 minutes\"");
        let FieldValue::Text(text) = value else { return Err(wrong()) };
        let (word, time) = text.split_once(' ').unwrap_or((text, ""));
        match (word, time) {
            ("defer", "") => Ok(Self::Defer),
            ("reject", "") => Ok(Self::Reject),
            (BLOCK, "") => Err(wrong().suggest(Some("block 10 minutes"))),
            (BLOCK, time) => duration_us(time).map(Self::Block).map_err(|off| Wrong {
                suggestion: off.suggestion.map(|time| format!("{BLOCK} {time}")),
                allowed: format!("after \"{BLOCK}\" {}", off.allowed),
                ..off
            }),
            _ => Err(wrong().suggest(nearest(word, ["defer", "reject", BLOCK]))),
        }
    }

    /// As a policy says it.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Defer => "defer".into(),
            Self::Reject => "reject".into(),
            Self::Block(us) => format!("{BLOCK} {}", write_period(us, false)),
        }
    }

    /// How long it blocks, in microseconds.
    pub fn block_us(self) -> Option<u64> {
        match self {
            Self::Block(us) => Some(us),
            Self::Defer | Self::Reject => None,
        }
    }
}

impl Check<'_> {
    /// The action of a rate or a fan-out.
    pub(super) fn action(&self, per: &[Identity], verified: Verified) -> Result<Action, PolicyError> {
        let Some(given) = &self.draft.action else { return Ok(Action::Defer) };
        if given.value.block_us().is_none() {
            return Ok(given.value);
        }
        let refused = |allowed: String| Err(self.place.wrong(given.field, Wrong::allowed(allowed)));
        if self.draft.settle_us.is_some() {
            return refused(
                "\"defer\" or \"reject\" beside `settle`: what fans out is a part of a name, and a block of the whole key would refuse its neighbours"
                    .into(),
            );
        }
        if let Some(claimed) = per.iter().find(|identity| is_claimed(**identity, verified)) {
            let proven = if claimed.source().is_mere_claim() { "" } else { ", or verified = \"proven\"" };
            return refused(format!(
                "\"defer\" or \"reject\" per {claimed}, which is a mere claim: whoever writes the name could have its owner blocked; \
                 \"block\" needs a key of client.*, auth.user or dkim.org{proven}"
            ));
        }
        if !per.iter().any(|identity| is_own(*identity)) {
            return refused(format!(
                "\"defer\" or \"reject\" per {}, which is no sender: a block would shut it to everybody; \"block\" needs a part that is client.*, \
                 auth.user, dkim.org or a proven sender",
                super::limit::joined_name(per)
            ));
        }
        Ok(given.value)
    }

    /// The action of a cap. What is open is let go of by itself; and of a cap that many share, the last to come is not to blame.
    pub(super) fn cap_action(&self, per: &[Identity], share: Option<&Share>) -> Result<Action, PolicyError> {
        let Some(given) = &self.draft.action else { return Ok(Action::Defer) };
        let allowed = match given.value {
            Action::Defer => return Ok(Action::Defer),
            Action::Block(_) => {
                "\"defer\" or \"reject\" beside `in_flight`: to hold much is no offence, and what is open is soon let go of"
            }
            Action::Reject if share.is_some() || !per.iter().any(|identity| is_own(*identity)) => {
                "\"defer\" beside an `in_flight` that many share: who finds it full has not filled it"
            }
            Action::Reject => return Ok(Action::Reject),
        };
        Err(self.place.wrong(given.field, Wrong::allowed(allowed)))
    }
}

/// Whether anybody can write the name into a message.
fn is_claimed(identity: Identity, verified: Verified) -> bool {
    match identity.source() {
        Source::Sender => verified != Verified::Proven,
        source => source.is_mere_claim(),
    }
}

/// Whether it tells who sends.
fn is_own(identity: Identity) -> bool {
    !matches!(identity.source(), Source::Nothing | Source::Rcpt) && !identity.source().is_mere_claim()
}
