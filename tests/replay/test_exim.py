"""Lines of Exim's main log to transactions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from throttle.replay.exim import Exim
from throttle.replay.notes import Notes
from throttle.replay.times import Stamps

if TYPE_CHECKING:
    from throttle.replay.transaction import Transaction

NOW = 1_800_000_000.0
AT = 1795627231.0
ID = "1vNabc-000000001Ab-0001"
OLD = "1dJ08B-0003oP-5i"
ARRIVAL = (
    "H=mx.example.org (helo.example) [198.51.100.7]:4711 I=[192.0.2.25]:25 P=esmtpsa X=TLS1.3:TLS_AES_256:256 CV=no "
    'DN="CN=x A=plain:boss" A=login:joe S=1234 RT=1s id=m@example.org T="a A=x:y for z@z" from <joe@example.org>'
)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def read(*lines: str, notes: Notes | None = None) -> list[Transaction]:
    log = Exim(Stamps(NOW), notes or Notes())
    return [*log.read(f"2026-11-25 17:20:{31 + n} {line}\n" for n, line in enumerate(lines)), *log.rest()]


def test_an_arrival_with_its_recipients_is_a_transaction() -> None:
    (one,) = read(f"{ID} <= Joe@example.org {ARRIVAL} for ann@box.test bob@far.test")
    assert one.time == AT
    assert one.envelope.client_ip == "198.51.100.7"
    assert one.envelope.client_name == "mx.example.org"
    assert one.envelope.helo == "helo.example"
    assert one.envelope.mail_from == "Joe@example.org"
    assert one.envelope.rcpt_to == ("ann@box.test", "bob@far.test")
    assert (one.envelope.auth_user, one.envelope.size) == ("joe", 1234)
    assert (one.rejected, one.by_throttle) == (False, False)


def test_recipients_come_from_deliveries_where_the_arrival_lists_none() -> None:
    notes = Notes()
    (one,) = read(
        f"[77] {OLD} <= <> H=(helo) [2001:db8::7] P=esmtp S=9",
        f"{OLD} => ann <info@box.test> R=local T=lmtp",
        f'{OLD} -> "b c"@far.test F=<> R=dns T=smtp H=mx [192.0.2.9] C="250 => x"',
        f"{OLD} => |pipe (list@box.test) <crew@box.test> R=r T=t",
        f"{OLD} == late@far.test R=dns T=smtp defer (-53): retry",
        f"{OLD} ** gone@far.test R=dns T=smtp: 550 no",
        f"{OLD} Completed QT=1s",
        notes=notes,
    )
    assert (one.envelope.mail_from, one.envelope.client_ip, one.envelope.helo) == ("<>", "2001:db8::7", "helo")
    assert one.envelope.rcpt_to == (
        "info@box.test",
        '"b c"@far.test',
        "crew@box.test",
        "late@far.test",
        "gone@far.test",
    )
    assert notes.broken == 0


@pytest.mark.parametrize(
    ("host", "fields"),
    [
        ("H=mx.a.com [192.0.2.1]", ("192.0.2.1", "mx.a.com", "mx.a.com")),
        ("H=mx.a.com (other) [192.0.2.1]:25", ("192.0.2.1", "mx.a.com", "other")),
        ("H=([10.0.0.1]) [192.0.2.1]", ("192.0.2.1", None, "[10.0.0.1]")),
        ("H=[192.0.2.1]", ("192.0.2.1", None, None)),
        ("R=1dJ08B-0003oP-5i H=[192.0.2.1]", ("192.0.2.1", None, None)),
    ],
)
def test_name_and_helo_of_a_client_are_told_apart(host: str, fields: tuple[str | None, ...]) -> None:
    (one,) = read(f"{ID} <= a@b.com {host} P=smtp S=1")
    assert (one.envelope.client_ip, one.envelope.client_name, one.envelope.helo) == fields


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("F=<a@b> rejected RCPT <c@d>: unknown user", ("a@b", ("c@d",), None)),
        ("F=<a@b> temporarily rejected RCPT <c@d>", ("a@b", ("c@d",), None)),
        ("X=TLS1.3:x CV=no A=plain:joe:x F=<> rejected RCPT <c@d>: relay not permitted", ("", ("c@d",), "joe")),
        ('F=<"a> rejected "@b> rejected RCPT <c@d>: no', None),
        ("rejected MAIL <a@b>: no", ("a@b", (), None)),
        ("rejected EHLO or HELO x A=y:boss: syntactically invalid argument(s)", (None, (), None)),
        ("A=login:joe rejected MAIL <a@b>: no", ("a@b", (), "joe")),
        ('rejected connection in "connect" ACL: listed', (None, (), None)),
        ("F=<a@b> rejected DATA: no", ("a@b", (), None)),
    ],
)
def test_whatever_the_server_refuses_is_a_transaction_as_far_as_it_got(
    line: str, fields: tuple[object, ...] | None
) -> None:
    found = read(f"H=mx.a.com (helo) [192.0.2.1]:4 {line}")
    if fields is None:
        assert len(found) <= 1
        return
    (one,) = found
    envelope = one.envelope
    assert (envelope.client_ip, envelope.client_name, envelope.helo) == ("192.0.2.1", "mx.a.com", "helo")
    assert (envelope.mail_from, envelope.rcpt_to, envelope.auth_user) == fields
    assert (one.rejected, one.by_throttle) == (True, False)


def test_refusals_of_one_client_and_sender_in_one_second_are_recipients_of_one_message() -> None:
    refusals = [f"H=[192.0.2.1] F=<a@b> rejected RCPT <{name}@d>: no" for name in "xyz"]
    first, second = read(*refusals)
    assert (first.envelope.rcpt_to, second.envelope.rcpt_to) == (("x@d", "y@d"), ("z@d",))


def test_a_message_that_is_refused_after_its_data_is_refused_as_a_whole() -> None:
    (one,) = read(f"{ID} H=(helo) [192.0.2.1] F=<a@b> rejected after DATA: spam")
    assert (one.envelope.mail_from, one.envelope.rcpt_to, one.rejected) == ("a@b", (), True)


@pytest.mark.parametrize(("text", "size"), [("size=99 max=10", 99), ("read=99 max=10", 99), ("no", None)])
def test_a_message_that_is_too_big_has_the_size_that_it_declared(text: str, size: int | None) -> None:
    (one,) = read(f"rejected MAIL FROM:<a@b> H=(helo) [192.0.2.1]: message too big: {text}")
    assert (one.envelope.mail_from, one.envelope.size, one.rejected) == ("a@b", size, True)
    (one,) = read(f"{ID} rejected from <a@b> H=(helo) [192.0.2.1]: message too big: {text}")
    assert (one.envelope.mail_from, one.envelope.size, one.rejected) == ("a@b", size, True)


def test_what_throttle_refused_is_told_from_what_the_server_refused() -> None:
    reply = "451-4.7.28 b.com sends under too many new names; retry in 3 s"
    (one,) = read(f"H=[192.0.2.1] F=<a@b.com> temporarily rejected RCPT <c@d>: {reply[4:]}")
    assert (one.rejected, one.by_throttle) == (True, True)


def test_what_came_otherwise_than_by_smtp_is_counted_and_no_transaction() -> None:
    notes = Notes()
    assert not read(
        f"{ID} <= root@mx U=root P=local S=9",
        f"{OLD} <= a@b H=localhost [127.0.0.1] P=esmtp S=9 for c@d",
        "2vNabc-000000001Ab-0001 => c@d R=r T=t",
        "3vNabc-000000001Ab-0001 <= a@b H=x [192.0.2.1] P=local-smtp S=9",
        notes=notes,
    )
    assert notes.passed_over["messages that came otherwise than by SMTP, or earlier"] == 3
    assert notes.passed_over["messages from this host itself"] == 1
    assert notes.broken == 0


def test_other_lines_are_passed_over_and_those_that_are_cut_are_broken() -> None:
    notes = Notes(file="mainlog")
    assert not read(
        "Start queue run: pid=7",
        f"{ID} SMTP error from remote mail server: no",
        "H=[192.0.2.1] Warning: odd",
        f"{ID} <= a@b H=mx [192.0",
        f"{OLD} <= a@b H=[192.0.2.1] P=smtp S={'9' * 5000}",
        f"{ID} <=",
        "H=[192.0.2.1] F=<a@b",
        notes=notes,
    )
    assert notes.passed_over["lines that are no arrival, delivery or refusal"] == 3
    assert notes.broken == 4
    assert notes.first_broken is not None
    assert notes.first_broken.line == 4


@pytest.mark.parametrize(
    "line",
    [
        f"Nov 25 17:20:31 mx exim[7]: 2026-11-25 17:20:31 {ID} <= a@b H=[192.0.2.1] P=smtp S=1 for c@d",
        f"Nov 25 17:20:31 mx exim4[7]: {ID} <= a@b H=[192.0.2.1] P=smtp S=1 for c@d",
        f"2026-11-25 18:20:31.000 +0100 [77] {ID} <= a@b H=[192.0.2.1] P=smtp S=1 for c@d",
        f'{{"log":"2026-11-25 17:20:31 {ID} <= a@b H=[192.0.2.1] P=smtp for c@d\\n","time":"2026-11-25T17:20:31Z"}}',
    ],
)
def test_a_main_log_is_read_in_every_frame(line: str) -> None:
    (one,) = Exim(Stamps(NOW), Notes()).read([line + "\n"])
    assert (one.time, one.envelope.client_ip, one.envelope.rcpt_to) == (AT, "192.0.2.1", ("c@d",))
