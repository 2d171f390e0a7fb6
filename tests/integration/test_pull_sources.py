"""Pulls from a hub and from plain URLs through a real daemon, and what hostile servers achieve."""

from __future__ import annotations

import io
import json
import struct
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from runnerd.models import tiny
from tests.integration.test_pulls import events
from tests.support.daemon import JSON, DaemonProcess, running
from tests.support.fileserver import FileServer, answer_with, serving
from tests.support.ggufs import projector, smallest_model, snapshot
from tests.support.hub import COMMIT, HubServer, running_hub

SMALL = smallest_model()


@pytest.fixture(scope="module")
def hub(gguf: Path) -> Iterator[HubServer]:
    """A hub with one repository of several quantisations and a projector."""
    files = {
        "README.md": b"# hello",
        "tiny-Q4_K_M.gguf": (gguf / "tiny.gguf").read_bytes(),
        "tiny-Q8_0.gguf": SMALL,
        "mmproj-tiny-f16.gguf": projector(),
    }
    with running_hub(files) as hub:
        yield hub


@pytest.fixture(scope="module")
def server() -> Iterator[FileServer]:
    """A server for URLs, and for registries that are hostile."""
    with serving(SMALL) as server:
        yield server


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, hub: HubServer, server: FileServer
) -> Iterator[DaemonProcess]:
    """A daemon that may use both."""
    settings = {
        "RUNNERD_HUB_ENDPOINT": hub.endpoint,
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1", "localhost"]',
        "RUNNERD_INSECURE_REGISTRIES": f'["{server.host}"]',
    }
    with running(tmp_path_factory.mktemp("daemon"), env=settings) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def as_before(daemon: DaemonProcess, hub: HubServer, server: FileServer) -> Iterator[None]:
    """Every test begins with an empty store and well-behaved servers."""
    yield
    daemon.http.delete("/models/purge")
    hub.private = False
    hub.gated = 0
    hub.instead = None
    server.routes.clear()
    server.seen.clear()
    server.behaviour.__init__(SMALL)  # type: ignore[misc]


def create(daemon: DaemonProcess, **document: object) -> dict[str, Any]:
    """Pull and return the last line of the stream."""
    return events(daemon.http.post("/models/create", json=document))[-1]


def refused(daemon: DaemonProcess, **document: object) -> tuple[int, str]:
    """Pull and return the status and message of the error, wherever it came."""
    response = daemon.http.post("/models/create", json=document, headers=JSON)
    if response.status_code == 200:
        last = json.loads(response.text.splitlines()[-1])
        assert last["type"] == "error", response.text
        return 200, last["message"]
    return response.status_code, response.json()["error"]["message"]


# the hub


@pytest.mark.parametrize("name", ["hf.co/org/Tiny-GGUF", "huggingface.co/org/Tiny-GGUF:q4_k_m"])
def test_hub_default_with_projector(daemon: DaemonProcess, name: str) -> None:
    """The default quantisation and the projector come together, and any spelling finds them."""
    lines = events(daemon.http.post("/models/create", json={"from": name}))
    assert any("Selected Q4_K_M quantization" in line["message"] for line in lines)
    model = lines[-1]["model"]
    assert model["runnerd"]["mmproj"] is True
    tag = "q4_k_m" if name.endswith("m") else "latest"
    assert model["tags"] == [f"huggingface.co/org/tiny-gguf:{tag}"]
    assert daemon.http.get(f"/models/{name}").json()["id"] == model["id"]


def test_hub_named_quantisation_and_revision(daemon: DaemonProcess, hub: HubServer) -> None:
    """A quantisation and a revision are taken as named; unknown ones are 404."""
    create(daemon, **{"from": "hf.co/org/Tiny-GGUF@v2:Q8_0"})
    paths = [seen.path for seen in hub.server.seen]
    assert any("/revision/v2" in path for path in paths)
    assert any(f"/resolve/{COMMIT}/tiny-Q8_0.gguf" in path for path in paths)
    status, message = refused(daemon, **{"from": "hf.co/org/Tiny-GGUF:Q5_K_M"})
    assert (status, "Q8_0" in message) == (404, True)
    assert refused(daemon, **{"from": "hf.co/org/Tiny-GGUF", "revision": "no"})[0] == 404


def test_hub_private_repository(daemon: DaemonProcess, hub: HubServer) -> None:
    """A private repository takes the request's token, which the storage behind it never sees."""
    hub.private = True
    assert refused(daemon, **{"from": "hf.co/org/Tiny-GGUF:Q8_0"})[0] == 401
    token = {"bearer-token": hub.token}
    assert create(daemon, **{"from": "hf.co/org/Tiny-GGUF:Q8_0"}, **token)["type"] == "success"
    cdn = [seen for seen in hub.server.seen if seen.path.startswith("/cdn/")]
    assert cdn
    assert all("authorization" not in seen.headers for seen in cdn)
    assert hub.token not in daemon.text()


@pytest.mark.parametrize(
    ("status", "headers", "body", "expected", "words"),
    [
        (401, {"X_Error_Code": "RepoNotFound"}, b"{}", 401, "does not exist or is private"),
        (401, {}, b"{}", 401, "does not exist or is private"),
        (404, {"X_Error_Code": "RepoNotFound"}, b"{}", 404, "the hub has no org/Tiny-GGUF"),
        (403, {"X_Error_Code": "GatedRepo"}, b"{}", 401, "is gated: accept the terms"),
        (404, {"X_Error_Code": "RevisionNotFound"}, b"{}", 404, "has no revision 'main'"),
        (400, {}, b"{}", 502, "the hub answered 400 for the list of files"),
        (200, {}, b"<html>", 502, "the hub's list of files cannot be read"),
        (200, {}, b'{"siblings": [{"rfilename": 3}]}', 502, "cannot be read"),
        (200, {}, b'{"siblings": [{"rfilename": "../x.gguf"}]}', 502, "impossible name"),
        (
            200,
            {},
            b'{"siblings": [{"rfilename": "x.gguf", "lfs": {"sha256": "no"}}]}',
            502,
            "impossible sha256",
        ),
    ],
)
def test_what_the_hub_says_of_a_repository(
    daemon: DaemonProcess,
    hub: HubServer,
    status: int,
    headers: dict[str, str],
    body: bytes,
    expected: int,
    words: str,
) -> None:
    """Each refusal is told with what helps, and a response that makes no sense as the hub's."""
    hub.instead = answer_with(body, status, **headers)
    found, message = refused(daemon, **{"from": "hf.co/org/Tiny-GGUF"})
    assert words in message
    assert found == expected


def test_hub_follows_a_repository_that_moved(daemon: DaemonProcess, hub: HubServer) -> None:
    """The hub redirects from a repository's former name."""
    moved = hub.instead = answer_with(
        b"", 307, Location="/api/models/org/Tiny-GGUF/revision/main?blobs=true&moved"
    )

    def once(handler: BaseHTTPRequestHandler) -> None:
        hub.instead = None
        moved(handler)

    hub.instead = once
    assert create(daemon, **{"from": "hf.co/org/Tiny-GGUF:Q8_0"})["type"] == "success"


# plain URLs


def test_url_with_and_without_a_digest(daemon: DaemonProcess, server: FileServer) -> None:
    """The name comes from the file's; a right digest passes and a wrong one does not."""
    digest = sha256(SMALL).hexdigest()
    url = server.url("/Some-Model-Q4_K_M.gguf")
    assert create(daemon, **{"from": url})["model"]["tags"] == ["ai/some-model:q4_k_m"]
    assert create(daemon, **{"from": f"{url}#sha256={digest}", "tag": "x"})["type"] == "success"
    daemon.http.delete("/models/purge")
    assert digest in refused(daemon, **{"from": url, "sha256": "0" * 64})[1]
    assert daemon.http.get("/models").json() == []


def test_internal_addresses_are_refused(daemon: DaemonProcess, server: FileServer) -> None:
    """A client cannot use the daemon to look around, directly or by a redirect."""
    for url in ("https://169.254.169.254/x.gguf", "https://10.0.0.1/x.gguf", "https://[::1]/x"):
        status, message = refused(daemon, **{"from": url})
        assert (status, "allowed_sources" in message) == (403, True)
    server.behaviour.location = "http://169.254.169.254/latest/meta-data"
    assert refused(daemon, **{"from": server.url()})[0] == 403


@pytest.mark.parametrize(
    "url", ["http://a:b@127.0.0.1/x", "https:///x", "http://127.0.0.1\\@x/", "https://\u0131/x"]
)
def test_urls_that_are_none(daemon: DaemonProcess, url: str) -> None:
    """A URL that two parsers could read differently is refused."""
    assert refused(daemon, **{"from": url})[0] == 400


# hostile registries


GOOD_CONFIG = json.dumps({"config": {"format": "gguf"}, "rootfs": {}}).encode()


def manifest(*layers: dict[str, object], **config: object) -> dict[str, object]:
    """Return a manifest with these layers."""
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.docker.ai.model.config.v0.1+json",
            "size": len(GOOD_CONFIG),
            "digest": f"sha256:{sha256(GOOD_CONFIG).hexdigest()}",
            **config,
        },
        "layers": list(layers),
    }


def layer(digest: str | None = None, size: int = len(SMALL)) -> dict[str, object]:
    """Return a GGUF layer."""
    digest = digest if digest is not None else f"sha256:{sha256(SMALL).hexdigest()}"
    return {"mediaType": "application/vnd.docker.ai.gguf.v3", "size": size, "digest": digest}


def offer(server: FileServer, document: object) -> str:
    """Let the server be a registry with this manifest; return the model's name."""
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    server.routes[r"/v2/evil/model/manifests/.*"] = answer_with(content)
    server.routes[r"/v2/evil/model/blobs/.*"] = blob
    return f"{server.host}/evil/model:latest"


def blob(handler: BaseHTTPRequestHandler) -> None:
    """Serve both blobs."""
    wanted = handler.path.rpartition(":")[2]
    for content in (SMALL, GOOD_CONFIG):
        if sha256(content).hexdigest() == wanted:
            answer_with(content)(handler)
            return
    answer_with(b"", 404)(handler)


def test_registry_that_is_honest(daemon: DaemonProcess, server: FileServer) -> None:
    """The model that the hostile ones are variations of."""
    assert create(daemon, **{"from": offer(server, manifest(layer()))})["type"] == "success"


EVIL_DIGESTS = [
    *("sha256:../../../../etc/passwd", "../x", "", "sha256:", "sha256:" + "a" * 63),
    *("sha256:" + "A" * 64, "sha256:" + "a" * 65, "sha512:" + "a" * 64, "sha256-" + "a" * 64),
    *("sha256:" + "a" * 63 + "\0", "sha256:" + "\u0661" * 64, "sha256:" + "a" * 64 + "\n"),
]


@pytest.mark.parametrize("digest", EVIL_DIGESTS)
def test_evil_digests(daemon: DaemonProcess, server: FileServer, digest: str) -> None:
    """Nothing but a digest becomes a path; the store stays as it was."""
    before = snapshot(daemon.state_dir / "models")
    name = offer(server, manifest(layer(digest)))
    assert refused(daemon, **{"from": name})[0] == 422
    name = offer(server, manifest(layer(), digest=digest))
    assert refused(daemon, **{"from": name})[0] == 422
    assert snapshot(daemon.state_dir / "models") == before


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(manifest(), id="no layers"),
        pytest.param(manifest(*[layer()] * 10_001), id="many layers"),
        pytest.param(b"[" * 2**20, id="deep"),
        pytest.param(b"{}", id="empty"),
        pytest.param(b"\xff\xfe", id="binary"),
        pytest.param(b"x" * (5 * 2**20), id="huge"),
        pytest.param(manifest(layer(size=-1)), id="negative size"),
        pytest.param(manifest(layer(), mediaType="application/x-evil"), id="other config"),
        pytest.param({"manifests": [layer()]}, id="index"),
    ],
)
def test_evil_manifests(daemon: DaemonProcess, server: FileServer, document: object) -> None:
    """Manifests that are no models are a 422 before anything is fetched."""
    assert refused(daemon, **{"from": offer(server, document)})[0] == 422
    assert not [seen for seen in server.seen if "/blobs/" in seen.path]


def test_layer_that_could_never_fit(daemon: DaemonProcess, server: FileServer) -> None:
    """A petabyte is a 507 before the first byte."""
    name = offer(server, manifest(layer(size=2**50)))
    assert refused(daemon, **{"from": name})[0] == 507


def test_wrong_size_and_content_of_a_layer(daemon: DaemonProcess, server: FileServer) -> None:
    """A layer that is not what the manifest says never becomes a model."""
    for entry in (layer(size=len(SMALL) + 1), layer("sha256:" + "a" * 64)):
        status, _ = refused(daemon, **{"from": offer(server, manifest(entry))})
        assert status in (200, 404, 502)
    assert daemon.http.get("/models").json() == []


@pytest.mark.parametrize(
    "realm", ["http://localhost:{port}/token", "https://evil.example/token", "file:///x", ""]
)
def test_realm_elsewhere_gets_nothing(
    daemon: DaemonProcess, server: FileServer, realm: str
) -> None:
    """A registry cannot have the daemon ask somebody else for a token."""
    name = offer(server, manifest(layer()))
    port = server.host.partition(":")[2]
    challenge = f'Bearer realm="{realm.format(port=port)}",service="x"'
    server.routes[r"/v2/evil/.*"] = answer_with(b"", 401, WWW_Authenticate=challenge)
    server.routes[r"/v2/evil/model/manifests/.*"] = server.routes[r"/v2/evil/.*"]
    status, _ = refused(daemon, **{"from": name})
    assert status in (403, 502)
    assert not [seen for seen in server.seen if "token" in seen.path]


def test_ollama_layout(daemon: DaemonProcess, server: FileServer) -> None:
    """A model in Ollama's form is taken with its weights, its Go template and its words."""
    words = {"template": b"{{ .Prompt }}", "system": b"You are Ada.", "params": b'{"top_k": 3}'}
    for content in words.values():
        path = f"/v2/evil/model/blobs/sha256:{sha256(content).hexdigest()}"
        server.routes[path] = answer_with(content)
    document = {
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.docker.container.image.v1+json"},
        "layers": [
            {**layer(), "mediaType": "application/vnd.ollama.image.model"},
            *(
                {
                    "digest": f"sha256:{sha256(content).hexdigest()}",
                    "size": len(content),
                    "mediaType": f"application/vnd.ollama.image.{kind}",
                }
                for kind, content in words.items()
            ),
        ],
    }
    model = create(daemon, **{"from": offer(server, document)})["model"]
    assert model["config"]["architecture"] == "llama"
    shown = daemon.http.post("/api/show", json={"model": model["id"]}).json()
    assert (shown["template"], shown["system"]) == ("{{ .Prompt }}", "You are Ada.")
    assert shown["parameters"].split() == ["top_k", "3"]


def packed(files: dict[str, bytes], kind: str = "cncf", form: str = "raw") -> dict[str, Any]:
    """A manifest after the ModelPack specification."""
    parts = {".gguf": "weight", ".md": "doc", "LICENSE": "doc", ".jinja": "weight.config"}
    return {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": f"application/vnd.{kind}.model.manifest.v1+json",
        "config": {
            "mediaType": f"application/vnd.{kind}.model.config.v1+json",
            "digest": f"sha256:{sha256(b'{}').hexdigest()}",
            "size": 2,
        },
        "layers": [
            {
                "mediaType": f"application/vnd.{kind}.model."
                + next(part for end, part in parts.items() if name.endswith(end))
                + f".v1.{form}",
                "digest": f"sha256:{sha256(content).hexdigest()}",
                "size": len(content),
                "annotations": {f"org.{kind}.model.filepath": name},
            }
            for name, content in files.items()
        ],
    }


_PACKED = {
    "README.md": b"# hello",
    "mmproj-tiny.gguf": projector(),
    "LICENSE": b"free",
    "template.jinja": b"{{ messages[0].content }}",
    "tiny.gguf": SMALL,
}


@pytest.mark.parametrize("kind", ["cncf", "cnai"])
def test_modelpack(daemon: DaemonProcess, server: FileServer, kind: str) -> None:
    """A model in the CNCF's form is taken with its weights, projector, template and licence."""
    for content in _PACKED.values():
        path = f"/v2/evil/model/blobs/sha256:{sha256(content).hexdigest()}"
        server.routes[path] = answer_with(content)
    model = create(daemon, **{"from": offer(server, packed(_PACKED, kind))})["model"]
    assert model["config"]["architecture"] == "llama"
    assert model["runnerd"]["mmproj"] is True
    shown = daemon.http.post("/api/show", json={"model": model["id"]}).json()
    assert (shown["template"], shown["license"]) == ("{{ messages[0].content }}", "free")


def test_modelpack_as_an_archive(daemon: DaemonProcess) -> None:
    """The same in the archive that Docker's client sends."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        blobs = {f"blobs/sha256/{sha256(each).hexdigest()}": each for each in _PACKED.values()}
        manifest = json.dumps(packed(_PACKED)).encode()
        for name, content in {**blobs, "manifest.json": manifest}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    response = daemon.http.post("/models/load", content=file.getvalue())
    last = json.loads(response.text.splitlines()[-1])
    assert last["type"] == "success", last
    assert last["model"]["runnerd"]["mmproj"] is True


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (packed({"README.md": b"x"}), "no GGUF file"),
        (packed({"tiny.gguf": SMALL}, form="tar+gzip"), "is an archive"),
        (packed({"tiny.gguf": SMALL}) | {"layers": [{"mediaType": 5}]}, "cannot be read"),
    ],
)
def test_modelpack_that_cannot_be_used(
    daemon: DaemonProcess, server: FileServer, document: dict[str, Any], told: str
) -> None:
    """It is refused with the reason."""
    assert told in refused(daemon, **{"from": offer(server, document)})[1]


@pytest.mark.parametrize("status", [401, 403])
def test_gated_file_says_what_to_do(daemon: DaemonProcess, hub: HubServer, status: int) -> None:
    """The list of a gated model is for everybody, its files are for who accepted the terms."""
    hub.gated = status
    _, message = refused(daemon, **{"from": "hf.co/org/Tiny-GGUF"})
    assert f"accept the terms on the model's page, {hub.endpoint}/org/Tiny-GGUF" in message
    assert "RUNNERD_HUB_TOKEN" in message
    assert "docker login" not in message


def test_denied_url_says_what_to_do(daemon: DaemonProcess, server: FileServer) -> None:
    """URLs have no credentials, so no login would help."""
    server.behaviour.status = 403
    _, message = refused(daemon, **{"from": server.url("/denied.gguf")})
    assert "docker login" not in message
    assert "hf.co/" in message


def test_busy_hub_and_busy_server(daemon: DaemonProcess, hub: HubServer) -> None:
    """Every second request is refused, the list of files as well as the files."""
    hub.server.behaviour.every = 2
    hub.server.seen.clear()
    try:
        line = create(daemon, **{"from": "hf.co/org/Tiny-GGUF"})
    finally:
        hub.server.behaviour.every = 0
    assert line["type"] == "success", line


def test_hub_model_and_not_its_sidecars(
    daemon: DaemonProcess, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies beside the weights is left out by its name, or, if that says nothing, its header;
    and what there was is told.
    """
    files = {}
    for name in ("mtp-m-Q4_K_M.gguf", "m.gguf", "zz-imatrix-weights.gguf"):
        tiny.write_completion_model(tmp_path / name, seed=len(name))
        files[name] = (tmp_path / name).read_bytes()
    adapter = struct.pack("<4sIQQ", b"GGUF", 3, 1, 1)
    for text in ("general.type", "adapter"):
        adapter += struct.pack("<Q", len(text)) + text.encode()
        adapter += struct.pack("<I", 8) if text == "general.type" else b""
    files["a.gguf"] = adapter + bytes(len(files["m.gguf"]))
    monkeypatch.setattr(hub, "files", files)
    lines = events(daemon.http.post("/models/create", json={"from": "hf.co/org/Tiny-GGUF"}))
    assert lines[-1]["type"] == "success", lines[-1]
    told = "\n".join(line["message"] for line in lines)
    assert "Selected m.gguf (default" in told
    for sidecar in ("mtp-m-Q4_K_M.gguf (draft model)", "a.gguf (LoRA adapter)"):
        assert sidecar in told
    ranges = [seen.range for seen in hub.server.seen if "/cdn/a.gguf" in seen.path]
    assert ranges == ["bytes=0-65535"]
