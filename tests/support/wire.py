"""Raw HTTP over a socket, for requests that no proper client would send."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.support.waiting import SECONDS


@dataclass(frozen=True)
class Answer:
    """One answer as it came; header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Wire:
    """One connection, to a path or to http://127.0.0.1:PORT; what is sent is sent as it is."""

    def __init__(self, where: Path | str, *, source: str | None = None) -> None:
        """`source` is the address that it comes from, where it goes to one."""
        unix = isinstance(where, Path)
        self.socket = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        self.socket.settimeout(30 * SECONDS)
        try:
            if source is not None:
                self.socket.bind((source, 0))
            if isinstance(where, Path):
                self.socket.connect(str(where))
            else:
                self.socket.connect(("127.0.0.1", int(where.rpartition(":")[2])))
        except OSError:
            self.socket.close()
            raise
        self._file = self.socket.makefile("rb")

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, *, head_only: bool = False) -> Answer:
        """Read one answer; ConnectionError when the daemon has hung up instead."""
        line = self._file.readline()
        if not line:
            raise ConnectionError("no answer")
        headers: dict[str, str] = {}
        while (field := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = field.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        status = int(line.split()[1])
        if head_only or status < 200 or status == 204:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return Answer(status, headers, self._chunks())
        length = headers.get("content-length")
        body = self._file.read() if length is None else self._file.read(int(length))
        return Answer(status, headers, body)

    def ended(self) -> bool:
        """Wait until the daemon hangs up; False when it sends something instead."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self._file.readline(), 16):
            body += self._file.read(size)
            assert self._file.read(2) == b"\r\n"
        assert self._file.readline() == b"\r\n"
        return body


def post(path: str, document: object, *headers: str) -> bytes:
    """Return the bytes of an ordinary POST of JSON."""
    body = json.dumps(document).encode()
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, *headers: str, version: str = "1.1") -> bytes:
    """Return the bytes of an ordinary GET."""
    return (
        "\r\n".join([f"GET {path} HTTP/{version}", "Host: localhost", *headers]).encode()
        + b"\r\n\r\n"
    )
