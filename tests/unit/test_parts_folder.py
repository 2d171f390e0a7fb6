"""The folder of parts: which ones are too old."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from runnerd.models.layout import Layout
from runnerd.models.parts_folder import sweep
from tests.support.stores import opened

COVERS = ("runnerd.models.uploads",)

DAY = 86400.0


@pytest.mark.parametrize(
    ("written", "age", "stays"),
    [
        pytest.param(-60.0, DAY, True, id="just now"),
        pytest.param(60.0, DAY, True, id="a clock set back a little"),
        pytest.param(-2 * DAY, DAY, False, id="old"),
        pytest.param(400 * DAY, DAY, False, id="a clock set back by a year"),
        pytest.param(400 * DAY, 0.0, False, id="all, whatever the clock"),
    ],
)
def test_what_is_old(tmp_path: Path, written: float, age: float, stays: bool) -> None:
    """A time in the future is none that grows old."""
    layout = Layout(tmp_path / "models")
    store = opened(layout.root)
    files = [layout.parts / f"{'a' * 64}.part", layout.uploads / ("b" * 64)]
    for path in files:
        path.write_bytes(b"x")
        os.utime(path, (0, time.time() + written))
    sweep(layout, age=age)
    store.uploads.sweep(age=age)
    assert [path.exists() for path in files] == [stays, stays]
