"""Estimates in fixed memory, for use on their own: how often each key was seen, and how many different ones.

The same code as inside the limits. It knows no mail and no time: a window is a sketch that the caller replaces.
Invariant: this file is a list of names; both classes live in the compiled module.

    from throttle.sketch import CountMin, HyperLogLog

    messages = CountMin.for_error(epsilon=0.001, delta=0.01)
    messages.add("joe@org.com", 3)
    messages.estimate("joe@org.com")            # 3 or more

    senders = HyperLogLog()
    senders.add("joe@org.com")
    senders.estimate()                          # about 1.0
"""

from throttle._core import CountMin, HyperLogLog

__all__ = ["CountMin", "HyperLogLog"]
