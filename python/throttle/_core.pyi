"""Types of the extension module. Hand-written; checked against the module by ``mypy.stubtest``."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from os import PathLike
from typing import Any, ClassVar, Literal, Self, final

from throttle.errors import PolicyError as PolicyError
from throttle.errors import ThrottleError as ThrottleError
from throttle.types import Explanation, LimitPlan, Mode, Size, Stage, Table, Text, Window

__all__ = [
    "Blocked",
    "CountMin",
    "Counts",
    "Decision",
    "Envelope",
    "HyperLogLog",
    "Limit",
    "ManualClock",
    "Offender",
    "Permit",
    "Policy",
    "PolicyError",
    "RateLimiter",
    "Rows",
    "Seen",
    "Session",
    "Texts",
    "Throttle",
    "ThrottleError",
    "__version__",
]

__version__: str

@final
class Envelope:
    """What is known of one SMTP transaction so far (RFC 5321 §3.3). Frozen, keyword-only.

    Text is ``str`` or ``bytes``, as the server received it; nothing is checked, and nothing in it raises.

    Args:
        client_ip: address of the connecting client.
        client_name: its forward-confirmed reverse name, as Postfix's ``client_name``; ``unknown`` counts as absent.
        helo: argument of HELO or EHLO.
        mail_from: reverse-path; ``None`` before MAIL, ``""`` or ``"<>"`` for the null sender (RFC 5321 §4.5.5).
        rcpt_to: forward-paths; one, or any iterable of them.
        auth_user: authenticated user (RFC 4954).
        spf: the server's SPF verdict (RFC 7208 §2.6): ``"pass"`` proves the sender, ``"fail"`` and words that are none make it a mere claim, the others say nothing.
        size: octets of the message: declared by SIZE (RFC 1870), or counted at the end of data; below zero counts as zero.
        header_from: addresses of the From header (RFC 5322 §3.6.2), without their names; one, or any iterable of them.
        reply_to: addresses of the Reply-To header, likewise.
        list_id: the List-Id header (RFC 2919), or what stands in its brackets.
        dkim: ``d=`` of the signatures that the server has verified (RFC 6376); one, or any iterable of them.

    Of the header's fields and of ``dkim`` the first eight values are looked at.

    Raises:
        TypeError: a field of another type.
    """

    def __new__(
        cls,
        *,
        client_ip: Text | None = None,
        client_name: Text | None = None,
        helo: Text | None = None,
        mail_from: Text | None = None,
        rcpt_to: Text | Iterable[Text] | None = None,
        auth_user: Text | None = None,
        spf: str | None = None,
        size: int | None = None,
        header_from: Text | Iterable[Text] | None = None,
        reply_to: Text | Iterable[Text] | None = None,
        list_id: Text | None = None,
        dkim: Text | Iterable[Text] | None = (),
    ) -> Self: ...
    @property
    def client_ip(self) -> Text | None: ...
    @property
    def client_name(self) -> Text | None: ...
    @property
    def helo(self) -> Text | None: ...
    @property
    def mail_from(self) -> Text | None: ...
    @property
    def rcpt_to(self) -> tuple[Text, ...]: ...
    @property
    def auth_user(self) -> Text | None: ...
    @property
    def spf(self) -> str | None: ...
    @property
    def size(self) -> int | None: ...
    @property
    def header_from(self) -> tuple[Text, ...]: ...
    @property
    def reply_to(self) -> tuple[Text, ...]: ...
    @property
    def list_id(self) -> Text | None: ...
    @property
    def dkim(self) -> tuple[Text, ...]: ...
    @staticmethod
    def from_message(message: bytes, **fields: Any) -> Envelope:
        """An envelope with what the header of a message says: ``header_from``, ``reply_to`` and ``list_id``; ``fields`` are the others, or say otherwise.

        Only the header is read, to its blank line and within its first 256 KiB; of the From fields and of the Reply-To fields 4 KiB each.
        A field that does not end there counts as absent. No header raises, however broken.

        ``size`` and ``dkim`` are not read from it: no header can vouch for itself. See :func:`throttle.auth.with_results`.

        Raises:
            TypeError: ``message`` is not ``bytes``, or a field of another type.
        """

    def with_headers(self, message: bytes) -> Envelope:
        """A copy with what the header of ``message`` says, read as :meth:`from_message` does; it may be nothing but a header."""

    def replace(self, **changes: Any) -> Envelope:
        """A copy with other fields."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Decision:
    """The outcome of a check. True when allowed. Refusal is a value, never an exception."""

    @property
    def allowed(self) -> bool: ...
    @property
    def limit(self) -> str | None:
        """Name of the limit that refused; of several the one with the longest wait. ``None`` when allowed."""

    @property
    def identity(self) -> str | None:
        """What that limit counts per, such as ``"client.net/24/48 + sender.org"``."""

    @property
    def key(self) -> str | None:
        """The value of that identity; of a fan-out with a ladder the part of the name at which it fans out."""

    @property
    def retry_after(self) -> float:
        """Seconds: 0.0 when allowed, ``math.inf`` when it can never pass.

        A retry after it passes when nothing else is charged to that key meanwhile; one a microsecond earlier does not.
        """

    @property
    def reply(self) -> str | None:
        """One legal SMTP reply line without CRLF (RFC 5321 §4.2, RFC 3463)."""

    @property
    def shadow(self) -> tuple[str, ...]:
        """Names of limits in shadow mode that would have refused, in file order."""

    @property
    def identities(self) -> dict[str, str | tuple[str, ...]]:
        """What the decision was made on; computed when asked."""

    def refund(self, *, now: float | None = None) -> bool:
        """Gives the charge back, once: the server itself refused what was admitted. Whether anything was left to give.

        Of a GCRA limit the price less what has drained since, of a sliding window what still counts: nobody ever gets more than the limit by it.
        What stays: elements that a fan-out saw, with their charge; charges in a sketch, whose cells several keys share; what a permit or a session
        holds, which has a life of its own. A refusal and a peek have charged nothing.

        Args:
            now: Unix seconds, instead of the clock. A decision made at a stated time is refunded at the latest time seen when none is given.

        Raises:
            ThrottleError: a decision without its guard: one that was pickled, or that of a :class:`RateLimiter`.
            ValueError: a time as in :meth:`Throttle.check`.
        """

    def __bool__(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...

@final
class Permit:
    """What one transaction holds of the in-flight limits. True when it was admitted; a refused one holds nothing.

    Released once: at the end of ``with`` or ``async with``, whatever ends it, by :meth:`release`, or when nobody knows it any more.
    Never by time. In a forked child a permit of the parent holds nothing. What rates were charged stays charged.
    """

    @property
    def decision(self) -> Decision: ...
    def release(self) -> None:
        """Lets go of what it holds; again: nothing."""

    def __bool__(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *raised: object) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(self, *raised: object) -> Awaitable[None]: ...

@final
class Session:
    """One SMTP connection, made by :meth:`Throttle.session`. Each step is a decision: answer what ``reply`` says when it is false.

    Every limit runs once: what counts connections once a connection, all else once a transaction, each at the earliest step that knows enough.
    The table of steps, stages and replies is ``docs/stages.md``.

    It holds a slot of the connection from :meth:`connect` to :meth:`close`, and one of the message from :meth:`mail` to :meth:`data` or :meth:`reset`.
    Everything is let go of at the end of ``with`` or ``async with``, by :meth:`close`, or when nobody knows the session any more. Never by time.
    In a forked child a session of the parent holds nothing.

    A client can send commands in any order, and any order has an answer. Out of order, a step charges nothing and holds nothing, and is refused:
    with MAIL's own refusal when that was refused (pipelining, RFC 2920), else by limit ``out-of-order`` with ``451 4.5.1`` and ``math.inf``.
    A server answers such commands itself, with 503 (RFC 5321 §4.1.4), and need not ask; who asks all the same bounces nothing.

    Steps raise ``TypeError`` for what is no text or number, and ``ValueError`` for a ``now`` as in :meth:`Throttle.check`; nothing a client sends raises.
    """

    client_name: Text | None
    """The forward-confirmed reverse name; may be set late, when it is found: limits that need it run with the next step."""

    auth_user: Text | None
    """The authenticated user (RFC 4954): set when AUTH succeeds, or said at :meth:`mail`. It stays for the connection."""

    def connect(self, *, now: float | None = None) -> Decision:
        """The client is there: connection limits run, and a connection slot is held. Refused: answer and close.

        Whoever does not call it connects with the first step. Again: nothing is charged.
        """

    def helo(self, name: Text, *, now: float | None = None) -> Decision:
        """HELO or EHLO: limits that count connections per ``helo.*``, once for each name of this connection. Ends a transaction, as RSET does."""

    def mail(
        self,
        address: Text,
        *,
        size: int | None = None,
        spf: str | None = None,
        auth_user: Text | None = None,
        now: float | None = None,
    ) -> Decision:
        """MAIL: limits on messages and on the sender; holds a message slot and the declared size. Ends a transaction that is open.

        Args:
            address: reverse-path; ``""`` or ``"<>"`` for the null sender.
            size: octets declared by SIZE (RFC 1870).
            spf: as in :class:`Envelope`.
            auth_user: as :attr:`auth_user`; ``None`` leaves that as it is.
            now: Unix seconds, instead of the clock.
        """

    def rcpt(self, recipients: Text | Iterable[Text], *, now: float | None = None) -> Decision:
        """RCPT, of one recipient or of several: all of them are admitted or none.

        Only the charges of recipients that the transaction has not got; a message counts once for each of their hosts.
        ``identities`` are those of the recipients that were new.
        """

    def data(
        self,
        *,
        headers: bytes | None = None,
        dkim: Iterable[Text] | None = None,
        size: int | None = None,
        now: float | None = None,
    ) -> Decision:
        """The end of the data: limits on headers and on bytes. The transaction is over and its slots are free, whatever the answer.

        The actual size is looked at in place of the declared one, which was held: more than could be held now is refused.

        Args:
            headers: the header block, as :meth:`Envelope.with_headers` reads it.
            dkim: the domains whose signatures were verified.
            size: octets received; the declared ones when absent.
            now: Unix seconds, instead of the clock.
        """

    def reset(self) -> None:
        """RSET: the transaction's slots are free; what was charged stays, but for what is refunded."""

    def close(self) -> None:
        """QUIT, or the connection is lost: everything is free. Again: nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *raised: object) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(self, *raised: object) -> Awaitable[None]: ...

@final
class ManualClock:
    """A clock that stands still until it is told otherwise.

    Args:
        now: Unix seconds.

    Raises:
        ValueError: a time that is not finite, or beyond 1e11 seconds; also when it is moved there.
    """

    now: float
    def __new__(cls, now: float = 0.0) -> Self: ...
    def advance(self, seconds: float) -> None:
        """Moves the clock, also back."""

    def __call__(self, *args: Any, **kwargs: Any) -> float:
        """The time, as any clock gives it: without arguments."""

@final
class Limit:
    """One rule of a policy; the fields are those of the policy file, its tables dictionaries.

    ``distinct`` counts different elements: with ``refuse="new"`` only what is new waits, with ``refuse="all"`` the whole key, while it has more than
    ``burst`` at once or ``rate`` in the long run. That is exact up to four elements and estimated above, with a standard error of about 10 %.
    A message with several elements needs room for all of them, seen or not; only the fresh ones are charged.

    Raises:
        PolicyError: a field that is wrong: what was found, what is allowed.
    """

    def __new__(cls, **fields: Any) -> Self: ...
    @property
    def name(self) -> str: ...
    @property
    def per(self) -> str: ...
    @property
    def stage(self) -> Stage: ...
    @property
    def fields(self) -> dict[str, Any]:
        """The fields that make it again."""

    def to_toml(self) -> str: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Policy:
    """Limits, in order.

    Args:
        limits: the rules.
        scale: multiplies every rate, burst and cap; 1 when absent.
        mode: ``"shadow"``: every limit decides and counts, and lets pass; ``"enforce"`` when absent.
        suffixes: public suffixes of the operator's own.

    Raises:
        PolicyError: file, line, limit, field, what was found, what is allowed.
    """

    def __new__(
        cls,
        limits: Iterable[Limit],
        *,
        scale: float | None = None,
        mode: Mode | None = None,
        suffixes: Iterable[str] | None = None,
    ) -> Self: ...
    @staticmethod
    def parse(text: str, file: str = "<policy>") -> Policy:
        """From TOML. What it ``extends`` is a built-in policy, or a path beside ``file``."""

    @staticmethod
    def from_file(path: str | PathLike[str]) -> Policy:
        """From a TOML file, which may extend another."""

    @staticmethod
    def builtin(name: str = "inbound") -> Policy:
        """One that comes with the library.

        Raises:
            ThrottleError: there is none of that name.
        """

    @staticmethod
    def schema() -> str:
        """The JSON Schema (draft 7) of a policy file, for editors."""

    def plan(self, *, memory: Size | None = None, max_open: int | None = None) -> list[LimitPlan]:
        """What each limit gets of the memory, and what that is worth before it is full: a row for each limit in order, then one for each quota.

        The tables are made as :class:`Throttle` makes them, and let go of.

        Args:
            memory: as of :class:`Throttle`.
            max_open: likewise.

        Raises:
            PolicyError: the policy does not fit, or an argument is wrong.
        """

    @property
    def limits(self) -> list[Limit]: ...
    @property
    def scale(self) -> float: ...
    @property
    def mode(self) -> Mode: ...
    @property
    def suffixes(self) -> tuple[str, ...]: ...
    @property
    def file(self) -> str: ...
    def to_toml(self) -> str:
        """As one file, without ``extends`` and with the scale in its numbers."""
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Throttle:
    """A policy over its memory, which is allocated and touched here and never grows.

    Args:
        policy: path of a TOML file, a :class:`Policy`, or ``None`` for the built-in ``inbound``.
        memory: bytes, or text such as ``"64 MiB"``, for all counters. Default 16 MiB.
        max_open: most permits at once, 1 to 2²⁴. Default 10,000: five times the messages that ``inbound`` lets be open, so that connections have room too.
        clock: any callable that returns Unix seconds; by default monotonic, anchored to wall time now.
        seed: 16 secret bytes for the hashes; drawn when absent.
        suffix_list: path of a fresher Public Suffix List; by default the one that ``tldextract`` brings.
        learned: path of a state that ``throttle replay --learn`` wrote: its elements are known from the start, each as old as it is by now. It depends neither on
            the seed nor on the memory. What was seen longer ago than a limit remembers is left out, and so is what finds no room: first those that never came back,
            the longest unseen of them; the logger ``throttle`` tells how many. A clock that stands before the state's end counts as standing there.

    Raises:
        PolicyError: a wrong policy, ``memory`` or ``max_open``, or a policy that needs more memory: in-flight limits need some 80 bytes a permit.
        OSError: a policy file that cannot be read.
        ThrottleError: a suffix list that cannot be read, or is none; a state that cannot be read, with its line.
        ValueError: a seed of another length.
        TypeError: a clock that cannot be called.
    """

    def __new__(
        cls,
        policy: str | PathLike[str] | Policy | None = None,
        *,
        memory: Size | None = None,
        max_open: int | None = None,
        clock: Callable[[], float] | None = None,
        seed: bytes | None = None,
        suffix_list: str | PathLike[str] | None = None,
        learned: str | PathLike[str] | None = None,
    ) -> Self: ...
    def check(
        self, envelope: Envelope, *, stage: Stage | Iterable[Stage] | None = None, now: float | None = None
    ) -> Decision:
        """Consults every limit, then charges every one of them or none.

        Args:
            envelope: what is known so far.
            stage: which limits run: those of this stage or these. ``None``: connect and HELO, and from MAIL on what the envelope holds.
            now: Unix seconds, instead of the clock; one that lies back counts as the latest time seen.

        Raises:
            ValueError: an unknown stage, or a time that is not finite or beyond 1e11 seconds. Nothing in the envelope raises; a clock of your own may.
        """

    def peek(
        self, envelope: Envelope, *, stage: Stage | Iterable[Stage] | None = None, now: float | None = None
    ) -> Decision:
        """What :meth:`check` would say; charges nothing."""

    def admit(
        self, envelope: Envelope, *, stage: Stage | Iterable[Stage] | None = None, now: float | None = None
    ) -> Permit:
        """As :meth:`check`, and holds what the in-flight limits count, in one step, until the permit is released.

        :meth:`check` only consults them. Without a stage it holds a connection too; of bytes the size that the envelope tells, none when it tells none.
        One more than ``max_open`` is refused by limit ``max-open``. How long a cap stays full nobody knows: ``retry_after`` is one second,
        but for a message larger than its cap, which can never pass.

        Args and errors: as :meth:`check`.
        """

    def session(self, *, client_ip: Text | None = None, client_name: Text | None = None) -> Session:
        """One SMTP connection, step by step: what a server uses that sees all of the dialogue.

        Args:
            client_ip: address of the connecting client.
            client_name: its forward-confirmed reverse name, as in :class:`Envelope`; :attr:`Session.client_name` takes it later.
        """

    @property
    def _observed(self) -> list[str]:
        """Names of the identities that the policy's limits need; for ``throttle.replay``."""

    def _values(self, envelope: Envelope) -> tuple[str | tuple[str, ...] | bool | None, ...]:
        """A value for each of ``_observed``, ``None`` when it is absent, a tuple where there may be several; last, whether the sender is proven."""

    def identities(self, envelope: Envelope) -> dict[str, str | tuple[str, ...]]:
        """Every identity of the envelope, normalised; those with several values as tuples."""

    def explain(
        self, envelope: Envelope, *, stage: Stage | Iterable[Stage] | None = None, now: float | None = None
    ) -> Explanation:
        """Every identity of the envelope, and of every limit the key, how full it is and what it says, or why it was not asked; charges nothing.

        For people and their tools: dictionaries, which are JSON but for a ``retry_after`` of ``math.inf``. It takes some microseconds a limit.

        Args and errors: as :meth:`check`.
        """

    def tables(self) -> list[Table]:
        """How full each table of the limits is, and how many charges found no room. A quota has a row of its own, ``…, quota of`` its value.
        Beside its row a limit with ``when_full="sketch"`` has ``sketch of`` it, one with ``refuse="all"`` ``registers of`` it, and limits that share what
        they remember have one ``memory of`` them.

        An in-flight limit has a row without bytes: ``slots`` is its cap, ``used`` what is held, of a limit per key by the key that holds most.
        Its counts are in the tables ``in flight per …`` and ``permits``, whose slots are ``max_open``.

        Where a limit blocks, ``blocks`` are the keys that are blocked; ``untracked`` is how many blocks found no room: the limit goes on refusing by itself.

        ``memory_bytes`` holds a page of 4096 bytes besides, from 256 KiB on a fifty-sixth at most for operators' entries and a sixty-fourth for blocks, and what :meth:`distinct` and :meth:`top` need: at most a sixteenth, where a sixteenth
        is enough for the smallest. A thirty-second is spare where the tables leave it, for limits that :meth:`reload` brings.
        """

    def distinct(self, identity: str, window: Window = "minute", *, now: float | None = None) -> float:
        """How many different values ``identity`` had of late, about: in checks admitted or refused, not in peeks.

        It counts all of the last 60 seconds and nothing older than 75, or 60 and 75 minutes. Relative standard error 2.3 % (2¹¹ registers);
        where that would take more than a sixteenth of the memory, 3.3 % and in the end 13 %. A few values are counted exactly but for chance.
        A name counts once, however far it is proven; what has no normal form is one value.

        Args:
            identity: such as ``"sender.host"``: one that a limit of the policy counts per, or counts distinct values of.
            window: ``"minute"`` or ``"hour"``.
            now: Unix seconds, instead of the clock.

        Raises:
            ValueError: an identity that no limit needs, another window, a time as in :meth:`check`.

        Source: Flajolet et al. 2007; Ertl 2017.
        """

    def top(self, identity: str, n: int = 10, *, now: float | None = None) -> list[Offender]:
        """The values of ``identity`` that came near a limit, who sent most in the last minute first: at most ``n``.

        A value gets a name when a check finds it above half of a limit, alone or as a part of a composite, or when a limit on it refuses; never with its first
        message that is admitted. It keeps the name until one that sends more needs the slot: 64 an identity, fewer where the memory is small.
        A value that sends more than a 64th of what all that are near their limits send is never without one, whatever comes and goes beside it.

        Args:
            identity: as in :meth:`distinct`.
            n: how many names.
            now: Unix seconds, instead of the clock.

        Raises:
            ValueError: an identity that no limit needs, an ``n`` below zero, a time as in :meth:`check`.

        Source: Metwally, Agrawal, El Abbadi 2005.
        """

    def block(self, identity: str, value: Text, seconds: float | None = None) -> None:
        """Refuses a name, a network, and all that lies below, from now on; claimed or proven alike.

        A block of a domain covers every host below it, one of a network every address in it, of ``auth.user``, ``list.id`` and of addresses the value alone.
        The refusal is by limit ``blocked``: a temporary answer that says how long, or a permanent one when it is for good. It is told from the
        stage on at which the identity is known. The last word about a value counts: it takes the place of an earlier block or allowance.

        Args:
            identity: one of ``client.*``, ``helo.*``, ``auth.user``, ``sender.*``, ``rcpt.*``, ``from.*``, ``reply_to.*``, ``list.id``, ``dkim.org``. Networks may have any length of prefix under any ``client.net``.
            value: as a sender might write it, or a tag such as ``"NULL"``: ``"Salesforce.com"``, ``"203.0.113.0/24"``.
            seconds: how long, at most 366 days; ``None`` or infinite: for good.

        Raises:
            PolicyError: no such identity, a text that is no value of it or has more than 232 octets, a public suffix such as ``co.uk``, a network
                larger than /8 or, of IPv6, /16; more than 366 days.
            ValueError: ``seconds`` that are none, or not above zero.
            ThrottleError: no room: 1024 entries from 16 MiB of memory on, fewer in less, none below 256 KiB. Nothing is evicted.
        """

    def allow(self, identity: str, value: Text, seconds: float | None = None, unverified: bool = False) -> None:
        """Lets a name or a network through, and all that lies below: no rate, no fan-out and no block refuses it, be it an operator's.

        What is open stays bounded: no in-flight limit and no ``max_open`` is lifted. What is let through is charged to nothing, so nobody else pays for it,
        and enters no memory of known names.

        Args:
            identity: as in :meth:`block`, but for ``rcpt.*``: one mailbox among the recipients would carry the others past every limit.
            value: as in :meth:`block`.
            seconds: as in :meth:`block`.
            unverified: whether mail that merely says so is let through too. Without it ``sender.*`` is let through when it is proven.

        Raises:
            PolicyError: as :meth:`block`; or what nobody can prove, such as ``helo.*`` or ``from.*``, without ``unverified``.
        """

    def unblock(self, identity: str, value: Text) -> bool:
        """Takes back what :meth:`block` or :meth:`allow` said of a value, and lifts the blocks of limits whose key it is.

        Args:
            identity: as in :meth:`block`; of a limit's block also its several identities, as a decision tells them: ``"client.net + auth.user"``.
            value: likewise: ``"203.0.113.0/24 + joe"``.

        Returns:
            Whether anything of it held. A network is lifted by its own prefix, not by one of its addresses.

        Raises:
            PolicyError: as :meth:`block`.
        """

    def blocked(self) -> list[Blocked]:
        """What operators have said and limits have blocked, as far as it holds now: blocks, allowances, then the blocks of limits."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of all counters, exactly; constant. The suffix list is not among them."""

    @property
    def policy(self) -> Policy:
        """That of the last :meth:`reload`."""

    mode: Mode
    """In ``"shadow"`` every limit decides and counts, and what it would refuse passes: ``decision.shadow`` names it.

    It can be switched at any time, and holds for the policies that follow.
    """

    def reload(self, policy: str | PathLike[str] | Policy | None) -> None:
        """Changes the policy while checks go on; none waits longer for it than one check takes.

        Limits that did not change keep their counts and their share of the memory, and so do those of which only ``mode``, ``verified``, ``action`` or ``reply``
        changed; whatever limits remember stays known while a limit has the same ``per``, ``distinct``, ``remember`` and ``memory``. A limit whose
        numbers changed begins anew, as does a quota whose own numbers did, each without the other. New limits share out what others have left, and count from when their memory is empty, some milliseconds later.
        What is open stays open. Permits have their tables from the start: an in-flight limit can get other numbers, be taken out and put back.

        Args:
            policy: as for :class:`Throttle`; ``None`` is the built-in ``inbound``.

        Raises:
            PolicyError: a wrong policy, or one that needs memory or in-flight counts that only a restart can give. The policy before holds on.
            ThrottleError: another reload came in between, and holds.
            OSError: a policy file that cannot be read.
        """

@final
class Blocked:
    """What is blocked, or let through.

    A limit's block keeps no text. Its value is told when :meth:`Throttle.top` has a name for it, and ``None`` else, as for every key of several identities.

    Attributes:
        identity: ``"client.net"``; of a limit's block all its identities.
        value: in its normal form.
        until: Unix seconds; infinite when it is for good.
        by: ``"operator"``, or the name of the limit.
        action: ``"block"`` or ``"allow"``.
        unverified: whether mere claims are let through too.
    """

    def __new__(
        cls,
        identity: str,
        value: str | None,
        until: float,
        by: str,
        action: Literal["block", "allow"],
        unverified: bool,
    ) -> Self: ...
    @property
    def identity(self) -> str: ...
    @property
    def value(self) -> str | None: ...
    @property
    def until(self) -> float: ...
    @property
    def by(self) -> str: ...
    @property
    def action(self) -> Literal["block", "allow"]: ...
    @property
    def unverified(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __getnewargs__(self) -> tuple[str, str | None, float, str, Literal["block", "allow"], bool]: ...

@final
class Offender:
    """A value that came near a limit, or was refused by one, and what it sent: admitted and refused, in the last 60 to 75 seconds.

    A check counts once for each of its values; one who asks stage by stage counts once a stage. Proven and claimed mail count together.

    Args:
        value: the value of the identity, normalised; of one longer than 119 octets the end, behind ``…``.
        admitted: checks that were admitted.
        refused: checks that were refused, by whichever limit.
        fan_out: how many different elements of the first fan-out limit per this identity it brought since ``first_seen``, about (standard
            error 10 %); ``None`` when no fan-out is per this identity alone.
        first_seen: Unix seconds at which it got its name.
    """

    def __new__(cls, value: str, admitted: int, refused: int, fan_out: float | None, first_seen: float) -> Self: ...
    @property
    def value(self) -> str: ...
    @property
    def admitted(self) -> int: ...
    @property
    def refused(self) -> int: ...
    @property
    def fan_out(self) -> float | None: ...
    @property
    def first_seen(self) -> float: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __getnewargs__(self) -> tuple[str, int, int, float | None, float]: ...

@final
class RateLimiter:
    """A rate limit for any key, in one table of fixed size.

    Its refusals say limit ``rate`` and identity ``key``.

    Args:
        rate: such as ``"100/minute"`` or ``"20/10 minutes"``.
        memory: bytes, or text such as ``"1 MiB"``. Default 1 MiB.
        algorithm: ``"gcra"``: ``burst`` at once, then the rate; or ``"sliding-window"``: never more than the amount in any window as long as the period.
        burst: how much at once, of ``"gcra"`` only; by default the amount of the rate.
        when_full: what happens to a new key when its place in the table is full. ``"admit"``: it passes uncounted. ``"refuse"``: it waits for a slot.
            ``"sketch"``: a part of the memory is a Count-Min sketch, which counts keys without a slot and never too low: no key ever gets more
            than the limit, but in a flood of keys one without a slot may be refused early. Needs 12 KiB.
        clock: any callable that returns Unix seconds.
        seed: 16 secret bytes for the hash.

    Raises:
        ValueError: an argument that is wrong: what was found, what is allowed.
    """

    def __new__(
        cls,
        rate: str,
        *,
        memory: Size | None = None,
        algorithm: Literal["gcra", "sliding-window"] = "gcra",
        burst: int | None = None,
        when_full: Literal["admit", "sketch", "refuse"] = "admit",
        clock: Callable[[], float] | None = None,
        seed: bytes | None = None,
    ) -> Self: ...
    def hit(self, key: Text, cost: int = 1, *, now: float | None = None) -> Decision:
        """Charges ``cost`` when it fits. A ``str`` and its UTF-8 ``bytes`` are the same key."""

    def peek(self, key: Text, cost: int = 1, *, now: float | None = None) -> Decision:
        """What :meth:`hit` would say; charges nothing."""

    @property
    def memory_bytes(self) -> int: ...
    @property
    def untracked(self) -> int:
        """Charges that found no room, since start. Those in the sketch are counted, so they are not among them."""

    @property
    def load(self) -> float:
        """The part of all slots that is in use, 0 to 1; the sketch's cells are none."""

@final
class CountMin:
    """How often each key was added, in ``width`` × ``depth`` cells of 8 bytes. Never too low.

    Conservative update: of a key's cells, one a row, only those grow that would under-count.
    Too high by more than ``error_bound`` for at most a part e^(−depth) of the keys, for far fewer where counts are skewed.
    Safe to use from several threads.

    Args:
        width: cells in a row.
        depth: rows.
        seed: 16 secret bytes for the hash; drawn when absent. Only sketches with the same one can be merged.

    Raises:
        ValueError: an argument that is wrong: what was found, what is allowed.
        MemoryError: more cells than the machine has memory for.

    Source: Cormode and Muthukrishnan 2005; Estan and Varghese 2002.
    """

    def __new__(cls, width: int, depth: int, *, seed: bytes | None = None) -> Self: ...
    @classmethod
    def for_error(cls, epsilon: float, delta: float, *, seed: bytes | None = None) -> Self:
        """The smallest one whose estimates are too high by at most ``epsilon`` · ``total``, but for a part ``delta`` of the keys.

        Width ⌈e / epsilon⌉, depth ⌈ln(1 / delta)⌉. Both arguments lie between 0 and 1.
        """

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What :meth:`to_bytes` was called on.

        Raises:
            ValueError: bytes of another version, of another kind of sketch, cut short or changed.
        """

    def add(self, key: Text, count: int = 1) -> None:
        """Adds ``count``, at least 0. A ``str`` and its UTF-8 ``bytes`` are the same key.

        Sums stop at 2⁶⁴ − 1.
        """

    def update(self, keys: Iterable[Text]) -> None:
        """Adds 1 to each of ``keys``, in order; up to the first that is no text, which raises TypeError."""

    def estimate(self, key: Text) -> int:
        """How often ``key`` was added; too high perhaps, never too low."""

    def merge(self, other: CountMin) -> None:
        """Adds what ``other`` counted, which stays as it is. Its estimates are still never too low.

        Raises:
            ValueError: another width, depth or seed.
        """

    def copy(self) -> CountMin:
        """An independent sketch of the same counts and seed."""

    def to_bytes(self) -> bytes:
        """All of it, the seed included: as secret as the seed. 64 bytes more than ``memory_bytes``."""

    @property
    def width(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def total(self) -> int:
        """The sum of all counts added."""

    @property
    def error_bound(self) -> float:
        """e · ``total`` / ``width``, in counts."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of the cells; constant."""

    @property
    def seed(self) -> bytes: ...
    def __copy__(self) -> CountMin: ...
    def __deepcopy__(self, memo: Any, /) -> CountMin: ...
    def __reduce__(self) -> tuple[Callable[[bytes], CountMin], tuple[bytes]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class HyperLogLog:
    """How many different keys were added, in 2^``precision`` registers of 6 bits.

    Relative standard error 0.833 / √registers (0.65 % at 14) while all keys are added to this one sketch, by the martingale estimator;
    1.04 / √registers (0.81 %) after a merge, by Ertl's estimator on the registers. Less below a few thousand keys; no upper end that can be reached.
    Safe to use from several threads.

    Args:
        precision: log₂ of the number of registers, 4 to 18; 14 takes 12 KiB, and each step doubles it.
        seed: 16 secret bytes for the hash; drawn when absent. Only sketches with the same one can be merged.

    Raises:
        ValueError: an argument that is wrong: what was found, what is allowed.

    Source: Flajolet et al. 2007; Ertl 2017; Cohen 2015 and Ting 2014 (martingale).
    """

    def __new__(cls, precision: int = 14, *, seed: bytes | None = None) -> Self: ...
    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What :meth:`to_bytes` was called on.

        Raises:
            ValueError: bytes of another version, of another kind of sketch, cut short or changed.
        """

    def add(self, key: Text) -> None:
        """Adds ``key``; again is the same as once. A ``str`` and its UTF-8 ``bytes`` are the same key."""

    def update(self, keys: Iterable[Text]) -> None:
        """Adds each of ``keys``, in order; up to the first that is no text, which raises TypeError."""

    def estimate(self) -> float:
        """How many different keys were added, about."""

    def merge(self, other: HyperLogLog) -> None:
        """Takes in all keys of ``other``, which stays as it is: the registers are those of one sketch that had seen both.

        Raises:
            ValueError: another precision or seed.
        """

    def copy(self) -> HyperLogLog:
        """An independent sketch of the same keys and seed."""

    def to_bytes(self) -> bytes:
        """All of it, the seed included: as secret as the seed."""

    @property
    def precision(self) -> int: ...
    @property
    def relative_error(self) -> float:
        """The standard error of :meth:`estimate`, as a part of it, where there are many more keys than registers."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of the registers and of the martingale; constant."""

    @property
    def seed(self) -> bytes: ...
    def __copy__(self) -> HyperLogLog: ...
    def __deepcopy__(self, memo: Any, /) -> HyperLogLog: ...
    def __reduce__(self) -> tuple[Callable[[bytes], HyperLogLog], tuple[bytes]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class Texts:
    """Many short texts in one piece of memory; for ``throttle.replay``, as the three below."""

    def __new__(cls, texts: Sequence[str]) -> Self: ...
    def list(self) -> list[str]:
        """As Python has them."""

    def __len__(self) -> int: ...

@final
class Rows:
    """What a guard's limits see of many envelopes, that waits to be counted. Places are those in :attr:`Throttle._observed`."""

    def __new__(cls, guard: Throttle) -> Self: ...
    def ask(self, now: float, at: float, envelope: Envelope) -> Decision | None:
        """Ask the guard at ``now``. What it admits, and no limit in shadow mode would refuse, is appended, at time ``at``; else its decision."""

    def add(self, at: float, envelope: Envelope) -> None:
        """Append an envelope's: what :meth:`Throttle._values` tells, but for empty text."""

    def keys(self, places: Sequence[int], verified: str) -> Texts:
        """The keys of those whose sender is ``"proven"``, ``"claimed"``, or ``"any"``, one row after another: values joined, each with each."""

    def clear(self) -> None:
        """Let go of all."""

    def __len__(self) -> int: ...

@final
class Counts:
    """How often each text came, exactly, in the order in which they came first; a text may hold lone surrogates."""

    def __new__(cls) -> Self: ...
    def add(self, key: str, amount: int = 1) -> None:
        """Count one."""

    def update(self, keys: Texts) -> None:
        """Count each."""

    def update_known(self, keys: Texts) -> int:
        """Count those that came before; how many did not."""

    def merge(self, other: Counts) -> None:
        """Count what another has counted."""

    def most(self) -> tuple[str, int] | None:
        """The first of those with the highest count, and that."""

    def top(self, n: int) -> list[tuple[str, int]]:
        """The ``n`` highest, the highest first, and of equals the first by name."""

    def prune(self, most: int) -> int:
        """Take the count at place ``most``, from the highest, off all, and leave out what is nothing then; that count."""

    def amounts(self, without: set[str]) -> dict[int, int]:
        """How many texts have each count, without those of a set."""

    def clear(self) -> None:
        """Begin anew, with the memory that is there."""

    def __getitem__(self, key: str, /) -> int: ...
    def __contains__(self, key: str, /) -> bool: ...
    def __len__(self) -> int: ...

@final
class Seen:
    """Which elements came under which keys, first and last."""

    def __new__(cls, most: int, comeback_s: float) -> Self: ...
    def update(self, rows: Rows, per: Sequence[int], place: int, remember_s: float, without: Sequence[int]) -> Texts:
        """Note the elements at ``place`` under the keys at ``per`` of all rows but ``without``, which are in order.

        For each that had not been seen for ``remember_s``, its key.
        """

    def prune(self) -> int:
        """Beyond ``most`` keep half as many: those that came back after ``comeback_s``, and of the others the latest. How many are left out."""

    def items(self) -> list[tuple[str, str, float, float]]:
        """Key, element, first and last of each."""

    def __len__(self) -> int: ...
