"""A site of many hosts, simulated: how long jobs wait, and how often models are loaded.

    python -m bench.fleet_simulation

Jobs of several models arrive, in bursts, at one queue per model; hosts with a few slots take them
as `runnerd worker` does (`jobs/fleet/placement`): those whose model is loaded first, others when
there is nothing else to do, or when these have waited for a quantum.  `--naive` takes whatever came
first, as workers do that know nothing of models.  Hosts fail, and what they had comes again.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Site:
    """Times in seconds; `share` is how much of the slots' time the arriving jobs take."""

    hosts: int = 100
    slots: int = 4
    models: int = 12
    service: float = 8.0
    load: float = 25.0
    share: float = 0.7
    burst: float = 4.0  # how much more arrives in a burst than on average
    burst_seconds: float = 120.0
    burst_every: float = 1800.0
    host_fails_every: float = 36_000.0
    host_is_away: float = 300.0
    quantum: float = 60.0
    hours: float = 4.0
    naive: bool = False


@dataclass(frozen=True, slots=True)
class Arrival:
    """A job that comes `at` a time, and takes so many `seconds` of computing."""

    at: float
    model: int
    seconds: float


def arrivals(site: Site, seed: int) -> Iterator[Arrival]:
    """Jobs without end; a few models have most of them."""
    chance, now = random.Random(seed), 0.0
    weights = [1 / (rank + 1) for rank in range(site.models)]
    while True:
        model = chance.choices(range(site.models), weights)[0]
        yield Arrival(now, model, chance.expovariate(1 / site.service))
        now += chance.expovariate(_rate(site, now))


def _rate(site: Site, now: float) -> float:
    """Jobs a second."""
    mean = site.share * site.hosts * site.slots / site.service
    quiet = 1 - (site.burst - 1) * site.burst_seconds / (site.burst_every - site.burst_seconds)
    return mean * (site.burst if now % site.burst_every < site.burst_seconds else quiet)


@dataclass(slots=True)
class Host:
    model: int = -1
    running: int = 0
    ready_at: float = 0.0
    away_until: float = 0.0
    life: int = 0


@dataclass(slots=True)
class Outcome:
    """`waits` are from arrival to the start of the computing, loads included."""

    waits: list[float] = field(default_factory=list)
    loads: int = 0
    again: int = 0
    busy: float = 0.0

    def told(self, site: Site) -> str:
        waits = sorted(self.waits)

        def at(share: float) -> float:
            return waits[min(len(waits) - 1, int(share * len(waits)))]

        seconds = site.hours * 3600
        return (
            f"{len(waits)} jobs, waited {at(0.5):.1f} s (median), {at(0.95):.1f} s (95 %),"
            f" {at(0.99):.1f} s (99 %); {self.loads / site.hosts / site.hours:.1f} loads per host"
            f" and hour; {self.again} run again after failures;"
            f" slots in use {self.busy / seconds / site.hosts / site.slots:.0%}"
        )


class Simulation:
    def __init__(self, site: Site, jobs: Iterator[Arrival], seed: int = 1) -> None:
        self.site = site
        self.random = random.Random(seed)
        self.hosts = [Host() for _ in range(site.hosts)]
        self.queues: list[deque[Arrival]] = [deque() for _ in range(site.models)]
        self.outcome = Outcome()
        self.now = 0.0
        self._jobs = jobs
        self._events: list[tuple[float, int, str, tuple[object, ...]]] = []
        self._count = 0

    def at(self, time: float, what: str, *about: object) -> None:
        self._count += 1
        heapq.heappush(self._events, (time, self._count, what, about))

    def run(self) -> Outcome:
        end = self.site.hours * 3600
        self._expect()
        for host in range(self.site.hosts):
            self.at(self.random.expovariate(1 / self.site.host_fails_every), "failure", host)
        self.at(1.0, "look")
        while self._events and (event := heapq.heappop(self._events))[0] < end:
            self.now, _, what, about = event
            getattr(self, f"_{what}")(*about)
        return self.outcome

    def _expect(self) -> None:
        if (job := next(self._jobs, None)) is not None:
            self.at(job.at, "arrival", job)

    def _arrival(self, job: Arrival) -> None:
        self.queues[job.model].append(job)
        self._expect()
        self._serve(job.model)

    def _serve(self, model: int) -> None:
        """Give the jobs of a model to hosts that have it loaded, then to idle ones."""
        site = self.site
        while self.queues[model]:
            free = [
                host
                for host in range(site.hosts)
                if self.hosts[host].model == model
                and self.hosts[host].running < site.slots
                and self.hosts[host].away_until <= self.now
            ]
            if not free and (idle := self._to_load(model)) is not None:
                self._load(idle, model)
                free = [idle]
            if not free:
                return
            self._start(min(free, key=lambda host: self.hosts[host].running), model)

    def _to_load(self, model: int) -> int | None:
        """A host that may load a model now: one that is idle, and whose own model has no work."""
        for number, host in enumerate(self.hosts):
            if host.running or host.away_until > self.now:
                continue
            has_work = host.model >= 0 and bool(self.queues[host.model])
            starved = self.now - self.queues[model][0].at >= self.site.quantum
            if self.site.naive or not has_work or starved:
                return number
        return None

    def _load(self, number: int, model: int) -> None:
        host = self.hosts[number]
        host.model, host.ready_at = model, self.now + self.site.load
        self.outcome.loads += 1

    def _start(self, number: int, model: int) -> None:
        host, job = self.hosts[number], self.queues[model].popleft()
        begins = max(self.now, host.ready_at)
        host.running += 1
        self.at(begins + job.seconds, "end", number, host.life, job, begins)

    def _end(self, number: int, life: int, job: Arrival, begins: float) -> None:
        host = self.hosts[number]
        if host.life != life:  # it failed meanwhile: the job comes again
            self.outcome.again += 1
            self.queues[job.model].appendleft(job)
            self._serve(job.model)
            return
        host.running -= 1
        self.outcome.waits.append(begins - job.at)
        self.outcome.busy += self.now - begins
        self._next(number)

    def _next(self, number: int) -> None:
        """What a host does that has a free slot."""
        host = self.hosts[number]
        if self.queues[host.model] and not self.site.naive:
            self._start(number, host.model)
        elif not host.running:
            waiting = [model for model in range(self.site.models) if self.queues[model]]
            if waiting:
                self._serve(min(waiting, key=lambda model: self.queues[model][0].at))

    def _look(self) -> None:
        """Once a second workers look at queues that starve."""
        for model in range(self.site.models):
            self._serve(model)
        self.at(self.now + 1.0, "look")

    def _failure(self, number: int) -> None:
        host = self.hosts[number]
        host.life, host.running, host.model = host.life + 1, 0, -1
        host.away_until = self.now + self.site.host_is_away
        after = host.away_until + self.random.expovariate(1 / self.site.host_fails_every)
        self.at(after, "failure", number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=100)
    parser.add_argument("--hours", type=float, default=4.0)
    options = parser.parse_args()
    for share in (0.5, 0.7, 0.85):
        for naive in (False, True):
            site = Site(hosts=options.hosts, hours=options.hours, share=share, naive=naive)
            kind = "first come, first served" if naive else "model-aware"
            print(f"{share:.0%} of the slots' time, {kind}:")
            print("   ", Simulation(site, arrivals(site, 1)).run().told(site))


if __name__ == "__main__":
    main()
