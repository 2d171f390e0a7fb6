"""Which queues a client of ProtoLLM's API may use."""

from __future__ import annotations

from typing import Any

import pytest

from runnerd.api.protollm.broker_queues import check_queue
from runnerd.errors import ModelNotFound

QUEUES = {"fast": "ai/smollm2", "llm-api-queue": "ai/smollm2"}


def allowed(queue: str, named: str | None = None, **more: Any) -> bool:
    said: dict[str, Any] = {"queues": {}, "is_model": False, "may_use": None}
    said["published"] = {"llm-api-queue"}
    try:
        check_queue(queue, named, **(said | more))
    except ModelNotFound:
        return False
    return True


@pytest.mark.parametrize(
    ("queue", "more", "expected"),
    [
        ("llm-api-queue", {}, True),
        ("anything", {}, False),
        ("anything", {"is_model": True}, True),
        ("fast", {"queues": QUEUES}, True),
    ],
)
def test_only_queues_that_there_are(queue: str, more: dict[str, Any], expected: bool) -> None:
    """Else each call could leave one behind in the broker."""
    assert allowed(queue, **more) is expected


@pytest.mark.parametrize(
    ("queue", "named", "more", "expected"),
    [
        ("fast", None, {"queues": QUEUES}, True),
        ("fast", "ai/other", {"queues": QUEUES}, False),
        ("ai/other", None, {"is_model": True}, False),
        ("ai/smollm2", None, {"is_model": True}, True),
        ("llm-api-queue", None, {}, False),  # whatever a worker has
        ("llm-api-queue", "ai/smollm2", {}, False),  # or has instead of what is named
        ("llm-api-queue", "ai/smollm2", {"queues": QUEUES}, True),
    ],
)
def test_only_models_that_were_granted(
    queue: str, named: str | None, more: dict[str, Any], expected: bool
) -> None:
    """For who was not granted all."""
    assert allowed(queue, named, may_use=lambda name: name == "ai/smollm2", **more) is expected
