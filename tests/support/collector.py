"""An OpenTelemetry collector in tests: takes spans over HTTP, and may be bad at it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Value = str | int | float | bool


class Collector:
    """A running collector: `spans` has all that have come, `resource` what sent them."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.spans: list[Span] = []
        self.resource: dict[str, Value] = {}
        self.requests = 0
        self.raw = b""
        self.status = 200

    def take(self, path: str, body: bytes) -> int:
        """A message has come; the status of the response to it."""
        assert path == "/v1/traces"
        self.requests += 1
        if self.status != 200:
            return self.status
        self.raw += body
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = attributes(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += scope.spans
        return 200

    def of_request(self, id: str) -> Span | None:
        """The span of a request, once it has come."""
        for span in self.spans:
            if attributes(span.attributes).get("runnerd.request.id") == id:
                return span
        return None

    def children(self, parent: Span) -> dict[str, Span]:
        """The spans in a span, by name."""
        return {span.name: span for span in self.spans if span.parent_span_id == parent.span_id}


def attributes(pairs: Iterable[KeyValue]) -> dict[str, Value]:
    """Attributes as a dictionary."""
    found: dict[str, Value] = {}
    for pair in pairs:
        kind = pair.value.WhichOneof("value")
        assert kind is not None
        found[pair.key] = getattr(pair.value, kind)
    return found


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run a collector for the length of a with block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(collector.take(self.path, body))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(server.server_port)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
