"""One run: a guard on the public socket, and an engine process in a folder of its own beside it."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from runnerd import threads
from runnerd.backends.guard import Guard
from runnerd.backends.interface import BackendContext
from runnerd.backends.limits import data_limit
from runnerd.backends.llamacpp.command import Launch
from runnerd.backends.llamacpp.engine_choice import EngineChoice, EngineCommand
from runnerd.backends.llamacpp.failure import engine_failure
from runnerd.backends.llamacpp.isolation import compiled_in, files_of
from runnerd.backends.llamacpp.launches import Launches
from runnerd.backends.llamacpp.layers import LoadOutput
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.names import ModelNames
from runnerd.backends.process import EngineProcess
from runnerd.backends.sandbox import Sandbox
from runnerd.deep_removal import remove_folder
from runnerd.errors import BackendFailure
from runnerd.tasks import uninterrupted

log = logging.getLogger(__name__)


class EngineRuns:
    """Carries runs out, from the start of the engine until the last of its processes is gone."""

    def __init__(
        self,
        settings: LlamaCppSettings,
        context: BackendContext,
        engines: EngineChoice,
        launches: Launches,
    ) -> None:
        self._settings = settings
        self._context = context
        self._engines = engines
        self._launches = launches
        self._processes: dict[Path, EngineProcess] = {}  # by the socket of their run
        self._words: dict[Path, str] = {}  # likewise: which engine it is

    async def run(self, socket: Path, model: str, launch: Launch, ram_limit: int | None) -> None:
        """Serve one model until the engine fails or we are cancelled; see `interface.Backend`."""
        await self._engines.command(launch)  # what cannot be started leaves nothing
        async with _folders(launch) as launch:
            await self._run(socket, model, launch, ram_limit)

    async def _run(self, socket: Path, model: str, launch: Launch, ram_limit: int | None) -> None:
        command = await self._engines.command(launch)
        guard = Guard(
            socket,
            launch.socket,
            ModelNames(model, launch.model_ref, lambda name: self._launches.shares(launch, name)),
            routes=self._context.routes,
            unsupported_reason=lambda operation: (
                None if command.native else self._engines.fallback_lacks(operation, launch.mode)
            ),
            admit=partial(self._context.admit, model),
        )
        await guard.start()
        process: EngineProcess | None = None
        async with contextlib.AsyncExitStack() as stack:
            try:
                sandbox, environment = await self._surroundings(stack, launch, command)
                process = self._start(socket, command, sandbox, environment, ram_limit)
                self._processes[socket] = process
                self._words[socket] = command.words
                record = await process.wait()
            finally:
                self._processes.pop(socket, None)
                self._words.pop(socket, None)
                await uninterrupted(self._clean_up(guard, process), name=f"end of {socket.stem}")
        log.debug("runner %s: %s after %.1f s", socket.stem, record.reason, record.uptime)
        raise engine_failure(record, launch.model_ref, weights=str(launch.files.weights))

    def crowded(self, socket: Path, is_crowded: bool) -> None:
        """Schedule the engine of a run for many clients, or for few."""
        if (process := self._processes.get(socket)) is not None:
            process.schedule(batch=is_crowded)

    def engine(self, socket: Path) -> str:
        """Which engine a run has, "" where there is none (any more)."""
        return self._words.get(socket, "")

    async def _surroundings(
        self, stack: contextlib.AsyncExitStack, launch: Launch, command: EngineCommand
    ) -> tuple[Sandbox | None, dict[str, str]]:
        """What the engine may reach, as long as the stack lasts, and its environment."""
        finder, writes = self._engines.finder, []
        environment = finder.environment()
        if launch.slots is not None:
            writes.append(launch.slots)
        if command.devices:
            folder = await threads.run(finder.isolation.compiled, launch.files)
            if folder is not None:
                writes.append(folder)
                environment |= compiled_in(folder)
        files = await threads.run(lambda: [*files_of(launch.files), *_draft_files(launch)])
        sandbox = await stack.enter_async_context(
            finder.isolation.of(
                Path(command.argv[0]),
                reads=[*files, *command.reads],
                writes=writes,
                sockets=[launch.socket.parent],
                devices=command.devices,
            )
        )
        return sandbox, environment

    def _start(
        self,
        socket: Path,
        command: EngineCommand,
        sandbox: Sandbox | None,
        environment: dict[str, str],
        ram_limit: int | None,
    ) -> EngineProcess:
        words = " ".join(command.argv).replace("\n", "\\n")
        user = None if sandbox is None or sandbox.user is None else sandbox.user.uid
        as_whom = "" if user is None else f" (as uid {user})"
        log.info("runner %s: starting %s%s", socket.stem, words, as_whom)
        return EngineProcess.start(
            command.argv,
            output=LoadOutput(self._context.log_dir / f"{socket.stem}.log", socket.stem),
            environment=environment,
            sandbox=sandbox,
            data_limit=None if ram_limit is None else data_limit(ram_limit),
        )

    async def _clean_up(self, guard: Guard, process: EngineProcess | None) -> None:
        """End everything, the guard first: a client that does not read delays the engine's end."""
        try:
            await guard.close()
        finally:
            if process is not None:
                await process.stop(self._settings.stop_grace)


def _draft_files(launch: Launch) -> Iterator[Path]:
    return iter(()) if launch.draft is None else files_of(launch.draft)


@contextlib.asynccontextmanager
async def _folders(launch: Launch) -> AsyncIterator[Launch]:
    """Give an engine folders of its own, empty: what an earlier one left there may be anything.

    Without one for slots it runs without them.  Raises errors.BackendFailure.
    """
    try:
        yield await threads.run(_make_folders, launch)
    finally:
        await threads.run_to_end(_remove_folders, launch)


def _make_folders(launch: Launch) -> Launch:
    _remove_folders(launch)
    folder = launch.socket.parent
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise BackendFailure(f"cannot make {folder} for an engine: {error.strerror}") from error
    try:
        if launch.slots is not None:
            launch.slots.mkdir(mode=0o700)
    except OSError as error:
        log.warning(
            "evaluated conversations are not saved: cannot make %s: %s",
            launch.slots,
            error.strerror,
        )
        return replace(launch, slots=None)
    return launch


def _remove_folders(launch: Launch) -> None:
    for folder in (launch.socket.parent, launch.slots):
        if folder is not None:
            remove_folder(folder)
