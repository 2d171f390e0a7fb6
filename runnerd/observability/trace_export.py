"""Spans of requests, as OpenTelemetry's libraries make and send them.

The only module that imports these.  Names and attributes are those of the semantic conventions for
generative AI and for HTTP; nothing in a span is a prompt, a response or an error's text, which may
quote one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

import runnerd
from runnerd.errors import RunnerdError
from runnerd.observability.request_figures import operation_name
from runnerd.observability.trace_context import TraceContext, TracedRequest, trace_context

_PATH = "/v1/traces"
_TIMEOUT = 5.0  # seconds for one message, tries after a failure included
_LIBRARIES = "opentelemetry", "urllib3"


class SpanSender:
    """Makes spans and sends them to one collector; for one thread."""

    def __init__(
        self, endpoint: str, *, server: tuple[str, int | None], name_of: Callable[[str], str]
    ) -> None:
        for name in _LIBRARIES:  # what they have to say of each try we say once
            library = logging.getLogger(name)
            library.addHandler(logging.NullHandler())
            library.propagate = False
        plain = endpoint.rstrip("/")
        self._exporter = OTLPSpanExporter(
            plain if plain.endswith(_PATH) else plain + _PATH, timeout=_TIMEOUT
        )
        self._name_of = name_of
        self._server: dict[str, str | int | float] = {"server.address": server[0]}
        if server[1]:
            self._server["server.port"] = server[1]
        self._ids = _Ids()
        self._ended = _Ended()
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(
                {"service.name": "runnerd", "service.version": runnerd.__version__}
            ),
            shutdown_on_exit=False,
            id_generator=self._ids,
        )
        provider.add_span_processor(self._ended)
        self._tracer = provider.get_tracer("runnerd", runnerd.__version__)

    def send(self, requests: Sequence[TracedRequest]) -> bool:
        """Whether the collector has taken the spans of requests."""
        for request in requests:
            context = request.trace or trace_context(())
            if context.sampled:
                self._trace(request, context)
        spans = self._ended.take()
        return not spans or self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        """Give up what is being sent."""
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def _trace(self, request: TracedRequest, context: TraceContext) -> None:
        self._ids.trace_id = context.trace_id
        operation, model = operation_name(request.operation), self._model(request.model)
        begin = request.started_at
        end = begin + (request.duration or 0.0)
        span = self._tracer.start_span(
            f"{operation} {model}".rstrip(),
            context=_client(context),
            kind=SpanKind.SERVER,
            attributes=self._server | _attributes(request, operation, model),
            start_time=_nanoseconds(begin),
        )
        inside = trace.set_span_in_context(span, Context())
        ready = end if request.waited is None else min(begin + request.waited, end)
        phases = [("wait", begin, ready)]
        if request.waited is not None:
            phases.append(("generate", ready, end))
        for name, start, stop in phases:
            if start < stop:
                child = self._tracer.start_span(name, inside, start_time=_nanoseconds(start))
                child.end(_nanoseconds(stop))
        if request.status >= 500 or (request.error is not None and request.status < 400):
            span.set_status(StatusCode.ERROR)  # a 4xx is the client's mistake
        span.end(_nanoseconds(end))

    def _model(self, id: str) -> str:
        try:
            return self._name_of(id) if id else ""
        except RunnerdError:
            return id  # gone, or a backend's own


class _Ids(RandomIdGenerator):
    """Gives a span without a parent the trace that its request has in the log."""

    trace_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id


class _Ended(SpanProcessor):
    """Keeps spans that have ended until they are taken."""

    def __init__(self) -> None:
        self._spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self._spans.append(span)

    def take(self) -> list[ReadableSpan]:
        """Those that have ended since they were last taken."""
        spans, self._spans = self._spans, []
        return spans


def _client(context: TraceContext) -> Context:
    """What a request's span goes on with: its client's span, or nothing."""
    if context.parent is None:
        return Context()
    flags = TraceFlags(TraceFlags.SAMPLED)
    caller = SpanContext(context.trace_id, context.parent, is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(NonRecordingSpan(caller), Context())


def _attributes(request: TracedRequest, operation: str, model: str) -> dict[str, str | int | float]:
    tokens = request.usage
    said: dict[str, str | int | float | None] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "runnerd",
        "gen_ai.request.model": model or None,
        "gen_ai.request.stream": request.streamed,
        "gen_ai.response.time_to_first_chunk": request.first_byte if request.streamed else None,
        "gen_ai.usage.input_tokens": tokens.prompt,
        "gen_ai.usage.output_tokens": tokens.generated,
        "gen_ai.usage.cache_read.input_tokens": tokens.cached,
        "http.response.status_code": request.status or None,
        "error.type": _error_type(request),
        "user_agent.original": request.user_agent,
        "runnerd.request.id": request.id,
        "runnerd.runner": request.runner,
        "runnerd.origin": request.origin,
    }
    return {name: value for name, value in said.items() if value is not None}


def _error_type(request: TracedRequest) -> str | None:
    """One of few words: the status, or how a response ended that had begun well."""
    if request.status >= 400:
        return str(request.status)
    if request.error is None:
        return None
    return "client_left" if request.left else "response_broke_off"


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)
