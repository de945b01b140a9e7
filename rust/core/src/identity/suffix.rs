//! The Public Suffix List, compiled: where in a name its registrable domain begins.
//!
//! Knows only names in lower-case A-labels. The rules are converted to A-labels once, at start, by the function that
//! also converts hosts, so the two cannot disagree.
//!
//! A name has two answers: by the whole list (`sender.org`), and by the ICANN section alone (`sender.registered`). One
//! look-up gives both when no PRIVATE rule prevails, which is nearly always the case.

use std::collections::HashSet;

use publicsuffix::{List, Psl, Type};
use smallvec::SmallVec;
use thiserror::Error;

use super::Identity;
use super::host::{self, Form, Host};
use super::value::{As, Part, Tag};

/// The rules of both sections.
#[derive(Debug, PartialEq)]
pub struct SuffixList {
    /// Both sections and the operator's own suffixes.
    every: List,
    /// The ICANN section alone. Not a filter over `every`: there a PRIVATE rule can hide an ICANN wildcard.
    icann: List,
    /// Top-level domains of the ICANN section, including those that have only wildcard rules.
    listed: HashSet<String>,
    /// Answers for most names without a look-up.
    shortcut: Shortcut,
}

/// Offsets into a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Where the organisational domain begins; `None` when the name is a public suffix or a single label.
    pub org: Option<usize>,
    /// Where the registered domain begins, by the ICANN section alone.
    pub registered: Option<usize>,
    /// Whether the ICANN section knows the top-level domain.
    pub listed: bool,
}

/// A list that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}found {found}; allowed: {allowed}", self.line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct SuffixError {
    /// Line of the list, counted from one; `None` for a suffix of the operator's own, or for the list as a whole.
    pub line: Option<usize>,
    /// What stands there.
    pub found: String,
    /// What may stand there.
    pub allowed: &'static str,
}

const RULE: &str = "a domain name, `*.` or `!` before it at most";

/// One rule in A-labels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    /// `*.` kept, `!` not.
    labels: String,
    exception: bool,
    section: Type,
}

impl SuffixList {
    /// Compiles the text of a `public_suffix_list.dat`, its section markers included, and the operator's own suffixes.
    pub fn parse(text: &str, extra: &[String]) -> Result<Self, SuffixError> {
        let mut rules = rules(text)?;
        if !rules.iter().any(|rule| rule.section == Type::Icann) {
            let allowed = "the text of a public_suffix_list.dat, markers included";
            return Err(SuffixError { line: None, found: "no rule of an ICANN section".into(), allowed });
        }
        for suffix in extra {
            let rule = rule(suffix.trim(), Type::Private);
            rules.push(rule.ok_or_else(|| SuffixError { line: None, found: format!("{suffix:?}"), allowed: RULE })?);
        }
        let icann: Vec<Rule> = rules.iter().filter(|rule| rule.section == Type::Icann).cloned().collect();
        let listed = icann.iter().filter_map(|rule| rule.labels.rsplit('.').next()).map(str::to_owned).collect();
        let shortcut = Shortcut::new(&rules);
        Ok(Self { every: compiled(&rules)?, icann: compiled(&icann)?, listed, shortcut })
    }

    /// Where in `name` its organisational and its registrable domain begin; `dots` are its dots as bits by their place,
    /// or zero.
    pub(super) fn split_at_dots(&self, name: &str, dots: u64) -> Split {
        match self.shortcut.last_two_labels(name, dots) {
            Some(start) => Split { org: Some(start), registered: Some(start), listed: true },
            None => self.split(name),
        }
    }

    /// Where in `name` its organisational and its registrable domain begin.
    pub fn split(&self, name: &str) -> Split {
        let info = self.every.find(labels(name));
        let org = above(name, info.len);
        if info.typ == Some(Type::Icann) {
            return Split { org, registered: org, listed: true };
        }
        let icann = self.icann.find(labels(name));
        let listed = icann.typ.is_some() || self.listed.contains(name.rsplit('.').next().unwrap_or(name));
        Split { org, registered: above(name, icann.len).filter(|_| listed), listed }
    }
}

/// An exact answer for names under a top-level domain that is a rule of its own, when no deeper rule can match.
///
/// ```text
///  name            mx.example.com
///  plain           example.com's top-level domain is an ICANN rule, and no rule is `*.com`
///  deeper          no rule of two labels or more ends in `example.com`: a filter of bits; others may hit by chance
///  both            the suffix is `com`, so the organisation is `example.com`
/// ```
///
/// A hit in `deeper` by chance costs a look-up in the list, never a wrong answer.
#[derive(Debug, PartialEq)]
struct Shortcut {
    /// Top-level domains of at most eight bytes, as words: an open table, zero is free.
    plain: Box<[u64]>,
    /// A bit for the last two labels of every rule that has as many.
    deeper: Box<[u64]>,
}

/// Places of the table of top-level domains, as a power of two: some 1,450 of them fill a third.
const PLAIN_BITS: u32 = 12;

/// The size of the filter in bits, as a power of two: the ends of some 8,000 rules set one bit in about forty.
const DEEPER_BITS: u32 = 17;

/// Spreads words over places. The list is public, so nothing here is secret: a chosen name gains a look-up in the list.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Shortcut {
    fn new(rules: &[Rule]) -> Self {
        let (mut plain, mut deeper) = (vec![0; 1 << PLAIN_BITS], vec![0; 1 << (DEEPER_BITS - 6)]);
        let is_icann = |rule: &Rule| rule.section == Type::Icann;
        let single = || rules.iter().filter(|rule| !rule.labels.contains('.'));
        let wildcards = rules.iter().filter_map(|rule| rule.labels.strip_prefix("*."));
        let others: HashSet<&str> =
            wildcards.chain(single().filter(|rule| !is_icann(rule)).map(|rule| &*rule.labels)).collect();
        for rule in single().filter(|rule| is_icann(rule) && rule.labels.len() <= 8 && !others.contains(&*rule.labels))
        {
            let mut bytes = [0; 8];
            bytes[..rule.labels.len()].copy_from_slice(rule.labels.as_bytes());
            let word = u64::from_le_bytes(bytes);
            let places = (0..plain.len()).map(|step| (Self::place(word) + step) % plain.len());
            if let Some(free) = places.into_iter().find(|&place| plain[place] == 0 || plain[place] == word) {
                plain[free] = word;
            }
        }
        for rule in rules {
            let mut dots = rule.labels.rmatch_indices('.').map(|(at, _)| at);
            if dots.next().is_some() {
                let start = dots.next().map_or(0, |at| at + 1);
                let bit = Self::bit(&rule.labels, start).unwrap_or(0);
                deeper[bit / 64] |= 1 << (bit % 64);
            }
        }
        Self { plain: plain.into(), deeper: deeper.into() }
    }

    fn place(word: u64) -> usize {
        (word.wrapping_mul(SPREAD) >> (64 - PLAIN_BITS)) as usize
    }

    /// Returns the filter bit of `name[start..]`. Text shorter than eight bytes uses bit 0.
    fn bit(name: &str, start: usize) -> Option<usize> {
        let labels = name.as_bytes().get(start..)?;
        let (Some(first), Some(last)) = (labels.first_chunk::<8>(), labels.last_chunk::<8>()) else { return Some(0) };
        let [first, last] = [first, last].map(|bytes| u64::from_le_bytes(*bytes));
        let mixed = (first.wrapping_mul(SPREAD) ^ last).wrapping_mul(SPREAD);
        Some((mixed >> (64 - DEEPER_BITS)) as usize)
    }

    /// Where the last two labels of `name` begin, when they are its organisation.
    fn last_two_labels(&self, name: &str, dots: u64) -> Option<usize> {
        let last_dot = dots.checked_ilog2()?;
        let start = (dots ^ 1 << last_dot).checked_ilog2().map_or(0, |dot| dot as usize + 1);
        let length = name.len().checked_sub(last_dot as usize + 1).filter(|length| (1..=8).contains(length))?;
        let word = u64::from_le_bytes(*name.as_bytes().last_chunk::<8>()?) >> (8 * (8 - length));
        let mut place = Self::place(word);
        while self.plain[place] != word {
            if self.plain[place] == 0 {
                return None;
            }
            place = (place + 1) % self.plain.len();
        }
        let bit = Self::bit(name, start)?;
        (self.deeper[bit / 64] >> (bit % 64) & 1 == 0).then_some(start)
    }
}

fn labels(name: &str) -> impl Iterator<Item = &[u8]> {
    name.as_bytes().rsplit(|b| *b == b'.')
}

/// The start of the label before a suffix of so many bytes.
fn above(name: &str, suffix: usize) -> Option<usize> {
    up(name, name.len().checked_sub(suffix)?)
}

/// [`up`] in a name with these dots, as bits by their place; zero when they are not known.
pub(super) fn up_at_dots(name: &str, dots: u64, start: usize) -> Option<usize> {
    if dots == 0 {
        return up(name, start);
    }
    let before = dots & ((1 << start.checked_sub(1)?) - 1);
    Some(before.checked_ilog2().map_or(0, |dot| dot as usize + 1))
}

/// Where the label before `start` begins; `None` when there is none.
pub(super) fn up(name: &str, start: usize) -> Option<usize> {
    let before = &name.as_bytes()[..start.checked_sub(1)?];
    // Not `rfind`, which is made for longer texts than a label.
    Some(before.iter().rposition(|byte| *byte == b'.').map_or(0, |dot| dot + 1))
}

fn rules(text: &str) -> Result<Vec<Rule>, SuffixError> {
    let mut rules = Vec::new();
    let mut section = None;
    for (line, text) in (1..).zip(text.lines()) {
        if text.starts_with("//") {
            section = match text {
                _ if text.contains("BEGIN ICANN DOMAINS") => Some(Type::Icann),
                _ if text.contains("BEGIN PRIVATE DOMAINS") => Some(Type::Private),
                _ if text.contains("END ICANN DOMAINS") || text.contains("END PRIVATE DOMAINS") => None,
                _ => section,
            };
            continue;
        }
        let Some(found) = text.split_whitespace().next() else { continue };
        let refused = |allowed| SuffixError { line: Some(line), found: format!("{found:?}"), allowed };
        let section =
            section.ok_or_else(|| refused("rules between the markers of the ICANN and PRIVATE sections only"))?;
        rules.push(rule(found, section).ok_or_else(|| refused(RULE))?);
    }
    Ok(rules)
}

fn rule(text: &str, section: Type) -> Option<Rule> {
    let (text, exception) = text.strip_prefix('!').map_or((text, false), |text| (text, true));
    let (name, wildcard) = text.strip_prefix("*.").map_or((text, false), |text| (text, true));
    let labels = name.split('.').map(|label| host::label(label.as_bytes())).collect::<Option<Vec<_>>>()?;
    // The first label of an exception stands in place of a wildcard's star, so an exception has two labels at least.
    // `publicsuffix` can look up a star only as the first label.
    if (exception && (wildcard || labels.len() < 2)) || labels.iter().any(|label| label.contains(['*', '!', '.', '/']))
    {
        return None;
    }
    Some(Rule { labels: format!("{}{}", if wildcard { "*." } else { "" }, labels.join(".")), exception, section })
}

/// Compiles rules, as text, because `publicsuffix` reads a list only as text. When both sections have a rule, the one
/// that comes last gives the section. So ICANN comes last: a name under its rules needs no second look-up.
fn compiled(rules: &[Rule]) -> Result<List, SuffixError> {
    let mut text = String::new();
    for (section, marker) in [(Type::Private, "PRIVATE"), (Type::Icann, "ICANN")] {
        text += &format!("// BEGIN {marker} DOMAINS\n");
        for rule in rules.iter().filter(|rule| rule.section == section) {
            text += &format!("{}{}\n", if rule.exception { "!" } else { "" }, rule.labels);
        }
        for name in hidden(rules, section) {
            text += &format!("{name}\n");
        }
    }
    let list = List::from_bytes(text.as_bytes());
    list.map_err(|error| SuffixError { line: None, found: error.to_string(), allowed: RULE })
}

/// Returns names to add as plain rules, because `publicsuffix` ignores a wildcard at a label that a deeper rule names.
/// Under `*.ex.at` and `*.in.ex.at` it would not take `in.ex.at` for a suffix.
fn hidden(rules: &[Rule], section: Type) -> Vec<&str> {
    let named: HashSet<&str> = rules.iter().map(|rule| &*rule.labels).collect();
    let wildcards: HashSet<&str> =
        rules.iter().filter(|rule| rule.section == section).filter_map(|rule| rule.labels.strip_prefix("*.")).collect();
    let mut hidden = Vec::new();
    for rule in rules {
        let mut name = &*rule.labels;
        while let Some((_, parent)) = name.split_once('.') {
            if wildcards.contains(parent) && !named.contains(name) {
                hidden.push(name);
            }
            name = parent;
        }
    }
    hidden
}

// A host, and where in it its organisation begins. Invariant: each text that a `Domain` gives is a suffix of the host's
// name, cut at a label; where there is no such text, a tag stands for it.

/// Parts of a name on the ladder: the organisational domain and five labels below it.
pub(crate) const RUNGS: usize = 6;

#[derive(Debug)]
pub(crate) struct Domain<'a> {
    pub(super) host: Host<'a>,
    split: Split,
}

impl<'a> Domain<'a> {
    #[inline(always)]
    pub(super) fn new(host: Host<'a>, suffixes: &SuffixList) -> Self {
        let split = match host.form {
            Form::Sound | Form::Unsound { .. } => suffixes.split_at_dots(host.name(), host.dots),
            Form::Literal | Form::Missing => Split::default(),
        };
        Self { host, split }
    }

    /// The organisational domain, if somebody registered one: no tag, no bare suffix.
    pub(crate) fn owner(&self) -> Option<&str> {
        self.from(self.split.org?)
    }

    /// `*.org+N`: the organisational domain with `more` labels; the whole host when it has fewer, or no organisation.
    pub(crate) fn org(&self, more: u8) -> Part<'_> {
        let name = self.host.name();
        let start = (0..more).fold(self.split.org, |start, _| start.and_then(|start| up(name, start)));
        match start.and_then(|start| self.from(start)) {
            Some(text) => Part::Text(text),
            None if self.host.form == Form::Literal => Part::Tag(Tag::Literal),
            None => self.host.part(As::Value),
        }
    }

    /// The part of a sound host that an identity of senders shows; `None` for a tag, and for `sender.org+N`.
    #[inline(always)]
    pub(super) fn sound_part(&self, identity: Identity) -> Option<&str> {
        let start = match identity {
            Identity::SenderHost => 0,
            Identity::SenderOrg(0) => self.split.org?,
            Identity::SenderRegistered => self.split.registered?,
            _ => return None,
        };
        if self.host.form == Form::Sound { self.host.name().get(start..) } else { None }
    }

    /// `*.registered`: by the ICANN section alone; names that share nothing share a tag.
    pub(crate) fn registered(&self) -> Part<'_> {
        if let Some(text) = self.split.registered.and_then(|start| self.from(start)) {
            return Part::Text(text);
        }
        let name = self.host.name();
        Part::Tag(match self.host.form {
            Form::Literal => Tag::Literal,
            Form::Missing => Tag::Unqualified,
            Form::Sound if !name.contains('.') => Tag::Unqualified,
            _ if !self.split.listed && !name.is_empty() => Tag::Unlisted,
            Form::Unsound { tag, .. } => tag,
            Form::Sound => Tag::Unqualified,
        })
    }

    /// Whether `*.org` and `*.registered` are the same text: the list has no PRIVATE rule for the name.
    pub(super) fn is_org_registered(&self) -> bool {
        self.split.org.is_some() && self.split.org == self.split.registered
    }

    /// Whether the host may have parts between its registered domain and itself: `false` only when it has none.
    pub(crate) fn may_have_parts(&self) -> bool {
        let Some(org) = self.split.org.filter(|org| Some(*org) == self.split.registered && *org < 64) else {
            return true;
        };
        let below = self.host.dots & ((1 << org) - 1);
        // Tests for at least two dots before the organisation. This is cheaper than counting them.
        self.host.dots == 0 || below & below.wrapping_sub(1) != 0
    }

    /// The ladder: proper suffixes of the host from the organisational domain on, at most five labels deeper,
    /// longer than `above` bytes; shallowest first.
    pub(crate) fn parts(&self, above: usize) -> SmallVec<[&str; RUNGS]> {
        let name = self.host.name();
        let rungs = std::iter::successors(self.split.org, |start| up(name, *start)).take(RUNGS);
        rungs
            .filter(|start| *start > 0 || matches!(self.host.form, Form::Unsound { whole: false, .. }))
            .map(|start| &name[start..])
            .filter(|part| part.len() > above)
            .collect()
    }

    /// The name from an offset on; `None` when that is the whole of a host that is too long.
    fn from(&self, start: usize) -> Option<&str> {
        let too_long = start == 0 && matches!(self.host.form, Form::Unsound { whole: true, .. });
        if too_long { None } else { self.host.name().get(start..) }
    }
}
