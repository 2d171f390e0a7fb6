"""runnerd.backends.private_view: what another user sees of closed folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from runnerd.backends.private_view import Closed, View


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder that everybody can enter as far as what lies in it is concerned."""
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "closed" / "deep").mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    (tmp_path / "closed" / "deep" / "m.gguf").touch()
    (tmp_path / "closed" / "deep" / "m.gguf").chmod(0o444)
    return tmp_path


def test_what_is_open_needs_nothing() -> None:
    """Nor does what is not there."""
    assert View.of([Path("/usr"), Path("/usr/nowhere/x"), Path("/etc/passwd/x")]) == View()


def test_a_file_in_a_closed_folder(root: Path) -> None:
    """The outermost closed folder is covered, once; what is above the file is made again."""
    file = root / "closed" / "deep" / "m.gguf"
    view = View.of([file, file])
    (covered,) = view.covered
    assert view.shown == (str(file),)
    assert view.files == view.shown
    assert str(file.parent) in view.folders
    assert covered not in view.folders
    assert view.hides(str(file))
    assert not view.hides("/usr/bin")


def test_links_are_there_as_well(root: Path) -> None:
    """One in a closed folder is made again, one outside is there; both are followed."""
    (root / "closed" / "link").symlink_to("deep/../deep/m.gguf")
    (root / "open" / "link").symlink_to(root / "closed" / "link")
    view = View.of([root / "open" / "link"])
    links = dict(view.links)
    assert links[str(root / "closed" / "link")] == "deep/../deep/m.gguf"
    assert str(root / "closed" / "deep" / "m.gguf") in view.shown


def test_a_circle_of_links_ends(root: Path) -> None:
    """With a reason."""
    (root / "closed" / "a").symlink_to("b")
    (root / "closed" / "b").symlink_to("a")
    with pytest.raises(Closed, match="too many symbolic links"):
        View.of([root / "closed" / "a"])


def test_a_folder_that_is_shown_has_to_be_open_inside(root: Path) -> None:
    """What is closed in the middle of what is shown cannot be opened there."""
    folder, file = root / "closed", root / "closed" / "deep" / "m.gguf"
    folder.joinpath("deep").chmod(0o755)
    folder.joinpath("deep", "inside").mkdir(mode=0o755)
    inside = folder / "deep" / "inside" / "x"
    inside.touch()
    view = View.of([folder / "deep", file, inside])
    assert view.shown == (str(folder / "deep"),)
    inside.parent.chmod(0o700)
    with pytest.raises(Closed, match="inside is closed"):
        View.of([folder / "deep", inside])
