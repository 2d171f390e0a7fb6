"""Requests for a model that is on its way wait and are then answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.test_pull_faults import pull
from tests.integration.test_pulls import events
from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import FileServer, serving
from tests.support.registry import RegistryProcess, running_registry
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.engine, pytest.mark.long]


@pytest.fixture
def server(gguf: Path) -> Iterator[FileServer]:
    """A server with a real model, that waits until it is released."""
    with serving((gguf / "tiny.gguf").read_bytes()) as server:
        yield server


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A registry."""
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


def ask(daemon: DaemonProcess, model: str, *, stream: bool = False) -> httpx.Response:
    """Ask for one completion with a client of its own."""
    with daemon.client() as client:
        request = {"model": model, "prompt": "Hello", "max_tokens": 3, "stream": stream}
        return client.post("/v1/completions", json=request)


def test_requests_wait_for_a_pull(tmp_path: Path, server: FileServer) -> None:
    """Requests that come while the model is fetched are answered when it is here."""
    release = threading.Event()
    server.behaviour.pace = lambda sent: (release.wait(60), None)[1]
    with (
        running(tmp_path, env={"RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]'}) as daemon,
        ThreadPoolExecutor(5) as pool,
    ):
        pulling = pool.submit(pull, daemon, server.url("/tiny.gguf"))
        wait_for(lambda: daemon.http.get("/models/pulls").json(), "the pull to begin")
        asked = [pool.submit(ask, daemon, "tiny", stream=stream) for stream in (False, True)]
        wait_for(lambda: "tiny" in str(daemon.http.get("/models/pulls").json()), "it to be listed")
        with daemon.client() as impatient, pytest.raises(httpx.ReadTimeout):
            impatient.post("/v1/completions", json={"model": "tiny", "prompt": "x"}, timeout=0.05)
        status = daemon.http.get("/", headers={"Accept": "application/json"}).json()
        [coming] = [entry for entry in status["store"].values() if "downloads" in entry]
        assert coming["status"] == "preparing"
        assert all(file["totalBytes"] >= file["loadedBytes"] for file in coming["downloads"])
        with (
            daemon.client() as patient,
            patient.stream(
                "POST",
                "/v1/completions",
                json={"model": "tiny", "prompt": "x", "stream": True},
                headers={"X-Ping-Interval": "0.05"},
            ) as pinged,
        ):
            assert next(pinged.iter_lines()) == ": waiting"
        assert ask(daemon, "nothing").status_code == 404
        assert not any(response.done() for response in asked)
        release.set()
        assert [response.result().status_code for response in asked] == [200, 200]
        assert asked[0].result().json()["choices"]
        assert b"[DONE]" in asked[1].result().content
        assert pulling.result()["type"] == "success"


def test_waiting_is_bounded_and_a_failure_is_told(tmp_path: Path, server: FileServer) -> None:
    """After queue_timeout a waiting request is told to come again; a cancelled pull is a 404."""
    release = threading.Event()
    server.behaviour.pace = lambda sent: (release.wait(60), None)[1]
    environment = {"RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]', "RUNNERD_QUEUE_TIMEOUT": "0.2"}
    with running(tmp_path, env=environment) as daemon, ThreadPoolExecutor(2) as pool:
        pool.submit(pull, daemon, server.url("/tiny.gguf"))
        wait_for(lambda: daemon.http.get("/models/pulls").json(), "the pull to begin")
        response = ask(daemon, "tiny")
        assert (response.status_code, "retry-after" in response.headers) == (429, True)
        (job,) = daemon.http.get("/models/pulls").json()
        daemon.http.delete(f"/models/pulls/{job['id']}")
        release.set()
        assert ask(daemon, "tiny").status_code == 404


def test_auto_pull(tmp_path: Path, registry: RegistryProcess, gguf: Path) -> None:
    """With auto_pull the first request brings the model; without it a missing one is a 404."""
    name = f"{registry.host}/auto/tiny:v1"
    with running(tmp_path / "one", env=registry.settings) as daemon:
        daemon.import_model(gguf / "tiny.gguf", name)
        events(daemon.http.post(f"/models/{name}/push"))
        daemon.http.delete("/models/purge")
        assert ask(daemon, name).status_code == 404
    with running(tmp_path / "two", env={**registry.settings, "RUNNERD_AUTO_PULL": "1"}) as daemon:
        assert ask(daemon, name).json()["choices"]
        [entry] = daemon.http.get("/runnerd/audit").json()
        assert (entry["action"], entry["route"]) == ("download_model", "auto_pull")
        assert entry["subject"] == name
        assert ask(daemon, f"{registry.host}/auto/none:v1").status_code == 404
        assert ask(daemon, "https://10.0.0.1/x.gguf").status_code == 404
