"""runnerd.backends.sandbox: what a child is given, and what this kernel lacks."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from runnerd.backends import landlock, sandbox
from runnerd.backends.commands import run_command
from runnerd.backends.sandbox import Sandbox, folders_of
from tests.support.waiting import SECONDS

GRACE = 30 * SECONDS


async def python(code: str, sandbox: Sandbox | None) -> str:
    """Run code in a child and return what it printed."""
    result = await run_command([sys.executable, "-I", "-c", code], timeout=GRACE, sandbox=sandbox)
    assert result.code == 0, result.output
    return result.output


@pytest.mark.skipif(landlock.abi() == 0, reason="this kernel has no Landlock")
async def test_devices_are_for_those_that_compute_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine with GPUs opens their nodes, and what drivers read; no other engine does."""
    node = tmp_path / "nvidia0"
    node.write_text("a node")
    monkeypatch.setattr(sandbox, "_DEVICES", (f"{tmp_path}/nvidia*",))
    code = f"""
import os
def can(path, flags):
    try: os.close(os.open(path, flags))
    except PermissionError: return False
    return True
print(can({str(node)!r}, os.O_RDWR), can("/proc/loadavg", os.O_RDONLY),
      can("/proc/self/maps", os.O_RDONLY), can("/sys/kernel/uevent_seqnum", os.O_RDONLY))
"""
    assert await python(code, Sandbox(devices=True)) == "True True True True\n"
    assert await python(code, Sandbox()) == "False False True False\n"
    node.unlink()  # a host without a GPU has nothing to open, and no reason to look into /proc
    assert (await python(code.replace("PermissionError", "OSError"), Sandbox(devices=True)))[
        :11
    ] == "False False"


def test_the_folder_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given as a whole, with the libraries beside it, where only software lies there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    program = tmp_path / "build" / "bin" / "llama-server"
    assert program.parent in folders_of(program, [tmp_path / "state"])
    assert program.parent.parent / "lib" in folders_of(program, [tmp_path / "state"])


def test_a_program_among_private_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a home, or of a folder that holds the daemon's own files, only libraries are given."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("llama-server", "libllama.so", "libggml.so.1", "secret"):
        (home / name).touch()
    wanted = {home / "llama-server", home / "libllama.so", home / "libggml.so.1"}
    assert set(folders_of(home / "llama-server")) == wanted
    assert tmp_path not in folders_of(tmp_path / "llama-server", [tmp_path / "state"])
    assert tmp_path / "home" / "lib" not in folders_of(home / "bin" / "llama-server")
