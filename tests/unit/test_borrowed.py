"""Files that models use and the store does not have."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from runnerd.errors import InvalidModelFile
from runnerd.models.borrowed import BorrowedFile
from runnerd.models.store import Store
from tests.support.ggufs import smallest_model, snapshot


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model that lies in somebody's folder."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    path = folder / "small.gguf"
    path.write_bytes(smallest_model())
    return path


def opened(tmp_path: Path) -> Store:
    """The store, as a daemon opens it."""
    store = Store(tmp_path / "store")
    store.open()
    return store


def test_what_a_file_looks_like(file: Path) -> None:
    """A change, another file and a link are told; another number of its disk is none of these."""
    borrowed = BorrowedFile.of(file, file.lstat())
    assert borrowed.is_intact()
    assert replace(borrowed, device=borrowed.device + 1).remounted() == borrowed
    os.utime(file, (0, 0))
    assert not borrowed.is_intact()
    assert borrowed.remounted() is None
    file.rename(file.with_name("moved.gguf"))
    file.symlink_to("moved.gguf")
    assert not BorrowedFile.of(file, file.stat()).is_intact()
    assert not replace(borrowed, path="\0").is_intact()


async def test_nothing_is_copied(file: Path, tmp_path: Path) -> None:
    """The store reads the file where it is, and takes no space for it; so it does after a start."""
    before = snapshot(file.parent)
    store = opened(tmp_path)
    model = await store.entrance.import_files([file], tag="small", borrow=True)
    assert store.borrowed(model) == {str(file): file.stat().st_size}
    assert store.borrowed_bytes() == file.stat().st_size
    assert not (
        tmp_path / "store" / "blobs" / "sha256" / model.manifest.weights[0].digest.hex
    ).exists()
    weights = store.resolve("small").weights
    assert weights.is_symlink()
    assert weights.resolve() == file
    again = opened(tmp_path)
    assert again.resolve("small").weights.resolve() == file
    assert snapshot(file.parent) == before
    assert file.stat().st_nlink == 1


async def test_removal_forgets_it(file: Path, tmp_path: Path) -> None:
    """`rm`, `prune` and `purge` never touch the file."""
    before = snapshot(file.parent)
    store = opened(tmp_path)
    await store.entrance.import_files([file], tag="small", borrow=True)
    store.names.prune()
    assert store.borrowed_bytes() > 0
    store.names.remove("small")
    assert store.borrowed_bytes() == 0
    await store.entrance.import_files([file], tag="small", borrow=True)
    store.names.purge()
    assert store.borrowed_bytes() == 0
    assert snapshot(file.parent) == before


@pytest.mark.parametrize("change", ["moved", "written", "replaced", "a link"])
async def test_a_file_that_changed_is_not_used(file: Path, tmp_path: Path, change: str) -> None:
    """It is named, before a load and after a start."""
    store = opened(tmp_path)
    await store.entrance.import_files([file], tag="small", borrow=True)
    if change == "written":
        file.write_bytes(file.read_bytes() + b"\0")
    else:
        file.rename(file.with_name("old"))
    if change == "replaced":
        file.write_bytes(b"\0" * file.with_name("old").stat().st_size)
    if change == "a link":
        file.symlink_to("old")
    with pytest.raises(
        InvalidModelFile, match=r"small\.gguf of model .small. was moved or changed"
    ):
        store.resolve("small")
    [model] = store.catalog.models()
    with pytest.raises(InvalidModelFile, match=r"of model .ai/small:latest. was"):
        store.resolve(store.load_of(str(model.id)))
    again = opened(tmp_path)
    with pytest.raises(InvalidModelFile, match=r"damaged: .*small\.gguf"):
        again.get("small")
    again.names.remove("small")
    assert again.borrowed_bytes() == 0


async def test_a_file_that_was_only_touched_is_read_once_more(file: Path, tmp_path: Path) -> None:
    """At the next start; the content decides."""
    store = opened(tmp_path)
    await store.entrance.import_files([file], tag="small", borrow=True)
    os.utime(file, (0, 0))
    assert opened(tmp_path).resolve("small").weights.resolve() == file
    assert opened(tmp_path).resolve("small").weights.resolve() == file


async def test_a_copy_takes_the_place_of_what_was_borrowed(file: Path, tmp_path: Path) -> None:
    """Once the file is not what it was, the same content from elsewhere heals the model."""
    store = opened(tmp_path)
    await store.entrance.import_files([file], tag="small", borrow=True)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(file.read_bytes())
    file.write_bytes(b"something else")
    await store.entrance.import_files([copy], tag="small")
    assert store.borrowed_bytes() == 0
    assert not store.resolve("small").weights.is_symlink()
    assert file.read_bytes() == b"something else"


async def test_models_made_of_it_borrow_it_too(file: Path, tmp_path: Path) -> None:
    """A repackaged model has the same weights; the file stays while one of both is there."""
    store = opened(tmp_path)
    await store.entrance.import_files([file], tag="small", borrow=True)
    store.entrance.repackage("small", "wide", 512)
    store.names.remove("small")
    assert store.resolve("wide").weights.resolve() == file
    with store.pack("wide") as packed:
        assert packed.size > file.stat().st_size
