"""ProtoLLM's task message, byte for byte, and what is refused."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.jobs.fleet.protollm.prompts import (
    ChatCompletionModel,
    ChatMessage,
    PromptMeta,
    PromptModel,
    chat_request,
)
from runnerd.jobs.fleet.protollm.task_message import MOST_BYTES, BadTask, TaskMessage

COVERS = ("runnerd.jobs.fleet.protollm.prompts",)

PROMPT = ChatCompletionModel(
    job_id="12345",
    priority=1,
    meta=PromptMeta(model="m"),
    messages=[ChatMessage(role="user", content="What is AI?")],
)


def _told(messages: bytes) -> bytes:
    """A task whose messages are not decoded, and whose job is known."""
    return b'{"kwargs": {"prompt": {"job_id": "x", "messages": ' + messages + b"}}}"


def test_as_the_published_api_writes_it() -> None:
    """Every member, in the same order."""
    assert TaskMessage(PROMPT).encode() == (
        b'{"type": "task", "task": "generate", "args": [], "kwargs": {"prompt": {"job_id": "12345",'
        b' "priority": 1, "source": "local", "meta": {"temperature": 0.2, "tokens_limit": 8096,'
        b' "stop_words": null, "model": "m"}, "messages": [{"role": "user", "content":'
        b' "What is AI?"}]}, "prompt_type": "chat_completion"}, "id": "12345", "retries": 0,'
        b' "eta": null}'
    )


def test_there_and_back() -> None:
    """What was written is read."""
    assert TaskMessage.decode(TaskMessage(PROMPT).encode()).prompt == PROMPT


def test_a_single_generation() -> None:
    """Its text is a conversation of one message."""
    prompt = PromptModel(job_id="x", meta=PromptMeta(), content="hello")
    kwargs = {"prompt": prompt.model_dump(), "prompt_type": "single_generation"}
    found = TaskMessage.decode(json.dumps({"kwargs": kwargs}).encode())
    assert found.prompt.messages == [ChatMessage(role="user", content="hello")]


@pytest.mark.parametrize(
    ("body", "job_id"),
    [
        (b"\xff", None),
        (b"[]", None),
        (b"[" * 100_000, None),
        (b'{"kwargs":{"prompt":{"job_id":"\\ud800"}}}', None),
        (b"{}", None),
        (b'{"kwargs":{"prompt":{"job_id":"x"}}}', "x"),
        (b'{"kwargs":{"prompt":{"job_id":7}}}', None),
        (b'{"kwargs":{"prompt":{"job_id":"x"},"prompt_type":"other"}}', "x"),
        (b" " * (MOST_BYTES + 1), None),
        (_told(b" " * MOST_BYTES), "x"),
        (_told(b"[" * 2**20), "x"),
        (_told(b"9" * 2**20), "x"),
        (_told(b"[" + b'{"role":"user","content":""},' * 2**17 + b"1]"), "x"),
    ],
)
def test_refused(body: bytes, job_id: str | None) -> None:
    """With the job's id where there is one, so that somebody can be told."""
    with pytest.raises(BadTask) as caught:
        TaskMessage.decode(body)
    assert caught.value.job_id == job_id


@given(
    st.binary()
    | st.recursive(st.none() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_whatever_lies_in_the_queue(body: bytes) -> None:
    """It is a task or refused."""
    with contextlib.suppress(BadTask):
        TaskMessage.decode(body)


def test_as_a_chat() -> None:
    """What is null is left to the engine; the default model is for prompts without one."""
    meta = PromptMeta(temperature=None, tokens_limit=None, stop_words=["x"])
    prompt = PROMPT.model_copy(update={"meta": meta})
    assert chat_request(prompt, "other") == {
        "model": "other",
        "messages": [{"role": "user", "content": "What is AI?"}],
        "stop": ["x"],
    }
    assert chat_request(PROMPT, "other")["model"] == "m"
