"""Kills, stops and starves the parts of a fleet's site, and starts them again.

An outage lasts OUTAGE_SECONDS, a minute unless the loop is shorter: longer than a lease, than what
a submission waits, and than the heartbeats of a connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import cast

import httpx

from runnerd.jobs.fleet.redis_client import GONE
from tests.integration.test_worker import Site
from tests.support.plain_http import NO_TLS
from tests.support.waiting import SECONDS, wait_for

CHAOS_SECONDS = float(os.environ.get("CHAOS_SECONDS", "60"))
OUTAGE = float(os.environ.get("OUTAGE_SECONDS", str(min(60.0, CHAOS_SECONDS / 4))))
"""For how long something hangs, or is stopped, full or wrong."""
_CUT_OFF = 100.0  # seconds: longer than a lease, and than RabbitMQ waits for a heartbeat
_STUCK = 3.0  # a job of these loops takes much less


class Chaos:
    """Kills parts of a site, and starts them again."""

    def __init__(self, site: Site, folder: Path, *flags: str, seed: int = 1) -> None:
        self.site = site
        self._folder = folder
        self._flags = flags
        self._random = random.Random(seed)
        self._workers = [self._worker(number) for number in range(2)]
        self.done: Counter[str] = Counter()

    def _worker(self, number: int) -> subprocess.Popen[bytes]:
        return self.site.start_worker(*self._flags, log=self._folder / f"worker-{number}.log")

    async def run(self, seconds: float, *kinds: str) -> None:
        """Do one of some kinds of damage after another, and each at least once: starting a broker
        takes so long that a short loop drew some of them never.
        """
        end = asyncio.get_running_loop().time() + seconds
        deck: list[str] = []
        while asyncio.get_running_loop().time() < end or set(kinds) - set(self.done):
            await asyncio.sleep(self._random.uniform(0.2, 2.0))
            if not deck:
                deck = self._random.sample(kinds, len(kinds))
            kind = deck.pop()
            began = time.monotonic()
            await asyncio.to_thread(getattr(self, kind))
            self.done[kind] += 1
            print(f"{kind}: down for {time.monotonic() - began:.1f} s", flush=True)

    def worker(self) -> None:
        number = self._random.randrange(len(self._workers))
        self._workers[number].kill()
        self._workers[number].wait()
        self._workers[number] = self._worker(number)

    def redis(self) -> None:
        self.site.redis.kill()
        self.site.redis.start()

    def rabbitmq(self) -> None:
        self.site.rabbitmq.kill()
        self.site.rabbitmq.start()

    def rabbitmq_hangs(self) -> None:
        self.site.rabbitmq.pause()
        time.sleep(OUTAGE)
        self.site.rabbitmq.resume()

    def rabbitmq_stopped(self) -> None:
        self.site.rabbitmq.control("stop")
        self.site.rabbitmq.kill()  # what it has left
        time.sleep(OUTAGE)
        self.site.rabbitmq.start()

    def rabbitmq_has_no_memory(self) -> None:
        self.site.rabbitmq.control("set_vm_memory_high_watermark", "absolute", "1")
        time.sleep(OUTAGE)
        self.site.rabbitmq.control("set_vm_memory_high_watermark", "0.9")

    def redis_hangs(self) -> None:
        self.site.redis.pause()
        time.sleep(OUTAGE)
        self.site.redis.resume()

    def redis_has_no_disk(self) -> None:
        """It cannot save, and refuses to write (MISCONF)."""
        client = self.site.results
        in_the_way = self.site.redis.root / "dump.rdb" / "disk"  # its own file's name
        in_the_way.parent.unlink(missing_ok=True)  # saved the last time
        in_the_way.mkdir(parents=True)
        client.config_set("save", "3600 1")
        self._save("err")
        time.sleep(OUTAGE)
        in_the_way.rmdir()
        in_the_way.parent.rmdir()
        self._save("ok")
        client.config_set("save", "")

    def _save(self, status: str) -> None:
        client = self.site.results

        def is_so() -> bool:
            info = client.info("persistence")
            if not info["rdb_bgsave_in_progress"] and info["rdb_last_bgsave_status"] != status:
                with contextlib.suppress(*GONE):
                    client.bgsave()
            return bool(info["rdb_last_bgsave_status"] == status)

        wait_for(is_so, f"Redis' saving to be {status}")

    def redis_has_no_memory(self) -> None:
        self.site.results.config_set("maxmemory", "1")
        time.sleep(OUTAGE)
        self.site.results.config_set("maxmemory", "0")

    def clock(self) -> None:
        """Redis' clock is a day ahead, and after a while right again."""
        self.site.redis.set_clock(86400)
        time.sleep(OUTAGE)
        self.site.redis.set_clock(0)

    def daemon(self) -> None:
        self.site.daemon.kill()
        self.site.daemon.start(ready=False)
        wait_for(self._daemon_answers, "the daemon", limit=120 * SECONDS)

    def _daemon_answers(self) -> bool:
        transport = httpx.HTTPTransport(uds=str(self.site.daemon.socket), verify=NO_TLS)
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=5) as client:
            try:
                return client.get("/health").status_code == 200
            except httpx.TransportError:
                return False

    def flush(self) -> None:
        self.site.results.flushall()

    def redis_loses_power(self) -> None:
        """Its file lacks what came last, as with `appendfsync everysec`."""
        written = self.site.redis.written()
        time.sleep(1.0)
        self.site.redis.lose_power(written)
        self.site.redis.start()

    def cut_off(self) -> None:
        """A worker hangs with work for longer than its lease, and comes back."""
        process = wait_for(self._hangs_with_work, "a worker with work", limit=120 * SECONDS)
        assert process is not None
        time.sleep(_CUT_OFF)
        process.send_signal(signal.SIGCONT)

    def _hangs_with_work(self) -> subprocess.Popen[bytes] | None:
        """Stop a worker; one that has nothing goes on."""
        process = self._random.choice(self._workers)
        process.send_signal(signal.SIGSTOP)
        held = self._held()
        time.sleep(_STUCK)
        if held & self._held():
            return process
        process.send_signal(signal.SIGCONT)
        return None

    def _held(self) -> set[tuple[bytes, bytes | None]]:
        """What workers have at the moment: jobs and prompts, with the tokens of their claims."""
        results = self.site.results
        ids = cast("list[bytes]", results.zrange("rj:leases", 0, -1))
        jobs = {
            (id, cast("bytes | None", results.hget(f"rj:j:{id.decode()}", "token"))) for id in ids
        }
        claims = {
            (key, cast("bytes | None", results.hget(key, "token")))
            for key in results.scan_iter("runnerd:prompt:*", count=1000)
            if not results.hexists(key, "done")
        }
        return jobs | claims

    def close(self) -> None:
        for process in self._workers:
            process.kill()
            process.wait()
