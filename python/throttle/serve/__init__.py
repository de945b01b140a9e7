"""`throttle serve`: a process that a mail server asks about each step of its SMTP dialogue.

`postfix` answers policy requests, and `milter` answers milter callbacks.
This package decides nothing: a `Throttle` does.
Invariant: no fault of ours bounces mail.
"""
