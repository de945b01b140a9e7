"""What the control socket can be asked, of guards in this process."""

from __future__ import annotations

import io
import json
import math
import re
import shlex
import time
from typing import TYPE_CHECKING, Any

import pytest

from throttle import Envelope, ThrottleError
from throttle.control import answers
from throttle.control.request import Request, RequestError
from throttle.control.verbs import VERBS, counted_identities
from throttle.diagnosis import text
from throttle.serve.guards import Guards, PolicySource
from throttle.serve.log import Log

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """
[[limit]]
name = "pace"
per = "sender.org"
rate = "2/day"

[[limit]]
name = "hosts"
per = "sender.registered"
distinct = "sender.host"
rate = "3/day"
"""


class Service:
    """Guards, asked as the socket asks them."""

    def __init__(self, *sources: str, shadow: bool = False, sample: bool = False) -> None:
        self.guards = Guards(map(PolicySource.parse, sources), shadow=shadow, sample=sample)
        self.written = io.StringIO()

    def ask(self, verb: str, **fields: Any) -> Any:
        result = VERBS[verb].run(Request(verb, fields, self.guards, Log("json", self.written), 0.0))
        return json.loads(json.dumps(result, allow_nan=False))

    def send(self, sender: str, name: str = "", **fields: Any) -> bool:
        guard = next(guard for source, guard in self.guards if source.name == name)
        return bool(guard.check(Envelope(client_ip="192.0.2.1", mail_from=sender, **fields)))


def policy(directory: Path, text: str = POLICY) -> str:
    path = directory / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(policy(tmp_path))


def test_a_block_refuses_until_it_is_removed(service: Service) -> None:
    service.ask("block", identity="sender.org", value="Example.COM", **{"for": "1 hour"})
    assert not service.send("a@x.example.com")
    (one,) = service.ask("list")
    (entry,) = one["entries"]
    assert (entry["action"], entry["identity"], entry["value"], entry["by"]) == (
        "block",
        "sender.org",
        "example.com",
        "operator",
    )
    assert service.ask("unblock", identity="sender.org", value="example.com") == [{"policy": "", "result": True}]
    assert service.send("a@x.example.com")
    assert service.ask("unblock", identity="sender.org", value="example.com") == [{"policy": "", "result": False}]


def test_a_block_for_good_has_no_end_in_json(service: Service) -> None:
    service.ask("block", identity="sender.org", value="example.com")
    assert service.ask("list")[0]["entries"][0]["until"] is None


def test_an_allowed_claim_passes_its_limit(service: Service) -> None:
    assert [service.send("a@example.com") for _ in range(3)] == [True, True, False]
    service.ask("allow", identity="sender.org", value="example.com", unverified=True)
    assert service.send("a@example.com")


def test_reset_lets_a_sender_begin_again(service: Service) -> None:
    assert [service.send("a@example.com") for _ in range(3)] == [True, True, False]
    assert service.ask("reset", identity="sender.org", value="example.com") == [{"policy": "", "result": 1}]
    assert service.send("a@example.com")


def test_top_and_notices_name_the_offender_and_what_holds_it(service: Service) -> None:
    for number in range(9):
        service.send(f"a@h{number}.example.com")
    (one,) = service.ask("top")
    (group,) = [group for group in one["identities"] if group["identity"] == "sender.registered"]
    (offender,) = group["offenders"]
    assert (offender["value"], offender["refused"]) == ("example.com", 7)
    holding = [limit["limit"] for limit in offender["limits"]]
    assert holding == [notice["limit"] for notice in one["refusing"] if notice["identity"] == "sender.registered"]
    assert one["checks"]["mail"] == {"admitted": 2, "refused": 7, "shadow": 0}
    (told,) = service.ask("notices")
    texts = [notice["text"] for notice in told["refusing"]]
    assert any(text.startswith("pace defers example.com: 7 messages since ") for text in texts), texts
    assert service.ask("notices", after=told["last"])[0]["entries"] == []


def test_a_mode_holds_over_a_reload_that_states_another(tmp_path: Path) -> None:
    service = Service(policy(tmp_path), shadow=True)
    policy(tmp_path, f'mode = "shadow"\n{POLICY}')
    service.ask("reload")
    policy(tmp_path, f'mode = "enforce"\n{POLICY}')
    service.ask("reload")
    assert [service.send("a@example.com") for _ in range(3)] == [True] * 3, "--shadow holds"
    assert service.ask("mode", mode="enforce") == [{"policy": "", "result": "shadow"}]
    policy(tmp_path, f'mode = "shadow"\n{POLICY}')
    service.ask("reload")
    assert not service.send("a@example.com"), "what the operator said last holds"
    assert service.ask("status")["policies"][0]["mode"] == "enforce"


def test_reload_tells_what_is_wrong_and_keeps_the_policy(service: Service, tmp_path: Path) -> None:
    policy(tmp_path, POLICY.replace("2/day", "2/fortnight"))
    (one,) = service.ask("reload")
    assert "2/fortnight" in one["error"]
    assert [service.send("a@example.com") for _ in range(3)] == [True, True, False]
    assert service.ask("status")["last_reload"]["succeeded"] is False
    policy(tmp_path, POLICY.replace("2/day", "9/day"))
    assert service.ask("reload") == [{"policy": "", "error": None}]


def test_reload_takes_no_path(service: Service) -> None:
    with pytest.raises(RequestError, match="found the field 'path', which it does not have"):
        service.ask("reload", path="/etc/shadow")


def test_each_policy_is_changed_unless_one_is_named(tmp_path: Path) -> None:
    path = policy(tmp_path)
    service = Service(path, f"other={path}")
    service.ask("block", identity="sender.org", value="example.com")
    assert not service.send("a@example.com")
    assert not service.send("a@example.com", "other")
    service.ask("unblock", identity="sender.org", value="example.com", policy="other")
    assert not service.send("a@example.com")
    assert service.send("a@example.com", "other")
    with pytest.raises(RequestError, match="policy: found 'third'; allowed: '', 'other'"):
        service.ask("status", policy="third")


def test_explain_charges_nothing_and_tells_an_infinite_wait(service: Service) -> None:
    service.ask("block", identity="sender.org", value="example.com")
    (one,) = service.ask("explain", mail_from="a@example.com", client_ip="192.0.2.1")
    assert one["explanation"]["limit"] == "blocked"
    assert one["explanation"]["covering"][0]["seconds"] is None
    before = service.ask("status")["policies"][0]["checks"]
    service.ask("explain", mail_from="a@example.com", client_ip="192.0.2.1")
    assert service.ask("status")["policies"][0]["checks"] == before


def test_results_have_the_fields_that_their_types_name(service: Service) -> None:
    for number in range(5):
        service.send(f"a@h{number}.example.com")
    service.ask("block", identity="sender.org", value="example.net")
    status, (top, *_), (told, *_) = service.ask("status"), service.ask("top"), service.ask("notices")
    (entries, *_) = service.ask("list")
    row = next(rows["offenders"] for rows in top["identities"] if rows["offenders"])[0]
    for found, kind in (
        (status, answers.Status),
        (status["policies"][0], answers.PolicyStatus),
        (top, answers.Top),
        (top["identities"][0], answers.Rows),
        (row, answers.Row),
        (told, answers.ToldNotices),
        (told["refusing"][0], answers.ToldNotice),
        (entries, answers.Entries),
        (entries["entries"][0], answers.Entry),
    ):
        assert found.keys() == kind.__annotations__.keys(), kind.__name__


def test_diagnose_names_what_a_surge_shares_and_the_command_it_tells_works(tmp_path: Path) -> None:
    service = Service("inbound", sample=True)
    (_, guard) = next(iter(service.guards))
    begin = time.time()  # what is stated lies ahead of the clock, so the clock counts as standing at the end of it
    for second in range(0, 3600, 2):
        sender = f"joe@firm{second % 300}.com"
        guard.check(Envelope(client_ip=f"192.0.2.{second % 250}", mail_from=sender), now=begin + second)
    assert text(service.ask("diagnose")[0]).startswith("Nothing is wrong: ")
    for number in range(3000):
        guard.check(
            Envelope(
                client_ip=f"198.51.100.{number % 250}",
                mail_from=f"a@invented{number}.com",
                header_from=f"b@name{number}.net",
                reply_to="Case <case@desk.com>",
            ),
            now=begin + 3600 + number * 0.06,
        )
    (told,) = service.ask("diagnose")
    assert "shares client.net/24/48 198.51.100.0/24" in text(told)
    command = shlex.split(told["findings"][0]["action"]["command"])
    assert command == ["throttle", "ctl", "block", "--for", "1 hour", "client.net/24/48", "198.51.100.0/24"]
    service.ask("block", identity=command[5], value=command[6], **{"for": command[4]})
    flood = Envelope(client_ip="198.51.100.251", mail_from="a@new.com", reply_to="case@desk.com", header_from="x@y.com")
    assert guard.check(flood).limit == "blocked"


def test_without_a_sample_diagnose_says_so(service: Service) -> None:
    with pytest.raises(ThrottleError, match="sample"):
        service.ask("diagnose")


WRONG = [
    ("block", {"identity": "sender.org"}, "value: found nothing; allowed: text"),
    ("block", {"identity": 7, "value": "x"}, "identity: found 7; allowed: text"),
    ("block", {"identity": "sender.org", "value": "co.uk"}, "too broad"),
    ("block", {"identity": "sender.org", "value": "a.example", "for": "1 fortnight"}, "1 fortnight"),
    ("allow", {"identity": "helo.host", "value": "a.example"}, "unverified"),
    ("allow", {"identity": "sender.org", "value": "a.example", "unverified": "yes"}, "unverified: found 'yes'"),
    ("reset", {"identity": "nothing", "value": "a.example"}, "nothing"),
    ("mode", {"mode": "off"}, "mode: found 'off'; allowed: enforce, shadow"),
    ("top", {"n": True}, "n: found True"),
    ("top", {"n": 10**6}, "allowed: a whole number from 0 to 100"),
    ("top", {"identity": "sender.nothing"}, "sender.nothing"),
    ("notices", {"after": -1}, "after: found -1"),
    ("explain", {"mail_from": 7}, "mail_from"),
    ("explain", {"rcpt_to": [["x"]]}, "rcpt_to"),
    ("status", {"verb2": 1}, "found the field 'verb2'"),
]


@pytest.mark.parametrize(("verb", "fields", "wrong"), WRONG)
def test_a_wrong_field_is_named(service: Service, verb: str, fields: dict[str, Any], wrong: str) -> None:
    with pytest.raises((ThrottleError, ValueError), match=re.escape(wrong)):
        service.ask(verb, **fields)


def test_identities_are_those_that_limits_count(service: Service) -> None:
    (_, guard) = next(iter(service.guards))
    assert counted_identities(guard.policy) == ["sender.org", "sender.registered", "sender.host"]
    assert all(math.isfinite(guard.distinct(identity)) for identity in counted_identities(guard.policy))
