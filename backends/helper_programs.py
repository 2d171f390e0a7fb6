"""Programs of the owner's that are asked one question: credential helpers.

They run as the owner's programs do, in the daemon's environment and without a sandbox: they talk to
keyrings and agents.  What they are asked is no argument, which others could see in a process list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence


async def ask_program(argv: Sequence[str], question: str, *, seconds: float) -> bytes | None:
    """Run a program that reads `question`, and return what it prints; None where it fails.

    Raises TimeoutError after `seconds`.  However this ends, the program is gone then.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(seconds):
            printed, _ = await process.communicate(question.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return printed if process.returncode == 0 else None
