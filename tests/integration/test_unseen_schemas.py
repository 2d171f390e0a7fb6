"""A schema or a grammar that nobody has sent before is looked at beside the event loop.

Its engine is the one of `test_large_bodies`, which refuses everything: a request that comes to it
was looked at.  How long a look takes is measured in a thread's own processor time, as are the steps
of the event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runnerd.limit_settings import Limits
from runnerd.relay.body_inspection import inspect
from runnerd.relay.request_rewrites.known_schemas import with_known_schemas
from tests.integration.test_large_bodies import engine, post, relay
from tests.support.loop_steps import measured_steps

__all__ = ["engine", "relay"]  # fixtures

CHAT = {"model": "m", "max_tokens": 8, "messages": [{"role": "user", "content": "x"}]}
NUMBERS = itertools.count(100)
TEXT: dict[str, Any] = {"type": "string"}


def unused() -> str:
    """What nobody has sent before."""
    return f"a{next(NUMBERS)}-"


def objects(salt: str, many: int = 450) -> dict[str, Any]:
    """A schema of some 40 KiB with choices, whose names nobody has used before."""
    ways = [
        {"type": "object", "properties": {f"{salt}{n}": TEXT}, "required": [f"{salt}{n}"]}
        for n in range(many)
    ]
    return {"type": "object", "properties": {"a": {"anyOf": ways}}, "required": ["a"]}


def words(salt: str) -> str:
    """A grammar of some 40 KiB."""
    return "root ::= (" + " | ".join(f'"{salt}{n}"' for n in range(3000)) + ")+"


def looping(salt: str) -> str:
    """A short grammar that takes all the looks that there are."""
    return f'root ::= ([a-z]+ | [a-m]+ [0-9]* | [a-z0-9]+ "{salt}")+ root?'


def tool(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", "parameters": schema}}


CASES: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "grammar": lambda salt: ("/v1/chat/completions", {"grammar": words(salt)}),
    "short grammar": lambda salt: ("/v1/chat/completions", {"grammar": looping(salt)}),
    "completion": lambda salt: ("/v1/completions", {"prompt": "x", "json_schema": objects(salt)}),
    "response_format": lambda salt: (
        "/v1/chat/completions",
        {"response_format": {"type": "json_schema", "json_schema": {"schema": objects(salt)}}},
    ),
    "tools": lambda salt: ("/v1/chat/completions", {"tools": [tool(objects(salt))]}),
    "forced": lambda salt: (
        "/v1/chat/completions",
        {"tools": [tool(objects(salt))], "tool_choice": "required"},
    ),
    "responses": lambda salt: (
        "/v1/responses",
        {
            "input": "x",
            "text": {"format": {"type": "json_schema", "name": "n", "schema": objects(salt)}},
        },
    ),
    "anthropic": lambda salt: (
        "/v1/messages",
        {"tools": [{"name": "f", "input_schema": objects(salt)}]},
    ),
    "ollama": lambda salt: ("/api/chat", {"format": objects(salt)}),
}


def body_of(document: dict[str, Any]) -> bytes:
    return json.dumps({**CHAT, **document}).encode()


def time_to_look(case: str) -> float:
    """Seconds of processor time that a thread takes to look at another such body."""
    _, document = CASES[case](unused())
    found = document.get("grammar") or objects(unused())
    member = {"grammar": found} if isinstance(found, str) else {"json_schema": found}
    body = json.dumps({"model": "m", **member}).encode()
    began = time.thread_time()
    with_known_schemas(inspect(body, Limits()))
    return time.thread_time() - began


@pytest.mark.parametrize("case", CASES)
async def test_no_step_takes_as_long_as_to_look_at_it(relay: Path, case: str) -> None:
    """Nor half as long."""
    route, document = CASES[case](unused())
    with measured_steps() as steps:
        whole = await asyncio.to_thread(time_to_look, case)
        status, response = await asyncio.to_thread(post, relay, route, body_of(document))
    assert b"it is too long" in response, (status, response)
    assert steps.longest < whole / 2, steps.what


@pytest.mark.parametrize("case", CASES)
async def test_what_is_known_is_looked_at_by_nobody(
    relay: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in a thread nor on the event loop: the second request asks no thread at all."""
    route, document = CASES[case](unused())
    body = body_of(document)
    await asyncio.to_thread(post, relay, route, body)
    aside: list[object] = []

    async def run(work: Any, *arguments: Any, **named: Any) -> Any:
        aside.append(work)
        return await asyncio.to_thread(work, *arguments, **named)

    monkeypatch.setattr("runnerd.relay.intake.threads.run", run)
    _, response = await asyncio.to_thread(post, relay, route, body)
    assert b"it is too long" in response
    assert aside == []
