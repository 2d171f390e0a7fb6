"""What `isolate_users` costs: a conversation of ten turns on an engine that reuses nothing.

The model is written on the spot, large enough that its prompt costs something.  What is printed is
what a client waits for in the first and in the last turn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from bench import models
from bench.report import Report
from tests.support.daemon import DaemonProcess, running

_TURNS = 10
_WORDS = 128  # that each turn adds: one token each
_TOKENS_BEFORE = 300  # of the vocabulary that are no words


def isolation(report: Report, seconds: float) -> None:
    """Print what each turn costs with the prompt cache and without."""
    report.section(f"isolate_users ({_TURNS} turns of {_WORDS} tokens)")
    rounds = 5 if seconds > 1 else 2
    with tempfile.TemporaryDirectory(prefix="ris") as name:
        folder = Path(name)
        models.write_f16(folder / "m.gguf", models.SMALL)
        with running(folder / "daemon") as daemon:
            daemon.import_model(folder / "m.gguf", "m")
            for isolated in (False, True):
                fields = {"isolate_users": isolated or None}
                daemon.http.post("/models/m/configure", json=fields).raise_for_status()
                _ask(daemon, [1])  # loaded
                first, last = [], []
                for number in range(rounds):
                    waits = [_ask(daemon, _prompt(number, turn)) for turn in range(1, _TURNS + 1)]
                    first.append(waits[0])
                    last.append(waits[-1])
                what = "isolate_users" if isolated else "as by default"
                report.line(f"first turn, {what}", f"{statistics.median(first) * 1e3:.0f} ms")
                report.line(f"turn {_TURNS}, {what}", f"{statistics.median(last) * 1e3:.0f} ms")


def _prompt(number: int, turns: int) -> list[int]:
    """The tokens of a conversation; those of two rounds differ from the first one on."""
    return [_TOKENS_BEFORE + (word * 7 + number * 13) % 30000 for word in range(turns * _WORDS)]


def _ask(daemon: DaemonProcess, prompt: list[int]) -> float:
    began = time.perf_counter()
    body = {"model": "m", "prompt": prompt, "max_tokens": 1}
    daemon.http.post("/v1/completions", json=body).raise_for_status()
    return time.perf_counter() - began
