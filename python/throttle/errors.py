"""Exceptions: an operator's mistakes. What a sender writes never raises."""


class ThrottleError(Exception):
    """Anything that this library raises of its own."""


class PolicyError(ThrottleError, ValueError):
    """A policy that cannot be obeyed.

    Attributes:
        file: the policy's file, or ``<policy>`` when it came as text or from Python; empty when an argument such as
        ``memory`` is wrong.
        line: counted from one; ``None`` when the policy came from Python.
        column: counted from one, of text that is not TOML.
        limit: name of the limit; ``None`` outside limits.
        field: the field; ``None`` when it is not about one.
        found: what stands there.
        allowed: what may stand there.
        suggestion: the nearest allowed name, when ``found`` looks like a misspelling.
    """

    def __init__(
        self,
        message: str,
        *,
        file: str = "<policy>",
        line: int | None = None,
        column: int | None = None,
        limit: str | None = None,
        field: str | None = None,
        found: str = "",
        allowed: str = "",
        suggestion: str | None = None,
    ) -> None:
        super().__init__(message)
        self.file = file
        self.line = line
        self.column = column
        self.limit = limit
        self.field = field
        self.found = found
        self.allowed = allowed
        self.suggestion = suggestion

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), self.args, self.__dict__
