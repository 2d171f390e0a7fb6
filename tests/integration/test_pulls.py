"""Pull and push through a real daemon, with a real registry on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.registry import RegistryProcess, running_registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A registry without passwords."""
    with running_registry(tmp_path_factory.mktemp("registry")) as registry:
        yield registry


@pytest.fixture
def daemon(tmp_path: Path, registry: RegistryProcess) -> Iterator[DaemonProcess]:
    """A daemon with an empty store that may use the registry."""
    with running(tmp_path, env=registry.settings) as daemon:
        yield daemon


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """Return the lines of a progress stream."""
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_push_then_pull(daemon: DaemonProcess, registry: RegistryProcess, gguf: Path) -> None:
    """What was pushed comes back with the same id, and the stream is Docker Model Runner's."""
    name = f"{registry.host}/test/tiny:v1"
    model = daemon.import_model(gguf / "tiny.gguf", name)
    last = events(daemon.http.post(f"/models/{name}/push"))[-1]
    assert (last["type"], last["message"]) == ("success", "Model pushed successfully")
    assert last["mode"] == "push"
    assert registry.tags("test/tiny") == ["v1"]

    daemon.http.delete(f"/models/{name}")
    assert daemon.http.get("/models").json() == []
    lines = events(daemon.http.post("/models/create", json={"from": name}))
    progress = [line for line in lines if line["type"] == "progress"]
    total = progress[-1]["total"]
    assert {line["layer"]["size"] for line in progress} <= {total} | {
        line["layer"]["current"] for line in progress
    }
    assert all(line["total"] == total > 0 for line in progress)
    assert lines[-1]["message"] == "Model pulled successfully"
    found = daemon.http.get(f"/models/{name}").json()
    assert found["id"] == model["id"]
    assert found["tags"] == [name]
    assert list((daemon.state_dir / "models" / "parts").iterdir()) == []

    again = events(daemon.http.post("/models/create", json={"from": name}))
    assert again[-1]["message"].startswith("Using cached model: ")


def test_missing_model_is_404_before_the_stream(
    daemon: DaemonProcess, registry: RegistryProcess
) -> None:
    """What the registry does not have is an ordinary error, and so is a name that is none."""
    answer = daemon.http.post("/models/create", json={"from": f"{registry.host}/no/such:v1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert daemon.http.post("/models/create", json={"from": "../x"}).status_code == 400
    assert daemon.http.post("/models/create", json={}).status_code == 400
    assert daemon.http.post("/models/nothing/push").status_code == 404
