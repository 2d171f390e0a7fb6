"""What a worker writes to Redis for a ProtoLLM job, in which order, and what an API reads there.

    generation  key                              value
    first       {prefix}:{job_id}                {"content": text}
    second      {status_prefix}:{job_id}         {"status", "last_update", "status_message",
                                                  "is_completed", "error"}
                {answer_prefix}:{job_id}         {"result": text}
                prompt:{job_id}                  the conversation

Every save of a result or a status is followed by the message `set` on a channel that is called as
the key.  The answer is written before the status that announces it: an API that sees the status
first finds no answer and fails.  The first generation knows no errors, so its clients get the
words of one as their result; else they would wait for ever.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

ANNOUNCEMENT = "set"
_CREATED = "Job is created"
_WORKING = "working"
_ERROR_TYPES = frozenset({"ValidationError", "ConnectionError", "TimeoutError", "MemoryError"})


class Generation(enum.Enum):
    """Which of the two published contracts."""

    FIRST = "1.0"
    SECOND = "1.1"


class JobStatus(enum.Enum):
    """How far a job of the second generation is."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Writes:
    """Keys to set, in this order, and then the channels to announce it on."""

    keys: tuple[tuple[str, str], ...]
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job stands: `text` once it is completed, `error` the words of its failure."""

    status: JobStatus
    text: str = ""
    error: str = ""

    @property
    def over(self) -> bool:
        return self.status in (JobStatus.COMPLETED, JobStatus.ERROR)


@dataclass(frozen=True, slots=True)
class ResultKeys:
    """The keys of all jobs; the prefixes are what API and workers have to agree on."""

    prefix: str = "llm-api"
    status_prefix: str = "job-status"
    answer_prefix: str = "job-answer"
    generations: frozenset[Generation] = frozenset(Generation)

    def pending(self, job_id: str, prompt_json: str, now: datetime) -> Writes:
        """Before the task is published; the second generation's workers fail without it."""
        if Generation.SECOND not in self.generations:
            return Writes((), ())
        status = self._status(job_id, JobStatus.PENDING, now, message=_CREATED)
        return Writes(((f"prompt:{job_id}", prompt_json), *status.keys), status.channels)

    def in_progress(self, job_id: str, now: datetime) -> Writes:
        """When a worker begins."""
        if Generation.SECOND not in self.generations:
            return Writes((), ())
        return self._status(job_id, JobStatus.IN_PROGRESS, now, message=_WORKING)

    def completed(self, job_id: str, text: str, now: datetime) -> Writes:
        """When the result is there."""
        parts = []
        if Generation.SECOND in self.generations:
            answer = (self._answer_key(job_id), json.dumps({"result": text}))
            parts += [
                Writes((answer,), ()),
                self._status(job_id, JobStatus.COMPLETED, now),
            ]
        if Generation.FIRST in self.generations:
            parts.append(self._content(job_id, text))
        return _together(parts)

    def failed(self, job_id: str, kind: str, words: str, now: datetime) -> Writes:
        """When there will be no result; `kind` is one of the second generation's error types."""
        parts = []
        if Generation.SECOND in self.generations:
            error = {"type": kind if kind in _ERROR_TYPES else "Exception", "msg": words}
            parts.append(self._status(job_id, JobStatus.ERROR, now, error=error))
        if Generation.FIRST in self.generations:
            parts.append(self._content(job_id, words))
        return _together(parts)

    def channels(self, job_id: str) -> tuple[str, ...]:
        """Where news of a job are announced."""
        names = {
            Generation.FIRST: f"{self.prefix}:{job_id}",
            Generation.SECOND: self.status_key(job_id),
        }
        return tuple(name for each, name in names.items() if each in self.generations)

    def status_key(self, job_id: str) -> str:
        """Where the second generation keeps the status."""
        return f"{self.status_prefix}:{job_id}"

    def to_read(self, job_id: str) -> tuple[str, str, str]:
        """The keys whose values `outcome` takes, in its order."""
        return self.status_key(job_id), self._answer_key(job_id), f"{self.prefix}:{job_id}"

    def _answer_key(self, job_id: str) -> str:
        return f"{self.answer_prefix}:{job_id}"

    def _content(self, job_id: str, text: str) -> Writes:
        key = f"{self.prefix}:{job_id}"
        return Writes(((key, json.dumps({"content": text})),), (key,))

    def _status(
        self,
        job_id: str,
        status: JobStatus,
        now: datetime,
        *,
        message: str | None = None,
        error: dict[str, str] | None = None,
    ) -> Writes:
        document = {
            "status": status.value,
            "last_update": now.strftime("%Y-%m-%dT%H:%M:%S"),
            "status_message": message,
            "is_completed": status in (JobStatus.COMPLETED, JobStatus.ERROR),
            "error": error,
        }
        key = self.status_key(job_id)
        return Writes(((key, json.dumps(document)),), (key,))


def outcome(status: bytes | None, answer: bytes | None, content: bytes | None) -> Outcome | None:
    """How a job stands by what its keys hold (`ResultKeys.to_read`); None if there is no such job.

    Whatever is under a key was written by somebody else: what cannot be read counts as not there.
    """
    second = _second(_document(status), _document(answer))
    if second is not None and second.over:
        return second
    first = _document(content)
    if isinstance(text := first.get("content"), str):
        return Outcome(JobStatus.COMPLETED, text)
    return second


def _second(status: dict[str, object], answer: dict[str, object]) -> Outcome | None:
    try:
        found = JobStatus(status.get("status"))
    except ValueError:
        return None
    if found is JobStatus.ERROR:
        error = status.get("error")
        words = error.get("msg") if isinstance(error, dict) else None
        return Outcome(found, error=str(words or "the worker gave no reason"))
    if found is JobStatus.COMPLETED:
        text = answer.get("result")
        # A status that was written before its answer: the answer is about to come.
        return Outcome(found, text) if isinstance(text, str) else Outcome(JobStatus.IN_PROGRESS)
    return Outcome(found)


def _document(value: bytes | None) -> dict[str, object]:
    try:
        document = json.loads(value) if value else {}
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _together(parts: Iterable[Writes]) -> Writes:
    parts = list(parts)
    return Writes(
        tuple(key for each in parts for key in each.keys),
        tuple(channel for each in parts for channel in each.channels),
    )
