"""`python -m tests.support.walk MODULE...`: the order of a streamed chat's visits.

The daemon runs in this process with all its parts; client and engine are objects
(`bench.in_process`).  So the way down ends when the engine has been asked, and the way back begins
when it is looked at.  Printed is one line of JSON: of a request whose head is new, and of one whose
head is remembered, the calls down and back, each as a module and a function.  Of calls inside a
module nothing is told, and neither are constructors.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from bench.in_process import Subject, measured

Call = tuple[str, str]
_WARM = 5  # requests, before anything is noted


class Calls:
    """Notes calls from one module of the relay into another."""

    def __init__(self, watched: set[str]) -> None:
        self._watched = watched
        self._stack: list[str] = []
        self.noted: list[Call] = []

    def during(self, run: Callable[[], object]) -> list[Call]:
        """What is called while this runs."""
        self.noted, self._stack = [], []
        sys.setprofile(self._event)
        try:
            run()
        finally:
            sys.setprofile(None)
        return self.noted

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        package, _, module = str(frame.f_globals.get("__name__", "")).rpartition(".")
        if package != "runnerd.relay" or module not in self._watched:
            return
        if event == "return":
            if self._stack:  # what was entered before is left without having been noted
                self._stack.pop()
        elif event == "call":
            function = frame.f_code.co_name
            if function != "__init__" and self._stack[-1:] != [module]:
                self.noted.append((module, function))
            self._stack.append(module)


def walks(watched: set[str]) -> list[tuple[list[Call], list[Call]]]:
    """The calls into these modules, down and back: of a new head, and of a remembered one."""
    found: list[tuple[list[Call], list[Call]]] = []

    def walk(what: str, subject: Subject, message: bytes) -> float:
        new = message.replace(b"\r\n\r\n", b"\r\nX-Walk: 1\r\n\r\n", 1)
        subject.run_alone(message, _WARM)
        calls = Calls(watched)
        for each in (new, message):
            down = calls.during(lambda each=each: subject.ask_alone(each))  # type: ignore[misc]
            found.append((down, calls.during(subject.look_until_answered)))
        return 0.0

    measured(rounds=1, only="stream of one chunk", measure=walk)
    return found


if __name__ == "__main__":
    print(json.dumps(walks(set(sys.argv[1:]))))
