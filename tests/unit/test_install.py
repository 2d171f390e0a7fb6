"""runnerd.backends.llamacpp.install: a pip that is scripted, everything else real."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psutil
import pytest

from runnerd.backends.llamacpp import install
from runnerd.backends.llamacpp.install import (
    Installer,
    build_into_state,
    installed_server,
    occupied_bytes,
)
from runnerd.errors import BackendFailure
from tests.support.waiting import until

# Stands in for `python -m pip install -v ... --target DIR ...`.
PIP = """#!/bin/sh
echo "$CMAKE_ARGS|$*" >> {folder}/calls
while [ "$1" != --target ]; do shift; done
target=$2
{body}
"""
SERVER = """mkdir -p $target/bin
printf '#!/bin/sh\\n{server}\\n' > $target/bin/llama-server
chmod +x $target/bin/llama-server
"""
BUILDS = "echo '  [1/268] g++ a'; echo '  [268/268] g++ z'\n" + SERVER.format(server="exit 0")


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a scripted pip in the interpreter's place; write its body with `script`."""
    path = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(path))
    monkeypatch.setattr(install, "_cuda_compiler", lambda: None)
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    script(path, BUILDS)
    return path


def script(path: Path, body: str) -> None:
    path.write_text(PIP.format(folder=path.parent, body=body))
    path.chmod(0o755)


def calls(pip: Path) -> list[str]:
    file = pip.parent / "calls"
    return file.read_text().splitlines() if file.exists() else []


async def test_it_builds_and_then_is_quick(tmp_path: Path, pip: Path) -> None:
    """The first call builds with the measured options and tells of it; the second does nothing."""
    told: list[str] = []
    await build_into_state(tmp_path / "state", told.append)
    await build_into_state(tmp_path / "state", told.append)
    (call,) = calls(pip)
    assert "-DLLAMA_TOOLS_INSTALL=ON" in call
    assert "-DCMAKE_INSTALL_RPATH=$ORIGIN/../lib" in call
    assert "GGML_CUDA" not in call
    assert call.endswith(f"llama-cpp-python=={install.VERSION}")
    assert told[0] == "fetching llama-cpp-python"
    assert told[-1] == "building llama.cpp 268/268"
    assert os.access(installed_server(tmp_path / "state"), os.X_OK)
    assert len(list((tmp_path / "state").iterdir())) == 1


async def test_a_cached_wheel_without_the_server_is_built_again(tmp_path: Path, pip: Path) -> None:
    """When pip's cache gave a wheel without a server that starts, it is built without the cache."""
    broken = SERVER.format(server="exit 127")
    script(
        pip, f'case "$*" in *--no-cache-dir*) {SERVER.format(server="exit 0")};; *) {broken};; esac'
    )
    await build_into_state(tmp_path / "state", lambda text: None)
    assert ["--no-cache-dir" in call for call in calls(pip)] == [False, True]
    script(pip, broken)
    with pytest.raises(BackendFailure, match="does not start on this host"):
        await build_into_state(tmp_path / "other", lambda text: None)
    assert list((tmp_path / "other").iterdir()) == []


async def test_a_failed_build_says_why(tmp_path: Path, pip: Path) -> None:
    """The telling lines of pip's output are the message, and nothing is left."""
    script(
        pip, "echo '  [5/268] g++ -Werror=x a.cpp'; echo 'CMake Error: no CUDA'; echo bye; exit 1"
    )
    installer = Installer(tmp_path / "state")
    with pytest.raises(BackendFailure, match=r"exit status 1\): CMake Error: no CUDA"):
        await installer.install()
    assert installer.problem is not None
    assert "no CUDA" in installer.problem
    assert installer.progress is None
    assert list((tmp_path / "state").iterdir()) == []
    script(pip, BUILDS)
    await installer.install()
    assert installer.problem is None


async def test_no_compiler(tmp_path: Path, pip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a C++ compiler the message says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(BackendFailure, match=r"apt install g\+\+"):
        await build_into_state(tmp_path / "state", lambda text: None)
    assert calls(pip) == []


async def test_concurrent_calls_share_one_build(tmp_path: Path, pip: Path) -> None:
    """Five callers, one pip; one of them going away stops nothing."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script(pip, f"read line < {gate}\n{BUILDS}")
    installer = Installer(tmp_path / "state")
    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(installer.install()) for _ in range(5)]
        await until(lambda: bool(calls(pip)))
        assert installer.progress == "fetching llama-cpp-python"
        callers[0].cancel()
        await asyncio.to_thread(gate.write_text, "go\n")
    assert callers[0].cancelled()
    assert len(calls(pip)) == 1
    assert installed_server(tmp_path / "state").exists()


async def test_the_last_caller_cancels_the_build(tmp_path: Path, pip: Path) -> None:
    """A build that nobody waits for ends, with its processes and files, and can be repeated."""
    script(pip, "sleep 3600")
    installer = Installer(tmp_path / "state")
    caller = asyncio.get_running_loop().create_task(installer.install())
    await until(lambda: bool(calls(pip)))
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert list((tmp_path / "state").iterdir()) == []
    assert not [child for child in psutil.Process().children() if child.name() == "sleep"]
    script(pip, BUILDS)
    await installer.install()
    assert installed_server(tmp_path / "state").exists()


async def test_the_owners_build_options(
    tmp_path: Path, pip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CMAKE_ARGS and RUNNERD_CMAKE_ARGS are appended, CUDA is used where its compiler is."""
    monkeypatch.setenv("CMAKE_ARGS", "-DA=1")
    monkeypatch.setenv("RUNNERD_CMAKE_ARGS", "-DGGML_CUDA=OFF")
    monkeypatch.setattr(install, "_cuda_compiler", lambda: "/usr/local/cuda/bin/nvcc")
    await build_into_state(tmp_path / "state", lambda text: None)
    assert calls(pip)[0].split("|")[0].endswith("/lib -DA=1 -DGGML_CUDA=ON -DGGML_CUDA=OFF")


async def test_a_broken_installation_is_replaced(tmp_path: Path, pip: Path) -> None:
    """What has the final name and does not start is built again."""
    server = installed_server(tmp_path / "state")
    server.parent.mkdir(parents=True)
    server.write_text("#!/bin/sh\nexit 127\n")
    server.chmod(0o755)
    await build_into_state(tmp_path / "state", lambda text: None)
    assert await install.works(server)


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


async def test_the_module_needs_only_the_standard_library() -> None:
    """The Makefile runs it as soon as pip is done with runnerd itself."""
    code = (
        "import sys; before = set(sys.modules); import runnerd.backends.llamacpp.install;"
        "new = {name.split('.')[0] for name in set(sys.modules) - before};"
        "print(*new - set(sys.stdlib_module_names))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    out, _ = await process.communicate()
    assert out.decode().split() == ["runnerd"]
