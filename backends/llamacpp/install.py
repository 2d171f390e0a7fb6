"""Installing the native server: for the daemon (`Installer`), and as a command.

`runnerd install llama.cpp`, or `python -m runnerd.backends.llamacpp.install --into-venv` (or
`--state-dir DIR`).  The work itself is `building.workshop`'s.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from runnerd import tasks
from runnerd.backends.llamacpp import places
from runnerd.backends.llamacpp.building.choice import EngineRequest
from runnerd.backends.llamacpp.building.options import VERSION, add_options
from runnerd.backends.llamacpp.building.workshop import Installed, Workshop
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.errors import BackendFailure
from runnerd.tasks import uninterrupted

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

Progress = Callable[[str], None]


class Installer:
    """Builds a server into the daemon's own folder; all callers share one build.

    `progress` is a text while it builds, `problem` why the last build failed.
    """

    def __init__(self, state_dir: Path, settings: LlamaCppSettings) -> None:
        self._state_dir = state_dir
        self._settings = settings
        self._task: asyncio.Task[None] | None = None
        self._callers = 0
        self.progress: str | None = None
        self.problem: str | None = None

    async def install(self, http: aiohttp.ClientSession, request: EngineRequest) -> None:
        """Build what fits this host.  The last caller's cancellation ends the build.

        Raises errors.BackendFailure, whose message says what to do.
        """
        if self._task is None:
            self._task = tasks.spawn(self._install(http, request), name="install llama.cpp")
        task = self._task
        self._callers += 1
        try:
            await asyncio.shield(task)
        finally:
            self._callers -= 1
            if self._callers == 0:
                self._task = None
                if not task.done():
                    await uninterrupted(tasks.cancel_and_wait(task), name="cancel the build")

    async def _install(self, http: aiohttp.ClientSession, request: EngineRequest) -> None:
        self.problem = None
        self.progress = "starting"
        workshop = Workshop(
            self._state_dir,
            http,
            report=self._report,
            tell=lambda text: log.info("%s", text),
            settings=self._settings,
        )
        try:
            log.info("%s", (await workshop.install(request)).sentence)
        except BackendFailure as failure:
            self.problem = failure.message.partition("\n")[0]
            raise
        finally:
            self.progress = None

    def _report(self, text: str) -> None:
        self.progress = text


def occupied_bytes(state_dir: Path, server: Path | None) -> int:
    """What the engine's files occupy: those installed, and the server in use."""
    files = set(_files(state_dir))
    if server is not None:
        files.update(server.parent.glob("llama-*"))
        files.update((server.parent.parent / "lib").glob("lib*.so*"))
    total = 0
    for file in files:
        with contextlib.suppress(OSError):
            total += file.lstat().st_size
    return total


def _files(directory: Path) -> Iterator[Path]:
    for place, _, names in os.walk(directory):
        for name in names:
            yield Path(place, name)


# the command


class _Printer:
    """Shows progress: one line that is rewritten on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._last = ""

    def report(self, text: str) -> None:
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif _milestone(text) != self._last:
            self._last = _milestone(text)
            print(text, file=sys.stderr, flush=True)

    def tell(self, text: str) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr)
        print(text, file=sys.stderr, flush=True)


def _milestone(text: str) -> str:
    """A text that changes when progress is worth a line of a log: at each tenth or quarter."""
    if (match := re.search(r"^building \S+ (\d+)/(\d+)", text)) is not None:
        return f"built {int(match[1]) * 10 // int(match[2])}"
    if (match := re.search(r"^(fetching .*): (\d+) of (\d+) MB", text)) is not None:
        return f"{match[1]} {int(match[2]) * 4 // max(1, int(match[3]))}"
    return text


def request_of(options: argparse.Namespace, *, found: bool) -> EngineRequest:
    """The engine that the options ask for.  Raises errors.BackendFailure for no version."""
    version = options.engine_version
    if version is not None and not re.fullmatch(r"[0-9]+(\.[0-9]+){1,3}[a-z0-9]*", version):
        raise BackendFailure(f"--version {version[:40]!r} is no version, such as {VERSION}")
    return EngineRequest(
        kind=options.kind,
        portable=options.portable,
        rebuild=options.rebuild,
        version=version,
        jobs=options.jobs,
        source=options.source,
        found=found,
    )


async def _install(root: Path, request: EngineRequest, printer: _Printer) -> Installed:
    import aiohttp

    this = asyncio.current_task()
    assert this is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup ignores one
            asyncio.get_running_loop().add_signal_handler(number, this.cancel)
    async with aiohttp.ClientSession(trust_env=True) as http:
        workshop = Workshop(root, http, report=printer.report, tell=printer.tell)
        return await workshop.install(request)


def run(root: Path, request: EngineRequest) -> int:
    """Install and show the progress; the exit status says whether there is an engine now."""
    printer = _Printer()
    try:
        done = asyncio.run(_install(root, request, printer))
    except BackendFailure as failure:
        printer.tell(f"error: {failure.message}")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError) as stopped:
        printer.tell("stopped; what was there before is as it was")
        return 130 if isinstance(stopped, KeyboardInterrupt) else 143
    printer.tell(done.sentence)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Install the native server where the options say."""
    parser = argparse.ArgumentParser(
        prog="python -m runnerd.backends.llamacpp.install",
        description="Build llama.cpp's server, once, and try it.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--into-venv", action="store_true", help="into the running environment")
    where.add_argument("--state-dir", type=Path, help="into this state directory of the daemon")
    parser.add_argument(
        "--use-found", action="store_true", help="a llama-server that is here already will do"
    )
    parser.add_argument(
        "--with-python-server",
        action="store_true",
        help="also llama-cpp-python's own server, which is used where there is no native one",
    )
    add_options(parser)
    options = parser.parse_args(arguments)
    root = places.environment_root() if options.into_venv else options.state_dir / "engines"
    logging.basicConfig(level=logging.ERROR)
    try:
        request = request_of(options, found=options.use_found)
    except BackendFailure as failure:
        parser.error(failure.message)
    status = run(root, request)
    if status == 0 and options.with_python_server:
        from runnerd.backends.llamacpp.building.python_server import install_python_server

        return install_python_server(root)
    return status


if __name__ == "__main__":
    sys.exit(main())
