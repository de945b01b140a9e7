"""Reading the header of a message: of ten megabytes beside one kilobyte with the same header,
and of headers made to be slow.

Where a header ends nothing more is read, so the first ratio is that of two equal things; the second table is what
somebody can buy at most.
"""

from benches.conftest import Benchmark, Findings

from throttle import Envelope
from throttle.bench.side_by_side import SHORT, Way, rounds, verdict

CALLS = 2_000
ROUNDS = 5 if SHORT else 40

#: As ordinary mail has it: some trace fields, then what is read.
HEADER = (
    b"Received: from mx.ex.com (mx.ex.com [192.0.2.1])\r\n\tby mx.box.test with ESMTPS id 4fXyZ1;\r\n\tFri, 27 Nov "
    b"2026 12:00:00 +0000 (UTC)\r\n"
    * 3
    + b"DKIM-Signature: v=1; a=rsa-sha256; d=ex.com; s=s1;\r\n\tb="
    + b"A" * 340
    + b"\r\nFrom: =?utf-8?q?J=C3=B6?= <joe@ex.com>\r\nReply-To: answers@ex.com\r\nList-Id: Us <us.ex.com>\r\nSubject: "
    b"hello\r\n\r\n"
)


#: Fields of one name as long as they are read, nine tenths of them junk of one kind.
def junk(piece: bytes) -> bytes:
    return b"".join(name + piece * (65_000 // len(piece)) + b"@b.com\n" for name in (b"From: ", b"Reply-To: "))


#: As large as is looked at, each.
SLOW = {
    "one field of 1 MiB": b"X: " + b"x" * 1_040_000 + b"\n",
    "350,000 fields": b"a:\n" * 349_000,
    "75,000 From fields": b"From: a@b.com\n" * 74_000,
    "bare carriage returns": b" \r" * 520_000,
    "words of RFC 2047 that do not end": junk(b"=?ab?q?x "),
    "words of RFC 2047": junk(b"=?a?q?=00?="),
    "quotes": junk(b'""'),
    "open comments": junk(b"(\\"),
    "dots": junk(b"a."),
    "backslashes": junk(b"\\a"),
    "addresses": junk(b"a@b "),
    "a megabyte without a blank line": b"x" * 1_000_000,
}


def way(name: str, message: bytes, calls: int) -> Way:
    def batch() -> None:
        read = Envelope.from_message
        for _ in range(calls):
            read(message)

    return Way(name, batch, calls)


def test_a_large_message_costs_what_its_header_costs(benchmark: Benchmark, findings: Findings) -> None:
    small, large = (HEADER + b"x" * (size - len(HEADER)) for size in (1_024, 10_000_000))
    assert Envelope.from_message(small) == Envelope.from_message(large) != Envelope()
    ways = [way("1 kB", small, CALLS), way("10 MB", large, CALLS)]
    benchmark.group = "headers"
    benchmark.pedantic(lambda: rounds(ways, 1), rounds=ROUNDS)

    ratio = ways[1].median / ways[0].median
    findings.tell(
        f"Envelope.from_message: a header of {len(HEADER)} octets; processor time, medians of {ROUNDS} rounds",
        [*(f"{way.median:8,.0f} ns  {way.name}" for way in ways), verdict("10 MB / 1 kB", ratio, at_most=1.2)],
        small_ns=ways[0].median,
        large_ns=ways[1].median,
        ratio=ratio,
    )


def test_headers_made_to_be_slow(benchmark: Benchmark, findings: Findings) -> None:
    ways = [way(name, message, 5) for name, message in SLOW.items()]
    benchmark.group = "headers"
    benchmark.pedantic(lambda: rounds(ways, 1), rounds=3 if SHORT else 10)

    worst = max(way.median for way in ways)
    findings.tell(
        "Envelope.from_message of headers made to be slow, of up to 1 MiB; processor time",
        [
            *(f"{way.median / 1000:8,.0f} µs  {way.name}" for way in ways),
            verdict("the worst, ms", worst / 1e6, at_most=10),
        ],
        worst_ns=worst,
    )
