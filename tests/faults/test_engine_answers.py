"""What a client gets when the engine's response is not what it should be: never a hang, never half
a response that looks whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.engines import fake_engine
from tests.support.waiting import wait_for
from tests.support.wire import Answer, Wire, get, post

OK = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
STREAM = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = 'd\r\ndata: {"a":1}\r\n'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon on the fake engine, with short patience."""
    root = tmp_path_factory.mktemp("answers")
    tiny.write_completion_model(root / "tiny.gguf")
    env = {
        "RUNNERD_BACKENDS": json.dumps({"llama.cpp": {"path": str(fake_engine(root))}}),
        "RUNNERD_LIMITS__UPSTREAM_TIMEOUT": "1",
        "RUNNERD_LIMITS__REQUESTS_PER_RUNNER": "4",
    }
    with running(root, env=env) as daemon:
        daemon.import_model(root / "tiny.gguf", "tiny")
        daemon.http.post("/models/tiny/tag", params={"repo": "also"}).raise_for_status()
        ask(daemon)  # the engine knows its model as tiny
        yield daemon


@pytest.fixture(params=["tiny", "also"])
def model(request: pytest.FixtureRequest) -> str:
    """The engine's name for its model, and another one, which has to be put into its responses."""
    return str(request.param)


def ask(daemon: DaemonProcess, path: str = "/v1/completions", **fields: Any) -> Answer:
    """Ask on a connection of its own."""
    with Wire(daemon.socket) as wire:
        wire.send(post(path, {"model": "tiny", "prompt": "x", **fields}))
        return wire.read()


@pytest.mark.parametrize(
    ("raw", "more"),
    [
        pytest.param("GARBAGE\r\n\r\n", {}, id="no HTTP"),
        pytest.param("HTTP/1.1 200 OK\r\nX: " + "x" * 70000, {}, id="endless header"),
        pytest.param("X: y\r\n" * 2000, {"times": 20}, id="endless head"),
        pytest.param("HTTP/1.1 100 Continue\r\n\r\n", {"times": 10000}, id="flood of 1xx"),
        pytest.param("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", {}, id="upgrade"),
        pytest.param("HTTP/1.1 099 Low\r\n\r\n", {}, id="impossible status"),
        pytest.param(
            OK + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345", {}, id="2 lengths"
        ),
        pytest.param(
            OK + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {}, id="CL+TE"
        ),
        pytest.param(OK + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n123", {}, id="gzip"),
        pytest.param("", {"then": "close"}, id="hangs up"),
        pytest.param(OK, {"then": "close"}, id="half a head"),
        pytest.param(OK + "Content-Length: 5\r\n\r\n", {"then": "close"}, id="no body"),
        pytest.param(STREAM + "zz\r\n", {}, id="no chunk at all"),
        pytest.param(STREAM, {"then": "close"}, id="no chunk, then the end"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
def test_bad_answer_is_a_502(
    daemon: DaemonProcess, raw: str, more: dict[str, Any], stream: bool
) -> None:
    """What cannot be understood is told as the engine's fault, and the next request works."""
    response = ask(daemon, **{"stream": stream, "raw": raw, "then": "hold", **more})
    assert response.status == 502, response.body
    assert "engine" in response.json()["error"]["message"]
    assert ask(daemon, stream=True).body.rstrip().endswith(b"[DONE]")


def test_silent_engine_is_a_504(daemon: DaemonProcess) -> None:
    """An engine that says nothing is given up."""
    response = ask(daemon, stream=True, raw="", then="hold")
    assert response.status == 504, response.body
    assert "sent nothing" in response.json()["error"]["message"]


def test_stream_that_falls_silent_ends_with_an_error(daemon: DaemonProcess, model: str) -> None:
    """What was streamed is kept; then come an error event and the end, and no [DONE]."""
    response = ask(daemon, model=model, stream=True, raw=STREAM + EVENT, then="hold")
    assert response.status == 200
    assert response.body.startswith(b'data: {"a":1}')
    assert b"sent nothing" in response.body
    assert b"[DONE]" not in response.body


def test_stream_cut_between_chunks_ends_with_an_error(daemon: DaemonProcess, model: str) -> None:
    """The engine leaves after a whole chunk: the client is told inside the stream."""
    response = ask(daemon, model=model, stream=True, raw=STREAM + EVENT, then="close")
    last = response.body.rstrip().splitlines()[-1]
    assert "engine" in json.loads(last.removeprefix(b"data: "))["error"]["message"]


@pytest.mark.parametrize(
    "cut", ["20\r\ndata: half", "2", "2\r\n", "2\r\nab", "2\r\nab\r"], ids=repr
)
def test_stream_cut_inside_a_chunk_is_cut_for_the_client(daemon: DaemonProcess, cut: str) -> None:
    """Nothing can be said inside half a chunk: the connection ends without the end of the body."""
    with Wire(daemon.socket) as wire:
        fields = {"model": "tiny", "prompt": "x", "stream": True}
        wire.send(post("/v1/completions", fields | {"raw": STREAM + EVENT + cut, "then": "close"}))
        data = b""
        while piece := wire.socket.recv(65536):
            data += piece
    assert data.endswith(cut.encode())


@pytest.mark.parametrize("cut", ["", "2\r\na"], ids=repr)
def test_stream_of_another_name_is_in_chunks_of_its_own(daemon: DaemonProcess, cut: str) -> None:
    """So the client is told wherever the engine leaves, even within the name."""
    named = '10\r\n, "model": "tiny\r\n' + EVENT
    response = ask(daemon, model="also", stream=True, raw=STREAM + named + cut, then="close")
    assert response.body.startswith(b', "model": "tinydata: {"a":1}')
    last = response.body.rstrip().splitlines()[-1]
    assert "engine" in json.loads(last.removeprefix(b"data: "))["error"]["message"]


def test_answer_of_known_length_that_is_cut_is_cut_for_another_name(
    daemon: DaemonProcess,
) -> None:
    """It has begun, so its end is missing: half a response is never taken for a whole one."""
    raw = OK + 'Content-Length: 50\r\n\r\n{"model":"tiny","text":'
    with Wire(daemon.socket) as wire:
        wire.send(post("/v1/tokenize", {"model": "also", "raw": raw, "then": "close"}))
        data = b""
        while piece := wire.socket.recv(65536):
            data += piece
    assert data.endswith(b'{"model":"also","text":\r\n')


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param("0\r\n\r\nHTTP/1.1 299 SMUGGLED\r\n\r\n", id="a response"),
        pytest.param(
            "0\r\n\r\nHTTP/1.1 299 SMUGGLED\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            id="a response in chunks",
        ),
        pytest.param(
            "0\r\n\r\nHTTP/1.1 299 SMUGGLED\r\nX: 0\r\n\r\n", id="one that looks like an end"
        ),
        pytest.param("0\r\nX-Smuggled: 0\r\n\r\n", id="a trailer that looks like an end"),
    ],
)
def test_garbage_behind_a_stream_does_not_reach_the_client(
    daemon: DaemonProcess, behind: str
) -> None:
    """Bytes behind the last chunk could be read as the next answer: they are not passed on."""
    with Wire(daemon.socket) as wire:
        fields = {"model": "tiny", "prompt": "x", "stream": True}
        raw = STREAM + EVENT + behind
        wire.send(post("/v1/completions", fields | {"raw": raw}) + get("/version"))
        assert wire.read().status == 502
        assert "version" in wire.read().json()


@pytest.mark.parametrize("interim", ["HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 3, ""])
@pytest.mark.parametrize("closing", ["", "Connection: close\r\n"])
def test_interim_answers_and_headers_stay_behind(
    daemon: DaemonProcess, interim: str, closing: str
) -> None:
    """Only status, content type and body of an engine's response are the client's to see."""
    head = OK + closing + "Set-Cookie: a=b\r\nServer: x\r\nAccess-Control-Allow-Origin: *\r\n"
    raw = interim + head + 'Content-Length: 9\r\n\r\n{"a": 12}'
    with Wire(daemon.socket) as wire:
        for _ in range(3):
            fields = {"model": "tiny", "prompt": "x", "stream": True, "raw": raw}
            wire.send(post("/v1/completions", fields | ({"then": "close"} if closing else {})))
            response = wire.read()
            assert (response.status, response.json()) == (200, {"a": 12})
            assert set(response.headers) == {
                *("content-type", "cache-control", "x-request-id", "content-length")
            }


def test_body_without_framing_ends_with_the_connection(daemon: DaemonProcess) -> None:
    """A response of the old kind is passed on as such."""
    with Wire(daemon.socket) as wire:
        fields = {"model": "tiny", "prompt": "x", "stream": True}
        wire.send(post("/v1/completions", fields | {"raw": OK + "\r\nabc", "then": "close"}))
        response = wire.read()
        assert response.body == b"abc"
        assert wire.ended()


def test_chunked_stream_is_unpacked_for_http10(daemon: DaemonProcess) -> None:
    """A client of HTTP/1.0 gets the content of the chunks."""
    with Wire(daemon.socket) as wire:
        fields = {"model": "tiny", "prompt": "x", "stream": True, "raw": STREAM + EVENT}
        request = post("/v1/completions", fields | {"raw": STREAM + EVENT + "0\r\n\r\n"})
        wire.send(request.replace(b"HTTP/1.1", b"HTTP/1.0", 1))
        assert wire.read().body == b'data: {"a":1}'


def test_kept_connection_that_the_engine_closes_costs_nothing(daemon: DaemonProcess) -> None:
    """The engine hangs up after each response without saying so; no request is lost by it."""
    raw = OK + "Content-Length: 2\r\n\r\n{}"
    for _ in range(30):
        assert ask(daemon, "/v1/tokenize", raw=raw, then="close").status == 200


def test_engine_that_dies_before_its_answer_is_not_asked_again(daemon: DaemonProcess) -> None:
    """A request that the engine has read is not repeated: it may be what killed it."""
    response = ask(daemon, raw="", then="die")
    assert response.status == 502
    assert "SIGKILL" in response.json()["error"]["message"]
    assert ask(daemon, stream=True).status == 200


def test_more_requests_than_the_engine_can_hold_are_refused(daemon: DaemonProcess) -> None:
    """Beyond the limit: 429 with Retry-After, at once, and room again when one has ended."""
    assert ask(daemon, stream=True).status == 200
    held = {"model": "tiny", "prompt": "x", "stream": True, "raw": STREAM + EVENT, "then": "hold"}
    wires = [Wire(daemon.socket) for _ in range(4)]
    for wire in wires:
        wire.send(post("/v1/completions", held))
        assert wire.socket.recv(4096).startswith(b"HTTP/1.1 200")
    refused = ask(daemon, stream=True)
    assert refused.status == 429
    assert refused.headers["retry-after"]
    for wire in wires:
        wire.__exit__(None, None, None)
    wait_for(lambda: ask(daemon, stream=True).status == 200, "room for another request")


def test_a_requests_id_goes_all_the_way(daemon: DaemonProcess) -> None:
    """From the client to the engine and back, into the records, and into the log where it fails."""
    with Wire(daemon.socket) as wire:
        wire.send(post("/v1/tokenize", {"model": "tiny", "content": "x"}, "X-Request-Id: mine-1"))
        response = wire.read()
    assert response.headers["x-request-id"] == "mine-1"
    assert response.json()["request_id"] == "mine-1"
    with Wire(daemon.socket) as wire:
        fields = {"model": "tiny", "prompt": "x", "raw": "", "then": "close"}
        wire.send(post("/v1/completions", fields, "X-Request-Id: mine-2"))
        assert wire.read().status == 502
    ids = [record["id"] for record in daemon.http.get("/engines/requests").json()]
    assert ids[-2:] == ["mine-1", "mine-2"]
    failed = [line for line in daemon.text().splitlines() if "a request failed: 502" in line]
    assert any(line.endswith("[mine-2]") for line in failed) or "times more" in daemon.text()


def test_tokens_are_accounted_for(daemon: DaemonProcess) -> None:
    """The engine's counts, origin and bytes of a request are shown, and can be asked per model."""
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    event = json.dumps({"choices": [], "usage": usage}, separators=(",", ":"))
    text = f"data: {event}\n\n"
    raw = STREAM + f"{len(text):x}\r\n{text}\r\n0\r\n\r\n"
    with Wire(daemon.socket) as wire:
        fields = {"model": "tiny", "prompt": "x", "stream": True, "raw": raw}
        wire.send(post("/v1/completions", fields, "X-Request-Origin: tests"))
        assert wire.read().status == 200
    record = daemon.http.get("/engines/requests?model=tiny").json()[-1]
    tokens = [record[name] for name in ("prompt_tokens", "completion_tokens", "cached_tokens")]
    assert tokens == [7, 5, 3]
    assert (record["origin"], record["status_code"]) == ("tests", 200)
    assert record["bytes_out"] > len(text)
    assert record["first_byte_seconds"] is not None
    assert daemon.http.get("/engines/requests?model=other").status_code == 404


@pytest.mark.parametrize(
    ("asked", "passes"),
    [
        ({"max_tokens": 1}, True),
        ({"max_completion_tokens": 1, "n": 1}, True),
        ({"max_tokens": 2}, False),
        ({"max_tokens": 1, "n": 2}, False),
        ({}, False),
    ],
)
def test_a_chat_of_one_token_is_asked_for_whole(
    daemon: DaemonProcess, asked: dict[str, Any], passes: bool
) -> None:
    """As a stream it would stop no sooner; every other chat is a stream for the engine, and what
    comes as an object is none.
    """
    messages = [{"role": "user", "content": "x"}]
    whole = {"raw": OK + "Content-Length: 9\r\n\r\n" + '{"one":1}'}
    with Wire(daemon.socket) as wire:
        document = {"model": "tiny", "messages": messages} | asked | whole
        wire.send(post("/v1/chat/completions", document))
        response = wire.read()
        assert (response.body == b'{"one":1}') is passes
        assert response.status == (200 if passes else 502)


def test_a_short_chat_is_asked_for_whole_once_the_engine_is_known_to_be_quick(
    daemon: DaemonProcess,
) -> None:
    """What has no limit, or one that takes long to reach, stays a stream for the engine."""
    chat = {"model": "tiny", "messages": [{"role": "user", "content": "x"}]}
    usage = {"prompt_tokens": 1, "completion_tokens": 100_000}
    choices = [{"index": 0, "delta": {"content": "y"}, "finish_reason": "length"}]
    event = json.dumps({"choices": choices, "usage": usage}, separators=(",", ":"))
    text = f"data: {event}\n\n"
    streamed = {"raw": STREAM + f"{len(text):x}\r\n{text}\r\n0\r\n\r\n"}
    whole = {"raw": OK + "Content-Length: 9\r\n\r\n" + '{"one":1}'}

    def status(asked: dict[str, Any]) -> int:
        with Wire(daemon.socket) as wire:
            wire.send(post("/v1/chat/completions", chat | asked))
            return wire.read().status

    assert status({"max_tokens": 8} | whole) == 502
    assert {status(streamed) for _ in range(8)} == {200}
    assert status({"max_tokens": 8} | whole) == 200
    assert status({"max_tokens": 10**9} | whole) == 502
    assert status(whole) == 502
    schema = {"response_format": {"type": "json_object"}}
    assert status({"max_tokens": 8} | schema | whole) == 502


def test_a_refusal_of_what_cannot_be_read_here_is_told(daemon: DaemonProcess) -> None:
    """The engine's own words, and no other words for a body with a number that overflows."""
    error = '{"error":{"code":400,"message":"number overflow parsing","type":"invalid"}}'
    refusal = f"HTTP/1.1 400 Bad Request\r\nContent-Length: {len(error)}\r\n\r\n{error}"
    body = json.dumps({"model": "tiny", "prompt": "x", "raw": refusal})[:-1] + ',"top_k":1e400}'
    response = daemon.http.post("/v1/completions", content=body)
    assert response.status_code == 400
    assert "overflow" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(OK + 'Content-Length: 9\r\n\r\n{"one":1}', id="an object"),
        pytest.param(STREAM + "0\r\n\r\n", id="an empty stream"),
        pytest.param(STREAM + "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n", id="nothing but its end"),
        pytest.param(STREAM + '13\r\ndata: {"choices":5}\n\r\n0\r\n\r\n', id="no choices"),
        pytest.param(STREAM + '16\r\ndata: {"choices":[5]}\n\n\r\n0\r\n\r\n', id="no choice"),
    ],
)
@pytest.mark.parametrize("more", [{}, {"echo": True}, {"suffix": "y"}, {"logprobs": 1}])
def test_an_answer_without_anything_in_it_is_a_502(
    daemon: DaemonProcess, raw: str, more: dict[str, Any]
) -> None:
    """Where a stream was asked of the engine, and the client wants a whole response."""
    response = ask(daemon, stream=False, raw=raw, **more)
    assert response.status == 502, response.body
    assert "engine" in response.json()["error"]["message"]


UNPARSED: dict[str, Any] = {
    "code": 500,
    "message": "The model produced output that does not match the expected peg-native format",
    "type": "server_error",
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}
FORM = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


def chunked(*events: str) -> str:
    """A stream of events, whole."""
    return "".join(f"{len(event) + 2:x}\r\n{event}\n\n\r\n" for event in events) + "0\r\n\r\n"


def chat_events() -> list[str]:
    told = {"id": "c-1", "object": "chat.completion.chunk", "created": 1, "model": "tiny"}
    deltas: list[dict[str, str]] = [{"role": "assistant"}, {"content": '{"a"'}, {"content": ': "b'}]
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    return [f"data: {json.dumps({**told, 'choices': [choice]})}" for choice in choices]


def response_events() -> list[str]:
    item = {"id": "m", "type": "message", "role": "assistant", "content": []}
    response = {"id": "r", "object": "response", "status": "in_progress", "model": "tiny"}
    part = {"type": "output_text", "text": ""}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "item": item},
        {"type": "response.content_part.added", "item_id": "m", "part": part},
        {"type": "response.output_text.delta", "item_id": "m", "delta": '{"a"'},
        {"type": "response.output_text.delta", "item_id": "m", "delta": ': "b'},
    ]
    return [f"event: {event['type']}\ndata: {json.dumps(event)}" for event in events]


def unparsed(events: list[str], kind: str) -> str:
    """What an engine sends that cannot read what its model has written, as it was recorded."""
    error = json.dumps(UNPARSED)
    if kind == "whole":
        body = f'{{"error": {error}}}'
        head = "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}"
    last = f"error: {error}" if kind == "error event" else f'data: {{"error": {error}}}'
    return STREAM + chunked(*events, last)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["data event", "error event", "whole"])
@pytest.mark.parametrize("api", ["chat", "tools", "responses", "messages", "ollama"])
def test_what_the_engine_cannot_read(
    daemon: DaemonProcess, model: str, api: str, kind: str, stream: bool
) -> None:
    """A text after a schema that was cut is no error of ours: the client has what there is of it,
    and that the limit was reached.
    """
    events = response_events() if api == "responses" else chat_events()
    said = json.dumps({"raw": unparsed(events, kind), "then": "close"})
    turns = [{"role": "user", "content": said}]
    asked: dict[str, Any] = {"model": model, "stream": stream}
    tool = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}
    known: dict[str, tuple[str, dict[str, Any], str]] = {
        "chat": (
            "/v1/chat/completions",
            {"messages": turns, "max_tokens": 1, "response_format": FORM},
            '"finish_reason":"length"',
        ),
        "tools": (
            "/v1/chat/completions",
            {"messages": turns, "max_tokens": 9, "tools": [tool]},
            '"finish_reason":"length"',
        ),
        "responses": (
            "/v1/responses",
            {
                "input": said,
                "max_output_tokens": 9,
                "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
            },
            '"reason":"max_output_tokens"',
        ),
        "messages": (
            "/v1/messages",
            {
                "messages": turns,
                "max_tokens": 9,
                "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}},
            },
            '"stop_reason":"max_tokens"',
        ),
        "ollama": (
            "/api/chat",
            {"messages": turns, "format": SCHEMA, "options": {"num_predict": 9}},
            '"done_reason":"length"',
        ),
    }
    path, fields, reason = known[api]
    response = daemon.http.post(path, json=asked | fields)
    assert response.status_code == 200, response.text
    assert reason in response.text.replace(": ", ":").replace('", "', '","'), response.text
    assert "peg-native" not in response.text
    if kind != "whole":
        text = response.text.replace("\\", "")
        assert all(piece in text for piece in ('{"a"', ': "b')), response.text


def test_what_only_looks_like_it(daemon: DaemonProcess, model: str) -> None:
    """A model may write the same words, and other errors are errors."""
    words = {"index": 0, "delta": {"content": UNPARSED["message"]}, "finish_reason": "stop"}
    event = f"data: {json.dumps({'id': 'c', 'choices': [words]})}"
    fields = {"model": model, "response_format": FORM, "stream": True}
    raw = STREAM + chunked(event, "data: [DONE]")
    turns = [{"role": "user", "content": json.dumps({"raw": raw, "then": "close"})}]
    response = daemon.http.post("/v1/chat/completions", json=fields | {"messages": turns})
    assert UNPARSED["message"] in response.text
    assert "length" not in response.text
    raw = unparsed([], "whole").replace("The model produced", "The mouse produced")
    turns = [{"role": "user", "content": json.dumps({"raw": raw, "then": "close"})}]
    response = daemon.http.post("/v1/chat/completions", json=fields | {"messages": turns})
    assert response.status_code == 500
