"""What ``throttle.replay`` counts with. Private: it may change in any version."""

from collections.abc import Sequence
from typing import Self, final

from throttle import Decision, Envelope, Throttle

__all__ = ["Counts", "Rows", "Seen", "Texts", "observed", "replies", "values"]

def observed(guard: Throttle) -> list[str]:
    """Returns the names of the identities that the limits of the guard's policy need."""

def values(guard: Throttle, envelope: Envelope) -> tuple[str | tuple[str, ...] | bool | None, ...]:
    """Returns a value for each identity of :func:`observed`, and last whether the sender is proven.

    An absent identity is ``None``, one that may have several values a tuple.
    """

def replies(key: str) -> set[str]:
    """Returns every built-in reply about a key, with a wait of one second where it states one."""

@final
class Texts:
    """Many short texts in one piece of memory."""

    def __new__(cls, texts: Sequence[str]) -> Self: ...
    def list(self) -> list[str]:
        """Returns the texts as a list."""

    def __len__(self) -> int: ...

@final
class Rows:
    """The values of many envelopes, for counting. Places are those in :func:`observed`."""

    def __new__(cls, guard: Throttle) -> Self: ...
    def ask(self, now: float, at: float, envelope: Envelope) -> Decision | None:
        """Checks the envelope at ``now``.

        An envelope that every limit admits, those in shadow mode too, is appended with the time ``at``. Otherwise the
        decision is returned.
        """

    def add(self, at: float, envelope: Envelope) -> None:
        """Appends the values of an envelope, as :func:`values` returns them; empty text counts as absent."""

    def keys(self, places: Sequence[int], verified: str) -> Texts:
        """Returns the keys of the rows whose sender is ``"proven"``, ``"claimed"`` or ``"any"``, in order.

        The values at ``places`` are joined; of several values each makes a key.
        """

    def clear(self) -> None:
        """Removes all rows."""

    def __len__(self) -> int: ...

@final
class Counts:
    """Counts exactly how often each text came, in the order of their first coming. Lone surrogates are allowed."""

    def __new__(cls) -> Self: ...
    def add(self, key: str, amount: int = 1) -> None:
        """Adds ``amount`` to ``key``."""

    def update(self, keys: Texts) -> None:
        """Counts each of ``keys``."""

    def update_known(self, keys: Texts) -> int:
        """Counts those that are known already, and returns how many are not."""

    def merge(self, other: Counts) -> None:
        """Adds the counts of ``other``."""

    def most(self) -> tuple[str, int] | None:
        """Returns the first key with the highest count, and that count."""

    def top(self, n: int) -> list[tuple[str, int]]:
        """Returns the ``n`` highest counts in descending order; equal counts are in the order of their names."""

    def prune(self, most: int) -> int:
        """Subtracts the count at rank ``most`` from all counts, and removes those that reach 0. Returns that count."""

    def amounts(self, without: set[str]) -> dict[int, int]:
        """Returns for each count how many texts have it, without those of a set."""

    def clear(self) -> None:
        """Removes all counts and keeps the memory."""

    def __getitem__(self, key: str, /) -> int: ...
    def __contains__(self, key: str, /) -> bool: ...
    def __len__(self) -> int: ...

@final
class Seen:
    """Which elements came under which keys, with their first and last time."""

    def __new__(cls, most: int, comeback_s: float) -> Self: ...
    def update(self, rows: Rows, per: Sequence[int], place: int, remember_s: float, without: Sequence[int]) -> Texts:
        """Notes the elements at ``place`` under the keys at ``per``, of all rows but ``without``, which is sorted.

        Returns the key of each element that had not been seen for ``remember_s``.
        """

    def prune(self) -> int:
        """Beyond ``most`` elements keeps half as many, and returns how many it removes.

        It keeps those that came back after ``comeback_s``, and of the others the latest.
        """

    def items(self) -> list[tuple[str, str, float, float]]:
        """Returns key, element, first and last time of each."""

    def __len__(self) -> int: ...
