"""What to do about a surge, and the text of it: a sentence about each finding, a table, and the command or limit that
would act on it.

`guard.diagnose()` returns numbers and names. `described` adds what only the guard's side knows: which limits hold a
flood, and a command. Its result is plain data, so that a client can make the text in another process:

    described(guard.diagnose(), guard.notices(), guard.policy)   →  JSON   →  text(…)

Invariant: every text of a sender in `text` is printable, and a command quotes it for a shell or for TOML.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, TypedDict

from throttle import Policy, PolicyError
from throttle.notices import counted, sentence, time_of_day
from throttle.printable import printable, quoted
from throttle.tags import TAGS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from throttle.types import Diagnosis, DiagnosisRow, Finding, Notice, Notices, Target

#: How long the suggested block lasts.
BLOCK_FOR = "1 hour"

#: A block is suggested for a value with at most this share of ordinary mail; else a limit.
MOST_BLOCKED = 0.01

#: A value with a larger share of ordinary mail ties no flood together.
MOST_ORDINARY = 0.1

#: A flood with a smaller proven share counts as claimed: its names may be forged.
CLAIMED_BELOW = 0.5

#: Identities whose value any sender can write, or can send again with its signature.
WRITTEN = ("helo.", "from.", "reply_to.", "list.", "dkim.")

#: The most other shared values that the text names.
MOST_ALSO = 4

#: A flood with a smaller refused share is not held, and nothing is wrong when no more of all messages is refused.
LEAST_HELD = 0.05

#: How many refusals are named, the largest first, when there is no surge but much is refused.
MOST_REFUSING = 3

#: A limit that counts another value of the flood is named if it refuses at least this part.
LEAST_HOLDING = 0.5

#: Longer values are cut in the table.
VALUE_WIDTH = 44

#: Rows with less of the recent messages are left out of the table.
LEAST_SHOWN = 0.01

#: The line of a limit for senders that nobody has proven.
CLAIMED = 'verified = "claimed"\n'

#: Identities that many owners share, so harmless mail has them too.
SHARED = ("client.net/16/32", "client.org")

CAUTION = "Anybody can send this value: block it only if its owner is no sender of yours."

_SHARES = (
    "Shares are of the messages that reached the stage at which the value becomes known: a flood that is refused at "
    "MAIL\nshows no Reply-To."
)


class Holding(TypedDict):
    """A limit that refuses a flood."""

    limit: str
    share: float
    key: str | None
    is_shadow: bool
    is_own: bool
    """Whether the key has the value of the finding, and not one that its messages also share."""
    since: float | None
    counted: str | None


class Action(TypedDict):
    """What an operator can do about a finding, and to which value: that of the finding, or one that it also shares."""

    identity: str
    value: str
    command: str | None
    toml: str | None
    why_none: str | None
    would_refuse: int
    of: int


class DescribedFinding(TypedDict):
    """A finding, what holds it and what to do."""

    finding: Finding
    held_by: list[Holding]
    action: Action


class Described(TypedDict):
    """A diagnosis with all that its text needs: plain data."""

    diagnosis: Diagnosis
    findings: list[DescribedFinding]
    refusing: list[str]
    """What is refused most now, as sentences."""


def report(diagnosis: Diagnosis, notices: Notices, policy: Policy) -> str:
    """Returns a diagnosis as text for an operator."""
    return text(described(diagnosis, notices, policy))


def described(diagnosis: Diagnosis, notices: Notices, policy: Policy) -> Described:
    """Adds to each finding which limits hold it, and the command that would act on it."""
    findings: list[DescribedFinding] = []
    for finding in diagnosis["findings"]:
        held_by: list[Holding] = []
        for limit, share in finding["limits"].items():
            notice = _notice_of(limit, finding, notices)
            held_by.append(
                {
                    "limit": limit,
                    "share": share,
                    "key": notice.key if notice else None,
                    "is_shadow": notice is not None and notice.mode == "shadow",
                    "is_own": notice is not None and finding["value"] in dict(notice.parts).values(),
                    "since": notice.since if notice else None,
                    "counted": counted(notice, policy) if notice else None,
                }
            )
        findings.append({"finding": finding, "held_by": held_by, "action": _action(finding, diagnosis)})
    since = diagnosis["at"] - diagnosis["recent_seconds"]
    refusing = sorted((one for one in notices.refusing if one.until >= since), key=lambda one: -one.refused)
    told = [sentence(one, policy) for one in refusing[:MOST_REFUSING]]
    return {"diagnosis": diagnosis, "findings": findings, "refusing": told}


def _notice_of(limit: str, finding: Finding, notices: Notices) -> Notice | None:
    """The notice of a limit about the value of a finding, or else about a value that it also shares."""
    for target in (finding, *finding["also"]):
        for notice in notices.refusing:
            # The limit may count another view of the value: the registered name, or a Reply-To that is not aligned.
            if notice.limit == limit and target["value"] in dict(notice.parts).values():
                return notice
    return None


def _action(finding: Finding, diagnosis: Diagnosis) -> Action:
    """Returns the action for a finding: on its value, or else on another value that nearly all of its messages have."""
    if finding["mass_mail"]:
        return _no_action(finding, "it is let through, as a newsletter is")
    others = [target for target in finding["also"] if target["ordinary_share"] <= MOST_ORDINARY]
    actions = [_action_on(target, finding, diagnosis) for target in (finding, *others)]
    # A block of another value may cost no more ordinary mail than one of the value that was found.
    most = finding["ordinary_matching"]
    blocks = (action for action in actions if action["command"] is not None and action["would_refuse"] <= most)
    by_block = next(blocks, None)
    by_limit = next((action for action in actions if action["toml"] is not None), None)
    return by_block or by_limit or actions[0]


def _no_action(target: Target, why: str) -> Action:
    return _told_action(target, why_none=why)


def _told_action(
    target: Target,
    *,
    command: str | None = None,
    toml: str | None = None,
    why_none: str | None = None,
    would_refuse: int = 0,
    of: int = 0,
) -> Action:
    return {
        "identity": target["identity"],
        "value": target["value"],
        "command": command,
        "toml": toml,
        "why_none": why_none,
        "would_refuse": would_refuse,
        "of": of,
    }


def _action_on(target: Target, finding: Finding, diagnosis: Diagnosis) -> Action:
    matching, sampled = target["ordinary_matching"], diagnosis["ordinary_sampled"]
    identity, value = target["identity"], target["value"]
    if not target["whole_value"]:
        return _no_action(target, "the value is longer than the sample keeps: look for it in the log")
    if printable(value) != value:
        return _no_action(target, "the value has characters that cannot be typed: block it from Python")
    if value in TAGS:
        return _no_action(target, f"{value} stands for {TAGS[value]}")
    if not target["exact_value"]:
        return _no_action(target, "who types the value gets another one: look for it in the log")
    # A block also refuses the owner's proven mail. So a name that the flood only claims gets a limit on claimed mail:
    # nobody gets a name blocked by forging it. The owner may send mail even if the sample has none of it.
    is_claimed, is_written = finding["proven_share"] < CLAIMED_BELOW, identity.startswith(WRITTEN)
    is_victim = identity.startswith("rcpt.")
    if is_victim and not is_claimed:
        return _no_action(target, "proven senders flood it, and a limit would refuse everybody's mail to it")
    has_many_owners = is_written or identity.startswith(SHARED)
    if has_many_owners and not is_claimed and target["proven_matching"] > 0:
        return _no_action(target, "other proven mail has it, too, and a limit would refuse that mail")
    spares_proven = is_victim or (is_claimed and (is_written or identity.startswith(("sender.", *SHARED))))
    # So may a smaller network or a client have other users, whose proven mail the sample shows: a limit holds less.
    has_other_users = identity.startswith("client.") and target["proven_matching"] > 0
    may_block = target["can_block"] and not (spares_proven or has_other_users)
    if may_block and matching <= MOST_BLOCKED * sampled:
        # An argument that begins with a hyphen would be an option.
        shown = f"-- {shlex.quote(value)}" if value.startswith("-") else shlex.quote(value)
        command = f"throttle ctl block --for {shlex.quote(BLOCK_FOR)} {identity} {shown}"
        return _told_action(target, command=command, would_refuse=matching, of=sampled)
    # Twice what its busiest ordinary minute brought: any sixty seconds lie in two minutes.
    rate = max(2 * target["busiest_ordinary_minute"], 2)
    if rate * diagnosis["recent_seconds"] >= 60 * finding["surge_messages"]:
        return _no_action(target, f"a limit of {rate:,} a minute, twice its busiest one before, would not hold it")
    others = max(100 * diagnosis["ordinary_messages"], 100_000)
    toml = (
        "[[limit]]\n"
        f'name = "surge-{identity.replace(".", "-").replace("/", "-").replace("_", "-")}"\n'
        f'per  = "{identity}"\n'
        f"{CLAIMED if spares_proven else ''}"
        f'rate = "{others}/minute"  # of any other value: more than this server takes\n'
        f'quota.{json.dumps(value, ensure_ascii=False)} = {{ rate = "{rate}/minute" }}\n'
    )
    try:
        Policy.parse(toml)
    except PolicyError as error:
        return _no_action(target, f"no block and no quota can name this value: {error}")
    return _told_action(target, toml=toml, of=sampled)


def text(described: Described, options: Sequence[str] = ()) -> str:
    """Returns what `described` has returned, here or in another process, as text for an operator.

    `options` are those with which the operator asked: the commands in the text have them, too.
    """
    diagnosis = described["diagnosis"]
    lines = _sentences(described)
    rows = [row for row in diagnosis["rows"] if row["recent_share"] >= LEAST_SHOWN]
    if rows and diagnosis["state"] not in {"early", "quiet"}:
        lines += ["", *_table(rows), "", _SHARES, _sampled(diagnosis)]
    for found in described["findings"]:
        lines += _act(found, diagnosis, shlex.join(options))
    return "\n".join(lines)


def _sentences(described: Described) -> list[str]:
    diagnosis, findings = described["diagnosis"], described["findings"]
    period, state = _period(diagnosis), diagnosis["state"]
    volume = (
        f"{diagnosis['messages']:,} messages in {period}; {diagnosis['ordinary_messages']:,} are usual in that time"
    )
    if state == "early":
        before = diagnosis["before_minutes"]
        return [f"There is too little history: {before} full minutes before {period}, and 10 are needed."]
    if state in {"quiet", "mass-mail"} and diagnosis["refused"] >= LEAST_HELD * max(diagnosis["messages"], 1):
        return [
            f"There is no surge: {volume}. But {diagnosis['refused']:,} were refused, or would be outside shadow mode.",
            "A flood that has lasted for more than three quarters of an hour counts as ordinary. Refused most:",
            *(f"    {one}" for one in described["refusing"]),
        ]
    if state == "quiet":
        return [f"Nothing is wrong: {volume}."]
    if state == "mass-mail":
        mailers = ", ".join(_named(found["finding"]) for found in findings)
        return [
            f"Nothing is wrong: {volume}; the mass mail of a proven sender, which is let through: {mailers}.",
            "A flood from a domain that somebody bought for it looks the same: do you know the sender?",
        ]
    if state == "scattered":
        return [f"The surge has nothing in common: {volume}; {_largest(diagnosis)}."]
    return [_sentence(found, period) for found in findings]


def _sentence(found: DescribedFinding, period: str) -> str:
    finding, held_by = found["finding"], found["held_by"]
    whose = f" that reached {finding['stage']}" if finding["of_part"] else ""
    parts = [f"{_percent(finding['surge_share'])} of the surge of {period}{whose} shares {_named(finding)}"]
    if finding["mass_mail"]:
        return f"{parts[0]}: the mass mail of a proven sender, which is let through."
    told = next((held for held in held_by if held["is_own"]), None)
    told = told or next((held for held in held_by if held["counted"] and held["share"] >= LEAST_HOLDING), None)
    if told and not told["is_own"]:
        parts.append(f"{told['counted']} under {quoted(told['key'] or '')}")
    refused = f"{_percent(finding['refused_share'])} refused"
    if told and told["is_shadow"]:
        parts.append(f"{told['limit']} would hold it, and is in shadow mode ({refused} if it were not)")
    elif told:
        counted = f": {told['counted']}" if told["is_own"] else ""
        parts.append(f"held by {told['limit']} since {time_of_day(told['since'] or 0.0)} ({refused}{counted})")
    elif finding["refused_share"] < LEAST_HELD:
        parts.append("nothing holds it")
    else:
        names = ", ".join(held["limit"] for held in held_by)
        parts.append(f"held by {names} ({refused})")
    return "; ".join(parts) + "."


def _largest(diagnosis: Diagnosis) -> str:
    rows = [row for row in diagnosis["rows"] if row["value"] is not None]
    most = max(rows, key=lambda row: row["recent_share"] - row["ordinary_share"], default=None)
    if most is None or most["value"] is None:
        return "no message has a value"
    named = f"{most['identity']} {quoted(most['value'])}"
    return f"the largest new share is {_percent(most['recent_share'])}, of {named}"


def _table(rows: list[DiagnosisRow]) -> list[str]:
    head = ("identity", "value", "now", "before", "refused", "reached")
    cells = [
        (
            row["identity"],
            _cut(printable(row["value"] or "")),
            _percent(row["recent_share"]),
            _percent(row["ordinary_share"]),
            _percent(row["refused_share"]),
            f"{row['reached']:,}",
        )
        for row in rows
    ]
    widths = [max(len(line[column]) for line in (head, *cells)) for column in range(len(head))]
    return [
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in (head, *cells)
    ]


def _act(found: DescribedFinding, diagnosis: Diagnosis, options: str) -> list[str]:
    finding, action = found["finding"], found["action"]
    if finding["mass_mail"] or diagnosis["state"] != "surge":
        return []
    lines = []
    also = [_named(target) for target in finding["also"] if target["ordinary_share"] <= MOST_ORDINARY]
    if also:
        left = len(also) - MOST_ALSO
        more = f", and {left} more" if left > 0 else ""
        lines = ["", f"Nearly all messages with {_named(finding)} also share {', '.join(also[:MOST_ALSO])}{more}."]
    if finding["limits"].get("blocked", 0.0) >= LEAST_HOLDING:
        return [*lines, "", "A block refuses most of it already: throttle ctl list."]
    return lines + _commands(action, diagnosis, options)


def _commands(action: Action, diagnosis: Diagnosis, options: str) -> list[str]:
    named = _named(action)
    minutes = f"the ordinary ones of the {diagnosis['before_minutes']} minutes before"
    of = f"{action['would_refuse']:,} of the {action['of']:,} sampled messages of {minutes}"
    if action["command"] is not None:
        command = action["command"]
        if options:
            command = command.replace("ctl block", f"ctl block {options}", 1)
        caution = [CAUTION] if action["identity"].startswith(WRITTEN) else []
        return ["", f"To refuse {named} (it would have refused {of}):", "", f"    {command}", *caution]
    if action["toml"] is not None:
        limit = [f"    {line}" for line in action["toml"].splitlines()]
        which = "other mail of it that nobody has proven" if CLAIMED in action["toml"] else "all other mail of it"
        rest = [
            'The policy file may begin with extends = "inbound"; throttle ctl reload reads it.',
            f"While the flood lasts, {which} shares this quota.",
        ]
        return ["", f"To bound {named}, in a policy file (it would have refused {of}):", "", *limit, "", *rest]
    return ["", f"No command acts on {named}: {printable(action['why_none'] or '')}."]


def _sampled(diagnosis: Diagnosis) -> str:
    return (
        f"Estimated from {diagnosis['sampled']:,} sampled messages of now and {diagnosis['ordinary_sampled']:,} of the "
        f"ordinary ones of the {diagnosis['before_minutes']} minutes before."
    )


def _named(finding: Target | Action) -> str:
    return f"{finding['identity']} {quoted(finding['value'])}"


def _period(diagnosis: Diagnosis) -> str:
    seconds = diagnosis["recent_seconds"]
    if seconds >= 90:
        return f"the last {seconds / 60:.0f} minutes"
    return "the last second" if round(seconds) == 1 else f"the last {seconds:.0f} seconds"


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def _cut(value: str) -> str:
    return value if len(value) <= VALUE_WIDTH else f"{value[: VALUE_WIDTH - 1]}…"
