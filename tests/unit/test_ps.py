"""How runners and devices are told in a terminal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runnerd.cli.ps import HEAD, SPARE, device_lines, remarks, row
from runnerd.cli.tables import table


def runner(**said: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "id": "0a1b2c3d4e5f", "model": "ai/qwen3:latest", "models": ["ai/qwen3:latest"],
        "mode": "completion", "state": "ready", "context": 8192, "draining": False,
        "slots": {"all": 4, "used": 2}, "requests": 2, "waiting": 3, "tokens_per_second": 41.53,
        "memory": {"ram": {"reserved": 2**31, "held": 2**30},
                   "gpu0": {"reserved": 2**33, "held": None}},
        "mapped": None, "expires": None, "keep_alive": 300.0, "pinned": False, "failure": None,
        "retry": None,
    }  # fmt: skip
    return usual | said


def test_a_runner() -> None:
    """Memory by device: what is held, else what is reserved."""
    assert row(runner()) == (
        "qwen3", "completion", "ready", 8192, "2/4", 3, "41.5", "ram 1.0 GiB, gpu0 8.0 GiB",
        "in use", "0a1b2c3d4e5f",
    )  # fmt: skip
    soon = (datetime.now(UTC) + timedelta(seconds=299.9)).isoformat()
    assert row(runner(expires=soon, requests=0))[8] == "in 5m0s"
    assert row(runner(pinned=True))[8] == "never (pinned)"
    assert row(runner(draining=True))[2] == "making room"
    assert row(runner(slots={"all": None, "used": 7}))[4] == "7"
    names = ["huggingface.co/org/m:latest", "ai/mine:latest", "sha256:12"]
    shown = "huggingface.co/org/m, mine, sha256:12"
    assert row(runner(model="hf.co/org/M", models=names))[0] == shown
    assert row(runner(model="docker.io/ai/qwen3"))[0] == "qwen3"  # as `ls` calls it
    digest = "sha256:" + "0" * 64
    assert row(runner(model=digest))[0] == "qwen3"
    assert row(runner(model=digest, models=[]))[0] == digest


def test_what_failed_and_what_waits() -> None:
    """In words, and a hostile name or reason draws nothing."""
    failed = runner(id=None, state="failed", failure="it \x1b[31mdied\nof hunger", model="ai/bad")
    waiting = {"model": "ai/big:latest", "mode": "completion", "waiting": 2}
    overview = {"runners": [failed], "queue": {"models": [waiting]}}
    assert remarks(overview) == ["bad: it  [31mdied", "big: 2 wait for room"]
    assert row(failed)[4] == row(failed)[8] == ""


@pytest.mark.parametrize("width", [60, 80, 200])
def test_it_fits(width: int) -> None:
    """Whatever the terminal's width; the model is always there."""
    names = ["ai/qwen3:latest", "huggingface.co/bartowski/llama-3.3-70b-instruct-gguf:Q4_K_M"]
    rows = [row(runner(model=name, models=[name])) for name in names]
    lines = table(HEAD, rows, width=width, spare=SPARE)
    assert max(map(len, lines)) <= width
    assert lines[1].startswith("qwen3")
    assert ("0a1b2c3d4e5f" in lines[1]) == (width == 200)


@pytest.mark.parametrize("width", [60, 200])
def test_devices(width: int) -> None:
    """A bar for each, and the figures."""
    device = {
        "id": "gpu0", "total": 100 * 2**30, "held": 25 * 2**30, "reserved": 50 * 2**30,
        "others": 10 * 2**30,
    }  # fmt: skip
    [line] = device_lines([device], width)
    assert len(line) <= width
    assert line.startswith("gpu0  ##")
    if width == 200:
        bar = line.split()[1]
        assert (bar.count("#"), bar.count("+"), bar.count(":")) == (15, 15, 6)
        assert line.endswith("models 25.0 GiB, reserved 50.0 GiB, others 10.0 GiB of 100.0 GiB")
