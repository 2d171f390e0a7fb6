"""A daemon that listens where Pantry's programs look, as far as a test may say where."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.daemon import DaemonProcess, running
from tests.support.pantry import PantryClient, may


class PantryDaemon:
    """A running daemon; `targets` are where its clients connect, by transport."""

    def __init__(self, daemon: DaemonProcess, socket: Path) -> None:
        self.daemon = daemon
        # What is listened on last is Pantry's port.
        self.targets: dict[str, Path | str] = {"unix": socket, "tcp": daemon.address}

    def client(self, transport: str, *permissions: str, name: str = "program") -> PantryClient:
        """A client that has registered and was let in; close it."""
        client = PantryClient(self.targets[transport])
        client.register_user(name)
        if permissions:
            asked = client.request("request_permissions", requested_permissions=may(*permissions))
            self.decide(asked, "accept")
        return client

    def user(self, transport: str, name: str, **said: Any) -> PantryClient:
        """A client of a user that the owner has added; close it."""
        response = self.daemon.http.post("/runnerd/users", json={"name": name, **said})
        assert response.status_code == 201, response.text
        made = response.json()
        return PantryClient(self.targets[transport], made["id"], made["key"])

    def decide(self, asked: dict[str, Any], decision: str) -> dict[str, Any]:
        """What the owner says; the request as it is then."""
        path = f"/runnerd/approvals/{asked['id']}/{decision}"
        found: dict[str, Any] = self.daemon.http.post(path).raise_for_status().json()
        return found

    def unload(self) -> None:
        """Have nothing loaded."""
        self.daemon.http.post("/engines/unload", json={"all": True}).raise_for_status()


@contextmanager
def pantry_daemon(root: Path, env: Mapping[str, str] | None = None) -> Iterator[PantryDaemon]:
    """Run such a daemon for the length of a with block."""
    folder = Path(tempfile.mkdtemp(prefix="pt"))
    socket = folder / "pantrylocal.sock"
    settings = {
        "RUNNERD_PANTRY__ENABLED": "true",
        "RUNNERD_PANTRY__SOCKET": str(socket),
        "RUNNERD_PANTRY__LISTEN": "127.0.0.1:0",
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]',
        **(env or {}),
    }
    with running(root, env=settings) as daemon:
        yield PantryDaemon(daemon, socket)
    assert not socket.exists()
    folder.rmdir()
