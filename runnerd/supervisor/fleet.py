"""The runners that there are, from their start until their last process is gone."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from runnerd.backends.interface import Backend
from runnerd.runner import LaunchSpec, Runner, RunnerTimeouts, Watcher
from runnerd.scheduler import RunnerKey
from runnerd.sockets.paths import RuntimeDirectory


class Fleet:
    """Knows each runner by its generation."""

    def __init__(self, backends: Mapping[str, Backend], directory: RuntimeDirectory) -> None:
        self._backends = backends
        self._directory = directory
        self._runners: dict[int, Runner] = {}
        self.runner = self._runners.__getitem__  # by generation, without a call of Python's
        self._orphans: set[int] = set()  # whose files were deleted under them
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._runners)

    def __contains__(self, generation: int) -> bool:
        return generation in self._runners

    def __getitem__(self, generation: int) -> Runner:
        return self._runners[generation]

    def get(self, generation: int) -> Runner | None:
        """Return a runner, None when it has ended."""
        return self._runners.get(generation)

    def __iter__(self) -> Iterator[Runner]:
        return iter(list(self._runners.values()))

    def start(
        self,
        key: RunnerKey,
        generation: int,
        spec: LaunchSpec,
        timeouts: RunnerTimeouts,
        watcher: Watcher,
        *,
        ram_limit: int | None,
    ) -> None:
        """Start a runner; returns at once."""
        runner = Runner(
            self._backends[key.backend],
            spec,
            self._free_socket(key),
            key=key,
            generation=generation,
            timeouts=timeouts,
            watcher=watcher,
            ram_limit=ram_limit,
        )
        self._runners[generation] = runner
        self._empty.clear()
        runner.start()

    def remove(self, generation: int) -> None:
        """A runner has ended."""
        del self._runners[generation]
        self._orphans.discard(generation)
        if not self._runners:
            self._empty.set()

    async def wait_empty(self) -> None:
        """Wait until the last process of the last runner is gone."""
        await self._empty.wait()

    def keys(self) -> set[RunnerKey]:
        """The keys of all runners, whatever their state."""
        return {runner.key for runner in self._runners.values()}

    def matching(self, matches: Callable[[RunnerKey], bool]) -> list[int]:
        """Return the generations of the runners whose key matches."""
        return [number for number, runner in self._runners.items() if matches(runner.key)]

    def orphan(self, load: str) -> None:
        """The files of a load have been deleted: they are missed by the runners that are left."""
        self._orphans.update(self.matching(lambda key: key.model == load))

    def is_orphan(self, generation: int) -> bool:
        """Say whether a runner's files were deleted under it."""
        return generation in self._orphans

    def named(self, id: str) -> Runner | None:
        """A runner by the id that `ps` shows."""
        return next((each for each in self._runners.values() if each.name == id), None)

    def _free_socket(self, key: RunnerKey) -> Path:
        """Return a path that no other runner has: the pool's, numbered from the second on."""
        name = f"{key.backend} {key.model} {key.mode} {key.configuration}"
        taken = {runner.socket for runner in self._runners.values()}
        paths = (
            self._directory.runner_socket(f"{name} {number}" if number else name)
            for number in itertools.count()
        )
        return next(path for path in paths if path not in taken)
