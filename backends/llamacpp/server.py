"""Finding the native server, and knowing what the one that was found can do.

A file named llama-server is not yet a server: one whose libraries are missing does not start, one
for another processor dies at its first graph, an old one knows no Unix sockets.  So "found" means
that `--version` ran, that `--help` names the options (llama.cpp renames them now and then), and
that it has loaded models on this processor (`trial`).  All of it is kept until the file changes.

Where the host has a GPU, one that computes on it comes before one that does not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from runnerd import threads
from runnerd.backends.environment import child_environment
from runnerd.backends.llamacpp import hardware, places
from runnerd.backends.llamacpp.examination import Examination
from runnerd.backends.llamacpp.isolation import Isolation
from runnerd.backends.llamacpp.native_server import NativeServer, UnfitEngine
from runnerd.backends.llamacpp.places import CONFIGURED, Place
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.llamacpp.trial.identity import engine_identity, this_processor
from runnerd.backends.llamacpp.trial.running import NO_REPACK, Subject, try_engine
from runnerd.backends.llamacpp.trial.verdicts import FILE_NAME, Verdict, Verdicts
from runnerd.errors import BackendFailure

log = logging.getLogger(__name__)

_LOOK_INTERVAL = 1.0

_Known = NativeServer | BackendFailure


class ServerFinder:
    """Finds the native server; keeps what it learnt about each file until the file changes."""

    def __init__(self, settings: LlamaCppSettings, state_dir: Path) -> None:
        self._settings = settings
        self._state_dir = state_dir
        self.isolation = Isolation(settings, state_dir)
        self._hardware = hardware.look()
        cards = bool(self._hardware.cards)
        self._examination = Examination(self.isolation, self.environment, has_cards=cards)
        self._known: dict[tuple[Path, int], _Known] = {}
        self._lock = asyncio.Lock()
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
                not isinstance(self._known.get(_stamp(place.path)), BackendFailure)
                for place in self._candidates()
            )
        return self._likely

    @property
    def current(self) -> NativeServer | None:
        """The server that would be used, as far as they have been asked yet."""
        return self._best(
            known
            for place in self._candidates()
            if isinstance(known := self._known.get(_stamp(place.path)), NativeServer)
        )

    @property
    def version(self) -> str | None:
        """The version of the server that would be used, as far as it has been asked yet."""
        return None if (server := self.current) is None else server.version

    @property
    def problem(self) -> str | None:
        """Why the first candidate does not run, if that is known."""
        for place in self._candidates():
            if isinstance(known := self._known.get(_stamp(place.path)), BackendFailure):
                return known.message
        return None

    @property
    def unfit(self) -> bool:
        """Whether, as far as is known, there are servers and this processor runs none of them."""
        known = [self._known.get(_stamp(place.path)) for place in self._candidates()]
        return any(isinstance(one, UnfitEngine) for one in known) and not any(
            isinstance(one, NativeServer) for one in known
        )

    def unused_cards(self, server: NativeServer | None) -> str:
        """Return, where this server leaves the host's GPUs alone, so and what mends it."""
        cards = self._hardware.cards
        if not cards or (server is not None and server.devices):
            return ""
        listed = ", ".join(cards[:4]) + (" ..." if len(cards) > 4 else "")
        return f"the GPU ({listed}) is not used: {self._hardware.remedy}"

    async def find(self, name: str | None = None) -> NativeServer | None:
        """Return the server to use, None where there is none that starts.

        A configured `path`, or a `name` (else the setting's), is the only candidate: raises
        errors.BackendFailure when it is not there or does not run.  Raises UnfitEngine where the
        only ones that start do not run on this processor.
        """
        name = name or self._settings.engine
        async with self._lock:
            self._looked_at = -_LOOK_INTERVAL
            failures: list[BackendFailure] = []
            servers: list[NativeServer] = []
            for place in self._candidates(name):
                known = await self._look_at(place)
                if isinstance(known, BackendFailure):
                    failures.append(known)
                    continue
                servers.append(known)
                if known.devices or not self._hardware.cards:
                    break
        if (best := self._best(servers)) is not None:
            return best
        if name is not None or self._settings.path is not None:
            raise _again(failures[0]) if failures else self._absent(name)
        for failure in failures:
            if isinstance(failure, UnfitEngine):  # the Python fallback would die of the same
                raise _again(failure)
        return None

    def environment(self) -> dict[str, str]:
        """Return the environment for llama.cpp's programs."""
        directories = ":".join(str(path) for path in self._settings.extra_library_path)
        return child_environment({"LD_LIBRARY_PATH": directories} if directories else None)

    def candidates(self) -> list[Place]:
        """Return the files that may be servers, in the order in which they are taken."""
        return list(self._candidates())

    async def look_at(self, place: Place, *, careful: bool = True) -> NativeServer:
        """Run the server of a place and find out what it can.

        `careful` accepts one that only runs with further flags.  Raises errors.BackendFailure for
        what does not run, UnfitEngine for what dies.
        """
        async with self._lock:
            known = await self._look_at(place, careful=careful)
        if isinstance(known, BackendFailure):
            raise _again(known)
        return known

    def _candidates(self, name: str | None = None) -> Iterator[Place]:
        name = name or self._settings.engine
        if (path := self._settings.path) is not None and name in (None, CONFIGURED):
            if os.access(path, os.X_OK) and path.is_file():  # in this order nothing is raised
                yield Place(CONFIGURED, path)
            return
        for place in places.found_here(self._state_dir):
            if name in (None, place.name):
                yield place

    @staticmethod
    def _best(servers: Iterator[NativeServer] | list[NativeServer]) -> NativeServer | None:
        return max(servers, key=lambda server: bool(server.devices), default=None)

    def _absent(self, name: str | None) -> BackendFailure:
        if name in (None, CONFIGURED):
            return BackendFailure(
                f"the configured llama-server {self._settings.path} is not an executable file"
            )
        there = sorted({place.name for place in places.found_here(self._state_dir)})
        return BackendFailure(
            f"there is no engine {name!r} (there is: {', '.join(there) or 'none'});"
            f" runnerd install llama.cpp --with {name} builds one"
        )

    async def _look_at(self, place: Place, *, careful: bool = True) -> _Known:
        stamp = _stamp(place.path)
        if (known := self._known.get(stamp)) is None:
            known = await self._examination.of(place)
            if not isinstance(known, BackendFailure):
                known = await self._tried(known, place, careful)
            if isinstance(known, BackendFailure):
                log.warning("%s", known.message)
            else:
                on = ", ".join(known.devices) or "CPU"
                log.info("%s (%s): %s", known.words, on, known.path)
                if known.warning:
                    log.warning("%s", known.warning)
            self._known[stamp] = known
        return known

    async def _tried(self, server: NativeServer, place: Place, careful: bool) -> _Known:
        """Return the server with what its trial found, or why it cannot be used."""
        verdict = await self._verdict(server, careful)
        if verdict.state == "dies":
            remedy = "--rebuild" if place.ours else "--with cpu"
            return UnfitEngine(
                f"{server.path} was built for another processor than this one ({verdict.reason}):"
                f" runnerd install llama.cpp {remedy}",
                verdict.reason,
            )
        warning = ""
        if verdict.state == "fails":
            warning = f"{server.path} could not be tried: {verdict.reason}"
        elif verdict.flags:
            warning = (
                f"{server.path} only runs with {' '.join(verdict.flags)} on this processor"
                f" ({verdict.reason}), which is slower: runnerd install llama.cpp --rebuild"
            )
        sound = verdict.state == "works"
        return replace(server, flags=verdict.flags, warning=warning, sound=sound)

    async def _verdict(self, server: NativeServer, careful: bool) -> Verdict:
        folders = (self._state_dir, places.environment_root(), server.path.parent)
        verdicts = Verdicts([folder / FILE_NAME for folder in folders])
        try:
            identity = await threads.run(self._identity, server)
        except OSError as error:
            return Verdict("fails", f"{error.filename}: {error.strerror}")
        if (known := await threads.run(verdicts.get, identity)) is not None:
            return known
        log.info("trying %s, which has not run on this processor yet", server.path)
        verdict = await try_engine(
            Subject(
                server.path,
                server.options if careful else server.options - {NO_REPACK},
                self.environment(),
                self.isolation,
                devices=bool(server.devices),
            )
        )
        await threads.run(verdicts.put, identity, verdict)
        return verdict

    def _identity(self, server: NativeServer) -> str:
        libraries = self._settings.extra_library_path
        return f"{this_processor().identity}{engine_identity(server.path, libraries)}"


def _again(failure: BackendFailure) -> BackendFailure:
    """Return a failure that is known already, to be raised: each raising adds to a traceback."""
    if isinstance(failure, UnfitEngine):
        return UnfitEngine(failure.message, failure.detail)
    return BackendFailure(failure.message)


def _stamp(path: Path) -> tuple[Path, int]:
    try:
        return path, path.stat().st_mtime_ns
    except OSError:
        return path, 0
