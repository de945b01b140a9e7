"""The JSON Schema of policy files: it has the fields, names and numbers of the reader, and is blind only to what fields
say together.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages import PAGES, blocks
from throttle import Policy, PolicyError, policies

ROOT = Path(__file__).parents[2]
# here, other than there, a base can be read
WRONG = [
    text
    for text in json.loads((ROOT / "rust/core/tests/policy_errors/files.json").read_text(encoding="utf-8"))
    if "extends" not in text
]
WRITTEN = json.loads(Policy.schema())
VALIDATOR = jsonschema.Draft7Validator(WRITTEN)


def resolved(schema: Any) -> Any:
    """The schema with its definitions in the places that refer to them."""
    if isinstance(schema, list):
        return [resolved(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    whole = {name: resolved(value) for name, value in schema.items() if name not in ("$ref", "allOf")}
    if "$ref" in schema:
        whole |= resolved(WRITTEN["definitions"][schema["$ref"].removeprefix("#/definitions/")])
    for part in schema.get("allOf", ()):
        whole |= resolved(part)
    return whole


SCHEMA = resolved(WRITTEN)
LIMIT = SCHEMA["properties"]["limit"]["items"]

#: What a schema cannot say: how fields go together, and how large a number within a text may be.
#: As the messages' `allowed` says it.
UNSEEN = re.compile(
    r"\btogether with\b|\bwith (?:an? )?`|\bwith (?:count|action|refuse) = |\bwith algorithm|\bwith reports of|mere "
    r"claim|\bonly\b|\bsince\b|as the limit's own|`remember`, here|after `scale`|one rule|under itself|first in "
    r"line|every name once|each identity once|"
    r"with a `per`|known at connect|for a limit at|with its places filled|they share what is free|at most one "
    r"identity|of recipients|from 1 to 2\^50|from 1 second|1024 TiB|"
    r"with its zone|no `quota_file` here|relative to this file|"
    r"from \"4 KiB\" on|when_full \"sketch\"|up to the whole|there is one `global`|no other policy can be read|a "
    r"size, as \"1 GiB\"$"
)

#: Seen by neither: JSON has no such number.
NO_JSON = re.compile(r"= nan\b")


def right() -> list[Any]:
    """Every policy that is in the repository."""
    files = [*(ROOT / "python/throttle/policies").glob("*.toml"), *(ROOT / "benches").glob("*.toml")]
    found = [pytest.param(file.read_text(encoding="utf-8"), id=file.name) for file in sorted(files)]
    written = [
        block for page in PAGES for block in blocks(page) if block.language == "toml" and "wrong" not in block.marks
    ]
    found += [pytest.param(block.text, id=str(block)) for block in written]
    return found


def refused(text: str) -> PolicyError | None:
    """What the reader says."""
    try:
        Policy.parse(text)
    except PolicyError as error:
        return error
    return None


def takes(text: str) -> bool:
    return bool(VALIDATOR.is_valid(tomllib.loads(text)))


def test_it_is_a_schema_and_the_one_in_the_package() -> None:
    jsonschema.Draft7Validator.check_schema(WRITTEN)
    file = ROOT / "python/throttle/policies/policy.schema.json"
    assert file.read_text(encoding="utf-8") == Policy.schema()


def allowed(text: str) -> str:
    """What the reader allows instead of something in this policy."""
    error = refused(text)
    assert error is not None, text
    return error.allowed


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("{} = 1", SCHEMA),
        ("suffixes = {{ {} = 1 }}", SCHEMA["properties"]["suffixes"]),
        ("[[allow]]\n{} = 1", SCHEMA["properties"]["allow"]["items"]),
        ("[[block]]\n{} = 1", SCHEMA["properties"]["block"]["items"]),
        ("[[limit]]\n{} = 1", LIMIT),
        ("[[limit]]\nshare = {{ {} = 1 }}", LIMIT["properties"]["share"]["anyOf"][0]),
        ("[[limit]]\nshare = [{{ {} = 1 }}]", LIMIT["properties"]["share"]["anyOf"][1]["items"]),
        ("[[limit]]\nquota.x = {{ {} = 1 }}", LIMIT["properties"]["quota"]["additionalProperties"]),
    ],
)
def test_each_table_has_exactly_the_fields_of_the_reader(text: str, table: dict[str, Any]) -> None:
    assert allowed(text.format("no_such_field")) == ", ".join(table["properties"])
    assert table["additionalProperties"] is False
    assert all(field["description"] for field in table["properties"].values())
    assert all(field["examples"] for name, field in table["properties"].items() if name != "limit")


def test_the_identities_are_those_of_the_reader() -> None:
    listed = allowed('[[limit]]\nper = "no.such"').removeprefix("one of ").split(", ")
    # These two have parameters, which have patterns and a test of their own.
    plain = [name for name in listed if name not in ("client.net/<v4>/<v6>", "sender.org+N")]
    assert len(plain) == len(listed) - 2
    assert SCHEMA["definitions"]["identity"]["anyOf"][0]["enum"] == plain


@pytest.mark.parametrize("name", [name for name, field in LIMIT["properties"].items() if "enum" in field])
def test_the_names_of_a_choice_are_those_of_the_reader(name: str) -> None:
    listed = re.findall(r'"([^"]+)"', allowed(f'[[limit]]\n{name} = "no such"'))
    assert LIMIT["properties"][name]["enum"] == listed


def test_numbers_and_lengths_end_where_those_of_the_reader_end() -> None:
    def limit(name: str = "x", per: str = '"client.ip"', more: str = "") -> str:
        return f'[[limit]]\nname = "{name}"\nper = {per}\nrate = "9/minute"\n{more}\n'

    identities = ["client.ip", "helo.host", "auth.user", "sender.org", "sender.host"]
    for text, is_right in [
        (limit("x" * 64), True),
        (limit("x" * 65), False),
        (limit("blocked"), False),
        (limit("max-open"), False),
        (limit("out-of-order"), False),
        (limit(per=json.dumps(identities[:4])), True),
        (limit(per=json.dumps(identities)), False),
        (limit(more="memory = 4096"), True),
        (limit(more="memory = 4095"), False),
        (limit(more=f"burst = {2**50}"), True),
        (limit(more=f"burst = {2**50 + 1}"), False),
        (limit(more="burst = 0"), False),
        ("scale = 0.0000005\n" + limit(), True),
        ("scale = 0.0000004\n" + limit(), False),
        ("scale = 1000000\n" + limit(), True),
        ("scale = 1000001\n" + limit(), False),
        ("".join(limit(f"x{number}") for number in range(64)), True),
        ("".join(limit(f"x{number}") for number in range(65)), False),
    ]:
        assert (refused(text) is None, takes(text)) == (is_right, is_right), text


@pytest.mark.parametrize("text", right())
def test_every_policy_in_the_repository_is_taken_by_both(text: str) -> None:
    Policy.parse(text)
    VALIDATOR.validate(tomllib.loads(text))


@pytest.mark.parametrize("name", policies.names())
def test_a_built_in_policy_as_it_is_printed_is_taken(name: str) -> None:
    assert takes(Policy.builtin(name).to_toml())


def test_a_wrong_file_is_seen_but_for_what_fields_say_together() -> None:
    unseen, seen = [], 0
    for text in WRONG:
        with pytest.raises(PolicyError) as raised:
            Policy.parse(text)
        if not takes(text):
            seen += 1
        elif not UNSEEN.search(raised.value.allowed) and not NO_JSON.search(text):
            unseen.append((text, raised.value.allowed))
    assert unseen == []
    assert seen > 120, seen


@pytest.mark.parametrize(
    "text",
    [
        "extends = 3",
        'extends = ""',
        'extends = "inbound"\nwithout = "auth-pace"',
        'extends = "inbound"\nwithout = ["Auth Pace"]',
        'extends = "inbound"\nmode = "off"',
        'extends = "inbound"\n[[limit]]\nrate = "5/minute"',
        'extends = "inbound"\n[[limit]]\nname = "pair-pace"\nbrust = 5',
        'without = ["auth-pace"]\n[[limit]]\nname = "x"\nper = "client.ip"\nrate = "5/minute"',
    ],
)
def test_a_wrong_file_that_extends_is_seen(text: str) -> None:
    with pytest.raises(PolicyError):
        Policy.parse(text)
    assert not takes(text)


def fields(table: dict[str, Any]) -> list[tuple[str, Any]]:
    """Every field of a table with each of its examples, and with each of its words."""
    return [
        (name, value)
        for name, field in table["properties"].items()
        for value in [*field.get("examples", ()), *field.get("enum", ())]
    ]


#: What a field needs beside it.
BESIDE = {
    "refuse": 'per = "sender.registered"\ndistinct = "sender.host"\nrate = "9/minute"',
    "remember": 'per = "sender.registered"\ndistinct = "sender.host"\nrate = "9/minute"',
    "settle": 'per = "sender.registered"\ndistinct = "sender.host"\nrate = "9/minute"',
    "charge": 'per = "sender.registered"\ndistinct = "sender.host"\nrate = "9/minute"',
    "warm_up": 'per = "sender.registered"\ndistinct = "sender.host"\nrate = "9/minute"',
    "readmit": 'per = "sender.registered"\ndistinct = "sender.host"\nrate = "9/minute"',
    "distinct": 'per = "sender.registered"\nrate = "9/minute"',
    "in_flight": 'per = "client.ip"',
    "action": 'per = "client.ip"\nrate = "9/minute"',
    "share": 'per = "global"\nin_flight = 9',
    "reserve": 'per = "global"\nin_flight = "1 GiB"\nshare = { per = "client.ip", of_free = "1/2" }',
    "first": 'per = "global"\nin_flight = "1 GiB"\nshare = { per = "client.ip", of_free = "1/2" }',
    "new_to": 'per = "client.ip"\ndistinct = "sender.org"\nrate = "9/minute"',
    "per": 'rate = "9/minute"',
    "rate": 'per = "client.ip"',
    "burst": 'per = "client.ip"\nrate = "1 GiB/minute"',
    "count": 'per = "client.ip"\nrate = "9/minute"',
    "count = reports": 'per = "client.ip"\nrate = "9/minute"\nreports = ["spam"]',
    "reports": 'per = "client.ip"\nrate = "9/minute"\ncount = "reports"',
    "reply": 'per = "sender.org"\nrate = "9/minute"',
}


@pytest.mark.parametrize(("name", "value"), fields(SCHEMA["properties"]["limit"]["items"]))
def test_every_example_and_every_word_is_taken_by_both(name: str, value: Any) -> None:
    beside = BESIDE.get(f"{name} = {value}") or BESIDE.get(name, 'per = "sender.org"\nrate = "9/minute"')
    named = "" if name == "name" else 'name = "x"\n'
    text = f"[[limit]]\n{named}{beside}\n{name} = {toml(value)}\n"
    Policy.parse(text)
    assert takes(text)


@pytest.mark.parametrize(("name", "value"), fields(SCHEMA))
def test_every_example_outside_the_limits_is_taken_by_both(name: str, value: Any, tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('extends = "inbound"\n')
    (tmp_path / "quotas.csv").write_text("limit,value,rate\n")
    base = "" if name == "extends" else 'extends = "inbound"\n'
    text = f"{base}{name} = {toml(value)}\n"
    Policy.parse(text, str(tmp_path / "mine.toml"))
    assert takes(text)


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f'"{name}" = {toml(inner)}' for name, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def both(field: str) -> tuple[bool, bool]:
    """Whether the reader and the schema take a limit with this field."""
    text = f'[[limit]]\nname = "x"\n{field}\n'
    return refused(text) is None, takes(text)


def test_the_parameters_of_identities_are_those_of_the_reader() -> None:
    v6 = ["0", "00", "9", "64", "099", "100", "119", "128", "129", "130", "200", "1000", "-1", ""]
    names = [f"client.net/{v4}/{length}" for v4 in ["", "-1", "00", *map(str, range(36))] for length in v6]
    names += [f"client.net/24/{length}" for length in range(140)]
    names += [f"sender.org+{labels}" for labels in ["", "01", "-1", *map(str, range(12))]]
    for name in names:
        ours, schema = both(f'per = "{name}"\nrate = "9/minute"')
        assert ours == schema, name


def test_quantities_are_read_alike() -> None:
    amounts = ["1", " 1 ", "007", "0", "", "1 MiB", "1MiB", "0 MiB", "1 mib", "1.5", "-1", "1 TB", "1 B", "+1"]
    periods = [
        "minute",
        "minutes",
        " minute ",
        "2 minutes",
        "2minutes",
        "0 minutes",
        "min",
        "",
        "1 week",
        "day",
        "1 hours",
    ]
    for amount in amounts:
        for period in periods:
            ours, schema = both(f'per = "client.ip"\nrate = "{amount}/{period}"')
            assert ours == schema, f"{amount}/{period}"
    for time in [*periods, "7 days", "1 second", "1.5 days"]:
        ours, schema = both(f'per = "sender.org"\ndistinct = "sender.host"\nrate = "9/minute"\nremember = "{time}"')
        assert ours == schema, time
    for part in ["1/10", " 1 / 10 ", "1/1000", "1/1001", "0/5", "5", "1/", "01/010", "5/5"]:
        ours, schema = both(f'per = "global"\nin_flight = 9\nshare = {{ per = "client.ip", of_free = "{part}" }}')
        assert ours == schema, part


PRINTABLE = st.characters(min_codepoint=32, max_codepoint=126)

NEARLY = st.text("0123456789 /.+-MiBKTkGsecondminutehoursday", max_size=14)


@given(st.lists(st.sampled_from(fields(LIMIT)), unique_by=lambda field: field[0], min_size=2, max_size=7))
@settings(max_examples=200, deadline=None)
def test_any_fields_that_the_reader_takes_together_the_schema_takes(chosen: list[tuple[str, Any]]) -> None:
    said = "".join(f"{name} = {toml(value)}\n" for name, value in ({"name": "x"} | dict(chosen)).items())
    text = f"[[limit]]\n{said}"
    assert refused(text) or takes(text)


@given(NEARLY, st.sampled_from(["rate", "remember", "memory", "in_flight", "burst"]))
@settings(max_examples=300, deadline=None)
def test_any_text_that_the_reader_takes_the_schema_takes(value: str, name: str) -> None:
    beside = BESIDE.get(name, 'per = "sender.org"\nrate = "9/minute"')
    ours, schema = both(f"{beside}\n{name} = {toml(value)}")
    assert schema or not ours


@given(st.data(), st.sampled_from(["rate", "remember", "memory", "in_flight", "burst", "reply"]))
@settings(max_examples=100, deadline=None)
def test_what_the_schema_takes_the_reader_takes_but_for_what_is_too_large(data: st.DataObject, name: str) -> None:
    field = LIMIT["properties"][name]
    (pattern,) = [one["pattern"] for one in field.get("anyOf", [field]) if "pattern" in one]
    value = data.draw(st.from_regex(pattern.removesuffix("$") + r"\Z", alphabet=PRINTABLE))
    text = f'[[limit]]\nname = "x"\n{BESIDE.get(name, BESIDE["burst"])}\n{name} = {toml(value)}\n'
    wrong = refused(text)
    assert wrong is None or UNSEEN.search(wrong.allowed), str(wrong)
