"""The real engine on one thread: what keeps it busy for ever is ended, what takes long is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.kinds import Size, write_kind
from tests.support.schemas import beyond_help

pytestmark = [
    *(pytest.mark.engine, pytest.mark.long),
    pytest.mark.timeout(600),  # much work, for a busy machine
]

HANG_TIMEOUT = 2  # seconds
CONTEXT = 8192
SLOW = Size(width=256, blocks=8, heads=4, feed_forward=256)  # small, and slow with a long context
DOUBLES = 'root ::= "x" root "y" | "x" root "z"'
"""Begins in two ways only, and has twice as many after each character."""
HIDDEN = "\n".join(
    [
        "root ::= word again",
        "word ::= " + " | ".join(f'"w{number}"' for number in range(3000)),
        DOUBLES.replace("root", "again"),
    ]
)
"""The same behind so many words that what is looked at beforehand ends within them."""


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gguf")
    tiny.write_completion_model(folder / "tiny.gguf")
    write_kind(folder / "slow.gguf", "llama", context_length=CONTEXT, size=SLOW)
    return folder


@pytest.fixture
def daemon(tmp_path: Path, gguf: Path) -> Iterator[DaemonProcess]:
    """A daemon whose engines have one thread, and that notices a hang after two seconds."""
    settings = {"llama.cpp": {"threads": 1, "stop_grace": 0.5}}
    env = {"RUNNERD_HANG_TIMEOUT": str(HANG_TIMEOUT), "RUNNERD_BACKENDS": json.dumps(settings)}
    with running(tmp_path, env=env) as daemon:
        for name in ("tiny", "slow"):
            daemon.import_model(gguf / f"{name}.gguf", name)
        yield daemon


def test_a_grammar_that_doubles_is_a_hang(daemon: DaemonProcess) -> None:
    """One that is found is refused; one that passes every check is told, the engine replaced, and
    others are served.
    """
    short = {"model": "tiny", "prompt": "hello", "max_tokens": 1}
    assert daemon.http.post("/v1/completions", json=short).status_code == 200
    [engine] = daemon.engines()
    found = daemon.http.post("/v1/completions", json=short | {"grammar": DOUBLES})
    assert found.status_code == 400, found.text
    assert engine.is_running()
    hangs = short | {"max_tokens": 100, "grammar": HIDDEN}
    response = daemon.http.post("/v1/completions", json=hangs)
    assert response.status_code == 504, response.text
    assert "hang_timeout" in response.json()["error"]["message"]
    assert daemon.http.post("/v1/completions", json=short).status_code == 200
    assert not engine.is_running()


def test_a_schema_that_doubles_is_refused(daemon: DaemonProcess) -> None:
    """Before an engine sees it, unless another order of members helps, or to allow more, which is
    told; a few levels, and whatever refers twice to the next, it answers.
    """
    request = {"model": "tiny", "prompt": "hello", "max_tokens": 150, "temperature": 0}

    def chain(levels: int, twice: bool, names: str = "yy") -> dict[str, object]:
        def made(inner: dict[str, object], last: str, kind: str = "null") -> dict[str, object]:
            named = {"x": inner, last: inner if not twice else {"type": kind}}
            return {"type": "object", "properties": named, "required": list(named)}

        defs: dict[str, object] = {f"a{levels}": {"type": "string"}}
        for level in range(levels):
            inner: dict[str, object] = {"$ref": f"#/$defs/a{level + 1}"}
            alike = {"anyOf": [made(inner, names[0]), made(inner, names[1], "number")]}
            defs[f"a{level}"] = alike if twice else made(inner, "y")
        return {"$ref": "#/$defs/a0", "$defs": defs}

    told_apart, alike = chain(14, twice=True, names="yz"), chain(14, twice=True)
    told = {"reordered": told_apart, "": chain(7, twice=True)}
    for words, schema in [*told.items(), ("", chain(40, twice=False)), ("reordered", alike)]:
        answered = daemon.http.post("/v1/completions", json=request | {"json_schema": schema})
        assert answered.status_code == 200, answered.text
        assert words in answered.headers.get("warning", ""), words
    [engine] = daemon.engines()
    refused = daemon.http.post("/v1/completions", json=request | {"json_schema": beyond_help()})
    assert refused.status_code == 400, refused.text
    assert "json_schema unfolds too far" in refused.json()["error"]["message"]
    assert engine.is_running()


def test_a_batch_that_takes_long_is_no_hang(daemon: DaemonProcess) -> None:
    """A prompt of thousands of tokens in one batch, of an engine that computes in one thread."""
    flags = ["--batch-size", str(CONTEXT), "--parallel", "1"]
    document = {"model": "slow", "context-size": CONTEXT, "runtime-flags": flags}
    configured = daemon.http.post("/engines/_configure", json=document)
    assert configured.status_code < 300, configured.text
    request = {"model": "slow", "prompt": "hq zk " * 1333, "max_tokens": 2}
    response = daemon.http.post("/v1/completions", json=request)
    assert response.status_code == 200, response.text
    assert response.json()["usage"]["prompt_tokens"] > CONTEXT * 0.9
    assert response.json()["timings"]["prompt_ms"] > 1000 * HANG_TIMEOUT, "no test of this"
    assert "hang_timeout" not in daemon.text()
