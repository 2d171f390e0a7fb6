"""Short commands: an engine's `--version`, a tool that converts a file."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runnerd.backends.environment import child_environment
from runnerd.backends.output import TAIL_BYTES, Output
from runnerd.backends.process import NOTHING_MORE, PRIVATE, EngineProcess
from runnerd.backends.sandbox import Sandbox
from runnerd.errors import BackendFailure
from runnerd.tasks import uninterrupted


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a short command printed (both streams, the last of it) and how it ended."""

    code: int | None
    reason: str
    output: str


async def run_command(
    argv: Sequence[str],
    *,
    timeout: float,  # noqa: ASYNC109  it also has to end the child
    environment: Mapping[str, str] | None = None,
    sandbox: Sandbox | None = NOTHING_MORE,
    output_bytes: int = TAIL_BYTES,
    umask: int = PRIVATE,
) -> CommandResult:
    """Run a short command to its end, under the rules for engines.

    What it writes is for its own user alone, unless `umask` says otherwise.

    Raises errors.BackendFailure when it cannot be started or takes more than `timeout` seconds.
    Cancelled or late, it is killed, and is gone when this returns.
    """
    process = EngineProcess.start(
        argv,
        output=Output(tail_bytes=output_bytes),
        environment=child_environment() if environment is None else environment,
        sandbox=sandbox,
        umask=umask,
    )
    try:
        async with asyncio.timeout(timeout):
            record = await process.wait()
    except TimeoutError:
        raise BackendFailure(f"{argv[0]} took more than {timeout:g} s and was stopped") from None
    finally:
        process.kill()
        await uninterrupted(process.wait(), name=f"end of {Path(argv[0]).name}")
    return CommandResult(record.code, record.reason, record.tail)
