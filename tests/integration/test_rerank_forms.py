"""Rankings as Cohere's, Jina's and Docker's clients ask for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running

pytestmark = pytest.mark.engine

TEXTS = ["alpha", "beta gamma", "delta"]
ASKED: dict[str, Any] = {"model": "ranker", "query": "x"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with a model that ranks."""
    folder = tmp_path_factory.mktemp("rank")
    tiny.write_reranking_model(folder / "ranker.gguf")
    with running(folder / "d") as daemon:
        daemon.import_model(folder / "ranker.gguf", "ranker")
        yield daemon


def ranked(daemon: DaemonProcess, path: str = "/v1/rerank", **fields: Any) -> list[dict[str, Any]]:
    """Ask for a ranking and return its entries."""
    response = daemon.http.post(path, json={**ASKED, **fields})
    assert response.status_code == 200, response.text
    results = response.json()["results"]
    assert isinstance(results, list)
    return results


@pytest.fixture(scope="module")
def plain(daemon: DaemonProcess) -> list[dict[str, Any]]:
    """What strings get."""
    return ranked(daemon, documents=TEXTS)


@pytest.mark.parametrize(
    "path",
    [
        "/rerank", "/reranking", "/v1/rerank", "/v1/reranking", "/v2/rerank", "/engines/rerank",
        "/engines/reranking", "/engines/llama.cpp/rerank", "/v1/rerank/", "/v2/rerank/",
    ],
)  # fmt: skip
def test_every_path(daemon: DaemonProcess, plain: list[dict[str, Any]], path: str) -> None:
    """All clients' paths mean the same, with a slash at the end or doubled, too."""
    assert ranked(daemon, path, documents=TEXTS) == plain


@pytest.mark.covers("POST /v1/rerank", "documents:objects", "rank_fields", note="their texts")
@pytest.mark.parametrize(
    "fields",
    [
        {"documents": [{"text": text} for text in TEXTS]},
        {"documents": [{"text": text, "id": number} for number, text in enumerate(TEXTS)]},
        {"documents": [TEXTS[0], {"text": TEXTS[1]}, {"title": TEXTS[2]}]},
        {"documents": [{"a": "no", "b": text} for text in TEXTS], "rank_fields": ["b"]},
    ],
)
def test_documents_as_objects(
    daemon: DaemonProcess, plain: list[dict[str, Any]], fields: dict[str, Any]
) -> None:
    """They rank as their texts do."""
    assert ranked(daemon, **fields) == plain


@pytest.mark.covers("POST /v1/rerank", "return_documents")
@pytest.mark.parametrize("documents", [TEXTS, [{"text": text} for text in TEXTS]])
def test_documents_in_the_response(daemon: DaemonProcess, documents: list[Any]) -> None:
    """`return_documents` brings each entry's text; without it nobody gets them."""
    for entry in ranked(daemon, documents=documents, return_documents=True, top_n=2):
        assert entry["document"] == {"text": TEXTS[entry["index"]]}
    for wanted in (False, None):
        found = ranked(daemon, documents=documents, return_documents=wanted)
        assert all("document" not in entry for entry in found)


@pytest.mark.parametrize("documents", [[{}], [{"text": 5}], [5], {"text": "x"}, [[]], "x"])
def test_documents_that_are_none(daemon: DaemonProcess, documents: object) -> None:
    """400 that says what is wanted."""
    response = daemon.http.post("/v1/rerank", json={**ASKED, "documents": documents})
    assert (response.status_code, "documents" in response.text) == (400, True)


@pytest.mark.parametrize("path", ["/v1/models/", "/api/tags/", "/engines/ps/", "/models/"])
def test_slash_at_the_end(daemon: DaemonProcess, path: str) -> None:
    """Clients put paths together from parts."""
    assert daemon.http.get(path).status_code == 200
