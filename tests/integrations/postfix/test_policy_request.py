"""Requests are cut and parsed alike, however the stream is cut into reads, and no bytes raise."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integrations.postfix.policy_client import ATTRIBUTES, request
from throttle.serve.policy_request import (
    MOST_REQUEST_BYTES,
    MOST_VALUE_BYTES,
    NAMES,
    PolicyRequest,
    RequestReader,
    RequestTooLongError,
)

#: Bytes among which line ends, CRs and equal signs are frequent.
streams = st.lists(
    st.one_of(st.sampled_from([b"\n", b"\n\n", b"\r", b"\r\n", b"=", request()]), st.binary(max_size=12)), max_size=20
).map(b"".join)
values = st.binary(max_size=30).map(lambda value: value.translate(None, b"\0\n\r"))


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({min(place, len(stream)) for place in places} | {len(stream)})
    return [stream[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def requests_of(parts: list[bytes]) -> list[PolicyRequest | None]:
    reader = RequestReader()
    return [found for part in parts for found in reader.feed(part)]


def parse(lines: bytes) -> PolicyRequest | None:
    (found,) = requests_of([lines + b"\n\n"])
    return found


def expected(stream: bytes) -> list[PolicyRequest | None]:
    """The format once more, line by line."""
    found: list[PolicyRequest | None] = []
    lines: list[bytes] = []
    for line in stream.replace(b"\r", b"").split(b"\n")[:-1]:
        if line:
            lines.append(line)
        elif lines:
            values: dict[bytes, bytes] = {}
            for name, equals, value in (one.partition(b"=") for one in lines):
                if equals:
                    values.setdefault(name, value)
            is_policy = values.get(b"request") == b"smtpd_access_policy"
            found.append(PolicyRequest(*(values.get(name, b"") for name in NAMES)) if is_policy else None)
            lines = []
    return found


@given(streams, st.lists(st.integers(0, 3000)))
def test_a_stream_is_read_alike_wherever_it_is_cut(stream: bytes, places: list[int]) -> None:
    whole = requests_of([stream])
    assert whole == expected(stream)
    assert requests_of(cut(stream, places)) == whole
    assert requests_of([stream[at : at + 1] for at in range(len(stream))]) == whole


@given(st.dictionaries(st.sampled_from([name.decode() for name in NAMES]), values), st.randoms(use_true_random=False))
def test_order_and_unknown_attributes_do_not_matter(given_values: dict[str, bytes], random: object) -> None:
    lines = [name.encode() + b"=" + value for name, value in given_values.items()]
    lines += [b"request=smtpd_access_policy", b"x_unknown=1", b"no equal sign", b"=", b"sender_x=no"]
    in_order = parse(b"\n".join(sorted(lines, key=place)))
    random.shuffle(lines)  # type: ignore[attr-defined]
    assert parse(b"\n".join(lines)) == in_order
    assert in_order is not None
    assert in_order._asdict() == {name.decode(): given_values.get(name.decode(), b"") for name in NAMES}


def place(line: Any) -> int:
    """The place of an attribute in a request of Postfix."""
    names = list(ATTRIBUTES)
    name = bytes(line).partition(b"=")[0].decode()
    return names.index(name) if name in names else len(names)


@given(st.binary())
def test_no_bytes_raise(data: bytes) -> None:
    requests_of([data])
    requests_of([b"request=smtpd_access_policy\n" + data + b"\n\n"])


def test_a_request_of_postfix_is_read() -> None:
    (found,) = requests_of([request(sender='"a=b"@x', size=17)])
    assert found is not None
    assert (found.protocol_state, found.client_port, found.sender, found.size) == (b"RCPT", b"41234", b'"a=b"@x', b"17")


def test_the_first_of_several_attributes_of_one_name_counts() -> None:
    for end in (b"sender=b", b"sender=b\nsize=1"):
        found = parse(b"request=smtpd_access_policy\nsender=a\n" + end)
        assert found is not None
        assert found.sender == b"a"


def test_another_request_is_none() -> None:
    assert parse(b"request=junk\nsender=a") is None
    assert parse(b"sender=a") is None


def test_a_request_that_is_too_long_raises_and_is_not_kept() -> None:
    reader = RequestReader()
    for _ in range(MOST_REQUEST_BYTES // 1024):
        assert reader.feed(b"x" * 1024) == []
    with pytest.raises(RequestTooLongError):
        reader.feed(b"x")
    assert not reader.unfinished
    with pytest.raises(RequestTooLongError):
        RequestReader().feed(b"x" * (MOST_REQUEST_BYTES + 1) + b"\n\n" + request())
    assert len(RequestReader().feed(request() * 500)) == 500


def test_a_long_value_is_cut() -> None:
    found = parse(b"request=smtpd_access_policy\nsender=" + b"x" * 5000)
    assert found is not None
    assert len(found.sender) == MOST_VALUE_BYTES


def test_the_worst_request_is_parsed_in_time() -> None:
    """Each attribute stands there several times and the end is missing: a parser that backtracks takes years."""
    several = b"request=smtpd_access_policy\n" + b"".join((name + b"=\n") * 8 for name in NAMES)
    start = time.process_time()
    for stream in (several, several + b"\n\n\n", b"client_address=\n" * 4000, b"\r\n" * 30_000):
        requests_of([stream])
    assert time.process_time() - start < 2
