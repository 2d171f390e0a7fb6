"""What becomes of ProtoLLM's tasks, with a daemon that answers as it is told and a real Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import pytest

from runnerd.backoff import Backoff
from runnerd.errors import Displaced
from runnerd.jobs.fleet.daemon_client import DaemonAway, DaemonClient, TaskRefused
from runnerd.jobs.fleet.deliveries import Delivery
from runnerd.jobs.fleet.prompt_tasks import PromptTasks
from runnerd.jobs.fleet.protollm.result_keys import JobStatus, Outcome
from runnerd.jobs.fleet.redis_client import open_redis
from runnerd.jobs.fleet.result_store import ResultStore
from tests.integration.test_worker import task
from tests.support.brokers import Redis, running_redis
from tests.support.prompt_results import ListedJournal, open_store


class FakeDaemon:
    """Answers with one thing after the other; errors are raised."""

    def __init__(self, *answers: str | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def ask(self, path: str, body: bytes, *, on_behalf_of: str = "") -> bytes:
        self.asked.append(json.loads(body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return json.dumps({"choices": [{"message": {"content": answer}}]}).encode()


class FakeDelivery:
    """A task that notes whether it was settled."""

    queue = "q"

    def __init__(self, body: bytes, *, again: bool = False) -> None:
        self.body = body
        self.again = again
        self.is_done = False

    async def done(self) -> None:
        self.is_done = True


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with running_redis(tmp_path_factory.mktemp("redis")) as found:
        yield found


@pytest.fixture
async def store(redis: Redis) -> AsyncIterator[ResultStore]:
    async with open_store(redis.url, ListedJournal()) as found:
        yield found


async def carried_out(
    store: ResultStore, daemon: FakeDaemon, id: str, *, again: bool = False
) -> Outcome | None:
    """The outcome of a task."""
    prompts = PromptTasks(
        cast("DaemonClient", daemon), store, lambda queue, named: "m", backoff=Backoff(0.001, 0.01)
    )
    delivery = FakeDelivery(task(id).encode(), again=again)
    await prompts.carry_out(cast("Delivery", delivery))
    assert delivery.is_done
    async with _somebody_listens(store, id):
        await prompts.announced()
    return await store.outcome(id)


class _somebody_listens:
    """A subscriber of a job's channels, so that nobody announces for seconds."""

    def __init__(self, store: ResultStore, id: str) -> None:
        self._redis = open_redis(store.redis_url)
        self._pubsub = self._redis.pubsub()
        self._channels = store.keys.channels(id)

    async def __aenter__(self) -> None:
        await self._pubsub.subscribe(*self._channels)

    async def __aexit__(self, *_: object) -> None:
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]
        await self._redis.aclose()


async def test_completed(store: ResultStore) -> None:
    """A chat becomes its text; the second delivery of a task that is done asks nobody."""
    daemon = FakeDaemon("text")
    assert await carried_out(store, daemon, "a") == Outcome(JobStatus.COMPLETED, "text")
    assert daemon.asked[0]["model"] == "m"
    again = await carried_out(store, FakeDaemon(), "a", again=True)
    assert again == Outcome(JobStatus.COMPLETED, "text")


async def test_tried_again(store: ResultStore) -> None:
    """What may go better is tried again."""
    daemon = FakeDaemon(TaskRefused("502: oops", later=True), "text")
    assert await carried_out(store, daemon, "b") == Outcome(JobStatus.COMPLETED, "text")


async def test_room_for_people(store: ResultStore) -> None:
    """Making room for who waits at the host is no try, however often."""
    daemon = FakeDaemon(*[Displaced("it made room")] * 9, "text")
    assert await carried_out(store, daemon, "p") == Outcome(JobStatus.COMPLETED, "text")


async def test_failed(store: ResultStore) -> None:
    """After four tries, with all reasons; what cannot go better fails at once."""
    oops = [TaskRefused(f"502: oops {n}", later=True) for n in range(4)]
    found = await carried_out(store, FakeDaemon(*oops), "c")
    assert found is not None
    assert (found.status, found.error.count("oops")) == (JobStatus.ERROR, 4)
    refused = await carried_out(store, FakeDaemon(TaskRefused("400: no", later=False)), "d")
    assert refused == Outcome(JobStatus.ERROR, error="400: no")


async def test_a_daemon_that_is_away(store: ResultStore) -> None:
    """The task is not settled, for somebody else to have."""
    prompts = PromptTasks(
        cast("DaemonClient", FakeDaemon(DaemonAway("gone"))), store, lambda queue, named: "m"
    )
    delivery = FakeDelivery(task("e").encode())
    with pytest.raises(DaemonAway):
        await prompts.carry_out(cast("Delivery", delivery))
    assert not delivery.is_done


@pytest.mark.parametrize("body", [b'{"kwargs":{"prompt":{"job_id":"\\ud800"}}}', b"[" * 100_000])
async def test_what_nobody_can_read(store: ResultStore, body: bytes) -> None:
    """It is settled: one that stayed would take a place of the worker for good."""
    prompts = PromptTasks(cast("DaemonClient", FakeDaemon()), store, lambda queue, named: "m")
    delivery = FakeDelivery(body)
    await prompts.carry_out(cast("Delivery", delivery))
    assert delivery.is_done


async def test_a_mistake_of_ours(store: ResultStore) -> None:
    """The job has failed, which whoever waits is told, and its task is settled."""
    found = await carried_out(store, FakeDaemon(ZeroDivisionError("oops")), "f")
    assert found == Outcome(JobStatus.ERROR, error="500: internal error of the worker")
