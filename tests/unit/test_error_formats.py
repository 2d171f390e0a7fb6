"""Each API's errors, whole and inside a stream."""

from __future__ import annotations

import json

import pytest

from runnerd.api.anthropic.errors import ANTHROPIC
from runnerd.api.ollama.errors import OLLAMA
from runnerd.relay.error_formats import OPENAI, ErrorFormat

ERROR = {"message": "no", "type": "invalid_request_error", "param": "model", "code": None}
TOLD: list[tuple[ErrorFormat, object]] = [
    (OPENAI, {"error": ERROR}),
    (OLLAMA, {"error": "no"}),
    (ANTHROPIC, {"type": "error", "error": {"type": "not_found_error", "message": "no"}}),
]


@pytest.mark.parametrize(("format", "document"), TOLD)
def test_body(format: ErrorFormat, document: object) -> None:
    """The whole response is the document that the API's clients read."""
    assert json.loads(format.body(ERROR, 404)) == document
    assert format.media_type == "application/json"


@pytest.mark.parametrize("format", [OPENAI, ANTHROPIC])
def test_event(format: ErrorFormat) -> None:
    """In a stream of events it is one more event."""
    *_, line = format.event(ERROR).strip().split(b"\n")
    assert json.loads(line.removeprefix(b"data: "))["error"]["message"] == "no"


def test_line() -> None:
    """In Ollama's streams it is a line."""
    assert json.loads(OLLAMA.event(ERROR)) == {"error": "no"}
    assert OLLAMA.event(ERROR).endswith(b"\n")
