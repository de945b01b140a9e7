//! Replies: whatever a sender wrote, an answer is one legal line, and the address of a page stands in it whole.

use proptest::prelude::*;
use throttle_core::decision::{Refusal, Reply, ReplySettings, Template};
use throttle_core::policy::is_help_url;
use throttle_core::stage::Stage;

/// How many replies there are: the next number is of a later version.
const COUNT: u8 = 16;

fn is_legal(line: &str) -> bool {
    line.len() + 2 <= 512 && line.bytes().all(|b| (0x20..0x7f).contains(&b))
}

/// An address that `help_url` allows, often as long as it may be.
fn help_url() -> impl Strategy<Value = String> {
    let rest = prop_oneof!["[a-zA-Z0-9._~:/?#@!$&'()*+,;=%-]{0,40}", "[a-zA-Z0-9%/]{190,191}"];
    (prop::sample::select(vec!["https://h", "http://h"]), rest).prop_map(|(scheme, rest)| format!("{scheme}{rest}"))
}

/// A key, often longer than a line.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-z .+{}%]{200,600}", "\\PC{100,400}"]
}

proptest! {
    #[test]
    fn any_name_and_any_address_give_one_legal_line_that_ends_with_the_address(
        key in key(),
        wait in any::<Option<u64>>(),
        number in 0..COUNT,
        stage in prop::option::of(prop::sample::select(&Stage::ALL[..])),
        help in help_url(),
    ) {
        prop_assert!(is_help_url(&help), "{help}");
        let line = Reply::of_number(number).text(&key, wait, stage, Some(&help));
        prop_assert!(is_legal(&line) && line.ends_with(&format!("; see {help}")), "{line}");
        let without = Reply::of_number(number).text(&key, wait, stage, None);
        let codes = |line: &str| line.splitn(3, ' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(codes(&line), codes(&without));
        if key.len() <= 200 {
            prop_assert_eq!(line, format!("{without}; see {help}"), "a key of 200 bytes stands whole");
        }
    }

    #[test]
    fn a_template_keeps_the_address_and_cuts_the_key(
        key in key(),
        wait_us in any::<Option<u64>>(),
        text in prop::sample::select(vec![
            "450 4.7.1 {key}: {help}",
            "450 4.7.1 {help} {limit} {identity} {key} {key}",
            "450 4.7.1 see {help} about {key}, {seconds} s",
        ]),
        help in help_url(),
    ) {
        let template = Template::restored(text);
        let refusal = Refusal {
            limit: "u".repeat(64).into(),
            identity: "client.net/24/48 + sender.org".into(),
            key,
            wait_us,
            stage: Stage::Mail,
            kind: Reply::TooFast,
            settings: ReplySettings { rejects_at: None, template, help: Some(help.as_str().into()) },
        };
        let line = refusal.reply();
        prop_assert!(is_legal(&line) && line.contains(&help), "{line}");
        prop_assert_eq!(line.starts_with("450 4.7.1 "), wait_us.is_some() || !text.contains("seconds"));
    }

    #[test]
    fn any_name_gives_one_legal_line(
        key in any::<String>(),
        wait in any::<Option<u64>>(),
        number in 0..COUNT,
        stage in prop::option::of(prop::sample::select(&Stage::ALL[..])),
    ) {
        let line = Reply::of_number(number).text(&key, wait, stage, None);
        prop_assert!(is_legal(&line), "{line}");
    }
}

#[test]
fn what_was_written_down_by_number_is_read_as_the_same() {
    assert!((0..COUNT).all(|number| Reply::of_number(number).number() == number));
    assert_eq!([COUNT, u8::MAX].map(Reply::of_number), [Reply::TooFast; 2], "a number of a later version");
}

#[test]
fn seconds_are_rounded_up() {
    assert_eq!(
        Reply::TooFast.text("salesforce.com", Some(11_000_001), None, None),
        "451 4.7.1 salesforce.com is sending too fast; retry in 12 s"
    );
}
