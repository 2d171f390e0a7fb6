"""Carries out ProtoLLM's tasks: claims a job, asks the daemon, writes the result, tells who waits.

The task is settled only after its result is in the journal and in Redis.  While one of them is away
the worker holds what it has; while the daemon is away tasks go back to the broker.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar

from runnerd import tasks
from runnerd.backoff import Backoff
from runnerd.errors import DatabaseFailure, Displaced
from runnerd.jobs.fleet.daemon_client import DaemonAway, DaemonClient, TaskRefused
from runnerd.jobs.fleet.deliveries import Delivery
from runnerd.jobs.fleet.protollm.prompts import chat_request
from runnerd.jobs.fleet.protollm.result_keys import Writes
from runnerd.jobs.fleet.protollm.task_message import BadTask, TaskMessage
from runnerd.jobs.fleet.result_store import Claimed, ResultStore

log = logging.getLogger(__name__)

T = TypeVar("T")

_AWAY = Backoff(0.1, 10.0)
_RETRY = Backoff(1.0, 30.0)
_ERROR_TYPES = {"504": "TimeoutError", "507": "MemoryError", "502": "ConnectionError"}


class PromptTasks:
    """Tasks of ProtoLLM queues on one host.

    `model_for(queue, named)` is the model to ask for a prompt that names one, or none.
    """

    def __init__(
        self,
        daemon: DaemonClient,
        store: ResultStore,
        model_for: Callable[[str, str | None], str | None],
        *,
        tries: int = 4,
        backoff: Backoff = _RETRY,
    ) -> None:
        self._daemon = daemon
        self._store = store
        self._model_for = model_for
        self._tries = tries
        self._backoff = backoff
        self._announcing: set[asyncio.Task[bool]] = set()

    async def carry_out(self, delivery: Delivery) -> None:
        """Bring a task to its end and settle it.  Raises DaemonAway, with the task unsettled."""
        try:
            task = TaskMessage.decode(delivery.body)
        except BadTask as error:
            await self._refuse(error)
        else:
            await self._survive(task, delivery)
        await delivery.done()

    async def announced(self) -> None:
        """Wait until nobody has to be told of a result any more."""
        if self._announcing:
            await asyncio.wait(self._announcing)

    async def _survive(self, task: TaskMessage, delivery: Delivery) -> None:
        """Carry out a task; one that meets a mistake of ours has failed, and holds up no others."""
        try:
            await self._run(task, delivery)
        except DaemonAway:
            raise
        except Exception:
            log.exception("job %s cannot be carried out", task.job_id)
            await self._refuse(BadTask("500: internal error of the worker", task.job_id))

    async def _run(self, task: TaskMessage, delivery: Delivery) -> None:
        job_id, keys = task.job_id, self._store.keys
        token = uuid.uuid4().hex
        claimed = await _patiently(
            lambda: self._store.claim(job_id, token, again=delivery.again), "claim a job"
        )
        if claimed is None:
            log.info("job %s has its result already", job_id)
            self._announce(job_id)
            return
        began = keys.in_progress(job_id, datetime.now())
        await _patiently(lambda: self._store.show(job_id, token, began), "begin a job")
        writes = await self._result(task, delivery.queue, claimed)
        kept = await _patiently(lambda: self._store.finish(job_id, token, writes), "keep a result")
        if kept:
            self._announce(job_id)
        else:
            log.warning("job %s was given to another worker meanwhile; not keeping ours", job_id)

    async def _result(self, task: TaskMessage, queue: str, claimed: Claimed) -> Writes:
        """What to write in the end.  A worker that died with the job counts as a try, too."""
        job_id, keys = task.job_id, self._store.keys
        reasons = list(claimed.reasons)
        if claimed.tries > self._tries:
            reasons.append("the workers that had it died or lost the broker")
        number = claimed.tries
        while number <= self._tries:
            try:
                text = await self._ask(task, queue, claimed.principal)
            except Displaced:  # no try: the host's own people came first
                await asyncio.sleep(self._pause(1, None))
            except TaskRefused as error:
                reasons.append(error.message)
                if not error.later:
                    break
                log.info("job %s, try %d: %s", job_id, number, error.message)
                await _patiently(
                    lambda: self._store.tried(job_id, claimed.token, reasons), "note a try"
                )
                number += 1
                if number <= self._tries:
                    await asyncio.sleep(self._pause(number - 1, error.retry_after))
            else:
                return keys.completed(job_id, text, datetime.now())
        words = "; ".join(dict.fromkeys(reasons))
        log.warning("job %s has failed: %s", job_id, words)
        kind = _ERROR_TYPES.get(reasons[-1][:3], "ValidationError")
        return keys.failed(job_id, kind, words, datetime.now())

    def _pause(self, failures: int, retry_after: float | None) -> float:
        pause = self._backoff.pause(failures) * (0.5 + random.random() / 2)
        return min(max(pause, retry_after or 0.0), self._backoff.longest)

    async def _ask(self, task: TaskMessage, queue: str, whose: str) -> str:
        model = self._model_for(queue, task.prompt.meta.model)
        if model is None:
            raise TaskRefused(
                "404: the prompt names no model that is here, and its queue has none", later=False
            )
        request = chat_request(task.prompt, model) | {"model": model}
        body = await self._daemon.ask(
            "/v1/chat/completions", json.dumps(request).encode(), on_behalf_of=whose
        )
        try:
            return str(json.loads(body)["choices"][0]["message"]["content"] or "")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise TaskRefused("502: the response is none to a chat", later=True) from error

    async def _refuse(self, error: BadTask) -> None:
        """What cannot be read will never be: whoever waits for it is told, if anybody is named."""
        log.warning("a task is refused: %s", error.message)
        job_id = error.job_id
        if job_id is None:
            return
        writes = self._store.keys.failed(job_id, "ValidationError", error.message, datetime.now())
        token = uuid.uuid4().hex
        await _patiently(lambda: self._store.claim(job_id, token, again=False), "claim a job")
        await _patiently(lambda: self._store.finish(job_id, token, writes), "refuse a job")
        self._announce(job_id)

    def _announce(self, job_id: str) -> None:
        task = tasks.spawn(
            self._store.announce_until_heard(self._store.keys.channels(job_id)),
            name=f"announce {job_id}",
        )
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)


async def _patiently(call: Callable[[], Awaitable[T]], what: str) -> T:
    """Repeat a call until Redis and the journal answer."""
    failures = 0
    while True:
        try:
            return await call()
        except DatabaseFailure as error:
            failures += 1
            if failures == 1:
                log.warning("cannot %s: %s; trying until it works", what, error.message)
            await asyncio.sleep(_AWAY.pause(failures))
