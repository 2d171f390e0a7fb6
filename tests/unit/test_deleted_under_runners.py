"""A model that is deleted while it is loaded: its end is no failure of whoever comes after it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from runnerd.backends.configuration import BackendMode
from runnerd.backends.interface import EngineFailure
from runnerd.config import Settings
from runnerd.configurations import Configurations
from runnerd.errors import ModelNotFound
from runnerd.sockets.paths import RuntimeDirectory
from runnerd.supervisor import Supervisor
from runnerd.tasks import spawn
from tests.support.listener import Listener
from tests.support.waiting import until


class Fileless(Listener):
    """Its first engine finds no file, once it is told to go on."""

    def __init__(self) -> None:
        self.starts = 0
        self.go_on = asyncio.Event()

    async def serve(self, socket: Path) -> None:
        self.starts += 1
        if self.starts == 1:
            await self.go_on.wait()
            raise EngineFailure("no such file", exit_reason="exit status 1", loading=True)
        await super().serve(socket)


@pytest.mark.parametrize("returns_early", [False, True])
async def test_a_model_that_returns_is_served(tmp_path: Path, *, returns_early: bool) -> None:
    """Who waited is told that it is gone; the same model, imported anew, starts afresh."""
    directory = RuntimeDirectory(tmp_path / "run")
    directory.prepare()
    backend, here = Fileless(), ["m"]
    supervisor = Supervisor(
        Settings(default_backend=Listener.name),
        {Listener.name: backend},
        Configurations(tmp_path / "configurations.json"),
        directory,
        loaded_as=lambda _: here,
    )
    key = supervisor.keys.key(supervisor.keys.backend(None), "m", BackendMode.COMPLETION)
    waiting = spawn(supervisor.lease(key, "m"), name="a client")
    await until(lambda: backend.starts == 1)
    here.clear()
    await supervisor.removing.forget("m", "m", shared=False)
    if returns_early:
        here.append("m")
    backend.go_on.set()
    with pytest.raises(ModelNotFound):
        await waiting
    here[:] = ["m"]
    assert supervisor.reports() == []
    key = supervisor.keys.key(supervisor.keys.backend(None), "m", BackendMode.COMPLETION)
    (await supervisor.lease(key, "m")).release()
    await supervisor.close()
