"""What engines tell of themselves in Prometheus' form, for those that can.

Each is asked over its own socket while somebody asks for metrics, all at once and not for long: one
that is in the middle of a batch is left out this time.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from runnerd import tasks
from runnerd.backends.engine_http import ask
from runnerd.runner import Runner

_WITHIN = 0.5  # seconds
_MOST_LINES = 400
_TYPE = re.compile(r"# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]{0,99}) (counter|gauge)\Z")
_HELP = re.compile(r"# HELP ([a-zA-Z_:][a-zA-Z0-9_:]{0,99}) (.{1,200})\Z")
_SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]{0,99}) ([0-9.eE+-]{1,40})\Z")


class EngineSample(NamedTuple):
    """One figure of an engine."""

    name: str
    type: str
    help: str
    value: float


Samples = dict[str, list[EngineSample]]


class EngineSeries:
    """Asks engines, and remembers what those have told that nobody has used since."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, float], list[EngineSample]] = {}

    async def samples(self, runners: Sequence[Runner], idle_since: Mapping[str, float]) -> Samples:
        """What each runner's engine tells, by the runner's name; of those that do, in time.

        `idle_since` is when those were last used, by name, that are not in use.
        """
        asked: dict[str, asyncio.Task[list[EngineSample]]] = {}
        found: Samples = {}
        for runner in runners:
            known = self._known.get((runner.name, idle_since.get(runner.name, -1.0)))
            if known is None:
                asked[runner.name] = tasks.spawn(_samples(runner), name=f"metrics {runner.name}")
            else:
                found[runner.name] = known
        if asked:
            await asyncio.wait(asked.values())
        found |= {name: told for name, task in asked.items() if (told := task.result())}
        self._known = {
            (name, idle_since[name]): told for name, told in found.items() if name in idle_since
        }
        return found


async def _samples(runner: Runner) -> list[EngineSample]:
    try:
        async with asyncio.timeout(_WITHIN):
            status, body = await ask(runner.engine_socket, "/metrics")
    except (OSError, EOFError, TimeoutError):
        return []
    if status != 200:
        return []
    return parsed(body.decode("utf-8", "replace").splitlines()[:_MOST_LINES])


def parsed(lines: Iterable[str]) -> list[EngineSample]:
    """The counters and gauges without labels in a text of Prometheus' form; nothing else of it."""
    types: dict[str, str] = {}
    helps: dict[str, str] = {}
    found: dict[str, EngineSample] = {}
    for line in lines:
        if (said := _TYPE.match(line)) is not None:
            types[said[1]] = said[2]
        elif (said := _HELP.match(line)) is not None:
            helps[said[1]] = said[2]
        elif (said := _SAMPLE.match(line)) is not None and said[1] in types:
            try:
                value = float(said[2])
            except ValueError:
                continue
            name = said[1]
            found[name] = EngineSample(name, types[name], helps.get(name, ""), value)
    return list(found.values())
