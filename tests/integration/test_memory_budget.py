"""Budgets on real engines, on a host whose memory is what the test says it is."""

from __future__ import annotations

import asyncio
import contextlib
import random
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from runnerd import tasks
from runnerd.backends.configuration import BackendMode
from runnerd.backends.engine_http import engine_process
from runnerd.backends.limits import data_limit
from runnerd.backends.llamacpp.backend import LlamaCppBackend
from runnerd.config import Settings
from runnerd.configurations import ConfigurationKey, Configurations, ModelConfiguration
from runnerd.errors import InsufficientStorage, InvalidConfiguration, Overloaded
from runnerd.models.description import facts
from runnerd.models.gguf import read_header
from runnerd.scheduler import RunnerKey
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.supervisor import (
    RunnerReport,
    Supervisor,
    actions,
    claims,
    preparation,
    running,
    service,
    watching,
)
from tests.support.engines import Folder, context

pytestmark = pytest.mark.engine

NAMES = [f"m{number}" for number in range(12)]
ROOM = 4


@dataclass(frozen=True)
class Ram:
    """The only device of the host."""

    total_bytes: int
    free_bytes: int
    id: str = "ram"
    kind: str = "ram"
    name: str = "RAM"


@dataclass
class Host:
    """A host with as much memory as the test says, of which others use `others` bytes.

    Each engine takes what `held` says.
    """

    total: int = 2**40
    engines: int = 0
    others: int = 0
    held: dict[str, int] = field(default_factory=dict)
    asked: list[int] = field(default_factory=list)

    def devices(self) -> Sequence[Ram]:
        ours = self.engines * self.held.get("ram", 0)
        return [Ram(self.total, max(0, self.total - self.others - ours))]

    def process_memory(self, pids: Sequence[int]) -> Mapping[str, int]:
        self.asked += pids
        return self.held

    def mapped_memory(self, pids: Sequence[int]) -> int:
        return 7 * len(pids)


class Clock:
    """The time that the scheduler is told: it passes when the test says so.

    Who goes first hangs on how long each load took, which on a busy host is chance.
    """

    def __init__(self) -> None:
        self._now = time.monotonic()

    def monotonic(self) -> float:
        return self._now

    def time(self) -> float:
        return time.time()

    def pass_by(self, seconds: float) -> None:
        self._now += seconds


class Bench:
    """A supervisor on twelve tiny models."""

    def __init__(
        self, supervisor: Supervisor, settings: Settings, backend: LlamaCppBackend, host: Host
    ) -> None:
        self.supervisor = supervisor
        self.settings = settings
        self.backend = backend
        self.host = host

    def key(self, name: str) -> RunnerKey:
        return self.supervisor.keys.key(self.backend, name, BackendMode.COMPLETION)

    async def use(self, name: str, seconds: float = 0.0) -> None:
        """Lease a model, hold it for a moment."""
        lease = await self.supervisor.lease(self.key(name), name)
        try:
            await asyncio.sleep(seconds)
        finally:
            lease.release()

    def loaded(self) -> dict[str, RunnerReport]:
        return {report.models[0]: report for report in self.supervisor.reports()}


@pytest.fixture
async def bench(tmp_path: Path, gguf: Path) -> AsyncIterator[Bench]:
    """The bench, on a host whose memory is not limited yet."""
    models = tmp_path / "models"
    models.mkdir()
    for name in NAMES:
        shutil.copyfile(gguf / "tiny.gguf", models / f"{name}.gguf")
    runtime = Path(tempfile.mkdtemp(prefix="rd"))
    directory = RuntimeDirectory(runtime)
    directory.prepare()
    settings = Settings(turn=0.1, memory_reserve={"default": 0}, queue_timeout=60)
    found = Folder(models, facts(read_header(gguf / "tiny.gguf")))
    made = replace(context(tmp_path, models, threads=1), resolver=found)
    made.log_dir.mkdir()
    backend = LlamaCppBackend(made)
    configurations = Configurations(tmp_path / "configurations.json")
    host = Host()
    supervisor = Supervisor(settings, {backend.name: backend}, configurations, directory, host=host)
    try:
        yield Bench(supervisor, settings, backend, host)
    finally:
        await supervisor.close()
        shutil.rmtree(runtime)


async def need(bench: Bench) -> int:
    """Return the bytes that each of the models needs, by the backend's account."""
    required = await bench.backend.required_memory("m0", ModelConfiguration())
    return required.ram_bytes


async def test_models_are_evicted_for_memory_and_not_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for four by their needs: four stay, the fifth takes the place of the oldest, where all
    load equally fast.
    """
    clock = Clock()
    for module in (actions, claims, running, service, watching):
        monkeypatch.setattr(module, "time", clock)
    each = await need(bench)
    bench.host.total = ROOM * each + each // 2
    for name in NAMES[:ROOM]:
        await bench.use(name)
        clock.pass_by(1)
    assert list(bench.loaded()) == NAMES[:ROOM]
    assert all(report.reserved == {"ram": each} for report in bench.loaded().values())
    await bench.use("m5")
    assert "m0" not in bench.loaded()
    assert len(bench.loaded()) == ROOM


async def test_memory_of_other_programs_leaves_less_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What others take is not given to models; a model that has no room left goes alone."""
    monkeypatch.setattr(preparation, "_LOOK_INTERVAL", 0.0)  # each look at the host is a new one
    each = await need(bench)
    bench.host.total = ROOM * each + each // 2
    bench.host.others = 2 * each
    bench.host.held = {"ram": each // 2}
    for name in NAMES[:ROOM]:
        await bench.use(name)
        bench.host.engines = len(bench.loaded())
        async with asyncio.timeout(30):  # until what its process holds is reckoned with
            while bench.loaded()[name].held != bench.host.held:
                await asyncio.sleep(0.01)
    assert len(bench.loaded()) == 2
    bench.host.others = bench.host.total
    await bench.use("m5")
    assert list(bench.loaded()) == ["m5"]


async def test_what_an_engine_holds_is_learned_from_its_process(bench: Bench) -> None:
    """The process behind the engine's socket is looked at, and its memory is reserved from then
    on, for the next start too.
    """
    each = await need(bench)
    bench.host.held = {"ram": 3 * each, "gpu0": 5}
    await bench.use("m0")
    async with asyncio.timeout(30):
        while bench.loaded()["m0"].reserved != {"ram": 3 * each, "gpu0": 5}:
            await asyncio.sleep(0.01)
    assert bench.host.asked
    assert all(Path(f"/proc/{pid}").exists() for pid in bench.host.asked)
    await bench.supervisor.unloading.unload()
    await bench.use("m0")
    assert bench.loaded()["m0"].reserved["ram"] == 3 * each


async def test_what_engines_hold_is_watched(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It grows while they are loaded: what is reserved follows, and when all together hold more
    than there is, one that is idle goes, though nobody has asked for room.
    """
    monkeypatch.setattr(watching, "_OFTEN", 0.05)
    monkeypatch.setattr(watching, "_SELDOM", 0.05)
    bench.host.total = 2**34
    bench.host.held = {"ram": 2**30}
    for name in NAMES[:3]:
        await bench.use(name)
    assert list(bench.loaded()) == NAMES[:3]
    bench.host.held = {"ram": 5 * 2**30}
    async with asyncio.timeout(30):
        while any(r.reserved["ram"] != 5 * 2**30 for r in bench.loaded().values()):
            await asyncio.sleep(0.01)
    assert list(bench.loaded()) == NAMES[:3]
    assert all(report.mapped == 7 for report in bench.loaded().values())
    bench.host.held = {"ram": 6 * 2**30}
    async with asyncio.timeout(30):
        while len(bench.loaded()) > 2:
            await asyncio.sleep(0.01)
    assert len(bench.loaded()) == 2
    bench.host.held = {"ram": 2**40}
    async with asyncio.timeout(30):
        while len(bench.loaded()) > 1:
            await asyncio.sleep(0.01)
    looks = len(bench.host.asked)
    async with asyncio.timeout(30):
        while len(bench.host.asked) < looks + 3:
            await asyncio.sleep(0.01)
    assert len(bench.loaded()) == 1  # the last one stays, whatever it holds


async def test_two_hundred_requests_stay_within_the_budget(bench: Bench) -> None:
    """Twelve models in memory for four: at no moment more is reserved than there is, nobody
    waits for ever, and who leaves leaves nothing behind.
    """
    each = await need(bench)
    bench.host.total = ROOM * each + each // 2
    chance = random.Random(1)
    over = asyncio.Event()
    most = 0

    async def watch() -> None:
        nonlocal most
        while not over.is_set():
            reserved = [r.reserved.get("ram", 0) for r in bench.supervisor.reports()]
            most = max(most, sum(reserved))
            assert bench.supervisor.stranded() == 0
            await asyncio.sleep(0.005)

    async def client(number: int) -> str:
        name, seconds = chance.choice(NAMES), chance.uniform(0, 0.05)
        leaves = number % 5 == 0
        try:
            async with asyncio.timeout(chance.uniform(0.05, 1) if leaves else 60):
                await bench.use(name, seconds)
        except TimeoutError:
            return "left" if leaves else "hung"
        except Overloaded:
            return "overloaded"
        return "served"

    watching = asyncio.gather(watch())
    outcomes = await asyncio.gather(*(client(number) for number in range(200)))
    over.set()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    assert set(outcomes) <= {"served", "left"}
    assert outcomes.count("served") >= 160
    assert 0 < most <= bench.host.total
    assert bench.supervisor.queued == 0
    assert all(report.in_use == 0 for report in bench.supervisor.reports())


async def test_a_context_that_cannot_be_had_is_refused(bench: Bench) -> None:
    """When it is configured, with what would happen; by force it is set, and then no load is tried
    for it and nobody is evicted.
    """
    bench.host.total = 2**34
    await bench.use("m1")
    key = ConfigurationKey(bench.backend.name, "m0", BackendMode.COMPLETION)
    huge: dict[str, object] = {"context-size": 999999999}
    with pytest.raises(InvalidConfiguration) as caught:
        await bench.supervisor.configuring.configure(key, huge)
    for part in (
        "8192 tokens that the model was trained for",
        "GiB, more than the 16.00",
        "--force",
    ):
        assert part in caught.value.message
    assert bench.supervisor.configurations() == []
    await bench.supervisor.configuring.configure(key, huge, force=True)
    with pytest.raises(InsufficientStorage, match="nothing was evicted for it"):
        await bench.use("m0")
    assert list(bench.loaded()) == ["m1"]


async def test_more_than_models_can_have_is_told_beforehand(bench: Bench) -> None:
    """By the account of the engine's own tool; what fits is taken as it was."""
    each = await need(bench)
    bench.host.total = each + each // 2
    key = ConfigurationKey(bench.backend.name, "m0", BackendMode.COMPLETION)
    slots: dict[str, object] = {"context-size": 512, "runtime-flags": ["--parallel", "4"]}
    await bench.supervisor.configuring.configure(key, slots)
    bench.host.total = each // 2
    with pytest.raises(
        InvalidConfiguration, match=r"would need [0-9.]+ MiB of ram, of which models"
    ):
        await bench.supervisor.configuring.configure(key, {"context-size": 256})
    await bench.supervisor.configuring.configure(
        key, {"keep_alive": "1m"}
    )  # changes nothing of that


async def test_an_engine_can_take_what_nobody_else_has(bench: Bench) -> None:
    """Its limit is what it is known to need, and as much more as an account may be wrong by, as far
    as that is not reserved for others.
    """
    bench.host.total, bench.host.others = 2**34, 2**34 - 2**31
    await bench.use("m0")
    assert await data_limits(bench) == {"m0": data_limit(2**31)}
    await bench.use("m1")
    each = (await data_limits(bench))["m1"] - data_limit(0)
    reserved = bench.loaded()["m0"].reserved["ram"]
    assert each == 2**31 - reserved


async def test_an_engine_cannot_take_all_that_is_free(bench: Bench) -> None:
    """On a host with much free memory its limit follows what is reserved for it."""
    bench.host.total, bench.host.others = 2**36, 2**33
    await bench.use("m0")
    reserved = bench.loaded()["m0"].reserved["ram"]
    assert await data_limits(bench) == {"m0": data_limit(3 * reserved + 2**31)}


async def data_limits(bench: Bench) -> dict[str, int]:
    """Return the kernel's limit of each engine."""
    found = {}
    runners = {runner.name: runner for runner in bench.supervisor.ready_runners()}
    for name, report in bench.loaded().items():
        runner = runners[report.id]
        pid = await engine_process(runner.engine_socket)
        line = next(
            line
            for line in Path(f"/proc/{pid}/limits").read_text().splitlines()
            if line.startswith("Max data size")
        )
        found[name] = int(line.split()[3])
    return found


async def test_settings_change_without_dropping_a_request(bench: Bench) -> None:
    """Fewer runners: those in use finish, those who wait are served, and then there are fewer."""
    requests = [tasks.spawn(bench.use(name, 0.3), name=name) for name in NAMES[:3]]
    async with asyncio.timeout(30):
        while len(bench.loaded()) < 3:
            await asyncio.sleep(0.01)
    bench.settings.adopt(Settings(max_runners=1, turn=0.1, idle_timeout=0.01))
    bench.supervisor.settings_changed()
    requests.append(tasks.spawn(bench.use("m5"), name="m5"))
    await asyncio.gather(*requests)
    async with asyncio.timeout(30):
        while bench.loaded():
            await asyncio.sleep(0.01)
