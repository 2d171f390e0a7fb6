"""An HTTP server on loopback that serves one file well, or badly as a test asks for."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_CHUNK = 256 * 2**10


@dataclass
class Behaviour:
    """What the server does; a test may change it while it runs."""

    content: bytes = b""
    etag: str | None = '"one"'
    ranges: bool = True
    length: bool = True  # states the size of a whole file
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 0  # answer with this one instead
    location: str = ""  # redirect there
    breaks: int = 0  # so many responses end after `break_after` bytes
    break_after: int = 0
    stalls: bool = False  # at the place where it would break
    wrong_range: bool = False  # sends the right status with another range
    shift: int = 0  # added to the size in Content-Range
    at_most: int = 0  # sends the file so often at once, others get `busy`; 0: any number
    every: int = 0  # answers every n-th request, whatever it is for, with `busy`
    busy: int = 503
    busy_headers: dict[str, str] = field(default_factory=dict)
    pace: Callable[[int], None] = lambda sent: None  # called before each chunk


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    path: str
    range: str
    headers: dict[str, str]


class FileServer:
    """A running server; `host` is its host:port."""

    def __init__(self, content: bytes = b"", tls: ssl.SSLContext | None = None) -> None:
        self.behaviour = Behaviour(content)
        self.seen: list[Seen] = []
        self.sent = 0
        self.at_once = self.most_at_once = 0  # requests for the file that are being answered
        self.refused = 0
        self.routes: dict[str, Callable[[Any], None]] = {}
        self.release = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._response(self)

            do_HEAD = do_POST = do_PUT = do_GET

            def log_message(self, format: str, *args: object) -> None: ...

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: Any, client_address: Any) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, path: str = "/model.gguf") -> str:
        """Return an address on the server."""
        return f"http://{self.host}{path}"

    def close(self) -> None:
        """Stop the server."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def ranges(self) -> list[str]:
        """Return the ranges that were asked for."""
        return [seen.range for seen in self.seen]

    def _response(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._lock:
            self.seen.append(Seen(handler.path, headers.get("range", ""), headers))
            every = self.behaviour.every
            refused = every > 0 and len(self.seen) % every == 0
        if refused:
            self._refuse(handler)
            return
        for path, route in self.routes.items():
            if re.fullmatch(path, handler.path):
                route(handler)
                return
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            refused = 0 < self.behaviour.at_most < self.at_once
        try:
            if refused:
                self._refuse(handler)
            else:
                self._serve(handler, headers)
        finally:
            with self._lock:
                self.at_once -= 1

    def _refuse(self, handler: BaseHTTPRequestHandler) -> None:
        with self._lock:
            self.refused += 1
        answer_with(b"", self.behaviour.busy, **self.behaviour.busy_headers)(handler)

    def _serve(self, handler: BaseHTTPRequestHandler, headers: dict[str, str]) -> None:
        behaviour = self.behaviour
        content = behaviour.content
        if behaviour.status or behaviour.location:
            handler.send_response(behaviour.status or 302)
            if behaviour.location:
                handler.send_header("Location", behaviour.location)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("range", ""))
        condition = headers.get("if-range")
        if match and behaviour.ranges and (condition is None or condition == behaviour.etag):
            start, end = int(match[1]), min(int(match[2]) + 1, len(content))
            if start >= len(content):
                handler.send_response(416)
                handler.send_header("Content-Length", "0")
                handler.end_headers()
                return
            stated = start + 1 if behaviour.wrong_range else start
            total = len(content) + behaviour.shift
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {stated}-{end - 1}/{total}")
            handler.send_header("Content-Length", str(end - start))
            body = content[start:end]
        else:
            handler.send_response(200)
            body = content
            if behaviour.length:
                handler.send_header("Content-Length", str(len(content) + behaviour.shift))
            else:
                handler.send_header("Connection", "close")
                handler.close_connection = True
        if behaviour.etag:
            handler.send_header("ETag", behaviour.etag)
        for name, value in behaviour.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        self._send(handler, body)

    def _send(self, handler: BaseHTTPRequestHandler, body: bytes) -> None:
        behaviour = self.behaviour
        with self._lock:
            breaks = behaviour.breaks > 0
            behaviour.breaks -= breaks
        if breaks:
            body = body[: behaviour.break_after]
        for place in range(0, len(body), _CHUNK):
            behaviour.pace(self.sent)
            piece = body[place : place + _CHUNK]
            handler.wfile.write(piece)
            with self._lock:
                self.sent += len(piece)
        if breaks:
            if behaviour.stalls:
                handler.wfile.flush()
                self.release.wait(60)
            handler.close_connection = True


def answer_with(
    body: bytes, status: int = 200, **headers: str
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return a route that answers with `body`; `_` in header names stands for `-`."""

    def route(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(body)

    return route


@contextmanager
def serving(content: bytes = b"", *, tls: ssl.SSLContext | None = None) -> Iterator[FileServer]:
    """Run a server for the length of a with block."""
    server = FileServer(content, tls)
    try:
        yield server
    finally:
        server.close()
