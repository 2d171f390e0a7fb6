"""How far long work is: bars on a terminal, a line per message elsewhere.

The daemon sends NDJSON (`api.progress`): `progress` events, of a file where `layer.size` is not
zero, then one `success` or `error`.  rich is imported only where bars are drawn.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Protocol

from runnerd.errors import RunnerdError

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Display(Protocol):
    """Where progress is shown."""

    def advance(self, name: str, current: int, total: int) -> None:
        """`current` of a file's `total` bytes are done."""
        ...

    def say(self, message: str) -> None:
        """Show a line that stays."""
        ...


@contextlib.contextmanager
def display(*, quiet: bool = False) -> Iterator[Display]:
    """Show progress on standard error for the length of a with block; `quiet` shows none."""
    if quiet:
        yield _Silence()
    elif not sys.stderr.isatty():
        yield _Lines()
    else:
        with _new_bars() as bars:
            yield _Bars(bars)


def follow(lines: Iterable[bytes], shown: Display) -> dict[str, Any]:
    """Show the daemon's progress stream and return its last event, a success.

    Raises RunnerdError with the daemon's reason, or when the stream just ends.
    """
    for line in lines:
        event: dict[str, Any] = json.loads(line)
        if event["type"] == "success":
            return event
        if event["type"] == "error":
            raise RunnerdError(event["message"])
        layer = event["layer"]
        if layer["size"]:
            name = bar_name(layer["id"], layer.get("name", ""))
            shown.advance(name, layer["current"], layer["size"])
        else:
            shown.say(event["message"])
    raise RunnerdError("the daemon broke off; what has arrived stays, so try again")


def bar_name(layer: str, name: str) -> str:
    """What stands beside a bar: a file's name, and the beginning of its digest."""
    if not layer.startswith("sha256:"):
        return layer[:32]
    digest = layer.removeprefix("sha256:")[:12]
    file = name.rpartition("/")[2]
    return f"{digest} {file[:32]}" if file and not file.startswith(digest) else digest


class _Silence:
    def advance(self, name: str, current: int, total: int) -> None: ...

    def say(self, message: str) -> None: ...


class _Lines(_Silence):
    def say(self, message: str) -> None:
        print(message, file=sys.stderr, flush=True)


class _Bars:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def advance(self, name: str, current: int, total: int) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total)
        self._progress.update(self._tasks[name], total=total, completed=current)

    def say(self, message: str) -> None:
        self._progress.console.print(message, markup=False, highlight=False)


def _new_bars() -> Progress:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
