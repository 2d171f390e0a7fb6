"""What a session's next prompt costs beyond the engine's own work, warm and after a swap.

A session of some 1,290 tokens is asked 20 more.  Measured is the time from the request to the first
token, beside what the engine itself says that it took for the new tokens; after a swap with all of
that, and where the model was loaded before by somebody else's request.  Then what a session takes
on the disk.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from bench import models
from bench.report import Report
from tests.support.daemon import DaemonProcess, running
from tests.support.sessions import evaluated, events, make

_BEFORE, _NEW = 1290, 20  # tokens; one letter is one
_ALPHABET = "abcdefghijklmnopqrstuvwxyz"
_MANY = 16  # sessions, to see what they take on the disk


class _Asked(NamedTuple):
    """Seconds to the first token, and the turn."""

    first: float
    turn: dict[str, Any]


def sessions(report: Report, seconds: float) -> None:
    """Print what a prompt costs in a session, and what sessions take."""
    report.section("Sessions")
    rounds = 15 if seconds > 1 else 4
    with tempfile.TemporaryDirectory(prefix="rse") as name:
        folder = Path(name)
        models.write_f16(folder / "m.gguf", models.SMALL)
        with running(folder / "daemon", env={"RUNNERD_MAX_RUNNERS": "1"}) as daemon:
            daemon.import_model(folder / "m.gguf", "a")
            models.write_f16(folder / "n.gguf", models.DRAFT)
            daemon.import_model(folder / "n.gguf", "b")
            _warm(report, daemon, rounds)
            _swapped(report, daemon, max(3, rounds // 3))
        with running(folder / "many") as daemon:
            daemon.import_model(folder / "m.gguf", "a")
            _on_disk(report, daemon)


def _warm(report: Report, daemon: DaemonProcess, rounds: int) -> None:
    session = _session(daemon)
    _ask(daemon, session, _text(0, _BEFORE))
    first, own, fresh = [], [], []
    for number in range(rounds):
        asked = _ask(daemon, session, _text(number, _NEW))
        first.append(asked.first)
        fresh.append(evaluated(asked.turn))
        own.append(_of_the_engine(daemon, evaluated(asked.turn)))
    report.line(f"{_NEW} tokens behind {_BEFORE}, warm: to the first token", _ms(first))
    report.line("of these the engine's own (as many tokens, asked directly)", _ms(own))
    beyond = [a - b for a, b in zip(first, own, strict=True)]
    report.line("beyond that", f"{_ms(beyond)} (at most {max(beyond) * 1e3:.0f} ms; bar 50 ms)")
    report.line("tokens evaluated", f"{statistics.median(fresh):.0f}")


def _swapped(report: Report, daemon: DaemonProcess, rounds: int) -> None:
    session, other = _session(daemon), _session(daemon, model="b")
    _ask(daemon, session, _text(1, _BEFORE))
    whole, first, own, fresh = [], [], [], []
    for number in range(rounds):
        _ask(daemon, other, _text(number, 5))
        whole.append(_ask(daemon, session, _text(number, _NEW)).first)
        _ask(daemon, other, _text(number, 5))
        daemon.http.post("/v1/completions", json={"model": "a", "prompt": "x", "max_tokens": 1})
        asked = _ask(daemon, session, _text(number, _NEW))
        first.append(asked.first)
        fresh.append(evaluated(asked.turn))
        own.append(_of_the_engine(daemon, evaluated(asked.turn)))
    report.line("after a swap: to the first token, all of the swap included", _ms(whole))
    report.line("the model loaded again by others: to the first token, restoring", _ms(first))
    report.line("of these the engine's own", _ms(own))
    beyond = [a - b for a, b in zip(first, own, strict=True)]
    report.line("beyond that", f"{_ms(beyond)} (at most {max(beyond) * 1e3:.0f} ms; bar 50 ms)")
    report.line("tokens evaluated after a swap", f"{statistics.median(fresh):.0f}")


def _on_disk(report: Report, daemon: DaemonProcess) -> None:
    before = _database_bytes(daemon)
    for number in range(_MANY):
        _ask(daemon, _session(daemon), _text(number, _BEFORE))
    daemon.http.post("/engines/unload", json={"all": True})
    states = sum(path.stat().st_size for path in (daemon.state_dir / "slots").glob("*.slot"))
    kept = len(list((daemon.state_dir / "slots").glob("*.slot")))
    assert daemon.terminate() == 0  # which writes the log back
    text = (_database_bytes(daemon) - before) / _MANY
    report.line(
        f"evaluated state of {_BEFORE} tokens on disk", f"{states / kept / 2**20:.2f} MiB each"
    )
    report.line("such sessions per GB, with their state", f"{1e9 / (states / kept):.0f}")
    report.line("such sessions per GB, as text (of one turn)", f"{1e9 / max(text, 1):.0f}")


def _session(daemon: DaemonProcess, model: str = "a") -> str:
    parameters = {"max_tokens": 1, "ignore_eos": True, "temperature": 0}
    return make(daemon.http, model=model, kind="text", system="", parameters=parameters)


def _ask(daemon: DaemonProcess, session: str, text: str) -> _Asked:
    path = f"/runnerd/sessions/{session}/prompt"
    began, first = time.perf_counter(), 0.0
    turn: dict[str, Any] = {}
    with daemon.http.stream("POST", path, json={"prompt": text}) as response:
        assert response.status_code == 200, response.read()
        for kind, told in events(response):
            first = first or time.perf_counter() - began
            if kind == "end":
                turn = told["turn"]
    return _Asked(first, turn)


def _of_the_engine(daemon: DaemonProcess, tokens: int) -> float:
    """Seconds that the engine says it takes for so many new tokens behind many, and for one more.

    It is asked directly, behind a text of its own that it has evaluated.
    """
    [socket] = (daemon.runtime_dir / "m").glob("*/e.sock")
    before = _text(99, _BEFORE)
    transport = httpx.HTTPTransport(uds=str(socket))
    with httpx.Client(transport=transport, base_url="http://localhost", timeout=600) as engine:
        asked: dict[str, Any] = {"n_predict": 1, "ignore_eos": True}
        engine.post("/completion", json=asked | {"prompt": before})
        told = engine.post("/completion", json=asked | {"prompt": before + _text(7, tokens)})
    timings = json.loads(told.content)["timings"]
    return float(timings["prompt_ms"] + timings["predicted_per_token_ms"]) / 1e3


def _text(seed: int, letters: int) -> str:
    """Letters in an order that no other seed has."""
    return "".join(
        _ALPHABET[(place * (3 + seed) + place // 26 * (seed + 1) + seed) % 26]
        for place in range(letters)
    )


def _database_bytes(daemon: DaemonProcess) -> int:
    return sum(path.stat().st_size for path in daemon.state_dir.glob("runnerd.db*"))


def _ms(seconds: list[float]) -> str:
    return f"{statistics.median(seconds) * 1e3:.0f} ms"
