"""Forged `Authentication-Results`: a sender writes the header of the border server himself, or makes the server write
more than it found out.

Gain: nothing. A header of the server's name counts only where the server puts it, on top; what else looks like one
counts for nothing, and so does a part of a real one that other software may read in another way. What the border
server itself found out counts in every case.
"""

from __future__ import annotations

import pytest

from throttle import Envelope, Throttle
from throttle.auth import with_results

NAME = "mx.box.com"
PROOF = "spf=pass smtp.mailfrom=joe@victim.com; dkim=pass header.d=victim.com"
REAL = "Authentication-Results: mx.box.com; spf=fail smtp.mailfrom=joe@victim.com; dkim=pass header.d=real.com\r\n"
ENVELOPE = Envelope(client_ip="192.0.2.1", mail_from="joe@victim.com")


def read(message: str | bytes, fields: int = 1) -> Envelope:
    octets = message if isinstance(message, bytes) else message.encode("utf-8", "surrogateescape")
    return with_results(ENVELOPE, octets, authserv_id=NAME, fields=fields)


FORGED = {
    # the end of a line
    "bare CR in another field": f"Subject: hi\rAuthentication-Results: mx.box.com; {PROOF}\r\n",
    "two bare CR": f"Subject: hi\r\rAuthentication-Results: mx.box.com; {PROOF}\r\n",
    "bare CR at the beginning": f"\rAuthentication-Results: mx.box.com; {PROOF}\r\n",
    "bare CR before the name": f"Authentication-Results:\rmx.box.com; {PROOF}\r\n",
    "bare CR behind the name": f"Authentication-Results: mx.box.com\r; {PROOF}\r\n",
    "bare CR in a part": f"Authentication-Results: mx.box.com; {PROOF}\r; a=b\r\n",
    "bare CR in a comment": f"Authentication-Results: mx.box.com; (\r) {PROOF}\r\n",
    "bare CR before the line's end": f"Authentication-Results: mx.box.com; {PROOF}\r\r\n",
    "bare CR before a fold": f"Authentication-Results: mx.box.com;\r\r\n\t{PROOF}\r\n",
    "vertical tab": f"Subject: hi\x0bAuthentication-Results: mx.box.com; {PROOF}\r\n",
    "form feed": f"Subject: hi\x0cAuthentication-Results: mx.box.com; {PROOF}\r\n",
    "next line": f"Subject: hi\u0085Authentication-Results: mx.box.com; {PROOF}\r\n",
    "line separator": f"Subject: hi\u2028Authentication-Results: mx.box.com; {PROOF}\r\n",
    "fold of another field": f"Subject: hi\r\n Authentication-Results: mx.box.com; {PROOF}\r\n",
    "fold with a line of blanks": f"Subject: hi\r\n \r\n\tAuthentication-Results: mx.box.com; {PROOF}\r\n",
    # the end of the header
    "body": f"Subject: hi\r\n\r\nAuthentication-Results: mx.box.com; {PROOF}\r\n",
    "body behind LF": f"Subject: hi\n\nAuthentication-Results: mx.box.com; {PROOF}\n",
    "body behind LF and CRLF": f"Subject: hi\n\r\nAuthentication-Results: mx.box.com; {PROOF}\n",
    "behind a line that is no field": f"Subject: hi\r\nno field\r\nAuthentication-Results: mx.box.com; {PROOF}\r\n",
    # the name of the field
    "blank before the colon": f"Authentication-Results : mx.box.com; {PROOF}\r\n",
    "no colon": f"Authentication-Results mx.box.com; {PROOF}\r\n",
    "NUL in the field's name": f"Authentication\0-Results: mx.box.com; {PROOF}\r\n",
    "NUL behind the field's name": f"Authentication-Results\0: mx.box.com; {PROOF}\r\n",
    "fold in the field's name": f"Authentication-\r\n Results: mx.box.com; {PROOF}\r\n",
    "8-bit field's name": f"Authentication-Re\u017fults: mx.box.com; {PROOF}\r\n",
    "ARC": f"ARC-Authentication-Results: i=1; mx.box.com; {PROOF}\r\n",
    "X-Original": f"X-Original-Authentication-Results: mx.box.com; {PROOF}\r\n",
    "Received-SPF": "Received-SPF: pass (mx.box.com: domain of victim.com) client-ip=192.0.2.1;\r\n",
    # the name of the server
    "no name": f"Authentication-Results: {PROOF}\r\n",
    "empty name": f"Authentication-Results: ; {PROOF}\r\n",
    "name of another": f"Authentication-Results: evil.com; {PROOF}\r\n",
    "name below it": f"Authentication-Results: a.mx.box.com; {PROOF}\r\n",
    "name above it": f"Authentication-Results: box.com; {PROOF}\r\n",
    "name that begins so": f"Authentication-Results: mx.box.com.evil.com; {PROOF}\r\n",
    "dot behind": f"Authentication-Results: mx.box.com.; {PROOF}\r\n",
    "dot before": f"Authentication-Results: .mx.box.com; {PROOF}\r\n",
    "job number": f"Authentication-Results: mx.box.com/4XyZ; {PROOF}\r\n",
    "NUL behind": f"Authentication-Results: mx.box.com\0; {PROOF}\r\n",
    "NUL inside": f"Authentication-Results: mx.\0box.com; {PROOF}\r\n",
    "form feed before": f"Authentication-Results: \x0cmx.box.com; {PROOF}\r\n",
    "form feed behind": f"Authentication-Results: mx.box.com\x0c; {PROOF}\r\n",
    "no-break space behind": f"Authentication-Results: mx.box.com\u00a0; {PROOF}\r\n",
    "zero-width space": f"Authentication-Results: mx.box.com\u200b; {PROOF}\r\n",
    "Roman numeral ten": f"Authentication-Results: mx.bo\u2179.com; {PROOF}\r\n",
    "full-width dot": f"Authentication-Results: mx\uff0ebox.com; {PROOF}\r\n",
    "8-bit bytes": f"Authentication-Results: mx.box.com\udcff; {PROOF}\r\n",
    "byte order mark": f"Authentication-Results: \ufeffmx.box.com; {PROOF}\r\n",
    "encoded word": f"Authentication-Results: =?utf-8?q?mx.box.com?=; {PROOF}\r\n",
    "encoded word of all": "Authentication-Results: =?utf-8?q?mx.box.com=3B_spf=3Dpass?=\r\n",
    "quotes": f'Authentication-Results: "mx.box.com"; {PROOF}\r\n',
    "quotes with an escape": f'Authentication-Results: "mx\\.box.com"; {PROOF}\r\n',
    "brackets": f"Authentication-Results: <mx.box.com>; {PROOF}\r\n",
    "percent": f"Authentication-Results: mx%2Ebox.com; {PROOF}\r\n",
    "comment before": f"Authentication-Results: (x)mx.box.com; {PROOF}\r\n",
    "comment and blank before": f"Authentication-Results: (x) mx.box.com; {PROOF}\r\n",
    "comment behind": f"Authentication-Results: mx.box.com(x); {PROOF}\r\n",
    "comment and blank behind": f"Authentication-Results: mx.box.com (x); {PROOF}\r\n",
    "comment inside": f"Authentication-Results: mx.(x)box.com; {PROOF}\r\n",
    "the name in a comment": f"Authentication-Results: (mx.box.com) evil.com; {PROOF}\r\n",
    "the name in an open comment": f"Authentication-Results: evil.com (; mx.box.com; {PROOF}\r\n",
    "comment behind the version": f"Authentication-Results: mx.box.com 1 (x); {PROOF}\r\n",
    "another version": f"Authentication-Results: mx.box.com 2; {PROOF}\r\n",
    "version with a zero": f"Authentication-Results: mx.box.com 01; {PROOF}\r\n",
    "another word": f"Authentication-Results: mx.box.com evil.com; {PROOF}\r\n",
    "the name behind another": f"Authentication-Results: evil.com mx.box.com; {PROOF}\r\n",
    "the name as a part": f"Authentication-Results: evil.com; mx.box.com; {PROOF}\r\n",
    "no semicolon": f"Authentication-Results: mx.box.com {PROOF.replace(';', '')}\r\n",
    "comma": f"Authentication-Results: mx.box.com, {PROOF.replace(';', ',')}\r\n",
}


@pytest.mark.parametrize("shape", FORGED)
def test_what_only_looks_like_the_servers_header_proves_nothing(shape: str) -> None:
    assert read(FORGED[shape], fields=9) == ENVELOPE
    found = read(REAL + FORGED[shape], fields=9)
    assert (found.spf, found.dkim) == ("fail", ("real.com",))


@pytest.mark.parametrize("shape", FORGED)
def test_what_a_forged_header_says_does_not_prove_the_sender(shape: str) -> None:
    guard = Throttle(memory="8 MiB")
    identities = guard.identities(read(REAL + FORGED[shape], fields=9))
    assert identities["dkim.org"] == ("real.com",)


@pytest.mark.parametrize(
    "spelling",
    [
        f"Authentication-Results: mx.box.com; {PROOF}\r\n",
        f"AUTHENTICATION-RESULTS:MX.BOX.COM;{PROOF}\r\n",
        f"authentication-results:\r\n\t\r\n  mx.box.com 1 ;{PROOF}\n",
    ],
)
def test_a_copy_of_the_servers_header_below_it_proves_nothing(spelling: str) -> None:
    """Alone it is the server's header, for all that can be seen. So a server has to remove it (RFC 8601 §5)."""
    assert read(spelling).spf == "pass"
    found = read(f"Received: from evil.com\r\n{REAL}Subject: hi\r\n{spelling * 3}")
    assert (found.spf, found.dkim) == ("fail", ("real.com",))
    # neither below one of the server's that says nothing, or is broken
    for above in ("mx.box.com; none", "mx.box.com", "mx.box.com; (", "mx.box.com;\r", "mx.box.com 2; spf=pass"):
        assert read(f"Authentication-Results: {above}\r\n{spelling}") == ENVELOPE
    # a header does not begin with a fold
    assert read(f" \r\n{spelling}") == ENVELOPE
    # but one more than the server's own counts: `fields` has to be right
    assert read(f"Authentication-Results: mx.box.com; none\r\n{spelling}", fields=2).spf == "pass"


#: What a server writes that puts a sender's text into its header as it is, by what the sender controls.
INJECTED = {
    "d= with a comment": "dkim=pass header.d=victim.com(.evil.com",
    "d= with a comment that s= closes": "dkim=pass header.d=victim.com(.evil.com header.s=x)",
    "d= with a comment that a second signature closes": (
        "dkim=pass header.d=victim.com(.evil.com; dkim=pass header.d=x).evil.com"
    ),
    "d= that begins with a comment": "dkim=pass header.d=(.evil.com header.s=x)victim.com header.b=y",
    "d= that begins with a comment, and a blank": "dkim=pass header.d=(.evil.com header.s=x) victim.com",
    "d= with a quote": 'dkim=pass header.d=victim.com".evil.com header.s=x"',
    "d= in quotes and more": 'dkim=pass header.d="victim.com".evil.com',
    "d= with an apostrophe": "dkim=pass header.d=victim.com'.evil.com",
    "d= with a NUL": "dkim=pass header.d=victim.com\0.evil.com",
    "d= with an at sign": "dkim=pass header.d=victim.com@evil.com",
    "d= with a comma": "dkim=pass header.d=victim.com,evil.com",
    "d= with a slash": "dkim=pass header.d=victim.com/.evil.com",
    "d= with a backslash": "dkim=pass header.d=victim.com\\.evil.com",
    "d= with a tab": "dkim=pass header.d=victim.com\t.evil.com",
    "d= with a form feed": "dkim=pass header.d=victim.com\x0c.evil.com",
    "d= in brackets": "dkim=pass header.d=<victim.com>",
    "d= as an encoded word": "dkim=pass header.d==?utf-8?q?victim.com?=",
    "d= that is an address": "dkim=pass header.d=192.0.2.1",
    "d= without labels": "dkim=pass header.d=.",
    "d= with 8-bit bytes": "dkim=pass header.d=victim.com\udcff.evil.com",
    "d= twice": "dkim=pass header.d=evil.com header.i=x header.d=victim.com",
    "i= twice": "dkim=pass header.i=@evil.com header.i=@victim.com",
    "i= with a blank and d=": "dkim=pass header.d=evil.com header.i=x header.d=victim.com@evil.com",
    "i= alone with a blank and d=": "dkim=pass header.i=x header.d=victim.com@evil.com",
    "i= with a comment": "dkim=pass header.i=@victim.com(.evil.com header.s=x)",
    "i= in quotes with more behind": 'dkim=pass header.i="@victim.com".evil.com',
    "i= in open quotes": 'dkim=pass header.i="x@victim.com',
    "a verdict in a comment": "dkim=fail (dkim=pass header.d=victim.com) header.d=evil.com",
    "a verdict in quotes": 'dkim=fail reason="; dkim=pass header.d=victim.com" header.d=evil.com',
    "a verdict in quotes with escapes": (
        'dkim=fail reason="\\"; dkim=pass header.d=victim.com; x=\\"" header.d=evil.com'
    ),
    "a verdict behind an open comment": "dkim=fail (; dkim=pass header.d=victim.com",
    "a verdict behind an open quote": 'dkim=fail header.i=" header.d=evil.com; dkim=pass header.d=victim.com',
    "a mailbox with a semicolon in quotes": 'spf=fail smtp.mailfrom="a; dkim=pass header.d=victim.com; x"@evil.com',
    "a mailbox with an escaped quote": 'spf=fail smtp.mailfrom="a\\"; dkim=pass header.d=victim.com; \\""@evil.com',
    "a mailbox with a comment": "spf=fail smtp.mailfrom=a(b; dkim=pass header.d=victim.com; c)@evil.com",
    "a mailbox with a quote inside": 'spf=fail smtp.mailfrom=a"b; dkim=pass header.d=victim.com; c"@evil.com',
    "another method": (
        "xdkim=pass header.d=victim.com; dkim-adsp=pass header.d=victim.com; dkim2=pass header.d=victim.com"
    ),
    "another result": "dkim=passed header.d=victim.com; dkim=pass-x header.d=victim.com; dkim=pas header.d=victim.com",
    "a longer property": "dkim=pass xheader.d=victim.com; dkim=pass header.dd=victim.com; dkim=pass d=victim.com",
    "a property of another kind": "dkim=pass policy.d=victim.com smtp.i=@victim.com",
    "a result with an escape": 'dkim=pas\\s header.d=victim.com; dkim="pass" header.d=victim.com',
    "a result with a NUL": "dkim=pass\0 header.d=victim.com; dkim\0=pass header.d=victim.com",
    "another version of the method": "dkim/2=pass header.d=victim.com; dkim/=pass header.d=victim.com",
    "two results": "dkim=pass=pass header.d=victim.com; dkim=pass pass header.d=victim.com",
    "a field in a field": "dkim=fail header.d=x Authentication-Results: mx.box.com, dkim=pass header.d=victim.com",
}


@pytest.mark.parametrize("shape", INJECTED)
def test_what_a_sender_brings_into_the_servers_own_header_does_not_make_a_signer(shape: str) -> None:
    assert "victim.com" not in read(f"Authentication-Results: mx.box.com; {INJECTED[shape]}\r\n", fields=9).dkim
    # nor does it take away what was read before it
    found = read(f"Authentication-Results: mx.box.com; spf=fail; dkim=pass header.d=real.com; {INJECTED[shape]}\r\n")
    assert (found.spf, found.dkim[0]) == ("fail", "real.com")
    assert "victim.com" not in found.dkim


@pytest.mark.parametrize(
    "part",
    [
        "spf=pass smtp.mailfrom=victim.com(.evil.com",
        'spf=pass smtp.mailfrom=victim.com".evil.com',
        "spf=pass smtp.helo=victim.com",
        "spf=pass smtp.helo=x smtp.helo=victim.com",
        "spf=pass smtp.mailfrom=a\0b",
        "spf=pass smtp.mailfrom = a b",
        "spf pass",
        "xspf=pass; spf-x=pass; received-spf=pass",
        '(spf=pass); "spf=pass"; x="; spf=pass"',
    ],
)
def test_a_verdict_on_spf_that_cannot_be_read_or_is_one_on_helo_is_none(part: str) -> None:
    assert read(f"Authentication-Results: mx.box.com; {part}\r\n").spf is None
