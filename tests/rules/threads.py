"""Threads that do the event loop's work are started in one place, which waits for them, and nothing
is changed under them that the whole process shares.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.rules.sources import Source, sources

_PLACE = "runnerd.threads"
_STARTS = {"to_thread", "run_in_executor"}
# What all threads share: whoever changes it for a moment changes it for what they do meanwhile.
_SHARED = {
    "umask", "chdir", "fchdir", "chroot", "putenv", "unsetenv", "setlocale", "setdefaulttimeout",
    "setuid", "seteuid", "setreuid", "setresuid", "setgid", "setegid", "setregid", "setresgid",
    "setgroups", "initgroups", "pthread_sigmask", "tzset", "setswitchinterval", "setrecursionlimit",
    "catch_warnings", "simplefilter", "filterwarnings", "redirect_stdout", "redirect_stderr",
}  # fmt: skip
_ALONE = {  # with one thread: before others are started, and in a child before it is executed
    ("runnerd.daemon", "umask"),
    ("runnerd.backends.private_view", "umask"),
    *(("runnerd.backends.engine_user", name) for name in ("setgroups", "setresgid", "setresuid")),
}


def thread_starts() -> Iterator[str]:
    """No thread outlives whoever waits for it: only `runnerd.threads` starts them, which sees to
    that also when its caller is cancelled.
    """
    for source in sources():
        if source.module != _PLACE:
            for name in sorted(_STARTS & set(_names(source))):
                yield f"{source.path}: uses {name}; {_PLACE} waits for threads, also when cancelled"


def shared_changes() -> Iterator[str]:
    """Nothing of the whole process is changed while it has threads."""
    for source in sources():
        for name in sorted(_SHARED & set(_names(source))):
            if (source.module, name) not in _ALONE:
                yield f"{source.path}: uses {name}, which changes what other threads do meanwhile"


def _names(source: Source) -> Iterator[str]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)
