"""runnerd.backends.child_setup: what a child has given up before it is executed."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from runnerd.backends import landlock, sandbox
from runnerd.backends.commands import run_command
from runnerd.backends.environment import child_environment
from runnerd.backends.output import Output
from runnerd.backends.process import EngineProcess
from runnerd.backends.sandbox import Sandbox
from tests.support.waiting import SECONDS

GRACE = 30 * SECONDS


async def python(code: str, sandbox: Sandbox | None) -> str:
    """Run code in a child and return what it printed."""
    result = await run_command([sys.executable, "-I", "-c", code], timeout=GRACE, sandbox=sandbox)
    assert result.code == 0, result.output
    return result.output


async def test_signals_where_landlock_scopes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """An older kernel's child can signal itself, abort, and nobody else."""
    monkeypatch.setattr(landlock, "SCOPE_ABI", landlock.abi() + 1)
    code = """
import os, signal
os.kill(os.getpid(), 0)
for other in (os.getppid(), -1, 0, 1):
    try: os.kill(other, 0)
    except PermissionError: continue
    raise SystemExit(f"a signal to {other}")
print("only itself", flush=True)
os.abort()
"""
    record = await EngineProcess.start(
        [sys.executable, "-I", "-c", code], output=Output(), environment=child_environment()
    ).wait()
    assert record.tail.startswith("only itself\n"), record.tail
    assert record.reason == "killed by SIGABRT"


async def test_without_landlock_the_rest_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that has none runs engines all the same, under the filter, and it is said."""
    monkeypatch.setattr(landlock, "abi", lambda: 0)
    code = """
import os, socket
open("/etc/passwd").close()
try: socket.socket(socket.AF_UNIX).connect("/nowhere")
except PermissionError: print("no connection")
"""
    assert await python(code, Sandbox()) == "no connection\n"
    assert "no Landlock" in " ".join(sandbox.lacks())


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user has no capabilities to give up")
async def test_roots_children_are_root_by_their_number_only() -> None:
    """Capabilities are gone, but for the one that locks memory; without a sandbox they stay."""
    code = "print(next(line for line in open('/proc/self/status') if line.startswith('CapEff')))"
    assert int((await python(code, Sandbox())).split()[1], 16) == 1 << 14
    assert int((await python(code, None)).split()[1], 16) != 1 << 14


# As under the unit: nothing in any set, and a filter that refuses capset() even so.
FILTERED = """
import asyncio, ctypes, struct, sys
from runnerd.backends.commands import run_command
from runnerd.backends.sandbox import Sandbox

libc = ctypes.CDLL(None, use_errno=True)
header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
assert libc.capset(header, nothing) == 0
lines = [(0x20, 0, 0, 0), (0x15, 0, 1, int(sys.argv[1])), (0x06, 0, 0, 0x00050001),
         (0x06, 0, 0, 0x7FFF0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in lines))
program = struct.pack("HxxxxxxP", len(lines), ctypes.addressof(code))
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0
assert libc.capset(header, nothing) == -1
argv = [sys.executable, "-I", "-c", "print('started')"]
print(asyncio.run(run_command(argv, timeout=60, sandbox=Sandbox())).output, end="")
"""


@pytest.mark.skipif(platform.machine() != "x86_64", reason="its filter has x86-64's numbers")
def test_who_has_no_capabilities_need_not_give_them_up() -> None:
    """The system's unit lets nobody set capabilities, and gives none."""
    done = subprocess.run(
        [sys.executable, "-c", FILTERED, "126"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("started\n", "")
