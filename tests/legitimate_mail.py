"""Ordinary mail under the policy `inbound`, from a cold start: one table of kinds, messages and deferrals,
for each volume.

    .venv/bin/python tests/legitimate_mail.py [--ipv6] [--seed SEED] [--hours 2] [--rate NAME=RATE] [VOLUME ...]

A volume is messages an hour; above 100,000 the policy is scaled: a million runs with `scale = 5`. Without a volume:
10,000, 100,000 and a million.
With --ipv6 the server has an AAAA record: then Google and Microsoft send all that they have from one /48 each.
With --rate a limit has another rate, and a burst of one period's amount: to learn what a number of the policy is worth.
It judges nothing: the bounds stand in tests/inbound/test_legitimate_mail.py.
"""

from __future__ import annotations

import argparse
import random
from time import perf_counter
from typing import TYPE_CHECKING

from mail.kinds import KINDS
from mail.mix import ordinary_mail
from mail.trial import Trial
from throttle import Limit, Policy, Throttle

if TYPE_CHECKING:
    from collections.abc import Mapping

VOLUMES = (10_000, 100_000, 1_000_000)


def scale_for(per_hour: int) -> float:
    """1 suits a hundred thousand messages an hour; a million is the test's, with half of what proportion would give."""
    return 1 if per_hour <= 100_000 else max(1, per_hour // 200_000)


def guard_for(per_hour: int, seed: str, rates: Mapping[str, str] | None = None) -> Throttle:
    """Under `inbound` with some limits at another rate."""
    inbound = Policy.builtin()
    limits = [rated(limit, rates[limit.name]) if rates and limit.name in rates else limit for limit in inbound.limits]
    policy = Policy(limits, scale=scale_for(per_hour), suffixes=inbound.suffixes)
    return Throttle(policy, seed=random.Random(seed).randbytes(16))


def rated(limit: Limit, rate: str) -> Limit:
    """With a burst of one period's amount."""
    fields = {field: value for field, value in limit.fields.items() if field != "burst"}
    return Limit(**fields | {"rate": rate})


def trial(
    per_hour: int, seed: str, *, hours: float = 2, ipv6: bool = False, rates: Mapping[str, str] | None = None
) -> Trial:
    return Trial(guard_for(per_hour, seed, rates), seed).run(ordinary_mail(seed, per_hour, hours, ipv6=ipv6))


def table(seen: Trial) -> str:
    """A line for each kind."""
    hours = sorted({hour for hour, _ in seen.messages})
    lines = [f"  {'kind':<40}" + "".join(f"{f'hour {hour + 1}':>10}{'deferred':>10}" for hour in hours) + "  by"]
    for kind in KINDS:
        line = f"  {kind.name:<40}"
        for hour in hours:
            deferred = sum(count for (of, name, _), count in seen.deferred.items() if (of, name) == (hour, kind.name))
            line += f"{seen.messages[hour, kind.name]:>10}{deferred:>10}"
        lines.append(line + "  " + ", ".join(f"{limit} {count}" for limit, count in seen.limits(kind.name).items()))
    line = f"  {'all':<40}"
    for hour in hours:
        line += f"{seen.sent(hour):>10}{seen.share_deferred(hour):>9.4%} "
    lines.append(line.rstrip())
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("volumes", type=int, nargs="*", default=list(VOLUMES), metavar="VOLUME")
    parser.add_argument("--ipv6", action="store_true")
    parser.add_argument("--hours", type=float, default=2)
    parser.add_argument("--seed", default=str(random.SystemRandom().getrandbits(32)))
    parser.add_argument("--keys", type=int, default=0, metavar="N", help="name the N keys that were deferred most")
    parser.add_argument("--rate", action="append", default=[], metavar="NAME=RATE")
    asked = parser.parse_args()
    rates = dict(rate.split("=", 1) for rate in asked.rate)
    for per_hour in asked.volumes:
        began = perf_counter()
        seen = trial(per_hour, asked.seed, hours=asked.hours, ipv6=asked.ipv6, rates=rates)
        by = "IPv6 and IPv4" if asked.ipv6 else "IPv4"
        print(
            f"\n{per_hour} messages an hour by {by}, scale {scale_for(per_hour)}, {len(KINDS)} kinds, seed "
            f"{asked.seed}, "
            f"{perf_counter() - began:.1f} s; still waiting at the end {len(seen.waiting)}, "
            f"longest delay of those admitted {seen.longest_delay_us / 60e6:.0f} min"
        )
        print(table(seen))
        for (kind, limit, key), count in seen.keys.most_common(asked.keys):
            print(f"    {count:>8}  {kind}: {limit}, {key}")


if __name__ == "__main__":
    main()
