"""The trained demo models answer exactly, asked of the bare engine.

Whatever goes wrong here is the models' or the engine's doing; the same prompts through the
daemon then show what runnerd does to them.  The expected answers come from the training corpus
(training/answers.py).
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, cast

import aiohttp
import pytest

from tests.support.builds import real_server

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "demo"
SERVER = real_server()
MODELS = ("demo-a", "demo-b")

pytestmark = [
    pytest.mark.engine,
    pytest.mark.skipif(not SERVER.exists(), reason=f"{SERVER} is missing: run `make test`"),
]

Json = dict[str, object]


class ChatCase(TypedDict):
    """One request, but for the model, and each model's response to it."""

    id: str
    request: Json
    answers: dict[str, Json]


class Triple(TypedDict):
    """Two related sentences and an unrelated one."""

    anchor: str
    near: str
    far: str


class Ranking(TypedDict):
    """A query, documents, and the places of those that fit it."""

    query: str
    documents: list[str]
    relevant: list[int]


class Expected(TypedDict):
    """tests/demo_answers.json."""

    chat: list[ChatCase]
    embed: list[Triple]
    rerank: list[Ranking]


EXPECTED: Expected = json.loads((ROOT / "tests" / "demo_answers.json").read_text())


# servers


@contextmanager
def serve(model: str, *flags: str) -> Iterator[Path]:
    """Run llama-server for a demo model; yield its socket once it is ready."""
    # Not tmp_path: its name can exceed what fits into a socket address.
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        path, log = Path(folder, "engine.sock"), Path(folder, "log")
        command: list[str | Path] = [
            SERVER,
            "-m",
            DEMO / f"{model}.gguf",
            "--host",
            path,
            "-t",
            "1",
            *flags,
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            _wait_until_ready(process, path, log)
            yield path
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    while process.poll() is None:
        if _healthy(path):
            return
        time.sleep(0.02)
    pytest.fail(f"llama-server ended with {process.returncode}:\n{log.read_text()[-4000:]}")


def _healthy(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(str(path))
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b" 200 " in connection.recv(64)
        except OSError:
            return False


@pytest.fixture(scope="module")
def chat_sockets() -> Iterator[dict[str, Path]]:
    """Both chat models, each with eight slots."""
    flags = ("-np", "8", "-c", "16384", "--jinja")
    with serve("demo-a", *flags) as first, serve("demo-b", *flags) as second:
        yield {"demo-a": first, "demo-b": second}


@pytest.fixture(scope="module")
def embedding_socket() -> Iterator[Path]:
    """The embedding model."""
    with serve("demo-embed", "--embedding") as path:
        yield path


@pytest.fixture(scope="module")
def reranking_socket() -> Iterator[Path]:
    """The reranker."""
    with serve("demo-rerank", "--rerank") as path:
        yield path


@dataclass(slots=True)
class Answer:
    """What came back, put together from a stream or not."""

    content: str = ""
    calls: list[dict[str, str]] = field(default_factory=list)
    finish_reason: str = ""
    pieces: list[str] = field(default_factory=list)

    def as_expected(self) -> Json:
        """Return the form that tests/demo_answers.json has."""
        response: Json = {"content": self.content or None, "finish_reason": self.finish_reason}
        if self.calls:
            response["tool_calls"] = [
                {"name": call["name"], "arguments": json.loads(call["arguments"])}
                for call in self.calls
            ]
        return response

    def add(self, message: Json) -> None:
        """Take in a message, or one more delta of it."""
        if content := message.get("content"):
            self.pieces.append(str(content))
            self.content += str(content)
        for call in cast(list[Json], message.get("tool_calls") or []):
            index = cast(int, call.get("index", len(self.calls)))
            if index == len(self.calls):
                self.calls.append({"name": "", "arguments": ""})
            for name, part in cast(dict[str, str], call["function"]).items():
                self.calls[index][name] += part


class Engine:
    """A client of one llama-server."""

    def __init__(self, path: Path) -> None:
        self.http = aiohttp.ClientSession(
            "http://localhost",
            connector=aiohttp.UnixConnector(str(path), limit=0, force_close=True),
        )

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.http.close()

    async def post(self, route: str, body: Json) -> Json:
        """Return the JSON response of a route."""
        async with self.http.post(route, json=body) as response:
            document: Json = await response.json()
            assert response.status == 200, document
            return document

    async def chat(self, request: Json, *, stream: bool) -> Answer:
        """Return the greedy answer to a chat request."""
        body = {"temperature": 0, **request, "stream": stream}
        response = Answer()
        if stream:
            async for choice in self._streamed(body):
                response.add(cast(Json, choice["delta"]))
                response.finish_reason = (
                    cast(str, choice["finish_reason"]) or response.finish_reason
                )
        else:
            (choice,) = cast(list[Json], (await self.post("/v1/chat/completions", body))["choices"])
            response.add(cast(Json, choice["message"]))
            response.finish_reason = cast(str, choice["finish_reason"])
        return response

    async def _streamed(self, body: Json) -> AsyncIterator[Json]:
        async with self.http.post("/v1/chat/completions", json=body) as response:
            assert response.status == 200, await response.text()
            async for line in response.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        yield choice


# the chat models


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model", MODELS)
async def test_every_fixed_prompt_is_answered_exactly(
    chat_sockets: dict[str, Path], model: str, stream: bool
) -> None:
    """Greedy answers are those of the corpus, streamed and not."""
    actual = {}
    async with Engine(chat_sockets[model]) as engine:
        for case in EXPECTED["chat"]:
            response = await engine.chat(case["request"], stream=stream)
            actual[case["id"]] = response.as_expected()

    assert {case["id"]: case["answers"][model] for case in EXPECTED["chat"]} == actual


async def test_64_mixed_requests_at_once_are_not_crossed(chat_sockets: dict[str, Path]) -> None:
    """With both models and all slots busy, each request still gets its own model's exact answer."""
    work = list(itertools.product(EXPECTED["chat"], MODELS))
    gate = asyncio.Semaphore(64)
    async with Engine(chat_sockets["demo-a"]) as first, Engine(chat_sockets["demo-b"]) as second:
        engines = {"demo-a": first, "demo-b": second}

        async def ask(number: int, case: ChatCase, model: str) -> Json:
            async with gate:
                response = await engines[model].chat(case["request"], stream=number % 3 > 0)
            return response.as_expected()

        asked = (ask(number, case, model) for number, (case, model) in enumerate(work))
        actual = await asyncio.gather(*asked)

    assert [(case["id"], model, case["answers"][model]) for case, model in work] == [
        (case["id"], model, response) for (case, model), response in zip(work, actual, strict=True)
    ]


async def test_without_a_temperature_the_answer_is_the_learned_one(
    chat_sockets: dict[str, Path],
) -> None:
    """The file itself asks for greedy sampling, so that a first `curl` gets a sensible sentence."""
    request: Json = {"messages": [{"role": "user", "content": "What is your name?"}]}
    async with Engine(chat_sockets["demo-a"]) as engine:
        answers = [await engine.post("/v1/chat/completions", request) for _ in range(5)]

    contents = {
        cast(list[dict[str, Json]], response["choices"])[0]["message"]["content"]
        for response in answers
    }
    assert {"My name is Demo A."} == contents


async def test_a_count_comes_in_order_and_in_many_pieces(chat_sockets: dict[str, Path]) -> None:
    """A long stream has at least one piece for each number, in order."""
    request: Json = {"messages": [{"role": "user", "content": "Count from 1 to 100."}]}
    async with Engine(chat_sockets["demo-b"]) as engine:
        response = await engine.chat(request, stream=True)

    assert ", ".join(map(str, range(1, 101))) + "." == "".join(response.pieces)
    assert len(response.pieces) >= 100


async def test_characters_of_several_tokens_arrive_whole(chat_sockets: dict[str, Path]) -> None:
    """An emoji or a Chinese character takes several tokens, yet no piece of the stream cuts one."""
    request: Json = {"messages": [{"role": "user", "content": "Show me an emoji."}]}
    async with Engine(chat_sockets["demo-a"]) as engine:
        tokens = await engine.post("/tokenize", {"content": "🚀"})
        response = await engine.chat(request, stream=True)

    assert len(cast(list[int], tokens["tokens"])) > 1
    assert "Here you are: 🚀🦙" == "".join(response.pieces)
    assert "\ufffd" not in "".join(response.pieces)


# the encoders


async def test_related_sentences_are_nearer_than_unrelated_ones(embedding_socket: Path) -> None:
    """demo-embed places two sentences of one topic nearer than a third of another topic."""
    async with Engine(embedding_socket) as engine:
        for triple in EXPECTED["embed"]:
            texts = [triple["anchor"], triple["near"], triple["far"]]
            response = await engine.post("/v1/embeddings", {"input": texts})
            rows = cast(list[dict[str, list[float]]], response["data"])
            anchor, near, far = (row["embedding"] for row in rows)

            assert _cosine(anchor, near) > _cosine(anchor, far) + 0.2, triple


async def test_fitting_documents_are_ranked_first(reranking_socket: Path) -> None:
    """demo-rerank scores the documents that fit a query above all others."""
    async with Engine(reranking_socket) as engine:
        for ranking in EXPECTED["rerank"]:
            body: Json = {"query": ranking["query"], "documents": ranking["documents"]}
            results = cast(list[Json], (await engine.post("/v1/rerank", body))["results"])
            results.sort(key=lambda result: -cast(float, result["relevance_score"]))
            first = {result["index"] for result in results[: len(ranking["relevant"])]}

            assert set(ranking["relevant"]) == first, ranking["query"]


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    product = sum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))
