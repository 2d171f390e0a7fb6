"""A job as everybody sees it: what was asked, how it stands, what came of it.

Wire contracts (GridRepublic's jobs, OpenAI's batches, ProtoLLM) translate to and from this; what
only they know of a job goes into `details`.
"""

from __future__ import annotations

import enum
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from runnerd.access import Principal

LEAST_PRIORITY, MOST_PRIORITY = -100, 100

DERIVED_IDS = "protollm-"
"""How ids begin that follow from what was submitted: nobody chooses one, lest it is another's."""

_OF = "~"


class JobState(enum.StrEnum):
    """
    queued -> running -> completed | failed
       ^         |
       +---------+  given back, tried again, or its worker was lost

    Whatever has not ended can become `cancelled` (somebody asked) or `expired` (its deadline).
    """

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class Prompt:
    """One request of a job: an inference route of the daemon, and the body to ask it with."""

    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for one prompt; a status of 400 or more is an error of that prompt alone."""

    status: int
    body: bytes
    content_type: str = "application/json"


class AttemptEnd(enum.StrEnum):
    """How an attempt ended that did not complete its job."""

    FAILED = "failed"
    LOST = "lost"  # the worker died, or was not heard of for longer than its lease


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try that came to nothing, and why.  Times are Unix time in seconds."""

    worker: str
    started: float
    ended: float
    end: AttemptEnd
    reason: str


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job as it is submitted.

    `id` makes submitting idempotent: the same id of the same principal is the same job.  `group`
    is what jobs have in common that were submitted together (copies, a batch), `copy` the number
    among identical ones.  `priority` is a head start in the queue, `deadline` (Unix time) ends the
    job if it has not ended by then, `runtime` (seconds) each attempt.  `streams`: its output is to
    grow while it runs.  `waited_for`: somebody waits for it as for the response to a request, so it
    is none of the work that is done in pauses.
    """

    principal: Principal
    model: str
    prompts: tuple[Prompt, ...]
    id: str = ""
    priority: int = 0
    deadline: float | None = None
    runtime: float | None = None
    group: str = ""
    copy: int = 0
    streams: bool = False
    details: Mapping[str, str] = field(default_factory=dict)
    waited_for: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it stands.

    `responses` are those of its first prompts so far, all of them once it has completed.
    `output` is the text of the attempt that runs or has completed it, as far as it has come.
    `attempts` are those that came to nothing; `reason` says why it has failed.  `started` is when
    the last attempt began, `ended` when the job did.  `prompts` is empty where only a list of jobs
    was asked for.  `worker` has it, or had it last; `given_back` is how often workers have given
    it back untouched.
    """

    id: str
    principal: Principal
    model: str
    state: JobState
    created: float
    prompts: tuple[Prompt, ...] = ()
    priority: int = 0
    deadline: float | None = None
    runtime: float | None = None
    group: str = ""
    copy: int = 0
    streams: bool = False
    details: Mapping[str, str] = field(default_factory=dict)
    started: float | None = None
    ended: float | None = None
    attempts: tuple[Attempt, ...] = ()
    reason: str = ""
    output: str = ""
    responses: tuple[Response, ...] = ()
    waited_for: bool = False
    worker: str = ""
    given_back: int = 0

    def seconds(self, now: float) -> float:
        """How long its last attempt has run, or ran."""
        if self.started is None:
            return 0.0
        return max(0.0, (now if self.ended is None else self.ended) - self.started)


def queued(id: str, new: NewJob, created: float) -> Job:
    """A job that has just been submitted."""
    return Job(
        id,
        new.principal,
        new.model,
        JobState.QUEUED,
        created,
        new.prompts,
        new.priority,
        new.deadline,
        new.runtime,
        new.group,
        new.copy,
        new.streams,
        dict(new.details),
        waited_for=new.waited_for,
    )


def new_id() -> str:
    """An id that no other job has: 32 hexadecimal digits, later ones behind earlier ones.

    Ids that grow keep the index of a large queue small where it is written to.
    """
    return f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"


def chosen_id(principal: str, text: str) -> str:
    """The id in the queue of a job for which a principal (its id) has chosen one.

    Two may choose the same; neither can tell by it that the other one has a job.
    """
    return f"{text}{_OF}{principal.encode().hex()}"


def as_chosen(id: str) -> str:
    """A job's id as who submitted it knows it."""
    return id.partition(_OF)[0]


def is_id(text: str) -> bool:
    """Whether a text can be a job's id: 1 to 64 letters, digits, `-` and `_`."""
    plain = text.replace("-", "").replace("_", "")
    return 0 < len(text) <= 64 and plain.isascii() and plain.isalnum()
