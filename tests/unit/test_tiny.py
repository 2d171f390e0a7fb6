"""The tiny models are the same every time, and a real llama.cpp serves them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runnerd.models import tiny
from runnerd.models.gguf import read_header
from tests.support.builds import real_server

SECONDS = 60.0  # patience with the engine


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    """Models are reproducible, and another seed makes another model of the same size."""
    a, b, c = (tmp_path / name for name in ("a.gguf", "b.gguf", "c.gguf"))
    tiny.write_completion_model(a)
    tiny.write_completion_model(b)
    tiny.write_completion_model(c, seed=1)
    assert a.read_bytes() == b.read_bytes() != c.read_bytes()
    assert a.stat().st_size == c.stat().st_size < 600_000


def test_options(tmp_path: Path) -> None:
    """Name, context length and template are written as asked."""
    path = tmp_path / "x.gguf"
    tiny.write_completion_model(path, name="other", context_length=77, chat_template=None)
    header = read_header(path)
    assert header.text("general.name") == "other"
    assert header.number("llama.context_length") == 77
    assert "tokenizer.chat_template" not in header.metadata


def test_the_byte_alphabet() -> None:
    """256 different characters stand for the bytes; llama.cpp aborts on a repeated one."""
    alphabet = tiny.byte_alphabet()
    assert len(set(alphabet)) == 256
    assert (alphabet[ord("a")], alphabet[ord(" ")], alphabet[0]) == ("a", "Ġ", "Ā")


def test_shards(tmp_path: Path) -> None:
    """A split model's files are numbered and hold all tensors together."""
    shards = [read_header(path) for path in tiny.write_sharded_model(tmp_path)]
    assert [shard.number("split.no") for shard in shards] == [0, 1, 2]
    assert {shard.number("split.count") for shard in shards} == {3}
    assert sum(len(shard.tensors) for shard in shards) == shards[0].number("split.tensors.count")


def test_the_daemon_is_spared_numpy() -> None:
    """Importing the module loads neither numpy nor gguf."""
    check = "import sys, runnerd.models.tiny; print(sorted({'numpy', 'gguf'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# served for real


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(str(self._path))


class Server:
    """A running llama-server."""

    def __init__(self, path: Path, process: subprocess.Popen[bytes]) -> None:
        self._path = path
        self._process = process

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """Send a request and return its status and JSON."""
        with contextlib.closing(UnixConnection(self._path)) as connection:
            connection.request(method, path, json.dumps(body))
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def wait_ready(self) -> None:
        """Wait until the model is loaded."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError):
                if self.ask("GET", "/health")[0] == 200:
                    return
            time.sleep(0.02)
        pytest.fail("llama-server did not become ready")


@contextlib.contextmanager
def served(model: Path, *flags: str) -> Iterator[Server]:
    """Serve a model with the native llama-server."""
    engine = real_server()
    with tempfile.TemporaryDirectory(prefix="rd") as folder:  # a short path for the socket
        path = Path(folder, "s.sock")
        command = [
            str(engine),
            "-m",
            str(model),
            "--host",
            str(path),
            "-t",
            "1",
            "-np",
            "1",
            *flags,
        ]
        log = Path(folder, "log")
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=output, env={"PATH": os.defpath}
            )
        try:
            server = Server(path, process)
            server.wait_ready()
            yield server
        finally:
            process.terminate()
            process.wait(SECONDS)


@pytest.mark.engine
def test_a_completion_model_is_served(tmp_path: Path) -> None:
    """It chats: as many tokens as asked for, in printable ASCII, the same at temperature 0."""
    tiny.write_completion_model(tmp_path / "m.gguf")
    question = {
        "messages": [{"role": "user", "content": "Hello ü\n"}],
        "max_tokens": 30,
        "temperature": 0,
    }
    with served(tmp_path / "m.gguf") as server:
        answers = [server.ask("POST", "/v1/chat/completions", question) for _ in range(2)]
    for status, answer in answers:
        assert status == 200
        assert answer["usage"]["completion_tokens"] == 30
        assert answer["choices"][0]["finish_reason"] == "length"
        content = answer["choices"][0]["message"]["content"]
        assert content.isascii()
        assert content.isprintable()
        assert content.strip()
    assert len({answer["choices"][0]["message"]["content"] for _, answer in answers}) == 1


@pytest.mark.engine
def test_a_sharded_model_is_served(tmp_path: Path) -> None:
    """It is loaded from its first part and says the same as the model in one piece."""
    shards = tiny.write_sharded_model(tmp_path)
    tiny.write_completion_model(tmp_path / "whole.gguf")
    question = {"prompt": "Hello", "max_tokens": 20, "temperature": 0}
    texts = set()
    for path in (shards[0], tmp_path / "whole.gguf"):
        with served(path) as server:
            status, answer = server.ask("POST", "/v1/completions", question)
        assert status == 200
        texts.add(answer["choices"][0]["text"])
    assert len(texts) == 1


@pytest.mark.engine
def test_an_embedding_model_is_served(tmp_path: Path) -> None:
    """It gives one vector of its width per text, and different texts have different ones."""
    tiny.write_embedding_model(tmp_path / "m.gguf")
    with served(tmp_path / "m.gguf", "--embeddings") as server:
        status, answer = server.ask("POST", "/v1/embeddings", {"input": ["hello", "the moon"]})
    assert status == 200
    one, other = (entry["embedding"] for entry in answer["data"])
    assert len(one) == len(other) == tiny.WIDTH
    assert one != other


@pytest.mark.engine
def test_a_reranking_model_is_served(tmp_path: Path) -> None:
    """It gives every document a score of its own."""
    tiny.write_reranking_model(tmp_path / "m.gguf")
    documents = ["hello there", "the weather", "zzz"]
    with served(tmp_path / "m.gguf", "--embeddings", "--reranking") as server:
        status, answer = server.ask(
            "POST", "/v1/rerank", {"query": "hello", "documents": documents}
        )
    assert status == 200
    assert {result["index"] for result in answer["results"]} == {0, 1, 2}
    assert len({result["relevance_score"] for result in answer["results"]}) == 3
