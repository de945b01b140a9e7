"""Built-in policies are named wherever a policy is: in `Throttle`, in `reload`, and on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from throttle import Policy, Throttle, policies

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", policies.names())
def test_a_guard_takes_the_name_of_a_built_in_policy(name: str) -> None:
    assert Throttle(name).policy == Policy.builtin(name)
    guard = Throttle()
    guard.reload(name)
    assert guard.policy == Policy.builtin(name)


def test_a_name_is_no_path_and_a_path_is_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    mine = '[[limit]]\nname = "mine"\nper = "client.ip"\nrate = "1/day"\n'
    for name in ("inbound", "own"):
        (tmp_path / name).write_text(mine)
    assert Throttle("inbound").policy == Policy.builtin("inbound")
    assert Throttle("./inbound").policy == Throttle("own").policy == Policy.parse(mine)
    assert Throttle(tmp_path / "inbound").policy == Policy.parse(mine)


@pytest.mark.parametrize(
    ("policy", "error", "message"),
    [
        (None, TypeError, "policy: found None; allowed: a path, the name of a built-in policy, or a Policy"),
        (3, TypeError, "policy: found int; allowed: a path, the name of a built-in policy, or a Policy"),
        ("inbnd", ValueError, r'policy: found "inbnd"; allowed: a built-in policy \(inbound, submission\), the path'),
        ("none/such.toml", FileNotFoundError, "none/such.toml"),
    ],
)
def test_a_reload_of_what_is_no_policy_says_what_is_allowed(policy: Any, error: type[Exception], message: str) -> None:
    guard = Throttle("submission")
    with pytest.raises(error, match=message):
        guard.reload(policy)
    assert guard.policy == Policy.builtin("submission"), "the policy before stays"
