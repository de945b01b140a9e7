"""An attack beside ordinary mail under the policy `inbound`, and what each side got.

Ordinary mail runs from a cold start for 75 minutes, so that some of it has settled; then the attack begins,
eight minutes and 40,000 messages unless
its test says otherwise, while ordinary mail goes on. Without an attack none of that mail is refused (tests/inbound),
so what is refused is lost to it. Limits with a warm-up need longer: :func:`beside_ordinary_mail` plays hours of it.

It knows no shape of attack: they stand in tests/adversarial, one a file.
Invariant: what an attack is expected to gain comes from exact buckets, never from the guard.
"""

from __future__ import annotations

import heapq
from collections import Counter
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from exact_buckets import ExactBuckets
from mail.kinds import MINUTE_US
from mail.mix import ALL_VERDICTS, START_US, ordinary_mail
from mail.trial import Trial
from throttle import Envelope, Throttle

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Hashable, Iterable, Iterator

    from mail.kinds import Verdicts
    from mail.message import Message
    from throttle import Policy

ATTACK_US = START_US + 75 * MINUTE_US
SPAN_US = 8 * MINUTE_US
END_US = ATTACK_US + SPAN_US
FLOOD = 40_000
#: Messages of ordinary mail an hour.
VOLUME = 40_000
ATTACKER = "attacker"
NETWORKS = (200, 10, 1)

#: Burst and rate of the limits that hold an attack: amount, seconds, burst.
FAN_OUT = (200, 600, 200)
FRESH = (2_200, 600, 800)
ANSWERED = (100, 600, 100)
PAIR = (600, 60, 6_000)
CLIENT = (1_000, 60, 1_000)
CLIENT_CLAIMED = (100, 60, 1_000)
MAILBOX = (60, 60, 600)
NETWORK = (3_000, 60, 3_000)
CLAIMED = (300, 60, 3_000)
OWNER = (600, 60, 6_000)


class Shot(NamedTuple):
    """One message of whichever side; ``kind`` is :data:`ATTACKER` or who the innocent is."""

    at_us: int
    kind: str
    envelope: Envelope


class Figures:
    """What each side got while the attack lasted."""

    def __init__(self) -> None:
        self.sent = self.admitted = 0
        self.before_refusal: int | None = None
        self.admitted_at: list[int] = []
        self.limits: Counter[str] = Counter()
        self.innocent: Counter[str] = Counter()
        self.lost: Counter[tuple[str, str]] = Counter()
        #: Innocents refused although the same host had come from the same network before.
        self.lost_known: Counter[tuple[str, str]] = Counter()

    @property
    def share(self) -> float:
        """Admitted of the attack's messages."""
        return self.admitted / self.sent

    @property
    def losers(self) -> set[str]:
        """Kinds of innocents of whom any was refused."""
        return {kind for kind, _ in self.lost}

    def lost_of(self, kind: str) -> float:
        """Refused of the messages of a kind."""
        return sum(count for (of, _), count in self.lost.items() if of == kind) / self.innocent[kind]


def settling(
    seed: str,
    per_hour: int = VOLUME,
    minutes: float = 85,
    *,
    verdicts: Verdicts = ALL_VERDICTS,
    only: Collection[str] = (),
) -> list[Shot]:
    """Ordinary mail from the cold start on, each message whole, with its header; ``only`` of these kinds."""
    mail = ordinary_mail(seed, per_hour, minutes / 60, verdicts=verdicts, only=only)
    return [Shot(message.at_us, message.kind, message.envelope()) for message in mail]


def flood(
    mail_from: Callable[[int], str | bytes],
    client: Callable[[int], str],
    *,
    count: int = FLOOD,
    start_us: int = ATTACK_US,
    span_us: int = SPAN_US,
    spf: str | None = None,
    rcpt_to: Callable[[int], str | list[str]] = lambda n: f"u{n % 4_999}@d{n % 97}.box.com",
    kind: str = ATTACKER,
    reply_to: Callable[[int], str] | None = None,
    rng: random.Random | None = None,
) -> list[Shot]:
    """Evenly spaced messages; the nth is from ``mail_from(n)`` by ``client(n)``. With ``rng`` each comes at some moment
    of its interval: whoever is not
    the attacker has to, or it would be there, to the microsecond, whenever a bucket has room again.
    """
    return [
        Shot(
            start_us + int((n + (rng.random() if rng else 0)) * span_us / count),
            kind,
            Envelope(
                client_ip=client(n),
                helo="mx",
                mail_from=mail_from(n),
                rcpt_to=rcpt_to(n),
                spf=spf,
                reply_to=reply_to(n) if reply_to else None,
            ),
        )
        for n in range(count)
    ]


def networks(count: int) -> Callable[[int], str]:
    """Addresses in so many networks that nobody else is in, by turns; each network's addresses change as well."""

    def client(n: int) -> str:
        network = n % count
        return f"100.{64 + network // 256}.{network % 256}.{1 + n // count % 254}"

    return client


def in_words(count: int) -> str:
    """So many networks."""
    return f"{count:,} network{'s' * (count != 1)}"


def run(
    innocents: Iterable[Shot],
    attack: list[Shot],
    rng: random.Random,
    *,
    memory: str = "16 MiB",
    since_us: int = ATTACK_US,
    policy: Policy | None = None,
) -> Figures:
    """Plays both to a new guard, under `inbound` unless told otherwise; both are in order of time.

    Innocents count from ``since_us`` until the attack's last message.
    """
    until_us = attack[-1].at_us
    check, figures = Throttle(policy, memory=memory, seed=rng.randbytes(16)).check, Figures()
    known: set[Hashable] = set()
    for at, kind, envelope in heapq.merge(innocents, attack, key=itemgetter(0)):
        decision = check(envelope, now=at / 1e6)
        allowed = decision.allowed
        if kind != ATTACKER:
            if since_us <= at <= until_us:
                figures.innocent[kind] += 1
            if allowed:
                known.add(place_of(envelope))
            elif since_us <= at <= until_us:
                assert decision.limit is not None
                figures.lost[kind, decision.limit] += 1
                figures.lost_known[kind, decision.limit] += place_of(envelope) in known
        elif at >= since_us:
            figures.sent += 1
            if allowed:
                figures.admitted += 1
                figures.admitted_at.append(at)
            else:
                assert decision.limit is not None
                figures.limits[decision.limit] += 1
                if figures.before_refusal is None:
                    figures.before_refusal = figures.sent - 1
    return figures


def beside_ordinary_mail(
    mail: Iterable[Message], attack: list[Shot], seed: str, rng: random.Random
) -> tuple[Figures, Trial]:
    """Plays an attack under `inbound` between the messages of ``mail``, whose senders try again.

    Innocents are counted from the first message of the attack on, for the eight minutes of :data:`SPAN_US`.
    """
    trial, figures, from_us = Trial(Throttle(seed=rng.randbytes(16)), seed), Figures(), attack[0].at_us

    def ordinary() -> Iterator[Message]:
        """Lets the attack happen between the messages."""
        shots = iter([*attack, Shot(2**62, "", attack[0].envelope)])
        shot = next(shots)
        for message in mail:
            while shot.at_us <= message.at_us:
                attempt(shot)
                shot = next(shots)
            if from_us <= message.at_us < from_us + SPAN_US:
                figures.innocent[message.kind] += 1
            yield message

    def attempt(shot: Shot) -> None:
        decision = trial.guard.check(shot.envelope, now=shot.at_us / 1e6)
        figures.sent += 1
        if decision.allowed:
            figures.admitted += 1
        else:
            assert decision.limit is not None
            figures.limits[decision.limit] += 1
            figures.before_refusal = figures.sent - 1 if figures.before_refusal is None else figures.before_refusal

    trial.run(ordinary())
    for (_, kind, limit), count in trial.deferred.items():
        figures.lost[kind, limit] += count
    return figures, trial


def place_of(envelope: Envelope) -> Hashable:
    """Host and network of a sender."""
    sender, client = str(envelope.mail_from), str(envelope.client_ip)
    return sender.rpartition("@")[2], client.rpartition("." if "." in client else ":")[0]


def held(shots: Iterable[Shot], limit: tuple[int, int, int], key: Callable[[int], Hashable] = lambda n: None) -> int:
    """How many an exact bucket would admit, a bucket each for what ``key`` makes of a shot's number."""
    amount, seconds, burst = limit
    buckets, admitted = ExactBuckets(amount, seconds, burst), 0
    for n, shot in enumerate(shots):
        if buckets.excess(key(n), shot.at_us) <= 0:
            buckets.charge(key(n), shot.at_us)
            admitted += 1
    return admitted
