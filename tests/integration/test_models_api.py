"""The store over HTTP, in the words of Docker Model Runner's clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.plain_http import NO_TLS


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


def test_every_name_in_any_case_on_every_route(daemon: DaemonProcess, gguf: Path) -> None:
    """Tags are aliases in each list, found in any case, and gone once."""
    id = daemon.import_model(gguf / "tiny.gguf", "pair:Q4")["id"]
    daemon.http.post("/models/pair:q4/tag", params={"repo": "second", "tag": "v1"})
    anthropic = {"anthropic-version": "2023-06-01"}
    for path, headers in (
        ("/v1/models", {}),
        ("/v1/models", anthropic),
        ("/engines/v1/models", {}),
    ):
        listing = daemon.http.get(path, headers=headers).json()["data"]
        assert [entry["id"] for entry in listing] == ["ai/pair:Q4", "ai/second:v1"]
    for path in ("/v1/models/PAIR:q4", "/models/pair:q4", "/models/ai/Pair:Q4"):
        assert daemon.http.get(path).status_code == 200, path
    assert daemon.http.post("/api/show", json={"model": "pair:q4"}).status_code == 200
    daemon.http.post("/api/copy", json={"source": "pair:q4", "destination": "pair:q4"})
    assert daemon.http.get("/models/pair:Q4").json()["tags"] == ["ai/second:v1", "ai/pair:q4"]
    assert daemon.http.delete("/models/PAIR:Q4").json() == [{"Untagged": "ai/pair:q4"}]
    assert daemon.http.delete("/models/pair:Q4").status_code == 404
    assert daemon.http.get(f"/models/{id}").status_code == 200


def test_model_without_a_tag_has_a_short_name(daemon: DaemonProcess, gguf: Path) -> None:
    """No list shows 64 digits, and what it shows finds the model."""
    id = daemon.import_model(gguf / "tiny.gguf", "tiny")["id"]
    archive = daemon.http.get("/models/tiny/export")
    daemon.http.delete("/models/tiny")
    daemon.http.post("/models/load", content=archive.content)
    short = id.removeprefix("sha256:")[:12]
    assert [entry["id"] for entry in daemon.http.get("/v1/models").json()["data"]] == [short]
    assert [entry["name"] for entry in daemon.http.get("/api/tags").json()["models"]] == [short]
    assert daemon.http.get(f"/v1/models/{short}").status_code == 200
    assert daemon.http.post("/api/show", json={"model": short}).status_code == 200


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
    response = daemon.http.post("/models/import", json={"path": str(broken), "tag": "broken"})
    assert "truncated" in response.text
    assert daemon.http.get("/models").json() == []
    assert stored() == before


def test_import_by_path_is_not_offered_over_tcp(daemon: DaemonProcess, gguf: Path) -> None:
    """A path from the network is never opened."""

    response = httpx.post(
        f"{daemon.address}/models/import",
        json={"path": str(gguf / "tiny.gguf"), "tag": "x"},
        verify=NO_TLS,
    )
    assert response.status_code == 403
    assert "/models/load" in response.json()["error"]["message"]


def test_foreign_host_and_origin_are_refused_over_tcp(daemon: DaemonProcess) -> None:
    """DNS rebinding and cross-site requests are stopped before any handler runs."""

    url = f"{daemon.address}/models"
    assert httpx.get(url, verify=NO_TLS).status_code == 200
    assert httpx.get(url, headers={"host": "evil.com"}, verify=NO_TLS).status_code == 403
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
        client.stream("POST", "/v1/completions", json=request) as response,
    ):
        chunks = response.iter_raw()
        next(chunks)
        for engine in daemon.engines():
            engine.suspend()
        assert daemon.http.delete("/models/tiny").status_code == 409
        for engine in daemon.engines():
            engine.resume()
        assert daemon.http.delete("/models/tiny", params={"force": "true"}).status_code == 200
    assert daemon.http.get("/models").json() == []
    assert daemon.engines() == []
