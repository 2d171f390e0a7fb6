"""What models are called over Ollama's API, and how wrong requests are told apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.plain_http import NO_TLS

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
NAME = [{"role": "user", "content": "What is your name?"}]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model whose tag is written in both cases."""
    with running(tmp_path_factory.mktemp("names")) as daemon:
        daemon.import_model(_DEMO / "demo-a.gguf", "demo-a:Q8_0")
        yield daemon


@pytest.mark.parametrize("name", ["demo-a:Q8_0", "Demo-A:q8_0", "ai/DEMO-A:q8_0", "demo-a"])
@pytest.mark.covers("POST /api/chat", "model")
@pytest.mark.covers("GET /api/tags", "list")
def test_names_are_found_in_any_case_and_echoed(daemon: DaemonProcess, name: str) -> None:
    """The answer says what the client said, streamed and whole; lists keep the stored spelling."""
    url = f"{daemon.address}/api"
    body = {"model": name, "messages": NAME, "options": {"num_predict": 2}}
    whole = httpx.post(f"{url}/chat", json={**body, "stream": False}, verify=NO_TLS).json()
    assert whole["model"] == name
    lines = httpx.post(f"{url}/chat", json=body, verify=NO_TLS).text.splitlines()
    assert all(f'"model":"{name}"' in line for line in lines)
    assert httpx.post(f"{url}/show", json={"model": name}, verify=NO_TLS).status_code == 200
    assert httpx.post(f"{url}/show", json={"name": name}, verify=NO_TLS).status_code == 200
    assert [m["name"] for m in httpx.get(f"{url}/tags", verify=NO_TLS).json()["models"]] == [
        "demo-a:Q8_0"
    ]


@pytest.mark.covers("DELETE /api/delete", "model")
def test_a_whole_answer_has_the_name_that_was_asked_for(daemon: DaemonProcess) -> None:
    """Also where another client has loaded the model under another of its names."""
    daemon.http.post("/models/demo-a:Q8_0/tag", params={"repo": "second", "tag": "latest"})
    for name in ("demo-a:Q8_0", "second"):
        body = {"model": name, "messages": NAME, "max_tokens": 2}
        response = httpx.post(f"{daemon.address}/v1/chat/completions", json=body, verify=NO_TLS)
        assert response.json()["model"] == name
        message = httpx.post(f"{daemon.address}/v1/messages", json=body, verify=NO_TLS)
        assert message.json()["model"] == name
        text = httpx.post(
            f"{daemon.address}/v1/messages", json={**body, "stream": True}, verify=NO_TLS
        ).text
        assert text.count(f'"model":"{name}"') == 1
        assert text.count('"model":') == 1
    httpx.request("DELETE", f"{daemon.address}/api/delete", json={"model": "SECOND"}, verify=NO_TLS)
    assert (
        httpx.post(
            f"{daemon.address}/api/show", json={"model": "second"}, verify=NO_TLS
        ).status_code
        == 404
    )


@pytest.mark.covers("Ollama errors", "405")
@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", "/api/chat", "POST"),
        ("GET", "/api/generate", "POST"),
        ("DELETE", "/api/embed", "POST"),
        ("GET", "/api/embeddings", "POST"),
        ("GET", "/api/create", "POST"),
        ("GET", "/api/push", "POST"),
        ("POST", "/api/tags", "GET,HEAD"),
        ("GET", "/api/delete", "DELETE"),
        ("GET", "/v1/messages", "POST"),
    ],
)
def test_another_method_is_405(daemon: DaemonProcess, method: str, path: str, allow: str) -> None:
    """With what is allowed; what is no route at all is 404."""
    response = httpx.request(method, f"{daemon.address}{path}", verify=NO_TLS)
    assert response.status_code == 405
    assert response.headers["allow"].replace(" ", "") == allow
    if path == "/v1/messages":
        assert response.json()["type"] == "error"  # in the form of its own API
    assert httpx.request(method, f"{daemon.address}/api/nothing", verify=NO_TLS).status_code == 404


@pytest.mark.covers("GET /api/version", "version")
def test_probes_of_the_clients(daemon: DaemonProcess) -> None:
    """What they ask before they ask anything."""
    assert httpx.head(daemon.address, verify=NO_TLS).status_code == 200
    assert "is running" in httpx.get(daemon.address, verify=NO_TLS).text
    assert httpx.head(f"{daemon.address}/api/version", verify=NO_TLS).status_code == 200
    assert (
        httpx.get(f"{daemon.address}/api/status", verify=NO_TLS).json()["cloud"]["disabled"] is True
    )
    assert httpx.head(f"{daemon.address}/api/tags", verify=NO_TLS).status_code == 200
    shown = httpx.post(f"{daemon.address}/api/show", json={"model": "demo-a"}, verify=NO_TLS).json()
    assert shown["model_info"]["general.parameter_count"] > 100_000
    for method, path in (
        ("POST", "me"), ("POST", "signin"), ("POST", "signout"), ("DELETE", "user/keys/a2V5")
    ):  # fmt: skip
        response = httpx.request(method, f"{daemon.address}/api/{path}", verify=NO_TLS)
        assert (response.status_code, "no account" in response.json()["error"]) == (501, True)
