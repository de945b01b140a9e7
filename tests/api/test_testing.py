"""`throttle.testing`: its fixtures in a test run of their own, and the messages it makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from throttle.testing import fresh_hosts, message

if TYPE_CHECKING:
    import pytest

pytest_plugins = ["pytester"]

PLUGIN = 'pytest_plugins = ["throttle.testing"]'

LIMIT = "[[limit]]\nname = 'one'\nper = 'client.ip'\nrate = '1/hour'\n"


def test_the_guard_follows_the_clock_and_the_marker(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(PLUGIN)
    pytester.makefile(".toml", one=LIMIT)
    pytester.makepyfile("""
        import pytest
        from throttle.testing import START, fresh_hosts, message

        def test_without_a_marker_it_is_inbound(throttle_guard, throttle_clock):
            assert throttle_guard.policy.file == "inbound.toml" and throttle_clock.now == START
            decisions = [throttle_guard.check(one) for one in fresh_hosts("example.com", 201)]
            assert [decisions[199].allowed, decisions[200].limit] == [True, "org-fan-out"]

        @pytest.mark.throttle(policy="one.toml", memory="256 KiB")
        def test_with_one_it_is_what_that_says(throttle_guard, throttle_clock):
            assert throttle_guard.check(message()) and not throttle_guard.check(message())
            throttle_clock.advance(3600)
            assert throttle_guard.check(message())

        @pytest.mark.throttle("one.toml")
        def test_each_test_has_a_guard_of_its_own(throttle_guard):
            assert throttle_guard.check(message())

        @pytest.mark.throttle(clock=None)
        def test_the_clock_is_the_fixtures(throttle_guard):
            pass
    """)
    result = pytester.runpytest_subprocess("--strict-markers", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=3, errors=1)
    result.stdout.fnmatch_lines(["*TypeError*clock*"])


def test_messages_take_every_field_of_an_envelope() -> None:
    assert message("a@b.com", client_ip="192.0.2.1", size=9) == message().replace(
        mail_from="a@b.com", client_ip="192.0.2.1", size=9
    )
    hosts = [one.mail_from for one in fresh_hosts("b.com", 3, auth_user="joe")]
    assert hosts == ["joe@host0.b.com", "joe@host1.b.com", "joe@host2.b.com"]
