"""What may block the event loop, and a watch that raises wherever anything else does.

It watches code of runnerd's own, in the tests' process and in the daemons that they start
(`tests.support.nonblocking`).  What a test itself does on its loop is its own affair.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from blockbuster.blockbuster import BlockBuster, BlockBusterFunction

ALLOWED: list[tuple[str, set[str], str]] = [
    ("runnerd/daemon.py", {"run", "_reload"}, "before it serves and after; SIGHUP reads one file"),
    ("runnerd/parts.py", {"build"}, "before anything is served: files are opened and read"),
    ("logging/__init__.py", {"callHandlers"}, "a line of the log; it goes to the page cache"),
    ("runnerd/logs.py", {"set_up"}, "SIGHUP opens the log anew"),
    ("<frozen importlib._bootstrap>", {"_find_and_load"}, "what is imported at its first use"),
    ("runnerd/resources/ram.py", {"ram"}, "/proc and cgroups, which are no disk"),
    ("runnerd/resources/gpus.py", {"_open", "_look", "_ask"}, "the driver, which is no disk"),
    ("runnerd/backends/limits.py", {"data_limit", "follow"}, "/dev and /proc, which are no disk"),
    ("runnerd/backends/llamacpp/isolation.py", {"_of"}, "an engine's start: its program's folder"),
    ("runnerd/backends/oom.py", {"__init__", "rose"}, "cgroups, which are no disk"),
    ("runnerd/backends/process.py", {"start", "_fork"}, "an engine's start: until it is executed"),
    ("runnerd/backends/engine_users.py", {"_held"}, "/proc, which is no disk"),
    ("runnerd/backends/process.py", {"living_members"}, "/proc, which is no disk"),
    ("runnerd/backends/cpu_policy.py", {"schedule"}, "/proc, which is no disk"),
    ("runnerd/backends/output.py", {"_open"}, "an engine's start: its log is opened"),
    ("runnerd/backends/output.py", {"_rotate"}, "a log of megabytes gets another name"),
    ("runnerd/backends/llamacpp/engine_runs.py", {"_start"}, "an engine's start, all of it"),
    ("runnerd/sockets/listeners.py", {"listen_unix", "unlink_if_ours"}, "a socket's name"),
    ("runnerd/sockets/peer.py", {"folder_owner"}, "a folder that connecting looks at as well"),
    ("runnerd/backends/llamacpp/server.py",
     {"_candidates", "_absent", "_stamp"},
     "an engine's start: looks whether its program is the same"),
    ("runnerd/backends/llamacpp/native_server.py", {"tool"}, "the same: its tools"),
    ("runnerd/backends/llamacpp/building/workshop.py", {"_tools", "_sources", "install"},
     "an installation's start: which programs and folders are there"),
    ("runnerd/backends/llamacpp/building/cmake.py", {"feed", "close", "_jobs"},
     "the log of a build; it goes to the page cache"),
    ("runnerd/backends/llamacpp/projector.py", {"projector_memory"}, "the same: its file's size"),
    ("runnerd/backends/llamacpp/slots.py", {"fingerprint"}, "an engine's start: the same"),
    ("runnerd/backends/llamacpp/memory.py", {"_one"}, "an engine's start: its files' times"),
    ("runnerd/pulls/credentials.py", {"_ask"}, "a credential helper's start: /dev/null"),
    ("runnerd/models/store.py", {"resolve"}, "an engine's start: its files' sizes and times"),
]  # fmt: skip
"""File, functions of it, and why: whatever they call may block."""

_MORE = ("os.fsync", "os.fdatasync", "os.open", "os.chmod", "os.utime", "io.open", "builtins.open")
_TESTS = str(Path(__file__).parents[1])


def watch() -> BlockBuster:
    """Return the watch, to be activated."""
    found = BlockBuster("runnerd")
    for name in _MORE:
        found.functions[name] = BlockBusterFunction(None, name, scanned_modules="runnerd")
    for function in found.functions.values():
        function.can_block_predicate = _or_the_tests_own(function.can_block_predicate)
        for file, functions, _ in ALLOWED:
            function.can_block_in(file, functions)
    return found


def _or_the_tests_own(predicate: Callable[..., bool]) -> Callable[..., bool]:
    def is_allowed(*args: Any, **kwargs: Any) -> bool:
        return _is_tests_own() or predicate(*args, **kwargs)

    return is_allowed


def _is_tests_own() -> bool:
    """Say whether a test has called a function that blocks, and not awaited one that must not."""
    called = None
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_TESTS) and frame.f_code.co_filename != __file__:
            if frame.f_code.co_name == "<module>":
                return False  # the daemon's own beginning
            return called is None or not called.f_code.co_flags & inspect.CO_COROUTINE
        if "/runnerd/" in frame.f_code.co_filename:
            called = frame
        frame = frame.f_back
    return False
