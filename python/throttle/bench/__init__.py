"""`throttle bench`: what a call costs on this machine, beside what the peers' calls cost here.

`peers` are other limiters, each as one call; `traffic` is who sends; `side_by_side` times in turn; `plan` says what
is timed; `machine` where.
The benchmarks of the source tree use the same parts. It knows no command line.
"""
