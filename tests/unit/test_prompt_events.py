"""A prompt's events as Pantry's client reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from runnerd.api.pantry.prompt_events import PromptStream, session_status
from runnerd.errors import BackendFailure, RunnerdError
from runnerd.sessions import Delta, Ended, Session

SESSION = Session(
    id="s",
    principal="user u",
    model="m",
    model_name="m",
    details={"llm_uuid": "l", "session_parameters": {"system_prompt": "x"}},
    created=0.0,
    used=1.0,
)


async def answered(
    *pieces: str, error: RunnerdError | None = None
) -> AsyncGenerator[Delta | Ended, None]:
    for piece in pieces:
        yield Delta(piece)
    if error is not None:
        raise error
    yield Ended(None)


async def events(source: AsyncGenerator[Delta | Ended, None]) -> list[dict[str, Any]]:
    stream = PromptStream(
        session=session_status(SESSION), llm_uuid="l", input="hi", parameters={"seed": 1}
    )
    found = []
    async for each in stream.events(source):
        head, data, end = each.partition(b"{")[0], each, each[-2:]
        assert (head.strip(), end) == (b"data:", b"\n\n")
        assert data.count(b"\n") == 2
        found.append(json.loads(data.removeprefix(b"data:")))
    return found


async def test_progress_and_completion() -> None:
    """Each event has what came before it, and the last one all of it."""
    found = await events(answered("a\n", "b"))
    assert [each["event"] for each in found] == [
        {"type": "PromptProgress", "previous": "", "next": "a\n"},
        {"type": "PromptProgress", "previous": "a\n", "next": "b"},
        {"type": "PromptCompletion", "previous": "a\nb"},
    ]
    assert len({each["stream_id"] for each in found}) == 1
    assert found[0]["session"] == {
        "id": "s",
        "llm_uuid": "l",
        "user_id": "u",
        "started": "1970-01-01T00:00:00.000Z",
        "last_called": "1970-01-01T00:00:01.000Z",
        "session_parameters": {"system_prompt": "x"},
    }
    assert (found[0]["input"], found[0]["parameters"]) == ("hi", {"seed": 1})


@pytest.mark.parametrize("pieces", [(), ("a",)])
async def test_an_error_is_the_last_event(pieces: tuple[str, ...]) -> None:
    """Whenever it comes; there is no completion behind it."""
    found = await events(answered(*pieces, error=BackendFailure("it failed")))
    assert found[-1]["event"] == {"type": "PromptError", "message": "it failed"}
    assert len(found) == len(pieces) + 1


async def test_leaving_closes_what_answers() -> None:
    """Who reads no further ends the response."""
    closed = []

    async def endless() -> AsyncGenerator[Delta | Ended, None]:
        try:
            while True:
                yield Delta("x")
        finally:
            closed.append(True)

    stream = PromptStream(session={}, llm_uuid="l", input="", parameters={})
    reading = stream.events(endless())
    await anext(reading)
    await reading.aclose()
    assert closed
