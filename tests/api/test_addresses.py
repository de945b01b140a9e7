"""Objects of `ipaddress` stand wherever an address of a client stands."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import pytest

from given_guards import guard, limit
from throttle import Envelope


@pytest.mark.parametrize("text", ["192.0.2.1", "2001:db8::1"])
def test_an_envelope_and_a_session_take_an_address_object(text: str) -> None:
    once = guard(limit("once", "client.ip", "1/day"))
    envelope = Envelope(client_ip=ip_address(text))
    assert (envelope, envelope.client_ip) == (Envelope(client_ip=text), text)
    assert Envelope().replace(client_ip=ip_address(text)) == envelope
    assert Envelope.from_message(b"", client_ip=ip_address(text)) == envelope
    assert once.check(Envelope(client_ip=text, mail_from="a@b.com"))
    assert not once.check(envelope.replace(mail_from="a@b.com"))
    many = guard(limit("once", "client.ip", "1/day", count="connections"))
    assert many.session(client_ip=ip_address(text)).connect()
    assert not many.session(client_ip=text).connect()


def test_the_scope_of_a_link_local_address_is_the_servers_own() -> None:
    assert Envelope(client_ip=ip_address("fe80::1%eth0")).client_ip == "fe80::1"


def test_operators_name_addresses_and_networks_as_objects() -> None:
    pace = guard(limit("many", "client.ip", "100/day"))
    envelope = Envelope(client_ip="192.0.2.1")
    pace.block("client.ip", ip_address("192.0.2.1"))
    pace.block("client.net", ip_network("2001:db8::/32"))
    assert {entry.value for entry in pace.blocked()} == {"192.0.2.1", "2001:db8::/32"}
    assert not pace.check(envelope)
    assert pace.unblock("client.ip", ip_address("192.0.2.1"))
    pace.allow("client.net", ip_network("192.0.2.0/24"))
    assert [entry.value for entry in pace.allowed()] == ["192.0.2.0/24"]
    assert pace.check(envelope)


@pytest.mark.parametrize("value", [5, ip_network("192.0.2.0/24")])
def test_what_is_no_address_is_the_callers_mistake(value: Any) -> None:
    allowed = r"str, bytes, ipaddress\.IPv4Address, ipaddress\.IPv6Address or None"
    with pytest.raises(TypeError, match=f"client_ip: found .*; allowed: {allowed}"):
        Envelope(client_ip=value)
    with pytest.raises(TypeError, match=f"client_ip: found .*; allowed: {allowed}"):
        guard(limit("many", "client.ip", "100/day")).session(client_ip=value)


@pytest.mark.parametrize("value", [5, None, ["192.0.2.1"]])
def test_what_nobody_can_block_is_the_callers_mistake(value: Any) -> None:
    pace = guard(limit("many", "client.ip", "100/day"))
    for say in (pace.block, pace.allow, pace.unblock, pace.reset):
        with pytest.raises(TypeError, match=r"value: found .*; allowed: str, bytes, or an address or network of ipadd"):
            say("client.ip", value)
