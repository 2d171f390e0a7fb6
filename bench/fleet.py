"""The fleet's queue against the bare broker, and a Celery worker that does nothing.

    python -m bench.fleet [--jobs N] [--celery PYTHON]
    python -m bench.fleet --backlog JOBS [--seconds SECONDS]

RabbitMQ and Redis are those that the tests start.  PYTHON is that of an
environment with `celery[redis]`.  Publishers have 64 messages under way; bodies are those of a
short chat.  Everything runs one after the other, and the ratios are what counts.

With --backlog so many jobs are submitted, and then completed, for at most SECONDS each.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aio_pika
import msgspec
from redis.asyncio import Redis as Client

from runnerd.access.principals import user_principal
from runnerd.jobs.fleet.journal import ARGUMENTS
from runnerd.jobs.fleet.queue import FleetQueue
from runnerd.jobs.job import NewJob, Prompt, Response
from runnerd.jobs.sqlite.state import QueueRules
from tests.support.brokers import RabbitMQ, Redis, running_rabbitmq, running_redis

_BESIDE = 64
_BODY = msgspec.json.encode(
    {"model": "m", "messages": [{"role": "user", "content": "What is your name?"}]}
)
_RESPONSE = Response(200, b'{"choices":[{"message":{"content":"x"}}]}')
_QUORUM: dict[str, Any] = {"x-queue-type": "quorum"}

_CELERY = """
    import sys, time
    from celery import Celery
    app = Celery("bench", broker=sys.argv[1], backend=sys.argv[2])
    app.conf.broker_transport_options = {"confirm_publish": True}
    app.conf.worker_prefetch_multiplier = 64
    @app.task(name="nothing")
    def nothing(body): return "x"
    if __name__ == "__main__":
        number = int(sys.argv[3])
        began = time.monotonic()
        results = [nothing.delay("x" * 90) for _ in range(number)]
        published = time.monotonic() - began
        if sys.argv[4] == "wait":
            while not results[-1].ready(): time.sleep(0.01)
            for each in results: each.get()
        print(number / published, number / (time.monotonic() - began))
"""


async def rate(number: int, one: Callable[[], Awaitable[object]]) -> float:
    """How often a second something is done, so many beside each other."""
    left = iter(range(number))

    async def work() -> None:
        for _ in left:
            await one()

    began = time.monotonic()
    await asyncio.gather(*(work() for _ in range(_BESIDE)))
    return number / (time.monotonic() - began)


async def bare(rabbitmq: RabbitMQ, name: str, arguments: dict[str, Any], number: int) -> float:
    """Confirmed messages a second."""
    connection = await aio_pika.connect(rabbitmq.url)
    async with connection:
        channel = await connection.channel()
        await channel.declare_queue(name, durable=True, arguments=arguments)
        message = aio_pika.Message(_BODY, delivery_mode=2)
        return await rate(number, lambda: channel.default_exchange.publish(message, name))


async def drained(queue: FleetQueue, workers: int, number: int) -> float:
    """Jobs completed a second by workers that have nothing to compute."""
    done = 0

    async def work(name: str) -> None:
        nonlocal done
        while done < number:
            claims = await queue.claim(name, limit=16)
            await asyncio.gather(*(queue.finish(claim, "x", [_RESPONSE]) for claim in claims))
            done += len(claims)

    began = time.monotonic()
    await asyncio.gather(*(work(f"w{n}") for n in range(workers)))
    return number / (time.monotonic() - began)


async def measure(rabbitmq: RabbitMQ, redis: Redis, number: int) -> None:
    """Print the figures."""
    quorum = await bare(rabbitmq, "bench.quorum", _QUORUM, number)
    stream = await bare(rabbitmq, "bench.stream", ARGUMENTS, number)
    print(f"bare broker, confirmed: quorum queue {quorum:.0f}/s, stream {stream:.0f}/s")
    queue = FleetQueue(rabbitmq.url, redis.url, QueueRules())
    await queue.open()
    job = NewJob(user_principal("bench", "key"), "m", (Prompt("/v1/chat/completions", _BODY),))
    one = await rate(number, lambda: queue.submit([job]))
    print(f"submitted one by one: {one:.0f}/s, {one / quorum:.2f} of the quorum queue")
    many = 100 * await rate(max(_BESIDE, number // 100), lambda: queue.submit([job] * 100))
    print(f"submitted by hundreds: {many:.0f}/s, {many / quorum:.2f} of the quorum queue")
    ids = [each.id for each in await queue.submit([job] * 10)]
    polled = await rate(number, lambda: queue.get(ids[:1]))
    print(f"polled: {polled:.0f}/s")
    for workers in (1, 4):
        print(f"completed by {workers} workers: {await drained(queue, workers, number // 2):.0f}/s")
    await queue.close()


async def backlog(rabbitmq: RabbitMQ, redis: Redis, most: int, seconds: float) -> None:
    """Print how long it took to submit so many jobs, what a claim costs with all of them there, and
    how many could be completed.
    """
    queue = FleetQueue(rabbitmq.url, redis.url, QueueRules())
    await queue.open()
    job = NewJob(user_principal("bench", "key"), "m", (Prompt("/v1/chat/completions", _BODY),))
    number, began = 0, time.monotonic()
    left = iter(range(most // 100))

    async def submit() -> None:
        nonlocal number
        for _ in left:
            submitted = await queue.submit([job] * 100)
            number += len(submitted)
            if time.monotonic() - began > seconds:
                return

    await asyncio.gather(*(submit() for _ in range(_BESIDE // 8)))
    took = time.monotonic() - began
    client = Client.from_url(redis.url)
    memory = (await client.info("memory"))["used_memory"] / number
    await client.aclose()
    print(f"{number} jobs in {took:.0f} s, {memory:.0f} bytes of Redis for each")
    claims, began = [], time.monotonic()
    for _ in range(100):
        claims += await queue.claim("w", limit=1)
    print(f"a claim of one takes {(time.monotonic() - began) * 10:.1f} ms")
    await asyncio.gather(*(queue.finish(claim, "x", [_RESPONSE]) for claim in claims))
    done, began, until = len(claims), time.monotonic(), time.monotonic() + seconds

    async def work(name: str) -> None:
        nonlocal done
        while time.monotonic() < until:
            claims = await queue.claim(name, limit=64)
            if not claims:
                return
            await asyncio.gather(*(queue.finish(each, "x", [_RESPONSE]) for each in claims))
            done += len(claims)

    await asyncio.gather(*(work(f"w{n}") for n in range(4)))
    print(f"{done} of them completed {time.monotonic() - began:.0f} s later")
    states = {count.state.value: count.number for count in await queue.counts()}
    print(f"as the queue counts them: {states}")
    await queue.close()


def celery(python: str, rabbitmq: RabbitMQ, redis: Redis, number: int, folder: Path) -> None:
    """Print what Celery does on the same servers."""
    program = folder / "bench_celery.py"
    program.write_text(textwrap.dedent(_CELERY))
    urls = [rabbitmq.url.replace("amqp://", "pyamqp://"), redis.url]

    def published(wait: str) -> list[float]:
        done = subprocess.run(
            [python, str(program), *urls, str(number), wait],
            capture_output=True,
            text=True,
            check=True,
            timeout=600,
        )
        return [float(each) for each in done.stdout.split()[-2:]]

    enqueued = published("no")[0]
    command = (
        "import sys; sys.path.insert(0, sys.argv[3]); sys.argv[1:3], urls = [], sys.argv[1:3];"
        "sys.argv[1:] = urls; import bench_celery;"
        "bench_celery.app.worker_main(['worker', '-c', '4', '--pool', 'prefork', '-l', 'critical'])"
    )
    worker = subprocess.Popen([python, "-c", command, *urls, str(folder)], start_new_session=True)
    try:
        completed = published("wait")[1]
    finally:
        worker.terminate()
        worker.wait()
    print(f"Celery on the same servers: enqueued {enqueued:.0f}/s, completed {completed:.0f}/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--celery", metavar="PYTHON")
    parser.add_argument("--backlog", type=int, metavar="JOBS")
    parser.add_argument("--seconds", type=float, default=300.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with (
            running_redis(root / "redis", sync="everysec") as redis,
            running_rabbitmq(root / "rabbitmq") as rabbitmq,
        ):
            if options.backlog:
                asyncio.run(backlog(rabbitmq, redis, options.backlog, options.seconds))
                return
            asyncio.run(measure(rabbitmq, redis, options.jobs))
            if options.celery:
                celery(options.celery, rabbitmq, redis, options.jobs, root)


if __name__ == "__main__":
    main()
