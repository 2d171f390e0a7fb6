"""runnerd.backends.llamacpp.install: the daemon's installer and the command, CMake scripted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import psutil
import pytest

from runnerd.backends.llamacpp import hardware, places
from runnerd.backends.llamacpp.building.choice import EngineRequest
from runnerd.backends.llamacpp.hardware import Hardware
from runnerd.backends.llamacpp.install import Installer, occupied_bytes
from runnerd.backends.llamacpp.settings import LlamaCppSettings
from runnerd.errors import BackendFailure
from tests.support.builds import Build, scripted_build
from tests.support.waiting import until, wait_for


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Build:
    build = scripted_build(tmp_path, monkeypatch)
    build.makes_real()
    monkeypatch.setattr(hardware, "look", lambda: Hardware())
    monkeypatch.setattr(places, "environment_root", lambda: tmp_path / "none")
    return build


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def test_concurrent_calls_share_one_build(
    tmp_path: Path, build: Build, http: aiohttp.ClientSession
) -> None:
    """Five callers, one build; one of them going away stops nothing."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    build.makes_real()
    build.does(f"read line < {gate}\n{build.body}")
    installer = Installer(tmp_path / "state", LlamaCppSettings())
    request = EngineRequest(source=build.sources)
    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(installer.install(http, request)) for _ in range(5)]
        await until(lambda: bool(build.builds))
        assert installer.progress is not None
        callers[0].cancel()
        await asyncio.to_thread(gate.write_text, "go\n")
    assert callers[0].cancelled()
    assert len(build.builds) == 1
    assert places.server_in(tmp_path / "state", "cpu").exists()


async def test_the_last_caller_cancels_the_build(
    tmp_path: Path, build: Build, http: aiohttp.ClientSession
) -> None:
    """A build that nobody waits for ends, with its processes and files."""
    build.does("sleep 3600")
    installer = Installer(tmp_path / "state", LlamaCppSettings())
    caller = asyncio.get_running_loop().create_task(
        installer.install(http, EngineRequest(source=build.sources))
    )
    await until(lambda: bool(build.builds))
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert left(tmp_path / "state") == {"cpu.log"}
    assert not [child for child in psutil.Process().children() if child.name() == "sleep"]


async def test_a_failed_build_says_why(
    tmp_path: Path, build: Build, http: aiohttp.ClientSession
) -> None:
    """The telling lines of the output are the message; what is left is the log."""
    build.does("echo 'x.cpp:1:2: error: what is this'; echo bye; exit 1")
    installer = Installer(tmp_path / "state", LlamaCppSettings())
    with pytest.raises(BackendFailure, match=r"exit status 1\):\n.*error: what is this"):
        await installer.install(http, EngineRequest(source=build.sources))
    assert installer.problem is not None
    assert installer.progress is None
    assert left(tmp_path / "state") == {"cpu.log"}


def test_the_command_goes_down_the_ladder(
    tmp_path: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On this very processor: one sentence about what was wrong, one that it is ready."""
    build.makes_real("*?*")  # dies as `-march=native` makes it
    argv = [sys.executable, "-m", "runnerd.backends.llamacpp.install"]
    argv += ["--state-dir", str(tmp_path), "--with", "cpu", "--source", str(build.sources)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert sum("died when it was tried (SIGILL" in line for line in lines) == 1
    assert lines[-1].startswith("llama.cpp's server is ready: ")
    assert "which this processor announces and does not run" in lines[-1]
    again = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert again.returncode == 0
    assert len(again.stderr.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_command_is_stopped(tmp_path: Path, build: Build, number: signal.Signals) -> None:
    """By whatever signal: it says so, and neither the build's files nor its processes are left."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    build.does(f"echo building > {gate}; sleep 3600")
    state = tmp_path / "state"
    argv = [sys.executable, "-m", "runnerd.backends.llamacpp.install"]
    argv += ["--state-dir", str(state), "--with", "cpu", "--source", str(build.sources)]

    def heed() -> None:  # whoever runs the tests may have had it ignored, as nohup does
        signal.signal(number, signal.SIG_DFL)

    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, preexec_fn=heed) as command:
        assert gate.read_text() == "building\n"
        processes = psutil.Process(command.pid).children(recursive=True)
        command.send_signal(number)
        assert command.stderr is not None
        assert command.stderr.read().endswith("stopped; what was there before is as it was\n")
    assert command.returncode == (130 if number == signal.SIGINT else 143)
    assert left(state / "engines") == {"cpu.log"}
    wait_for(lambda: not any(map(lives, processes)), "the build's processes to end")


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_wrong_options(tmp_path: Path) -> None:
    """A version goes into an address; only versions are taken."""
    argv = [sys.executable, "-m", "runnerd", "install", "--version", "../../etc"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is no version" in done.stderr


def test_disk_usage(tmp_path: Path) -> None:
    """Installed files and the server in use with its tools and libraries count, once."""
    server = tmp_path / "x" / "bin" / "llama-server"
    library = tmp_path / "x" / "lib" / "libllama.so"
    for file in (server, library, tmp_path / "x" / "lib" / "other"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * 8192)
    assert occupied_bytes(tmp_path / "none", server) == 2 * 8192
    assert occupied_bytes(tmp_path / "x", server) == 3 * 8192
    assert occupied_bytes(tmp_path / "none", None) == 0


async def test_help_waits_for_little() -> None:
    """What `runnerd --help` needs of this room is the standard library."""
    code = (
        "import sys; import runnerd.backends.llamacpp.building.options;"
        "new = {name.split('.')[0] for name in sys.modules};"
        "print(*new & {'aiohttp', 'pydantic', 'msgspec', 'numpy', 'gguf', 'asyncio'})"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    out, _ = await process.communicate()
    assert out.decode().split() == []
