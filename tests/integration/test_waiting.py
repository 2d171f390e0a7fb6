"""Signs of life for streamed requests that wait, and what their errors look like then."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

LONG = {"model": "tiny", "prompt": "x", "max_tokens": 7000, "stream": True, "ignore_eos": True}
SHORT = {"model": "other", "prompt": "x", "max_tokens": 2, "stream": True}
PINGS = {"X-Ping-Interval": "0.05"}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with room for one of two models."""
    with running(tmp_path_factory.mktemp("d"), env={"RUNNERD_MAX_RUNNERS": "1"}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.import_model(gguf / "other.gguf", "other")
        yield daemon


@pytest.fixture
def daemon(narrow: DaemonProcess) -> DaemonProcess:
    """That daemon without any model in memory."""
    narrow.http.post("/engines/unload", json={"all": True}).raise_for_status()
    wait_for(lambda: not narrow.ps() and not narrow.engines(), "an empty memory")
    return narrow


@contextmanager
def held(daemon: DaemonProcess) -> Iterator[Callable[[], None]]:
    """Keep the room taken by a stream that stands still; yield what ends it."""
    with daemon.client() as client, client.stream("POST", "/v1/completions", json=LONG) as busy:
        next(busy.iter_raw())
        [engine] = daemon.engines()
        engine.suspend()

        def release() -> None:
            engine.resume()
            busy.close()

        try:
            yield release
        finally:
            with suppress(psutil.NoSuchProcess):
                engine.resume()


def events(lines: Iterator[str]) -> list[dict[str, Any]]:
    """Return the documents of what is left of a stream, without its end mark."""
    data = [line[6:] for line in lines if line.startswith("data: ")]
    return [json.loads(text) for text in data if text != "[DONE]"]


def test_a_waiting_stream_hears_that_it_waits(daemon: DaemonProcess) -> None:
    """Comments come while another model has the room, then the response, on one stream."""
    with daemon.client() as second, held(daemon) as release:
        with second.stream("POST", "/v1/completions", json=SHORT, headers=PINGS) as waiting:
            assert waiting.status_code == 200
            assert waiting.headers["content-type"] == "text/event-stream"
            lines = waiting.iter_lines()
            assert [next(lines) for _ in range(4)] == [": waiting", "", ": waiting", ""]
            release()
            texts = [event["choices"][0]["text"] for event in events(lines)]
            assert "".join(texts)
        assert second.get("/health").status_code == 200  # the connection goes on


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/v1/completions", {"prompt": "x", "n": 2}),
        ("/v1/completions", {"prompt": "x", "logprobs": 1}),
        ("/v1/responses", {"input": "x"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "x"}], "max_tokens": 2}),
    ],
)
def test_so_does_one_that_is_translated(
    daemon: DaemonProcess, path: str, fields: dict[str, Any]
) -> None:
    """What the engine's stream lacks is added behind the comments."""
    body = {"model": "other", "stream": True, **fields}
    with daemon.client() as second, held(daemon) as release:
        with second.stream("POST", path, json=body, headers=PINGS) as waiting:
            lines = waiting.iter_lines()
            assert [next(lines) for _ in range(2)] == [": waiting", ""]
            release()
            assert len(events(lines)) > 1
        assert second.get("/health").status_code == 200


def test_lines_of_json_are_not_mixed_with_comments(daemon: DaemonProcess) -> None:
    """Ollama's streams are no streams of events: their clients hear nothing before the response."""
    body = {"model": "other", "prompt": "x", "options": {"num_predict": 2}}
    with daemon.client() as second, held(daemon) as release:
        waiting = second.build_request("POST", "/api/generate", json=body, headers=PINGS)
        with ThreadPoolExecutor(1) as pool:
            response = pool.submit(second.send, waiting)
            wait_for(lambda: daemon.http.get("/health").json()["queued"] == 1, "a waiting request")
            release()
            lines = [json.loads(line) for line in response.result().text.splitlines()]
        assert lines[-1]["done"]


def test_an_error_after_a_ping_is_an_event(daemon: DaemonProcess) -> None:
    """A load that fails, and a refusal of the engine, end the stream with their reasons."""
    wrong = SHORT | {"prompt": "x" * 100_000}  # longer than the context
    with daemon.client() as second, held(daemon) as release:
        with second.stream("POST", "/v1/completions", json=wrong, headers=PINGS) as waiting:
            lines = waiting.iter_lines()
            assert next(lines) == ": waiting"
            release()
            [event] = events(lines)
            assert "context" in event["error"]["message"]


def test_nobody_is_pinged_unasked(daemon: DaemonProcess) -> None:
    """Without the header, or without a stream, an error keeps its status; nonsense is a 400."""
    for fields, headers in (
        ({"stream": False}, PINGS),
        ({}, {}),
    ):
        refused = daemon.http.post(
            "/v1/completions", json=SHORT | {"prompt": "x" * 100_000} | fields, headers=headers
        )
        assert refused.status_code == 400
    daemon.http.post("/engines/unload", json={"all": True})
    for nonsense in ("soon", "0", "-1", "nan", "1e9"):
        response = daemon.http.post(
            "/v1/completions", json=SHORT, headers={"X-Ping-Interval": nonsense}
        )
        assert response.status_code == 400
        assert "X-Ping-Interval" in response.json()["error"]["message"]


def test_the_client_may_leave_between_pings(daemon: DaemonProcess) -> None:
    """Its place in the queue goes with it."""
    with daemon.client() as second, held(daemon):
        with second.stream("POST", "/v1/completions", json=SHORT, headers=PINGS) as waiting:
            assert next(waiting.iter_lines()) == ": waiting"
        wait_for(lambda: daemon.http.get("/health").json()["queued"] == 0, "an empty queue")
