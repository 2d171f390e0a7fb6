"""runnerd.api.openai and its translations on the relay: what is kept, forms, vectors, streams."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.access import NOBODY
from runnerd.api.anthropic.responses import WholeMessage
from runnerd.api.openai.transcriptions import TranscriptionDialect, read_form
from runnerd.errors import ClientError
from runnerd.relay.response_adapters.dimensions import ShortenedEmbeddings
from runnerd.relay.response_adapters.null_events import WithoutNullEvents

COVERS = (
    "runnerd.api.anthropic.responses",
    "runnerd.api.openai.transcriptions",
)


@given(
    fields=st.dictionaries(
        st.text("abcdefghij_", min_size=1).filter(lambda name: name != "file"),
        st.text(st.characters(codec="utf-8")),
        max_size=4,
    ),
    sound=st.binary(),
    boundary=st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=8, max_size=60),
)
def test_forms(fields: dict[str, str], sound: bytes, boundary: str) -> None:
    """What is put into a form comes out of it."""
    mark = boundary.encode() + b"~"  # does not occur in what is sent
    if any(b"\r\n--" + mark in value for value in (sound, *(v.encode() for v in fields.values()))):
        return
    body = b""
    for name, value in fields.items():
        head = b'Content-Disposition: form-data; name="%s"' % name.encode()
        body += b"--%s\r\n%s\r\n\r\n%s\r\n" % (mark, head, value.encode())
    head = b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/x'
    body += b"--%s\r\n%s\r\n\r\n%s\r\n--%s--\r\n" % (mark, head, sound, mark)
    assert read_form(body) == (fields, sound)


@given(st.binary())
def test_what_is_no_form(body: bytes) -> None:
    """Whatever comes is read or refused."""
    with contextlib.suppress(ClientError):
        read_form(body)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=20), st.data())
def test_shorter_vectors(values: list[float], data: st.DataObject) -> None:
    """The first ones, at length one; as many as were asked for."""
    count = data.draw(st.integers(1, len(values)))
    response = ShortenedEmbeddings(count)
    whole = msgspec.json.encode({"data": [{"embedding": values}]})
    cut = data.draw(st.integers(0, len(whole)))
    assert response.feed(whole[:cut]) + response.feed(whole[cut:]) == b""
    vector = json.loads(response.end())["data"][0]["embedding"]
    assert len(vector) == count
    if math.hypot(*values[:count]) > 1e-9:
        assert math.hypot(*vector) == pytest.approx(1)


@given(st.lists(st.sampled_from([b"null", b'{"a":1}', b'{"b":"\\n"}', b"[DONE]"])), st.data())
def test_events_that_say_nothing(events: list[bytes], data: st.DataObject) -> None:
    """Are taken out, however the stream is cut."""
    stream = b"".join(b"data: " + event + b"\n\n" for event in events)
    passed = WithoutNullEvents()
    out, start = b"", 0
    while start < len(stream):
        end = data.draw(st.integers(start + 1, len(stream)))
        out += passed.feed(stream[start:end])
        start = end
    out += passed.end()
    kept = [event for event in events if event != b"null"]
    assert out == b"".join(b"data: " + event + b"\n\n" for event in kept)


@given(st.data())
def test_whole_messages_are_what_their_streams_say(data: st.DataObject) -> None:
    """Anthropic's: the same blocks, texts and inputs, however the stream is cut."""
    blocks = data.draw(st.lists(_BLOCKS, max_size=4))
    stream = _event("message_start", message={"id": "m", "content": [], "usage": {"input": 3}})
    for index, block in enumerate(blocks):
        stream += b"".join(_events_of(index, block, data))
    stream += _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output": 5})
    stream += _event("message_stop")
    response = WholeMessage()
    start = 0
    while start < len(stream):
        end = data.draw(st.integers(start + 1, len(stream)))
        assert response.feed(stream[start:end]) == b""
        start = end
    message = json.loads(response.end())
    assert message["content"] == blocks
    assert message["usage"] == {"input": 3, "output": 5}
    assert message["stop_reason"] == "end_turn"


ANY_MODEL = cast(Any, None)  # which one makes no difference
_TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
_BLOCKS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, _TEXT),
    st.builds(
        lambda input: {"type": "tool_use", "id": "t", "name": "f", "input": input},
        st.dictionaries(_TEXT, _TEXT, max_size=3),
    ),
)


def _event(kind: str, **members: Any) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (
        kind.encode(),
        msgspec.json.encode({"type": kind, **members}),
    )


def _events_of(index: int, block: dict[str, Any], data: st.DataObject) -> Iterator[bytes]:
    """Yield a block's events: its beginning, its text or input in pieces, its end."""
    if block["type"] == "text":
        empty, text, kind, name = {**block, "text": ""}, block["text"], "text_delta", "text"
    else:
        text = json.dumps(block["input"], ensure_ascii=False)
        empty, kind, name = {**block, "input": {}}, "input_json_delta", "partial_json"
    yield _event("content_block_start", index=index, content_block=empty)
    start = 0
    while start < len(text):
        end = data.draw(st.integers(start + 1, len(text)))
        piece = {"type": kind, name: text[start:end]}
        yield _event("content_block_delta", index=index, delta=piece)
        start = end
    yield _event("content_block_stop", index=index)


def test_a_sound_becomes_a_chat_about_it() -> None:
    """The task, the language and the sound itself, always as a stream."""
    body = (
        b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nears\r\n'
        b'--b\r\nContent-Disposition: form-data; name="language"\r\n\r\nde\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        b"ID3xyz\r\n--b--\r\n"
    )
    sent = json.loads(TranscriptionDialect().read(body, NOBODY).translated(ANY_MODEL).body)
    assert (sent["model"], sent["stream"]) == ("ears", True)
    task, sound = sent["messages"][0]["content"]
    assert "language: de" in task["text"]
    assert sound["input_audio"] == {"data": "SUQzeHl6", "format": "mp3"}
