"""`runnerd worker` between a real RabbitMQ, a real Redis and a real daemon."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import aio_pika
import pytest
from redis import Redis as Client

from runnerd.jobs.fleet.protollm.prompts import ChatCompletionModel, ChatMessage, PromptMeta
from runnerd.jobs.fleet.protollm.task_message import QUEUE_ARGUMENTS, TaskMessage
from tests.support.brokers import LOGIN, PASSWORD, RabbitMQ, Redis, running_rabbitmq, running_redis
from tests.support.daemon import DaemonProcess, running
from tests.support.waiting import SECONDS, wait_for

pytestmark = pytest.mark.engine

_DEMO = Path(__file__).parents[2] / "demo" / "demo-a.gguf"
QUESTION = "What is your name?"
ANSWER = "My name is Demo A."


class Site:
    """A broker, a result store, and one host with a model."""

    def __init__(self, rabbitmq: RabbitMQ, redis: Redis, daemon: DaemonProcess) -> None:
        self.rabbitmq = rabbitmq
        self.redis = redis
        self.daemon = daemon
        self.results = Client.from_url(redis.url)

    @property
    def environment(self) -> dict[str, str]:
        """ProtoLLM's variables."""
        return {
            "RABBIT_MQ_HOST": "127.0.0.1",
            "RABBIT_MQ_PORT": str(self.rabbitmq.port),
            "RABBIT_MQ_LOGIN": LOGIN,
            "RABBIT_MQ_PASSWORD": PASSWORD,
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(self.redis.port),
            "QUEUE_NAME": "llm-api-queue",
        }

    @contextmanager
    def worker(self, *flags: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker for the length of a with block."""
        process = self.start_worker(*flags, log=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
        assert b"Traceback" not in log.read_bytes(), log.read_text()

    def start_worker(self, *flags: str, log: Path) -> subprocess.Popen[bytes]:
        """Start a worker; end it."""
        with open(log, "ab") as output:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "runnerd"),
                    *("--host", f"unix://{self.daemon.socket}", "worker", *flags),
                ],
                env={**os.environ, **self.environment},
                stdout=output,
                stderr=output,
            )

    async def publish(self, *messages: TaskMessage, queue: str = "llm-api-queue") -> None:
        """Publish tasks as ProtoLLM's API does."""
        connection = await aio_pika.connect(self.rabbitmq.url)
        async with connection:
            channel = await connection.channel()
            await channel.declare_queue(queue, durable=True, arguments=QUEUE_ARGUMENTS)
            for message in messages:
                await channel.default_exchange.publish(
                    aio_pika.Message(message.encode(), delivery_mode=2, priority=1), queue
                )

    def result(self, job_id: str) -> str | None:
        """The text that a client of either generation reads, which has to be the same."""
        first = self.results.get(f"llm-api:{job_id}")
        if first is None:
            return None
        answer = self.results.get(f"job-answer:{job_id}")
        text = json.loads(first)["content"]
        assert answer is None or json.loads(answer)["result"] == text
        return str(text)


def task(job_id: str, content: str = QUESTION, **meta: object) -> TaskMessage:
    """A task as ProtoLLM's API makes it."""
    return TaskMessage(
        ChatCompletionModel(
            job_id=job_id,
            priority=1,
            meta=PromptMeta.model_validate({"temperature": 0, "tokens_limit": 32} | meta),
            messages=[ChatMessage(role="user", content=content)],
        )
    )


@contextmanager
def running_site(root: Path, clock: Path | None = None) -> Iterator[Site]:
    """All of it, for the length of a with block."""
    with (
        running_redis(root / "redis", clock=clock) as redis,
        running_rabbitmq(root / "rabbitmq") as rabbitmq,
        running(root / "daemon") as daemon,
    ):
        daemon.import_model(_DEMO, "demo-a")
        found = Site(rabbitmq, redis, daemon)
        yield found
        found.results.close()


async def test_once(site: Site, tmp_path: Path) -> None:
    """It takes one task, writes the result for both generations, and ends."""
    await site.publish(task("once"))
    with site.worker("--once", log=tmp_path / "log") as worker:
        assert worker.wait(60 * SECONDS) == 0
    assert site.result("once") == ANSWER
    status = json.loads(site.results.get("job-status:once") or b"")
    assert (status["status"], status["is_completed"], status["error"]) == ("completed", True, None)
    assert json.loads(site.results.get("job-answer:once") or b"") == {"result": ANSWER}


async def test_many(site: Site, tmp_path: Path) -> None:
    """Every task has its result, and nothing is left in the queue when the worker drains."""
    await site.publish(*(task(f"many-{number}") for number in range(20)))
    with site.worker("--queue", "llm-api-queue=demo-a", log=tmp_path / "log") as worker:
        for number in range(20):
            wait_for(lambda: site.result(f"many-{number}"), "a result")  # noqa: B023
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60 * SECONDS) == 0
    assert {site.result(f"many-{number}") for number in range(20)} == {ANSWER}


async def test_what_cannot_be_read(site: Site, tmp_path: Path) -> None:
    """Whoever waits for it is told, and the next task is done."""
    connection = await aio_pika.connect(site.rabbitmq.url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue("llm-api-queue", durable=True, arguments=QUEUE_ARGUMENTS)
        for body in (b"\xff", b"[]", b'{"kwargs":{"prompt":{"job_id":"bad"}}}'):
            await channel.default_exchange.publish(aio_pika.Message(body), "llm-api-queue")
    await site.publish(task("after"))
    with site.worker(log=tmp_path / "log"):
        wait_for(lambda: site.result("after"), "the good task's result")
        wait_for(lambda: site.result("bad"), "what is wrong with the bad task")
    assert json.loads(site.results.get("job-status:bad") or b"")["status"] == "error"
    assert "meta" in (site.result("bad") or "")


@pytest.mark.timeout(300)
async def test_the_broker_restarts(own_site: Site, tmp_path: Path) -> None:
    """The worker connects again, by itself.

    Killed as early as here RabbitMQ may not find the journal again (docs/fleet.md); killed later it
    is in tests/faults.
    """
    with own_site.worker(log=tmp_path / "log"):
        await own_site.publish(task("before"))
        wait_for(lambda: own_site.result("before"), "a result")
        own_site.rabbitmq.control("stop_app")
        own_site.rabbitmq.control("start_app")
        await own_site.publish(task("later"))
        wait_for(lambda: own_site.result("later"), "a result after the restart", limit=60 * SECONDS)


async def test_the_daemon_restarts(own_site: Site, tmp_path: Path) -> None:
    """Tasks wait for it in the broker."""
    with own_site.worker(log=tmp_path / "log"):
        await own_site.publish(task("with"))
        wait_for(lambda: own_site.result("with"), "a result")
        own_site.daemon.kill()
        await own_site.publish(task("without"))
        own_site.daemon.start()
        wait_for(lambda: own_site.result("without"), "a result", limit=60 * SECONDS)
