"""Which backends there are: what the entry-point group `runnerd.backends` offers.

A third party adds an engine by installing a package with an entry point in that group; its value is
called with a `BackendContext`.  One that cannot be imported or constructed is reported and left
out: somebody's broken plug-in does not take the others' models down.  llama.cpp is always there,
also in a checkout that was never installed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points

from runnerd.backends.interface import Backend, BackendContext
from runnerd.errors import StartupError

log = logging.getLogger(__name__)

GROUP = "runnerd.backends"
_BUILT_IN = EntryPoint("llama.cpp", "runnerd.backends.llamacpp:LlamaCppBackend", GROUP)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,30}[a-z0-9])?")
_RESERVED = frozenset({"v1", "status", "ps", "df", "unload", "install", "rerank"})  # /engines/...


def discover(context_for: Callable[[str], BackendContext]) -> dict[str, Backend]:
    """Return every backend that could be constructed, by name, the built-in one first.

    `context_for` makes the context of a backend's name.  Raises StartupError for wrong settings of
    the built-in backend; everything that goes wrong in a third party's is logged.
    """
    backends: dict[str, Backend] = {}
    for point in _entry_points():
        if point.name in backends:
            log.error("backend %s (%s) is left out: the name is taken", point.name, point.value)
            continue
        backend = _construct(point, context_for)
        if backend is not None:
            backends[point.name] = backend
    return backends


def _entry_points() -> Iterator[EntryPoint]:
    yield _BUILT_IN
    seen = {(_BUILT_IN.name, _BUILT_IN.value)}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if (point.name, point.value) not in seen:  # metadata on sys.path twice is one backend
            seen.add((point.name, point.value))
            yield point


def _construct(point: EntryPoint, context_for: Callable[[str], BackendContext]) -> Backend | None:
    problem = name_problem(point.name)
    if problem is None:
        try:
            backend: Backend = point.load()(context_for(point.name))
            if backend.name == point.name:
                return backend
            problem = f"it calls itself {backend.name!r}"
        except StartupError:
            if point is _BUILT_IN:
                raise
            log.exception("backend %s (%s) is left out", point.name, point.value)
            return None
        except Exception:
            log.exception("backend %s (%s) is left out", point.name, point.value)
            return None
    log.error("backend %s (%s) is left out: %s", point.name, point.value, problem)
    return None


def name_problem(name: str) -> str | None:
    """Return why `name` cannot be a backend's: it becomes a part of URLs and of file names."""
    if _NAME.fullmatch(name) is None or ".." in name:
        return (
            "its name must be at most 32 lower-case letters, digits and . _ -,"
            " with a letter or digit at both ends"
        )
    if name in _RESERVED:
        return "its name is a route of runnerd's own"
    return None
