"""The milter behind a real Sendmail, with the line of ``sendmail.mc`` that docs/milter.md gives."""

from __future__ import annotations

import contextlib
import smtplib
from typing import TYPE_CHECKING

import pytest

from integrations.loopback import LOOPBACK
from integrations.milter.limits import limit, once
from integrations.milter.process import serving
from integrations.private_postfix import lines_of_page
from integrations.private_sendmail import private_sendmail

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.servers
pytest.importorskip("throttle.milter", reason="pymilter is not installed")


def test_sendmail_asks_at_each_step_and_everything_is_released(tmp_path: Path) -> None:
    policy = (
        once("sender", "sender.address")
        + once("recipient", "rcpt.address", 'count = "recipients"')
        + once("reply", "reply_to.mailbox")
        + limit("open", 'per = "client.ip"\nin_flight = 2\ncount = "connections"')
        + limit("hello", 'per = "helo.org"\nrate = "2/day"\nburst = 2\ncount = "connections"')
    )
    line = lines_of_page("milter.md", "sendmail.mc", "/run/throttle/milter", f"{tmp_path}/milter")
    with contextlib.ExitStack() as stack:
        milter = stack.enter_context(serving(f"unix:{tmp_path}/milter", policy))
        port = stack.enter_context(private_sendmail(line))
        milter.wait_for_release()  # of the connection that found the port open

        with smtplib.SMTP(LOOPBACK, port, local_hostname="mx.sender.example", timeout=60) as client:
            client.ehlo()
            assert client.docmd("MAIL", "FROM:<a%%b%c@one.example>")[0] == 250
            assert client.rcpt("box1@quickbox.email")[0] == 250
            assert client.data(b"Reply-To: joe@reply.example\r\n\r\nhello\r\n")[0] == 250
            refused = b"4.7.1 a%%b%c@one.example is sending too fast; retry in 86400 s"
            assert client.docmd("MAIL", "FROM:<a%%b%c@one.example>") == (451, refused)
            assert client.mail("b@one.example")[0] == 250
            assert client.rcpt("box1@quickbox.email")[0] == 450
            client.rset()
            assert client.mail("c@one.example")[0] == 250
            assert client.rcpt("box2@quickbox.email")[0] == 250
            code, text = client.data(b"Reply-To: joe@reply.example\r\n\r\nhello\r\n")
            assert (code, text[:18]) == (451, b"4.7.1 reply.exampl")
            assert client.docmd("MAIL", "FROM:<>")[0] == 250
            client.rset()

            with smtplib.SMTP(LOOPBACK, port, timeout=60) as second:
                assert second.ehlo("mx.sender.example")[0] == 250
                with pytest.raises(smtplib.SMTPConnectError) as raised:
                    smtplib.SMTP(LOOPBACK, port, timeout=60)
                assert raised.value.smtp_code == 421
                assert milter.held() > 0
        milter.wait_for_release()
        with smtplib.SMTP(LOOPBACK, port, timeout=60) as client:
            assert client.ehlo("mx.sender.example")[0] == 421

        with contextlib.closing(smtplib.SMTP(LOOPBACK, port, timeout=60)) as client:
            client.ehlo("mx.other.example")
            client.mail("d@one.example")
            client.rcpt("box3@quickbox.email")
            client.docmd("DATA")
            client.send(b"Subject: half\r\n")
            assert milter.held() > 0
        milter.wait_for_release()
