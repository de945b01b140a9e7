"""`throttle serve`: a process that a mail server asks about each step of its SMTP dialogue.

`postfix` speaks Postfix's policy delegation, on asyncio alone.
This package decides nothing: a `Throttle` does.
Invariant: no fault of ours bounces mail. On trouble the connection is closed without an answer.
"""
