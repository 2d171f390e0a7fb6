"""The daemon itself: is it there, what is it, what does it say."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterable
from pathlib import Path

from aiohttp import web

import runnerd
from runnerd.access import Action
from runnerd.api.context import CONTEXT, authorize, flag, json_response, models_of
from runnerd.api.docker_errors import DOCKER
from runnerd.api.page import document, wants_page
from runnerd.api.pool_status import pool_status
from runnerd.api.routing import Routes
from runnerd.api.visible_runners import reports_of
from runnerd.api.visible_transfers import transfers_of
from runnerd.errors import NotFound
from runnerd.regular import open_regular
from runnerd.scheduler import RunnerState

ROUTES = Routes()

_TAIL = 256 * 2**10  # bytes of each log file that are shown before following
_POLL = 0.5  # seconds between looks at the files, while somebody follows
_TIME = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


@ROUTES.get("/", Action.PUBLIC)
async def root(request: web.Request) -> web.StreamResponse:
    """The page for browsers, a sign of life for clients that probe, lllms' status for who asks for
    JSON.
    """
    if wants_page(request):
        return await document(request)
    if "application/json" in request.headers.get("Accept", ""):
        authorize(request, Action.VIEW_RUNNERS)
        context = request.app[CONTEXT]
        supervisor = context.supervisor
        status = pool_status(
            reports_of(request),
            models_of(request).models(),
            dict(supervisor.configurations()),
            downloads=transfers_of(request),
            backend=supervisor.keys.backend(None).name,
            queued=supervisor.queued,
        )
        return json_response(status)
    return web.Response(text="Ollama is running")  # what its clients look for


@ROUTES.get("/health", Action.PUBLIC)
async def health(request: web.Request) -> web.Response:
    """200 while the daemon serves."""
    supervisor = request.app[CONTEXT].supervisor
    running = sum(report.state is not RunnerState.FAILED for report in supervisor.reports())
    return json_response({"status": "ok", "runners": running, "queued": supervisor.queued})


@ROUTES.get("/version", Action.PUBLIC)
async def version(request: web.Request) -> web.Response:
    """The daemon's version."""
    return json_response({"version": runnerd.__version__})


@ROUTES.get("/logs", Action.VIEW_LOGS, DOCKER)
async def logs(request: web.Request) -> web.StreamResponse:
    """The daemon's log and, unless `no-engines`, the engines', by time; `follow` goes on."""
    directory = request.app[CONTEXT].log_dir
    engines = not flag(request, "no-engines")
    follow = flag(request, "follow")
    reader = _Reader(directory, engines=engines)
    if not await asyncio.to_thread(reader.exists):
        raise NotFound("the daemon keeps no log file")
    response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
    await response.prepare(request)
    await response.write(await asyncio.to_thread(reader.read))
    while follow:
        await asyncio.sleep(_POLL)
        if new := await asyncio.to_thread(reader.read):
            await response.write(new)
    await response.write_eof()
    return response


class _Reader:
    """Reads on in the daemon's log and, with `engines`, in theirs.  Its methods block."""

    def __init__(self, directory: Path, *, engines: bool) -> None:
        self._directory = directory
        self._engines = engines
        self._tails: dict[Path, _Tail] = {}

    def exists(self) -> bool:
        """Say whether there is a log at all."""
        return (self._directory / "runnerd.log").exists()

    def read(self) -> bytes:
        """What is new, by time."""
        files = [self._directory / "runnerd.log"]
        if self._engines:
            files += sorted((self._directory / "engines").glob("*.log"))
        for file in files:
            self._tails.setdefault(file, _Tail(file))
        return _merged(self._tails.values())


class _Tail:
    """Reads on at the end of a file that grows and is rotated."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._inode = 0
        self._offset = -1

    def read(self) -> bytes:
        """Return the complete lines that are new since the last call."""
        try:
            with open(open_regular(self._file), "rb") as file:
                inode = self._inode
                size = file.seek(0, 2)
                self._inode = _inode(file.fileno())
                if self._offset < 0:
                    self._offset = max(0, size - _TAIL)
                elif inode != self._inode or size < self._offset:
                    self._offset = 0
                file.seek(self._offset)
                data = file.read(_TAIL)
        except OSError:
            return b""
        complete = data[: data.rfind(b"\n") + 1]
        self._offset += len(complete)
        return complete


def _inode(descriptor: int) -> int:
    return os.fstat(descriptor).st_ino


def _merged(tails: Iterable[_Tail]) -> bytes:
    """Return the new lines of all files; a line without a time stays behind the one before it."""
    entries: list[tuple[bytes, int, bytes]] = []
    for tail in tails:
        time = b""
        for line in tail.read().splitlines(keepends=True):
            if (found := _TIME.search(line[:40])) is not None:
                time = found[0].replace(b"T", b" ")
            entries.append((time, len(entries), line))
    return b"".join(line for _, _, line in sorted(entries))
