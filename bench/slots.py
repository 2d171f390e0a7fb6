"""What it saves that a model need not forget: one long conversation across a swap.

The model is written on the spot, large enough that its prompt costs something.  The same requests
go to a daemon that keeps slots and to one that does not, and what is printed is what a client
waits for, loads included.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import models
from bench.report import Report
from tests.support.daemon import DaemonProcess, running

_WORDS = 1290  # of the conversation: one token each
_TOKENS_BEFORE = 300  # of the vocabulary that are no words


def slots(report: Report, seconds: float) -> None:
    """Print what a conversation costs cold, saved, restored and warm."""
    report.section("Slots saved and restored")
    rounds = 5 if seconds > 1 else 2
    with tempfile.TemporaryDirectory(prefix="rsl") as name:
        folder = Path(name)
        models.write_f16(folder / "m.gguf", models.SMALL)
        for quota, kept in ((4 * 2**30, "kept"), (0, "not kept")):
            env = {"RUNNERD_SLOT_QUOTA": str(quota)}
            with running(folder / kept.replace(" ", "-"), env=env) as daemon:
                daemon.import_model(folder / "m.gguf", "m")
                _one(report, daemon, kept, rounds)


def _one(report: Report, daemon: DaemonProcess, kept: str, rounds: int) -> None:
    cold, warm, unloads, again, found = [], [], [], [], []
    for number in range(rounds):
        _ask(daemon, [])  # loaded, and nothing evaluated
        prompt = [_TOKENS_BEFORE + (word * 7 + number * 13) % 30000 for word in range(_WORDS)]
        cold.append(_ask(daemon, prompt)[0])
        warm.append(_ask(daemon, prompt)[0])
        began = time.perf_counter()
        daemon.http.post("/engines/unload", json={"all": True})
        unloads.append(time.perf_counter() - began)
        wall, cached = _ask(daemon, prompt)
        again.append(wall)
        found.append(cached)
    report.line(f"{_WORDS} tokens on a loaded model, cold ({kept})", _ms(cold))
    report.line("the same again, warm", _ms(warm))
    report.line(f"unload, slots {kept}", _ms(unloads))
    report.line(f"load and the same again, slots {kept}", _ms(again))
    report.line("of these tokens found evaluated", f"{statistics.median(found):.0f}")
    size = sum(path.stat().st_size for path in (daemon.state_dir / "slots").glob("*.slot"))
    if size:
        report.line("on disk", f"{size / 2**20:.1f} MiB")


def _ask(daemon: DaemonProcess, prompt: list[int]) -> tuple[float, int]:
    """Return the seconds that a request took, and how many of its tokens were found evaluated."""
    body: dict[str, Any] = {"model": "m", "prompt": prompt or [_TOKENS_BEFORE], "max_tokens": 1}
    began = time.perf_counter()
    response = daemon.http.post("/v1/completions", json=body | {"ignore_eos": True})
    wall = time.perf_counter() - began
    assert response.status_code == 200, response.text
    return wall, int(response.json()["usage"]["prompt_tokens_details"]["cached_tokens"])


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.0f} ms"
