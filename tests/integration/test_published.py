"""What hubs and registries say of models, in the registry entries of what was pulled from there."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_pulls import events
from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import FileServer, answer_with, serving
from tests.support.ggufs import smallest_model
from tests.support.hub import HubServer, running_hub

SMALL = smallest_model()
ABOUT: dict[str, object] = {
    "author": "The Makers",
    "tags": ["gguf", "chat", "license:other", "region:us"],
    "cardData": {"license": "other", "license_name": "tiny-license-1.0"},
}
NAMED = "tiny:q8_0"  # as the name of its file is read
GGUF = "application/vnd.docker.ai.gguf.v3"
CONFIG = "application/vnd.docker.ai.model.config.v0.1+json"
OCI = "org.opencontainers.image."


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    with running_hub({"tiny-Q8_0.gguf": SMALL}) as hub:
        yield hub


@pytest.fixture(scope="module")
def registry() -> Iterator[FileServer]:
    with serving(SMALL) as server:
        yield server


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("published")


@pytest.fixture(scope="module")
def settings(hub: HubServer, registry: FileServer) -> dict[str, str]:
    return {
        "RUNNERD_HUB_ENDPOINT": hub.endpoint,
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1", "localhost"]',
        "RUNNERD_INSECURE_REGISTRIES": f'["{registry.host}"]',
    }


@pytest.fixture(scope="module")
def daemon(state: Path, settings: dict[str, str]) -> Iterator[DaemonProcess]:
    with running(state, env=settings) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def as_before(daemon: DaemonProcess, hub: HubServer, registry: FileServer) -> Iterator[None]:
    hub.about, hub.instead = ABOUT, None
    yield
    daemon.http.delete("/models/purge").raise_for_status()
    registry.routes.clear()


def pulled(daemon: DaemonProcess, name: str, **said: str) -> None:
    last = events(daemon.http.post("/models/create", json={"from": name, **said}))[-1]
    assert last["type"] == "success", last


def entry(daemon: DaemonProcess, name: str) -> dict[str, Any]:
    found = daemon.http.get(f"/runnerd/catalog/{name}").raise_for_status().json()
    assert found["said"] is False
    return dict(found["entry"])


def told(found: dict[str, Any]) -> list[object]:
    return [found[name] for name in ("organization", "license", "homepage", "tags")]


FROM_HUB = [
    "The Makers",
    "tiny-license-1.0",
    "https://huggingface.co/org/Tiny-GGUF",
    ["gguf", "chat"],
]


def test_a_repository(daemon: DaemonProcess) -> None:
    """Its card comes with the list of its files; nothing more is asked of the hub."""
    pulled(daemon, "hf.co/org/Tiny-GGUF")
    assert told(entry(daemon, "hf.co/org/Tiny-GGUF")) == FROM_HUB


def test_it_is_kept(state: Path, settings: dict[str, str]) -> None:
    """With the model: after a restart it is there, and the hub is not asked."""
    with running(state / "again", env=settings) as daemon:
        pulled(daemon, "hf.co/org/Tiny-GGUF")
    offline = settings | {"RUNNERD_HUB_ENDPOINT": "https://127.0.0.1:1"}
    with running(state / "again", env=offline) as daemon:
        assert told(entry(daemon, "hf.co/org/Tiny-GGUF")) == FROM_HUB


def test_a_file_of_a_repository(daemon: DaemonProcess, hub: HubServer) -> None:
    """One that is fetched by its address, as Pantry's entries have it: the hub is asked."""
    pulled(daemon, f"{hub.endpoint}/org/Tiny-GGUF/resolve/main/tiny-Q8_0.gguf")
    assert told(entry(daemon, NAMED)) == FROM_HUB


@pytest.mark.parametrize(
    "instead",
    [
        answer_with(b"", 500),
        answer_with(b"<html>"),
        answer_with(b'{"cardData": [[[]]], "tags": 7}'),
        answer_with(b'{"tags": ["' + b"x" * 9_000_000 + b'"]}'),
    ],
    ids=["broken", "no json", "other types", "too much"],
)
def test_a_hub_that_does_not_say(
    daemon: DaemonProcess, hub: HubServer, instead: Callable[[BaseHTTPRequestHandler], None]
) -> None:
    """The file is pulled all the same."""
    hub.instead = instead
    pulled(daemon, f"{hub.endpoint}/org/Tiny-GGUF/resolve/main/tiny-Q8_0.gguf", tag="ai/other")
    found = entry(daemon, "ai/other")
    assert (found["license"], found["tags"]) == ("", [])


def test_annotations(daemon: DaemonProcess, registry: FileServer) -> None:
    """Those of a manifest, as OCI names them."""
    config = json.dumps({"config": {"format": "gguf"}, "rootfs": {}}).encode()

    def layer(media_type: str, content: bytes) -> dict[str, object]:
        digest = f"sha256:{sha256(content).hexdigest()}"
        registry.routes[f"/v2/org/tiny/blobs/{digest}"] = answer_with(content)
        return {"mediaType": media_type, "size": len(content), "digest": digest}

    document = {
        "schemaVersion": 2,
        "config": layer(CONFIG, config),
        "layers": [layer(GGUF, SMALL)],
        "annotations": {
            f"{OCI}vendor": "Packers",
            f"{OCI}licenses": "MIT",
            f"{OCI}url": "https://example.org/tiny",
            f"{OCI}description": "A small\none.",
        },
    }
    registry.routes["/v2/org/tiny/manifests/latest"] = answer_with(json.dumps(document).encode())
    name = f"{registry.host}/org/tiny"
    pulled(daemon, name)
    found = entry(daemon, name)
    assert told(found) == ["Packers", "MIT", "https://example.org/tiny", []]
    assert found["description"] == "A small one."


def test_what_the_owner_says_counts(daemon: DaemonProcess) -> None:
    """Of the rest the hub's words stay."""
    name = "hf.co/org/Tiny-GGUF"
    pulled(daemon, name)
    changed = daemon.http.post(f"/runnerd/catalog/{name}", json={"license": "MIT"})
    assert told(changed.raise_for_status().json()["entry"]) == [FROM_HUB[0], "MIT", *FROM_HUB[2:]]
