"""The simulated site against a real one: the same jobs, on four daemons with a worker each.

    python -m bench.fleet_check [--seconds SECONDS] [--share SHARE]

RabbitMQ, Redis, daemons and workers are real.  The engine is one that loads and computes for as
long as it is told and takes no processor for it (`bench/paced_engine`), since four of them would
else wait for two cores, and not for each other as the simulation has it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.fleet_simulation import Arrival, Outcome, Simulation, Site, arrivals
from runnerd import tasks
from runnerd.jobs.fleet.protollm.task_message import QUEUE_ARGUMENTS
from runnerd.jobs.fleet.publisher import Publisher
from runnerd.models import tiny
from tests.integration.test_worker import Site as RealSite
from tests.integration.test_worker import task
from tests.support.brokers import running_rabbitmq, running_redis
from tests.support.daemon import running
from tests.support.engines import pass_trial

_ENGINE = Path(__file__).with_name("paced_engine.py")
_PATIENCE = 300.0  # seconds for what is left when nothing comes any more


@dataclass(slots=True)
class Seen:
    """What a real job has told: seconds that it waited, and which start of which engine it was."""

    waited: float
    engine: str


def site_of(share: float, seconds: float) -> Site:
    """Four hosts, of a size that shows itself in minutes."""
    return Site(
        hosts=4,
        slots=2,
        models=3,
        service=4.0,
        load=5.0,
        share=share,
        burst=3.0,
        burst_seconds=30.0,
        burst_every=150.0,
        host_fails_every=1e12,
        quantum=10.0,
        hours=(seconds + _PATIENCE) / 3600,
    )


def script(folder: Path, load: float) -> Path:
    """The engine as a llama-server."""
    folder.mkdir()
    program = shutil.copy(str(_ENGINE), folder)
    command = [os.path.realpath(sys.executable), "-I", str(program), str(load)]
    path = folder / "llama-server"
    path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
    path.chmod(0o755)
    pass_trial(path)
    return path


@contextmanager
def real(root: Path, site: Site) -> Iterator[RealSite]:
    """Servers, daemons and workers, for the length of a with block."""
    engine = script(root / "engine", site.load)
    slots = site.slots + 1  # the last slot of a model is people's, and nobody asks here
    environment = {
        "RUNNERD_BACKENDS": json.dumps(
            {"llama.cpp": {"path": str(engine), "parallel": slots, "memory_reserve": 1}}
        ),
        "RUNNERD_MAX_RUNNERS": "1",  # as the simulation's hosts have one model each
    }
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(root / "redis", sync="everysec"))
        rabbitmq = stack.enter_context(running_rabbitmq(root / "rabbitmq"))
        found: RealSite | None = None
        for host in range(site.hosts):
            daemon = stack.enter_context(running(root / f"host-{host}", env=environment))
            for model in range(site.models):
                path = root / f"m{model}.gguf"
                if not path.exists():
                    tiny.write_completion_model(path, name=f"m{model}", seed=model)
                daemon.import_model(path, f"m{model}")
            found = RealSite(rabbitmq, redis, daemon)
            queues = [f"--queue=m{model}=m{model}" for model in range(site.models)]
            flags = (*queues, f"--quantum={site.quantum}")
            stack.enter_context(found.worker(*flags, log=root / f"worker-{host}.log"))
        assert found is not None
        yield found


async def work(found: RealSite, jobs: Sequence[Arrival]) -> list[Seen]:
    """Publish jobs when they come; what became of them."""
    publisher = Publisher(found.rabbitmq.url, "bench")
    for model in sorted({job.model for job in jobs}):
        warm = task(f"warm-{model}", "0").encode()
        await publisher.publish(f"m{model}", warm, arguments=QUEUE_ARGUMENTS, priority=1)
    await asyncio.sleep(20)
    came: list[float] = []

    async def publish(number: int, job: Arrival) -> None:
        message = task(f"job-{number}", f"{job.seconds:.3f}").encode()
        came.append(time.time())
        await publisher.publish(f"m{job.model}", message, arguments=QUEUE_ARGUMENTS, priority=1)

    began, publishing = time.time(), []
    for number, job in enumerate(jobs):
        await asyncio.sleep(max(0.0, began + job.at - time.time()))
        publishing.append(tasks.spawn(publish(number, job), name="publish", quiet=True))
        await asyncio.sleep(0)
    await asyncio.gather(*publishing)
    await publisher.close()
    seen, until = [], time.time() + _PATIENCE
    for number in range(len(jobs)):
        while (text := found.result(f"job-{number}")) is None:
            assert time.time() < until, f"job {number} has no result"
            await asyncio.sleep(0.2)
        assert " " not in text.strip().replace(" ", "", 1), text
        begin, engine = text.split()
        seen.append(Seen(float(begin) - came[number], engine))
    return seen


def told(name: str, waits: Sequence[float], loads: int) -> str:
    """A row of the table."""
    waits = sorted(waits)
    mean = sum(waits) / len(waits)
    some = [waits[min(len(waits) - 1, int(part * len(waits)))] for part in (0.5, 0.95, 0.99)]
    figures = " | ".join(f"{each:.1f} s" for each in (mean, *some))
    return f"| {name} | {len(waits)} | {figures} | {loads} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--share", type=float, default=0.7)
    options = parser.parse_args()
    site = site_of(options.share, options.seconds)
    jobs = list(itertools.takewhile(lambda each: each.at < options.seconds, arrivals(site, 1)))
    simulated: Outcome = Simulation(site, iter(jobs)).run()
    print("| | jobs | waited: mean | median | 95 % | 99 % | loads |\n|---|---|---|---|---|---|---|")
    print(told("simulated", simulated.waits, simulated.loads), flush=True)
    with tempfile.TemporaryDirectory(prefix="rf") as name, real(Path(name), site) as found:
        seen = asyncio.run(work(found, jobs))
        print(told("real", [each.waited for each in seen], len({each.engine for each in seen})))


if __name__ == "__main__":
    main()
