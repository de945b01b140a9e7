//! The rules of a suffix list, one look-up a label: which of them prevails for a name.
//!
//! Knows no text of a list. Invariant: with every rule stand all names above it, so that a walk ends at the first name that
//! is not there.
//!
//! ```text
//! *.ck, !www.ck, com   →   ck: `below`, inside      www.ck: exception      com: rule
//! ```
//!
//! Of the rules of one name the last added counts. The names asked about are a sender's, but what they meet in the table is fixed:
//! no choice of names makes a look-up longer than the longest there is. So its hash needs no secret, and is short.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::words;

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Icann,
    /// The list's PRIVATE section, or the operator.
    Private,
}

/// How a rule speaks of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `co.uk`: the name is a suffix.
    Suffix,
    /// `*.ck`: every name one label below it is.
    Below,
    /// `!www.ck`: it is none, whatever is said of its parent.
    Exception,
}

/// One rule; its name in A-labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) name: String,
    pub(super) form: Form,
    pub(super) section: Section,
}

/// What is known of one name.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Suffix or exception.
    own: Option<(Form, Section)>,
    below: Option<(Form, Section)>,
    /// Whether some rule lies under it.
    inside: bool,
}

/// What prevails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Where in the name the label before the public suffix begins; nothing when there is none.
    pub(super) org: Option<usize>,
    /// Nothing when no rule matches: then the last label is the suffix.
    pub(super) section: Option<Section>,
}

#[derive(Debug, Default)]
pub(super) struct Rules(HashMap<Box<[u8]>, Node, BuildHasherDefault<Folded>>);

impl Rules {
    pub(super) fn add(&mut self, rule: &Rule) {
        let said = Some((rule.form, rule.section));
        let node = self.0.entry(rule.name.as_bytes().into()).or_default();
        if rule.form == Form::Below {
            node.below = said;
            node.inside = true;
        } else {
            node.own = said;
        }
        let mut name = &*rule.name;
        while let Some((_, parent)) = name.split_once('.') {
            self.0.entry(parent.as_bytes().into()).or_default().inside = true;
            name = parent;
        }
    }

    /// Whether a rule stands at this name or below it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name.as_bytes())
    }

    /// What prevails for a name: an exception, else the longest rule.
    pub(super) fn find(&self, name: &str) -> Found {
        let last = label(name.as_bytes());
        let mut above = up(name, last);
        let mut node = self.0.get(&name.as_bytes()[last..]);
        let mut found = Found { org: above, section: node.and_then(|node| node.own).map(|(_, section)| section) };
        while let (Some(parent), Some(start)) = (node.filter(|node| node.inside), above) {
            node = self.0.get(&name.as_bytes()[start..]);
            match node.and_then(|node| node.own).or(parent.below) {
                Some((Form::Exception, section)) => return Found { org: Some(start), section: Some(section) },
                Some((_, section)) => {
                    above = up(name, start);
                    found = Found { org: above, section: Some(section) };
                }
                None if node.is_some() => above = up(name, start),
                None => break,
            }
        }
        found
    }
}

/// Where the label before begins; nothing when there is none.
pub(super) fn up(name: &str, start: usize) -> Option<usize> {
    let dot = start.checked_sub(1)?;
    Some(label(&name.as_bytes()[..dot]))
}

/// Where the last label of a name begins.
pub(super) fn label(name: &[u8]) -> usize {
    name.iter().rposition(|b| *b == b'.').map_or(0, |dot| dot + 1)
}

/// Eight octets at a time, by a folded multiplication.
#[derive(Debug, Default)]
struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, octets: &[u8]) {
        words::whole(octets).for_each(|word| self.write_u64(word));
        self.write_u64(words::rest(octets));
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }

    fn write_u64(&mut self, word: u64) {
        /// Odd, half its bits set: the fraction of the golden ratio.
        const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;
        let product = u128::from(self.0 ^ word) * u128::from(FACTOR);
        self.0 = product as u64 ^ (product >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
