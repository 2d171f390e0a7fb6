"""What an engine says may be anything: a translation costs what the stream is long, and refuses.

Each stream is fed as it comes from a socket, to each translation.  What a translation may raise is
a StreamError; what it makes its client's response of is what the stream is long, and no more.
"""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runnerd.api.anthropic.chats import MessageOfChat
from runnerd.api.anthropic.responses import StreamedMessage, WholeMessage
from runnerd.api.ollama.responses import TextResponse
from runnerd.api.openai.completed_responses import CompletedResponse
from runnerd.errors import BackendFailure
from runnerd.relay.dialect import AskedAgain
from runnerd.relay.events import StreamError
from runnerd.relay.response_adapters.assembly import MOST_ENTRIES
from runnerd.relay.translations import Assembled, of_stream
from runnerd.sse import MOST_BYTES, MOST_EVENTS, EventSplitter

PIECE = 2**16
NO_LIMIT: Any = SimpleNamespace(tokens=None)


TRANSLATIONS: dict[str, Callable[[], Any]] = {
    "assembled": lambda: Assembled(1, "m"),
    "anthropic": lambda: MessageOfChat("m", StreamedMessage()),
    "anthropic whole": lambda: MessageOfChat("m", WholeMessage()),
    "anthropic's own": WholeMessage,
    "anthropic's own stream": StreamedMessage,
    "ollama": lambda: TextResponse("m", streams=True, chat=True),
    "ollama whole": lambda: TextResponse("m", streams=False, chat=True, top_logprobs=5),
    "ollama text": lambda: TextResponse("m", streams=False, chat=False),
    "response": lambda: CompletedResponse({}, None, NO_LIMIT, streams=True),
    "response whole": lambda: CompletedResponse({}, None, NO_LIMIT, streams=False),
}


def event(document: Any) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def delta(said: Any, reason: str | None = None, **more: Any) -> bytes:
    return event({"choices": [{"index": 0, "delta": said, "finish_reason": reason}], **more})


def call(index: Any, name: Any = "f", arguments: Any = "") -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": "x", "type": "function", "function": function}


def anthropic(kind: str, **said: Any) -> bytes:
    return event({"type": kind, **said})


MANY = 17_000
ODD_INDICES: tuple[Any, ...] = (-1, 2**40, 2**70, "a", None, 1.5, [], {})
LOGPROB = {"token": "a", "logprob": -1.0, "bytes": [97]}
STREAMS: dict[str, Callable[[], bytes]] = {
    "text nested deeply": lambda: delta({"content": "[" * 10**5}),
    "an event nested deeply": lambda: b'data: {"choices":%s%s}\n\n' % (b"[" * 10**5, b"]" * 10**5),
    "arguments nested deeply": lambda: delta({"tool_calls": [call(0, arguments="[" * 10**5)]}),
    "many calls": lambda: b"".join(delta({"tool_calls": [call(n)]}) for n in range(MANY)),
    "many calls at once": lambda: delta({"tool_calls": [call(n) for n in range(MANY)]}),
    "many choices": lambda: b"".join(
        event({"choices": [{"index": n, "delta": {"content": "a"}}]}) for n in range(MANY)
    ),
    "a long name": lambda: delta({"tool_calls": [call(0, name="f" * 2**20)]}),
    "odd indices": lambda: b"".join(delta({"tool_calls": [call(index)]}) for index in ODD_INDICES),
    "a long event": lambda: delta({"content": "x" * 2**23}),
    "an event without an end": lambda: b"data: " + b"x" * 2**23,
    "lines without an end": lambda: b"data: 1\n" * 2**20,
    "many values": lambda: b'data: {"a":[' + b"1," * 2**20 + b"1]}\n\n",
    "empty events": lambda: b"data: {}\n\n" * MANY,
    "members twice": lambda: b'data: {"choices":[{"delta":{"content":"a","content":"b"}}]}\n\n',
    "half a character": lambda: b'data: {"choices":[{"delta":{"content":"\xe2\x82"}}]}\n\n',
    "half a pair": lambda: b'data: {"choices":[{"delta":{"content":"\\ud800"}}]}\n\n',
    "no number": lambda: b'data: {"choices":[{"delta":{"content":"a"},"x":NaN}]}\n\n',
    "logprobs": lambda: event(
        {
            "choices": [
                {
                    "delta": {"content": "a"},
                    "logprobs": {"content": [LOGPROB | {"top_logprobs": [LOGPROB] * 10**4}]},
                }
            ]
        }
    ),
    "odd usage": lambda: delta(
        {}, "stop", usage={"prompt_tokens": 10**30, "completion_tokens": "x" * 10**5}
    ),
    "odd shapes": lambda: event({"choices": [5]}) + event({"choices": {"a": 1}}),
    "odd calls": lambda: delta({"tool_calls": 7}) + delta({"tool_calls": [[]]}),
    "odd text": lambda: delta({"content": {"a": 1}}) + delta({"reasoning_content": 5}),
    "odd blocks": lambda: anthropic("content_block_delta", index=9, delta={"type": "text_delta"}),
    "odd message": lambda: anthropic("message_start", message=5),
    "odd response": lambda: event({"type": "response.completed", "response": {"output": [5]}}),
    "odd item": lambda: event(
        {"type": "response.output_item.done", "item": {"type": "function_call"}}
    ),
}
END = delta({}, "stop") + b"data: [DONE]\n\n"


def pieces(stream: bytes) -> Iterator[bytes]:
    return (stream[at : at + PIECE] for at in range(0, len(stream), PIECE))


def run(make: Callable[[], Any], stream: bytes) -> int:
    """Feed a stream; return how many bytes came out.  What is no StreamError passes through."""
    translation = make()
    size = 0
    try:
        for piece in (*pieces(stream), END):
            size += len(of_stream(translation.feed, piece))
        size += len(of_stream(translation.end))
    except (StreamError, AskedAgain):
        pass
    return size


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("translation", TRANSLATIONS)
def test_whatever_comes_is_translated_or_refused(translation: str, stream: str) -> None:
    """What comes out goes with what came."""
    said = STREAMS[stream]()
    assert run(TRANSLATIONS[translation], said) < 16 * len(said) + 2**16


@pytest.mark.parametrize("stream", ["many calls", "many choices", "a long event", "many values"])
@pytest.mark.parametrize("translation", ["assembled", "anthropic whole", "ollama whole"])
def test_memory_has_a_limit(translation: str, stream: str) -> None:
    """Whatever the response is made of."""
    said = STREAMS[stream]()
    tracemalloc.start(1)
    try:
        run(TRANSLATIONS[translation], said)
        assert tracemalloc.get_traced_memory()[1] < 96 * 2**20
    finally:
        tracemalloc.stop()


GROWING: dict[str, bytes] = {
    "arguments": delta({"tool_calls": [{"index": 0, "function": {"arguments": "x" * 200}}]}),
    "text": delta({"content": "x" * 200}),
    "thoughts": delta({"reasoning_content": "x" * 200}),
}


@pytest.mark.parametrize("what", GROWING)
@pytest.mark.parametrize("translation", [each for each in TRANSLATIONS if "own" not in each])
def test_what_grows_by_a_little_is_not_copied_each_time(translation: str, what: str) -> None:
    """Eight times as much takes less than forty times as long, in the thread's processor time."""

    def cost(many: int) -> float:
        began = time.thread_time()
        run(TRANSLATIONS[translation], GROWING[what] * many)
        return time.thread_time() - began

    few = min(cost(2_000) for _ in range(3))
    # Once in a while all of the test's garbage is collected meanwhile.
    assert any(cost(16_000) < 40 * few for _ in range(3))


def test_an_event_has_a_limit() -> None:
    """So has what is kept of one."""
    splitter = EventSplitter()
    with pytest.raises(BackendFailure, match="longer than"):
        list(map(splitter.feed, pieces(b"data: " + b"x" * 2 * MOST_BYTES)))
    with pytest.raises(BackendFailure, match="longer than"):
        EventSplitter().feed(b"data: " + b"x" * MOST_BYTES + b"\n\n")
    assert len(splitter.rest) <= MOST_BYTES


def test_a_stream_has_so_many_events() -> None:
    """However short they are, each costs the event loop something."""
    splitter, many = EventSplitter(), b":\n\n" * (MOST_EVENTS // 8)
    for _ in range(8):
        splitter.feed(many)
    with pytest.raises(BackendFailure, match="more than 2097152 events"):
        splitter.feed(b":\n\n")


def test_a_response_has_so_many_parts() -> None:
    """Each of which takes more memory than bytes."""
    for said in (
        b"".join(delta({"tool_calls": [call(n)]}) for n in range(MOST_ENTRIES + 1)),
        b"".join(event({"choices": [{"index": n, "delta": {}}]}) for n in range(MOST_ENTRIES + 1)),
    ):
        with pytest.raises(StreamError, match="parts"):
            Assembled(1, "m").feed(said)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "a", "stop", "tool_use"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "tool_calls", "index", "function", "arguments",
                 "name", "logprobs", "usage", "type", "item", "response", "output", "message",
                 "content_block", "error", "finish_reason", "reasoning_content", "timings"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=25,
)  # fmt: skip
KINDS = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "message_delta",
     "response.completed", "response.output_item.done", "response.content_part.added", None]
)  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    st.sampled_from(sorted(TRANSLATIONS)),
    st.lists(st.tuples(KINDS, st.dictionaries(st.sampled_from(["choices", "delta", "index", "item",
             "response", "message", "content_block", "usage"]), JSON, max_size=4)), max_size=4),
)  # fmt: skip
def test_any_documents_are_translated_or_refused(
    translation: str, said: list[tuple[str | None, dict[str, Any]]]
) -> None:
    """Nothing else is raised."""
    stream = b"".join(event({"type": kind, **document}) for kind, document in said)
    run(TRANSLATIONS[translation], stream)
