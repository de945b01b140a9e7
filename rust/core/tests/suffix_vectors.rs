//! The Public Suffix List's own vectors, and what a list may look like.

mod common;

use common::{SUFFIXES, sender};
use throttle_core::identity::{Identity, Part, SuffixError, SuffixList, Value};

/// Vectors that we answer otherwise, and why.
const DIFFERENT: [(&str, &str); 2] = [
    // A leading dot makes an empty label and a MALFORMED host, whose organisation is still taken from its last labels:
    // otherwise a dot in front would be a way out of an organisation's limits.
    (".example.com", "example.com"),
    (".example.example", "example.example"),
];

/// `(name, registrable domain)` of `checkPublicSuffix('…', '…');`
fn vectors() -> Vec<(Option<&'static str>, Option<&'static str>)> {
    let text = |argument: &'static str| argument.trim().strip_prefix('\'').map(|text| text.trim_end_matches('\''));
    include_str!("data/test_psl.txt")
        .lines()
        .filter_map(|line| line.strip_prefix("checkPublicSuffix(")?.strip_suffix(");")?.split_once(','))
        .map(|(name, expected)| (text(name), text(expected)))
        .collect()
}

/// The organisational domain of a sender's host: nothing when the host stands for itself because it has none.
fn organisation(host: &str) -> Option<String> {
    let path = format!("u@{host}");
    let identities = sender(path.as_bytes());
    match &*identities.values(Identity::SenderOrg(0)) {
        [Value::Name(Part::Text(org))] => SUFFIXES.split(org).org.map(|_| org.to_string()),
        _ => None,
    }
}

/// The same spelling as ours: A-labels.
fn a_labels(name: &str) -> String {
    sender(format!("u@{name}").as_bytes()).values(Identity::SenderHost)[0].to_string()
}

#[test]
fn organisations_agree_with_the_lists_own_vectors() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 78);
    let mut different = Vec::new();
    for (name, expected) in vectors {
        let Some(name) = name else { continue };
        let found = organisation(name);
        if found != expected.map(a_labels) {
            different.push((name, found));
        }
    }
    assert_eq!(different, DIFFERENT.map(|(name, found)| (name, Some(found.to_owned()))));
}

/// `sender.registered`: the vectors again; those under `uk.com`, which is a PRIVATE suffix, are one registration there.
#[test]
fn registered_domains_agree_but_for_private_suffixes_and_unlisted_names() {
    for (name, expected) in vectors() {
        let Some(name) = name.filter(|name| !name.starts_with('.')) else { continue };
        let path = format!("u@{name}");
        let identities = sender(path.as_bytes());
        let found = identities.values(Identity::SenderRegistered)[0].to_string();
        let expected = match (name, expected) {
            (name, _) if name.ends_with("uk.com") => "uk.com".to_owned(),
            (name, _) if name.ends_with(".example") => "UNLISTED".to_owned(),
            (_, Some(expected)) => a_labels(expected),
            (_, None) => "UNQUALIFIED".to_owned(),
        };
        assert_eq!(found, expected, "of {name}");
    }
}

#[test]
fn a_wildcard_covers_a_name_that_a_deeper_rule_runs_through() {
    assert_eq!(organisation("a.b.in.ex.at").as_deref(), Some("a.b.in.ex.at"));
    assert_eq!(organisation("b.in.ex.at"), None, "*.in.ex.at");
    assert_eq!(organisation("in.ex.at"), None, "*.ex.at, though *.in.ex.at runs through it");
    assert_eq!(organisation("c.other.ex.at").as_deref(), Some("c.other.ex.at"));
    let text = "// BEGIN ICANN DOMAINS\n*.ck\n// BEGIN PRIVATE DOMAINS\na.b.ck\n";
    let list = SuffixList::parse(text, &[]).expect("a sound list");
    assert_eq!(list.split("x.b.ck").registered, Some(0), "a PRIVATE rule hides no wildcard of ICANN's");
    assert_eq!(list.split("y.x.b.ck").org, Some(2));
}

#[test]
fn a_top_level_domain_is_listed_by_any_rule_under_it() {
    let list = SuffixList::parse("// BEGIN ICANN DOMAINS\nco.za\n*.ck\n", &[]).expect("a sound list");
    for (name, registered, listed) in [
        ("a.zz.za", Some(2), true),
        ("a.b.co.za", Some(2), true),
        ("za", None, true),
        ("ck", None, true),
        ("a.b.com", None, false),
    ] {
        let split = list.split(name);
        assert_eq!((split.registered, split.listed), (registered, listed), "of {name}");
    }
}

#[test]
fn an_own_suffix_leaves_the_icann_section_alone() {
    let list = SuffixList::parse(
        "// BEGIN ICANN DOMAINS\ncom\nuk\nco.uk\n",
        &["co.uk".into(), "Bücher.com".into(), "corp.lan".into()],
    )
    .expect("sound");
    let split = list.split("a.b.co.uk");
    assert_eq!((split.org, split.registered, split.listed), (Some(2), Some(2), true));
    let split = list.split("a.b.xn--bcher-kva.com");
    assert_eq!((split.org, split.registered, split.listed), (Some(2), Some(4), true));
    let split = list.split("a.b.corp.lan");
    assert_eq!((split.org, split.registered, split.listed), (Some(2), None, false));
}

#[test]
fn a_list_that_cannot_be_read_says_where() {
    let error = |text: &str, extra: &[&str]| {
        SuffixList::parse(text, &extra.iter().map(ToString::to_string).collect::<Vec<_>>())
            .map(|_| ())
            .map_err(|SuffixError { line, found, .. }| (line, found))
    };
    let head = "// BEGIN ICANN DOMAINS\ncom\n";
    assert_eq!(error(head, &[]), Ok(()));
    assert_eq!(error(&format!("{head}\na..b x\n"), &[]), Err((Some(4), "\"a..b\"".into())));
    assert_eq!(error(&format!("{head}a.*.b\n"), &[]), Err((Some(3), "\"a.*.b\"".into())));
    assert_eq!(error(&format!("{head}!com\n"), &[]), Err((Some(3), "\"!com\"".into())));
    assert_eq!(error(&format!("{head}// END ICANN DOMAINS\nnet\n"), &[]), Err((Some(4), "\"net\"".into())));
    assert_eq!(error("com\n", &[]), Err((Some(1), "\"com\"".into())));
    assert_eq!(error("<html>", &[]), Err((Some(1), "\"<html>\"".into())));
    assert_eq!(error("", &[]), Err((None, "no rule of an ICANN section".into())));
    assert_eq!(error(head, &["ok.com", "a b.com/"]), Err((None, "\"a b.com/\"".into())));
    assert_eq!(error(head, &[""]), Err((None, "\"\"".into())));
}
