"""`throttle.milter` behind the real libmilter, spoken to as a mail server does."""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from integrations.loopback import wait_until
from integrations.milter.limits import limit, once
from integrations.milter.process import ENVIRONMENT, SCRIPT, Serving, serving
from integrations.milter.wire import ACCEPT, CONTINUE, REJECTED_RECIPIENTS, REPLY, Answer, Wire
from pages import ROOT, blocks
from throttle import Policy, Throttle

pytestmark = pytest.mark.servers
pytest.importorskip("throttle.milter", reason="pymilter is not installed")
import milter  # noqa: E402

from throttle.milter import Counts, ThrottleMilter, run  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

GOES_ON = Answer(CONTINUE, b"")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., tuple[Serving, str]]]:
    """Starts a milter with some limits; returns it and the path of its socket."""
    with ExitStack() as stack:

        def start(policy: str, **arguments: str) -> tuple[Serving, str]:
            path = str(tmp_path / "milter")
            return stack.enter_context(serving(f"unix:{path}", policy, **arguments)), path

        yield start


def sent(
    wire: Wire, sender: bytes = b"<a@sender.example>", header: tuple[bytes, bytes] = (b"Subject", b"hi")
) -> list[int]:
    """The codes of a whole transaction, 0 for a step that goes on, up to the first refusal."""
    answers = [
        lambda: wire.mail(sender),
        lambda: wire.rcpt(b"<in@box.example>"),
        lambda: wire.ask(b"T"),
        lambda: wire.header(*header),
        wire.end_of_header,
        lambda: wire.body(b"hi\r\n"),
        wire.end,
    ]
    codes = []
    for ask in answers:
        answer = ask()
        if answer is not None:
            codes.append(answer.code)
            if answer.code:
                break
    return codes


def test_a_message_within_the_limits_goes_on_at_each_step(serve: Callable[..., tuple[Serving, str]]) -> None:
    _, path = serve(once("pace", "sender.address"))
    with Wire(path) as wire:
        assert wire.connect("192.0.2.1") == GOES_ON
        assert wire.helo(b"mx.sender.example") == GOES_ON
        assert sent(wire) == [0, 0, 0, 0]  # MAIL, RCPT, the end of the header, the end of the message
        wire.quit()


def test_only_the_steps_that_may_refuse_are_answered(serve: Callable[..., tuple[Serving, str]]) -> None:
    _, path = serve(once("pace", "sender.address"))
    with Wire(path) as wire:
        unanswered_headers_and_bodies, no_unknown, no_data = 0x80 | 0x80000, 0x100, 0x200
        assert wire.steps == unanswered_headers_and_bodies | no_unknown | no_data | 0x400 | REJECTED_RECIPIENTS


def test_a_server_without_these_options_gets_an_answer_to_each_step(serve: Callable[..., tuple[Serving, str]]) -> None:
    _, path = serve(once("pace", "sender.address"))
    with Wire(path, steps=0x7F) as wire:
        wire.connect("192.0.2.1")
        wire.helo(b"mx.sender.example")
        assert sent(wire) == [0] * 7


@pytest.mark.parametrize(
    ("per", "more", "step", "reply"),
    [
        ("client.ip", 'count = "connections"', "connect", "421 4.7.0 192.0.2.1 "),
        ("helo.org", 'count = "connections"', "helo", "421 4.7.0 sender.example "),
        ("sender.address", "", "mail", "451 4.7.1 a@sender.example "),
        ("rcpt.address", 'count = "recipients"', "rcpt", "450 4.2.1 in@box.example "),
        ("reply_to.mailbox", "", "eoh", "451 4.7.1 reply.example "),
        ("sender.org", 'count = "messages"\naction = "reject"', "mail", "550 5.7.1 sender.example "),
    ],
)
def test_a_refused_step_answers_with_the_code_and_the_text_of_its_decision(
    serve: Callable[..., tuple[Serving, str]], per: str, more: str, step: str, reply: str
) -> None:
    milter, path = serve(once("pace", per, more))

    def dialogue(wire: Wire) -> dict[str, Answer | None]:
        steps: dict[str, Callable[[], Answer | None]] = {
            "connect": lambda: wire.connect("192.0.2.1"),
            "helo": lambda: wire.helo(b"mx.sender.example"),
            "mail": lambda: wire.mail(b"<a@sender.example>"),
            "rcpt": lambda: wire.rcpt(b"<in@box.example>"),
            "reply-to": lambda: wire.header(b"Reply-To", b"Joe <joe@reply.example>"),
            "eoh": wire.end_of_header,
            "eom": wire.end,
        }
        answers: dict[str, Answer | None] = {}
        for name, ask in steps.items():
            answers[name] = ask()
            if answers[name] not in (None, GOES_ON):
                break
        return answers

    with Wire(path) as first:
        assert set(dialogue(first).values()) == {GOES_ON, None}
    with Wire(path) as second:
        name, answer = list(dialogue(second).items())[-1]
        assert (name, answer and answer.text[: len(reply)]) == (step, reply)
        if step == "eoh":  # libmilter says no more of this message
            held = milter.held()
            assert sent(second, b"<other@sender.example>") == [0, 0, 0, 0]
            assert milter.held() == held
    milter.wait_for_release()


def test_a_percent_sign_is_doubled_as_the_protocol_asks(serve: Callable[..., tuple[Serving, str]]) -> None:
    _, path = serve(once("pace", "sender.address"))
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        assert sent(wire, b"<a%%b%c@sender.example>") == [0] * 4
        answer = wire.mail(b"<a%%b%c@sender.example>")
        assert answer is not None
        assert answer.text.startswith("451 4.7.1 a%%%%b%%c@sender.example is sending too fast")


@pytest.mark.parametrize("on_fault", ["accept", "tempfail"])
def test_a_text_too_long_with_its_percent_signs_doubled_still_refuses(
    serve: Callable[..., tuple[Serving, str]], on_fault: str
) -> None:
    policy = once("pace", "sender.address", 'reply = "450 4.7.1 {key} {key}"')
    milter, path = serve(policy, on_fault=on_fault)
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        refused = []
        for local_part in (b"%" * 230, b"%" * 250):
            sender = b"<%s@a.example>" % local_part
            assert wire.mail(sender) == GOES_ON
            refused.append(wire.mail(sender))
        assert refused[0] == Answer(REPLY, b"450 4.7.1 " + b" ".join([b"%" * 460 + b"@a.example"] * 2) + b"\0")
        assert refused[1] is not None
        assert refused[1].text.startswith("450 4.7.1 " + "?" * 240)
        assert "%" not in refused[1].text
    assert "fault" not in milter.log()


@pytest.mark.parametrize("action", ["defer", "reject"])
def test_a_refusal_whose_text_libmilter_does_not_take_refuses_for_now(action: str) -> None:
    class Connection(ThrottleMilter):
        def getsymval(self, name: str) -> None: ...

        def setreply(self, *_: str) -> None:
            raise milter.error("cannot set reply")

    policy = Policy.parse(once("pace", "sender.address", f'action = "{action}"'))
    errors: list[str] = []
    counts = Counts()
    connection = Connection(Throttle(policy), on_error=lambda step, _: errors.append(step), counts=counts)
    answers = [connection.envfrom("<a@sender.example>") for _ in range(2)]
    assert (answers, errors) == ([milter.CONTINUE, milter.TEMPFAIL], ["a reply"])
    assert (counts.steps, counts.faults) == (2, 1)


def test_the_null_sender_is_no_address(serve: Callable[..., tuple[Serving, str]]) -> None:
    _, path = serve(once("pace", "sender.address"))
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        assert sent(wire, b"<>") == [0] * 4
        assert sent(wire, b"<>") == [0] * 4


@pytest.mark.parametrize(
    "same", [b"<A@sender.example>", b'<"a"@sender.example>', b"<@relay.example:a@SENDER.example>", b"a@sender.example"]
)
def test_a_sender_is_the_same_however_it_is_written(serve: Callable[..., tuple[Serving, str]], same: bytes) -> None:
    _, path = serve(once("pace", "sender.address"))
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        assert sent(wire, b"<a@sender.example>") == [0] * 4
        assert sent(wire, same) == [451]


def test_bytes_that_are_not_utf_8_pass_every_step_and_are_counted(serve: Callable[..., tuple[Serving, str]]) -> None:
    milter, path = serve(once("sender", "sender.host") + once("reply", "reply_to.mailbox"))
    bad = b"\xff\xfe\x80"
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        for _ in range(20):
            assert wire.helo(bad) == GOES_ON
        wire.macros(b"M", {"{auth_authen}": bad})
        assert wire.mail(b"<%s@sender.example>" % bad, b"SIZE=%s" % bad) == GOES_ON
        wire.macros(b"R", {"{rcpt_mailer}": bad})
        assert wire.rcpt(b"<%s@%s>" % (bad, bad), b"ORCPT=" + bad) == GOES_ON
        assert wire.header(bad, bad) is None
        assert wire.header(b"Reply-To", b"%s <joe@reply.example>" % bad) is None
        assert wire.end_of_header() == GOES_ON
        assert wire.body(bad) is None
        assert wire.end() == GOES_ON
        assert sent(wire, b"<other@sender.example>") == [451]
        assert sent(wire, b"<>", (b"Reply-To", b"joe@reply.example")) == [0, 0, 451]
    assert milter.log().count("fault at a HELO name that is not UTF-8, which is not counted") == 6  # a minute
    assert "Traceback" not in milter.log()


def test_the_client_is_known_by_its_name_only_when_the_server_has_confirmed_it(
    serve: Callable[..., tuple[Serving, str]],
) -> None:
    _, path = serve(once("pace", "client.host", 'count = "connections"'))

    def answer(name: str, forged: bool) -> int:
        with Wire(path) as wire:
            connected = wire.connect("192.0.2.1", name, forged=forged)
            assert connected is not None
            return connected.code

    assert [answer("mx.sender.example", True) for _ in range(2)] == [0, 0]
    assert [answer("unknown", False) for _ in range(2)] == [0, 0]
    assert [answer("[192.0.2.1]", False) for _ in range(2)] == [0, 0]
    assert [answer("mx.sender.example", False) for _ in range(2)] == [0, 421]


def test_an_address_of_ipv6_and_a_client_without_an_address(serve: Callable[..., tuple[Serving, str]]) -> None:
    _, path = serve(once("pace", "client.ip", 'count = "connections"'))
    replies = []
    for _ in range(2):
        with Wire(path) as wire, Wire(path) as local:
            replies += [wire.connect("2001:db8::1"), local.ask(b"C", b"localhost\0U")]
    assert replies[:2] == [GOES_ON, GOES_ON]
    assert [answer and answer.text.split()[2] for answer in replies[2:]] == ["2001:db8::1", "UNKNOWN"]


def test_the_user_of_auth_is_the_macros(serve: Callable[..., tuple[Serving, str]]) -> None:
    _, path = serve(limit("pace", 'per = "auth.user"\nrate = "1/day"'))
    codes = []
    for user in ("", "", "joe", "joe", "ann"):
        with Wire(path) as wire:
            wire.connect("192.0.2.1")
            answer = wire.mail(b"<a@sender.example>", user=user)
            codes.append(answer and answer.code)
    assert codes == [0, 0, 0, 451, 0]


def test_the_declared_size_is_asked_about_at_mail_and_the_actual_one_at_the_end(
    serve: Callable[..., tuple[Serving, str]],
) -> None:
    _, path = serve(limit("bytes", 'per = "client.ip"\nrate = "1000 B/day"\nburst = "1000 B"'))
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        answer = wire.mail(b"<a@sender.example>", b"BODY=8BITMIME", b"size=1001")
        assert answer is not None
        assert answer.code in (451, 552)
        assert wire.mail(b"<a@sender.example>", b"SIZE=600") == GOES_ON
        wire.rcpt(b"<in@box.example>")
        wire.header(b"Subject", b"hi")  # 13 bytes with CRLF
        assert wire.end_of_header() == GOES_ON  # 2 bytes
        wire.body(b"x" * 600)
        wire.body(b"y" * 100)
        assert wire.end() == GOES_ON  # 715 of 1000
        assert wire.mail(b"<a@sender.example>") == GOES_ON
        wire.rcpt(b"<in@box.example>")
        assert wire.end_of_header() == GOES_ON  # 2 bytes
        wire.body(b"z" * 98)
        assert wire.end() == GOES_ON  # 815 of 1000
        assert wire.mail(b"<a@sender.example>", b"SIZE=186") != GOES_ON
        assert wire.mail(b"<a@sender.example>", b"SIZE=185") == GOES_ON


def test_a_recipient_that_the_server_does_not_know_is_reported_and_not_counted(
    serve: Callable[..., tuple[Serving, str]],
) -> None:
    harvest = limit(
        "harvest", 'per = "client.ip"\nrate = "2/day"\nburst = 2\ncount = "reports"\nreports = ["unknown-recipient"]'
    )
    _, path = serve(harvest + once("pace", "rcpt.address", 'count = "recipients"'))
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        assert wire.mail(b"<a@sender.example>") == GOES_ON
        for _ in range(3):
            assert wire.rcpt(b"<in@box.example>", refused="5.7.1") == GOES_ON
        assert wire.rcpt(b"<in@box.example>") == GOES_ON
        for guess in (b"<a@box.example>", b"<b@box.example>"):
            assert wire.rcpt(guess, refused="5.1.1") == GOES_ON
        answer = wire.rcpt(b"<c@box.example>")
        assert answer is not None
        assert answer.text.startswith("450 4.2.1") or answer.text.startswith("451 4.7.1")


def test_authentication_results_count_under_the_trusted_name_only(serve: Callable[..., tuple[Serving, str]]) -> None:
    policy = once("proven", "dkim.org")
    _, path = serve(policy, authserv_id="mx.box.example")
    signed = b"%s; spf=pass smtp.mailfrom=a@sender.example;\n\tdkim=pass header.d=sender.example"
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        for name, codes in [
            (b"mx.evil.example", [0] * 4),
            (b"mx.box.example", [0] * 4),
            (b"mx.evil.example", [0] * 4),
            (b"mx.box.example", [0, 0, 451]),
        ]:
            assert sent(wire, b"<a@sender.example>", (b"Authentication-Results", signed % name)) == codes


def test_a_huge_header_is_cut_and_counts_as_one_with_too_many_addresses(
    serve: Callable[..., tuple[Serving, str]],
) -> None:
    _, path = serve(once("reply", "reply_to.mailbox"))
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        answers = []
        for number in range(2):
            wire.mail(b"<a@sender.example>")
            wire.rcpt(b"<in@box.example>")
            wire.header(b"Reply-To", b"joe@reply%d.example" % number)
            wire.header(b"X-Long", b"x" * 100_000)  # Postfix sends fields of up to header_size_limit, 102,400
            for _ in range(3):
                wire.header(b"X-Long", b"x" * 700_000)
            answers.append(wire.end_of_header())
            if answers == [GOES_ON]:
                wire.body(b"x" * 65_535)
                assert wire.end() == GOES_ON
        assert answers[0] == GOES_ON
        assert answers[1] is not None
        assert answers[1].text.startswith("451 4.7.1 MANY ")


def is_served(path: Path) -> bool:
    """Whether somebody listens there: the file of a socket comes a moment earlier."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_the_program_of_the_documentation_runs(tmp_path: Path) -> None:
    (program,) = (
        block.text for block in blocks(ROOT / "docs" / "milter.md") if block.marks.get("file") == "guard_milter.py"
    )
    path = tmp_path / "milter"
    (tmp_path / "guard_milter.py").write_text(program.replace("/run/throttle/milter", str(path)))
    process = subprocess.Popen([sys.executable, tmp_path / "guard_milter.py"])
    try:
        wait_until(lambda: is_served(path))
        with Wire(str(path)) as wire:
            assert wire.connect("192.0.2.1") == GOES_ON
            assert wire.helo(b"\xff") == GOES_ON
            assert sent(wire) == [0] * 4
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "address", ["", "inet:", "inet:10045", "inet:localhost:0", "inet:h:65536", "inet:h:x", "unix:", "inet:::1:25"]
)
def test_a_wrong_address_is_told(address: str) -> None:
    with pytest.raises(ValueError, match=r"allowed: (inet:HOST:PORT|a port from 1)"):
        run(Throttle(), address, stop=threading.Event())


def test_a_guard_that_is_none_is_told_before_the_first_client() -> None:
    with pytest.raises(TypeError, match=r'^guard: found str; allowed: Throttle, as Throttle\("inbound"\)$'):
        ThrottleMilter("inbound")  # type: ignore[arg-type]


def test_an_address_that_cannot_be_listened_on_is_told() -> None:
    process = subprocess.run(
        [sys.executable, SCRIPT, "unix:/nowhere/milter"],
        input="{}",
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert process.stdout == ""
    assert process.stderr.splitlines()[-1].startswith("OSError: unix:/nowhere/milter: there is no directory /nowhere")


def last_answer(wire: Wire) -> Answer | None:
    """The first answer of a connection with one message that is not to go on, or the last one."""
    steps: list[Callable[[], Answer | None]] = [
        lambda: wire.connect("192.0.2.1"),
        lambda: wire.helo(b"mx"),
        lambda: wire.mail(b"<>"),
        lambda: wire.rcpt(b"<in@box.example>"),
        lambda: wire.rcpt(b"<no@box.example>", refused="5.1.1"),
        wire.end_of_header,
        wire.end,
    ]
    return next((answer for ask in steps if (answer := ask()) != GOES_ON), GOES_ON)


@pytest.mark.parametrize("step", ["session", "connect", "helo", "mail", "rcpt", "headers", "data", "report"])
@pytest.mark.parametrize("on_fault", ["accept", "tempfail"])
def test_a_fault_of_ours_lets_pass_or_defers_and_never_bounces(
    serve: Callable[..., tuple[Serving, str]], step: str, on_fault: str
) -> None:
    milter, path = serve(once("pace", "sender.address"), broken=step, on_fault=on_fault)
    ends = []
    for _ in range(20):
        with Wire(path) as wire:
            ends.append(last_answer(wire))
    expected = (
        Answer(ACCEPT, b"") if on_fault == "accept" else Answer(REPLY, b"451 4.3.0 local fault; try again later\0")
    )
    assert ends == 20 * [GOES_ON if step == "report" else expected]
    assert milter.log().count("RuntimeError('fault')") == 6  # a minute
    milter.wait_for_release()


def test_a_message_that_passes_after_a_fault_is_held_no_longer(serve: Callable[..., tuple[Serving, str]]) -> None:
    _, path = serve(limit("messages", 'per = "global"\nin_flight = 1\ncount = "messages"'), broken="headers")
    with Wire(path) as wire, Wire(path) as other:
        for one in (wire, other):
            one.connect("192.0.2.1")
            assert one.mail(b"<a@sender.example>") == GOES_ON
            assert one.rcpt(b"<in@box.example>") == GOES_ON
            assert one.end_of_header() == Answer(ACCEPT, b"")


@pytest.mark.parametrize("ends", ["abort", "drop"])
@pytest.mark.parametrize("steps", range(1, 8))
def test_a_message_that_ends_early_holds_nothing(
    serve: Callable[..., tuple[Serving, str]], steps: int, ends: str
) -> None:
    milter, path = serve(
        limit("messages", 'per = "client.ip"\nin_flight = 1\ncount = "messages"')
        + limit("bytes", 'per = "global"\nin_flight = "1 MB"')
    )
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        asks: list[Callable[[], object]] = [
            lambda: wire.helo(b"mx"),
            lambda: wire.mail(b"<a@sender.example>", b"SIZE=1000000"),
            lambda: wire.rcpt(b"<in@box.example>"),
            lambda: wire.header(b"Subject", b"hi"),
            wire.end_of_header,
            lambda: wire.body(b"hi"),
            lambda: wire.send(b"E"),
        ]
        for ask in asks[:steps]:
            ask()
        if ends == "abort" and steps < 7:
            wire.abort()
            with Wire(path) as other:
                other.connect("192.0.2.1")
                wait_until(lambda: other.mail(b"<b@sender.example>", b"SIZE=1000000") == GOES_ON)
            assert wire.helo(b"mx") == GOES_ON
    milter.wait_for_release()


def test_half_a_packet_and_one_that_is_too_long_end_the_connection_and_nothing_else(
    serve: Callable[..., tuple[Serving, str]],
) -> None:
    milter, path = serve(limit("open", 'per = "client.ip"\nin_flight = 9\ncount = "connections"'))
    for packet in (
        b"\0\0",
        struct.pack(">I", 100) + b"M<a",
        struct.pack(">I", 2**31 - 1) + b"M",
        b"\0\0\0\0",
        b"\0\0\0\1?",
    ):
        with Wire(path) as wire:
            wire.connect("192.0.2.1")
            wire._socket.sendall(packet)
            wire._socket.shutdown(socket.SHUT_WR)
    milter.wait_for_release()
    with Wire(path) as wire:
        assert wire.connect("192.0.2.1") == GOES_ON


def test_it_stops_at_once_also_with_open_connections(serve: Callable[..., tuple[Serving, str]]) -> None:
    milter, path = serve(once("pace", "sender.address"))
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        begun = time.monotonic()
        assert milter.stop() == 0
        assert time.monotonic() - begun < 3  # libmilter by itself takes up to five


def test_an_address_that_is_taken_is_not_taken_over(serve: Callable[..., tuple[Serving, str]]) -> None:
    _, path = serve(once("pace", "sender.address"))
    process = subprocess.run(
        [sys.executable, SCRIPT, f"unix:{path}"],
        input="{}",
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (process.stdout, process.stderr.splitlines()[-1]) == (
        "", f"OSError: unix:{path}: another process listens there",
    )  # fmt: skip
    with Wire(path) as wire:
        assert wire.connect("192.0.2.1") == GOES_ON


def test_signals_stay_those_of_the_process(serve: Callable[..., tuple[Serving, str]]) -> None:
    milter, path = serve(once("pace", "sender.address"))
    for _ in range(2):
        milter.process.send_signal(signal.SIGHUP)
        assert milter.heard() == "hung up"
        with Wire(path) as wire:
            assert wire.connect("192.0.2.1") == GOES_ON
    milter.process.send_signal(signal.SIGTERM)
    assert milter.process.wait(3) == 0


def test_reload_of_the_guard_holds_for_connections_that_are_open(serve: Callable[..., tuple[Serving, str]]) -> None:
    milter, path = serve(once("pace", "sender.address"))
    with Wire(path) as wire:
        wire.connect("192.0.2.1")
        assert sent(wire) == [0] * 4
        milter.say(f"reload {json.dumps(once('other', 'sender.host'))}")
        assert milter.heard() == "reloaded"
        assert sent(wire) == [0] * 4
        assert sent(wire) == [451]
