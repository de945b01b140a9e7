"""Reads a side's metrics page over HTTP, as Prometheus does, and measures it.

It knows a page's address, not what a side exports.
Invariant: every side is read in the same way and at the same interval.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from dataclasses import dataclass
from typing import Self

PAGE_SECONDS = 30.0  # a page that takes longer is none

open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
"""Requests to loopback go through no proxy, whatever the environment says."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """One reading of the metrics page."""

    at_seconds: float  # since the first message
    series: int
    page_bytes: int
    seconds: float


def scrape(address: str, at_seconds: float) -> Scrape:
    """Read a metrics page and count its time series."""
    start = time.perf_counter()
    with open_url(f"http://{address}/metrics", timeout=PAGE_SECONDS) as page:
        text = page.read()
    seconds = time.perf_counter() - start
    series = sum(1 for line in text.splitlines() if line and not line.startswith(b"#"))
    return Scrape(at_seconds, series, len(text), seconds)


class Scraper:
    """Reads a page once an interval, in a thread, until the block ends.

    The first reading is one interval after `start`, a time of `time.monotonic`. A reading that takes longer than the
    interval delays the next one, and those that it delays past their turn are left out.
    """

    def __init__(self, address: str, interval_seconds: float, start: float) -> None:
        self.scrapes: list[Scrape] = []
        self._address, self._interval, self._start = address, interval_seconds, start
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        if kind is None:
            self._thread.join()
            if self._error is not None:
                raise self._error

    def _run(self) -> None:
        while not self._stop.wait(self._interval - (time.monotonic() - self._start) % self._interval):
            try:
                self.scrapes.append(scrape(self._address, time.monotonic() - self._start))
            except Exception as error:  # noqa: BLE001  raised where the block ends
                self._error = error
                return
