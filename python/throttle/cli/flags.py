"""Commands whose help shows a flag without a type: it takes no value, and `<bool>` asks for one.

It knows no command.
"""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand, TyperGroup

from throttle import policies

POLICY_HELP = f"a file (TOML), or a built-in policy: {', '.join(policies.names())}"
"""What names a policy on the command line."""


class Command(TyperCommand):
    """One command."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options and arguments."""
        return _plain(super().get_params(ctx))


class Group(TyperGroup):
    """Several."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Options and arguments of them all."""
        return _plain(super().get_params(ctx))


def _plain(options: list[Any]) -> list[Any]:
    for option in options:
        if getattr(option, "is_flag", False):
            option.metavar = ""
    return options
