"""A server may fork while another thread looks at how full the tables are: no lock is held in the child for ever."""

from __future__ import annotations

import os
import signal
import threading
import warnings

import pytest

from throttle import Envelope, RateLimiter, Throttle

FORKS = 40


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_child_that_was_forked_while_tables_were_counted_can_check() -> None:
    guard, limiter = Throttle(memory="64 MiB"), RateLimiter("1/minute", memory="16 MiB")
    envelope = Envelope(client_ip="192.0.2.1", mail_from="a@b.com")
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            guard.tables()
            assert limiter.load >= 0

    looker = threading.Thread(target=look)
    looker.start()
    hung = 0
    try:
        for _ in range(FORKS):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: just that is the test
                child = os.fork()
            if child == 0:
                signal.alarm(2)
                guard.check(envelope)
                limiter.hit("a")
                os._exit(0)
            hung += os.waitpid(child, 0)[1] != 0
    finally:
        done.set()
        looker.join()
    assert hung == 0
