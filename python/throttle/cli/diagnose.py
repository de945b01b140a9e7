"""`throttle diagnose`: which identity ties the present surge together, and which command would act on it.

It asks the control socket; `throttle.diagnosis` makes the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from throttle.cli import client
from throttle.diagnosis import text
from throttle.printable import printable

if TYPE_CHECKING:
    from throttle.control import answers

HELP = (
    "Tell what the messages of the last minutes have in common that those of the hour before did not: one sentence, "
    "the shares behind it, and the command that would act on it. A running `throttle serve --control PATH` has sampled "
    "them. Exit codes: 0 told; 2 no service, or no right to ask it."
)
EXAMPLE = "Example: throttle diagnose"


def command(
    *, control: client.ControlPath = client.DEFAULT, policy: client.PolicyName = None, as_json: client.Json = False
) -> None:
    """Diagnoses a surge."""
    answer: list[answers.ToldDiagnosis] = client.ask(control, "diagnose", as_json=as_json, policy=policy)
    for one in answer:
        if len(answer) > 1:
            typer.echo(printable(f"policy {one['policy']}:" if one["policy"] else "the policy without a name:"))
        options = [] if control == client.DEFAULT else ["--control", control]
        options += ["--policy", one["policy"]] if len(answer) > 1 or policy is not None else []
        typer.echo(text(one, options))  # `text` has escaped what a sender wrote
