"""The command line's side of the daemon's HTTP API; standard library only, quick to import."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from runnerd.cli.daemon_address import DEFAULT_PORT, read_address, unix_address
from runnerd.default_directories import usual_runtime_dir
from runnerd.errors import RunnerdError
from runnerd.sockets.found import StrangersSocket, check_found, expected_listeners

_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")
_FALLBACK = f"http://127.0.0.1:{DEFAULT_PORT}"


class DaemonError(RunnerdError):
    """The daemon refused a request; `answer_status` is its HTTP status, 0 when nobody answered."""

    def __init__(self, message: str, answer_status: int = 0) -> None:
        super().__init__(message)
        self.answer_status = answer_status


class _UnixConnection(http.client.HTTPConnection):
    """`found` is a socket that nobody has named: who listens there is checked."""

    def __init__(self, path: str, *, found: bool) -> None:
        super().__init__("localhost")
        self._path = path
        self._found = found

    def connect(self) -> None:
        uids = expected_listeners(self._path) if self._found else None
        self.sock = socket.socket(socket.AF_UNIX)
        try:
            self.sock.connect(self._path)
            if uids is not None:
                check_found(self.sock, self._path, uids)
        except OSError:
            self.sock.close()
            raise


def default_address() -> str:
    """Return where a daemon is to be expected: the first socket that exists, else TCP.

    Who names a socket means that one: another daemon is not asked in its place.  Where nobody did,
    it is checked who listens at the socket before anything is sent (`Client.found`).
    """
    environ = os.environ
    if named := environ.get("RUNNERD_SOCKET"):
        return unix_address(named)
    if folder := environ.get("RUNNERD_RUNTIME_DIR"):
        return unix_address(f"{folder}/runnerd.sock")
    for candidate in (f"{usual_runtime_dir()}/runnerd.sock", "/run/runnerd/runnerd.sock"):
        if _is_there(candidate):
            return unix_address(candidate)
    return _FALLBACK


def _is_found() -> bool:
    """Whether `default_address` is one that was found, and that no variable names."""
    return not any(os.environ.get(name) for name in ("RUNNERD_SOCKET", "RUNNERD_RUNTIME_DIR"))


def _is_there(path: str) -> bool:
    """Whether something is at a path, also where we may not look: connecting says then so."""
    try:
        os.stat(path)
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return True


class Client:
    """Talks to one daemon; `address` is as people write it (`daemon_address`), None for the usual.

    `found` is an address that nobody has named, as the usual ones: whoever listens at such a socket
    has to be us, root, or whom root has given its folder.
    """

    def __init__(self, address: str | None = None, *, found: bool = False) -> None:
        self.address = read_address(address) if address else default_address()
        self.found = found or (not address and _is_found())

    def json(self, method: str, path: str, document: object = None) -> Any:
        """Return the JSON of a response, None for an empty one.  Raises DaemonError."""
        with self.open(method, path, document) as response:
            body = response.read()
        return json.loads(body) if body else None

    def lines(self, method: str, path: str, document: object = None) -> Iterator[bytes]:
        """Yield a response line by line as it comes.  Raises DaemonError."""
        with self.open(method, path, document) as response:
            yield from response

    def open(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        headers: dict[str, str] | None = None,
        body: Iterable[bytes] | None = None,
    ) -> http.client.HTTPResponse:
        """Send a request and return the response, unread.  Raises DaemonError for 4xx and 5xx."""
        connection = self._connection()
        sent = {"User-Agent": "runnerd-cli", "Accept": "application/json"}
        sent |= {**credential(), **(headers or {})}
        data: Any = body
        if document is not None:
            data = json.dumps(document).encode()
            sent["Content-Type"] = "application/json"
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                # Refused before everything was sent: the reason can be read all the same.
                connection.request(method, path, data, sent)
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise DaemonError(_unreachable(self.address, error)) from error
        if response.status >= 400:
            with contextlib.closing(connection), response:
                said = _message(response.read(), response.status)
                if not said:
                    said = (
                        f"{self.address} answered {response.status} and nothing more; is that the"
                        " daemon's address? (--host HOST:PORT)"
                    )
                raise DaemonError(said, response.status)
        return response

    def _connection(self) -> http.client.HTTPConnection:
        if self.address.startswith("unix://"):
            return _UnixConnection(self.address.removeprefix("unix://"), found=self.found)
        parts = urlsplit(self.address)
        assert parts.hostname is not None
        if parts.scheme == "https":
            # The host's own authorities; SSL_CERT_FILE names another file of them.
            return http.client.HTTPSConnection(parts.hostname, parts.port or 443)
        return http.client.HTTPConnection(parts.hostname, parts.port or 80)


def credential() -> dict[str, str]:
    """The key of whoever asks; an argument would show it to everybody on this host."""
    key = os.environ.get("RUNNERD_KEY", "").strip()
    if not key:
        return {}
    if not key.isascii() or not key.isprintable():
        raise DaemonError("RUNNERD_KEY is no key: it has letters that no key has")
    return {"Authorization": f"Bearer {key}"}


def _unreachable(address: str, error: Exception) -> str:
    """Why nobody could be asked, and what to do."""
    if isinstance(error, StrangersSocket):
        return error.strerror or str(error)
    if isinstance(error, PermissionError):
        return (
            f"you may not connect to {address}: permission denied; to use models ask the daemon"
            " over TCP (`runnerd --host http://127.0.0.1:12434 ls`), to manage them become a member"
            " of the socket's group (usually `usermod -aG runnerd $USER`) and log in again"
        )
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return (
            f"the daemon at {address} hung up before it answered: it may have too many connections,"
            " or be about to end; try again"
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the certificate of {address} is not to be trusted ({error}); SSL_CERT_FILE=FILE names"
            " a file with its authority, or with the certificate itself if it is self-signed"
        )
    if isinstance(error, ssl.SSLError):
        if error.reason in _NO_TLS:
            plain = address.replace("https", "http", 1)
            return f"what listens at {address} speaks no TLS, perhaps http: try --host {plain}"
        return f"no TLS connection to {address} came about ({error.reason or error})"
    reason = getattr(error, "strerror", None) or error  # an errno helps nobody
    return f"no daemon answers at {address} ({reason}); start one with `runnerd serve`"


def _message(body: bytes, status: int) -> str:
    try:
        error = json.loads(body)["error"]  # Ollama's routes say it as a text
        return error if isinstance(error, str) else str(error["message"])
    except (ValueError, KeyError, TypeError):
        if not body.strip():
            return ""
        return f"the daemon answered {status}: {body[:200].decode('utf-8', 'replace')}"
