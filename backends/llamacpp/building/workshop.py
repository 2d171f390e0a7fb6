"""From a request to an engine that has answered on this host.

What is there and fits is taken; else llama.cpp is built beside its final name, tried, built again
further down the ladder if this processor does not run it, and renamed: what has the final name has
loaded models here.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from runnerd import threads
from runnerd.backends.llamacpp import hardware, places
from runnerd.backends.llamacpp.building.build_folder import BuildFolder
from runnerd.backends.llamacpp.building.choice import Choice, EngineRequest, choose
from runnerd.backends.llamacpp.building.cmake import (
    Tools,
    Tree,
    check_compiler,
    find_programs,
)
from runnerd.backends.llamacpp.building.ladder import TOP, Rung, ladder
from runnerd.backends.llamacpp.building.options import VERSION
from runnerd.backends.llamacpp.building.sources import (
    Index,
    cache_folder,
    commit_of,
    unpack_sources,
)
from runnerd.backends.llamacpp.native_server import NativeServer, UnfitEngine
from runnerd.backends.llamacpp.places import Place
from runnerd.backends.llamacpp.server import ServerFinder
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.backends.llamacpp.trial.identity import this_processor
from runnerd.errors import BackendFailure

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

Report = Callable[[str], None]

_SPACE = 1.5 * 2**30  # sources, objects and programs; several times as much with a GPU's code
_NO_DRIVER = ("libcuda.so", "libamdhip64.so", "libhsa-runtime", "libvulkan.so")


@dataclass(frozen=True, slots=True)
class Installed:
    """The engine to use, and one sentence about it for people."""

    path: Path
    sentence: str
    built: bool = False


class Workshop:
    """Makes engines in one folder, `root`.

    `report` takes progress, which replaces what was reported before, `tell` sentences that stay.
    """

    def __init__(
        self,
        root: Path,
        http: aiohttp.ClientSession,
        *,
        report: Report,
        tell: Report,
        settings: LlamaCppSettings | None = None,
    ) -> None:
        self._root = root
        self._http = http
        self._report = report
        self._tell = tell
        self._finder = ServerFinder(settings or LlamaCppSettings(), root)
        self._hardware = hardware.look()

    async def install(self, request: EngineRequest) -> Installed:
        """Return an engine that fits the request and this host, building one where there is none.

        Safe to cancel and to repeat.  Raises errors.BackendFailure, whose message says what to do.
        """
        choice = choose(request, self._hardware)
        if not request.rebuild and (ready := await self._ready(request, choice)) is not None:
            return ready
        self._tell(f"llama.cpp: {choice.sentence}")
        check_compiler()
        try:
            return await self._build(request, choice)
        except OSError as error:
            raise BackendFailure(
                f"cannot install llama.cpp in {self._root}: {error.strerror or error}"
            ) from error

    # what is there

    async def _ready(self, request: EngineRequest, choice: Choice) -> Installed | None:
        """Return an engine that is there and does what was asked for."""
        for place in await threads.run(self._candidates, request, choice):
            try:
                server = await self._finder.look_at(place)
            except BackendFailure as failure:
                self._tell(f"not taken: {failure.message}")
                continue
            if not server.sound or (server.flags and place.ours):
                self._tell(f"not taken: {server.warning}")
            elif server.devices or not (self._hardware.cards and choice.kind != "cpu"):
                return Installed(place.path, self._about(server, place, choice))
        return None

    def _candidates(self, request: EngineRequest, choice: Choice) -> list[Place]:
        found = []
        own = places.server_in(self._root, choice.name)
        if os.access(own, os.X_OK):
            wanted = (
                request.source.name if request.source is not None else request.version or VERSION
            )
            if places.description(own).get("version") == wanted:
                found.append(Place(choice.name, own, ours=True))
        there = [place for place in places.found_here(self._root) if place.name != choice.name]
        if request.open and choice.kind == "cpu":
            found += [place for place in there if place.name == places.BUNDLED]
        if request.open and request.found:
            found += [place for place in there if place.name != places.BUNDLED]
        return found

    def _about(self, server: NativeServer, place: Place, choice: Choice) -> str:
        on = ", ".join(server.devices) or "the processor"
        if place.ours:
            code = server.variant and f", its code for {server.variant}"
            sentence = (
                f"llama.cpp's server is ready: {server.path} ({server.version}{code}, on {on})"
            )
        else:
            sentence = (
                f"The llama-server that is here already is used: {server.path} ({server.version},"
                f" on {on}); it has answered"
            )
            for lack in server.lacks:
                sentence += f"\n  it lacks: {lack}"
            sentence += f"\n  runnerd install llama.cpp --with {choice.kind} builds runnerd's own"
        unused = "" if choice.kind != "cpu" else self._finder.unused_cards(server)
        return "\n".join(filter(None, [unused, sentence, server.warning]))

    # what is not

    async def _build(self, request: EngineRequest, choice: Choice) -> Installed:
        final = self._root / choice.name
        growing = places.building(final)
        log_file = self._root / f"{choice.name}.log"
        folder = await threads.run_or_undo(
            lambda: self._make_room(choice, log_file), undo=BuildFolder.remove
        )
        try:
            sources, version, commit = await self._sources(request, folder.path)
            tools = await self._tools(folder.path)
            plan = replace(choice.plan, commit=commit)
            tree = Tree(folder.path, sources, tools, plan, log_file)
            rung, server = await self._descend(tree, choice, growing)
            await threads.run(
                places.describe,
                growing,
                version=version,
                kind=choice.kind,
                without=rung.without,
                processor=this_processor().model,
            )
            await threads.run(places.put_in_place, final)
        finally:
            await threads.run_to_end(_clear, folder, growing)
        path = places.server_in(self._root, choice.name)
        return Installed(path, self._built(path, rung, server, choice), built=True)

    async def _descend(
        self, tree: Tree, choice: Choice, growing: Path
    ) -> tuple[Rung, NativeServer | None]:
        """Build on one rung after another until the engine answers on this processor.

        Returns no server where it could not be tried because this host has no driver for it.
        """
        place = Place(choice.name, growing / "bin" / places.SERVER_NAME, ours=True)
        rungs = ladder(this_processor())
        for rung in rungs:
            if rung is TOP or not choice.plan.portable:
                await tree.build(rung, self._report)
            await threads.run(_remove, growing)
            await threads.run(tree.collect, growing, rung)
            self._report("trying the engine with tiny models")
            try:
                server = await self._finder.look_at(place, careful=rung is rungs[-1])
            except UnfitEngine as failure:
                log.info("%s", failure.message)
                if rung is rungs[-1]:
                    raise BackendFailure(
                        f"llama.cpp's server dies on this processor however it is built:"
                        f" {failure.message}"
                    ) from failure
                self._tell(
                    f"The engine was built and died when it was tried ({failure.detail}); building"
                    f" its code for the processor again without {_next(rungs, rung).without}"
                )
                continue
            except BackendFailure as failure:
                if not self._hardware.cards and any(name in str(failure) for name in _NO_DRIVER):
                    return rung, None
                raise
            if not server.sound:
                raise BackendFailure(f"llama.cpp was built, but {server.warning}")
            return rung, server
        raise AssertionError("the last rung returns or raises")

    def _built(self, path: Path, rung: Rung, server: NativeServer | None, choice: Choice) -> str:
        if server is None:
            return (
                f"llama.cpp's server was built: {path}. This host has no driver to try it with; it"
                " is tried where it first runs"
            )
        on = ", ".join(server.devices) or "the processor"
        note = rung.sentence
        if choice.plan.portable and not rung.without:
            note = "built for many processors"
        note += server.variant and f", its code for {server.variant} here"
        return f"llama.cpp's server is ready: {path} ({server.version}, on {on}; {note})"

    async def _sources(self, request: EngineRequest, folder: Path) -> tuple[Path, str, str]:
        """Return the folder of llama.cpp, its version and its commit, as far as that is known."""
        version = request.version or VERSION
        source = request.source
        if source is not None and source.is_dir():
            nested = source / "vendor" / "llama.cpp"
            inner = nested if nested.is_dir() else source
            if not (inner / "ggml").is_dir():
                raise BackendFailure(f"{source} holds no sources of llama.cpp")
            return inner.absolute(), source.name, ""
        if source is None:
            index = Index(self._http, cache_folder(), self._report)
            source = await index.sources(version)
        self._report("unpacking llama.cpp")
        unpacked = await threads.run(unpack_sources, source, folder)
        commit = await threads.run(commit_of, source)
        return unpacked, version if request.source is None else source.name, commit

    async def _tools(self, folder: Path) -> Tools:
        """Return the programs that build, fetched where the host has none."""
        cmake, ninja, ccache = find_programs()
        index = Index(self._http, cache_folder(), self._report)
        if cmake is None:
            cmake = await index.tool("cmake", "/bin/cmake", folder / "cmake")
        if ninja is None:
            ninja = await index.tool("ninja", "/ninja", folder / "ninja")
        return Tools(cmake, ninja, ccache)

    def _make_room(self, choice: Choice, log_file: Path) -> BuildFolder:
        """Return a new folder to build in."""
        places.make_root(self._root)
        folder = BuildFolder(self._root)  # first: what it clears away may be the space that lacks
        try:
            self._check_space(choice)
            log_file.unlink(missing_ok=True)
        except BaseException:
            folder.remove()
            raise
        return folder

    def _check_space(self, choice: Choice) -> None:
        needed = _SPACE * (1 if choice.kind == "cpu" and not choice.plan.portable else 4)
        free = shutil.disk_usage(self._root).free
        if free < needed:
            raise BackendFailure(
                f"building llama.cpp takes about {needed / 1e9:.0f} GB in {self._root} meanwhile,"
                f" and {free / 1e9:.1f} GB are free"
            )


def _next(rungs: list[Rung], rung: Rung) -> Rung:
    return rungs[rungs.index(rung) + 1]


def _clear(folder: BuildFolder, growing: Path) -> None:
    folder.remove()
    _remove(growing)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
