"""Server-sent events: any pieces, any line ends, comments, several lines of data."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runnerd.sse import Event, EventSplitter, comment, encoded, joined, parse

# As the standard reads it, line by line: slow, and plain to see.


def read_by_the_book(data: bytes) -> list[Event]:
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    *lines, _unfinished = text.split(b"\n")
    events: list[Event] = []
    values: list[bytes] = []
    kind, said = "", False
    for line in lines:
        if not line:
            if said:
                events.append(Event(kind, b"\n".join(values)))
            kind, values, said = "", [], False
            continue
        said = True
        name, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            values.append(value)
        elif name == b"event":
            kind = value.decode("utf-8", "replace")
    return events


def read(data: bytes, cuts: list[int]) -> list[Event]:
    splitter, events = EventSplitter(), []
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    for begin, end in zip([0, *places], [*places, len(data)], strict=True):
        events += [parse(text) for text in splitter.feed(data[begin:end])]
    return events


LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"data:  c ", b"event: x", b"event", b": said", b":", b"id: 1",
     b"retry: 5", b"other", b"", b"", b"data: {\"a\":1}", b"\xef\xbb\xbfdata: d"]
)  # fmt: skip
STREAMS = st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"]))).map(
    lambda lines: b"".join(line + end for line, end in lines)
)
CUTS = st.lists(st.integers(0, 2**12), max_size=10)


@given(STREAMS | st.binary(max_size=60), CUTS)
def test_any_stream_is_read_by_the_book(data: bytes, cuts: list[int]) -> None:
    """However it is cut, and whatever ends its lines."""
    # A CR at the very end may be half of a line's end: it is not known yet.
    found = read(data, cuts)
    expected = [event._replace(error=b"") for event in read_by_the_book(data)]
    found = [event._replace(error=b"") for event in found]
    assert found == expected[: len(found)]
    assert len(expected) - len(found) <= data.endswith(b"\r")


@given(
    st.lists(st.tuples(st.binary(max_size=40), st.sampled_from(["", "message_start"]))),
    CUTS,
)
def test_encoded_events_are_read_as_they_were(
    events: list[tuple[bytes, str]], cuts: list[int]
) -> None:
    """Data of several lines, too; all ends of lines become line feeds."""
    data = b"".join(comment("waiting") + encoded(data, kind) for data, kind in events)
    found = [event for event in read(data, cuts) if event != Event("", b"")]
    expected = [
        Event(kind, data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")) for data, kind in events
    ]
    assert found == [event for event in expected if event != Event("", b"")]


@given(STREAMS, CUTS)
@example(b"\n\xef\xbb\xbfdata: d\n\n", [])  # a mark that is not the stream's
@example(b"\xef\xbb\xbf\xef\xbb\xbfdata: d\n\n", [])
def test_what_was_split_can_be_joined(data: bytes, cuts: list[int]) -> None:
    """Passed on, it is the same stream with line feeds."""
    splitter, passed = EventSplitter(), b""
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    for begin, end in zip([0, *places], [*places, len(data)], strict=True):
        passed += joined(splitter.feed(data[begin:end]))
    assert read(passed, []) == read(data, [])


@pytest.mark.parametrize("error", [b"error: {}\n\n", b"error:{}\r\n\r\n"])
def test_field_of_llama_server(error: bytes) -> None:
    """It has told errors in a field of its own."""
    assert read(error, []) == [Event("", b"", b"{}")]
