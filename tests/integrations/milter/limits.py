"""Limits of a policy, as TOML."""

from __future__ import annotations


def limit(name: str, fields: str) -> str:
    """A limit with the fields given."""
    return f'[[limit]]\nname = "{name}"\n{fields}\n'


def once(name: str, per: str, more: str = "") -> str:
    """A limit that refuses the second of a key."""
    return limit(name, f'per = "{per}"\nrate = "1/day"\nburst = 1\n{more}')
