"""What a batch gives back: two files, of what has succeeded and of what has not, one line for each
request, read out of its jobs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec

from runnerd.jobs.batches.batches import Batches
from runnerd.jobs.batches.rows import Batch
from runnerd.jobs.job import Job, JobState

_START, _OUTPUT, _ERRORS = "file-", "-output", "-errors"

_CODES = {
    JobState.CANCELLED: ("batch_cancelled", "This request was cancelled with its batch."),
    JobState.EXPIRED: (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
}


def output_id(batch: Batch) -> str:
    """The id of the file of what has succeeded."""
    return f"{_START}{batch.id.removeprefix('batch_')}{_OUTPUT}"


def errors_id(batch: Batch) -> str:
    """The id of the file of what has not."""
    return f"{_START}{batch.id.removeprefix('batch_')}{_ERRORS}"


def result_file(id: str) -> tuple[str, bool] | None:
    """The batch of which a file is what it gives back, and whether of what has failed."""
    for ending, failed in ((_OUTPUT, False), (_ERRORS, True)):
        if id.startswith(_START) and id.endswith(ending):
            return f"batch_{id[len(_START) : -len(ending)]}", failed
    return None


class BatchResult:
    """One of the two files of a batch."""

    def __init__(self, batches: Batches, batch: Batch, *, failed: bool) -> None:
        self._batches = batches
        self._batch = batch
        self._failed = failed

    async def exists(self) -> bool:
        """Whether it has any line yet."""
        states = (await self._batches.summary(self._batch)).states
        wanted = [state for state in states if state.ended and self._is_of(state)]
        return any(states[state] for state in wanted)

    def _is_of(self, state: JobState) -> bool:
        return (state is not JobState.COMPLETED) is self._failed

    async def lines(self) -> AsyncIterator[bytes]:
        """Its lines."""
        async for job in self._batches.jobs(self._batch):
            if job.state.ended and self._is_of(job.state):
                yield msgspec.json.encode(line_of(job)) + b"\n"

    async def shown(self) -> dict[str, object]:
        """What is known of it."""
        size = 0
        async for line in self.lines():
            size += len(line)
        batch = self._batch
        name = f"{batch.id}_{'error' if self._failed else 'output'}.jsonl"
        return {
            "id": errors_id(batch) if self._failed else output_id(batch),
            "object": "file",
            "bytes": size,
            "created_at": int(batch.created),
            "filename": name,
            "purpose": "batch_output",
            "status": "processed",
        }


def line_of(job: Job) -> dict[str, object]:
    """What came of one request."""
    response: dict[str, object] | None = None
    error: dict[str, str] | None = None
    if job.responses:
        said = job.responses[0]
        response = {
            "status_code": said.status,
            "request_id": job.id,
            "body": msgspec.Raw(said.body),
        }
    elif job.state is not JobState.COMPLETED:
        code, message = _CODES.get(job.state, ("server_error", job.reason))
        error = {"code": code, "message": message}
    return {
        "id": f"batch_req_{job.id}",
        "custom_id": job.details.get("custom_id", ""),
        "response": response,
        "error": error,
    }
