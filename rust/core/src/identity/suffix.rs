//! The Public Suffix List, compiled: where in a name its registrable domain begins.
//!
//! Knows no hosts that are none: a name here is lower-case A-labels. The rules are brought to A-labels once, at start, by the
//! same function that hosts go through, so the two cannot disagree.
//!
//! Two answers a name: by the whole list (`sender.org`), and by its ICANN section alone
//! (`sender.registered`). One look-up gives both whenever no PRIVATE rule prevails, which is nearly always.

use std::collections::HashSet;

use publicsuffix::{List, Psl, Type};
use thiserror::Error;

use super::host;

/// The rules of both sections.
#[derive(Debug, PartialEq)]
pub struct SuffixList {
    /// Both sections and the operator's own suffixes.
    every: List,
    /// The ICANN section alone. Not a filter over `every`: there a PRIVATE rule can hide an ICANN wildcard.
    icann: List,
    /// Top-level domains of the ICANN section, those among them that have wildcard rules only.
    listed: HashSet<String>,
}

/// Offsets into a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Where the organisational domain begins; nothing when the name is a public suffix or a single label.
    pub org: Option<usize>,
    /// The same by the ICANN section alone.
    pub registered: Option<usize>,
    /// Whether the ICANN section knows the top-level domain.
    pub listed: bool,
}

/// A list that cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{}found {found}; allowed: {allowed}", self.line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct SuffixError {
    /// Line of the list, counted from one; nothing for a suffix of the operator's own, or for the list as a whole.
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
            let found = "no rule of an ICANN section".to_owned();
            return Err(SuffixError {
                line: None,
                found,
                allowed: "the text of a public_suffix_list.dat, markers included",
            });
        }
        for suffix in extra {
            let rule = rule(suffix.trim(), Type::Private);
            rules.push(rule.ok_or_else(|| SuffixError { line: None, found: format!("{suffix:?}"), allowed: RULE })?);
        }
        let icann: Vec<Rule> = rules.iter().filter(|rule| rule.section == Type::Icann).cloned().collect();
        let listed = icann.iter().filter_map(|rule| rule.labels.rsplit('.').next()).map(str::to_owned).collect();
        Ok(Self { every: compiled(&rules)?, icann: compiled(&icann)?, listed })
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

fn labels(name: &str) -> impl Iterator<Item = &[u8]> {
    name.as_bytes().rsplit(|b| *b == b'.')
}

/// The start of the label before a suffix of so many octets.
fn above(name: &str, suffix: usize) -> Option<usize> {
    up(name, name.len().checked_sub(suffix)?)
}

/// Where the label before begins; nothing when there is none.
pub(super) fn up(name: &str, start: usize) -> Option<usize> {
    let before = &name.as_bytes()[..start.checked_sub(1)?];
    // Not `rfind`, which is made for longer texts than a label.
    Some(before.iter().rposition(|octet| *octet == b'.').map_or(0, |dot| dot + 1))
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
    // An exception has a wildcard's label before it; a star elsewhere is nothing that `publicsuffix` could look up.
    if (exception && (wildcard || labels.len() < 2)) || labels.iter().any(|label| label.contains(['*', '!', '.', '/']))
    {
        return None;
    }
    Some(Rule { labels: format!("{}{}", if wildcard { "*." } else { "" }, labels.join(".")), exception, section })
}

/// `publicsuffix` takes a list as text only. Of equal rules the last gives the section; ICANN's needs no second look-up.
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
    List::from_bytes(text.as_bytes()).map_err(|error| SuffixError {
        line: None,
        found: error.to_string(),
        allowed: RULE,
    })
}

/// What a section's wildcards cover and `publicsuffix` would miss: it tries a wildcard only where no rule, not even a deeper
/// one, names the label. Under `*.ex.at` and `*.in.ex.at` it would not take `in.ex.at` for a suffix.
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
