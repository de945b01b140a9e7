"""Rate limits for inbound mail, in memory fixed before start.

This file is the list of public names, and nothing else: every one of them lives in the compiled module
`throttle._core`.
It knows no algorithm and no mail.
Invariant: the import either gives all names of one build, or fails and says what to install.

Another distribution on the package index is called `throttle` and installs a package of that name.
Both in one environment overwrite each other's files, hence the care below.
"""

try:
    from throttle import _core
except ImportError as error:
    raise ImportError(
        f"throttle: the compiled module throttle._core cannot be loaded ({error}); "
        "it comes with the distribution mailthrottle, not with the one named throttle: "
        "pip uninstall throttle; pip install --force-reinstall mailthrottle",
        name="throttle._core",
        path=__file__,
    ) from error

try:
    from throttle._core import (
        Blocked,
        Decision,
        Envelope,
        HitResult,
        Limit,
        ManualClock,
        Offender,
        Permit,
        Policy,
        PolicyError,
        RateLimiter,
        Session,
        Throttle,
        ThrottleError,
        __version__,
    )
except ImportError as error:
    raise ImportError(
        f"throttle: {getattr(_core, '__file__', None) or 'throttle._core'} is of another build or another project "
        f"({error}): "
        "pip uninstall throttle; pip install --force-reinstall mailthrottle",
        name="throttle._core",
        path=getattr(_core, "__file__", None),
    ) from error

__all__ = [
    "Blocked",
    "Decision",
    "Envelope",
    "HitResult",
    "Limit",
    "ManualClock",
    "Offender",
    "Permit",
    "Policy",
    "PolicyError",
    "RateLimiter",
    "Session",
    "Throttle",
    "ThrottleError",
    "__version__",
]
