"""`help_url`: the address of a page that explains refusals, in every reply that a sender gets."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from given_guards import REAL, guard, is_legal, limit
from throttle import Envelope, ManualClock, Policy, PolicyError, Throttle

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://example.com/deferred"
SENDER = Envelope(client_ip="192.0.2.1", mail_from="a@b.com", rcpt_to=["p@q.net"], auth_user="joe")
ONCE = limit("once", "client.ip", "1/minute")

urls = st.text(st.characters(codec="ascii", categories=["L", "N"], include_characters="-._~:/?#[]@!$&'()*+,;=%"))


def asked_twice(policy: Policy, envelope: Envelope = SENDER) -> str:
    pace = Throttle(policy, clock=ManualClock(REAL))
    pace.check(envelope)
    return str(pace.check(envelope).reply)


@pytest.mark.parametrize(
    ("fields", "reply"),
    [
        ({}, f"451 4.7.1 192.0.2.1 is sending too fast; retry in 60 s; see {URL}"),
        ({"action": "reject"}, f"550 5.7.1 192.0.2.1 is sending too fast; see {URL}"),
        ({"action": "block 1 hour"}, f"451 4.7.1 192.0.2.1 is sending too fast; retry in 3600 s; see {URL}"),
        ({"count": "connections"}, f"421 4.7.0 192.0.2.1 connects too often; retry in 60 s; see {URL}"),
        ({"reply": "450 4.7.1 {key}: {help}"}, f"450 4.7.1 192.0.2.1: {URL}"),
        ({"reply": "450 4.7.1 {key}"}, "450 4.7.1 192.0.2.1"),
    ],
)
def test_a_reply_names_the_page(fields: dict[str, Any], reply: str) -> None:
    assert asked_twice(Policy([limit("once", "client.ip", "1/minute", **fields)], help_url=URL)) == reply


def test_refusals_that_no_limit_states_name_the_page() -> None:
    pace = Throttle(Policy([ONCE], max_recipients=100, help_url=URL), max_open=1, clock=ManualClock(REAL))
    blocked = Envelope(client_ip="192.0.2.9")
    pace.block("client.ip", "192.0.2.9", seconds=60)
    many = SENDER.replace(rcpt_to=[f"u{number}@q.net" for number in range(101)])
    session = pace.session(client_ip="192.0.2.1")
    replies = [pace.check(blocked).reply, pace.check(many).reply]
    assert [str(reply).endswith(f"; see {URL}") for reply in replies] == [True, True], replies
    assert session.data().reply == "451 4.5.1 no mail transaction is open", "a fault of the server, and not of the mail"


def test_a_reply_that_names_a_wait_where_there_is_none_is_replaced_by_one_that_names_the_page() -> None:
    sized = limit("bytes", "client.ip", "1 kB/minute", reply="450 4.7.1 {seconds} {help}")
    pace = Throttle(Policy([sized], help_url=URL), clock=ManualClock(REAL))
    assert pace.check(SENDER.replace(size=2000)).reply == f"552 5.3.4 message too big for 192.0.2.1; see {URL}"


@given(key=st.text(min_size=1, max_size=600), path=urls.map(lambda text: text[: 200 - len("https://h")]))
def test_any_key_and_any_page_give_one_legal_line_with_the_whole_address(key: str, path: str) -> None:
    url = f"https://h{path}"
    for fields in ({}, {"reply": "450 4.7.1 {key} {limit} {help} {identity} {key}"}):
        rule = limit("u" * 64, "auth.user", "1/day", **fields)
        reply = asked_twice(Policy([rule], help_url=url), SENDER.replace(auth_user=key))
        assert is_legal(reply)
        assert url in reply


def test_a_place_without_a_page_is_an_error_that_names_it(tmp_path: Path) -> None:
    rule = limit("once", "client.ip", "1/minute", reply="450 4.7.1 {key}: {help}")
    with pytest.raises(PolicyError, match=r'limit "once", reply: found {help}; allowed: .*together with `help_url`'):
        Policy([rule])
    with pytest.raises(PolicyError, match=r'^<policy>:5: limit "once", reply: found {help}'):
        Policy.parse(rule.to_toml())
    base = tmp_path / "base.toml"
    base.write_text(Policy([ONCE]).to_toml())
    with pytest.raises(PolicyError, match=r"found {help}"):
        Policy.parse(
            'extends = "base.toml"\n[[limit]]\nname = "once"\nreply = "450 4.7.1 {help}"\n', str(tmp_path / "site.toml")
        )


@pytest.mark.parametrize(
    "url", [5, "", "https://", "ftp://h", "https://h/a b", "https://h/\r\n250", "https://" + "h" * 193]
)
def test_a_wrong_address_is_an_error(url: Any) -> None:
    with pytest.raises(PolicyError, match="help_url: found"):
        Policy([ONCE], help_url=url)


def test_an_address_of_two_hundred_bytes_with_percent_signs_stands_whole() -> None:
    url = "https://example.com/%20%s%d".ljust(200, "%")
    assert asked_twice(Policy([ONCE], help_url=url)).endswith(f"; see {url}")


def test_it_survives_toml_and_a_pickle_and_tells_policies_apart() -> None:
    policy = Policy([ONCE], help_url=URL)
    assert Policy.parse(policy.to_toml()) == policy == pickle.loads(pickle.dumps(policy))
    assert pickle.loads(pickle.dumps(policy)).help_url == policy.help_url == URL
    assert Policy([ONCE]) != policy
    assert Policy([ONCE]).help_url is None
    pace = Throttle(policy, clock=ManualClock(REAL))
    pace.check(SENDER)
    refused = pace.check(SENDER)
    again = pickle.loads(pickle.dumps(refused))
    assert (again, again.reply) == (refused, refused.reply)
    assert str(again.reply).endswith(URL)


def test_a_policy_that_extends_another_has_its_page_or_another(tmp_path: Path) -> None:
    rule = limit("once", "client.ip", "1/minute", reply="450 4.7.1 {help}")
    (tmp_path / "base.toml").write_text(Policy([rule], help_url=URL).to_toml())
    site = str(tmp_path / "site.toml")
    assert asked_twice(Policy.parse('extends = "base.toml"', site)) == f"450 4.7.1 {URL}"
    own = Policy.parse('extends = "base.toml"\nhelp_url = "http://h/"', site)
    assert (own.help_url, asked_twice(own)) == ("http://h/", "450 4.7.1 http://h/")


def test_a_reload_changes_the_page_and_keeps_the_counts() -> None:
    pace = guard(ONCE)
    pace.check(SENDER)
    plain = str(pace.check(SENDER).reply)
    assert not plain.endswith(URL)
    pace.reload(Policy([ONCE], help_url=URL))
    assert pace.check(SENDER).reply == f"{plain}; see {URL}"
    assert pace.explain(SENDER).reply == f"{plain}; see {URL}"
    pace.reload(Policy([ONCE]))
    assert pace.check(SENDER).reply == plain
