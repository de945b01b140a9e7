"""The installed wheel, without the source tree, refuses the flood it was made for.

Not a pytest module: it runs in an environment that has the wheel and its dependencies only.
"""

import importlib.metadata
import sys
from pathlib import Path

import throttle
from throttle import Envelope, ManualClock, Throttle

FRESH_HOSTS = 1_000
ALLOWANCE = 200  # org-fan-out: 200 new hosts at once, then 20 a minute; the clock stands still here


def main() -> None:
    here = Path(throttle.__file__).resolve()
    assert here.is_relative_to(Path(sys.prefix).resolve()), f"imported from {here}, not from the environment"
    assert throttle.__version__ == importlib.metadata.version("mailthrottle"), (
        "the compiled module is of another version"
    )
    for part in ("py.typed", "_core.pyi", "policies/inbound.toml"):
        assert (here.parent / part).is_file(), f"the wheel lacks {part}"

    guard = Throttle(clock=ManualClock(1_637_889_600.0))
    decisions = [
        guard.check(
            Envelope(
                client_ip=f"198.51.{i % 100}.7",
                helo="mx.sender.net",
                mail_from=f"bounce-{i}@h{i:04}.a.b.c.d.sandbox.salesforce.com",
                rcpt_to=["in@box.net"],
            )
        )
        for i in range(FRESH_HOSTS)
    ]
    admitted = [i for i, decision in enumerate(decisions) if decision.allowed]
    first = decisions[ALLOWANCE]
    print(
        f"throttle {throttle.__version__} on Python {sys.version.split()[0]}, {guard.memory_bytes:,} bytes of counters"
    )
    print(
        f"{FRESH_HOSTS} fresh hosts of one organisation: {len(admitted)} admitted, {FRESH_HOSTS - len(admitted)} "
        f"refused"
    )
    print(f"number {ALLOWANCE + 1}: {first.limit}, {first.identity} {first.key}: {first.reply}")

    assert admitted == list(range(ALLOWANCE)), "the flood is admitted up to the allowance, and no further"
    assert {decision.limit for decision in decisions[ALLOWANCE:]} == {"org-fan-out"}
    assert (first.identity, first.key) == ("sender.registered", "salesforce.com")
    assert guard.check(Envelope(client_ip="203.0.113.9", mail_from="ann@innocent.org")).allowed, "innocent mail flows"


if __name__ == "__main__":
    main()
