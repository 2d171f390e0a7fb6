"""Figures of what is kept for later: jobs and sessions.  Each is read when somebody scrapes."""

from __future__ import annotations

from collections import Counter

from runnerd.jobs.queue import Queue
from runnerd.observability.snapshot import Gauge
from runnerd.sessions.session_store import SessionStore


async def jobs(queue: Queue) -> Gauge:
    """The jobs that there are, by model and state."""
    found = Counter[tuple[str, ...]]()
    for count in await queue.counts():
        found[count.model, count.state] += count.number
    most = dict(found.most_common(_MOST))
    return Gauge("runnerd_jobs", "Jobs that are kept, by state.", ("model", "state"), most)


async def sessions(store: SessionStore) -> Gauge:
    """The sessions that there are."""
    count = float(await store.count())
    return Gauge("runnerd_sessions", "Sessions that are kept.", (), {(): count})


_MOST = 500  # models and states: what jobs are for is their clients' word
