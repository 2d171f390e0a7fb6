"""What kill -9, disconnects and signals do, and what they leave behind: nothing."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.plain_http import NO_TLS
from tests.support.waiting import SECONDS, wait_for
from tests.support.wire import Wire, post

pytestmark = pytest.mark.engine

LONG = {"model": "tiny", "prompt": "x", "max_tokens": 7000, "stream": True, "ignore_eos": True}


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny model."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    tiny.write_completion_model(path, context_length=8192)
    return path


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with the model imported, that gives a busy machine time for a long response."""
    with running(tmp_path, env={"RUNNERD_DRAIN_TIMEOUT": str(300 * SECONDS)}) as daemon:
        daemon.import_model(gguf, "tiny")
        yield daemon


def engine_of(daemon: DaemonProcess) -> psutil.Process:
    [engine] = daemon.engines()
    return engine


def test_killed_engine_ends_the_stream_clearly_and_is_replaced(daemon: DaemonProcess) -> None:
    """kill -9 in mid-stream: an error event, no [DONE], a clean end; the next request is served."""
    with daemon.client() as client, client.stream("POST", "/v1/completions", json=LONG) as response:
        pieces = response.iter_text()
        text = next(pieces)
        engine_of(daemon).suspend()
        engine_of(daemon).kill()
        text += "".join(pieces)
    last = [line for line in text.splitlines() if line.startswith("data: ")][-1]
    assert "[DONE]" not in text
    error = json.loads(last[6:])["error"]
    assert "SIGKILL" in error["message"]
    after = daemon.http.post("/v1/completions", json=LONG | {"stream": False, "max_tokens": 3})
    assert after.status_code == 200, after.text


def test_the_connection_of_a_broken_stream_goes_on(daemon: DaemonProcess) -> None:
    """The stream has ended as streams do, so its client may ask again where it asked before."""
    with Wire(daemon.socket) as wire:
        wire.send(post("/v1/completions", LONG))
        wire.socket.recv(1, socket.MSG_PEEK)
        engine_of(daemon).kill()
        assert b"SIGKILL" in wire.read().body
        wire.send(post("/v1/completions", LONG | {"stream": False, "max_tokens": 3}))
        assert wire.read().status == 200


def test_killed_engine_fails_a_whole_answer_with_the_reason(daemon: DaemonProcess) -> None:
    """kill -9 before a whole response is complete: 502 with the reason, never half a response."""
    daemon.http.post("/v1/completions", json=LONG | {"stream": False, "max_tokens": 1})
    engine = engine_of(daemon)
    idle = sum(engine.cpu_times()[:2])
    with daemon.client() as client:
        request = client.build_request("POST", "/v1/completions", json=LONG | {"stream": False})
        answers: list[httpx.Response] = []
        thread = threading.Thread(target=lambda: answers.append(client.send(request)))
        thread.start()
        wait_for(lambda: sum(engine.cpu_times()[:2]) > idle + 0.1, "the engine to work on it")
        engine.kill()
        thread.join(30)
    assert answers[0].status_code == 502, answers[0].text
    assert "SIGKILL" in answers[0].json()["error"]["message"]


def test_killed_daemon_leaves_no_engine(daemon: DaemonProcess) -> None:
    """kill -9 of the daemon takes its engines along; the next start cleans up and serves."""
    daemon.http.post("/v1/completions", json=LONG | {"stream": False, "max_tokens": 1})
    engine = engine_of(daemon)
    daemon.kill()
    wait_for(lambda: not engine.is_running() or engine.status() == "zombie", "the engine to end")
    leftovers = [path for path in daemon.runtime_dir.rglob("*") if path.is_socket()]
    assert leftovers, "the test should find what a killed daemon leaves"
    daemon.start()
    sockets = [path for path in daemon.runtime_dir.rglob("*") if path.is_socket()]
    assert sockets == [daemon.socket]
    response = daemon.http.post("/v1/completions", json=LONG | {"stream": False, "max_tokens": 1})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("stream", "prompt"), [(True, "x"), (False, "x"), (False, ["x", "y"]), (True, ["x", "y"])]
)
def test_vanished_client_stops_its_generation(
    daemon: DaemonProcess, stream: bool, prompt: str | list[str]
) -> None:
    """A client that goes away frees its slot long before its tokens are used up."""
    daemon.http.post("/v1/completions", json=LONG | {"stream": False, "max_tokens": 1})
    engine = engine_of(daemon)
    [runner] = daemon.ps()
    body = json.dumps(LONG | {"stream": stream, "prompt": prompt}).encode()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket))
        client.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        wait_for(lambda: daemon.ps()[0]["requests"] == 1, "the request to reach the engine")
        engine.suspend()
    wait_for(lambda: daemon.ps()[0]["requests"] == 0, "the lease to end")
    engine.resume()
    slots = wait_for(lambda: _idle_slots(runner["socket"]), "the engine's slots to be idle")
    assert slots is not None
    decoded = [slot.get("next_token", [{}]) for slot in slots]
    assert all(_decoded(tokens) < 7000 for tokens in decoded), decoded


def _idle_slots(guard: str) -> list[dict[str, Any]] | None:
    own = guard.replace(".sock", "/e.sock")
    with httpx.Client(transport=httpx.HTTPTransport(uds=own, verify=NO_TLS)) as client:
        slots = client.get("http://localhost/slots").json()
    busy = any(slot["is_processing"] for slot in slots)
    return None if busy else slots


def _decoded(tokens: Any) -> int:
    entries = tokens if isinstance(tokens, list) else [tokens]
    return max((int(entry.get("n_decoded", 0)) for entry in entries), default=0)


def test_sigterm_drains(daemon: DaemonProcess) -> None:
    """The response in flight finishes, new requests get 503, then nothing is left."""
    with daemon.client() as client, client.stream("POST", "/v1/completions", json=LONG) as response:
        pieces = response.iter_text()
        text = next(pieces)
        engine = engine_of(daemon)
        engine.suspend()
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "draining" in daemon.text(), "the daemon to drain")
        with daemon.client() as late:
            refused = late.post("/v1/completions", json=LONG)
        assert refused.status_code == 503, refused.text
        engine.resume()
        text += "".join(pieces)
    assert text.rstrip().endswith("[DONE]")
    assert daemon.process.wait(60 * SECONDS) == 0
    assert not engine.is_running()
    assert not daemon.socket.exists()


def test_second_sigterm_hurries(daemon: DaemonProcess) -> None:
    """A second signal does not wait for the response in flight."""
    with daemon.client() as client, client.stream("POST", "/v1/completions", json=LONG) as response:
        pieces = response.iter_text()  # kept: a dropped iterator would close the stream
        next(pieces)
        engine = engine_of(daemon)
        engine.suspend()
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "draining" in daemon.text(), "the daemon to drain")
        engine.resume()
        daemon.process.send_signal(signal.SIGTERM)
        assert daemon.process.wait(60 * SECONDS) == 0


def test_second_daemon_is_refused(daemon: DaemonProcess) -> None:
    """Two daemons on one state or runtime directory: the second one ends and says why."""
    second = subprocess.run(
        [
            *(sys.executable, "-m", "runnerd", "serve", "--listen", "127.0.0.1:0"),
            *("--state-dir", str(daemon.state_dir), "--runtime-dir", str(daemon.runtime_dir)),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert second.returncode != 0
    assert "already" in second.stderr
    assert daemon.http.get("/health").status_code == 200


def test_load_failure_carries_the_engines_reason(daemon: DaemonProcess) -> None:
    """A model that the engine cannot load is a 5xx with its own words; the daemon goes on."""
    wrong = ["--override-kv", "general.architecture=str:nosuch"]
    flags = {"model": "tiny", "runtime-flags": wrong, "force": True}
    configured = daemon.http.post("/engines/_configure", json=flags)
    assert configured.status_code == 202, configured.text
    response = daemon.http.post("/v1/completions", json=LONG | {"stream": False, "max_tokens": 1})
    assert response.status_code == 502, response.text
    message = response.json()["error"]["message"]
    assert "unable to load runner" in message
    assert "nosuch" in message
    assert daemon.http.get("/health").status_code == 200
    assert daemon.engines() == []
