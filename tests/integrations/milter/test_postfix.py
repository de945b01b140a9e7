"""The milter behind a real Postfix, with the lines of ``main.cf`` that docs/milter.md gives."""

from __future__ import annotations

import contextlib
import re
import shutil
import smtplib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from integrations.loopback import LOOPBACK, connected, free_port
from integrations.milter.behind_postfix import (
    Client,
    assert_each_accepted_message_is_delivered_once_and_none_bounced,
    sent,
    servers,
)
from integrations.milter.limits import limit, once
from integrations.milter.process import served
from integrations.private_postfix import private_postfix
from integrations.sent_outage import SentOutage

pytestmark = pytest.mark.servers
pytest.importorskip("throttle.milter", reason="pymilter is not installed")


def test_each_step_is_refused_with_its_own_code_and_text() -> None:
    policy = (
        once("hello", "helo.org", 'count = "connections"')
        + once("sender", "sender.address")
        + once("recipient", "rcpt.address", 'count = "recipients"')
        + once("reply", "reply_to.mailbox")
    )
    with servers(policy) as (postfix, milter):
        with Client(postfix.port, "192.0.2.1") as client:
            client.ehlo()
            assert sent(client, "<a%%b%c@one.example>", "Reply-To: joe@reply.example")[:2] == ("DATA", 250)
            refused = "4.7.1 a%%b%c@one.example is sending too fast; retry in 86400 s"
            assert sent(client, "<a%%b%c@one.example>") == ("MAIL", 451, refused)
            step, code, text = sent(client, "<b@one.example>")
            assert (step, code, text[:27]) == ("RCPT", 450, "4.2.1 box1@quickbox.email i")
            client.rset()
            step, code, text = sent(client, "<c@one.example>", "Reply-To: joe@reply.example", "box2@quickbox.email")
            assert (step, code, text[:20]) == ("DATA", 451, "4.7.1 reply.example ")
            assert sent(client, "<>", to="box3@quickbox.email")[:2] == ("DATA", 250)
            code, reply = client.docmd("HELO", "other.sender.example")
            assert (code, reply[:20]) == (421, b"4.7.0 sender.example")
            with pytest.raises(smtplib.SMTPServerDisconnected):
                client.noop()
        milter.wait_for_release()


def test_a_client_refused_at_connect_is_told_421_and_disconnected() -> None:
    with servers(limit("open", 'per = "client.ip"\nin_flight = 2\ncount = "connections"')) as (postfix, milter):
        with Client(postfix.port, "2001:db8::1") as client, Client(postfix.port, "2001:db8::1") as second:
            assert (client.greeting, second.greeting) == (220, 220)
            with Client(postfix.port, "2001:db8::1") as third:
                assert third.greeting == 421
                with pytest.raises(smtplib.SMTPServerDisconnected):
                    third.noop()
        milter.wait_for_release()
        with Client(postfix.port, "2001:db8::1") as client:
            assert client.greeting == 220


def test_behind_xclient_the_connection_is_that_of_another_client() -> None:
    pace = 'per = "client.ip"\nrate = "2/day"\nburst = 2\ncount = "connections"'  # 127.0.0.1 has connected before
    with servers(limit("pace", pace)) as (postfix, _):
        with Client(postfix.port, "192.0.2.1") as client:
            greetings = [client.greeting]
            for address in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
                client.become(address)
                greetings.append(client.greeting)
            assert greetings == [220, 220, 220, 421]


def test_the_name_of_a_client_counts_when_postfix_has_confirmed_it() -> None:
    with servers(once("pace", "client.host", 'count = "connections"')) as (postfix, _):
        with Client(postfix.port, "192.0.2.1") as client:
            greetings = []
            for number in range(2):
                client.become(f"192.0.2.{number}", "mx.sender.example")
                greetings.append(client.greeting)
            assert greetings == [220, 421]


def test_connections_that_are_opened_and_closed_leave_nothing() -> None:
    with servers(limit("open", 'per = "global"\nin_flight = 100\ncount = "connections"')) as (postfix, milter):
        with contextlib.ExitStack() as stack:
            clients = [Client(postfix.port, f"192.0.2.{number}") for number in range(30)]
            for number, client in enumerate(clients):
                stack.callback(client.quit if number % 2 else client.close)
                client.ehlo()
                client.mail("a@one.example")
            assert milter.held() >= 60
        milter.wait_for_release()


def test_rset_and_a_client_lost_in_mid_message_release_the_message() -> None:
    with servers(limit("open", 'per = "global"\nin_flight = 1\ncount = "messages"')) as (postfix, milter):
        with contextlib.closing(Client(postfix.port, "192.0.2.1")) as client:
            client.ehlo()
            for _ in range(3):
                assert client.mail("a@one.example")[0] == 250
                client.rset()
            assert client.mail("a@one.example")[0] == 250
            client.rcpt("box1@quickbox.email")
            client.docmd("DATA")
            client.send(b"Subject: half\r\n")
            assert milter.held() > 0
        milter.wait_for_release()


def test_bytes_that_are_not_utf_8_pass() -> None:
    with servers(once("sender", "sender.host"), more="smtputf8_enable = no\n") as (postfix, milter):
        with Client(postfix.port, "192.0.2.1") as client:
            for line, code in [
                (b"EHLO \xff\xfe", 250),
                (b"MAIL FROM:<\xff@one.example>", 250),
                (b"RCPT TO:<box1@quickbox.email>", 250),
                (b"DATA", 354),
                (b"Subject: \xff\r\nX\xff: \xfe\r\n\r\n\xff\r\n.", 250),
                (b"MAIL FROM:<other@one.example>", 451),
            ]:
                client.send(line + b"\r\n")
                assert client.getreply()[0] == code, line
        assert "Traceback" not in milter.log()


def test_unknown_recipients_that_postfix_refuses_are_reported() -> None:
    harvest = 'per = "client.ip"\nrate = "3/day"\nburst = 3\ncount = "reports"\nreports = ["unknown-recipient"]'
    known = "relay_recipient_maps = regexp:{ { /^box[0-9]+@/ OK } }\n"
    with servers(limit("harvest", harvest), more=known) as (postfix, _):
        with Client(postfix.port, "192.0.2.1") as client:
            client.ehlo()
            client.mail("a@one.example")
            assert [client.rcpt(f"guess{number}@quickbox.email")[0] for number in range(3)] == [550] * 3
            assert client.rcpt("box1@quickbox.email")[0] == 451
            assert client.rcpt("somebody@elsewhere.example")[0] == 454  # Postfix's own answer is not ours to change


def test_a_header_field_as_long_as_postfix_sends_it_hides_nothing() -> None:
    with servers(once("reply", "reply_to.mailbox")) as (postfix, _):
        with Client(postfix.port, "192.0.2.1") as client:
            client.ehlo()
            field = "X-Long: " + "\r\n\t".join(["x" * 900] * 110)
            assert 65_535 < len(field) < 102_400
            messages = [sent(client, "<a@one.example>", f"{field}\r\nReply-To: joe@reply.example") for _ in range(2)]
            assert [code for _, code, _ in messages] == [250, 451]


def test_verdicts_of_an_earlier_milter_count_and_those_of_a_policy_service_do() -> None:
    own, verifying = free_port(), free_port()
    script = Path(__file__).with_name("verdicts.py")
    prepended = "Authentication-Results: mx.quickbox.email; dkim=pass header.d=two.example"
    lines = f"""
smtpd_milters = inet:{LOOPBACK}:{verifying}, inet:{LOOPBACK}:{own}
smtpd_recipient_restrictions = check_sender_access inline:{{ {{ two.example = PREPEND {prepended} }} }}
"""
    process = subprocess.Popen([sys.executable, script, f"inet:{verifying}@{LOOPBACK}", "mx.one.example"])
    try:
        connected(verifying).close()
        for authserv_id, sender in [("mx.one.example", "one.example"), ("mx.quickbox.email", "two.example")]:
            policy = once("signed", "dkim.org")
            address, trusted = f"inet:{LOOPBACK}:{own}", ("--authserv-id", authserv_id)
            with served(address, policy, *trusted), private_postfix(lines) as postfix:
                with Client(postfix.port, "192.0.2.1") as client:
                    client.ehlo()
                    assert [sent(client, f"<a@{sender}>")[1] for _ in range(2)] == [250, 451]
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("flood", [12_000, pytest.param(20_000, marks=pytest.mark.soak)])
def test_the_outage_is_refused_and_nobody_else(learned: Path, flood: int) -> None:
    with servers(None, "--learned", str(learned)) as (postfix, milter):
        with SentOutage(postfix.port, 100, flood) as outage:
            pass
        print(f"\n{outage.report()}")
        outage.assert_at_most_two_in_a_hundred_of_the_flood_passed()
        assert_each_accepted_message_is_delivered_once_and_none_bounced(outage, postfix)
        assert not re.findall(r"milter inet:.*", postfix.log)  # no time-out, no lost connection
        milter.wait_for_release()


def test_a_user_of_auth_is_limited_wherever_the_mail_comes_from() -> None:
    """Postfix asks Cyrus SASL, whose users are in a file of the test's."""
    users = Path(tempfile.mkdtemp(prefix="sasl-"))  # pytest's own directories are closed to user postfix
    try:
        users.chmod(0o755)
        sasl = (
            f"pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: {users}/sasldb\nmech_list: PLAIN CRAM-MD5\n"
        )
        for user in ("ann", "bob"):
            add = ["saslpasswd2", "-p", "-c", "-f", f"{users}/sasldb", "-u", "quickbox.email", user]
            subprocess.run(add, input=b"secret", check=True, timeout=60)
        shutil.chown(users / "sasldb", "postfix")
        lines = "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_local_domain = quickbox.email\n"
        policy = limit("user", 'per = "auth.user"\nrate = "3/day"')
        with servers(policy, more=lines, sasl=sasl) as (postfix, _):

            def codes(number: int, user: str | None, mechanism: str = "PLAIN", messages: int = 1) -> list[int]:
                with Client(postfix.port, f"192.0.2.{number}") as client:
                    client.ehlo()
                    if user is not None:
                        assert mechanism in client.esmtp_features["auth"].split()
                        client.user, client.password = user, "secret"
                        code, _ = client.auth(mechanism, getattr(client, f"auth_{mechanism.lower().replace('-', '_')}"))
                        assert code == 235
                    return [sent(client, f"<{user}{n}@sender{number}.example>")[1] for n in range(messages)]

            with Client(postfix.port, "192.0.2.1") as client:
                client.ehlo()
                with pytest.raises(smtplib.SMTPAuthenticationError):
                    client.login("ann", "wrong")
                assert [sent(client, f"<ann@s{n}.example>")[1] for n in range(5)] == [250] * 5  # nobody's
            assert codes(2, "ann", messages=2) == [250, 250]
            assert codes(3, "ann", "CRAM-MD5", messages=2) == [250, 451]
            with Client(postfix.port, "192.0.2.4") as client:
                client.ehlo()
                client.login("ann", "secret")
                refused = "4.7.1 ann@quickbox.email is sending too fast; retry in "
                assert sent(client, "<ann@other.example>")[2].startswith(refused)
            assert codes(5, "bob", messages=3) == [250] * 3
            assert codes(6, None, messages=4) == [250] * 4
    finally:
        shutil.rmtree(users)
