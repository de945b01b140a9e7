//! Replies: one legal line whatever the key is, and the same kind under its number.

use proptest::prelude::*;
use throttle_core::reply::Reply;
use throttle_core::stage::Stage;

/// The kinds have the numbers below this one.
const KINDS: u8 = 14;

proptest! {
    #[test]
    fn any_name_gives_one_legal_line(
        key in any::<String>(),
        wait in any::<Option<u64>>(),
        kind in 0..KINDS,
        stage in prop::option::of(0..Stage::ALL.len()),
    ) {
        let line = Reply::of_number(kind).text(&key, wait, stage.map(|stage| Stage::ALL[stage]));
        prop_assert!(line.len() + 2 <= 512 && line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
    }
}

#[test]
fn what_was_written_down_by_number_is_read_as_the_same() {
    let kinds: Vec<Reply> = (0..KINDS).map(Reply::of_number).collect();
    assert_eq!(kinds.iter().map(|kind| kind.number()).collect::<Vec<_>>(), (0..KINDS).collect::<Vec<_>>());
    assert_eq!((kinds[0], kinds[13]), (Reply::Closing, Reply::BlockedMailbox));
    assert_eq!(Reply::of_number(KINDS), Reply::TooFast, "a number of a later version");
    assert_eq!(Reply::of_number(u8::MAX), Reply::TooFast, "a number of a later version");
}

#[test]
fn seconds_are_rounded_up() {
    assert_eq!(
        Reply::TooFast.text("salesforce.com", Some(11_000_001), None),
        "451 4.7.1 salesforce.com is sending too fast; retry in 12 s"
    );
}
