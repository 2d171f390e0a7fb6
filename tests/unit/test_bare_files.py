"""Copies of models for programs that open them themselves."""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from runnerd.errors import InsufficientStorage
from runnerd.models import bare_files, tiny
from runnerd.models.bare_files import BareFiles
from runnerd.models.store import Store
from tests.support.disks import mounted
from tests.support.stores import add, opened, small


@pytest.fixture
async def store(tmp_path: Path) -> Store:
    store = opened(tmp_path / "models")
    await add(store, small(tmp_path / "a.gguf"), "ai/a")
    return store


@pytest.fixture
def files(store: Store, tmp_path: Path) -> BareFiles:
    return BareFiles(
        tmp_path / "bare", lambda model: store.resolve(model).weights, store.room.check_quota
    )


def content(store: Store, name: str) -> bytes:
    return store.resolve(str(store.get(name).id)).weights.read_bytes()


async def test_a_copy(store: Store, files: BareFiles, tmp_path: Path) -> None:
    """It is read-only, nobody can list where it is, and it is made once."""
    path = await files.path_of(store.get("a"))
    assert path.read_bytes() == content(store, "a")
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.stat().st_nlink == 1
    for folder in (path.parent, files.folder):
        assert folder.stat().st_mode & 0o777 == 0o711
    every = await asyncio.gather(*(files.path_of(store.get("a")) for _ in range(5)))
    assert set(every) == {path}


async def test_a_copy_that_was_changed(store: Store, files: BareFiles) -> None:
    """It is made anew, and the store's file is what it was."""
    before = content(store, "a")
    path = await files.path_of(store.get("a"))
    path.chmod(0o600)
    path.write_bytes(b"x" * len(before))
    again = await files.path_of(store.get("a"))
    assert again.read_bytes() == before == content(store, "a")
    assert not path.exists() or path == again


@pytest.mark.parametrize("same", [True, False])
async def test_something_else_in_its_place(
    store: Store, files: BareFiles, tmp_path: Path, same: bool
) -> None:
    """A link is removed, not what it links to, and the copy is made anew."""
    path = await files.path_of(store.get("a"))
    moved = path.parent.rename(tmp_path / "elsewhere")
    if not same:
        (moved / path.name).unlink()
    path.parent.symlink_to(moved)
    again = await files.path_of(store.get("a"))
    assert not again.parent.is_symlink()
    assert again.read_bytes() == content(store, "a")
    (files.folder / "0123-link").symlink_to(moved)
    (files.folder / "0123-file").write_bytes(b"x")
    files.sweep([store.get("a").id])
    assert list(files.folder.iterdir()) == [again.parent]
    assert (moved / ".made").exists()


async def test_file_systems_that_share_nothing(
    store: Store, files: BareFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There it is copied byte by byte, where there is room for it."""

    def cannot(*arguments: Any) -> int:
        raise OSError(95, "not supported")

    monkeypatch.setattr(fcntl, "ioctl", cannot)
    path = await files.path_of(store.get("a"))
    assert path.read_bytes() == content(store, "a")
    path.unlink()

    def full(*arguments: Any) -> None:
        raise InsufficientStorage("full")

    monkeypatch.setattr(bare_files, "check_space", full)
    with pytest.raises(InsufficientStorage):
        await files.path_of(store.get("a"))
    assert list(files.folder.iterdir()) == []


async def test_a_model_of_several_files(store: Store, files: BareFiles, tmp_path: Path) -> None:
    """Its parts lie beside each other under the names that they know each other by."""
    parts = tiny.write_sharded_model(tmp_path)
    model = await store.entrance.import_files(parts, tag="ai/split")
    path = await files.path_of(model)
    assert len(parts) > 1
    assert path.name == f"model-00001-of-{len(parts):05}.gguf"
    assert sorted(each.read_bytes() for each in path.parent.glob("*.gguf")) == sorted(
        each.read_bytes() for each in parts
    )


async def test_sweeping(store: Store, files: BareFiles) -> None:
    """Copies of models that are gone go, and so does what was not completed."""
    path = await files.path_of(store.get("a"))
    (files.folder / "new-x").mkdir()
    files.sweep(store.catalog.entries)
    assert len(list(files.folder.iterdir())) == 2  # somebody may be making it
    files.open(store.catalog.entries)
    assert [path.parent] == list(files.folder.iterdir())
    files.sweep(())
    assert os.listdir(files.folder) == []


async def test_they_count(tmp_path: Path) -> None:
    """A copy that shares nothing counts as a model does; a quota that is reached is told, and
    nothing is left.
    """
    made = small(tmp_path / "a.gguf", name="a")
    size = made.stat().st_size
    store = opened(tmp_path / "models")
    await add(store, made, "ai/a")
    await add(store, small(tmp_path / "b.gguf", name="b"), "ai/b")
    store = opened(tmp_path / "models", quota_bytes=store.room.usage() + size)
    files = BareFiles(
        tmp_path / "bare", lambda model: store.resolve(model).weights, store.room.check_quota
    )
    store.room.copies = files.taken_bytes
    assert files.taken_bytes() == 0
    path = await files.path_of(store.get("a"))
    shares = files.taken_bytes() == 0  # on a file system that can
    assert files.taken_bytes() in (0, size)
    if not shares:
        with pytest.raises(InsufficientStorage, match="their copies"):
            await files.path_of(store.get("b"))
        with pytest.raises(InsufficientStorage):
            store.room.check_quota(1)
        assert list(files.folder.iterdir()) == [path.parent]
    files.sweep(())
    assert files.taken_bytes() == 0


@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
async def test_file_systems_that_share(tmp_path: Path, kind: str) -> None:
    """There a copy takes nothing, and to write it does not change the store's file."""
    with mounted(tmp_path, kind) as disk:
        store = opened(disk / "models", quota_bytes=2**20)
        await add(store, small(tmp_path / "a.gguf"), "ai/a")
        files = BareFiles(
            disk / "bare", lambda model: store.resolve(model).weights, store.room.check_quota
        )
        store.room.copies = files.taken_bytes
        before = content(store, "a")
        path = await files.path_of(store.get("a"))
        assert (path.read_bytes(), files.taken_bytes()) == (before, 0)
        path.chmod(0o600)
        with open(path, "r+b") as copy:
            copy.write(b"x" * 4096)
        assert content(store, "a") == before
