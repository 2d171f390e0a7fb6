"""Pull and push through a real daemon, with a real registry on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import JSON, DaemonProcess, running
from tests.support.ggufs import adapter, projector
from tests.support.plain_http import NO_TLS
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


def events(response: httpx.Response) -> list[dict[str, Any]]:
    """Return the lines of a progress stream."""
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


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


_CNCF = "application/vnd.cncf.model"


@pytest.mark.covers(
    "POST /models/{name}/push",
    "format",
    note="`modelpack`: after the CNCF's specification, as it is also pulled; default `docker`",
)
def test_push_as_modelpack(
    daemon: DaemonProcess, registry: RegistryProcess, gguf: Path, tmp_path: Path
) -> None:
    """A manifest after the specification, which our own pull reads back as the same model."""
    template, mmproj = tmp_path / "t.jinja", tmp_path / "mmproj.gguf"
    template.write_text("{{ messages[0].content }}")
    mmproj.write_bytes(projector())
    name = f"{registry.host}/test/packed:v1"
    document = {"path": str(gguf / "tiny.gguf"), "mmproj": str(mmproj), "tag": "plain"}
    document["chat-template"] = str(template)
    plain = events(daemon.http.post("/models/import", json=document))[-1]
    assert plain["type"] == "success", plain
    made: dict[str, Any] = {"model": name, "from": "plain", "system": "Be brief."}
    made |= {"license": ["free", "as air"], "parameters": {"top_k": 3}}
    made["messages"] = [{"role": "user", "content": "Hi"}]
    assert daemon.http.post("/api/create", json={**made, "stream": False}).status_code == 200
    model = daemon.http.get(f"/models/{name}").json()
    shown = daemon.http.post("/api/show", json={"model": name}).json()

    assert daemon.http.post(f"/models/{name}/push?format=zip").status_code == 400
    last = events(daemon.http.post(f"/models/{name}/push?format=modelpack"))[-1]
    assert last["message"] == "Model pushed successfully"
    base = f"http://{registry.host}/v2/test/packed"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    manifest = httpx.get(f"{base}/manifests/v1", headers=accept, verify=NO_TLS).json()
    assert manifest["artifactType"] == f"{_CNCF}.manifest.v1+json"
    assert manifest["config"]["mediaType"] == f"{_CNCF}.config.v1+json"
    found = {
        each["annotations"]["org.cncf.model.filepath"]: each["mediaType"]
        for each in manifest["layers"]
    }
    assert found == {
        "model.gguf": f"{_CNCF}.weight.v1.raw",
        "mmproj.gguf": f"{_CNCF}.weight.v1.raw",
        "chat_template.jinja": f"{_CNCF}.weight.config.v1.raw",
        "LICENSE": f"{_CNCF}.doc.v1.raw",
        "LICENSE.2": f"{_CNCF}.doc.v1.raw",
        "modelfile/system": f"{_CNCF}.weight.config.v1.raw",
        "modelfile/params.json": f"{_CNCF}.weight.config.v1.raw",
        "modelfile/messages.json": f"{_CNCF}.weight.config.v1.raw",
    }
    config = httpx.get(f"{base}/blobs/{manifest['config']['digest']}", verify=NO_TLS).json()
    assert config["config"]["format"] == "gguf"
    assert config["config"]["quantization"] == model["config"]["quantization"]
    assert config["modelfs"] == {
        "type": "layers",
        "diffIds": [each["digest"] for each in manifest["layers"]],
    }

    daemon.http.delete(f"/models/{name}")
    daemon.http.delete("/models/plain")
    assert daemon.http.get("/models").json() == []
    assert events(daemon.http.post("/models/create", json={"from": name}))[-1]["type"] == "success"
    back = daemon.http.get(f"/models/{name}").json()
    assert back["config"] == model["config"]
    assert back["runnerd"]["mmproj"] is True
    again = daemon.http.post("/api/show", json={"model": name}).json()
    for field in ("template", "system", "parameters", "license", "messages"):
        assert again.get(field) == shown.get(field), field


def test_modelpack_holds_no_adapters(
    daemon: DaemonProcess, registry: RegistryProcess, gguf: Path, tmp_path: Path
) -> None:
    """Others would take them for weights, so such a model is refused, and nothing is sent."""
    daemon.import_model(gguf / "tiny.gguf", "plain")
    lora = adapter(tmp_path / "lora.gguf").read_bytes()
    digest = f"sha256:{sha256(lora).hexdigest()}"
    assert daemon.http.post(f"/api/blobs/{digest}", content=lora).status_code == 201
    name = f"{registry.host}/test/adapted:v1"
    made: dict[str, Any] = {"model": name, "from": "plain", "stream": False}
    made["adapters"] = {"lora.gguf": digest}
    assert daemon.http.post("/api/create", json=made).status_code == 200
    response = daemon.http.post(f"/models/{name}/push?format=modelpack", headers=JSON)
    assert "cannot hold LoRA adapters" in response.text
    assert registry.tags("test/adapted") == []


def test_missing_model_is_404_before_the_stream(
    daemon: DaemonProcess, registry: RegistryProcess
) -> None:
    """What the registry does not have is an ordinary error, and so is a name that is none."""
    document = {"from": f"{registry.host}/no/such:v1"}
    response = daemon.http.post("/models/create", json=document, headers=JSON)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")
    assert daemon.http.post("/models/create", json={"from": "../x"}).status_code == 400
    assert daemon.http.post("/models/create", json={}).status_code == 400
    assert daemon.http.post("/models/nothing/push").status_code == 404


def test_what_the_registry_says(
    daemon: DaemonProcess, registry: RegistryProcess, gguf: Path
) -> None:
    """A remote look shows id and config without pulling; the store stays as it was."""
    name = f"{registry.host}/test/look:v1"
    model = daemon.import_model(gguf / "other.gguf", name)
    events(daemon.http.post(f"/models/{name}/push"))
    daemon.http.delete("/models/purge")
    seen = daemon.http.get(f"/models/{name}", params={"remote": "true"}).json()
    assert (seen["id"], seen["config"]) == (model["id"], model["config"])
    assert daemon.http.get("/models").json() == []
    missing = daemon.http.get(f"/models/{registry.host}/no/such", params={"remote": "true"})
    assert missing.status_code == 404


def test_repackage(daemon: DaemonProcess, gguf: Path) -> None:
    """Another context size makes another model of the same blobs."""
    model = daemon.import_model(gguf / "tiny.gguf", "tiny")
    response = daemon.http.post(
        "/models/tiny/repackage", json={"target": "small", "context_size": 256}
    )
    assert (response.status_code, response.json()["target"]) == (201, "ai/small:latest")
    small = daemon.http.get("/models/small").json()
    assert small["config"]["context_size"] == 256
    assert small["id"] != model["id"]
    assert len(list((daemon.state_dir / "models" / "blobs" / "sha256").iterdir())) == 3
    for document in ({}, {"target": "x", "context_size": 0}, {"target": "x", "context_size": "9"}):
        assert daemon.http.post("/models/tiny/repackage", json=document).status_code == 400
    gone = daemon.http.post("/models/nothing/repackage", json={"target": "x"})
    assert gone.status_code == 404


def test_prune(daemon: DaemonProcess, gguf: Path) -> None:
    """Leftovers of pulls go, and so do blobs without a model; models stay."""
    model = daemon.import_model(gguf / "tiny.gguf", "tiny")
    store = daemon.state_dir / "models"
    (store / "parts" / f"{'a' * 64}.part").write_bytes(bytes(2**20))
    (store / "parts" / f"{'a' * 64}.json").write_bytes(b"{}")
    (store / "blobs" / "sha256" / ("b" * 64)).write_bytes(bytes(2**20))
    kept = daemon.http.post("/models/prune", params={"older": "3600"}).json()
    assert kept["freed_bytes"] == 2**20
    assert daemon.http.post("/models/prune").json()["freed_bytes"] >= 2**20
    assert list((store / "parts").iterdir()) == []
    assert daemon.http.get("/models").json() == [model]
