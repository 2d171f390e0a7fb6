"""Random input for whatever reads what strangers made, each for as long as FUZZ_SECONDS says.

A reader may refuse with an error of its own and nothing else: no other exception, and no more
memory than input of that size is worth.  hypothesis makes the input, out of pieces that matter, and
shrinks what fails; it is started again with another seed until the time is over.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import time
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from runnerd import config
from runnerd.errors import RunnerdError
from runnerd.limit_settings import Limits
from runnerd.models import tiny
from runnerd.models.gguf import read_header
from runnerd.models.gotemplates.translation import to_jinja
from runnerd.models.gotemplates.tree import TemplateError
from runnerd.models.manifest import parse_manifest
from runnerd.models.reference import Reference
from runnerd.relay.body import UNDECODABLE
from runnerd.relay.body_inspection import inspect
from runnerd.relay.events import StreamError
from runnerd.relay.http_reader import Head, HttpReader, Malformed
from runnerd.relay.image_cost import image_cost
from runnerd.relay.inline_content import inline_content
from runnerd.relay.parsed_request import parse
from runnerd.relay.prompt_length import LongestPrompt
from runnerd.relay.request_rewrites.known_schemas import with_known_schemas
from runnerd.relay.response_parser import BadResponse, ChunkedBody, read_head
from runnerd.relay.translations import Assembled, of_stream
from runnerd.sse import EventSplitter

_SECONDS = float(os.environ.get("FUZZ_SECONDS", "60"))
_MEMORY = 64 * 2**20
_ROUND = 500  # examples until the clock is looked at

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(_SECONDS * 2 + 300)]


def mixed(*pieces: bytes, most: int = 40) -> st.SearchStrategy[bytes]:
    """Such pieces, and any bytes between them."""
    piece = st.one_of(st.sampled_from(pieces), st.sampled_from(pieces), st.binary(max_size=8))
    return st.lists(piece, max_size=most).map(b"".join)


HTTP = mixed(
    b"GET / HTTP/1.1\r\n", b"POST /v1/chat/completions HTTP/1.1\r\n", b"Host: localhost\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n", b"\r\n", b"\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"5\r\nabcde\r\n",
    b"0\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"1;a=b\r\nx\r\n", b"Upgrade: h2c\r\n",
    b"Connection: Upgrade\r\n", b"Connection: close\r\n", b"Origin: null\r\n", b" folded\r\n",
    b"Expect: 100-continue\r\n", b"A" * 5000, b": ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)  # fmt: skip
JSON = mixed(
    b'{"model":"m"', b'"messages":[', b'{"role":"user","content":', b'"input":', b'"prompt":',
    b'"image_url":{"url":"data:image/png;base64,iVBORw0KGgo', b'"input_audio":{"data":"UklGR',
    b"[" * 60, b"]" * 60, b"{", b"}", b",", b":", b'"', b"\\u005f", b"\\ud800", b"1e999", b"-0",
    b'"response_format":{"type":"json_schema","json_schema":{"schema":', b'"$ref":"#"',
    b'"grammar":"root ::= a{1,9}"', b'"stop":[', b'"logit_bias":', b'"tools":[', b"null", b"true",
    b'"n":', b'"max_tokens":', b'"model":"m"}', b"x" * 1500,
)  # fmt: skip
TEXTS = mixed(
    b'"messages":[', b'"input":[', b'"prompt":', b'"system":', b'"documents":[', b'"query":',
    b'{"role":"user","content":', b'[{"type":"text","text":', b'"tool_calls":[', b'"output":[',
    b'{"source":', b'"input_extra":[', b'"input_prefix":', b'"\\u00e9\\n"',
    b'"' + b"x" * 700 + b'"',
    b"[", b"]", b"{", b"}", b",", b":", b'"', b"null", b"1", b'"a":', b"\xff", b"}]", b"}]}",
)  # fmt: skip
GO = mixed(
    b"{{ .Prompt }}", b"{{ if ", b"eq ", b"(", b")", b"}}", b"{{ end }}", b"{{ range .Messages }}",
    b"{{ else }}", b"$x := ", b"json", b"| ", b'"', b"`", b"{{-", b"-}}", b"{{/*", b"*/}}",
    b".System", b"index . 0", b"and . .", b"{% raw %}", b"{{ template ", b"{{ break }}",
)  # fmt: skip
SCHEMA = mixed(
    b'{"$ref":"#/', b"$defs/", b"properties/", b"a_b", b"a-b", b"/items", b"/0", b'"},',
    b'"$defs":{', b'"properties":{', b'"anyOf":[', b'"enum":[1,2],', b'"const":1,', b'"a_b":',
    b'"a-b":', b'"$id":"x",', b"{", b"}", b"]", b",", b"true", b'"type":"object",', b'"type":["',
)  # fmt: skip
EVENTS = mixed(
    b"data: ", b"data:", b"event: error", b"\n", b"\n\n", b"\r", b"\r\n", b"\xef\xbb\xbf", b": ",
    b'{"choices":[{"delta":{"content":"a"},"index":', b'{"error":{"message":"x"}}', b"[DONE]",
    b"0}]}", b"-1}]}", b'"tool_calls":[{"index":0,"function":{"arguments":"[', b"null", b"x" * 900,
)  # fmt: skip
RESPONSE = mixed(
    b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"Content-Length: 5\r\n", b"\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Content-Type: text/event-stream\r\n", b"5\r\nabcde\r\n",
    b"0\r\n\r\n", b"Connection: close\r\n", b"Content-Length: -1\r\n", b"f" * 20, b"A" * 5000,
)  # fmt: skip
NAMES = mixed(
    b"ai/", b"smollm2", b":latest", b"@sha256:", b"a" * 64, b"hf.co/", b"localhost:5000/", b"..",
    b"/", b":", b"@", b"%2e", b"\x00", b"https://huggingface.co/", b"\xc3\xa9", b"A", b"[::1]:1/",
)  # fmt: skip
MANIFEST = mixed(
    b'{"schemaVersion":2,', b'"mediaType":"application/vnd.oci.image.manifest.v1+json",',
    b'"config":{', b'"layers":[', b'"digest":"sha256:' + b"0" * 64 + b'",', b'"size":',
    b"9" * 20, b"-1", b"{", b"}", b"[", b"]", b",", b'"annotations":{', b"null", b'"', b"1e9",
    b'"mediaType":"application/vnd.docker.ai.gguf.v3"',
)  # fmt: skip
IMAGE = mixed(
    b"\x89PNG\r\n\x1a\n",
    b"\0\0\0\rIHDR\0\0\0\x08\0\0\0\x08\x10\x06\0\0\0\0\0\0\0",
    b"\0\0\0\x04CgBI",
    b"\0\0\0\x0aIDATx\x9c",
    zlib.compress(bytes(2**16)),
    zlib.compress(bytes(2**16))[2:],
    b"\0\0\0\0IEND",
    b"\xff\xd8\xff",
    b"\xff\xe0\0\x10JFIF\0",
    b"\xff\xc2\0\x11\x08\0\x08\0\x08\x03",
    b"\xff\xda\0\x08",
    b"\xff\xfe",
    b"\xff" * 300,
    b"RIFF\0\0\0\0WEBP",
    b"VP8X",
    b"VP8L",
    b"VP8 ",
    b"GIF89a",
    b"BM",
    b"8BPS",
    b"P6",
    b"\0" * 900,
    b"\0\0\x02\0",
    b"\xff\xff\xff\xff",
    b"\0\x01",
)
INLINE = mixed(
    b"data:image/png;base64,",
    b"data:",
    b",",
    b";base64",
    b"iVBORw0KGgo",
    b"/9j/",
    b"UklGR",
    b"=",
    b"==",
    b"\\n",
    b"\\u002c",
    b"\\ud800",
    b"\\",
    b"\\/",
    b"-_",
    b" ",
    b"\n",
    b"A" * 900,
    b"\xff",
    b"file:///",
)
NUMBERS = st.sampled_from([0, 1, 7, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1])


def through_http(data: bytes) -> None:
    """Cut at some place, it reads as it does whole."""
    found = []
    for cut in (len(data), len(data) // 2):
        reader = HttpReader(Limits(head_bytes=8192))
        events = [*reader.feed(data[:cut]), *reader.feed(data[cut:])]
        reader.close()
        heads = [(each.method, each.target) for each in events if isinstance(each, Head)]
        found.append((heads, any(isinstance(each, Malformed) for each in events)))
    assert found[0] == found[1]


def through_body(data: bytes) -> None:
    inspect(data, Limits())


def through_lengths(data: bytes) -> None:
    """A body that can be decoded has texts no longer than itself."""
    body = b'{"model":"m",' + data + b"}"
    try:
        request = parse(body)
    except UNDECODABLE:
        return
    with contextlib.suppress(RunnerdError):
        assert LongestPrompt(1, 2**20).tokens_beyond(request, "infill") <= len(body)


def through_template(data: bytes) -> None:
    with contextlib.suppress(TemplateError):
        to_jinja(data.decode("utf-8", "replace"))


def through_reference(data: bytes) -> None:
    reference = Reference.parse(data.decode("utf-8", "replace"))
    assert Reference.parse(str(reference)) == reference


def through_settings(said: dict[str, Any]) -> None:
    config.load(said)


def through_schema(data: bytes) -> None:
    """It is widened, told apart and judged; two tools have it."""
    try:
        schema = json.loads(data)
    except ValueError:
        schema = {"properties": {"x": {"$ref": data.decode("utf-8", "replace")}}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    asked = {"model": "m", "json_schema": schema, "tools": [tool, tool]}
    with_known_schemas(parse(json.dumps(asked).encode()))


def through_events(data: bytes) -> None:
    """Cut at some place, a stream has the events that it has whole."""
    found = []
    for cut in (len(data), len(data) // 2):
        splitter = EventSplitter()
        found.append([*splitter.feed(data[:cut]), *splitter.feed(data[cut:])])
    assert found[0] == found[1]
    translation = Assembled(1, "m")
    with contextlib.suppress(StreamError):
        of_stream(translation.feed, data)
        of_stream(translation.end)


def through_response(data: bytes) -> None:
    """The head of an engine's response, and its chunks."""
    head, _, body = data.partition(b"\r\n\r\n")
    with contextlib.suppress(BadResponse):
        read_head(head + b"\r\n\r\n")
    with contextlib.suppress(BadResponse):
        ChunkedBody(decodes=True).feed(body)


def through_image(data: bytes) -> None:
    """As it is, and as large as those that are inflated to see."""
    for image in (data, data + bytes(2**18)):
        with contextlib.suppress(RunnerdError):
            assert image_cost(image) >= 0


def through_inline_content(data: bytes) -> None:
    """A string of JSON, whose image is no larger than what says it."""
    said = memoryview(b'"' + data.replace(b'"', b"") + b'"')
    for bare in (False, True):
        with contextlib.suppress(RunnerdError):
            assert len(inline_content(said, bare=bare)) <= len(said)


SETTINGS = st.dictionaries(
    st.sampled_from(sorted(config.Settings.model_fields)),
    st.one_of(
        NUMBERS, st.floats(), st.text(max_size=20), st.booleans(),
        st.sampled_from(["https://[", "http://a:99999999", "0777", "\ud800", "1.1.1.1:0", "::"]),
        st.lists(st.text(max_size=5), max_size=3),
        st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=3), max_size=3),
    ),
    max_size=4,
)  # fmt: skip


def run(strategy: st.SearchStrategy[Any], reader: Callable[[Any], None]) -> None:
    """Give a reader as many examples as there is time for."""
    ends_at = time.monotonic() + _SECONDS

    def once(data: Any) -> None:
        tracemalloc.reset_peak()
        with contextlib.suppress(RunnerdError):
            reader(data)
        assert tracemalloc.get_traced_memory()[1] < _MEMORY

    checks = list(HealthCheck)
    tracemalloc.start(1)
    try:
        for number in itertools.count(int(time.time())):
            if time.monotonic() > ends_at:
                return
            test = settings(max_examples=_ROUND, deadline=None, suppress_health_check=checks)
            seed(number)(test(given(strategy)(once)))()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("strategy", "reader"),
    [
        (HTTP, through_http),
        (JSON, through_body),
        (TEXTS, through_lengths),
        (GO, through_template),
        (NAMES, through_reference),
        (MANIFEST, parse_manifest),
        (SETTINGS, through_settings),
        (SCHEMA, through_schema),
        (EVENTS, through_events),
        (RESPONSE, through_response),
        (IMAGE, through_image),
        (INLINE, through_inline_content),
    ],
    ids=[
        "http",
        "body",
        "lengths",
        "template",
        "reference",
        "manifest",
        "settings",
        "schema",
        "events",
        "response",
        "image",
        "inline content",
    ],
)
def test_reader_only_refuses(
    strategy: st.SearchStrategy[Any], reader: Callable[[Any], object]
) -> None:
    """Whatever it is given."""
    run(strategy, lambda data: (reader(data), None)[1])


def test_header_reader_only_refuses(tmp_path: Path) -> None:
    """A GGUF header, changed at some places and cut at another one."""
    path = tmp_path / "tiny.gguf"
    tiny.write_completion_model(path)
    whole = path.read_bytes()[:20_000]
    changes = st.lists(
        st.tuples(st.integers(0, 4000), st.one_of(
            st.binary(min_size=1, max_size=8), NUMBERS.map(lambda n: n.to_bytes(8, "little")),
        )),
        min_size=1, max_size=6,
    )  # fmt: skip

    def reader(said: tuple[list[tuple[int, bytes]], int]) -> None:
        data = bytearray(whole)
        for at, piece in said[0]:
            data[at : at + len(piece)] = piece
        path.write_bytes(data[: said[1]])
        read_header(path)

    run(st.tuples(changes, st.integers(0, len(whole))), reader)


def test_documents_are_inspected_whatever_is_in_them() -> None:
    """Well-formed bodies, whose members have any type."""
    value = st.recursive(
        st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False) | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=20,
    )
    names = st.sampled_from(
        ["model", "messages", "prompt", "input", "tools", "grammar", "json_schema", "stop", "n",
         "response_format", "logit_bias", "samplers", "image_url", "documents", "top_logprobs"]
    )  # fmt: skip
    bodies = st.dictionaries(names, value, max_size=6)
    run(bodies, lambda body: through_body(json.dumps({"model": "m"} | body).encode()))
