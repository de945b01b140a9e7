"""A log of transactions, played through a policy with the log's own times.

`reading` opens files, and `lines` and `framing` take them apart. `postfix`, `exim` and `transactions` make transactions
of what is found, with `mail_log` for the lines of a server and `times` for dates. `run` asks a guard about each
transaction. `counting`, `limits`, `peaks`, `refusals` and `learning` keep what the report needs, and `suggest`,
`report` and `tables` make it.
This package knows no SMTP server and no clock: the command in `throttle.cli` says what time it is.
"""
