"""Names made to break a parser or to slip through a folding: 127 labels, combining marks, bytes that are no text,
labels of 64 octets; from two hundred networks.

Gain: below one organisation 0.9 %, as for any fresh host: what cannot be read counts by its bytes.
Where even the organisation cannot be read, all share one bucket:
0.9 %. A local part of 900 bytes is a local part: everything, as with one claimed name. Innocents lose nothing,
and nothing raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attack import FAN_OUT, FLOOD, flood, held, networks, run

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from attack import Figures, Shot


LONG = "x" * 60 + "."
MARK = "\u0301"

BELOW_ONE_NAME: dict[str, Callable[[int], str | bytes]] = {
    "120 labels, as many as fit with a name": lambda n: f"a@b{n}.{'a.' * 117}mass.com",
    "127 labels": lambda n: f"a@b{n}.{'a.' * 124}mass.com",
    "400 labels": lambda n: f"a@b{n}.{'a.' * 397}mass.com",
    "hosts of 300 octets": lambda n: f"a@{n}.{LONG * 5}mass.com",
    "combining marks": lambda n: f"a@e\u0301\u0323o\u0308{n}.mass.com",
    "bytes that are no UTF-8": lambda n: b"a@\xff\xfe%d.mass.com" % n,
    "lone surrogates": lambda n: f"a@\udcff{n}.mass.com",
    "labels of 64 octets": lambda n: f"a@{n:a>64}.mass.com",
    "A-labels that are none": lambda n: f"a@xn--{n}\u00fc.mass.com",
    "empty labels": lambda n: f"a@{n}..x.mass.com",
}


@pytest.mark.parametrize("shape", BELOW_ONE_NAME)
def test_what_cannot_be_read_is_a_fresh_host_like_any_other(
    shape: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(BELOW_ONE_NAME[shape], networks(200))
    seen = run(innocents, attack, rng)
    write_down(f"fresh hosts under one name, made to break a parser: {shape}", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, FAN_OUT)) <= 1
    assert seen.limits.keys() == {"org-fan-out"}


WITHOUT_AN_ORGANISATION: dict[str, Callable[[int], str | bytes]] = {
    "bytes that are no UTF-8 in the organisation": lambda n: b"a@\xff%d.com" % n,
    "labels of 64 octets in the organisation": lambda n: f"a@{n:a>64}.com",
}


@pytest.mark.parametrize("shape", WITHOUT_AN_ORGANISATION)
def test_organisations_that_cannot_be_read_share_one_bucket(
    shape: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    attack = flood(WITHOUT_AN_ORGANISATION[shape], networks(200))
    seen = run(innocents, attack, rng)
    write_down(f"invented organisations, made to break a parser: {shape}", seen)
    assert seen.lost == {}
    assert abs(seen.admitted - held(attack, FAN_OUT)) <= 1


LOCAL_PARTS: dict[str, Callable[[int], str | bytes]] = {
    "900 bytes": lambda n: f"{n:x>900}@mass.com",
    "900 combining marks": lambda n: f"e{n}{MARK * 900}@mass.com",
    "bytes that are no UTF-8": lambda n: b"\xc3\x28%d@mass.com" % n,
    "quoted, with an at sign": lambda n: f'"a@{n}"@mass.com',
}


@pytest.mark.parametrize("shape", LOCAL_PARTS)
def test_a_local_part_is_a_local_part_whatever_it_holds(
    shape: str, innocents: list[Shot], rng: random.Random, write_down: Callable[[str, Figures], None]
) -> None:
    seen = run(innocents, flood(LOCAL_PARTS[shape], networks(200)), rng)
    write_down(f"fresh local parts under one name, 200 networks: {shape}", seen)
    assert seen.lost == {}
    assert seen.admitted == FLOOD
