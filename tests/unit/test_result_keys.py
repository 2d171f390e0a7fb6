"""What is written to Redis for ProtoLLM's clients, in which order, and what is read."""

from __future__ import annotations

import json
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from runnerd.jobs.fleet.protollm.result_keys import (
    Generation,
    JobStatus,
    Outcome,
    ResultKeys,
    outcome,
)

NOW = datetime(2026, 1, 2, 3, 4, 5)
KEYS = ResultKeys()


def read(keys: ResultKeys, values: dict[str, str]) -> Outcome | None:
    """The outcome that these keys tell."""
    return outcome(*(v.encode() if (v := values.get(k)) else None for k in keys.to_read("x")))


def test_completed() -> None:
    """The answer comes before the status that announces it."""
    writes = KEYS.completed("x", "text", NOW)
    assert [key for key, _ in writes.keys] == ["job-answer:x", "job-status:x", "llm-api:x"]
    values = dict(writes.keys)
    assert json.loads(values["job-answer:x"]) == {"result": "text"}
    assert json.loads(values["llm-api:x"]) == {"content": "text"}
    assert json.loads(values["job-status:x"]) == {
        "status": "completed",
        "last_update": "2026-01-02T03:04:05",
        "status_message": None,
        "is_completed": True,
        "error": None,
    }
    assert writes.channels == ("job-status:x", "llm-api:x")
    assert read(KEYS, values) == Outcome(JobStatus.COMPLETED, "text")


def test_failed() -> None:
    """The first generation's clients get the words, since they wait for nothing else."""
    values = dict(KEYS.failed("x", "TimeoutError", "too late", NOW).keys)
    status = json.loads(values["job-status:x"])
    assert (status["status"], status["is_completed"]) == ("error", True)
    assert status["error"] == {"type": "TimeoutError", "msg": "too late"}
    assert json.loads(values["llm-api:x"]) == {"content": "too late"}
    assert read(KEYS, values) == Outcome(JobStatus.ERROR, error="too late")
    other = dict(KEYS.failed("x", "Strange", "words", NOW).keys)
    assert json.loads(other["job-status:x"])["error"]["type"] == "Exception"


def test_under_way() -> None:
    """Pending, with the prompt, and in progress."""
    pending = KEYS.pending("x", "{}", NOW)
    assert [key for key, _ in pending.keys] == ["prompt:x", "job-status:x"]
    assert read(KEYS, dict(pending.keys)) == Outcome(JobStatus.PENDING)
    began = dict(KEYS.in_progress("x", NOW).keys)
    assert json.loads(began["job-status:x"])["status_message"] == "working"
    assert read(KEYS, began) == Outcome(JobStatus.IN_PROGRESS)


def test_one_generation_alone() -> None:
    """Nothing of the other is written."""
    first = ResultKeys(generations=frozenset({Generation.FIRST}))
    assert first.pending("x", "{}", NOW).keys == first.in_progress("x", NOW).keys == ()
    assert [key for key, _ in first.completed("x", "t", NOW).keys] == ["llm-api:x"]
    second = ResultKeys(generations=frozenset({Generation.SECOND}))
    assert second.completed("x", "t", NOW).channels == second.channels("x") == ("job-status:x",)


def test_a_status_before_its_answer() -> None:
    """Real workers may write it so: the result is about to come."""
    status = dict(KEYS.completed("x", "t", NOW).keys)["job-status:x"]
    assert outcome(status.encode(), None, None) == Outcome(JobStatus.IN_PROGRESS)


@given(st.none() | st.binary(), st.none() | st.binary(), st.none() | st.binary())
def test_whatever_lies_there(one: bytes | None, two: bytes | None, three: bytes | None) -> None:
    """Nothing that somebody has written is an error."""
    outcome(one, two, three)
