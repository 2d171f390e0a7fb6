"""What jobs cost: submitting, completing and polling them, a long queue, and who waits beside them.

With an engine that answers at once, so that what is left is the queue's; the latencies are those of
a real engine with a tiny model.
"""

from __future__ import annotations

import asyncio
import json
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import uvloop

from bench.load import percentile
from bench.report import Report
from bench.subjects import Stage, stage, synthetic
from runnerd.access.principals import user_principal
from runnerd.database import Database
from runnerd.jobs.job import NewJob, Prompt, Response
from runnerd.jobs.queue import Queue
from runnerd.jobs.sqlite.queue import SqliteQueue
from tests.support.daemon import DaemonProcess

_PROMPT = Prompt(
    "/v1/chat/completions",
    json.dumps({"model": "bench", "messages": [{"role": "user", "content": "hello"}]}).encode(),
)
_RESPONSE = Response(200, b"x" * 400)
_CLIENTS = 64  # who submit, claim and poll at once
_TOGETHER = 100


def jobs(report: Report, seconds: float) -> None:
    """Print all of it; with few `seconds` the long queue is shorter."""
    report.section("Jobs: the queue by itself, in one process")
    uvloop.run(_queue(report, 3000 if seconds <= 1 else 20_000))
    uvloop.run(_backlog(report, 50_000 if seconds <= 1 else 1_000_000))
    report.section("Jobs: through a daemon, with an engine that answers at once")
    with synthetic() as running:
        uvloop.run(_daemon(report, running, 1000 if seconds <= 1 else 6000))
    report.section("Jobs: first tokens, with a real engine")
    rounds = 10 if seconds <= 1 else 60
    with stage(parallel=4) as running:
        _idle_latency(report, running.daemon, rounds)
        _beside(report, running.daemon, rounds, "4 slots")
    with stage(parallel=1) as running:
        _beside(report, running.daemon, rounds, "1 slot")
    with stage(parallel=4, settings={"jobs": json.dumps({"patience": 0})}) as running:
        _beside(report, running.daemon, rounds, "4 slots, jobs beside people (patience 0)")


def _new(number: int) -> NewJob:
    return NewJob(user_principal(f"user{number % 10}", "key"), "bench", (_PROMPT,))


async def _rate(work: Any, numbers: range, clients: int = _CLIENTS) -> float:
    """Pieces of work per second, carried out by so many clients."""
    todo = iter(numbers)

    async def client() -> None:
        for number in todo:
            await work(number)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return len(numbers) / (time.perf_counter() - began)


async def _queue(report: Report, count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="rj") as folder:
        database = Database(Path(folder))
        queue = SqliteQueue(database)
        await database.open()
        await queue.open()
        ids: list[str] = []

        async def submit(number: int) -> None:
            ids.append((await queue.submit([_new(number)]))[0].id)

        async def submit_many(number: int) -> None:
            await queue.submit([_new(number) for _ in range(_TOGETHER)])

        async def poll(number: int) -> None:
            await queue.get([ids[number % len(ids)]])

        used = time.process_time()
        rate = await _rate(submit, range(count))
        report.line(
            f"enqueued per second, one by one, {_CLIENTS} clients", f"{rate:.0f}", ">= 2000"
        )
        _cpu(report, time.process_time() - used, count)
        rate = _TOGETHER * await _rate(submit_many, range(count // _TOGETHER), 4)
        report.line(f"enqueued per second, {_TOGETHER} in one call", f"{rate:.0f}")
        used = time.process_time()
        rate = await _completed(queue, count)
        report.line("claimed and completed per second", f"{rate:.0f}", ">= 1000")
        _cpu(report, time.process_time() - used, count)
        rate = await _rate(poll, range(count))
        report.line("polled per second", f"{rate:.0f}")
        await queue.close()
        await database.close()


def _cpu(report: Report, seconds: float, count: int) -> None:
    """What a machine whose cores are not shared would take for each."""
    report.line("CPU time of that, for each", f"{seconds / count * 1e6:.0f} us")


async def _completed(queue: Queue, count: int) -> float:
    done = 0

    async def worker(name: str) -> None:
        nonlocal done
        while done < count and (claims := await queue.claim(name, limit=32)):
            await asyncio.gather(*(queue.finish(claim, "text", [_RESPONSE]) for claim in claims))
            done += len(claims)

    began = time.perf_counter()
    await asyncio.gather(*(worker(f"w{number}") for number in range(4)))
    return done / (time.perf_counter() - began)


async def _backlog(report: Report, count: int) -> None:
    """What a claim takes with few jobs in the queue, and with many."""
    with tempfile.TemporaryDirectory(prefix="rj") as folder:
        database = Database(Path(folder))
        queue = SqliteQueue(database)
        await database.open()
        await queue.open()
        previous, began = 0, time.perf_counter()
        for size in (1000, count):
            for _ in range((size - previous) // 500):
                await queue.submit([_new(number) for number in range(500)])
            previous = size
            claims = [await _claim_seconds(queue) for _ in range(200)]
            report.line(
                f"a claim with {size} jobs in the queue, median / p99",
                f"{statistics.median(claims) * 1e3:.2f} / {percentile(claims, 0.99) * 1e3:.2f} ms",
                "O(log n)",
            )
        report.line("seconds to fill it", f"{time.perf_counter() - began:.0f}")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        report.line(f"memory of the process with {count} jobs", f"{peak:.0f} MiB")
        size = (Path(folder) / "runnerd.db").stat().st_size
        report.line("the file, per job", f"{size / count:.0f} bytes")
        began = time.perf_counter()
        await queue.counts()
        report.line("counts of the queue", f"{(time.perf_counter() - began) * 1e3:.2f} ms")
        await queue.close()
        await database.close()


async def _claim_seconds(queue: Queue) -> float:
    began = time.perf_counter()
    [claim] = await queue.claim("w")
    seconds = time.perf_counter() - began
    await queue.release(claim)
    return seconds


# through a daemon

_BODY = {"model": "bench", "prompt": "hello", "stream": False, "parameters": {"max_tokens": 2}}


async def _daemon(report: Report, running: Stage, count: int) -> None:
    daemon = running.daemon
    transport = httpx.AsyncHTTPTransport(uds=str(daemon.socket))
    connections = [await _Connection.open(daemon.socket) for _ in range(16)]
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        batch = "\n".join(_line(number) for number in range(count))

        async def submit(number: int) -> None:
            connection = connections[number % len(connections)]
            async with connection.lock:
                await connection.post("/runnerd/jobs", _BODY | {"id": f"job-{number}"})

        async def poll(number: int) -> None:
            connection = connections[number % len(connections)]
            async with connection.lock:
                await connection.get(f"/runnerd/jobs/job-{number % count}")

        used = running.relay.cpu()
        began = time.perf_counter()
        rate = await _rate(submit, range(count), 16)
        report.line("enqueued per second, a request each, jobs running meanwhile", f"{rate:.0f}")
        await _all_done(client)
        seconds = time.perf_counter() - began
        report.line("submitted, run and completed per second", f"{count / seconds:.0f}")
        _cpu(report, running.relay.cpu() - used, count)
        rate = await _rate(poll, range(count), 16)
        report.line("polled per second, a request each", f"{rate:.0f}")
        used = running.relay.cpu()
        began = time.perf_counter()
        file = (
            await client.post(
                "/v1/files",
                data={"purpose": "batch"},
                files={"file": ("in.jsonl", batch.encode())},
            )
        ).json()["id"]
        document = {"input_file_id": file, "endpoint": "/v1/chat/completions"}
        made = (await client.post("/v1/batches", json=document)).json()
        while made["status"] not in ("completed", "failed"):
            await asyncio.sleep(0.05)
            made = (await client.get(f"/v1/batches/{made['id']}")).json()
        seconds = time.perf_counter() - began
        assert made["request_counts"]["completed"] == count, made
        report.line(
            f"a batch of {count} lines, from upload to its end, lines per second",
            f"{count / seconds:.0f}",
            ">= 1000",
        )
        _cpu(report, running.relay.cpu() - used, count)
    for connection in connections:
        connection.close()


def _line(number: int) -> str:
    body = {"model": "bench", "messages": [{"role": "user", "content": "x"}], "max_tokens": 2}
    url = "/v1/chat/completions"
    return json.dumps({"custom_id": str(number), "method": "POST", "url": url, "body": body})


async def _all_done(client: httpx.AsyncClient) -> None:
    while True:
        [queue] = (await client.get("/runnerd/queues")).json()
        if not queue.get("queued", 0) + queue.get("running", 0):
            return
        await asyncio.sleep(0.02)


class _Connection:
    """A cheap client: httpx alone would take most of what two cores have."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.lock = asyncio.Lock()

    @classmethod
    async def open(cls, socket: Path) -> _Connection:
        return cls(*await asyncio.open_unix_connection(str(socket)))

    async def post(self, path: str, document: object) -> None:
        body = json.dumps(document).encode()
        await self._ask(
            b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)
        )

    async def get(self, path: str) -> None:
        await self._ask(b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path.encode())

    async def _ask(self, message: bytes) -> None:
        self._writer.write(message)
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 20"), head
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


# first tokens

_QUESTION = {
    "model": "bench",
    "messages": [{"role": "user", "content": "hello"}],
    "max_tokens": 8,
    "stream": True,
}


def _direct(client: httpx.Client) -> float:
    """Seconds until the first piece of text of a request."""
    began = time.perf_counter()
    with client.stream("POST", "/v1/chat/completions", json=_QUESTION) as response:
        for line in response.iter_lines():
            if '"content":"' in line and '"content":""' not in line:
                return time.perf_counter() - began
    raise AssertionError("there was no text")


def _watched(client: httpx.Client) -> float:
    """Seconds from submitting a job until whoever follows it sees the first text.  It has ended
    when this returns.
    """
    document = {"model": "bench", "prompt": "hello", "parameters": {"max_tokens": 8}}
    began, first = time.perf_counter(), 0.0
    id = client.post("/runnerd/jobs", json=document).json()[0]["id"]
    with client.stream("GET", f"/runnerd/jobs/{id}?follow=true") as response:
        for line in response.iter_lines():
            if not first and line.startswith("data: ") and '"output":""' not in line:
                first = time.perf_counter() - began
    assert first, "there was no text"
    return first


def _idle_latency(report: Report, daemon: DaemonProcess, rounds: int) -> None:
    client = daemon.http
    pairs = [(_direct(client), _watched(client)) for _ in range(rounds)]
    direct = statistics.median(direct for direct, _ in pairs)
    watched = statistics.median(watched for _, watched in pairs)
    report.line("first token of a request, median", f"{direct * 1e3:.1f} ms")
    report.line(
        "first token of a job, submission to its follower, median",
        f"{watched * 1e3:.1f} ms",
        f"<= {direct * 1e3 + 20:.1f} ms",
    )


def _beside(report: Report, daemon: DaemonProcess, rounds: int, what: str) -> None:
    """First tokens of people without jobs and beside many, in turns; each time they come when jobs
    are computed.
    """
    client = daemon.http
    alone, beside, first = [], [], []
    for _ in range(5):
        alone += [_paced(client) for _ in range(rounds // 3 + 1)]
        ids = list(_many_jobs(client))
        first.append(_paced(client))
        beside += [first[-1], *(_paced(client) for _ in range(rounds // 3))]
        for id in ids:
            client.post(f"/runnerd/jobs/{id}/cancel")
    before = statistics.median(alone)
    report.line(
        f"{what}: first token of who comes while jobs run, to that without",
        f"{statistics.median(first) / before:.2f}",
    )
    for share, name in ((0.5, "median"), (0.95, "p95")):
        before, now = percentile(alone, share), percentile(beside, share)
        report.line(
            f"{what}: first token, {name}, without and beside jobs",
            f"{before * 1e3:.1f} / {now * 1e3:.1f} ms",
            f"{now / before:.2f} (<= 1.2)",
        )


def _paced(client: httpx.Client) -> float:
    """The first token of somebody who asks from time to time."""
    time.sleep(0.05)
    return _direct(client)


def _many_jobs(client: httpx.Client) -> Iterator[str]:
    parameters = {"max_tokens": 4000, "ignore_eos": True}
    for _ in range(16):
        document = {"model": "bench", "prompt": "write a story", "parameters": parameters}
        yield client.post("/runnerd/jobs", json=document).json()[0]["id"]
    while not client.get("/runnerd/jobs?state=running").json():
        time.sleep(0.1)
    time.sleep(0.3)
