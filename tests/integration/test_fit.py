"""Whether models fit, here and elsewhere, before a byte of them is pulled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runnerd.models import tiny
from tests.integration.test_cli import runnerd
from tests.support.daemon import DaemonProcess, running
from tests.support.fileserver import FileServer, serving
from tests.support.members import Member

pytestmark = pytest.mark.engine

CHAT = {"messages": [{"role": "user", "content": "a"}], "max_tokens": 1}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model that is longer than its header."""
    path = tmp_path_factory.mktemp("weights") / "m.gguf"
    tiny.write_completion_model(path, name="elsewhere", context_length=8192)
    return path.read_bytes()


@pytest.fixture(scope="module")
def server(weights: bytes) -> Iterator[FileServer]:
    with serving(weights) as server:
        yield server


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path, server: FileServer) -> Iterator[DaemonProcess]:
    allowed = {
        "RUNNERD_ALLOWED_SOURCES": '["127.0.0.1"]',
        "RUNNERD_INSECURE_REGISTRIES": f'["{server.host}"]',
    }
    with running(tmp_path / "d", env=allowed) as daemon:
        for name in ("tiny", "other"):
            daemon.import_model(gguf / f"{name}.gguf", name)
        yield daemon


def fit(daemon: DaemonProcess, model: str, **query: object) -> dict[str, Any]:
    said: dict[str, Any] = {"model": model, **query}
    response = daemon.http.get("/runnerd/fit", params=said)
    assert response.status_code == 200, response.text
    found: dict[str, Any] = response.json()
    return found


def test_a_model_that_is_here(daemon: DaemonProcess) -> None:
    """What it needs, with as many requests at a time as it can have, and with fewer."""
    found = fit(daemon, "tiny")
    assert (found["fits"], found["here"], found["evicts"]) == ("now", True, [])
    assert (found["parallel"], found["least_parallel"]) == (4, 1)
    [ram] = [device for device in found["devices"] if device["id"] == "ram"]
    assert 0 < ram["need"] <= found["need"]["ram"]
    assert ram["need"] < ram["room"] <= ram["most"]
    assert found["longest_context"] == found["trained_context"] == 8192
    assert "and fits beside what is loaded" in found["sentence"]
    short = fit(daemon, "tiny", context=256)
    assert short["context"] == 256
    assert short["need"]["ram"] < found["need"]["ram"]
    beyond = fit(daemon, "tiny", context=99999)["sentence"]
    assert "It was trained for 8192 tokens and gets worse beyond them." in beyond
    assert "longest context" not in beyond
    one = fit(daemon, "tiny", parallel=1)
    assert (one["parallel"], one["need"]["ram"]) == (1, ram["need"])
    assert fit(daemon, "tiny", mode="embedding")["mode"] == "embedding"


def test_what_it_would_need_is_what_is_reserved(daemon: DaemonProcess) -> None:
    """The same account as that by which models are loaded."""
    before = fit(daemon, "tiny")["need"]["ram"]
    daemon.http.post("/v1/chat/completions", json={**CHAT, "model": "other"}).raise_for_status()
    daemon.http.post("/v1/chat/completions", json={**CHAT, "model": "tiny"}).raise_for_status()
    runners = daemon.http.get("/runnerd/overview").json()["runners"]
    [reserved] = [each["memory"]["ram"]["reserved"] for each in runners if each["model"] == "tiny"]
    assert reserved == before


def test_a_context_that_no_host_has_is_not_asked_of_the_engine(daemon: DaemonProcess) -> None:
    """Its own account takes time for each token, up to a minute of a processor for anybody's
    question.
    """
    response = daemon.http.get("/runnerd/fit", params={"model": "tiny", "context": 2**31 - 1})
    assert response.status_code == 507, response.text
    assert "more than the" in response.text
    assert "it cannot be loaded" in response.text
    status, _, err = runnerd(daemon, "fit", "tiny", "--context", str(2**31 - 1))
    assert status == 1
    assert err.endswith("it cannot be loaded\n")  # and nothing of what becomes of the model
    assert fit(daemon, "tiny", context=1024)["fits"] == "now"


def test_who_would_make_room(tmp_path: Path, gguf: Path) -> None:
    """And what is too large for this host, with the longest context that is not."""
    settings = tmp_path / "runnerd.toml"
    settings.write_text("")
    with running(tmp_path / "d", "--config", str(settings)) as daemon:
        for name in ("tiny", "other"):
            daemon.import_model(gguf / f"{name}.gguf", name)
        need = fit(daemon, "tiny")["devices"][0]["need"]
        long = fit(daemon, "tiny", context=8192)["devices"][0]
        share = (
            1.5 * long["need"] / daemon.http.get("/runnerd/overview").json()["devices"][0]["total"]
        )
        settings.write_text(f"memory_share = {{ram = {share}}}")
        daemon.reload()
        daemon.http.post("/models/other/configure", json={"context-size": 8192, "parallel": 1})
        daemon.http.post("/v1/chat/completions", json={**CHAT, "model": "other"}).raise_for_status()
        found = fit(daemon, "tiny", context=8192)
        assert (found["fits"], found["evicts"]) == ("evicting", ["other"])
        assert "other would have to make room" in found["sentence"]
        assert found["longest_context"] == 8192
        ann = Member(daemon, "ann", may=["view_llms"], models=["tiny"])
        with ann.http:
            hidden = ann.http.get("/runnerd/fit", params={"model": "tiny", "context": 8192})
        assert hidden.json()["evicts"] == ["other models"]  # not what she was not granted
        assert "other models would have to make room" in hidden.json()["sentence"]
        settings.write_text(f"memory_share = {{ram = {share * need / long['need'] / 2}}}")
        daemon.reload()
        found = fit(daemon, "tiny", context=8192)
        assert (found["fits"], found["evicts"]) == ("no", None)
        assert "more than models can have here" in found["sentence"]
        status, out, _ = runnerd(daemon, "fit", "tiny", "--context", "8192")
        assert status == 1
        assert "more than models can have" in out


def test_before_a_byte_of_the_weights_is_pulled(
    daemon: DaemonProcess, server: FileServer, weights: bytes
) -> None:
    """A model that is elsewhere needs what it will need when it is here, and leaves nothing."""
    url = f"http://{server.host}/m.gguf"
    found = fit(daemon, url)
    assert (found["here"], found["fits"], found["bytes"]) == (False, "now", len(weights))
    assert daemon.http.get("/models").json()[0]["tags"] != ["elsewhere"]
    assert list((daemon.state_dir / "outlines").iterdir()) == []
    same = fit(daemon, "tiny")
    assert found["need"].keys() == same["need"].keys()
    assert found["longest_context"] == 8192
    assert abs(found["need"]["ram"] - same["need"]["ram"]) < 4 * 2**20
    status, out, _ = runnerd(daemon, "fit", url)
    assert status == 0
    assert "It is not here; a pull fetches" in out


def test_who_may_ask(daemon: DaemonProcess, server: FileServer) -> None:
    """Of models elsewhere who may download, of models here who may see them."""
    url = f"http://{server.host}/m.gguf"
    ann = Member(daemon, "ann", may=["view_llms"])
    ben = Member(daemon, "ben", may=["view_llms", "download_llm"], models=["tiny"])
    asks = [(ann, "tiny", 200), (ann, url, 403), (ben, "tiny", 200), (ben, "other", 403)]
    for member, model, status in asks:
        response = member.http.get("/runnerd/fit", params={"model": model})
        assert response.status_code == status, response.text
        member.http.close() if (member, model) in ((ann, url), (ben, "other")) else None
    for query in ({}, {"model": "tiny", "context": "0"}, {"model": "tiny", "mode": "odd"}):
        assert daemon.http.get("/runnerd/fit", params=query).status_code == 400
