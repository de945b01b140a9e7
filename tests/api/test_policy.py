"""`Policy`: limits in order, from Python, text, a file or the package; a mistake says where."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from throttle import Limit, Policy, PolicyError, ThrottleError

if TYPE_CHECKING:
    from pathlib import Path

PACE = Limit(name="pace", per="client.net", rate="600/minute")

FAN_OUT = Limit(name="fan-out", per="sender.org", distinct="sender.host", rate="200/10 minutes")

TEXT = """scale = 2
[suffixes]
extra = ["onmicrosoft.com"]
[[limit]]
name = "pace"
per  = ["client.net", "sender.org"]
rate = "600/minute"
"""


def test_limits_are_kept_in_order() -> None:
    policy = Policy(iter([PACE, FAN_OUT]))
    assert policy.limits == [PACE, FAN_OUT]
    assert (policy.scale, policy.file) == (1.0, "<policy>")


def test_scale_multiplies_rates_and_bursts() -> None:
    limits = Policy([Limit(name="pace", per="client.net", rate="600/minute", burst=1000)], scale=2.5).limits
    assert limits == [Limit(name="pace", per="client.net", rate="1500/minute", burst=2500)]
    assert (
        Policy([Limit(name="pace", per="client.net", rate="3/minute")], scale=0.5)
        .limits[0]
        .to_toml()
        .count('"1/minute"')
        == 1
    )
    assert Policy([PACE], scale=0.000001).limits == [Limit(name="pace", per="client.net", rate="1/minute")]


@pytest.mark.parametrize(
    "policy",
    [
        Policy([PACE, FAN_OUT]),
        Policy([PACE], scale=2.5),
        Policy([PACE], scale=0.3),
        Policy([PACE], suffixes=["b.com", "münchen.de"]),
        Policy.parse(TEXT),
        Policy.builtin(),
        Policy.builtin("submission"),
    ],
    ids=["plain", "scaled", "scaled-down", "suffixes", "parsed", "inbound", "submission"],
)
def test_it_says_again_what_makes_it(policy: Policy) -> None:
    again = Policy.parse(policy.to_toml(), policy.file)
    assert (again, hash(again)) == (policy, hash(policy))
    assert (again.limits, again.scale) == (policy.limits, 1.0)  # the scale is in the numbers already
    unpickled = pickle.loads(pickle.dumps(policy))
    assert (unpickled, hash(unpickled)) == (policy, hash(policy))
    assert (unpickled.file, unpickled.scale, unpickled.to_toml()) == (policy.file, policy.scale, policy.to_toml())


def test_equal_rules_are_equal_policies_whatever_their_file() -> None:
    assert Policy.parse(TEXT, "a.toml") == Policy.parse(TEXT, "b.toml")
    assert Policy([PACE], scale=2) == Policy([Limit(name="pace", per="client.net", rate="1200/minute")])
    assert Policy([PACE]) != Policy([PACE], suffixes=["b.com"])
    assert Policy([PACE, FAN_OUT]) != Policy([FAN_OUT, PACE])
    assert Policy([PACE]) != [PACE]


def test_text_and_a_file_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(TEXT)
    policy = Policy.from_file(path)
    assert policy == Policy.parse(TEXT) == Policy.from_file(str(path))
    assert policy.file == str(path)
    assert policy.scale == 2.0
    assert policy.limits == [Limit(name="pace", per=["client.net", "sender.org"], rate="1200/minute")]


def test_the_built_in_one_has_the_names_that_its_refusals_tell() -> None:
    policy = Policy.builtin()
    assert [limit.name for limit in policy.limits] == [
        "net-connections", "all-connections", "all-open", "all-bytes",
        "net-pace", "client-pace",
        "net-claimed-pace", "client-claimed-pace", "net-claimed-rcpt-pace", "client-claimed-rcpt-pace",
        "pair-pace", "pair-rcpt-pace", "owner-pace", "host-pace",
        "org-fan-out", "org-fresh", "org-fan-out-rcpt", "org-net-fan-out", "net-org-fan-out", "client-org-fan-out",
        "all-org-fan-out", "all-org-fan-out-spf",
        "reply-to-fan-out", "reply-to-pace", "dkim-fan-out", "rcpt-pace", "auth-pace", "harvest",
    ]  # fmt: skip
    assert policy.file == "inbound.toml"
    assert Policy.builtin("inbound") == policy
    assert repr(policy).startswith('Policy("inbound.toml": net-connections, all-connections')


@pytest.mark.parametrize(
    ("text", "where", "found", "allowed"),
    [
        ("scale = \n", (1, 9, None, None), "broken TOML", "here text in quotes"),
        (TEXT.replace("[[limit]]", "[[limit]"), (4, 9, None, None), "broken TOML", "here `]`"),
        (TEXT.replace("600/minute", "0/minute"), (7, None, "pace", "rate"), '"0/minute"', "an amount from 1"),
        (TEXT.replace("sender.org", "sender.ogr"), (6, None, "pace", "per"), '"sender.ogr"', "one of client.ip"),
        (TEXT.replace("scale = 2", "scale = 0"), (1, None, None, "scale"), "0", "a number from 0.000001"),
        (
            TEXT.replace("scale = 2", "mode = 'off'"),
            (1, None, None, "mode"),
            '"off"',
            '"enforce" or "shadow"',
        ),
        (
            TEXT.replace('"onmicrosoft.com"', '"*.b.com"'),
            (3, None, None, "suffixes.extra"),
            '"*.b.com"',
            "a plain suffix",
        ),
        (TEXT + TEXT[TEXT.index("[[limit]]") :], (9, None, "pace", "name"), '"pace" a second time', "every name once"),
        ("", (None, None, None, None), "no limit", "1 to 64"),
    ],
)
def test_a_mistake_in_a_file_says_where(
    tmp_path: Path, text: str, where: tuple[int | None, int | None, str | None, str | None], found: str, allowed: str
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(PolicyError) as raised:
        Policy.from_file(path)
    error = raised.value
    assert error.file == str(path)
    assert (error.line, error.column, error.limit, error.field) == where
    assert found in error.found
    assert allowed in error.allowed
    place = ":".join(str(part) for part in (path, error.line, error.column) if part is not None)
    assert str(error).startswith(f"{place}: ")
    assert isinstance(error, ValueError)
    assert isinstance(error, ThrottleError)


def test_an_error_pickles_with_all_that_it_says() -> None:
    with pytest.raises(PolicyError) as raised:
        Policy.parse(TEXT.replace("sender.org", "sender.ogr"), "a.toml")
    again = pickle.loads(pickle.dumps(raised.value))
    assert (type(again), str(again), vars(again)) == (PolicyError, str(raised.value), vars(raised.value))
    assert again.suggestion == "sender.org"


def test_a_file_that_is_not_there_or_not_utf_8_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.toml"):
        Policy.from_file(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(TEXT.encode() + b"# \xe9")
    with pytest.raises(PolicyError, match=f"latin.toml: found a byte that is not UTF-8, at {len(TEXT) + 2}"):
        Policy.from_file(tmp_path / "latin.toml")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (([],), {}, PolicyError, "found no limit"),
        (([PACE] * 2,), {}, PolicyError, 'limit "pace", name: found "pace" a second time'),
        (([PACE],), {"scale": 0}, PolicyError, "scale: found 0; allowed: a number from 0.000001"),
        (([PACE],), {"scale": "2"}, PolicyError, 'scale: found "2"'),
        (([PACE],), {"scale": 1e6 + 1}, PolicyError, "scale: found 1000001"),
        (([PACE],), {"suffixes": ["*.b.com"]}, PolicyError, 'did you mean "b.com"'),
        (([PACE],), {"suffixes": "b.com"}, PolicyError, "a list of plain suffixes"),
        ((["pace"],), {}, TypeError, "limits: found str; allowed: an iterable of Limit"),
        ((3,), {}, TypeError, "limits: found int; allowed: an iterable of Limit"),
    ],
)
def test_a_wrong_argument_is_named(
    arguments: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message.replace("(", r"\(")):
        Policy(*arguments, **options)


def test_an_unknown_built_in_one_is_told_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="found 'outbound'; allowed: inbound, submission"):
        Policy.builtin("outbound")
