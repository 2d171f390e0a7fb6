"""runnerd.backends.llamacpp.building.build_folder: what a build leaves, whoever ended it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from runnerd.backends.llamacpp.building.build_folder import BuildFolder

_KILLED = """
import os, signal, sys
from pathlib import Path
from runnerd.backends.llamacpp.building.build_folder import BuildFolder
(BuildFolder(Path(sys.argv[1])).path / "object.o").write_bytes(b"x")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_goes_when_the_build_is_done(tmp_path: Path) -> None:
    """With all that is in it, and twice is as good as once."""
    folder = BuildFolder(tmp_path)
    (folder.path / "object.o").write_bytes(b"x")
    folder.remove()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


def test_builds_side_by_side(tmp_path: Path) -> None:
    """Nobody removes the folder of a build that is going on."""
    first, second = BuildFolder(tmp_path), BuildFolder(tmp_path)
    assert {first.path, second.path} == set(tmp_path.iterdir())
    first.remove()
    assert list(tmp_path.iterdir()) == [second.path]
    second.remove()


def test_what_a_killed_build_left_goes_with_the_next(tmp_path: Path) -> None:
    """And nothing else: neither an engine, nor what a link leads to."""
    done = subprocess.run([sys.executable, "-c", _KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    elsewhere = tmp_path / "cpu"
    elsewhere.mkdir()
    link = tmp_path / ".build-link"
    link.symlink_to(elsewhere)
    folder = BuildFolder(tmp_path)
    assert set(tmp_path.iterdir()) == {elsewhere, link, folder.path}
    assert left != folder.path
    folder.remove()
