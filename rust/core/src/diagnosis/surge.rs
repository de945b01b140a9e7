//! What the last five minutes have more of than the hour before, and which value most of that shares.
//!
//! **Idea.** Ordinary is what the ordinary minutes of the hour before brought (`minutes`). Of each value, the *excess*
//! is how many messages more it had in the last five minutes than it has ordinarily. A value explains the surge as far
//! as its part of the whole excess is greater than its part of ordinary mail:
//!
//! ```text
//!  explained = (c − o) / (1 − o)      c = excess of the value / whole excess     o = its share of ordinary mail
//! ```
//!
//! A host that receives all mail has o = 1 and explains nothing. Of values that explain nearly the same, the one with
//! the least share of ordinary mail is named, since acting on it costs least; then the first in the order of
//! [`COMPARED`]. Then its messages are taken out, and the rest is looked at again, for two floods can come at once.
//!
//! **What is no flood.** One proven sender with one From or one List-Id, whose messages are let through: a newsletter.
//! It is taken out like a flood, and reported as mass mail. Other proven mail that is let through is taken out too,
//! and not reported below `LEAST_PROVEN` of ordinary mail: a server that was held up sends what it kept.
//!
//! **Certainty.** At most 96 messages of a minute are an estimate. A value counts when its excess is a quarter of
//! ordinary mail, four standard deviations of the estimate, and `LEAST_KEPT` messages of the sample. If most of it is
//! let through, its excess must be `LEAST_UNREFUSED` of ordinary mail; if that is proven too, `LEAST_PROVEN`. Ordinary
//! mail itself comes in bursts, of mailings above all: in `tests/mail`, five minutes bring up to 2.5 times what is
//! ordinary, an excess of 1.53. So a surge without a common value must be larger than that, or consist of messages that
//! were refused or are not proven: `LEAST_SCATTERED` and `LEAST_DOUBTFUL`.
//!
//! **Deep stages.** A flood that is refused at MAIL shows a Reply-To only in the messages that are let through. If no
//! value of an early stage explains the surge, one that explains the excess of those that reached its stage is named,
//! as a finding of a part.
//!
//! **Cost.** 6,240 messages at most; each round walks over them a few times.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::finding::{Diagnosis, Finding, Row, State, Target};
use super::identities::COMPARED;
use super::minutes::{LEAST_BEFORE, LOUD, Minutes};
use super::samples::{Snapshot, is_shortened};
use super::volumes::{Corpus, Message, NEARLY_ALL, Period, Volume, Volumes, ratio};
use crate::identity::{Identity, SuffixList};
use crate::stage::Stage;

/// The most findings.
pub const MOST_FINDINGS: usize = 3;

/// The most values that are taken out, mass mail included.
const MOST_ROUNDS: usize = 8;

/// The least excess of a value, as a part of ordinary mail.
const LEAST_EXCESS: f64 = 0.25;

/// The least excess of a value most of whose messages are let through: a ticket system brings a third of ordinary mail
/// now and then.
const LEAST_UNREFUSED: f64 = 0.4;

/// The least excess of a value most of whose messages are let through, and nearly all are proven: in `tests/mail`,
/// servers that were held up for hours bring 0.54 of ordinary mail, or 0.65 if two of them have one value in common.
const LEAST_PROVEN: f64 = 0.75;

/// The least part of the surge that a value explains, to be a finding.
const LEAST_EXPLAINED: f64 = 0.25;

/// The least part of the surge that all findings explain, unless what they leave is no surge.
const ALL_EXPLAIN: f64 = 0.5;

/// The least surge without a common value, as a part of ordinary mail.
const LEAST_SCATTERED: f64 = 1.75;

/// The least such surge of messages that were refused, or whose sender is not proven.
const LEAST_DOUBTFUL: f64 = 0.75;

/// How many standard deviations an excess must have to be certain.
const CERTAIN: f64 = 4.0;

/// The least messages of the sample that a finding is made of.
const LEAST_KEPT: u32 = 12;

/// The least of all messages that a surge or a finding is made of, estimated. A held queue, a ticket system or a cron
/// job brings up to sixty at once, whatever the size of the server.
const LEAST_MESSAGES: f64 = 100.0;

/// Values whose explained parts differ by at most this count as equal.
const TIE: f64 = 0.05;

/// Shares of ordinary mail count as equal within one step of this size.
const SAME_SHARE: f64 = 0.005;

/// A proven sender whose messages are refused less than this is no flood.
const HARMLESS_REFUSED: f64 = 0.05;

/// From this refused part on, limits hold a flood.
const MOSTLY_REFUSED: f64 = 0.5;

/// A value that may tie the surge together.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    value: u32,
    place: usize,
    explained: f64,
    ordinary_share: f64,
    is_of_part: bool,
}

struct Analysis<'c> {
    corpus: &'c Corpus,
    /// Which messages are left to be looked at.
    left: Vec<bool>,
    /// Which messages no finding explains: those that are left, and those that were taken out and not reported.
    unexplained: Vec<bool>,
    /// How many messages are ordinary in the last minutes' time.
    ordinary: f64,
    /// What ordinary messages are scaled by.
    scale: f64,
    ordinary_minutes: usize,
}

/// Compares the last minutes before `now_us`, engine time, with the hour before them.
///
/// `typed` returns whether typing the value names exactly this value, and whether operators may block it.
pub fn diagnose(
    snapshot: &Snapshot, now_us: u64, suffixes: &SuffixList, typed: impl Fn(Identity, &str) -> (bool, bool),
) -> Diagnosis {
    let minutes = Minutes::of(snapshot, now_us);
    let corpus = minutes.corpus(suffixes);
    let all = vec![true; corpus.messages.len()];
    let mut analysis = Analysis {
        corpus: &corpus,
        left: all.clone(),
        unexplained: all,
        ordinary: 0.0,
        scale: minutes.scale(),
        ordinary_minutes: minutes.ordinary_minutes.max(1),
    };
    let whole = analysis.volumes();
    let all = whole.stages[Stage::Connect as usize];
    analysis.ordinary = all.ordinary.messages;
    let (mut state, mut findings) = (State::Early, Vec::new());
    if minutes.before_minutes >= LEAST_BEFORE {
        let (found, rest) = analysis.findings();
        (state, findings) = (state_of(&found, &all, &rest), found);
    }
    for target in findings.iter_mut().flat_map(|finding| std::iter::once(&mut finding.target).chain(&mut finding.also))
    {
        let (is_exact, can_block) = typed(target.identity, &target.value);
        (target.is_exact, target.can_block) = (is_exact, can_block && is_exact && target.is_whole);
    }
    Diagnosis {
        state,
        recent_us: minutes.recent_us,
        before_minutes: minutes.before_minutes,
        messages: minutes.recent.iter().map(|pane| pane.seen()).sum(),
        refused: minutes.recent.iter().map(|pane| pane.refused).sum(),
        ordinary: all.ordinary.messages,
        kept: all.recent.kept,
        ordinary_kept: all.ordinary.kept,
        findings,
        rows: (0..COMPARED.len()).map(|place| analysis.row(&whole, place)).collect(),
    }
}

/// What all findings together say. `rest` has the messages that none of them explains.
fn state_of(found: &[Finding], all: &Volume, rest: &Volumes) -> State {
    let is_large = |volume: &Volume, least: f64| {
        volume.excess() >= least * all.ordinary.messages
            && volume.excess() >= LEAST_MESSAGES
            && volume.recent.kept >= LEAST_KEPT
            && volume.excess() >= CERTAIN * volume.deviation()
    };
    let is_of_part = found.iter().any(|finding| finding.is_of_part);
    let explained = ratio(found.iter().map(|finding| finding.surge_messages).sum(), all.excess());
    let is_rest_large =
        is_large(&rest.stages[Stage::Connect as usize], LEAST_SCATTERED) || is_large(&rest.doubtful, LEAST_DOUBTFUL);
    let is_explained = is_of_part || explained >= ALL_EXPLAIN || !is_rest_large;
    match () {
        () if found.iter().any(|finding| !finding.is_mass_mail) && is_explained => State::Surge,
        () if is_rest_large => State::Scattered,
        () if !found.is_empty() => State::MassMail,
        () => State::Quiet,
    }
}

impl Analysis<'_> {
    fn volumes(&self) -> Volumes {
        self.corpus.volumes(|place, _| self.left[place])
    }

    /// Floods and mass mail, in the order in which they were found, and the messages that they do not explain.
    fn findings(&mut self) -> (Vec<Finding>, Volumes) {
        let mut found: Vec<Finding> = Vec::new();
        let whole = self.volumes();
        for _ in 0..MOST_ROUNDS {
            let volumes = self.volumes();
            let candidates = self.candidates(&volumes);
            let candidates = if candidates.is_empty() { self.candidates_of_part(&volumes) } else { candidates };
            let explained = |a: &&Candidate, b: &&Candidate| a.explained.total_cmp(&b.explained);
            let Some(most) = candidates.iter().max_by(explained).copied() else { break };
            let best = self.best(&volumes, &candidates, most);
            let mailer = self.mass_mailer(&volumes, best);
            let best = mailer.unwrap_or(best);
            let volume = &volumes.values[if best.is_of_part { most.value } else { best.value } as usize];
            let is_let_through = volume.refused < MOSTLY_REFUSED * volume.recent.messages;
            let is_proven = volume.is_proven();
            let least = if is_proven { LEAST_PROVEN } else { LEAST_UNREFUSED };
            let is_ordinary = volume.excess() < least * self.ordinary && is_let_through;
            let is_finding = mailer.is_some() || most.is_of_part || !is_ordinary;
            if is_finding {
                let surge = self.stage(&whole, best.place).excess();
                found.push(self.finding(&volumes, best, mailer.is_some(), surge));
            } else if !is_proven {
                break;
            }
            let masks = self.left.iter_mut().zip(&mut self.unexplained);
            for ((left, unexplained), message) in masks.zip(&self.corpus.messages) {
                // A value that only a part shows also takes out the wider value that it was found within.
                let is_taken = message.has(best.value) || best.is_of_part && message.has(most.value);
                *left &= !is_taken;
                *unexplained &= !(is_taken && is_finding);
            }
            if most.is_of_part || found.iter().filter(|finding| !finding.is_mass_mail).count() == MOST_FINDINGS {
                break;
            }
        }
        let rest = self.corpus.volumes(|place, _| self.unexplained[place]);
        (found, rest)
    }

    fn stage<'t>(&self, volumes: &'t Volumes, place: usize) -> &'t Volume {
        &volumes.stages[COMPARED[place].stage() as usize]
    }

    /// How much of a surge of `excess` messages a value explains, if it is certain that it has more than ordinarily.
    fn candidate(&self, volumes: &Volumes, value: u32, excess: f64) -> Option<Candidate> {
        let (volume, place) = (&volumes.values[value as usize], self.corpus.values[value as usize].0);
        let own = volume.excess();
        // Of a surge that is hardly large enough, the value that nearly all of it shares may have less than a hundred.
        let is_large = own >= LEAST_MESSAGES || excess >= LEAST_MESSAGES && own >= ALL_EXPLAIN * excess;
        let is_certain = own >= CERTAIN * volume.deviation() && is_large && volume.recent.kept >= LEAST_KEPT;
        if !is_certain {
            return None;
        }
        let ordinary = self.stage(volumes, place).ordinary.messages;
        let ordinary_share = ratio(volume.ordinary.messages, ordinary);
        let explained = (ratio(own, excess.max(own)) - ordinary_share) / (1.0 - ordinary_share).max(f64::EPSILON);
        Some(Candidate { value, place, explained, ordinary_share, is_of_part: false })
    }

    /// The values that explain enough of what is left.
    fn candidates(&self, volumes: &Volumes) -> Vec<Candidate> {
        let excess = volumes.stages[Stage::Connect as usize].excess();
        let is_large = |value: &u32| volumes.values[*value as usize].excess() >= LEAST_EXCESS * self.ordinary;
        let values = (0..volumes.values.len() as u32).filter(is_large);
        let candidates = values.filter_map(|value| self.candidate(volumes, value, excess));
        candidates.filter(|candidate| candidate.explained >= LEAST_EXPLAINED).collect()
    }

    /// The values that explain most of the messages that reached their stage, when most of a surge did not reach it.
    fn candidates_of_part(&self, volumes: &Volumes) -> Vec<Candidate> {
        let whole = volumes.stages[Stage::Connect as usize].excess();
        if whole < 2.0 * LEAST_EXCESS * self.ordinary {
            return Vec::new();
        }
        let candidate = |value: u32| {
            let (volume, place) = (&volumes.values[value as usize], self.corpus.values[value as usize].0);
            let reached = self.stage(volumes, place).excess();
            let is_small = reached < (1.0 - LEAST_EXPLAINED) * whole;
            let is_proven = volume.is_proven();
            let candidate = self.candidate(volumes, value, reached).filter(|_| is_small && !is_proven)?;
            Some(Candidate { is_of_part: true, ..candidate })
        };
        let candidates = (0..volumes.values.len() as u32).filter_map(candidate);
        candidates.filter(|candidate| candidate.explained >= ALL_EXPLAIN).collect()
    }

    /// The candidate to be named, of those that explain nearly as much as the one that explains the most.
    fn best(&self, volumes: &Volumes, candidates: &[Candidate], most: Candidate) -> Candidate {
        // What nearly all of its messages share is named instead if it is rarer. That may be something that only a
        // part of them shows.
        let within = self.corpus.volumes(|place, message| self.left[place] && message.has(most.value));
        let is_shared = |value: u32| {
            let (volume, reached) =
                (&within.values[value as usize], self.stage(&within, self.corpus.values[value as usize].0));
            volume.recent.kept >= LEAST_KEPT && volume.excess() >= (1.0 - TIE) * reached.excess()
        };
        let excess_of = |value: u32| self.stage(volumes, self.corpus.values[value as usize].0).excess();
        let all = within.stages[Stage::Connect as usize].recent.messages;
        let shared = (0..volumes.values.len() as u32).filter(|&value| is_shared(value)).filter_map(|value| {
            let candidate = self.candidate(volumes, value, excess_of(value))?;
            let is_of_part = self.stage(&within, candidate.place).recent.messages < NEARLY_ALL * all;
            Some(Candidate { is_of_part: is_of_part || most.is_of_part, ..candidate })
        });
        let alike = candidates.iter().copied().filter(|candidate| candidate.explained >= most.explained - TIE);
        // A value without any ordinary mail comes first.
        let steps = |candidate: &Candidate| (candidate.ordinary_share / SAME_SHARE).ceil() as u64;
        shared.chain(alike).min_by_key(|candidate| (steps(candidate), candidate.place)).unwrap_or(most)
    }

    /// The recent messages that are left and have a value.
    fn recent(&self, value: u32) -> impl Iterator<Item = &Message> {
        let left = self.corpus.messages.iter().zip(&self.left).filter(|(_, left)| **left).map(|(message, _)| message);
        left.filter(move |message| message.period == Period::Recent && message.has(value))
    }

    /// The organisation of the sender, if the messages of a candidate are the mass mail of one: nearly all of them
    /// proven, and let through.
    fn mass_mailer(&self, volumes: &Volumes, candidate: Candidate) -> Option<Candidate> {
        let volume = &volumes.values[candidate.value as usize];
        let is_proven = volume.is_proven();
        if candidate.is_of_part || !is_proven || volume.refused > HARMLESS_REFUSED * volume.recent.messages {
            return None;
        }
        let is_org = |value: &u32| COMPARED[self.corpus.values[*value as usize].0] == Identity::SenderOrg(0);
        let org = |message: &Message| message.values.iter().copied().find(is_org);
        let mut orgs: Vec<u32> = self.recent(candidate.value).filter_map(org).collect();
        orgs.sort_unstable();
        let most = orgs.chunk_by(|a, b| a == b).max_by_key(|same| same.len())?;
        if (most.len() as f64) < NEARLY_ALL * f64::from(volume.recent.kept) {
            return None;
        }
        let header_place = |identity: Identity| COMPARED.iter().position(|&compared| compared == identity);
        let has_one = |identity: Identity| {
            let is_of = |value: &&u32| Some(self.corpus.values[**value as usize].0) == header_place(identity);
            let mut values: Vec<u32> =
                self.recent(candidate.value).filter_map(|message| message.values.iter().find(is_of).copied()).collect();
            values.sort_unstable();
            let most = values.chunk_by(|a, b| a == b).map(<[u32]>::len).max().unwrap_or(0);
            most as f64 >= NEARLY_ALL * f64::from(volume.recent.kept)
        };
        // Without a header, nothing tells a newsletter from many mailboxes of one provider but their addresses.
        let is_one_sender = has_one(Identity::FromAddress) || has_one(Identity::ListId);
        let shows_header = self.recent(candidate.value).any(|message| message.reached == Stage::Data);
        if shows_header && !is_one_sender {
            return None;
        }
        let surge = volumes.stages[Stage::Connect as usize].excess().max(volume.excess());
        self.candidate(volumes, most[0], surge)
    }

    /// Describes a candidate of a surge of so many messages.
    fn finding(&self, volumes: &Volumes, candidate: Candidate, is_mass_mail: bool, surge: f64) -> Finding {
        let Candidate { value, place, is_of_part, .. } = candidate;
        let (volume, reached) = (&volumes.values[value as usize], self.stage(volumes, place));
        let recent: Vec<&Message> = self.recent(value).collect();
        let has_shortened = recent.iter().any(|message| message.has_shortened);
        let least = NEARLY_ALL * f64::from(volume.recent.kept);
        let has = |other: u32| recent.iter().filter(|message| message.has(other)).count() as f64;
        let others = (0..volumes.values.len() as u32).filter(|&other| other != value);
        let also = others.filter(|&other| f64::from(volumes.values[other as usize].recent.kept) >= least);
        let mut also: Vec<u32> = also.filter(|&other| has(other) >= least).collect();
        also.sort_by_key(|&other| self.corpus.values[other as usize].0);
        Finding {
            target: self.target(volumes, value, has_shortened),
            also: also.into_iter().map(|other| self.target(volumes, other, has_shortened)).collect(),
            is_of_part,
            is_mass_mail,
            surge_share: ratio(volume.excess(), surge),
            surge_messages: volume.excess(),
            recent_share: ratio(volume.recent.messages, reached.recent.messages),
            refused_share: ratio(volume.refused, volume.recent.messages),
            proven_share: ratio(volume.proven, volume.recent.messages),
            kept: volume.recent.kept,
            limits: limits_of(&recent),
        }
    }

    /// Describes a value that operators may act on.
    fn target(&self, volumes: &Volumes, value: u32, has_shortened: bool) -> Target {
        let (place, text) = &self.corpus.values[value as usize];
        let ordinary = volumes.values[value as usize].ordinary.messages;
        let (ordinary_matching, proven_matching) = self.matching(COMPARED[*place], text);
        Target {
            identity: COMPARED[*place],
            value: text.clone(),
            is_whole: !(has_shortened && is_shortened(text)),
            is_exact: false,
            can_block: false,
            ordinary_share: ratio(ordinary, self.stage(volumes, *place).ordinary.messages),
            ordinary_matching,
            proven_matching,
            busiest_ordinary_minute: self.busiest_ordinary_minute(value),
        }
    }

    /// How many ordinary messages a block of the value covers, of a host also those of names below it; and how many of
    /// the whole hour before that come from proven senders. The flood's own messages are in neither number.
    fn matching(&self, identity: Identity, text: &str) -> (u32, u32) {
        let covers = |(place, other): &(usize, String)| {
            let of = COMPARED[*place];
            let is_below = || other.strip_suffix(text).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
            of == identity && other == text
                || identity.is_name() && of.is_host() && of.source() == identity.source() && is_below()
        };
        let covered: Vec<bool> = self.corpus.values.iter().map(covers).collect();
        let is_covered = |message: &&Message| message.values.iter().any(|value| covered[*value as usize]);
        let before = || self.corpus.messages.iter().filter(|message| message.period != Period::Recent);
        let minutes = || before().map(|message| message.minute);
        let next = minutes().max().map_or(0, |last| last + 1);
        // A quarter of what the flood brings a minute now. A minute before is scaled to one part of the ordinary ones.
        let recent = self.corpus.messages.iter().filter(|message| message.period == Period::Recent).filter(is_covered);
        let least = recent.map(|message| message.weight).sum::<f64>() / self.ordinary_minutes as f64 / 4.0;
        let flooded_from = flooded_from(minutes().min().unwrap_or(next)..next, least, before().filter(is_covered));
        let others = before().filter(is_covered).filter(|message| message.minute < flooded_from);
        others.fold((0, 0), |(ordinary, proven), message| {
            let is_ordinary = message.period == Period::Ordinary;
            (ordinary + u32::from(is_ordinary), proven + u32::from(message.is_proven))
        })
    }

    fn busiest_ordinary_minute(&self, value: u32) -> f64 {
        let ordinary = self.corpus.messages.iter().filter(|message| message.period == Period::Ordinary);
        busiest(&by_minute(ordinary.filter(|message| message.has(value)))) / self.scale
    }

    /// The value of an identity with the largest excess.
    fn row(&self, volumes: &Volumes, place: usize) -> Row {
        let of_identity = (0..volumes.values.len()).filter(|&value| self.corpus.values[value].0 == place);
        let kept =
            of_identity.map(|value| (value, &volumes.values[value])).filter(|(_, volume)| volume.recent.kept > 0);
        let most = kept.max_by(|(_, a), (_, b)| a.excess().total_cmp(&b.excess()));
        let (reached, volume) = (self.stage(volumes, place), most.map_or_else(Volume::default, |(_, volume)| *volume));
        Row {
            identity: COMPARED[place],
            value: most.map(|(value, _)| self.corpus.values[value].1.clone()),
            recent_share: ratio(volume.recent.messages, reached.recent.messages),
            ordinary_share: ratio(volume.ordinary.messages, reached.ordinary.messages),
            refused_share: ratio(volume.refused, volume.recent.messages),
            reached: reached.recent.messages,
            kept: reached.recent.kept,
        }
    }
}

/// The first minute of the recent flood, of the minutes `before` the recent ones. From it on, each of them has more
/// than [`LOUD`] times as many of these messages as any ordinary minute earlier than it; [`LEAST_BEFORE`] minutes are
/// earlier. Ordinary minutes may be the flood's own, since one of more than half an hour is in the quieter half,
/// too. But after the first minute each has at least `least` of them: a sender of a few a minute is no flood.
fn flooded_from<'m>(before: Range<u64>, least: f64, messages: impl Iterator<Item = &'m Message> + Clone) -> u64 {
    let ordinary = by_minute(messages.clone().filter(|message| message.period == Period::Ordinary));
    let of_minutes = by_minute(messages);
    let is_flooded_from = |first: &u64| {
        let earlier = ordinary.iter().filter(|(minute, _)| *minute < first).map(|(_, weight)| *weight);
        let busiest = earlier.fold(0.0, f64::max);
        let is_loud = |minute| of_minutes.get(&minute).is_some_and(|weight| *weight > LOUD as f64 * busiest);
        let is_much = |minute| ordinary.get(&minute).is_none_or(|weight| *weight >= least);
        (*first..before.end).all(is_loud) && (*first + 1..before.end).all(is_much)
    };
    (before.start + LEAST_BEFORE as u64..before.end).find(is_flooded_from).unwrap_or(before.end)
}

/// How many messages came in each minute.
fn by_minute<'m>(messages: impl Iterator<Item = &'m Message>) -> HashMap<u64, f64> {
    let mut minutes = HashMap::new();
    messages.for_each(|message| *minutes.entry(message.minute).or_default() += message.weight);
    minutes
}

fn busiest(minutes: &HashMap<u64, f64>) -> f64 {
    minutes.values().copied().fold(0.0, f64::max)
}

/// The limits that refused these messages, with the part of all that each refused, the largest first.
fn limits_of(messages: &[&Message]) -> Vec<(Arc<str>, f64)> {
    let whole: f64 = messages.iter().map(|message| message.weight).sum();
    let mut limits: Vec<(Arc<str>, f64)> = Vec::new();
    for message in messages {
        let Some(limit) = &message.refused_by else { continue };
        match limits.iter_mut().find(|(name, _)| name == limit) {
            Some((_, weight)) => *weight += message.weight,
            None => limits.push((Arc::clone(limit), message.weight)),
        }
    }
    limits.iter_mut().for_each(|(_, weight)| *weight /= whole);
    limits.sort_by(|(a, of_a), (b, of_b)| of_b.total_cmp(of_a).then_with(|| a.cmp(b)));
    limits
}
