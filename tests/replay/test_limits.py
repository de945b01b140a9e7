"""Keys of many envelopes at once, and what is new of them, against one envelope after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from throttle import learned
from throttle.replay.learning import Remembered
from throttle.replay.limits import Keys

if TYPE_CHECKING:
    import random

    from throttle.replay.limits import Values

NAMES = ("client.net/24/48", "sender.org", "rcpt.address", "dkim.org")
PLACES = [(0,), (2,), (0, 1), (0, 2), (2, 0), (2, 3), (0, 1, 2), (1, 2, 3)]
REMEMBER_S = 500


def rows(rng: random.Random, count: int) -> list[Values]:
    def one(letter: str) -> str | None:
        return rng.choice([None, "", "MALFORMED", "same", *(f"{letter}{n}" for n in range(6))])

    def many(letter: str) -> tuple[str, ...]:
        return tuple(f"{letter}{rng.randrange(6)}" for _ in range(rng.randrange(3)))

    return [(one("n"), one("o"), many("r"), many("d"), rng.random() < 0.5) for _ in range(count)]


def several(value: object) -> list[str]:
    return list(value) if isinstance(value, tuple) else [value] if isinstance(value, str) and value else []


def keys_of(places: tuple[int, ...], row: Values) -> list[str]:
    keys = several(row[places[0]])
    for place in places[1:]:
        keys = [f"{key} + {other}" for key in keys for other in several(row[place])]
    return keys


@pytest.mark.parametrize("places", PLACES)
def test_keys_of_many_are_those_of_each(places: tuple[int, ...], rng: random.Random) -> None:
    sent = rows(rng, 500)
    keys = Keys(" + ".join(NAMES[place] for place in places), places)
    assert [list(keys.of(row)) for row in sent] == [keys_of(places, row) for row in sent]
    assert keys.of_all(sent) == [key for row in sent for key in keys_of(places, row)]
    assert keys.of_all([]) == []


@pytest.mark.parametrize("places", PLACES)
@pytest.mark.parametrize("place", [1, 2])
def test_what_is_new_is_told_once_for_each(places: tuple[int, ...], place: int, rng: random.Random) -> None:
    memory = Remembered(learned.Memory(["x"], "y"), Keys("x", places), place, [], REMEMBER_S)
    seen: dict[tuple[str, str], tuple[int, int]] = {}
    at = 0
    for _ in range(20):
        sent, times, wanted = rows(rng, 30), [], []
        for row in sent:
            at += rng.randrange(40)
            times.append(at)
            for key in keys_of(places, row):
                for element in several(row[place]):
                    if element == key:
                        continue
                    first, last = seen.get((key, element), (at, -REMEMBER_S - 1))
                    if at - last > REMEMBER_S:
                        wanted.append(key)
                        first = at
                    if element != "MALFORMED":
                        seen[key, element] = (first, at)
        assert memory.update(times, sent) == wanted
    assert {known: (memory.first[known], memory.last[known]) for known in memory.last} == seen
