"""OpenAI's text completions where the engine has no such thing: `suffix` and `echo`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.clients import openai_client
from tests.support.daemon import DaemonProcess, running
from tests.support.ggufs import write_coder

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
_ASKED: dict[str, Any] = {"max_tokens": 4, "temperature": 0, "seed": 1}
_BETWEEN: dict[str, Any] = {"model": "coder", "prompt": "def add(", "suffix": "return c", **_ASKED}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a demo model and one that fills in the middle."""
    root = tmp_path_factory.mktemp("completions")
    write_coder(root / "coder.gguf")
    with running(root) as daemon:
        daemon.import_model(_DEMO / "demo-a.gguf", "demo-a")
        daemon.import_model(root / "coder.gguf", "coder")
        yield daemon


@pytest.fixture
def client(daemon: DaemonProcess) -> Iterator[openai.OpenAI]:
    """The client on the daemon's port."""
    with openai_client(daemon) as client:
        yield client


def streamed(client: openai.OpenAI, **asked: Any) -> tuple[dict[int, str], list[Any]]:
    """Return the texts by index, and the chunks."""
    chunks = list(client.completions.create(stream=True, **asked))
    texts: dict[int, str] = {}
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    return texts, chunks


@pytest.mark.covers("POST /v1/completions", "suffix", note="for models that fill in the middle")
@pytest.mark.parametrize("answers", [1, 2])
def test_suffix(client: openai.OpenAI, daemon: DaemonProcess, answers: int) -> None:
    """What lies between the two: as Ollama's route says it, whole and streamed, with its counts."""
    whole = client.completions.create(n=answers, **_BETWEEN)
    assert (whole.object, whole.model) == ("text_completion", "coder")
    assert [choice.finish_reason for choice in whole.choices] == ["length"] * answers
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 4 * answers
    assert whole.usage.prompt_tokens > len("def add(return c") - 8
    texts, chunks = streamed(client, n=answers, stream_options={"include_usage": True}, **_BETWEEN)
    assert {choice.index: choice.text for choice in whole.choices} == texts
    assert chunks[-1].usage == whole.usage
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    told = {"prompt": "def add(", "suffix": "return c", "stream": False, "model": "coder"}
    options = {"num_predict": 4, "temperature": 0, "seed": 1, "repeat_penalty": 1.0}
    other = daemon.http.post("/api/generate", json={**told, "options": options}).json()
    assert texts[0] == other["response"]


def test_suffix_stops(client: openai.OpenAI) -> None:
    """At a word, which may be given without a list; no counts are told to who did not ask."""
    [text] = streamed(client, **_BETWEEN)[0].values()
    cut, chunks = streamed(client, **{**_BETWEEN, "stop": text[-1]})
    assert cut[0] == text[: text.index(text[-1])]
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"model": "demo-a"}, "does not support insert"),
        ({"prompt": ["a", "b"]}, "one text"),
        ({"suffix": 3}, "one text"),
        ({"echo": True}, "echo"),
        ({"logprobs": 0}, "logprobs"),
    ],
)
def test_suffix_needs(client: openai.OpenAI, more: dict[str, Any], message: str) -> None:
    """A model that can, and what goes with it."""
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=message):
            client.completions.create(**{**_BETWEEN, **more, "stream": stream})


@pytest.mark.covers("POST /v1/completions", "echo", note="of texts, without `logprobs`")
@pytest.mark.parametrize("prompt", ["My name", ["My name", "Who are"]])
@pytest.mark.parametrize("answers", [1, 2])
def test_echo(client: openai.OpenAI, prompt: Any, answers: int) -> None:
    """The prompt comes in front of each of its responses, once, whole and streamed."""
    asked: dict[str, Any] = {"model": "demo-a", "prompt": prompt, "n": answers, **_ASKED}
    prompts = [prompt] if isinstance(prompt, str) else prompt
    plain = client.completions.create(**asked)
    whole = client.completions.create(echo=True, **asked)
    wanted = {
        choice.index: prompts[choice.index // answers] + choice.text for choice in plain.choices
    }
    assert {choice.index: choice.text for choice in whole.choices} == wanted
    assert streamed(client, echo=True, **asked)[0] == wanted
    assert whole.usage is not None
    assert plain.usage is not None
    assert whole.usage.total_tokens == plain.usage.total_tokens


@pytest.mark.parametrize("more", [{"logprobs": 1}, {"prompt": [40, 41]}])
def test_echo_needs(client: openai.OpenAI, more: dict[str, Any]) -> None:
    """Texts, and no probabilities: nobody tells those of a prompt."""
    asked: dict[str, Any] = {"model": "demo-a", "prompt": "My name", "echo": True, **_ASKED, **more}
    with pytest.raises(openai.BadRequestError, match="echo"):
        client.completions.create(**asked)
