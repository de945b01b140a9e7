"""Ordinary mail as one server sees it: nearly sixty kinds of sender, each in the shape that public headers show.

`kinds` says how a kind is written down; `providers`, `bulk`, `services`, `companies`, `relays` and `machines` hold
them; `mix` puts them together;
`trial` plays the mix to a guard, with the queues of the senders behind it.

A message has what a server knows at its end: the envelope, From, Reply-To, List-Id, the domains of verified signatures,
the size. `ordinary_mail(…, verdicts=Verdicts(spf=False))` is the same mail at a server that checks no SPF.

What is a fact (which hosts, which networks, how a return path is made) is stated as a fact;
a share of the whole is an assumption, to the order of
magnitude, and stands in one number beside the kind. No number here was chosen by what a policy makes of it.

It knows no limit. Invariant: one seed, one traffic.
"""
