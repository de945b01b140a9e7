"""The outage of the incident, replayed on real SMTP servers: `throttle demo`.

This package knows `throttle` by its public names only, as any mail server would.
Invariant: importing it imports nothing else, because the servers that are measured do.
"""
