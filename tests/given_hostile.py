"""Hostile envelopes by the million: pools of bad parts, put together at random by a seeded generator.

Hypothesis looks for the smallest input that fails; this looks at very many, at a few microseconds each.
Invariant: the same random numbers give the same envelopes.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from throttle import Envelope

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

POOL = 4000  # parts of each kind: local parts times hosts makes sixteen million addresses

BATCH = 1000

CROWDED = 20 * BATCH  # one envelope in so many has ten thousand recipients

SUFFIXES = (
    b"com",
    b"co.uk",
    b"github.io",
    b"invalid",
    b"salesforce.com",
    b"www.ck",
    b"kawasaki.jp",
    "公司.cn".encode(),
    b"COM.",
    b"com..",
)

_COMBINING = "\u0301\u0338\u200d\u202e\u00ad\ufeffİſßK。．"

MARKS = (*map(str.encode, _COMBINING), b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x00", b"\r\n")


def _junk(rng: random.Random) -> bytes:
    return rng.randbytes(rng.randrange(12))


def _word(rng: random.Random) -> bytes:
    return b"%x" % rng.getrandbits(rng.choice((4, 16, 48)))


def _marked(rng: random.Random) -> bytes:
    return _word(rng) + rng.choice(MARKS) * rng.randrange(1, 40) + _word(rng)


LABELS: tuple[Callable[[random.Random], bytes], ...] = (
    _word,
    _word,
    _word,
    _marked,
    _junk,
    lambda rng: b"a" * rng.choice((63, 64, 300)),
    lambda rng: b"xn--" + _word(rng),
    lambda rng: b".".join([b"a"] * rng.choice((120, 126, 127, 128, 400))),
)

LOCALS: tuple[Callable[[random.Random], bytes], ...] = (
    _word,
    _word,
    _marked,
    _junk,
    lambda rng: b"l" * rng.choice((64, 255, 256, 257, 900)),
    lambda rng: b'"' + _junk(rng) + rng.choice((b'"', b'\\"', b'@"')),
    lambda rng: (
        rng.choice((b"prvs=", b"msprvs1=", b"btv1==", b"prvs=1=prvs="))
        + _word(rng)
        + rng.choice((b"=", b"=="))
        + _word(rng)
    ),
    lambda rng: rng.choice((b"SRS0=", b"srs0+", b"SRS1=")) + b"=".join([_word(rng), b"TT", _word(rng), _word(rng)]),
    lambda rng: _word(rng) + b"+" * rng.randrange(1, 4) + _word(rng) + b"=ex.org",
    lambda rng: b"@" + _word(rng) + b",@b:" + _word(rng),
)

LITERALS: tuple[Callable[[random.Random], bytes], ...] = (
    lambda rng: b"192.0.2.%d" % rng.randrange(300),
    lambda rng: b"[192.0.2.%d]" % rng.randrange(300),
    lambda rng: b"[IPv6:2001:db8::%x]" % rng.getrandbits(20),
    lambda rng: b"::ffff:10.0.%d.1" % rng.randrange(300),
    lambda rng: b"2001:DB8:%x::%%eth0" % rng.getrandbits(16),
    lambda rng: b"[" + _junk(rng),
    _junk,
)


def _host(rng: random.Random) -> bytes:
    if rng.random() < 0.1:
        return rng.choice(LITERALS)(rng)
    labels = [rng.choice(LABELS)(rng) for _ in range(rng.randrange(5))]
    return b".".join([*labels, rng.choice(SUFFIXES)])


def _size(rng: random.Random) -> int | None:
    return rng.choice((None, 0, 1000, -1, rng.getrandbits(80), 2**64 - 1, 2**64, -(2**70)))


def _header(rng: random.Random, senders: list[bytes], hosts: list[bytes]) -> bytes:
    """Of a message, broken in most places."""
    marks = (
        b"<",
        b">",
        b",",
        b";",
        b":",
        b"(",
        b")",
        b'"',
        b"\\",
        b"\n ",
        b"=?utf-8?q?=41?=",
        b"=?utf-8?b?",
        b"\x00",
        b"\xff",
        b" ",
    )
    names = (b"From: ", b"Reply-To: ", b"reply-to:", b"List-Id: ", b"From : ", b"\n", b"junk ")
    fields = []
    for _ in range(rng.randrange(6)):
        value = b"".join(
            rng.choice(senders) + rng.choice(hosts) if rng.random() < 0.4 else rng.choice(marks)
            for _ in range(rng.randrange(8))
        )
        fields.append(rng.choice(names) + value + rng.choice((b"\n", b"\r\n", b"")))
    return b"".join(fields)


def envelopes(rng: random.Random, count: int) -> Iterator[Envelope]:
    """So many of them; every other text as `str`, with what is not UTF-8 as lone surrogates."""
    hosts = [_host(rng) for _ in range(POOL)]
    senders = [
        local + rng.choice((b"@", b"@", b"@", b"", b"@@")) for local in (rng.choice(LOCALS)(rng) for _ in range(POOL))
    ]
    clients = [rng.choice(LITERALS)(rng) for _ in range(POOL)]
    counts = [rng.choice((0, 1, 1, 2, 3)) for _ in range(1000)]
    recipients = [
        [a + b for a, b in zip(rng.choices(senders, k=n), rng.choices(hosts, k=n), strict=True)] for n in counts
    ]
    crowd = [b"u%d@box.net" % number for number in range(10_000)]
    headers = [_header(rng, senders, hosts) for _ in range(POOL)]
    sizes = [_size(rng) for _ in range(POOL)]
    texts = [host.decode(errors="surrogateescape") for host in hosts]
    for batch in range(0, count, BATCH):
        many = min(BATCH, count - batch)
        pools = (
            senders,
            hosts,
            clients,
            hosts,
            texts,
            recipients,
            sizes,
            (None, None, "pass", "fail", "\udc80"),
            headers,
        )
        drawn = zip(*(rng.choices(pool, k=many) for pool in pools), strict=True)
        for number, (sender, host, client, name, helo, few, size, spf, header) in enumerate(drawn):
            path = sender + host
            # A third with a header that is read, a third with values as a server gives them, a third with neither.
            said: dict[str, Any] = {}
            if number % 3 == 1:
                said = {"header_from": few, "reply_to": path, "list_id": helo, "dkim": [name, host]}
            build = partial(Envelope.from_message, header) if number % 3 == 0 else Envelope
            yield build(
                client_ip=client,
                client_name=name,
                helo=helo,
                mail_from=path.decode(errors="surrogateescape") if number % 2 else path,
                rcpt_to=crowd if number == 0 and batch % CROWDED == 0 else few,
                auth_user=sender,
                spf=spf,
                size=size,
                **said,
            )
