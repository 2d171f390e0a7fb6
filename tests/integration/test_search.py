"""Looking for models on the hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_cli import runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import answer_with
from tests.support.hub import HubServer, running_hub
from tests.support.ports import reserved_port


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with running_hub({}) as hub:
        yield hub


@pytest.fixture(scope="module")
def daemon(hub: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    settings = {
        "RUNNERD_HUB_ENDPOINT": hub.endpoint,
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]',
        "RUNNERD_INSECURE_REGISTRIES": f'["{hub.server.host}"]',
    }
    with running(tmp_path_factory.mktemp("search") / "d", env=settings) as daemon:
        yield daemon


def test_what_the_hub_has(daemon: DaemonProcess) -> None:
    """Names that can be pulled as they stand there."""
    status, out, _ = runnerd(daemon, "search", "tiny", "--json")
    assert status == 0
    assert json.loads(out) == [{
        "model": "huggingface.co/org/Tiny-GGUF", "downloads": 1234, "likes": 5, "gated": True,
        "modified": "2026-01-02T03:04:05.000Z",
    }]  # fmt: skip
    status, out, _ = runnerd(daemon, "search", "tiny")
    assert out.splitlines()[1].split() == [
        "huggingface.co/org/Tiny-GGUF", "1.23", "K", "5", "takes", "an", "account", "2026-01-02",
    ]  # fmt: skip
    assert "nothing on the hub" in runnerd(daemon, "search", "no", "such")[1]


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'[{"id": 5}]', b"[" * 10**6])
def test_a_hub_that_is_none(daemon: DaemonProcess, hub: HubServer, body: bytes) -> None:
    """Is told of in words."""
    hub.instead = answer_with(body)
    try:
        status, _, err = runnerd(daemon, "search", "tiny")
    finally:
        hub.instead = None
    assert status == 1
    assert "does not answer a search as the hub does" in err


def test_no_hub(tmp_path: Path) -> None:
    """It is said plainly that it cannot be reached, and what helps."""
    with reserved_port() as port:
        host = f"127.0.0.1:{port}"
        settings = {
            "RUNNERD_HUB_ENDPOINT": f"http://{host}",
            "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]',
            "RUNNERD_INSECURE_REGISTRIES": f'["{host}"]',
        }
    with running(tmp_path / "d", env=settings) as daemon:
        status, _, err = runnerd(daemon, "search", "tiny")
        assert status == 1
        assert "the hub cannot be searched from the daemon's host" in err
        assert "hub_endpoint" in err
        assert daemon.http.get("/runnerd/search").status_code == 400
        assert daemon.http.get("/runnerd/search?q=a&limit=0").status_code == 400
