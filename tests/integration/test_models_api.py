"""The store over HTTP, in the words of Docker Model Runner's clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon with an empty store."""
    with running(tmp_path) as daemon:
        yield daemon


def test_import_list_inspect_tag_and_delete(daemon: DaemonProcess, gguf: Path) -> None:
    """A model's way through the store, with the statuses that the docker client insists on."""
    model = daemon.import_model(gguf / "tiny.gguf", "tiny")
    assert model["tags"] == ["ai/tiny:latest"]
    assert daemon.http.get("/models").json() == [model]
    for name in ("tiny", "ai/tiny", "ai/tiny:latest", "docker.io/ai/tiny", model["id"]):
        assert daemon.http.get(f"/models/{name}").json() == model
    config = model["config"]
    assert (config["format"], config["architecture"]) == ("gguf", "llama")

    tagged = daemon.http.post("/models/tiny/tag", params={"repo": "my/copy", "tag": "v1"})
    assert tagged.status_code == 201
    assert tagged.json()["target"] == "my/copy:v1"
    assert daemon.http.delete(f"/models/{model['id']}").status_code == 409

    assert daemon.http.delete("/models/my/copy:v1").json() == [{"Untagged": "my/copy:v1"}]
    assert daemon.http.delete("/models/tiny").json() == [
        {"Untagged": "ai/tiny:latest"},
        {"Deleted": model["id"]},
    ]
    assert daemon.http.get("/models").json() == []
    assert daemon.http.get("/models/tiny").status_code == 404


def test_openai_listing(daemon: DaemonProcess, gguf: Path) -> None:
    """The same models as OpenAI's clients list them."""
    daemon.import_model(gguf / "tiny.gguf", "tiny")
    for prefix in ("/v1", "/openai/v1", "/engines/v1", "/engines/llama.cpp/v1"):
        listing = daemon.http.get(f"{prefix}/models").json()
        assert [entry["id"] for entry in listing["data"]] == ["ai/tiny:latest"]
        assert daemon.http.get(f"{prefix}/models/tiny").json()["object"] == "model"


def test_corrupt_model_is_refused_and_leaves_nothing(
    daemon: DaemonProcess, gguf: Path, tmp_path: Path
) -> None:
    """A truncated file is refused with the reason, and the store is as it was."""
    whole = (gguf / "tiny.gguf").read_bytes()
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(whole[: len(whole) // 2])

    def stored() -> list[Path]:
        blobs = daemon.state_dir / "models"
        return sorted(path for path in blobs.rglob("*") if path.is_file())

    before = stored()
    answer = daemon.http.post("/models/import", json={"path": str(broken), "tag": "broken"})
    assert "truncated" in answer.text
    assert daemon.http.get("/models").json() == []
    assert stored() == before


def test_import_by_path_is_not_offered_over_tcp(daemon: DaemonProcess, gguf: Path) -> None:
    """A path from the network is never opened."""

    answer = httpx.post(
        f"{daemon.address}/models/import", json={"path": str(gguf / "tiny.gguf"), "tag": "x"}
    )
    assert answer.status_code == 403
    assert "/models/load" in answer.json()["error"]["message"]


def test_foreign_host_and_origin_are_refused_over_tcp(daemon: DaemonProcess) -> None:
    """DNS rebinding and cross-site requests are stopped before any handler runs."""

    url = f"{daemon.address}/models"
    assert httpx.get(url).status_code == 200
    assert httpx.get(url, headers={"host": "evil.com"}).status_code == 403
    assert httpx.get(url, headers={"origin": "https://evil.com"}).status_code == 403


@pytest.mark.engine
def test_model_in_use_is_not_deleted(daemon: DaemonProcess, gguf: Path) -> None:
    """Deleting a model with a request in flight is 409; with force the request ends first."""
    daemon.import_model(gguf / "tiny.gguf", "tiny")
    request = {
        "model": "tiny",
        "prompt": "x",
        "max_tokens": 7000,
        "stream": True,
        "ignore_eos": True,
    }
    with (
        daemon.client() as client,
        client.stream("POST", "/v1/completions", json=request) as answer,
    ):
        chunks = answer.iter_raw()
        next(chunks)
        for engine in daemon.engines():
            engine.suspend()
        assert daemon.http.delete("/models/tiny").status_code == 409
        for engine in daemon.engines():
            engine.resume()
        assert daemon.http.delete("/models/tiny", params={"force": "true"}).status_code == 200
    assert daemon.http.get("/models").json() == []
    assert daemon.engines() == []
