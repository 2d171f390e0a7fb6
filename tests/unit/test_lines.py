"""The lines of a batch's file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runnerd.access import owner_principal
from runnerd.errors import ModelNotFound
from runnerd.jobs.batches.lines import MOST_LINE_BYTES, MOST_LINES, LineReader, job_id
from runnerd.jobs.batches.rows import Batch
from runnerd.jobs.job import is_id

URL = "/v1/chat/completions"
BATCH = Batch("batch_0123", owner_principal(0), "file-x", URL, "24h", 1.0, 2.0)
GOOD = {"custom_id": "a", "method": "POST", "url": URL, "body": {"model": "m", "messages": []}}


def reader() -> LineReader:
    def asked(model: str) -> str:
        if model not in ("m", "ai/m"):
            raise ModelNotFound("not here")
        return "m"

    return LineReader(BATCH, asked)


def test_a_model_has_one_spelling() -> None:
    """Jobs are counted by it; what is asked is the line's own word."""
    job = reader().read(line(body={"model": "ai/m"}))
    assert job is not None
    assert (job.model, json.loads(job.prompts[0].body)) == ("m", {"model": "ai/m"})


def line(**changes: Any) -> bytes:
    return json.dumps(GOOD | changes).encode()


def test_a_good_line() -> None:
    """It becomes a job of the batch's owner, group and deadline."""
    read = reader()
    assert read.read(b"  \n") is None
    job = read.read(line())
    assert job is not None
    assert (job.id, job.group, job.deadline) == ("0123-00001", BATCH.id, 2.0)
    assert (job.principal, job.model) == (BATCH.owner, "m")
    assert dict(job.details) == {"custom_id": "a"}
    [prompt] = job.prompts
    assert (prompt.path, json.loads(prompt.body)) == (URL, GOOD["body"])
    read.end()
    assert read.faults == []
    assert is_id(job_id("batch_" + "f" * 32, 50_000))


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"{", "invalid_json_line"),
        (b"[]", "invalid_json_line"),
        (b"\xff", "invalid_json_line"),
        (b"[" * 100_000, "invalid_json_line"),
        (b"x" * (MOST_LINE_BYTES + 1), "invalid_json_line"),
        (line(custom_id=None), "missing_required_parameter"),
        (line(custom_id="x" * 600), "missing_required_parameter"),
        (line(url="/v1/embeddings"), "mismatched_url"),
        (line(method="GET"), "invalid_method"),
        (line(body={}), "invalid_request"),
        (line(body={"model": "other"}), "model_not_found"),
    ],
)
def test_faults(wrong: bytes, code: str) -> None:
    """Each says which line and why."""
    read = reader()
    read.read(line(custom_id="first"))
    assert read.read(wrong) is None
    [fault] = read.faults
    assert (fault.code, fault.line) == (code, 2)


def test_empty_lines_have_an_end() -> None:
    """They are no requests, but they are looked at."""
    read = reader()
    for _ in range(MOST_LINES):
        assert read.read(b"\n") is None
    assert (read.hopeless, read.faults) == (False, [])
    assert read.read(b"\n") is None
    assert read.hopeless
    assert [fault.code for fault in read.faults] == ["too_many_lines"]


@given(st.lists(st.binary(max_size=50) | st.builds(line, custom_id=st.text(max_size=5))))
def test_anything(lines: list[bytes]) -> None:
    """Whatever comes, each line is a job or a fault, and ids of jobs are all different."""
    read = reader()
    jobs = [job for each in lines if (job := read.read(each)) is not None]
    assert len({job.id for job in jobs}) == len({job.details["custom_id"] for job in jobs})
    assert len(jobs) + len(read.faults) == read.lines or read.hopeless
