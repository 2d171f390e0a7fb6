"""Disks of another file system than the tests' own, in a file: where mounting is allowed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_BYTES = {"xfs": 320 * 2**20, "btrfs": 128 * 2**20}  # as small as they can be
_FLAGS = {"xfs": ["-q", "-m", "reflink=1"], "btrfs": ["-q"]}


@contextmanager
def mounted(folder: Path, kind: str) -> Iterator[Path]:
    """An empty disk, for the length of a with block."""
    make = shutil.which(f"mkfs.{kind}", path="/usr/sbin:/sbin:/usr/bin")
    if make is None:
        pytest.skip(f"there is no mkfs.{kind}")
    image, point = folder / f"{kind}.image", folder / kind
    with open(image, "wb") as file:
        file.truncate(_BYTES[kind])
    point.mkdir()
    subprocess.run([make, *_FLAGS[kind], str(image)], check=True, capture_output=True)
    told = subprocess.run(["mount", "-o", "loop", str(image), str(point)], capture_output=True)
    if told.returncode != 0:
        pytest.skip(f"mounting is not permitted here: {told.stderr.decode()[:200]}")
    try:
        yield point
    finally:
        subprocess.run(["umount", "-l", str(point)], check=True)
