"""What an operator asks a running service, and changes in it: `throttle top`, `throttle ctl` and `throttle diagnose`.

`request`: the fields of a request. `verbs`: what each verb does to guards. `answers`: the types of the results.
`client`: asks over the control socket of `throttle serve --control`, which `throttle.serve.control` serves.

A request is one line of JSON, `{"verb": "block", "identity": "sender.org", "value": "salesforce.com"}`, and so is its
answer: `{"ok": true, "result": …}`, or `{"ok": false, "error": "…"}`.
"""

from __future__ import annotations

PATH = "/run/throttle/control/socket"
"""Where the commands look for the socket. The units that `--print-unit` prints can have their directory there."""

MOST_OFFENDERS = 100
"""The most offenders of one identity in an answer."""

MOST_REQUEST_BYTES = 64 << 10
"""The longest request, in bytes with its line end."""

MOST_ANSWER_BYTES = 1 << 20
"""The longest answer, in bytes with its line end."""
