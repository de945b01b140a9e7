"""Every tag is explained: in `throttle.tags`, and in the table of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

from throttle import Envelope, Throttle
from throttle.tags import TAGS, explained

ROOT = Path(__file__).resolve().parents[2]


def test_the_tags_are_those_of_the_core_and_of_the_documentation() -> None:
    core = (ROOT / "rust/core/src/identity/value.rs").read_text(encoding="utf-8")
    assert set(re.findall(r'=> "([A-Z]+)"', core)) == set(TAGS)
    page = (ROOT / "docs/operating.md").read_text(encoding="utf-8")
    assert re.findall(r"^  \| `([A-Z]+)` \|", page, re.MULTILINE) == list(TAGS)


def test_a_tag_is_explained_wherever_it_stands_in_a_key() -> None:
    assert dict(explained(["192.0.2.0/24 + UNLISTED", "b.com"])) == {"UNLISTED": TAGS["UNLISTED"]}
    assert list(explained(["unlisted", "b.com"])) == []


def test_values_without_a_name_are_tags() -> None:
    guard = Throttle()
    found = [
        guard.identities(Envelope(client_ip="x"))["client.ip"],
        guard.identities(Envelope(mail_from=""))["sender.org"],
        guard.identities(Envelope(mail_from="joe"))["sender.host"],
        guard.identities(Envelope(mail_from="joe@[192.0.2.1]"))["sender.org"],
        guard.identities(Envelope(mail_from="joe@mail.invalid"))["sender.registered"],
        guard.identities(Envelope(mail_from=f"joe@{'a.' * 300}com"))["sender.host"],
        guard.identities(Envelope(mail_from=f"joe@{'a' * 300}.com"))["sender.host"],
        *guard.identities(Envelope(reply_to="nobody"))["reply_to.address"],
    ]
    assert sorted(map(str, found)) == sorted(TAGS)
