"""runnerd, to which a signal comes at a step of its start.

`SIGNALLED=STEP:NUMBER python -m tests.support.signalled serve ...`: as `python -m runnerd`.  A step
is the import of a module, or a call that the start makes.
"""

from __future__ import annotations

import importlib
import importlib.abc
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from runnerd.__main__ import main

step, _, number = os.environ["SIGNALLED"].partition(":")


class Finder(importlib.abc.MetaPathFinder):
    """Sends the signal when the module is looked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == step:
            os.kill(os.getpid(), int(number))


def watch(place: str) -> None:
    """Send the signal before a call of MODULE:CLASS.FUNCTION."""
    module, _, name = place.partition("/")
    owner: Any = importlib.import_module(module)
    *outer, last = name.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original = getattr(owner, last)

    def signalled(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), int(number))
        return original(*arguments, **options)

    setattr(owner, last, signalled)


if "/" in step:
    watch(step)
else:
    sys.meta_path.insert(0, Finder())
sys.exit(main())
