"""The official OpenAI client for Python, unmodified, against a running daemon."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a chat model and an embedding model."""
    root = tmp_path_factory.mktemp("daemon")
    tiny.write_completion_model(root / "tiny.gguf")
    tiny.write_embedding_model(root / "embed.gguf")
    with running(root) as daemon:
        daemon.import_model(root / "tiny.gguf", "tiny")
        daemon.import_model(root / "embed.gguf", "embed")
        yield daemon


@pytest.fixture(params=["/engines/v1", "/v1"])
def client(request: pytest.FixtureRequest, daemon: DaemonProcess) -> Iterator[openai.OpenAI]:
    """A client with each of the base URLs that people use."""
    with openai.OpenAI(base_url=daemon.address + request.param, api_key="unused") as client:
        yield client


def test_chat(client: openai.OpenAI) -> None:
    """A chat completion with text and usage."""
    answer = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Hi"}], max_tokens=5
    )
    assert answer.choices[0].message.role == "assistant"
    assert answer.usage is not None
    assert answer.usage.completion_tokens > 0


def test_chat_stream(client: openai.OpenAI) -> None:
    """A streamed chat completion ends with a reason, and the usage that was asked for."""
    stream = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "Hi"}],
        max_tokens=5,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices]
    assert reasons[-1] in ("length", "stop")
    assert chunks[-1].usage is not None


def test_completion(client: openai.OpenAI) -> None:
    """The older completion route."""
    answer = client.completions.create(model="tiny", prompt="Once", max_tokens=5)
    assert answer.choices[0].finish_reason in ("length", "stop")


def test_embeddings(client: openai.OpenAI) -> None:
    """Embeddings; the client asks for base64 by itself and decodes it."""
    answer = client.embeddings.create(model="embed", input=["a", "b"])
    assert len(answer.data) == 2
    assert all(isinstance(value, float) for value in answer.data[0].embedding)


def test_models(client: openai.OpenAI) -> None:
    """Listing and retrieving models."""
    assert {model.id for model in client.models.list()} == {"ai/tiny:latest", "ai/embed:latest"}
    assert client.models.retrieve("tiny").id == "ai/tiny:latest"


def test_errors_become_the_right_classes(client: openai.OpenAI) -> None:
    """404 and 400 arrive as what the client's users catch."""
    with pytest.raises(openai.NotFoundError, match="nowhere"):
        client.chat.completions.create(model="nowhere", messages=[])
    with pytest.raises(openai.BadRequestError, match="does not support"):
        client.chat.completions.create(model="embed", messages=[{"role": "user", "content": "Hi"}])
