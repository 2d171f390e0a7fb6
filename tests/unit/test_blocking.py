"""The watch over event loops: it raises for runnerd's code, and only where that is not allowed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockingError

import runnerd
from tests.support.blocking import ALLOWED

_SOURCE = "async def {name}():\n    with open('/dev/null', 'rb') as file:\n        file.read()\n"


def coroutine(file: str, name: str) -> Callable[[], Awaitable[None]]:
    """Return a coroutine function that reads a file, as if it were of a module of runnerd."""
    scope: dict[str, Any] = {}
    path = Path(runnerd.__path__[0]) / file
    exec(compile(_SOURCE.format(name=name), str(path), "exec"), scope)
    made: Callable[[], Awaitable[None]] = scope[name]
    return made


async def test_blocking_code_of_runnerd_is_found() -> None:
    """Wherever it is, unless the list has it."""
    with pytest.raises(BlockingError):
        await coroutine("api/host.py", "logs")()
    await coroutine("daemon.py", "run")()


async def test_a_test_may_block_its_own_loop() -> None:
    """That is nobody else's."""
    with open("/dev/null", "rb") as file:
        file.read()


def test_what_is_allowed_is_there() -> None:
    """No line of the list outlives the code that it speaks of."""
    root = Path(runnerd.__path__[0]).parent
    for file, functions, why in ALLOWED:
        assert why
        if file.startswith("runnerd/"):
            text = (root / file).read_text()
            missing = {name for name in functions if f"def {name}(" not in text}
            assert not missing, (file, missing)
