"""runnerd.cli.vectors: models that do not chat, asked from the terminal."""

from __future__ import annotations

import io
import json
from argparse import Namespace
from typing import Any

import pytest

from runnerd.cli import vectors
from runnerd.errors import ClientError

RANKED = {"results": [{"index": 0, "relevance_score": 0.1}, {"index": 1, "relevance_score": 0.9}]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the daemon was asked."""
    documents: list[Any] = []

    class Client:
        def __init__(self, host: str | None) -> None: ...

        def json(self, method: str, path: str, document: Any) -> Any:
            documents.append(document)
            if path == "/v1/rerank":
                return RANKED
            return {"data": [{"embedding": [0.5, 1 / 3]} for _ in document["input"]]}

    monkeypatch.setattr(vectors, "Client", Client)
    return documents


def options(**said: Any) -> Namespace:
    usual = {"host": None, "json": False, "model": "m", "dimensions": None, "top": None}
    return Namespace(**usual | said)


def test_each_text_is_a_line(asked: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Of JSON that a program can read."""
    vectors.embed(options(text=["a", "b"], dimensions=2))
    assert asked == [{"model": "m", "input": ["a", "b"], "dimensions": 2}]
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        [0.5, pytest.approx(1 / 3)]
    ] * 2


def test_the_best_document_comes_first(
    asked: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """With its number, as people count."""
    vectors.rerank(options(query="q", document=["first", "second"], top=2))
    assert asked[0]["top_n"] == 2
    _, best, other = capsys.readouterr().out.splitlines()
    assert best.split() == ["0.9000", "2", "second"]
    assert other.split() == ["0.1000", "1", "first"]
    vectors.rerank(options(query="q", document=["first", "second"], json=True))
    scores = [each["relevance_score"] for each in json.loads(capsys.readouterr().out)["results"]]
    assert scores == [0.9, 0.1]


def test_texts_may_be_piped_in(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """One a line, and none is no text."""
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\n  two \n"))
    vectors.embed(options(text=[], json=True))
    assert asked[0]["input"] == ["one", "two"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    with pytest.raises(ClientError, match="no text"):
        vectors.embed(options(text=[]))
