//! Step three of a check, after the lock: from the outcome to a decision in words, and names for the values near a
//! limit.
//!
//! The text of a key is made again from the envelope, because no table of a limit stores text.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Engine;
use super::access::{blocked_by, earliest, reply_to_blocked};
use super::notices::Refusing;
use super::request::Room;
use super::session::Receipt;
use super::transaction::{Outcome, Purpose, Refused, RefusedBy};
use crate::decision::{Decision, Refusal, Reply, ReplySettings};
use crate::envelope::Envelope;
use crate::identity::{Identities, Identity, Part, Sources, Value};
use crate::plan::PlannedLimit;
use crate::policy::reserved::{BLOCKED, MAX_OPEN, MAX_RECIPIENTS};
use crate::policy::{Action, Stage, Stages};
use crate::region::Now;
use crate::stats::{Name, Newcomer, value_of};
use crate::store::in_flight::Token;
use crate::store::request::Question;

/// Most names that one check brings: a message to a thousand mailboxes must not hold the lock for as many. The next
/// check brings more.
const MOST_NAMES: usize = 16;

/// The decision on an envelope, the receipt that `refund` takes, and a token when something is held.
pub type Decided = (Decision, Receipt, Option<Token>);

impl Engine {
    /// Consults every limit of `stages` and, when all agree, charges them as [`Purpose::Check`] states. `None`: every
    /// stage that the envelope knows.
    pub fn check(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> Decision {
        self.decide(envelope, stages, now, Purpose::Check).0
    }

    /// Consults every limit, charges nothing and moves no time.
    pub fn peek(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> Decision {
        self.decide(envelope, stages, now, Purpose::Peek).0
    }

    /// Checks, and holds what the in-flight limits of `stages` count until the token is released. A refused envelope
    /// holds nothing and gets no token.
    pub fn admit(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now) -> (Decision, Option<Token>) {
        let (decision, _, token) = self.decide(envelope, stages, now, Purpose::Admit);
        (decision, token)
    }

    /// Consults every limit of `stages`, and when all agree does what `purpose` states.
    pub fn decide(&self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now, purpose: Purpose) -> Decided {
        self.decide_and(envelope, stages, now, purpose, |_, _| ())
    }

    /// A check that hands the identities it has read to `see`, for a caller that counts them too: reading them again
    /// would take a fifth of a check.
    #[inline(always)]
    pub fn decide_and(
        &self, envelope: &Envelope<'_>, stages: Option<Stages>, now: Now, purpose: Purpose,
        see: impl FnOnce(&Decision, &Identities<'_>),
    ) -> Decided {
        let stages = stages.unwrap_or_else(|| Stages::known_of(envelope));
        let mut room = Room::kept();
        let mut identities = Identities::default();
        self.prepare_check(&mut identities, &mut room, envelope, stages, purpose, None, Sources::default());
        let mut outcome = self.transact_releasing(&room.request, &mut room.found, now, purpose, &[], |_, _, _| ());
        let token = outcome.token.take();
        let (decision, receipt) = self.finish(&identities, &room, &outcome, stages, now);
        room.keep();
        if purpose != Purpose::Peek {
            self.sample(envelope, &decision, outcome.at_us);
        }
        see(&decision, &identities);
        (decision, receipt, token)
    }

    /// Makes a decision of an outcome, and gives names to the values near a limit.
    #[inline(always)]
    pub(super) fn finish(
        &self, identities: &Identities<'_>, room: &Room, outcome: &Outcome, stages: Stages, now: Now,
    ) -> (Decision, Receipt) {
        if !room.found.unnamed.is_empty() {
            self.name_near_limit(identities, room, outcome.refused.is_none(), now);
        }
        let receipt = if outcome.is_charged {
            let is_stated = matches!(now, Now::Stated(_));
            Receipt { at_us: outcome.at_us, stages, generation: self.generation(), is_stated, filter: None }
        } else {
            Receipt::default()
        };
        let refusal = outcome.refused.map(|refused| {
            let mut refusal = self.refusal(identities, room, outcome.reads_us, refused, stages);
            refusal.settings.help.clone_from(&self.plan.help_url);
            refusal
        });
        let has_shadow = !outcome.shadow.is_empty() || outcome.has_built_in_shadow();
        let shadow = if has_shadow { self.shadow_names(outcome) } else { Box::default() };
        if (refusal.is_some() || has_shadow) && !outcome.is_peek {
            self.add_notices(identities, room, outcome, refusal.as_deref(), now);
        }
        (Decision { refusal, shadow }, receipt)
    }

    /// Adds to the notices which limits refused which keys, or would have refused them.
    #[inline(never)]
    fn add_notices(
        &self, identities: &Identities<'_>, room: &Room, outcome: &Outcome, refusal: Option<&Refusal>, now: Now,
    ) {
        let now_us = now.us();
        let Room { request, found } = room;
        for (_, entry, answer) in found.stores.consulted(&request.stores).filter(|(.., answer)| !answer.fits()) {
            let planned = &self.plan.limits[usize::from(entry.limit)];
            let Some(key) = request.keys.joined::<true>(&self.secret, &planned.per, entry.nth as usize) else {
                continue;
            };
            let key = match (answer.part, entry.question) {
                (Some(part), Question::FanOut { lookup, .. }) => {
                    let parts = request.stores.lookups[lookup as usize].parts.of(&request.stores.parts);
                    parts.get(usize::from(part)).map_or(key, |part| part.bucket)
                }
                _ => key,
            };
            let refusing = Refusing {
                key: self.secret.join(planned.name_key, key),
                limit: &planned.name,
                identity: &planned.per_name,
                is_shadow: outcome.shadow.contains(planned.of),
            };
            self.notices.refused(refusing, now_us, || key_text(identities, planned, entry.nth, answer.part));
        }
        // What refuses and has no entry: what is in flight, blocks, and the number of permits or recipients.
        let is_of_entry = |refused: &Refused| matches!(refused.by, RefusedBy::Entry { .. });
        if let Some(refusal) = refusal.filter(|_| !outcome.refused.as_ref().is_some_and(is_of_entry)) {
            let [name, key] = [&*refusal.limit, &refusal.key].map(|text| self.secret.text(text.as_bytes()));
            let Refusal { limit, identity, .. } = refusal;
            let refusing = Refusing { key: self.secret.join(name, key), limit, identity, is_shadow: false };
            self.notices.refused(refusing, now_us, || refusal.key.clone());
        }
    }

    /// The names of the limits that would have refused.
    #[cold]
    fn shadow_names(&self, outcome: &Outcome) -> Box<[Arc<str>]> {
        let shadow = outcome.shadow.iter().map(|limit| self.plan.limits[usize::from(limit)].name.clone());
        let built_in = [
            (outcome.is_max_open_shadow, MAX_OPEN),
            (outcome.is_max_recipients_shadow, MAX_RECIPIENTS),
            (outcome.is_entry_shadow, BLOCKED),
        ];
        let built_in = built_in.into_iter().filter(|(would_refuse, _)| *would_refuse).map(|(_, name)| name.into());
        built_in.chain(shadow).collect()
    }

    /// Returns the refusal: which limit refused, for which key, and until when.
    #[inline(never)]
    fn refusal(
        &self, identities: &Identities<'_>, room: &Room, reads_us: i64, refused: Refused, stages: Stages,
    ) -> Box<Refusal> {
        let Room { request, found } = room;
        let wait_us =
            (refused.until_us < u64::MAX).then(|| refused.until_us.saturating_add_signed(reads_us.saturating_neg()));
        let (limit, nth) = match refused.by {
            RefusedBy::Entry { place, .. } => (request.stores.entries[place].limit, request.stores.entries[place].nth),
            RefusedBy::InFlight(limit) => (limit, 0),
            RefusedBy::MaxOpen => return Box::new(max_open(wait_us, stages)),
            RefusedBy::MaxRecipients => {
                return Box::new(Refusal::unstated(MAX_RECIPIENTS, wait_us, Stage::Rcpt, Reply::Recipients));
            }
            RefusedBy::Block(place) => blocked_by(request, place),
            RefusedBy::AccessEntry => {
                return Box::new(self.refusal_by_entry(identities, request, found, wait_us, stages));
            }
        };
        let planned = &self.plan.limits[usize::from(limit)];
        let (stage, (kind, settings)) = match (refused.by, planned.block_rule) {
            // A block by a limit refuses at the first stage that knows the key.
            (RefusedBy::Block(_), Some(rule)) => {
                let stage = earliest(stages, rule.from);
                (stage, reply_to_blocked(planned, stage))
            }
            // A limit refuses at its own stage, or at another at which it is asked: at MAIL for bytes where a SIZE is
            // declared, at RCPT for reports of unknown recipients.
            _ => {
                let others = planned.asked_at.intersect(stages).iter().next().unwrap_or(planned.stage);
                let stage = if stages.contains(planned.stage) { planned.stage } else { others };
                let rejects_at = (planned.limit.action == Action::Reject).then_some(stage);
                (
                    stage,
                    (planned.reply, ReplySettings { rejects_at, template: planned.limit.reply.clone(), help: None }),
                )
            }
        };
        let key = key_text(identities, planned, nth, refused.part);
        let (limit, identity) = (planned.name.clone(), planned.per_name.clone());
        Box::new(Refusal { limit, identity, key, wait_us, stage, kind, settings })
    }

    /// Gives names to the values of entries near a limit: to each part of a composite, under its own identity. It takes
    /// the lock a second time, briefly.
    #[cold]
    fn name_near_limit(&self, identities: &Identities<'_>, room: &Room, is_admitted: bool, now: Now) {
        let Room { request, found } = room;
        let since_us = now.us();
        let counted = request.counted();
        let mut newcomers: SmallVec<[Newcomer; 4]> = SmallVec::new();
        for &place in &found.unnamed {
            let entry = &request.stores.entries[place as usize];
            let planned = &self.plan.limits[usize::from(entry.limit)];
            for (&place, &identity) in planned.per.iter().zip(&planned.limit.per) {
                let Some(seen) = value_of(counted, place.into(), entry.nth) else { continue };
                if newcomers.len() == MOST_NAMES || newcomers.iter().any(|newcomer| newcomer.value == seen) {
                    continue;
                }
                if let Some(value) = identities.nth(identity, entry.nth) {
                    newcomers.push(Newcomer { value: seen, name: Name::of(&value.to_string()), since_us });
                }
            }
        }
        let new = |place, element, nth| self.new_elements(request, &found.stores.sightings, (place, element), nth);
        self.plan.stats.enter(&mut self.shared.lock(), &newcomers, counted, new, is_admitted);
    }
}

/// The key as people read it: the part of the name whose bucket was asked, else the values of the limit's identities.
pub(super) fn key_text(identities: &Identities<'_>, planned: &PlannedLimit, nth: u32, part: Option<u8>) -> String {
    key_text_of(identities, planned, nth, part, |identity| identities.values(identity))
}

/// [`key_text`], for a caller that has read the values already because the envelope has many keys.
pub(super) fn key_text_of<'v, V: std::ops::Deref<Target = [Value<'v>]>>(
    identities: &Identities<'_>, planned: &PlannedLimit, nth: u32, part: Option<u8>, values: impl Fn(Identity) -> V,
) -> String {
    let part = part.zip(planned.limit.distinct()).and_then(|(part, distinct)| {
        identities.ladder(distinct, planned.limit.per[0]).get(usize::from(part)).map(|part| (*part).to_owned())
    });
    part.unwrap_or_else(|| {
        let text = |&identity: &Identity| {
            let values = values(identity);
            match values.get(nth as usize).or(values.first()) {
                // The usual value needs no formatting.
                Some(Value::Name(Part::Text(name))) => (*name).to_owned(),
                value => value.map(Value::to_string).unwrap_or_default(),
            }
        };
        match &planned.limit.per[..] {
            [identity] => text(identity),
            per => per.iter().map(text).collect::<Vec<_>>().join(" + "),
        }
    })
}

/// The refusal of one permit too many.
fn max_open(wait_us: Option<u64>, stages: Stages) -> Refusal {
    let is_late = [Stage::Mail, Stage::Rcpt, Stage::Data].into_iter().any(|stage| stages.contains(stage));
    let kind = if is_late { Reply::Capacity } else { Reply::Crowded };
    Refusal::unstated(MAX_OPEN, wait_us, earliest(stages, Stage::Connect), kind)
}
