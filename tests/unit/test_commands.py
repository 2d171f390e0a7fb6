"""Short commands, run to their end under the rules for engines."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from runnerd.backends.commands import run_command
from runnerd.errors import BackendFailure
from runnerd.tasks import spawn
from tests.support.waiting import until


async def test_what_it_printed_and_how_it_ended() -> None:
    """Both streams, in the order in which they came."""
    found = await run_command(["/bin/sh", "-c", "echo one; echo two >&2; exit 3"], timeout=60)
    assert found.output.split() == ["one", "two"]
    assert found.code == 3


async def test_the_end_of_what_it_printed_is_kept() -> None:
    """However much that was."""
    command = ["/bin/sh", "-c", "yes | head -c 100000; echo end"]
    found = await run_command(command, timeout=60, output_bytes=100)
    assert len(found.output) <= 200
    assert found.output.rstrip().endswith("end")


async def test_an_environment_of_its_own() -> None:
    """Nothing else is in it."""
    found = await run_command(
        ["/bin/sh", "-c", 'echo "$SAID" "$HOME"'], timeout=60, environment={"SAID": "this"}
    )
    assert found.output.split() == ["this"]


async def test_who_takes_too_long_is_ended() -> None:
    """And told, by name and limit; it is gone when that is told."""
    with pytest.raises(BackendFailure, match=r"/bin/sh took more than 0\.1 s"):
        await run_command(["/bin/sh", "-c", "exec sleep 1000"], timeout=0.1)


async def test_a_program_that_is_not_there() -> None:
    """Is a failure with its name."""
    with pytest.raises(BackendFailure, match="nonexistent"):
        await run_command(["/nonexistent/tool"], timeout=60)


async def test_who_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    """Nor has it ended before its child has."""
    fifo = tmp_path / "pid"
    os.mkfifo(fifo)
    descriptor = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    script = f"exec 3>{fifo} && echo $$ >&3; exec sleep 1000"
    running = spawn(run_command(["/bin/sh", "-c", script], timeout=60, sandbox=None), name="tool")
    said = b""

    def has_said() -> bool:
        nonlocal said
        try:
            said += os.read(descriptor, 100)
        except BlockingIOError:
            return False
        return said.endswith(b"\n")

    await until(has_said)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    os.close(descriptor)
    assert not Path(f"/proc/{int(said)}").exists()
