"""Finding the native server, and knowing what the one that was found can do.

A file named llama-server is not yet a server: one whose libraries are missing is installed and does
not start.  So "found" means that `--version` ran, and its `--help` says which options it has,
because llama.cpp renames them now and then.  Both answers are kept until the file changes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runnerd.backends.llamacpp.devices import listed_devices
from runnerd.backends.llamacpp.install import installed_server
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.process import child_environment, run_command
from runnerd.errors import BackendFailure, HostExhausted

log = logging.getLogger(__name__)

SERVER_NAME = "llama-server"
FIT_TOOL_NAME = "llama-fit-params"

_PROBE_TIMEOUT = 30.0  # a CUDA build initialises the driver first
_LOOK_INTERVAL = 1.0
_HELP_BYTES = 512 * 2**10
_VERSION = re.compile(r"version:\s*(\S+)(?:\s*\((?:build \d+, commit )?([0-9A-Za-z]+)\))?")
_OPTION = re.compile(r"(?<![\w-])--[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class NativeServer:
    """A llama-server that runs: where it is, its version, the long options that it knows."""

    path: Path
    version: str
    options: frozenset[str]

    @property
    def fit_tool(self) -> Path | None:
        """llama.cpp's own memory estimator, where it lies beside the server."""
        tool = self.path.parent / FIT_TOOL_NAME
        return tool if os.access(tool, os.X_OK) else None


class ServerFinder:
    """Finds the native server; keeps what it learnt about each file until the file changes."""

    def __init__(self, settings: LlamaCppSettings, state_dir: Path) -> None:
        self._settings = settings
        self._state_dir = state_dir
        self._known: dict[tuple[Path, int], NativeServer | BackendFailure] = {}
        self._devices: dict[tuple[Path, int], tuple[str, ...]] = {}
        self._lock = asyncio.Lock()
        self._bundled = Path(sysconfig.get_paths()["purelib"]) / "bin" / SERVER_NAME
        self._likely = False
        self._looked_at = -_LOOK_INTERVAL

    def likely(self) -> bool:
        """Return whether there is a file that may be a server; no proof, and at most a second old.

        It is asked at every request, so it does not look at the disk every time.
        """
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_INTERVAL:
            self._looked_at = now
            self._likely = any(
                not isinstance(self._known.get(_stamp(path)), BackendFailure)
                for path in self._candidates()
            )
        return self._likely

    @property
    def version(self) -> str | None:
        """The version of the server that would be used, as far as it has been asked yet."""
        for path in self._candidates():
            if isinstance(known := self._known.get(_stamp(path)), NativeServer):
                return known.version
        return None

    @property
    def problem(self) -> str | None:
        """Why the first candidate does not run, if that is known."""
        for path in self._candidates():
            if isinstance(known := self._known.get(_stamp(path)), BackendFailure):
                return known.message
        return None

    async def find(self) -> NativeServer | None:
        """Return the first server that runs, None where there is none.

        A configured `path` is the only candidate: raises errors.BackendFailure when it does not
        run.
        """
        async with self._lock:
            self._looked_at = -_LOOK_INTERVAL
            for path in self._candidates():
                stamp = _stamp(path)
                if (known := self._known.get(stamp)) is None:
                    known = self._known[stamp] = await self._examine(path)
                if isinstance(known, NativeServer):
                    return known
                if path == self._settings.path:
                    raise BackendFailure(known.message)
            if self._settings.path is not None:
                raise BackendFailure(
                    f"the configured llama-server {self._settings.path} is not an executable file"
                )
            return None

    async def devices(self, server: NativeServer) -> tuple[str, ...]:
        """Return the server's names of this host's GPUs.  Raises errors.BackendFailure."""
        stamp = _stamp(server.path)
        async with self._lock:
            if stamp not in self._devices:
                self._devices[stamp] = listed_devices(
                    await self._ask(server.path, "--list-devices")
                )
            return self._devices[stamp]

    def environment(self) -> dict[str, str]:
        """Return the environment for llama.cpp's programs."""
        directories = ":".join(str(path) for path in self._settings.extra_library_path)
        return child_environment({"LD_LIBRARY_PATH": directories} if directories else None)

    def _candidates(self) -> Iterator[Path]:
        for path in self._places():
            if os.access(path, os.X_OK) and path.is_file():  # in this order nothing is raised
                yield path

    def _places(self) -> Iterator[Path]:
        if self._settings.path is not None:
            yield self._settings.path
            return
        yield self._bundled
        yield installed_server(self._state_dir)
        if found := shutil.which(SERVER_NAME):
            yield Path(found)

    async def _examine(self, path: Path) -> NativeServer | BackendFailure:
        try:
            version = await self._ask(path, "--version")
            options = await self._ask(path, "--help")
        except HostExhausted:
            raise  # says nothing about the file
        except BackendFailure as failure:
            log.warning("%s", failure.message)
            return failure
        match = _VERSION.search(version)
        name = "unknown" if match is None else match[1] + (f" ({match[2]})" if match[2] else "")
        log.info("llama.cpp %s: %s", name, path)
        return NativeServer(path, name, frozenset(_OPTION.findall(options)))

    async def _ask(self, path: Path, option: str) -> str:
        result = await run_command(
            [str(path), option],
            timeout=_PROBE_TIMEOUT,
            environment=self.environment(),
            deny_network=self._settings.sandbox,
            output_bytes=_HELP_BYTES,
        )
        if result.code != 0:
            lines = result.output.strip().splitlines()
            detail = lines[-1] if lines else "it printed nothing"
            raise BackendFailure(f"{path} does not run ({result.reason}): {detail}")
        return result.output


def _stamp(path: Path) -> tuple[Path, int]:
    try:
        return path, path.stat().st_mtime_ns
    except OSError:
        return path, 0
