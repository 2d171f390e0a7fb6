"""What freshly made models must pass before they may be committed, asked of the real engine."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import engine
from answers import MODELS
from conversations import render
from generator import all_texts
from tokenizer import Tokenizer

# A greedy answer turns only if numerical noise (batching, another card) exceeds this, in logits.
LEAST_MARGIN = 1.0
LARGEST_BYTES = 2_000_000


class Checker:
    """Collects what is wrong instead of stopping at the first fault."""

    def __init__(self, demo: Path, expected: Path) -> None:
        self._demo = demo
        self._expected = json.loads(expected.read_text())
        self.faults: list[str] = []

    def sizes(self) -> None:
        """Every file is small enough for the repository."""
        for path in sorted(self._demo.glob("*.gguf")):
            size = path.stat().st_size
            print(f"{path.name}: {size:,} bytes")
            if size > LARGEST_BYTES:
                self.faults.append(f"{path.name} has {size:,} bytes")

    def chat(self, model: str, tokenizer: Tokenizer) -> None:
        """The engine reads, prompts and answers as the training did."""
        with engine.serve(self._demo / f"{model}.gguf", "--jinja", "-np", "1") as server:
            self._tokens(server, tokenizer)
            margins = [self._case(server, model, case) for case in self._expected["chat"]]
        least, where = min(margins)
        print(f"{model}: {len(margins)} prompts, least margin {least:.2f} ({where})")
        if least < LEAST_MARGIN:
            self.faults.append(f"{model}: margin {least:.2f} at {where}")

    def embeddings(self) -> None:
        """Sentences of one topic are nearer than those of different topics."""
        with engine.serve(self._demo / "demo-embed.gguf", "--embedding", "-np", "1") as server:
            gaps = [self._triple(server, triple) for triple in self._expected["embed"]]
        print(f"demo-embed: {len(gaps)} triples, least gap {min(gaps):.3f}")

    def rankings(self) -> None:
        """What fits the question comes before what does not."""
        with engine.serve(self._demo / "demo-rerank.gguf", "--rerank", "-np", "1") as server:
            gaps = [self._ranking(server, ranking) for ranking in self._expected["rerank"]]
        print(f"demo-rerank: {len(gaps)} rankings, least gap {min(gaps):.3f}")

    def _tokens(self, server: engine.Server, tokenizer: Tokenizer) -> None:
        for text in all_texts():
            theirs = server.post("/tokenize", {"content": text, "parse_special": True})["tokens"]
            if theirs != tokenizer.encode(text):
                self.faults.append(f"tokens differ from the engine's: {text!r}")

    def _case(
        self, server: engine.Server, model: str, case: dict[str, object]
    ) -> tuple[float, str]:
        """Return the least distance between the first and the second choice of the answer."""
        request, answers = case["request"], case["answers"]
        assert isinstance(request, dict)
        assert isinstance(answers, dict)
        self._prompt(server, case)
        body = request | {"model": model, "temperature": 0, "logprobs": True, "top_logprobs": 2}
        choice = server.post("/v1/chat/completions", body)["choices"][0]  # type: ignore[index]
        if said(choice) != answers[model]:
            self.faults.append(f"{model}: {case['id']}: {said(choice)} instead of {answers[model]}")
        return _margin(choice), str(case["id"])

    def _prompt(self, server: engine.Server, case: dict[str, object]) -> None:
        request = case["request"]
        assert isinstance(request, dict)
        theirs = server.post("/apply-template", request)["prompt"]
        messages = [_as_rendered(message) for message in request["messages"]]
        ours = render(messages, request.get("tools"), generate=True)
        if theirs != ours:
            self.faults.append(f"{case['id']}: the engine's prompt is {theirs!r}, ours {ours!r}")

    def _triple(self, server: engine.Server, triple: dict[str, str]) -> float:
        texts = [triple["anchor"], triple["near"], triple["far"]]
        rows = server.post("/v1/embeddings", {"input": texts})["data"]
        assert isinstance(rows, list)
        anchor, near, far = (row["embedding"] for row in rows)
        gap = cosine(anchor, near) - cosine(anchor, far)
        if gap < 0.2:
            self.faults.append(f"demo-embed: {triple}: gap {gap:.3f}")
        return gap

    def _ranking(self, server: engine.Server, ranking: dict[str, object]) -> float:
        body = {"query": ranking["query"], "documents": ranking["documents"]}
        results = server.post("/v1/rerank", body)["results"]
        assert isinstance(results, list)
        fitting: list[float] = []
        others: list[float] = []
        for result in results:
            fits = result["index"] in ranking["relevant"]  # type: ignore[operator]
            (fitting if fits else others).append(result["relevance_score"])
        gap = min(fitting) - max(others)
        if gap < 1.0:
            self.faults.append(f"demo-rerank: {ranking['query']}: gap {gap:.3f}")
        return gap


def run(demo: Path, expected: Path, tokenizer: Tokenizer) -> None:
    """Check everything; raises SystemExit with all faults."""
    checker = Checker(demo, expected)
    checker.sizes()
    for model in MODELS:
        checker.chat(model, tokenizer)
    checker.embeddings()
    checker.rankings()
    if checker.faults:
        raise SystemExit("\n".join([f"{len(checker.faults)} faults:", *checker.faults]))
    print("all checks passed")


def said(choice: dict[str, object]) -> dict[str, object]:
    """Return a choice in the form of tests/demo_answers.json."""
    message = choice["message"]
    assert isinstance(message, dict)
    answer = {"content": message.get("content") or None, "finish_reason": choice["finish_reason"]}
    if calls := message.get("tool_calls"):
        answer["tool_calls"] = [
            {
                "name": call["function"]["name"],
                "arguments": json.loads(call["function"]["arguments"]),
            }
            for call in calls
        ]
    return answer


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the cosine of two vectors."""
    product = math.fsum(a * b for a, b in zip(one, other, strict=True))
    return product / (math.hypot(*one) * math.hypot(*other))


def _margin(choice: dict[str, object]) -> float:
    margins: list[float] = []
    for token in choice["logprobs"]["content"]:  # type: ignore[index]
        first, second = (candidate["logprob"] for candidate in token["top_logprobs"])
        margins.append(first - second)
    return min(margins)


def _as_rendered(message: dict[str, object]) -> dict[str, object]:
    """Undo what a client does to a tool call: the template sees the arguments as an object."""
    if "tool_calls" not in message:
        return message
    calls = json.loads(json.dumps(message["tool_calls"]))
    for call in calls:
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return message | {"tool_calls": calls}
