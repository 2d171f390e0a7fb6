"""Stores and the smallest models to fill them with."""

from __future__ import annotations

from pathlib import Path

from runnerd.models.digest import Digest
from runnerd.models.store import Store
from tests.support.ggufs import smallest_model


def opened(root: Path, quota_bytes: int | None = None) -> Store:
    """Open a store."""
    store = Store(root, quota_bytes=quota_bytes)
    store.open()
    return store


def small(path: Path, name: str = "small") -> Path:
    """Write the smallest model; another name makes another model."""
    path.write_bytes(smallest_model().replace(b"t" + b"\1\0\0\0", name[:1].encode() + b"\1\0\0\0"))
    return path


async def add(store: Store, path: Path, *tags: str) -> Digest:
    """Import a file under these tags."""
    model = await store.entrance.import_files([path], tag=tags[0] if tags else None)
    for tag in tags[1:]:
        store.names.tag(str(model.id), tag)
    return model.id
