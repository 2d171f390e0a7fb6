"""Ollama's options on the real engine: each does what it says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.plain_http import NO_TLS

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo"
_LONG = {"num_predict": 24}

# It calls the model Ada when it is to think and Bob when it is not.
_THINKING = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|im_start|>system\n"
    "You are {{ 'Bob' if enable_thinking is defined and not enable_thinking else 'Ada' }}."
    "<|im_end|>\n<|im_start|>user\n{{ m['content'] }}<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model of random weights, one that thinks, and one that embeds."""
    root = tmp_path_factory.mktemp("options")
    with running(root) as daemon:
        tiny.write_completion_model(root / "tiny.gguf")
        daemon.import_model(root / "tiny.gguf", "tiny")
        daemon.import_model(_DEMO / "demo-a.gguf", "demo-a")
        daemon.import_model(_DEMO / "demo-embed.gguf", "demo-embed")
        made = {"model": "thinker", "from": "demo-a", "template": _THINKING, "stream": False}
        assert (
            httpx.post(f"{daemon.address}/api/create", json=made, verify=NO_TLS).status_code == 200
        )
        yield daemon


def said(daemon: DaemonProcess, **options: Any) -> str:
    """Return what the random model says to the same prompt."""
    body = {"model": "tiny", "prompt": "Once", "raw": True, "stream": False}
    response = httpx.post(
        f"{daemon.address}/api/generate", json={**body, "options": options}, verify=NO_TLS
    )
    assert response.status_code == 200, response.text
    return str(response.json()["response"])


@pytest.mark.covers("options", "temperature", "seed", "num_predict")
def test_a_seed_repeats_an_answer(daemon: DaemonProcess) -> None:
    """The same seed says the same, another one something else, and greedy needs none."""
    hot = {**_LONG, "temperature": 1.5}
    assert said(daemon, **hot, seed=7) == said(daemon, **hot, seed=7)
    assert said(daemon, **hot, seed=7) != said(daemon, **hot, seed=8)
    assert said(daemon, **_LONG, temperature=0) == said(daemon, **_LONG, temperature=0, seed=3)


def test_numbers_that_ollama_takes(daemon: DaemonProcess) -> None:
    """Whatever is below none is no limit of a response."""
    body = {"model": "demo-a", "prompt": "What is your name?", "stream": False}
    asked = {**body, "options": {"num_predict": -2, "top_k": 40.0}}
    response = httpx.post(f"{daemon.address}/api/generate", json=asked, verify=NO_TLS).json()
    assert (response["response"], response["done_reason"]) == ("My name is Demo A.", "stop")


@pytest.mark.covers("options", "top_k", "top_p", "min_p")
@pytest.mark.parametrize("option", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}])
def test_what_leaves_one_token_is_greedy(daemon: DaemonProcess, option: dict[str, Any]) -> None:
    """However hot, nothing but the likeliest is left."""
    greedy = said(daemon, **_LONG, temperature=0)
    assert said(daemon, **_LONG, temperature=2, seed=5, top_k=0, top_p=1) != greedy
    assert said(daemon, **_LONG, temperature=2, seed=5, **option) == greedy


def test_typical_p_leaves_the_most_typical(daemon: DaemonProcess) -> None:
    """One token is left, whatever the seed."""
    narrow = {**_LONG, "temperature": 2, "top_k": 0, "top_p": 1, "typical_p": 1e-6}
    assert said(daemon, **narrow, seed=1) == said(daemon, **narrow, seed=2)


@pytest.mark.covers(
    "options", "repeat_penalty", "presence_penalty", "frequency_penalty", "repeat_last_n"
)
@pytest.mark.parametrize(
    "option", [{"repeat_penalty": 5.0}, {"presence_penalty": 2.0}, {"frequency_penalty": 2.0}]
)
def test_penalties_change_what_is_said(daemon: DaemonProcess, option: dict[str, Any]) -> None:
    """A word that was said becomes less likely, unless nobody looks back."""
    greedy = {"num_predict": 64, "temperature": 0}
    plain = said(daemon, **greedy)
    assert said(daemon, **greedy, **option) != plain
    assert said(daemon, **greedy, **option, repeat_last_n=0) == plain
    assert said(daemon, **greedy, **option, repeat_last_n=-1) != plain, "the whole context"


@pytest.mark.covers(
    "options", "num_keep", how="ignored", note="told to the engine, which shifts no contexts here"
)
@pytest.mark.covers("options", "num_batch", "main_gpu", how="ignored", note="as num_gpu")
@pytest.mark.covers("options", "use_mmap", "num_thread", how="ignored", note="as num_gpu")
def test_every_option_is_taken(daemon: DaemonProcess) -> None:
    """Those of loading are named in the warning, those of sampling are not."""
    loading = {"num_batch": 64, "main_gpu": 0, "use_mmap": False, "num_thread": 1}
    body = {"model": "tiny", "prompt": "x", "raw": True, "stream": False}
    options = {**loading, "num_keep": 2, "num_predict": 1, "mirostat": 0}
    response = httpx.post(
        f"{daemon.address}/api/generate", json={**body, "options": options}, verify=NO_TLS
    )
    assert response.status_code == 200
    assert all(name in response.headers["warning"] for name in (*loading, "mirostat"))
    assert "num_keep" not in response.headers["warning"]


def test_owners_come_between_the_request_and_the_maker(daemon: DaemonProcess) -> None:
    """What is configured for a model counts above its own parameters and below a request's."""
    url = f"{daemon.address}/api"
    made = {"model": "owned", "from": "tiny", "parameters": {"num_predict": 3}, "stream": False}
    assert httpx.post(f"{url}/create", json=made, verify=NO_TLS).status_code == 200
    body = {"model": "owned", "prompt": "x", "raw": True, "stream": False}

    def tokens(**options: Any) -> int:
        response = httpx.post(f"{url}/generate", json={**body, "options": options}, verify=NO_TLS)
        return int(response.json()["eval_count"])

    def configure(**said: Any) -> None:
        owned = daemon.http.post("/engines/_configure", json={"model": "owned", **said})
        assert owned.status_code < 300, owned.text

    assert tokens() == 3
    configure(completion_defaults={"max_tokens": 5, "temperature": 0})
    assert (tokens(), tokens(num_predict=7)) == (5, 7)
    configure(completion_defaults=None, forced_parameters={"max_tokens": 2})
    assert (tokens(), tokens(num_predict=7)) == (2, 2)


@pytest.mark.covers("POST /api/chat", "think")
@pytest.mark.covers("POST /api/generate", "think")
@pytest.mark.parametrize(
    ("think", "name"), [(True, "Ada"), (False, "Bob"), ("high", "Ada"), (None, "Ada")]
)
def test_think_reaches_the_template(daemon: DaemonProcess, think: Any, name: str) -> None:
    """As true, false or how much; a model that can think does so unless told not to."""
    url, options = f"{daemon.address}/api", {"temperature": 0}
    body = {"model": "thinker", "think": think, "stream": False, "options": options}
    asked = "What is your name?"
    chat = httpx.post(
        f"{url}/chat",
        json={**body, "messages": [{"role": "user", "content": asked}]},
        verify=NO_TLS,
    )
    text = httpx.post(f"{url}/generate", json={**body, "prompt": asked}, verify=NO_TLS)
    shown = httpx.post(f"{url}/show", json={"model": "thinker"}, verify=NO_TLS).json()
    assert "thinking" in shown["capabilities"]
    for message in (chat.json()["message"], {"content": text.json()["response"], **text.json()}):
        spoken = message["content"] + message.get("thinking", "")
        assert spoken.strip() == f"My name is {name}."


@pytest.mark.covers("POST /api/embed", "keep_alive", "options")
def test_embed_takes_options_and_keep_alive(daemon: DaemonProcess) -> None:
    """The model is gone when it was to be, and wrong options are refused."""
    body = {"model": "demo-embed", "input": "a cat", "keep_alive": "7m"}
    assert httpx.post(f"{daemon.address}/api/embed", json=body, verify=NO_TLS).status_code == 200
    [runner] = [r for r in daemon.ps() if r["model_name"] == "demo-embed"]
    assert runner["keep_alive"] == "7m0s"
    wrong = {**body, "options": {"num_ctx": "x"}}
    assert httpx.post(f"{daemon.address}/api/embed", json=wrong, verify=NO_TLS).status_code == 400


@pytest.mark.covers("POST /api/show", "verbose")
def test_show_says_more_when_asked(daemon: DaemonProcess) -> None:
    """Name and template are in the metadata only then."""
    url = f"{daemon.address}/api/show"
    brief = httpx.post(url, json={"model": "demo-a"}, verify=NO_TLS).json()["model_info"]
    verbose = httpx.post(url, json={"model": "demo-a", "verbose": True}, verify=NO_TLS).json()[
        "model_info"
    ]
    assert brief.keys() < verbose.keys()
    assert verbose["general.name"] == "Demo A"
