"""Threads that do the event loop's work are started in one place, which waits for them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.rules.sources import Source, sources

_PLACE = "runnerd.threads"
_STARTS = {"to_thread", "run_in_executor"}


def thread_starts() -> Iterator[str]:
    """No thread outlives whoever waits for it: only `runnerd.threads` starts them, which sees to
    that also when its caller is cancelled.
    """
    for source in sources():
        if source.module != _PLACE:
            for name in sorted(_STARTS & set(_names(source))):
                yield f"{source.path}: uses {name}; {_PLACE} waits for threads, also when cancelled"


def _names(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
