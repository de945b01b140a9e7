"""Types and documentation of the extension module.

This file is the only source of the docstrings: the build compiles them into the module, where ``help`` finds them.
``mypy.stubtest`` checks the signatures against the module.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from os import PathLike
from typing import Any, ClassVar, Literal, Self, Unpack, final

from throttle.errors import PolicyError as PolicyError
from throttle.errors import ThrottleError as ThrottleError
from throttle.metrics.collector import Collector
from throttle.types import (
    Address,
    Algorithm,
    BlockValue,
    Diagnosis,
    EnvelopeFields,
    Explanation,
    LimitPlan,
    Metrics,
    Mode,
    Notices,
    Outcome,
    PolicyEntry,
    Quota,
    Share,
    Size,
    Stage,
    Table,
    Text,
    WhenFull,
    Window,
)

__all__ = [
    "Blocked",
    "CountMin",
    "Decision",
    "Envelope",
    "HitResult",
    "HyperLogLog",
    "Limit",
    "ManualClock",
    "MetricsExporter",
    "Offender",
    "Permit",
    "Policy",
    "PolicyError",
    "PolicyServer",
    "RateLimiter",
    "Session",
    "Throttle",
    "ThrottleError",
    "__version__",
    "authentication_results",
    "duration_seconds",
]

__version__: str

def authentication_results(message: bytes, authserv_id: bytes, fields: int) -> tuple[str | None, tuple[str, ...]]:
    """The verdict on SPF and the signers that `throttle.auth.with_results` adds to an envelope."""

def duration_seconds(text: str) -> int:
    """Reads a time as a policy writes it, such as ``"1 hour"`` or ``"90 minutes"``.

    Raises:
        ValueError: it is none, or not from 1 second to 366 days.
    """

@final
class Envelope:
    """What is known of one SMTP transaction so far (RFC 5321 §3.3). Frozen; all arguments are keywords.

    Text is ``str`` or ``bytes``, as the server received it. Nothing that a sender wrote raises.

    Args:
        client_ip: the address of the connecting client, as text or as an ``ipaddress`` object. Text that is no address
            gives the value ``UNKNOWN``.
        client_name: its forward-confirmed reverse name, as Postfix's ``client_name``. ``unknown`` counts as absent.
        helo: the argument of HELO or EHLO.
        mail_from: the reverse-path. ``None`` before MAIL; ``""`` or ``"<>"`` is the null sender (RFC 5321 §4.5.5).
        rcpt_to: the forward-paths: one, or any iterable of them.
        auth_user: the authenticated user (RFC 4954).
        spf: the server's SPF result (RFC 7208 §2.6). ``"pass"`` proves the sender. ``"fail"`` and unknown words make
            the sender a mere claim. The other results prove nothing and leave other proofs as they are; ``""`` and
            ``"temperror"`` count as no result for limits with ``verified="unproven"``.
        size: the octets of the message, declared by SIZE (RFC 1870) or counted after the data. A negative size is 0.
        header_from: the From headers (RFC 5322 §3.6.2), or their addresses: one, or an iterable.
        reply_to: the Reply-To headers, or their addresses: one, or an iterable.
        list_id: the List-Id header (RFC 2919), or the text in its brackets.
        dkim: the ``d=`` domains of signatures that the server has verified (RFC 6376): one, or an iterable.

    Each text of ``header_from`` and ``reply_to`` is read as a header is: every address in it counts, whatever stands
    around it. Text without an address, more than eight addresses or texts, or more than 64 KiB give the one value
    ``MANY``. Of ``dkim`` the first eight domains are used.

    Raises:
        TypeError: an argument has a wrong type.

    Example:
        >>> Envelope(client_ip="192.0.2.1", mail_from="alice@example.com").client_ip
        '192.0.2.1'
    """

    def __new__(
        cls,
        *,
        client_ip: Address | None = None,
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
    def client_ip(self) -> Text | None:
        """The client's address, as text."""

    @property
    def client_name(self) -> Text | None:
        """The client's forward-confirmed reverse name."""

    @property
    def helo(self) -> Text | None:
        """The argument of HELO or EHLO."""

    @property
    def mail_from(self) -> Text | None:
        """The reverse-path; ``None`` before MAIL."""

    @property
    def rcpt_to(self) -> tuple[Text, ...]:
        """The forward-paths."""

    @property
    def auth_user(self) -> Text | None:
        """The authenticated user."""

    @property
    def spf(self) -> str | None:
        """The SPF result, as it was given."""

    @property
    def size(self) -> int | None:
        """The octets of the message."""

    @property
    def header_from(self) -> tuple[Text, ...]:
        """The From headers or their addresses, as they were given."""

    @property
    def reply_to(self) -> tuple[Text, ...]:
        """The Reply-To headers or their addresses, as they were given."""

    @property
    def list_id(self) -> Text | None:
        """The List-Id header."""

    @property
    def dkim(self) -> tuple[Text, ...]:
        """The domains of verified DKIM signatures."""

    @staticmethod
    def from_message(message: bytes, **fields: Unpack[EnvelopeFields]) -> Envelope:
        """Makes an envelope from the header of a message.

        The header gives ``header_from``, ``reply_to`` and ``list_id``. ``fields`` give the other fields, and replace
        what the header gives.

        Only the header is read, up to its blank line. ``header_from`` and ``reply_to`` become all addresses of their
        fields, at most eight, or ``("MANY",)`` when they cannot be read: more than eight addresses or fields, text
        without an address, more than 64 KiB, or a header of more than 1 MiB. No header raises.

        ``size`` and ``dkim`` are not read from it, because a header cannot vouch for itself. See
        :func:`throttle.auth.with_results`.

        Raises:
            TypeError: ``message`` is not ``bytes``, or a field has a wrong type.
        """

    def with_headers(self, message: bytes) -> Envelope:
        """Returns a copy with the fields that the header of ``message`` gives, as in :meth:`from_message`.

        ``message`` may be a header without a body.

        Raises:
            TypeError: ``message`` is not ``bytes``.
        """

    def replace(self, **changes: Unpack[EnvelopeFields]) -> Envelope:
        """Returns a copy with other values of some fields."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Decision:
    """The result of a check. It is true when the transaction is allowed. A refusal is a value, never an exception.

    Decisions can be compared and hashed.
    """

    @property
    def allowed(self) -> bool:
        """Whether the transaction may go on."""

    @property
    def limit(self) -> str | None:
        """The name of the limit that refused; of several, the one with the longest wait. ``None`` when allowed."""

    @property
    def identity(self) -> str | None:
        """What that limit counts per, such as ``"client.net/24/48 + sender.org"``. ``None`` when allowed."""

    @property
    def key(self) -> str | None:
        """The value of that identity, or a tag such as ``"UNLISTED"``; ``None`` when allowed.

        For a fan-out with ``settle`` it is the part of the name at which the names fan out.
        """

    @property
    def retry_after(self) -> float:
        """Seconds until a retry passes; 0.0 when allowed, ``math.inf`` when it can never pass.

        A retry after this time passes if nothing else is charged to the key meanwhile. One a microsecond earlier does
        not pass.
        """

    @property
    def reply(self) -> str | None:
        """The SMTP reply as one legal line without CRLF (RFC 5321 §4.2, RFC 3463); ``None`` when allowed."""

    @property
    def code(self) -> int | None:
        """The code of the reply, such as ``451``; ``None`` when allowed."""

    @property
    def enhanced_code(self) -> str | None:
        """The enhanced status code of the reply, such as ``"4.7.1"`` (RFC 3463); ``None`` when allowed."""

    @property
    def text(self) -> str | None:
        """The reply without its codes; ``None`` when allowed."""

    @property
    def stage(self) -> Stage | None:
        """The SMTP stage of the refusal; ``None`` when allowed.

        It is the stage of the limit that refused, and ``"mail"`` for a limit on bytes that refuses a declared SIZE. A
        block refuses at the first stage that knows the blocked value.
        """

    @property
    def shadow(self) -> tuple[str, ...]:
        """The names of limits in shadow mode that would have refused, in file order."""

    @property
    def identities(self) -> dict[str, str | tuple[str, ...]]:
        """The identities that the decision was made on; computed at each access."""

    def refund(self, *, now: float | None = None) -> bool:
        """Returns what was charged to rate limits, as far as it lies in a slot. It does so once.

        Use it when the server itself refuses what was admitted. Charges of fan-outs and of sketches stay, and permits
        are held until they are released. A GCRA limit returns the price less what has drained since; a sliding window
        returns what still counts. So no key ever gets more than its limit. A refusal and a peek have charged nothing.

        Args:
            now: Unix seconds, instead of the clock. Without it, a decision that was made at a stated time is refunded
                at the latest time seen.

        Returns:
            Whether anything was left to return.

        Raises:
            ThrottleError: the decision was pickled and has no guard.
            ValueError: a time as in :meth:`Throttle.check`.
        """

    def __bool__(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class HitResult:
    """The result of :meth:`RateLimiter.hit`. It is true when the key is allowed."""

    @property
    def allowed(self) -> bool:
        """Whether the cost fits."""

    @property
    def key(self) -> Text:
        """The key, as it was given."""

    @property
    def retry_after(self) -> float:
        """Seconds until a retry passes; 0.0 when allowed, ``math.inf`` when it can never pass."""

    def refund(self, *, now: float | None = None) -> bool:
        """Returns the cost to the key, once, less what has drained since. A charge in a sketch stays.

        Args:
            now: Unix seconds, instead of the clock. Without it, a hit at a stated time is refunded at the latest time
                seen.

        Returns:
            Whether anything was left to return.

        Raises:
            ThrottleError: the result was pickled and has no limiter.
            ValueError: a time that is not finite or beyond 1e11 seconds.
        """

    def __bool__(self) -> bool: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Permit:
    """What one transaction holds of the in-flight limits. It is true when the transaction was admitted.

    It is released once: at the end of ``with`` or ``async with``, by :meth:`release`, or when it is garbage-collected.
    Time never releases it. In a forked child a permit of the parent holds nothing. What rates were charged stays.
    """

    @property
    def decision(self) -> Decision:
        """The decision of :meth:`Throttle.admit`."""

    def release(self) -> None:
        """Releases what it holds. Later calls do nothing."""

    def __bool__(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *raised: object) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(self, *raised: object) -> Awaitable[None]: ...

@final
class Session:
    """One SMTP connection, made by :meth:`Throttle.session`. Each step returns a decision with the reply to send.

    A limit runs once for each thing that it counts: each connection, HELO name, transaction or new recipient. It runs
    at the earliest step that knows enough. ``docs/stages.md`` has the table of steps, stages and replies.

    A session holds a permit for the connection from :meth:`connect` to :meth:`close`, and one for the message from
    :meth:`mail` to :meth:`data` or :meth:`reset`. Everything is released at the end of ``with`` or ``async with``, by
    :meth:`close`, or when the session is garbage-collected. Time never releases it. In a forked child a session of the
    parent holds nothing.

    A client can send commands in any order. A step out of order charges and holds nothing, and is refused: with MAIL's
    own refusal when MAIL was refused (pipelining, RFC 2920), else by limit ``out-of-order`` with ``451 4.5.1`` and
    ``math.inf``. Servers usually answer such commands themselves, with 503 (RFC 5321 §4.1.4).

    Steps raise ``TypeError`` for an argument of a wrong type, and ``ValueError`` for a time as in
    :meth:`Throttle.check` and for a ``transaction`` that is not the one of :meth:`mail`. Nothing that a client sends
    raises.
    """

    client_name: Text | None
    """The forward-confirmed reverse name. It may be set late: limits that need it run with the next step."""

    spf: str | None
    """The SPF result of the transaction. It may be set until the first RCPT, after which it is a ``ThrottleError``."""

    auth_user: Text | None
    """The authenticated user (RFC 4954), set after AUTH or given to :meth:`mail`. It stays for the connection."""

    def connect(self, *, now: float | None = None) -> Decision:
        """Runs the limits of the connection, and holds a permit for it. If it refuses, answer and close.

        Without this call the first step does it. A second call charges nothing.
        """

    def helo(self, name: Text, *, now: float | None = None) -> Decision:
        """Runs the limits per ``helo.*`` that count connections, once for each name. It ends an open transaction."""

    def mail(
        self,
        address: Text,
        *,
        size: int | None = None,
        spf: str | None = None,
        auth_user: Text | None = None,
        transaction: Text | None = None,
        now: float | None = None,
    ) -> Decision:
        """Runs the limits on messages and senders, and holds a permit and the declared size.

        It ends a transaction that is open.

        Args:
            address: the reverse-path; ``""`` or ``"<>"`` is the null sender.
            size: the octets that SIZE declares (RFC 1870).
            spf: as in :class:`Envelope`.
            auth_user: as :attr:`auth_user`; ``None`` leaves that unchanged.
            transaction: a name of the transaction, such as Postfix's ``instance``. A server that is asked the same
                again passes the same name: an admitted step of that name is admitted again, and charges nothing.
            now: Unix seconds, instead of the clock.
        """

    def rcpt(
        self, recipients: Text | Iterable[Text], *, transaction: Text | None = None, now: float | None = None
    ) -> Decision:
        """Runs the limits on recipients, for one recipient or several: all of them are admitted, or none.

        Recipients that the transaction already has are not charged. A message counts once for each of their hosts.
        The decision's ``identities`` are those of the new recipients. A ``transaction`` must be that of :meth:`mail`.
        """

    def headers(
        self,
        headers: bytes,
        *,
        dkim: Iterable[Text] | None = None,
        spf: str | None = None,
        now: float | None = None,
    ) -> Decision:
        """Runs the limits on what the header says, where a server has it before the size of the message.

        :meth:`data` then runs what is left. A refusal is that of the whole message, and ends the transaction. A second
        call runs nothing again.

        Args:
            headers: the header as ``bytes``, read as in :meth:`Envelope.with_headers`.
            dkim: the domains whose signatures were verified.
            spf: the SPF result, if it became known only now: it counts for the limits of this step and of :meth:`data`.
            now: Unix seconds, instead of the clock.
        """

    def data(
        self,
        *,
        headers: bytes | None = None,
        dkim: Iterable[Text] | None = None,
        size: int | None = None,
        transaction: Text | None = None,
        now: float | None = None,
    ) -> Decision:
        """Runs the limits on headers and bytes. It ends the transaction and releases its permit, whatever the decision.

        The actual size replaces the declared one, which was held. A message with more bytes than there is room for is
        refused.

        Args:
            headers: the header as ``bytes``, read as in :meth:`Envelope.with_headers`.
            dkim: the domains whose signatures were verified.
            size: the octets received; without it, the declared ones.
            transaction: that of :meth:`mail`. The answer is repeated for the name of the transaction that ended last.
            now: Unix seconds, instead of the clock.
        """

    def report(self, outcome: Outcome, recipient: Text | None = None, *, now: float | None = None) -> None:
        """Reports what the server has found out, as :meth:`Throttle.report`, about what the session knows.

        That is the client, the sender and SPF verdict of the transaction, and the ``recipient`` of the report. After
        :meth:`data` it is the message that has ended, with its header if :meth:`data` was admitted, until the next
        :meth:`mail`, :meth:`helo` or :meth:`reset`. Recipients of the transaction that are not named are not reported.

        It never refuses and holds nothing. It may be called after :meth:`close`.
        """

    def reset(self) -> None:
        """Ends the transaction, as RSET does, and releases its permit. What was charged stays unless it is refunded."""

    def close(self) -> None:
        """Ends the connection and releases everything. Later calls do nothing."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *raised: object) -> None: ...
    def __aenter__(self) -> Awaitable[Self]: ...
    def __aexit__(self, *raised: object) -> Awaitable[None]: ...

@final
class ManualClock:
    """A clock that moves only when it is told to.

    Args:
        now: Unix seconds.

    Raises:
        ValueError: a time that is not finite or beyond 1e11 seconds, here and wherever the clock is moved.
    """

    now: float
    """Unix seconds, to the microsecond. May be set, also back."""

    def __new__(cls, now: float = 0.0) -> Self: ...
    def advance(self, seconds: float) -> None:
        """Moves the clock by ``seconds``, also back."""

    def __call__(self, *args: Any, **kwargs: Any) -> float:
        """Returns the time. It takes no arguments."""

@final
class Limit:
    """One rule of a policy. The arguments are the fields of the policy file, its tables as dictionaries.

    ``distinct`` counts different elements. With ``refuse="new"`` only new elements wait; with ``refuse="all"`` the
    whole key waits while it has more than ``burst`` at once or ``rate`` in the long run. That is exact up to four
    elements, and above an estimate with a standard error of about 10 %. A message with several elements needs room for
    all of them; only the new ones are charged.

    Args:
        name: names the limit in refusals; unique in the policy.
        per: the identity that it counts per, or several that make one key together.
        rate: an amount in a time, such as ``"600/minute"``. With ``distinct``: the new elements.
        burst: how much fits at once, for ``"gcra"`` only. Default: the amount of the rate.
        count: what one check counts as. Default: ``"messages"``, or ``"bytes"`` when the rate has a unit of size. With
            ``"reports"`` a check counts nothing: only :meth:`Throttle.report` and :meth:`Session.report` do.
        reports: the outcomes that ``count="reports"`` counts.
        distinct: the identity whose different values are counted, instead of messages.
        refuse: with ``distinct``: ``"new"`` elements only, or ``"all"`` of the key. Default: ``"new"``.
        new_to: with ``distinct``: the key to which an element is new, of ``client.*``. Default: ``per``.
        remember: how long an admitted element stays known. Default: ``"1 day"``.
        settle: how long a part of a name must be known to get a bucket of its own.
        charge: when a fan-out charges an element: ``"once"``, when it is new; ``"twice"``, also with its
            second message, unless that comes within a 32,000th of ``remember``; ``"until-return"``, with every message
            until it has returned after an hour or ``settle``. Default: ``"once"``.
        warm_up: for how long after the first check a fan-out charges nothing and only learns. Default: not at all.
        readmit: a refused element that comes back at least this long after its first refusal is let through, for as
            long as ``remember``. Default: never.
        in_flight: how much may be open at once: connections, messages or bytes.
        share: the part of what is free that one key may hold; several tiers as a list.
        reserve: how much of ``in_flight`` is kept for keys that hold nothing. Default: nothing.
        first: of bytes, the most that a key which holds nothing may take whatever its share is. Default: a thousandth
            of ``in_flight``.
        verified: the senders whose messages it counts: ``"proven"`` by SPF or by the client's confirmed name,
            ``"claimed"``, or ``"unproven"``: claimed, and the envelope has an SPF result. Default: ``"any"``; a
            key with the sender then has a counter for each level of trust.
        when_full: what happens to a key for which the table has no room. Default: ``"admit"``, or ``"sketch"`` per
            ``auth.user`` and ``global``.
        memory: the size of its table. Default: a share by how long one message occupies a slot.
        algorithm: how the rate is counted. Default: ``"gcra"``, or ``"sliding-window"`` per ``auth.user`` and
            ``global``.
        action: ``"defer"``, ``"reject"``, or ``"block"`` and a time. Default: ``"defer"``.
        mode: ``"shadow"`` decides and counts, and lets everything pass. Default: ``"enforce"``.
        quota: other numbers for named values of ``per``, by value.
        reply: the reply line of a refusal, with the places ``{key}``, ``{identity}``, ``{limit}``, ``{seconds}`` and
            ``{help}``.

    Raises:
        PolicyError: a field is wrong. The message says what was found and what is allowed.

    Example:
        >>> Limit(name="pace", per="sender.org", rate="600/minute").stage
        'mail'
    """

    def __new__(
        cls,
        *,
        name: str,
        per: str | Iterable[str],
        rate: str | None = None,
        burst: Size | None = None,
        count: Literal["messages", "connections", "recipients", "bytes", "reports"] | None = None,
        reports: Iterable[Outcome] | None = None,
        distinct: str | None = None,
        refuse: Literal["new", "all"] | None = None,
        new_to: str | Iterable[str] | None = None,
        remember: str | None = None,
        settle: str | None = None,
        charge: Literal["once", "twice", "until-return"] | None = None,
        warm_up: str | None = None,
        readmit: str | None = None,
        in_flight: Size | None = None,
        share: Share | Sequence[Share] | None = None,
        reserve: Size | None = None,
        first: str | None = None,
        verified: Literal["any", "proven", "claimed", "unproven"] | None = None,
        when_full: WhenFull | None = None,
        memory: Size | None = None,
        algorithm: Algorithm | None = None,
        action: str | None = None,
        mode: Mode | None = None,
        quota: dict[str, Quota] | None = None,
        reply: str | None = None,
    ) -> Self: ...
    @property
    def name(self) -> str:
        """The name of the limit."""

    @property
    def per(self) -> str:
        """The identity that it counts per; several are joined by ``" + "``."""

    @property
    def stage(self) -> Stage:
        """The SMTP stage at which it runs."""

    @property
    def fields(self) -> dict[str, Any]:
        """The arguments that make an equal limit."""

    def to_toml(self) -> str:
        """Returns the limit as it stands in a policy file."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Policy:
    """An ordered list of limits.

    Args:
        limits: the limits.
        scale: multiplies every rate, burst and cap. Default: 1.
        mode: ``"shadow"``: every limit decides and counts, and lets everything pass. Default: ``"enforce"``.
        suffixes: public suffixes besides those of the Public Suffix List.
        max_recipients: the most different recipients of one transaction, at least 100 (RFC 5321 §4.5.3.1.8). One more
            is refused by limit ``max-recipients`` with ``452 4.5.3``. Default: no bound.
        largest_message: the largest message that the server takes, such as ``"150 MB"``. A limit on bytes that would
            refuse it even while nothing is held is an error.
        help_url: the http or https address of a page that explains refusals, at most 200 bytes in the characters of
            RFC 3986. Built-in replies end with it, and ``{help}`` inserts it into others. Default: none.

    Raises:
        PolicyError: the policy is wrong. The error has file, line, limit, field, what was found and what is allowed.
        TypeError: ``limits`` holds something other than :class:`Limit`.
    """

    def __new__(
        cls,
        limits: Iterable[Limit],
        *,
        scale: float | None = None,
        mode: Mode | None = None,
        suffixes: Iterable[str] | None = None,
        max_recipients: int | None = None,
        largest_message: str | None = None,
        help_url: str | None = None,
    ) -> Self: ...
    @staticmethod
    def parse(text: str, file: str = "<policy>") -> Policy:
        """Parses TOML. ``extends`` names a built-in policy, or a path relative to the directory of ``file``.

        The path of ``quota_file`` is relative to it, too.

        Raises:
            PolicyError: the policy is wrong.
        """

    @staticmethod
    def from_file(path: str | PathLike[str]) -> Policy:
        """Reads a TOML file, which may extend another.

        Raises:
            PolicyError: the policy is wrong.
            OSError: the file cannot be read.
        """

    @staticmethod
    def builtin(name: str = "inbound") -> Policy:
        """Returns a policy that comes with the library: ``"inbound"`` or ``"submission"``.

        Raises:
            ValueError: there is no such policy.
        """

    @staticmethod
    def schema() -> str:
        """Returns the JSON Schema (draft 7) of policy files, for editors."""

    def series_bound(self, *, slots: int = 16, identities: int = 8, names_per_hour: int = 30) -> tuple[int, int]:
        """Returns the most series that a guard of this policy shows: at one time, and different ones in a day.

        The arguments are those of :meth:`Throttle.collector`.

        Raises:
            ValueError: a number is too large.
        """

    def plan(self, *, memory: Size | None = None, max_open: int | None = None) -> list[LimitPlan]:
        """Returns what each limit gets of the memory, and how much it can count with it.

        There is a row for each limit in order, then one for each quota. The tables are made as :class:`Throttle` makes
        them, and freed.

        Args:
            memory: as in :class:`Throttle`.
            max_open: as in :class:`Throttle`.

        Raises:
            PolicyError: the policy does not fit.
            ValueError: an argument is wrong.
        """

    @property
    def limits(self) -> list[Limit]:
        """The limits, in order."""

    @property
    def scale(self) -> float:
        """The factor of every rate, burst and cap."""

    @property
    def mode(self) -> Mode:
        """``"enforce"`` or ``"shadow"``."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """Public suffixes besides those of the Public Suffix List."""

    @property
    def max_recipients(self) -> int | None:
        """The most different recipients of one transaction; ``None``: no bound."""

    @property
    def largest_message(self) -> int | None:
        """The largest message that the server takes, in bytes; ``None`` if the policy does not say."""

    @property
    def help_url(self) -> str | None:
        """The address of a page that explains refusals; ``None`` if the policy states none."""

    @property
    def quota_file(self) -> tuple[str, int] | None:
        """The file of quotas, and how many values it has. These are among the quotas of the limits."""

    @property
    def entries(self) -> tuple[PolicyEntry, ...]:
        """The entries of ``[[allow]]`` and ``[[block]]``, those of the extended policy first."""

    @property
    def file(self) -> str:
        """The file that it was read from, or ``"<policy>"``."""

    def to_toml(self) -> str:
        """Returns the policy as one file, without ``extends`` and with the scale applied to its numbers."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Throttle:
    """A policy and its memory. All memory is allocated here, and never grows.

    Args:
        policy: the name of a built-in policy (``"inbound"``, ``"submission"``), the path of a TOML file, or a
            :class:`Policy`. A ``str`` that names a built-in policy is never a path; write ``"./inbound"`` for a file of
            that name. Default: ``"inbound"``.
        memory: the bytes of all counters, or text such as ``"64 MiB"``. Default: 16 MiB.
        max_open: the most permits at once, from 1 to 2²⁴. Default: 10,000, more than the connections and
            the messages together that ``inbound`` lets be open.
        clock: a callable that returns Unix seconds. Default: a monotonic clock, set to the wall time once.
        seed: 16 secret bytes for the hashes. Default: random bytes.
        suffix_list: the path of a newer Public Suffix List. Default: the list of ``tldextract``.
        learned: the path of a state that ``throttle replay --learn`` wrote. Its elements are known from the start, each
            with its age. The state depends neither on the seed nor on the memory. Elements that are older than a limit
            remembers are left out. So are elements that find no room: first those that never came back, the longest
            unseen before the others; the logger ``throttle`` reports how many. A clock that is behind the end of the
            state counts as standing there.
        sample: whether to sample messages for :meth:`diagnose`. It needs :attr:`sample_bytes` of memory in addition.

    Raises:
        PolicyError: the policy is wrong, or needs more memory. In-flight limits need about 80 bytes a permit.
        ValueError: ``memory``, ``max_open`` or ``seed`` is wrong, or ``policy`` is no file and no built-in policy.
        TypeError: an argument has a wrong type.
        OSError: a policy file cannot be read.
        ThrottleError: a suffix list or a state cannot be read, or is none. The message says the line.

    Example:
        >>> guard = Throttle("inbound")
        >>> bool(guard.check(Envelope(client_ip="192.0.2.1", mail_from="alice@example.com")))
        True
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
        sample: bool = False,
    ) -> Self: ...
    def check(
        self, envelope: Envelope, *, stage: Stage | Iterable[Stage] | None = None, now: float | None = None
    ) -> Decision:
        """Asks every limit, then charges all of them if all agree, and none otherwise.

        Args:
            envelope: what is known so far.
            stage: the stage or stages whose limits run. Default: connect, HELO, and from MAIL on the stages that the
                envelope has data for.
            now: Unix seconds, instead of the clock. A time before the latest one counts as the latest one.

        Raises:
            ValueError: an unknown stage, or a time that is not finite or beyond 1e11 seconds. Nothing in the envelope
                raises; a clock of your own may.
        """

    def peek(
        self, envelope: Envelope, *, stage: Stage | Iterable[Stage] | None = None, now: float | None = None
    ) -> Decision:
        """Returns what :meth:`check` would return, and charges nothing."""

    def admit(
        self, envelope: Envelope, *, stage: Stage | Iterable[Stage] | None = None, now: float | None = None
    ) -> Permit:
        """Checks, and in the same step holds what the in-flight limits count, until the permit is released.

        :meth:`check` asks the in-flight limits and holds nothing. Without ``stage`` a permit holds a connection too. Of
        bytes it holds the size that the envelope gives, and none without a size. One permit more than ``max_open`` is
        refused by limit ``max-open``. Nobody knows how long an in-flight limit stays full, so ``retry_after`` is one
        second, and infinite for a message that is larger than the limit.

        The arguments and errors are those of :meth:`check`.
        """

    def report(self, envelope: Envelope, outcome: Outcome, *, now: float | None = None) -> None:
        """Reports what the server has found out, and no envelope says.

        It charges one to each key of the envelope, in every limit with ``count="reports"`` whose ``reports`` list the
        outcome. It is never refused: what a limit has no room for is not counted. Checks consult these limits, and are
        refused while there is no room for one more report.

        Args:
            envelope: what the report is about. Limits count the sender as a check of it would: proven or claimed.
            outcome: what happened.
            now: Unix seconds, as in :meth:`check`.

        Raises:
            ValueError: an unknown outcome, or a time as in :meth:`check`.

        Example:
            >>> guard = Throttle(Policy([Limit(name="guesses", per="client.ip", rate="5/hour", action="block 1 hour",
            ...                                count="reports", reports=["auth-failure"])]))
            >>> client = Envelope(client_ip="192.0.2.1")
            >>> for _ in range(5):
            ...     assert guard.check(client)
            ...     guard.report(client, "auth-failure")
            >>> guard.check(client).reply
            '421 4.7.0 192.0.2.1 was reported too often; retry in 3600 s'
        """

    def session(
        self, *, client_ip: Address | None = None, client_name: Text | None = None, hold: bool = True
    ) -> Session:
        """Returns a session: one SMTP connection, step by step, for a server that sees the whole dialogue.

        Args:
            client_ip: the address of the connecting client.
            client_name: its forward-confirmed reverse name, as in :class:`Envelope`. It can be set later as
                :attr:`Session.client_name`.
            hold: whether it holds what is in flight. A server that does not learn when a client is gone, such as a
                policy service of Postfix, passes ``False``: then no in-flight limit is asked.
        """

    def notices(self, after: int = 0, *, now: float | None = None) -> Notices:
        """Returns which limit began to refuse which key, and which has stopped, for logs and alerts.

        A limit and a key give one notice when the refusals begin, and one when none came for ten minutes; the latter is
        found out by this call. Each reader keeps the ``last`` of the result and passes it to its next call.

        Args:
            after: the number of the last notice that the caller has seen.
            now: Unix seconds, instead of the clock.
        """

    def diagnose(self, *, now: float | None = None) -> Diagnosis:
        """Returns which identity ties the present surge of mail together, if there is one.

        It compares the last five minutes with the quieter half of the hour before. Of each minute 64 admitted messages
        are sampled and 32 that were refused at once, chosen by a secret. A check is a message; in a session each MAIL
        is one, and so is a refusal at connect or HELO.

        :func:`throttle.diagnosis.report` makes text of the result. It takes up to a tenth of a second, in which other
        threads run and checks go on.

        Args:
            now: Unix seconds, instead of the clock.

        Raises:
            ThrottleError: the guard samples no messages.
        """

    def metrics(self) -> Metrics:
        """Returns what checks came to since start, as counts at one time.

        Each check and each step of a session counts once; :meth:`peek` and :meth:`explain` count nowhere. A limit that
        keeps its name on :meth:`reload` keeps its counts.
        """

    def render(self, openmetrics: bool = False, *, now: float | None = None) -> bytes:
        """Returns the metrics as text for Prometheus, with as many series as ``Policy.series_bound`` states.

        Offenders are in slots, and a name costs a budget, so no sender can make series. The page *Metrics* lists them.

        Args:
            openmetrics: OpenMetrics 1.0; otherwise Prometheus text 0.0.4.
            now: Unix seconds, instead of the clock.
        """

    def collector(self, *, slots: int = 16, identities: int = 8, names_per_hour: int = 30) -> Collector:
        """Returns a collector that prometheus_client can register: ``REGISTRY.register(guard.collector())``.

        Args:
            slots: offenders of each identity that have series.
            identities: identities that have slots, fan-outs first.
            names_per_hour: new names of each identity that may be shown in an hour.

        Raises:
            ValueError: a number is too large.
        """

    def identities(self, envelope: Envelope) -> dict[str, str | tuple[str, ...]]:
        """Returns every identity of the envelope in normal form; identities with several values are tuples.

        Values without a name of their own are tags in capital letters, which ``throttle.tags`` explains.
        """

    def explain(
        self, envelope: Envelope, *, stage: Stage | Iterable[Stage] | None = None, now: float | None = None
    ) -> Explanation:
        """Explains a check, and charges nothing: every identity, and for every limit its key, level and verdict.

        ``print`` shows the result as text; ``dataclasses.asdict`` makes dictionaries of it. It takes some microseconds
        a limit. Of a message with many recipients it lists a part, and counts what it leaves out; other threads run
        meanwhile.

        The arguments and errors are those of :meth:`check`.
        """

    def tables(self) -> list[Table]:
        """Returns how full each table is, and how many charges found no room in it.

        A quota has a row of its own: ``…, quota of`` its value. A limit with ``when_full="sketch"`` also has a row
        ``sketch of`` it, one with ``refuse="all"`` a row ``registers of`` it, and limits that share a seen set have
        one row ``memory of`` them.

        An in-flight limit has a row without bytes: ``slots`` is what it allows and ``used`` what is held; of a limit
        per key, by the key that holds most. Its counts are in the tables ``in flight per …`` and ``permits``, whose
        slots are ``max_open``. The row ``blocks`` has the keys that limits have blocked; its ``untracked`` counts
        blocks that found no room, whose limits go on refusing by themselves.

        ``memory_bytes`` also contains two pages of 4096 bytes; from 256 KiB on at most a fifty-sixth for operators'
        entries and a sixty-fourth for blocks; and what :meth:`distinct` and :meth:`top` need, which is at most a
        sixteenth where a sixteenth is enough for the smallest. A thirty-second stays free, if the tables leave it, for
        limits that :meth:`reload` brings.
        """

    def distinct(self, identity: str, window: Window = "minute", *, now: float | None = None) -> float:
        """Estimates how many different values ``identity`` had lately, in checks that were admitted or refused.

        It counts everything of the last 60 seconds and nothing older than 75 seconds; for ``"hour"``, 60 and 75
        minutes. The relative standard error is 2.3 % (2¹¹ registers), or 3.3 % to 13 % where 2.3 % would take more than
        a sixteenth of the memory. A few values are counted almost exactly. Proven and claimed values count once. All
        values without a normal form count as one.

        Args:
            identity: an identity that a limit of the policy counts per or counts values of, such as ``"sender.host"``.
            window: ``"minute"`` or ``"hour"``.
            now: Unix seconds, instead of the clock.

        Raises:
            ValueError: an identity that no limit needs, another window, or a time as in :meth:`check`.

        Source: Flajolet et al. 2007; Ertl 2017.
        """

    def top(self, identity: str, n: int = 10, *, now: float | None = None) -> list[Offender]:
        """Returns at most ``n`` values of ``identity`` that came near a limit, the busiest of the last minute first.

        A value gets a name when a check finds it above half of a limit, alone or as a part of a composite key, or when
        a limit on it refuses; never with its first admitted message. It keeps the name until a busier value needs the
        slot. There are 64 slots an identity, fewer where the memory is small. A value that sends more than a 64th of
        the traffic of all values near their limits always has a name.

        Args:
            identity: as in :meth:`distinct`.
            n: the number of values.
            now: Unix seconds, instead of the clock.

        Raises:
            ValueError: an identity that no limit needs, an ``n`` below zero, or a time as in :meth:`check`.

        Source: Metwally, Agrawal, El Abbadi 2005.
        """

    def block(self, identity: str, value: BlockValue, *, seconds: float | None = None) -> None:
        """Refuses a name or a network and everything below it, from now on, whether it is claimed or proven.

        A block of a domain covers every host below it, and a block of a network every address in it. A block of
        ``auth.user``, ``list.id`` or an address covers that value alone. The refusal is by limit ``blocked``: temporary
        with the time that is left, or permanent when the block is for good. It comes at the first stage that knows the
        identity. A new block or allow entry of a value replaces the earlier one.

        Args:
            identity: one of ``client.*``, ``helo.*``, ``auth.user``, ``sender.*``, ``rcpt.*``, ``from.*``,
                ``reply_to.*``, ``list.id``, ``dkim.org``. Networks may have any prefix length under any
                ``client.net``.
            value: a value as a sender might write it, a tag such as ``"NULL"``, or an ``ipaddress`` object:
                ``"Salesforce.com"``, ``"203.0.113.0/24"``.
            seconds: how long, at most 366 days. ``None`` or infinite: for good.

        Raises:
            ValueError: an unknown identity; a text that is no value of it or has more than 232 octets; a public suffix
                such as ``co.uk``; a network larger than /8, or than /16 for IPv6; ``seconds`` that are not above zero
                or more than 366 days.
            TypeError: a value of another type.
            ThrottleError: there is no room. A guard has 1024 entries from 16 MiB of memory on, fewer with less, and
                none below 256 KiB. No entry is evicted.

        Example:
            >>> guard = Throttle()
            >>> guard.block("client.net", "203.0.113.0/24", seconds=3600)
            >>> guard.blocked()[0].value
            '203.0.113.0/24'
        """

    def allow(
        self, identity: str, value: BlockValue, *, seconds: float | None = None, unverified: bool = False
    ) -> None:
        """Admits a name or a network and everything below it: no rate, no fan-out and no block refuses it.

        In-flight limits and ``max_open`` still hold. What an allow entry admits is charged to nothing, so nobody else
        pays for it, and makes no element known.

        Args:
            identity: as in :meth:`block`, without ``rcpt.*``: one mailbox among the recipients would carry the others
                past every limit.
            value: as in :meth:`block`.
            seconds: as in :meth:`block`.
            unverified: whether a mere claim is enough. Without it, ``sender.*`` is admitted only when it is proven.

        Raises:
            ValueError: as in :meth:`block`; or an identity that nobody can prove, such as ``helo.*`` or ``from.*``,
                without ``unverified``.
            ThrottleError: as in :meth:`block`.
        """

    def unblock(self, identity: str, value: BlockValue) -> bool:
        """Removes the block or allow entry of a value, and the blocks by limits whose key it is.

        Args:
            identity: as in :meth:`block`; for a block by a limit also several identities, as a decision gives them:
                ``"client.net + auth.user"``.
            value: as in :meth:`block`, or several values: ``"203.0.113.0/24 + joe"``.

        Returns:
            Whether anything was removed. A network is removed by its own prefix, not by one of its addresses.

        Raises:
            ValueError: as in :meth:`block`.
        """

    def blocked(self) -> list[Blocked]:
        """Returns the blocks that hold now: first those of operators, then those of limits."""

    def allowed(self) -> list[Blocked]:
        """Returns the allow entries that hold now."""

    def reset(self, identity: str, value: BlockValue) -> int:
        """Clears the counters of a value in every limit whose ``per`` is exactly ``identity``, proven and claimed.

        Use it when a sender has mended its ways and shall not wait. Known elements, sketches, open permits and blocks
        stay; :meth:`unblock` removes a block.

        Args:
            identity: as in :meth:`block`, or ``"global"``.
            value: as in :meth:`block`.

        Returns:
            The number of limits whose counter was cleared.

        Raises:
            ValueError: an unknown identity, or a text that is no value of it.
        """

    @property
    def memory_bytes(self) -> int:
        """The bytes of all counters; exact and constant. The suffix list and :attr:`quota_bytes` are not included."""

    @property
    def sample_bytes(self) -> int:
        """The bytes of the sample, outside :attr:`memory_bytes`: constant, and 0 without ``sample``."""

    @property
    def quota_bytes(self) -> int:
        """The bytes of the index of values that have quotas. Only :meth:`reload` changes it."""

    @property
    def policy(self) -> Policy:
        """The policy of the last :meth:`reload`."""

    mode: Mode
    """``"enforce"`` or ``"shadow"``. In shadow mode every limit decides and counts, and nothing is refused:
    ``decision.shadow`` names the limits that would have refused.

    It can be set at any time, and stays over a :meth:`reload`.
    """

    def reload(self, policy: str | PathLike[str] | Policy) -> None:
        """Replaces the policy while checks go on. The earlier policy decides until the new one is ready.

        Unchanged limits keep their counts and their memory. So do limits of which only ``mode``, ``verified``,
        ``action`` or ``reply`` changed. Known elements stay known while a limit has the same ``per``, ``distinct``,
        ``remember`` and ``memory``. A limit whose numbers changed starts empty with its quotas, so a key gets at most
        one burst more; a quota whose own numbers changed starts empty without its limit. New limits share the memory
        that others have left. Where that is in use until the end, checks wait until it is cleared: some milliseconds
        at 256 MiB. Permits stay open. Their tables exist from the start, so an in-flight limit can get other numbers,
        be removed and be put back.

        Args:
            policy: the name of a built-in policy, a path, or a :class:`Policy`, as in :class:`Throttle`.

        Raises:
            TypeError: ``policy`` is ``None`` or has another wrong type.
            PolicyError: the policy is wrong, or needs memory or in-flight counts that only a restart can give. The
                earlier policy stays.
            ThrottleError: another reload came in between and holds.
            OSError: a policy file cannot be read.
        """

@final
class PolicyServer:
    """Answers clients of Postfix's policy delegation (SMTPD_POLICY_README) for :mod:`throttle.serve`.

    A guard whose clock is a Python callable lets the loop wait for Python's lock; other guards do not.

    Args:
        guards: the guard for each ``policy_context``; that of ``""`` answers for all other contexts.
        most_smtp_connections: how many SMTP connections are kept for each guard. The longest idle one is dropped first.
        most_connections: how many policy clients may be connected at once. More are accepted when others leave.
    """

    def __new__(cls, guards: dict[str, Throttle], most_smtp_connections: int, most_connections: int) -> Self: ...
    def run(self, listeners: list[int], wake: int, turn_seconds: float) -> int:
        """Answers without Python's lock until :meth:`stop`. A server runs once.

        Returns how many clients had not read their answers when it ended.

        Args:
            listeners: descriptors of listening stream sockets, TCP or Unix. They and ``wake`` belong to the server from
                then on, and are closed at the end.
            wake: the descriptor of a connected socket that does not block. It gets a byte when :meth:`take_events` has
                something new.
            turn_seconds: how often, at least, :attr:`turns` grows.

        Raises:
            OSError: the system cannot wait for these descriptors.
            ThrottleError: the server has run already.
        """

    def stop(self) -> None:
        """Lets :meth:`run` return, once the answers that are made are sent; it waits 2 s for that."""

    def take_events(self) -> list[tuple[str, str, int]]:
        """Returns what is to be logged since the last call, the oldest first.

        Each is the name of an event, a message, and how many times it came in a row. At most 101 are kept.
        """

    @property
    def turns(self) -> int:
        """How many times the loop has turned: it hangs when this does not grow."""

    @property
    def requests(self) -> int:
        """How many requests were answered."""

    @property
    def errors(self) -> int:
        """How many connections were closed without an answer, because of a bad request or a fault."""

    @property
    def connections(self) -> int:
        """How many policy clients are connected."""

    @property
    def smtp_connections(self) -> int:
        """How many SMTP connections are kept."""

    @property
    def dropped(self) -> int:
        """How many SMTP connections were dropped because there was no room."""

    @property
    def unknown_contexts(self) -> int:
        """How many requests the guard of ``""`` answered because their ``policy_context`` is that of no guard."""

@final
class MetricsExporter:
    """Renders the metrics of several guards as one text.

    Args:
        guards: the guards by the value of their label ``policy``; a single guard named ``""`` has no such label.
        slots: as in :meth:`Throttle.collector`.
        identities: as in :meth:`Throttle.collector`.
        names_per_hour: as in :meth:`Throttle.collector`.
    """

    def __new__(
        cls, guards: dict[str, Throttle], *, slots: int = 16, identities: int = 8, names_per_hour: int = 30
    ) -> Self: ...
    def render(
        self,
        openmetrics: bool = False,
        *,
        extra: Sequence[tuple[str, str, str, Sequence[tuple[dict[str, str], float]]]] = (),
    ) -> bytes:
        """Returns the text, as :meth:`Throttle.render`.

        Args:
            openmetrics: OpenMetrics 1.0; otherwise Prometheus text 0.0.4.
            extra: families of the caller: name (of a counter without ``_total``), type, help, and samples with their
                labels.
        """

@final
class Blocked:
    """A block or an allow entry, of an operator or of a limit.

    A block by a limit stores no text. Its value is known when :meth:`Throttle.top` has a name for it; otherwise, and
    for every key of several identities, it is ``None``.

    Args:
        identity: the identity, such as ``"client.net"``; for a block by a limit all its identities.
        value: the value in normal form.
        until: Unix seconds; infinite when it is for good.
        by: ``"operator"`` for an entry made at run time, ``"policy"`` for one of the policy, or the name of the limit.
        action: ``"block"`` or ``"allow"``.
        unverified: whether an allow entry also holds for a merely claimed sender.
        comment: the remark of an entry of the policy.
    """

    def __new__(
        cls,
        identity: str,
        value: str | None,
        until: float,
        by: str,
        action: Literal["block", "allow"],
        unverified: bool,
        comment: str | None = None,
    ) -> Self: ...
    @property
    def identity(self) -> str:
        """The identity, such as ``"client.net"``; for a block by a limit all its identities."""

    @property
    def value(self) -> str | None:
        """The value in normal form; ``None`` when it is not known."""

    @property
    def until(self) -> float:
        """Unix seconds; infinite when it is for good."""

    @property
    def by(self) -> str:
        """``"operator"``, ``"policy"``, or the name of the limit."""

    @property
    def action(self) -> Literal["block", "allow"]:
        """``"block"`` or ``"allow"``."""

    @property
    def unverified(self) -> bool:
        """Whether an allow entry also holds for a merely claimed sender."""

    @property
    def comment(self) -> str | None:
        """The remark of an entry of the policy."""

    def __eq__(self, other: object, /) -> bool: ...
    def __ne__(self, other: object, /) -> bool: ...
    def __getnewargs__(self) -> tuple[str, str | None, float, str, Literal["block", "allow"], bool, str | None]: ...

@final
class Offender:
    """A value that came near a limit or was refused, with its checks of the last 60 to 75 seconds.

    A check counts once for each of its values; a server that checks stage by stage counts once a stage. Proven and
    claimed mail count together.

    Args:
        value: the value in normal form; of a value longer than 119 octets the end, after ``…``.
        admitted: the checks that were admitted.
        refused: the checks that were refused, by any limit.
        fan_out: an estimate (standard error 10 %) of the different elements of the first fan-out limit per this
            identity since ``first_seen``; ``None`` when no fan-out is per this identity alone.
        first_seen: Unix seconds at which it got its name.
    """

    def __new__(cls, value: str, admitted: int, refused: int, fan_out: float | None, first_seen: float) -> Self: ...
    @property
    def value(self) -> str:
        """The value in normal form; of a value longer than 119 octets the end, after ``…``."""

    @property
    def admitted(self) -> int:
        """The checks that were admitted."""

    @property
    def refused(self) -> int:
        """The checks that were refused, by any limit."""

    @property
    def fan_out(self) -> float | None:
        """An estimate of the different elements that it brought, or ``None``."""

    @property
    def first_seen(self) -> float:
        """Unix seconds at which it got its name."""

    def __eq__(self, other: object, /) -> bool: ...
    def __getnewargs__(self) -> tuple[str, int, int, float | None, float]: ...

@final
class RateLimiter:
    """A rate limit for any key, in one table of fixed size.

    Args:
        rate: an amount in a time, such as ``"100/minute"`` or ``"20/10 minutes"``.
        memory: bytes, or text such as ``"1 MiB"``. Default: 1 MiB.
        algorithm: ``"gcra"`` admits ``burst`` at once, then the rate. ``"sliding-window"`` never admits more than the
            amount in any window as long as the period.
        burst: how much fits at once, for ``"gcra"`` only. Default: the amount of the rate.
        when_full: what happens to a new key when its place in the table is full. ``"admit"``: it passes uncounted.
            ``"refuse"``: it waits for a slot. ``"sketch"``: a part of the memory is a Count-Min sketch that counts keys
            without a slot and never counts too low. So no key ever gets more than the limit, but in a flood of keys one
            without a slot may be refused early. It needs 12 KiB.
        clock: a callable that returns Unix seconds.
        seed: 16 secret bytes for the hash. Default: random bytes.

    Raises:
        ValueError: an argument is wrong. The message says what was found and what is allowed.
        TypeError: an argument has a wrong type.

    Example:
        >>> limiter = RateLimiter("1/minute")
        >>> bool(limiter.hit("alice")), bool(limiter.hit("alice"))
        (True, False)
    """

    def __new__(
        cls,
        rate: str,
        *,
        memory: Size | None = None,
        algorithm: Algorithm = "gcra",
        burst: int | None = None,
        when_full: WhenFull = "admit",
        clock: Callable[[], float] | None = None,
        seed: bytes | None = None,
    ) -> Self: ...
    def hit(self, key: Text, cost: int = 1, *, now: float | None = None) -> HitResult:
        """Charges ``cost`` to ``key`` if it fits. A ``str`` and its UTF-8 ``bytes`` are the same key.

        Args:
            key: the key.
            cost: how much, at least 0.
            now: Unix seconds, instead of the clock.

        Raises:
            ValueError: a cost below zero, or a time that is not finite or beyond 1e11 seconds.
            TypeError: an argument has a wrong type.
        """

    def peek(self, key: Text, cost: int = 1, *, now: float | None = None) -> HitResult:
        """Returns what :meth:`hit` would return, and charges nothing."""

    @property
    def memory_bytes(self) -> int:
        """The bytes of the table; exact and constant."""

    @property
    def untracked(self) -> int:
        """Charges that found no room, since start. Charges in the sketch are counted, so they are not included."""

    @property
    def load(self) -> float:
        """The part of all slots that is in use, from 0 to 1, without the cells of a sketch."""

@final
class CountMin:
    """Estimates how often each key was added, in ``width`` × ``depth`` cells of 8 bytes. Estimates are never too low.

    Conservative update: of a key's cells, one a row, only those grow that would count too low. An estimate is too high
    by more than ``error_bound`` for at most a part e^(−depth) of the keys, and for far fewer where counts are skewed.
    It may be used from several threads.

    Args:
        width: the cells in a row.
        depth: the number of rows.
        seed: 16 secret bytes for the hash. Default: random bytes. Only sketches with equal seeds can be merged.

    Raises:
        ValueError: an argument is wrong. The message says what was found and what is allowed.
        MemoryError: the machine has too little memory for the cells.

    Source: Cormode and Muthukrishnan 2005; Estan and Varghese 2002.
    """

    def __new__(cls, width: int, depth: int, *, seed: bytes | None = None) -> Self: ...
    @classmethod
    def for_error(cls, epsilon: float, delta: float, *, seed: bytes | None = None) -> Self:
        """Makes the smallest sketch whose estimates are at most ``epsilon`` · ``total`` too high.

        A part ``delta`` of the keys may exceed that. The width is ⌈e / epsilon⌉, the depth ⌈ln(1 / delta)⌉. Both
        arguments lie between 0 and 1.
        """

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Restores a sketch from the bytes of :meth:`to_bytes`.

        Raises:
            ValueError: bytes of another version, of another kind of sketch, cut short or changed.
        """

    def add(self, key: Text, count: int = 1) -> None:
        """Adds ``count``, at least 0, to ``key``. A ``str`` and its UTF-8 ``bytes`` are the same key.

        Sums stop at 2⁶⁴ − 1.
        """

    def update(self, keys: Iterable[Text]) -> None:
        """Adds 1 to each of ``keys``, in order. It stops with a ``TypeError`` at the first key that is no text."""

    def estimate(self, key: Text) -> int:
        """Returns how often ``key`` was added. The result may be too high, and is never too low."""

    def merge(self, other: CountMin) -> None:
        """Adds the counts of ``other``, which does not change. Estimates are still never too low.

        Raises:
            ValueError: another width, depth or seed.
        """

    def copy(self) -> CountMin:
        """Returns an independent sketch with the same counts and seed."""

    def to_bytes(self) -> bytes:
        """Returns the sketch as bytes: 64 more than ``memory_bytes``. They contain the seed, so keep them secret."""

    @property
    def width(self) -> int:
        """The cells in a row."""

    @property
    def depth(self) -> int:
        """The number of rows."""

    @property
    def total(self) -> int:
        """The sum of all counts added."""

    @property
    def error_bound(self) -> float:
        """e · ``total`` / ``width``, in counts."""

    @property
    def memory_bytes(self) -> int:
        """The bytes of the cells; constant."""

    @property
    def seed(self) -> bytes:
        """The seed of the hash."""

    def __copy__(self) -> CountMin: ...
    def __deepcopy__(self, memo: Any, /) -> CountMin: ...
    def __reduce__(self) -> tuple[Callable[[bytes], CountMin], tuple[bytes]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]

@final
class HyperLogLog:
    """Estimates how many different keys were added, in 2^``precision`` registers of 6 bits.

    The relative standard error is 0.833 / √registers (0.65 % at 14) while all keys are added to one sketch (martingale
    estimator), and 1.04 / √registers (0.81 %) after a merge (Ertl's estimator on the registers). It is smaller below a
    few thousand keys. No real number of keys is too large. It may be used from several threads.

    Args:
        precision: log₂ of the number of registers, from 4 to 18. 14 takes 12 KiB, and each step doubles it.
        seed: 16 secret bytes for the hash. Default: random bytes. Only sketches with equal seeds can be merged.

    Raises:
        ValueError: an argument is wrong. The message says what was found and what is allowed.

    Source: Flajolet et al. 2007; Ertl 2017; Cohen 2015 and Ting 2014 (martingale).
    """

    def __new__(cls, precision: int = 14, *, seed: bytes | None = None) -> Self: ...
    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Restores a sketch from the bytes of :meth:`to_bytes`.

        Raises:
            ValueError: bytes of another version, of another kind of sketch, cut short or changed.
        """

    def add(self, key: Text) -> None:
        """Adds ``key``. Adding it again changes nothing. A ``str`` and its UTF-8 ``bytes`` are the same key."""

    def update(self, keys: Iterable[Text]) -> None:
        """Adds each of ``keys``, in order. It stops with a ``TypeError`` at the first key that is no text."""

    def estimate(self) -> float:
        """Returns an estimate of how many different keys were added."""

    def merge(self, other: HyperLogLog) -> None:
        """Adds all keys of ``other``, which does not change.

        The registers become those of one sketch to which both sets of keys were added.

        Raises:
            ValueError: another precision or seed.
        """

    def copy(self) -> HyperLogLog:
        """Returns an independent sketch with the same keys and seed."""

    def to_bytes(self) -> bytes:
        """Returns the sketch as bytes. They contain the seed, so keep them secret."""

    @property
    def precision(self) -> int:
        """log₂ of the number of registers."""

    @property
    def relative_error(self) -> float:
        """The relative standard error of :meth:`estimate`, where there are many more keys than registers."""

    @property
    def memory_bytes(self) -> int:
        """The bytes of the registers and of the martingale estimator; constant."""

    @property
    def seed(self) -> bytes:
        """The seed of the hash."""

    def __copy__(self) -> HyperLogLog: ...
    def __deepcopy__(self, memo: Any, /) -> HyperLogLog: ...
    def __reduce__(self) -> tuple[Callable[[bytes], HyperLogLog], tuple[bytes]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    __hash__: ClassVar[None]  # type: ignore[assignment]
