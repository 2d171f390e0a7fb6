"""Users of a daemon, each with a client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.support.daemon import DaemonProcess
from tests.support.plain_http import NO_TLS


class Member:
    """A user of the daemon, and a client with its key."""

    def __init__(self, daemon: DaemonProcess, name: str, **said: Any) -> None:
        response = daemon.http.post("/runnerd/users", json={"name": name, **said})
        assert response.status_code == 201, response.text
        document = response.json()
        self.id, self.key, self.key_id = document["id"], document["key"], document["key_id"]
        self.daemon = daemon
        self.http = httpx.Client(
            base_url=daemon.address,
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=60,
            verify=NO_TLS,
        )

    def edit(self, **said: Any) -> None:
        """Change the user."""
        self.daemon.http.post(f"/runnerd/users/{self.id}", json=said).raise_for_status()

    def remove(self) -> None:
        """Remove the user; also one that is removed."""
        response = self.daemon.http.delete(f"/runnerd/users/{self.id}")
        assert response.status_code in (200, 404), response.text

    def revoke(self) -> None:
        """Revoke the key."""
        self.daemon.http.delete(f"/runnerd/keys/{self.key_id}").raise_for_status()


Join = Callable[..., Member]


@contextmanager
def joining(daemon: DaemonProcess) -> Iterator[Join]:
    """What adds users; they are removed at the end."""
    members: list[Member] = []

    def add(name: str, **said: Any) -> Member:
        members.append(Member(daemon, name, **said))
        return members[-1]

    yield add
    for member in members:
        member.http.close()
        member.remove()
