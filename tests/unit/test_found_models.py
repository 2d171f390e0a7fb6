"""GGUF files of a folder, as the models that they make up."""

from __future__ import annotations

from pathlib import Path

from runnerd.models.found_models import folders_below, gguf_sets


def names(folder: Path) -> list[tuple[str, int, bool]]:
    """What is found: name, size, and whether there is a projector."""
    return [(m.shown, m.size, m.mmproj is not None) for m in gguf_sets(folder)]


def test_files_of_one_model_are_one(tmp_path: Path) -> None:
    """Split ones are found once; other files, folders and dangling links are none."""
    for name in ("big-00001-of-00002.gguf", "big-00002-of-00002.gguf", "one.GGUF", "readme.md"):
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "dangling.gguf").symlink_to("nowhere")
    assert names(tmp_path) == [("big-00001-of-00002", 10, False), ("one.GGUF", 5, False)]


def test_projectors(tmp_path: Path) -> None:
    """One belongs to the models beside it; of several none does."""
    (tmp_path / "one.gguf").write_bytes(b"1")
    (tmp_path / "mmproj-f16.gguf").write_bytes(b"1")
    assert names(tmp_path) == [("one", 1, True)]
    (tmp_path / "mmproj-q8.gguf").write_bytes(b"1")
    assert names(tmp_path) == [("one", 1, False)]
    assert names(tmp_path / "nowhere") == []


def test_folders_below(tmp_path: Path) -> None:
    """In order; what a link leads to is somewhere else."""
    for name in ("b/c", "a"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in folders_below(tmp_path)]
    assert found == [".", "a", "b", "b/c"]
