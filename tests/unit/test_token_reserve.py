"""What a request may take of a user's tokens of a day."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runnerd.errors import LimitReached
from runnerd.relay.operations import OPERATIONS
from runnerd.relay.plan import Plan
from runnerd.relay.records import RequestRecord
from runnerd.relay.token_reserve import Reserve, within
from runnerd.scheduler import RunnerKey


def plan(operation: str = "chat/completions", *, preload: bool = False, **said: Any) -> Plan:
    key = RunnerKey("llama.cpp", "m", "completion", "")
    body = json.dumps({"messages": [{"role": "user", "content": "x" * 40}], **said}).encode()
    return Plan(
        OPERATIONS[operation], key, "m", "m", (body,), streams=False, assembles=False, prompts=1,
        preload_only=preload, origin=None,
    )  # fmt: skip


def asked(found: Plan) -> int:
    return int(json.loads(b"".join(found.body))["max_tokens"])


def test_what_is_said_is_reserved() -> None:
    """With the tokens of the text (and of the role); the request stays as it is."""
    found, reserve = within(plan(max_tokens=100), 1000)
    assert asked(found) == 100
    assert reserve == Reserve(11, 100, None)
    several, reserve = within(plan(max_tokens=100, n=3), 1000)
    assert (asked(several), reserve.response) == (100, 300)


@pytest.mark.parametrize("said", [{}, {"max_tokens": -1}, {"max_tokens": 5000}])
def test_no_more_than_what_is_left(said: dict[str, Any]) -> None:
    """Whatever is said, or if nothing is."""
    found, reserve = within(plan(**said), 1000)
    assert asked(found) == reserve.response == 989
    found, reserve = within(plan(**said), 10**6)
    assert asked(found) == reserve.response == (5000 if said.get("max_tokens") == 5000 else 4096)


def test_nothing_left() -> None:
    """A text that does not fit is refused, before an engine reads it."""
    with pytest.raises(LimitReached, match="tokens_per_day") as refused:
        within(plan(), 11)
    assert refused.value.limit == "tokens_per_day"


def test_what_has_no_response() -> None:
    """Embeddings count with their text, loads with nothing."""
    assert within(plan("embeddings", input="y" * 40), 1000)[1] == Reserve(21, 0, None)
    assert within(plan(preload=True), 0)[1].tokens == 0


def test_who_has_left() -> None:
    """Counts with what was generated: by the time, by what was sent, else with all."""
    record = RequestRecord("id", "m", "chat", None, None, False, 1)
    assert Reserve(10, 100, 0.1).spent_by_who_left(record) == 0
    record.waited, record.duration = 5.0, 6.0
    assert Reserve(10, 100, 0.1).spent_by_who_left(record) == 20
    assert Reserve(10, 100, 0.001).spent_by_who_left(record) == 110
    assert Reserve(10, 100, None).spent_by_who_left(record) == 110
    record.streamed, record.bytes_out = True, 3000
    assert Reserve(10, 100, None).spent_by_who_left(record) == 30
