"""The grammar that the engine makes of a schema means the same, whatever references are called.

The engine calls rules after references, and takes two that are called alike for one.  So a schema
with any references is widened, and what the engine makes of it is compared with what it makes of
the same schema in which each reference leads to a definition that is called like nothing else.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from runnerd.models import tiny
from runnerd.relay.parsed_request import parse
from runnerd.relay.request_rewrites.known_schemas import with_known_schemas
from runnerd.relay.request_rewrites.schemas import widened
from tests.support.builds import real_server
from tests.support.schemas import Schema
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
Grammar = dict[str, list[str]]


class Engine:
    """An engine that says what grammar it has made of a request."""

    def __init__(self, folder: Path, model: Path) -> None:
        self._path = folder / "engine.sock"
        flags = ["--host", str(self._path), "-c", "16384", "-np", "1", "--jinja", "-v"]
        command = [str(real_server()), "-m", str(model), *flags]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def answers(self) -> bool:
        """Whether it has its model."""
        try:
            return self._ask("GET", "/health")[0] == 200
        except OSError:
            return False

    def grammar(self, route: str, document: dict[str, Any]) -> Grammar:
        """What it has made of a request; its rules in words."""
        status, body = self._ask("POST", route, document)
        assume(status != 400 or body["error"]["type"] != "exceed_context_size_error")
        assert status == 200, body
        said = body.get("__verbose", body)["generation_settings"]["grammar"]
        rules = [line.partition(" ::= ") for line in said.splitlines() if " ::= " in line]
        return {name: _WORD.findall(text) for name, _, text in rules}

    def _ask(
        self, method: str, route: str, document: dict[str, Any] | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("engine", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        with connection.sock:
            connection.sock.connect(str(self._path))
            head = {"Content-Type": "application/json"}
            connection.request(method, route, json.dumps(document or {}), head)
            response = connection.getresponse()
            return response.status, json.loads(response.read())


_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|[a-zA-Z0-9-]+|[^\s]')


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Engine]]:
    """One with random weights, and one that knows tools."""
    folder = tmp_path_factory.mktemp("engine")
    tiny.write_completion_model(folder / "tiny.gguf")
    found = {}
    try:
        for name, model in (("plain", folder / "tiny.gguf"), ("tools", _DEMO / "demo-a.gguf")):
            (folder / name).mkdir()
            found[name] = Engine(folder / name, model)
        for engine in found.values():
            wait_for(engine.answers, "the engine has its model")
        yield found
    finally:
        for engine in found.values():
            engine.process.kill()
            engine.process.wait()


def differs(one: Grammar, other: Grammar, begin: tuple[str, str]) -> str:
    """Where two grammars are not the same but for what their rules are called."""
    todo = [begin]
    seen = set(todo)
    while todo:
        names = todo.pop()
        words = [_meant(grammar, name) for grammar, name in zip((one, other), names, strict=True)]
        for left, right in zip_longest(*words, fillvalue=""):
            if left in one and right in other:
                if (left, right) not in seen:
                    seen.add((left, right))
                    todo.append((left, right))
            elif left != right:
                return f"{names[0]} is {' '.join(words[0])} and has to be {' '.join(words[1])}"
    return ""


def _meant(grammar: Grammar, name: str) -> list[str]:
    """A rule's words; of one that is another's name, the other's."""
    seen = set()
    while len(words := grammar[name]) == 1 and words[0] in grammar and name not in seen:
        seen.add(name)
        name = words[0]
    return [_final(grammar, word) for word in words]


def _final(grammar: Grammar, word: str) -> str:
    seen = set()
    while word in grammar and len(grammar[word]) == 1 and grammar[word][0] in grammar:
        if word in seen:
            return word
        seen.add(word)
        word = grammar[word][0]
    return word


NAMES = st.sampled_from(
    ["a", "b", "a_b", "a-b", "a_b0", "ref", "defs", "$defs", "properties", "ref-defs", "item", "0",
     "1", "kv", "a-kv", "x~y", "p/q", "a%62", "alternative", "additional", "tuple", "value", "v0",
     "v0-a", "rest"]
)  # fmt: skip
LEAVES = st.integers(0, 9).map(lambda value: {"const": value}) | st.integers(0, 10**6).map(
    lambda number: {"$ref": number}
)


def _larger(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    members = st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    return (
        members.map(lambda found: {"properties": found, "required": sorted(found)})
        | members.map(lambda found: {"type": "object", "properties": found})
        | inner.map(lambda item: {"type": "array", "items": item})
        | inner.map(lambda more: {"type": "object", "additionalProperties": more})
        | st.lists(inner, min_size=1, max_size=3).map(lambda found: {"prefixItems": found})
        | st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found})
    )


OBJECTS = st.dictionaries(
    NAMES, st.recursive(LEAVES, _larger, max_leaves=6), min_size=1, max_size=4
)
SCHEMAS = st.tuples(OBJECTS, OBJECTS, st.sampled_from(["$defs", "definitions"]), st.booleans()).map(
    lambda found: {
        **{"type": "object", "properties": found[0], "required": sorted(found[0])},
        found[2]: found[1],
        **({"$id": "https://example.org/a.json"} if found[3] else {}),
    }
)


def _places(schema: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Schema]]:
    """Yield every schema within one, and where it is."""
    yield path, schema
    for holder in ("$defs", "definitions", "properties"):
        for name, each in schema.get(holder, {}).items():
            yield from _places(each, (*path, holder, name))
    for name in ("prefixItems", "anyOf"):
        for number, each in enumerate(schema.get(name, ())):
            yield from _places(each, (*path, name, str(number)))
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from _places(schema[name], (*path, name))


def _written(path: tuple[str, ...], number: int, own: str) -> str:
    """A reference in one of the ways in which it may be written."""
    parts = [each.replace("~", "~0").replace("/", "~1") for each in path]
    if number % 7 == 0:
        parts = [quote(each, safe="~") for each in parts]
    else:
        parts = [each.replace("%", "%25") for each in parts]
    begin = own if number % 5 == 0 else ""
    return begin + "#" + "".join(f"/{each}" for each in parts)


def referring(drawn: Schema) -> tuple[Schema, Schema]:
    """A schema whose references lead somewhere, and one whose names are like no other's."""
    places = list(_places(drawn))
    meant: dict[int, int] = {}

    def said(node: Any, own_names: bool) -> Any:
        if isinstance(node, list):
            return [said(each, own_names) for each in node]
        if not isinstance(node, dict):
            return node
        if isinstance(number := node.get("$ref"), int):
            place = number % len(places)
            if own_names:
                meant[place] = place
                return {"$ref": f"#/$defs/zz{_letters(place)}q"}
            return {"$ref": _written(places[place][0], number, drawn.get("$id", ""))}
        return {name: said(each, own_names) for name, each in node.items()}

    plain = {
        name: each for name, each in drawn.items() if name not in ("$defs", "definitions", "$id")
    }
    other = said(plain, True)
    defined: Schema = {}
    while left := [place for place in meant if f"zz{_letters(place)}q" not in defined]:
        for place in left:
            node = {
                name: each
                for name, each in places[place][1].items()
                if places[place][0] or name not in ("$defs", "definitions", "$id")
            }
            defined[f"zz{_letters(place)}q"] = said(node, True)
    return said(drawn, False), {**other, "$defs": defined}


def _letters(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "cdefghijkl"))


CHECKS = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[*HealthCheck],
    derandomize=True,
    phases=[Phase.generate],  # to shrink takes the engine minutes
)


@CHECKS
@given(drawn=SCHEMAS)
def test_each_reference_has_its_own_rule(engines: dict[str, Engine], drawn: Schema) -> None:
    """Whatever it leads to, and however it is written."""
    schema, other = referring(drawn)
    made = widened(schema)
    assume(not made.loosened)  # a circle of references means nothing
    one, other_one = [
        engines["plain"].grammar(
            "/completion", {"prompt": "x", "n_predict": 1, "json_schema": each}
        )
        for each in (made.schema, widened(other).schema)
    ]
    assert not differs(one, other_one, ("root", "root")), json.dumps(schema)


@CHECKS
@given(drawn=st.lists(SCHEMAS, min_size=2, max_size=3))
def test_tools_have_their_own_rules(engines: dict[str, Engine], drawn: list[Schema]) -> None:
    """Two tools may call different definitions alike."""
    asked = []
    for which in (0, 1):
        tools = []
        for number, each in enumerate(drawn):
            found = referring(each)[which]
            if which:
                text = json.dumps(found).replace("#/$defs/zz", f"#/$defs/zz{_letters(number)}y")
                found = json.loads(text)
                found["$defs"] = {
                    name.replace("zz", f"zz{_letters(number)}y", 1): value
                    for name, value in found["$defs"].items()
                }
            assume(not widened(found).loosened)
            function = {"name": f"t{number}", "description": "d", "parameters": found}
            tools.append({"type": "function", "function": function})
        said: list[Any] = [{"role": "user", "content": "x"}]
        body = {"messages": said, "tools": tools, "max_tokens": 1, "model": "m"}
        request, _ = with_known_schemas(parse(json.dumps(body).encode()))
        asked.append(json.loads(bytes(request.body)) | {"tool_choice": "required"})
    one, other = [engines["tools"].grammar("/v1/chat/completions", each) for each in asked]
    for number in range(len(drawn)):
        name = f"tool-t{number}-schema"
        assert not differs(one, other, (name, name)), json.dumps(asked[0]["tools"])
