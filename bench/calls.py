"""What the interpreter does for a request: calls of Python functions and bytecodes.

A clock says little on a machine that others use, too; these two hardly change from run to run.
Neither is time, though: the least that one request of thousands took is printed beside them, for
which a machine has to be left alone for microseconds only.
One client of `inside` asks a hundred times, and then all clients at once, most of whom have to wait
for their places, while `sys.settrace` looks on; for the list each call of one request is printed,
in order and indented by its depth:

    python -m bench.calls            all cases: calls, bytecodes and the least time
    python -m bench.calls WHAT       the calls of one request of that case, in order
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from bench.in_process import CLIENTS, Subject, measured

_REQUESTS = 128
_WARM = 600  # requests, before anything is counted
_TIMED = 3000
_ROOT = Path(__file__).resolve().parents[1]


class Counter:
    """Counts calls and bytecodes while it traces, and notes the calls where they are wanted."""

    def __init__(self) -> None:
        self.calls = self.bytecodes = 0
        self.listed: list[str] | None = None
        self._depth = 0

    def trace(self, run: Callable[[], object]) -> None:
        """Run with this counter looking on."""
        sys.settrace(self._called)
        try:
            run()
        finally:
            sys.settrace(None)

    @property
    def told(self) -> str:
        """Calls and bytecodes of one request."""
        return f"{self.calls / _REQUESTS:7.1f} {self.bytecodes / _REQUESTS:7.0f}"

    def _called(self, frame: FrameType, event: str, argument: Any) -> Any:
        path = Path(frame.f_code.co_filename)
        if (
            path.parent.name == "bench" or path.name == "typing.py"
        ):  # clients and engines are not the daemon
            return None
        self.calls += 1
        if self.listed is not None:
            code = frame.f_code
            where = path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path.name
            self.listed.append(
                f"{'  ' * self._depth}{code.co_qualname}  {where}:{code.co_firstlineno}"
            )
        self._depth += 1
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self._inside

    def _inside(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "opcode":
            self.bytecodes += 1
        elif event == "return":
            self._depth -= 1
        return self._inside


def least(subject: Subject, message: bytes) -> float:
    """The seconds of the quickest of many requests of one client."""
    found = math.inf
    for _ in range(_TIMED):
        began = time.perf_counter()
        subject.run_alone(message, 1)
        found = min(found, time.perf_counter() - began)
    return found


def counted(subject: Subject, message: bytes) -> tuple[Counter, Counter]:
    """What requests took, of one client, and of all at once."""
    subject.run_alone(message, _WARM)
    alone, together = Counter(), Counter()
    alone.trace(lambda: subject.run_alone(message, _REQUESTS))
    subject.run(message, _WARM)
    together.trace(lambda: subject.run(message, _REQUESTS))
    return alone, together


def listed(subject: Subject, message: bytes) -> Counter:
    """The calls of one request."""
    subject.run_alone(message, _WARM)
    counter = Counter()
    counter.listed = []
    counter.trace(lambda: subject.run_alone(message, 1))
    return counter


def main(wanted: str) -> None:
    """Print the counts of all cases, or the calls of one request."""

    def measure(what: str, subject: Subject, message: bytes) -> float:
        if not wanted:
            alone, together = counted(subject, message)
            took = least(subject, message) * 1e6
            print(f"{what:<48}{alone.told}   {together.told}   {took:8.1f} us")
        elif what == wanted:
            print("\n".join(listed(subject, message).listed or ()))
        return 0.0

    if not wanted:
        print(f"{'a request':<48}  of one client    of {CLIENTS} at once   the least of one")
    measured(rounds=1, only=wanted, measure=measure)


if __name__ == "__main__":
    main(" ".join(sys.argv[1:]))
