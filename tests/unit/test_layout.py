"""The store's folder: whose it is, what is swept, what may be replaced."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from runnerd.errors import StartupError
from runnerd.models import layout
from runnerd.models.layout import Layout, is_intact


@pytest.fixture
def made(tmp_path: Path) -> Layout:
    """A store's folder that was made before."""
    made = Layout(tmp_path / "models")
    made.create()
    return made


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    """Whoever named it by mistake loses nothing, and is told what to name."""
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(StartupError, match="no model store; name an empty folder"):
        Layout(tmp_path).create()
    assert os.listdir(tmp_path) == ["photo.jpg"]


@pytest.mark.parametrize(
    ("guard", "said"),
    [
        ('{"version":"2.0.0"}', "layout '2.0.0', this one reads 1.0.0: upgrade"),
        ("{}", "layout ''"),
        ("{", 'damaged.*put back what it says .{"version":"1.0.0"}.'),
    ],
)
def test_a_store_that_cannot_be_read(made: Layout, guard: str, said: str) -> None:
    """Nothing is changed in a newer one, nor in one of which nothing is known."""
    (made.root / "layout.json").write_text(guard, encoding="utf-8")
    with pytest.raises(StartupError, match=said):
        made.create()


def test_a_smaller_version_is_the_same_layout(made: Layout) -> None:
    """Only the first number is what an older one could not read."""
    (made.root / "layout.json").write_text('{"version":"1.9.0"}', encoding="utf-8")
    made.create()


def test_a_crash_before_the_first_end(tmp_path: Path) -> None:
    """The guard was written, not renamed: the folder is still an empty one."""
    root = tmp_path / "models"
    root.mkdir()
    (root / "layout.new").touch()
    Layout(root).create()
    assert not (root / "layout.new").exists()


def test_what_can_be_made_again_is_moved_out_of_the_way(made: Layout) -> None:
    """A file where the parts belong; one where the blobs belong is for people to look at."""
    made.parts.rmdir()
    made.parts.write_text("x", encoding="utf-8")
    made.create()
    assert made.parts.is_dir()
    assert (made.root / "parts.unusable").read_text(encoding="utf-8") == "x"
    made.blobs.rmdir()
    made.blobs.write_text("x", encoding="utf-8")
    with pytest.raises(StartupError, match="cannot be used"):
        made.create()
    assert made.blobs.read_text(encoding="utf-8") == "x"


def test_unfinished_files_are_swept(made: Layout) -> None:
    """All of them, whatever their names say: a number in one may be that of any process now."""
    names = ("1-new", f"{os.getppid()}-parent", f"{os.getpid()}-own", "999999999-x", "foreign")
    for path in (made.fresh(), *(made.temporary / name for name in names)):
        path.mkdir() if path.name == "foreign" else path.touch()
    made.create()
    assert list(made.temporary.iterdir()) == []


def test_what_cannot_be_removed_keeps_nothing_else(
    made: Layout, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said, and the others go."""
    for name in ("a", "b", "c"):
        (made.temporary / name).touch()
    remove, refused = layout.discard, list[Path]()

    def discard(path: Path) -> None:
        if path.parent == made.temporary and not refused:
            refused.append(path)
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        remove(path)

    monkeypatch.setattr(layout, "discard", discard)
    made.create()
    assert list(made.temporary.iterdir()) == refused
    assert "cannot be removed: Operation not permitted" in caplog.text


def test_paths_that_are_made_twice_differ(made: Layout) -> None:
    """They say nothing of who writes."""
    assert made.fresh() != made.fresh()


def test_trying_out_leaves_nothing(made: Layout) -> None:
    """As does holding space, once that is given back."""
    before = sorted(made.root.rglob("*"))
    made.try_out()
    made.hold_space()
    assert (made.root / "spare").stat().st_size > 0
    made.free_space()
    made.free_space()
    assert sorted(made.root.rglob("*")) == before


def test_a_file_is_intact_that_was_not_touched(tmp_path: Path) -> None:
    """By size and time; a link to the same file is another one."""
    path = tmp_path / "f"
    path.write_bytes(b"abc")
    stamp = path.stat().st_mtime_ns
    assert is_intact(path, 3, stamp)
    assert not is_intact(path, 4, stamp)
    assert not is_intact(path, 3, stamp + 1)
    assert not is_intact(tmp_path / "gone", 3, stamp)
    (tmp_path / "link").symlink_to(path)
    assert not is_intact(tmp_path / "link", 3, (tmp_path / "link").lstat().st_mtime_ns)


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    """However often."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "f").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    layout.discard(tmp_path / "link")
    layout.discard(tmp_path / "link")
    assert (tmp_path / "folder" / "f").exists()
    layout.discard(tmp_path / "folder")
    assert os.listdir(tmp_path) == []
