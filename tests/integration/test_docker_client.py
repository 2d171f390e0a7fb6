"""What Docker Model Runner's own client asks beside models and inference."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from tests.integration.test_user_commands import runnerd
from tests.support.daemon import JSON, DaemonProcess, running

CONFIGURE = "/engines/_configure"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon with a model."""
    with running(tmp_path_factory.mktemp("d")) as daemon:
        daemon.import_model(gguf / "tiny.gguf", "org/tiny:v1")
        yield daemon


@pytest.fixture
def own(tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon of the test's own."""
    with running(tmp_path / "d") as daemon:
        yield daemon


def stored(daemon: DaemonProcess) -> dict[str, object]:
    """What is configured."""
    found = daemon.http.get(CONFIGURE, params={"model": "org/tiny:v1"}).json()
    return dict(found[0]["Config"]) if found else {}


@pytest.mark.parametrize("name", ["org/tiny:v1", "tiny", "ORG/tiny:V1"])
def test_export_is_what_load_takes(daemon: DaemonProcess, name: str) -> None:
    """`docker model package --from` reads the archive; its size is known before."""
    response = daemon.http.get(f"/models/{name}/export")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/x-tar"
    assert response.headers["content-disposition"].endswith('.tar"')
    assert int(response.headers["content-length"]) == len(response.content)
    with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
        names = archive.getnames()
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        layers = json.load(manifest)["layers"]
    assert names[-1] == "manifest.json"
    assert {f"blobs/sha256/{layer['digest'].removeprefix('sha256:')}" for layer in layers} <= {
        *names
    }
    loaded = daemon.http.post("/models/load", content=response.content)
    model = json.loads(loaded.text.splitlines()[-1])["model"]
    assert model["id"] == daemon.http.get("/models/org/tiny:v1").json()["id"]
    head = daemon.http.head(f"/models/{name}/export")
    assert (head.status_code, head.headers["content-length"]) == (
        200,
        response.headers["content-length"],
    )


@pytest.mark.covers(
    "GET /models/{name}/export",
    "format",
    note="`modelpack`: an OCI image layout after the CNCF's specification, taken in as well",
)
def test_export_as_modelpack(daemon: DaemonProcess, tmp_path: Path) -> None:
    """An OCI image layout, whose index names a manifest after the specification; what it is loaded
    as is the same model, whatever the order of its entries is.
    """
    assert daemon.http.get("/models/org/tiny:v1/export?format=zip").status_code == 400
    response = daemon.http.get("/models/org/tiny:v1/export?format=modelpack")
    assert int(response.headers["content-length"]) == len(response.content)
    blobs: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
        for member in archive:
            content = archive.extractfile(member)
            assert content is not None
            blobs[member.name] = content.read()
    assert json.loads(blobs["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    [entry] = json.loads(blobs["index.json"])["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "org/tiny:v1"
    manifest = json.loads(blobs[f"blobs/sha256/{entry['digest'].removeprefix('sha256:')}"])
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    for each in (manifest["config"], *manifest["layers"]):
        blob = blobs[f"blobs/sha256/{each['digest'].removeprefix('sha256:')}"]
        assert f"sha256:{sha256(blob).hexdigest()}" == each["digest"]
        assert len(blob) == each["size"]
    id = daemon.http.get("/models/org/tiny:v1").json()["id"]
    with io.BytesIO() as turned:
        with tarfile.open(fileobj=turned, mode="w") as archive:
            for name in reversed(blobs):
                info = tarfile.TarInfo(name)
                info.size = len(blobs[name])
                archive.addfile(info, io.BytesIO(blobs[name]))
        for sent in (response.content, turned.getvalue()):
            loaded = daemon.http.post("/models/load", content=sent)
            assert json.loads(loaded.text.splitlines()[-1])["model"]["id"] == id


def test_export_and_import_by_command(daemon: DaemonProcess, gguf: Path, tmp_path: Path) -> None:
    """The command writes the archive whole, and takes it in under another name, which it takes from
    no other model.
    """
    id = daemon.http.get("/models/org/tiny:v1").json()["id"]
    for form in ("docker", "modelpack"):
        file = tmp_path / f"{form}.tar"
        status, out, err = runnerd(
            daemon, "export", "org/tiny:v1", "-o", str(file), "--format", form
        )
        assert status == 0, err
        assert out.startswith(f"wrote {file}: a tar archive "), out
        assert [each.name for each in tmp_path.glob(f"*{form}*")] == [file.name]
        status, out, err = runnerd(daemon, "import", str(file), "--tag", f"from-{form}:1")
        assert status == 0, err
        assert daemon.http.get(f"/models/from-{form}:1").json()["id"] == id
        daemon.http.delete(f"/models/from-{form}:1")
    daemon.import_model(gguf / "other.gguf", "other")
    other = daemon.http.get("/models/other").json()["id"]
    file = file.rename(tmp_path / "other.tar")
    status, _, err = runnerd(daemon, "import", str(file))
    assert status == 1
    assert "other is a name of" in err
    assert daemon.http.get("/models/other").json()["id"] == other
    status, _, err = runnerd(daemon, "export", "absent", "-o", str(tmp_path / "x.tar"))
    assert status == 1
    assert "absent" in err
    status, _, err = runnerd(daemon, "import", str(file), "--mmproj", "x.gguf")
    assert "is for GGUF files" in err
    assert not (tmp_path / "x.tar").exists()


def test_an_export_says_what_it_is_and_overwrites_nothing(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """A name that promises another format is refused, and so is a file that is there."""
    wrong = tmp_path / "model.gguf"
    for before in (None, b"weights"):
        if before is not None:
            wrong.write_bytes(before)
        status, _, err = runnerd(daemon, "export", "org/tiny:v1", "-o", str(wrong), "--force")
        assert (status, "tar archive and no gguf file; call it" in err) == (1, True), err
        assert (wrong.read_bytes() if wrong.exists() else None) == before
    file = tmp_path / "model.tar"
    file.write_bytes(b"mine")
    status, _, err = runnerd(daemon, "export", "org/tiny:v1", "-o", str(file))
    assert (status, file.read_bytes()) == (1, b"mine")
    assert "--force" in err
    status, out, err = runnerd(
        daemon, "export", "org/tiny:v1", "-o", str(file), "--force", "--json"
    )
    assert (status, json.loads(out)["format"]) == (0, "docker"), err
    assert tarfile.is_tarfile(file)


def test_export_of_nothing(daemon: DaemonProcess) -> None:
    """404 in words."""
    response = daemon.http.get("/models/absent/export", headers=JSON)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


THEIR_ROUTES = [
    ("GET", "/models/absent", None, 404),
    ("GET", "/models/absent/export", None, 404),
    ("POST", "/models/absent/tag?repo=x", None, 404),
    ("POST", "/models/tiny/nothing", None, 404),
    ("POST", "/models/absent/repackage", {"target": "x"}, 404),
    ("POST", "/models/absent/push", None, 404),
    ("POST", "/models/create", {"from": "../x"}, 400),
    ("POST", "/models/load", None, 422),
    ("DELETE", "/models/absent", None, 404),
    ("POST", CONFIGURE, {"model": "tiny", "raw-runtime-flags": "--log-file /tmp/x"}, 400),
    ("POST", "/engines/nothing/_configure", {"model": "tiny"}, 404),
    ("POST", "/engines/unload", {}, 400),
    ("POST", "/engines/install-backend", {"backend": "x"}, 404),
    ("POST", "/engines/uninstall-backend", {}, 400),
    ("GET", "/engines/requests?model=absent", None, 404),
]


@pytest.mark.covers(
    "/models and /engines, errors", "text", note="as the original, whose client prints the body"
)
@pytest.mark.covers(
    "/models and /engines, errors", "json", note="OpenAI's object, with `Accept: application/json`"
)
@pytest.mark.parametrize(("method", "path", "document", "status"), THEIR_ROUTES)
def test_their_client_shows_a_sentence(
    daemon: DaemonProcess, method: str, path: str, document: object, status: int
) -> None:
    """Who prints the body has a line of text; who asks for JSON gets OpenAI's object."""
    agent = {"User-Agent": "docker-model-cli/1.0"}
    with daemon.http.stream(method, path, json=document, headers=agent) as response:
        assert (response.status_code, response.headers["content-type"]) == (
            status,
            "text/plain; charset=utf-8",
        )
        text = response.read().decode()
    assert text.endswith("\n")
    assert not text.startswith("{")
    told = daemon.http.request(method, path, json=document, headers=JSON)
    assert (told.status_code, told.json()["error"]["message"]) == (status, text[:-1])


@pytest.mark.covers("/engines/v1 and rerank, errors", "json", note="for OpenAI's clients")
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/engines/v1/chat/completions"),
        ("POST", "/engines/llama.cpp/v1/embeddings"),
        ("POST", "/engines/rerank"),
        ("GET", "/engines/v1/models/absent"),
        ("POST", "/models/absent/configure"),
    ],
)
def test_errors_for_openais_clients(daemon: DaemonProcess, method: str, path: str) -> None:
    """Where OpenAI's clients ask below `/engines`, and on our own routes, errors are objects."""
    document = {"model": "absent", "messages": [{"role": "user", "content": "x"}], "input": "x",
                "query": "x", "documents": ["x"]}  # fmt: skip
    response = daemon.http.request(method, path, json=document)
    assert response.json()["error"]["message"], response.text


@pytest.mark.engine
def test_responses_without_a_prefix(daemon: DaemonProcess) -> None:
    """Asked, read again and removed where Docker Model Runner has it."""
    body = {"model": "org/tiny:v1", "input": "x", "max_output_tokens": 2}
    made = daemon.http.post("/responses", json=body)
    assert made.status_code == 200, made.text
    id = made.json()["id"]
    for path in (f"/responses/{id}", f"/v1/responses/{id}"):
        assert daemon.http.get(path).json()["id"] == id
    assert daemon.http.delete(f"/responses/{id}").json()["deleted"] is True
    assert daemon.http.get(f"/v1/responses/{id}").status_code == 404


def test_their_configure_replaces_and_ours_merges(daemon: DaemonProcess) -> None:
    """A client that cannot say null gets rid of flags by leaving them out."""
    flags = {"raw-runtime-flags": "--temp 0.5", "context-size": 512, "keep_alive": "5m"}
    ours = "/models/org/tiny:v1/configure"
    assert daemon.http.post(ours, json={"pinned": True}).status_code == 202
    theirs = {"model": "org/tiny:v1", **flags}
    assert daemon.http.post(CONFIGURE, json=theirs).status_code == 202
    assert stored(daemon) == {
        "runtime-flags": ["--temp", "0.5"],
        "context-size": 512,
        "keep_alive": "5m0s",
        "pinned": True,
    }
    daemon.http.post(ours, json={"context-size": 256})
    assert stored(daemon)["runtime-flags"] == ["--temp", "0.5"]
    daemon.http.post(CONFIGURE, json={"model": "org/tiny:v1", "context-size": 128})
    assert stored(daemon) == {"context-size": 128, "pinned": True}
    daemon.http.post(ours, json={"pinned": None})
    daemon.http.post(CONFIGURE, json={"model": "org/tiny:v1"})
    assert stored(daemon) == {}


def test_configure_before_the_model_is_here(own: DaemonProcess, gguf: Path) -> None:
    """202 as theirs; it counts from when the model comes, also after a restart."""
    document = {"model": "Later:V2", "context-size": 320, "raw-runtime-flags": "--temp 0.1"}
    response = own.http.post(CONFIGURE, json=document)
    assert response.status_code == 202, response.text
    assert "ai/later:V2 is not here" in response.headers["warning"]
    shown = own.http.get(CONFIGURE).json()
    assert "ai/later:V2" not in [entry["Model"] for entry in shown]
    bad = {"model": "later:v2", "raw-runtime-flags": "--log-file /tmp/x"}
    assert own.http.post(CONFIGURE, json=bad).status_code == 400
    assert own.http.post(CONFIGURE, json={"model": "a b"}).status_code == 400
    own.terminate()
    own.start()
    own.import_model(gguf / "other.gguf", "later:v2")
    expected = {"context-size": 320, "runtime-flags": ["--temp", "0.1"]}
    [entry] = own.http.get(CONFIGURE, params={"model": "later:v2"}).json()
    assert (entry["Model"], entry["Config"]) == ("ai/later:v2", expected)
    ours = "/models/later:v2/configure"
    assert own.http.post(ours, json={"pinned": True}).status_code == 202
    [entry] = own.http.get(CONFIGURE, params={"model": "later:v2"}).json()
    assert entry["Config"] == {**expected, "pinned": True}
    own.http.delete("/models/later:v2")
    own.import_model(gguf / "other.gguf", "later:v2")
    assert own.http.get(CONFIGURE, params={"model": "later:v2"}).json() == []
    assert own.http.post("/models/absent/configure", json={}).status_code == 404


@pytest.mark.engine
def test_configured_name_reaches_the_engine(own: DaemonProcess, gguf: Path) -> None:
    """A model that is there under another name takes it on when it gets this one."""
    own.import_model(gguf / "tiny.gguf", "org/tiny:v1")
    own.http.post(CONFIGURE, json={"model": "soon", "context-size": 384})
    body = {"model": "org/tiny:v1", "prompt": "x", "max_tokens": 1}
    own.http.post("/models/tiny/tag", params={"repo": "soon"})
    assert own.http.post("/v1/completions", json=body).status_code == 200
    [runner] = own.ps()
    assert runner["context"] == 384


@pytest.mark.parametrize("backend", ["vllm", "sglang", "mlx", "diffusers", "llama.cpp"])
def test_configure_for_another_backend(daemon: DaemonProcess, backend: str) -> None:
    """A GGUF model is llama.cpp's whatever is named; 202 as theirs, null fields as if absent."""
    document = {"model": "tiny", "context-size": 640, "runtime-flags": None,
                "raw-runtime-flags": None, "speculative": None, "llamacpp": None,
                "vllm": {"hf-overrides": {}}}  # fmt: skip
    response = daemon.http.post(f"/engines/{backend}/_configure", json=document)
    assert response.status_code == 202, response.text
    assert stored(daemon) == {"context-size": 640}
    assert daemon.http.post("/engines/nothing/_configure", json=document).status_code == 404


@pytest.mark.parametrize(
    "document",
    [
        {"models": ["absent"]},
        {"models": ["absent", "tiny"], "backend": "llama.cpp"},
        {"models": ["tiny"], "backend": "vllm"},
        {"models": ["a b", "../x"]},
        {"all": True, "backend": ""},
        {"all": False, "backend": None, "models": ["tiny"]},
    ],
)
def test_unload_of_what_is_not_loaded(daemon: DaemonProcess, document: dict[str, object]) -> None:
    """There was nothing to do, and that is done."""
    response = daemon.http.post("/engines/unload", json=document)
    assert (response.status_code, response.json()) == (200, {"unloaded_runners": 0})


def test_uninstall_backend_says_how(daemon: DaemonProcess) -> None:
    """One sentence, with the folder; what is no backend is 404."""
    path = "/engines/uninstall-backend"
    response = daemon.http.post(path, json={"backend": "llama.cpp"})
    assert (response.status_code, str(daemon.state_dir) in response.text) == (501, True)
    assert daemon.http.post(path, json={"backend": "x"}).status_code == 404
    assert daemon.http.post(path, json={}).status_code == 400


@pytest.mark.parametrize("host", ["ollama.com", "registry.ollama.ai"])
def test_push_to_ollamas_registry(daemon: DaemonProcess, host: str) -> None:
    """It takes models from its own program only; the sentence says what can be done."""
    daemon.http.post("/api/copy", json={"source": "tiny", "destination": f"{host}/me/tiny"})
    response = daemon.http.post("/api/push", json={"model": f"{host}/me/tiny"})
    assert (response.status_code, "another registry" in response.json()["error"]) == (501, True)
    daemon.http.delete(f"/models/{host}/me/tiny")
