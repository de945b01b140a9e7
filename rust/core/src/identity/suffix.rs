//! The Public Suffix List, compiled: where in a name its registrable domain begins.
//!
//! Knows no hosts that are none: a name here is lower-case A-labels. The rules are brought to A-labels once, at start, by the
//! same function that hosts go through, so the two cannot disagree.
//!
//! Two answers a name, as DESIGN §5 has it: by the whole list (`sender.org`), and by its ICANN section alone
//! (`sender.registered`). One look-up gives both whenever no PRIVATE rule prevails, which is nearly always.

use thiserror::Error;

use super::host;
use super::rules::{Form, Found, Rule, Rules, Section, label};

/// The rules of both sections.
#[derive(Debug)]
pub struct SuffixList {
    /// Both sections and the operator's own suffixes.
    every: Rules,
    /// The ICANN section alone. Not a filter over `every`: there a PRIVATE rule can hide an ICANN one.
    icann: Rules,
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

impl SuffixList {
    /// Compiles the text of a `public_suffix_list.dat`, its section markers included, and the operator's own suffixes.
    pub fn parse(text: &str, extra: &[String]) -> Result<Self, SuffixError> {
        let mut rules = rules(text)?;
        if !rules.iter().any(|rule| rule.section == Section::Icann) {
            let found = "no rule of an ICANN section".to_owned();
            return Err(SuffixError {
                line: None,
                found,
                allowed: "the text of a public_suffix_list.dat, markers included",
            });
        }
        for suffix in extra {
            let rule = rule(suffix.trim(), Section::Private);
            rules.push(rule.ok_or_else(|| SuffixError { line: None, found: format!("{suffix:?}"), allowed: RULE })?);
        }
        let mut list = Self { every: Rules::default(), icann: Rules::default() };
        // Of equal rules the last counts: ICANN's need no second look-up.
        rules.iter().filter(|rule| rule.section == Section::Private).for_each(|rule| list.every.add(rule));
        for rule in rules.iter().filter(|rule| rule.section == Section::Icann) {
            list.every.add(rule);
            list.icann.add(rule);
        }
        Ok(list)
    }

    /// Where in `name` its organisational and its registrable domain begin.
    pub fn split(&self, name: &str) -> Split {
        let Found { org, section } = self.every.find(name);
        if section == Some(Section::Icann) {
            return Split { org, registered: org, listed: true };
        }
        let listed = self.icann.has(&name[label(name.as_bytes())..]);
        Split { org, registered: if listed { self.icann.find(name).org } else { None }, listed }
    }
}

fn rules(text: &str) -> Result<Vec<Rule>, SuffixError> {
    let mut rules = Vec::new();
    let mut section = None;
    for (line, text) in (1..).zip(text.lines()) {
        if text.starts_with("//") {
            section = match text {
                _ if text.contains("BEGIN ICANN DOMAINS") => Some(Section::Icann),
                _ if text.contains("BEGIN PRIVATE DOMAINS") => Some(Section::Private),
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

fn rule(text: &str, section: Section) -> Option<Rule> {
    let (form, name) = match (text.strip_prefix('!'), text.strip_prefix("*.")) {
        (Some(name), _) => (Form::Exception, name),
        (_, Some(name)) => (Form::Below, name),
        _ => (Form::Suffix, text),
    };
    let labels = name.split('.').map(|label| host::label(label.as_bytes())).collect::<Option<Vec<_>>>()?;
    // An exception has a wildcard's label before it; no other star than the first means anything.
    let sound = |label: &str| !label.contains(['*', '!', '.', '/']);
    if (form == Form::Exception && labels.len() < 2) || !labels.iter().all(|label| sound(label)) {
        return None;
    }
    Some(Rule { name: labels.join("."), form, section })
}
