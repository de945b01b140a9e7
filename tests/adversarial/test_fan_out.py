"""A flood of fresh names below one organisation, in every shape, hurts nobody who was there before,
and gets almost nothing in.

Each decision of the policy `inbound` is laid beside that of an exact model with unbounded memory
(tests/exact_inbound.py).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from attack_table import Outcome
from exact_inbound import ExactInbound
from outage import COLD_US, FLOOD, FLUSH_US, INNOCENTS, QUIET_US, SHAPES, START_US, Outage
from throttle import Envelope, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable

    from exact_inbound import Message


class Play:
    """A guard and its model under the same messages."""

    def __init__(self, memory: str, rng: random.Random) -> None:
        self.guard = Throttle(memory=memory, seed=rng.randbytes(16))
        self.model = ExactInbound()
        self.differences: list[str] = []
        self.start()

    def start(self) -> None:
        """Counts from here on."""
        self.sent: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.close = 0
        self.flood_before_refusal: int | None = None

    def run(self, messages: Iterable[Message]) -> None:
        check, model, sent, refused = self.guard.check, self.model, self.sent, self.refused
        for message in messages:
            spf = "pass" if message.proven else None
            sender = f"m@{message.host}"
            envelope = Envelope(client_ip=message.client_ip, mail_from=sender, rcpt_to="in@box.com", spf=spf)
            decision = check(envelope, now=message.at_us / 1e6)
            verdict = model.judge(message)
            sent[message.group] += 1
            self.close += bool(verdict.close)
            if decision.allowed:
                agreed = not verdict.refusing
                model.admit(message, verdict)
            else:
                told = (decision.limit, decision.key)
                model.refuse(message, verdict)
                agreed = told in [(charge.limit, charge.told) for charge in verdict.refusing]
                refused[message.group] += 1
                if message.group == "flood" and self.flood_before_refusal is None:
                    self.flood_before_refusal = sent["flood"] - 1
            if not agreed:
                refusing = [(charge.limit, charge.told) for charge in verdict.refusing]
                self.differences.append(f"{message}: {decision!r}, the model refuses by {refusing}")


@pytest.mark.parametrize(
    ("memory", "flushed"),
    [
        pytest.param("16 MiB", False, id="16MiB"),
        pytest.param("16 MiB", True, id="16MiB-flushed"),
        pytest.param("8 MiB", True, id="8MiB-flushed"),
    ],
)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_flood_of_fresh_names_is_held_and_nobody_known_is_refused(
    shape: str, memory: str, flushed: bool, rng: random.Random, write_outcome: Callable[[Outcome], None]
) -> None:
    outage, play = Outage(rng), Play(memory, rng)
    play.run(outage.quiet())
    quiet_refused = dict(play.refused)
    start_us = START_US + QUIET_US
    if flushed:
        play.start()
        play.run(outage.flush())
        start_us += FLUSH_US
        assert {group: play.refused[group] for group in INNOCENTS} == dict.fromkeys(INNOCENTS, 0)
        assert play.sent["invented"] > play.refused["invented"] > 0
    play.start()
    play.run(outage.flood(shape, start_us))
    admitted = FLOOD - play.refused["flood"]
    print(
        f"\n{shape}, {memory}, {'flushed' if flushed else 'not flushed'}: flood admitted {admitted} of "
        f"{play.sent['flood']}, "
        f"first refusal after {play.flood_before_refusal}, innocents refused "
        f"{ {group: f'{play.refused[group]} of {play.sent[group]}' for group in INNOCENTS} }, within a tick "
        f"{play.close}, "
        f"differences {len(play.differences)}"
    )
    churned = ", after a flood of invented names" if flushed else ""
    lost = {group: (play.refused[group], play.sent[group]) for group in INNOCENTS}
    name = f"fresh hosts under one organisation with known tenants, in any shape: {memory}{churned}"
    write_outcome(Outcome(name, admitted, FLOOD, lost=lost))
    assert quiet_refused == {}
    assert play.differences == []
    assert play.sent["flood"] == FLOOD
    assert 0 < admitted <= 0.009 * FLOOD
    assert play.flood_before_refusal is not None
    assert play.flood_before_refusal < 250
    assert play.refused["others"] == 0
    for group in INNOCENTS:
        assert play.refused[group] <= (play.sent[group] // 100 if flushed else 0), group


def test_an_organisation_that_nobody_knows_is_deferred_until_its_tenants_have_settled(rng: random.Random) -> None:
    outage, play = Outage(rng), Play("16 MiB", rng)
    settled_us = START_US + COLD_US
    messages = outage.cold_start()
    play.run(message for message in messages if message.at_us < settled_us)
    sent, refused = play.sent["tenants with fresh hosts"], play.refused["tenants with fresh hosts"]
    print(f"\ncold start: refused {refused} of {sent} in the first {COLD_US // 60_000_000} minutes")
    play.start()
    play.run(message for message in messages if message.at_us >= settled_us)
    assert refused > sent // 2
    assert play.sent["tenants with fresh hosts"] > sent
    assert play.refused["tenants with fresh hosts"] == 0
    assert play.differences == []
