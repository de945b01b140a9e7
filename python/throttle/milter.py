"""A milter: the mail server asks over the milter protocol at each step of SMTP, and `throttle` answers.

It needs pymilter (``pip install 'mailthrottle[milter]'``), which speaks the protocol through Sendmail's libmilter.
:class:`ThrottleMilter` is one SMTP connection, for those who run pymilter themselves. :func:`run` serves an address.

Callbacks run in libmilter's threads: each connection has one, so an instance is never called twice at once.

Invariants: a step that fails on our side never bounces mail, what a client sends never raises, and a connection that
has ended holds nothing.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import Milter
import milter

from throttle import Envelope, RateLimiter
from throttle.auth import with_results

if TYPE_CHECKING:
    from collections.abc import Callable

    from throttle import Decision, Session, Throttle

OnFault = Literal["accept", "tempfail"]

#: The most bytes of a message's header that are kept; :meth:`throttle.Envelope.from_message` reads no longer header.
HEADER_BYTES = 1 << 20
#: How long :func:`run` waits for its address to take connections.
START_SECONDS = 10.0

logger = logging.getLogger("throttle.milter")
_messages = RateLimiter("6/minute", memory="64 KiB")
logger.addFilter(lambda record: bool(_messages.hit(record.getMessage())))  # a client repeats a fault at will


class ThrottleMilter(Milter.Base):  # type: ignore[misc]
    """One connection of a client to the mail server, as the server reports it.

    pymilter calls ``Milter.factory`` for each connection: ``Milter.factory = partial(ThrottleMilter, guard)``.

    Args:
        guard: decides. Its policy may be reloaded meanwhile.
        authserv_id: the name of your server in ``Authentication-Results`` headers. Its verdicts on SPF and DKIM are
            used at the end of the header. Your server must remove such headers from what it receives; see
            :mod:`throttle.auth`. Default: no header is believed.
        fields: how many such headers your server adds to each message.
        on_fault: the answer when a step fails on our side. ``"accept"`` lets the message pass, or at connect and HELO
            the connection. ``"tempfail"`` answers ``451 4.3.0``. Default: ``"accept"``, because a fault of a rate limit
            must not stop all mail, and because mail passes in the same way while the milter is down
            (``default_action=accept``).
    """

    def __init__(
        self,
        guard: Throttle,
        *,
        authserv_id: str | None = None,
        fields: int = 1,
        on_fault: OnFault = "accept",
    ) -> None:
        if on_fault not in ("accept", "tempfail"):
            raise ValueError(f"on_fault: found {on_fault!r}; allowed: 'accept', 'tempfail'")
        if authserv_id is not None:
            with_results(Envelope(), b"", authserv_id=authserv_id, fields=fields)  # raises for a wrong name
        self._guard = guard
        self._authserv_id = authserv_id
        self._fields = fields
        self._on_fault = on_fault
        self._session: Session | None = None
        self._header = bytearray()
        self._size = 0

    @classmethod
    def protocol_mask(cls) -> int:
        """Asks for the recipients that the server itself refuses, besides what pymilter asks for."""
        return int(super().protocol_mask() & ~Milter.P_RCPT_REJ)

    def connect(self, hostname: str, family: int, address: Any) -> int:
        """The client connects. After XCLIENT the server ends this connection and opens another."""
        try:
            self._session = self._guard.session(
                client_ip=address[0] if family in (socket.AF_INET, socket.AF_INET6) else None,
                client_name=hostname if self._is_confirmed(hostname) else None,
            )
            return self._answer(self._session.connect())
        except Exception:
            logger.exception("fault at connect")
            return self._fault()

    def hello(self, name: str) -> int:
        """HELO or EHLO."""
        return self._step("HELO", lambda session: session.helo(name))

    def envfrom(self, address: str, *parameters: str) -> int:
        """MAIL."""
        self._forget_message()
        user = self._macro("{auth_authen}") or None
        size = _declared_size(parameters)
        return self._step("MAIL", lambda session: session.mail(address, size=size, auth_user=user))

    def envrcpt(self, address: str, *parameters: str) -> int:
        """RCPT; also of a recipient that the server refuses itself, whose answer is then not ours to give."""
        if self._macro("{rcpt_mailer}") != "error":
            return self._step("RCPT", lambda session: session.rcpt(address))
        if self._macro("{rcpt_host}") == "5.1.1" and self._session is not None:  # no such mailbox (RFC 3463 §3.2)
            try:
                self._session.report("unknown-recipient", address)
            except Exception:
                logger.exception("fault at a report")
        return int(Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def header(self, name: str, value: bytes) -> int:
        """One header field. The fields that begin within the first MiB are kept; all bytes are counted."""
        line = b"%s: %s\n" % (name.encode("utf-8", "surrogateescape"), value)
        self._size += len(line) + line.count(b"\n")  # CRLF on the wire
        if len(self._header) <= HEADER_BYTES:
            self._header += line
        return int(Milter.CONTINUE)

    def eoh(self) -> int:
        """The end of the header."""
        self._size += 2
        header = bytes(self._header)
        self._header.clear()

        def headers(session: Session) -> Decision:
            if self._authserv_id is None:
                return session.headers(header)
            results = with_results(Envelope(), header, authserv_id=self._authserv_id, fields=self._fields)
            return session.headers(header, spf=results.spf, dkim=results.dkim or None)

        return self._step("the end of the header", headers)

    @Milter.noreply  # type: ignore[untyped-decorator]
    def body(self, chunk: bytes) -> int:
        """A part of the body, which is only counted."""
        self._size += len(chunk)
        return int(Milter.CONTINUE)

    def eom(self) -> int:
        """The end of the message: the final dot."""
        return self._step("the end of the message", lambda session: session.data(size=self._size))

    def abort(self) -> int:
        """The message ends before its end: RSET, another HELO, or the client is lost."""
        self._forget_message()
        if self._session is not None:
            self._session.reset()
        return int(Milter.CONTINUE)

    def close(self) -> int:
        """The connection has ended."""
        self._forget_message()
        if self._session is not None:
            self._session.close()
            self._session = None
        return int(Milter.CONTINUE)

    header_bytes = header  # pymilter calls this one, which otherwise decodes the value first

    def _step(self, name: str, step: Callable[[Session], Decision]) -> int:
        try:
            if self._session is None:
                raise RuntimeError("the connection has no session")
            return self._answer(step(self._session))
        except Exception:
            logger.exception("fault at %s", name)
            return self._fault()

    def _answer(self, decision: Decision) -> int:
        if decision.code is None or decision.text is None:
            return int(Milter.CONTINUE)
        self.setreply(str(decision.code), decision.enhanced_code, decision.text.replace("%", "%%"))
        return int(Milter.REJECT if decision.code >= 500 else Milter.TEMPFAIL)

    def _fault(self) -> int:
        self.abort()  # libmilter reports no more of this message
        if self._on_fault == "accept":
            return int(Milter.ACCEPT)  # the message, or the connection; a next step might fail for want of this one
        self.setreply("451", "4.3.0", "local fault; try again later")
        return int(Milter.TEMPFAIL)

    def _is_confirmed(self, hostname: str) -> bool:
        """Whether the client's name leads back to its address.

        Both Postfix and Sendmail say so in macro ``_``: ``name [address]``, with ``(may be forged)`` behind a name that
        does not. Sendmail's ``{client_name}`` is not confirmed; Postfix's is the argument of connect.
        """
        validated = self._macro("_")
        return validated is not None and not validated.endswith("(may be forged)")

    def _macro(self, name: str) -> str | None:
        try:
            value: str | None = self.getsymval(name)
        except UnicodeDecodeError as error:
            return bytes(error.object).decode("utf-8", "surrogateescape")
        return value

    def _forget_message(self) -> None:
        self._header.clear()
        self._size = 0


def run(
    guard: Throttle,
    address: str,
    *,
    stop: threading.Event,
    authserv_id: str | None = None,
    fields: int = 1,
    on_fault: OnFault = "accept",
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serves the milter protocol at an address until ``stop`` is set. A process can do so once.

    libmilter runs in a thread of its own: in the main thread it would take SIGHUP, SIGTERM and SIGINT for itself.
    Connections that are open at the end are cut when the process ends.

    Args:
        address: ``inet:HOST:PORT`` or ``unix:PATH``. A socket file that nobody listens on is replaced. Anybody who can
            reach the file may connect.
        stop: ends it. It is also set when libmilter ends by itself.
        on_ready: called once, when the address takes connections.

    The other arguments are those of :class:`ThrottleMilter`.

    Raises:
        ValueError: an argument is wrong.
        OSError: the address cannot be listened on, or libmilter has ended; the system log says why.
    """
    listen, family, target = parse_address(address)
    connection = functools.partial(ThrottleMilter, guard, authserv_id=authserv_id, fields=fields, on_fault=on_fault)
    connection()  # raises for wrong arguments
    if _can_connect(family, target):
        raise OSError(f"{address}: another process listens there")
    Milter.factory = connection
    # pymilter itself raises for a HELO name that is not UTF-8, before it calls us. By default it then answers 451.
    milter.set_exception_policy(milter.CONTINUE)
    sys.excepthook = functools.partial(_undecoded, sys.excepthook)
    # Without this libmilter drops the connection at a header field of more than 64 KiB; Postfix sends up to 100 KiB.
    ctypes.CDLL(milter.__file__).smfi_setmaxdatasize(ctypes.c_size_t(HEADER_BYTES))

    failed: list[BaseException] = []

    def serve() -> None:
        try:
            Milter.runmilter("throttle", listen)
        except milter.error as error:
            failed.append(error)
        finally:
            stop.set()

    thread = threading.Thread(target=serve, name="libmilter", daemon=True)
    thread.start()
    deadline = time.monotonic() + START_SECONDS
    while not stop.is_set() and not _can_connect(family, target):
        if time.monotonic() > deadline:
            raise OSError(f"{address} takes no connections after {START_SECONDS:.0f} s")
        stop.wait(0.01)
    if not stop.is_set():
        if family == socket.AF_UNIX:
            Path(target).chmod(0o666)  # who may connect is said by its directory
        on_ready()
    stop.wait()
    threading.Thread(target=milter.stop, daemon=True).start()
    while thread.is_alive():
        _can_connect(family, target)  # a connection wakes libmilter, which otherwise looks up once in five seconds
        thread.join(0.05)
    if failed:
        raise OSError(f"libmilter cannot serve {address}: {failed[0]}; the system log says why")


def parse_address(address: str) -> tuple[str, socket.AddressFamily, Any]:
    """The address for libmilter, and for a socket."""
    kind, _, rest = address.partition(":")
    if kind == "unix" and rest:
        return address, socket.AF_UNIX, rest
    host, _, port = rest.rpartition(":")
    if kind != "inet" or not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise ValueError(f"address: found {address!r}; allowed: 'inet:HOST:PORT', 'unix:PATH'")
    if host.startswith("[") and host.endswith("]"):
        return f"inet6:{port}@{host}", socket.AF_INET6, (host[1:-1], int(port))
    return f"inet:{port}@{host}", socket.AF_INET, (host, int(port))


def _can_connect(family: socket.AddressFamily, target: Any) -> bool:
    with socket.socket(family) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(target)
        except OSError:
            return False
    return True


def _declared_size(parameters: tuple[str, ...]) -> int | None:
    """The octets that MAIL declares (RFC 1870 §6: at most twenty digits)."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.upper() == "SIZE" and value.isascii() and value.isdecimal() and len(value) <= 20:
            return int(value)
    return None


def _undecoded(otherwise: Callable[..., Any], kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Logs what pymilter could not decode, which has no traceback. Printed, it would be as often as clients like."""
    if kind is UnicodeDecodeError and trace is None:
        logger.warning("a HELO name that is not UTF-8 was not counted")
    else:
        otherwise(kind, error, trace)
