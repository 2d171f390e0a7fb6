"""What a request is granted alone it is granted beside others: its whole context.

Mixes of clients, of prompts from ten tokens to the whole context, with and without `max_tokens`,
streamed or not, in each dialect, on a model of each kind that keeps differently what it has read.
Each request fits its model's context, so each is answered.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.daemon import DaemonProcess, running
from tests.support.kinds import KINDS, Size, write_kind
from tests.support.plain_http import NO_TLS

pytestmark = [
    *(pytest.mark.engine, pytest.mark.long),
    pytest.mark.timeout(600),  # much work, for a busy machine
]

CONTEXT = 1024
LENGTHS = (10, 150, 360, 600, 900, CONTEXT - 40)
_PATIENCE = 500  # seconds
TEMPLATE = 32  # more tokens than the chat template adds


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model of each kind."""
    root = tmp_path_factory.mktemp("promises")
    with running(root / "daemon") as daemon:
        for kind in KINDS:
            write_kind(root / f"{kind}.gguf", kind, context_length=CONTEXT)
            daemon.import_model(root / f"{kind}.gguf", kind)
        yield daemon


def _text(chance: random.Random, tokens: int) -> str:
    """Return a text of so many tokens: letters that no merge of the tokenizer joins."""
    return "".join(chance.choices("bcdfgkmpqv", k=tokens))


def _completion(
    model: str, text: str, most: int | None, stream: bool
) -> tuple[str, dict[str, Any]]:
    body = {"model": model, "prompt": text, "stream": stream}
    return "/v1/completions", body if most is None else body | {"max_tokens": most}


def _chat(model: str, text: str, most: int | None, stream: bool) -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": text[:-TEMPLATE] or "b"}]
    body = {"model": model, "messages": messages, "stream": stream}
    return "/v1/chat/completions", body if most is None else body | {"max_tokens": most}


def _ollama(model: str, text: str, most: int | None, stream: bool) -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": text[:-TEMPLATE] or "b"}]
    options = {} if most is None else {"num_predict": most}
    return "/api/chat", {"model": model, "messages": messages, "stream": stream, "options": options}


def _anthropic(model: str, text: str, most: int | None, stream: bool) -> tuple[str, dict[str, Any]]:
    messages = [{"role": "user", "content": text[:-TEMPLATE] or "b"}]
    body = {"model": model, "messages": messages, "stream": stream, "max_tokens": most or CONTEXT}
    return "/v1/messages", body


DIALECTS = (_completion, _chat, _ollama, _anthropic)


def _together(daemon: DaemonProcess, path: str, bodies: list[dict[str, Any]]) -> list[int]:
    """Send requests all at once; return their statuses."""
    statuses: list[int] = []

    def ask(body: dict[str, Any]) -> None:
        with daemon.client() as client:
            client.timeout = httpx.Timeout(_PATIENCE)
            statuses.append(client.post(path, json=body).status_code)

    threads = [threading.Thread(target=ask, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


class Crowd:
    """Clients that each send some requests, and what came of them."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self._daemon = daemon
        self._lock = threading.Lock()
        self.answers: Counter[str] = Counter()

    def run(self, model: str, clients: int, requests: int) -> None:
        """Let clients send as many requests each, all at once; wait for the last response."""
        threads = [
            threading.Thread(target=self._client, args=(model, number, requests))
            for number in range(clients)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _client(self, model: str, number: int, requests: int) -> None:
        chance = random.Random(f"{model} {number}")
        with self._daemon.client() as client:
            client.timeout = httpx.Timeout(_PATIENCE)
            for _ in range(requests):
                length = chance.choice(LENGTHS)
                most = None if length >= LENGTHS[-2] or chance.random() < 0.02 else 40
                write = chance.choice(DIALECTS)
                path, body = write(model, _text(chance, length), most, chance.random() < 0.5)
                said = _outcome(client.post(path, json=body))
                with self._lock:
                    self.answers[said] += 1


def _outcome(response: httpx.Response) -> str:
    """Say in one word that a request was answered, else how not."""
    if response.status_code == 200 and '"error"' not in response.text:
        return "answered"
    return f"{response.status_code}: {response.text[-200:]}"


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_fits_alone_is_answered_beside_others(daemon: DaemonProcess, kind: str) -> None:
    """Mixes of 1 to 32 clients; nobody fails for what others ask."""
    crowd = Crowd(daemon)
    for clients, requests in ((1, 2), (2, 3), (5, 2), (32, 1)):
        crowd.run(kind, clients, requests)
    assert crowd.answers == {"answered": 2 + 6 + 10 + 32}


def test_texts_for_embeddings_do_not_fail_each_other(daemon: DaemonProcess) -> None:
    """A chat model that makes vectors keeps its texts for a while, too."""
    chance = random.Random(0)
    texts = [_text(chance, chance.choice(LENGTHS)) for _ in range(24)]
    bodies: list[dict[str, Any]] = [{"model": "llama", "input": text} for text in texts]
    assert _together(daemon, "/v1/embeddings", bodies) == [200] * 24


def test_who_does_not_fit_is_told_so_and_disturbs_nobody(daemon: DaemonProcess) -> None:
    """Longer than the context: a 400, beside others as alone; who asks for more tokens than are
    left gets as many as there are.
    """
    chance = random.Random(0)
    crowd = Crowd(daemon)
    others = threading.Thread(target=crowd.run, args=("llama", 6, 2))
    others.start()
    with daemon.client() as client:
        for write in DIALECTS:
            path, body = write("llama", _text(chance, CONTEXT + 2 * TEMPLATE), 8, False)
            assert client.post(path, json=body).status_code == 400, path
        path, body = _completion("llama", _text(chance, CONTEXT - 48), CONTEXT, False)
        choice = client.post(path, json=body | {"ignore_eos": True}).json()["choices"][0]
    others.join()
    assert choice["finish_reason"] == "length"
    assert crowd.answers == {"answered": 12}


def test_each_of_several_prompts_has_its_context(daemon: DaemonProcess) -> None:
    """Prompts of one request, and several responses to one prompt, each take a slot."""
    chance = random.Random(1)
    prompts = [_text(chance, 600) for _ in range(4)]
    asked = {"model": "llama", "max_tokens": 40}
    bodies = [asked | {"prompt": prompts}] * 3 + [asked | {"prompt": prompts[0], "n": 2}] * 3
    assert _together(daemon, "/v1/completions", bodies) == [200] * 6


def test_what_is_shown_is_what_is_reserved(daemon: DaemonProcess) -> None:
    """`ps` tells how many requests at once, at what context each; the engine was told the same."""
    body = {"model": "llama", "prompt": "b", "max_tokens": 1}
    assert daemon.http.post("/v1/completions", json=body).status_code == 200
    [runner] = [r for r in daemon.ps() if "llama" in r["model_name"] and r["mode"] == "completion"]
    assert (runner["slots"], runner["context"]) == (4, CONTEXT)
    argv = next(e.cmdline() for e in daemon.engines() if runner["model_name"] in e.cmdline())
    assert argv[argv.index("--ctx-size") + 1] == str(4 * CONTEXT)
    with httpx.Client(
        transport=httpx.HTTPTransport(
            uds=runner["socket"].replace(".sock", "/e.sock"), verify=NO_TLS
        )
    ) as engine:
        slots = json.loads(engine.get("http://engine/slots").text)
    assert [slot["n_ctx"] for slot in slots] == [CONTEXT] * 4


def test_where_memory_is_short_there_are_fewer_slots(tmp_path: Path) -> None:
    """Each with the whole context all the same; what an owner asks for is a promise,
    and refused where it cannot be had.
    """
    limit = 400 * 2**20  # beside the engine room for two contexts of 128 MiB, not for three
    share = limit / psutil.virtual_memory().total
    wide = 32768
    size = Size(width=256, blocks=4, heads=8, feed_forward=512)
    env = {"RUNNERD_MEMORY_SHARE": json.dumps({"ram": share})}
    with running(tmp_path / "daemon", env=env) as daemon:
        write_kind(tmp_path / "m.gguf", "llama", context_length=wide, size=size)
        daemon.import_model(tmp_path / "m.gguf", "m")
        daemon.http.post("/engines/_configure", json={"model": "m", "context-size": wide})
        body = {"model": "m", "prompt": "b" * 300, "max_tokens": 8}
        assert _together(daemon, "/v1/completions", [body] * 5) == [200] * 5
        [runner] = daemon.ps()
        assert (runner["slots"], runner["context"]) == (2, wide)
        assert runner["memory_reserved"]["ram"] <= limit
        daemon.http.post("/engines/unload", json={"all": True})
        refused = daemon.http.post("/models/m/configure", json={"parallel": 3})
        assert (refused.status_code, "would need" in refused.text) == (400, True)
        daemon.http.post("/models/m/configure", json={"parallel": 1})
        assert _together(daemon, "/v1/completions", [body] * 3) == [200] * 3
        assert [runner["slots"] for runner in daemon.ps()] == [1]
