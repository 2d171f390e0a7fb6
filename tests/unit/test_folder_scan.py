"""The GGUF files of an owner's folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runnerd.models.folder_scan import UnsafeFolder, files_below


def test_regular_files_alone(tmp_path: Path) -> None:
    """In folders below, too; no links, pipes or other names."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "one.gguf").write_bytes(b"1")
    (tmp_path / "a" / "b" / "two.GGUF").write_bytes(b"12")
    (tmp_path / "notes.txt").write_bytes(b"1")
    (tmp_path / "link.gguf").symlink_to("one.gguf")
    (tmp_path / "folder").symlink_to("a")
    (tmp_path / "named.gguf").mkdir()
    os.mkfifo(tmp_path / "pipe.gguf")
    found = files_below(tmp_path)
    assert {Path(path).name: file.size for path, file in found.items()} == {
        "one.gguf": 1,
        "two.GGUF": 2,
    }


def test_folders_that_are_not_looked_through(tmp_path: Path) -> None:
    """A link, a file, a name without its folder, and one that everybody can write to."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "file").touch()
    for path in (tmp_path / "link", tmp_path / "file", Path("folder")):
        with pytest.raises(UnsafeFolder):
            files_below(path)
    folder.chmod(0o777)
    with pytest.raises(UnsafeFolder, match="chmod o-w"):
        files_below(folder)
    with pytest.raises(OSError, match="No such file"):
        files_below(tmp_path / "none")


def test_it_ends(tmp_path: Path) -> None:
    """Folders in folders are looked through to a depth."""
    deep = tmp_path
    for _ in range(12):
        deep /= "d"
    deep.mkdir(parents=True)
    (deep / "deep.gguf").touch()
    assert files_below(tmp_path) == {}
