"""runnerd.models.room: what is on its way counts, and nothing ends behind the limit."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from runnerd.errors import InsufficientStorage
from runnerd.models.digest import Digest
from runnerd.models.parts import Part
from runnerd.models.room import Growth
from runnerd.models.store import Store
from runnerd.models.uploads import Upload

MIB = 2**20


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store of 8 MiB."""
    store = Store(tmp_path / "store", quota_bytes=8 * MIB)
    store.open()
    return store


def send(upload: Upload, pieces: int) -> None:
    for _ in range(pieces):
        upload.write(bytes(MIB))


def fetch(part: Part, pieces: int) -> None:
    (piece,) = part.pieces
    for _ in range(pieces):
        part.write(piece, bytes(MIB))
        part.wrote(piece, MIB)


def test_an_upload_ends_at_the_quota(store: Store) -> None:
    """However it comes in pieces, not one more is kept than there is room for."""
    upload = store.uploads.begin()
    with pytest.raises(InsufficientStorage):
        send(upload, 9)
    upload.close()
    assert list((store.uploads._layout.temporary).iterdir()) == []


def test_uploads_at_once_are_held_to_it_together(store: Store) -> None:
    """What others have sent so far counts, although it is no upload yet."""
    first, second = store.uploads.begin(), store.uploads.begin()
    try:
        send(first, 5)
        with pytest.raises(InsufficientStorage):
            send(second, 5)
        digest = Digest(hashlib.sha256(bytes(5 * MIB)).hexdigest())
        assert first.finish(digest).size == 5 * MIB
    finally:
        first.close()
        second.close()


def test_a_part_of_unknown_size_ends_at_the_quota(store: Store) -> None:
    """The same for what is fetched."""
    part = store.entrance.part(Digest("a" * 64))
    part.open()
    try:
        part.begin_stream(None)
        with pytest.raises(InsufficientStorage):
            fetch(part, 9)
        assert part.received <= 8 * MIB
    finally:
        part.remove()


def test_it_is_asked_seldom_far_from_the_limit() -> None:
    """And for every step near it."""
    asked: list[int] = []

    def allow(size: int) -> None:
        asked.append(size)
        if size > 100 * MIB:
            raise InsufficientStorage("full")

    growth = Growth(allow)
    growth.reach(10 * MIB)
    growth.reach(74 * MIB)
    assert asked == [74 * MIB]
    growth.reach(75 * MIB)
    with pytest.raises(InsufficientStorage):
        growth.reach(101 * MIB)
