"""What whoever balances the load goes by: does the daemon serve, or is it going away?"""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx

from tests.integration.test_cli import runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import SECONDS, wait_for


def health(daemon: DaemonProcess) -> httpx.Response:
    """What somebody new is told."""
    with daemon.client() as client:
        return client.get("/health")


def test_health_in_a_drain(tmp_path: Path) -> None:
    """While a last request is under way others are told so, and so is who asks for the health."""
    with running(tmp_path / "d") as daemon, socket.socket(socket.AF_UNIX) as last:
        assert daemon.http.get("/health").json() == {"status": "ok", "runners": 0, "queued": 0}
        assert runnerd(daemon, "status")[0] == 0
        last.connect(str(daemon.socket))
        head = f"POST /api/blobs/sha256:{'a' * 64} HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000"
        last.sendall(head.encode() + b"\r\n\r\n" + b"x" * 3_000_000)
        folder = daemon.state_dir / "models" / "tmp"
        wait_for(lambda: list(folder.iterdir()), "the request to be under way")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        wait_for(lambda: health(daemon).status_code != 200, "the drain")
        response = health(daemon)
        assert response.status_code == 503
        said = response.json()
        assert (said["status"], said["runners"], said["queued"]) == ("stopping", 0, 0)
        assert said["error"]["code"] == "draining"
        status, _, err = runnerd(daemon, "status")
        assert status == 1
        assert "shutting down" in err
        last.close()
        assert daemon.process.wait(60 * SECONDS) == 0
