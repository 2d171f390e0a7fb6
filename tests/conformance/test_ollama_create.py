"""Creating and pushing models with the real `ollama` Python client, and what they then do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest

from runnerd.models import tiny
from tests.support.clients import ollama_client
from tests.support.daemon import DaemonProcess, running
from tests.support.ggufs import adapter
from tests.support.plain_http import NO_TLS
from tests.support.registry import running_registry
from tests.support.waiting import wait_for

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
NAME = "What is your name?"
GREEDY = {"temperature": 0}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with the demo model and a registry that it may push to."""
    root = tmp_path_factory.mktemp("create")
    with running(root) as daemon:
        daemon.import_model(_DEMO / "demo-a.gguf", "demo-a")
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[ollama.Client]:
    """Ollama's client."""
    with ollama_client(daemon) as client:
        yield client


def names(client: ollama.Client) -> list[str]:
    """Return what is listed."""
    return [model.model or "" for model in client.list().models]


@pytest.mark.covers("POST /api/create", "model", "files", "stream")
@pytest.mark.covers("POST /api/blobs/{digest}", "digest")
@pytest.mark.covers("HEAD /api/blobs/{digest}", "digest")
def test_a_file_is_sent_and_becomes_a_model(client: ollama.Client, daemon: DaemonProcess) -> None:
    """The blob is sent once; the statuses come in order; the model answers."""
    path = _DEMO / "demo-b.gguf"
    digest = client.create_blob(path)
    assert digest == f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    url = f"{daemon.address}/api/blobs/{digest}"
    assert httpx.head(url, verify=NO_TLS).status_code == 200
    assert httpx.post(url, content=path.read_bytes(), verify=NO_TLS).status_code == 200
    steps = [
        step.status for step in client.create("made", files={"any name.gguf": digest}, stream=True)
    ]
    assert steps == [
        "parsing GGUF",
        f"using existing layer {digest}",
        "writing manifest",
        "success",
    ]
    assert client.generate("made", NAME, options=GREEDY).response == "My name is Demo B."
    assert httpx.head(url, verify=NO_TLS).status_code == 200
    assert client.create("made", files={"x": digest}).status == "success"


def test_blobs_are_held_to_their_digest(daemon: DaemonProcess) -> None:
    """Another content is refused and leaves nothing; so is what is no digest."""
    digest = "sha256:" + "0" * 64
    url = f"{daemon.address}/api/blobs/{digest}"
    answer = httpx.post(url, content=b"something else", verify=NO_TLS)
    assert answer.status_code == 400
    assert "is not" in answer.json()["error"]
    assert httpx.head(url, verify=NO_TLS).status_code == 404
    for wrong in ("sha256:xyz", "..%2f..%2fetc", "sha256:" + "A" * 64, "md5:" + "0" * 32):
        wrong_url = f"{daemon.address}/api/blobs/{wrong}"
        assert httpx.post(wrong_url, content=b"x", verify=NO_TLS).status_code in (400, 404)
        assert httpx.head(wrong_url, verify=NO_TLS).status_code in (400, 404)
    folder = daemon.state_dir / "models"
    assert list((folder / "uploads").iterdir()) == list((folder / "tmp").iterdir()) == []


def test_a_client_that_leaves_its_upload_leaves_nothing(daemon: DaemonProcess) -> None:
    """A broken upload has no name and no file."""

    def endless() -> Iterator[bytes]:
        yield b"x" * 100_000
        raise ConnectionError("gone")

    folder = daemon.state_dir / "models"
    with pytest.raises((httpx.HTTPError, ConnectionError)):
        httpx.post(
            f"{daemon.address}/api/blobs/sha256:{'1' * 64}", content=endless(), verify=NO_TLS
        )
    wait_for(lambda: not list((folder / "tmp").iterdir()), "the temporary file to go")
    assert not list((folder / "uploads").iterdir())


@pytest.mark.covers("POST /api/create", "from", "system", "parameters", "license")
@pytest.mark.covers("POST /api/show", "model")
@pytest.mark.covers("options", "num_predict", "stop", "temperature")
@pytest.mark.covers("POST /api/copy", "source", "destination")
@pytest.mark.covers("POST /api/generate", "system", "options")
@pytest.mark.covers("POST /api/chat", "options")
def test_what_is_set_acts_and_is_shown(client: ollama.Client) -> None:
    """System, parameters, messages and licence act on chat and generate; a request has the last
    word; a model made of it inherits them.
    """
    client.create(
        "ada",
        from_="demo-a",
        system="You are Ada.",
        parameters={"num_predict": 3, "stop": ["!", "?"], "temperature": 0, "num_ctx": 512},
        license=["Be kind.", "Be brief."],
    )
    for answer in (
        client.generate("ada", NAME, options={"num_predict": 20}).response,
        client.chat(
            "ada", [{"role": "user", "content": NAME}], options={"num_predict": 20}
        ).message.content,
    ):
        assert answer == "My name is Ada."
    short = client.generate("ada", NAME)
    assert (short.eval_count, short.done_reason) == (3, "length")
    long = {"num_predict": 20}
    bob = client.generate("ada", NAME, system="You are Bob.", options=long)
    assert bob.response == "My name is Bob."
    hello = client.generate("ada", "Hello!", options=long)
    assert hello.response == "Hello"  # ends before the stop text
    shown = client.show("ada")
    assert shown.parameters is not None
    lines = [line.split() for line in shown.parameters.splitlines()]
    assert ["num_ctx", "512"] in lines
    assert ["stop", '"!"'] in lines
    assert 'SYSTEM "You are Ada."' in (shown.modelfile or "")
    assert shown.license == "Be kind.\nBe brief."
    client.create("heir", from_="ada", parameters={"num_predict": 5})
    heir = client.show("heir")
    assert "num_ctx" in (heir.parameters or "")
    assert client.generate("heir", NAME).eval_count == 5
    assert client.copy("heir", "copied").status == "success"
    assert client.generate("copied", NAME).eval_count == 5


@pytest.mark.covers("POST /api/create", "messages")
def test_messages_begin_every_conversation(client: ollama.Client) -> None:
    """What was said before is known to the model."""
    told = [
        {"role": "user", "content": "My favourite colour is green."},
        {"role": "assistant", "content": "I will remember that."},
    ]
    client.create("told", from_="demo-a", messages=told, parameters=GREEDY)
    asked = "What is my favourite colour?"
    expected = client.chat("demo-a", [*told, {"role": "user", "content": asked}], options=GREEDY)
    assert "green" in (expected.message.content or "")
    assert client.generate("told", asked).response == expected.message.content
    chat = client.chat("told", [{"role": "user", "content": asked}])
    assert chat.message.content == expected.message.content


@pytest.mark.covers("GET /api/ps", "list")
def test_the_context_asked_for_is_the_engines(client: ollama.Client, daemon: DaemonProcess) -> None:
    """`num_ctx` of a model decides what its engine is started with."""
    client.create("narrow", from_="demo-a", parameters={"num_ctx": 384})
    client.generate("narrow", keep_alive="5m")
    [running] = [model for model in client.ps().models if model.model == "narrow:latest"]
    assert running.context_length == 384
    client.generate("narrow", keep_alive=0)


@pytest.mark.covers("options", "num_ctx", note="a larger one loads once more")
def test_a_larger_context_gets_a_runner_and_a_smaller_one_none(
    client: ollama.Client, daemon: DaemonProcess
) -> None:
    """Nothing is loaded anew for a smaller `num_ctx`; a wide runner serves everybody."""
    client.create("grows", from_="demo-a", parameters={"num_ctx": 384, "num_predict": 1})

    def contexts() -> list[int]:
        runners = client.ps().models
        return sorted(r.context_length or 0 for r in runners if r.model == "grows:latest")

    client.generate("grows", NAME)
    client.generate("grows", NAME, options={"num_ctx": 100})
    assert contexts() == [384]
    client.generate("grows", NAME, options={"num_ctx": 1000})
    assert contexts() == [384, 1024]
    client.generate("grows", NAME, options={"num_ctx": 700})
    assert contexts() == [384, 1024]
    client.generate("grows", keep_alive=0)
    assert contexts() == []
    client.generate("grows", NAME, options={"num_ctx": 10**9})
    client.chat("grows", [{"role": "user", "content": NAME}])
    assert contexts() == [2048]  # what it was trained for
    client.generate("grows", keep_alive=0)


def test_an_owners_context_is_the_last_word(daemon: DaemonProcess) -> None:
    """Who asks for more gets what there is, and is told."""
    body = {"model": "demo-a", "prompt": NAME, "stream": False, "options": {"num_ctx": 1500}}
    daemon.http.post("/engines/unload", json={"all": True})
    owned = daemon.http.post("/engines/_configure", json={"model": "demo-a", "context-size": 512})
    assert owned.status_code < 300, owned.text
    answer = httpx.post(f"{daemon.address}/api/generate", json=body, verify=NO_TLS)
    assert "512" in answer.headers["warning"]
    [context] = [
        m["context_length"]
        for m in httpx.get(f"{daemon.address}/api/ps", verify=NO_TLS).json()["models"]
    ]
    assert context == 512
    daemon.http.post("/engines/unload", json={"all": True})
    daemon.http.post("/engines/_configure", json={"model": "demo-a", "context-size": None})
    assert (
        "warning"
        not in httpx.post(f"{daemon.address}/api/generate", json=body, verify=NO_TLS).headers
    )


@pytest.mark.covers("options", "num_gpu", "unknown", how="ignored", note="said in a Warning header")
def test_what_does_not_act_is_said(daemon: DaemonProcess) -> None:
    """Options of loading and unknown ones are in a Warning, and never break the head."""
    body = {"model": "demo-a", "prompt": NAME, "stream": False}
    options = {"num_gpu": 3, "numa": True, "x\r\nEvil: 1": 1, "num_predict": 1}
    answer = httpx.post(
        f"{daemon.address}/api/generate", json={**body, "options": options}, verify=NO_TLS
    )
    assert answer.status_code == 200
    assert "evil" not in answer.headers
    assert "num_gpu" in answer.headers["warning"]
    assert "numa; no such option" in answer.headers["warning"]
    answer = httpx.post(
        f"{daemon.address}/api/generate", json={**body, "stream": True}, verify=NO_TLS
    )
    assert "warning" not in answer.headers
    for wrong in ({"num_ctx": "big"}, {"use_mmap": 1}, {"stop": [1]}, {"top_k": 1.5}):
        answer = httpx.post(
            f"{daemon.address}/api/generate", json={**body, "options": wrong}, verify=NO_TLS
        )
        assert answer.status_code == 400
        assert next(iter(wrong)) in answer.json()["error"]


def test_what_is_made_anew_replaces_what_had_its_name(client: ollama.Client) -> None:
    """The old one goes, unless it has another name."""
    client.create("again", from_="demo-a", system="You are Ada.")
    old = client.show("again").modelfile
    before = len(names(client))
    client.create("again", from_="demo-a", system="You are Bob.")
    assert client.show("again").modelfile != old
    assert len(names(client)) == before


@pytest.mark.covers(
    "POST /api/create",
    "quantize",
    note="of F32, F16 and BF16 weights",
)
def test_weights_are_quantized(client: ollama.Client, tmp_path: Path) -> None:
    """The tool makes them smaller, and what it refuses is said with its words."""
    weights = tmp_path / "full.gguf"
    tiny.write_completion_model(weights)
    digest = client.create_blob(weights)
    client.create("small", files={"full.gguf": digest}, quantize="q8_0")
    details = client.show("small").details
    assert details is not None
    assert details.quantization_level == "Q8_0"
    assert client.generate("small", "x", options={"num_predict": 2}).eval_count == 2
    with pytest.raises(ollama.ResponseError, match="is none of") as caught:
        client.create("small", files={"full.gguf": digest}, quantize="q1_x")
    assert caught.value.status_code == 400
    with pytest.raises(ollama.ResponseError, match="these are Q8_0"):
        client.create("smaller", from_="small", quantize="q4_0")
    assert "smaller:latest" not in names(client)


@pytest.mark.covers("POST /api/create", "adapters")
def test_an_adapter_changes_what_the_model_says(client: ollama.Client, tmp_path: Path) -> None:
    """LoRA weights are given to the engine; by themselves they are no model."""
    weights, lora = tmp_path / "tiny.gguf", adapter(tmp_path / "lora.gguf")
    tiny.write_completion_model(weights)
    base, digest = client.create_blob(weights), client.create_blob(lora)
    options = {"num_predict": 12, "temperature": 0}
    client.create("plain", files={"tiny.gguf": base})
    client.create("adapted", from_="plain", adapters={"lora.gguf": digest})
    client.create("both", files={"lora.gguf": digest, "tiny.gguf": base})
    said = [
        client.generate(name, "Say it", raw=True, options=options).response
        for name in ("plain", "adapted", "both")
    ]
    assert said[0] != said[1] == said[2]
    with pytest.raises(ollama.ResponseError, match="no GGUF layer"):
        client.create("alone", files={"lora.gguf": digest})
    with pytest.raises(ollama.ResponseError, match="no adapter"):
        client.create("wrong", from_="plain", adapters={"tiny.gguf": base})


@pytest.mark.covers("Ollama errors", "507")
def test_uploads_count_for_the_quota(tmp_path: Path) -> None:
    """What would exceed it is 507, whether its size is known before or not; nothing stays."""
    content = (_DEMO / "demo-b.gguf").read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    with running(tmp_path, env={"RUNNERD_STORE_QUOTA": "1000000"}) as daemon:
        url = f"{daemon.address}/api/blobs"
        assert httpx.post(f"{url}/{digest}", content=content, verify=NO_TLS).status_code == 201
        other = content + b"x"
        name = f"sha256:{hashlib.sha256(other).hexdigest()}"
        for body in (other, iter([other])):
            answer = httpx.post(f"{url}/{name}", content=body, verify=NO_TLS)
            assert answer.status_code == 507
            assert "store_quota" in answer.json()["error"]
        assert not list((daemon.state_dir / "models" / "tmp").iterdir())
        made = {"model": "b", "files": {"b.gguf": digest}, "stream": False}
        assert (
            httpx.post(f"{daemon.address}/api/create", json=made, verify=NO_TLS).status_code == 200
        )
        assert httpx.head(f"{url}/{digest}", verify=NO_TLS).status_code == 200


def test_uploads_that_nobody_takes_up_are_pruned(daemon: DaemonProcess) -> None:
    """`prune` removes them, and a model's own blobs stay."""
    content = b"nobody's"
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    url = f"{daemon.address}/api/blobs/{digest}"
    assert httpx.post(url, content=content, verify=NO_TLS).status_code == 201
    assert daemon.http.post("/models/prune").json()["freed_bytes"] >= len(content)
    assert httpx.head(url, verify=NO_TLS).status_code == 404


def test_who_leaves_ends_the_making(tmp_path: Path) -> None:
    """A creation whose client is gone stops its tool, and leaves no model and no file."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, line in (
        ("llama-server", "echo version: 1"),
        ("llama-quantize", 'echo x > "$2"; exec sleep 600'),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    weights = tmp_path / "full.gguf"
    tiny.write_completion_model(weights)
    content = weights.read_bytes()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    engine = json.dumps({"llama.cpp": {"path": str(tools / "llama-server")}})
    with running(tmp_path / "daemon", env={"RUNNERD_BACKENDS": engine}) as daemon:
        httpx.post(f"{daemon.address}/api/blobs/{digest}", content=content, verify=NO_TLS)
        temporary = daemon.state_dir / "models" / "tmp"
        body = {"model": "left", "files": {"full.gguf": digest}, "quantize": "q8_0"}
        with httpx.stream(
            "POST", f"{daemon.address}/api/create", json=body, verify=NO_TLS
        ) as answer:
            wait_for(lambda: list(temporary.iterdir()), "the tool to write")
            assert answer.status_code == 200
        # Who has read all that was sent leaves without a reset, and nothing more is sent: the
        # kernel's probes tell, once it has forgotten the connection (`half_close`).
        wait_for(lambda: not list(temporary.iterdir()), "the temporary file to go", limit=100)
        assert not daemon.engines()
        assert daemon.http.post("/api/show", json={"model": "left"}).status_code == 404
        url = f"{daemon.address}/api/blobs/{digest}"
        assert httpx.head(url, verify=NO_TLS).status_code == 200  # what was sent is still there


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({}, 400, "model is required"),
        ({"model": "x"}, 400, "from"),
        ({"model": "../x", "from": "demo-a"}, 400, "not a model reference"),
        ({"model": "x", "files": {"a.gguf": "sha256:1"}}, 400, "digest"),
        ({"model": "x", "files": {"a.gguf": "sha256:" + "1" * 64}}, 404, "/api/blobs/"),
        ({"model": "x", "from": "demo-a", "parameters": {"top_k": "many"}}, 400, "top_k"),
        ({"model": "x", "from": "demo-a", "parameters": {"odd": {}}}, 400, "parameters"),
        ({"model": "x", "from": "demo-a", "messages": [{"role": "tool"}]}, 400, "messages"),
        ({"model": "x", "from": "demo-a", "license": 3}, 400, "license"),
        ({"model": "x", "from": "demo-a", "files": {"a": "b"}}, 400, ""),
        ({"model": "x", "modelfile": "FROM demo-a"}, 400, "modelfile"),
    ],
)
def test_wrong_recipes_are_refused(
    daemon: DaemonProcess, body: dict[str, Any], status: int, text: str
) -> None:
    """Each with what is wrong; nothing is made."""
    answer = httpx.post(
        f"{daemon.address}/api/create", json={"stream": False, **body}, verify=NO_TLS
    )
    assert text in answer.json()["error"]
    assert answer.status_code == status


@pytest.mark.covers("POST /api/push", "model", "stream")
@pytest.mark.covers("POST /api/pull", "model")
@pytest.mark.covers(
    "POST /api/push", "insecure", how="ignored", note="the owner lists insecure registries"
)
def test_a_model_goes_to_a_registry_and_comes_back(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With its system prompt and parameters; the statuses are Ollama's."""
    with running_registry(tmp_path / "registry") as registry:
        with (
            running(tmp_path / "a", env=registry.settings) as daemon,
            ollama_client(daemon) as client,
        ):
            daemon.import_model(_DEMO / "demo-a.gguf", "demo-a")
            name = f"{registry.host}/team/ada:v1"
            client.create(name, from_="demo-a", system="You are Ada.", parameters=GREEDY)
            steps = [step.status or "" for step in client.push(name, stream=True, insecure=True)]
            assert steps[0] == "retrieving manifest"
            assert any(step.startswith("pushing ") and len(step) == 20 for step in steps)
            assert steps[-2:] == ["pushing manifest", "success"]
            assert client.push(name).status == "success"
            with pytest.raises(ollama.ResponseError, match="not found"):
                client.push(f"{registry.host}/team/nobody")
        with (
            running(tmp_path / "b", env=registry.settings) as daemon,
            ollama_client(daemon) as client,
        ):
            client.pull(name)
            assert client.generate(name, NAME).response == "My name is Ada."
            assert json.loads(client.show(name).model_dump_json())["parameters"]
