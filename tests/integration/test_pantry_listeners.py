"""Where Pantry's programs find the daemon, and who becomes a user there."""

from __future__ import annotations

import os
import socket
import tempfile
from pathlib import Path

import pytest

from runnerd.accounts.registrations import MOST_A_MINUTE
from runnerd.config import Settings
from runnerd.pantry_listeners import pantry_listeners, pantry_socket
from runnerd.pantry_settings import PantrySettings
from runnerd.sockets.listeners import listen_unix
from tests.support.daemon import running
from tests.support.pantry import ApiError, PantryClient, may
from tests.support.pantry_daemon import pantry_daemon
from tests.support.waiting import wait_for


def test_on_every_listener(tmp_path: Path) -> None:
    """The calls are served on the daemon's own listeners, and its other APIs on Pantry's."""
    with pantry_daemon(tmp_path / "daemon") as pantry:
        with PantryClient(pantry.daemon.socket) as client:
            client.register_user("over the daemon's socket")
        with PantryClient(pantry.targets["unix"]) as client:
            request = client.request_of("", {})
            response = client.http.get(request.url.join("/v1/models"))
            assert response.status_code == 200
        assert oct(os.stat(str(pantry.targets["unix"])).st_mode & 0o777) == "0o666"
        addresses = pantry.daemon.text().count("listening on http://127.0.0.1:")
        assert addresses == 2


def test_not_unless_told(tmp_path: Path) -> None:
    """Without `pantry.enabled` there are the calls, and no further listener."""
    with running(tmp_path / "daemon") as daemon:
        assert daemon.text().count("listening on ") == 2
        with PantryClient(daemon.socket) as client:
            client.register_user("program")


def test_a_socket_that_was_removed(tmp_path: Path) -> None:
    """Cleaners of /tmp remove it; it is made again."""
    with pantry_daemon(tmp_path / "daemon") as pantry:
        there = pantry.targets["unix"]
        assert isinstance(there, Path)
        before = there.stat().st_ctime_ns
        there.unlink()
        wait_for(lambda: there.exists() and there.stat().st_ctime_ns != before, "the socket")
        with PantryClient(there) as client:
            client.register_user("program")


def test_wider_than_loopback(tmp_path: Path) -> None:
    """Every address, as the original listens, takes what it takes of any listener."""
    settings = {"RUNNERD_PANTRY__ENABLED": "true", "RUNNERD_PANTRY__LISTEN": "0.0.0.0:0"}
    folder = Path(tempfile.mkdtemp(prefix="pt"))
    settings["RUNNERD_PANTRY__SOCKET"] = str(folder / "p.sock")
    with running(tmp_path / "daemon", env=settings, ready=False) as daemon:
        assert daemon.process is not None
        assert daemon.process.wait(60) == 1
        assert "refusing to listen on 0.0.0.0" in daemon.text()
        assert "require_keys = true" in daemon.text()
    folder.rmdir()


def test_somebody_elses_socket(tmp_path: Path) -> None:
    """Pantry itself, or whatever is there, is left alone: the daemon says so and ends."""
    with pantry_daemon(tmp_path / "first") as pantry:
        settings = {
            "RUNNERD_PANTRY__ENABLED": "true",
            "RUNNERD_PANTRY__SOCKET": str(pantry.targets["unix"]),
            "RUNNERD_PANTRY__LISTEN": "",
        }
        with running(tmp_path / "second", env=settings, ready=False) as daemon:
            assert daemon.process is not None
            assert daemon.process.wait(60) == 1
            assert "already running" in daemon.text()
        with PantryClient(pantry.targets["unix"]) as client:
            client.register_user("program")


@pytest.mark.covers("Pantry errors", "429")
def test_registrations(tmp_path: Path) -> None:
    """They are in the audit, bounded in a minute, and can be switched off; names may be taken."""
    with pantry_daemon(tmp_path / "daemon") as pantry:
        with PantryClient(pantry.targets["tcp"]) as client:
            names = [client.register_user("program")["name"] for _ in range(MOST_A_MINUTE)]
            assert names[:3] == ["program", "program #2", "program #3"]
            with pytest.raises(ApiError) as refused:
                client.register_user("one more")
            assert refused.value.status == 429
            asked = client.request("request_permissions", requested_permissions=may("view_llms"))
            pantry.decide(asked, "accept")
            assert client.statuses("get_available_llms") == []
        entries = pantry.daemon.http.get("/runnerd/audit").json()
        told = [each for each in entries if each["action"] == "register"]
        assert len(told) == MOST_A_MINUTE
        assert {each["subject"] for each in told} == set(names)
        users = pantry.daemon.http.get("/runnerd/users").json()
        assert sorted(each["name"] for each in users) == sorted(names)
    off = {"RUNNERD_PANTRY__REGISTRATION": "false"}
    with pantry_daemon(tmp_path / "closed", env=off) as pantry:
        with PantryClient(pantry.targets["unix"]) as client, pytest.raises(ApiError) as refused:
            client.register_user("program")
        assert refused.value.status == 403
        assert "runnerd user add" in refused.value.body


def test_with_keys_required(tmp_path: Path) -> None:
    """Whoever reaches the daemon registers, and may nothing that it was not let do."""
    required = {"RUNNERD_REQUIRE_KEYS": "true"}
    with pantry_daemon(tmp_path / "daemon", env=required) as pantry:
        for transport, target in pantry.targets.items():
            with PantryClient(target) as client:
                client.register_user(transport)
                with pytest.raises(ApiError) as refused:
                    client.statuses("get_running_llms")
                assert refused.value.status == 401


def test_sockets_of_systemd(tmp_path: Path) -> None:
    """What systemd has opened is not opened once more."""
    settings = Settings(
        pantry=PantrySettings(enabled=True, socket=tmp_path / "p.sock", listen="127.0.0.1:0")
    )
    unix = pantry_socket(settings.pantry)
    with listen_unix(tmp_path / "p.sock", mode=0o666, group=None) as theirs:
        ours = pantry_listeners(settings, unix, [theirs])
        assert [each.family for each in ours] == [socket.AF_INET]
        for each in ours:
            each.close()
        unix.close()
        assert (tmp_path / "p.sock").exists()
    (tmp_path / "p.sock").unlink()
