//! The Public Suffix List's algorithm as its page states it, a rule after another: slow, and obvious.

use crate::reading::LIST;

/// Which rules count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sections {
    Both,
    Icann,
}

/// The rules of the test's list that are wholly in ASCII, or brought there: labels and whether it is an exception.
fn rules(sections: Sections) -> impl Iterator<Item = (Vec<String>, bool)> {
    let mut private = false;
    LIST.lines().filter_map(move |line| {
        private |= line.contains("BEGIN PRIVATE");
        let rule = line.trim();
        if rule.is_empty() || rule.starts_with("//") || private && sections == Sections::Icann {
            return None;
        }
        let exception = rule.starts_with('!');
        let labels = rule.trim_start_matches('!').split('.').map(a_label);
        Some((labels.collect(), exception))
    })
}

/// The labels of the list that are not ASCII, brought there by hand.
fn a_label(label: &str) -> String {
    match label {
        "公司" => "xn--55qx5d".to_owned(),
        "中国" => "xn--fiqs8s".to_owned(),
        ascii => ascii.to_owned(),
    }
}

fn matches(rule: &[String], labels: &[&str]) -> bool {
    rule.len() <= labels.len()
        && rule.iter().rev().zip(labels.iter().rev()).all(|(rule, label)| rule == "*" || rule == label)
}

/// The domain that somebody registered: the public suffix and one label more; nothing when the name has no such label.
pub(crate) fn registered(name: &str, sections: Sections) -> Option<String> {
    let labels: Vec<&str> = name.split('.').collect();
    let prevailing = rules(sections)
        .filter(|(rule, _)| matches(rule, &labels))
        .max_by_key(|(rule, exception)| (*exception, rule.len()));
    let suffix = match prevailing {
        Some((rule, exception)) => rule.len() - usize::from(exception),
        None => 1,
    };
    let start = labels.len().checked_sub(suffix + 1)?;
    Some(labels[start..].join("."))
}

/// Whether the ICANN section has a rule under the name's top-level domain.
pub(crate) fn is_listed(name: &str) -> bool {
    let top = name.rsplit('.').next().unwrap_or(name);
    rules(Sections::Icann).any(|(rule, _)| rule.last().is_some_and(|label| label == top))
}
