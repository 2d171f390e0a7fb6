"""What reaches the service manager, over a real datagram socket, and what never gets in the way."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.sockets.notify import Notifier


class Manager:
    """A service manager's end of NOTIFY_SOCKET."""

    def __init__(self, address: str, name: str) -> None:
        self.name = name
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        if self.name.startswith("/"):
            Path(self.name).unlink()

    def received(self) -> list[list[str]]:
        """Return the fields of every message so far."""
        messages = []
        while True:
            try:
                messages.append(self.socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return messages


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """A manager on a path and one on an abstract name."""
    if request.param == "path":
        listening = Manager(str(tmp_path / "n"), str(tmp_path / "n"))
    else:
        name = f"runnerd-test-{os.getpid()}"
        listening = Manager("\0" + name, "@" + name)
    with listening:
        yield listening


def test_messages(manager: Manager) -> None:
    """Each method sends its field, and ready() sends its status along."""
    with closing(Notifier({"NOTIFY_SOCKET": manager.name})) as notifier:
        notifier.ready("2 models")
        notifier.status("3 models")
        notifier.watchdog()
        notifier.extend_timeout(1.5)
        notifier.stopping()
    assert manager.received() == [
        ["READY=1", "STATUS=2 models"],
        ["STATUS=3 models"],
        ["WATCHDOG=1"],
        ["EXTEND_TIMEOUT_USEC=1500000"],
        ["STOPPING=1"],
    ]


def test_status_cannot_smuggle_a_field(manager: Manager) -> None:
    """A line break in a status does not become a second field."""
    with closing(Notifier({"NOTIFY_SOCKET": manager.name})) as notifier:
        notifier.status("loading\nSTOPPING=1\0 \udcff")
    assert manager.received() == [["STATUS=loading STOPPING=1 ?"]]


def test_long_status_is_cut(manager: Manager) -> None:
    """The manager drops datagrams beyond 4096 bytes; a status stays below, in whole letters."""
    with closing(Notifier({"NOTIFY_SOCKET": manager.name})) as notifier:
        notifier.status("ä" * 5000)
    assert manager.received() == [["STATUS=" + "ä" * 512]]


def test_busy_manager_gets_ready_with_the_next_message(tmp_path: Path) -> None:
    """With the manager's queue full nothing blocks, and READY=1 is late, not lost."""
    manager = Manager(str(tmp_path / "n"), str(tmp_path / "n"))
    with manager, closing(Notifier({"NOTIFY_SOCKET": manager.name})) as notifier:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
            flood.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    flood.sendto(b"X=1", manager.name)
            notifier.ready("up")
            notifier.status("still up")
            assert ["READY=1"] not in manager.received()
        notifier.watchdog()
        assert manager.received() == [["READY=1", "STATUS=still up", "WATCHDOG=1"]]
        notifier.watchdog()
        assert manager.received() == [["WATCHDOG=1"]]


def test_manager_that_is_gone_is_no_error(manager: Manager) -> None:
    """Nobody at the other end raises nothing."""
    with closing(Notifier({"NOTIFY_SOCKET": manager.name})) as notifier:
        manager.socket.close()
        notifier.ready("up")


def test_without_a_manager_everything_is_a_no_op() -> None:
    """Outside systemd the same calls do nothing, and no watchdog is asked for."""
    notifier = Notifier({"WATCHDOG_USEC": "30000000"})
    notifier.ready("up")
    notifier.status("x")
    notifier.watchdog()
    notifier.extend_timeout(1)
    notifier.stopping()
    notifier.close()
    assert notifier.watchdog_interval is None


def test_silent_after_close(manager: Manager) -> None:
    """After close() nothing is sent and nothing raised."""
    notifier = Notifier({"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "2000000"})
    notifier.close()
    notifier.close()
    notifier.watchdog()
    assert manager.received() == []
    assert notifier.watchdog_interval is None


@pytest.mark.parametrize("address", ["vsock:2:1234", "relative", "@", "/" + "x" * 200, "\udcff"])
def test_unusable_address_is_logged_once_and_ignored(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An address that we cannot send to costs a line in the log, nothing else."""
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready("up")
    notifier.close()
    assert "cannot notify" in caplog.text


@pytest.mark.parametrize(
    ("usec", "pid", "expected"),
    [
        ("30000000", "", 15.0),
        pytest.param("30000000", str(os.getpid()), 15.0, id="this process"),
        ("30000000", "1", None),
        ("30000000", "x", None),
        ("", "", None),
        ("0", "", None),
        ("-1", "", None),
        ("soon", "", None),
        ("9" * 5000, "", None),
    ],
)
def test_watchdog_interval(usec: str, pid: str, expected: float | None) -> None:
    """Half of WATCHDOG_USEC, if it is a number and meant for this process."""
    environ = {"NOTIFY_SOCKET": "@nobody", "WATCHDOG_USEC": usec, "WATCHDOG_PID": pid}
    with closing(Notifier(environ)) as notifier:
        assert notifier.watchdog_interval == expected


def test_children_inherit_nothing() -> None:
    """The variables are gone from the environment, and nothing else is."""
    environ = {
        "NOTIFY_SOCKET": "@nobody",
        "WATCHDOG_USEC": "1",
        "WATCHDOG_PID": "1",
        "PATH": "/bin",
    }
    Notifier(environ).close()
    assert environ == {"PATH": "/bin"}


@given(seconds=st.floats(), text=st.text())
def test_nothing_raises(seconds: float, text: str) -> None:
    """Whatever number or text, telling the manager never fails the daemon."""
    with closing(Notifier({"NOTIFY_SOCKET": "@nobody-" + text})) as notifier:
        notifier.extend_timeout(seconds)
        notifier.status(text)
