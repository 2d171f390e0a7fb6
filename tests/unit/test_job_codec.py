"""Jobs as the fleet keeps them."""

from __future__ import annotations

import msgspec

from runnerd.access.principals import owner_principal, user_principal
from runnerd.jobs.fleet.job_codec import (
    Record,
    decode_new,
    encode_new,
    encode_response,
    job_of,
    tries_of,
)
from runnerd.jobs.job import AttemptEnd, JobState, NewJob, Prompt, Response


def test_there_and_back() -> None:
    """Everything that was submitted."""
    for principal in (user_principal("ann", "key"), owner_principal(0)):
        job = NewJob(
            principal,
            "m",
            (Prompt("/v1/x", b"\xff\x00"), Prompt("/v1/y", b"{}")),
            id="x",
            priority=-3,
            deadline=12.5,
            runtime=1.0,
            group="g",
            copy=2,
            streams=True,
            details={"a": "b"},
            waited_for=True,
        )
        assert decode_new(encode_new(job, 4)) == job


def test_as_it_stands() -> None:
    """What Redis has added, and less of it where a list was asked for."""
    new = NewJob(user_principal("ann", "key"), "m", (Prompt("/v1/x", b"{}"),))
    response = Response(200, b"\xff", "text/plain")
    record = Record(
        "x",
        {b"doc": encode_new(new, 7), b"state": b"running", b"created": b"1.5", b"started": b"2.5"},
        [b'["w",1.0,2.0,"lost","gone"]'],
        [encode_response(response)],
        "é".encode()[:1] + b"x",
    )
    job = job_of(record, whole=True)
    assert (job.id, job.state, job.created, job.started) == ("x", JobState.RUNNING, 1.5, 2.5)
    assert (job.ended, job.responses, job.output) == (
        None,
        (response,),
        "\N{REPLACEMENT CHARACTER}x",
    )
    assert (job.attempts[0].worker, job.attempts[0].end) == ("w", AttemptEnd.LOST)
    listed = job_of(record, whole=False)
    assert tries_of(record) == 7
    assert (listed.prompts, listed.responses, listed.output) == ((), (), "")


def test_what_an_earlier_daemon_took_in() -> None:
    """It does not say how many tries may fail."""
    document = msgspec.msgpack.encode({"principal": ["user", "ann", None, "key"]})
    assert tries_of(Record("x", {b"doc": document})) is None
