"""Spans of requests, as a collector gets them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from runnerd.errors import ModelNotFound
from runnerd.observability.trace_context import TraceContext
from runnerd.observability.trace_export import SpanSender
from runnerd.relay.records import LEFT, RequestRecord
from tests.support.collector import Collector, attributes, collecting


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def sender(collector: Collector) -> Iterator[SpanSender]:
    sender = SpanSender(collector.address, server=("gpu.example", 12434), name_of=name_of)
    yield sender
    sender.close()


def name_of(id: str) -> str:
    if id == "gone":
        raise ModelNotFound("gone")
    return f"ai/{id}"


def record(**said: Any) -> RequestRecord:
    usual: dict[str, Any] = {
        "id": "r", "model": "m", "operation": "chat/completions", "origin": None,
        "user_agent": None, "streamed": True, "bytes_in": 1, "status": 200, "waited": 0.5,
        "first_byte": 1.0, "duration": 3.0, "started_at": 1000.0, "runner": "0a",
        "counts": b'"usage":{"prompt_tokens":10,"completion_tokens":5}',
    }  # fmt: skip
    return RequestRecord(**usual | said)


def sent(sender: SpanSender, collector: Collector, **said: Any) -> Span:
    """The span of a record, which is the last of its request."""
    assert sender.send([record(**said)])
    return next(span for span in collector.spans if span.kind == Span.SPAN_KIND_SERVER)


def test_times(sender: SpanSender, collector: Collector) -> None:
    """Those of the record, and so those of its children."""
    span = sent(sender, collector)
    found = {
        each.name: (each.start_time_unix_nano / 1e9, each.end_time_unix_nano / 1e9)
        for each in [span, *collector.children(span).values()]
    }
    assert found == {
        "chat ai/m": (1000.0, 1003.0), "wait": (1000.0, 1000.5), "generate": (1000.5, 1003.0),
    }  # fmt: skip


def test_attributes(sender: SpanSender, collector: Collector) -> None:
    """What the engine told of tokens, where the daemon is, and nothing that is not known."""
    said = attributes(sent(sender, collector).attributes)
    assert said == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "runnerd",
        "gen_ai.request.model": "ai/m",
        "gen_ai.request.stream": True,
        "gen_ai.response.time_to_first_chunk": 1.0,
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 5,
        "http.response.status_code": 200,
        "runnerd.request.id": "r",
        "runnerd.runner": "0a",
        "server.address": "gpu.example",
        "server.port": 12434,
    }


def test_refused_at_once(sender: SpanSender, collector: Collector) -> None:
    """Before it was known what it wants: no model, and no time for children."""
    span = sent(
        sender, collector, model="", status=400, error="no", waited=None, duration=0.0, counts=None
    )
    assert span.name == "chat"
    assert collector.children(span) == {}
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert attributes(span.attributes)["error.type"] == "400"


def test_never_had_a_runner(sender: SpanSender, collector: Collector) -> None:
    """All of its time is waiting; a model that is gone has its id."""
    span = sent(sender, collector, model="gone", status=503, error="full", waited=None)
    assert span.name == "chat gone"
    assert list(collector.children(span)) == ["wait"]
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert attributes(span.attributes)["error.type"] == "503"


@pytest.mark.parametrize(
    ("error", "kind"), [(LEFT, "client_left"), ("the secret word", "response_broke_off")]
)
def test_ended_before_its_end(
    sender: SpanSender, collector: Collector, error: str, kind: str
) -> None:
    """An error of few words: what it says may quote what was asked."""
    span = sent(sender, collector, error=error)
    assert (span.status.code, span.status.message) == (Status.STATUS_CODE_ERROR, "")
    assert attributes(span.attributes)["error.type"] == kind
    assert b"secret" not in collector.raw


def test_a_clients_trace(sender: SpanSender, collector: Collector) -> None:
    """Its span is the parent; what it does not want recorded is not sent."""
    span = sent(sender, collector, trace=TraceContext(2**127 + 1, 7))
    assert (int(span.trace_id.hex(), 16), int(span.parent_span_id.hex(), 16)) == (2**127 + 1, 7)
    assert {each.trace_id for each in collector.spans} == {span.trace_id}
    requests = collector.requests
    assert sender.send([record(trace=TraceContext(1, 7, sampled=False))])
    assert collector.requests == requests


def test_an_own_trace(sender: SpanSender, collector: Collector) -> None:
    """Its id is the one that the log has."""
    span = sent(sender, collector, trace=TraceContext(5))
    assert int(span.trace_id.hex(), 16) == 5
    assert span.parent_span_id == b""


def test_a_collector_that_refuses(sender: SpanSender, collector: Collector) -> None:
    """It has not taken them, and they are not sent again."""
    collector.status = 400
    assert not sender.send([record()])
    collector.status = 200
    assert sender.send([record(id="second")])
    ids = [attributes(span.attributes).get("runnerd.request.id") for span in collector.spans]
    assert [id for id in ids if id] == ["second"]


@pytest.mark.parametrize("end", ["/", "/v1/traces", "/v1/traces/"])
def test_the_endpoint_however_it_is_written(collector: Collector, end: str) -> None:
    """With the path of traces or without."""
    sender = SpanSender(collector.address + end, server=("/run/s", None), name_of=name_of)
    said = attributes(sent(sender, collector).attributes)
    assert said["server.address"] == "/run/s"
    assert "server.port" not in said
    sender.close()
