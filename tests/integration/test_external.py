"""A backend that keeps its models itself: names mean what they mean to it; nothing is stored."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.external_backend import NAME, installed


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with such a backend beside llama.cpp."""
    with running(tmp_path / "daemon", env=installed(tmp_path / "keeper")) as daemon:
        yield daemon


def chat(daemon: DaemonProcess, model: str, backend: str = "keeper") -> httpx.Response:
    """Ask a model of a backend."""
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return daemon.http.post(f"/engines/{backend}/v1/chat/completions", json=body)


def test_a_model_that_the_store_has_not(daemon: DaemonProcess) -> None:
    """It is run under its name, shown under it, and unloaded by it."""
    response = chat(daemon, NAME)
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"] == f"{NAME}, None"
    [runner] = daemon.ps()
    assert (runner["backend_name"], runner["model_name"]) == ("keeper", NAME)
    assert runner["model_id"] == NAME
    assert runner["state"] == "ready"
    own = daemon.http.post(f"/runners/{runner['id']}/v1/chat/completions", json={"model": NAME})
    assert own.status_code == 200, own.text
    assert daemon.http.get("/models").json() == []
    unload = {"backend": "keeper", "models": [NAME]}
    assert daemon.http.post("/engines/unload", json=unload).json() == {"unloaded_runners": 1}
    assert daemon.ps() == []


def test_what_the_backend_has_not_either(daemon: DaemonProcess) -> None:
    """It says so, and nothing is started; llama.cpp knows only what is in the store."""
    response = chat(daemon, "another")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    assert "is not kept here" in response.json()["error"]["message"]
    assert chat(daemon, NAME, backend="llama.cpp").status_code in (400, 404)
    assert daemon.ps() == []


def test_it_is_configured_by_its_name(daemon: DaemonProcess) -> None:
    """What an owner sets reaches its runs, and is listed."""
    document = {"model": NAME, "context-size": 512}
    response = daemon.http.post("/engines/keeper/_configure", json=document)
    assert response.status_code == 202, response.text
    [entry] = daemon.http.get("/engines/keeper/_configure", params={"model": NAME}).json()
    assert (entry["Backend"], entry["Model"], entry["ModelID"]) == ("keeper", NAME, NAME)
    assert chat(daemon, NAME).json()["choices"][0]["message"]["content"] == f"{NAME}, 512"
