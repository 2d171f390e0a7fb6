"""runnerd.relay.connect_retry: an engine without room for a connection, and one that is gone."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.errors import UpstreamTimeout
from runnerd.relay.connect_retry import abandon, reach, retry_connect


class Sending:
    """Fails so often."""

    def __init__(self, failures: int, error: OSError) -> None:
        self.left = failures
        self.error = error

    def __call__(self) -> None:
        self.left -= 1
        if self.left >= 0:
            raise self.error


async def test_it_is_asked_again_until_there_is_room() -> None:
    """Whatever else is wrong is told at once."""
    sending = Sending(3, BlockingIOError())
    await retry_connect(sending, 60)
    assert sending.left == -1
    with pytest.raises(ConnectionRefusedError):
        await retry_connect(Sending(9, ConnectionRefusedError()), 60)
    with pytest.raises(UpstreamTimeout, match="0 s"):
        await retry_connect(Sending(9, BlockingIOError()), 0)


@pytest.mark.parametrize(
    ("number", "given_up"),
    [(errno.ECONNREFUSED, True), (errno.ENOENT, True), (errno.EMFILE, False)],
)
def test_a_fault_on_this_side_costs_no_runner(number: int, given_up: bool) -> None:
    """Only one that cannot be reached is given up, and its lease with it."""
    told: list[str] = []
    lease = SimpleNamespace(
        runner=SimpleNamespace(lose=told.append), release=lambda: told.append("released")
    )
    assert abandon(cast(Any, lease), OSError(number, "why")) is given_up
    assert told == (["why", "released"] if given_up else [])


def test_who_listens_is_there(tmp_path: Path) -> None:
    """Also with a full queue; nobody is waited for."""
    path = tmp_path / "e.sock"
    lease = cast(Any, SimpleNamespace(runner=SimpleNamespace(engine_socket=path)))
    with pytest.raises(FileNotFoundError):
        reach(lease)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(0)
        for _ in range(4):
            reach(lease)
    with pytest.raises(ConnectionRefusedError):
        reach(lease)
    path.unlink()
