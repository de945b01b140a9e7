//! One connection of a policy client: whatever it sends and does not read, what is kept is bounded, and nothing is
//! answered that is no request.

mod guard;

use std::num::NonZeroUsize;

use guard::{MIB, engine};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use throttle_core::delegation::{
    CROWDED_SECONDS, IDLE_SECONDS, MOST_REQUEST_BYTES, PolicyConnection, Request, SmtpConnections, Taken,
    UNFINISHED_SECONDS, Wait, Wrong,
};
use throttle_core::region::Now;

const REQUEST: &[u8] = b"request=smtpd_access_policy\nprotocol_state=RCPT\nsender=a@example.com\n\n";
const DUNNO: &[u8] = b"action=DUNNO\n\n";

/// Whole requests, parts of requests, and junk. A few pieces are too long.
const TEXTS: [&[u8]; 7] =
    [REQUEST, b"request=smtpd_access_policy\r\n", b"\n", b"\r\n\r\n", b"x=y\n\n", &[b'\r'; 6000], &[b'x'; 6000]];

type Step = Result<Taken, Wrong>;

fn admit(_: &Request<'_>) -> Step {
    Ok(Ok(()))
}

/// Sends all answers, and returns them.
fn read(connection: &mut PolicyConnection) -> Vec<u8> {
    let answers = connection.unsent().to_vec();
    connection.sent(answers.len());
    answers
}

fn bad(what: &str) -> Result<(), Wrong> {
    Err(Wrong::Request(what.into()))
}

#[test]
fn a_request_is_answered_and_waited_for_again() {
    let mut connection = PolicyConnection::new(0);
    assert_eq!(connection.wait(), Wait::Read);
    assert_eq!(connection.receive(&REQUEST.repeat(3), 0, admit), (3, Ok(())));
    assert_eq!(connection.wait(), Wait::Write);
    assert_eq!(read(&mut connection), DUNNO.repeat(3));
    assert_eq!(connection.wait(), Wait::Read);
}

#[test]
fn a_refusal_is_one_line() {
    let policy = "[[limit]]\nname = \"once\"\nper = \"sender.host\"\nrate = \"1/day\"\n";
    let (engine, mut connections) = (engine(policy, MIB), SmtpConnections::new(NonZeroUsize::MIN));
    let mut connection = PolicyConnection::new(0);
    let take_step = |request: &Request<'_>| Ok(connections.take_step(&engine, request, Now::Stated(1_000_000_000), 0));
    let other = [b"instance=1.2.3.4\n", REQUEST].concat(); // another message
    let (answered, done) = connection.receive(&[REQUEST, &other].concat(), 0, take_step);
    assert_eq!((answered, done), (2, Ok(())));
    let answers = String::from_utf8(read(&mut connection)).expect("a reply is ASCII");
    let [first, second] = answers.split_terminator("\n\n").collect::<Vec<_>>()[..] else { panic!("{answers}") };
    assert_eq!(first, "action=DUNNO");
    assert!(second.starts_with("action=451 4.7.1 ") && !second.contains('\n'), "{second}");
}

#[test]
fn another_protocol_ends_it_and_earlier_requests_keep_their_answers() {
    for junk in ["request=junk\n\n", "sender=a\n\n", "\n\n=\n\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut connection = PolicyConnection::new(0);
        let stream = [REQUEST, junk.as_bytes(), REQUEST].concat();
        assert_eq!(connection.receive(&stream, 0, admit), (1, bad("the request is no smtpd_access_policy")));
        assert_eq!(connection.wait(), Wait::Write);
        assert_eq!(read(&mut connection), DUNNO);
        assert_eq!(connection.wait(), Wait::Close);
    }
}

#[test]
fn a_request_that_is_too_long_ends_it() {
    let mut connection = PolicyConnection::new(0);
    let line = vec![b'x'; MOST_REQUEST_BYTES];
    assert_eq!(connection.receive(&line, 0, admit), (0, Ok(())));
    assert_eq!(connection.wait(), Wait::Read);
    assert_eq!(connection.receive(b"x", 0, admit), (0, bad("the request is longer than 16,384 bytes")));
    assert_eq!(connection.wait(), Wait::Close);
}

#[test]
fn a_request_that_is_too_long_ends_it_wherever_it_is_cut() {
    let padded = |more: usize| [&REQUEST[..REQUEST.len() - 1], b"x=", &vec![b'y'; more], b"\n\n"].concat();
    let spare = MOST_REQUEST_BYTES - padded(0).len();
    for (more, outcome) in [(spare, (1, Ok(()))), (spare + 1, (0, bad("the request is longer than 16,384 bytes")))] {
        let request = padded(more);
        let (begun, end) = request.split_at(request.len() - 1);
        assert_eq!(PolicyConnection::new(0).receive(&request, 0, admit), outcome);
        let mut cut = PolicyConnection::new(0);
        assert_eq!(cut.receive(begun, 0, admit), (0, Ok(())));
        assert_eq!(cut.receive(end, 0, admit), outcome);
    }
}

#[test]
fn line_ends_count_as_bytes_of_the_request() {
    for (begun, line_end, unfinished) in [(REQUEST, b'\r', 0), (REQUEST, b'\n', 0), (b"sender=", b'\r', 7)] {
        let mut connection = PolicyConnection::new(0);
        assert_eq!(connection.receive(begun, 0, admit).1, Ok(()));
        for part in vec![line_end; MOST_REQUEST_BYTES - unfinished].chunks(1000) {
            assert_eq!(connection.receive(part, 0, admit), (0, Ok(())));
        }
        assert_eq!(connection.receive(&[line_end], 0, admit), (0, bad("the request is longer than 16,384 bytes")));
        read(&mut connection);
        assert_eq!(connection.wait(), Wait::Close);
    }
}

#[test]
fn line_ends_after_a_request_begin_no_other() {
    let mut connection = PolicyConnection::new(0);
    assert_eq!(connection.receive(&[REQUEST, b"\r\n\r\n"].concat(), 0, admit), (1, Ok(())));
    read(&mut connection);
    assert_eq!(connection.end_if_late(IDLE_SECONDS, false), Ok(false));
    assert_eq!(connection.receive(REQUEST, IDLE_SECONDS, admit), (1, Ok(())));
}

#[test]
fn a_request_that_never_ends_ends_it_however_often_a_byte_comes() {
    let mut connection = PolicyConnection::new(0);
    for second in 0..=UNFINISHED_SECONDS {
        assert_eq!(connection.receive(b"a", second, admit), (0, Ok(())));
        assert_eq!(connection.end_if_late(second, false), Ok(false));
    }
    assert_eq!(
        connection.end_if_late(UNFINISHED_SECONDS + 1, false),
        Err(Wrong::Request("the request did not end within 10 s".into()))
    );
    assert_eq!(connection.wait(), Wait::Close);
}

#[test]
fn the_time_of_a_request_begins_with_it() {
    let mut connection = PolicyConnection::new(0);
    let (most, part) = (UNFINISHED_SECONDS, &REQUEST[..9]);
    assert_eq!(connection.receive(part, 0, admit), (0, Ok(())));
    let stream = [&REQUEST[9..], part].concat();
    assert_eq!(connection.receive(&stream, most, admit), (1, Ok(())));
    read(&mut connection);
    assert_eq!(connection.end_if_late(most + 1, false), Ok(false));
    assert_eq!(connection.receive(&REQUEST[9..], 2 * most, admit), (1, Ok(())));
    read(&mut connection);
    assert_eq!(connection.end_if_late(4 * most, false), Ok(false));
}

#[test]
fn an_idle_connection_ends_much_later() {
    let mut connection = PolicyConnection::new(5);
    assert_eq!(connection.end_if_late(5 + IDLE_SECONDS, false), Ok(false));
    assert_eq!(connection.receive(REQUEST, 100, admit), (1, Ok(())));
    read(&mut connection);
    assert_eq!(connection.end_if_late(100 + IDLE_SECONDS, false), Ok(false));
    assert_eq!(connection.end_if_late(101 + IDLE_SECONDS, false), Ok(true));
}

#[test]
fn nobody_keeps_a_place_that_others_wait_for() {
    let (most, unfinished) = (CROWDED_SECONDS, "the request did not end within 1 s");
    let received = |bytes: &[u8]| {
        let mut connection = PolicyConnection::new(0);
        assert_eq!(connection.receive(bytes, 0, admit).1, Ok(()));
        connection
    };
    let mut asked = received(REQUEST);
    read(&mut asked);
    for mut idle in [received(b""), asked, received(REQUEST)] {
        assert_eq!(idle.end_if_late(most, true), Ok(false));
        assert_eq!(idle.end_if_late(most + 1, false), Ok(false));
        assert_eq!(idle.end_if_late(most + 1, true), Ok(true));
    }
    let mut begun = received(&REQUEST[..9]);
    assert_eq!(begun.end_if_late(most, true), Ok(false));
    assert_eq!(begun.end_if_late(most + 1, true), Err(Wrong::Request(unfinished.into())));
}

#[test]
fn line_ends_keep_no_place_that_others_wait_for() {
    let mut connection = PolicyConnection::new(0);
    for at_s in 0..=CROWDED_SECONDS {
        assert_eq!(connection.receive(b"\r\n", at_s, admit), (0, Ok(())));
        assert_eq!(connection.end_if_late(at_s, true), Ok(false));
    }
    assert_eq!(connection.receive(b"\n", CROWDED_SECONDS + 1, admit), (0, Ok(())));
    assert!(connection.is_late(CROWDED_SECONDS + 1, true));
    assert_eq!(connection.end_if_late(CROWDED_SECONDS + 1, true), Ok(true));
}

#[test]
fn a_request_that_begins_after_a_silence_has_its_own_time() {
    let mut connection = PolicyConnection::new(0);
    assert_eq!(connection.receive(&REQUEST[..9], 100, admit), (0, Ok(())));
    assert!(!connection.is_late(100 + CROWDED_SECONDS, true));
    assert_eq!(connection.end_if_late(100 + CROWDED_SECONDS, true), Ok(false));
    assert!(connection.is_late(101 + CROWDED_SECONDS, true));
}

#[test]
fn a_client_that_reads_no_answers_is_not_read_and_cut_off() {
    let mut connection = PolicyConnection::new(0);
    assert_eq!(connection.receive(REQUEST, 0, admit), (1, Ok(())));
    connection.sent(4);
    assert_eq!(connection.wait(), Wait::Write);
    assert_eq!(connection.unsent(), &DUNNO[4..]);
    assert_eq!(connection.end_if_late(UNFINISHED_SECONDS, false), Ok(false));
    assert_eq!(connection.end_if_late(UNFINISHED_SECONDS + 1, false), Ok(true));
}

#[test]
fn a_client_that_sends_nothing_more_gets_its_answers_and_has_ten_seconds_to_read_them() {
    let mut connection = PolicyConnection::new(0);
    assert_eq!(connection.receive(&[REQUEST, &REQUEST[..9]].concat(), 0, admit), (1, Ok(())));
    connection.end();
    assert_eq!(connection.wait(), Wait::Write);
    assert_eq!(connection.end_if_late(UNFINISHED_SECONDS, false), Ok(false));
    assert_eq!(connection.end_if_late(UNFINISHED_SECONDS + 1, false), Ok(true));
    assert_eq!(read(&mut connection), DUNNO);
    assert_eq!(connection.wait(), Wait::Close);
    let mut silent = PolicyConnection::new(0);
    silent.end();
    assert_eq!(silent.wait(), Wait::Close);
}

#[test]
fn a_fault_or_a_panic_ends_it_without_an_answer() {
    let fault = |_: &Request<'_>| Err(Wrong::Fault("no clock".into()));
    let panic = |_: &Request<'_>| -> Step { panic!("at {}", "once") };
    for (step, told) in [(&fault as &dyn Fn(&Request<'_>) -> Step, "no clock"), (&panic, "a panic: at once")] {
        let mut connection = PolicyConnection::new(0);
        let (answered, done) = connection.receive(&REQUEST.repeat(2), 0, step);
        assert_eq!((answered, done), (0, Err(Wrong::Fault(told.into()))));
        assert_eq!((connection.unsent(), connection.wait()), (b"".as_slice(), Wait::Close));
    }
}

proptest! {
    #[test]
    fn a_stream_is_answered_alike_wherever_it_is_cut_and_with_returns(
        texts in vec(select(&TEXTS[..]), 0..8),
        cuts in vec(1..200_usize, 1..20),
    ) {
        let stream = texts.concat();
        let mut whole = PolicyConnection::new(0);
        let (answered, wrong) = whole.receive(&stream, 0, admit);
        let mut cut = PolicyConnection::new(0);
        let (mut rest, mut sum, mut done) = (&*stream, 0, Ok(()));
        for size in cuts.iter().cycle() {
            if rest.is_empty() || done.is_err() {
                break;
            }
            let (part, left) = rest.split_at(rest.len().min(*size));
            let (count, result) = cut.receive(part, 0, admit);
            (rest, sum, done) = (left, sum + count, result);
        }
        prop_assert_eq!((sum, done), (answered, wrong));
        prop_assert_eq!(cut.unsent(), whole.unsent());
        prop_assert_eq!(cut.unsent(), DUNNO.repeat(usize::try_from(answered).unwrap_or(0)));
    }
}
