"""Jobs as the fleet keeps them in Redis and in the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import msgspec

from runnerd.access.principals import Principal, PrincipalKind
from runnerd.jobs.job import Attempt, AttemptEnd, Job, JobState, NewJob, Prompt, Response

_NAMES = [each.name for each in fields(NewJob)]


@dataclass(frozen=True, slots=True)
class Record:
    """All that Redis has of a job: its hash, and its three lists and texts."""

    id: str
    hash: Mapping[bytes, bytes]
    attempts: Sequence[bytes] = ()
    responses: Sequence[bytes] = ()
    output: bytes = b""


def encode_new(job: NewJob, tries: int) -> bytes:
    """What was submitted, and how many tries may fail: workers know no settings of the daemon that
    took it in.
    """
    principal = job.principal
    document = {name: getattr(job, name) for name in _NAMES if name not in ("principal", "details")}
    document["principal"] = [principal.kind, principal.id, principal.uid, principal.key]
    document["prompts"] = [[each.path, each.body] for each in job.prompts]
    document["details"] = dict(job.details)
    document["tries"] = tries
    return msgspec.msgpack.encode(document)


def decode_new(document: bytes) -> NewJob:
    """What was submitted."""
    found: dict[str, Any] = msgspec.msgpack.decode(document)
    kind, id, uid, key = found.pop("principal")
    found["principal"] = Principal(PrincipalKind(kind), id, uid, key)
    found["prompts"] = tuple(Prompt(path, body) for path, body in found["prompts"])
    return NewJob(**{name: found[name] for name in _NAMES if name in found})


def tries_of(record: Record) -> int | None:
    """How many tries may fail; None: it was taken in by a daemon that did not say so."""
    tries = msgspec.msgpack.decode(record.hash[b"doc"]).get("tries")
    return tries if isinstance(tries, int) else None


def encode_response(response: Response) -> bytes:
    """A response to one prompt."""
    return msgspec.msgpack.encode([response.status, response.body, response.content_type])


def job_of(record: Record, *, whole: bool) -> Job:
    """The job as it stands; not `whole`: without its prompts, output and responses."""
    found = record.hash
    new = decode_new(found[b"doc"])
    return Job(
        id=record.id,
        principal=new.principal,
        model=new.model,
        state=JobState(found[b"state"].decode()),
        created=float(found[b"created"]),
        prompts=new.prompts if whole else (),
        priority=new.priority,
        deadline=new.deadline if found.get(b"deadline") else None,
        runtime=new.runtime,
        group=new.group,
        copy=new.copy,
        streams=new.streams,
        details=new.details,
        started=_time(found.get(b"started")),
        ended=_time(found.get(b"ended")),
        attempts=tuple(_attempt(each) for each in record.attempts),
        reason=found.get(b"reason", b"").decode("utf-8", "replace"),
        output=record.output.decode("utf-8", "replace") if whole else "",
        responses=tuple(_response(each) for each in record.responses) if whole else (),
        worker=found.get(b"worker", b"").decode("utf-8", "replace"),
        waited_for=new.waited_for,
        given_back=int(found.get(b"given_back", b"0")),
    )


def _time(value: bytes | None) -> float | None:
    return float(value) if value else None


def _attempt(document: bytes) -> Attempt:
    worker, started, ended, end, reason = msgspec.json.decode(document)
    return Attempt(worker, float(started), float(ended), AttemptEnd(end), reason)


def _response(document: bytes) -> Response:
    status, body, content_type = msgspec.msgpack.decode(document)
    return Response(status, body, content_type)
