"""Building the native server where there is none.

PyPI's llama-cpp-python carries all of llama.cpp as source; built with the options below, its wheel
also holds `bin/llama-server`.  pip does the work, in a child of its own group, so that a cancelled
build leaves no compiler running.  Into the state directory it is built beside its final name and
renamed when its server has answered `--version`: what has the final name works.

Also a command: `python -m runnerd.backends.llamacpp.install --into-venv` (or `--state-dir DIR`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import re
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from runnerd import tasks
from runnerd.backends.output import Output
from runnerd.backends.process import EngineProcess, child_environment, run_command, uninterrupted
from runnerd.errors import BackendFailure

log = logging.getLogger(__name__)

VERSION = "0.3.36"
_REQUIREMENT = f"llama-cpp-python=={VERSION}"
_REQUIREMENT_WITH_SERVER = f"llama-cpp-python[server]=={VERSION}"

# LLAVA_BUILD is llama-cpp-python's own switch.  Without TOOLS_INSTALL and the RPATH (a literal
# $ORIGIN, for the loader) the server is installed but does not find its libraries.
_CMAKE_ARGS = (
    "-DLLAMA_BUILD_SERVER=ON -DLLAMA_BUILD_TOOLS=ON -DLLAMA_TOOLS_INSTALL=ON -DLLAVA_BUILD=OFF"
    " -DLLAMA_BUILD_UI=OFF -DLLAMA_USE_PREBUILT_UI=OFF -DCMAKE_INSTALL_RPATH=$ORIGIN/../lib"
)
_BUILD_VARIABLES = (
    "PIP_", "CMAKE_", "NINJA", "MAKEFLAGS", "CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS",
    "LDFLAGS",
    "CUDA", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "all_proxy", "no_proxy", "SSL_CERT", "REQUESTS_CA_BUNDLE", "XDG_CACHE_HOME",
)  # fmt: skip

_STEP = re.compile(rb"^\s*\[(\d+)/(\d+)\] ", re.MULTILINE)
_TELLING = re.compile(r"\berror\b|CMake Error|No space left|Killed|No matching distribution", re.I)
_STOP_GRACE = 5.0
_VERSION_TIMEOUT = 30.0

Progress = Callable[[str], None]


def bundled_server() -> Path:
    """Return where the server is when llama-cpp-python was built into this environment."""
    return Path(sysconfig.get_paths()["purelib"]) / "bin" / "llama-server"


def installed_server(state_dir: Path) -> Path:
    """Return where `Installer` puts the server."""
    return _final(state_dir) / "bin" / "llama-server"


def _final(state_dir: Path) -> Path:
    return state_dir / f"llama-cpp-python-{VERSION}"


class Installer:
    """Builds the server into the state directory; all callers share one build.

    `progress` is a text while it builds, `problem` why the last build failed.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._task: asyncio.Task[None] | None = None
        self._callers = 0
        self.progress: str | None = None
        self.problem: str | None = None

    async def install(self) -> None:
        """Build unless it is there.  The last caller's cancellation ends the build.

        Raises errors.BackendFailure, whose message says what to do.
        """
        if self._task is None:
            self._task = tasks.spawn(self._install(), name="install llama.cpp")
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

    async def _install(self) -> None:
        self.problem = None
        self.progress = "starting"
        try:
            await build_into_state(self._state_dir, self._report)
        except BackendFailure as failure:
            self.problem = failure.message.partition("\n")[0]
            raise
        finally:
            self.progress = None

    def _report(self, text: str) -> None:
        self.progress = text


async def build_into_state(state_dir: Path, report: Progress) -> None:
    """Build the server under `state_dir`; quick where it works already.

    Safe to cancel and to repeat.  Raises errors.BackendFailure.
    """
    final = _final(state_dir)
    if await works(installed_server(state_dir)):
        return
    building = final.with_name(final.name + ".building")
    scratch = final.with_name(final.name + ".tmp")
    try:
        for attempt in ((), ("--no-cache-dir",)):
            await asyncio.to_thread(_start_over, building, scratch)
            await _pip(
                ["--no-deps", "--target", str(building), *attempt, _REQUIREMENT], scratch, report
            )
            if await works(building / "bin" / "llama-server"):
                break
        else:
            raise _built_without_server()
        await asyncio.to_thread(_replace, building, final)
    except OSError as error:
        raise BackendFailure(
            f"cannot install llama.cpp in {state_dir}: {error.strerror}"
        ) from error
    finally:
        await uninterrupted(
            asyncio.to_thread(_remove, building, scratch), name="remove the build's files"
        )


async def build_into_venv(report: Progress) -> None:
    """Build llama-cpp-python, its Python server and the native one into the running environment."""
    if await works(bundled_server()):
        return
    scratch = Path(tempfile.mkdtemp(prefix="runnerd-build-"))
    try:
        await _pip([_REQUIREMENT_WITH_SERVER], scratch, report)
        if not await works(bundled_server()):
            # A wheel from pip's cache that somebody built without the server.
            again = ["--no-cache-dir", "--force-reinstall", "--no-deps", _REQUIREMENT]
            await _pip(again, scratch, report)
        if not await works(bundled_server()):
            raise _built_without_server()
    finally:
        await uninterrupted(asyncio.to_thread(_remove, scratch), name="remove the build's files")


async def works(server: Path) -> bool:
    """Return whether this file is a llama-server that starts."""
    if not os.access(server, os.X_OK):
        return False
    try:
        result = await run_command([str(server), "--version"], timeout=_VERSION_TIMEOUT)
    except BackendFailure:
        return False
    return result.code == 0


async def _pip(arguments: list[str], scratch: Path, report: Progress) -> None:
    """Run `pip install`; `scratch` takes its temporary files."""
    _check_tools()
    report("fetching llama-cpp-python")
    output = _BuildOutput(report)
    process = EngineProcess.start(
        [sys.executable, "-m", "pip", "install", "-v", "--no-input", *arguments],
        output=output,
        environment=_build_environment(scratch),
        deny_network=False,
        umask=0o022,  # the engine may serve under another user than the one who installs it
    )
    try:
        record = await process.wait()
    finally:
        await uninterrupted(process.stop(_STOP_GRACE), name="end of the build")
    if record.code != 0:
        raise BackendFailure(f"building llama.cpp failed ({record.reason}): {_why(record.tail)}")


class _BuildOutput(Output):
    """Turns ninja's `[n/m]` lines into progress."""

    def __init__(self, report: Progress) -> None:
        super().__init__()
        self._report = report

    def feed(self, data: bytes) -> None:
        super().feed(data)
        if steps := _STEP.findall(data):
            done, of = steps[-1]
            self._report(f"building llama.cpp {int(done)}/{int(of)}")


def _check_tools() -> None:
    if not any(
        shutil.which(name) for name in (os.environ.get("CXX"), "c++", "g++", "clang++") if name
    ):
        raise BackendFailure(
            "there is no C++ compiler to build llama.cpp with: install one"
            " (Debian: apt install g++), or put a llama-server on the PATH"
        )
    if find_spec("pip") is None:
        raise BackendFailure(
            "pip is missing in runnerd's Python environment: python -m ensurepip, or put a"
            " llama-server on the PATH"
        )


def _build_environment(scratch: Path) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if name.startswith(_BUILD_VARIABLES)
    }
    arguments = [_CMAKE_ARGS, os.environ.get("CMAKE_ARGS", "")]
    if (compiler := _cuda_compiler()) is not None:
        arguments.append("-DGGML_CUDA=ON")
        inherited.setdefault("CUDACXX", compiler)
    arguments.append(os.environ.get("RUNNERD_CMAKE_ARGS", ""))
    inherited["CMAKE_ARGS"] = " ".join(part for part in arguments if part)
    inherited["TMPDIR"] = str(scratch)
    inherited["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
    return child_environment(inherited)


def _cuda_compiler() -> str | None:
    usual = Path("/usr/local/cuda/bin/nvcc")
    return shutil.which("nvcc") or (str(usual) if os.access(usual, os.X_OK) else None)


def _why(tail: str) -> str:
    """Return the lines of pip's output that tell why it failed."""
    lines = [line.strip()[:300] for line in tail.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line) and not line.startswith("[")]
    return "\n".join((telling or lines)[:8]) or "pip printed nothing"


def _built_without_server() -> BackendFailure:
    return BackendFailure(
        "llama-cpp-python was built, but its llama-server does not start on this host: see"
        " RUNNERD_CMAKE_ARGS for build options, or put a llama-server on the PATH"
    )


def _start_over(building: Path, scratch: Path) -> None:
    _remove(building, scratch)
    building.parent.mkdir(parents=True, exist_ok=True)
    scratch.mkdir()


def _replace(building: Path, final: Path) -> None:
    if final.exists():  # it is there and does not work
        shutil.rmtree(final)
    os.replace(building, final)


def _remove(*directories: Path) -> None:
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def occupied_bytes(state_dir: Path, server: Path | None) -> int:
    """Return what the engine's files occupy: those installed, and the server in use."""
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

    def __call__(self, text: str) -> None:
        if self._terminal:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        elif _milestone(text) != self._last:
            self._last = _milestone(text)
            print(text, file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _milestone(text: str) -> str:
    """Return what must change for a new plain line: every tenth of the way is enough."""
    match = re.search(r"(\d+)/(\d+)$", text)
    return text if match is None else f"{int(match[1]) * 10 // int(match[2])}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the native server and show the progress; the exit status says whether it works."""
    parser = argparse.ArgumentParser(
        prog="python -m runnerd.backends.llamacpp.install",
        description="Build llama.cpp's server: about six minutes on two cores, once.",
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--into-venv", action="store_true", help="into the running environment")
    where.add_argument("--state-dir", type=Path, help="under this directory of the daemon")
    options = parser.parse_args(arguments)
    printer = _Printer()
    if options.into_venv:
        work, server = build_into_venv(printer), bundled_server()
    else:
        work, server = (
            build_into_state(options.state_dir, printer),
            installed_server(options.state_dir),
        )
    try:
        asyncio.run(work)
    except BackendFailure as failure:
        printer.end()
        print(f"error: {failure.message}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        printer.end()
        print("stopped; run it again to continue", file=sys.stderr)
        return 130
    printer.end()
    print(f"llama.cpp's server is ready: {server}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
