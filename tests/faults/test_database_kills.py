"""Nothing that was acknowledged is lost, wherever a writer is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long


@pytest.mark.parametrize("seed", [1000, 2000])
def test_killed_at_any_statement(tmp_path: Path, seed: int) -> None:
    """Thirty writers are killed, before random statements and at random moments."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.database_kills", str(tmp_path), str(seed), "30"],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout.split()[-1]) > 30
