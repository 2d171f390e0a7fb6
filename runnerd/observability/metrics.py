"""Everything that is measured, and one scrape of it.

What counts is counted where it happens; a scrape reads that, looks at what runs, and asks engines
for their own figures.  Who scrapes at the same time, or again at once, gets the same.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import runnerd
from runnerd import tasks, threads
from runnerd.errors import RunnerdError
from runnerd.observability.engine_series import EngineSeries
from runnerd.observability.loop_lag import LoopLag
from runnerd.observability.request_figures import RequestFigures, each_sorted
from runnerd.observability.runner_figures import RunnerFigures, TransferFigures
from runnerd.observability.snapshot import Gauge, Snapshot
from runnerd.supervisor import Supervisor

if TYPE_CHECKING:
    from runnerd.observability.exposition import Exposition

Source = Callable[[], Awaitable[Gauge]]
"""Tells a figure of another part of the daemon at each scrape."""

_WITHIN = 0.5  # seconds for a source
_FRESH = 0.5  # seconds for which a scrape serves who asks again


class Metrics:
    """Owns the figures.  `name_of` says what a model's id is called, `running` how many requests
    run or wait.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        loop_lag: LoopLag,
        *,
        name_of: Callable[[str], str],
        running: Callable[[], int],
    ) -> None:
        self.requests = RequestFigures()
        self.runners = RunnerFigures()
        self.transfers = TransferFigures()
        self.sources: list[Source] = []
        self._engines = EngineSeries()
        self._supervisor = supervisor
        self._loop_lag = loop_lag
        self._name_of = name_of
        self._running = running
        self._scrape: asyncio.Task[bytes] | None = None
        self._scraped_at = 0.0
        self._exposition: Exposition | None = None

    async def scrape(self) -> bytes:
        """All figures in Prometheus' text format."""
        now, scrape = time.monotonic(), self._scrape
        if scrape is None or (scrape.done() and now - self._scraped_at > _FRESH):
            scrape = self._scrape = tasks.spawn(self._render(), name="metrics")
            self._scraped_at = now
        return await asyncio.shield(scrape)

    async def _render(self) -> bytes:
        runners_now = self._supervisor.reports()
        idle = {
            each.id: round(each.last_used_at, 2)
            for each in runners_now
            if each.id and not each.in_use
        }
        engines = await self._engines.samples(self._supervisor.ready_runners(), idle)
        others = [gauge for source in self.sources if (gauge := await _asked(source)) is not None]
        host, figures, runners = self._supervisor.host, self.requests, self.runners
        figures.add_up()
        snapshot = Snapshot(
            version=runnerd.__version__,
            name_of=self._name,
            requests=dict(figures.counts),
            times=each_sorted(figures),
            starts=dict(runners.starts),
            loads=dict(runners.loads),
            stops=dict(runners.stops),
            failures=dict(runners.failures),
            transfers=dict(self.transfers.ended),
            transferring=Counter(job.kind for job in self.transfers.running.values()),
            runners=runners_now,
            waiting=host.waiting(),
            running=self._running(),
            devices=host.devices(),
            lag_latest=self._loop_lag.latest,
            lag_worst=self._loop_lag.worst,
            engines=engines,
            others=others,
        )
        return await threads.run(self._text, snapshot)

    def _text(self, snapshot: Snapshot) -> bytes:
        """Figures as text.  The library is large: who is never scraped does not load it."""
        from runnerd.observability.exposition import Exposition

        if self._exposition is None:
            self._exposition = Exposition()
        return self._exposition.text(snapshot)

    def _name(self, id: str) -> str:
        try:
            return self._name_of(id) if id else ""
        except RunnerdError:
            return id  # gone, or a backend's own


async def _asked(source: Source) -> Gauge | None:
    """What another part tells, None where it cannot in time."""
    try:
        async with asyncio.timeout(_WITHIN):
            return await source()
    except (RunnerdError, TimeoutError):
        return None
