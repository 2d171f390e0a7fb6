"""How much memory an engine may come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from runnerd.config import Settings
from runnerd.scheduler import DeviceMemory, RunnerKey
from runnerd.supervisor.memory import MemoryAccounts
from runnerd.supervisor.preparation import Preparation

COVERS = ("runnerd.supervisor.memory",)

MIB, GIB = 2**20, 2**30
KEY = RunnerKey("llama.cpp", "tiny", "completion", "")
RUNNER = SimpleNamespace(
    process=1, name="r", spec=SimpleNamespace(configuration=SimpleNamespace(parallel=4))
)


class Engines:
    """A host with engines that hold so much."""

    held = 100 * MIB

    def devices(self) -> Sequence[Any]:
        return []

    def process_memory(self, pids: Sequence[int]) -> Mapping[str, int]:
        return {"ram": self.held}

    def mapped_memory(self, pids: Sequence[int]) -> int:
        return 0


class Running:
    """A scheduler with one runner, on a host with 64 GiB."""

    def __init__(self, memory: MemoryAccounts) -> None:
        self._memory = memory

    def devices(self) -> list[tuple[DeviceMemory, int]]:
        return [(DeviceMemory("ram", 64 * GIB, 60 * GIB, 60 * GIB), 0)]

    def view(self) -> list[Any]:
        reserved = self._memory.known(KEY, 4)  # what a runner holds is reserved for it
        return [SimpleNamespace(key=KEY, generation=1, slots=4, reserved=reserved)]


@pytest.mark.parametrize("estimate", [100 * MIB, None])
async def test_requests_do_not_raise_the_limit(estimate: int | None) -> None:
    """An engine that requests make grow stays under the limit that it had before."""
    engines = Engines()
    memory = MemoryAccounts(Settings(), {}, engines)
    if estimate is not None:
        memory._estimates[KEY] = {4: {"ram": estimate}}
    parts = cast(Any, Running(memory)), {}, *cast(Any, (None,))
    preparation = Preparation(
        *parts, memory=memory, **cast(Any, dict.fromkeys(("launch_specs", "fleet", "checks")))
    )
    if estimate is None:
        assert preparation.ram_limit(1) == 45 * GIB  # three quarters of what is free
    await memory.learn(KEY, cast(Any, RUNNER))
    assert preparation.ram_limit(1) == (limit := 300 * MIB + 2 * GIB)
    for engines.held in (GIB, 20 * GIB):
        await memory.learn(KEY, cast(Any, RUNNER))
        assert memory.known(KEY, 4)["ram"] == engines.held
        assert preparation.ram_limit(1) == limit
    memory.forget("tiny")
    assert memory.foretold(KEY, 4) == {}
