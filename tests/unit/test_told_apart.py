"""Alternatives that begin alike begin with what tells them apart, where an engine needs that.

The schemas are what pydantic (2.14) and OpenAI's `to_strict_json_schema` (1.109) make of models.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from runnerd.relay.parsed_request import parse
from runnerd.relay.request_rewrites.known_schemas import with_known_schemas
from runnerd.relay.request_rewrites.told_apart import TooMany, told_apart

REAL = json.loads((Path(__file__).parents[1] / "support" / "real_schemas.json").read_text())


def asked(**member: Any) -> dict[str, Any]:
    body = json.dumps({"model": "m", **member}).encode()
    found: dict[str, Any] = msgspec.json.decode(with_known_schemas(parse(body))[0].body)
    return found


@pytest.mark.parametrize("name", REAL)
def test_what_real_clients_send_is_taken(name: str) -> None:
    """As a format and as a tool: the same members, at most in another order."""
    schema = REAL[name]
    assert asked(json_schema=schema)["json_schema"] == schema
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    assert asked(tools=[tool])["tools"] == [tool]


def test_constants_and_names_of_their_own_come_first() -> None:
    """The others stay in their order, and so do schemas that an engine can follow."""
    made = asked(json_schema=REAL["discriminator-last/plain"])["json_schema"]
    assert list(made["$defs"]["AddL"]["properties"]) == ["type", "left", "right"]
    made = asked(json_schema=REAL["lambda-body-first/plain"])["json_schema"]
    assert list(made["$defs"]["Lambda"]["properties"]) == ["params", "body"]
    kept = asked(json_schema=REAL["filter-and-or/strict"])["json_schema"]
    assert list(kept["$defs"]["And"]["properties"]) == ["conditions", "kind"]


@pytest.mark.parametrize(
    "schema",
    [
        {"anyOf": [True, {"$ref": "#/$defs/none"}, {"properties": {"a": 1}, "required": 5}]},
        {"oneOf": [{"properties": [], "required": ["a"]}], "anyOf": {}},
        {"properties": {"anyOf": {"type": "string"}}},
    ],
)
def test_what_has_nothing_to_tell_apart_stays(schema: Any) -> None:
    """Whatever it is."""
    assert told_apart(schema) == schema


def test_large_alternatives_are_looked_at_so_often_and_no_more() -> None:
    """Each of many references to one large object has its members looked at; that took minutes."""
    large = {"type": "object", "properties": {f"p{n}": {} for n in range(1000)}}
    schema = {"anyOf": [{"$ref": "#/$defs/a"}] * 1000, "$defs": {"a": large}}
    with pytest.raises(TooMany):
        told_apart(schema)
    assert told_apart({**schema, "anyOf": [{"$ref": "#/$defs/a"}] * 9})["$defs"] == {"a": large}


def test_many_constants_are_told_apart_at_once() -> None:
    """Each is looked up, and not sought among all the others."""
    names = [f"p{n}" for n in range(8000)]
    schema = {"anyOf": [of_constants(names, 1), of_constants(names, 2)]}
    started = time.process_time()
    made = told_apart(schema)
    assert time.process_time() - started < 0.5
    assert list(made["anyOf"][1]["properties"]) == names


def of_constants(names: list[str], value: int) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {name: {"const": value} for name in names},
        "required": names,
    }
