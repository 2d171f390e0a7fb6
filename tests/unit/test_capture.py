"""Responses as they were kept are shown as what they say."""

from __future__ import annotations

import pytest

from runnerd.relay.capture import MOST_BYTES, CapturingClient, Content

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (b"", ""),
        (HEAD % b"application/json" + b"Content-Length: 2\r\n\r\n{}", "{}"),
        (CHUNKED % b"text/plain" + b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n", "abc"),
        (CHUNKED % b"text/plain" + b"5\r\nab", "ab"),
        (CHUNKED % b"text/plain" + b"zz\r\nab", ""),
        (CHUNKED % b"text/event-stream" + b"6\r\ndata: \r\n", "data: "),
        (HEAD % b"text/event-stream" + b'\r\ndata: {"choices": 5}\n\n', 'data: {"choices": 5}\n\n'),
        (HEAD % b"text/plain" + b"\r\n\xff", "\ufffd"),
    ],
)
def test_responses(response: bytes, told: str) -> None:
    """Without framing, as far as they were kept."""
    assert Content("/", b"", bytearray(response)).response_text() == told


def test_no_more_than_a_bound_is_kept() -> None:
    """However much is sent, and all of it is passed on."""
    sent: list[bytes] = []

    class Connection:
        write = sent.append

    content = Content.of("/", b"x " * 10**6)
    client = CapturingClient(Connection(), content)  # type: ignore[arg-type]
    for _ in range(5):
        client.write(b"y" * 30_000)
    assert len(content.response) == MOST_BYTES
    assert len(content.request) == MOST_BYTES
    assert len(b"".join(sent)) == 150_000
