"""`extends`: a policy file that says only what is different from another, built in or beside it."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from throttle import Envelope, Limit, Policy, PolicyError, Throttle
from throttle.policies import names

if TYPE_CHECKING:
    from pathlib import Path

    from throttle.types import Mode

MINE = """extends = "inbound"
scale = 2
without = ["auth-pace"]

[[limit]]
name = "pair-pace"
rate = "900/minute"

[[limit]]
name = "mine"
per  = "client.ip"
rate = "5/minute"
"""


def limit(policy: Policy, name: str) -> Limit:
    return next(limit for limit in policy.limits if limit.name == name)


@pytest.mark.parametrize("name", names())
def test_each_built_in_policy_can_be_extended(name: str) -> None:
    assert Policy.parse(f'extends = "{name}"') == Policy.builtin(name)


def test_what_is_written_changes_and_the_rest_is_that_of_the_base() -> None:
    policy, base = Policy.parse(MINE), Policy.builtin()
    kept = [limit.name for limit in base.limits if limit.name != "auth-pace"]
    assert [limit.name for limit in policy.limits] == [*kept, "mine"]
    assert limit(policy, "pair-pace").fields["rate"] == "1800/minute"
    assert limit(policy, "pair-pace").fields["burst"] == 12_000
    doubled = {"rate": "4400/10 minutes", "burst": 1600}
    assert limit(policy, "org-fresh").fields == limit(base, "org-fresh").fields | doubled
    assert policy.scale == 2.0


def test_it_is_a_policy_like_any_other(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(MINE)
    policy = Policy.from_file(file)
    assert policy == Policy.parse(MINE) == Policy.parse(policy.to_toml()) == pickle.loads(pickle.dumps(policy))
    assert "extends" not in policy.to_toml()
    assert [limit.name for limit in Throttle(file).policy.limits] == [limit.name for limit in policy.limits]


def test_a_file_is_found_beside_the_one_that_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "base.toml").write_text('extends = "inbound"\nwithout = ["auth-pace"]\n')
    (tmp_path / "deep" / "middle.toml").write_text('extends = "../base.toml"\nwithout = ["net-pace"]\n')
    (tmp_path / "deep" / "er" / "mine.toml").write_text('extends = "../middle.toml"\nscale = 3\n')
    policy = Policy.from_file(tmp_path / "deep" / "er" / "mine.toml")
    assert not {"auth-pace", "net-pace"} & {limit.name for limit in policy.limits}
    monkeypatch.chdir(tmp_path)
    assert Policy.from_file("deep/er/mine.toml") == Policy.parse('extends = "deep/middle.toml"\nscale = 3\n') == policy
    absolute = Policy.parse(f'extends = "{tmp_path}/base.toml"')
    assert "net-pace" in {limit.name for limit in absolute.limits}


def test_a_mistake_is_told_where_it_stands(tmp_path: Path) -> None:
    base, mine = tmp_path / "base.toml", tmp_path / "mine.toml"
    base.write_text('[[limit]]\nname = "x"\nper = "client.net"\nrate = "5/minute"\nburst = 0\n')
    mine.write_text('extends = "base.toml"\n\n[[limit]]\nname = "x"\nburst = -1\n')
    with pytest.raises(PolicyError) as raised:
        Policy.from_file(mine)
    assert (raised.value.file, raised.value.line, raised.value.limit, raised.value.field) == (
        str(base),
        5,
        "x",
        "burst",
    )
    base.write_text(base.read_text().replace("burst = 0", "burst = 9"))
    with pytest.raises(PolicyError) as raised:
        Policy.from_file(mine)
    assert (raised.value.file, raised.value.line, raised.value.found) == (str(mine), 5, "-1")
    mine.write_text(mine.read_text().replace("burst = -1", 'algorithm = "sliding-window"'))
    with pytest.raises(PolicyError) as raised:
        Policy.from_file(mine)
    assert (raised.value.file, raised.value.line) == (str(mine), 3)
    assert raised.value.found == f"9, which {base}:5 says"


def test_a_quota_of_the_base_that_no_sender_has_is_told_in_the_base(tmp_path: Path) -> None:
    base, mine = tmp_path / "base.toml", tmp_path / "mine.toml"
    base.write_text(
        '[[limit]]\nname = "x"\nper = "sender.org"\nrate = "5/minute"\nquota."a.ex.com" = { rate = "6/minute" }\n'
    )
    mine.write_text('extends = "base.toml"\n')
    with pytest.raises(PolicyError) as raised:
        Throttle(mine)
    assert (raised.value.file, raised.value.line, raised.value.suggestion) == (str(base), 5, None)
    assert '"ex.com"' in raised.value.allowed


def test_a_circle_is_told_by_the_file_that_closes_it(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('\nextends = "./b.toml"\n')
    (tmp_path / "b.toml").write_text('extends = "../circle/a.toml"\n')
    folder = tmp_path.rename(tmp_path.parent / "circle")
    with pytest.raises(PolicyError, match="which comes back to itself") as raised:
        Policy.from_file(folder / "a.toml")
    assert (raised.value.file, raised.value.line, raised.value.field) == (str(folder / "b.toml"), 1, "extends")


@pytest.mark.parametrize(
    ("base", "found", "suggestion"),
    [
        ("inbuond", '"inbuond"', "inbound"),
        ("none.toml", '"none.toml", which cannot be read (No such file or directory)', None),
        ("folder.toml", '"folder.toml", which cannot be read (Is a directory)', None),
        ("latin.toml", '"latin.toml", which cannot be read (not UTF-8 at byte 1)', None),
        ("nul\\u0000.toml", '"nul\\U00000000.toml", which cannot be read (embedded null byte)', None),
    ],
)
def test_a_base_that_cannot_be_had_is_told(tmp_path: Path, base: str, found: str, suggestion: str | None) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "latin.toml").write_bytes(b"#\xe9")
    (tmp_path / "mine.toml").write_text(f'extends = "{base}"\n')
    with pytest.raises(PolicyError) as raised:
        Policy.from_file(tmp_path / "mine.toml")
    error = raised.value
    assert (error.file, error.line, error.field) == (str(tmp_path / "mine.toml"), 1, "extends")
    assert (error.found, error.suggestion) == (found, suggestion)


@pytest.mark.parametrize("mode", ["enforce", "shadow"])
def test_the_mode_of_a_policy_is_over_those_of_its_limits(mode: Mode) -> None:
    policy = Policy([Limit(name="pace", per="client.net", rate="1/minute")], mode=mode)
    assert (policy.mode, Policy.parse(policy.to_toml()), pickle.loads(pickle.dumps(policy)).mode) == (
        mode,
        policy,
        mode,
    )
    guard = Throttle(policy, clock=lambda: 0.0)
    message = Envelope(client_ip="192.0.2.1", mail_from="a@ex.com")
    told = [guard.check(message) for _ in range(3)]
    assert [decision.allowed for decision in told] == [True, mode == "shadow", mode == "shadow"]
    assert told[2].shadow == (("pace",) if mode == "shadow" else ())


def test_policies_of_different_modes_are_different() -> None:
    pace = Limit(name="pace", per="client.net", rate="1/minute")
    assert Policy([pace]) == Policy([pace], mode="enforce") != Policy([pace], mode="shadow")
    with pytest.raises(PolicyError, match='mode: found "off"; allowed: "enforce" or "shadow"'):
        Policy([pace], mode="off")  # type: ignore[arg-type]  # what is tested
