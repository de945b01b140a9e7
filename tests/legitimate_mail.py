"""Ordinary mail under a policy, from a cold start: which kinds of sender are deferred, by which limits.

It is for judging a limit by the mail that it must not touch. It judges nothing itself: the bounds stand in
tests/inbound/test_legitimate_mail.py.
"""

from __future__ import annotations

import argparse
import random
import sys
from time import perf_counter
from typing import TYPE_CHECKING

from mail.kinds import KINDS, Verdicts
from mail.mix import ALL_VERDICTS, ordinary_mail
from mail.trial import Counts, Trial
from throttle import Limit, Policy, Throttle

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VOLUMES = (10_000, 100_000, 1_000_000)
BUILTIN = ("inbound", "submission")
EXAMPLES = """
A volume is messages an hour. Above 100,000 the policy is scaled: a million runs with `scale = 5`.
A limit with --rate has a burst of one period's amount: this shows how near ordinary mail comes to it.
With --ipv6 the server has an AAAA record: then Google and Microsoft send all that they have from one /48 each, and
a hoster's customers share one /48.

Examples:
  .venv/bin/python tests/legitimate_mail.py 100000 --seed 7
  .venv/bin/python tests/legitimate_mail.py 100000 --hours 4 --seeds 20   # the last two follow the longest warm-up
  .venv/bin/python tests/legitimate_mail.py 10000 100000 --seeds 20 --without-spf --policy mine.toml
  .venv/bin/python tests/legitimate_mail.py 100000 --rate "reply-to-fan-out=20/10 minutes" --keys 10
  .venv/bin/python tests/legitimate_mail.py --list
"""


def scale_for(per_hour: int) -> float:
    """1 suits a hundred thousand messages an hour; a million is the test's, with half of what proportion would give."""
    return 1 if per_hour <= 100_000 else max(1, per_hour // 200_000)


def guard_for(
    per_hour: int, seed: str, rates: Mapping[str, str] | None = None, policy: Policy | None = None
) -> Throttle:
    """Under ``policy``, by default `inbound`, with some limits at another rate."""
    policy = policy or Policy.builtin()
    limits = [rated(limit, rates[limit.name]) if rates and limit.name in rates else limit for limit in policy.limits]
    scaled = Policy(
        limits,
        scale=policy.scale * scale_for(per_hour),
        mode=policy.mode,
        suffixes=policy.suffixes,
        max_recipients=policy.max_recipients,
    )
    return Throttle(scaled, seed=random.Random(seed).randbytes(16))


def rated(limit: Limit, rate: str) -> Limit:
    """With a burst of one period's amount."""
    fields = {field: value for field, value in limit.fields.items() if field != "burst"}
    return Limit(**fields | {"rate": rate})


def trial(
    per_hour: int,
    seed: str,
    *,
    hours: float = 2,
    ipv6: bool = False,
    verdicts: Verdicts = ALL_VERDICTS,
    rates: Mapping[str, str] | None = None,
    policy: Policy | None = None,
) -> Trial:
    mail = ordinary_mail(seed, per_hour, hours, ipv6=ipv6, verdicts=verdicts)
    return Trial(guard_for(per_hour, seed, rates, policy), seed).run(mail)


def table(seen: Counts, *, all_kinds: bool = True) -> str:
    """A line for each kind, or for each kind that was deferred."""
    hours = sorted({hour for hour, _ in seen.messages})
    width = max(len(kind.name) for kind in KINDS)
    lines = [f"  {'kind':<{width}}" + "".join(f"{f'hour {hour + 1}':>10}{'deferred':>10}" for hour in hours) + "  by"]
    for kind in KINDS:
        limits = seen.limits(kind.name)
        if not limits and not all_kinds:
            continue
        line = f"  {kind.name:<{width}}"
        for hour in hours:
            deferred = sum(count for (of, name, _), count in seen.deferred.items() if (of, name) == (hour, kind.name))
            line += f"{seen.messages[hour, kind.name]:>10}{deferred:>10}"
        lines.append(f"{line}  {by_limit(limits)}")
    line = f"  {'all':<{width}}"
    for hour in hours:
        line += f"{seen.sent(hour):>10}{seen.share_deferred(hour):>10.4%}"
    lines.append(f"{line}  {by_limit(seen.limits())}".rstrip())
    return "\n".join(lines)


def by_limit(limits: Mapping[str, int]) -> str:
    return ", ".join(f"{limit} {count}" for limit, count in sorted(limits.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("volumes", type=int, nargs="*", default=list(VOLUMES), metavar="VOLUME",
                        help="messages an hour (default: 10,000, 100,000 and a million)")  # fmt: skip
    parser.add_argument("--policy", default="inbound", help="a built-in policy or a file (default: inbound)")
    parser.add_argument("--hours", type=float, default=2, help="from the cold start (default: 2)")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--seed", help="one run of this seed (default: a random one)")
    which.add_argument("--seeds", type=int, metavar="N", help="N runs, of the seeds 1 … N, in one table")
    parser.add_argument("--without-spf", action="store_true", help="the server has no SPF verdicts")
    parser.add_argument("--without-dkim", action="store_true", help="the server verifies no signatures")
    parser.add_argument("--ipv6", action="store_true", help="the server is reached by IPv6, too")
    parser.add_argument("--rate", action="append", default=[], metavar="NAME=RATE", help="a limit at another rate")
    parser.add_argument("--keys", type=int, default=0, metavar="N", help="name the N keys that were deferred most")
    parser.add_argument("--deferred", action="store_true", help="leave kinds out of which nothing was deferred")
    parser.add_argument("--list", action="store_true", help="say what each kind stands for, and stop")
    asked = parser.parse_args()
    if asked.list:
        print("\n".join(f"{kind.name} ({kind.share:g}): {kind.stands_for}" for kind in KINDS))
        return
    policy = Policy.builtin(asked.policy) if asked.policy in BUILTIN else Policy.from_file(asked.policy)
    rates = dict(rate.split("=", 1) for rate in asked.rate)
    unknown = rates.keys() - {limit.name for limit in policy.limits}
    if unknown:
        parser.error(f"no such limit: {', '.join(sorted(unknown))}")
    if asked.seeds is not None and asked.seeds < 1:
        parser.error("--seeds: at least 1")
    verdicts = Verdicts(spf=not asked.without_spf, dkim=not asked.without_dkim)
    seeds = [str(number + 1) for number in range(asked.seeds or 0)] or [
        asked.seed or str(random.SystemRandom().getrandbits(32))
    ]
    for per_hour in asked.volumes:
        seen = Counts()
        for number, seed in enumerate(seeds, 1):
            began = perf_counter()
            one = trial(
                per_hour, seed, hours=asked.hours, ipv6=asked.ipv6, verdicts=verdicts, rates=rates, policy=policy
            )
            seen.add(one)
            sent, deferred = one.messages.total(), one.deferred.total()
            progress = f"{per_hour} an hour, seed {seed} ({number} of {len(seeds)}): {deferred} of {sent} deferred"
            print(f"{progress}, {perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
        print(report(seen, per_hour, asked.policy, verdicts, seeds, ipv6=asked.ipv6))
        print(table(seen, all_kinds=not asked.deferred))
        for (kind, limit, key), count in seen.keys.most_common(asked.keys):
            print(f"    {count:>8}  {kind}: {limit}, {key}")


def report(seen: Counts, per_hour: int, policy: str, verdicts: Verdicts, seeds: Iterable[str], *, ipv6: bool) -> str:
    """What was run, and what became of those who were deferred."""
    by = "IPv6 and IPv4" if ipv6 else "IPv4"
    known = " and ".join(name for name, has in (("SPF", verdicts.spf), ("DKIM", verdicts.dkim)) if has) or "neither"
    return (
        f"\n{per_hour} messages an hour by {by}, verdicts: {known}, policy {policy}, scale {scale_for(per_hour)}, "
        f"{len(KINDS)} kinds, seed {', '.join(seeds)}\n"
        f"refused again at the first retry {seen.refused_again.total()}, still waiting at the end "
        f"{seen.still_waiting}, longest delay of those admitted {seen.longest_delay_us / 60e6:.0f} min"
    )


if __name__ == "__main__":
    main()
