"""People's own clients with a user's key: each tells in its own way what the daemon says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

MESSAGES: Any = [{"role": "user", "content": "x"}]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    root = tmp_path_factory.mktemp("keys")
    tiny.write_completion_model(root / "tiny.gguf")
    with running(root / "daemon") as daemon:
        daemon.import_model(root / "tiny.gguf", "tiny")
        yield daemon


@pytest.fixture
def key_of(daemon: DaemonProcess) -> Iterator[Callable[..., str]]:
    """Add a user, until the end of the test, and return the key."""
    ids: list[str] = []

    def add(**said: Any) -> str:
        made = daemon.http.post("/runnerd/users", json={"name": f"user{len(ids)}", **said}).json()
        ids.append(made["id"])
        return str(made["key"])

    yield add
    for id in ids:
        daemon.http.delete(f"/runnerd/users/{id}").raise_for_status()


@pytest.mark.covers("OpenAI errors", "401", "403", "429")
def test_openai(daemon: DaemonProcess, key_of: Callable[..., str]) -> None:
    """OpenAI's exceptions: authentication, permission, rate limit; a good key is served."""

    def ask(key: str) -> Any:
        client = openai.OpenAI(base_url=f"{daemon.address}/v1", api_key=key, max_retries=0)
        with client:
            return client.chat.completions.create(model="tiny", messages=MESSAGES, max_tokens=1)

    good = key_of(limits={"requests_per_minute": 1})
    assert ask(good).choices
    with pytest.raises(openai.RateLimitError, match="requests_per_minute") as limited:
        ask(good)
    assert int(limited.value.response.headers["retry-after"]) > 0
    with pytest.raises(openai.PermissionDeniedError, match="session"):
        ask(key_of(may=["view_llms"]))
    with pytest.raises(openai.AuthenticationError) as denied:
        ask("w" * 43)
    assert denied.value.code == "unauthorized"


@pytest.mark.covers("Anthropic errors", "401", "403", "429")
def test_anthropic(daemon: DaemonProcess, key_of: Callable[..., str]) -> None:
    """Anthropic's exceptions, which come by x-api-key."""

    def ask(key: str) -> Any:
        with anthropic.Anthropic(base_url=daemon.address, api_key=key, max_retries=0) as client:
            return client.messages.create(model="tiny", messages=MESSAGES, max_tokens=1)

    good = key_of(limits={"requests_per_minute": 1})
    assert ask(good).content is not None
    with pytest.raises(anthropic.RateLimitError, match="requests_per_minute"):
        ask(good)
    with pytest.raises(anthropic.PermissionDeniedError, match="session"):
        ask(key_of(may=["view_llms"]))
    with pytest.raises(anthropic.AuthenticationError, match="authentication_error"):
        ask("w" * 43)


@pytest.mark.covers("Ollama errors", "401", "403", "429")
def test_ollama(
    daemon: DaemonProcess, key_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ollama's client takes its key from OLLAMA_API_KEY."""

    def ask(key: str) -> Any:
        monkeypatch.setenv("OLLAMA_API_KEY", key)
        with ollama.Client(host=daemon.address) as client:
            return client.chat("tiny", MESSAGES, options={"num_predict": 1})

    good = key_of(limits={"requests_per_minute": 1})
    assert ask(good).message
    for key, status, words in (
        (good, 429, "requests_per_minute"),
        (key_of(may=["view_llms"]), 403, "session"),
        ("w" * 43, 401, "key"),
    ):
        with pytest.raises(ollama.ResponseError, match=words) as refused:
            ask(key)
        assert refused.value.status_code == status


def test_a_key_in_no_place_but_heads(daemon: DaemonProcess, key_of: Callable[..., str]) -> None:
    """Neither in the log nor in any file of the daemon."""
    key = key_of()
    with openai.OpenAI(base_url=f"{daemon.address}/v1", api_key=key, max_retries=0) as client:
        client.models.list()
    files = [path for path in Path(daemon.state_dir).rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if key.encode() in path.read_bytes()]
    assert key not in daemon.text()
