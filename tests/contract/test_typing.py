"""What mypy says of calls: a wrong keyword and a wrong type are errors, and right calls are none."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("mypy")

RIGHT = """
from ipaddress import ip_address, ip_network
from throttle import Envelope, HitResult, Limit, RateLimiter, Throttle
from throttle.types import ExplainedLimit, Table

limit = Limit(
    name="all", per=["client.net/24/48", "sender.org"], rate="600/minute", burst=6000, count="messages",
    verified="proven", when_full="refuse", memory="1 MiB", algorithm="gcra", action="reject", mode="shadow",
    quota={"salesforce.com": {"rate": "6000/minute"}}, reply="450 4.7.1 {key} is too fast",
)
envelope = Envelope(client_ip=ip_address("192.0.2.1")).replace(mail_from="a@b.com", size=5)
envelope = Envelope.from_message(b"", client_ip=b"192.0.2.1", rcpt_to=["x@y.net"])
guard = Throttle("submission")
guard.block("client.net", ip_network("192.0.2.0/24"), seconds=60)
rows: tuple[ExplainedLimit, ...] = guard.explain(envelope).limits
tables: list[Table] = guard.tables()
code: int | None = guard.check(envelope).code
hit: HitResult = RateLimiter("1/minute").hit("a")
cleared: int = guard.reset("client.ip", "192.0.2.1")
"""

BEFORE = "from throttle import Envelope, Limit, RateLimiter, Throttle\nguard = Throttle()\nenvelope = Envelope()\n"

WRONG = [
    ('Limit(name="a", per="client.ip", rates="1/day")', "call-arg"),
    ('Limit(name="a", per="client.ip", rate=5)', "arg-type"),
    ('Limit(name="a", per="client.ip", rate="1/day", algorithm="leaky")', "arg-type"),
    ('Limit(name="a", per="client.ip", in_flight=5, share={"per": "client.ip"})', "arg-type"),
    ('Limit(per="client.ip", rate="1/day")', "call-arg"),
    ('envelope.replace(ip="192.0.2.1")', "call-arg"),
    ('envelope.replace(size="5")', "arg-type"),
    ('Envelope.from_message(b"", ip="192.0.2.1")', "call-arg"),
    ('Envelope.from_message("")', "arg-type"),
    ('guard.block("client.ip", "192.0.2.1", 60)', "call-arg"),
    ("guard.reload(None)", "arg-type"),
    ('guard.explain(envelope)["limits"]', "index"),
    ('RateLimiter("1/day").hit("a").reply', "attr-defined"),
]


def test_mypy_accepts_right_calls_and_names_every_wrong_one(tmp_path: Path) -> None:
    from mypy import api

    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(BEFORE + "".join(f"{line}\n" for line, _ in WRONG))
    options = ["--strict", "--no-incremental", "--cache-dir", str(tmp_path), "--python-executable", sys.executable]
    told, _, _ = api.run([*options, str(tmp_path / "right.py"), str(tmp_path / "wrong.py")])
    errors = [line for line in told.splitlines() if ": error:" in line]
    assert [line for line in errors if "right.py" in line] == []
    found = {(int(line.split(":")[1]), line.rsplit("[", 1)[1].rstrip("]")) for line in errors}
    first = BEFORE.count("\n") + 1
    assert found == {(first + place, code) for place, (_, code) in enumerate(WRONG)}, told
