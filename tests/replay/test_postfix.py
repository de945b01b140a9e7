"""Lines of a Postfix log to transactions: what belongs together, in whatever order it stands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from outage_log import postfix, said
from throttle._replay import replies
from throttle.replay import mail_log
from throttle.replay.mail_log import HOLD_SECONDS, MOST_OPEN, MOST_TEXT
from throttle.replay.notes import Notes
from throttle.replay.own_replies import is_own
from throttle.replay.postfix import Postfix
from throttle.replay.times import Stamps

if TYPE_CHECKING:
    import random

    from throttle.replay.transaction import Transaction

NOW = 1_800_000_000.0  # January 2027


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def read(*lines: str, notes: Notes | None = None, year: int | None = 2026) -> list[Transaction]:
    log = Postfix(Stamps(NOW, year), notes or Notes())
    return [*log.read(f"Nov 25 {line}\n" if line[:1].isdigit() else line for line in lines), *log.rest()]


ONE = (
    "17:20:30 mx postfix/smtpd[7]: 4XfG1c2z: client=mx.example.org[198.51.100.7], sasl_method=PLAIN, sasl_username=joe",
    "17:20:31 mx postfix/cleanup[8]: 4XfG1c2z: message-id=<x@example.org>",
    "17:20:31 mx postfix/qmgr[9]: 4XfG1c2z: from=<Joe@example.org>, size=1234, nrcpt=2 (queue active)",
    "17:20:32 mx postfix/lmtp[10]: 4XfG1c2z: to=<ann@box.test>, orig_to=<info@box.test>, relay=x, status=sent (250 OK)",
    "17:20:33 mx postfix/smtp[11]: 4XfG1c2z: to=<bob@far.test>, relay=y[192.0.2.1]:25, status=deferred (timeout)",
)


def test_the_lines_of_one_message_make_one_transaction_with_the_recipients_that_the_sender_named() -> None:
    (one,) = read(*ONE)
    assert one.time == 1795627230
    assert one.envelope.client_ip == "198.51.100.7"
    assert one.envelope.client_name == "mx.example.org"
    assert one.envelope.mail_from == "Joe@example.org"
    assert one.envelope.rcpt_to == ("info@box.test", "bob@far.test")
    assert (one.envelope.size, one.envelope.auth_user, one.rejected) == (1234, "joe", False)


def test_in_any_order_of_the_lines_it_is_the_same_transaction(rng: random.Random) -> None:
    (wanted,) = read(*ONE)
    for _ in range(50):
        lines = rng.sample(ONE, len(ONE))
        (got,) = read(*lines)
        assert set(got.envelope.rcpt_to) == set(wanted.envelope.rcpt_to)
        assert got.envelope.replace(rcpt_to=()) == wanted.envelope.replace(rcpt_to=())
        assert got.time == wanted.time


def test_refusals_of_one_process_and_sender_in_one_second_are_recipients_of_one_message() -> None:
    refusal = (
        "17:20:{second} mx postfix/smtpd[{process}]: NOQUEUE: reject: RCPT from unknown[2001:db8::7]: 550 5.1.1 "
        "<{to}>: "
        "Recipient address rejected: no; from=<> to=<{to}> proto=ESMTP helo=<[2001:db8::7]>"
    )
    first, other, later = read(
        refusal.format(second=30, process=7, to="a@box.test"),
        refusal.format(second=30, process=8, to="c@box.test"),
        refusal.format(second=31, process=7, to="b@box.test"),
        refusal.format(second=33, process=7, to="d@box.test"),
    )
    assert [first.envelope.rcpt_to, other.envelope.rcpt_to] == [("a@box.test", "b@box.test"), ("c@box.test",)]
    assert later.envelope.rcpt_to == ("d@box.test",)
    assert (first.envelope.client_ip, first.envelope.mail_from, first.envelope.helo) == (
        "2001:db8::7",
        "",
        "[2001:db8::7]",
    )
    assert first.rejected


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("NOQUEUE: reject: CONNECT from unknown[192.0.2.1]: 554 5.7.1 no; proto=SMTP", ("192.0.2.1", None, (), None)),
        ("NOQUEUE: reject: EHLO from unknown[192.0.2.1]: 504 no; proto=SMTP helo=<me>", ("192.0.2.1", None, (), "me")),
        (
            "NOQUEUE: reject: MAIL from a[192.0.2.1]: 552 big; from=<a@b> proto=ESMTP helo=<me>",
            ("192.0.2.1", "a@b", (), "me"),
        ),
        (
            "NOQUEUE: milter-reject: RCPT from a[192.0.2.1]:2525: 451 no; from=<a@b> to=<c@d> proto=ESMTP helo=<me>",
            ("192.0.2.1", "a@b", ("c@d",), "me"),
        ),
    ],
)
def test_whatever_the_server_refuses_is_a_transaction_as_far_as_it_got(line: str, fields: tuple[object, ...]) -> None:
    (one,) = read(f"17:20:30 mx postfix/submission/smtpd[7]: {line}")
    assert (one.envelope.client_ip, one.envelope.mail_from, one.envelope.rcpt_to, one.envelope.helo) == fields


def test_what_came_otherwise_than_by_smtp_is_counted_and_no_transaction() -> None:
    notes = Notes()
    assert not read(
        "17:20:30 mx postfix/pickup[7]: 4AAA: uid=0 from=<root>",
        "17:20:30 mx postfix/qmgr[9]: 4AAA: from=<root@mx>, size=1, nrcpt=1 (queue active)",
        "17:20:30 mx postfix/smtpd[7]: 4BBB: client=localhost[127.0.0.1]",
        "17:20:30 mx postfix/qmgr[9]: 4BBB: from=<a@b>, size=1, nrcpt=1 (queue active)",
        "17:20:30 mx postfix/smtpd[7]: 4CCC: client=f[192.0.2.9], orig_queue_id=4BBA, orig_client=x[192.0.2.1]",
        notes=notes,
    )
    assert notes.passed_over["messages that came otherwise than by SMTP, or earlier"] == 1
    assert notes.passed_over["messages from this host itself"] == 2
    assert notes.broken == 0


def test_a_short_id_that_is_used_again_is_another_message() -> None:
    lines = [line.replace("4XfG1c2z", "0A1B2C3D4E") for line in ONE[:3]]
    first, second = read(*lines, "17:20:40 mx postfix/smtpd[7]: 0A1B2C3D4E: client=b[192.0.2.1]")
    assert (first.envelope.client_ip, second.envelope.client_ip) == ("198.51.100.7", "192.0.2.1")


def test_broken_lines_are_counted_and_the_first_is_told_with_its_number() -> None:
    notes = Notes(file="mail.log")
    transactions = read(
        ONE[0],
        "17:20:31 mx dovecot: imap-login: Login",
        "no date at all\n",
        "17:20:31 mx postfix/qmgr[9]: 4XfG1c2z: from=<joe@exam",
        "Nov 31 25:00:00 mx postfix/qmgr[9]: 4XfG1c2z: removed\n",
        *ONE[2:],
        notes=notes,
    )
    assert len(transactions) == 1
    assert (notes.lines, notes.broken, notes.passed_over["lines of other programs"]) == (8, 3, 1)
    assert notes.first_broken is not None
    assert (notes.first_broken.file, notes.first_broken.line, notes.first_broken.text) == (
        "mail.log",
        3,
        "no date at all",
    )


def test_no_more_messages_are_open_than_stated_and_all_of_them_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_OPEN <= 100_000
    most_open = 5_000
    monkeypatch.setattr(mail_log, "MOST_OPEN", most_open)
    notes, most = Notes(), 0
    log = Postfix(Stamps(NOW, 2026), notes)
    lines = (f"Nov 25 17:20:30 mx postfix/smtpd[7]: 4A{n:X}: client=a[192.0.2.1]\n" for n in range(most_open + 500))
    left = 0
    for _ in log.read(lines):
        left += 1
        most = max(most, len(log._queue), len(log._open))
    assert left == 500
    assert most <= most_open + 1
    assert len(list(log.rest())) == most_open
    assert not log._open


def test_no_more_text_is_held_than_stated_and_all_messages_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_TEXT <= 1 << 28
    monkeypatch.setattr(mail_log, "MOST_TEXT", 100_000)
    log = Postfix(Stamps(NOW, 2026), Notes())
    sender = "a" * 9_000
    lines = [
        line
        for n in range(50)
        for line in (
            f"Nov 25 17:20:30 mx postfix/smtpd[7]: 4A{n:X}: client=a[192.0.2.1]\n",
            f"Nov 25 17:20:30 mx postfix/qmgr[9]: 4A{n:X}: from=<{sender}>, size=1, nrcpt=2 (queue active)\n",
        )
    ]
    left = [one.envelope.mail_from for one in log.read(lines)]
    assert log._text <= 100_000
    assert len(left) == 50 - len(log._queue) > 30
    left += [one.envelope.mail_from for one in log.rest()]
    assert left == [sender] * 50
    assert log._text == 0


@pytest.mark.parametrize(
    "programs",
    [
        ("postfix/submission/smtpd", "postfix/cleanup", "postfix/qmgr", "postfix/lmtp", "postfix/smtp"),
        ("postfix-in/smtpd", "postfix-in/cleanup", "postfix-in/qmgr", "postfix-in/lmtp", "postfix-in/smtp"),
        ("mx-in/smtpd", "mx-in/cleanup", "mx-in/qmgr", "mx-in/lmtp", "mx-in/smtp"),
        ("postfix",) * 5,  # some writers of RFC 5424 lose what stands behind the slash
    ],
)
def test_a_log_is_read_under_every_name_that_postfix_may_have(programs: tuple[str, ...]) -> None:
    own = ("postfix/smtpd", "postfix/cleanup", "postfix/qmgr", "postfix/lmtp", "postfix/smtp")
    lines = [line.replace(f" {old}[", f" {new}[") for line, old, new in zip(ONE, own, programs, strict=True)]
    notes = Notes()
    (one,) = read(*lines, notes=notes)
    (wanted,) = read(*ONE)
    assert (one, notes.broken) == (wanted, 0)


def test_a_daemon_of_another_program_is_passed_over() -> None:
    notes = Notes()
    assert not read(ONE[0].replace("postfix/smtpd", "smtpd"), notes=notes)
    assert notes.passed_over == {"lines of other programs": 1}


REFUSAL = "{verb}: {stage} from a[192.0.2.1]: {answer}; from=<a@b> to=<c@d> proto=ESMTP helo=<me>"


@pytest.mark.parametrize(
    ("line", "rejected"),
    [
        ("cleanup[8]: 4XfG1c2z: milter-reject: END-OF-MESSAGE from", True),
        ("smtpd[7]: 4XfG1c2z: milter-reject: DATA from", True),
        ("smtpd[7]: 4XfG1c2z: reject: END-OF-MESSAGE from", True),
        ("smtpd[7]: 4XfG1c2z: reject: RCPT from", False),  # one recipient of several
        ("smtpd[7]: NOQUEUE: proxy-accept: END-OF-MESSAGE from", False),
        ("smtpd[7]: NOQUEUE: proxy-reject: END-OF-MESSAGE from", True),
    ],
)
def test_what_is_refused_as_a_whole_is_refused_by_the_server(line: str, rejected: bool) -> None:
    told = f"17:20:31 mx postfix/{line} a[192.0.2.1]: 5.7.1 no; from=<a@b> to=<c@d> proto=ESMTP helo=<me>"
    first = () if "NOQUEUE" in line else ("17:20:30 mx postfix/smtpd[7]: 4XfG1c2z: client=a[192.0.2.1]",)
    (one,) = read(*first, told)
    assert (one.envelope.mail_from, one.envelope.rcpt_to, one.envelope.helo) == ("a@b", ("c@d",), "me")
    assert (one.rejected, one.by_throttle) == (rejected, False)


def test_a_message_that_header_checks_refuse_is_refused() -> None:
    (one,) = read(
        ONE[0],
        "17:20:31 mx postfix/cleanup[8]: 4XfG1c2z: reject: header Subject: spam from mx.example.org[198.51.100.7]; "
        "from=<joe@example.org> to=<ann@box.test> proto=ESMTP helo=<mx>: 5.7.1 no",
    )
    assert (one.envelope.client_ip, one.rejected) == ("198.51.100.7", True)


@pytest.mark.parametrize(
    ("answer", "by_throttle"),
    [
        ("451 4.7.28 <c@d>: Recipient address rejected: b.com sends under too many new names; retry in 3 s", True),
        ("451 4.7.28 b.com sends under too many new names; retry in 3 s", True),
        ("4.7.28 b.com sends under too many new names; retry in 3 s", True),
        ("421 4.7.0 192.0.2.1 + b.com connects too often; retry in 60 s", True),
        ("450 4.2.1 <c@d>: Recipient address rejected: a b@c is receiving too fast; retry in 12345 s", True),
        ("550 5.7.1 <a@b>: Sender address rejected: 192.0.2.0/24 + b.com is blocked", True),
        ("552 5.3.4 message too big for 192.0.2.1", True),
        ("452 4.5.3 too many recipients at once for 192.0.2.1", True),
        ("451 4.5.1 no mail transaction is open", True),
        ("451 4.7.1 b.com is sending too fast; retry in 3 s; see https://mx.example/deferred?why=fast", True),
        ("451 4.7.1 b.com has no time; retry in 3 s; see https://mx.example/deferred", False),
        ("554 5.7.1 Service unavailable; Client host [192.0.2.1] is blocked using zen.example", False),
        ("554 5.7.1 Client host [192.0.2.1] is blocked", False),
        ("554 5.7.1 <a[192.0.2.1]>: Client host rejected: your host is blocked", False),
        ("450 4.7.1 b.com is sending too fast; retry in a while", False),
        ("450 4.2.0 <c@d>: Recipient address rejected: Greylisted; retry in 300 s", False),
        ("550 5.1.1 <c@d>: Recipient address rejected: User unknown", False),
        ("", False),
    ],
)
def test_refusals_by_throttle_are_told_from_those_of_the_server(answer: str, by_throttle: bool) -> None:
    line = REFUSAL.format(verb="NOQUEUE: reject", stage="RCPT", answer=answer)
    (one,) = read(f"17:20:30 mx postfix/smtpd[7]: {line}")
    assert (one.rejected, one.by_throttle) == (True, by_throttle)


def test_every_built_in_reply_is_recognised() -> None:
    for reply in replies("b.com"):
        assert is_own(reply), reply
        assert is_own(f"{reply}; see https://mx.example/deferred"), reply
        assert is_own(f"451 4.7.1 <c@d>: Recipient address rejected: {reply.split(' ', 2)[2]}"), reply


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("from=<a> to=<b> proto=ESMTP helo=<x> to=<y>", ("a", "b", "x> to=<y")),
        ('from=<"x; from=<y> proto="@b> to=<c@d> proto=ESMTP helo=<me>', ('y> proto="@b', "c@d", "me")),
        ("from=<> to=<> proto=SMTP helo=<>", ("", "", "")),
        ("proto=SMTP", (None, None, None)),
    ],
)
def test_what_a_client_said_is_read_from_the_right(said: str, fields: tuple[str | None, ...]) -> None:
    (one,) = read(f"17:20:30 mx postfix/smtpd[7]: NOQUEUE: reject: RCPT from a[192.0.2.1]: 550 no; from=<z>; {said}")
    sender, recipient, helo = fields
    envelope = one.envelope
    assert (envelope.mail_from, envelope.helo or None) == (sender, helo or None)
    assert envelope.rcpt_to == (() if recipient is None else (recipient,))


@pytest.mark.parametrize("field", ["size", "nrcpt"])
def test_a_number_that_no_server_writes_makes_a_broken_line(field: str) -> None:
    numbers = {"size": "1", "nrcpt": "1"} | {field: "9" * 5_000}
    told = f"from=<a@b>, size={numbers['size']}, nrcpt={numbers['nrcpt']} (queue active)"
    notes = Notes()
    (one,) = read(ONE[0], f"17:20:31 mx postfix/qmgr[9]: 4XfG1c2z: {told}", notes=notes)
    assert (one.envelope.size, notes.broken) == (None, 1)


def test_a_message_whose_end_never_comes_leaves_in_time() -> None:
    log = Postfix(Stamps(NOW, 2026), Notes())
    later = time.strftime("%b %d %H:%M:%S", time.gmtime(1795627230 + HOLD_SECONDS + 1))
    lines = [f"Nov 25 {ONE[0]}\n", f"{later} mx postfix/anvil[3]: statistics\n"]
    assert [one.envelope.client_ip for one in log.read(lines)] == ["198.51.100.7"]


def test_dates_without_a_year_go_on_over_new_year_and_through_disorder() -> None:
    stamps = Stamps(NOW, 2025)
    dates = ["Dec 31 23:59:58", "Jan  1 00:00:01", "Dec 31 23:59:59", "Jan  1 00:00:02", "Dec  1 00:00:00"]
    years = [time.gmtime(stamps.read(f"{date} mx x")[0]).tm_year for date in dates[:4]]
    assert years == [2025, 2026, 2025, 2026]
    guessed = [time.gmtime(Stamps(NOW).read(f"{date} mx x")[0]).tm_year for date in dates]
    assert guessed == [2026, 2027, 2026, 2027, 2026]


@pytest.mark.parametrize(
    "date", ["2026-11-25T17:20:30+00:00", "2026-11-25T17:20:30Z", "2026-11-25T09:20:30.000000-08:00"]
)
def test_dates_of_rfc_3339_are_read_with_their_zone(date: str) -> None:
    assert Stamps(NOW).read(f"{date} mx x") == (1795627230.0, len(date) + 1)


@pytest.mark.parametrize(("iso", "short_ids"), [(False, False), (True, True)])
def test_every_message_of_a_log_in_disorder_comes_out_as_it_was_sent(
    iso: bool, short_ids: bool, rng: random.Random
) -> None:
    seed = str(rng.random())
    sent = list(said(seed, 7_000, 0.75, 200))
    log = Postfix(Stamps(NOW, 2026), Notes())
    got = [*log.read(postfix(sent, seed, iso=iso, short_ids=short_ids)), *log.rest()]

    def told(ip: str, sender: str, rcpt: tuple[str, ...]) -> tuple[str, str, tuple[str, ...]]:
        return ip, "" if sender == "<>" else sender, tuple(sorted(set(rcpt)))

    wanted = [told(one.fields["client_ip"], one.fields["mail_from"], tuple(one.fields["rcpt_to"])) for one in sent]
    asked = [one.envelope for one in got]
    found = [told(str(one.client_ip), str(one.mail_from), tuple(map(str, one.rcpt_to))) for one in asked]
    # A log cannot tell two refused messages of one process, client, sender and second from one.
    assert len(wanted) * 0.999 <= len(found) <= len(wanted)
    missing = set(wanted) - set(found)
    assert len(missing) <= len(wanted) * 0.001


def test_a_helo_name_that_looks_like_a_login_is_no_login() -> None:
    (one,) = read(
        "17:20:30 mx postfix/smtpd[7]: NOQUEUE: reject: RCPT from a[192.0.2.1]: 554 5.7.1 no; "
        "from=<a@b> to=<c@d> proto=ESMTP helo=<me> sasl_username=<boss>"
    )
    assert (one.envelope.auth_user, one.envelope.helo) == (None, "me")
