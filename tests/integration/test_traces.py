"""Spans of requests, from a real daemon to a collector."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.collector import Collector, attributes, collecting
from tests.support.daemon import DaemonProcess, running
from tests.support.ports import reserved_port
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

CHAT = "/v1/chat/completions"
SECRET = "Rumpelstilzchen"
QUESTION = {
    "model": "tiny",
    "messages": [{"role": "user", "content": SECRET}],
    "max_tokens": 3,
    "stream": True,
}
ENDLESS = QUESTION | {"max_tokens": 8000, "ignore_eos": True}
TRACE, CLIENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, gguf: Path, collector: Collector
) -> Iterator[DaemonProcess]:
    folder = tmp_path_factory.mktemp("traces")
    env = {"RUNNERD_TRACES": collector.address, "RUNNERD_LOG_FORMAT": "json"}
    with running(folder / "d", env=env) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        yield daemon


def span_of(collector: Collector, id: str) -> Span:
    wait_for(lambda: collector.of_request(id), f"the span of {id}")
    span = collector.of_request(id)
    assert span is not None
    return span


def test_a_streamed_chat(daemon: DaemonProcess, collector: Collector) -> None:
    """Names and attributes of the conventions, the client's trace, real times, nothing said."""
    before = time.time_ns()
    response = daemon.http.post(
        CHAT,
        json=QUESTION,
        headers={
            "X-Request-Id": "streamed",
            "X-Request-Origin": "test",
            "traceparent": f"00-{TRACE}-{CLIENT}-01",
        },
    )
    assert response.status_code == 200
    span = span_of(collector, "streamed")
    assert span.name == "chat ai/tiny:latest"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, CLIENT)
    assert span.status.code == Status.STATUS_CODE_UNSET
    said = attributes(span.attributes)
    first = said.pop("gen_ai.response.time_to_first_chunk")
    assert isinstance(first, float)
    assert first > 0
    assert said.pop("gen_ai.usage.input_tokens")
    assert said.pop("runnerd.runner")
    assert said.pop("user_agent.original")
    said.pop("gen_ai.usage.cache_read.input_tokens", None)
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "runnerd",
        "gen_ai.request.model": "ai/tiny:latest",
        "gen_ai.request.stream": True,
        "gen_ai.usage.output_tokens": 3,
        "http.response.status_code": 200,
        "runnerd.request.id": "streamed",
        "runnerd.origin": "test",
        "server.address": "127.0.0.1",
    }
    children = collector.children(span)
    wait, generate = children["wait"], children["generate"]
    times = (
        before,
        span.start_time_unix_nano,
        wait.end_time_unix_nano,
        generate.end_time_unix_nano,
        time.time_ns(),
    )
    assert list(times) == sorted(times)
    assert wait.start_time_unix_nano == span.start_time_unix_nano
    assert generate.start_time_unix_nano == wait.end_time_unix_nano
    assert generate.end_time_unix_nano == span.end_time_unix_nano
    assert {wait.trace_id.hex(), generate.trace_id.hex()} == {TRACE}
    assert collector.resource["service.name"] == "runnerd"
    assert SECRET.encode() not in collector.raw


def test_a_clients_mistake(daemon: DaemonProcess, collector: Collector) -> None:
    """It is no error of the daemon's; a header that is none begins a trace of the request's own."""
    headers = {"X-Request-Id": "mistake", "traceparent": f"00-{TRACE}-0000-01"}
    response = daemon.http.post(CHAT, json=QUESTION | {"model": SECRET}, headers=headers)
    assert response.status_code == 404
    span = span_of(collector, "mistake")
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert attributes(span.attributes)["error.type"] == "404"
    assert span.trace_id.hex() not in (TRACE, "0" * 32)
    assert span.parent_span_id == b""
    assert SECRET.encode() not in collector.raw


def test_a_client_that_leaves(daemon: DaemonProcess, collector: Collector) -> None:
    """Its response did not come to its end."""
    with daemon.client() as client:
        headers = {"X-Request-Id": "left"}
        with client.stream("POST", CHAT, json=ENDLESS, headers=headers) as response:
            next(response.iter_bytes())
    span = span_of(collector, "left")
    assert span.status.code == Status.STATUS_CODE_ERROR
    said = attributes(span.attributes)
    assert (said["error.type"], said["http.response.status_code"]) == ("client_left", 200)


def test_an_engine_that_dies(daemon: DaemonProcess, collector: Collector) -> None:
    """The line of the log has the trace that the span belongs to."""
    headers = {"X-Request-Id": "broken"}
    with (
        contextlib.suppress(httpx.HTTPError),
        daemon.http.stream("POST", CHAT, json=ENDLESS, headers=headers) as response,
    ):
        next(chunks := response.iter_bytes())
        for engine in daemon.engines():
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine.pid, signal.SIGKILL)
        for _ in chunks:
            pass
    span = span_of(collector, "broken")
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert span.status.message == ""  # an error's text may quote what was asked
    assert attributes(span.attributes)["error.type"] == "response_broke_off"
    [line] = [line for line in daemon.text().splitlines() if '"request_id": "broken"' in line]
    assert f'"trace_id": "{span.trace_id.hex()}"' in line


def test_who_wants_none_gets_none(daemon: DaemonProcess, collector: Collector) -> None:
    """The client's flag says that its trace is not recorded."""
    for id, flags in (("unsampled", "00"), ("sampled", "01")):
        headers = {"X-Request-Id": id, "traceparent": f"00-{TRACE}-{CLIENT}-{flags}"}
        assert daemon.http.post(CHAT, json=QUESTION, headers=headers).status_code == 200
    span_of(collector, "sampled")
    assert collector.of_request("unsampled") is None


def test_a_collector_that_is_not_there(tmp_path: Path, gguf: Path) -> None:
    """Requests go on, the log says it once, and the daemon ends at once."""
    with (
        reserved_port() as port,
        running(tmp_path / "d", env={"RUNNERD_TRACES": f"http://127.0.0.1:{port}/"}) as daemon,
    ):
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        for _ in range(3):
            assert daemon.http.post(CHAT, json=QUESTION).status_code == 200
        wait_for(lambda: "the collector takes no traces" in daemon.text(), "the log's line")
        assert 'runnerd_traced_requests{outcome="failed"}' in daemon.http.get("/metrics").text
        assert daemon.http.post(CHAT, json=QUESTION).status_code == 200
        assert daemon.terminate() == 0
        text = daemon.text()
    assert text.count("the collector takes no traces") == 1
    assert "opentelemetry" not in text
    assert "urllib3" not in text


def test_what_is_left_is_sent_at_the_end(tmp_path: Path, gguf: Path, collector: Collector) -> None:
    """Nobody waits a second for it."""
    with running(tmp_path / "d", env={"RUNNERD_TRACES": collector.address}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        daemon.http.post(CHAT, json=QUESTION, headers={"X-Request-Id": "last"})
        assert daemon.terminate() == 0
    assert collector.of_request("last") is not None


def test_without_the_extra(tmp_path: Path) -> None:
    """The daemon does not start, and says what to install."""
    (tmp_path / "opentelemetry.py").write_text("raise ModuleNotFoundError(name=__name__)\n")
    env = {
        "RUNNERD_TRACES": "http://127.0.0.1:4318",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    with running(tmp_path / "d", env=env, ready=False) as daemon:
        assert daemon.process is not None
        assert daemon.process.wait(60) == 1
        assert "opentelemetry is missing" in daemon.text()
        assert "pip install 'runnerd[traces]'" in daemon.text()


def test_off_means_that_nothing_is_loaded(tmp_path: Path, gguf: Path) -> None:
    """A daemon that has served has none of the libraries in it."""
    with running(tmp_path / "d", env={"PYTHONVERBOSE": "1"}) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "tiny")
        headers = {"traceparent": f"00-{TRACE}-{CLIENT}-01"}
        assert daemon.http.post(CHAT, json=QUESTION, headers=headers).status_code == 200
        loaded = [line for line in daemon.text().splitlines() if line.startswith("import ")]
    assert any("runnerd.observability.traces" in line for line in loaded)
    assert not [line for line in loaded if "opentelemetry" in line or "trace_export" in line]
