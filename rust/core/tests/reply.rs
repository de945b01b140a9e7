//! Replies: whatever a sender wrote, an answer is one legal line.

use proptest::prelude::*;
use throttle_core::decision::Reply;
use throttle_core::stage::Stage;

/// How many replies there are: the next number is of a later version.
const COUNT: u8 = 16;

proptest! {
    #[test]
    fn any_name_gives_one_legal_line(
        key in any::<String>(),
        wait in any::<Option<u64>>(),
        number in 0..COUNT,
        stage in prop::option::of(prop::sample::select(&Stage::ALL[..])),
    ) {
        let line = Reply::of_number(number).text(&key, wait, stage);
        prop_assert!(line.len() + 2 <= 512 && line.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
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
        Reply::TooFast.text("salesforce.com", Some(11_000_001), None),
        "451 4.7.1 salesforce.com is sending too fast; retry in 12 s"
    );
}
