"""The tree of errors, and how the APIs with words of their own tell them."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from runnerd import errors
from runnerd.api.anthropic.errors import ANTHROPIC
from runnerd.api.gridrepublic.errors import GRIDREPUBLIC
from runnerd.api.ollama.errors import OLLAMA
from runnerd.errors import RunnerdError

CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, RunnerdError)
]
TOLD = {"message": "it went wrong", "type": "x", "param": None, "code": "y"}


@pytest.mark.parametrize("kind", CLASSES)
def test_each_has_a_status_and_a_code_of_its_kind(kind: type[RunnerdError]) -> None:
    """What the client did is 4xx, and tells programs apart what they may do about it."""
    assert 400 <= kind.status <= 599
    assert kind.code.replace("_", "").isalnum()
    if issubclass(kind, errors.ClientError):
        assert kind.status < 500
    assert kind.__name__ in (errors.__doc__ or "") or kind in (
        errors.ResponseNotFound, errors.ModelDeleted,
    )  # fmt: skip


def decoded(text: bytes) -> Any:
    return json.loads(text)


def test_ollamas_and_gridrepublics() -> None:
    """A sentence, in the member that their clients look into."""
    assert decoded(OLLAMA.body(TOLD, 404)) == {"error": "it went wrong"}
    assert OLLAMA.event(TOLD).endswith(b"\n")
    assert decoded(GRIDREPUBLIC.body(TOLD, 404)) == {"success": False, "error": "it went wrong"}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (429, "rate_limit_error"),
        (418, "api_error"),
        (502, "api_error"),
    ],
)
def test_anthropics(status: int, kind: str) -> None:
    """Its SDKs make exceptions of the kind."""
    told = {"type": "error", "error": {"type": kind, "message": "it went wrong"}}
    assert decoded(ANTHROPIC.body(TOLD, status)) == told
    assert ANTHROPIC.event(TOLD).startswith(b"event: error\ndata: ")


def test_anthropics_clients_hear_of_a_prompt_that_is_too_long() -> None:
    """In the words at which they shorten the conversation."""
    engine = "request (9000 tokens) exceeds the available context size (4096 tokens)"
    found = decoded(ANTHROPIC.body({**TOLD, "message": engine}, 400))
    assert found["error"]["message"] == "prompt is too long: 9000 tokens > 4096 maximum"
