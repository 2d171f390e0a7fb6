"""ProtoLLM's prompts as jobs of the daemon's own queue: no broker at all.

Clients choose their ids, and may use one twice.  The same prompt under the same id is the same job,
so that a call can be repeated; another prompt under it is a new job, and the id means the newest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import msgspec

from runnerd.access import Principal
from runnerd.jobs.fleet.protollm.prompts import ChatCompletionModel, chat_request
from runnerd.jobs.fleet.protollm.result_keys import JobStatus, Outcome
from runnerd.jobs.fleet.protollm.task_message import HIGHEST_PRIORITY
from runnerd.jobs.job import DERIVED_IDS, Job, JobState, NewJob, Prompt
from runnerd.jobs.queue import Selection, Submission

_STATUS = {
    JobState.QUEUED: JobStatus.PENDING,
    JobState.RUNNING: JobStatus.IN_PROGRESS,
    JobState.COMPLETED: JobStatus.COMPLETED,
}


@dataclass(frozen=True, slots=True)
class EmbeddedTicket:
    """A job of the daemon's queue."""

    queue: Submission
    id: str

    async def outcome(self) -> Outcome:
        last = None
        async for job in self.queue.watch(self.id):
            last = job
        if last is None or not last.state.ended:
            return Outcome(JobStatus.ERROR, error="the job was deleted")
        return _outcome(last)


class EmbeddedDesk:
    """Hands prompts to the daemon's queue."""

    def __init__(self, queue: Submission) -> None:
        self._queue = queue
        self.published: frozenset[str] = frozenset()

    async def submit(
        self,
        principal: Principal,
        prompt: ChatCompletionModel,
        *,
        model: str | None,
        queue: str,
        waited_for: bool,
    ) -> EmbeddedTicket:
        body = msgspec.json.encode(chat_request(prompt, None) | {"model": model})
        id = f"{DERIVED_IDS}{_print_of(principal.id, prompt.job_id, body.hex())}"
        new = NewJob(
            principal,
            model or "",
            (Prompt("/v1/chat/completions", body),),
            id=id,
            priority=max(0, min(prompt.priority or 0, HIGHEST_PRIORITY)),
            group=_group(principal, prompt.job_id),
            details={"protollm": prompt.job_id[:200], "queue_name": queue[:200]},
            waited_for=waited_for,
        )
        [job] = await self._queue.submit([new])
        return EmbeddedTicket(self._queue, job.id)

    async def find(self, principal: Principal, job_id: str) -> Outcome | None:
        group = _group(principal, job_id)
        listed = await self._queue.select(Selection(principal.id, group=group, limit=1))
        found = await self._queue.get([job.id for job in listed], principal=principal.id)
        return _outcome(found[0]) if found else None

    async def close(self) -> None:
        """The queue is the daemon's."""


def _group(principal: Principal, job_id: str) -> str:
    return f"protollm-{_print_of(principal.id, job_id)}"


def _print_of(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]


def _outcome(job: Job) -> Outcome:
    status = _STATUS.get(job.state, JobStatus.ERROR)
    if status is JobStatus.ERROR:
        return Outcome(status, error=job.reason or f"the job is {job.state}")
    return Outcome(status, job.output if status is JobStatus.COMPLETED else "")
