"""runnerd.deep_removal: no depth keeps a folder from being removed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from runnerd.deep_removal import remove_folder

DEEP = 3 * sys.getrecursionlimit()


def nest(folder: Path, depth: int) -> None:
    """Put so many folders into each other, as a program does that wants to do harm."""
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def test_depth_does_not_matter(tmp_path: Path) -> None:
    """Nor do links, sockets' kin, names that are ours, and what lies behind links stays."""
    folder, other = tmp_path / "f", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "kept").touch()
    nest(folder, DEEP)
    (folder / ".rm-0").mkdir()
    (folder / ".rm-0" / ".rm-1").touch()
    (folder / ".rm-1").touch()
    (folder / "link").symlink_to(other)
    os.mkfifo(folder / "pipe")
    remove_folder(folder)
    assert not folder.exists()
    assert (other / "kept").exists()


def test_what_is_no_folder_stays(tmp_path: Path) -> None:
    """A link to a folder as well; what is not there is no error."""
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.touch()
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    for path in (file, tmp_path / "link", tmp_path / "gone"):
        remove_folder(path)
    assert file.exists()
    assert folder.exists()
