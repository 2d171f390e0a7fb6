"""What is remembered of requests that are all alike is forgotten at once when it counts no more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

ASKED = {"model": "embed", "input": "hello"}
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, gguf: Path) -> Iterator[DaemonProcess]:
    """A running daemon with three models."""
    with running(tmp_path_factory.mktemp("plain")) as daemon:
        for name in ("tiny", "embed", "other"):
            daemon.import_model(gguf / f"{name}.gguf", name)
        yield daemon


def embed(client: httpx.Client, **changes: Any) -> httpx.Response:
    return client.post("/v1/embeddings", json={**ASKED, **changes})


def chat(client: httpx.Client, **changes: Any) -> httpx.Response:
    return client.post("/v1/chat/completions", json={**CHAT, **changes})


def asked_often(client: httpx.Client, **changes: Any) -> None:
    """Ask the same again and again on one connection, so that all of it is remembered."""
    for _ in range(4):
        for response in (embed(client, **changes), chat(client)):
            assert response.status_code == 200, response.text


@pytest.fixture
def ann(daemon: DaemonProcess) -> Iterator[httpx.Client]:
    """A user who has asked for a while."""
    with daemon.stranger("ann") as client:
        asked_often(client)
        yield client
    daemon.http.delete("/runnerd/users/ann")


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"may": ["view_llms"]}, 403),
        ({"models": ["ai/other*"]}, 404),
        ({"disabled": True}, 401),
        ({"limits": {"context": 1}}, 429),
        (None, 401),
    ],
    ids=["permissions", "grants", "disabled", "limits", "deleted"],
)
def test_users(
    daemon: DaemonProcess, ann: httpx.Client, changed: dict[str, Any] | None, status: int
) -> None:
    """The very next request of a user counts what was changed."""
    if changed is None:
        response = daemon.http.delete("/runnerd/users/ann")
    else:
        response = daemon.http.post("/runnerd/users/ann", json=changed)
    assert response.is_success, response.text
    for refused in (embed(ann), chat(ann)):
        assert refused.status_code == status, refused.text


def test_two_users(daemon: DaemonProcess, ann: httpx.Client) -> None:
    """What is remembered of one is nothing of another's."""
    with daemon.stranger("bob", models=["ai/other*"]) as bob:
        for _ in range(3):
            assert chat(bob).status_code == 404
            assert chat(ann).status_code == 200
    daemon.http.delete("/runnerd/users/bob")


def last_model(daemon: DaemonProcess) -> str:
    """The id of the model that was asked last."""
    return str(daemon.http.get("/engines/requests").json()[-1]["model"])


def test_models(daemon: DaemonProcess, gguf: Path) -> None:
    """A name that is gone means nothing, and one that is given to another model means that."""
    with daemon.client() as client:
        before = daemon.import_model(gguf / "tiny.gguf", "named")["id"]
        for _ in range(4):
            assert chat(client, model="named").status_code == 200
        assert last_model(daemon) == before
        daemon.http.delete("/models/named").raise_for_status()
        assert chat(client, model="named").status_code == 404
        after = daemon.import_model(gguf / "other.gguf", "named")["id"]
        assert after != before
        for _ in range(2):
            assert chat(client, model="named").status_code == 200
        assert last_model(daemon) == after


def test_configuration_and_runners(daemon: DaemonProcess) -> None:
    """Another configuration is another engine, and a runner that has ended is started anew."""

    def starts() -> int:
        return daemon.text().count(": starting /")

    with daemon.client() as client:
        asked_often(client)
        before = starts()
        changed = {"model": "embed", "parallel": 2}
        configured = daemon.http.post("/engines/_configure", json=changed)
        assert configured.status_code == 202, configured.text
        for _ in range(2):
            assert embed(client).status_code == 200
        assert starts() == before + 1
        [engine] = [each for each in daemon.engines() if "--embeddings" in each.cmdline()]
        assert "--parallel 2 " in " ".join(engine.cmdline())
        daemon.http.post("/engines/unload", json={"all": True}).raise_for_status()
        asked_often(client)
        assert starts() == before + 3


def test_parameters_of_a_configuration(daemon: DaemonProcess) -> None:
    """A plain request is plain no more for a model that has parameters of its own."""
    with daemon.client() as client:
        asked_often(client)
        made = daemon.http.post(
            "/api/create",
            json={"model": "brief", "from": "tiny", "parameters": {"num_predict": 2}},
        )
        assert made.status_code == 200, made.text
        free = {"max_tokens": None}
        assert chat(client, model="brief", **free).json()["usage"]["completion_tokens"] <= 2
        made = daemon.http.post(
            "/api/create",
            json={"model": "brief", "from": "tiny", "parameters": {"num_predict": 1}},
        )
        assert made.status_code == 200, made.text
        assert chat(client, model="brief", **free).json()["usage"]["completion_tokens"] == 1
