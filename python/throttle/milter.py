"""A milter: the mail server asks over the milter protocol at each step of SMTP, and `throttle` answers.

It needs pymilter (``pip install 'mailthrottle[milter]'``), which speaks the protocol through Sendmail's libmilter.
:class:`ThrottleMilter` is one SMTP connection, for those who run pymilter themselves. :func:`run` serves an address.

Callbacks run in libmilter's threads: each connection has one, so an instance is never called twice at once.

Invariants: a step that fails on our side never bounces mail, what a client sends never raises, and a connection that
has ended holds nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import Milter
import milter

from throttle import Envelope
from throttle.auth import with_results
from throttle.integration import FAULT_REPLY, FaultLog, check_function, check_guard, declared_size
from throttle.serve.address import AddressError, ListenAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from throttle import Decision, Session, Throttle

OnFault = Literal["accept", "tempfail"]

#: The most bytes of a message's header that are kept; :meth:`throttle.Envelope.from_message` reads no longer header.
HEADER_BYTES = 1 << 20
#: The longest text of a reply that libmilter takes. Its `%` are doubled, and a reply has less than 512 bytes before.
REPLY_CHARS = 980
#: How long :func:`run` waits for its address to take connections, and at its end for libmilter.
WAIT_SECONDS = 10.0

#: Packets of the milter protocol (mfdef.h of Sendmail): version 6, all actions and steps; and the end.
NEGOTIATE = struct.pack(">IcIII", 13, b"O", 6, 0x1FF, 0x1FFFFF)
QUIT = struct.pack(">Ic", 1, b"Q")

log_fault = FaultLog("throttle.milter")


class Counts:
    """Counts of a process's connections, for its metrics. The threads of the connections add to them.

    Attributes:
        steps: steps that were answered.
        faults: steps, replies and reports that failed on our side.
        connections: open SMTP connections.
    """

    def __init__(self) -> None:
        self.steps = self.faults = self.connections = 0
        self._lock = threading.Lock()

    def add(self, *, steps: int = 0, faults: int = 0, connections: int = 0) -> None:
        """Adds to the counts."""
        with self._lock:
            self.steps += steps
            self.faults += faults
            self.connections += connections


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
        on_error: is called with the name of a step and the exception when the step fails on our side, in any thread.
            Default: it is logged, by the logger ``throttle.milter``.
        counts: where connections, steps and faults are counted. Default: nowhere.
    """

    def __init__(
        self,
        guard: Throttle,
        *,
        authserv_id: str | None = None,
        fields: int = 1,
        on_fault: OnFault = "accept",
        on_error: Callable[[str, BaseException], None] = log_fault,
        counts: Counts | None = None,
    ) -> None:
        check_guard(guard)
        check_function("on_error", on_error)
        if on_fault not in ("accept", "tempfail"):
            raise ValueError(f"on_fault: found {on_fault!r}; allowed: 'accept', 'tempfail'")
        if authserv_id is not None:
            with_results(Envelope(), b"", authserv_id=authserv_id, fields=fields)  # raises for a wrong name
        self._guard = guard
        self._authserv_id = authserv_id
        self._fields = fields
        self._on_fault = on_fault
        self._on_error = on_error
        self._counts = counts or Counts()
        self._is_connected = False
        self._client_ip: str | None = None
        self._client_name: str | None = None
        self._session: Session | None = None
        self._header = bytearray()
        self._size = 0

    @classmethod
    def protocol_mask(cls) -> int:
        """Asks for the recipients that the server itself refuses, besides what pymilter asks for."""
        return int(super().protocol_mask() & ~Milter.P_RCPT_REJ)

    def connect(self, hostname: str, family: int, address: Any) -> int:
        """The client connects. After XCLIENT the server ends this connection and opens another."""
        self._is_connected = True
        self._counts.add(connections=1)
        self._client_ip = address[0] if family in (socket.AF_INET, socket.AF_INET6) else None
        self._client_name = hostname if self._name_is_confirmed() else None
        return self._step("connect", lambda session: session.connect())

    def hello(self, name: str) -> int:
        """HELO or EHLO."""
        return self._step("HELO", lambda session: session.helo(name))

    def envfrom(self, address: str, *parameters: str) -> int:
        """MAIL."""
        self._forget_message()
        user = self._macro("{auth_authen}") or None
        size = declared_size(parameters)
        return self._step("MAIL", lambda session: session.mail(address, size=size, auth_user=user))

    def envrcpt(self, address: str, *parameters: str) -> int:
        """RCPT; also of a recipient that the server refuses itself, whose answer is then not ours to give."""
        if self._macro("{rcpt_mailer}") != "error":
            return self._step("RCPT", lambda session: session.rcpt(address))
        if self._macro("{rcpt_host}") == "5.1.1" and self._session is not None:  # no such mailbox (RFC 3463 §3.2)
            try:
                self._session.report("unknown-recipient", address)
            except Exception as error:  # noqa: BLE001
                self._note("a report", error)
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
        if self._is_connected:
            self._is_connected = False
            self._counts.add(connections=-1)
        if self._session is not None:
            self._session.close()
            self._session = None
        return int(Milter.CONTINUE)

    header_bytes = header  # pymilter calls this one, which otherwise decodes the value first

    def _step(self, name: str, step: Callable[[Session], Decision]) -> int:
        try:
            if self._session is None:
                self._session = self._guard.session(client_ip=self._client_ip, client_name=self._client_name)
            answer = self._answer(step(self._session))
        except Exception as error:  # noqa: BLE001
            self._note(name, error)
            return self._fault()
        self._counts.add(steps=1)
        return answer

    def _answer(self, decision: Decision) -> int:
        if decision.code is None or decision.text is None:
            return int(Milter.CONTINUE)
        text = decision.text.replace("%", "%%")
        if len(text) > REPLY_CHARS:
            text = decision.text.replace("%", "?")
        try:
            self.setreply(str(decision.code), decision.enhanced_code, text)
        except Exception as error:  # noqa: BLE001  a refusal without its text is still one
            self._note("a reply", error)
            return int(Milter.TEMPFAIL)
        return int(Milter.REJECT if decision.code >= 500 else Milter.TEMPFAIL)

    def _note(self, step: str, error: BaseException) -> None:
        self._counts.add(faults=1)
        self._on_error(step, error)

    def _fault(self) -> int:
        self.abort()  # libmilter reports no more of this message
        if self._on_fault == "accept":
            # The message or the connection passes, since a later step may fail without this one.
            return int(Milter.ACCEPT)
        self.setreply(*FAULT_REPLY)
        return int(Milter.TEMPFAIL)

    def _name_is_confirmed(self) -> bool:
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
    on_error: Callable[[str, BaseException], None] = log_fault,
    counts: Counts | None = None,
    on_ready: Callable[[], None] = lambda: None,
    on_tick: Callable[[], None] = lambda: None,
    tick_seconds: float = 2.0,
) -> None:
    """Serves the milter protocol at an address until ``stop`` is set. A process can do so once.

    Connections that are open at the end are cut when the process ends.

    Args:
        address: ``inet:HOST:PORT`` or ``unix:PATH``. A socket file that nobody listens on is replaced. Anybody who can
            reach the file may connect.
        stop: ends it. It is also set when libmilter ends by itself.
        on_ready: called once, when the address takes connections.
        on_tick: called every ``tick_seconds`` from then on, in the caller's thread.

    The other arguments are those of :class:`ThrottleMilter`.

    Raises:
        ValueError: an argument is wrong.
        OSError: the address cannot be listened on, or libmilter has ended.
    """
    listen = ListenAddress.parse(address, fixed=True)
    connection = functools.partial(
        ThrottleMilter,
        guard,
        authserv_id=authserv_id,
        fields=fields,
        on_fault=on_fault,
        on_error=on_error,
        counts=counts,
    )
    connection()  # raises for wrong arguments
    if listen.is_answered():
        raise OSError(f"{address}: another process listens there")
    try:
        for listener in listen.listen():  # libmilter would say why not in the system log only
            listener.close()
    except AddressError as error:
        raise OSError(str(error)) from error
    listen.remove()
    libmilter = _Libmilter(listen, stop)
    with _settings_of_pymilter(connection, on_error):
        try:
            libmilter.start()
            if not stop.is_set():
                on_ready()
            while not stop.wait(tick_seconds):
                on_tick()
        finally:
            libmilter.end()
    if libmilter.error is not None:
        raise OSError(f"libmilter cannot serve {address}: {libmilter.error}; the system log says why")


def answers(address: str, seconds: float) -> bool:
    """Whether the milter at an address negotiates with a new client within that time.

    libmilter must accept the connection, start a thread, and call into Python: whichever of them hangs, the mail
    server gets no answer either. The client leaves before it says who connects, so no limit counts it.
    """
    listen = ListenAddress.parse(address, fixed=True)
    until = time.monotonic() + seconds
    with socket.socket(listen.family) as client:
        try:
            client.settimeout(seconds)
            client.connect(listen.path or (listen.host, listen.port))
            client.sendall(NEGOTIATE)
            client.settimeout(max(0.001, until - time.monotonic()))
            answered = client.recv(5)
            client.sendall(QUIT)
        except OSError:
            return False
    return answered[4:] == NEGOTIATE[4:5]


class _Libmilter:
    """libmilter in a thread of its own: in the main thread it would take SIGHUP, SIGTERM and SIGINT for itself."""

    def __init__(self, address: ListenAddress, stop: threading.Event) -> None:
        self.error: milter.error | None = None
        self._address = address
        self._stop = stop
        self._thread = threading.Thread(target=self._serve, name="libmilter", daemon=True)

    def start(self) -> None:
        """Returns when the address takes connections, or libmilter has ended."""
        self._thread.start()
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._stop.is_set() and not self._address.is_answered():
            if time.monotonic() > deadline:
                raise OSError(f"{self._address.text} takes no connections after {WAIT_SECONDS:.0f} s")
            self._stop.wait(0.01)
        # The thread in which libmilter waits for signals takes one that is pending when it begins. Once it sleeps, the
        # kernel prefers the main thread.
        while not self._stop.is_set() and not _others_sleep() and time.monotonic() < deadline:
            self._stop.wait(0.01)
        if self._address.path and not self._stop.is_set():
            Path(self._address.path).chmod(0o666)  # its directory decides who may connect

    def end(self) -> None:
        """Ends it, and returns when it has ended."""
        threading.Thread(target=milter.stop, daemon=True).start()
        deadline = time.monotonic() + WAIT_SECONDS
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._address.is_answered()  # a connection wakes libmilter, which otherwise looks up once in five seconds
            self._thread.join(0.05)

    def _serve(self) -> None:
        version = "6" if self._address.family == socket.AF_INET6 else ""
        inet = f"inet{version}:{self._address.port}@{self._address.host}"
        try:
            Milter.runmilter("throttle", self._address.text if self._address.path else inet)
        except milter.error as error:
            self.error = error
        finally:
            self._stop.set()


def _others_sleep() -> bool:
    """Whether all other threads of the process sleep (proc_pid_stat(5)), so that each has begun."""
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "S" and int(task.name) != threading.get_native_id():
                return False
    return True


@contextlib.contextmanager
def _settings_of_pymilter(
    connection: Callable[[], ThrottleMilter], on_error: Callable[[str, BaseException], None]
) -> Iterator[None]:
    """Makes the settings that pymilter and libmilter have for a whole process."""
    Milter.factory = connection
    # pymilter itself raises for a HELO name that is not UTF-8, before it calls us. By default it then answers 451.
    milter.set_exception_policy(milter.CONTINUE)
    # Without this libmilter drops the connection at a header field of more than 64 KiB; Postfix sends up to 100 KiB.
    ctypes.CDLL(milter.__file__).smfi_setmaxdatasize(ctypes.c_size_t(HEADER_BYTES))
    printed = sys.excepthook

    def undecoded(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        """Reports what pymilter could not decode, which has no traceback; otherwise it is printed each time."""
        if kind is UnicodeDecodeError and trace is None:
            on_error("a HELO name that is not UTF-8, which is not counted", error)
        else:
            printed(kind, error, trace)

    sys.excepthook = undecoded
    try:
        yield
    finally:
        sys.excepthook = printed
