r"""Which invented values become names of series: the text of a value, the candidates, and the budget.

It knows no metrics and no time: callers pass microseconds.
Invariant: memory depends on the arguments of constructors, never on the values.

Candidates are counted by Misra and Gries' summary with the purge of Anderson et al. 2017:

    add(key):  updates[key] += 1, or = 1 for a new key
               if there are more than c keys: subtract the median from all, drop those that reach zero

Cost: O(1) on average, 0.3 µs. Bound: no number is too high, so an invented value gains nothing from those before it.
After u updates a number is at most 2·u/c too low, so a key with more updates than that is found.

Two things were tried and dropped. Space-saving gives each new key the smallest number of its table.
`throttle.sketch.CountMin` took 0.24 µs, but keeps no keys, so it needs a second table for them, and it cannot halve.

Sources: Misra and Gries 1982; Anderson, Bevan, Lang, Liberty, Rhodes and Thaler 2017, "A high-performance algorithm for
identifying frequent items in data streams".
"""

from __future__ import annotations

from hashlib import blake2b

from throttle.printable import printable

#: Label values of a series, in the order of the label names.
Key = tuple[str, ...]

#: Values of labels are cut to so many bytes of UTF-8.
LONGEST_BYTES = 100
HOUR_US = 3_600_000_000


def bounded(text: str) -> str:
    r"""Returns `text` in at most 100 bytes of printable UTF-8: escapes as `printable` makes them, long texts cut.

    A cut text ends with ``~`` and 16 digits of the hash of all of it, so two long texts stay two.
    """
    if len(text) <= LONGEST_BYTES and text.isascii() and text.isprintable():
        return text
    shown = printable(text[:LONGEST_BYTES]).encode()
    if len(text) <= LONGEST_BYTES and len(shown) <= LONGEST_BYTES:
        return shown.decode()
    tail = "~" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return shown[: LONGEST_BYTES - len(tail)].decode("utf-8", "ignore") + tail


class Candidates(dict[Key, int]):
    """How often each key without a name was updated lately, for at most `most` keys.

    It is a dictionary because the update of a key that is in it is the hot path of its user.
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def add(self, key: Key) -> int:
        """Counts an update and returns the number of `key`."""
        updates = self[key] = self.get(key, 0) + 1
        if len(self) <= self.most:
            return updates
        median = sorted(self.values())[len(self) // 2]
        self._keep({key: updates - median for key, updates in self.items()})
        return self.get(key, 0)

    def most_updates(self) -> int:
        """Returns the number of the most frequent key."""
        return max(self.values(), default=0)

    def halve(self, times: int) -> None:
        """Halves all numbers, so many times; forgets those that reach zero."""
        self._keep({key: updates >> times for key, updates in self.items()})

    def _keep(self, numbers: dict[Key, int]) -> None:
        self.clear()
        self.update((key, updates) for key, updates in numbers.items() if updates > 0)


class Budget:
    """A token bucket of names: so many an hour, and as many saved, which is where it starts."""

    def __init__(self, names_per_hour: int) -> None:
        self._interval_us = -(-HOUR_US // names_per_hour)
        self._most_us = (names_per_hour - 1) * self._interval_us
        self._full_at_us: int | None = None

    def next_us(self, now_us: int) -> int:
        """Returns when there is a token: not after `now_us` if there is one."""
        return now_us if self._full_at_us is None else self._full_at_us - self._most_us

    def spend(self, now_us: int) -> None:
        """Takes a token."""
        full_at_us = now_us if self._full_at_us is None else max(now_us, self._full_at_us)
        self._full_at_us = full_at_us + self._interval_us
