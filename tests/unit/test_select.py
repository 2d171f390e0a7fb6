"""runnerd.relay.response_adapters.select: which translation completes a response."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerd.relay.operations import OPERATIONS
from runnerd.relay.parsed_request import parse
from runnerd.relay.response_adapters.dimensions import ShortenedEmbeddings
from runnerd.relay.response_adapters.event_changes import ChangedResponse, ChangedStream
from runnerd.relay.response_adapters.null_events import WithoutNullEvents
from runnerd.relay.response_adapters.select import translation_of
from runnerd.relay.translations import Assembled, PassedThrough


@pytest.mark.parametrize(
    ("operation", "said", "assembles", "kind"),
    [
        ("chat/completions", {}, True, Assembled),
        ("chat/completions", {}, False, PassedThrough),
        ("chat/completions", {"stream": True}, False, PassedThrough),
        ("chat/completions", {"stream": True, "n": 2}, False, WithoutNullEvents),
        ("chat/completions", {"stream": True, "n": 1}, False, PassedThrough),
        ("chat/completions", {"logprobs": True}, True, ChangedResponse),
        ("chat/completions", {"stream": True, "logprobs": True}, False, ChangedStream),
        ("completions", {"prompt": ["a", "b"], "stream": True}, False, WithoutNullEvents),
        ("completions", {"prompt": "a", "echo": True}, True, ChangedResponse),
        ("completions", {"prompt": "a", "echo": True, "stream": True}, False, ChangedStream),
        ("embeddings", {"input": "a"}, False, PassedThrough),
        ("embeddings", {"input": "a", "dimensions": 8}, False, ShortenedEmbeddings),
        ("embeddings", {"input": "a", "dimensions": None}, False, PassedThrough),
        ("rerank", {"query": "q", "documents": ["a"]}, False, PassedThrough),
        ("tokenize", {"content": "a", "stream": True}, False, PassedThrough),
    ],
)
def test_what_a_response_lacks(
    operation: str, said: dict[str, Any], assembles: bool, kind: type
) -> None:
    """Most lack nothing, and pass as they come."""
    request = parse(json.dumps({"model": "m", **said}).encode())
    found = translation_of(
        OPERATIONS[operation], request.fields, request.prompts, assembles=assembles
    )
    assert type(found) is kind
