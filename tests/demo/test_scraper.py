"""What the demo says of a scrape is what the page had."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.error
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from throttle.demo.scraper import Scraper, scrape

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERVAL_SECONDS = 0.05


class Page:
    """A metrics page with one series more each time, which fails after `last`; `enough` is set then."""

    def __init__(self, last: int) -> None:
        self.bodies: list[bytes] = []
        self.enough = threading.Event()
        bodies, enough = self.bodies, self.enough

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if len(bodies) == last:
                    self.send_error(500)
                    enough.set()
                    return
                series = b"".join(b'mails{sender="%d"} 1\n' % number for number in range(len(bodies) + 1))
                bodies.append(b"# TYPE mails gauge\n" + series)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(bodies[-1])

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_port}"


@contextlib.contextmanager
def page(last: int) -> Iterator[Page]:
    found = Page(last)
    thread = threading.Thread(target=found.server.serve_forever, args=[INTERVAL_SECONDS])
    thread.start()
    try:
        yield found
    finally:
        found.server.shutdown()
        thread.join()
        found.server.server_close()


def test_series_and_bytes_are_those_of_the_page() -> None:
    with page(last=2) as served:
        got = [scrape(served.address, 7.0) for _ in range(2)]
    assert [(one.at_seconds, one.series, one.page_bytes) for one in got] == [
        (7.0, series, len(body)) for series, body in zip((1, 2), served.bodies, strict=True)
    ]
    assert all(one.seconds > 0 for one in got)


def test_a_page_is_read_once_an_interval_and_one_that_fails_ends_the_run() -> None:
    start = time.monotonic()
    with page(last=3) as served:
        scraper = Scraper(served.address, INTERVAL_SECONDS, start)
        with pytest.raises(urllib.error.HTTPError) as failed, scraper:
            assert served.enough.wait(60)
    failed.value.close()
    assert [one.series for one in scraper.scrapes] == [1, 2, 3]
    turns = [int(one.at_seconds / INTERVAL_SECONDS) for one in scraper.scrapes]
    assert turns[0] >= 1
    assert len(set(turns)) == 3
