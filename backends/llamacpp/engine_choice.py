"""Which engine runs models: the native llama-server, else the Python fallback, else none.

It is decided at each run, so that an installation that has just ended counts at once.
"""

from __future__ import annotations

import contextlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from runnerd import threads
from runnerd.backends.configuration import BackendConfiguration, BackendMode
from runnerd.backends.llamacpp.building.choice import EngineRequest
from runnerd.backends.llamacpp.command import Launch, native_command
from runnerd.backends.llamacpp.fallback import INSTALL_FALLBACK, INSTALL_NATIVE, Fallback
from runnerd.backends.llamacpp.install import Installer, occupied_bytes
from runnerd.backends.llamacpp.native_server import NativeServer, UnfitEngine
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.sandbox import lacks
from runnerd.errors import BackendFailure, NotSupported

log = logging.getLogger(__name__)

NAME = "llama.cpp"


@dataclass(frozen=True, slots=True)
class EngineCommand:
    """How an engine is started: whether it is the native one, which further files of ours it
    reads, whether it may compute on GPUs, and which it is, for people.
    """

    argv: list[str]
    native: bool
    reads: tuple[Path, ...]
    devices: bool
    words: str


class EngineChoice:
    """Finds, installs and chooses engines, and says how that stands."""

    def __init__(self, settings: LlamaCppSettings, state_dir: Path) -> None:
        self.finder = ServerFinder(settings, state_dir)
        self._settings = settings
        self._state_dir = state_dir
        self._installer = Installer(state_dir, settings)
        self._fallback = Fallback()

    @property
    def is_native(self) -> bool:
        """Whether the native server is there, as far as a look at its file tells."""
        return self._settings.server != "python" and self.finder.likely()

    @property
    def _is_fallback(self) -> bool:
        if self._settings.engine is not None or self._settings.server == "native":
            return False
        # A fallback around code that this processor does not run would die of the same.
        return self._fallback.available and not self.finder.unfit

    @property
    def _remedy(self) -> str:
        """What to do where there is none of the engines that the owner lets us use."""
        if self._settings.server == "python":
            return INSTALL_FALLBACK
        if self._settings.server == "native" or self._settings.engine is not None:
            return INSTALL_NATIVE
        return f"{INSTALL_NATIVE}; or, for one request at a time, {INSTALL_FALLBACK}"

    def unsupported_reason(self, operation: str, mode: BackendMode) -> str | None:
        """Why the engine of the next run cannot do `operation`; see `interface.Backend`."""
        # As `is_native`, which is a call: this is asked at each request.
        if self._settings.server != "python" and self.finder.likely():
            return None
        if self.finder.unfit:  # a load says then what is the matter
            return None
        return self._fallback.unsupported_reason(operation, mode)

    def fallback_lacks(self, operation: str, mode: BackendMode) -> str | None:
        """Why the fallback cannot do `operation`, None where it can."""
        return self._fallback.unsupported_reason(operation, mode)

    async def server(self, config: BackendConfiguration) -> NativeServer | None:
        """The native server for a configuration, None where the fallback is to run.

        Raises errors.BackendFailure for a server that does not work here, or is not there although
        the configuration names it.
        """
        return None if self._settings.server == "python" else await self.finder.find(config.engine)

    async def command(self, launch: Launch) -> EngineCommand:
        """How the engine is started.  Raises errors.BackendFailure, NotSupported."""
        server = await self.server(launch.configuration)
        if server is not None:
            argv = self.native_command(server, launch)
            return EngineCommand(argv, True, (), bool(server.devices), server.words)
        if not self._is_fallback:
            raise BackendFailure(f"llama.cpp is not installed: {self._remedy}")
        reason = self._fallback.unsupported_reason("", launch.mode)
        if reason is not None:
            raise NotSupported(reason)
        argv = self._fallback.command(launch, self._settings)
        reads, words = await threads.run(lambda: (self._fallback.reads, self._fallback.words))
        return EngineCommand(argv, False, reads, True, words)

    def native_command(self, server: NativeServer, launch: Launch) -> list[str]:
        """The argv of a native server for a launch."""
        return native_command(server, replace(launch, devices=server.devices), self._settings)

    async def install(self, http: aiohttp.ClientSession) -> None:
        """Make an engine exist that fits this host; see `interface.Backend`."""
        if self._settings.path is not None:
            return
        request = EngineRequest(found=True)
        try:
            server = await self.finder.find()
        except UnfitEngine:
            request = EngineRequest(rebuild=True)
        else:
            if server is not None and not self.finder.unused_cards(server):
                return
        await self._installer.install(http, request)
        await self.finder.find()

    def status(self) -> str:
        """How it stands, in the words of `interface.Backend.status`."""
        if self._installer.progress is not None:
            return f"Installing: {self._installer.progress}"
        if self.is_native:
            return self._running()
        problem = self.finder.problem or self._installer.problem
        if self._is_fallback:
            detail = problem or INSTALL_NATIVE
            return f"Running: {self._fallback.words} (limited; {detail})"
        if problem is not None:
            return f"Error: {problem}"
        return f"Not Installed: {self._remedy}"

    def _running(self) -> str:
        """Say which engine runs, what it leaves unused first."""
        server = self.finder.current
        parts = [self.finder.unused_cards(server)] if server is not None else []
        parts += lacks() if self._settings.sandbox else ["engines are not held back (`sandbox`)"]
        parts.append(self.finder.isolation.complaint)
        parts += [server.words, server.warning] if server is not None else [NAME]
        return f"Running: {'; '.join(filter(None, parts))}"

    async def disk_usage(self) -> int:
        """The bytes that engines occupy."""
        with contextlib.suppress(BackendFailure):
            server = await self.finder.find()
            return await threads.run(
                occupied_bytes, self._state_dir, None if server is None else server.path
            )
        return 0

    async def prepare(self) -> None:
        """Look at the engine before the first request does; see `interface.Preparing`."""
        if self._settings.server == "python":
            return
        try:
            server = await self.finder.find()
        except BackendFailure as failure:
            log.error("no model can be loaded: %s", failure.message)
            return
        if unused := self.finder.unused_cards(server):
            log.warning("%s", unused)
        if server is None and not self._is_fallback:
            log.warning("llama.cpp is not installed: %s", self._remedy)
