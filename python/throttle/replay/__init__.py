"""A log of transactions, played through a policy with the log's own times.

`reading` opens files, `times`, `postfix` and `transactions` make transactions of their lines, `run` asks a guard
about each,
`counting`, `limits`, `refusals` and `learning` keep what is told in the end, `suggest`, `report` and `tables` tell it.
It knows no SMTP server and no clock: the command in `throttle.cli` says what time it is.
"""
