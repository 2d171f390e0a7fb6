"""runnerd.backends.handing_over: an engine gets what was the daemon's, and nothing else ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from runnerd.backends.handing_over import hand_over, open_to_read, take_back, take_file
from tests.unit.test_deep_removal import DEEP, nest

ENGINE, STRANGER = 60820, 60830
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")


def ours(uid: int) -> bool:
    return uid in (0, ENGINE)


def owner(path: Path) -> int:
    return path.lstat().st_uid


def test_there_and_back(tmp_path: Path) -> None:
    """With everything in it, and what is not there any more does not matter."""
    folder, file = tmp_path / "f", tmp_path / "one"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "x").touch()
    file.touch()
    everything = [folder, folder / "deep", folder / "deep" / "x", file]
    hand_over([folder, file], ENGINE, ours)
    assert {owner(path) for path in everything} == {ENGINE}
    take_back([folder, file, tmp_path / "gone"], ours)
    assert {owner(path) for path in everything} == {0}


def test_what_is_not_its_own_is_not_passed_on(tmp_path: Path) -> None:
    """Links, second names of others' files, others' files and sockets go instead."""
    folder, theirs = tmp_path / "f", tmp_path / "theirs"
    folder.mkdir()
    theirs.write_text("private")
    os.chown(theirs, STRANGER, STRANGER)
    (folder / "second").hardlink_to(theirs)
    (folder / "link").symlink_to(theirs)
    (folder / "foreign").touch()
    os.chown(folder / "foreign", STRANGER, STRANGER)
    twice = tmp_path / "twice"
    twice.touch()
    (folder / "twice").hardlink_to(twice)
    os.mkfifo(folder / "pipe")
    hand_over([folder], ENGINE, ours)
    assert list(folder.iterdir()) == []
    assert (owner(theirs), owner(twice), theirs.read_text()) == (STRANGER, 0, "private")


def test_a_folder_that_cannot_be_walked_is_given_empty(tmp_path: Path) -> None:
    """Folders in folders without end cost an engine what it had there, and nobody the folder."""
    folder = tmp_path / "f"
    folder.mkdir()
    nest(folder, DEEP)
    take_back([folder], ours)
    hand_over([folder], ENGINE, ours)
    assert (list(folder.iterdir()), owner(folder)) == ([], ENGINE)


def test_a_file_that_an_engine_wrote(tmp_path: Path) -> None:
    """It is taken if it is a file of the engine's and has one name."""
    written = tmp_path / "slot"
    written.touch()
    os.chown(written, ENGINE, ENGINE)
    take_file(written, ENGINE)
    assert owner(written) == 0
    os.chown(written, STRANGER, STRANGER)
    with pytest.raises(OSError, match="not the engine's own"):
        take_file(written, ENGINE)
    os.chown(written, ENGINE, ENGINE)
    (tmp_path / "second").hardlink_to(written)
    with pytest.raises(OSError, match="not the engine's own"):
        take_file(written, ENGINE)
    (tmp_path / "link").symlink_to(written)
    with pytest.raises(OSError, match=r"."):
        take_file(tmp_path / "link", ENGINE)
    assert owner(written) == ENGINE


def test_readers_are_let_in_to_our_own_files_alone(tmp_path: Path) -> None:
    """The rest of the mode stays; somebody else's file is as it was."""
    blob = tmp_path / "blob"
    blob.touch()
    blob.chmod(0o440)
    open_to_read(blob)
    assert stat.S_IMODE(blob.stat().st_mode) == 0o444
    blob.chmod(0o400)
    os.chown(blob, STRANGER, STRANGER)
    open_to_read(blob)
    assert stat.S_IMODE(blob.stat().st_mode) == 0o400
