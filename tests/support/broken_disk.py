"""A disk that fails: system calls on files raise, at any step, once or from then on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CALLS = (
    "open", "write", "pwrite", "fsync", "fdatasync", "rename", "link", "symlink", "mkdir", "unlink",
    "rmdir", "fchmod", "ftruncate", "posix_fallocate",
)  # fmt: skip


@dataclass
class BrokenDisk:
    """Fails the call number `at` (from 0) with `errno`, and what follows if it `stays` broken.

    Only calls on what is below `root` count.  `done`: the call that fails has nevertheless done
    what it was asked for.
    """

    errno: int
    at: int
    stays: bool = False
    done: bool = False
    root: Path = Path("/")
    calls: tuple[str, ...] = CALLS
    count: int = field(default=0, init=False)
    failed: list[str] = field(default_factory=list, init=False)

    @contextmanager
    def broken(self) -> Iterator[None]:
        """Let calls fail for the length of a with block, in all threads."""
        with pytest.MonkeyPatch.context() as patch:
            for name in self.calls:
                patch.setattr(os, name, self._failing(name, getattr(os, name)))
            yield

    def _failing(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if not self._mine(arguments[-1] if name == "symlink" else arguments[0]):
                return original(*arguments, **options)
            number, self.count = self.count, self.count + 1
            if number == self.at or (self.stays and number > self.at):
                self.failed.append(name)
                if self.done and number == self.at and name != "open":
                    original(*arguments, **options)
                raise OSError(self.errno, os.strerror(self.errno))
            return original(*arguments, **options)

        return call

    def _mine(self, place: int | str | Path) -> bool:
        if isinstance(place, int):
            place = os.readlink(f"/proc/self/fd/{place}")
        return Path(place).is_relative_to(self.root)
