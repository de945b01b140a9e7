//! Why a limit is not asked about an envelope: what it needs is not known yet, or it does not apply.
//!
//! Knows no counts. Invariant: what does not apply will not, whatever the rest of the dialogue brings; what is not checked still may refuse.

use super::explain::LimitState;
use crate::envelope::Envelope;
use crate::identity::{Identities, Identity, Source, Trust, Value, Values};
use crate::plan::PlannedLimit;
use crate::policy::{Count, Limit, Stage, Stages, Verified};

/// Why a limit is not asked.
pub(super) fn unasked(
    identities: &Identities<'_>,
    planned: &PlannedLimit,
    envelope: &Envelope<'_>,
    stages: Stages,
    is_header_read: bool,
) -> LimitState {
    let limit = &planned.limit;
    let mut missing = Vec::new();
    let mut need = |field| {
        if !missing.contains(&field) {
            missing.push(field);
        }
    };
    if planned.stage >= Stage::Mail && envelope.mail_from.is_none() {
        need("mail_from");
    } else if let Some(why) =
        of_the_others(limit.verified, planned.trust_source.trust(identities.trust(Identity::SenderHost)))
    {
        return LimitState::DoesNotApply(why.into());
    }
    if limit.count == Count::Recipients && envelope.rcpt_to.is_empty() {
        need("rcpt_to");
    }
    for identity in looked_at(limit).filter(|identity| identities.values(*identity).is_empty()) {
        match unknown(identity.source(), envelope.mail_from.is_some(), is_header_read) {
            Absent::NotKnown(field) => need(field),
            Absent::NotThere(why) => return LimitState::DoesNotApply(why.into()),
        }
    }
    if limit.count == Count::Bytes && envelope.size.is_none() {
        need("size");
    }
    if !missing.is_empty() {
        return LimitState::NotChecked { reason: format!("not known: {}", missing.join(", ")), missing };
    }
    if !planned.asked_at.intersects(stages) {
        return LimitState::NotChecked { missing, reason: format!("runs at {}", planned.stage.name()) };
    }
    LimitState::DoesNotApply(if limit.count == Count::Bytes {
        "a size of 0 takes nothing".into()
    } else {
        nothing_new(identities, limit).unwrap_or_else(|| "it counts nothing of this message".into())
    })
}

/// Why a limit does not look at senders of this class.
fn of_the_others(verified: Verified, class: Trust) -> Option<&'static str> {
    match (verified, class) {
        (Verified::Proven, Trust::Claimed) => Some("only proven senders, and this one is claimed"),
        (Verified::Claimed, Trust::Proven) => Some("only claimed senders, and this one is proven"),
        _ => None,
    }
}

/// Why an identity is absent.
enum Absent {
    /// Its field of the envelope is not known yet.
    NotKnown(&'static str),
    /// There is none, and why.
    NotThere(&'static str),
}

/// What a message may be without is not there once its place in the dialogue is over.
fn unknown(source: Source, knows_sender: bool, is_header_read: bool) -> Absent {
    let of_header = |field, why| if is_header_read { Absent::NotThere(why) } else { Absent::NotKnown(field) };
    match source {
        Source::Nothing | Source::ClientIp => Absent::NotKnown("client_ip"),
        Source::ClientName => Absent::NotThere("the client has no confirmed name"),
        Source::Helo => Absent::NotKnown("helo"),
        Source::AuthUser if knows_sender => Absent::NotThere("the client has not logged in"),
        Source::Sender if knows_sender => Absent::NotThere("the sender is the null sender"),
        Source::AuthUser | Source::Sender => Absent::NotKnown("mail_from"),
        Source::Rcpt => Absent::NotKnown("rcpt_to"),
        Source::From => of_header("header_from", "the message has no From"),
        Source::ReplyTo => of_header("reply_to", "the message has no Reply-To"),
        Source::ListId => of_header("list_id", "the message has no List-Id"),
        Source::Dkim => of_header("dkim", "the message has no verified signature"),
    }
}

/// That all that a fan-out would count is the value that it counts under: that is never new.
fn nothing_new(identities: &Identities<'_>, limit: &Limit) -> Option<String> {
    let distinct = limit.distinct()?;
    let value = identities.elements(distinct).first().map(Value::to_string)?;
    let mut values = limit.per.iter().map(|identity| identities.values(*identity));
    let is_value = |values: Values<'_>| values.iter().any(|of_per| of_per.to_string() == value);
    values.any(is_value).then(|| format!("the {distinct} is {value} itself, not a name under it"))
}

/// What it counts, and per what: without those who share what is free, who may be nameless.
pub(super) fn looked_at(limit: &Limit) -> impl Iterator<Item = Identity> {
    limit.per.iter().copied().chain(limit.distinct())
}
