"""Files and batches, with OpenAI's own client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types import Batch

from runnerd.models import tiny
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import wait_for

CHAT = "/v1/chat/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    root = tmp_path_factory.mktemp("daemon")
    tiny.write_completion_model(root / "m.gguf", context_length=8192)
    tiny.write_embedding_model(root / "e.gguf")
    settings = {"RUNNERD_JOBS": json.dumps({"files": 200_000})}
    with running(root, env=settings) as daemon:
        daemon.import_model(root / "m.gguf", "m")
        daemon.import_model(root / "e.gguf", "e")
        yield daemon


@pytest.fixture(scope="module")
def client(daemon: DaemonProcess) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{daemon.address}/v1", api_key=key_of(daemon, "ann")) as client:
        yield client


def key_of(daemon: DaemonProcess, name: str) -> str:
    return str(daemon.http.post("/runnerd/users", json={"name": name}).json()["key"])


def line(custom_id: str, body: dict[str, Any] | None = None, url: str = CHAT) -> dict[str, Any]:
    usual = {"model": "m", "messages": [{"role": "user", "content": custom_id}], "max_tokens": 3}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": usual | (body or {})}


def uploaded(client: openai.OpenAI, *lines: dict[str, Any]) -> str:
    content = "\n".join(json.dumps(each) for each in lines).encode()
    return client.files.create(file=("in.jsonl", content), purpose="batch").id


def started(client: openai.OpenAI, file: str, endpoint: str = CHAT, **more: Any) -> Batch:
    return client.batches.create(
        input_file_id=file,
        endpoint=endpoint,  # type: ignore[arg-type]
        completion_window="24h",
        **more,
    )


def ended(client: openai.OpenAI, id: str) -> Batch:
    wait_for(lambda: client.batches.retrieve(id).status in ENDED, "the batch to end")
    return client.batches.retrieve(id)


def results(client: openai.OpenAI, file: str | None) -> dict[str, Any]:
    assert file is not None
    lines = client.files.content(file).text.splitlines()
    return {each["custom_id"]: each for each in map(json.loads, lines)}


@pytest.mark.covers("POST /v1/files", "file", "purpose:batch")
@pytest.mark.covers("GET /v1/files", "list", "id", "content")
@pytest.mark.covers("DELETE /v1/files/{id}", "id")
def test_files(client: openai.OpenAI) -> None:
    """Uploaded, found, read, listed, deleted."""
    content = b'{"custom_id": "a"}\n'
    file = client.files.create(file=("in.jsonl", content), purpose="batch")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "in.jsonl", "batch")
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == content
    assert file.id in [each.id for each in client.files.list(purpose="batch")]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(file.id)


@pytest.mark.covers("POST /v1/files", "purpose:other", how="refused", note="files are for batches")
def test_a_file_for_something_else(client: openai.OpenAI) -> None:
    """It is refused, and nothing is kept of it."""
    before = [file.id for file in client.files.list()]
    with pytest.raises(openai.BadRequestError, match="purpose"):
        client.files.create(file=("in.jsonl", b"{}"), purpose="fine-tune")
    assert [file.id for file in client.files.list()] == before


def test_too_much(client: openai.OpenAI) -> None:
    """Files of one user take so much at most."""
    with pytest.raises(openai.RateLimitError, match="files"):
        client.files.create(file=("in.jsonl", bytes(300_000)), purpose="batch")


@pytest.mark.covers("POST /v1/batches", "input_file_id", "endpoint", "metadata")
@pytest.mark.covers("GET /v1/batches", "id", "request_counts", "output_file_id", "error_file_id")
@pytest.mark.engine
def test_a_batch(client: openai.OpenAI) -> None:
    """Every line is answered under its custom_id; those that are refused in a file of their own."""
    lines = [line(f"line {number}") for number in range(20)]
    wrong = line("wrong", {"messages": 1})
    batch = started(client, uploaded(client, *lines, wrong), metadata={"for": "a test"})
    assert batch.status in ("validating", "in_progress", "completed")
    batch = ended(client, batch.id)
    assert batch.status == "completed"
    assert batch.metadata == {"for": "a test"}
    counts = batch.request_counts
    assert counts is not None
    assert (counts.total, counts.completed, counts.failed) == (21, 20, 1)
    output = results(client, batch.output_file_id)
    assert set(output) == {f"line {number}" for number in range(20)}
    for each in output.values():
        assert each["error"] is None
        assert each["response"]["status_code"] == 200
        assert each["response"]["body"]["object"] == "chat.completion"
        assert each["response"]["body"]["usage"]["completion_tokens"] <= 3
    [failed] = results(client, batch.error_file_id).values()
    assert failed["response"]["status_code"] == 400
    assert failed["response"]["body"]["error"]["message"]
    assert batch.output_file_id is not None
    assert client.files.retrieve(batch.output_file_id).purpose == "batch_output"


@pytest.mark.engine
def test_embeddings(client: openai.OpenAI) -> None:
    """Any inference route is an endpoint."""
    url = "/v1/embeddings"
    request = {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "e", "input": "x"}}
    batch = ended(client, started(client, uploaded(client, request), url).id)
    assert results(client, batch.output_file_id)["a"]["response"]["body"]["data"]


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([line("a"), line("a")], "duplicate_custom_id"),
        ([line("a", url="/v1/completions")], "mismatched_url"),
        ([line("a", {"model": "nowhere"})], "model_not_found"),
        ([line("a") | {"method": "GET"}], "invalid_method"),
        ([line("a") | {"body": 1}], "invalid_request"),
        ([line("")], "missing_required_parameter"),
        ([], "empty_file"),
    ],
)
@pytest.mark.covers("GET /v1/batches", "errors")
def test_a_file_that_is_wrong(
    client: openai.OpenAI, lines: list[dict[str, Any]], code: str
) -> None:
    """The batch has failed, says which line is wrong and why, and has no jobs."""
    batch = ended(client, started(client, uploaded(client, line("first"), *lines) if lines else
                                  uploaded(client)).id)  # fmt: skip
    assert batch.status == "failed"
    assert batch.errors is not None
    assert batch.errors.data is not None
    [error] = batch.errors.data
    assert error.code == code
    assert error.line == (len(lines) + 1 if lines else None)
    assert batch.output_file_id is None
    assert batch.request_counts is not None
    assert batch.request_counts.completed == 0


@pytest.mark.covers("POST /v1/batches/{id}/cancel", "id")
@pytest.mark.engine
def test_cancelled(client: openai.OpenAI) -> None:
    """What is not done is not done any more, and says so."""
    lines = [line(f"long {number}", {"max_tokens": 6000}) for number in range(60)]
    batch = started(client, uploaded(client, *lines))
    wait_for(lambda: client.batches.retrieve(batch.id).status == "in_progress", "it to begin")
    client.batches.cancel(batch.id)
    batch = ended(client, batch.id)
    assert batch.status == "cancelled"
    failed = results(client, batch.error_file_id)
    assert "batch_cancelled" in {
        each["error"]["code"] for each in failed.values() if each["error"] is not None
    }
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


@pytest.mark.covers("POST /v1/batches", "completion_window", note="any span, such as 24h or 30m")
@pytest.mark.engine
def test_expired(client: openai.OpenAI) -> None:
    """What is not done within the window has expired."""
    lines = [line(f"long {number}", {"max_tokens": 6000}) for number in range(60)]
    batch = client.batches.create(
        input_file_id=uploaded(client, *lines),
        endpoint="/v1/chat/completions",
        completion_window="2s",  # type: ignore[arg-type]
    )
    batch = ended(client, batch.id)
    assert batch.status == "expired"
    failed = results(client, batch.error_file_id)
    assert {each["error"]["code"] for each in failed.values() if each["error"]} == {"batch_expired"}


@pytest.mark.covers("GET /v1/batches", "list")
@pytest.mark.engine
def test_listed_page_by_page(client: openai.OpenAI) -> None:
    """The newest first, by OpenAI's way to go on."""
    made = [started(client, uploaded(client, line("a"))).id for _ in range(3)]
    found = [batch.id for batch in client.batches.list(limit=2)]
    assert [id for id in found if id in made] == made[::-1]


@pytest.mark.engine
def test_others_are_not_there(client: openai.OpenAI, daemon: DaemonProcess) -> None:
    """Files, batches and results of another user."""
    file = uploaded(client, line("a"))
    batch = ended(client, started(client, file).id)
    assert batch.output_file_id is not None
    key = key_of(daemon, "ben")
    with openai.OpenAI(base_url=f"{daemon.address}/v1", api_key=key) as other:
        for call in (
            lambda: other.files.retrieve(file),
            lambda: other.files.content(file),
            lambda: other.files.content(str(batch.output_file_id)),
            lambda: other.files.delete(file),
            lambda: other.batches.retrieve(batch.id),
            lambda: other.batches.cancel(batch.id),
            lambda: started(other, file),
        ):
            with pytest.raises(openai.NotFoundError):
                call()
        assert list(other.files.list()) == []
        assert list(other.batches.list()) == []


@pytest.mark.engine
def test_killed_while_it_is_submitted(tmp_path: Path) -> None:
    """Every line has one result, whenever the daemon is killed."""
    tiny.write_completion_model(tmp_path / "m.gguf")
    with running(tmp_path / "d") as daemon:
        daemon.import_model(tmp_path / "m.gguf", "m")
        lines = [line(f"line {number}", {"max_tokens": 1}) for number in range(600)]

        def connected() -> openai.OpenAI:
            return openai.OpenAI(base_url=f"{daemon.address}/v1", api_key="x", timeout=60)

        with connected() as client:
            batch = started(client, uploaded(client, *lines))
        daemon.kill()
        daemon.start()
        with connected() as client:
            done = ended(client, batch.id)
            assert done.status == "completed"
            assert done.request_counts is not None
            assert (done.request_counts.total, done.request_counts.completed) == (600, 600)
            assert len(results(client, done.output_file_id)) == 600
