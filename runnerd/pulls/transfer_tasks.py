"""Work that belongs to nobody in particular: whoever is interested follows it.

A job runs as a task of its own.  A follower first sees how far everything is and then what changes,
only the newest of each file: a slow one misses steps, never the end.  A follower that leaves
changes nothing; a job ends early only when it is cancelled by its id.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Literal

from runnerd import tasks
from runnerd.errors import Conflict, InternalError, RunnerdError
from runnerd.models.intake import Progress
from runnerd.models.model import Model

Kind = Literal["pull", "push"]

_REPORT_INTERVAL = 0.1  # seconds between two reports of one file


class TransferTask:
    """One pull or push: how far it is, and in the end its model or its error."""

    def __init__(self, kind: Kind, reference: str, owner: str | None = None) -> None:
        """`owner` is the id of the principal who asked for it."""
        self.id = secrets.token_hex(6)
        self.kind = kind
        self.reference = reference
        self.owner = owner
        self.began_at = time.time()
        self.total = 0
        self.names: dict[str, str] = {}  # of files, by their layers
        self.moved = False  # whether anything had to be transferred
        self._news: dict[str, tuple[int, Progress]] = {}
        self._version = 0
        self._reported_at: dict[str, float] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[Model] | None = None
        self._reason = f"the {kind} of {reference} was cancelled; what has arrived stays"

    def start(
        self, work: Callable[[], Coroutine[Any, Any, Model]], ended: Callable[[], None]
    ) -> None:
        """Begin; `ended` is called once, however it ends."""

        def done(task: asyncio.Task[Model]) -> None:
            ended()
            self._wake()

        self._task = tasks.spawn(work(), name=f"{self.kind} {self.reference}")
        self._task.add_done_callback(done)

    def cancel(self, reason: str = "") -> None:
        """Ask the job to end; what has arrived stays for the next attempt."""
        self._reason = reason or self._reason
        if self._task is not None:
            self._task.cancel()

    async def wait_ended(self) -> None:
        """Wait until the job has ended, in whatever way."""
        if self._task is not None:
            await asyncio.wait([self._task])

    # what the work reports

    def say(self, message: str) -> None:
        """Tell the followers something that no number says."""
        self._put(f"#{len(self._news)}", Progress(self.total, "", 0, 0, message))

    def progressed(self, layer: str, size: int, current: int) -> None:
        """Report one file; followers hear of it every tenth of a second at most, and of its end."""
        now, name = time.monotonic(), self.names.get(layer, "")
        progress = Progress(self.total, layer, size, current, name=name)
        if current < size and now - self._reported_at.get(layer, -math.inf) < _REPORT_INTERVAL:
            # Who asks is told how far it is, also when nothing more comes for a long time.
            self._news[layer] = (self._news[layer][0], progress)
            return
        self._reported_at[layer] = now
        self._put(layer, progress)

    def state_of(self, layer: str) -> Progress | None:
        """Return the newest report of one file."""
        found = self._news.get(layer)
        return found[1] if found else None

    def files(self) -> list[Progress]:
        """Return the newest report of every file."""
        return [progress for _, progress in self._news.values() if progress.layer]

    @property
    def current(self) -> int:
        """The bytes that are there, of all files."""
        return sum(progress.layer_current for _, progress in self._news.values())

    def _put(self, key: str, progress: Progress) -> None:
        self._version += 1
        self._news[key] = (self._version, progress)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # what followers get

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._task is not None and self._task.done()

    @property
    def failed(self) -> bool:
        """Whether it has ended without its model."""
        task = self._task
        return task is not None and task.done() and (task.cancelled() or bool(task.exception()))

    @property
    def model(self) -> Model:
        """The model, once the job has ended well.  Raises the job's error otherwise."""
        assert self._task is not None
        if self._task.cancelled():
            raise Conflict(self._reason)
        error = self._task.exception()
        if error is None:
            return self._task.result()
        if isinstance(error, RunnerdError):
            raise error
        raise InternalError() from error

    async def follow(self) -> AsyncIterator[Progress]:
        """Yield where everything is and then every change, to the end.  Raises the job's error."""
        seen = 0
        while True:
            changed, done = self._changed, self.done
            for version, progress in sorted(self._news.values(), key=lambda entry: entry[0]):
                if version > seen:
                    seen = version
                    yield progress
            if done:
                break
            await changed.wait()
        self.model  # noqa: B018  # raises what went wrong

    def to_json(self) -> dict[str, object]:
        """Return the job as the API lists it."""
        layers = [progress for _, progress in self._news.values() if progress.layer]
        return {
            "id": self.id,
            "kind": self.kind,
            "model": self.reference,
            "began_at": int(self.began_at),
            # An address may tell how large its file is only with the file.
            "total": self.total or sum(layer.layer_size for layer in layers),
            "current": self.current,
            "layers": [
                {"id": layer.layer, "size": layer.layer_size, "current": layer.layer_current}
                for layer in layers
            ],
        }


class Subscription:
    """One follower's view of a job: an iterator of progress, and afterwards the `model`.  `began`
    says that the job is there because this follower asked for it.
    """

    def __init__(self, job: TransferTask, *, began: bool = False) -> None:
        self.job = job
        self.began = began
        self._steps = job.follow()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Progress:
        return await anext(self._steps)

    @property
    def model(self) -> Model:
        """The model, once the iteration has ended.  Raises the job's error otherwise."""
        return self.job.model

    async def result(self) -> Model:
        """Wait for the end and return the model.  Raises the job's error."""
        async for _ in self:
            pass
        return self.model
