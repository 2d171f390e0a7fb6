"""ProtoLLM's API side over RabbitMQ and Redis: prompts go out as tasks, results are waited for.

In the order that real workers need: status and prompt are saved, the channels subscribed, and only
then is the task published.

Ids are each user's own.  On the wire there is one job of an id, under which ProtoLLM's own programs
look for it: whoever uses an id first has it so, and somebody else's job of that id has another one
there, which nobody but this desk gives out.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from runnerd.access import Principal
from runnerd.errors import Conflict, DatabaseFailure
from runnerd.jobs.fleet.announcements import LOOK_INTERVAL, Announcements
from runnerd.jobs.fleet.journaled_redis import JournaledRedis
from runnerd.jobs.fleet.protollm.environment import FleetEnvironment
from runnerd.jobs.fleet.protollm.prompts import ChatCompletionModel
from runnerd.jobs.fleet.protollm.result_keys import Outcome
from runnerd.jobs.fleet.protollm.task_message import DEFAULT_QUEUE, QUEUE_ARGUMENTS, TaskMessage
from runnerd.jobs.fleet.publisher import Publisher
from runnerd.jobs.fleet.result_store import ResultStore

_KEPT = 7 * 86400.0  # seconds
_OWN = "runnerd~"  # what ids begin with that only this desk gives out


@dataclass(frozen=True, slots=True)
class BrokerTicket:
    """A task that was published."""

    desk: PromptDesk
    job_id: str

    async def outcome(self) -> Outcome:
        return await self.desk.wait(self.job_id)


class PromptDesk:
    """Hands prompts to workers on other hosts."""

    def __init__(self, environment: FleetEnvironment) -> None:
        self._base_priority = environment.base_priority
        self._keys = environment.keys
        self.published = frozenset({DEFAULT_QUEUE, environment.queue})
        self._publisher = Publisher(environment.amqp_url, "runnerd")
        self._records = JournaledRedis(environment.amqp_url, environment.redis_url)
        self._store = ResultStore(self._records, environment.keys, kept=_KEPT)
        self._watch = Announcements(environment.redis_url)

    async def submit(
        self,
        principal: Principal,
        prompt: ChatCompletionModel,
        *,
        model: str | None,
        queue: str,
        waited_for: bool,
    ) -> BrokerTicket:
        """Publish a prompt; the message has no word for `waited_for`.

        Raises errors.DatabaseFailure while broker or Redis cannot be used.
        """
        priority = self._base_priority if prompt.priority is None else prompt.priority
        for job_id in _ids(principal, prompt.job_id):
            named = prompt.model_copy(update={"priority": priority, "job_id": job_id})
            pending = self._keys.pending(job_id, named.model_dump_json(), datetime.now())
            if await self._store.take(job_id, principal.id, pending):
                break
        else:  # as nobody else can have the last one
            raise Conflict(f"job_id {prompt.job_id[:100]!r} is taken", param="job_id")
        await self._publisher.publish(
            queue,
            TaskMessage(named).encode(),
            arguments=QUEUE_ARGUMENTS,
            priority=max(0, min(priority, 255)),
        )
        return BrokerTicket(self, job_id)

    async def find(self, principal: Principal, job_id: str) -> Outcome | None:
        """How a principal's job of an id stands.  Raises errors.DatabaseFailure."""
        for each in _ids(principal, job_id):
            if await self._store.owner(each) == principal.id:
                return await self._store.outcome(each)
        return None

    async def wait(self, job_id: str) -> Outcome:
        """The outcome, once there is one."""
        async with self._watch.on(self._keys.channels(job_id), LOOK_INTERVAL) as news:
            while True:
                news.clear()
                with contextlib.suppress(DatabaseFailure):
                    found = await self._store.outcome(job_id)
                    if found is not None and found.over:
                        return found
                await news.wait()

    async def close(self) -> None:
        """Close all connections."""
        await self._publisher.close()
        await self._watch.close()
        await self._store.close()
        await self._records.close()


def _ids(principal: Principal, job_id: str) -> Iterator[str]:
    """Under which ids a principal may have its job of an id, in the order of what is tried."""
    if not job_id.startswith(_OWN):
        yield job_id
    own = f"{principal.id}\n{job_id}".encode("utf-8", "surrogatepass")
    yield f"{_OWN}{hashlib.sha256(own).hexdigest()}"
