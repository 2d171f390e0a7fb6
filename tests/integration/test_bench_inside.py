"""`python -m bench inside`: the daemon that it runs in its own process keeps its log to itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_nothing_but_figures_is_printed() -> None:
    """On either stream: a log in between would take a person to tell them apart."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.in_process", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[2],
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert len(lines) > 4
    assert [line for line in lines if not line.endswith(" us")] == []
